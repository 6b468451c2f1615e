//! `seawall reload`

use std::process::ExitCode;

use http::Method;

use super::Failure;
use super::guard::Guard;
use super::output::print;
use crate::daemon::Reloaded;

/// Have a running guard read its configuration again. No connection is dropped. When anything in the configuration is
/// wrong, every problem is printed and everything stays as it was.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seawall check --config /etc/seawall.toml && seawall reload")]
pub(crate) struct Arguments {
    #[command(flatten)]
    guard: Guard,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let reloaded: Reloaded = arguments.guard.ask(Method::POST, "/v1/reload")?;
    let listening: Vec<String> = reloaded.listening.iter().map(ToString::to_string).collect();
    if listening.is_empty() {
        // Beside another server.
        print("The configuration was read again.\n")?;
        return restart_note(&reloaded);
    }
    let sites = if reloaded.sites == 1 { "1 site".to_owned() } else { format!("{} sites", reloaded.sites) };
    print(&format!("Guarding {sites} on {}.\n", listening.join(", ")))?;
    restart_note(&reloaded)
}

/// Says what does not change before the next start.
fn restart_note(reloaded: &Reloaded) -> Result<ExitCode, Failure> {
    if !reloaded.needs_restart.is_empty() {
        print(&format!("Changed, but in effect only after a restart: {}.\n", reloaded.needs_restart.join(", ")))?;
    }
    Ok(ExitCode::SUCCESS)
}
