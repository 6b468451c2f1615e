//! Time stamps as logs write them.

use std::time::Duration;

use super::fields;
use crate::units::Timestamp;

/// The length of a time stamp of the common log format.
pub(super) const COMMON_BYTES: usize = 26;

/// The last second that has a year of four digits.
const SECONDS_MAX: i64 = 253_402_300_799;

/// Whether `text` has the shape of a time stamp of the common log format, whatever its digits say.
pub(super) fn is_common_shape(text: &[u8; COMMON_BYTES]) -> bool {
    matches!(text, [_, _, b'/', _, _, _, b'/', _, _, _, _, b':', _, _, b':', _, _, b':', _, _, b' ', b'+' | b'-', ..])
}

/// The moment of `17/May/2015:10:05:03 +0000`. `None` when it names no moment, one before 1970, or one after 9999. A leap second is
/// taken as the second after it.
pub(super) fn common(text: &[u8; COMMON_BYTES]) -> Option<Timestamp> {
    if !is_common_shape(text) {
        return None;
    }
    let [d1, d2, _, m1, m2, m3, _, y1, y2, y3, y4, _, h1, h2, _, i1, i2, _, s1, s2, _, sign, z1, z2, z3, z4] = *text;
    let month = month(&[m1, m2, m3])?;
    let [day, hour, minute, second] = pairs([d1, d2, h1, h2, i1, i2, s1, s2])?;
    let [century, year_of_century, zone_hour, zone_minute] = pairs([y1, y2, y3, y4, z1, z2, z3, z4])?;
    let year = century * 100 + year_of_century;
    if day == 0 || day > days_in_month(year, month) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    if zone_hour > 23 || zone_minute > 59 {
        return None;
    }
    let local = days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let offset = zone_hour * 3600 + zone_minute * 60;
    let utc = if sign == b'-' { local + offset } else { local - offset };
    moment(utc, 0)
}

/// The four numbers of two digits each that eight bytes are. All are looked at at once, since nearly every line has two times eight of them.
#[inline]
fn pairs(text: [u8; 8]) -> Option<[i64; 4]> {
    const TOP_BITS: u64 = u64::from_le_bytes([0x80; 8]);
    // What makes a byte over nine, and none else, have its top bit.
    const OVER_NINE: u64 = u64::from_le_bytes([0x80 - 10; 8]);
    // A digit is `0` with its value in the bits that `0` lacks.
    let digits = u64::from_le_bytes(text) ^ u64::from_le_bytes([b'0'; 8]);
    if (digits | digits.wrapping_add(OVER_NINE)) & TOP_BITS != 0 {
        return None;
    }
    // The tens stand in the lower byte of each two, and no sum goes over its own.
    let [first, _, second, _, third, _, fourth, _] = (digits * 10 + (digits >> 8)).to_le_bytes();
    Some([first, second, third, fourth].map(i64::from))
}

/// The moment of `25/Feb/2019:16:19:48.143`, as HAProxy writes it: without a zone, so it is taken for UTC.
pub(super) fn zoneless(text: &[u8]) -> Option<Timestamp> {
    let (whole, rest) = text.split_at_checked(COMMON_BYTES - " +0000".len())?;
    let mut text = *b"00/Jan/0000:00:00:00 +0000";
    text.get_mut(..whole.len())?.copy_from_slice(whole);
    let moment = common(&text)?;
    match rest {
        [] => Some(moment),
        [b'.', fraction @ ..] => Some(moment + Duration::from_micros(micros(fraction)?)),
        _ => None,
    }
}

/// The moment of an ISO 8601 date and time, as RFC 3339 has it: `2025-12-31T17:37:40.493+01:00`. Also with a space in place
/// of the `T`, with `+0100`, with a space before the zone, and without one, which is taken for UTC.
pub(super) fn iso(text: &[u8]) -> Option<Timestamp> {
    let (date, rest) = text.split_first_chunk::<10>()?;
    let [b'T' | b't' | b' ', rest @ ..] = rest else { return None };
    let (time, rest) = rest.split_first_chunk::<8>()?;
    let seconds = seconds_of(date, time)?;
    let (fraction, zone) = match rest {
        [b'.' | b',', rest @ ..] => {
            let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
            (micros(&rest[..end])?, &rest[end..])
        }
        zone => (0, zone),
    };
    let offset = match zone {
        [] | b"Z" | b"z" => 0,
        zone => self::zone(zone.strip_prefix(b" ").unwrap_or(zone))?,
    };
    moment(seconds - offset, fraction)
}

/// The moment of `2024/05/01 12:00:01.123`, as Caddy shows it to people: in the zone of its machine, which is taken for UTC.
pub(super) fn wall(text: &[u8]) -> Option<Timestamp> {
    let (date, [b' ', clock @ ..]) = text.split_first_chunk::<10>()? else { return None };
    let [y1, y2, y3, y4, b'/', m1, m2, b'/', d1, d2] = *date else { return None };
    date_and_time(&[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2], clock)
}

/// The moment of a date and a time in two fields, as W3C extended logs have them: `2024-05-01` and `12:00:01`, in UTC.
pub(super) fn date_and_time(date: &[u8], time: &[u8]) -> Option<Timestamp> {
    let (time, rest) = time.split_first_chunk::<8>()?;
    let fraction = match rest {
        [] => 0,
        [b'.', rest @ ..] => micros(rest)?,
        _ => return None,
    };
    moment(seconds_of(date.try_into().ok()?, time)?, fraction)
}

/// The moment of a year, month and day, and of an hour, minute and second in a zone that is so many seconds ahead of UTC.
pub(super) fn of_calendar(date: [i64; 3], clock: [i64; 3], zone_seconds: i64, micros: u64) -> Option<Timestamp> {
    moment(seconds_since_epoch(date, clock)? - zone_seconds, micros)
}

/// By how many seconds a zone is ahead of UTC: `+0200`, `-02:30`.
pub(super) fn zone(text: &[u8]) -> Option<i64> {
    let ([sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] | [sign @ (b'+' | b'-'), h1, h2, m1, m2]) = text else {
        return None;
    };
    let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
    let seconds = hours * 3600 + minutes * 60;
    (hours <= 23 && minutes <= 59).then_some(if *sign == b'-' { -seconds } else { seconds })
}

/// The moment that somebody wrote by hand: a day, or a day and a time to the hour, the minute or the second, in UTC unless it says
/// its zone: `2024-05-01`, `2024-05-01T12:00`, `2024-05-01T12:00+02:00`, `2024-05-01T12:00:01Z`.
pub(crate) fn written(text: &[u8]) -> Option<Timestamp> {
    const MIDNIGHT: &[u8] = b"0000-00-00T00:00:00";
    const DAY_BYTES: usize = "0000-00-00".len();
    let begins_zone = |byte: &u8| matches!(byte, b'Z' | b'z' | b'+' | b'-');
    let zone = text.iter().skip(DAY_BYTES).position(begins_zone).map_or(text.len(), |at| DAY_BYTES + at);
    let (moment, zone) = text.split_at(zone);
    match MIDNIGHT.get(moment.len()..).filter(|_| matches!(moment.len(), DAY_BYTES | 13 | 16)) {
        Some(rest) => iso(&[moment, rest, zone].concat()),
        None => iso(text),
    }
}

/// A moment as [`written`] reads it, to the second.
pub(crate) fn in_calendar(seconds: u64) -> String {
    // The inverse of [`days_since_epoch`], from the same source: `civil_from_days`.
    let days = i64::try_from(seconds / 86_400).unwrap_or(i64::MAX / 2) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The moment of a number of seconds since 1970, with a fraction or without; or of milli-, micro- or nanoseconds when it is
/// that large: as seconds it would lie beyond the year 5138. One before March 1973 is none: numbers as small are durations, or what
/// somebody counted.
pub(super) fn epoch(text: &[u8]) -> Option<Timestamp> {
    let (whole, fraction) = match memchr::memchr(b'.', text) {
        Some(point) => (&text[..point], micros(&text[point + 1..])?),
        None => (text, 0),
    };
    // Nanoseconds have nineteen digits.
    let number = fields::integer(whole).filter(|_| whole.len() <= 19)?;
    let micros = match number {
        0..100_000_000 => return None,
        100_000_000..100_000_000_000 => number * 1_000_000 + fraction,
        100_000_000_000..100_000_000_000_000 => number * 1_000,
        100_000_000_000_000..100_000_000_000_000_000 => number,
        _ => number / 1_000,
    };
    Some(Timestamp::from_micros(micros))
}

/// Seconds since 1970 of `2024-05-01` and `12:00:01`.
fn seconds_of(date: &[u8; 10], time: &[u8; 8]) -> Option<i64> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *date else { return None };
    let [h1, h2, b':', i1, i2, b':', s1, s2] = *time else { return None };
    let (year, month, day) = (digits(&[y1, y2, y3, y4])?, digits(&[m1, m2])?, digits(&[d1, d2])?);
    let (hour, minute, second) = (digits(&[h1, h2])?, digits(&[i1, i2])?, digits(&[s1, s2])?);
    seconds_since_epoch([year, month, day], [hour, minute, second])
}

fn seconds_since_epoch([year, month, day]: [i64; 3], [hour, minute, second]: [i64; 3]) -> Option<i64> {
    let is_day = (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month);
    let is_time = hour <= 23 && minute <= 59 && second <= 60;
    (is_day && is_time).then(|| days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

fn moment(seconds: i64, micros: u64) -> Option<Timestamp> {
    let seconds = u64::try_from(seconds).ok().filter(|_| seconds <= SECONDS_MAX)?;
    Some(Timestamp::from_seconds(seconds) + Duration::from_micros(micros))
}

/// The first six digits of a fraction of a second.
fn micros(fraction: &[u8]) -> Option<u64> {
    if fraction.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let six = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(6);
    Some(six.fold(0, |number, byte| number * 10 + u64::from(byte - b'0')))
}

pub(super) fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

/// The number of a month by its English name.
pub(super) fn month(name: &[u8; 3]) -> Option<i64> {
    Some(match name {
        b"Jan" => 1,
        b"Feb" => 2,
        b"Mar" => 3,
        b"Apr" => 4,
        b"May" => 5,
        b"Jun" => 6,
        b"Jul" => 7,
        b"Aug" => 8,
        b"Sep" => 9,
        b"Oct" => 10,
        b"Nov" => 11,
        b"Dec" => 12,
        _ => return None,
    })
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1 January 1970 to a day of the Gregorian calendar. The year is taken to begin in March, so that the leap
/// day is its last. Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn eight_bytes_are_four_numbers_only_where_all_are_digits() {
        assert_eq!(pairs(*b"00099099"), Some([0, 9, 90, 99]));
        assert_eq!(pairs(*b"20251731"), Some([20, 25, 17, 31]));
        for place in 0..8 {
            for byte in 0..=u8::MAX {
                let mut text = *b"19283746";
                text[place] = byte;
                assert_eq!(pairs(text).is_some(), byte.is_ascii_digit(), "{byte} at {place}");
            }
        }
    }

    #[track_caller]
    fn check(text: &str, expected: Option<u64>) {
        let text: &[u8; COMMON_BYTES] = text.as_bytes().try_into().expect("26 bytes");
        assert_eq!(common(text).map(Timestamp::as_seconds), expected, "{}", text.escape_ascii());
    }

    #[test]
    fn moments_with_their_zones() {
        check("01/Jan/1970:00:00:00 +0000", Some(0));
        check("17/May/2015:10:05:03 +0000", Some(1_431_857_103));
        check("22/Jan/2019:03:56:14 +0330", Some(1_548_116_774));
        check("29/Jul/2023:10:26:06 -0700", Some(1_690_651_566));
        check("29/Feb/2024:23:59:59 +0000", Some(1_709_251_199));
        check("31/Dec/1969:23:00:00 -0100", Some(0));
        check("31/Dec/2016:23:59:60 +0000", Some(1_483_228_800));
        check("31/Dec/9999:23:59:59 +0000", Some(253_402_300_799));
    }

    #[test]
    fn what_names_no_moment() {
        for text in [
            "29/Feb/2023:00:00:00 +0000",
            "00/Jan/2023:00:00:00 +0000",
            "31/Apr/2023:00:00:00 +0000",
            "01/jan/2023:00:00:00 +0000",
            "01/Jan/2023:24:00:00 +0000",
            "01/Jan/2023:00:60:00 +0000",
            "01/Jan/2023:00:00:61 +0000",
            "01/Jan/2023:00:00:00 +2400",
            "01/Jan/2023:00:00:00 +0060",
            "01/Jan/2023:00:00:00 *0000",
            "01/Jan/-023:00:00:00 +0000",
            "01/Jan/1970:00:00:00 +0001",
            "31/Dec/1969:23:59:59 +0000",
            "01/01/02023:00:00:00 +0000",
            "31/Dec/9999:23:59:60 +0000",
            "31/Dec/9999:23:59:60 -0700",
            "31/Dec/9999:17:00:00 -0700",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn other_ways_to_write_a_moment() {
        let micros = |moment: Option<Timestamp>| moment.map(Timestamp::as_micros);
        for (text, expected) in [
            ("2023-04-26T12:22:55.463821Z", Some(1_682_511_775_463_821)),
            ("2025-12-31T17:37:40.493035218+01:00", Some(1_767_199_060_493_035)),
            ("2025-12-31 17:37:40-0730", Some(1_767_229_660_000_000)),
            ("2025-12-31 17:37:40 -0730", Some(1_767_229_660_000_000)),
            ("2025-12-31T17:37:40.493 +01:00", Some(1_767_199_060_493_000)),
            ("2025-12-31 17:37:40  +0100", None),
            ("2025-12-31 17:37:40 ", None),
            ("1970-01-01T00:00:00", Some(0)),
            ("1970-01-01T00:00:00+00:01", None),
            ("2023-02-29T00:00:00Z", None),
            ("2023-01-01T00:00:00.Z", None),
            ("2023-01-01T00:00:00 UTC", None),
            ("2023-13-01T00:00:00Z", None),
            ("9999-12-31T23:59:59.999999Z", Some(253_402_300_799_999_999)),
            ("9999-12-31T23:59:60Z", None),
            ("9999-12-31T23:59:59-01:00", None),
        ] {
            assert_eq!(micros(iso(text.as_bytes())), expected, "{text}");
        }
        for (text, expected) in [
            ("1693840791.7564995", Some(1_693_840_791_756_499)),
            ("1693840791", Some(1_693_840_791_000_000)),
            ("1693840791756", Some(1_693_840_791_756_000)),
            ("1693840791756499", Some(1_693_840_791_756_499)),
            ("1693840791756499123", Some(1_693_840_791_756_499)),
            ("100000000", Some(100_000_000_000_000)),
            ("99999999.9", None),
            ("0.005", None),
            ("", None),
            ("-1", None),
            ("1e9", None),
            ("9999999999999999999", Some(9_999_999_999_999_999)),
            ("99999999999999999999", None),
        ] {
            assert_eq!(micros(epoch(text.as_bytes())), expected, "{text}");
        }
        for (text, expected) in [
            ("2024-05-01", Some(1_714_521_600)),
            ("2024-05-01T12", Some(1_714_564_800)),
            ("2024-05-01T12:30", Some(1_714_566_600)),
            ("2024-05-01T12:30:05+02:00", Some(1_714_559_405)),
            ("2024-05-01T12:30+02:00", Some(1_714_559_400)),
            ("2024-05-01T12-0200", Some(1_714_572_000)),
            ("2024-05-01T12:30Z", Some(1_714_566_600)),
            ("2024-05-01T12:30+02:", None),
            ("2024-05", None),
            ("2024-02-30", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(written(text.as_bytes()).map(Timestamp::as_seconds), expected, "{text}");
        }
        assert_eq!(micros(wall(b"2019/02/25 16:19:48.143")), Some(1_551_111_588_143_000));
        assert_eq!(micros(wall(b"2019-02-25 16:19:48")), None);
        assert_eq!(micros(zoneless(b"25/Feb/2019:16:19:48.143")), Some(1_551_111_588_143_000));
        assert_eq!(micros(zoneless(b"25/Feb/2019:16:19:48x")), None);
        assert_eq!(micros(date_and_time(b"2019-02-25", b"16:19:48")), Some(1_551_111_588_000_000));
        assert_eq!(micros(date_and_time(b"2019-02-25", b"16:19")), None);
    }

    proptest! {
        #[test]
        fn no_text_does_harm(text in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = (iso(&text), epoch(&text), zoneless(&text), date_and_time(&text, &text));
        }

        /// jiff has its own calendar, and writes the moments in zones of any offset.
        #[test]
        fn agrees_with_another_calendar(seconds in 0_i64..253_000_000_000, offset_minutes in -1_439_i32..=1_439) {
            let offset = jiff::tz::Offset::from_seconds(offset_minutes * 60).expect("an offset of less than a day");
            let moment = jiff::Timestamp::from_second(seconds).expect("a moment").to_zoned(offset.to_time_zone());
            let text = moment.strftime("%d/%b/%Y:%H:%M:%S %z").to_string();
            // Moments of 1970 can lie in 1969 where the zone is behind; they are moments since 1970 all the same.
            let text: &[u8; COMMON_BYTES] = text.as_bytes().try_into().expect("26 bytes");
            prop_assert_eq!(common(text).map(Timestamp::as_seconds), u64::try_from(seconds).ok());
        }

        #[test]
        fn what_is_written_in_the_calendar_reads_back(seconds in 0_u64..253_402_300_799) {
            let text = in_calendar(seconds);
            prop_assert_eq!(written(text.as_bytes()).map(Timestamp::as_seconds), Some(seconds), "{}", text);
        }

        #[test]
        fn never_panics(text in any::<[u8; COMMON_BYTES]>()) {
            let _ = common(&text);
        }
    }
}
