//! Whole logs through an [`Anonymizer`]: what is read is written as soon as there is nothing more to read, so that it can stand
//! in a pipe.

use std::io::{self, Write};
use std::path::PathBuf;

use seawall_engine::units::Timestamp;

use super::{Anonymizer, KeyError};
use crate::show::log::Progress;
use crate::source::follow::{Input, InputError, Pieces};

/// How much is held before it is written, beside one piece.
const OUTPUT_BYTES: usize = 256 * 1024;

/// Why no more could be written.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// A key cannot be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The output takes no more.
    #[error("failed to write what was anonymized: {0}")]
    Write(#[from] io::Error),
}

/// Writes what becomes of the logs to `output`, one after the other. A log that cannot be read, or not whole, does not keep the
/// others out: it is given to `failed` at once. A last line without a line break gets one if another log follows.
///
/// # Errors
/// When a key cannot be had, or the output takes no more.
pub fn filter(
    paths: &[PathBuf],
    anonymizer: &mut Anonymizer,
    output: &mut impl Write,
    progress: &mut Progress,
    now: impl Fn() -> Timestamp,
    mut failed: impl FnMut(&InputError),
) -> Result<(), FilterError> {
    let mut written = Written { output, buffer: Vec::new(), is_open: false };
    for path in paths {
        match Input::open(path) {
            Ok(input) => {
                anonymizer.begin();
                if written.is_open {
                    written.buffer.push(b'\n');
                }
                if let Err(error) = filter_input(input, anonymizer, &mut written, progress, &now)? {
                    progress.suspend(|| failed(&error));
                }
            }
            Err(error) => progress.suspend(|| failed(&error)),
        }
    }
    progress.finish();
    Ok(())
}

/// What was made and is to be written.
struct Written<'o, W> {
    output: &'o mut W,
    buffer: Vec<u8>,
    /// Whether the last line had no line break.
    is_open: bool,
}

impl<W: Write> Written<'_, W> {
    fn write(&mut self) -> io::Result<()> {
        if let Some(last) = self.buffer.last() {
            self.is_open = *last != b'\n';
            self.output.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}

fn filter_input<W: Write>(
    input: Input,
    anonymizer: &mut Anonymizer,
    written: &mut Written<'_, W>,
    progress: &mut Progress,
    now: &impl Fn() -> Timestamp,
) -> Result<Result<(), InputError>, FilterError> {
    let (name, compression) = (input.name().to_owned(), input.compression());
    progress.begin(&name, input.size(), input.consumed());
    let mut pieces = Pieces::new(input);
    loop {
        let more = pieces.fill();
        anonymizer.tell(now())?;
        while let Some(piece) = pieces.ready() {
            anonymizer.rewrite(&piece, &mut written.buffer)?;
            if written.buffer.len() >= OUTPUT_BYTES {
                written.write()?;
            }
        }
        written.write()?;
        written.output.flush()?;
        progress.update();
        match more {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(())),
            Err(error) => return Ok(Err(InputError::while_reading(&name, compression, pieces.lines(), error))),
        }
    }
}
