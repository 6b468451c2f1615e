//! In which ways a regular expression can be met: each a row of pieces, single bytes and runs of any length.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

/// Stands for the address of the client, in expressions and in lines: no log has this byte.
pub(super) const HOST: u8 = 1;

/// The most ways that one expression may be met in.
const WAYS_MAX: usize = 4_096;

/// A class of at most so many bytes is so many ways; of a larger one any byte is as good as another.
const CLASS_WAYS_MAX: usize = 4;

/// A set of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bytes([u64; 4]);

impl Bytes {
    pub(super) fn of(mut is_in: impl FnMut(u8) -> bool) -> Self {
        let mut set = Self::default();
        (0..=u8::MAX).filter(|byte| is_in(*byte)).for_each(|byte| set.0[usize::from(byte) / 64] |= 1 << (byte % 64));
        set
    }

    pub(super) const fn has(self, byte: u8) -> bool {
        self.0[byte as usize / 64] & (1 << (byte % 64)) != 0
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self::of(|byte| self.has(byte) && other.has(byte))
    }

    pub(super) fn iter(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |byte| self.has(*byte))
    }

    pub(super) fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The byte, if it is a single one.
    pub(super) fn only(self) -> Option<u8> {
        let mut bytes = self.iter();
        bytes.next().filter(|_| bytes.next().is_none())
    }
}

/// A piece of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// One byte of these.
    One(Bytes),
    /// Any number of these.
    Many(Bytes),
    /// The end of the line.
    End,
}

/// The expression as our parser has it: Python's names for the same, and what fail2ban puts in.
///
/// # Errors
/// The column and the reason, where it asks for what no automaton can tell.
pub(super) fn translate(text: &str) -> Result<String, (Option<usize>, String)> {
    let mut translated = String::new();
    let (mut rest, mut is_class, mut class_start) = (text, false, false);
    let column = |rest: &str| Some(text.chars().count() - rest.chars().count() + 1);
    while let Some(first) = rest.chars().next() {
        let mut length = first.len_utf8();
        let was_start = std::mem::take(&mut class_start);
        match first {
            '\\' => {
                let escaped = rest.chars().nth(1);
                length += escaped.map_or(0, char::len_utf8);
                match escaped {
                    Some('Z') => translated.push_str("\\z"),
                    // Here they would be borders of words.
                    Some(bracket @ ('<' | '>')) => translated.push(bracket),
                    Some(digit @ '1'..='9') if !is_class => {
                        return Err((column(rest), format!("\\{digit} asks for what another part has matched")));
                    }
                    _ => translated.push_str(rest.get(..length).unwrap_or_default()),
                }
            }
            // Within a class our parser would begin another one, or take away.
            '[' | '&' | '~' if is_class => {
                translated.push('\\');
                translated.push(first);
            }
            ']' if is_class && was_start => translated.push_str("\\]"),
            '[' => {
                (is_class, class_start) = (true, true);
                translated.push('[');
                if rest.get(1..).is_some_and(|rest| rest.starts_with('^')) {
                    translated.push('^');
                    length += 1;
                }
            }
            ']' if is_class => {
                is_class = false;
                translated.push(']');
            }
            '(' if ["(?=", "(?!", "(?<=", "(?<!"].iter().any(|look| rest.starts_with(look)) => {
                return Err((column(rest), "it looks ahead or behind, which no condition can".to_owned()));
            }
            '(' if rest.starts_with("(?P=") => {
                return Err((column(rest), "it asks for what another part has matched".to_owned()));
            }
            '<' if !is_class && !translated.ends_with("(?P") && !translated.ends_with("(?") => {
                let Some((tag, _)) = rest.get(1..).and_then(|rest| rest.split_once('>')) else {
                    return Err((column(rest), "this tag does not end".to_owned()));
                };
                length = tag.len() + 2;
                match tag {
                    "HOST" | "ADDR" | "IP4" | "IP6" => translated.push_str("\\x01"),
                    // Only names of what is kept beside.
                    _ if tag.trim_start_matches('/').starts_with("F-") && tag.starts_with('/') => translated.push(')'),
                    _ if tag.starts_with("F-") => translated.push_str("(?:"),
                    _ => return Err((column(rest), format!("<{tag}> is said nowhere"))),
                }
            }
            _ => translated.push(first),
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    // In lower and upper case alike is more than a condition says; as it is written is a part of that.
    let translated = translated.strip_prefix("(?i)").map(str::to_owned).unwrap_or(translated);
    match parse(&translated).map_err(|error| *error) {
        Ok(_) => Ok(translated),
        Err(regex_syntax::Error::Parse(error)) => Err((Some(error.span().start.column), error.kind().to_string())),
        Err(error) => Err((None, error.to_string())),
    }
}

fn parse(pattern: &str) -> Result<Hir, Box<regex_syntax::Error>> {
    ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern).map_err(Box::new)
}

/// The ways in which a translated expression can be met: together no more than it says, where a repetition of something large is
/// taken once.
///
/// # Errors
/// When there are too many.
pub(super) fn ways(translated: &str) -> Result<Vec<Vec<Piece>>, String> {
    let hir = parse(translated).map_err(|error| error.to_string())?;
    expand(&hir).ok_or_else(|| format!("it can be met in more than {WAYS_MAX} ways"))
}

fn expand(hir: &Hir) -> Option<Vec<Vec<Piece>>> {
    let ways = match hir.kind() {
        HirKind::Empty => vec![Vec::new()],
        HirKind::Literal(literal) => {
            vec![literal.0.iter().map(|byte| Piece::One(Bytes::of(|other| other == *byte))).collect()]
        }
        HirKind::Class(class) => single(bytes_of(class)),
        HirKind::Look(Look::End | Look::EndLF | Look::EndCRLF) => vec![vec![Piece::End]],
        // What is asked of borders is proven afterwards.
        HirKind::Look(_) => vec![Vec::new()],
        HirKind::Repetition(repetition) => repeated(repetition)?,
        HirKind::Capture(capture) => expand(&capture.sub)?,
        HirKind::Concat(parts) => {
            let mut ways = vec![Vec::new()];
            for part in parts {
                ways = joined(&ways, &expand(part)?)?;
            }
            ways
        }
        HirKind::Alternation(parts) => {
            let mut ways = Vec::new();
            for part in parts {
                ways.extend(expand(part)?);
            }
            ways
        }
    };
    (ways.len() <= WAYS_MAX).then_some(ways)
}

fn joined(left: &[Vec<Piece>], right: &[Vec<Piece>]) -> Option<Vec<Vec<Piece>>> {
    if left.len().saturating_mul(right.len()) > WAYS_MAX {
        return None;
    }
    let join = |left: &Vec<Piece>| right.iter().map(|right| [left.as_slice(), right].concat()).collect::<Vec<_>>();
    Some(left.iter().flat_map(join).collect())
}

fn single(bytes: Bytes) -> Vec<Vec<Piece>> {
    if bytes.iter().count() > CLASS_WAYS_MAX {
        return vec![vec![Piece::One(bytes)]];
    }
    bytes.iter().map(|byte| vec![Piece::One(Bytes::of(|other| other == byte))]).collect()
}

fn bytes_of(class: &Class) -> Bytes {
    match class {
        Class::Bytes(class) => {
            Bytes::of(|byte| class.iter().any(|range| (range.start()..=range.end()).contains(&byte)))
        }
        Class::Unicode(class) => Bytes::of(|byte| {
            byte.is_ascii() && class.iter().any(|range| (range.start()..=range.end()).contains(&char::from(byte)))
        }),
    }
}

fn repeated(repetition: &Repetition) -> Option<Vec<Vec<Piece>>> {
    let Repetition { min, max, sub, .. } = repetition;
    let of_bytes = match sub.kind() {
        HirKind::Class(class) => Some(bytes_of(class)),
        HirKind::Literal(literal) if literal.0.len() == 1 => {
            literal.0.first().map(|byte| Bytes::of(|other| other == *byte))
        }
        _ => None,
    };
    match (of_bytes, max) {
        (_, Some(1)) if *min == 0 => {
            let mut ways = vec![Vec::new()];
            ways.extend(expand(sub)?);
            Some(ways)
        }
        // A run of one byte is taken as short as it may be; of any byte it is as good as endless, which is proven afterwards.
        (Some(bytes), _) if bytes.only().is_some() => Some(vec![vec![Piece::One(bytes); *min as usize]]),
        (Some(bytes), Some(max)) if max == min && *min <= 16 => Some(vec![vec![Piece::One(bytes); *min as usize]]),
        (Some(bytes), _) if *min <= 16 => {
            let mut way = vec![Piece::One(bytes); *min as usize];
            way.push(Piece::Many(bytes));
            Some(vec![way])
        }
        (None, _) if *min <= 4 => {
            let mut ways = vec![Vec::new()];
            for _ in 0..*min {
                ways = joined(&ways, &expand(sub)?)?;
            }
            if *min == 0 {
                ways.extend(expand(sub)?);
            }
            Some(ways)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_says_is_said_to_our_parser() {
        for (text, expected) in [
            (r#"^<HOST> \- \S+ \[\] \"GET"#, r#"^\x01 \- \S+ \[\] \"GET"#),
            ("[^[]*", "[^\\[]*"),
            ("[]a]", "[\\]a]"),
            ("a\\Z", "a\\z"),
            ("<F-USER>\\S+</F-USER>", "(?:\\S+)"),
            ("(?P<name>a)", "(?P<name>a)"),
            ("(?i)abc", "abc"),
            ("\\<b\\>", "<b>"),
        ] {
            assert_eq!(translate(text).as_deref(), Ok(expected));
        }
        for (text, column) in [("ab(?!c)", 3), ("(a)\\1", 4), ("(?P<a>x)(?P=a)", 9), ("a<block>", 2), ("a(b", 2)] {
            assert_eq!(translate(text).map_err(|(column, _)| column), Err(Some(column)), "{text}");
        }
    }

    #[test]
    fn ways_are_few_or_refused() {
        assert_eq!(ways("(?:a|bc?)d").map(|ways| ways.len()), Ok(3));
        assert_eq!(ways("[Mm]y[Aa]dmin").map(|ways| ways.len()), Ok(4));
        assert!(
            ways("(?:a|b)(?:a|b)(?:a|b)(?:a|b)(?:a|b)(?:a|b)(?:a|b)(?:a|b)(?:a|b)(?:a|b)(?:a|b)(?:a|b)(?:a|b)")
                .is_err()
        );
    }
}
