//! Where requests are seen.
