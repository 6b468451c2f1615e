//! What comes at the same hour on most days: usual at that hour, and so no surge, and yet it may be a flood that returns.

use super::stretches::Stretches;
use super::usual::Typical;
use crate::decision::CostKind;

/// Hours of the day.
pub(super) const HOURS: usize = 24;

/// An hour with this many times the ordinary maximum of the median hour has something that the others have not. The busiest hours of
/// a site's visitors have two to three times as much.
const FACTOR: f64 = 4.0;

/// That many are told of.
const HABITS_MAX: usize = 4;

/// Hours of the day with much more than the others, on half of the days or more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Habit {
    /// The first of these hours in UTC, 0 to 23.
    pub from: u8,
    /// The hour at which it is over, 1 to 24.
    pub until: u8,
    /// Of what there is more.
    pub cost: CostKind,
    /// The most that there is then, on the median day, in units a second.
    pub peak: f64,
    /// The most that there is at the median hour, in units a second.
    pub elsewhere: f64,
}

impl Habit {
    fn overlaps(&self, other: &Self) -> bool {
        self.from < other.until && other.from < self.until
    }

    /// How many times what there is at other hours.
    fn strength(&self) -> f64 {
        self.peak / self.elsewhere.max(f64::MIN_POSITIVE)
    }
}

/// The habits of a log, which show in stretches of some length or other.
#[derive(Debug, Default)]
pub(super) struct Habits(Vec<Habit>);

impl Habits {
    /// Takes those that show in stretches of this length. `hours` is what is usual at each hour of the day.
    pub(super) fn look(&mut self, log: &Stretches, hours: &[Typical; HOURS]) {
        for cost in CostKind::ALL {
            let maxima = hours.map(|hour| hour.maximum[cost as usize]);
            for habit in habits(&maxima, cost, log.seconds as f64, log.floor(cost as usize)) {
                if !self.0.iter().any(|known| known.cost == cost && known.overlaps(&habit)) {
                    self.0.push(habit);
                }
            }
        }
    }

    /// One of each time, the strongest, in the order of time.
    pub(super) fn finish(mut self) -> Vec<Habit> {
        self.0.sort_by(|first, second| second.strength().total_cmp(&first.strength()));
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

/// The hours whose maxima are beyond those of the others, and by more than `floor`.
fn habits(maxima: &[f64; HOURS], cost: CostKind, seconds: f64, floor: f64) -> Vec<Habit> {
    let mut sorted = *maxima;
    sorted.sort_by(f64::total_cmp);
    let elsewhere = sorted[HOURS / 2];
    let mut habits: Vec<Habit> = Vec::new();
    for (hour, maximum) in (0..).zip(*maxima) {
        if maximum <= FACTOR * elsewhere || maximum <= elsewhere + floor {
            continue;
        }
        let peak = maximum / seconds;
        match habits.last_mut().filter(|last| last.until == hour) {
            Some(last) => (last.until, last.peak) = (hour + 1, last.peak.max(peak)),
            None => habits.push(Habit { from: hour, until: hour + 1, cost, peak, elsewhere: elsewhere / seconds }),
        }
    }
    habits
}
