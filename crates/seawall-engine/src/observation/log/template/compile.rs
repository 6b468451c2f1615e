//! From a format string to its pieces.

use super::super::fields::Unit;
use super::calendar::{self, Part};
use super::object::Node;
use super::{Field, Form, PIECES_MAX, Piece, Template, TemplateError};

/// Whole time stamps with their zones and fractions, of which GoAccess knows the first parts.
const GOACCESS_MOMENTS: [&str; 6] = ["%d:%t %^", "%dT%t.%^", "%dT%t%^", "%d:%t", "%dT%t", "%x.%^"];

/// What the directives are called in which a format stands in a configuration.
const DIRECTIVES: [&str; 4] = ["log_format", "LogFormat", "CustomLog", "log-format"];

/// Compiles a format string of whichever of the three.
pub(super) fn compile(format: &str) -> Result<Template, TemplateError> {
    // As a format it would be one that begins with this text, which no line does.
    let first = format.split_ascii_whitespace().next().unwrap_or_default();
    if let Some(name) = DIRECTIVES.into_iter().find(|name| name.eq_ignore_ascii_case(first)) {
        return Err(TemplateError::WholeDirective { name });
    }
    let form = if format.contains('$') {
        Form::Line(split(format, 0, nginx)?)
    } else if !is_goaccess(format) {
        Form::Line(split(format, 0, apache)?)
    } else if format.trim_start().starts_with('{') {
        Form::Object(Node::compile(format.trim())?)
    } else {
        Form::Line(goaccess_pieces(format, 0)?)
    };
    check(&form)?;
    Ok(Template { form, is_remote: false })
}

/// Whether lines can be read by it.
fn check(form: &Form) -> Result<(), TemplateError> {
    let pieces = match form {
        Form::Line(pieces) => pieces.iter().collect(),
        Form::Object(node) => node.pieces(),
    };
    if pieces.len() > PIECES_MAX {
        return Err(TemplateError::TooLong);
    }
    let has =
        |wanted: &[Field]| pieces.iter().any(|piece| matches!(piece, Piece::Field(field) if wanted.contains(field)));
    if !pieces.iter().any(|piece| matches!(piece, Piece::Field(_) | Piece::Addresses(_))) {
        return Err(TemplateError::NoField);
    }
    let has_part = |part| match part {
        Part::Month => has(&[Field::Calendar(Part::Month), Field::Calendar(Part::MonthName)]),
        Part::Year => has(&[Field::Calendar(Part::Year), Field::Calendar(Part::ShortYear)]),
        part => has(&[Field::Calendar(part)]),
    };
    let has_time = has(&[Field::Moment])
        || (has(&[Field::Date]) && has(&[Field::Clock]))
        || Part::NEEDED.into_iter().all(has_part);
    if !has_time {
        return Err(TemplateError::NoTime);
    }
    if !has(&[Field::RequestLine, Field::Target, Field::Path, Field::PathAndQuery]) {
        return Err(TemplateError::NoRequest);
    }
    Ok(())
}

/// The pieces of a format of GoAccess's, `column` characters behind where the whole begins.
pub(super) fn goaccess_pieces(format: &str, column: usize) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = split(format, column, goaccess)?;
    // `%t %^`: GoAccess passes over the zone behind a time of day, which may as well be something else.
    if let Some(at) = pieces.iter().position(|piece| *piece == Piece::Field(Field::Clock))
        && pieces.get(at + 1) == Some(&Piece::Text(b" ".to_vec()))
        && let Some(behind) = pieces.get_mut(at + 2)
        && *behind == Piece::Field(Field::Other)
    {
        *behind = Piece::Field(Field::ClockZone);
    }
    Ok(pieces)
}

/// Whether a format with `%` is GoAccess's: it has what Apache has not, and nothing that only Apache has.
fn is_goaccess(format: &str) -> bool {
    let has = |marks: &[&str]| marks.iter().any(|mark| format.contains(mark));
    has(&["%^", "%~", "~h"]) || (has(&["%d", "%x"]) && !has(&["%{", "%>s", "%l"]))
}

/// What a directive stands for.
enum Found<'f> {
    Field(Field),
    /// As much white space as there is.
    Spaces,
    /// Addresses, with any of these characters around them.
    Addresses(&'f str),
    /// A time in Apache's own language.
    Time(&'f str),
}

/// Why a text that begins as a directive is none.
enum Wrong {
    Unfinished,
    Unknown,
}

/// A directive that was found, and how long it is. None where there is none.
type Directive = for<'f> fn(&'f str) -> Result<Option<(Found<'f>, usize)>, Wrong>;

fn split(format: &str, before: usize, directive: Directive) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut at = 0;
    while let Some(rest) = format.get(at..).filter(|rest| !rest.is_empty()) {
        let column = before + format[..at].chars().count() + 1;
        let wrong = |wrong| match wrong {
            Wrong::Unfinished => TemplateError::Unfinished { column },
            Wrong::Unknown => TemplateError::UnknownDirective { column },
        };
        match directive(rest).map_err(wrong)? {
            Some((Found::Spaces, length)) => {
                pieces.push(Piece::Spaces);
                at += length;
            }
            Some((Found::Addresses(around), length)) => {
                if matches!(pieces.last(), Some(Piece::Field(field)) if field.length().is_none()) {
                    return Err(TemplateError::NothingBetween { column });
                }
                pieces.push(Piece::Addresses(around.as_bytes().to_vec()));
                at += length;
            }
            Some((Found::Field(field), length)) => {
                push_field(&mut pieces, field, column)?;
                at += length;
            }
            Some((Found::Time(format), length)) => {
                for piece in calendar::pieces(format).ok_or(TemplateError::UnknownTime { column })? {
                    match piece {
                        Piece::Field(field) => push_field(&mut pieces, field, column)?,
                        Piece::Text(text) => push_text(&mut pieces, &text),
                        other => pieces.push(other),
                    }
                }
                at += length;
            }
            None => {
                let (text, length) = literal(rest);
                push_text(&mut pieces, text);
                at += length;
            }
        }
        if pieces.len() > PIECES_MAX {
            return Err(TemplateError::TooLong);
        }
    }
    // A line comes without its break.
    if let Some(Piece::Text(text)) = pieces.last_mut() {
        let kept = text.iter().rposition(|byte| *byte != b'\n').map_or(0, |last| last + 1);
        text.truncate(kept);
        if kept == 0 {
            pieces.pop();
        }
    }
    Ok(pieces)
}

fn push_field(pieces: &mut Vec<Piece>, field: Field, column: usize) -> Result<(), TemplateError> {
    match pieces.last_mut() {
        // Apache's %q begins with the question mark that ends its %U, nginx has a variable for it.
        Some(Piece::Field(before @ Field::Path)) if matches!(field, Field::QuestionMark | Field::Query) => {
            *before = Field::PathAndQuery;
        }
        Some(Piece::Field(Field::PathAndQuery)) if field == Field::Query => {}
        Some(Piece::Field(before)) if before.holds_no_slash() && field.begins_with_slash() => {
            pieces.push(Piece::Field(field));
        }
        Some(Piece::Field(before)) if before.length().is_none() => {
            return Err(TemplateError::NothingBetween { column });
        }
        _ => pieces.push(Piece::Field(field)),
    }
    Ok(())
}

fn push_text(pieces: &mut Vec<Piece>, text: &[u8]) {
    match pieces.last_mut() {
        Some(Piece::Text(before)) => before.extend_from_slice(text),
        _ => pieces.push(Piece::Text(text.to_vec())),
    }
}

/// The character that is next and no directive, and how long it is in the format: some are escaped in a configuration.
fn literal(rest: &str) -> (&[u8], usize) {
    match rest.as_bytes() {
        [b'\\', b't', ..] => (b"\t", 2),
        [b'\\', b'n', ..] => (b"\n", 2),
        [b'\\', character @ (b'\\' | b'"'), ..] => (std::slice::from_ref(character), 2),
        bytes => {
            let length = rest.chars().next().map_or(1, char::len_utf8);
            (bytes.get(..length).unwrap_or_default(), length)
        }
    }
}

/// `$name` or `${name}`
fn nginx(rest: &str) -> Result<Option<(Found<'_>, usize)>, Wrong> {
    let Some(after) = rest.strip_prefix('$') else { return Ok(None) };
    let (name, length) = match after.strip_prefix('{') {
        Some(braced) => {
            let end = braced.find('}').ok_or(Wrong::Unfinished)?;
            (&braced[..end], end + 3)
        }
        None => {
            let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            let end = after.bytes().position(|byte| !is_name(&byte)).unwrap_or(after.len());
            (&after[..end], end + 1)
        }
    };
    let field = match name {
        "" => return Err(Wrong::Unfinished),
        "remote_addr" => Field::Client,
        "realip_remote_addr" => Field::Peer,
        "http_x_real_ip" => Field::NamedClient,
        "http_x_forwarded_for" | "proxy_add_x_forwarded_for" => Field::ForwardedFor,
        "time_local" | "time_iso8601" | "msec" => Field::Moment,
        "request" => Field::RequestLine,
        "request_method" => Field::Method,
        "request_uri" => Field::Target,
        "uri" | "document_uri" => Field::Path,
        "is_args" => Field::QuestionMark,
        "args" | "query_string" => Field::Query,
        "server_protocol" => Field::Version,
        "host" | "http_host" => Field::Host,
        "server_name" => Field::ServerName,
        "server_port" => Field::Port,
        "status" => Field::Status,
        "body_bytes_sent" | "bytes_sent" => Field::Bytes,
        "http_user_agent" => Field::UserAgent,
        "http_referer" => Field::Referer,
        "request_time" => Field::RequestTime(Unit::Seconds),
        "upstream_response_time" => Field::UpstreamTime(Unit::Seconds),
        _ => Field::Other,
    };
    Ok(Some((Found::Field(field), length)))
}

/// `%h`, `%>s`, `%{Name}i`
fn apache(rest: &str) -> Result<Option<(Found<'_>, usize)>, Wrong> {
    let Some(after) = rest.strip_prefix('%') else { return Ok(None) };
    // Statuses for which it is written (`%400,501{…}`), and whether before or after a redirect.
    let modifiers = after.bytes().take_while(|byte| matches!(byte, b'0'..=b'9' | b',' | b'!' | b'<' | b'>')).count();
    let after = &after[modifiers..];
    let (name, braces) = match after.strip_prefix('{') {
        Some(braced) => {
            let end = braced.find('}').ok_or(Wrong::Unfinished)?;
            (Some(&braced[..end]), end + 2)
        }
        None => (None, 0),
    };
    let letter = after[braces..].chars().next().ok_or(Wrong::Unfinished)?;
    let header = |name: &str| match name.to_ascii_lowercase().as_str() {
        "user-agent" => Field::UserAgent,
        "referer" => Field::Referer,
        "host" => Field::Host,
        "x-forwarded-for" => Field::ForwardedFor,
        _ => Field::Other,
    };
    let length = 1 + modifiers + braces + letter.len_utf8();
    let field = match (letter, name) {
        ('t', Some(format)) => return Ok(Some((Found::Time(format), length))),
        ('h' | 'a', Some("c")) => Field::Peer,
        ('h' | 'a', _) => Field::Client,
        ('t', _) => Field::Moment,
        ('r', _) => Field::RequestLine,
        ('m', _) => Field::Method,
        ('U', _) => Field::Path,
        ('q', _) => Field::Query,
        ('H', _) => Field::Version,
        ('v' | 'V', _) => Field::ServerName,
        ('p', _) => Field::Port,
        ('s', _) => Field::Status,
        ('b' | 'B' | 'O', _) => Field::Bytes,
        ('i', Some(name)) => header(name),
        ('D', _) => Field::RequestTime(Unit::Microseconds),
        ('T', Some("ms")) => Field::RequestTime(Unit::Milliseconds),
        ('T', Some("us")) => Field::RequestTime(Unit::Microseconds),
        ('T', _) => Field::RequestTime(Unit::Seconds),
        _ => Field::Other,
    };
    Ok(Some((Found::Field(field), length)))
}

/// `%h`, `%^`, `%~`, `~h{, }`
fn goaccess(rest: &str) -> Result<Option<(Found<'_>, usize)>, Wrong> {
    if let Some(list) = rest.strip_prefix("~h") {
        let around = list.strip_prefix('{').ok_or(Wrong::Unfinished)?;
        let end = around.find('}').ok_or(Wrong::Unfinished)?;
        return Ok(Some((Found::Addresses(&around[..end]), end + "~h{}".len())));
    }
    if let Some(parts) = GOACCESS_MOMENTS.into_iter().find(|parts| rest.starts_with(parts)) {
        return Ok(Some((Found::Field(Field::Moment), parts.len())));
    }
    let Some(after) = rest.strip_prefix('%') else { return Ok(None) };
    let letter = after.chars().next().ok_or(Wrong::Unfinished)?;
    let field = match letter {
        '~' => return Ok(Some((Found::Spaces, 2))),
        'h' => Field::Client,
        'x' => Field::Moment,
        'd' => Field::Date,
        't' => Field::Clock,
        'r' => Field::RequestLine,
        'm' => Field::Method,
        'U' => Field::Target,
        'q' => Field::Query,
        'H' => Field::Version,
        'v' => Field::Host,
        's' => Field::Status,
        'b' => Field::Bytes,
        'u' => Field::UserAgent,
        'R' => Field::Referer,
        'T' => Field::RequestTime(Unit::Seconds),
        'L' => Field::RequestTime(Unit::Milliseconds),
        'D' => Field::RequestTime(Unit::Microseconds),
        'n' => Field::RequestTime(Unit::Nanoseconds),
        '^' | 'e' | 'C' | 'M' | 'K' | 'k' => Field::Other,
        _ => return Err(Wrong::Unknown),
    };
    Ok(Some((Found::Field(field), 1 + letter.len_utf8())))
}
