//! The binary form of a table: columns of numbers, which compress well, written with postcard.
//!
//! What is read is believed in nothing: every column must be as long as the others say, every place must exist, and the
//! ranges must end where the family does.

use serde::{Deserialize, Serialize};

use super::builder::{RANGES_MAX, SYSTEMS_MAX};
use super::table::{Parts, Start};
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
    /// If a network is announced by a system without an entry among the names; [`NetworkTable::decode`] could not read it.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let (asns, names): (Vec<u32>, Vec<&str>) = self.systems().unzip();
        let mut network_countries = Vec::with_capacity(2 * self.networks().len());
        let mut network_systems = Vec::with_capacity(self.networks().len());
        for network in self.networks() {
            network_countries.extend(network.country.map_or(NO_COUNTRY, CountryCode::letters));
            network_systems.push(match network.asn {
                None => 0,
                Some(asn) => match asns.binary_search(&asn) {
                    Ok(place) => place as u32 + 1,
                    Err(_) => return Err(EncodeError(format!("system {asn} has no name"))),
                },
            });
        }
        let mut before = 0;
        let asn_steps = asns.iter().map(|asn| asn - std::mem::replace(&mut before, *asn)).collect();
        let columns = Columns {
            mark: MARK,
            origin: self.origin(),
            asn_steps,
            names,
            network_countries: &network_countries,
            network_systems,
            v4: RangeColumns::new(self.ranges_v4()),
            v6: RangeColumns::new(self.ranges_v6()),
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
        let v4 = columns.v4.into_starts("IPv4", u64::from(u32::MAX), networks.len())?;
        let v6 = columns.v6.into_starts("IPv6", u64::MAX, networks.len())?;
        Ok(Self::from_parts(Parts { v4, v6, networks, systems, origin: columns.origin.to_owned() }))
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

fn networks(columns: &Columns<'_>, systems: &[(u32, String)]) -> Result<Vec<Network>, DecodeError> {
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
        let asn = match system.checked_sub(1) {
            None => None,
            Some(place) => {
                let end = systems.len() + 1;
                let named = systems.get(place as usize);
                let (asn, _) = named.ok_or(DecodeError::Place { what: "network", index, found: *system, end })?;
                Some(*asn)
            }
        };
        Ok(Network { country, asn })
    };
    countries.iter().zip(&columns.network_systems).enumerate().map(network).collect()
}

impl RangeColumns {
    fn new(starts: impl Iterator<Item = Start>) -> Self {
        let (starts, networks): (Vec<u64>, Vec<u32>) = starts.unzip();
        let lengths =
            starts.windows(2).map(|pair| pair.iter().rev().copied().reduce(|end, start| end - start).unwrap_or(0));
        Self { lengths: lengths.collect(), networks }
    }

    fn into_starts(self, family: &'static str, end: u64, places: usize) -> Result<Vec<Start>, DecodeError> {
        let count = self.networks.len();
        // Country and system each may have as many, so a merged table has up to twice that.
        at_most("ranges", count, 2 * RANGES_MAX)?;
        same_length("lengths of ranges", self.lengths.len(), count.saturating_sub(1))?;
        let mut starts = Vec::with_capacity(count);
        let mut start = 0_u64;
        let mut lengths = self.lengths.into_iter();
        for (index, place) in self.networks.into_iter().enumerate() {
            if place as usize >= places {
                return Err(DecodeError::Place { what: "range", index, found: place, end: places });
            }
            starts.push((start, place));
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
