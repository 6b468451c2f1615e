//! Which country and which autonomous system a client's address belongs to.
//!
//! Owns the table that answers, its text-free binary form, and how it is made of ranges. It never reads a file: the program
//! hands over bytes or ranges. A look-up compares little and touches few lines of memory: it is made for the path of a
//! request.
//!
//! - [`NetworkTable`] answers; [`NetworkTableBuilder`] merges ranges of countries and of systems into one.
//! - [`CountryCode`] is one of the codes of ISO 3166-1.
//! - [`NetworkKind`] is what a system's name tells about it.

mod builder;
mod country;
mod encoding;
mod kind;
mod packed;
mod table;
mod v4;
mod v6;

pub use builder::{BuildError, NetworkTableBuilder, RANGES_MAX, SYSTEMS_MAX};
pub use country::{CountryCode, CountryCodeError};
pub use encoding::{DecodeError, EncodeError};
pub use kind::NetworkKind;
pub use table::{NetworkRange, NetworkTable};

use std::num::NonZeroU32;

/// What is known about the network that an address belongs to. Eight bytes, so that it is passed on in a register of the processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    country: Option<CountryCode>,
    asn: Option<NonZeroU32>,
}

impl Network {
    /// A network in `country` that the system number `asn` announces. No system has the number 0 (RFC 7607): nothing is known of it.
    pub const fn new(country: Option<CountryCode>, asn: Option<u32>) -> Self {
        let asn = match asn {
            Some(asn) => NonZeroU32::new(asn),
            None => None,
        };
        Self { country, asn }
    }

    /// The country in which the address is registered, which is mostly where it is used.
    pub const fn country(self) -> Option<CountryCode> {
        self.country
    }

    /// The number of the autonomous system that announces it.
    pub fn asn(self) -> Option<u32> {
        self.asn.map(NonZeroU32::get)
    }

    /// Whether nothing is known.
    pub const fn is_unknown(self) -> bool {
        self.country.is_none() && self.asn.is_none()
    }
}
