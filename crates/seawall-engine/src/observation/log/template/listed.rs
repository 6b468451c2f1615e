//! GoAccess's `~h{, }`: addresses that a client came by, of which all but the last are what the client says.
//!
//! Proxies append whom they saw, so only the last entry is theirs. Whoever ends the list earlier, since an entry is no address, takes the word
//! of the client for that of the proxy: where the end of the list is not certain, nobody is the client.

use super::super::fields;
use super::Piece;
use crate::address::ClientAddress;

/// What stands in the place of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Listed<'a> {
    /// The list, with nothing around it. None where there is none, or it is not certain what belongs to it.
    pub(super) list: Option<&'a [u8]>,
    /// Its last entry, if that is an address.
    pub(super) last: Option<ClientAddress>,
}

/// The list that a text begins with, and what follows it. `around` stands around entries and between them, `next` are the pieces that
/// follow. None where what follows is not there.
pub(super) fn read<'a>(text: &'a [u8], around: &[u8], next: &[Piece]) -> Option<(Listed<'a>, &'a [u8])> {
    match next {
        [] => Some((listed(text, around), &text[text.len()..])),
        [Piece::Text(next), ..] if !is_blank(next, around) => {
            let (list, rest) = text.split_at(super::find_end(text, next)?);
            Some((listed(list, around), rest))
        }
        _ => {
            let blank = text.iter().take_while(|byte| around.contains(byte) && byte.is_ascii_whitespace()).count();
            let (list, rest, goes_on) = match &text[blank..] {
                [b'"', inside @ ..] if around.contains(&b'"') => {
                    let (list, rest) = inside.split_at(super::find_end(inside, b"\"")?);
                    (list, rest, is_parted(rest, around))
                }
                text => {
                    let (list, rest) = text.split_at(unquoted_end(text, around));
                    (list, rest, may_go_on(rest, around, next))
                }
            };
            let found = if goes_on { Listed::default() } else { listed(list, around) };
            Some((found, past(rest, around, next)))
        }
    }
}

/// What a whole list says.
fn listed<'a>(list: &'a [u8], around: &[u8]) -> Listed<'a> {
    let last = if around.iter().any(|byte| is_separator(*byte, around)) {
        // One that is cut off behind a separator has its last entry elsewhere.
        list.rsplit(|byte| is_separator(*byte, around)).next()
    } else {
        trimmed(list, around).rsplit(u8::is_ascii_whitespace).next()
    };
    let last = last.and_then(|last| fields::address_with_port(trimmed(last, around)));
    Listed { list: fields::present(trimmed(list, around)), last }
}

/// Whether a byte parts entries by itself: a comma as a rule.
fn is_separator(byte: u8, around: &[u8]) -> bool {
    around.contains(&byte) && !byte.is_ascii_whitespace() && byte != b'"'
}

/// Whether a text begins with what parts entries.
fn is_parted(text: &[u8], around: &[u8]) -> bool {
    text.iter().take_while(|byte| around.contains(byte)).any(|byte| is_separator(*byte, around))
}

/// Whether a text may stand within a list: nothing but white space that stands between entries.
fn is_blank(text: &[u8], around: &[u8]) -> bool {
    text.iter().all(|byte| around.contains(byte) && byte.is_ascii_whitespace())
}

/// Without what stands around it.
fn trimmed<'a>(text: &'a [u8], around: &[u8]) -> &'a [u8] {
    let is_kept = |byte: &u8| !around.contains(byte) && !byte.is_ascii_whitespace();
    let start = text.iter().position(is_kept).unwrap_or(text.len());
    let end = text.iter().rposition(is_kept).map_or(start, |last| last + 1);
    &text[start..end]
}

/// Where a list ends that has no quotes around it: behind a word that no separator follows.
fn unquoted_end(text: &[u8], around: &[u8]) -> usize {
    let has_separators = around.iter().any(|byte| is_separator(*byte, around));
    let (mut end, mut at) = (0, 0);
    loop {
        let word = text[at..].iter().take_while(|byte| !around.contains(byte)).count();
        // With nothing but white space between entries, only what they are tells how many there are.
        let is_entry = has_separators || end == 0 || fields::address_with_port(&text[at..at + word]).is_some();
        if word == 0 || !is_entry {
            return end;
        }
        end = at + word;
        if has_separators && !is_parted(&text[end..], around) {
            return end;
        }
        at = end + text[end..].iter().take_while(|byte| around.contains(byte)).count();
    }
}

/// Whether what follows a list without quotes may belong to it: a comma comes before anything that a client cannot have sent.
fn may_go_on(rest: &[u8], around: &[u8], next: &[Piece]) -> bool {
    let certain = next.iter().find_map(|piece| match piece {
        Piece::Text(text) if !is_blank(text, around) => Some(text),
        _ => None,
    });
    let end = certain.and_then(|text| memchr::memmem::find(rest, text)).unwrap_or(rest.len());
    rest[..end].iter().any(|byte| *byte == b',' || is_separator(*byte, around))
}

/// What follows a list. What stands around it belongs to it, unless it is what comes next.
fn past<'a>(mut rest: &'a [u8], around: &[u8], next: &[Piece]) -> &'a [u8] {
    let next: &[u8] = if let Some(Piece::Text(text)) = next.first() { text } else { b"\n" };
    while let [byte, after @ ..] = rest
        && around.contains(byte)
        && !rest.starts_with(next)
    {
        rest = after;
    }
    rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_does_harm(text in "[-1.,;\" \\\\\\[a\u{e4}]{0,40}", around in "[,;\" ]{0,4}", next in "[,\" \\[-]{0,3}") {
            let next = [Piece::Text(next.into_bytes())];
            for next in [&next[..], &[Piece::Spaces], &[]] {
                if let Some((found, rest)) = read(text.as_bytes(), around.as_bytes(), next) {
                    prop_assert!(text.as_bytes().ends_with(rest), "{}", text);
                    prop_assert!(found.list.is_none_or(|list| memchr::memmem::find(text.as_bytes(), list).is_some()), "{}", text);
                }
            }
        }
    }
}
