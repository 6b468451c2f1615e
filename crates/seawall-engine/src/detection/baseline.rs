//! Whom a rule would hurt: a sample of what normal requests look like.
//!
//! 48 strata, one for each hour of a working day and of a weekend day, each a reservoir of 1,024 rows in which older
//! votes fade with a half-life of seven days. A client has one vote in each hour, however much it asks for, so nobody
//! can teach the baseline by volume; its row is a random one of its requests and knows how many there were. Rows come
//! here a minute after they were seen, and not at all while an incident is open or from its first seconds.
//!
//! Saved rows hold neither clients nor their networks; see [`super::saved`].

use crate::decision::CostKind;
use crate::observation::attribute::Attribute;
use crate::units::Timestamp;

use super::random::Random;
use super::recent::{Answered, Sampled};
use super::values::{Marks, UNUSED};

/// Hours of a working day, then of a weekend day.
pub(crate) const STRATA: usize = 48;

/// Rows of one stratum.
pub(crate) const STRATUM_ROWS_MAX: usize = 1024;

/// How long a vote takes to weigh half, in seconds.
const HALF_LIFE_SECONDS: f64 = 7.0 * 86_400.0;

/// Votes under way that are remembered.
const VOTERS: usize = 8192;

/// The most requests of one client in one hour that count when the ordinary amount of something is estimated.
const REQUESTS_MAX: f32 = 64.0;

/// Rows of the ten minutes before.
const BEFORE_ROWS: usize = 4096;

const BEFORE_SECONDS: u64 = 600;

/// The stratum of a moment (UTC).
pub(crate) const fn stratum(at: Timestamp) -> usize {
    let hours = at.as_seconds() / 3600;
    // The epoch was a Thursday.
    let weekend = matches!((hours / 24 + 4) % 7, 0 | 6);
    (hours % 24) as usize + if weekend { 24 } else { 0 }
}

/// One normal request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NormalRow {
    pub(crate) marks: Marks,
    /// The client, for the voting; zero when unknown.
    client_hash: u32,
    pub(crate) costs: [f32; CostKind::ALL.len()],
    /// How many like it the client's hour had.
    pub(crate) requests: f32,
    /// Whether the client was an old acquaintance.
    pub(crate) returning: bool,
}

impl NormalRow {
    pub(crate) const fn saved(marks: Marks, costs: [f32; CostKind::ALL.len()], requests: f32, returning: bool) -> Self {
        Self { marks, client_hash: 0, costs, requests, returning }
    }

    fn of(sampled: &Sampled<'_>) -> Self {
        let row = sampled.row;
        Self {
            marks: row.marks,
            client_hash: row.client_hash,
            // The end of a request stands for all that it cost.
            costs: std::array::from_fn(|cost| row.costs[cost] + row.weight * row.before[cost]),
            requests: sampled.factor,
            returning: row.returning,
        }
    }

    /// How much of this cost it stands for.
    pub(crate) fn cost(&self, cost: usize) -> f64 {
        f64::from(self.costs.get(cost).copied().unwrap_or_default()) * f64::from(self.requests.min(REQUESTS_MAX))
    }

    /// How many like it the client's hour had, as far as they count.
    pub(crate) fn answers(&self) -> f64 {
        f64::from(self.requests.min(REQUESTS_MAX))
    }

    /// Whether its networks are known; after a restart they are not.
    pub(crate) fn has_networks(&self) -> bool {
        self.marks.of(Attribute::ClientPrefix).first().is_some_and(|hash| *hash != UNUSED)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Stratum {
    pub(crate) rows: Vec<NormalRow>,
    /// Votes so far, faded.
    pub(crate) votes: f64,
    /// When they were last faded.
    pub(crate) faded: u64,
}

/// A client's vote of this hour.
#[derive(Clone, Copy, Debug, Default)]
struct Voter {
    key: u32,
    hour: u32,
    requests: f32,
    /// Where its row is, if it was taken.
    at: Option<(u8, u16)>,
    /// Whether nothing is learned of it.
    is_withheld: bool,
}

/// What normal requests look like.
#[derive(Clone, Debug)]
pub(crate) struct Baseline {
    strata: Vec<Stratum>,
    voters: Vec<Voter>,
    /// The ten minutes before, a ring, for while the strata are young.
    before: Vec<(u64, NormalRow)>,
    before_at: usize,
}

impl Baseline {
    pub(crate) fn new() -> Self {
        let stratum = || Stratum { rows: Vec::with_capacity(STRATUM_ROWS_MAX), votes: 0.0, faded: 0 };
        Self {
            strata: (0..STRATA).map(|_| stratum()).collect(),
            voters: vec![Voter::default(); VOTERS],
            before: Vec::with_capacity(BEFORE_ROWS),
            before_at: 0,
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let strata = self.strata.iter().map(|stratum| size_of::<Stratum>() + stratum.rows.capacity() * ROW_BYTES);
        strata.sum::<usize>()
            + size_of_val(self.voters.as_slice())
            + self.before.capacity() * size_of::<(u64, NormalRow)>()
    }

    pub(crate) fn strata(&self) -> &[Stratum] {
        &self.strata
    }

    /// Replaces the rows of a stratum by saved ones, at most as many as fit.
    pub(crate) fn restore_stratum(&mut self, index: usize, votes: f64, faded: u64, rows: Vec<NormalRow>) {
        if let Some(stratum) = self.strata.get_mut(index) {
            stratum.rows.extend(rows.into_iter().take(STRATUM_ROWS_MAX));
            stratum.votes = votes;
            stratum.faded = faded;
        }
    }

    /// Learns from one second that was normal. `learn` is told of each row, and whether it is a vote: the first of its client
    /// in this hour. Where it says no to a vote, nothing is learned of that client in that hour.
    pub(crate) fn learn(
        &mut self,
        second: u64,
        rows: &mut dyn Iterator<Item = Sampled<'_>>,
        random: &mut Random,
        mut learn: impl FnMut(&Marks, bool) -> bool,
    ) {
        for sampled in rows {
            if matches!(sampled.row.answered, Answered::BySite) && !sampled.row.under_way && !sampled.row.exempt {
                let row = NormalRow::of(&sampled);
                if self.vote(second, row, random, &mut learn) {
                    self.remember(second, row);
                }
            }
        }
    }

    /// Counts a row, and says whether it is learned.
    fn vote(
        &mut self,
        second: u64,
        row: NormalRow,
        random: &mut Random,
        learn: &mut impl FnMut(&Marks, bool) -> bool,
    ) -> bool {
        let index = stratum(Timestamp::from_seconds(second));
        let hour = (second / 3600) as u32;
        // The end of a long request is reported apart from its beginning and has a vote of its own.
        let key = row.client_hash ^ if row.costs[0] > 0.0 { 0 } else { 0x5bd1_e995 };
        let entry = key as usize % VOTERS;
        let voter = &mut self.voters[entry];
        if row.client_hash != 0 && voter.key == key && voter.hour == hour {
            if voter.is_withheld {
                return false;
            }
            learn(&row.marks, false);
            voter.requests += row.requests;
            let Some((stratum, at)) = voter.at else { return true };
            let kept =
                self.strata.get_mut(usize::from(stratum)).and_then(|stratum| stratum.rows.get_mut(usize::from(at)));
            if let Some(kept) = kept.filter(|kept| kept.client_hash == row.client_hash) {
                if f64::from(random.uniform()) <= f64::from(row.requests) / f64::from(voter.requests) {
                    *kept = row;
                }
                kept.requests = voter.requests;
            }
            return true;
        }
        if !learn(&row.marks, true) {
            *voter = Voter { key, hour, requests: row.requests, at: None, is_withheld: true };
            return false;
        }
        let stratum = &mut self.strata[index];
        let elapsed = second.saturating_sub(stratum.faded) as f64;
        stratum.votes = stratum.votes * (-elapsed / HALF_LIFE_SECONDS).exp2() + 1.0;
        stratum.faded = second.max(stratum.faded);
        let at = if stratum.rows.len() < STRATUM_ROWS_MAX {
            stratum.rows.push(row);
            Some(stratum.rows.len() - 1)
        } else if f64::from(random.uniform()) * stratum.votes.max(1.0) <= STRATUM_ROWS_MAX as f64 {
            let at = random.below(STRATUM_ROWS_MAX);
            stratum.rows[at] = row;
            Some(at)
        } else {
            None
        };
        let at = at.map(|at| (index as u8, at as u16));
        *voter = Voter { key, hour, requests: row.requests, at, is_withheld: false };
        true
    }

    fn remember(&mut self, second: u64, row: NormalRow) {
        if self.before.len() < BEFORE_ROWS {
            self.before.push((second, row));
        } else {
            self.before[self.before_at] = (second, row);
            self.before_at = (self.before_at + 1) % BEFORE_ROWS;
        }
    }

    /// What is normal at this time of the week: rows of this hour first, then of the hours around it, until there are
    /// enough.
    pub(crate) fn normal(&self, at: Timestamp, enough: usize) -> Vec<&NormalRow> {
        let middle = stratum(at);
        let (day, hour) = (middle / 24, middle % 24);
        let mut rows = Vec::with_capacity(enough);
        for distance in 0..=12 {
            for hour in [(hour + distance) % 24, (hour + 24 - distance) % 24] {
                for day in [day, 1 - day] {
                    rows.extend(self.strata[day * 24 + hour].rows.iter().take(enough - rows.len()));
                }
                if distance % 12 == 0 {
                    break;
                }
            }
        }
        rows
    }

    /// How many rows there are of the minutes before.
    pub(crate) const fn before_count(&self) -> usize {
        self.before.len()
    }

    /// The ten minutes before `at`.
    pub(crate) fn before(&self, at: Timestamp) -> Vec<&NormalRow> {
        // Rows come here a minute late.
        let from = at.as_seconds().saturating_sub(BEFORE_SECONDS + super::recent::SECONDS as u64);
        self.before.iter().filter(|(second, _)| *second >= from).map(|(_, row)| row).collect()
    }
}

const ROW_BYTES: usize = size_of::<NormalRow>();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::recent::Row;

    /// A Saturday.
    const SATURDAY: u64 = 1_600_473_600;

    fn row(client_hash: u32, mark: u32) -> Row {
        let mut row = Row { client_hash, costs: [1.0, 0.0, 0.0, 0.0], ..Row::default() };
        row.marks.of_mut(Attribute::Path)[0] = mark;
        row
    }

    fn learn(baseline: &mut Baseline, second: u64, rows: &[Row], random: &mut Random) {
        let at = Timestamp::from_seconds(second);
        baseline.learn(second, &mut rows.iter().map(|row| Sampled { row, at, factor: 1.0 }), random, |_, _| true);
    }

    #[test]
    fn strata_are_hours_of_working_days_and_weekends() {
        assert_eq!(stratum(Timestamp::from_seconds(SATURDAY)), 24);
        assert_eq!(stratum(Timestamp::from_seconds(SATURDAY + 86_400 + 3600)), 25);
        assert_eq!(stratum(Timestamp::from_seconds(SATURDAY + 2 * 86_400 + 5 * 3600)), 5);
        assert_eq!(stratum(Timestamp::from_seconds(SATURDAY - 1)), 23);
    }

    #[test]
    fn a_client_has_one_vote_an_hour_however_much_it_asks() {
        let (mut baseline, mut random) = (Baseline::new(), Random::new(3));
        for number in 0..5000 {
            learn(&mut baseline, SATURDAY, &[row(7, 100 + number)], &mut random);
        }
        learn(&mut baseline, SATURDAY, &[row(8, 5)], &mut random);
        let rows = baseline.normal(Timestamp::from_seconds(SATURDAY), 8192);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].requests, 5000.0);
        assert!(rows[0].cost(0) <= 64.0);
        assert_ne!(rows[0].marks.one(Attribute::Path), 100, "a random one of its requests, not its first");
        learn(&mut baseline, SATURDAY + 3600, &[row(7, 1)], &mut random);
        assert_eq!(baseline.normal(Timestamp::from_seconds(SATURDAY), 8192).len(), 3);
    }

    #[test]
    fn a_full_stratum_keeps_its_size_and_follows_the_new() {
        let (mut baseline, mut random) = (Baseline::new(), Random::new(3));
        let before = baseline.memory_bytes();
        for week in 0..8 {
            for client in 0..3000 {
                learn(&mut baseline, SATURDAY + week * 604_800, &[row(client + 1, week as u32 + 2)], &mut random);
            }
        }
        let rows = baseline.normal(Timestamp::from_seconds(SATURDAY), 8192);
        assert_eq!(rows.len(), STRATUM_ROWS_MAX);
        let newest = rows.iter().filter(|row| row.marks.one(Attribute::Path) == 9).count();
        assert!((350..750).contains(&newest), "half of the rows, not {newest}");
        assert_eq!(baseline.memory_bytes(), before);
    }
}
