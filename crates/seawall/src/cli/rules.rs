//! `seawall rules`

use std::process::ExitCode;

use clap::Subcommand;
use http::Method;
use seawall_engine::decision::RuleStatus;

use super::Failure;
use super::guard::Guard;
use super::output::print;
use crate::show::status;

/// Look at the rules of a running guard, and take them back.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  seawall rules list\n  seawall rules remove R12")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the rules: proposed, in shadow, in force, and retired ones that are remembered.
    #[command(after_help = "Example:\n  seawall rules list --json")]
    List {
        #[command(flatten)]
        guard: Guard,
        /// Print everything as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take a rule back. The same rule is not made again for a day.
    #[command(after_help = "Example:\n  seawall rules remove R12")]
    Remove {
        /// The number of the rule, as R12 or 12.
        #[arg(value_name = "RULE")]
        rule: String,
        #[command(flatten)]
        guard: Guard,
    },
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    match &arguments.command {
        Command::List { guard, json } => {
            let rules: Vec<RuleStatus> = guard.ask(Method::GET, "/v1/rules")?;
            if *json {
                let text = serde_json::to_string_pretty(&rules).map_err(Failure::machine)?;
                print(&format!("{text}\n"))?;
            } else if rules.is_empty() {
                print("There are no rules.\n")?;
            } else {
                for rule in &rules {
                    print(&format!("{}\n   {}\n", status::rule(rule).join("\n"), rule.reason))?;
                }
            }
        }
        Command::Remove { rule, guard } => {
            let id: u32 = rule.trim_start_matches(['R', 'r']).parse().map_err(|_| {
                Failure::usage(format!(
                    "'{rule}' is no rule; a rule is named by its number, as R12 in `seawall rules list`"
                ))
            })?;
            let removed: RuleStatus = guard.ask(Method::DELETE, &format!("/v1/rules/{id}"))?;
            print(&format!("Took back {}: {}\n", removed.id, removed.text))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
