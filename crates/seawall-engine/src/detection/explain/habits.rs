//! What comes at the same hour on about half of the days or more: usual at that hour, and so no surge, and yet it may be a flood that
//! returns.

use rustc_hash::{FxHashMap, FxHashSet};

use super::runs::EXCESS_FLOORS;
use super::stretches::{LONGEST_SECONDS, Stretches};
use super::surges::Surge;
use super::usual::{DAYS_MIN, quantile};
use crate::decision::CostKind;

/// Hours of the day.
const HOURS: usize = 24;

/// An hour whose median maximum is this many times that of the median hour has something that the others have not. The busiest hours
/// of a site's visitors have two to three times as much.
const FACTOR: f64 = 4.0;

/// What goes on for more hours than these is the day of the site's visitors.
const HOURS_MAX: usize = 6;

/// Of fewer hours with anything nothing is said: those of a site that is used at work alone are all busy.
const BUSY_HOURS_MIN: usize = 16;

/// That many are told of.
const HABITS_MAX: usize = 8;

/// Hours of the day with much more than the others, on about half of the days or more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Habit {
    /// The first of these hours in UTC, 0 to 23.
    pub from: u8,
    /// The hour at which it is over, 1 to 24: no later than the first, if that is on the next day.
    pub until: u8,
    /// Of what there is more.
    pub cost: CostKind,
    /// How long a stretch is in which it shows, in seconds.
    pub seconds: u64,
    /// The most that there is in such a stretch then, on the median day, in units.
    pub peak: f64,
    /// The most that there is in such a stretch of the median hour, on the median day, in units.
    pub elsewhere: f64,
}

impl Habit {
    /// How many hours it is long.
    fn length(&self) -> usize {
        let (from, until) = (usize::from(self.from), usize::from(self.until));
        if until > from { until - from } else { HOURS + until - from }
    }

    fn hours(&self) -> impl Iterator<Item = usize> {
        let from = usize::from(self.from);
        (from..from + self.length()).map(|hour| hour % HOURS)
    }

    fn has(&self, hour: usize) -> bool {
        self.hours().any(|own| own == hour)
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.hours().any(|hour| other.has(hour))
    }

    /// Whether this surge is of the same, which then is none of every day.
    fn is_in(&self, surge: &Surge) -> bool {
        let hour = |second: u64| second / LONGEST_SECONDS;
        let (first, last) = (hour(surge.from.as_seconds()), hour(surge.until.as_seconds().saturating_sub(1)));
        let mut hours = (first..=last).take(HOURS);
        surge.levels.iter().any(|level| level.cost == self.cost) && hours.any(|hour| self.has(hour as usize % HOURS))
    }
}

/// The habits of a log, each in the shortest stretches in which it shows.
#[derive(Debug, Default)]
pub(super) struct Habits(Vec<Habit>);

impl Habits {
    /// Takes those that show in stretches of this length.
    pub(super) fn look(&mut self, log: &Stretches) {
        if log.seconds > LONGEST_SECONDS {
            return;
        }
        let (first, last) = log.span();
        let hour = |stretch: u64| stretch * log.seconds / LONGEST_SECONDS;
        let written = log.written_hours().unwrap_or_else(|| (hour(first)..=hour(last)).collect());
        let mut days = [0; HOURS];
        written.iter().for_each(|hour| days[*hour as usize % HOURS] += 1);
        for cost in CostKind::ALL {
            for habit in habits(&maxima(log, cost, &written, days), cost, log) {
                if !self.0.iter().any(|known| known.cost == cost && known.overlaps(&habit)) {
                    self.0.push(habit);
                }
            }
        }
    }

    /// One of each time, the strongest, in the order of time; none of what was found to be a surge.
    pub(super) fn finish(mut self, surges: &[Surge], left_out: &[Surge]) -> Vec<Habit> {
        let strength = |habit: &Habit| habit.peak / habit.elsewhere;
        self.0.retain(|habit| !surges.iter().chain(left_out).any(|surge| habit.is_in(surge)));
        self.0.sort_by(|first, second| strength(second).total_cmp(&strength(first)));
        let mut strongest: Vec<Habit> = Vec::new();
        for habit in self.0 {
            if strongest.len() < HABITS_MAX && !strongest.iter().any(|known| known.overlaps(&habit)) {
                strongest.push(habit);
            }
        }
        strongest.sort_by_key(|habit| habit.from);
        strongest
    }
}

/// The most in a stretch of each hour of the day, on the median of the `days` on which it was written; nothing where these are few.
fn maxima(log: &Stretches, cost: CostKind, written: &FxHashSet<u64>, days: [u64; HOURS]) -> [f64; HOURS] {
    let mut maxima: FxHashMap<u64, f64> = FxHashMap::default();
    for stretch in log.sums.keys() {
        let hour = stretch * log.seconds / LONGEST_SECONDS;
        if written.contains(&hour) {
            let maximum = maxima.entry(hour).or_default();
            *maximum = maximum.max(log.sum_of_many(*stretch, cost));
        }
    }
    let mut by_hour: [Vec<f64>; HOURS] = Default::default();
    for (hour, maximum) in maxima {
        by_hour[hour as usize % HOURS].push(maximum);
    }
    let mut of_day = [0.0; HOURS];
    for ((median, mut maxima), days) in of_day.iter_mut().zip(by_hour).zip(days) {
        if days >= DAYS_MIN {
            *median = quantile(&mut maxima, days, 0.5);
        }
    }
    of_day
}

/// The hours whose maxima are beyond those of the others, by as much as a surge has to be more in all.
fn habits(maxima: &[f64; HOURS], cost: CostKind, log: &Stretches) -> Vec<Habit> {
    let mut busy: Vec<f64> = maxima.iter().copied().filter(|maximum| *maximum > 0.0).collect();
    if busy.len() < BUSY_HOURS_MIN {
        return Vec::new();
    }
    busy.sort_by(f64::total_cmp);
    let elsewhere = busy[busy.len() / 2];
    let least = (FACTOR * elsewhere).max(elsewhere + EXCESS_FLOORS * log.floor(cost as usize));
    let mut habits: Vec<Habit> = Vec::new();
    for (hour, peak) in (0..).zip(*maxima).filter(|(_, maximum)| *maximum > least) {
        match habits.last_mut().filter(|last| last.until == hour) {
            Some(last) => (last.until, last.peak) = (hour + 1, last.peak.max(peak)),
            None => habits.push(Habit { from: hour, until: hour + 1, cost, seconds: log.seconds, peak, elsewhere }),
        }
    }
    // What goes on over midnight is one.
    if let [first, .., last] = habits.as_mut_slice()
        && (first.from, usize::from(last.until)) == (0, HOURS)
    {
        (first.from, first.peak) = (last.from, first.peak.max(last.peak));
        habits.pop();
    }
    habits.retain(|habit| habit.length() <= HOURS_MAX);
    habits
}
