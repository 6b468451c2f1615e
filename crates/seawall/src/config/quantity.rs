//! Durations and sizes as people write them.

use std::time::Duration;

use jiff::SignedDuration;

/// Bytes in a kibibyte.
pub(super) const KIB: usize = 1 << 10;
/// Bytes in a mebibyte.
pub(super) const MIB: usize = 1 << 20;

/// Units of time, the larger first, in milliseconds.
const DURATION_UNITS: [(&str, u128); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of size, the larger first, with their number of bytes.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// `"10s"`, `"250ms"`, `"1h 30m"`; `None` when it is no duration.
pub(crate) fn parse_duration(text: &str) -> Option<SignedDuration> {
    text.parse().ok()
}

/// As [`parse_duration`] reads it, in the largest unit that needs no fraction.
pub(crate) fn show_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let whole = DURATION_UNITS.iter().find(|(_, unit)| milliseconds > 0 && milliseconds.is_multiple_of(*unit));
    whole.map_or_else(|| "0s".to_owned(), |(name, unit)| format!("{}{name}", milliseconds / unit))
}

/// `"64 KiB"`, `"2 MB"`, `"512"`: a whole number and a unit, in bytes.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let advice = "write a whole number and one of B, KiB, MiB, GiB, kB, MB, GB, such as \"64 KiB\"";
    if number.is_empty() {
        return Err(format!("which is no size; {advice}"));
    }
    let bytes_per_unit = match SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
        Some((_, bytes)) => *bytes,
        None if unit.is_empty() => 1,
        None => return Err(format!("whose unit {unit:?} is unknown; {advice}")),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(bytes_per_unit));
    bytes.ok_or_else(|| "which is larger than any size".to_owned())
}

/// As [`parse_size`] reads it, in the largest binary unit that needs no fraction.
pub(crate) fn show_size(bytes: usize) -> String {
    let bytes = bytes as u64;
    let binary = SIZE_UNITS.iter().filter(|(name, _)| name.contains('i'));
    let whole = binary.into_iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{bytes} B"), |(name, unit)| format!("{} {name}", bytes / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_back_as_shown() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("250ms", 250),
            ("10s", 10_000),
            ("75s", 75_000),
            ("1m", 60_000),
            ("90m", 5_400_000),
            ("2h", 7_200_000),
        ] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(show_duration(duration), text);
            assert_eq!(parse_duration(text).map(|read| read.unsigned_abs()), Some(duration));
        }
        for text in ["", "10", "s", "ten seconds", "10x", "1mo", "9999999999999999999h"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_read_back_as_shown() {
        for (text, bytes) in
            [("0 B", 0), ("1000 B", 1000), ("16 KiB", 16 << 10), ("1 MiB", 1 << 20), ("3 GiB", 3 << 30)]
        {
            assert_eq!(show_size(bytes), text);
            assert_eq!(parse_size(text), Ok(bytes as u64));
        }
        assert_eq!(parse_size("64kib"), Ok(65_536));
        assert_eq!(parse_size("2 MB"), Ok(2_000_000));
        assert_eq!(parse_size("512"), Ok(512));
        for text in ["", "KiB", "64 QiB", "1.5 MiB", "-1", "99999999999 GiB", "99999999999999999999"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
