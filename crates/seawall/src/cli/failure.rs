//! How a command fails: one clear message on standard error, and an exit code that scripts can rely on.

use std::fmt::{self, Display};
use std::process::ExitCode;

use crate::config::{Place, Problems};

/// The exit codes, for every `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  done, and the answer is no (a drill missed its targets, there is no such rule)
  2  the command line is wrong
  3  the configuration or another input file is not valid
  4  the machine refused: port in use, file unreadable, permission missing
  5  no guard is running where the command looked for one";

/// For a command that went on past files it could not read, and has named each of them.
pub(crate) const UNREADABLE: u8 = 4;

/// A failure that ends a command.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// The answer is no.
    pub(crate) fn negative(message: impl Display) -> Self {
        Self { code: 1, message: message.to_string() }
    }

    /// The command line is wrong in a way that the parser cannot see.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self { code: 2, message: message.to_string() }
    }

    /// A file given as input is not valid.
    pub(crate) fn invalid(message: impl Display) -> Self {
        Self { code: 3, message: message.to_string() }
    }

    /// The machine refused something.
    pub(crate) fn machine(message: impl Display) -> Self {
        Self { code: 4, message: message.to_string() }
    }

    /// There is no guard to talk to.
    pub(crate) fn no_guard(message: impl Display) -> Self {
        Self { code: 5, message: message.to_string() }
    }

    /// Prints the message and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("seawall: {}", self.message);
        self.exit_code()
    }

    /// The exit code alone, for a command that has shown the failure in its own way.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

/// All problems of a configuration, each on its own line, under a line that counts them.
impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        let first_place = problems.iter().next().map(|problem| &problem.place);
        let heading = match problems.iter().count() {
            1 => "the configuration has a problem".to_owned(),
            count => format!("the configuration has {count} problems"),
        };
        match first_place {
            Some(Place::File { .. }) => Self::machine(problems),
            Some(Place::Option { .. }) => Self::usage(problems),
            Some(Place::Character { .. }) | None => Self::invalid(format!("{heading}\n{problems}")),
        }
    }
}
