//! When there was more than usual, with edges as sharp as the log allows.

use std::time::Duration;

use super::super::COSTS;
use super::edges::surging;
use super::found::Found;
use super::runs::{EXCESS_FLOORS, Run, Runs, runs};
use super::stretches::{COARSER_SECONDS, FLOORS, LONGEST_SECONDS, Stretches};
use super::usual::Usual;
use crate::decision::CostKind;
use crate::observation::Observation;
use crate::units::Timestamp;

/// A stretch is long enough when half of them have this many requests.
const REQUESTS_MIN: f64 = 3.0;

/// Where fewer come, a page with its parts is most of what there is in a shorter one than this, in seconds.
const QUIET_SECONDS_MIN: u64 = 60;

/// Surges that are explained; of more, the strongest.
const SURGES_MAX: usize = 8;

/// Of a surge that a stronger one overlaps, what is outside of that is another when it has this share of the excess.
const ANOTHER_SHARE_MIN: f64 = 0.5;

/// Surges of one cost that are no further apart are one.
const TOUCHING: Duration = Duration::from_secs(60);

/// How much there was of one cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// The cost.
    pub cost: CostKind,
    /// What is usual at that time, in units a second.
    pub normal: f64,
    /// What there was on average, in units a second.
    pub mean: f64,
    /// What there was in the strongest stretch, in units a second.
    pub peak: f64,
    /// How much more than usual there was, all told, in units.
    pub excess: f64,
}

/// A time in which there was more than usual.
#[derive(Clone, Debug, PartialEq)]
pub struct Surge {
    /// When it began.
    pub from: Timestamp,
    /// When it was over.
    pub until: Timestamp,
    /// The costs that exceeded what is usual, the strongest first.
    pub levels: Vec<Level>,
    /// What is usual of each cost, in units a second, in the order of [`CostKind::ALL`].
    pub usual: [f64; COSTS],
    /// The strongest cost over the surge and as long before and after, in units a second.
    pub curve: Vec<f64>,
}

impl Surge {
    /// Whether a moment is within.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }

    /// The cost that exceeds what is usual most.
    pub fn strongest(&self) -> CostKind {
        self.levels.first().map_or(CostKind::Requests, |level| level.cost)
    }

    /// How many times what is usual there was of the strongest cost.
    pub fn strength(&self) -> f64 {
        self.levels.first().map_or(0.0, |level| level.excess / FLOORS[level.cost as usize])
    }
}

/// Sums costs and finds surges.
#[derive(Debug, Default)]
pub struct SurgeFinder {
    stretches: Stretches,
}

impl SurgeFinder {
    /// Takes one observation of the first reading.
    pub fn add(&mut self, observation: &Observation<'_>) {
        self.stretches.add(observation);
    }

    /// Takes what another finder took of other observations.
    pub fn merge(&mut self, other: Self) {
        self.stretches.merge(other.stretches);
    }

    /// The surges. They are looked for at every scale at which there are requests enough: a burst shows at ten seconds, and what
    /// is weaker and lasts for hours only where the bursts of ordinary traffic have levelled out. Where there are not enough,
    /// hours say what is usual in a minute.
    pub fn find(self) -> Found {
        let mut finest = self.stretches;
        let far = finest.set_aside_far();
        let mut stretches = finest.clone();
        let mut found = Runs::default();
        let mut of_hours = None;
        let coarser = COARSER_SECONDS.into_iter().filter(|coarser| *coarser > finest.seconds);
        for seconds in [finest.seconds].into_iter().chain(coarser) {
            if seconds > stretches.seconds {
                stretches.coarsen(seconds);
            }
            let is_quiet = stretches.median_requests() < REQUESTS_MIN && seconds < LONGEST_SECONDS;
            if is_quiet && seconds < QUIET_SECONDS_MIN {
                continue;
            }
            let usual = if is_quiet {
                Usual::quiet(&stretches, of_hours.get_or_insert_with(|| Usual::new(&hours(&stretches))))
            } else {
                Usual::new(&stretches)
            };
            for cost in CostKind::ALL {
                for run in runs(&stretches, &usual, cost) {
                    found.join(run, &finest, stretches.floor(cost as usize));
                }
            }
        }
        let finder = Edges { finest: &finest, runs: &found };
        let mut surges = finder.surges();
        let left_out = surges.split_off(surges.len().min(SURGES_MAX));
        let at = |stretch: u64| Timestamp::from_seconds(stretch * finest.seconds);
        let amounts: Vec<(Timestamp, f64)> =
            finest.sums.iter().map(|(stretch, sums)| (at(*stretch), sums[CostKind::Requests as usize])).collect();
        Found::new(surges, left_out, &amounts, &far)
    }
}

/// Finds where in their runs surges begin and end.
struct Edges<'a> {
    finest: &'a Stretches,
    runs: &'a Runs,
}

impl Edges<'_> {
    /// All surges, the strongest first.
    fn surges(&self) -> Vec<Surge> {
        let mut found: Vec<(Surge, &Run)> = Vec::new();
        for run in &self.runs.whole {
            found.extend(self.parts(run).into_iter().map(|surge| (surge, run)));
        }
        // What goes on before and after a surge is the same one, of which only the strongest stood out.
        for run in &self.runs.rests {
            for part in self.parts(run) {
                let (mut from, mut until) = (part.from, part.until);
                found.retain(|(surge, known)| {
                    let touches = known.cost == run.cost
                        && surge.from <= part.until + TOUCHING
                        && part.from <= surge.until + TOUCHING;
                    if touches {
                        (from, until) = (from.min(surge.from), until.max(surge.until));
                    }
                    !touches
                });
                found.push((self.surge(run, from.as_seconds(), until.as_seconds()), run));
            }
        }
        found.sort_by(|(first, _), (second, _)| second.strength().total_cmp(&first.strength()));
        // What two neighbours both reach into belongs to the stronger.
        let mut surges: Vec<Surge> = Vec::new();
        for (surge, run) in found {
            let rest = outside(&surge, &surges);
            if rest == [(surge.from.as_seconds(), surge.until.as_seconds())] {
                surges.push(surge);
                continue;
            }
            let rest: Vec<Surge> = rest.into_iter().map(|(from, until)| self.surge(run, from, until)).collect();
            if rest.iter().map(Surge::strength).sum::<f64>() >= ANOTHER_SHARE_MIN * surge.strength() {
                surges.extend(rest.into_iter().filter(|rest| rest.strength() >= EXCESS_FLOORS));
            }
        }
        surges.sort_by(|first, second| second.strength().total_cmp(&first.strength()));
        surges
    }

    /// The surges in a run. One that was found in longer stretches may begin or end beside those, or be several.
    fn parts(&self, run: &Run) -> Vec<Surge> {
        let (log, cost) = (self.finest, run.cost);
        let usual = run.usual[cost as usize] * log.seconds as f64;
        let beside = if run.scale > log.seconds { run.scale } else { 0 };
        let first = run.from.saturating_sub(beside) / log.seconds;
        let last = (run.until + beside).div_ceil(log.seconds);
        let sum = |stretch: u64| {
            let second = stretch * log.seconds;
            let is_of_another = run.without.iter().any(|(from, until)| (*from..*until).contains(&second));
            if is_of_another { usual.min(log.sum(stretch, cost)) } else { log.sum(stretch, cost) }
        };
        let sums: Vec<f64> = (first..last).map(sum).collect();
        surging(&sums, usual, FLOORS[cost as usize] / 10.0, SURGES_MAX)
            .into_iter()
            .map(|part| ((first + part.start as u64) * log.seconds, (first + part.end as u64) * log.seconds))
            .filter(|(from, until)| *from < run.until && run.from < *until)
            .map(|(from, until)| self.surge(run, from, until))
            .filter(|surge| surge.strength() >= EXCESS_FLOORS)
            .collect()
    }

    /// What there was of each cost of which a run overlaps this time.
    fn surge(&self, run: &Run, from: u64, until: u64) -> Surge {
        let (log, seconds) = (self.finest, (until - from) as f64);
        let exceeds = |cost: CostKind| self.runs.exceeds(cost, from, until);
        let mut levels: Vec<Level> = CostKind::ALL
            .into_iter()
            .filter(|cost| exceeds(*cost))
            .map(|cost| {
                let sums = || (from / log.seconds..until / log.seconds).map(|stretch| log.sum(stretch, cost));
                let offered: f64 = sums().sum();
                let normal = run.usual[cost as usize];
                let peak = sums().fold(0.0, f64::max) / log.seconds as f64;
                Level { cost, normal, mean: offered / seconds, peak, excess: offered - normal * seconds }
            })
            .collect();
        let strength = |level: &Level| level.excess / FLOORS[level.cost as usize];
        // Of several surges in a run, each has its own costs.
        levels.retain(|level| strength(level) >= 1.0);
        levels.sort_by(|first, second| strength(second).total_cmp(&strength(first)));
        Surge {
            from: Timestamp::from_seconds(from),
            until: Timestamp::from_seconds(until),
            curve: self.curve(from, until, levels.first().map_or(CostKind::Requests, |level| level.cost)),
            levels,
            usual: run.usual,
        }
    }

    /// A cost in sixty parts of the surge and as long before and after.
    fn curve(&self, from: u64, until: u64, cost: CostKind) -> Vec<f64> {
        const PARTS: u64 = 60;
        let log = self.finest;
        let length = (until - from).max(log.seconds);
        let begin = from.saturating_sub(length);
        let part = (3 * length).div_ceil(PARTS).div_ceil(log.seconds) * log.seconds;
        (0..(3 * length).div_ceil(part))
            .map(|number| {
                let first = (begin + number * part) / log.seconds;
                let stretches = part / log.seconds;
                let sum: f64 = (first..first + stretches).map(|stretch| log.sum(stretch, cost)).sum();
                sum / (stretches * log.seconds) as f64
            })
            .collect()
    }
}

/// What came by the hour.
fn hours(stretches: &Stretches) -> Stretches {
    let mut hours = stretches.clone();
    hours.coarsen(LONGEST_SECONDS);
    hours
}

/// When a surge was and none of the others, in seconds.
fn outside(surge: &Surge, others: &[Surge]) -> Vec<(u64, u64)> {
    let mut rest = vec![(surge.from.as_seconds(), surge.until.as_seconds())];
    for other in others {
        let (begin, end) = (other.from.as_seconds(), other.until.as_seconds());
        let parts = |(from, until): (u64, u64)| [(from, until.min(begin)), (from.max(end), until)];
        rest = rest
            .into_iter()
            .flat_map(|part| if part.0 < end && begin < part.1 { parts(part).to_vec() } else { vec![part] })
            .filter(|(from, until)| from < until)
            .collect();
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::super::stretches::STRETCHES_MAX;
    use super::*;
    use crate::observation::{ClientHistory, Cost, Outcome, Request};

    /// A Monday.
    const START: u64 = 1_600_041_600;

    fn add(finder: &mut SurgeFinder, second: u64, bytes: u64) {
        finder.add(&Observation {
            at: Timestamp::from_seconds(START + second),
            client: None,
            request: Request::default(),
            outcome: Outcome::Served { status: 200 },
            cost: Cost { requests: 1, bytes, ..Cost::default() },
            weight: 1.0,
            history: ClientHistory::default(),
        });
    }

    #[test]
    fn a_flood_is_found_with_its_edges_and_its_costs() {
        let mut finder = SurgeFinder::default();
        for second in 0..7200 {
            add(&mut finder, second, 5_000);
            for _ in 0..if (3600..3900).contains(&second) { 30 } else { 0 } {
                add(&mut finder, second, 300);
            }
        }
        let surges = finder.find().surges;
        assert_eq!(surges.len(), 1, "{surges:#?}");
        let surge = &surges[0];
        assert_eq!(surge.from, Timestamp::from_seconds(START + 3600));
        assert_eq!(surge.until, Timestamp::from_seconds(START + 3900));
        assert_eq!(surge.levels.len(), 1, "more bytes, but not so many: {surge:?}");
        let level = surge.levels[0];
        assert_eq!((level.cost, level.normal, level.mean, level.peak), (CostKind::Requests, 1.0, 31.0, 31.0));
        assert_eq!(level.excess, 9000.0);
        assert!(surge.curve.contains(&31.0) && surge.curve.contains(&1.0));
    }

    #[test]
    fn a_flood_in_a_quiet_log_is_as_long_as_it_was() {
        let mut finder = SurgeFinder::default();
        for second in 0..12 * 3600_u64 {
            // Now and then several at once, as a page with its parts.
            for _ in 0..if second % 97 == 0 { 4 } else { 0 } {
                add(&mut finder, second, 500);
            }
        }
        let flood = 8 * 3600 + 3300..9 * 3600 + 420_u64;
        for second in flood.clone() {
            add(&mut finder, second, 300);
        }
        let surges = finder.find().surges;
        assert_eq!(surges.len(), 1, "{surges:#?}");
        let near = |at: Timestamp, second: u64| at.as_seconds().abs_diff(START + second) <= 10;
        assert!(near(surges[0].from, flood.start) && near(surges[0].until, flood.end), "{surges:#?}");
    }

    #[test]
    fn a_flood_is_found_in_a_log_that_is_silent_for_most_of_its_span() {
        let mut finder = SurgeFinder::default();
        // A day and a half of traffic, forty days of nothing, and the same again with a flood in it.
        for start in [0, 42 * 86_400] {
            for second in (0..36 * 3600_u64).step_by(2) {
                add(&mut finder, start + second, 500);
            }
        }
        let flood = 43 * 86_400..43 * 86_400 + 600_u64;
        for second in flood.clone() {
            for _ in 0..5 {
                add(&mut finder, second, 300);
            }
        }
        let surges = finder.find().surges;
        assert_eq!(surges.len(), 1, "{surges:#?}");
        let near = |at: Timestamp, second: u64| at.as_seconds().abs_diff(START + second) <= 10;
        assert!(near(surges[0].from, flood.start) && near(surges[0].until, flood.end), "{surges:#?}");
    }

    #[test]
    fn a_stray_date_hides_nothing() {
        let mut finder = SurgeFinder::default();
        for second in 0..7200 {
            for _ in 0..if (3600..3900).contains(&second) { 30 } else { 1 } {
                add(&mut finder, second, 300);
            }
        }
        add(&mut finder, 10 * 86_400, 300);
        add(&mut finder, 400 * 86_400, 300);
        assert_eq!(finder.find().surges.len(), 1);
    }

    #[test]
    fn surges_beyond_those_that_are_explained_are_known() {
        let mut finder = SurgeFinder::default();
        for second in 0..86_400 {
            let is_flood = second > 3600 && second % 8000 < 200;
            for _ in 0..if is_flood { 10 + second / 8000 } else { 1 } {
                add(&mut finder, second, 300);
            }
        }
        let found = finder.find();
        assert_eq!((found.surges.len(), found.left_out.len()), (8, 2), "{found:#?}");
        assert!(found.left_out.iter().all(|surge| surge.until < found.surges[0].from), "the weakest came first");
    }

    #[test]
    fn what_is_usual_at_its_hour_is_no_surge() {
        let mut finder = SurgeFinder::default();
        for minute in 0..6 * 1440_u64 {
            let busy = (18..20).contains(&(minute / 60 % 24));
            for number in 0..if busy { 120 } else { 12 } {
                add(&mut finder, minute * 60 + number % 60, 1000);
            }
        }
        assert_eq!(finder.find().surges, Vec::new());
    }

    #[test]
    fn a_log_of_any_length_and_shape_is_bounded() {
        let mut finder = SurgeFinder::default();
        for number in 0..400_000_u64 {
            add(&mut finder, number * 977 % 4_000_000_000, 10);
        }
        assert!(finder.stretches.sums.len() <= STRETCHES_MAX);
        assert!(finder.find().surges.len() <= SURGES_MAX);
        assert_eq!(SurgeFinder::default().find().surges, Vec::new());
        let mut lone = SurgeFinder::default();
        add(&mut lone, 0, 1);
        add(&mut lone, u64::MAX / 2_000_000, 1);
        assert_eq!(lone.find().surges, Vec::new());
    }

    #[test]
    fn floods_hours_apart_are_told_apart_whatever_they_have() {
        for hours in [1, 2, 3] {
            let mut finder = SurgeFinder::default();
            for second in 0..12 * 3600 {
                if second % 2 == 0 {
                    add(&mut finder, second, 5_000);
                }
            }
            let floods = [5 * 3600, (5 + hours) * 3600];
            for (flood, bytes) in floods.into_iter().zip([9_000, 300]) {
                for number in 0..300 * 20 {
                    add(&mut finder, flood + number / 20, bytes);
                }
            }
            let surges = finder.find().surges;
            let when: Vec<(u64, u64)> = surges
                .iter()
                .map(|surge| (surge.from.as_seconds() - START, surge.until.as_seconds() - START))
                .collect();
            assert_eq!(when, floods.map(|flood| (flood, flood + 300)), "{hours} hours apart");
            let costs = |surge: &Surge| surge.levels.iter().map(|level| level.cost).collect::<Vec<_>>();
            assert_eq!(costs(&surges[0]), [CostKind::Requests, CostKind::Bytes]);
            assert_eq!(costs(&surges[1]), [CostKind::Requests]);
        }
    }

    #[test]
    fn pulses_are_one_surge() {
        let mut finder = SurgeFinder::default();
        for second in 0..12 * 3600 {
            if second % 2 == 0 {
                add(&mut finder, second, 500);
            }
            // A minute of every five.
            for _ in 0..if (18_000..21_600).contains(&second) && second % 300 < 60 { 20 } else { 0 } {
                add(&mut finder, second, 300);
            }
        }
        let surges = finder.find().surges;
        assert_eq!(surges.len(), 1, "{surges:#?}");
        assert_eq!(surges[0].from, Timestamp::from_seconds(START + 18_000));
        assert_eq!(surges[0].until, Timestamp::from_seconds(START + 21_360));
    }

    #[test]
    fn a_flood_that_swells_is_one_and_a_weaker_one_in_the_same_hours_is_another() {
        let when = |weaker: std::ops::Range<u64>| -> Vec<(u64, u64)> {
            let mut finder = SurgeFinder::default();
            for second in 0..86_400 {
                add(&mut finder, second, 500);
                let fast = (44_000..44_300).contains(&second);
                for _ in 0..if fast { 50 } else { 2 * u64::from(weaker.contains(&second)) } {
                    add(&mut finder, second, 300);
                }
            }
            let surges = finder.find().surges;
            surges.iter().map(|surge| (surge.from.as_seconds() - START, surge.until.as_seconds() - START)).collect()
        };
        assert_eq!(when(41_400..46_000), [(41_400, 46_000)]);
        assert_eq!(when(47_000..51_000), [(44_000, 44_300), (47_000, 51_000)]);
    }

    #[test]
    fn a_minute_of_much_is_found_where_hours_have_little_and_a_visit_is_not() {
        let mut random = 7_u64;
        let mut below = |bound: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % bound
        };
        let mut finder = SurgeFinder::default();
        for day in 0..5 {
            // Five visits of a page with fifty parts, then a few pages more.
            for _ in 0..5 {
                let second = day * 86_400 + below(86_000);
                for request in 0..80 {
                    add(&mut finder, second + if request < 50 { request / 10 } else { request }, 5_000);
                }
            }
            add(&mut finder, day * 86_400 + below(86_000), 60_000_000);
        }
        let mut flooded = SurgeFinder { stretches: finder.stretches.clone() };
        assert_eq!(finder.find().surges, Vec::new());
        for number in 0..300 {
            add(&mut flooded, 200_000 + number / 5, 300);
        }
        let surges = flooded.find().surges;
        assert_eq!(surges.len(), 1, "{surges:#?}");
        assert_eq!(surges[0].from, Timestamp::from_seconds(START + 200_000));
        assert_eq!(surges[0].until, Timestamp::from_seconds(START + 200_060));
    }

    #[test]
    fn a_clock_that_was_wrong_hides_nothing() {
        let mut finder = SurgeFinder::default();
        for second in 0..12 * 3600 {
            for _ in 0..if (30_000..30_300).contains(&second) { 30 } else { 1 } {
                add(&mut finder, second, 300);
            }
        }
        let at = |finder: &mut SurgeFinder, second: u64| {
            finder.stretches.sums.entry(second / 10).or_default()[0] += 1.0;
        };
        for number in 0..40 {
            at(&mut finder, 60 + number * 20);
            at(&mut finder, START + 5 * 86_400 + number);
            at(&mut finder, 253_370_764_800);
        }
        let found = finder.find();
        assert_eq!(found.surges.len(), 1, "{found:#?}");
        assert_eq!(found.surges[0].from, Timestamp::from_seconds(START + 30_000));
        let far = found.far.expect("three kinds");
        assert_eq!((far.requests, far.from), (120, Timestamp::EPOCH));
        assert_eq!(found.zone(Timestamp::from_seconds(100)), super::super::Zone::Beside);
    }

    #[test]
    fn two_mornings_with_days_between_have_a_flood_in_one() {
        let mut finder = SurgeFinder::default();
        for start in [0, 4 * 86_400_u64] {
            for second in 0..6 * 3600 {
                for _ in 0..if (start + second).abs_diff(4 * 86_400 + 7_300) < 150 { 30 } else { 1 } {
                    add(&mut finder, start + second, 300);
                }
            }
        }
        let found = finder.find();
        assert_eq!((found.surges.len(), found.far), (1, None), "{found:#?}");
        assert_eq!(found.surges[0].from, Timestamp::from_seconds(START + 4 * 86_400 + 7_150));
    }
}
