//! A network in few bytes, as the ranges of a table hold it.

use std::num::NonZeroU32;

use super::{CountryCode, Network};

/// Where a range starts, in the upper 64 bits of IPv6 or all of IPv4, and its network.
pub(super) type Start = (u64, PackedNetwork);

/// The first of the numbers that stand for places among the systems and not for the systems themselves. No system in use has
/// a number beyond: the greatest of 2026 are below 500,000, but for those that anybody may use in private.
const FIRST_PLACE: u32 = 1 << 23;

/// A network in four bytes, so that the ranges themselves tell it: the place of its country among all countries in the lower eight
/// bits, its system in the others, and 0 for none of them. A system is its number, so that it need not be looked up; where that is
/// too large, [`FIRST_PLACE`] and its place among the systems.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct PackedNetwork(u32);

impl PackedNetwork {
    pub(super) const UNKNOWN: Self = Self(0);

    /// No network: the range is made of smaller ones. No country has this place.
    pub(super) const DIVIDED: Self = Self(u8::MAX as u32);

    /// `system` is the number of a system and its place among them, which is below [`super::SYSTEMS_MAX`].
    pub(super) fn new(country: Option<CountryCode>, system: Option<(u32, usize)>) -> Self {
        let country = country.map_or(0, |country| u32::from(country.place().get()));
        let system = system.map_or(0, |(asn, place)| if asn < FIRST_PLACE { asn } else { FIRST_PLACE + place as u32 });
        Self(system << 8 | country)
    }

    pub(super) const fn to_bits(self) -> u32 {
        self.0
    }

    pub(super) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The network; `asns` are the numbers of all systems.
    #[inline]
    pub(super) fn unpack(self, asns: &[u32]) -> Network {
        let system = self.0 >> 8;
        let asn = match system.checked_sub(FIRST_PLACE) {
            None => system,
            Some(place) => asns.get(place as usize).copied().unwrap_or_default(),
        };
        Network { country: CountryCode::at(self.0 as u8), asn: NonZeroU32::new(asn) }
    }
}
