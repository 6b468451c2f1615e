//! Where people live whose requests come at these hours: everybody sleeps.
//!
//! One day shows no rhythm: a flood that swells for a day has its fewest clients at some hour too. So two days are asked for, in
//! which every hour has had its turn; what rises or falls over all of them is taken out; and how sure the result is, days that
//! are drawn anew say, each as a whole.

use crate::detection::random::Random;

/// Votes below which nothing is said.
const VOTES_MIN: f64 = 100.0;

/// Hours of a day, and in how many of them something must have come.
const DAY: u64 = 24;
const HOURS_MIN: usize = 16;

/// Full days that are asked for, and how many quiet hours the last of them may end with: who sleeps sends nothing.
const DAYS_MIN: usize = 2;
const QUIET_HOURS_MAX: u64 = 4;

/// A trend is not followed below this share of the mean.
const TREND_MIN: f64 = 0.1;

/// Below this strength of the daily rhythm it is a machine's.
const RHYTHM_MIN: f64 = 0.15;

/// The hour of the day at which fewest people are awake.
const TROUGH_LOCAL: i64 = 4;

/// How often the days are drawn anew to see how sure the result is, and the votes of each, though never more than say enough.
const DRAWS: usize = 200;
const DRAWN_VOTES_MAX: f64 = 2000.0;

/// Votes by the hour of the day, in UTC.
type Day = [f64; DAY as usize];

/// The daily rhythm of a source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeZone {
    /// The strength of the first harmonic of the votes by hour, 0 to 1: people have 0.3 and more, machines next to nothing.
    pub rhythm: f64,
    /// The offset from UTC in hours, -11 to 12, at which the fewest requests come at four in the morning; `None` for a machine.
    pub offset_hours: Option<i64>,
    /// The share of random redraws of the days and their votes that say the same within an hour, 0 to 1.
    pub confidence: f64,
}

impl TimeZone {
    /// From hours since the Unix epoch in order, each with its votes, one for each client; `None` when they are too few.
    pub fn of(hours: &[(u64, u64)], random_seed: u64) -> Option<Self> {
        let days = without_trend(&full_days(hours));
        let sum: Day = std::array::from_fn(|hour| days.iter().map(|day| day[hour]).sum());
        if days.len() < DAYS_MIN || sum.iter().sum::<f64>() < VOTES_MIN {
            return None;
        }
        let offset_hours = offset_of_people(&sum);
        let mut random = Random::new(random_seed);
        let agreeing = (0..DRAWS).filter(|_| {
            let mut drawn = Day::default();
            for _ in 0..days.len() {
                let day = &days[random.below(days.len())];
                let votes: f64 = day.iter().sum();
                let count = votes.min(DRAWN_VOTES_MAX / days.len() as f64).round();
                for _ in 0..count as usize {
                    let mut left = f64::from(random.uniform()) * votes;
                    let hour = day.iter().position(|votes| {
                        left -= votes;
                        left <= 0.0
                    });
                    drawn[hour.unwrap_or_default()] += votes / count;
                }
            }
            match offset_hours.zip(offset_of_people(&drawn)) {
                Some((found, drawn)) => {
                    let difference = (found - drawn).rem_euclid(24);
                    difference.min(24 - difference) <= 1
                }
                None => offset_of_people(&drawn) == offset_hours,
            }
        });
        Some(Self { rhythm: rhythm(&sum), offset_hours, confidence: agreeing.count() as f64 / DRAWS as f64 })
    }
}

/// Days of 24 hours, none of which overlap, each with its first hour since the Unix epoch and its votes from that hour on.
fn full_days(hours: &[(u64, u64)]) -> Vec<(u64, Day)> {
    let last = hours.last().map_or(0, |(hour, _)| *hour);
    let mut days = Vec::new();
    let mut rest = hours;
    while let Some((first, _)) = rest.first() {
        let end = first + DAY;
        if end > last + 1 + QUIET_HOURS_MAX {
            break;
        }
        let within = rest.partition_point(|(hour, _)| *hour < end);
        if within < HOURS_MIN {
            rest = &rest[1..];
            continue;
        }
        let mut day = Day::default();
        for (hour, votes) in &rest[..within] {
            day[(hour - first) as usize] = *votes as f64;
        }
        days.push((*first, day));
        rest = &rest[within..];
    }
    days
}

/// The days by hour of UTC, without what rises or falls over all of them: the line that fits them best.
fn without_trend(days: &[(u64, Day)]) -> Vec<Day> {
    let Some((begin, _)) = days.first() else { return Vec::new() };
    let at = |first: u64, place: usize| (first - begin) as f64 + place as f64;
    let points =
        || days.iter().flat_map(|(first, day)| (0..).zip(day).map(|(place, votes)| (at(*first, place), *votes)));
    let count = points().count() as f64;
    let mean = |part: &dyn Fn((f64, f64)) -> f64| points().map(part).sum::<f64>() / count;
    let (hour_mean, votes_mean) = (mean(&|(hour, _)| hour), mean(&|(_, votes)| votes));
    let spread = mean(&|(hour, _)| (hour - hour_mean).powi(2));
    let slope = mean(&|(hour, votes)| (hour - hour_mean) * (votes - votes_mean)) / spread.max(f64::MIN_POSITIVE);
    let flat = |(first, day): &(u64, Day)| {
        let mut by_hour = Day::default();
        for (place, votes) in day.iter().enumerate() {
            let trend = (votes_mean + slope * (at(*first, place) - hour_mean)).max(TREND_MIN * votes_mean);
            by_hour[((first + place as u64) % DAY) as usize] = votes * votes_mean / trend;
        }
        by_hour
    };
    days.iter().map(flat).collect()
}

/// The first harmonic of a day, as a share of all.
fn rhythm(votes: &Day) -> f64 {
    let total: f64 = votes.iter().sum();
    let angle = |hour: usize| hour as f64 / 24.0 * std::f64::consts::TAU;
    let part =
        |wave: fn(f64) -> f64| -> f64 { votes.iter().enumerate().map(|(hour, votes)| votes * wave(angle(hour))).sum() };
    part(f64::cos).hypot(part(f64::sin)) / total.max(1.0)
}

/// The offset from UTC of people; none for a machine, which never sleeps.
fn offset_of_people(votes: &Day) -> Option<i64> {
    (rhythm(votes) >= RHYTHM_MIN).then(|| offset(votes))
}

/// The offset from UTC at which the trough, smoothed over three hours, is at four.
fn offset(votes: &Day) -> i64 {
    let smoothed = |hour: usize| votes[(hour + 23) % 24] + votes[hour] + votes[(hour + 1) % 24];
    let trough = (0..24).min_by(|one, other| smoothed(*one).total_cmp(&smoothed(*other))).unwrap_or_default() as i64;
    let offset = (TROUGH_LOCAL - trough).rem_euclid(24);
    if offset > 12 { offset - 24 } else { offset }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Monday, in hours.
    const START: u64 = 444_456;

    /// Hours of so many votes, of which those without any are left out.
    fn hours(count: u64, votes: impl Fn(u64) -> f64) -> Vec<(u64, u64)> {
        (0..count).map(|hour| (START + hour, votes(hour) as u64)).filter(|(_, votes)| *votes > 0).collect()
    }

    /// People who are awake as people are, at this offset from UTC.
    fn people(offset: i64, hour: u64) -> f64 {
        let local = ((START + hour) as i64 + offset).rem_euclid(24) as f64;
        1.0 - 0.8 * ((local - 4.0) / 24.0 * std::f64::consts::TAU).cos()
    }

    #[test]
    fn people_are_placed_and_machines_are_not() {
        for offset in [-8, -3, 0, 1, 8, 12] {
            let found = TimeZone::of(&hours(72, |hour| 100.0 * people(offset, hour)), 1).expect("enough votes");
            assert_eq!(found.offset_hours, Some(offset));
            assert!(found.confidence > 0.8, "{found:?}");
            assert!((0.3..0.45).contains(&found.rhythm), "{found:?}");
        }
        let machine = TimeZone::of(&hours(72, |_| 50.0), 1).expect("enough votes");
        assert_eq!(machine.offset_hours, None);
        assert!(machine.confidence > 0.95, "{machine:?}");
        let scarce =
            TimeZone::of(&hours(48, |hour| f64::from(u32::from(hour % 5 == 0) * 10 + 1)), 1).expect("enough votes");
        assert!(scarce.offset_hours.is_none() && scarce.confidence < machine.confidence, "{scarce:?}");
        assert_eq!(TimeZone::of(&hours(72, |_| 1.0), 1), None);
    }

    #[test]
    fn a_ramp_has_no_rhythm_however_long_it_is() {
        assert_eq!(TimeZone::of(&hours(24, |hour| 10.0 * hour as f64), 1), None, "it is one day");
        for days in [2, 3, 5] {
            let ramp = TimeZone::of(&hours(24 * days, |hour| 10.0 * hour as f64), 1).expect("enough votes");
            assert_eq!(ramp.offset_hours, None, "{ramp:?}");
        }
        let swelling = TimeZone::of(&hours(96, |hour| (5.0 + hour as f64) * people(8, hour)), 1).expect("enough votes");
        assert_eq!(swelling.offset_hours, Some(8), "{swelling:?}");
    }

    #[test]
    fn less_than_two_full_days_say_nothing() {
        assert_eq!(TimeZone::of(&hours(40, |hour| 100.0 * people(8, hour)), 1), None);
        assert_eq!(TimeZone::of(&hours(72, |hour| if hour < 30 { 100.0 } else { 0.0 }), 1), None);
        assert_eq!(TimeZone::of(&[], 1), None);
    }

    #[test]
    fn few_votes_are_unsure() {
        let many = TimeZone::of(&hours(48, |hour| 100.0 * people(8, hour)), 1).expect("enough votes").confidence;
        let few = TimeZone::of(&hours(48, |hour| 4.0 * people(8, hour)), 1).expect("enough votes").confidence;
        assert!(few < many, "{few} {many}");
    }
}
