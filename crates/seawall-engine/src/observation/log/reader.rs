//! Reads the lines of one log.

use std::str::FromStr;

use thiserror::Error;

use super::layout::{Layout, Layouts};
use super::numbers::Numbers;
use super::split::{Split, Taken};
use super::w3c::{self, Columns, Directive};
use super::{
    Entry, Format, LINE_BYTES_MAX, RECOGNITION_LINES_MAX, Reason, Recognition, Template, TemplateError, envelope,
    read_by_itself,
};

/// A format that somebody named, in place of one that is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatChoice {
    /// A known one.
    Named(Format),
    /// As a format string describes.
    Template(Template),
}

/// What names no format.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FormatChoiceError {
    /// It is one word, and no format's.
    #[error(
        "there is no format \"{name}\"; there are {known}, or write a format string as nginx, Apache or GoAccess have it"
    )]
    Unknown {
        /// The word.
        name: String,
        /// Every name that there is.
        known: String,
    },
    /// It is a format string that cannot be used.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// The names that GoAccess has for formats, in capitals as its manual writes them; none for one that is read by a format string.
const GOACCESS_PRESETS: [(&str, Option<Format>); 13] = [
    ("COMBINED", Some(Format::Combined)),
    ("VCOMBINED", Some(Format::VhostCombined)),
    ("COMMON", Some(Format::Common)),
    ("VCOMMON", Some(Format::VhostCommon)),
    ("W3C", Some(Format::W3c)),
    ("CLOUDFRONT", Some(Format::W3c)),
    ("CLOUDSTORAGE", None),
    ("AWSELB", Some(Format::AwsLoadBalancer)),
    ("AWSALB", Some(Format::AwsLoadBalancer)),
    ("AWSS3", Some(Format::AwsS3)),
    ("SQUID", Some(Format::Squid)),
    ("CADDY", Some(Format::Caddy)),
    // Its other format is JSON, which is recognised.
    ("TRAEFIKCLF", Some(Format::Combined)),
];

/// The names of servers, for the format that each writes unless told otherwise.
const SERVERS: [(&str, Format); 9] = [
    ("nginx", Format::Combined),
    ("apache", Format::Combined),
    ("ingress-nginx", Format::Combined),
    ("litespeed", Format::Combined),
    ("lighttpd", Format::VhostCombined),
    ("iis", Format::W3c),
    ("alb", Format::AwsLoadBalancer),
    ("elb", Format::AwsLoadBalancer),
    ("s3", Format::AwsS3),
];

impl FromStr for FormatChoice {
    type Err = FormatChoiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = || Format::ALL.into_iter().filter(|format| *format != Format::Custom);
        if let Some(format) = named().find(|format| format.name() == text) {
            return Ok(Self::Named(format));
        }
        if let Some((_, format)) = SERVERS.iter().find(|(name, _)| *name == text) {
            return Ok(Self::Named(*format));
        }
        if let Some((_, preset)) = GOACCESS_PRESETS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            return match preset {
                Some(format) => Ok(Self::Named(*format)),
                None => Ok(Self::Template(Template::cloud_storage()?)),
            };
        }
        if !text.contains(['%', '$']) {
            let known = named().map(Format::name);
            let servers = SERVERS.iter().map(|(name, _)| *name);
            let known: Vec<&str> = known.chain(servers).chain(GOACCESS_PRESETS.iter().map(|(name, _)| *name)).collect();
            return Err(FormatChoiceError::Unknown { name: text.to_owned(), known: known.join(", ") });
        }
        Ok(Self::Template(Template::parse(text)?))
    }
}

/// Reads the lines of one log, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    expected: Option<Format>,
    /// Whether lines of other formats are refused.
    is_strict: bool,
    template: Option<Template>,
    /// As the last directive named them.
    columns: Option<Columns>,
    /// The day of lines that name none, as the last directive named it.
    date: Option<[u8; 10]>,
    /// Whether the last line had these columns, so that the next is read by them first. Else it could be read by itself, and is.
    is_by_columns: bool,
    /// The order of the fields before the time stamp, as the lines so far have told.
    layouts: Layouts,
    /// Whether the last line was in something else's, so that the next is unwrapped at once.
    is_wrapped: bool,
    unwrapped: Vec<u8>,
    split: Split,
}

impl Reader {
    /// A reader that tries the `expected` format first on each line.
    pub fn new(expected: Option<Format>) -> Self {
        Self { expected, ..Self::default() }
    }

    /// A reader of lines of this format, and of no others.
    pub fn of(choice: FormatChoice) -> Self {
        match choice {
            FormatChoice::Named(format) => Self { expected: Some(format), is_strict: true, ..Self::default() },
            FormatChoice::Template(template) => Self { template: Some(template), ..Self::default() },
        }
    }

    /// Tries this format first from now on, unless lines of others are refused.
    pub fn expect(&mut self, format: Format) {
        if !self.is_strict {
            self.expected = Some(format);
        }
    }

    /// The order of the fields in the lines so far.
    pub(super) fn layouts(&self) -> Layouts {
        self.layouts
    }

    /// Takes over what was found out about the log from its first lines.
    pub fn know(&mut self, recognition: &Recognition) {
        self.expect(recognition.format);
        self.layouts = recognition.layouts;
    }

    /// Finds out from the first lines of the log what the numbers behind its lines are, and learns nothing of it from others: of several
    /// readers that share the lines of a log each would find out something else. Lines of which none in [`RECOGNITION_LINES_MAX`] has such a
    /// number are not all read.
    pub fn settle_numbers<'a>(&mut self, lines: impl IntoIterator<Item = &'a [u8]>) {
        let mut learning = self.clone();
        for (number, line) in (1..).zip(lines) {
            let _ = learning.read(line);
            let numbers = [learning.layouts.bare.numbers, learning.layouts.wrapped.numbers];
            let has_none = number >= RECOGNITION_LINES_MAX && !numbers.iter().any(Numbers::are_there);
            if has_none || numbers.iter().any(Numbers::are_times) {
                break;
            }
        }
        self.layouts.bare.numbers = learning.layouts.bare.numbers.settled();
        self.layouts.wrapped.numbers = learning.layouts.wrapped.numbers.settled();
    }

    /// Notes a line that is not to be read, so that what may be the rest of it is not read by itself.
    pub fn pass_over(&mut self, line: &[u8]) {
        self.split.pass_over(line);
    }

    /// Takes over the first parts of a line from the lines before those that are read next, which are read already; see
    /// [`super::unfinished_line`].
    pub fn go_on_from(&mut self, unfinished: &[u8]) {
        self.split = Split::default();
        for line in unfinished.split(|byte| *byte == b'\n') {
            self.split.take(line.strip_suffix(b"\r").unwrap_or(line));
        }
    }

    /// Whether a line is a further part of one that a container runtime split, and if so whether that is read: who reads some lines of many
    /// decides for all parts at once.
    pub fn goes_on(&mut self, line: &[u8]) -> Option<bool> {
        self.split.goes_on(line)
    }

    /// Whether the line that was read last is a further part of one.
    pub fn is_rest(&self) -> bool {
        self.split.is_rest()
    }

    /// Notes that lines were passed over of which nothing is known.
    pub fn pass_over_unknown(&mut self) {
        self.split.pass_over_unknown();
    }

    /// Reads a line, without its line break.
    ///
    /// # Errors
    /// The [`Reason`] why the line cannot be read.
    pub fn read<'a>(&'a mut self, line: &'a [u8]) -> Result<Entry<'a>, Reason> {
        let line = without_debris(line);
        let taken = self.split.take(line);
        match taken {
            Some(Taken::Part) => return Err(Reason::Part),
            Some(Taken::TooLong) => return Err(Reason::TooLong),
            None if line.len() > LINE_BYTES_MAX => return Err(Reason::TooLong),
            Some(Taken::Whole) | None => {}
        }
        if line.trim_ascii().is_empty() {
            return Err(Reason::Empty);
        }
        let Self { expected, is_strict, template, columns, date, is_by_columns, layouts, is_wrapped, unwrapped, split } =
            self;
        let day = *date;
        let mut read = |line: &'a [u8], layout: &mut Layout| {
            let result = match (&*template, &*columns) {
                (Some(template), _) => template.read(line),
                (None, None) => read_by_itself(line, *expected, layout),
                (None, Some(columns)) => {
                    let mut one_way = |by_columns| {
                        if by_columns { columns.read(line, day) } else { read_by_itself(line, *expected, layout) }
                    };
                    one_way(*is_by_columns).or_else(|reason| {
                        let other = one_way(!*is_by_columns).map_err(|other| reason.max(other))?;
                        *is_by_columns = !*is_by_columns;
                        Ok(other)
                    })
                }
            };
            match &result {
                Ok(entry) if *is_strict && *expected != Some(entry.format) => Err(Reason::OtherFormat),
                _ => result,
            }
        };
        if taken == Some(Taken::Whole) {
            let mut entry = read(split.whole(), &mut layouts.wrapped);
            *is_wrapped = entry.is_ok();
            if let Ok(entry) = &mut entry {
                entry.joined = Some(split.whole());
            }
            return entry;
        }
        // What stands alone before the client would be read as a host, or as a client with an odd name.
        let is_marked = !layouts.bare.begins_with_hosts() && envelope::looks_like_host(line);
        let mut direct = None;
        if !*is_wrapped && !is_marked {
            let entry = read(line, &mut layouts.bare);
            // A line that is wrapped can be read as one whose client's name is long and odd.
            if entry.as_ref().is_ok_and(|entry| entry.observation.client.is_some()) {
                return entry;
            }
            direct = Some(entry);
        }
        let inner = envelope::unwrap(line, unwrapped).map(|inside| read(inside, &mut layouts.wrapped));
        *is_wrapped = matches!(inner, Some(Ok(_)));
        let result = match (inner, direct) {
            (Some(Ok(entry)), _) | (_, Some(Ok(entry))) => Ok(entry),
            (Some(Err(inner)), Some(Err(direct))) => Err(inner.max(direct)),
            (None, Some(direct)) => direct,
            // The last line was wrapped and this one is not, or only looks like it.
            (inner, None) => read(line, &mut layouts.bare).map_err(|direct| match inner {
                Some(Err(inner)) => inner.max(direct),
                _ => direct,
            }),
        };
        // Only what cannot be read is a directive: a client may have sent how a line begins.
        match w3c::directive(line).filter(|_| result.is_err()) {
            Some(Directive::Columns(named)) => {
                // What is missing among them is said of the lines that follow.
                (*columns, *is_by_columns) = (Some(named), true);
            }
            Some(Directive::Date(day)) => *date = Some(day),
            Some(Directive::Other) => {}
            None => return result,
        }
        Err(Reason::Directive)
    }

    /// The query of a line that cannot be read, where the last directive named its column.
    pub(super) fn query<'a>(&self, line: &'a [u8]) -> Option<&'a [u8]> {
        self.columns.as_ref().filter(|_| !line.starts_with(b"#"))?.query(line)
    }
}

/// A line without what stands before it and is none of it: the NULs that a server leaves which goes on at its old place in a log that was
/// emptied, and a byte order mark.
fn without_debris(line: &[u8]) -> &[u8] {
    let unmarked = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
    let nuls = unmarked.iter().take_while(|byte| **byte == 0).count();
    unmarked.get(nuls..).filter(|rest| !rest.is_empty()).unwrap_or(line)
}
