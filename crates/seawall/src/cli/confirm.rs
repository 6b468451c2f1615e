//! `seawall confirm`

use std::process::ExitCode;

use super::Failure;
use super::guard::Guard;
use super::output::{print, print_json};
use crate::enforcement::Confirmed;

/// Let stay what was done with `--confirm`.
///
/// A change that was made with `--confirm 60s` is undone after that time unless this is said before: whoever has locked himself
/// out cannot say it, and is let in again. Bans and rules are undone when the guard stops, too; a changed configuration is not: the
/// next start reads the file, which has it.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seawall bans add 203.0.113.0/24 --for 1h --confirm 60s && seawall confirm")]
pub(crate) struct Arguments {
    #[command(flatten)]
    guard: Guard,

    /// Print what became of it as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let confirmed: Confirmed = arguments.guard.ask(http::Method::POST, "/v1/confirm")?;
    if arguments.json {
        print_json(&confirmed)?;
    }
    let Confirmed { changes } = confirmed;
    if changes == 0 {
        return Err(Failure::negative(
            "nothing waits to be confirmed; bans and rules that were not confirmed in time, or before the guard stopped, are undone, and so \
             is a configuration that was not confirmed in time; but one that waited when the guard stopped is in force since the next start",
        ));
    }
    if !arguments.json {
        print(&format!("Confirmed {changes} {}.\n", if changes == 1 { "change" } else { "changes" }))?;
    }
    Ok(ExitCode::SUCCESS)
}
