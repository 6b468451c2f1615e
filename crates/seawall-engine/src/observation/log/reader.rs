//! Reads the lines of one log.

use super::w3c::Columns;
use super::{Entry, Format, LINE_BYTES_MAX, Reason, Template, envelope, read_by_itself};

/// Reads the lines of one log, one after the other.
#[derive(Debug, Default)]
pub struct Reader {
    expected: Option<Format>,
    template: Option<Template>,
    /// As the last directive named them.
    columns: Option<Columns>,
    /// Whether the last line was in something else's, so that the next is unwrapped at once.
    is_wrapped: bool,
    unwrapped: Vec<u8>,
}

impl Reader {
    /// A reader that tries the `expected` format first on each line.
    pub fn new(expected: Option<Format>) -> Self {
        Self { expected, ..Self::default() }
    }

    /// A reader of lines as a format string describes them, and of no others.
    pub fn with_template(template: Template) -> Self {
        Self { template: Some(template), ..Self::default() }
    }

    /// Reads a line, without its line break.
    ///
    /// # Errors
    /// The [`Reason`] why the line cannot be read.
    pub fn read<'a>(&'a mut self, line: &'a [u8]) -> Result<Entry<'a>, Reason> {
        if line.len() > LINE_BYTES_MAX {
            return Err(Reason::TooLong);
        }
        if line.trim_ascii().is_empty() {
            return Err(Reason::Empty);
        }
        if line.first() == Some(&b'#') {
            if let Some(columns) = Columns::parse(line) {
                self.columns = Some(columns);
            }
            return Err(Reason::Directive);
        }
        let (expected, template, columns) = (self.expected, self.template.as_ref(), self.columns.as_ref());
        let mut direct = None;
        if !self.is_wrapped {
            let entry = read(line, expected, template, columns);
            // A line that is wrapped can be read as one whose client's name is long and odd.
            if entry.as_ref().is_ok_and(|entry| entry.observation.client.is_some()) {
                return entry;
            }
            direct = Some(entry);
        }
        let inner = envelope::unwrap(line, &mut self.unwrapped).map(|inner| read(inner, expected, template, columns));
        self.is_wrapped = matches!(inner, Some(Ok(_)));
        match (inner, direct) {
            (Some(Ok(entry)), _) | (_, Some(Ok(entry))) => Ok(entry),
            (Some(Err(inner)), Some(Err(direct))) => Err(inner.max(direct)),
            (None, Some(direct)) => direct,
            // The last line was wrapped and this one is not.
            (inner, None) => read(line, expected, template, columns).map_err(|direct| match inner {
                Some(Err(inner)) => inner.max(direct),
                _ => direct,
            }),
        }
    }
}

fn read<'a>(
    line: &'a [u8],
    expected: Option<Format>,
    template: Option<&Template>,
    columns: Option<&Columns>,
) -> Result<Entry<'a>, Reason> {
    match (template, columns) {
        (Some(template), _) => template.read(line),
        (None, Some(columns)) => columns.read(line),
        (None, None) => read_by_itself(line, expected),
    }
}
