//! Reads the inputs, one after the other, into a report.

use std::path::Path;

use seawall_engine::observation::log::{Reason, read, recognise};

use super::{Progress, Report};
use crate::source::follow::{Input, InputError, Line, Lines};

/// After how many lines the progress is looked at.
const PROGRESS_LINES: u64 = 4096;

/// Reads every input into the report. One that cannot be read, or not whole, does not keep the others out: it is given to
/// `failed` at once, and named in the report.
pub fn collect(
    report: &mut Report,
    paths: &[impl AsRef<Path>],
    progress: &mut Progress,
    mut failed: impl FnMut(&InputError),
) {
    for path in paths {
        let path = path.as_ref();
        report.begin_input(path.to_string_lossy().into_owned());
        if let Err(error) = collect_input(report, path, progress) {
            if let Some(input) = report.inputs.last_mut() {
                input.error = Some(error.to_string());
            }
            progress.suspend(|| failed(&error));
        }
    }
    progress.finish();
}

fn collect_input(report: &mut Report, path: &Path, progress: &mut Progress) -> Result<(), InputError> {
    let input = Input::open(path)?;
    let compression = input.compression();
    let name = input.name().to_owned();
    progress.begin(&name, input.size(), input.consumed());
    let mut lines = Lines::new(input);
    let read_error = |line, error| InputError::while_reading(&name, compression, line, error);

    let recognition = recognise(lines.peek().map_err(|error| read_error(0, error))?);
    if let Some(input) = report.inputs.last_mut() {
        input.name.clone_from(&name);
        input.compression = Some(compression);
        input.recognition = recognition;
    }
    let expected = recognition.map(|recognition| recognition.format);
    let mut number = 0;
    while let Some(line) = lines.next().map_err(|error| read_error(number, error))? {
        number += 1;
        match line {
            Line::Whole(text) => match read(text, expected) {
                Ok(entry) => report.add(&entry),
                Err(reason) => report.add_unread(reason, number, text.len() as u64, text),
            },
            Line::TooLong { beginning, length } => report.add_unread(Reason::TooLong, number, length, beginning),
        }
        if number.is_multiple_of(PROGRESS_LINES) {
            progress.update();
        }
    }
    Ok(())
}
