//! Everything people look at.
