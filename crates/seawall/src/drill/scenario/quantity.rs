//! Values as people write them in a scenario, checked while they are read: `"10s"`, `"225 kB"`, shares, rates.

use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};

use super::pattern::Pattern;

/// A span of time, as `"250ms"`, `"10s"` or `"1m 30s"`; at most a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) Duration);

/// The longest [`Time`].
const TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A number of bytes, as `4096`, `"225 kB"` or `"64 KiB"`; at most 16 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

/// The largest [`Size`].
pub(crate) const SIZE_MAX: u64 = 16 << 20;

/// A share, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Share(pub(crate) f64);

/// Something a second, 0 to 100,000.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct RatePerSecond(pub(crate) f64);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let duration = jiff::fmt::friendly::SpanParser::new().parse_unsigned_duration(&text).map_err(|_| {
            D::Error::custom(format!("{text:?} is no time; expected one as \"250ms\", \"10s\" or \"1m 30s\""))
        })?;
        if duration > TIME_MAX {
            return Err(D::Error::custom(format!("{text:?} is longer than a day, the most allowed")));
        }
        Ok(Self(duration))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged, expecting = "expected a size as 4096, \"225 kB\" or \"64 KiB\"")]
        enum Written {
            Number(u64),
            Text(String),
        }
        let bytes = match Written::deserialize(deserializer)? {
            Written::Number(bytes) => bytes,
            Written::Text(text) => parse_size(&text).ok_or_else(|| {
                D::Error::custom(format!("{text:?} is no size; expected one as 4096, \"225 kB\" or \"64 KiB\""))
            })?,
        };
        if bytes > SIZE_MAX {
            return Err(D::Error::custom(format!("{bytes} bytes are more than 16 MiB, the most allowed")));
        }
        Ok(Self(bytes))
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "" | "B" => 1,
        "kB" => 1_000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number_within(deserializer, 1.0, "a share from 0 to 1").map(Self)
    }
}

impl<'de> Deserialize<'de> for RatePerSecond {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number_within(deserializer, 100_000.0, "a rate from 0 to 100000 a second").map(Self)
    }
}

fn number_within<'de, D: Deserializer<'de>>(deserializer: D, most: f64, expected: &str) -> Result<f64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    if (0.0..=most).contains(&number) {
        Ok(number)
    } else {
        Err(D::Error::custom(format!("{number} is not {expected}")))
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // A line break inside a head would end it early: what is sent must be one request, as the scenario says.
        if text.contains(|character: char| character.is_control()) {
            return Err(D::Error::custom("control characters cannot be sent in a request"));
        }
        Self::parse(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn sizes_are_read_in_both_kinds_of_thousands() {
        for (text, expected) in [
            ("4096", Some(4096)),
            ("225 kB", Some(225_000)),
            ("64KiB", Some(65_536)),
            ("1 MiB", Some(1 << 20)),
            ("12 apples", None),
            ("kB", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(parse_size(text), expected, "{text}");
        }
    }
}
