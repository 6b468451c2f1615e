//! Escapes before an address: in `%20192.0.2.1` and `\x22192.0.2.1` the first two digits are not its own.

use super::is_word_byte;

/// Where the word really begins whose letters and digits from `start` on are all hexadecimal, and whether it is apart from
/// what stands before it. Nothing before `floor` belongs to it.
pub(super) fn begin(text: &[u8], floor: usize, start: usize) -> (usize, bool) {
    let before = text.get(floor..start).unwrap_or_default();
    let after = text.get(start..).unwrap_or_default();
    match (before, after) {
        ([.., b'%'], [a, b, ..]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => (start + 2, true),
        ([.., b'\\', b'x'], [a, b, ..]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => (start + 2, true),
        ([.., b'\\', b'u'], [a, b, c, d, ..]) if [a, b, c, d].iter().all(|byte| byte.is_ascii_hexdigit()) => {
            (start + 4, true)
        }
        // `\b` and `\f`.
        ([.., b'\\'], [b'a'..=b'f', ..]) => (start + 1, true),
        // `\n`, `\t`, `\r`.
        ([.., b'\\', b'a'..=b'z'], _) => (start, true),
        ([.., byte], _) => (start, !is_word_byte(*byte)),
        ([], _) => (start, true),
    }
}
