//! Where people live whose requests come at these hours: everybody sleeps.

use crate::detection::random::Random;

/// Votes below which nothing is said.
const VOTES_MIN: u64 = 100;

/// Below this strength of the daily rhythm it is a machine's.
const RHYTHM_MIN: f64 = 0.15;

/// The hour of the day at which fewest people are awake.
const TROUGH_LOCAL: i64 = 4;

/// How often the votes are drawn anew to see how sure the result is.
const DRAWS: usize = 200;

/// The daily rhythm of a source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeZone {
    /// The strength of the first harmonic of the votes by hour, 0 to 1: people have 0.3 and more, machines next to nothing.
    pub rhythm: f64,
    /// The offset from UTC in hours, -11 to 12, at which the fewest requests come at four in the morning; `None` for a machine.
    pub offset_hours: Option<i64>,
    /// The share of random redraws of the votes that say the same within an hour, 0 to 1.
    pub confidence: f64,
}

impl TimeZone {
    /// From votes by hour of UTC, one for each client and hour; `None` when there are too few of them.
    pub fn of(votes: &[u64; 24], random_seed: u64) -> Option<Self> {
        let total: u64 = votes.iter().sum();
        if total < VOTES_MIN {
            return None;
        }
        let rhythm = rhythm(votes);
        if rhythm < RHYTHM_MIN {
            return Some(Self { rhythm, offset_hours: None, confidence: 0.0 });
        }
        let offset = offset(votes);
        let mut random = Random::new(random_seed);
        let agreeing = (0..DRAWS).filter(|_| {
            let mut drawn = [0; 24];
            // As many votes as there are, though never more than say enough.
            for _ in 0..total.min(2000) {
                let mut left = random.below(total as usize) as u64;
                let hour = votes.iter().position(|votes| {
                    let is_it = left < *votes;
                    left = left.saturating_sub(*votes);
                    is_it
                });
                drawn[hour.unwrap_or_default()] += 1;
            }
            let difference = (self::offset(&drawn) - offset).rem_euclid(24);
            difference.min(24 - difference) <= 1
        });
        Some(Self { rhythm, offset_hours: Some(offset), confidence: agreeing.count() as f64 / DRAWS as f64 })
    }
}

/// The first harmonic of a day, as a share of all.
fn rhythm(votes: &[u64; 24]) -> f64 {
    let total: u64 = votes.iter().sum();
    let angle = |hour: usize| hour as f64 / 24.0 * std::f64::consts::TAU;
    let part = |wave: fn(f64) -> f64| -> f64 {
        votes.iter().enumerate().map(|(hour, votes)| *votes as f64 * wave(angle(hour))).sum()
    };
    part(f64::cos).hypot(part(f64::sin)) / total.max(1) as f64
}

/// The offset from UTC at which the trough, smoothed over three hours, is at four.
fn offset(votes: &[u64; 24]) -> i64 {
    let smoothed = |hour: usize| votes[(hour + 23) % 24] + votes[hour] + votes[(hour + 1) % 24];
    let trough = (0..24).min_by_key(|hour| smoothed(*hour)).unwrap_or_default() as i64;
    let offset = (TROUGH_LOCAL - trough).rem_euclid(24);
    if offset > 12 { offset - 24 } else { offset }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// People who are awake as people are, at this offset from UTC.
    fn people(offset: i64) -> [u64; 24] {
        std::array::from_fn(|hour| {
            let local = (hour as i64 + offset).rem_euclid(24) as f64;
            (100.0 * (1.0 - 0.8 * ((local - 4.0) / 24.0 * std::f64::consts::TAU).cos())) as u64
        })
    }

    #[test]
    fn people_are_placed_and_machines_are_not() {
        for offset in [-8, -3, 0, 1, 8, 12] {
            let found = TimeZone::of(&people(offset), 1).expect("enough votes");
            assert_eq!(found.offset_hours, Some(offset));
            assert!(found.confidence > 0.8, "{found:?}");
            assert!((0.35..0.45).contains(&found.rhythm), "{found:?}");
        }
        let machine = TimeZone::of(&[50; 24], 1).expect("enough votes");
        assert_eq!(machine.offset_hours, None);
        assert_eq!(TimeZone::of(&[4; 24], 1), None);
    }

    #[test]
    fn few_votes_are_unsure() {
        let many = TimeZone::of(&people(8), 1).expect("enough votes").confidence;
        let few = TimeZone::of(&people(8).map(|votes| votes / 20), 1).expect("enough votes").confidence;
        assert!(few < many, "{few} {many}");
    }
}
