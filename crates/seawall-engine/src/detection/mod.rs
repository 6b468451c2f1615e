//! Keeps what is normal and finds what an excess has in common.
