//! When is traffic not normal? Each cost has a trigger of its own, at three speeds:
//!
//! - *fast*: the last second, and the last half of it by itself, exceed what a second may be, in three of the last five
//!   ticks. With ticks every 250 ms this takes 0.75 to 1.25 s for a flood of several times the ordinary burst, and a burst
//!   that is over within half a second is never one. The number of clients that arrive is watched in
//!   the same way, because bursts of it are small on any site: a distributed flood of twenty requests a second stands
//!   out there at once, where twenty requests are still a page load.
//!   Three seconds together tell a dozen clients a second, or a dozen dear requests, from chance where one second does not;
//!   of a cost, what a few busy visitors have is left out of them.
//!   Heaviest of all watched is what one client asks for: forty requests a second from one address are seen within two
//!   seconds on a site that is used to more than that from its visitors together.
//!   So is an agent that ordinary visitors do not have and many clients arrive with: a flood that is small beside the
//!   ordinary traffic.
//! - *slow*: the last ten seconds exceed what ten seconds may be, for three seconds, without what a few busy visitors have.
//! - *creeping*: a cumulative sum (E. S. Page, Biometrika 41, 1954) over ten-second sums, for ramps.
//!
//! What a stretch of time may be is `max(1.5 × p99, median + 6 × MAD, a floor)`, and 2.5 × p99 for one second of a cost. A median page load, a crawler or a herd
//! of feed readers is part of p99, so the factor and the delay keep them out.
//!
//! The time to a rule in force follows: a flood of twice the fast threshold fills the last second halfway after 0.5 s,
//! and has held for three ticks 0.5 s later; then comes the shadow of one second. Together 2 to 2.5 s.

use std::time::Duration;

use crate::decision::CostKind;
use crate::units::Timestamp;

use super::few::Visitors;
use super::recent::Recent;
use super::seasonal::{Normal, Seasonal};
use super::series::{ARRIVALS, HEAVIEST, SERIES, STEPS_PER_SECOND, Series};

const COSTS: usize = CostKind::ALL.len();

/// How far beyond the ordinary maximum is too far.
const UPPER_FACTOR: f64 = 1.5;

/// The same for one second of a cost, where visitors who load pages at once are an ordinary coincidence: only a strong
/// excess is worth the haste. Arrivals of clients do not come in such bursts and keep the factor above.
const UPPER_FACTOR_SECOND: f64 = 2.5;

/// How many median absolute deviations above the median are too many.
const SPREAD_FACTOR: f64 = 6.0;

/// What is added to the median at least, over ten seconds: ten requests, 2 MB, three seconds of work, a hundred seconds
/// of connections. Below this nothing is worth an incident on the smallest server.
const FLOOR_TEN_SECONDS: [f64; COSTS] = [10.0, 2e6, 3.0, 100.0];

/// The same over one second; nine clients, since that many come at once by chance once in months on a site of one a second;
/// and 35 faded requests of one client, which is a page with forty parts that loads within a second.
const FLOOR_SECOND: [f64; SERIES] = [15.0, 2e6, 2.0, 50.0, 9.0, 35.0];

/// One client is heavy when as many requests as a page has parts come in one second, or with so many faded ones of its own: a
/// dozen a second from a visitor who opens one page after another is neither.
const HEAVY_SECOND_MIN: f64 = 20.0;
const HEAVY_MIN: f64 = 70.0;

/// What a client has asked for fades by itself, so fewer ticks suffice.
const HEAVY_HELD: u32 = 2;

/// So many clients who arrive with one agent, or word of it, that ordinary visitors do not have, those of two seconds ago counting half. Since
/// this fades by itself, fewer ticks suffice, and it began longer ago than what is seen in a second.
pub(crate) const NEWCOMERS_MIN: f64 = 6.0;
const NEWCOMERS_HELD: u32 = 2;
const NEWCOMERS_BEGAN: Duration = Duration::from_millis(2000);

/// So many seconds together are compared as well, and it began about so long ago when they are too much.
const TOGETHER_SECONDS: u64 = 3;
const TOGETHER_BEGAN: Duration = Duration::from_millis(1500);

/// Fast: this many of the last five ticks.
const HELD: u32 = 3;
const HELD_OF: u32 = 0b1_1111;

/// Ticks closer together than this are not independent windows and count as one.
const WINDOW: Duration = Duration::from_millis(200);

/// Slow: this long.
const SLOW: Duration = Duration::from_secs(3);

/// Creeping: each ten-second sum adds its distance above the ordinary maximum in units of the spread, at most this
/// much, so that no single burst decides,
const CREEP_STEP_MAX: f64 = 3.0;

/// until the sum passes this.
const CREEP_MAX: f64 = 12.0;

/// One cost as it is now, over ten seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    /// What was offered.
    pub(crate) offered: f64,
    pub(crate) normal: Normal,
    /// Whether it exceeds what it may be, at any speed.
    pub(crate) exceeds: bool,
    /// Whether it is clearly within what it may be.
    pub(crate) calm: bool,
}

/// The triggers of all costs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trigger {
    fast: [u32; COSTS],
    fast_since: [Option<Timestamp>; COSTS],
    newcomers: u32,
    heavy: u32,
    slow_since: [Option<Timestamp>; COSTS],
    creep: [f64; COSTS],
    last: Timestamp,
    readings: [Reading; COSTS],
    /// What is normal, and the revision of it that this is.
    normal: ((u64, u64), [Normal; COSTS]),
    /// Whether the last window alone was above the fast threshold.
    surge: bool,
}

/// By what an excess was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// One second of the cost.
    Second,
    /// Ten seconds of it.
    TenSeconds,
    /// A ramp.
    Creeping,
    /// Clients arrive faster than on ordinary days.
    Arrivals,
    /// One client asks for more than any page has parts.
    HeavyClient,
    /// Clients arrive with one agent that ordinary visitors do not have.
    Newcomers,
    /// What an older rule is about is back.
    Return,
}

impl Sign {
    /// In words, of this cost.
    pub(crate) fn describe(self, cost: CostKind) -> String {
        match self {
            Self::Second => format!("{} exceed what a second may have", cost.unit()),
            Self::TenSeconds => format!("{} exceed what ten seconds may have", cost.unit()),
            Self::Creeping => format!("{} have grown for minutes beyond what is normal", cost.unit()),
            Self::Arrivals => "more clients arrive at once than is normal".to_owned(),
            Self::HeavyClient => "one client asks for more than any page has parts".to_owned(),
            Self::Newcomers => "many clients arrive with an agent that ordinary visitors do not have".to_owned(),
            Self::Return => "what an older rule is about is back".to_owned(),
        }
    }
}

/// A cost has exceeded what is normal for long enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Exceeded {
    pub(crate) cost: CostKind,
    pub(crate) sign: Sign,
    /// When it began, as far as can be told.
    pub(crate) onset: Timestamp,
}

impl Trigger {
    /// The present reading of each cost.
    pub(crate) fn readings(&self) -> &[Reading; COSTS] {
        &self.readings
    }

    /// Whether the last second by itself is above what a second may be: enough to arm again what was armed before.
    pub(crate) const fn surge(&self) -> bool {
        self.surge
    }

    /// Takes a complete ten-second sum, for the creeping trigger.
    pub(crate) fn sample(&mut self, at: Timestamp, sums: &[f64; COSTS], seasonal: &Seasonal) {
        for (cost, sum) in sums.iter().enumerate() {
            let normal = seasonal.normal(at, cost);
            let unit = (normal.spread * 1.5).max(normal.median * 0.2).max(FLOOR_TEN_SECONDS[cost] / 3.0);
            let step = ((sum - normal.upper) / unit).min(CREEP_STEP_MAX);
            self.creep[cost] = (self.creep[cost] + step).max(0.0);
        }
    }

    /// Forgets what has accumulated, after an incident and after a gap.
    pub(crate) fn reset(&mut self) {
        *self = Self { last: self.last, ..Self::default() };
    }

    /// Looks at the present. Returns every cost that has exceeded what is normal for long enough.
    /// `newcomers` says whether many clients arrive with one agent that is not ordinary.
    pub(crate) fn look(
        &mut self,
        now: Timestamp,
        series: &Series,
        recent: &Recent,
        newcomers: bool,
        seasonal: &Seasonal,
    ) -> Vec<Exceeded> {
        if now.since(self.last) < WINDOW {
            return Vec::new();
        }
        if !seasonal.has_contrast() {
            // There is nothing yet that this could exceed.
            let ten_seconds = series.last_of_many(10 * STEPS_PER_SECOND);
            self.readings =
                std::array::from_fn(|cost| Reading { offered: ten_seconds[cost], calm: true, ..Reading::default() });
            return Vec::new();
        }
        self.last = now;
        let (second, half) = (series.last_of_many(STEPS_PER_SECOND), series.last_of_many(STEPS_PER_SECOND / 2));
        let exceeds_second =
            |index: usize| is_beyond_second(now, second[index].min(2.0 * half[index]), index, seasonal);
        let is_at_once = second[CostKind::Requests as usize] >= HEAVY_SECOND_MIN || half[HEAVIEST] >= HEAVY_MIN;
        let is_heavy = is_at_once && is_beyond_second(now, half[HEAVIEST], HEAVIEST, seasonal);
        let ten_seconds = series.last_of_many(10 * STEPS_PER_SECOND);
        self.newcomers = ((self.newcomers << 1) | u32::from(newcomers)) & HELD_OF;
        self.heavy = ((self.heavy << 1) | u32::from(is_heavy)) & HELD_OF;
        let heavy_held = self.heavy.count_ones() >= HEAVY_HELD;
        let newcomers_held = self.newcomers.count_ones() >= NEWCOMERS_HELD;
        let together = series.last_of_many(TOGETHER_SECONDS * STEPS_PER_SECOND);
        let visitors_together = Visitors::since(now - Duration::from_secs(TOGETHER_SECONDS), recent);
        let visitors_ten = Visitors::since(now - Duration::from_secs(10), recent);
        let exceeds_together = |index: usize| {
            let is_beyond = |sum: f64| is_beyond_together(now, sum, index, seasonal);
            match CostKind::ALL.get(index) {
                Some(cost) => visitors_together.leave(*cost, together[index], is_beyond),
                None => is_beyond(together[index]),
            }
        };
        let arrive_on = exceeds_together(ARRIVALS);
        let arrive = arrive_on || exceeds_second(ARRIVALS);
        let arrivals = arrive || is_heavy || newcomers;
        let revision = seasonal.revision(now);
        if self.normal.0 != revision {
            self.normal = (revision, std::array::from_fn(|cost| seasonal.normal(now, cost)));
        }
        let mut exceeded = Vec::new();
        self.surge = false;
        for (cost, kind) in CostKind::ALL.into_iter().enumerate() {
            let goes_on = exceeds_together(cost) || (kind == CostKind::Requests && arrive_on);
            let surge = goes_on || exceeds_second(cost) || (kind == CostKind::Requests && arrivals);
            self.surge |= surge;
            self.fast[cost] = ((self.fast[cost] << 1) | u32::from(surge)) & HELD_OF;
            if self.fast[cost] == 0 {
                self.fast_since[cost] = None;
            } else if surge {
                self.fast_since[cost].get_or_insert(now);
            }
            let is_of_clients = kind == CostKind::Requests && (newcomers_held || heavy_held);
            let fast = self.fast[cost].count_ones() >= HELD || is_of_clients;

            let normal = self.normal.1[cost];
            let most = most(normal, UPPER_FACTOR, FLOOR_TEN_SECONDS[cost]);
            let offered = ten_seconds[cost];
            // While it exceeds the second as well it is not asked again with each tick.
            let is_much =
                fast && self.slow_since[cost].is_some() || visitors_ten.leave(kind, offered, |offered| offered > most);
            if is_much {
                self.slow_since[cost].get_or_insert(now);
            } else {
                self.slow_since[cost] = None;
            }
            let slow = self.slow_since[cost].is_some_and(|since| now.since(since) >= SLOW);
            let creeping = self.creep[cost] >= CREEP_MAX;
            let exceeds = fast || slow || creeping;
            let calm = offered <= (normal.upper * 1.1).max(normal.median + FLOOR_TEN_SECONDS[cost]).min(most)
                && self.fast[cost] == 0;
            self.readings[cost] = Reading { offered, normal, exceeds, calm };
            if exceeds {
                let onset = if fast {
                    let began = match kind {
                        CostKind::Requests if newcomers_held => NEWCOMERS_BEGAN,
                        _ if goes_on => TOGETHER_BEGAN,
                        _ => Duration::from_millis(750),
                    };
                    self.fast_since[cost].map(|since| since - began)
                } else {
                    self.slow_since[cost].map(|since| since - Duration::from_secs(5))
                };
                let sign = match kind {
                    CostKind::Requests if newcomers_held => Sign::Newcomers,
                    CostKind::Requests if fast && is_heavy => Sign::HeavyClient,
                    CostKind::Requests if fast && arrive => Sign::Arrivals,
                    _ if fast => Sign::Second,
                    _ if slow => Sign::TenSeconds,
                    _ => Sign::Creeping,
                };
                exceeded.push(Exceeded { cost: kind, sign, onset: onset.unwrap_or(now - Duration::from_secs(10)) });
            }
        }
        exceeded
    }
}

/// What a stretch of time may be.
fn most(normal: Normal, factor: f64, floor: f64) -> f64 {
    (normal.upper * factor).max(normal.median + SPREAD_FACTOR * normal.spread).max(normal.median + floor)
}

fn is_beyond_second(now: Timestamp, sum: f64, series: usize, seasonal: &Seasonal) -> bool {
    // Most quiet ticks are decided by the floor, without a look at the histograms.
    sum > FLOOR_SECOND[series] && sum > most(seasonal.normal_second(now, series), factor(series), FLOOR_SECOND[series])
}

/// The same of [`TOGETHER_SECONDS`]: what comes independently varies by the root of three as much over three seconds as over one.
fn is_beyond_together(now: Timestamp, sum: f64, series: usize, seasonal: &Seasonal) -> bool {
    let seconds = TOGETHER_SECONDS as f64;
    if sum <= seconds.sqrt() * FLOOR_SECOND[series] {
        return false;
    }
    let normal = seasonal.normal_second(now, series);
    let beyond = most(normal, factor(series), FLOOR_SECOND[series]) - normal.median;
    sum > seconds * normal.median + seconds.sqrt() * beyond
}

const fn factor(series: usize) -> f64 {
    if series < ARRIVALS { UPPER_FACTOR_SECOND } else { UPPER_FACTOR }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::series::Passed;

    const START: u64 = 1_600_041_600;

    /// Runs one quarter of a second after another with this many requests; returns after how many it triggers.
    fn ticks_until_exceeded(normal: f64, then: impl Fn(u64) -> f64, ticks: u64) -> Option<u64> {
        let (mut series, mut seasonal, mut trigger) = (Series::new(), Seasonal::new(), Trigger::default());
        let recent = Recent::new();
        let at = |tick: u64| Timestamp::from_micros((START * 4 + tick) * 250_000);
        let calm = 4 * 400;
        for tick in 0..calm + ticks {
            let mut samples = Vec::new();
            series.advance(at(tick), |passed| {
                if let Passed::Second(second, sums) = passed {
                    samples.extend(seasonal.learn(second, &sums).filter(|_| tick < calm));
                }
            });
            for sample in samples {
                trigger.sample(at(tick), &sample, &seasonal);
            }
            if !trigger.look(at(tick), &series, &recent, false, &seasonal).is_empty() {
                return tick.checked_sub(calm);
            }
            let requests = if tick < calm { normal / 4.0 } else { then(tick - calm) / 4.0 };
            series.add(at(tick), &[requests, 0.0, 0.0, 0.0]);
        }
        None
    }

    #[test]
    fn strong_floods_are_seen_within_a_second_and_weak_ones_within_ten() {
        let strong = ticks_until_exceeded(8.0, |_| 200.0, 100).expect("a strong flood");
        assert!(strong <= 5, "{strong} ticks");
        let weak = ticks_until_exceeded(8.0, |_| 17.0, 100).expect("a weak flood");
        assert!((12..=44).contains(&weak), "{weak} ticks");
    }

    #[test]
    fn many_who_arrive_with_one_new_agent_are_seen_with_the_second_look() {
        let (mut series, mut seasonal, mut trigger) = (Series::new(), Seasonal::new(), Trigger::default());
        let recent = Recent::new();
        let at = |tick: u64| Timestamp::from_micros((START * 4 + tick) * 250_000);
        for tick in 0..4 * 400 {
            series.advance(at(tick), |passed| {
                if let Passed::Second(second, sums) = passed {
                    seasonal.learn(second, &sums);
                }
            });
            assert!(trigger.look(at(tick), &series, &recent, false, &seasonal).is_empty());
        }
        assert!(trigger.look(at(1600), &series, &recent, true, &seasonal).is_empty());
        let exceeded = trigger.look(at(1601), &series, &recent, true, &seasonal);
        assert_eq!(
            exceeded,
            [Exceeded { cost: CostKind::Requests, sign: Sign::Newcomers, onset: at(1600) - NEWCOMERS_BEGAN }]
        );
    }

    #[test]
    fn ordinary_traffic_and_short_bursts_are_not() {
        assert_eq!(ticks_until_exceeded(8.0, |_| 9.0, 400), None);
        assert_eq!(ticks_until_exceeded(8.0, |tick| if tick < 2 { 60.0 } else { 8.0 }, 400), None);
    }
}
