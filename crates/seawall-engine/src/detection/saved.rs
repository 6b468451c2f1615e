//! What is kept of the baseline over a restart, as bytes. It does no I/O: who keeps the bytes is not its business.
//!
//! Rows are saved without clients and without the networks of clients, not even hashed: 2³² addresses are soon tried.
//! After a restart a rule that names a network is therefore judged only by rows seen since, with the wider bound that
//! few rows give. The values are hashes under a key that is saved with them, since without it they would mean nothing.
//!
//! The layout: magic, version, checksum, then postcard, and behind it the last numbers of rules and incidents, which earlier versions
//! left out and pass over. Agents and paths come as dictionaries, since few of each are
//! different, which makes a full baseline about 2 MB.

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use rustc_hash::FxHashMap;

use crate::decision::{Condition, CostKind, Numbers, Wanted};
use crate::observation::attribute::Attribute;
use crate::units::Timestamp;

use super::baseline::{Baseline, NormalRow, STRATA, STRATUM_ROWS_MAX};
use super::composition::Composition;
use super::seasonal::{SavedSeasonal, Seasonal};
use super::seen::{SavedSeen, Seen};
use super::values::{Keys, Marks, UNUSED, ValueHash};

/// What the bytes begin with.
const MAGIC: &[u8; 8] = b"SEAWALLB";

/// The version of the layout.
const VERSION: u32 = 7;

const HEAD_BYTES: usize = MAGIC.len() + 4 + 8;

/// More than a full baseline of rows that have nothing in common.
const BYTES_MAX: usize = 16 << 20;

/// Attributes that are a part of an agent, and of a path.
const AGENT: [Attribute; 2] = [Attribute::UserAgent, Attribute::UserAgentWord];
const PATH: [Attribute; 4] = [Attribute::Path, Attribute::PathTemplate, Attribute::PathPrefix, Attribute::Extension];

/// The others that are saved: all but the networks of addresses.
const OTHERS: [Attribute; 9] = [
    Attribute::RefererOrigin,
    Attribute::QueryKeys,
    Attribute::Host,
    Attribute::Method,
    Attribute::Version,
    Attribute::HeaderOrder,
    Attribute::Ja4,
    Attribute::Country,
    Attribute::Asn,
];

/// Why saved data was not taken up.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RestoreError {
    /// It is not a saved baseline at all.
    #[error(
        "restore the baseline: the data does not begin as a saved baseline does; expected one made by this program"
    )]
    Foreign,
    /// It was made by another version.
    #[error("restore the baseline: it is of version {found}, and this program reads version {VERSION}")]
    Version {
        /// The version that it says it is.
        found: u32,
    },
    /// It is larger than any baseline.
    #[error("restore the baseline: it has {found} bytes, and no baseline has more than {BYTES_MAX}")]
    Oversized {
        /// Its size.
        found: usize,
    },
    /// It is not what was saved.
    #[error("restore the baseline: the data is damaged ({0}); expected it as it was saved")]
    Damaged(&'static str),
}

#[derive(Serialize, Deserialize)]
struct Saved {
    keys: [u64; 2],
    seasonal: SavedSeasonal,
    agents: Vec<Vec<ValueHash>>,
    paths: Vec<Vec<ValueHash>>,
    strata: Vec<SavedStratum>,
    seen: SavedSeen,
    composition: Composition,
    barred: Vec<SavedBar>,
}

/// Conditions that may not be tried again, and until which second. None that names a network of clients is saved.
#[derive(Serialize, Deserialize)]
struct SavedBar {
    conditions: Vec<(Attribute, Wanted)>,
    until: u64,
}

#[derive(Serialize, Deserialize)]
struct SavedStratum {
    votes: f64,
    faded: u64,
    rows: Vec<SavedRow>,
}

#[derive(Serialize, Deserialize)]
struct SavedRow {
    agent: u32,
    path: u32,
    others: [ValueHash; OTHERS.len()],
    costs: [f32; CostKind::ALL.len()],
    requests: f32,
    returning: bool,
}

/// What is restored: the keys of values, how much is normal, what normal requests look like, which values were seen, the mix
/// of them, what may not be tried again, and the last numbers.
type Restored = ([u64; 2], Seasonal, Baseline, Seen, Composition, Vec<Barred>, Numbers);

type Barred = (Vec<Condition>, Timestamp);

pub(super) fn save(
    keys: &Keys,
    seasonal: &Seasonal,
    baseline: &Baseline,
    seen: &Seen,
    composition: &Composition,
    barred: &[Barred],
    numbers: Numbers,
) -> Vec<u8> {
    let mut agents = Dictionary::default();
    let mut paths = Dictionary::default();
    let strata = baseline.strata().iter().map(|stratum| SavedStratum {
        votes: stratum.votes,
        faded: stratum.faded,
        rows: stratum
            .rows
            .iter()
            .map(|row| SavedRow {
                agent: agents.index(parts(&row.marks, &AGENT)),
                path: paths.index(parts(&row.marks, &PATH)),
                others: OTHERS.map(|attribute| row.marks.one(attribute)),
                costs: row.costs,
                requests: row.requests,
                returning: row.returning,
            })
            .collect(),
    });
    let strata = strata.collect();
    let saved = Saved {
        keys: keys.values,
        seasonal: seasonal.saved(),
        agents: agents.entries,
        paths: paths.entries,
        strata,
        seen: seen.saved(),
        composition: composition.clone(),
        barred: barred.iter().filter_map(saved_bar).collect(),
    };
    // Writing plain numbers to memory cannot fail; were it to, an empty baseline is what is restored as damaged.
    let body = postcard::to_allocvec(&(saved, numbers)).unwrap_or_default();
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&checksum(&body).to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

pub(super) fn restore(bytes: &[u8]) -> Result<Restored, RestoreError> {
    if bytes.len() > BYTES_MAX {
        return Err(RestoreError::Oversized { found: bytes.len() });
    }
    let rest = bytes.strip_prefix(MAGIC).ok_or(RestoreError::Foreign)?;
    let (version, rest) = rest.split_first_chunk::<4>().ok_or(RestoreError::Damaged("cut short"))?;
    let found = u32::from_le_bytes(*version);
    if found != VERSION {
        return Err(RestoreError::Version { found });
    }
    let (expected, body) = rest.split_first_chunk::<8>().ok_or(RestoreError::Damaged("cut short"))?;
    if u64::from_le_bytes(*expected) != checksum(body) {
        return Err(RestoreError::Damaged("its checksum differs"));
    }
    let damaged = |_| RestoreError::Damaged("it does not read as one");
    let (saved, rest) = postcard::take_from_bytes::<Saved>(body).map_err(damaged)?;
    let numbers = if rest.is_empty() { Numbers::default() } else { postcard::from_bytes(rest).map_err(damaged)? };
    let seasonal = Seasonal::restored(&saved.seasonal).ok_or(RestoreError::Damaged("impossible rates"))?;
    if saved.strata.len() != STRATA || saved.strata.iter().any(|stratum| stratum.rows.len() > STRATUM_ROWS_MAX) {
        return Err(RestoreError::Damaged("too many rows"));
    }
    let mut baseline = Baseline::new();
    for (index, stratum) in saved.strata.iter().enumerate() {
        let row = |row: &SavedRow| {
            let mut marks = Marks::default();
            set_parts(&mut marks, &AGENT, saved.agents.get(row.agent as usize)?);
            set_parts(&mut marks, &PATH, saved.paths.get(row.path as usize)?);
            for (attribute, hash) in OTHERS.into_iter().zip(row.others) {
                marks.set(attribute, hash);
            }
            let sound = row.costs.iter().chain([&row.requests]).all(|cost| cost.is_finite() && *cost >= 0.0);
            sound.then(|| NormalRow::saved(marks, row.costs, row.requests, row.returning))
        };
        let rows = stratum.rows.iter().map(row).collect::<Option<Vec<NormalRow>>>();
        let rows = rows.ok_or(RestoreError::Damaged("impossible rows"))?;
        if !(stratum.votes.is_finite() && stratum.votes >= 0.0) {
            return Err(RestoreError::Damaged("impossible votes"));
        }
        baseline.restore_stratum(index, stratum.votes, stratum.faded, rows);
    }
    let seen = Seen::restored(saved.seen).ok_or(RestoreError::Damaged("counts of values of another size"))?;
    if !saved.composition.is_sound() {
        return Err(RestoreError::Damaged("an impossible mix"));
    }
    let barred = saved.barred.into_iter().map(restored_bar).collect();
    Ok((saved.keys, seasonal, baseline, seen, saved.composition, barred, numbers))
}

fn saved_bar((conditions, until): &Barred) -> Option<SavedBar> {
    let of_networks = conditions.iter().any(|condition| condition.attribute == Attribute::ClientPrefix);
    let parts = || conditions.iter().map(|condition| (condition.attribute, condition.wanted.clone())).collect();
    (!of_networks).then(|| SavedBar { conditions: parts(), until: until.as_seconds() })
}

fn restored_bar(bar: SavedBar) -> Barred {
    let conditions = bar.conditions.into_iter().map(|(attribute, wanted)| Condition { attribute, wanted });
    (conditions.collect(), Timestamp::from_seconds(bar.until))
}

/// Against damage, not against forgery: who can write the file can write anything into it.
fn checksum(body: &[u8]) -> u64 {
    SipHasher13::new_with_keys(u64::from_le_bytes(*MAGIC), u64::from(VERSION)).hash(body)
}

/// Every different list once.
#[derive(Default)]
struct Dictionary {
    entries: Vec<Vec<ValueHash>>,
    known: FxHashMap<Vec<ValueHash>, u32>,
}

impl Dictionary {
    fn index(&mut self, values: Vec<ValueHash>) -> u32 {
        *self.known.entry(values).or_insert_with_key(|values| {
            self.entries.push(values.clone());
            (self.entries.len() - 1) as u32
        })
    }
}

/// The values of some attributes, without unused places at the end.
fn parts(marks: &Marks, attributes: &[Attribute]) -> Vec<ValueHash> {
    let mut values: Vec<ValueHash> = attributes.iter().flat_map(|attribute| marks.of(*attribute)).copied().collect();
    while values.last() == Some(&UNUSED) {
        values.pop();
    }
    values
}

fn set_parts(marks: &mut Marks, attributes: &[Attribute], values: &[ValueHash]) {
    let mut values = values.iter().copied();
    for attribute in attributes {
        for place in marks.of_mut(*attribute) {
            *place = values.next().unwrap_or(UNUSED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_tried_again_is_kept_whatever_it_asks_for() {
        let until = Timestamp::from_seconds(1_700_000_000);
        let barred: Vec<Barred> = vec![
            (vec![Condition::new(Attribute::Path, b"/a"), Condition::absent(Attribute::RefererOrigin)], until),
            (vec![Condition::new(Attribute::Path, b"/"), Condition::present(Attribute::QueryKeys)], until),
        ];
        let of_network = (vec![Condition::new(Attribute::ClientPrefix, b"192.0.2.0/24")], until);
        let (keys, all) = (Keys::new(1), [barred.as_slice(), &[of_network]].concat());
        let (seasonal, baseline, seen) = (Seasonal::new(), Baseline::new(), Seen::new());
        let bytes = save(&keys, &seasonal, &baseline, &seen, &Composition::new(), &all, Numbers::default());
        let (.., restored, _) = restore(&bytes).expect("as it was saved");
        assert_eq!(restored, barred, "but for what names a network");
    }
}
