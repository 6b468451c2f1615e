//! `seawall panic`

use std::process::ExitCode;

use seawall_engine::units::counted;

use super::Failure;
use super::guard::Guard;
use super::output::print;
use crate::daemon::{LEFT_NAME, PANIC_NAME, PanicAsked};
use crate::enforcement::{Panicked, Removed, remove_tables};
use crate::show::text::escape;

/// Take every rule and ban out of every layer, at once.
///
/// For when the guard hurts the wrong ones and there is no time to find out why. Traffic is served as if there were no rules
/// until you say that it goes on; also after a restart. Works without a running guard too: then what one left in the kernel
/// is removed, and what another guard has that runs is left to it. What one left at a CDN `seawall edge clear --config FILE` removes.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  seawall panic
  seawall panic --over")]
pub(crate) struct Arguments {
    #[command(flatten)]
    guard: Guard,

    /// Go on: rules and bans are in force again.
    #[arg(long)]
    over: bool,

    /// The nftables table, if the configuration names another.
    #[arg(long, value_name = "NAME", default_value = "seawall")]
    table: String,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let asked: Result<Panicked, Failure> = arguments.guard.ask_with("/v1/panic", &PanicAsked { on: !arguments.over });
    match asked {
        Ok(_) if arguments.over => print("Rules and bans are in force again.\n")?,
        Ok(Panicked { rules, bans, milliseconds, remains }) => {
            let (rules, bans) = (counted(rules as u64, "rule"), counted(bans as u64, "ban"));
            if let Some(remains) = remains {
                return Err(Failure::machine(format!(
                    "the proxy refuses nobody any more ({rules}, {bans}), but {remains}; the guard goes on trying, and `seawall \
                     status` shows when it is gone. By hand: nft delete table inet NAME"
                )));
            }
            print(&format!(
                "Everything is out, after {milliseconds} ms: {rules} and {bans} no longer in force.\n\
                 It stays so until `seawall panic --over`.\n"
            ))?;
        }
        Err(unanswered) => return without_guard(arguments, unanswered),
    }
    Ok(ExitCode::SUCCESS)
}

/// The guard does not answer: what it left in the kernel is removed, and it will find the panic noted when it starts.
fn without_guard(arguments: &Arguments, unanswered: Failure) -> Result<ExitCode, Failure> {
    let note = arguments.guard.state().join(PANIC_NAME);
    if arguments.over {
        return match std::fs::remove_file(&note) {
            Ok(()) => print("No guard is running; when one starts, rules and bans are in force.\n")
                .map(|()| ExitCode::SUCCESS),
            Err(_) => Err(unanswered),
        };
    }
    let noted = std::fs::write(&note, "");
    let mut wrong = Vec::new();
    match remove_tables(&arguments.table, arguments.guard.state()) {
        Ok(Removed { removed, held, failed }) => {
            let names: Vec<String> = removed.iter().map(|table| format!("inet {table}")).collect();
            let removed = match names.as_slice() {
                [] if held.is_empty() && failed.is_empty() => "there was no table of it".to_owned(),
                [] => "nothing was removed".to_owned(),
                names => format!("removed {}", names.join(", ")),
            };
            print(&format!("No guard answers. In the kernel: {removed}.\n"))?;
            wrong.extend(held.iter().map(|(table, state)| {
                let state = escape(state.as_bytes());
                format!(
                    "the table inet {table} is of a guard that runs and was left to it: seawall panic --state {state}"
                )
            }));
            wrong.extend(failed);
        }
        Err(reason) => wrong.push(format!("failed to look at the kernel's tables: {reason}")),
    }
    if noted.is_err() {
        return if wrong.is_empty() { Err(unanswered) } else { Err(Failure::negative(wrong.join("\n"))) };
    }
    print("When a guard starts there, nothing is in force until `seawall panic --over`.\n")?;
    if !wrong.is_empty() {
        return Err(Failure::negative(wrong.join("\n")));
    }
    // What a guard could not take out when it stopped is out now.
    let _ = std::fs::remove_file(arguments.guard.state().join(LEFT_NAME));
    Ok(ExitCode::SUCCESS)
}
