//! `seawall rules`

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use http::Method;
use seawall_engine::decision::expression::{Expression, Lists, Subject, Use};
use seawall_engine::decision::{Action, RuleId, RuleStatus};
use seawall_engine::observation::attribute::Attribute;
use seawall_engine::silence::NEVER_LOGGED;

use super::Failure;
use super::bans::duration;
use super::guard::Guard;
use super::output::{print, print_json};
use crate::config::quantity::show_duration;
use crate::daemon::{AddedRule, RuleRemoval, RuleRequest, Snapshot, TakenBack, rule_withheld};
use crate::show::standing::Standing;
use crate::show::status;
use crate::show::text::{escape, moment, percent_at_most};

/// Look at the rules of a running guard, put some of your own in force, and take them back.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  seawall rules list\n  seawall rules add 'path = \"/xmlrpc.php\"' --for 2h --confirm 60s\n  seawall rules explain R12\n  seawall rules remove R12"
)]
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
    /// Put a rule of yours in force.
    ///
    /// The rule is conditions with `=`, or `query-keys != none`, joined by `and`; docs/rules.md has the attributes. With --dry-run it is told how much of the
    /// normal traffic that the guard has learned it would hit; `seawall backtest` tells the same from your logs. One that would hit more
    /// than 1%, or of which that is not known, is put in force with --confirm or with --anyway. The same rule said again is in force for
    /// longer.
    #[command(after_help = "\
Examples:
  seawall rules add 'path = \"/xmlrpc.php\"' --dry-run
  seawall rules add 'method = POST and path = \"/xmlrpc.php\"' --for 2h --confirm 60s
  seawall rules add 'user-agent-word = \"BadBot\"' --action throttle --rate 2 --reason 'asks for everything' --anyway")]
    Add {
        /// The rule, as in docs/rules.md.
        #[arg(value_name = "RULE")]
        text: String,
        /// What is done to what it matches.
        #[arg(long, value_enum, default_value_t = Does::Refuse)]
        action: Does,
        /// With --action throttle: how many requests a second are let through.
        #[arg(long, value_name = "NUMBER", default_value_t = 1.0, value_parser = rate)]
        rate: f32,
        /// For how long, as 90s, 10m, 2h or 7d; a year at most.
        #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = duration)]
        duration: Duration,
        /// Why, for whoever looks later.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Take it back after this time unless `seawall confirm` is said before.
        #[arg(long, value_name = "TIME", value_parser = duration)]
        confirm: Option<Duration>,
        /// Only say what it would do to normal traffic; nothing is put in force.
        #[arg(long, conflicts_with = "confirm")]
        dry_run: bool,
        /// Do it even if it hits more than 1% of normal traffic, or it is not known how much.
        #[arg(long)]
        anyway: bool,
        #[command(flatten)]
        guard: Guard,
        /// Print the rule as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Tell everything about a rule: what it does and why, what speaks for it, and what it has done.
    #[command(after_help = "Example:\n  seawall rules explain R12")]
    Explain {
        /// The number of the rule, as R12 or 12.
        #[arg(value_name = "RULE")]
        rule: String,
        #[command(flatten)]
        guard: Guard,
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take a rule back.
    ///
    /// Of one that the guard has found, neither it nor what comes to the same is put in force again until a day after its incident:
    /// neither what everything has that it matched, nor what nothing else has. What is found again is shown by `rules list`, under the
    /// number of the rule. `rules add` with the same conditions ends that, and so does --undo.
    #[command(
        after_help = "Examples:\n  seawall rules remove R12\n  seawall rules remove R12 --for 7d\n  seawall rules remove R12 --undo"
    )]
    Remove {
        /// The number of the rule, as R12 or 12.
        #[arg(value_name = "RULE")]
        rule: String,
        /// For how long the guard is not to put it in force again, as 90s, 10m, 2h or 7d; a year at most.
        #[arg(long = "for", value_name = "TIME", value_parser = duration)]
        duration: Option<Duration>,
        /// Let the guard make it again that was taken back.
        #[arg(long, conflicts_with = "duration")]
        undo: bool,
        /// Why, for whoever looks into the journal later.
        #[arg(long, value_name = "TEXT", conflicts_with = "undo")]
        reason: Option<String>,
        #[command(flatten)]
        guard: Guard,
        /// Print what became of it as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    match &arguments.command {
        Command::List { guard, json } => {
            let snapshot: Snapshot = guard.ask(Method::GET, "/v1/status")?;
            let (rules, standing) = (&snapshot.detection.rules, Standing::of(&snapshot));
            if *json {
                print_json(rules)?;
            } else if rules.is_empty() {
                print("There are no rules.\n")?;
            } else {
                for rule in rules {
                    let lines = status::rule(rule, standing).join("\n");
                    print(&format!("{lines}\n   {}\n", rule.reason))?;
                }
            }
        }
        Command::Add { text, action, rate, duration, reason, confirm, dry_run, anyway, guard, json } => {
            let request = RuleRequest {
                text: text.clone(),
                action: match action {
                    Does::Refuse => Action::Refuse { status: 403 },
                    Does::Throttle => Action::Throttle { rate: *rate },
                    Does::Drop => Action::Drop,
                },
                reason: reason.clone(),
                seconds: duration.as_secs(),
                confirm_seconds: confirm.map(|time| time.as_secs()),
                dry_run: *dry_run,
                anyway: *anyway,
            };
            let added: AddedRule = guard.ask_with("/v1/rules", &request)?;
            if *json {
                print_json(&added)?;
                return Ok(ExitCode::SUCCESS);
            }
            print(&outcome(&added, *duration, *dry_run))?;
            print(&format!("{}\n{SPARED}\n", predicted(&added.rule)))?;
            let standing = standing(guard)?;
            if standing.is_beside() {
                print(&format!("Beside the server {}. {}\n", standing.fate(), on_the_way_to_the_server(text)))?;
            }
            if *dry_run && rule_withheld(&added.rule).is_some() {
                print("It is put in force with --confirm or with --anyway.\n")?;
            }
            if let Some(confirm) = confirm {
                print(&format!("Say `seawall confirm` within {}, or it is taken back.\n", show_duration(*confirm)))?;
            }
        }
        Command::Explain { rule, guard, json } => {
            let id = RuleId(number(rule)?);
            let rules: Vec<RuleStatus> = guard.ask(Method::GET, "/v1/rules")?;
            let rule = rules.iter().find(|rule| rule.id == id);
            let rule = rule.ok_or_else(|| {
                Failure::negative(format!(
                    "there is no rule {id}; `seawall rules list` shows them all, and `seawall journal` what there was"
                ))
            })?;
            if *json {
                print_json(rule)?;
            } else {
                print(&status::rule_in_full(rule, standing(guard)?))?;
            }
        }
        Command::Remove { rule, undo: true, guard, json, .. } => {
            let id = number(rule)?;
            let rule: RuleStatus = guard.ask(Method::DELETE, &format!("/v1/rules/{id}/veto"))?;
            if *json {
                print_json(&rule)?;
            } else {
                print(&format!("The guard may make {} again: {}\n", rule.id, rule.text))?;
            }
        }
        Command::Remove { rule, duration, reason, guard, json, .. } => {
            let id = number(rule)?;
            let removal = RuleRemoval { seconds: duration.map(|time| time.as_secs()), reason: reason.clone() };
            let removed: TakenBack = guard.ask_with(&format!("/v1/rules/{id}/remove"), &removal)?;
            if *json {
                print_json(&removed)?;
            } else {
                print(&taken_back(&removed))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Who tries a rule from the machine itself must not think that it does nothing.
const SPARED: &str = "It is for nobody on the never-ban list (`seawall bans --never`), so neither for requests from this machine \
                      itself nor from where you are logged in.";

/// How the guard stands to the traffic.
fn standing(guard: &Guard) -> Result<Standing, Failure> {
    let snapshot: Snapshot = guard.ask(Method::GET, "/v1/status")?;
    Ok(Standing::of(&snapshot))
}

/// Whether the server can be told a rule of the operator's, and the guard can see what it matches.
fn on_the_way_to_the_server(text: &str) -> String {
    let expression = Expression::parse(text, Use::Rule, &Lists::default());
    let conditions = expression.as_ref().map(Expression::conditions).unwrap_or_default();
    let asked = |attribute| conditions.iter().any(|condition| condition.subject() == Subject::Attribute(attribute));
    let names = |attributes: &[Attribute]| {
        let names: Vec<&str> = attributes.iter().filter(|one| asked(**one)).map(|one| one.name()).collect();
        (!names.is_empty()).then(|| format!("`{}`", names.join("`, `")))
    };
    if let Some(names) = names(&NEVER_LOGGED) {
        return format!(
            "IT MATCHES NOTHING HERE: no log records {names}, which only a guard in line sees (`seawall serve`), and \
             `seawall export` cannot write it for the server."
        );
    }
    if let Some(names) = names(&[Attribute::Country, Attribute::Asn]) {
        return format!("`seawall export` cannot write it for the server, which does not know {names}.");
    }
    "`seawall export` writes the rule for the server.".to_owned()
}

/// What became of a rule that was put in force, or would become of it.
fn outcome(added: &AddedRule, duration: Duration, dry_run: bool) -> String {
    let AddedRule { rule, renewed, panicked } = added;
    let (id, text, time) = (rule.id, &rule.text, show_duration(duration));
    let until = rule.expires.map(|expires| format!(" until {}", moment(expires))).unwrap_or_default();
    match (renewed, panicked) {
        (true, _) if dry_run => format!("{id} is already in force; it would last{until}: {text}\n"),
        (false, _) if dry_run => format!("{id} would be in force for {time}: {text}\n"),
        (true, false) => format!("{id} is already in force; it lasts{until}: {text}\n"),
        (false, false) => format!("{id} is in force for {time}: {text}\n"),
        // Its time goes on meanwhile.
        (_, true) => format!(
            "{id} is not in force now: everything is out. It waits for `seawall panic --over`, and lasts{until} at the most: {text}\n"
        ),
    }
}

/// What became of a rule, and of those that come to the same.
fn taken_back(removed: &TakenBack) -> String {
    let mut text = format!("Took back {}: {}\n", removed.rule.id, removed.rule.text);
    for rule in &removed.with {
        text += &format!("and with it {}, which comes to the same: {}\n", rule.id, rule.text);
    }
    if let Some(veto) = &removed.veto {
        let until = status::veto_end(veto.until);
        text += &format!(
            "The guard puts neither it nor what comes to the same in force {until}; `seawall rules remove {} --undo` ends that.\n",
            removed.rule.id
        );
    }
    text
}

/// What is known before of a rule's collateral.
fn predicted(rule: &RuleStatus) -> String {
    let (share, upper) = (rule.evidence.collateral, rule.evidence.collateral_upper);
    if upper >= 1.0 {
        return "What it would hit of normal traffic is not known: too little was learned, or it is about client networks."
            .to_owned();
    }
    let (share, upper) = (100.0 * share, percent_at_most(upper));
    format!("It would hit {share:.2}% of normal traffic, {upper:.2}% at most (95% confidence).")
}

/// What a rule does to what it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Does {
    /// Let so many through each second, and refuse the rest (429).
    Throttle,
    /// Refuse it (403).
    Refuse,
    /// Close the connection without an answer.
    Drop,
}

fn number(rule: &str) -> Result<u32, Failure> {
    rule.trim_start_matches(['R', 'r']).parse().map_err(|_| {
        Failure::usage(format!(
            "'{}' is no rule; a rule is named by its number, as R12 in `seawall rules list`",
            escape(rule.as_bytes())
        ))
    })
}

fn rate(text: &str) -> Result<f32, String> {
    let rate = text.parse().ok().filter(|rate| (0.01..=1_000_000.0).contains(rate));
    rate.ok_or_else(|| "write a number of requests a second, from 0.01 to 1000000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_a_rule_in_a_panic_and_of_one_that_is_said_again_is_said() {
        let mut own = seawall_engine::decision::OwnRules::default();
        let since = seawall_engine::units::Timestamp::from_seconds(1_700_000_000);
        let rule = seawall_engine::decision::OwnRule {
            id: RuleId(0),
            text: "path = /x".to_owned(),
            action: Action::Drop,
            reason: None,
            since,
            expires: since + Duration::from_secs(3_600),
            predicted: None,
        };
        own.add(rule, &Default::default()).expect("a rule");
        let said = |renewed, panicked, dry_run| {
            let rule = own.status().remove(0);
            outcome(&AddedRule { rule, renewed, panicked }, Duration::from_secs(3_600), dry_run)
        };
        let all = [(false, false), (true, false), (false, true), (true, true)];
        let all: String = all.iter().map(|(renewed, panicked)| said(*renewed, *panicked, false)).collect();
        insta::assert_snapshot!(all + &said(false, true, true) + &said(true, false, true), @r#"
        R10001 is in force for 1h: path = "/x"
        R10001 is already in force; it lasts until 2023-11-14 23:13:20 UTC: path = "/x"
        R10001 is not in force now: everything is out. It waits for `seawall panic --over`, and lasts until 2023-11-14 23:13:20 UTC at the most: path = "/x"
        R10001 is not in force now: everything is out. It waits for `seawall panic --over`, and lasts until 2023-11-14 23:13:20 UTC at the most: path = "/x"
        R10001 would be in force for 1h: path = "/x"
        R10001 is already in force; it would last until 2023-11-14 23:13:20 UTC: path = "/x"
        "#);
    }

    #[test]
    fn what_no_log_records_and_no_server_can_be_told_is_said() {
        for (rule, said) in [
            ("ja4 = t13d", "no log records `ja4`"),
            ("path = /a and header-order = host", "no log records `header-order`"),
            ("country = NL", "cannot write it for the server, which does not know `country`"),
            ("asn = 64496 and path = /a", "does not know `asn`"),
            ("user-agent = x", "`seawall export` writes the rule for the server."),
        ] {
            let text = on_the_way_to_the_server(rule);
            assert!(text.contains(said), "{rule}: {text}");
            assert_eq!(text.contains("writes the rule"), said.contains("writes the rule"), "{text}");
        }
    }
}
