//! Reads the inputs, one after the other, request by request.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use seawall_engine::observation::Observation;
use seawall_engine::observation::log::{self, Encoding, Entry, Fields, FormatChoice, Reader, Reason, recognise};

use super::inputs::Inputs;
use super::progress::Progress;
use crate::source::follow::{Input, InputError, Line, LineBreak, Lines};

/// After how many lines the progress is looked at.
const PROGRESS_LINES: u64 = 4096;

/// The logs that a command reads.
pub struct Logs<'a> {
    /// The files, in the order in which they are read; `-` for standard input.
    pub paths: &'a [PathBuf],
    /// Their format, when it is not to be recognised.
    pub format: Option<&'a FormatChoice>,
}

/// A request of a log.
pub(in crate::show) struct LogRequest<'a> {
    /// What the line says, with what the log escaped undone.
    pub(in crate::show) observation: Observation<'a>,
    /// What the line's format has room for.
    pub(in crate::show) fields: Fields,
    /// The line, byte for byte, and how it ended.
    pub(in crate::show) line: &'a [u8],
    pub(in crate::show) line_break: LineBreak,
}

/// Gives every request of every input to `visit`, until that breaks off, and counts in `inputs` what was read and what was not.
/// An input that cannot be read, or not whole, does not keep the others out: it is given to `failed` at once, and named in
/// `inputs`.
pub(in crate::show) fn read_inputs(
    inputs: &mut Inputs,
    logs: &Logs<'_>,
    progress: &mut Progress,
    mut visit: impl FnMut(&LogRequest<'_>) -> ControlFlow<()>,
    mut failed: impl FnMut(&InputError),
) {
    for path in logs.paths {
        inputs.begin(path.to_string_lossy().into_owned());
        match read_input(inputs, path, logs.format, progress, &mut visit) {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => break,
            Err(error) => {
                if let Some(input) = inputs.present() {
                    input.error = Some(error.to_string());
                }
                progress.suspend(|| failed(&error));
            }
        }
    }
    progress.finish();
}

fn read_input(
    inputs: &mut Inputs,
    path: &Path,
    format: Option<&FormatChoice>,
    progress: &mut Progress,
    visit: &mut impl FnMut(&LogRequest<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, InputError> {
    let input = Input::open(path)?;
    let compression = input.compression();
    let name = input.name().to_owned();
    progress.begin(&name, input.size(), input.consumed());
    let mut lines = Lines::new(input);
    let read_error = |line, error| InputError::while_reading(&name, compression, line, error);

    let recognition = {
        let first_lines = lines.peek().map_err(|error| read_error(0, error))?;
        if format.is_none() { recognise(first_lines) } else { None }
    };
    if let Some(input) = inputs.present() {
        input.name.clone_from(&name);
        input.compression = Some(compression);
        input.recognition = recognition;
    }
    let mut reader = match format {
        Some(format) => Reader::of(format.clone()),
        None => Reader::new(recognition.map(|recognition| recognition.format)),
    };
    let mut restored = Vec::new();
    let mut number = 0;
    while let Some((line, line_break)) = lines.next_with_break().map_err(|error| read_error(number, error))? {
        number += 1;
        match line {
            Line::Whole(text) => match reader.read(text) {
                Ok(entry) => {
                    inputs.add(entry.observation.at, entry.observation.cost.bytes);
                    if visit(&request(&entry, text, line_break, &mut restored)).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Err(reason) => inputs.add_unread(reason, number, text.len() as u64, text),
            },
            Line::TooLong { beginning, length } => inputs.add_unread(Reason::TooLong, number, length, beginning),
        }
        if number.is_multiple_of(PROGRESS_LINES) {
            progress.update();
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn request<'a>(entry: &Entry<'a>, line: &'a [u8], line_break: LineBreak, restored: &'a mut Vec<u8>) -> LogRequest<'a> {
    let observation = if entry.encoding == Encoding::Plain {
        entry.observation
    } else {
        Observation { request: log::restore(&entry.observation.request, entry.encoding, restored), ..entry.observation }
    };
    LogRequest { observation, fields: entry.format.fields(), line, line_break }
}
