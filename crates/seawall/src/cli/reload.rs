//! `seawall reload`

use std::process::ExitCode;
use std::time::Duration;

use http::Method;

use super::Failure;
use super::bans::duration;
use super::guard::Guard;
use super::output::print;
use crate::config::quantity::show_duration;
use crate::daemon::Reloaded;
use crate::show::text::escape;

/// Have a running guard read its configuration again. No connection is dropped. When anything in the configuration is
/// wrong, every problem is printed and everything stays as it was.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  seawall check --config /etc/seawall.toml && seawall reload
  seawall reload --confirm 60s    and `seawall confirm`, or the configuration of before comes back")]
pub(crate) struct Arguments {
    /// Go back to the configuration of before after this time unless `seawall confirm` is said before. The file stays as it is: `seawall
    /// reload` or the next start puts it in force, also a start within this time; SIGHUP does not until it is changed.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    confirm: Option<Duration>,

    #[command(flatten)]
    guard: Guard,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let path = match arguments.confirm {
        Some(time) => format!("/v1/reload?confirm_seconds={}", time.as_secs()),
        None => "/v1/reload".to_owned(),
    };
    let reloaded: Reloaded = arguments.guard.ask(Method::POST, &path)?;
    let listening: Vec<String> = reloaded.listening.iter().map(ToString::to_string).collect();
    if listening.is_empty() {
        // Beside another server.
        print("The configuration was read again.\n")?;
        return notes(&reloaded, arguments.confirm);
    }
    let sites = if reloaded.sites == 1 { "1 site".to_owned() } else { format!("{} sites", reloaded.sites) };
    print(&format!("Guarding {sites} on {}.\n", listening.join(", ")))?;
    notes(&reloaded, arguments.confirm)
}

/// Says what does not change before the next start, and what comes back.
fn notes(reloaded: &Reloaded, confirm: Option<Duration>) -> Result<ExitCode, Failure> {
    if !reloaded.needs_restart.is_empty() {
        print(&format!("Changed, but in effect only after a restart: {}.\n", reloaded.needs_restart.join(", ")))?;
    }
    for warning in &reloaded.warnings {
        print(&format!("Note: {}.\n", escape(warning.as_bytes())))?;
    }
    if let (Some(_), Some(time)) = (reloaded.confirm_until, confirm) {
        let time = show_duration(time);
        print(&format!("Say `seawall confirm` within {time}, or the configuration of before comes back.\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
