//! What the guard itself can serve.

pub mod clock;
pub mod files;
