//! A file of rules: one on each line, with or without a name before it.
//!
//! ```text
//! # What floods us since Tuesday.
//! announce: path = "/announce" and host not in sites
//! user-agent contains "QQGameHall"
//! ```

use super::error::{Fault, Problem};
use super::lexer::{TokenKind, tokens};
use super::{Expression, ExpressionError, Lists, Use, parser};

/// The longest name of a rule, in characters.
const NAME_CHARACTERS_MAX: usize = 64;

/// A rule of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedExpression {
    /// What the file calls it, if anything. No two rules of a file have one name.
    pub name: Option<Box<str>>,
    /// The line that it stands on, from 1.
    pub line: usize,
    /// What it asks.
    pub expression: Expression,
}

/// A line of a file that is no rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineProblem {
    /// The line, from 1.
    pub line: usize,
    /// What stands there, without the line break; bytes that are no text are replaced.
    pub text: Box<str>,
    /// What is wrong with it. Its `line` is that of the file.
    pub error: ExpressionError,
}

/// Reads a whole file, in UTF-8. Blank lines, and what follows a `#` outside quotes, are passed over.
///
/// # Errors
/// Every line that is no rule.
pub fn read_file(content: &[u8], usage: Use, lists: &Lists) -> Result<Vec<NamedExpression>, Vec<LineProblem>> {
    let content = content.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(content);
    let (mut rules, mut problems) = (Vec::<NamedExpression>::new(), Vec::new());
    for (line, bytes) in (1..).zip(content.split(|byte| *byte == b'\n')) {
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let text = String::from_utf8_lossy(bytes);
        let read = match str::from_utf8(bytes) {
            Ok(text) => read_line(text, line, usage, lists, &rules),
            // Up to there the text is the same, byte by byte.
            Err(error) => Err(Fault::new(error.valid_up_to(), Problem::NotUtf8)),
        };
        match read {
            Ok(rule) => rules.extend(rule),
            Err(fault) => {
                let error = ExpressionError { line, ..fault.in_text(&text) };
                problems.push(LineProblem { line, text: text.into(), error });
            }
        }
    }
    if problems.is_empty() { Ok(rules) } else { Err(problems) }
}

/// The rule of a line, if it holds one.
fn read_line(
    text: &str,
    line: usize,
    usage: Use,
    lists: &Lists,
    earlier: &[NamedExpression],
) -> Result<Option<NamedExpression>, Fault> {
    let tokens = tokens(text)?;
    let Some(first) = tokens.first() else { return Ok(None) };
    let name = match &first.kind {
        TokenKind::Word(word) => word.strip_suffix(':'),
        _ => None,
    };
    let Some(name) = name else {
        let expression = parser::parse_from(text, 0, usage, lists)?;
        return Ok(Some(NamedExpression { name: None, line, expression }));
    };
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    if name.is_empty() || name.len() > NAME_CHARACTERS_MAX || !name.chars().all(is_letter) {
        let name = name.chars().take(NAME_CHARACTERS_MAX).collect::<String>().escape_debug().to_string();
        return Err(Fault::new(first.at, Problem::RuleName { name }));
    }
    if let Some(other) = earlier.iter().find(|other| other.name.as_deref() == Some(name)) {
        return Err(Fault::new(first.at, Problem::RuleNameTaken { name: name.to_owned(), line: other.line }));
    }
    let expression = parser::parse_from(text, first.end, usage, lists)?;
    Ok(Some(NamedExpression { name: Some(name.into()), line, expression }))
}
