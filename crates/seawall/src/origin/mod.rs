//! What the guard itself can serve, so that a site needs no other server behind it.
//!
//! An origin is asked only for what the gate has let through. It knows nothing of clients, rules or sites.

pub mod clock;
pub mod files;
