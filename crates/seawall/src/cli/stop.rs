//! `seawall stop`

use std::process::ExitCode;
use std::time::Duration;

use http::Method;

use super::Failure;
use super::guard::Guard;
use super::output::print;
use crate::daemon::LEFT_NAME;
use crate::show::text::escape;

/// How often it is looked whether the guard still answers.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Stop a running guard, as SIGTERM does: it takes no new visitors and waits for those under way. Returns once it has
/// stopped; with exit code 4 when it had to leave its table in the kernel.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seawall stop")]
pub(crate) struct Arguments {
    #[command(flatten)]
    guard: Guard,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    arguments.guard.tell(Method::POST, "/v1/stop")?;
    print("Stopping: whoever is under way is waited for.\n")?;
    // The guard bounds its drain itself (limits.drain-time-max).
    while arguments.guard.answers() {
        std::thread::sleep(POLL_INTERVAL);
    }
    if let Ok(left) = std::fs::read_to_string(arguments.guard.state().join(LEFT_NAME)) {
        let what = "`seawall panic` tries again, and who is in it is free within ten minutes";
        return Err(Failure::machine(format!("it has stopped, but {}; {what}", escape(left.as_bytes()))));
    }
    print("Stopped.\n")?;
    Ok(ExitCode::SUCCESS)
}
