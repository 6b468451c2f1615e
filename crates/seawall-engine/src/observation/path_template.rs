//! What paths that machines write have in common: `/user/17/a8f3e2c1.json` as `/user/{digits}/{hex}.json`.
//!
//! A path is taken in runs of ASCII letters and digits, each of which is collapsed by itself, so that one that varies does not
//! hide the others. Letters alone are never collapsed: nothing tells `qzkfhw` from a word.

use super::attribute::{VALUE_BYTES_MAX, cut};

const DIGITS: &str = "{digits}";
const HEX: &str = "{hex}";
const UUID: &str = "{uuid}";
const TOKEN: &str = "{token}";

/// What stands for what was collapsed.
pub(crate) const PLACEHOLDERS: [&str; 4] = [DIGITS, HEX, UUID, TOKEN];

/// Runs of hexadecimal digits are numbers only from this length on: `ad4` may be a name.
const HEX_BYTES_MIN: usize = 6;

/// Runs in which letters and digits take turns are made up from this length on: `h264x` is a name.
const TOKEN_BYTES_MIN: usize = 8;

/// The longest ending of a file whose digits belong to it: `woff2`.
const ENDING_BYTES_MAX: usize = 5;

/// The lengths of the parts of a UUID, which hyphens join.
const UUID_PARTS: [usize; 5] = [8, 4, 4, 4, 12];
const UUID_BYTES: usize = 36;

/// The path with what machines write in it collapsed; `None` when it holds no such. Of its runs of letters and digits
///
/// - those of digits alone are `{digits}`, and so are the digits at the end of one of letters: `page17`;
/// - those of six hexadecimal digits or more, letters and digits among them, are `{hex}`;
/// - those of eight or more in which letters and digits change places more than once are `{token}`;
/// - five that a UUID has, with its hyphens, are `{uuid}`.
///
/// The ending of a file stays (`.mp3`), as does what is percent-encoded. The result is cut to the buffer.
pub fn path_template<'b>(path: &[u8], buffer: &'b mut [u8; VALUE_BYTES_MAX]) -> Option<&'b [u8]> {
    let path = cut(path);
    if !path.iter().any(u8::is_ascii_digit) {
        return None;
    }
    let mut written = Written { buffer, used: 0 };
    let ending = ending(path);
    let (mut at, mut is_collapsed) = (0, false);
    while let Some(byte) = path.get(at) {
        let rest = &path[at..];
        let run = &rest[..rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count()];
        if run.is_empty() {
            let length = if *byte == b'%' { encoded(rest) } else { 1 };
            written.push(&rest[..length]);
            at += length;
            continue;
        }
        if is_uuid(rest) {
            written.push(UUID.as_bytes());
            (at, is_collapsed) = (at + UUID_BYTES, true);
            continue;
        }
        let (kept, placeholder) = if at == ending { (run, "") } else { collapsed(run) };
        written.push(kept);
        written.push(placeholder.as_bytes());
        at += run.len();
        is_collapsed |= !placeholder.is_empty();
    }
    let Written { buffer, used } = written;
    is_collapsed.then_some(&buffer[..used])
}

/// A buffer that is filled up to its end.
struct Written<'b> {
    buffer: &'b mut [u8; VALUE_BYTES_MAX],
    used: usize,
}

impl Written<'_> {
    fn push(&mut self, bytes: &[u8]) {
        let free = &mut self.buffer[self.used..];
        let length = bytes.len().min(free.len());
        free[..length].copy_from_slice(&bytes[..length]);
        self.used += length;
    }
}

/// What stays of a run, and what stands for the rest of it.
fn collapsed(run: &[u8]) -> (&[u8], &'static str) {
    let digits = run.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return (run, "");
    }
    if digits == run.len() {
        return (&[], DIGITS);
    }
    if run.len() >= HEX_BYTES_MIN && run.iter().all(u8::is_ascii_hexdigit) {
        return (&[], HEX);
    }
    let turns = run.windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit()).count();
    if turns == 1 && run[0].is_ascii_alphabetic() {
        return (&run[..run.len() - digits], DIGITS);
    }
    if turns > 1 && run.len() >= TOKEN_BYTES_MIN { (&[], TOKEN) } else { (run, "") }
}

/// Where the ending of the file begins; the end of the path when it has none that is like one.
fn ending(path: &[u8]) -> usize {
    let after = path.iter().rposition(|byte| !byte.is_ascii_alphanumeric()).map_or(0, |at| at + 1);
    let ending = &path[after..];
    let is_ending = after > 0
        && path[after - 1] == b'.'
        && ending.len() <= ENDING_BYTES_MAX
        && ending.first().is_some_and(u8::is_ascii_alphabetic);
    if is_ending { after } else { path.len() }
}

/// How long what is percent-encoded here is: the percent sign and its two digits, or the sign alone.
fn encoded(rest: &[u8]) -> usize {
    if rest.get(1..3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) { 3 } else { 1 }
}

/// Whether a UUID begins here, and ends where it should.
fn is_uuid(rest: &[u8]) -> bool {
    let Some((uuid, after)) = rest.split_at_checked(UUID_BYTES) else { return false };
    let mut parts = uuid.split(|byte| *byte == b'-');
    let are_parts = UUID_PARTS
        .iter()
        .all(|length| parts.next().is_some_and(|part| part.len() == *length && part.iter().all(u8::is_ascii_hexdigit)));
    are_parts && parts.next().is_none() && !after.first().is_some_and(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(path: &str) -> Option<String> {
        let mut buffer = [0; VALUE_BYTES_MAX];
        path_template(path.as_bytes(), &mut buffer).map(|template| String::from_utf8_lossy(template).into_owned())
    }

    #[test]
    fn what_machines_write_is_collapsed_and_words_are_not() {
        for (path, expected) in [
            ("/user/17/posts/2019", Some("/user/{digits}/posts/{digits}")),
            ("/page17", Some("/page{digits}")),
            ("/page-17.html", Some("/page-{digits}.html")),
            ("/a8f3e2c1", Some("/{hex}")),
            ("/A8F3E2C1.png", Some("/{hex}.png")),
            ("/static/app.3f2a9c1b.js", Some("/static/app.{hex}.js")),
            ("/o/3f2a9c1b-12ab-4bcd-8123-0123456789ab/x", Some("/o/{uuid}/x")),
            ("/o/3f2a9c1b-12ab-4bcd-8123-0123456789abc", Some("/o/{hex}-12ab-4bcd-{digits}-{hex}")),
            ("/k3j9x0zq/k3j9x0zq7", Some("/{token}/{token}")),
            ("/song.mp3", None),
            ("/17.mp3", Some("/{digits}.mp3")),
            ("/font.woff2", None),
            ("/h264x/2nd/ad4e", None),
            ("/wiki/Front", None),
            ("/%E4%BD%A0/17", Some("/%E4%BD%A0/{digits}")),
            ("/100%/x", Some("/{digits}%/x")),
            ("/qzkfhwpr", None),
            ("/", None),
            ("", None),
            ("17", Some("{digits}")),
        ] {
            assert_eq!(template(path).as_deref(), expected, "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_template_is_its_own_and_never_longer_than_is_compared(path in "(/[a-z0-9%.-]{0,40}){0,12}") {
            if let Some(template) = template(&path) {
                proptest::prop_assert!(template.len() <= VALUE_BYTES_MAX);
                // Cut in the middle of a placeholder it is no template, and never a value that anything else has.
                if template.len() < VALUE_BYTES_MAX {
                    proptest::prop_assert_eq!(self::template(&template), None, "{}", template);
                }
            }
        }

        #[test]
        fn any_bytes_are_taken(path in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600)) {
            let mut buffer = [0; VALUE_BYTES_MAX];
            path_template(&path, &mut buffer);
        }
    }
}
