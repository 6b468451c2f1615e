//! Single fields, as many formats write them.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::Reason;
use crate::address::ClientAddress;
use crate::observation::Outcome;

/// `[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535`
const ADDRESS_BYTES_MAX: usize = 53;

/// An address and nothing else.
pub(super) fn address(field: &[u8]) -> Option<ClientAddress> {
    if field.len() > ADDRESS_BYTES_MAX {
        return None;
    }
    if let Some(address) = dotted(field) {
        return Some(ClientAddress::new(IpAddr::V4(address)));
    }
    // Windows adds in which network an address counts that is one of the link: `fe80::1%5`.
    let (field, zone) = field.split_at(memchr::memchr(b'%', field).unwrap_or(field.len()));
    let address: IpAddr = str::from_utf8(field).ok()?.parse().ok()?;
    let is_zone = zone.len() > 1 && address.is_ipv6() && zone[1..].iter().all(u8::is_ascii_alphanumeric);
    if !zone.is_empty() && !is_zone {
        return None;
    }
    Some(ClientAddress::new(address))
}

/// An IPv4 address as the standard library reads it, at half the cost: nearly every line has one.
#[inline]
fn dotted(field: &[u8]) -> Option<Ipv4Addr> {
    let (first, rest) = octet(field)?;
    let (second, rest) = octet(rest.strip_prefix(b".")?)?;
    let (third, rest) = octet(rest.strip_prefix(b".")?)?;
    let (fourth, rest) = octet(rest.strip_prefix(b".")?)?;
    rest.is_empty().then(|| Ipv4Addr::new(first, second, third, fourth))
}

/// The number of up to three digits that a text begins with, and what follows them.
#[inline]
fn octet(text: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |at: usize| text.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10);
    let first = digit(0)?;
    let Some(second) = digit(1) else { return Some((first, &text[1..])) };
    // No zero stands before another digit: some read such numbers as octal.
    if first == 0 {
        return None;
    }
    let Some(third) = digit(2) else { return Some((first * 10 + second, &text[2..])) };
    let number = u16::from(first) * 100 + u16::from(second * 10 + third);
    Some((u8::try_from(number).ok()?, &text[3..]))
}

/// An address, in brackets or not, with a port or without.
#[inline]
pub(super) fn address_with_port(field: &[u8]) -> Option<ClientAddress> {
    // Most names are told from one by how they begin.
    if !field.first().is_some_and(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'[' | b':')) {
        return None;
    }
    if let [b'[', rest @ ..] = field {
        return address(&rest[..memchr::memchr(b']', rest)?]);
    }
    address(field).or_else(|| {
        let colon = memchr::memrchr(b':', field)?;
        let is_port = field[colon + 1..].iter().all(u8::is_ascii_digit);
        address(&field[..colon]).filter(|_| is_port)
    })
}

/// The client at the front of a list of addresses as forwarding proxies write it: the last entry is whom the nearest of
/// them saw.
pub(super) fn last_forwarded(field: &[u8]) -> Option<ClientAddress> {
    address_with_port(field.rsplit(|byte| *byte == b',').next()?.trim_ascii())
}

/// A status of `-`, 0 or 000 is what servers write when no answer was sent.
pub(super) fn status(word: &[u8]) -> Result<Outcome, Reason> {
    match word {
        b"-" | b"0" | b"000" => Ok(Outcome::Arrived),
        [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
            let status = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
            Ok(Outcome::Served { status })
        }
        _ => Err(Reason::WrongStatus),
    }
}

/// `-` is what Apache writes for no bytes at all.
pub(super) fn size(word: &[u8]) -> Result<u64, Reason> {
    if word == b"-" { Ok(0) } else { integer(word).ok_or(Reason::WrongSize) }
}

/// A whole number.
pub(super) fn integer(word: &[u8]) -> Option<u64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    let append = |number: u64, byte: &u8| number.checked_mul(10)?.checked_add(digit(byte)?);
    if word.is_empty() { None } else { word.iter().try_fold(0, append) }
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

/// A length of time in some unit, whole or with a fraction. Of several, as nginx writes them when it asked several upstreams
/// (`0.001, 0.250` or `0.001 : 0.250`), the sum. None for `-`, a negative one, or what is no number.
pub(super) fn duration(field: &[u8], unit: Unit) -> Option<Duration> {
    let parts = field.split(|byte| matches!(byte, b',' | b':')).map(<[u8]>::trim_ascii).filter(|part| *part != b"-");
    let mut sum = None;
    for part in parts {
        let nanoseconds = decimal(part, unit)?;
        sum = Some(sum.unwrap_or(0_u64).saturating_add(nanoseconds));
    }
    sum.map(Duration::from_nanos)
}

/// A length of time as Go writes it, each part with its unit: `1.5ms`, `250µs`, `1m2.5s`.
pub(super) fn go_duration(field: &[u8]) -> Option<Duration> {
    let mut rest = field;
    let mut sum = None;
    while !rest.is_empty() {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
        let (number, after) = rest.split_at(digits);
        let letters = after.iter().take_while(|byte| !byte.is_ascii_digit()).count();
        let (name, after) = after.split_at(letters);
        let (unit, factor) = match name {
            b"ns" => (Unit::Nanoseconds, 1),
            // The sign for micro, the Greek letter, and what JSON may make of the former.
            b"us" | b"\xC2\xB5s" | b"\xCE\xBCs" => (Unit::Microseconds, 1),
            b"ms" => (Unit::Milliseconds, 1),
            b"s" => (Unit::Seconds, 1),
            b"m" => (Unit::Seconds, 60),
            b"h" => (Unit::Seconds, 3600),
            _ => return None,
        };
        let part = decimal(number, unit)?.checked_mul(factor)?;
        sum = Some(sum.unwrap_or(0_u64).checked_add(part)?);
        rest = after;
    }
    sum.map(Duration::from_nanos)
}

/// Something that stands where a length of time should be, is none, and does not say that there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoDuration;

/// What [`duration`] finds, where `-`, nothing and a negative number are ways to say that there was none.
pub(super) fn duration_if_any(field: &[u8], unit: Unit) -> Result<Option<Duration>, NoDuration> {
    match duration(field, unit) {
        Some(time) => Ok(Some(time)),
        None if says_none(field, unit) => Ok(None),
        None => Err(NoDuration),
    }
}

/// Whether each part of a field, none of which is a length of time, says that there was none.
fn says_none(field: &[u8], unit: Unit) -> bool {
    let is_absent = |part: &[u8]| match part {
        b"" | b"-" => true,
        [b'-', number @ ..] => decimal(number, unit).is_some(),
        _ => false,
    };
    field.split(|byte| matches!(byte, b',' | b':')).map(<[u8]>::trim_ascii).all(is_absent)
}

/// Nanoseconds of a decimal number of a unit.
fn decimal(part: &[u8], unit: Unit) -> Option<u64> {
    let digits: usize = match unit {
        Unit::Seconds => 9,
        Unit::Milliseconds => 6,
        Unit::Microseconds => 3,
        Unit::Nanoseconds => 0,
    };
    let (whole, fraction) = match memchr::memchr(b'.', part) {
        Some(point) => (&part[..point], &part[point + 1..]),
        None => (part, &part[..0]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // What is finer than a nanosecond is cut off.
    let fraction = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(digits);
    let append = |number: u64, byte: u8| number.checked_mul(10)?.checked_add(u64::from(byte - b'0'));
    fraction.into_iter().try_fold(integer(whole)?, append)
}

/// `-` and nothing at all are how logs write that a header was not sent.
pub(super) fn present(field: &[u8]) -> Option<&[u8]> {
    (!field.is_empty() && field != b"-").then_some(field)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_with_and_without_ports() {
        let expected = |text: &str| Some(ClientAddress::new(text.parse().expect("an address")));
        for (field, address) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
        ] {
            assert_eq!(address_with_port(field.as_bytes()), expected(address), "{field}");
        }
        assert_eq!(address(b"fe80::1%5"), expected("fe80::1"));
        assert_eq!(address_with_port(b"[fe80::1%eth0]:80"), expected("fe80::1"));
        for field in
            ["192.0.2.1%5", "fe80::1%", "fe80::1%5%6", "%5", "", "-", "a.example:80", "[2001:db8::1", "192.0.2.1:80:80"]
        {
            assert_eq!(address_with_port(field.as_bytes()), None, "{field}");
        }
        assert_eq!(last_forwarded(b"203.0.113.7, [2001:db8::1]:80"), expected("2001:db8::1"));
        assert_eq!(last_forwarded(b"203.0.113.7, unknown"), None);
    }

    proptest! {
        #[test]
        fn dotted_addresses_are_those_of_the_standard_library(field in "[0-9.]{0,17}|([0-3]?[0-9]{0,3}[.]?){3,5}|.{0,8}") {
            prop_assert_eq!(dotted(field.as_bytes()), field.parse().ok());
        }

        #[test]
        fn every_dotted_address_is_one(bits: u32) {
            let address = Ipv4Addr::from_bits(bits);
            prop_assert_eq!(dotted(address.to_string().as_bytes()), Some(address));
        }
    }

    #[test]
    fn lengths_of_time_with_their_units() {
        for (field, nanoseconds) in [
            ("1.5ms", Some(1_500_000)),
            ("250µs", Some(250_000)),
            ("2.701\u{3bc}s", Some(2_701)),
            ("850ns", Some(850)),
            ("0s", Some(0)),
            ("1h1m2.5s", Some(3_662_500_000_000)),
            ("", None),
            ("5", None),
            ("ms", None),
            ("1.5 ms", None),
            ("-1ms", None),
            ("9999999999999h", None),
        ] {
            assert_eq!(go_duration(field.as_bytes()).map(|time| time.as_nanos()), nanoseconds, "{field}");
        }
    }

    #[test]
    fn what_is_no_length_of_time_is_told_from_none() {
        for (field, is_none) in [
            ("0.005", false),
            ("", false),
            ("-", false),
            ("-1", false),
            ("-, -", false),
            ("0.1, -", false),
            ("fast", true),
            ("1.5ms", true),
            ("0.1, fast", true),
            ("--1", true),
        ] {
            let found = duration_if_any(field.as_bytes(), Unit::Seconds);
            assert_eq!(found.is_err(), is_none, "{field}");
            assert_eq!(found.unwrap_or_default(), duration(field.as_bytes(), Unit::Seconds), "{field}");
        }
    }

    #[test]
    fn lengths_of_time() {
        for (field, unit, nanoseconds) in [
            ("0.005", Unit::Seconds, Some(5_000_000)),
            ("12", Unit::Seconds, Some(12_000_000_000)),
            ("0.001, 0.250 : -", Unit::Seconds, Some(251_000_000)),
            ("357313", Unit::Nanoseconds, Some(357_313)),
            ("0.000002701", Unit::Seconds, Some(2_701)),
            ("1.5", Unit::Milliseconds, Some(1_500_000)),
            ("1.23456789", Unit::Microseconds, Some(1_234)),
            ("-", Unit::Seconds, None),
            ("-1", Unit::Seconds, None),
            ("", Unit::Seconds, None),
            ("1e3", Unit::Seconds, None),
            ("1.x", Unit::Seconds, None),
            ("99999999999999999999", Unit::Seconds, None),
        ] {
            assert_eq!(duration(field.as_bytes(), unit).map(|time| time.as_nanos()), nanoseconds, "{field}");
        }
    }
}
