//! `seawall confirm`

use std::process::ExitCode;

use super::Failure;
use super::guard::Guard;
use super::output::print;
use crate::enforcement::Confirmed;

/// Let stay what was done with `--confirm`.
///
/// A change that was made with `--confirm 60s` is undone after that time unless this is said before: whoever has locked himself
/// out cannot say it, and is let in again.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seawall bans add 203.0.113.0/24 --for 1h --confirm 60s && seawall confirm")]
pub(crate) struct Arguments {
    #[command(flatten)]
    guard: Guard,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Confirmed { changes } = arguments.guard.ask(http::Method::POST, "/v1/confirm")?;
    if changes == 0 {
        return Err(Failure::negative(
            "nothing waits to be confirmed; what was not confirmed in time, or before the guard stopped, is undone",
        ));
    }
    print(&format!("Confirmed {changes} {}.\n", if changes == 1 { "change" } else { "changes" }))?;
    Ok(ExitCode::SUCCESS)
}
