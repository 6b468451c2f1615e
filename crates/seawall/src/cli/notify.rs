//! `seawall notify`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Failure;
use super::guard::Guard;
use super::output::print;
use crate::config::{self, Environment};
use crate::host::clock::Clock;
use crate::show::notify::{self, Trial};
use crate::show::text::escape;

/// Try whether those who are to be told of what happens are reached.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seawall notify test")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send a trial message to everybody in [[notify]], and say who has taken it. Ends with 1 when somebody has not.
    #[command(after_help = "\
Examples:
  seawall notify test                                # as the running guard would
  seawall notify test --name phone --json
  seawall notify test --config /etc/seawall.toml     # from here, without a guard")]
    Test {
        /// Only the one of this name.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Send it from here, as this configuration says, rather than have the running guard send it.
        #[arg(long, value_name = "FILE", conflicts_with = "state")]
        config: Option<PathBuf>,
        /// Print what became of each as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        guard: Guard,
    },
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Command::Test { name, config, json, guard } = &arguments.command;
    let trials = match config {
        Some(path) => {
            // It may be one for `watch`, which needs no site.
            let environment = Environment { beside: true, ..Environment::of_process() };
            notify::test(&config::load_in(path, &environment)?, name.as_deref(), Clock::start())
        }
        None => {
            let query = name.as_ref().map(|name| format!("?name={}", utf8_percent_encode(name, NON_ALPHANUMERIC)));
            guard.ask(Method::POST, &format!("/v1/notify/test{}", query.unwrap_or_default()))?
        }
    };
    if *json {
        let text = serde_json::to_string_pretty(&trials).map_err(Failure::machine)?;
        print(&format!("{text}\n"))?;
    } else {
        print(&trials.iter().map(line).collect::<String>())?;
    }
    if trials.is_empty() {
        return Err(Failure::invalid(match name {
            Some(name) => format!("no [[notify]] has the name {name:?}"),
            None => {
                "the configuration has no [[notify]]; add one with command = [\"/PATH\"] or url = \"https://…\"".into()
            }
        }));
    }
    let failed = trials.iter().filter(|trial| trial.error.is_some()).count();
    if failed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::negative(format!("{failed} of {} did not take the message", trials.len())))
}

fn line(trial: &Trial) -> String {
    let result = trial.error.as_ref().map_or("took the message", |error| error);
    let text = format!("{} ({}): {result}", trial.name, trial.to);
    format!("{}\n", escape(text.as_bytes()))
}
