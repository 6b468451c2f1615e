//! `seawall report`

use std::process::ExitCode;

use super::Failure;

/// (to be written)
#[derive(clap::Args)]
pub(crate) struct Arguments {}

/// Runs the command.
pub(crate) fn run(_arguments: &Arguments) -> Result<ExitCode, Failure> {
    Err(Failure::usage("not written yet"))
}
