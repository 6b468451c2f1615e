//! What follows the fields of a combined or a common line, as far as it says what it is: nobody names these.

use std::time::Duration;

use super::Reason;
use super::cursor::Cursor;
use super::fields::{self, Unit};
use super::request_line;

/// A time that is guessed from where it stands is none when it is longer: it may be `$msec`, seconds since 1970.
const DURATION_MAX: Duration = Duration::from_secs(86_400);

/// What the fields behind a line say.
#[derive(Default)]
pub(super) struct Further<'a> {
    pub(super) forwarded_for: Option<&'a [u8]>,
    pub(super) host: Option<&'a [u8]>,
    pub(super) request_time: Option<Duration>,
    pub(super) upstream_time: Option<Duration>,
    /// A whole number that comes first: only the others of the log tell what it is.
    pub(super) number: Option<u64>,
    /// A whole number directly behind it.
    pub(super) after_number: Option<u64>,
    /// What stands in its place and is none.
    pub(super) no_number: Option<&'a [u8]>,
    pub(super) is_of_haproxy: bool,
    /// Whether what is named as a time, or stands in the place of one, is none.
    pub(super) is_duration_unreadable: bool,
    /// Whether they begin with a text in quotes that is no time.
    pub(super) begins_with_text: bool,
    /// Whether they end with a number, of which nothing here says what it is, and no time was found.
    pub(super) ends_with_number: bool,
}

/// Fields that are looked at behind those of a combined or a common line.
const FURTHER_MAX: usize = 32;

impl<'a> Further<'a> {
    /// Reads what follows a combined line. Where `begins_with_text` other lines of the log have a header in quotes first, so that a time
    /// there was sent by a client.
    pub(super) fn read(rest: &'a [u8], begins_with_text: bool) -> Self {
        let mut further = Self::default();
        let mut cursor = Cursor { rest, escaped: false };
        cursor.skip_spaces();
        if cursor.rest.is_empty() {
            return further;
        }
        // ingress-nginx: length, time, [upstream], [alternative], addresses, lengths, times, statuses, number.
        if let Some((time, upstream)) = ingress(cursor.rest) {
            further.request_time = fields::duration(time, Unit::Seconds);
            further.upstream_time = fields::duration(upstream, Unit::Seconds);
            return further;
        }
        if let Some((time, upstream)) = haproxy(cursor.rest) {
            further.request_time = fields::duration(time, Unit::Milliseconds);
            further.upstream_time = fields::duration(upstream, Unit::Milliseconds);
            further.is_of_haproxy = true;
            return further;
        }
        // Traefik: number, "router", "server", milliseconds.
        let last = cursor.rest.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
        if let Some(time) = last.strip_suffix(b"ms").and_then(|time| fields::duration(time, Unit::Milliseconds)) {
            further.request_time = Some(time);
            return further;
        }
        let mut quoted = None;
        let (mut is_behind_number, mut is_implausible, mut may_be_whole) = (false, false, true);
        // How many times without a name may still come, one after the other: that of the request, then that of the site.
        let mut unnamed = 2;
        for index in 0..FURTHER_MAX {
            let (value, is_quoted) = match Field::read(&mut cursor) {
                None => break,
                Some(Field::Named(name, value)) => {
                    further.take_named(name, value, quoted.take());
                    (unnamed, further.ends_with_number) = (0, false);
                    continue;
                }
                Some(Field::Text(value, is_quoted)) => (value, is_quoted),
            };
            further.ends_with_number = is_number(value);
            let guess = Guess::of(value);
            if index == 0 && is_quoted && (begins_with_text || !matches!(guess, Guess::Time(_))) {
                // nginx: the addresses that the client came by.
                further.forwarded_for = Some(value).filter(|list| fields::last_forwarded(list).is_some());
                (quoted, further.begins_with_text) = (Some(value), true);
                continue;
            }
            if std::mem::take(&mut is_behind_number) && !is_quoted {
                further.after_number = fields::integer(value);
            }
            quoted = Some(value).filter(|_| is_quoted);
            match guess {
                Guess::Time(time) if unnamed == 2 => (further.request_time, unnamed) = (Some(time), 1),
                Guess::Time(time) if unnamed == 1 => (further.upstream_time, unnamed) = (Some(time), 0),
                Guess::Implausible if unnamed == 2 => is_implausible = true,
                // `$gzip_ratio`, of which there is none where nothing was compressed.
                Guess::Ratio if unnamed == 2 && is_quoted => {}
                Guess::Ratio | Guess::Nothing if unnamed == 2 && !is_quoted => {
                    if std::mem::take(&mut may_be_whole) {
                        further.take_whole(value);
                    }
                }
                _ => {
                    if unnamed == 2 && !is_quoted && may_be_whole {
                        further.take_whole(value);
                        is_behind_number = further.number.is_some();
                    }
                    unnamed = 0;
                }
            }
        }
        further.is_duration_unreadable |= is_implausible && further.request_time.is_none();
        further.ends_with_number &= further.request_time.is_none() && !further.is_duration_unreadable;
        further
    }

    /// Reads what follows a common line. An agent may stand there without quotes, and a client may send any words in it: so nothing
    /// counts behind the first field without a name.
    pub(super) fn read_behind_common(rest: &'a [u8]) -> Self {
        let mut further = Self::default();
        let mut cursor = Cursor { rest, escaped: false };
        for index in 0..FURTHER_MAX {
            match Field::read(&mut cursor) {
                Some(Field::Named(name, value)) => further.take_named(name, value, None),
                Some(Field::Text(word, false)) if index == 0 => {
                    match unnamed_time(word) {
                        Some(time) if is_plausible(&time) => further.request_time = Some(time),
                        Some(_) => further.is_duration_unreadable = true,
                        None => {
                            further.take_whole(word);
                            further.ends_with_number = is_number(word) && cursor.rest.trim_ascii().is_empty();
                        }
                    }
                    break;
                }
                Some(Field::Text(..)) | None => break,
            }
        }
        further
    }

    /// Takes `rt=0.005`, `urt="0.001, 0.250"`, and `sn="…"`, before which `main_ext` of nginx's handbooks has the host in quotes.
    fn take_named(&mut self, name: &[u8], value: &'a [u8], quoted_before: Option<&'a [u8]>) {
        match name {
            b"rt" | b"request_time" => {
                let time = fields::duration_if_any(value, Unit::Seconds);
                self.request_time = time.unwrap_or_default();
                self.is_duration_unreadable |= time.is_err();
            }
            b"ut" | b"urt" | b"upstream_response_time" => {
                let time = fields::duration_if_any(value, Unit::Seconds);
                self.upstream_time = time.unwrap_or_default();
                self.is_duration_unreadable |= time.is_err();
            }
            b"sn" => self.host = quoted_before.filter(|host| *host != b"-").map(request_line::without_port),
            _ => {}
        }
    }

    /// Takes a whole number, or Apache's `%T/%D`, in which the one bears the other out.
    fn take_whole(&mut self, word: &'a [u8]) {
        match memchr::memchr(b'/', word).map(|at| (&word[..at], &word[at + 1..])) {
            None => {
                self.number = fields::integer(word);
                self.no_number = Some(word).filter(|_| self.number.is_none());
            }
            Some((seconds, micros)) => {
                let (Some(seconds), Some(micros)) = (fields::integer(seconds), fields::integer(micros)) else { return };
                if micros / 1_000_000 == seconds {
                    self.request_time = Some(Duration::from_micros(micros));
                }
            }
        }
    }
}

/// What a field without a name may be.
enum Guess {
    /// How long something took.
    Time(Duration),
    /// The same, for longer than anything takes.
    Implausible,
    /// How much smaller an answer became by compression.
    Ratio,
    /// That there is none of whatever stands there.
    Nothing,
    Other,
}

impl Guess {
    fn of(field: &[u8]) -> Self {
        match unnamed_time(field).or_else(|| time_with_unit(field)) {
            Some(time) if is_plausible(&time) => return Self::Time(time),
            Some(_) => return Self::Implausible,
            None => {}
        }
        match field {
            b"-" => Self::Nothing,
            _ if is_number(field) && digits_behind_point(field) == Some(2) => Self::Ratio,
            _ => Self::Other,
        }
    }
}

/// Times of nginx without a name: `$request_time`, and `$upstream_response_time`, perhaps of several sites. They have three digits behind
/// the point, and in some other servers six; its `$gzip_ratio` has two.
fn unnamed_time(field: &[u8]) -> Option<Duration> {
    let is_time = |part: &[u8]| matches!(digits_behind_point(part), Some(3 | 6));
    let mut parts = field.split(|byte| matches!(byte, b',' | b':')).map(<[u8]>::trim_ascii);
    let are_times = parts.all(|part| part == b"-" || is_time(part));
    fields::duration(field, Unit::Seconds).filter(|_| are_times)
}

/// A time that says its unit: `0.250s`, `250us`.
fn time_with_unit(field: &[u8]) -> Option<Duration> {
    field.strip_suffix(b"s").and_then(|_| fields::go_duration(field))
}

/// Whether something that is not named can have taken so long.
pub(super) fn is_plausible(time: &Duration) -> bool {
    *time <= DURATION_MAX
}

/// Whether a field is a number and nothing else, with a fraction or whole.
fn is_number(field: &[u8]) -> bool {
    let (whole, fraction) = field.split_at(memchr::memchr(b'.', field).unwrap_or(field.len()));
    fields::integer(whole).is_some() && fraction.iter().skip(1).all(u8::is_ascii_digit)
}

/// How many digits a number has behind its point, if it has one.
fn digits_behind_point(number: &[u8]) -> Option<usize> {
    memchr::memchr(b'.', number).map(|point| number.len() - point - 1)
}

/// A field behind those of a combined or a common line.
enum Field<'a> {
    /// `name=value`, with quotes around the value or without.
    Named(&'a [u8], &'a [u8]),
    /// Any other, and whether it was in quotes.
    Text(&'a [u8], bool),
}

impl<'a> Field<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Option<Self> {
        if cursor.at_quote() {
            return cursor.quoted(Reason::UnclosedQuote).ok().map(|text| Self::Text(text, true));
        }
        let name = cursor.rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        let Some((name, [b'=', value @ ..])) = cursor.rest.split_at_checked(name) else {
            return cursor.word().map(|word| Self::Text(word, false));
        };
        if value.first() == Some(&b'"') {
            cursor.rest = value;
            return cursor.quoted(Reason::UnclosedQuote).ok().map(|value| Self::Named(name, value));
        }
        let word = cursor.word()?;
        Some(Self::Named(name, &word[name.len() + 1..]))
    }
}

/// The times of the request and of the site in what ingress-nginx writes after a combined line.
fn ingress(mut rest: &[u8]) -> Option<(&[u8], &[u8])> {
    fields::integer(list(&mut rest)?)?;
    let (time, name, alternative) = (list(&mut rest)?, list(&mut rest)?, list(&mut rest)?);
    let is_bracketed = |word: &[u8]| word.starts_with(b"[") && word.ends_with(b"]");
    if !is_bracketed(name) || !is_bracketed(alternative) {
        return None;
    }
    let (_addresses, _lengths) = (list(&mut rest)?, list(&mut rest)?);
    Some((time, list(&mut rest)?))
}

/// The next word, with those that are listed behind it as nginx does for each site that it asked: `0.001, 0.200 : 0.150`.
fn list<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let text = *rest;
    let mut end = 0;
    loop {
        let word = text.get(end..)?;
        end += memchr::memchr(b' ', word).unwrap_or(word.len());
        let (list, after) = text.split_at_checked(end)?;
        let goes_on = list.ends_with(b",") || list.ends_with(b" :") || after.starts_with(b" : ");
        if !goes_on || after.is_empty() {
            *rest = after.strip_prefix(b" ").unwrap_or(after);
            return Some(list).filter(|list| !list.is_empty());
        }
        end += 1;
    }
}

/// The times of the request and of the site in what HAProxy (`option httplog clf`) writes after a combined line: port, milliseconds of the
/// time stamp, names of frontend, backend and server, and five times.
fn haproxy(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut words = rest.split(|byte| *byte == b' ');
    fields::integer(words.next()?)?;
    fields::integer(words.next()?)?;
    let is_quoted = |word: &[u8]| matches!(word, [b'"', .., b'"']);
    let are_names = is_quoted(words.next()?) && is_quoted(words.next()?) && is_quoted(words.next()?);
    let (answer, total) = (words.nth(3)?, words.next()?);
    // What did not come to pass is -1, and a `+` marks what was not over.
    let total = total.strip_prefix(b"+").unwrap_or(total);
    (are_names && fields::integer(total).is_some()).then_some((total, answer))
}
