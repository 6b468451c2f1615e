//! Which country and which autonomous system a client's address belongs to.
//!
//! Owns the table that answers, its text-free binary form, and how it is made of ranges. It never reads a file: the program
//! hands over bytes or ranges. A look-up touches no more than two or three lines of memory and is made for the path of a
//! request.
//!
//! - [`NetworkTable`] answers; [`NetworkTableBuilder`] merges ranges of countries and of systems into one.
//! - [`CountryCode`] is one of the codes of ISO 3166-1.
//! - [`NetworkKind`] is what a system's name tells about it.

mod builder;
mod country;
mod encoding;
mod kind;
mod table;

pub use builder::{BuildError, NetworkTableBuilder, RANGES_MAX, SYSTEMS_MAX};
pub use country::{CountryCode, CountryCodeError};
pub use encoding::{DecodeError, EncodeError};
pub use kind::NetworkKind;
pub use table::{NetworkRange, NetworkTable};

/// What is known about the network that an address belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    /// The country in which the address is registered, which is mostly where it is used.
    pub country: Option<CountryCode>,
    /// The number of the autonomous system that announces it.
    pub asn: Option<u32>,
}

impl Network {
    /// Whether nothing is known.
    pub const fn is_unknown(self) -> bool {
        self.country.is_none() && self.asn.is_none()
    }
}
