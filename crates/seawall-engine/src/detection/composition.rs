//! Is what is learned still what it was? Who wants to flood unseen may first teach the guard that its requests are normal, a
//! little at a time and for days. One client has one vote in an hour, so that takes many clients, and these change the mix: of
//! kinds of user agents, of the networks that clients are in, of what is asked for first.
//!
//! Once an hour the mix of the last day is compared with what the weeks before had at the same times of the week, by the
//! Jensen-Shannon divergence (J. Lin, IEEE Transactions on Information Theory 37, 1991) over hashed bins. Beyond what chance
//! explains at so many votes, and beyond what has been usual here, it is alarmed; nothing is ever refused for it. The
//! reference follows what is learned with a half-life of two weeks, so that a lasting change ends its own alarm.
//!
//! A kind of agent is all its words, without versions: a browser's release changes no mix. Networks are autonomous systems,
//! or countries where these are not known: what is kept here is saved, and no network of a client may be.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::decision::{Aspect, Drift};
use crate::observation::attribute::Attribute;
use crate::units::Timestamp;

use super::baseline::{STRATA, stratum};
use super::values::{Item, Marks, UNUSED, ValueHash};

const ASPECTS: usize = Aspect::ALL.len();

const HOUR: Duration = Duration::from_secs(3600);

/// Values share so many bins.
const BINS: usize = 64;
const BIN_BITS: u32 = BINS.ilog2();

/// Times of the week: every four hours of a working day, and of a weekend day.
const TIME_HOURS: usize = 4;
const TIMES: usize = STRATA / TIME_HOURS;

/// In how many hours the reference fades to a half: the votes of 28 days are three quarters of it.
const REFERENCE_HALF_LIFE: f64 = 14.0 * 24.0;

/// In how many hours the present mix fades to a half: about a day is compared.
const RECENT_HALF_LIFE: f64 = 12.0;

/// Votes that a time of the week needs before an hour is compared with it.
const REFERENCE_VOTES_MIN: f64 = 100.0;

/// As many independent votes as the present mix must be worth.
const VOTES_MIN: f64 = 200.0;

/// Hours that are compared before any may be alarming: what is usual must be known first.
const TRIAL_HOURS: u32 = 72;

/// Hours over which what is usual is averaged.
const USUAL_HOURS: u32 = 14 * 24;

/// A divergence that matters, in bits: about a population stability index of a tenth, from which on a shift is called moderate.
/// A new kind that one client in twenty has comes to as much.
const DIVERGENCE_MIN: f64 = 0.02;

/// How many times the usual divergence is unusual.
const USUAL_FACTOR: f64 = 3.0;

/// Deviations of chance that chance hardly ever exceeds.
const CHANCE_DEVIATIONS: f64 = 3.0;

/// For so many comparisons on end it must be beyond what is explained, and then clearly within, for an alarm to begin and end.
const HELD: u8 = 6;
const CLEARLY: f64 = 0.7;

/// How many votes there are of each bin.
type Bins = Vec<f32>;

/// What one time of the week has had.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Time {
    votes: f64,
    /// The hour as of which it is faded.
    faded: u64,
    aspects: Vec<Bins>,
}

/// One aspect of the last day, and what it should have been.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Mix {
    recent: Bins,
    expected: Bins,
    /// The mean divergence beyond chance, over so many hours.
    usual: f64,
    hours: u32,
    /// The last comparison: what was found, and up to where it would have been explained.
    divergence: f64,
    explained: f64,
    beyond: u8,
    within: u8,
    alarm: Option<Alarm>,
    /// Whether the alarm has been told of. Not saved: a guard that starts anew says it again.
    #[serde(skip)]
    is_told: bool,
    #[serde(skip)]
    example: Option<String>,
}

/// An alarm, and the bin that has grown most, from and to which share of the votes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Alarm {
    since: Timestamp,
    bin: usize,
    before: f64,
    now: f64,
}

/// An alarm that has begun or ended and was not told of yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Begun; the bin of the values that have grown.
    Begun(Aspect, usize),
    /// Ended.
    Ended(Aspect),
}

/// The mix of what is learned.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Composition {
    /// The hour under way, since the epoch, and its votes.
    hour: u64,
    votes: Vec<Bins>,
    times: Vec<Time>,
    mixes: Vec<Mix>,
    /// The hour that was compared last.
    compared: u64,
    /// The variance of the present mix and that of what it is compared with, in the unit of its votes.
    variance: f64,
    variance_expected: f64,
}

impl Composition {
    pub(crate) fn new() -> Self {
        let bins = || vec![0.0; BINS];
        let aspects = || (0..ASPECTS).map(|_| bins()).collect::<Vec<Bins>>();
        let mix = || Mix {
            recent: bins(),
            expected: bins(),
            usual: 0.0,
            hours: 0,
            divergence: 0.0,
            explained: 0.0,
            beyond: 0,
            within: 0,
            alarm: None,
            is_told: false,
            example: None,
        };
        Self {
            hour: 0,
            votes: aspects(),
            times: (0..TIMES).map(|_| Time { votes: 0.0, faded: 0, aspects: aspects() }).collect(),
            mixes: (0..ASPECTS).map(|_| mix()).collect(),
            compared: 0,
            variance: 0.0,
            variance_expected: 0.0,
        }
    }

    /// Of the bins; an example is at most one value long.
    pub(crate) const fn memory_bytes(&self) -> usize {
        let bins = size_of::<Bins>() + BINS * size_of::<f32>();
        let example = crate::observation::attribute::VALUE_BYTES_MAX * 4;
        TIMES * (size_of::<Time>() + ASPECTS * bins) + ASPECTS * (size_of::<Mix>() + 3 * bins + example)
    }

    /// Counts the vote of a client for this hour.
    pub(crate) fn vote(&mut self, second: u64, marks: &Marks) {
        let hour = second / 3600;
        if hour > self.hour {
            self.finish_hour();
            self.hour = hour;
        }
        for (aspect, votes) in Aspect::ALL.into_iter().zip(&mut self.votes) {
            if let Some(count) = votes.get_mut(bin(aspect, marks)) {
                *count += 1.0;
            }
        }
    }

    /// Compares the hour that is over, and then learns it.
    fn finish_hour(&mut self) {
        let Self { hour, votes, times, mixes, compared, variance, variance_expected } = self;
        let cast: f64 = votes.first().map_or(0.0, |bins| sum(bins));
        let at = Timestamp::from_seconds(*hour * 3600);
        let Some(time) = times.get_mut(stratum(at) / TIME_HOURS).filter(|_| cast > 0.0) else { return };
        time.fade(*hour);
        if time.votes >= REFERENCE_VOTES_MIN {
            let kept = (-(hour.saturating_sub(*compared) as f64) / RECENT_HALF_LIFE).exp2();
            *compared = *hour;
            *variance = *variance * kept * kept + cast;
            // The hours of one time are compared with the same votes, so that their errors add up.
            *variance_expected =
                *variance_expected * kept * kept + TIME_HOURS as f64 * cast * cast / time.votes.max(cast);
            for ((mix, votes), usual) in mixes.iter_mut().zip(votes.iter()).zip(&time.aspects) {
                mix.add(votes, usual, cast / time.votes, kept);
                let weight = sum(&mix.recent);
                let worth = weight * weight / (*variance + *variance_expected);
                if worth >= VOTES_MIN {
                    mix.compare(worth, at + HOUR);
                }
            }
        }
        time.votes += cast;
        for (known, votes) in time.aspects.iter_mut().flatten().zip(votes.iter_mut().flatten()) {
            *known += std::mem::take(votes);
        }
    }

    /// Whatever has begun or ended and was not told of yet.
    pub(crate) fn change(&mut self) -> Option<Change> {
        let changed = |(_, mix): &(Aspect, &mut Mix)| mix.is_told != mix.alarm.is_some();
        let (aspect, mix) = Aspect::ALL.into_iter().zip(&mut self.mixes).find(changed)?;
        mix.is_told = mix.alarm.is_some();
        if !mix.is_told {
            mix.example = None;
        }
        Some(mix.alarm.map_or(Change::Ended(aspect), |alarm| Change::Begun(aspect, alarm.bin)))
    }

    /// Keeps an example of what has grown, as a condition is written.
    pub(crate) fn set_example(&mut self, aspect: Aspect, example: Option<String>) {
        if let Some(mix) = self.mixes.get_mut(aspect as usize) {
            mix.example = example;
        }
    }

    /// What has drifted.
    pub(crate) fn drifts(&self) -> Vec<Drift> {
        let drift = |(aspect, mix): (Aspect, &Mix)| {
            let alarm = mix.alarm?;
            Some(Drift {
                aspect,
                since: alarm.since,
                divergence: mix.divergence as f32,
                explained: mix.explained as f32,
                share_before: alarm.before as f32,
                share_now: alarm.now as f32,
                example: mix.example.clone(),
            })
        };
        Aspect::ALL.into_iter().zip(&self.mixes).filter_map(drift).collect()
    }

    /// Whether it can have been saved: everything is of its size and a number.
    pub(crate) fn is_sound(&self) -> bool {
        let fits = |aspects: &[Bins]| {
            let sound = |bins: &Bins| bins.len() == BINS && bins.iter().all(|votes| is_amount(f64::from(*votes)));
            aspects.len() == ASPECTS && aspects.iter().all(sound)
        };
        let sound = |mix: &Mix| {
            let numbers = [mix.usual, mix.divergence, mix.explained];
            let bins = [&mix.recent, &mix.expected];
            numbers.into_iter().all(is_amount)
                && mix.alarm.is_none_or(|alarm| is_amount(alarm.before) && is_amount(alarm.now))
                && bins.into_iter().all(|bins| bins.len() == BINS && bins.iter().all(|bin| is_amount((*bin).into())))
        };
        fits(&self.votes)
            && self.times.len() == TIMES
            && self.times.iter().all(|time| is_amount(time.votes) && fits(&time.aspects))
            && self.mixes.len() == ASPECTS
            && self.mixes.iter().all(sound)
            && is_amount(self.variance)
            && is_amount(self.variance_expected)
    }
}

impl Time {
    fn fade(&mut self, hour: u64) {
        let kept = (-(hour.saturating_sub(self.faded) as f64) / REFERENCE_HALF_LIFE).exp2();
        self.faded = hour;
        self.votes *= kept;
        self.aspects.iter_mut().flatten().for_each(|votes| *votes *= kept as f32);
    }
}

impl Mix {
    /// Adds an hour, and what it should have been; of what was there before so much is kept.
    fn add(&mut self, votes: &[f32], usual: &[f32], scale: f64, kept: f64) {
        for (recent, votes) in self.recent.iter_mut().zip(votes) {
            *recent = *recent * kept as f32 + votes;
        }
        for (expected, usual) in self.expected.iter_mut().zip(usual) {
            *expected = *expected * kept as f32 + usual * scale as f32;
        }
    }

    /// Compares the present mix, which is worth so many votes, with what it should be.
    fn compare(&mut self, worth: f64, at: Timestamp) {
        let kinds = self.recent.iter().zip(&self.expected).filter(|(recent, expected)| **recent + **expected > 0.0);
        let freedom = (kinds.count() as f64 - 1.0).max(1.0);
        // 8 n ln 2 times the divergence of a mix from its like is about χ² distributed.
        let chance = freedom / (8.0 * worth * std::f64::consts::LN_2);
        let chance_most = chance * (1.0 + CHANCE_DEVIATIONS * (2.0 / freedom).sqrt());
        self.divergence = divergence(&self.recent, &self.expected);
        self.explained = chance_most + DIVERGENCE_MIN.max(USUAL_FACTOR * self.usual);
        self.hours = self.hours.saturating_add(1);
        let is_beyond = self.hours > TRIAL_HOURS && self.divergence > self.explained;
        if !is_beyond {
            let rate = 1.0 / f64::from(self.hours.min(USUAL_HOURS));
            self.usual += ((self.divergence - chance).max(0.0) - self.usual) * rate;
        }
        self.beyond = if is_beyond { self.beyond.saturating_add(1) } else { 0 };
        let is_within = self.divergence < CLEARLY * self.explained;
        self.within = if is_within { self.within.saturating_add(1) } else { 0 };
        if self.beyond >= HELD || self.alarm.is_some() {
            let since = self.alarm.map_or(at, |alarm| alarm.since);
            self.alarm = Some(self.grown(since)).filter(|_| self.within < HELD);
        }
    }

    /// The bin whose share has grown most.
    fn grown(&self, since: Timestamp) -> Alarm {
        let (recent, expected) = (sum(&self.recent), sum(&self.expected));
        let shares = self.recent.iter().zip(&self.expected);
        let shares = shares.map(|(now, before)| (f64::from(*before) / expected, f64::from(*now) / recent));
        let most = shares.enumerate().max_by(|(_, one), (_, other)| (one.1 - one.0).total_cmp(&(other.1 - other.0)));
        let (bin, (before, now)) = most.unwrap_or_default();
        Alarm { since, bin, before, now }
    }
}

/// The value by which a request belongs to its bin, for examples.
pub(crate) fn shown(aspect: Aspect, marks: &Marks) -> Item {
    let first = |attributes: [Attribute; 2]| {
        let [first, second] = attributes.map(|attribute| Item { attribute, hash: marks.one(attribute) });
        if first.hash == UNUSED { second } else { first }
    };
    match aspect {
        Aspect::Agents => Item { attribute: Attribute::UserAgent, hash: marks.one(Attribute::UserAgent) },
        Aspect::Networks => first([Attribute::Asn, Attribute::Country]),
        Aspect::Paths => first([Attribute::PathPrefix, Attribute::Path]),
    }
}

/// The bin of a request.
pub(crate) fn bin(aspect: Aspect, marks: &Marks) -> usize {
    let hash = match aspect {
        Aspect::Agents => family(marks),
        Aspect::Networks | Aspect::Paths => shown(aspect, marks).hash,
    };
    (hash.wrapping_mul(0x9e37_79b1) >> (u32::BITS - BIN_BITS)) as usize
}

/// The kind of an agent: all its words, in whatever order; versions are no words.
fn family(marks: &Marks) -> ValueHash {
    let words = marks.of(Attribute::UserAgentWord);
    match words.iter().fold(0_u32, |all, word| all.wrapping_add(word.wrapping_mul(0x85eb_ca6b))) {
        0 => marks.one(Attribute::UserAgent),
        all => all,
    }
}

/// The Jensen-Shannon divergence of two mixes, in bits.
fn divergence(first: &[f32], second: &[f32]) -> f64 {
    let (all_first, all_second) = (sum(first).max(f64::MIN_POSITIVE), sum(second).max(f64::MIN_POSITIVE));
    let part = |share: f64, middle: f64| if share > 0.0 { share * (share / middle).log2() } else { 0.0 };
    let parts = first.iter().zip(second).map(|(first, second)| {
        let (first, second) = (f64::from(*first) / all_first, f64::from(*second) / all_second);
        let middle = (first + second) / 2.0;
        (part(first, middle) + part(second, middle)) / 2.0
    });
    parts.sum::<f64>().max(0.0)
}

fn sum(bins: &[f32]) -> f64 {
    bins.iter().map(|votes| f64::from(*votes)).sum()
}

fn is_amount(number: f64) -> bool {
    number.is_finite() && number >= 0.0
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::detection::random::Random;

    /// A Monday.
    const START: u64 = 1_600_041_600;

    /// One vote, of a client with this kind of agent, in this network, for this directory.
    fn marks(kind: u32, network: u32, directory: u32) -> Marks {
        let mut marks = Marks::default();
        marks.of_mut(Attribute::UserAgent)[0] = 1000 * kind + 2;
        marks.of_mut(Attribute::UserAgentWord)[..2].copy_from_slice(&[7, 100 + kind]);
        marks.of_mut(Attribute::Asn)[0] = 5000 + network;
        marks.of_mut(Attribute::PathPrefix)[0] = 9000 + directory;
        marks
    }

    /// Small numbers more often.
    fn drawn(random: &mut Random, below: f32) -> u32 {
        (below.powf(random.uniform()) - 1.0) as u32
    }

    /// What a vote is, in the hour of this number.
    type Change<'a> = &'a dyn Fn(u64, Marks, &mut Random) -> Marks;

    const NOTHING: Change<'static> = &|_, usual, _| usual;

    /// Days of a site with fewer visitors in the night and others at weekends; `change` says what of it is different. Returns
    /// what was alarmed.
    fn days(composition: &mut Composition, random: &mut Random, days: Range<u64>, change: Change<'_>) -> Vec<Aspect> {
        let mut alarmed = Vec::new();
        let from = days.start * 24;
        for hour in from..days.end * 24 {
            let second = START + hour * 3600;
            let is_weekend = stratum(Timestamp::from_seconds(second)) >= 24;
            let busy = if hour % 24 < 8 { 40 } else { 200 };
            for vote in 0..busy {
                let kind = if is_weekend && random.uniform() < 0.4 { 3 } else { drawn(random, 12.0) };
                let usual = marks(kind, drawn(random, 300.0), drawn(random, 30.0));
                composition.vote(second + vote, &change(hour - from, usual, random));
            }
            while let Some(change) = composition.change() {
                if let super::Change::Begun(aspect, _) = change {
                    alarmed.push(aspect);
                }
            }
        }
        alarmed
    }

    #[test]
    fn ordinary_weeks_with_their_weekends_and_a_browsers_release_are_no_alarm() {
        for seed in 0..20 {
            let (mut composition, mut random) = (Composition::new(), Random::new(seed));
            assert_eq!(days(&mut composition, &mut random, 0..14, NOTHING), [], "seed {seed}");
            // Within two weeks all have the new version.
            let release: Change<'_> = &|hour, mut usual, random| {
                let is_updated = random.uniform() < hour as f32 / (14.0 * 24.0);
                usual.of_mut(Attribute::UserAgent)[0] += u32::from(is_updated);
                usual
            };
            assert_eq!(days(&mut composition, &mut random, 14..28, release), [], "seed {seed}");
        }
    }

    #[test]
    fn a_poison_that_grows_for_days_is_alarmed_and_the_alarm_ends_by_itself() {
        for seed in 0..20 {
            let (mut composition, mut random) = (Composition::new(), Random::new(seed));
            assert_eq!(days(&mut composition, &mut random, 0..14, NOTHING), []);
            // From nothing to a sixth of the votes in six days, with an agent and from networks of its own.
            let poison: Change<'_> = &|hour, usual, random| {
                let is_poison = random.uniform() < hour as f32 / (36.0 * 24.0);
                if is_poison { marks(40, 400 + drawn(random, 50.0), drawn(random, 30.0)) } else { usual }
            };
            let alarmed = days(&mut composition, &mut random, 14..20, poison);
            assert!(alarmed.contains(&Aspect::Agents), "seed {seed}: {alarmed:?}");
            let drifts = composition.drifts();
            let drift = drifts.iter().find(|drift| drift.aspect == Aspect::Agents).expect("it goes on");
            assert!(drift.share_now > drift.share_before + 0.05, "{drift:?}");
            assert!(drift.divergence > drift.explained, "{drift:?}");
            days(&mut composition, &mut random, 20..24, NOTHING);
            assert_eq!(composition.drifts(), [], "seed {seed}");
        }
    }

    #[test]
    fn a_lasting_change_becomes_what_is_usual() {
        let (mut composition, mut random) = (Composition::new(), Random::new(5));
        days(&mut composition, &mut random, 0..14, NOTHING);
        let change: Change<'_> = &|_, usual, random| {
            if random.uniform() < 0.15 { marks(40, drawn(random, 300.0), drawn(random, 30.0)) } else { usual }
        };
        assert_eq!(days(&mut composition, &mut random, 14..18, change), [Aspect::Agents]);
        days(&mut composition, &mut random, 18..53, change);
        assert_eq!(composition.drifts(), []);
    }

    #[test]
    fn what_could_not_have_been_saved_is_told() {
        let (mut composition, mut random) = (Composition::new(), Random::new(5));
        days(&mut composition, &mut random, 0..3, NOTHING);
        assert!(composition.is_sound());
        let broken = |change: fn(&mut Composition)| {
            let mut broken = composition.clone();
            change(&mut broken);
            !broken.is_sound()
        };
        assert!(broken(|broken| broken.variance = f64::NAN));
        assert!(broken(|broken| drop(broken.votes.pop())));
        assert!(broken(|broken| drop(broken.times.pop())));
        assert!(broken(|broken| broken.mixes.iter_mut().for_each(|mix| mix.recent.clear())));
    }
}
