//! The part of Seawall that decides.
//!
//! The path of a request, in the order of the modules:
//!
//! - [`observation`]: one request as a source saw it: client, attributes, cost, outcome.
//! - [`gate`]: judges one request at once, against a compiled rule set and bounded per-client state.
//! - [`detection`]: keeps what is normal and, when something is not, finds what the excess has in common.
//! - [`decision`]: a rule with its action, evidence and expiry; when to propose, enforce, and let go.
//!
//! [`silence`] notices when a source no longer tells what it is there to tell.
//!
//! [`address`] and [`units`] are the vocabulary of all four; [`network`] tells which country and which autonomous system an
//! address belongs to.
//!
//! The engine does no I/O, reads no clock and draws no randomness of its own: time is a [`units::Timestamp`]
//! handed in, randomness a seed. The live guard, simulation, replay of logs and benches all run this same code.
//! Every table has a fixed maximum, so memory in a flood is what it is at rest.

#![forbid(unsafe_code)]

pub mod address;
pub mod decision;
pub mod detection;
pub mod distinct;
pub mod gate;
pub mod network;
pub mod observation;
pub mod silence;
pub mod units;
