//! `seawall panic`

use std::process::ExitCode;

use seawall_engine::units::counted;

use super::Failure;
use super::guard::Guard;
use super::output::print;
use crate::daemon::{PANIC_NAME, PanicAsked};
use crate::enforcement::{Panicked, remove_tables};

/// Take every rule and ban out of every layer, at once.
///
/// For when the guard hurts the wrong ones and there is no time to find out why. Traffic is served as if there were no rules
/// until you say that it goes on; also after a restart. Works without a running guard too: then what one left in the kernel
/// is removed. What one left at a CDN `seawall edge clear --config FILE` removes.
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
        Ok(Panicked { rules, bans, milliseconds }) => print(&format!(
            "Everything is out, after {milliseconds} ms: {} and {} no longer in force.\n\
             It stays so until `seawall panic --over`.\n",
            counted(rules as u64, "rule"),
            counted(bans as u64, "ban")
        ))?,
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
    match remove_tables(&arguments.table) {
        Ok(tables) => {
            let removed = if tables.is_empty() {
                "there was no table of it".to_owned()
            } else {
                format!("removed {}", tables.join(", "))
            };
            print(&format!("No guard answers. In the kernel: {removed}.\n"))?;
        }
        Err(reason) => eprintln!("seawall: failed to look at the kernel's tables: {reason}"),
    }
    match noted {
        Ok(()) => {
            print("When a guard starts there, nothing is in force until `seawall panic --over`.\n")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(_) => Err(unanswered),
    }
}
