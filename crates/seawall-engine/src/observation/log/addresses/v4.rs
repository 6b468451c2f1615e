//! IPv4 addresses, and versions that look like them.

use std::net::{IpAddr, Ipv4Addr};

use super::{FoundAddress, escape, is_word_byte};
use crate::address::ClientAddress;

/// How far a word can reach before an address, to be looked at whether it is hexadecimal, in bytes.
const WORD_BYTES_MAX: usize = 16;

/// The longest name of a product, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// What is called before a version in words: `rv:1.9.2.13`, `?ver=5.4.0.1`, `version 1.2.3.4`.
const VERSION_WORDS: [&[u8]; 3] = [b"rv", b"ver", b"version"];

/// The address whose first point is at `point`. Nothing before `floor` belongs to it.
#[inline]
pub(super) fn find(text: &[u8], floor: usize, point: usize) -> Option<FoundAddress> {
    let (rest, [second, third, fourth]) = three_octets(text.get(point..)?)?;
    if !ends_there(rest) {
        return None;
    }
    let before = text.get(floor..point)?;
    let hex_digits = before.iter().rev().take(WORD_BYTES_MAX).take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (start, is_apart) = escape::begin(text, floor, point - hex_digits);
    let first = octet(text.get(start..point)?)?;
    // One more number before it makes it the end of a longer one.
    if !is_apart || matches!(text.get(floor..start)?, [.., b'0'..=b'9', b'.']) {
        return None;
    }
    if is_version(text.get(floor..start)?, rest) {
        return None;
    }
    let end = text.len() - rest.len();
    let address = ClientAddress::new(IpAddr::V4(Ipv4Addr::new(first, second, third, fourth)));
    Some(FoundAddress { range: start..end, address, is_percent_encoded: false })
}

/// `.2.3.4` and what follows it.
fn three_octets(text: &[u8]) -> Option<(&[u8], [u8; 3])> {
    let mut rest = text;
    let mut octets = [0; 3];
    for place in &mut octets {
        let [b'.', after @ ..] = rest else { return None };
        let digits = after.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
        let (number, after) = after.split_at_checked(digits)?;
        *place = octet(number)?;
        rest = after;
    }
    Some((rest, octets))
}

/// One to three digits, also with zeros before them, as some balancers write: no more than 255.
fn octet(digits: &[u8]) -> Option<u8> {
    if digits.is_empty() || digits.len() > 3 {
        return None;
    }
    let append = |number: u16, byte: &u8| byte.is_ascii_digit().then(|| number * 10 + u16::from(byte - b'0'));
    u8::try_from(digits.iter().try_fold(0, append)?).ok()
}

/// Whether an address can end before `rest`: not within a word, nor within a number of more parts.
fn ends_there(rest: &[u8]) -> bool {
    !matches!(rest, [b'.', b'0'..=b'9', ..]) && !rest.first().is_some_and(|byte| is_word_byte(*byte))
}

/// Whether four numbers between these are a version. One with a port is none.
fn is_version(before: &[u8], after: &[u8]) -> bool {
    if matches!(after, [b':', b'0'..=b'9', ..]) {
        return false;
    }
    match before {
        [before @ .., b'\\', b'/'] | [before @ .., b'/'] => is_product(before),
        [before @ .., separator @ (b':' | b'=' | b' ' | b'-' | b'_' | b'+')] => {
            let letters =
                before.iter().rev().take(NAME_BYTES_MAX).take_while(|byte| byte.is_ascii_alphabetic()).count();
            let (before, word) = before.split_at(before.len() - letters);
            let is_whole = before.last().is_none_or(|byte| !is_word_byte(*byte));
            let is_named = VERSION_WORDS.iter().any(|name| word.eq_ignore_ascii_case(name));
            is_whole && (is_named || (*separator == b'=' && word == b"v"))
        }
        _ => false,
    }
}

/// Whether a text ends with the name of a product: it begins a word, and not within a path.
fn is_product(before: &[u8]) -> bool {
    let is_name_byte = |byte: &&u8| is_word_byte(**byte) || matches!(byte, b'_' | b'-' | b'.' | b'!');
    let length = before.iter().rev().take(NAME_BYTES_MAX).take_while(is_name_byte).count();
    let (before, name) = before.split_at(before.len() - length);
    !name.is_empty() && !matches!(before, [.., b'/' | b'@' | b':']) && !is_hierarchy(name)
}

/// How Squid names by which way it asked an address: `HIER_DIRECT/192.0.2.1`.
fn is_hierarchy(name: &[u8]) -> bool {
    let is_code = name.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_');
    is_code && (name.contains(&b'_') || matches!(name, b"DIRECT" | b"CARP" | b"PINNED"))
}
