//! Regular expressions that hold of exactly those values of which a condition of Seawall holds.
//!
//! An attribute that is made of a part of the request, as the extension of a path, is asked for by a pattern on that part. The
//! patterns are plain: no look-around, no back-references, so that PCRE, RE2, Go and Rust read them alike.
//!
//! Values come from attackers. Here every byte of one that is no letter, digit, `/`, `-` or `_` becomes `\xNN` (a dot `\.`), and the rest
//! of a pattern is written with the characters of [`MARKS`] alone. So no pattern can hold a quote, a space, a line break, `$`, `%`,
//! `#` or `;`, whatever the language that it is put into makes of these.

use std::fmt::Write as _;

use seawall_engine::observation::attribute::{PATH_LEVELS_MAX, QUERY_KEYS_MAX, USER_AGENT_WORDS_MAX, user_agent_words};

use super::Why;

/// What a pattern is written with, beside letters and digits.
#[cfg(test)]
pub(super) const MARKS: &str = r"^\./-_()[]{}?*+|,:";

/// What a pattern is matched against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// Bytes, of a part that was cut before as Seawall cuts it.
    Bytes,
    /// Unicode characters, of a whole part: Go can do neither.
    Characters,
}

/// What is asked of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Simple<'a> {
    Equal(&'a [u8]),
    Contains(&'a [u8]),
    StartsWith(&'a [u8]),
    EndsWith(&'a [u8]),
}

/// Makes patterns. What cannot be is `None` where no value meets it, and an error where it cannot be said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patterns {
    pub(super) reads: Reads,
}

/// A pattern, `None` when no value meets it.
pub(super) type Made = Result<Option<String>, Why>;

/// The end of a path, whether what is matched ends there or the query follows.
pub(super) const PATH_END: &str = r"(?:\?|\z)";

/// Extensions of programs that answer for everything below them, as the engine has them.
const PROGRAMS: [&str; 8] = ["php", "cgi", "pl", "py", "asp", "aspx", "jsp", "fcgi"];

/// The longest extension.
const EXTENSION_BYTES_MAX: usize = 12;

/// Where the query begins.
const QUERY_START: &str = r"^[^?]*\?\x26*";

/// One parameter with what parts it from the next.
const PAIR: &str = r"(?:[^\x26]+\x26+)";

/// The same without a name.
const NAMELESS: &str = r"(?:\x3d[^\x26]*\x26+)";

impl Patterns {
    /// Exactly these bytes.
    pub(super) fn literal(self, value: &[u8]) -> Result<String, Why> {
        match self.reads {
            Reads::Bytes => Ok(value.iter().fold(String::new(), |mut text, byte| {
                push(&mut text, *byte);
                text
            })),
            Reads::Characters => {
                let no_text =
                    || "it asks for bytes that are no UTF-8, which regular expressions of characters cannot".to_owned();
                let value = str::from_utf8(value).map_err(|_| no_text())?;
                // What is no UTF-8 is read as this character.
                if value.contains(char::REPLACEMENT_CHARACTER) {
                    return Err(no_text());
                }
                Ok(value.chars().fold(String::new(), |mut text, character| {
                    match u8::try_from(character) {
                        Ok(byte) if byte.is_ascii() => push(&mut text, byte),
                        // Eight digits, the first of which is 0: Caddy takes `{e9}` for the name of a variable.
                        _ => {
                            // Writing to a string cannot fail; here and below.
                            let _ = write!(text, "\\x{{{:08x}}}", u32::from(character));
                        }
                    }
                    text
                }))
            }
        }
    }

    /// These bytes with ASCII letters in either case; `value` is in lower case.
    pub(super) fn folded(self, value: &[u8]) -> Result<String, Why> {
        let mut text = String::new();
        for part in value.chunk_by(|one, other| !one.is_ascii_lowercase() && !other.is_ascii_lowercase()) {
            match part {
                [letter] if letter.is_ascii_lowercase() => {
                    // Not `(?i)`: with it, Go finds `K` (the sign of Kelvin) for `k`.
                    let _ = write!(text, "[{}{}]", *letter as char, letter.to_ascii_uppercase() as char);
                }
                part => text += &self.literal(part)?,
            }
        }
        Ok(text)
    }

    /// Any byte or character at all.
    pub(super) const fn any(self) -> &'static str {
        match self.reads {
            Reads::Bytes => r"[\x00-\xff]",
            Reads::Characters => r"[\x00-\x{0010ffff}]",
        }
    }

    /// On the path: a directory above it, of up to three levels. The directories lie within each other, so one that begins with
    /// something is there when the longest begins with it.
    pub(super) fn path_prefix(self, asked: Simple<'_>) -> Made {
        let (Simple::Equal(value) | Simple::Contains(value) | Simple::StartsWith(value) | Simple::EndsWith(value)) =
            asked;
        let slashes = value.iter().filter(|byte| **byte == b'/').count();
        let (most, ends) = (PATH_LEVELS_MAX + 1, value.ends_with(b"/"));
        if value.contains(&b'?') || slashes > most {
            return Ok(None);
        }
        let text = self.literal(value)?;
        // How many segments have to follow a part up to whose end there are so many slashes.
        let more = |before: usize| 2_usize.saturating_sub(before).max(usize::from(!ends));
        Ok(match asked {
            Simple::Equal(_) => (ends && slashes >= 2).then(|| format!("^{text}")),
            Simple::StartsWith(_) => {
                let more = more(slashes);
                (slashes + more <= most).then(|| format!("^{text}(?:[^/?]*/){{{more}}}"))
            }
            Simple::EndsWith(_) => {
                let (least, most) = (2_usize.saturating_sub(slashes), most - slashes);
                ends.then(|| format!("^(?:[^/?]*/){{{least},{most}}}[^/?]*{text}"))
            }
            Simple::Contains(_) => {
                let fits = (0..=most).map(|before| (before, more(before + slashes)));
                let fits = fits.filter(|(before, more)| before + slashes + more <= most);
                let ways =
                    fits.map(|(before, more)| format!("(?:[^/?]*/){{{before}}}[^/?]*{text}(?:[^/?]*/){{{more}}}"));
                either("^", ways)
            }
        })
    }

    /// On the path: that it lies in a directory at all.
    pub(super) fn any_path_prefix() -> String {
        "^[^/?]*/[^/?]*/".to_owned()
    }

    /// On the path: its extension, which is that of the first program in it, or of its last segment.
    pub(super) fn extension(self, asked: Simple<'_>) -> Made {
        let (Simple::Equal(value) | Simple::Contains(value) | Simple::StartsWith(value) | Simple::EndsWith(value)) =
            asked;
        let Some(room) = EXTENSION_BYTES_MAX.checked_sub(value.len()) else { return Ok(None) };
        if value.is_empty() || !value.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()) {
            return Ok(None);
        }
        let (text, any) = (self.folded(value)?, "[A-Za-z0-9]");
        let last = match asked {
            Simple::Equal(_) => text,
            Simple::StartsWith(_) => format!("{text}{any}{{0,{room}}}"),
            Simple::EndsWith(_) => format!("{any}{{0,{room}}}{text}"),
            Simple::Contains(_) => {
                let ways = (0..=room).map(|before| format!("{any}{{{before}}}{text}{any}{{0,{}}}", room - before));
                format!("(?:{})", ways.collect::<Vec<_>>().join("|"))
            }
        };
        let program = |program: &&str| match asked {
            Simple::Equal(value) => program.as_bytes() == value,
            Simple::StartsWith(value) => program.as_bytes().starts_with(value),
            Simple::EndsWith(value) => program.as_bytes().ends_with(value),
            Simple::Contains(value) => memchr::memmem::find(program.as_bytes(), value).is_some(),
        };
        self.extension_among(&last, PROGRAMS.iter().copied().filter(|name| program(name))).map(Some)
    }

    /// On the path: that it has an extension at all.
    pub(super) fn any_extension(self) -> Result<String, Why> {
        self.extension_among(&format!("[A-Za-z0-9]{{1,{EXTENSION_BYTES_MAX}}}"), PROGRAMS.into_iter())
    }

    fn extension_among<'a>(self, last: &str, programs: impl Iterator<Item = &'a str>) -> Result<String, Why> {
        let mut ways = vec![format!("{last}{PATH_END}")];
        for program in programs {
            ways.push(format!("{}/", self.folded(program.as_bytes())?));
        }
        // A segment that is no program's: it has no dot, or another word behind its last.
        let other = format!(r"[^./?]*(?:(?:\.[^./?]*)*\.{})?", not_among(&PROGRAMS));
        Ok(format!(r"^(?:{other}/)*[^/?]+\.(?:{})", ways.join("|")))
    }

    /// On the query: the names of its parameters, joined by `&`.
    pub(super) fn query_keys(self, asked: Simple<'_>) -> Made {
        let (Simple::Equal(value) | Simple::Contains(value) | Simple::StartsWith(value) | Simple::EndsWith(value)) =
            asked;
        let keys: Vec<&[u8]> = value.split(|byte| *byte == b'&').collect();
        let Some(before) = QUERY_KEYS_MAX.checked_sub(keys.len()) else { return Ok(None) };
        if value.contains(&b'=') {
            return Ok(None);
        }
        // Parameters without a name leave no `&` as long as none with one has come.
        if value.starts_with(b"&") {
            return match asked {
                Simple::Equal(_) | Simple::StartsWith(_) => Ok(None),
                _ => Err("it asks for a part of `query-keys` that begins with `&`".to_owned()),
            };
        }
        let mut parts = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let (is_first, is_last) = (index == 0, index + 1 == keys.len());
            let begins_within = is_first && matches!(asked, Simple::Contains(_) | Simple::EndsWith(_));
            let ends_within = is_last && matches!(asked, Simple::Contains(_) | Simple::StartsWith(_));
            let text = self.literal(key)?;
            parts.push(match (begins_within, ends_within, key.is_empty()) {
                // Something is there, and it does not matter what.
                (_, true, true) => r"[^\x26]".to_owned(),
                (true, true, false) => format!(r"[^\x26\x3d]*{text}"),
                (false, true, false) => text,
                (true, false, _) => format!(r"[^\x26\x3d]*{text}(?:\x3d[^\x26]*)?"),
                (false, false, true) => r"\x3d[^\x26]*".to_owned(),
                (false, false, false) => format!(r"{text}(?:\x3d[^\x26]*)?"),
            });
        }
        let text = parts.join(r"\x26+");
        // Where all that count are there, what follows does not matter.
        Ok(Some(match asked {
            Simple::Equal([]) => {
                let before = QUERY_KEYS_MAX - 1;
                format!(
                    r"{QUERY_START}(?:{NAMELESS}{{0,{before}}}(?:\x3d[^\x26]*)?\x26*\z|{NAMELESS}{{{QUERY_KEYS_MAX}}})"
                )
            }
            Simple::Equal(_) => {
                format!(r"{QUERY_START}(?:{NAMELESS}{{0,{before}}}{text}\x26*\z|{NAMELESS}{{{before}}}{text}\x26)")
            }
            Simple::StartsWith(_) => format!("{QUERY_START}{NAMELESS}{{0,{before}}}{text}"),
            Simple::Contains(_) => format!("{QUERY_START}{PAIR}{{0,{before}}}{text}"),
            Simple::EndsWith(_) => {
                format!(r"{QUERY_START}(?:{PAIR}{{0,{before}}}{text}\x26*\z|{PAIR}{{{before}}}{text}\x26)")
            }
        }))
    }

    /// On the query: that there is one.
    pub(super) fn any_query() -> String {
        r"^[^?]*\?".to_owned()
    }

    /// On the user agent: one of its first words. `is_positive` says whether more requests are refused when it holds.
    pub(super) fn user_agent_word(self, asked: Simple<'_>, is_positive: bool) -> Made {
        let (Simple::Equal(value) | Simple::Contains(value) | Simple::StartsWith(value) | Simple::EndsWith(value)) =
            asked;
        let is_in_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte >= 0x80;
        let begins = value.first().is_some_and(|byte| is_in_word(byte) && !byte.is_ascii_digit());
        if value.is_empty() || !value.iter().all(is_in_word) {
            return Ok(None);
        }
        let (length, text) = (value.len(), self.literal(value)?);
        if self.reads == Reads::Characters && length < 3 {
            return Err("it asks for a part of a word of less than three bytes, which are counted as characters there"
                .to_owned());
        }
        let Words { within, letter, apart, .. } = self.words();
        let at_least = |wanted: usize| wanted.saturating_sub(length);
        let mut ways = Vec::new();
        match asked {
            Simple::Equal(_) => ways.extend(user_agent_words(value).eq([value]).then(|| text.clone())),
            Simple::StartsWith(_) => ways.extend(begins.then(|| format!("{text}{within}{{{},}}", at_least(3)))),
            Simple::EndsWith(_) => {
                ways.extend((begins && length >= 3).then(|| text.clone()));
                ways.push(format!("{letter}{within}{{{},}}{text}", at_least(2)));
            }
            Simple::Contains(_) => {
                ways.extend(begins.then(|| format!("{text}{within}{{{},}}", at_least(3))));
                ways.push(format!("{letter}{within}{{{},}}{text}{within}*", at_least(2)));
                ways.push(format!("{letter}{within}*{text}{within}{{{},}}", at_least(2)));
            }
        }
        let before = self.words_before(is_positive);
        Ok(either("", ways.into_iter()).map(|word| format!(r"{before}{word}(?:{apart}|\z)")))
    }

    /// On the user agent: that it has a word at all.
    pub(super) fn any_user_agent_word(self) -> Result<String, Why> {
        let Words { within, letter, apart, .. } = self.words();
        match self.reads {
            Reads::Bytes => Ok(format!("(?:^|{apart}){letter}{within}{{2}}")),
            Reads::Characters => {
                Err("it asks for user agents without a word, whose bytes are counted as characters there".to_owned())
            }
        }
    }

    const fn words(self) -> Words {
        match self.reads {
            Reads::Bytes => Words {
                within: r"[A-Za-z0-9\x80-\xff]",
                letter: r"[A-Za-z\x80-\xff]",
                apart: r"[^A-Za-z0-9\x80-\xff]",
                short: r"[A-Za-z\x80-\xff][A-Za-z0-9\x80-\xff]?",
                long: r"[A-Za-z\x80-\xff][A-Za-z0-9\x80-\xff]{2,}",
            },
            Reads::Characters => Words {
                within: r"[A-Za-z0-9\x{00000080}-\x{0010ffff}]",
                letter: r"[A-Za-z\x{00000080}-\x{0010ffff}]",
                apart: r"[\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]",
                short: r"[A-Za-z][A-Za-z0-9]?",
                long: r"[A-Za-z\x{00000080}-\x{0010ffff}][A-Za-z0-9\x{00000080}-\x{0010ffff}]*",
            },
        }
    }

    /// What stands before a word that counts: fewer than twenty that count as well, and any number of others.
    fn words_before(self, is_positive: bool) -> String {
        let Words { within, apart, short, long, .. } = self.words();
        if self.reads == Reads::Characters && !is_positive {
            return format!("(?:^|{apart})");
        }
        // Of characters, all of a run that are not certainly too few bytes are counted, so that no later word is refused.
        let others = format!("(?:(?:[0-9]{within}*|{short}){apart}+)*");
        let most = USER_AGENT_WORDS_MAX - 1;
        format!("^{apart}*(?:{others}{long}{apart}+){{0,{most}}}{others}")
    }

    /// On the referer: scheme and host, which is all before the third slash.
    pub(super) fn referer_origin(self, asked: Simple<'_>) -> Made {
        let (Simple::Equal(value) | Simple::Contains(value) | Simple::StartsWith(value) | Simple::EndsWith(value)) =
            asked;
        let slashes = value.iter().filter(|byte| **byte == b'/').count();
        let Some(before) = 2_usize.checked_sub(slashes) else { return Ok(None) };
        let text = self.literal(value)?;
        Ok(Some(match asked {
            Simple::Equal(_) if before == 0 => format!(r"^{text}(?:/|\z)"),
            Simple::Equal(_) => format!(r"^{text}\z"),
            Simple::StartsWith(_) => format!("^{text}"),
            Simple::Contains(_) => format!("^(?:[^/]*/){{0,{before}}}[^/]*{text}"),
            Simple::EndsWith(_) => {
                format!(r"^(?:(?:[^/]*/){{0,{before}}}[^/]*{text}\z|(?:[^/]*/){{{before}}}[^/]*{text}/)")
            }
        }))
    }

    /// On the Host header as it was sent: the host without its port and final dot, in any case.
    pub(super) fn host(self, asked: Simple<'_>) -> Made {
        let (Simple::Equal(value) | Simple::Contains(value) | Simple::StartsWith(value) | Simple::EndsWith(value)) =
            asked;
        let port = r"(?::[0-9]*)?\z";
        if !matches!(asked, Simple::Equal(_)) && value.iter().any(|byte| b"[]:".contains(byte)) {
            return Err("it asks for a part of an address in brackets as host".to_owned());
        }
        let text = self.folded(value)?;
        // One final dot of what was sent is no part of the host.
        let ends_with_dot = value.ends_with(b".");
        let (end, goes_on) = if ends_with_dot { (r"\.", "[^:]") } else { (r"\.?", "") };
        Ok(Some(match asked {
            Simple::Equal(_) => format!("^{text}{end}{port}"),
            Simple::EndsWith(_) => format!("^[^:]*{text}{end}{port}"),
            Simple::StartsWith(_) => format!("^{text}{goes_on}"),
            Simple::Contains(_) => format!(r"^(?:[^:\[]*{text}{goes_on}|\[[^\]]*{text})"),
        }))
    }

    /// On the Host header, or nothing where there is none: that it names no host.
    pub(super) fn no_host() -> &'static str {
        r"^\.?(?::[0-9]*)?\z"
    }

    /// On the version as servers write it: HTTP/2 is also HTTP/2.0.
    pub(super) fn version(self, asked: Simple<'_>) -> Made {
        let Simple::Equal(value) = asked else { return Ok(None) };
        let main = value.strip_suffix(b".0").filter(|main| *main != b"HTTP/1");
        Ok(Some(match main {
            Some(main) => format!(r"^{}(?:\.0)?\z", self.literal(main)?),
            None => format!(r"^{}\z", self.literal(value)?),
        }))
    }
}

/// Words of a user agent in the language of patterns.
struct Words {
    within: &'static str,
    letter: &'static str,
    apart: &'static str,
    /// A word too short to count.
    short: &'static str,
    /// One that counts.
    long: &'static str,
}

/// One of several patterns after a common beginning; none when there are none.
fn either(start: &str, ways: impl Iterator<Item = String>) -> Option<String> {
    let ways: Vec<String> = ways.collect();
    (!ways.is_empty()).then(|| format!("{start}(?:{})", ways.join("|")))
}

/// A pattern for what lies between a dot and the next slash or dot and is none of these words, in any case of their letters.
fn not_among(words: &[&str]) -> String {
    let mut firsts: Vec<char> = words.iter().filter_map(|word| word.chars().next()).collect();
    firsts.sort_unstable();
    firsts.dedup();
    let mut ways = Vec::new();
    if !words.contains(&"") {
        // It may also end here.
        ways.push(String::new());
    }
    let both: String = firsts.iter().flat_map(|first| [*first, first.to_ascii_uppercase()]).collect();
    ways.push(format!("[^./?{both}][^./?]*"));
    for first in firsts {
        let rests: Vec<&str> = words.iter().filter_map(|word| word.strip_prefix(first)).collect();
        ways.push(format!("[{first}{}]{}", first.to_ascii_uppercase(), not_among(&rests)));
    }
    format!("(?:{})", ways.join("|"))
}

fn push(text: &mut String, byte: u8) {
    match byte {
        b'.' => text.push_str(r"\."),
        b'/' | b'-' | b'_' => text.push(byte as char),
        _ if byte.is_ascii_alphanumeric() => text.push(byte as char),
        _ => {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
}
