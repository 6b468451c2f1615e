//! Moments as people are told them: where the guard is, and with their zone, since whoever reads them may be elsewhere.

use jiff::Zoned;
use jiff::tz::TimeZone;
use seawall_engine::units::Timestamp;

/// The time of the day: `15:42:10 CET`.
pub fn time_of_day(at: Timestamp) -> String {
    zoned(at).strftime("%H:%M:%S %Z").to_string()
}

/// The day and the time: `2026-11-27 15:42:10 CET`.
pub fn date_and_time(at: Timestamp) -> String {
    zoned(at).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// The same as messages have it: `Nov 27 15:42:10 CET`.
pub fn day_and_time(at: Timestamp) -> String {
    zoned(at).strftime("%b %d %H:%M:%S %Z").to_string()
}

fn zoned(at: Timestamp) -> Zoned {
    let moment = jiff::Timestamp::from_microsecond(i64::try_from(at.as_micros()).unwrap_or_default());
    moment.unwrap_or_default().to_zoned(TimeZone::system())
}
