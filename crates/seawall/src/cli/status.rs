//! `seawall status`

use std::process::ExitCode;

use http::Method;

use super::Failure;
use super::guard::Guard;
use super::output::print;
use crate::daemon::Snapshot;
use crate::show::status;

/// The width of a terminal when it cannot be told.
const WIDTH: usize = 100;

/// Show the state of a running guard on one screen.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  watch -n 1 seawall status")]
pub(crate) struct Arguments {
    #[command(flatten)]
    guard: Guard,

    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if arguments.json {
        let value: serde_json::Value = arguments.guard.ask(Method::GET, "/v1/status")?;
        print(&format!("{value:#}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let snapshot: Snapshot = arguments.guard.ask(Method::GET, "/v1/status")?;
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    let width = terminal.or(columns).unwrap_or(WIDTH);
    print(&status::render(&snapshot, width))?;
    Ok(ExitCode::SUCCESS)
}
