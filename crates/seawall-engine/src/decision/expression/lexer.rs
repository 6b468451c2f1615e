//! Cuts the text of an expression into words, quoted values and marks.

use super::error::{Fault, Problem};

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// Where it begins, in bytes.
    pub(super) at: usize,
    /// Where the text after it begins.
    pub(super) end: usize,
    pub(super) kind: TokenKind,
}

/// What a piece is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// Anything between white space and marks; which words mean what depends on where they stand.
    Word(String),
    /// What stands between two quotes, escapes undone.
    Quoted(Vec<u8>),
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Opening,
    Closing,
    Comma,
}

/// Every piece of `text`, without what follows a `#`.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Fault> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let at = text.len() - rest.len();
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        if first == '#' {
            rest = rest.find('\n').and_then(|end| rest.get(end..)).unwrap_or_default();
            continue;
        }
        let (kind, length) = token(rest, first, at)?;
        tokens.push(Token { at, end: at + length, kind });
        rest = rest.get(length..).unwrap_or_default();
    }
}

/// The piece at the beginning of `rest`, and its length in bytes.
fn token(rest: &str, first: char, at: usize) -> Result<(TokenKind, usize), Fault> {
    const MARKS: [(&str, TokenKind); 9] = [
        ("!=", TokenKind::NotEqual),
        ("<=", TokenKind::LessOrEqual),
        (">=", TokenKind::GreaterOrEqual),
        ("=", TokenKind::Equal),
        ("<", TokenKind::Less),
        (">", TokenKind::Greater),
        ("(", TokenKind::Opening),
        (")", TokenKind::Closing),
        (",", TokenKind::Comma),
    ];
    /// What word processors and mail programs make of quotes.
    const TYPOGRAPHIC: [(char, &str); 8] = [
        ('\u{201c}', "\u{201c}"),
        ('\u{201d}', "\u{201d}"),
        ('\u{201e}', "\u{201e}"),
        ('\u{ab}', "\u{ab}"),
        ('\u{bb}', "\u{bb}"),
        ('\u{2018}', "\u{2018}"),
        ('\u{2019}', "\u{2019}"),
        ('\u{201a}', "\u{201a}"),
    ];
    /// What other languages write for the same.
    const FOREIGN: [(&str, &str); 7] = [
        ("==", "write `=`"),
        ("=~", "there are no patterns here; `contains`, `starts-with` and `ends-with` compare parts"),
        ("~", "there are no patterns here; `contains`, `starts-with` and `ends-with` compare parts"),
        ("&&", "write `and`"),
        ("||", "write `or`"),
        ("'", QUOTED_WITH),
        ("`", QUOTED_WITH),
    ];
    const QUOTED_WITH: &str = "a value is quoted with \"";
    if first == '"' {
        return quoted(rest, at);
    }
    if let Some((mark, hint)) = FOREIGN.into_iter().find(|(mark, _)| rest.starts_with(mark)) {
        return Err(Fault::new(at, Problem::Foreign { mark, hint }));
    }
    if let Some((mark, kind)) = MARKS.into_iter().find(|(mark, _)| rest.starts_with(mark)) {
        return Ok((kind, mark.len()));
    }
    if first == '!' {
        return Err(Fault::new(at, Problem::Foreign { mark: "!", hint: "write `not`" }));
    }
    let mut letters = rest.char_indices().peekable();
    let mut length = rest.len();
    while let Some((index, letter)) = letters.next() {
        let is_not_equal = letter == '!' && letters.peek().is_some_and(|(_, next)| *next == '=');
        if is_not_equal || ends_word(letter) {
            length = index;
            break;
        }
        if let Some((_, mark)) = TYPOGRAPHIC.into_iter().find(|(quote, _)| *quote == letter) {
            return Err(Fault::new(at + index, Problem::Foreign { mark, hint: QUOTED_WITH }));
        }
        if letter.is_control() || letter == '\\' {
            return Err(Fault::new(at + index, Problem::NeedsQuotes { character: letter }));
        }
    }
    Ok((TokenKind::Word(rest.get(..length).unwrap_or_default().to_owned()), length))
}

fn ends_word(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r' | '\n' | '"' | '(' | ')' | ',' | '=' | '<' | '>' | '#')
}

/// A quoted value and its length with the quotes. The escapes are those that `escape_ascii` of the standard library writes.
fn quoted(rest: &str, at: usize) -> Result<(TokenKind, usize), Fault> {
    let mut value = Vec::new();
    let mut bytes = rest.bytes().enumerate().skip(1);
    while let Some((index, byte)) = bytes.next() {
        let escape_fault = || Fault::new(at + index, Problem::UnknownEscape);
        match byte {
            b'"' => return Ok((TokenKind::Quoted(value), index + 1)),
            b'\n' => break,
            b'\\' => value.push(match bytes.next().ok_or_else(escape_fault)?.1 {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                character @ (b'"' | b'\'' | b'\\') => character,
                b'x' => {
                    let mut digit = || {
                        let (_, digit) = bytes.next()?;
                        char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
                    };
                    let (high, low) = digit().zip(digit()).ok_or_else(escape_fault)?;
                    high << 4 | low
                }
                _ => return Err(escape_fault()),
            }),
            _ => value.push(byte),
        }
    }
    Err(Fault::new(at, Problem::UnclosedQuote))
}
