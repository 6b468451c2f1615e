//! `seawall journal`

use std::path::PathBuf;
use std::process::ExitCode;

use super::Failure;
use super::output::print;
use crate::config::Environment;
use crate::privacy::{KeyStore, RETENTION_DAYS_MAX};
use crate::record::{JournalLine, Reader, RecordError, Situation};
use crate::show::text::escape;
use crate::show::time::date_and_time;

/// Show what was done, by whom or what, and what changed after it.
///
/// Read from the record in the state directory, also when no guard runs. Below an action, and what detection decided, stands how the
/// traffic was when it was done and a minute later: requests a second, of these failed (no answer of the site, or 5xx) and refused
/// (beside a server: that rules would have refused), and the processor. Where the guard was started anew in between, it is what was counted in that minute, or what came as soon as the
/// guard was back.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  seawall journal
  seawall journal --last 5 --json")]
pub(crate) struct Arguments {
    /// How many entries, the latest.
    #[arg(long, value_name = "NUMBER", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    last: u32,

    /// Print them as JSON.
    #[arg(long)]
    json: bool,

    /// The state directory of the guard.
    #[arg(long, value_name = "DIR", default_value_os_t = Environment::of_process().default_state_directory())]
    state: PathBuf,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let reader = open(&arguments.state)?;
    // Which keys are there decides of whom it can be told; none is deleted here.
    let keys = KeyStore::open(&arguments.state, RETENTION_DAYS_MAX).ok();
    let lines = reader.journal(arguments.last, keys).map_err(Failure::machine)?;
    if arguments.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&lines).map_err(Failure::machine)?))?;
    } else if lines.is_empty() {
        print("Nothing has been done.\n")?;
    } else {
        print(&lines.iter().map(line).collect::<String>())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The record of a state directory.
pub(super) fn open(state: &std::path::Path) -> Result<Reader, Failure> {
    Reader::open(state).map_err(|error| match error {
        RecordError::Missing { .. } => Failure::no_guard(error),
        _ => Failure::machine(error),
    })
}

fn line(line: &JournalLine) -> String {
    let at = date_and_time(line.at);
    // What rules are about comes from outside; it was escaped once, and a damaged file may hold anything.
    let mut text = format!(
        "{at}  {:8}  {:14}  {}\n",
        escape(line.actor.as_bytes()),
        escape(line.action.as_bytes()),
        escape(line.detail.as_bytes())
    );
    if let Some(before) = line.before
        && (before.requests > 0.0 || line.after.is_some_and(|after| after.requests > 0.0))
    {
        text += &format!("{:indent$}{}\n", "", change(before, line.after), indent = at.len() + 2);
    }
    text
}

/// What changed; a `?` stands for what is not known.
fn change(before: Situation, after: Option<Situation>) -> String {
    let rate = |name: &str, rate: fn(&Situation) -> Option<f64>| {
        let shown = |rate: Option<f64>| rate.map_or_else(|| "?".to_owned(), |rate| format!("{rate:.1}"));
        format!("{name} {} -> {}/s", shown(rate(&before)), shown(after.as_ref().and_then(rate)))
    };
    let share = |situation: Option<&Situation>| {
        let share = situation.and_then(|situation| situation.cpu_used);
        share.map_or_else(|| "?".to_owned(), |share| format!("{:.0}", 100.0 * share))
    };
    // Beside a server, which refuses for the guard once it is told to.
    let beside =
        before.would_refuse.map(|_| rate("would have been refused", |situation| situation.would_refuse) + ", ");
    format!(
        "{}, {}, {}, {}processor {} -> {}%",
        rate("requests", |situation| Some(situation.requests)),
        rate("failed", |situation| Some(situation.failed)),
        rate("refused", |situation| Some(situation.refused)),
        beside.unwrap_or_default(),
        share(Some(&before)),
        share(after.as_ref())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_of_the_minute_after_is_a_question_mark() {
        let now = Situation { requests: 812.5, served: 640.0, failed: 172.5, ..Situation::default() };
        let before = Situation { cpu_used: Some(0.97), ..now };
        let after = Situation { requests: 790.0, served: 2.0, refused: 788.0, ..Situation::default() };
        assert_eq!(
            change(before, Some(after)),
            "requests 812.5 -> 790.0/s, failed 172.5 -> 0.0/s, refused 0.0 -> 788.0/s, processor 97 -> ?%"
        );
        assert_eq!(
            change(before, None),
            "requests 812.5 -> ?/s, failed 172.5 -> ?/s, refused 0.0 -> ?/s, processor 97 -> ?%"
        );
    }

    #[test]
    fn beside_a_server_it_is_said_what_would_have_been_refused() {
        let before = Situation { requests: 812.5, would_refuse: Some(0.0), ..Situation::default() };
        let after = Situation { requests: 790.0, would_refuse: Some(788.0), ..Situation::default() };
        assert_eq!(
            change(before, Some(after)),
            "requests 812.5 -> 790.0/s, failed 0.0 -> 0.0/s, refused 0.0 -> 0.0/s, would have been refused 0.0 -> 788.0/s, processor ? -> ?%"
        );
        let counted = Situation { would_refuse: None, ..after };
        assert!(change(before, Some(counted)).contains("would have been refused 0.0 -> ?/s"));
    }
}
