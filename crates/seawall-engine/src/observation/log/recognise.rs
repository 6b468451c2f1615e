//! Finding out which format a log is in.

use super::layout::Layouts;
use super::{Format, Reader, Reason};

/// How many of the first lines are looked at. A log that begins with a few damaged lines is still recognised, and the
/// share among so many is a fair estimate of the whole.
pub const RECOGNITION_LINES_MAX: usize = 200;

/// The format that most of the first lines are in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recognition {
    /// The format.
    pub format: Format,
    /// The share of the lines looked at that are in it, above 0 and at most 1.
    pub confidence: f32,
    /// How many lines were looked at; blank ones are passed over.
    pub lines: usize,
    /// The order of the fields in it.
    pub(super) layouts: Layouts,
}

/// Recognises the format of a log from its first lines; `None` when no line is in a known format. Of two formats with as
/// many lines the one listed first in [`Format::ALL`] is taken.
pub fn recognise<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Option<Recognition> {
    let mut counts = [0_usize; Format::ALL.len()];
    let mut looked_at = 0;
    let mut reader = Reader::default();
    let filled = lines.into_iter().filter(|line| !line.trim_ascii().is_empty());
    for line in filled.take(RECOGNITION_LINES_MAX) {
        match reader.read(line) {
            Ok(entry) => {
                for (format, count) in Format::ALL.iter().zip(&mut counts) {
                    *count += usize::from(*format == entry.format);
                }
            }
            Err(Reason::Directive | Reason::Part) => continue,
            Err(_) => {}
        }
        looked_at += 1;
    }
    // `max_by_key` takes the last of equals, so the formats are gone through from the end.
    let (format, count) = Format::ALL.into_iter().zip(counts).rev().max_by_key(|(_, count)| *count)?;
    (count > 0).then(|| Recognition {
        format,
        confidence: count as f32 / looked_at as f32,
        lines: looked_at,
        layouts: reader.layouts(),
    })
}
