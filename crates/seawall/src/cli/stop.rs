//! `seawall stop`

use std::process::ExitCode;

use http::Method;

use super::Failure;
use super::guard::Guard;

/// Stop a running guard: it takes no new visitors and waits for those under way, as on SIGTERM.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seawall stop")]
pub(crate) struct Arguments {
    #[command(flatten)]
    guard: Guard,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    arguments.guard.tell(Method::POST, "/v1/stop")?;
    Ok(ExitCode::SUCCESS)
}
