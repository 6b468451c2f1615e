//! `seawall panic`

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::ExitCode;

use seawall_engine::units::counted;

use super::guard::Guard;
use super::output::{print, print_json};
use super::{Failure, edge};
use crate::daemon::{LEFT_NAME, PANIC_NAME, PanicAsked};
use crate::enforcement::edge::Left;
use crate::enforcement::{Panicked, Removed, remove_tables};
use crate::record::Action;
use crate::show::text::escape;

/// Take every rule and ban out of every layer, at once.
///
/// For when the guard hurts the wrong ones and there is no time to find out why. Traffic is served as if there were no rules
/// until you say that it goes on; also after a restart. Works without a running guard too: then what one left in the kernel and
/// at the CDN is removed, and what another guard has that runs is left to it; where another user ran it, the command for the CDN is
/// named instead.
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

    /// The nftables table, where no guard answers and none has noted in its state directory which one it had.
    #[arg(long, value_name = "NAME")]
    table: Option<String>,

    /// Print what became of it as JSON.
    #[arg(long)]
    json: bool,
}

/// What was done without a guard, for programs.
#[derive(Default, serde::Serialize)]
struct Unanswered {
    /// Always false.
    guard: bool,
    /// What was removed from the kernel, for people.
    kernel: Option<String>,
    /// What was taken out of the CDN, for people, where the guard had left anything there.
    edge: Option<String>,
    /// Whether the next guard finds noted that everything is out, or no longer.
    noted: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let asked: Result<Panicked, Failure> = arguments.guard.ask_with("/v1/panic", &PanicAsked { on: !arguments.over });
    let json = arguments.json;
    if let Ok(panicked) = &asked
        && json
    {
        print_json(panicked)?;
    }
    let say = |text: &str| if json { Ok(()) } else { print(text) };
    match asked {
        Ok(Panicked { is_none: true, .. }) if arguments.over => {
            return Err(Failure::negative("there was no panic: rules and bans are in force as they were"));
        }
        Ok(Panicked { unkept, .. }) if arguments.over => {
            say("Rules and bans are in force again.\n")?;
            kept(unkept)?;
        }
        Ok(Panicked { rules, bans, milliseconds, edge_milliseconds, remains, unkept, .. }) => {
            let (rules, bans) = (counted(rules as u64, "rule"), counted(bans as u64, "ban"));
            if let Some(remains) = remains {
                let unkept = unkept.map(|unkept| format!("\n{unkept}")).unwrap_or_default();
                return Err(Failure::machine(format!(
                    "the guard itself refuses nobody any more ({rules}, {bans}), but {remains}; the guard goes on trying, and `seawall \
                     status` shows when it is gone{unkept}"
                )));
            }
            let at_edge = edge_milliseconds.map(|time| format!(", at the CDN after {time} ms")).unwrap_or_default();
            say(&format!(
                "Everything is out, after {milliseconds} ms{at_edge}: {rules} and {bans} no longer in force.\n"
            ))?;
            kept(unkept)?;
            say("It stays so until `seawall panic --over`.\n")?;
        }
        Err(unanswered) => return without_guard(arguments, unanswered),
    }
    Ok(ExitCode::SUCCESS)
}

/// What was asked for is done; a restart undoes it where the guard could not note it.
fn kept(unkept: Option<String>) -> Result<(), Failure> {
    unkept.map_or(Ok(()), |unkept| Err(Failure::machine(format!("it is done, but {unkept}"))))
}

/// The guard does not answer: what it left in the kernel and at the CDN is removed, and it will find the panic noted when it starts.
fn without_guard(arguments: &Arguments, unanswered: Failure) -> Result<ExitCode, Failure> {
    let json = arguments.json;
    let say = |text: &str| if json { Ok(()) } else { print(text) };
    let state = arguments.guard.state();
    let note = state.join(PANIC_NAME);
    if arguments.over {
        if std::fs::remove_file(&note).is_err() {
            return Err(unanswered);
        }
        edge::journal(state, Action::Resume, "no guard was running");
        say("No guard is running; when one starts, rules and bans are in force.\n")?;
        if json {
            print_json(&Unanswered { noted: true, ..Unanswered::default() })?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let noted = std::fs::write(&note, "");
    let mut wrong = Vec::new();
    let of_kernel = match remove_tables(arguments.table.as_deref(), state) {
        Ok(Removed { removed, held, failed }) => {
            let names: Vec<String> = removed.iter().map(|table| format!("inet {table}")).collect();
            let removed = match names.as_slice() {
                [] if held.is_empty() && failed.is_empty() => "there was no table of it".to_owned(),
                [] => "nothing was removed".to_owned(),
                names => format!("removed {}", names.join(", ")),
            };
            wrong.extend(held.iter().map(|(table, state)| {
                let state = escape(state.as_bytes());
                format!(
                    "the table inet {table} is of a guard that runs and was left to it: seawall panic --state {state}"
                )
            }));
            wrong.extend(failed);
            removed
        }
        Err(reason) => {
            wrong.push(format!("failed to look at the kernel's tables: {reason}"));
            "its tables could not be looked at".to_owned()
        }
    };
    say(&format!("No guard answers. In the kernel: {of_kernel}.\n"))?;
    // Last, since it may take its time.
    let at_edge = at_edge(state);
    if let Ok(Some(words)) = &at_edge {
        say(&format!("At the CDN: {words}.\n"))?;
    }
    let words = at_edge.as_ref().map(|words| words.as_ref().map(|words| format!("; {words}")).unwrap_or_default());
    let words = words.unwrap_or_else(|_| "; what is at the CDN was left there".to_owned());
    edge::journal(state, Action::Panic, &format!("no guard was running; in the kernel: {of_kernel}{words}"));
    let is_noted = noted.is_ok();
    if json {
        let edge = at_edge.as_ref().ok().cloned().flatten();
        print_json(&Unanswered { guard: false, kernel: Some(of_kernel), edge, noted: is_noted })?;
    }
    if is_noted {
        say("When a guard starts there, nothing is in force until `seawall panic --over`.\n")?;
        if wrong.is_empty() {
            // What a guard could not take out when it stopped is out now.
            let _ = std::fs::remove_file(state.join(LEFT_NAME));
        }
    }
    if let Err(failure) = at_edge {
        if wrong.is_empty() && is_noted {
            return Err(failure);
        }
        failure.report();
    }
    match wrong.is_empty() {
        true if is_noted => Ok(ExitCode::SUCCESS),
        true => Err(unanswered),
        false => Err(Failure::negative(wrong.join("\n"))),
    }
}

/// Takes out what the guard left at a CDN, and says what that was; nothing where it left nothing.
fn at_edge(state: &Path) -> Result<Option<String>, Failure> {
    let Some((Left { provider, config }, is_own)) = Left::of(state) else { return Ok(None) };
    let (provider, file) = (escape(provider.as_bytes()), escape(config.as_os_str().as_bytes()));
    let left = |why: &str| {
        Failure::machine(format!(
            "what the guard left at {provider} is still refused there: {why}; \
             `seawall edge clear --config {file}` takes it out"
        ))
    };
    if !is_own {
        let note = "the note of it in the state directory is another user's, whose word this one does not follow";
        return Err(left(note));
    }
    let words = edge::clear(&config).map_err(|failure| left(&failure.to_string()))?;
    if let Err(error) = Left::forget(state) {
        eprintln!("seawall: failed to note that nothing is left at {provider}: {error}");
    }
    Ok(Some(words))
}
