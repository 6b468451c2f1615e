//! Where requests are seen. Each source makes observations; everything after is the same code.

pub mod follow;
pub mod proxy;
pub mod record;
pub mod shared;
pub mod watch;
