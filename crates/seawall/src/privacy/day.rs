//! Days, each of which has a key of its own.

use std::fmt;
use std::str::FromStr;

use seawall_engine::units::Timestamp;

const SECONDS: u64 = 86_400;

/// A day in UTC, written as `2024-05-17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(u64);

impl Day {
    /// The day of a moment.
    pub const fn of(moment: Timestamp) -> Self {
        Self(moment.as_seconds() / SECONDS)
    }

    /// The day with a number.
    pub const fn of_number(number: u64) -> Self {
        Self(number)
    }

    /// Its number, from 0 for the first of 1970.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// How many days it lies before `today`; none when it is after it.
    pub const fn age(self, today: Self) -> Option<u64> {
        today.0.checked_sub(self.0)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0.saturating_mul(SECONDS)).unwrap_or(i64::MAX);
        let moment = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
        write!(formatter, "{}", moment.strftime("%Y-%m-%d"))
    }
}

/// What is no day, or one before 1970.
#[derive(Debug)]
pub struct NoDay;

impl FromStr for Day {
    type Err = NoDay;

    fn from_str(text: &str) -> Result<Self, NoDay> {
        let moment: jiff::Timestamp = format!("{text}T00:00:00Z").parse().map_err(|_| NoDay)?;
        let day = Self(u64::try_from(moment.as_second()).map_err(|_| NoDay)? / SECONDS);
        // There are other ways to write a date.
        if day.to_string() == text { Ok(day) } else { Err(NoDay) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_read_back_as_written() {
        for (seconds, text) in
            [(0, "1970-01-01"), (86_399, "1970-01-01"), (86_400, "1970-01-02"), (1_714_564_801, "2024-05-01")]
        {
            let day = Day::of(Timestamp::from_seconds(seconds));
            assert_eq!(day.to_string(), text);
            assert_eq!(text.parse::<Day>().ok().map(|day| day.to_string()).as_deref(), Some(text));
        }
        for text in ["", "2024-13-01", "2024-02-30", "20240501", "1969-12-31", "2024-05-01 ", "../2024-05-01"] {
            assert!(text.parse::<Day>().is_err(), "{text}");
        }
    }

    #[test]
    fn ages_are_days() {
        let day = |text: &str| text.parse::<Day>().expect("a day");
        assert_eq!(day("2024-02-28").age(day("2024-03-01")), Some(2));
        assert_eq!(day("2024-03-01").age(day("2024-02-28")), None);
    }
}
