//! Reads a scenario and finds what is wrong with it, each problem with file, line and column.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::super::agents;
use super::super::arrivals::visits_expected;
use super::read::Document;
use super::{Group, RequestOrder, RequestTemplate, Scenario, WhenFull};

/// The longest drill.
pub(crate) const DURATION_MAX: Duration = Duration::from_secs(300);

/// The most requests that a drill sends.
pub(crate) const REQUESTS_MAX: u64 = 200_000;

/// The most clients with a connection at once.
pub(crate) const CLIENTS_AT_ONCE_MAX: usize = 20_000;

/// The most clients in one group.
const CLIENTS_MAX: u32 = 200_000;

/// The most methods with which a request is made before its own.
const METHODS_BEFORE_MAX: usize = 8;

/// The most days of history.
const HISTORY_DAYS_MAX: u32 = 35;

/// Everything that is wrong with a scenario.
#[derive(Debug, thiserror::Error)]
pub(crate) struct ScenarioError {
    file: String,
    problems: Vec<Problem>,
}

#[derive(Debug)]
struct Problem {
    line: usize,
    column: usize,
    message: String,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the scenario is not valid:")?;
        for Problem { line, column, message } in &self.problems {
            write!(formatter, "\n  {}:{line}:{column}: {message}", self.file)?;
        }
        Ok(())
    }
}

/// Only as much of the shape as is needed to say where a group, a target or a request stands.
#[derive(Deserialize)]
struct Places {
    duration: Spanned<toml::Value>,
    onset: Spanned<toml::Value>,
    site: Spanned<toml::Value>,
    history: Option<Spanned<toml::Value>>,
    origin: Option<Spanned<toml::Value>>,
    #[serde(default, rename = "group")]
    groups: Vec<Spanned<toml::Value>>,
}

/// Reads the text of a scenario; `file` is its name in messages.
pub(crate) fn parse(text: &str, file: &str) -> Result<Scenario, ScenarioError> {
    let mut document = Document::parse(text);
    let read = document.read::<Scenario>();
    let mut problems = Vec::new();
    let scenario = read.filter(|scenario| match document.read::<Places>() {
        Some(places) => {
            let whole = document.refused.is_empty();
            check(scenario, &places, whole, &mut |span, message| {
                // What was refused in a table is said already, and what follows from its absence is no news.
                if !document.is_incomplete(&span) {
                    problems.push(problem(text, &span, message));
                }
            });
            whole
        }
        None => false,
    });
    problems.extend(document.refused.iter().map(|(span, message)| problem(text, span, message.clone())));
    problems.sort_by_key(|problem| (problem.line, problem.column));
    match scenario {
        Some(scenario) if problems.is_empty() => Ok(scenario),
        _ => Err(ScenarioError { file: file.to_owned(), problems }),
    }
}

fn problem(text: &str, span: &Range<usize>, message: String) -> Problem {
    let before = text.get(..span.start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(line_start..).map_or(0, |line| line.chars().count()) + 1;
    Problem { line: before.matches('\n').count() + 1, column, message }
}

/// Looks for what cannot be in a scenario whose parts can be read. `whole` says whether all of them could.
fn check(scenario: &Scenario, places: &Places, whole: bool, report: &mut impl FnMut(Range<usize>, String)) {
    let duration = scenario.duration.0;
    if duration.is_zero() || duration > DURATION_MAX {
        report(places.duration.span(), format!("a drill lasts from 1 ms to {} s", DURATION_MAX.as_secs()));
    }
    if scenario.onset.0 >= duration {
        report(places.onset.span(), "the onset lies after the end; expected less than `duration`".to_owned());
    }
    if scenario.site.hosts.is_empty() {
        report(places.site.span(), "a site needs at least one host, as `hosts = [\"example.org\"]`".to_owned());
    }
    for host in &scenario.site.hosts {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-*".contains(&byte);
        if host.is_empty() || !host.bytes().all(good) {
            report(
                places.site.span(),
                format!("{host:?} is no host; expected lower-case letters, digits, `.` and `-`"),
            );
        }
    }
    if scenario.history.days > HISTORY_DAYS_MAX
        && let Some(place) = &places.history
    {
        report(place.span(), format!("`days` is {}; at most {HISTORY_DAYS_MAX}", scenario.history.days));
    }
    if let Some(place) = &places.origin {
        if scenario.origin.requests_at_once_max == 0 {
            report(place.span(), "`requests-at-once-max` is 0: this origin would never answer".to_owned());
        }
        if scenario.origin.when_full == WhenFull::Crash && scenario.origin.restart_time.0.is_zero() {
            report(place.span(), "`restart-time` is 0s: expected how long a server that crashes is away".to_owned());
        }
        for answer in &scenario.origin.answers {
            if !(200..=599).contains(&answer.status) {
                report(place.span(), format!("status {} of {:?}: expected 200 to 599", answer.status, answer.path));
            }
            if !answer.path.starts_with('/') && answer.path != "*" {
                report(place.span(), format!("path {:?}: expected one that begins with `/`, or `*`", answer.path));
            }
            if hyper::header::HeaderValue::from_str(&answer.content_type).is_err() {
                report(place.span(), format!("content type {:?} cannot stand in a header", answer.content_type));
            }
        }
    }
    if scenario.groups.is_empty() && whole {
        report(places.duration.span(), "a scenario needs at least one [[group]]".to_owned());
    }
    for (index, (group, place)) in scenario.groups.iter().zip(&places.groups).enumerate() {
        if scenario.groups.iter().take(index).any(|earlier| earlier.name == group.name) {
            report(place.span(), format!("a group named {:?} stands above already", group.name));
        }
        check_group(scenario, group, &mut |message| report(place.span(), format!("group {:?}: {message}", group.name)));
    }
    let requests = requests_expected(scenario);
    if requests > REQUESTS_MAX as f64 && whole {
        report(
            places.duration.span(),
            format!("this scenario would send about {requests:.0} requests; at most {REQUESTS_MAX} are allowed"),
        );
    }
}

fn check_group(scenario: &Scenario, group: &Group, report: &mut impl FnMut(String)) {
    let begins = group.begins(scenario.onset);
    let ends = group.ends.map_or(scenario.duration.0, |ends| ends.0);
    if begins >= ends || ends > scenario.duration.0 {
        report(format!(
            "comes from {begins:?} to {ends:?}; expected a beginning before the end, both within {:?}",
            scenario.duration.0
        ));
    }
    if group.clients == 0 || group.clients > CLIENTS_MAX {
        report(format!("`clients` is {}; expected 1 to {CLIENTS_MAX}", group.clients));
    }
    if let Some(networks) = group.networks
        && (networks == 0 || networks > group.clients || u64::from(group.clients) > u64::from(networks) * 200)
    {
        report(format!(
            "{} clients do not fit `networks = {networks}`; expected 1 to 200 clients in each",
            group.clients
        ));
    }
    match (&group.agents, group.user_agents.is_empty()) {
        (Some(family), true) if agents::family(family).is_none() => {
            report(format!("`agents = {family:?}` is not known; expected one of {}", agents::family_names()));
        }
        (Some(_), true) | (None, false) => {}
        _ => report("expected either `agents` or `user-agents`".to_owned()),
    }
    if group.pages_min == 0 || group.pages_min > group.pages_max || group.pages_max > 100 {
        report("expected 1 ≤ `pages-min` ≤ `pages-max` ≤ 100".to_owned());
    }
    if group.think_time_min > group.think_time_max {
        report("`think-time-min` is longer than `think-time-max`".to_owned());
    }
    if let (Some(least), Some(most)) = (group.stream_time_min, group.stream_time_max)
        && least > most
    {
        report("`stream-time-min` is longer than `stream-time-max`".to_owned());
    }
    if !(1..=8).contains(&group.parallel_connections) {
        report(format!("`parallel-connections` is {}; expected 1 to 8", group.parallel_connections));
    }
    if group.retries_max > 100 {
        report(format!("`retries-max` is {}; expected at most 100", group.retries_max));
    }
    if group.retry_interval.0 < Duration::from_millis(10) {
        report("`retry-interval` is shorter than 10ms".to_owned());
    }
    if group.read_bytes_per_second.is_some_and(|rate| rate.0 == 0) {
        report("`read-bytes-per-second` is 0: nothing would ever be read".to_owned());
    }
    if group.answer_time_max.0.is_zero() {
        report("`answer-time-max` is 0s: no answer could come in time".to_owned());
    }
    if group.requests.iter().map(|request| u64::from(request.weight)).sum::<u64>() == 0 {
        report("expected at least one [[group.request]] with a weight above 0".to_owned());
    }
    if group.request_order == RequestOrder::AsListed && group.requests.iter().any(|request| request.weight != 1) {
        report("`weight` says nothing where `request-order` is \"as-listed\"; expected no weights".to_owned());
    }
    for request in &group.requests {
        for method in std::iter::once(&request.method).chain(&request.methods_before) {
            if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
                report(format!("{method:?} is no method; expected upper-case letters, as \"GET\""));
            }
        }
        if request.methods_before.len() > METHODS_BEFORE_MAX {
            report(format!("{} `methods-before`; expected at most {METHODS_BEFORE_MAX}", request.methods_before.len()));
        }
        if request.assets.len() > 50 {
            report(format!("{} assets for a page; expected at most 50", request.assets.len()));
        }
    }
}

/// About how many requests a scenario sends, if no client is ever refused and none caches anything.
fn requests_expected(scenario: &Scenario) -> f64 {
    let of_group = |group: &Group| {
        let ends = group.ends.map_or(scenario.duration.0, |ends| ends.0);
        let visits = visits_expected(group.arrivals, ends.saturating_sub(group.begins(scenario.onset)));
        let weights: f64 = group.requests.iter().map(|request| f64::from(request.weight)).sum();
        let for_page: f64 = group
            .requests
            .iter()
            .map(|request| f64::from(request.weight) / weights.max(1.0) * requests_for_page(request))
            .sum();
        visits * for_page * f64::from(group.pages_min + group.pages_max) / 2.0
    };
    scenario.groups.iter().map(of_group).sum()
}

/// The requests that belong to one page.
fn requests_for_page(request: &RequestTemplate) -> f64 {
    (1 + request.methods_before.len() + request.assets.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name = "small"
incident = "none"
duration = "10s"
onset = "3s"
[site]
hosts = ["example.org"]
[[group]]
name = "visitors"
label = "wanted"
clients = 10
arrivals = { kind = "constant", rate = 5 }
agents = "browsers"
[[group.request]]
path = "/{word}"
"#;

    fn check(change: (&str, &str), expected: &str) {
        assert!(GOOD.contains(change.0), "the text to change is there: {}", change.0);
        let text = GOOD.replacen(change.0, change.1, 1);
        let error = parse(&text, "s.toml").expect_err("this scenario is not valid").to_string();
        assert!(error.contains(expected), "expected {expected:?} in:\n{error}");
    }

    #[test]
    fn a_small_scenario_is_read() {
        let scenario = parse(GOOD, "s.toml").expect("a good scenario");
        assert_eq!(scenario.groups.len(), 1);
        assert_eq!(scenario.duration.0, Duration::from_secs(10));
    }

    #[test]
    fn each_problem_is_said_with_its_place() {
        check(("onset = \"3s\"", "onset = \"3 apples\""), "s.toml:5:9: \"3 apples\" is no time");
        check(("onset = \"3s\"", "onset = \"30s\""), "s.toml:5:9: the onset lies after the end");
        check(("label = \"wanted\"", "lable = \"wanted\""), "s.toml:10:1: unknown field `lable`");
        check(("label = \"wanted\"", "label = \"good\""), "s.toml:10:9: unknown variant `good`");
        check(("duration = \"10s\"", "duration = \"10m\""), "s.toml:4:12: a drill lasts");
        check(("clients = 10", "clients = 0"), "group \"visitors\": `clients` is 0; expected 1 to 200000");
        check(("clients = 10", "clients = 10\nnetworks = 11"), "10 clients do not fit `networks = 11`");
        check(("\"browsers\"", "\"humans\""), "`agents = \"humans\"` is not known; expected one of");
        check(("path = \"/{word}\"", "path = \"/{wort}\""), "s.toml:15:8: `{wort}` is no known random part");
        check(("path = \"/{word}\"", "path = \"/a\\r\\nX: y\""), "control characters cannot be sent");
        check(("rate = 5", "rate = 50000"), "this scenario would send about 500000 requests; at most 200000");
        check(("rate = 5", "rate = -5"), "-5 is not a rate");
        check(
            ("path = \"/{word}\"", "path = \"/\"\nmethods-before = [\"head\"]"),
            "\"head\" is no method; expected upper-case",
        );
        check(("path = \"/{word}\"", "path = \"/\"\nweight = 2\n[[group]]"), "s.toml:17:1: missing field `name`");
        check(
            ("[[group.request]]", "request-order = \"as-listed\"\n[[group.request]]\nweight = 2"),
            "s.toml:8:1: group \"visitors\": `weight` says nothing",
        );
        check(
            ("[[group]]", "[origin]\nwhen-full = \"crash\"\nrestart-time = \"0s\"\n[[group]]"),
            "s.toml:8:1: `restart-time` is 0s",
        );
        check(("[\"example.org\"]", "[]"), "a site needs at least one host");
    }

    #[test]
    fn all_problems_are_said_at_once() {
        let text = GOOD.replace("onset = \"3s\"", "onset = \"30s\"").replace("clients = 10", "clients = 0");
        let error = parse(&text, "s.toml").expect_err("not valid").to_string();
        assert!(error.contains("the onset") && error.contains("`clients`"), "{error}");
    }

    #[test]
    fn what_cannot_be_read_hides_no_other_problem() {
        let text = GOOD
            .replace("onset = \"3s\"", "onset = \"3 apples\"")
            .replace("label = \"wanted\"", "lable = \"wanted\"")
            .replace("clients = 10", "clients = \"ten\"")
            .replace("path = \"/{word}\"", "path = \"/{wort}\"\nmethods-before = [\"HEAD\", 7]")
            + "[targets]\nverdict = \"good\"\nrules = 5\nwanted-refused-max = 0\n";
        let error = parse(&text, "s.toml").expect_err("not valid").to_string();
        let places: Vec<_> = error.lines().skip(1).map(str::trim).collect();
        let expected = [
            "s.toml:5:9: \"3 apples\" is no time",
            "s.toml:10:1: unknown field `lable`",
            "s.toml:11:11: invalid type: string \"ten\"",
            "s.toml:15:8: `{wort}` is no known random part",
            "s.toml:16:27: invalid type: integer `7`",
            "s.toml:18:11: unknown variant `good`",
            "s.toml:19:1: unknown field `rules`",
        ];
        let said = |(place, expected): (&&str, &&str)| place.starts_with(expected);
        assert!(places.len() == expected.len() && places.iter().zip(&expected).all(said), "{error}");
    }

    #[test]
    fn what_can_be_read_is_checked_beside_what_cannot() {
        let text = GOOD.replace("onset = \"3s\"", "onset = \"30s\"") + "[targets]\nrules = 5\n";
        let error = parse(&text, "s.toml").expect_err("not valid").to_string();
        assert!(
            error.contains("s.toml:5:9: the onset lies") && error.contains("s.toml:17:1: unknown field"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_toml_is_said_with_its_place() {
        check(("onset = \"3s\"", "onset = = 3s"), "s.toml:5:9: ");
    }
}
