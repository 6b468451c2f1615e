//! `seawall anonymize`

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::Failure;
use super::output_file::OutputFile;
use super::treatment::{self, shown};
use crate::config::{self, Environment};
use crate::host::clock::Clock;
use crate::privacy::{FilterError, KeyStore, RETENTION_DAYS_DEFAULT, RETENTION_DAYS_MAX, filter};
use crate::show::log::Progress;
use crate::show::text::escape;

const EXAMPLES: &str = "\
Examples:
  seawall anonymize access.log.1 > shared.log              pseudonyms that are the same for a day
  seawall anonymize --prefix-preserving access.log*        neighbours stay neighbours
  seawall anonymize --mode truncate --drop-queries access.log.2.gz --output access.log.2
  tail -F access.log | seawall anonymize | seawall report -

Exit codes:
  0  done, also when whoever read the output wanted no more
  2  the command line is wrong
  3  the configuration is not valid
  4  a file could not be read, or not whole, and the others are written; or a key or the output could not be used";

/// Take client addresses out of logs: pseudonyms, networks or nothing in their place, all else byte for byte as it was.
///
/// Reads logs in any format, compressed or not, and writes them to standard output. Every address in a line is replaced,
/// wherever it stands, also in lines in no known format. What only looks like an address, as a version, is left. See
/// docs/anonymize.md for what stays in a log that can still name somebody.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The logs; standard input for `-`, and when none is named.
    #[arg(value_name = "FILE", default_value = "-")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    treatment: treatment::Options,

    /// Write here in place of standard output; the file is there when it is whole.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// For how many days the key of a day is kept, its own included; older ones are deleted. With 0 none is kept: pseudonyms hold
    /// for this run alone. 7 unless the configuration says otherwise.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(0..=i64::from(RETENTION_DAYS_MAX)))]
    retention: Option<u16>,

    /// The state directory, where the keys are kept.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    /// The configuration, for its state directory and retention.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let clock = Clock::start();
    let mut anonymizer = arguments.treatment.anonymizer(|| keys(arguments), clock.now())?;
    let mut output = Output::open(arguments.output.as_deref(), &arguments.files)?;
    // A bar among the lines would be in the way.
    let mut progress = if output.is_terminal() { Progress::hidden() } else { Progress::on_terminal() };
    let mut failed = 0;
    let result = filter(
        &arguments.files,
        &mut anonymizer,
        &mut output,
        &mut progress,
        || clock.now(),
        |error| {
            failed += 1;
            eprintln!("seawall: {}", escape(error.to_string().as_bytes()));
        },
    );
    match result {
        Ok(()) => output.finish()?,
        // A reader that has gone, as `head` does, wants no more.
        Err(FilterError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        Err(error) => return Err(shown(error)),
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(super::failure::UNREADABLE) })
}

fn keys(arguments: &Arguments) -> Result<KeyStore, Failure> {
    let config = arguments.config.as_deref().map(config::load).transpose()?;
    let of_config = config.map(|config| (config.state_directory, config.privacy.key_retention_days));
    let (directory, retention_days) =
        of_config.unwrap_or_else(|| (Environment::of_process().default_state_directory(), RETENTION_DAYS_DEFAULT));
    let directory = arguments.state.clone().unwrap_or(directory);
    KeyStore::open(&directory, arguments.retention.unwrap_or(retention_days)).map_err(shown)
}

/// Where the lines go.
enum Output {
    Standard(io::StdoutLock<'static>),
    /// On a terminal, which a line could act on, nothing is shown as it came.
    Terminal(io::StdoutLock<'static>),
    File(OutputFile),
}

impl Output {
    fn open(path: Option<&Path>, inputs: &[PathBuf]) -> Result<Self, Failure> {
        if let Some(path) = path {
            return OutputFile::open("--output", path, inputs, None).map(Self::File);
        }
        let output = io::stdout();
        let is_terminal = output.is_terminal();
        let output = output.lock();
        Ok(if is_terminal { Self::Terminal(output) } else { Self::Standard(output) })
    }

    fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal(_))
    }

    /// Whether everything was written.
    fn finish(self) -> Result<(), Failure> {
        if let Self::File(file) = self { file.finish() } else { Ok(()) }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard(output) => output.write(bytes),
            Self::Terminal(output) => {
                for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                    let text = line.strip_suffix(b"\n");
                    output.write_all(escape(text.unwrap_or(line)).as_bytes())?;
                    output.write_all(if text.is_some() { b"\n" } else { b"" })?;
                }
                Ok(bytes.len())
            }
            Self::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(output) | Self::Terminal(output) => output.flush(),
            Self::File(file) => file.flush(),
        }
    }
}
