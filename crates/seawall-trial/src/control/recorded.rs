//! Crowds in the shape of a real one: requests a minute of the 1998 World Cup site, played in their own time and scaled to
//! the site of the trial.

use std::path::Path;

use super::Link;
use crate::background::browsers;
use crate::world::Traffic;

/// How many times its ordinary traffic a site has at the height of a crowd.
const HEIGHT: f64 = 20.0;

/// Requests of one visit, about.
const VISIT_REQUESTS: f64 = 8.0;

/// Minutes between two peaks that are not of the same crowd.
const APART: usize = 12 * 60;

/// A peak is played from when it had this share of its height,
const RISE_FROM: f64 = 0.1;

/// until so many minutes after it is below half of it.
const AFTER: usize = 10;

/// A minute with fewer requests says nothing of how much faster the next one was.
const MINUTE_MIN: f64 = 1000.0;

/// What is played around the fastest minute.
const BEFORE_FASTEST: usize = 5;
const AFTER_FASTEST: usize = 15;

/// Why a recording cannot be played.
#[derive(Debug)]
pub enum RecordingError {
    /// It cannot be read.
    Unreadable(std::io::Error),
    /// It is not a table of minutes and requests, or too short.
    Unknown,
}

impl std::fmt::Display for RecordingError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(error) => write!(formatter, "read it: {error}"),
            Self::Unknown => formatter.write_str("expected lines of a minute and its requests, of a day at least"),
        }
    }
}

/// A part of the recording.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The name in tables.
    pub name: &'static str,
    /// It is played with one seed in so many, since most last for hours.
    pub one_seed_in: u64,
    /// Requests of each minute, as shares of the most.
    minutes: Vec<f64>,
}

impl Recorded {
    /// The three highest peaks, from their rise until they are over, and the minutes around the fastest growth.
    ///
    /// # Errors
    /// When the recording cannot be read or is none.
    pub fn read(path: &Path) -> Result<Vec<Self>, RecordingError> {
        Self::parse(&std::fs::read_to_string(path).map_err(RecordingError::Unreadable)?)
    }

    fn parse(text: &str) -> Result<Vec<Self>, RecordingError> {
        let counts = text.lines().skip(1).map(|line| line.rsplit_once(',').and_then(|(_, count)| count.parse().ok()));
        let counts: Vec<f64> = counts.collect::<Option<_>>().ok_or(RecordingError::Unknown)?;
        if counts.len() < 2 * APART {
            return Err(RecordingError::Unknown);
        }
        let names = ["highest real crowd", "second real crowd", "third real crowd"];
        let peaks = peaks(&counts, names.len());
        let mut recorded: Vec<Self> = names
            .into_iter()
            .zip(peaks)
            .map(|(name, peak)| Self { name, one_seed_in: 50, minutes: of_most(around(&counts, peak)) })
            .collect();
        let fastest = fastest(&counts);
        let part = counts.get(fastest.saturating_sub(BEFORE_FASTEST)..fastest + AFTER_FASTEST);
        let minutes = of_most(part.ok_or(RecordingError::Unknown)?);
        recorded.push(Self { name: "fastest real minute", one_seed_in: 5, minutes });
        Ok(recorded)
    }

    /// How long it is played, in seconds.
    pub fn seconds(&self) -> u64 {
        60 * self.minutes.len().saturating_sub(1) as u64
    }

    /// Makes it, for a site with so many requests a second.
    pub fn traffic(&self, ordinary_rate: f64) -> Box<dyn Traffic> {
        let (minutes, height) = (self.minutes.clone(), HEIGHT * ordinary_rate / VISIT_REQUESTS);
        // A minute's requests are those of its middle; between two middles it grows evenly.
        let rate = move |seconds: f64| {
            let (minute, share) = ((seconds / 60.0) as usize, (seconds / 60.0).fract());
            let of = |minute: usize| minutes.get(minute).or(minutes.last()).copied().unwrap_or_default();
            height * (of(minute) * (1.0 - share) + of(minute + 1) * share)
        };
        Box::new(Link::of_rate(Box::new(rate), browsers()))
    }
}

/// The minutes with the most requests, each of another crowd.
fn peaks(counts: &[f64], most: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by(|one, other| counts[*other].total_cmp(&counts[*one]));
    let mut peaks: Vec<usize> = Vec::new();
    for minute in order {
        if peaks.len() == most {
            break;
        }
        if peaks.iter().all(|peak| peak.abs_diff(minute) > APART) {
            peaks.push(minute);
        }
    }
    peaks
}

/// From when a peak began to rise until it is over.
fn around(counts: &[f64], peak: usize) -> &[f64] {
    let height = counts[peak];
    let begin = counts[..peak].iter().rposition(|count| *count < RISE_FROM * height).unwrap_or_default();
    let falls = counts[peak..].iter().position(|count| *count < height / 2.0).unwrap_or_default();
    &counts[begin..(peak + falls + AFTER).min(counts.len())]
}

/// The minute that grew most over the one before.
fn fastest(counts: &[f64]) -> usize {
    let growth = |pair: &[f64]| if pair[0] < MINUTE_MIN { 0.0 } else { pair[1] / pair[0] };
    let pairs = counts.windows(2).map(growth).enumerate();
    pairs.max_by(|one, other| one.1.total_cmp(&other.1)).map_or(0, |(before, _)| before + 1)
}

fn of_most(counts: &[f64]) -> Vec<f64> {
    let most = counts.iter().copied().fold(1.0, f64::max);
    counts.iter().map(|count| count / most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three days of a thousand requests a minute, each with a peak that takes `rise` minutes to grow and `fall` to vanish.
    fn recording(rise: usize, fall: usize) -> String {
        let mut text = "period,count\n".to_owned();
        for minute in 0..3 * 1440 {
            let (day, of_day) = (minute / 1440, minute % 1440);
            let after = of_day as f64 - 720.0;
            let share = if after < 0.0 { 1.0 + after / rise as f64 } else { 1.0 - after / fall as f64 };
            let height = [30_000.0, 50_000.0, 40_000.0][day];
            text += &format!("1998-06-{:02} 00:00:00,{:.0}\n", day + 1, (share * height).max(1000.0));
        }
        text
    }

    #[test]
    fn peaks_are_played_from_a_tenth_until_they_have_halved() {
        let recorded = Recorded::parse(&recording(200, 40)).expect("a recording");
        let minutes: Vec<u64> = recorded.iter().map(|part| part.seconds() / 60).collect();
        // The minute before the rise, nine tenths of it, half of the fall, and ten minutes.
        assert_eq!(&minutes[..3], [1 + 180 + 20 + 10; 3]);
        assert!(recorded[..3].iter().all(|part| part.minutes[0] < 0.1 && part.minutes.contains(&1.0)));
        assert!(Recorded::parse("period,count\n1998-06-01 00:00:00,many\n").is_err());
        assert!(Recorded::parse("period,count\n1998-06-01 00:00:00,5\n").is_err());
    }

    #[test]
    fn the_fastest_minute_is_in_its_part() {
        let recorded = Recorded::parse(&recording(2, 40)).expect("a recording");
        let fastest = recorded.last().expect("the fastest minute");
        assert_eq!(fastest.seconds(), 60 * (BEFORE_FASTEST + AFTER_FASTEST - 1) as u64);
        let growth = fastest.minutes[BEFORE_FASTEST] / fastest.minutes[BEFORE_FASTEST - 1];
        assert!(growth > 20.0, "{growth}");
    }
}
