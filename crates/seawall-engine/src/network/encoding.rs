//! The binary form of a table: columns of numbers, which compress well, written with postcard.
//!
//! What is read is believed in nothing: every column must be as long as the others say, every place must exist, and the
//! ranges must end where the family does.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::builder::{RANGES_MAX, STARTS_MAX, SYSTEMS_MAX};
use super::packed::{PackedNetwork, Start};
use super::table::Parts;
use super::{CountryCode, Network, NetworkTable};

/// What the bytes begin with: a name and the version of the form.
const MARK: [u8; 8] = *b"seawnet1";

/// What stands for no country.
const NO_COUNTRY: [u8; 2] = *b"--";

/// The columns. Lengths count addresses of IPv4 and /64 of IPv6; the last range of a family has none, since it ends with
/// the family.
#[derive(Serialize, Deserialize)]
struct Columns<'a> {
    mark: [u8; 8],
    #[serde(borrow)]
    origin: &'a str,
    /// What each number is greater by than the one before.
    asn_steps: Vec<u32>,
    #[serde(borrow)]
    names: Vec<&'a str>,
    /// Two letters for each distinct network.
    network_countries: &'a [u8],
    /// For each distinct network 0 for no system, else one more than its place among the systems.
    network_systems: Vec<u32>,
    v4: RangeColumns,
    v6: RangeColumns,
}

#[derive(Serialize, Deserialize)]
struct RangeColumns {
    lengths: Vec<u64>,
    networks: Vec<u32>,
}

/// Why a table cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to encode the table of networks: {0}")]
pub struct EncodeError(String);

/// Why bytes are no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They do not begin as a table does.
    #[error("the bytes begin with {found:?}, where a table of networks begins with {:?}", MARK.escape_ascii().to_string())]
    Mark {
        /// What they begin with.
        found: String,
    },
    /// They end early, or hold a number or text that is none.
    #[error("the columns cannot be read: {0}")]
    Columns(String),
    /// There is more after the last column.
    #[error("{bytes} bytes follow the last column, where none belong")]
    Surplus {
        /// How many.
        bytes: usize,
    },
    /// Two columns that belong together are not equally long.
    #[error("there are {found} {what}, where {expected} belong")]
    Length {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// There are more than a table may have.
    #[error("there are {found} {what}, where a table has at most {max}")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        max: usize,
    },
    /// The numbers of the systems do not ascend.
    #[error("system number {index} does not follow the one before it")]
    Order {
        /// Its place, counted from 0.
        index: usize,
    },
    /// Two letters are no country.
    #[error("network number {index} is in {found:?}, which is no country code")]
    Country {
        /// The place of the network, counted from 0.
        index: usize,
        /// The letters.
        found: String,
    },
    /// A place that does not exist is referred to.
    #[error("{what} number {index} refers to place {found}, where places end at {end}")]
    Place {
        /// What refers.
        what: &'static str,
        /// Its own place, counted from 0.
        index: usize,
        /// What it refers to.
        found: u32,
        /// How many places there are.
        end: usize,
    },
    /// A range is empty or goes on beyond the last address.
    #[error("{family} range number {index} has the length {length}, which is none or leads beyond the last address")]
    Range {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// Its place, counted from 0.
        index: usize,
        /// Its length.
        length: u64,
    },
}

impl NetworkTable {
    /// The table in its binary form, the same for equal tables.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let (asns, names): (Vec<u32>, Vec<&str>) = self.systems().unzip();
        let mut distinct = Distinct::new();
        let v4 = RangeColumns::new(self.ranges_v4(), &mut distinct);
        let v6 = RangeColumns::new(self.ranges_v6(), &mut distinct);
        let networks = &distinct.networks;
        let networks = || networks.iter().map(|network| network.unpack(&asns));
        let letters = |network: Network| network.country().map_or(NO_COUNTRY, CountryCode::letters);
        let network_countries: Vec<u8> = networks().flat_map(letters).collect();
        let system = |network: Network| network.asn().and_then(|asn| self.system(asn));
        let network_systems = networks().map(|network| system(network).map_or(0, |place| place as u32 + 1)).collect();
        let mut before = 0;
        let asn_steps = asns.iter().map(|asn| asn - std::mem::replace(&mut before, *asn)).collect();
        let columns = Columns {
            mark: MARK,
            origin: self.origin(),
            asn_steps,
            names,
            network_countries: &network_countries,
            network_systems,
            v4,
            v6,
        };
        postcard::to_allocvec(&columns).map_err(|error| EncodeError(error.to_string()))
    }

    /// Reads a table from its binary form.
    ///
    /// # Errors
    /// What is wrong with the bytes, at the first place where anything is. Damage that leaves a well-formed table is not
    /// noticed: whoever stores the bytes adds a check sum.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if !bytes.starts_with(&MARK) {
            let found = bytes.get(..MARK.len()).unwrap_or(bytes).escape_ascii().to_string();
            return Err(DecodeError::Mark { found });
        }
        let (columns, rest): (Columns<'_>, &[u8]) =
            postcard::take_from_bytes(bytes).map_err(|error| DecodeError::Columns(error.to_string()))?;
        if !rest.is_empty() {
            return Err(DecodeError::Surplus { bytes: rest.len() });
        }
        let systems = systems(&columns)?;
        let networks = networks(&columns, &systems)?;
        let v4 = columns.v4.into_starts("IPv4", u64::from(u32::MAX), &networks)?;
        let v6 = columns.v6.into_starts("IPv6", u64::MAX, &networks)?;
        Ok(Self::from_parts(Parts { v4, v6, systems, origin: columns.origin.to_owned() }))
    }
}

fn systems(columns: &Columns<'_>) -> Result<Vec<(u32, String)>, DecodeError> {
    let count = columns.asn_steps.len();
    at_most("systems", count, SYSTEMS_MAX)?;
    same_length("names of systems", columns.names.len(), count)?;
    let mut systems = Vec::with_capacity(count);
    let mut asn = 0_u32;
    for (index, (step, name)) in columns.asn_steps.iter().zip(&columns.names).enumerate() {
        asn = asn.checked_add(*step).filter(|_| *step > 0).ok_or(DecodeError::Order { index })?;
        systems.push((asn, (*name).to_owned()));
    }
    Ok(systems)
}

fn networks(columns: &Columns<'_>, systems: &[(u32, String)]) -> Result<Vec<PackedNetwork>, DecodeError> {
    let count = columns.network_systems.len();
    at_most("networks", count, RANGES_MAX)?;
    same_length("letters of countries", columns.network_countries.len(), 2 * count)?;
    let (countries, _) = columns.network_countries.as_chunks::<2>();
    let network = |(index, (letters, system)): (usize, (&[u8; 2], &u32))| {
        let country = match CountryCode::from_letters(*letters) {
            None if *letters != NO_COUNTRY => {
                return Err(DecodeError::Country { index, found: letters.escape_ascii().to_string() });
            }
            country => country,
        };
        let Some(place) = system.checked_sub(1).map(|place| place as usize) else {
            return Ok(PackedNetwork::new(country, None));
        };
        let (asn, _) = systems.get(place).ok_or(DecodeError::Place {
            what: "network",
            index,
            found: *system,
            end: systems.len() + 1,
        })?;
        Ok(PackedNetwork::new(country, Some((*asn, place))))
    };
    countries.iter().zip(&columns.network_systems).enumerate().map(network).collect()
}

/// The distinct networks in the order in which they are met, the unknown one first.
struct Distinct {
    networks: Vec<PackedNetwork>,
    places: FxHashMap<PackedNetwork, u32>,
}

impl Distinct {
    fn new() -> Self {
        let unknown = PackedNetwork::default();
        Self { networks: vec![unknown], places: FxHashMap::from_iter([(unknown, 0)]) }
    }

    fn place(&mut self, network: PackedNetwork) -> u32 {
        *self.places.entry(network).or_insert_with(|| {
            self.networks.push(network);
            // There are far fewer than four milliard ranges.
            (self.networks.len() - 1) as u32
        })
    }
}

impl RangeColumns {
    fn new(ranges: impl Iterator<Item = Start>, distinct: &mut Distinct) -> Self {
        let (mut lengths, mut networks, mut before) = (Vec::new(), Vec::new(), None);
        for (start, network) in ranges {
            lengths.extend(before.replace(start).map(|before| start - before));
            networks.push(distinct.place(network));
        }
        Self { lengths, networks }
    }

    fn into_starts(
        self,
        family: &'static str,
        end: u64,
        networks: &[PackedNetwork],
    ) -> Result<Vec<Start>, DecodeError> {
        let count = self.networks.len();
        at_most("ranges", count, STARTS_MAX)?;
        same_length("lengths of ranges", self.lengths.len(), count.saturating_sub(1))?;
        let mut starts = Vec::with_capacity(count);
        let mut start = 0_u64;
        let mut lengths = self.lengths.into_iter();
        for (index, place) in self.networks.into_iter().enumerate() {
            let network = networks.get(place as usize).copied();
            let network =
                network.ok_or(DecodeError::Place { what: "range", index, found: place, end: networks.len() })?;
            starts.push((start, network));
            let Some(length) = lengths.next() else { break };
            let next = start.checked_add(length).filter(|next| length > 0 && *next <= end);
            start = next.ok_or(DecodeError::Range { family, index, length })?;
        }
        Ok(starts)
    }
}

fn at_most(what: &'static str, found: usize, max: usize) -> Result<(), DecodeError> {
    if found <= max { Ok(()) } else { Err(DecodeError::TooMany { what, found, max }) }
}

fn same_length(what: &'static str, found: usize, expected: usize) -> Result<(), DecodeError> {
    if found == expected { Ok(()) } else { Err(DecodeError::Length { what, found, expected }) }
}
