//! What is wrong with a text, and where.

use super::{CONDITIONS_MAX, DEPTH_MAX, TEXT_BYTES_MAX};

/// Why a text is no expression. Its texts are escaped where they hold what the writer wrote, so that they can be shown
/// anywhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct ExpressionError {
    /// The column of the first character that is meant, from 1, in characters.
    pub column: usize,
    /// The line of the text that it is in, from 1; a text of several lines is one expression all the same.
    pub line: usize,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Longer than may be.
    #[error(
        "the text has {bytes} bytes, where {TEXT_BYTES_MAX} are the most; a list of many values can be a list with a name"
    )]
    TooLong {
        /// Its length as written, or in its canonical form if only that is too long.
        bytes: usize,
    },
    /// Nested deeper than may be.
    #[error("this is nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// More conditions than may be.
    #[error("these are more than {CONDITIONS_MAX} conditions; `in (…)` asks for several values in one")]
    TooManyConditions,
    /// Something that another language means.
    #[error("`{mark}` has no meaning here: {hint}")]
    Foreign {
        /// What was written.
        mark: &'static str,
        /// What to write instead.
        hint: &'static str,
    },
    /// A character that cannot stand in a bare word.
    #[error("{character:?} can stand only in a quoted value, where it is written as {}", escaped(*character))]
    NeedsQuotes {
        /// The character.
        character: char,
    },
    /// Bytes that are no text.
    #[error("the line is not UTF-8 from here on; other bytes are written in quotes as \\xNN")]
    NotUtf8,
    /// A quote that does not end.
    #[error("this quote does not end on its line; a quote in a value is written as \\\"")]
    UnclosedQuote,
    /// A backslash before something else than an escape.
    #[error("this is no escape; there are \\n, \\r, \\t, \\\", \\', \\\\ and \\xNN, and a backslash itself is \\\\")]
    UnknownEscape,
    /// Something else where a condition belongs.
    #[error("{found} stands where a condition is expected, as in `path = \"/announce\"`")]
    ExpectedCondition {
        /// What stands there.
        found: String,
    },
    /// A name that no attribute has.
    #[error("there is no attribute `{name}`{hint}")]
    UnknownAttribute {
        /// What was written.
        name: String,
        /// The nearest name, or all of them.
        hint: String,
    },
    /// Evidence asked for in a rule.
    #[error(
        "a rule cannot ask for `{name}`: a request is judged before it is answered, with its {name} still unknown; filters \
         over logs can ask for it"
    )]
    EvidenceInRule {
        /// What was asked for.
        name: &'static str,
    },
    /// Evidence asked for in a limit, of which no limit knows.
    #[error("a limit cannot ask for `{name}`: of an answer it knows the status alone")]
    EvidenceInLimit {
        /// What was asked for.
        name: &'static str,
    },
    /// Something else where an operator belongs.
    #[error("{found} stands after `{subject}`, where one of {allowed} is expected{hint}")]
    ExpectedOperator {
        /// What stands there.
        found: String,
        /// What is compared.
        subject: String,
        /// The operators that it has.
        allowed: &'static str,
        /// What was probably meant.
        hint: String,
    },
    /// Something else where a value belongs.
    #[error("{found} stands where {expected} is expected{hint}")]
    ExpectedValue {
        /// What stands there.
        found: String,
        /// What would be right.
        expected: &'static str,
        /// More to say where there is more.
        hint: &'static str,
    },
    /// A value that no request can have.
    #[error("`{value}` {reason}")]
    Value {
        /// The value, escaped and cut.
        value: String,
        /// Why it is none, and what would be one.
        reason: String,
    },
    /// A name after `in` that no list has.
    #[error("there is no list `{name}`{hint}")]
    UnknownList {
        /// What was written.
        name: String,
        /// The lists that there are.
        hint: String,
    },
    /// A parenthesis that is not closed.
    #[error("this parenthesis is never closed")]
    Unclosed,
    /// A parenthesis that was not opened.
    #[error("this parenthesis was never opened")]
    Unopened,
    /// Something after a whole expression.
    #[error("{found} stands where `and`, `or` or the end is expected{hint}")]
    Trailing {
        /// What stands there.
        found: String,
        /// What was probably meant.
        hint: String,
    },
    /// A name of a rule that cannot be one.
    #[error("`{name}` cannot name a rule: a name has 1 to 64 letters, digits, hyphens and underscores")]
    RuleName {
        /// What was written.
        name: String,
    },
    /// A name that an earlier rule has.
    #[error("the rule in line {line} has the name `{name}` already")]
    RuleNameTaken {
        /// The name.
        name: String,
        /// The line of the other.
        line: usize,
    },
}

/// A character as a quoted value has it.
fn escaped(character: char) -> impl std::fmt::Display {
    let mut buffer = [0; 4];
    character.encode_utf8(&mut buffer).as_bytes().escape_ascii().to_string()
}

/// A problem at a byte of the text.
#[derive(Debug)]
pub(super) struct Fault {
    at: usize,
    problem: Problem,
}

impl Fault {
    pub(super) fn new(at: usize, problem: Problem) -> Self {
        Self { at, problem }
    }

    /// The error for whoever wrote `text`.
    pub(super) fn in_text(self, text: &str) -> ExpressionError {
        let before = text.get(..self.at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        let line = before.matches('\n').count() + 1;
        ExpressionError { column, line, problem: self.problem }
    }
}

/// The name among `known` that was probably meant by `name`.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase().replace('_', "-");
    let distances = known.into_iter().map(|known| (strsim::damerau_levenshtein(&name, known), known));
    let (distance, nearest) = distances.min()?;
    (distance <= 2.max(nearest.len() / 4) && 2 * distance < nearest.len()).then_some(nearest)
}
