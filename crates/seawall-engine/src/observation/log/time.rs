//! Time stamps as logs write them.

use crate::units::Timestamp;

/// The length of a time stamp of the common log format.
pub(super) const COMMON_BYTES: usize = 26;

/// Whether `text` has the shape of a time stamp of the common log format, whatever its digits say.
pub(super) fn is_common_shape(text: &[u8; COMMON_BYTES]) -> bool {
    matches!(text, [_, _, b'/', _, _, _, b'/', _, _, _, _, b':', _, _, b':', _, _, b':', _, _, b' ', b'+' | b'-', ..])
}

/// The moment of `17/May/2015:10:05:03 +0000`. `None` when it names no moment, or one before 1970. A leap second is
/// taken as the second after it.
pub(super) fn common(text: &[u8; COMMON_BYTES]) -> Option<Timestamp> {
    if !is_common_shape(text) {
        return None;
    }
    let [d1, d2, _, m1, m2, m3, _, y1, y2, y3, y4, _, h1, h2, _, i1, i2, _, s1, s2, _, sign, z1, z2, z3, z4] = *text;
    let day = digits(&[d1, d2])?;
    let month = month(&[m1, m2, m3])?;
    let year = digits(&[y1, y2, y3, y4])?;
    let (hour, minute, second) = (digits(&[h1, h2])?, digits(&[i1, i2])?, digits(&[s1, s2])?);
    let (zone_hour, zone_minute) = (digits(&[z1, z2])?, digits(&[z3, z4])?);
    if day == 0 || day > days_in_month(year, month) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    if zone_hour > 23 || zone_minute > 59 {
        return None;
    }
    let local = days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let offset = zone_hour * 3600 + zone_minute * 60;
    let utc = if sign == b'-' { local + offset } else { local - offset };
    u64::try_from(utc).ok().map(Timestamp::from_seconds)
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

fn month(name: &[u8; 3]) -> Option<i64> {
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
        ] {
            check(text, None);
        }
    }

    proptest! {
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
        fn never_panics(text in any::<[u8; COMMON_BYTES]>()) {
            let _ = common(&text);
        }
    }
}
