//! `seawall edge`

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use http::Method;

use super::Failure;
use super::guard::Guard;
use super::output::print;
use crate::config::{self, Environment};
use crate::daemon::Snapshot;
use crate::enforcement::edge::{self, Left, PlanView, RuleView};
use crate::host::clock::{Clock, wall_clock};
use crate::record::{self, Action};
use crate::show::status;
use crate::show::text::escape;

/// See and change what the CDN in front of the guard refuses: Cloudflare or Fastly, as `[edge]` in the configuration says.
///
/// By default the guard only says what it would do there. docs/edge.md tells what is needed first.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  seawall edge plan
  seawall edge apply && seawall edge status")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Read what is there, and say what would be done.
    #[command(after_help = "\
Examples:
  seawall edge plan
  seawall edge plan --json | jq .rules_added
  seawall edge plan --config /etc/seawall.toml   # without a guard: what one has left there")]
    Plan {
        #[command(flatten)]
        doer: Doer,
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Do it, once. A guard with use = "on" does it by itself.
    #[command(after_help = "Example:\n  seawall edge plan && seawall edge apply")]
    Apply {
        #[command(flatten)]
        guard: Guard,
        /// Print what was done as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say how it is: what is there, what is left out and why, what failed.
    #[command(after_help = "Example:\n  seawall edge status")]
    Status {
        #[command(flatten)]
        guard: Guard,
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take everything of the guard's out of the CDN.
    ///
    /// A running guard then leaves it alone until `seawall edge apply` or its next start. With --config, without a guard: for what a
    /// killed one has left, since nothing ends there by itself.
    #[command(after_help = "\
Examples:
  seawall edge clear
  seawall edge clear --config /etc/seawall.toml")]
    Clear {
        #[command(flatten)]
        doer: Doer,
        /// Print what was taken out as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make what has to be there first: for Fastly, a new version of the service.
    ///
    /// The active version is copied, two access lists and an empty dynamic snippet are added, and the copy is checked and
    /// activated. Cloudflare needs nothing.
    #[command(after_help = "Example:\n  seawall edge set-up --config /etc/seawall.toml")]
    SetUp {
        #[command(flatten)]
        doer: Doer,
    },
}

/// Who does it: the running guard, or this process in its stead.
#[derive(clap::Args)]
struct Doer {
    #[command(flatten)]
    guard: Guard,
    /// Do it from here, as this configuration says, rather than have the running guard do it.
    #[arg(long, value_name = "FILE", conflicts_with = "state")]
    config: Option<PathBuf>,
}

impl Doer {
    /// Has it done by the guard, or from here.
    fn ask<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        from_here: impl FnOnce(&config::Edge, Clock) -> Result<T, String>,
    ) -> Result<T, Failure> {
        match &self.config {
            None => self.guard.ask(Method::POST, path),
            Some(file) => from_here(&settings(file)?.0, Clock::start()).map_err(Failure::machine),
        }
    }

    /// The same with what changes something there, which the journal of the guard's record is told; a running guard tells it itself.
    fn act<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        action: Action,
        from_here: impl FnOnce(&config::Edge, Clock) -> Result<T, String>,
        words: impl FnOnce(&T) -> String,
    ) -> Result<T, Failure> {
        let done = self.ask(path, from_here)?;
        if let Some(file) = &self.config {
            let (_, state_directory) = settings(file)?;
            journal(&state_directory, action, &words(&done));
            if action == Action::EdgeClear {
                Left::forget(&state_directory).map_err(Failure::machine)?;
            }
        }
        Ok(done)
    }
}

/// The CDN of a configuration, and its state directory.
fn settings(file: &Path) -> Result<(config::Edge, PathBuf), Failure> {
    // It may be one for `watch`, which needs no site.
    let environment = Environment { beside: true, ..Environment::of_process() };
    let config = config::load_in(file, &environment)?;
    let off = || Failure::invalid(format!("{} names no CDN; add `provider` in [edge]", file.display()));
    Ok((config.edge.ok_or_else(off)?, config.state_directory))
}

/// Takes what is left at a CDN out, as a configuration says, and gives the words of it.
pub(super) fn clear(file: &Path) -> Result<String, Failure> {
    let gone = edge::clear_without_guard(&settings(file)?.0, Clock::start()).map_err(Failure::machine)?;
    Ok(gone.done(0, 0))
}

/// Tells the journal of a guard that does not run what was done in its stead. It is done whether or not that can be written.
pub(super) fn journal(state_directory: &Path, action: Action, detail: &str) {
    if let Err(error) = record::journal_without_guard(state_directory, action, detail, wall_clock()) {
        eprintln!("seawall: it is not in the journal: {error}");
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    match &arguments.command {
        Command::Plan { doer, json } => {
            let plan = doer.ask("/v1/edge/plan", edge::plan_without_guard)?;
            show(&plan, *json, |plan| said(plan, ["would add", "would change", "would remove"]))?;
        }
        Command::Apply { guard, json } => {
            let done: PlanView = guard.ask(Method::POST, "/v1/edge/apply")?;
            show(&done, *json, |plan| said(plan, ["added", "changed", "removed"]))?;
        }
        Command::Status { guard, json } => {
            let snapshot: Snapshot = guard.ask(Method::GET, "/v1/status")?;
            show(&snapshot.edge, *json, status::edge_in_full)?;
        }
        Command::Clear { doer, json } => {
            let words = |gone: &PlanView| gone.done(0, 0);
            let gone = doer.act("/v1/edge/clear", Action::EdgeClear, edge::clear_without_guard, words)?;
            show(&gone, *json, |plan| said(plan, ["added", "changed", "removed"]))?;
        }
        Command::SetUp { doer } => {
            let done = doer.act("/v1/edge/set-up", Action::EdgeSetUp, edge::set_up_without_guard, String::clone)?;
            print(&format!("{done}\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show<T: serde::Serialize>(value: &T, json: bool, text: impl FnOnce(&T) -> String) -> Result<(), Failure> {
    if !json {
        return print(&text(value));
    }
    let text = serde_json::to_string_pretty(value).map_err(Failure::machine)?;
    print(&format!("{text}\n"))
}

/// A plan, or what was done of it, by the words for adding, changing and removing.
fn said(plan: &PlanView, [add, change, remove]: [&str; 3]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for (count, word, what) in [
        (plan.entries_added, add, ""),
        (plan.entries_renewed, change, " (they last longer or shorter)"),
        (plan.entries_removed, remove, ""),
    ] {
        if count > 0 {
            let entries = if count == 1 { "entry" } else { "entries" };
            let _ = writeln!(text, "{word} {count} {entries} of the list{what}");
        }
    }
    for (rules, word) in [(&plan.rules_added, add), (&plan.rules_changed, change), (&plan.rules_removed, remove)] {
        for RuleView { name, text: rule } in rules {
            let rule = rule.lines().map(|line| format!("    {}\n", escape(line.as_bytes()))).collect::<String>();
            let _ = write!(text, "{word} {}:\n{rule}", escape(name.as_bytes()));
        }
    }
    if text.is_empty() {
        text += "nothing to do\n";
    }
    for left in &plan.left_out {
        let _ = writeln!(text, "left out: {}, since {}", left.what, left.why);
    }
    let foreign = plan.rules_foreign;
    let others = if foreign > 0 { format!(" {foreign} rules of others are left alone.") } else { String::new() };
    let _ = writeln!(text, "{}: {} entries were there.{others}", plan.provider, plan.entries);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforcement::edge::LeftOut;

    #[test]
    fn a_plan_is_read_by_people() {
        let plan = PlanView {
            provider: "Cloudflare".to_owned(),
            entries_added: 2,
            entries_removed: 1,
            entries: 7,
            rules_added: vec![RuleView {
                name: "seawall: R10001".to_owned(),
                text: "(http.user_agent eq \"\u{1b}[2J\")".to_owned(),
            }],
            rules_foreign: 3,
            left_out: vec![LeftOut { what: "R2".to_owned(), why: "header-order is the CDN's own".to_owned() }],
            ..PlanView::default()
        };
        insta::assert_snapshot!(said(&plan, ["would add", "would change", "would remove"]), @r#"
        would add 2 entries of the list
        would remove 1 entry of the list
        would add seawall: R10001:
            (http.user_agent eq "\x1b[2J")
        left out: R2, since header-order is the CDN's own
        Cloudflare: 7 entries were there. 3 rules of others are left alone.
        "#);
        let nothing = PlanView { provider: "Fastly".to_owned(), ..PlanView::default() };
        assert_eq!(said(&nothing, ["", "", ""]), "nothing to do\nFastly: 0 entries were there.\n");
    }
}
