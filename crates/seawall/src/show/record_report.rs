//! What the guard has recorded of its traffic: requests by outcome over time, by site, and what each rule refused.

use std::collections::BTreeMap;

use seawall_engine::units::Timestamp;
use serde::Serialize;

use super::text::{cut, escape, grouped};
use crate::record::{RecordedIncident, RuleDecision, Span, TrafficCount};

/// From this many days on, a line of the table is a day.
const DAYS_BY_DAY_MIN: u64 = 3;

/// Of more hours than this, a line of the table of minutes is ten.
const HOURS_BY_MINUTE_MAX: u64 = 3;

const MINUTE_SECONDS: u64 = 60;
const HOUR_SECONDS: u64 = 3_600;
const DAY_SECONDS: u64 = 86_400;

/// Requests by outcome; the names are those of the record.
type Outcomes = BTreeMap<String, f64>;

/// The report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecordReport {
    /// The start of the first hour, or minute, that anything is recorded of.
    pub from: Option<Timestamp>,
    /// The end of the last.
    pub until: Option<Timestamp>,
    /// Requests by outcome.
    pub totals: Outcomes,
    /// The same for each site, the busiest first; those for hosts of no site have an empty name.
    pub sites: Vec<SiteLine>,
    /// What each rule refused, the most first.
    pub rules: Vec<RuleLine>,
    /// The incidents, in their order.
    pub incidents: Vec<RecordedIncident>,
    /// How long each of `stretches` is, in seconds.
    pub stretch_seconds: u64,
    /// The same over time, in order; none where nothing was recorded.
    pub stretches: Vec<Stretch>,
}

/// One site.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SiteLine {
    /// Its name.
    pub site: String,
    /// Requests by outcome.
    pub outcomes: Outcomes,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleLine {
    /// Its number.
    pub rule: u32,
    /// Requests that it refused.
    pub refused: f64,
    /// What was decided last about a rule of this number.
    pub last_decision: Option<String>,
}

/// A minute, ten, an hour or a day.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stretch {
    /// Its start.
    pub at: Timestamp,
    /// Requests by outcome.
    pub outcomes: Outcomes,
}

impl RecordReport {
    /// The report of these counts, of what was decided about rules in that time, and of its incidents.
    pub fn new(
        counts: &[TrafficCount],
        span: Span,
        decisions: &[RuleDecision],
        incidents: Vec<RecordedIncident>,
    ) -> Self {
        let starts = || counts.iter().map(|count| count.at);
        let (from, until) = (starts().min(), starts().max().map(|start| start + span.seconds()));
        let whole = until.unwrap_or_default() - from.unwrap_or_default();
        let stretch_seconds = match span {
            Span::Minute if whole <= HOURS_BY_MINUTE_MAX * HOUR_SECONDS => MINUTE_SECONDS,
            Span::Minute => 10 * MINUTE_SECONDS,
            Span::Hour if whole < DAYS_BY_DAY_MIN * DAY_SECONDS => HOUR_SECONDS,
            Span::Hour => DAY_SECONDS,
        };
        let (mut totals, mut stretches) = (Outcomes::new(), BTreeMap::<u64, Outcomes>::new());
        let (mut sites, mut rules) = (BTreeMap::<&str, Outcomes>::new(), BTreeMap::<u32, f64>::new());
        for count in counts {
            let stretch = count.at / stretch_seconds * stretch_seconds;
            for outcomes in [&mut totals, stretches.entry(stretch).or_default(), sites.entry(&count.site).or_default()]
            {
                *outcomes.entry(count.outcome.clone()).or_default() += count.requests;
            }
            if count.rule != 0 {
                *rules.entry(count.rule).or_default() += count.requests;
            }
        }
        let mut sites: Vec<SiteLine> =
            sites.into_iter().map(|(site, outcomes)| SiteLine { site: site.to_owned(), outcomes }).collect();
        sites.sort_by(|first, second| sum(&second.outcomes).total_cmp(&sum(&first.outcomes)));
        let last_decision = |rule: u32| {
            let about = decisions.iter().filter(|decision| decision.rule == rule);
            about.max_by_key(|decision| decision.at).map(|decision| decision.detail.clone())
        };
        let rule = |(rule, refused)| RuleLine { rule, refused, last_decision: last_decision(rule) };
        let mut rules: Vec<RuleLine> = rules.into_iter().map(rule).collect();
        rules.sort_by(|first, second| second.refused.total_cmp(&first.refused));
        let stretch = |(at, outcomes)| Stretch { at: Timestamp::from_seconds(at), outcomes };
        Self {
            from: from.map(Timestamp::from_seconds),
            until: until.map(Timestamp::from_seconds),
            totals,
            sites,
            rules,
            incidents,
            stretch_seconds,
            stretches: stretches.into_iter().map(stretch).collect(),
        }
    }

    /// As tables for a terminal of so many columns, with at most so many sites and rules.
    pub fn render(&self, columns: usize, top: usize) -> String {
        let (Some(from), Some(until)) = (self.from, self.until) else {
            return "Nothing is recorded yet. For a report of logs, name them: seawall report /var/log/nginx/access.log*\n"
                .to_owned();
        };
        let mut text = format!("What the guard has recorded, from {} to {}\n\n", minute(from), minute(until));
        let names: Vec<&str> = self.totals.keys().map(String::as_str).collect();
        let mut table = vec![[vec![""], names.clone()].concat().iter().map(ToString::to_string).collect()];
        let mut line = |name: String, outcomes: &Outcomes| {
            let amounts = names.iter().map(|name| outcomes.get(*name).copied().unwrap_or_default());
            let amounts = amounts.map(|requests| grouped(requests.round() as u64));
            table.push(std::iter::once(name).chain(amounts).collect::<Vec<String>>());
        };
        line("requests".to_owned(), &self.totals);
        if self.sites.len() > 1 {
            for site in self.sites.iter().take(top) {
                let name = if site.site.is_empty() { "(no site)" } else { &site.site };
                line(format!("  {}", cut(&escape(name.as_bytes()), 24)), &site.outcomes);
            }
        }
        for stretch in &self.stretches {
            let at = if self.stretch_seconds == DAY_SECONDS { day(stretch.at) } else { minute(stretch.at) };
            line(at, &stretch.outcomes);
        }
        text += &aligned(&table);
        if !self.rules.is_empty() {
            text += "\nrefused by rules\n";
        }
        for rule in self.rules.iter().take(top) {
            let decision = rule.last_decision.as_deref().unwrap_or_default();
            let rule = format!(
                "{:>12}  R{:<6}{}",
                grouped(rule.refused.round() as u64),
                rule.rule,
                escape(decision.as_bytes())
            );
            text += &cut(rule.trim_end(), columns);
            text.push('\n');
        }
        if !self.incidents.is_empty() {
            text += "\nincidents\n";
        }
        // The latest tell most of how things are.
        for incident in self.incidents.iter().rev().take(top) {
            let from = incident.opened.map_or_else(|| "before".to_owned(), minute);
            let until =
                incident.closed.map_or_else(|| "still open".to_owned(), |closed| format!("to {}", minute(closed)));
            text += &cut(&format!("  {from} {until}: {}", escape(incident.detail.as_bytes())), columns);
            text.push('\n');
        }
        text
    }
}

fn sum(outcomes: &Outcomes) -> f64 {
    outcomes.values().sum()
}

/// Columns side by side, the first aligned to the left.
fn aligned(table: &[Vec<String>]) -> String {
    let columns = table.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| table.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for line in table {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            text += &if column == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

fn zoned(at: Timestamp) -> jiff::Zoned {
    let moment = jiff::Timestamp::from_second(i64::try_from(at.as_seconds()).unwrap_or_default()).unwrap_or_default();
    // Days and hours are counted in UTC.
    moment.to_zoned(jiff::tz::TimeZone::UTC)
}

fn minute(at: Timestamp) -> String {
    zoned(at).strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn day(at: Timestamp) -> String {
    zoned(at).strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(hour: u64, site: &str, outcome: &str, rule: u32, requests: f64) -> TrafficCount {
        let at = hour * HOUR_SECONDS;
        TrafficCount { at, site: site.to_owned(), outcome: outcome.to_owned(), rule, requests }
    }

    #[test]
    fn hours_are_summed_by_outcome_site_rule_and_day() {
        let decision =
            |at, detail: &str| RuleDecision { at: Timestamp::from_seconds(at), rule: 3, detail: detail.to_owned() };
        let hours = [
            count(480_000, "blog", "served", 0, 100.0),
            count(480_000, "blog", "refused", 3, 2_000.4),
            count(480_001, "shop", "served", 0, 50.0),
            count(480_090, "blog", "served", 0, 7.0),
            count(480_090, "", "misdirected", 0, 1.0),
        ];
        let incident = |incident, opened: Option<u64>, closed: Option<u64>| RecordedIncident {
            incident,
            opened: opened.map(Timestamp::from_seconds),
            closed: closed.map(Timestamp::from_seconds),
            detail: format!("incident {incident} and what was said of it"),
        };
        let at = 480_000 * HOUR_SECONDS;
        let incidents = vec![incident(2, None, Some(at)), incident(3, Some(at), None)];
        let report =
            RecordReport::new(&hours, Span::Hour, &[decision(2, "R3 is late"), decision(1, "R3 is early")], incidents);
        assert_eq!(report.totals["served"], 157.0);
        assert_eq!(report.sites.iter().map(|line| line.site.as_str()).collect::<Vec<_>>(), ["blog", "shop", ""]);
        assert_eq!(report.rules.len(), 1);
        assert_eq!(report.rules[0].last_decision.as_deref(), Some("R3 is late"));
        assert_eq!((report.stretch_seconds, report.stretches.len()), (DAY_SECONDS, 2));
        insta::assert_snapshot!(report.render(60, 10));
        let short = RecordReport::new(&hours[..3], Span::Hour, &[], Vec::new());
        assert_eq!((short.stretch_seconds, short.stretches.len()), (HOUR_SECONDS, 2));
        assert!(
            RecordReport::new(&[], Span::Hour, &[], Vec::new()).render(80, 10).starts_with("Nothing is recorded yet")
        );
    }

    #[test]
    fn hours_are_shown_by_minute_and_many_by_ten() {
        let at = |minute: u64, outcome: &str, requests| TrafficCount {
            at: 480_000 * HOUR_SECONDS + minute * MINUTE_SECONDS,
            ..count(0, "blog", outcome, u32::from(outcome == "refused"), requests)
        };
        let mut counts = vec![at(58, "served", 100.0), at(59, "served", 90.0), at(59, "refused", 800.0)];
        let report = RecordReport::new(&counts, Span::Minute, &[], Vec::new());
        assert_eq!((report.stretch_seconds, report.stretches.len()), (MINUTE_SECONDS, 2));
        insta::assert_snapshot!(report.render(60, 10));
        counts.push(at(300, "served", 1.0));
        let report = RecordReport::new(&counts, Span::Minute, &[], Vec::new());
        assert_eq!((report.stretch_seconds, report.stretches.len()), (10 * MINUTE_SECONDS, 2));
    }
}
