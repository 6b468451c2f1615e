//! Makes a table of ranges: countries and autonomous systems are given apart, as their sources have them, and merged.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::packed::{PackedNetwork, Start};
use super::table::{Parts, upper_half};
use super::{CountryCode, NetworkTable};

/// The most ranges of one kind and family. The whole internet has half a million today; a table of this many holds about
/// 100 MB, and of IPv6 that is told apart finer than by /48 four times as much.
pub const RANGES_MAX: usize = 1 << 22;

/// The most starts of ranges that a merged family can have: one for each range of a country or of a system, one for what is behind it,
/// and the first.
pub(super) const STARTS_MAX: usize = 4 * RANGES_MAX + 1;

/// The most autonomous systems. 120,000 are assigned today.
pub const SYSTEMS_MAX: usize = 1 << 20;

/// The longest name of a system that is kept, in bytes. Those of today have at most 169.
const NAME_BYTES_MAX: usize = 256;

/// Gathers ranges, in any order, and makes a [`NetworkTable`] of them.
///
/// Of ranges of one kind that overlap, the one that starts first has what both hold, and of two that start together the
/// one that was given first; ranges that were given one after the other, adjoin and say the same count as one. IPv6 ranges are widened to whole /64, and IPv4-mapped ones ignored: no client has such an
/// address after it was made canonical.
#[derive(Clone, Debug, Default)]
pub struct NetworkTableBuilder {
    countries: Families<CountryCode>,
    systems: Families<u32>,
    names: BTreeMap<u32, String>,
}

#[derive(Clone, Debug)]
struct Families<T> {
    v4: Vec<Range<T>>,
    v6: Vec<Range<T>>,
}

/// First and last, both included.
#[derive(Clone, Copy, Debug)]
struct Range<T> {
    first: u64,
    last: u64,
    value: T,
}

impl<T> Default for Families<T> {
    fn default() -> Self {
        Self { v4: Vec::new(), v6: Vec::new() }
    }
}

/// What no table can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// First and last address are of different families, or the last comes before the first.
    #[error("found a range from {first} to {last}, where the last address must follow the first in the same family")]
    NoRange {
        /// Its first address.
        first: IpAddr,
        /// Its last address.
        last: IpAddr,
    },
    /// There are more ranges of one kind and family than a table holds.
    #[error("found more than {RANGES_MAX} ranges of one kind, where the whole internet has half a million")]
    TooManyRanges,
    /// There are more systems than a table holds.
    #[error("found more than {SYSTEMS_MAX} autonomous systems, where 120,000 are assigned")]
    TooManySystems,
}

impl NetworkTableBuilder {
    /// A builder without ranges.
    pub fn new() -> Self {
        Self::default()
    }

    /// The addresses from `first` to `last` are registered in `country`.
    ///
    /// # Errors
    /// If this is no range, or one too many.
    pub fn add_country(&mut self, first: IpAddr, last: IpAddr, country: CountryCode) -> Result<(), BuildError> {
        self.countries.add(first, last, country)
    }

    /// The addresses from `first` to `last` are announced by the autonomous system `asn`. Number 0 stands for none
    /// (RFC 7607) and is ignored.
    ///
    /// # Errors
    /// If this is no range, or one or a system too many.
    pub fn add_system(&mut self, first: IpAddr, last: IpAddr, asn: u32) -> Result<(), BuildError> {
        if asn == 0 {
            return Ok(());
        }
        self.name_of(asn)?;
        self.systems.add(first, last, asn)
    }

    /// The autonomous system `asn` calls itself `name`. The first name stays; control characters become spaces, and what
    /// is longer than 256 bytes is cut.
    ///
    /// # Errors
    /// If this is one system too many.
    pub fn name_system(&mut self, asn: u32, name: &str) -> Result<(), BuildError> {
        if asn == 0 {
            return Ok(());
        }
        let known = self.name_of(asn)?;
        if !known.is_empty() {
            return Ok(());
        }
        let printable = name.trim().chars().map(|character| if character.is_control() { ' ' } else { character });
        for character in printable {
            if known.len() + character.len_utf8() > NAME_BYTES_MAX {
                break;
            }
            known.push(character);
        }
        Ok(())
    }

    /// The table of all that was given; `origin` says where it is from.
    pub fn build(self, origin: &str) -> NetworkTable {
        let systems: Vec<(u32, String)> = self.names.into_iter().collect();
        let pack = |country: Option<CountryCode>, asn: Option<u32>| {
            let place = |asn: u32| systems.binary_search_by_key(&asn, |system| system.0).ok();
            PackedNetwork::new(country, asn.and_then(|asn| Some((asn, place(asn)?))))
        };
        let v4 = merge(self.countries.v4, self.systems.v4, u64::from(u32::MAX), pack);
        let v6 = merge(self.countries.v6, self.systems.v6, u64::MAX, pack);
        NetworkTable::from_parts(Parts { v4, v6, systems, origin: origin.to_owned() })
    }

    /// The name of the system, empty while it has none.
    fn name_of(&mut self, asn: u32) -> Result<&mut String, BuildError> {
        if self.names.len() >= SYSTEMS_MAX && !self.names.contains_key(&asn) {
            return Err(BuildError::TooManySystems);
        }
        Ok(self.names.entry(asn).or_default())
    }
}

impl<T: Copy + PartialEq> Families<T> {
    fn add(&mut self, first: IpAddr, last: IpAddr, value: T) -> Result<(), BuildError> {
        if first > last {
            return Err(BuildError::NoRange { first, last });
        }
        let (ranges, first, last) = match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => (&mut self.v4, first.to_bits().into(), last.to_bits().into()),
            (IpAddr::V6(first), IpAddr::V6(last))
                if first.to_ipv4_mapped().is_some() && last.to_ipv4_mapped().is_some() =>
            {
                return Ok(());
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => (&mut self.v6, upper_half(first), upper_half(last)),
            (first, last) => return Err(BuildError::NoRange { first, last }),
        };
        // Sources cut ranges into networks; those that follow each other and say the same become one at once.
        if let Some(before) = ranges.last_mut()
            && before.value == value
            && before.last.checked_add(1) == Some(first)
        {
            before.last = last;
            return Ok(());
        }
        if ranges.len() >= RANGES_MAX {
            return Err(BuildError::TooManyRanges);
        }
        ranges.push(Range { first, last, value });
        Ok(())
    }
}

/// The starts of the ranges within which both country and system stay the same, from 0 on.
fn merge(
    countries: Vec<Range<CountryCode>>,
    systems: Vec<Range<u32>>,
    end: u64,
    pack: impl Fn(Option<CountryCode>, Option<u32>) -> PackedNetwork,
) -> Vec<Start> {
    let (countries, systems) = (steps(countries, end), steps(systems, end));
    let mut countries = countries.into_iter().peekable();
    let mut systems = systems.into_iter().peekable();
    let (mut country, mut asn) = (None, None);
    let mut merged: Vec<Start> = Vec::new();
    while let Some(start) =
        [countries.peek().map(|step| step.0), systems.peek().map(|step| step.0)].into_iter().flatten().min()
    {
        if let Some((_, next)) = countries.next_if(|step| step.0 == start) {
            country = next;
        }
        if let Some((_, next)) = systems.next_if(|step| step.0 == start) {
            asn = next;
        }
        let network = pack(country, asn);
        if merged.last().is_none_or(|before| before.1 != network) {
            merged.push((start, network));
        }
    }
    merged
}

/// Where the value changes, from 0 on: ranges in order, without overlap, with what lies between them.
fn steps<T: Copy + PartialEq>(mut ranges: Vec<Range<T>>, end: u64) -> Vec<(u64, Option<T>)> {
    // The order of those that start together is kept.
    ranges.sort_by_key(|range| range.first);
    let mut steps: Vec<(u64, Option<T>)> = Vec::with_capacity(ranges.len() + 1);
    let mut step = |start: u64, value: Option<T>| {
        if steps.last().is_none_or(|before| before.1 != value) {
            steps.push((start, value));
        }
    };
    // The first address that no range has had, until the end is reached.
    let mut next = Some(0);
    for range in ranges {
        let Some(free) = next else { break };
        if range.last < free {
            continue;
        }
        if range.first > free {
            step(free, None);
        }
        step(range.first.max(free), Some(range.value));
        next = range.last.checked_add(1).filter(|next| *next <= end);
    }
    if let Some(free) = next {
        step(free, None);
    }
    steps
}
