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

/// `%2E`
const ENCODED_POINT_BYTES: usize = 3;

/// The address whose first point is at `point`, as it is or written `%2E`. Nothing before `floor` belongs to it.
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
    if !is_apart || matches!(without_point_behind(text.get(floor..start)?), Some([.., b'0'..=b'9'])) {
        return None;
    }
    if is_version(text.get(floor..start)?, rest) {
        return None;
    }
    let end = text.len() - rest.len();
    let address = ClientAddress::new(IpAddr::V4(Ipv4Addr::new(first, second, third, fourth)));
    let is_percent_encoded = text.get(start..end)?.contains(&b'%');
    Some(FoundAddress { range: start..end, address, is_percent_encoded })
}

/// What follows the point that a text begins with.
#[inline]
pub(super) fn after_point(text: &[u8]) -> Option<&[u8]> {
    match text {
        [b'.', after @ ..] | [b'%', b'2', b'E' | b'e', after @ ..] => Some(after),
        _ => None,
    }
}

/// What stands before the point that a text ends with.
fn without_point_behind(text: &[u8]) -> Option<&[u8]> {
    let encoded = text.len().checked_sub(ENCODED_POINT_BYTES).and_then(|at| text.split_at_checked(at));
    match encoded {
        Some((before, [b'%', b'2', b'E' | b'e'])) => Some(before),
        _ => text.strip_suffix(b"."),
    }
}

/// `.2.3.4` and what follows it.
fn three_octets(text: &[u8]) -> Option<(&[u8], [u8; 3])> {
    let mut rest = text;
    let mut octets = [0; 3];
    for place in &mut octets {
        let after = after_point(rest)?;
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
    !matches!(after_point(rest), Some([b'0'..=b'9', ..])) && !rest.first().is_some_and(|byte| is_word_byte(*byte))
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

/// Whether a text ends with the name of a product: it begins a word, and not within a path. Names of hosts are written in small letters, or
/// all in capitals, and `unknown` is nobody's product.
fn is_product(before: &[u8]) -> bool {
    let is_name_byte = |byte: &&u8| is_word_byte(**byte) || matches!(byte, b'_' | b'-' | b'.' | b'!');
    let length = before.iter().rev().take(NAME_BYTES_MAX).take_while(is_name_byte).count();
    let (before, name) = before.split_at(before.len() - length);
    let is_mixed = name.iter().any(u8::is_ascii_uppercase) && name.iter().any(u8::is_ascii_lowercase);
    is_mixed && !name.eq_ignore_ascii_case(b"unknown") && !matches!(before, [.., b'/' | b'@' | b':'])
}
