//! `seawall drill`

use std::fs;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Failure;
use super::output::print;
use crate::drill::{Drill, DrillError, Options, Progress, render};

const EXAMPLES: &str = "\
Examples:
  seawall drill list                              what there is
  seawall drill cacert                            one program asks for one file, again and again
  seawall drill cacert --without-guard            the same without a guard, to see the difference
  sudo seawall drill announce --kernel            the guard may drop clients in nftables
  seawall drill clock --json                      one object, for scripts
  seawall drill --scenario examples/scenario.toml your own

A drill starts its own guard and its own origin on loopback and sends nothing to any other address.
It exits with 0 only if every target of the scenario holds.";

/// Replays a real flood against a guard on this machine, and says what became of every request.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The drill to hold, or `list` for what there is
    #[arg(value_name = "NAME", required_unless_present = "scenario", conflicts_with = "scenario")]
    name: Option<String>,
    /// A scenario of your own (TOML; the format is in docs/drills.md)
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Another seed than the scenario's: other addresses, times and texts of the same kinds
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// Send straight to the origin, to see what happens without a guard
    #[arg(long)]
    without_guard: bool,
    /// Let the guard use nftables, in a network namespace of the drill's own; needs root
    #[arg(long, conflicts_with = "without_guard")]
    kernel: bool,
    /// Leave the folder with the guard's configuration, log and state behind, and say where
    #[arg(long)]
    keep: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let drill = match (&arguments.scenario, arguments.name.as_deref()) {
        (Some(file), _) => {
            let text = fs::read_to_string(file).map_err(|error| {
                Failure::machine(format!("failed to read the scenario {}: {error}", file.display()))
            })?;
            Drill::parse(&text, &file.display().to_string()).map_err(failure)?
        }
        (None, Some("list")) => return list(arguments.json),
        (None, name) => Drill::named(name.unwrap_or_default()).map_err(failure)?,
    };
    let program = std::env::current_exe()
        .map_err(|error| Failure::machine(format!("failed to find the program itself, which is the guard: {error}")))?;
    let options = Options {
        seed: arguments.seed,
        guarded: !arguments.without_guard,
        kernel: arguments.kernel,
        keep: arguments.keep,
        program,
    };
    let bar = progress_bar(&drill);
    let mut kept = None;
    let outcome = drill.hold(&options, |progress| match progress {
        Progress::Preparing(what) => bar.set_message(format!("preparing: {what}")),
        Progress::Running { elapsed, sent, served, refused, connections } => {
            bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
            bar.set_message(format!("{sent} sent, {served} served, {refused} refused, {connections} open"));
        }
        Progress::Kept(folder) => kept = Some(folder),
    });
    bar.finish_and_clear();
    if let Some(folder) = kept {
        eprintln!("seawall: the drill's folder is {}", folder.display());
    }
    let outcome = outcome.map_err(failure)?;
    let text = if arguments.json {
        let object = serde_json::to_string_pretty(&outcome);
        object.map_err(|error| Failure::machine(format!("failed to write the outcome as JSON: {error}")))? + "\n"
    } else {
        render(&outcome)
    };
    print(&text)?;
    if outcome.holds() {
        return Ok(ExitCode::SUCCESS);
    }
    let missed = outcome.targets.iter().filter(|target| !target.met).count();
    let valid = if outcome.valid { "" } else { "; the run is not valid" };
    Err(Failure::negative(format!("{missed} of {} targets missed{valid}", outcome.targets.len())))
}

fn list(json: bool) -> Result<ExitCode, Failure> {
    let drills = Drill::built_in();
    if json {
        let entry = |drill: &Drill| {
            serde_json::json!({
                "name": drill.name(),
                "incident": drill.incident(),
                "duration_seconds": drill.duration().as_secs_f64(),
            })
        };
        let entries: Vec<_> = drills.iter().map(entry).collect();
        print(&format!("{:#}\n", serde_json::Value::Array(entries)))?;
    } else {
        for drill in drills {
            print(&format!("{:<15} {:>4} s  {}\n", drill.name(), drill.duration().as_secs(), drill.incident()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// On standard error, and only where somebody looks.
fn progress_bar(drill: &Drill) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let milliseconds = u64::try_from(drill.duration().as_millis()).unwrap_or(u64::MAX);
    let bar = ProgressBar::with_draw_target(Some(milliseconds), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:30}] {percent:>3}%  {msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(drill.name().to_owned());
    bar
}

fn failure(error: DrillError) -> Failure {
    match error {
        DrillError::Scenario(_) => Failure::invalid(error),
        DrillError::Unknown(_) | DrillError::Impossible(_) => Failure::usage(error),
        _ => Failure::machine(error),
    }
}
