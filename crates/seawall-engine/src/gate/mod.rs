//! Judges one request at once.
