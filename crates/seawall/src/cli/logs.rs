//! What the commands that read logs share: which files they read, and what they say when one cannot be read.

use std::path::{Path, PathBuf};

use seawall_engine::decision::expression::{Expression, ExpressionError, Lists, Problem, Use};

use super::Failure;
use crate::config::{self, NetworkFiles, SITES};
use crate::show::excerpt::excerpt;
use crate::show::log::files::Files;
use crate::show::text::escape;
use crate::source::follow::InputError;

/// What rules on logs ask of a configuration: the files of networks, and the lists. Without one it is what is built in.
pub(crate) fn networks_and_lists(config: Option<&Path>) -> Result<(NetworkFiles, Lists), Failure> {
    let Some(path) = config else { return Ok((NetworkFiles::default(), Lists::default())) };
    let config = config::load(path)?;
    let lists = config.lists();
    Ok((config.networks, lists))
}

/// The files that these arguments stand for, in the order of time. A file that is named twice is said to be, and read once.
pub(crate) fn files(arguments: &[PathBuf]) -> Vec<PathBuf> {
    let files = Files::find(arguments);
    for (path, other) in files.doubled {
        let name = |path: PathBuf| escape(path.to_string_lossy().as_bytes());
        eprintln!("seawall: {} is the same file as {}; it is read once", name(path), name(other));
    }
    files.paths
}

/// Counts inputs that cannot be read, or not whole, and says so of each.
#[derive(Default)]
pub(crate) struct Unreadable {
    count: u32,
}

impl Unreadable {
    /// Says so of one.
    pub(crate) fn say(&mut self, error: &InputError) {
        self.count += 1;
        eprintln!("seawall: {}", escape(error.to_string().as_bytes()));
    }

    /// The exit code of a command that went on past them.
    pub(crate) fn exit_code(&self) -> std::process::ExitCode {
        if self.count == 0 { std::process::ExitCode::SUCCESS } else { super::failure::UNREADABLE.into() }
    }
}

/// The expression that was given with `option`.
pub(crate) fn expression(option: &str, text: &str, usage: Use, lists: &Lists) -> Result<Expression, Failure> {
    Expression::parse(text, usage, lists).map_err(|error| {
        let line = text.split('\n').nth(error.line - 1).unwrap_or_default();
        let message = message(&error, lists);
        Failure::usage(format!("{option}, column {}: {message}\n{}", error.column, excerpt(line, error.column)))
    })
}

/// What is wrong, with where the list `sites` comes from for whoever misses it.
pub(crate) fn message(error: &ExpressionError, lists: &Lists) -> String {
    match &error.problem {
        Problem::UnknownList { name, .. } if name == SITES && !lists.contains(SITES) => {
            format!("there is no list `{SITES}`; it holds the hosts of the configuration that --config names")
        }
        problem => problem.to_string(),
    }
}
