//! Texts with random parts: `/page/{int:1-100}?key={hex:8}`.
//!
//! A pattern is checked once, when the scenario is read; rendering cannot fail. It never looks at anything but the
//! random numbers it is given, so one seed gives one text.

use fastrand::Rng;

/// The longest text that one random part may make, in bytes.
const PART_BYTES_MAX: u32 = 4096;

/// A text with random parts, ready to be rendered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Hex(u32),
    Letters(u32),
    /// Random bytes, percent-encoded as a client would: what a BitTorrent `info_hash` looks like.
    Bytes(u32),
    Int {
        least: u64,
        most: u64,
    },
    Word,
    Choice(Vec<Pattern>),
}

/// What is wrong with a pattern.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum PatternError {
    #[error("`{{` at character {0} is never closed; write `{{{{` for a brace itself")]
    Unclosed(usize),
    #[error("`}}` at character {0} closes nothing; write `}}}}` for a brace itself")]
    Unopened(usize),
    #[error(
        "`{{{0}}}` is no known random part; expected {{hex:N}}, {{letters:N}}, {{bytes:N}}, {{int:A-B}}, {{word}} or {{choice:A|B}}"
    )]
    Unknown(String),
    #[error("`{{{0}}}` needs a length from 1 to 4096, as in {{hex:8}}")]
    Length(String),
    #[error("`{{{0}}}` needs two whole numbers, the smaller first, as in {{int:1-100}}")]
    Range(String),
}

impl Pattern {
    /// Reads a pattern.
    pub(crate) fn parse(text: &str) -> Result<Self, PatternError> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut characters = text.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            match character {
                '{' | '}' if characters.next_if(|(_, next)| *next == character).is_some() => plain.push(character),
                '}' => return Err(PatternError::Unopened(at)),
                '{' => {
                    let inner = take_braced(&mut characters).ok_or(PatternError::Unclosed(at))?;
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::parse(&inner)?);
                }
                _ => plain.push(character),
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts })
    }

    /// One text out of those that the pattern describes.
    pub(crate) fn render(&self, random: &mut Rng) -> String {
        let mut text = String::new();
        self.render_into(random, &mut text);
        text
    }

    fn render_into(&self, random: &mut Rng, text: &mut String) {
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Hex(length) => text.extend((0..*length).map(|_| random.digit(16))),
                Part::Letters(length) => text.extend((0..*length).map(|_| random.lowercase())),
                Part::Bytes(length) => (0..*length).for_each(|_| push_percent_encoded(random.u8(..), text)),
                Part::Int { least, most } => text.push_str(&random.u64(*least..=*most).to_string()),
                Part::Word => text.push_str(random.choice(WORDS).copied().unwrap_or_default()),
                Part::Choice(options) => {
                    if let Some(option) = random.choice(options) {
                        option.render_into(random, text);
                    }
                }
            }
        }
    }
}

/// Everything up to the brace that closes the one just read, with nested ones inside.
fn take_braced(characters: &mut impl Iterator<Item = (usize, char)>) -> Option<String> {
    let mut inner = String::new();
    let mut depth = 0;
    for (_, character) in characters {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(inner),
            '}' => depth -= 1,
            _ => {}
        }
        inner.push(character);
    }
    None
}

impl Part {
    fn parse(inner: &str) -> Result<Self, PatternError> {
        let (name, argument) = inner.split_once(':').map_or((inner, None), |(name, rest)| (name, Some(rest)));
        let length = || {
            let length =
                argument.and_then(|text| text.parse().ok()).filter(|length| (1..=PART_BYTES_MAX).contains(length));
            length.ok_or_else(|| PatternError::Length(inner.to_owned()))
        };
        match (name, argument) {
            ("hex", _) => Ok(Self::Hex(length()?)),
            ("letters", _) => Ok(Self::Letters(length()?)),
            ("bytes", _) => Ok(Self::Bytes(length()?)),
            ("word", None) => Ok(Self::Word),
            ("int", Some(range)) => {
                let bounds =
                    range.split_once('-').and_then(|(least, most)| Some((least.parse().ok()?, most.parse().ok()?)));
                match bounds {
                    Some((least, most)) if least <= most => Ok(Self::Int { least, most }),
                    _ => Err(PatternError::Range(inner.to_owned())),
                }
            }
            ("choice", Some(options)) => {
                split_options(options).map(Pattern::parse).collect::<Result<_, _>>().map(Self::Choice)
            }
            _ => Err(PatternError::Unknown(inner.to_owned())),
        }
    }
}

/// Splits at each `|` that is not inside nested braces.
fn split_options(options: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    options.split(move |character| {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == '|' && depth == 0
    })
}

/// As RFC 3986 has it: unreserved bytes stand for themselves.
fn push_percent_encoded(byte: u8, text: &mut String) {
    use std::fmt::Write as _;
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        text.push(char::from(byte));
    } else {
        // Writing to a String cannot fail.
        _ = write!(text, "%{byte:02X}");
    }
}

/// Words for paths and searches; plain ones, so that a pattern of words looks like a site's own.
const WORDS: &[&str] = &[
    "about",
    "archive",
    "article",
    "autumn",
    "banner",
    "bridge",
    "browser",
    "build",
    "button",
    "camera",
    "castle",
    "catalog",
    "changes",
    "circle",
    "client",
    "coffee",
    "contact",
    "cookie",
    "design",
    "download",
    "editor",
    "engine",
    "event",
    "feature",
    "forest",
    "forum",
    "gallery",
    "garden",
    "guide",
    "harbour",
    "history",
    "icon",
    "image",
    "install",
    "island",
    "journal",
    "kernel",
    "kitchen",
    "letter",
    "library",
    "license",
    "lighthouse",
    "manual",
    "market",
    "meadow",
    "memory",
    "message",
    "mirror",
    "module",
    "mountain",
    "network",
    "notes",
    "number",
    "orchard",
    "package",
    "paper",
    "pattern",
    "photo",
    "planet",
    "pocket",
    "portal",
    "project",
    "protocol",
    "question",
    "quiet",
    "record",
    "release",
    "report",
    "river",
    "sample",
    "screen",
    "script",
    "search",
    "season",
    "section",
    "server",
    "shadow",
    "signal",
    "silver",
    "source",
    "spring",
    "station",
    "story",
    "stream",
    "summer",
    "system",
    "table",
    "thread",
    "timber",
    "tools",
    "travel",
    "update",
    "valley",
    "version",
    "village",
    "weather",
    "window",
    "winter",
    "writer",
    "yellow",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn render(pattern: &str, seed: u64) -> String {
        Pattern::parse(pattern).expect("a good pattern").render(&mut Rng::with_seed(seed))
    }

    #[test]
    fn random_parts_have_the_shape_asked_for() {
        for seed in 0..200 {
            let text = render("/a/{hex:8}/{int:7-12}/{letters:3}?w={word}&c={choice:x|{int:1-1}y|}", seed);
            let rest = text.strip_prefix("/a/").expect("the plain part");
            let (path, query) = rest.split_once("?w=").expect("the query");
            let parts: Vec<_> = path.split('/').collect();
            assert!(parts[0].len() == 8 && parts[0].bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
            assert!((7..=12).contains(&parts[1].parse::<u64>().expect("a number")), "{text}");
            assert!(parts[2].len() == 3 && parts[2].bytes().all(|byte| byte.is_ascii_lowercase()), "{text}");
            let (word, choice) = query.split_once("&c=").expect("the choice");
            assert!(WORDS.contains(&word) && ["x", "1y", ""].contains(&choice), "{text}");
        }
    }

    #[test]
    fn one_seed_gives_one_text() {
        let pattern = "{bytes:20}{word}{hex:16}";
        assert_eq!(render(pattern, 7), render(pattern, 7));
        assert_ne!(render(pattern, 7), render(pattern, 8));
    }

    #[test]
    fn doubled_braces_are_braces() {
        assert_eq!(render("{{a}}", 1), "{a}");
    }

    #[test]
    fn what_is_no_pattern_is_said_with_its_place() {
        for (pattern, expected) in [
            ("a{hex:8", PatternError::Unclosed(1)),
            ("ab}", PatternError::Unopened(2)),
            ("{hex}", PatternError::Length("hex".into())),
            ("{hex:0}", PatternError::Length("hex:0".into())),
            ("{hex:99999}", PatternError::Length("hex:99999".into())),
            ("{int:9-1}", PatternError::Range("int:9-1".into())),
            ("{int:-1}", PatternError::Range("int:-1".into())),
            ("{uuid}", PatternError::Unknown("uuid".into())),
            ("{choice:a|{nope}}", PatternError::Unknown("nope".into())),
        ] {
            assert_eq!(Pattern::parse(pattern), Err(expected), "{pattern}");
        }
    }
}
