//! The trial ground: a site with its ordinary visitors, floods and crowds beside them, and a guard that does what the
//! engine says, all in simulation and with a label on every request. What engine changes are good for is read off here,
//! before any socket is involved. Everything follows from a seed.
//!
//! - [`background`]: the ordinary traffic of a site, made up or out of a real log.
//! - [`family`]: one kind of flood each; [`control`]: what looks like one and must not be blocked.
//! - [`world`]: the clock, the guard and the labels; [`trial`]: one run, and what it came to.

pub mod background;
pub mod control;
mod dice;
pub mod family;
mod guard;
mod request;
mod tally;
pub mod trial;
pub mod world;

pub use dice::{Dice, address};
pub use request::Sent;
pub use tally::{RuleTally, Tally, Work};
