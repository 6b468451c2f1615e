//! Programs whose clocks agree: feed readers and federated servers that all ask for one link at the full hour, every half or
//! every quarter of one. They mean no harm and come back, so they are to be known and not to be fought.
//!
//! Whether arrivals keep to a period is the Rayleigh test's question: each is a point on a circle as long as the period, and if
//! they keep to it the mean of the points is far from the middle (Mardia and Jupp, Directional Statistics, 2000, section 6.3.1).
//! That takes hours of arrivals, so [`Rhythms`] keeps for each path how many fell into each part of each period.

use rustc_hash::FxHashMap;

use super::Scene;
use crate::detection::statistics::effective_kinds;
use crate::detection::values::ValueHash;
use crate::observation::attribute::Attribute;
use crate::units::Timestamp;

/// The periods that are tried, in seconds: those that people set.
const PERIODS: [u64; 3] = [900, 1800, 3600];

/// Parts of a period.
const PARTS: usize = 30;

/// Paths whose arrivals are kept.
const PATHS: usize = 256;

/// Arrivals in one part of one cycle that make it busy, and the most that count: one huge burst is no rhythm.
const BUSY_MIN: u8 = 8;
const COUNTED_MAX: u8 = 64;

/// Cycles after which older ones count half.
const CYCLES: u64 = 16;

/// Cycles in which the same part was busy.
const BUSY_CYCLES_MIN: u8 = 3;

/// How far from the middle the mean must be, of one, and the statistic of the test: one in a million by chance.
const CONCENTRATION_MIN: f64 = 0.5;
const RAYLEIGH_MIN: f64 = 13.8;

/// The share of the excess that is for the one link, and how many equally common agents ask for it.
const SHARE_MIN: f64 = 0.5;
const AGENTS_MIN: f64 = 6.0;

pub(super) fn shows(scene: &Scene<'_>) -> Option<String> {
    let mut targets: FxHashMap<ValueHash, f64> = FxHashMap::default();
    let mut now = Timestamp::EPOCH;
    for sampled in scene.rows.iter().filter(|sampled| sampled.row.requests() > 0.0) {
        *targets.entry(sampled.row.marks.one(Attribute::Path)).or_default() += sampled.cost(0);
        now = now.max(sampled.at);
    }
    let (target, requests) = targets.into_iter().max_by(|one, other| one.1.total_cmp(&other.1))?;
    if requests < 10.0 || requests < SHARE_MIN * scene.excess() || !scene.rhythms.is_due(target, now) {
        return None;
    }
    let mut agents: FxHashMap<ValueHash, f64> = FxHashMap::default();
    for sampled in scene.rows.iter().filter(|sampled| sampled.row.marks.one(Attribute::Path) == target) {
        *agents.entry(sampled.row.marks.one(Attribute::UserAgent)).or_default() += sampled.cost(0);
    }
    let kinds = effective_kinds(agents.into_values());
    (kinds >= AGENTS_MIN).then(|| {
        format!("{requests:.0} requests of {kinds:.0} kinds of agents for one link, at a time at which it was asked for before")
    })
}

/// When paths are asked for, around each of the periods. 100 KiB.
#[derive(Clone, Debug)]
pub(crate) struct Rhythms {
    paths: Vec<Rhythm>,
}

/// When one path is asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Rhythm {
    path: ValueHash,
    /// How often it was asked for, less how often others were that would have its place: the rare make room.
    standing: u16,
    circles: [Circle; PERIODS.len()],
}

/// Arrivals around one period.
#[derive(Clone, Copy, Debug, Default)]
struct Circle {
    cycle: u64,
    parts: [Part; PARTS],
}

/// Arrivals in one part of a period.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    arrivals: u16,
    /// In this cycle.
    arrivals_now: u8,
    busy_cycles: u8,
}

impl Rhythms {
    pub(crate) fn new() -> Self {
        Self { paths: vec![Rhythm::default(); PATHS] }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(self.paths.as_slice())
    }

    /// Counts a request for a path.
    pub(crate) fn arrive(&mut self, path: ValueHash, at: Timestamp) {
        let Some(rhythm) = self.paths.get_mut(path as usize % PATHS) else { return };
        let second = at.as_seconds();
        if rhythm.path != path {
            rhythm.standing = rhythm.standing.saturating_sub(1);
            if rhythm.standing > 0 {
                return;
            }
            *rhythm = Rhythm::new(path, second);
        }
        rhythm.standing = rhythm.standing.saturating_add(1);
        // One by one, so that each period is a constant to divide by.
        let [quarters, halves, hours] = &mut rhythm.circles;
        quarters.arrive(second, PERIODS[0]);
        halves.arrive(second, PERIODS[1]);
        hours.arrive(second, PERIODS[2]);
    }

    /// Whether a path is asked for with a rhythm, and this is its time.
    fn is_due(&self, path: ValueHash, now: Timestamp) -> bool {
        let rhythm = self.paths.get(path as usize % PATHS).filter(|rhythm| rhythm.path == path);
        rhythm.is_some_and(|rhythm| {
            let mut circles = rhythm.circles.iter().zip(PERIODS);
            circles.any(|(circle, period)| circle.has_rhythm() && circle.is_busy_at(now.as_seconds(), period))
        })
    }
}

impl Rhythm {
    /// Of a path that nobody has asked for before this second.
    fn new(path: ValueHash, second: u64) -> Self {
        let circle = |period| Circle { cycle: second / period, ..Circle::default() };
        Self { path, standing: 0, circles: PERIODS.map(circle) }
    }
}

#[inline]
fn part_at(second: u64, period: u64) -> usize {
    (second % period) as usize * PARTS / period as usize
}

impl Circle {
    #[inline(always)]
    fn arrive(&mut self, second: u64, period: u64) {
        let cycle = second / period;
        if cycle != self.cycle {
            let is_old = cycle / CYCLES != self.cycle / CYCLES;
            self.cycle = cycle;
            for part in &mut self.parts {
                part.arrivals_now = 0;
                if is_old {
                    part.arrivals /= 2;
                    part.busy_cycles /= 2;
                }
            }
        }
        let Some(part) = self.parts.get_mut(part_at(second, period)) else { return };
        if part.arrivals_now < COUNTED_MAX {
            part.arrivals_now += 1;
            part.arrivals = part.arrivals.saturating_add(1);
            part.busy_cycles = part.busy_cycles.saturating_add(u8::from(part.arrivals_now == BUSY_MIN));
        }
    }

    /// Rayleigh's test.
    fn has_rhythm(&self) -> bool {
        let (mut all, mut east, mut north) = (0.0, 0.0, 0.0);
        for (number, part) in self.parts.iter().enumerate() {
            let angle = number as f64 / PARTS as f64 * std::f64::consts::TAU;
            let arrivals = f64::from(part.arrivals);
            all += arrivals;
            east += arrivals * angle.cos();
            north += arrivals * angle.sin();
        }
        let concentration = east.hypot(north) / f64::max(all, 1.0);
        concentration >= CONCENTRATION_MIN && all * concentration * concentration >= RAYLEIGH_MIN
    }

    /// Whether this part of the period, or the one before, has been busy in several cycles.
    fn is_busy_at(&self, second: u64, period: u64) -> bool {
        let part = part_at(second, period);
        let around = [part, (part + PARTS - 1) % PARTS];
        around.into_iter().filter_map(|part| self.parts.get(part)).any(|part| part.busy_cycles >= BUSY_CYCLES_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A full hour.
    const START: u64 = 1_600_041_600;

    /// Arrivals at these seconds; whether the path is due at the last of them.
    fn is_due(seconds: impl Iterator<Item = u64>) -> bool {
        let mut rhythms = Rhythms::new();
        let mut last = 0;
        for second in seconds {
            last = START + second;
            rhythms.arrive(7, Timestamp::from_seconds(last));
        }
        rhythms.is_due(7, Timestamp::from_seconds(last))
    }

    /// A hundred readers within twenty seconds, each so often.
    fn herd(period: u64, cycles: u64) -> impl Iterator<Item = u64> {
        (0..cycles).flat_map(move |cycle| (0..100).map(move |reader| cycle * period + 5 + reader / 5))
    }

    #[test]
    fn a_herd_is_known_by_its_third_return() {
        for period in PERIODS {
            assert!(is_due(herd(period, 4)), "{period}");
            assert!(!is_due(herd(period, 2)), "{period}");
        }
        // No other period than those that people set.
        assert!(!is_due(herd(700, 40)));
    }

    #[test]
    fn readers_without_a_common_clock_and_a_single_crowd_are_none() {
        assert!(!is_due((0..8 * 3600).step_by(9)));
        let quiet = (0..4 * 3600).step_by(400);
        assert!(!is_due(quiet.chain(4 * 3600..4 * 3600 + 90).flat_map(|second| [second; 4])));
    }

    #[test]
    fn random_paths_do_not_push_out_a_herd_and_take_no_memory() {
        let mut rhythms = Rhythms::new();
        let before = rhythms.memory_bytes();
        for second in herd(900, 4) {
            rhythms.arrive(7, Timestamp::from_seconds(START + second));
        }
        for path in 0..50_000 {
            rhythms.arrive(1000 + path, Timestamp::from_seconds(START + 2800));
        }
        assert!(rhythms.is_due(7, Timestamp::from_seconds(START + 2715)));
        assert_eq!(rhythms.memory_bytes(), before);
    }
}
