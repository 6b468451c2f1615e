//! What is done with a pipe while no guard can run: it is read, and written on where that was asked for, and the start is tried again
//! and again.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::{Arguments, Ended, configuration, guard};
use crate::cli::{Failure, treatment};
use crate::host::clock::Clock;
use crate::privacy::{Anonymizer, KeyStore};
use crate::source::watch::unjudged::UnjudgedInput;

/// How long it waits with the next start: at first for a guard that is just ending, as at a graceful restart of the web server, then
/// as long as somebody needs to put a file right.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Reads the pipe until the guard runs, and then guards.
pub(super) fn go_on(arguments: &Arguments, mut failure: Failure) -> Result<ExitCode, Failure> {
    let clock = Clock::start();
    let mut input = Some(UnjudgedInput::open().map_err(treatment::shown)?);
    let mut pause = PAUSE_MIN;
    let mut said = String::new();
    while let Some(waiting) = &mut input {
        let what_becomes = write_on(arguments, waiting, &clock);
        let report = format!(
            "{failure}\nNo line is judged; standard input is read all the same, and {what_becomes}. The start is tried again"
        );
        // Each time would fill the log of the web server.
        if report != said {
            eprintln!("seawall: {report}");
            said = report;
        }
        if !waiting.read(&clock, pause) {
            return Ok(failure.exit_code());
        }
        pause = (2 * pause).min(PAUSE_MAX);
        match guard(arguments, || input = None) {
            Ok(()) => return Ok(ExitCode::SUCCESS),
            Err(Ended::Before(again)) => failure = again,
            Err(Ended::After(failure)) => return Err(failure),
        }
    }
    Err(failure)
}

/// Reads standard input to its end, for nothing.
pub(crate) fn discard() {
    let clock = Clock::start();
    if let Ok(mut input) = UnjudgedInput::open() {
        eprintln!("seawall: standard input is read all the same, and thrown away");
        while input.read(&clock, PAUSE_MAX) {}
    }
}

/// Has lines written on, if that can be; what becomes of them, as the end of a sentence.
fn write_on(arguments: &Arguments, input: &mut UnjudgedInput, clock: &Clock) -> String {
    let Some(path) = &arguments.write else { return "thrown away".to_owned() };
    let open = |input: &mut UnjudgedInput| {
        let anonymizer = anonymizer(arguments, clock).map_err(|failure| failure.to_string())?;
        input.write_on(path, anonymizer).map_err(|error| error.to_string())
    };
    let path = path.display();
    match if input.is_written_on() { Ok(()) } else { open(input) } {
        Ok(()) => format!("written on to {path}"),
        Err(error) => format!("thrown away, since {path} cannot be written: {error}"),
    }
}

/// What makes lines private. Where the keys of the days cannot be had it is one that nobody keeps.
fn anonymizer(arguments: &Arguments, clock: &Clock) -> Result<Anonymizer, Failure> {
    let made = |folder: &Path, days: u16| {
        let keys = || KeyStore::open(folder, days).map_err(treatment::shown);
        arguments.treatment.anonymizer(keys, clock.now())
    };
    let kept = configuration(arguments)
        .and_then(|(config, _)| made(&config.state_directory, config.privacy.key_retention_days));
    kept.or_else(|_| made(Path::new(""), 0))
}
