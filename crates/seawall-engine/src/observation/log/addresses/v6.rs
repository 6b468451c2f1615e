//! IPv6 addresses, and what else is written with colons.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;

use super::v4::after_point;
use super::{FoundAddress, escape, is_word_byte};
use crate::address::ClientAddress;

/// `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`
const ADDRESS_BYTES_MAX: usize = 45;

/// The longest run of the bytes of addresses that is looked at: an address with its port, and some to spare for the end of a
/// word before it. A fingerprint is longer.
const RUN_BYTES_MAX: usize = 64;

/// The fewest colons of an address without `::`: with an IPv4 address at its end.
const COLONS_MIN: usize = 6;

/// `%3A`
const ENCODED_COLON_BYTES: usize = 3;

/// The bytes around `mark` that addresses are made of, as far as [`RUN_BYTES_MAX`] on either side and not before `floor`.
pub(super) fn run_around(text: &[u8], floor: usize, mark: usize) -> Range<usize> {
    let before = text.get(floor..mark).unwrap_or_default();
    let after = text.get(mark..).unwrap_or_default();
    let is_ours = |byte: &&u8| is_address_byte(**byte);
    let start = mark - before.iter().rev().take(RUN_BYTES_MAX).take_while(is_ours).count();
    let end = mark + after.iter().take(RUN_BYTES_MAX).take_while(is_ours).count();
    start..end
}

/// The address in a run of the bytes that addresses are made of.
pub(super) fn find(text: &[u8], floor: usize, run: Range<usize>) -> Option<FoundAddress> {
    let range = within(text, floor, run)?;
    let (address, length) = parse_with_port(text.get(range.clone())?)?;
    let range = range.start..range.start + length;
    Some(FoundAddress { range, address, is_percent_encoded: false })
}

/// The address whose first colon, written `%3A`, is at `mark`.
pub(super) fn find_encoded(text: &[u8], floor: usize, mark: usize) -> Option<FoundAddress> {
    if !is_encoded_colon(text.get(mark..)?) {
        return None;
    }
    let before = text.get(floor..mark)?;
    let digits = before.iter().rev().take(RUN_BYTES_MAX).take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (start, is_apart) = escape::begin(text, floor, mark - digits);
    if !is_apart || start > mark {
        return None;
    }
    let mut decoded = [0; ADDRESS_BYTES_MAX];
    let (mut at, mut length) = (start, 0);
    while let Some(place) = decoded.get_mut(length) {
        let rest = text.get(at..)?;
        match rest {
            _ if is_encoded_colon(rest) => {
                *place = b':';
                at += ENCODED_COLON_BYTES;
            }
            [byte, ..] if byte.is_ascii_hexdigit() => {
                *place = *byte;
                at += 1;
            }
            [byte, ..] if is_word_byte(*byte) => return None,
            rest => match after_point(rest) {
                Some(after) => {
                    *place = b'.';
                    at = text.len() - after.len();
                }
                None => break,
            },
        }
        length += 1;
    }
    let address = parse(decoded.get(..length)?)?;
    Some(FoundAddress { range: start..at, address, is_percent_encoded: true })
}

/// The part of a run that can be an address: without the end of a word before it, the beginning of one after it, and the
/// marks of the sentence around it.
fn within(text: &[u8], floor: usize, run: Range<usize>) -> Option<Range<usize>> {
    if run.len() > RUN_BYTES_MAX {
        return None;
    }
    let colon = |text: &[u8]| memchr::memchr(b':', text);
    let (mut start, is_apart) = escape::begin(text, floor, run.start);
    let mut end = run.end;
    if !is_apart {
        start = run.start + colon(text.get(run)?)?;
        // `word::another` is a name.
        if matches!(text.get(start..end)?, [b':', b':', byte, ..] if *byte != b':') || end - start == 2 {
            return None;
        }
    }
    if text.get(end).is_some_and(|byte| is_word_byte(*byte)) {
        end = start + memchr::memrchr2(b':', b'.', text.get(start..end)?)? + 1;
        if text.get(start..end)?.ends_with(b"::") {
            return None;
        }
    }
    loop {
        match text.get(start..end)? {
            [b'.', ..] | [b':', b':', b':', ..] => start += 1,
            [b':', second, ..] if *second != b':' => start += 1,
            [.., b'.'] | [.., b':', b':', b':'] => end -= 1,
            [.., second, b':'] if *second != b':' => end -= 1,
            _ => return Some(start..end),
        }
    }
}

/// The address that a text is, and its length; what follows it as a port does not count. A port of four digits or fewer
/// after a shortened address cannot be told from its last group, unless a point parts them.
fn parse_with_port(text: &[u8]) -> Option<(ClientAddress, usize)> {
    if let Some(address) = parse(text) {
        return Some((address, text.len()));
    }
    let length = memchr::memrchr2(b':', b'.', text)?;
    let (address, port) = text.split_at(length);
    let is_port = (2..=6).contains(&port.len()) && port.iter().skip(1).all(u8::is_ascii_digit);
    Some((parse(address).filter(|_| is_port)?, length))
}

fn parse(text: &[u8]) -> Option<ClientAddress> {
    let is_plausible = text.len() <= ADDRESS_BYTES_MAX
        // Words of the letters a to f with `::` between them are names.
        && text.iter().any(u8::is_ascii_digit)
        && (text.windows(2).any(|pair| pair == b"::") || text.iter().filter(|byte| **byte == b':').count() >= COLONS_MIN);
    if !is_plausible {
        return None;
    }
    let address: Ipv6Addr = str::from_utf8(text).ok()?.parse().ok()?;
    (!address.is_unspecified()).then(|| ClientAddress::new(IpAddr::V6(address)))
}

fn is_encoded_colon(text: &[u8]) -> bool {
    matches!(text, [b'%', b'3', b'A' | b'a', ..])
}

const fn is_address_byte(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':')
}
