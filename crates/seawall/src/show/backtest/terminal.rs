//! A backtest as people read it.

use super::summary::{Matches, RuleSummary, Summary, ValueSummary};
use crate::show::log::Screen;
use crate::show::log::page::{NAME_COLUMNS, Page, WARNING, requests_text, span, wrapped};
use crate::show::text::{byte_count, cut_middle, grouped, percent};

/// How many statuses are listed.
const STATUSES_MAX: usize = 6;

/// The summary as text.
pub fn render(summary: &Summary, screen: Screen) -> String {
    let columns = screen.columns.clamp(40, 240);
    let mut page = Page::new(Screen { columns, ..screen });
    page.inputs(&summary.inputs);
    page.totals(&summary.totals);
    for (number, rule) in (1..).zip(&summary.rules) {
        page.rule(rule, number, summary);
    }
    if summary.rules.len() > 1 && summary.together.requests > 0 {
        page.line("");
        page.heading("All rules together", &format!("{} rules", summary.rules.len()));
        page.matches(&summary.together, summary);
    }
    page.unread(&summary.unread, summary.totals.lines);
    page.text
}

impl Page {
    fn rule(&mut self, rule: &RuleSummary, number: usize, summary: &Summary) {
        self.line("");
        let title = rule.name.clone().unwrap_or_else(|| format!("Rule {number}"));
        self.heading(&title, &rule.place);
        self.line(&format!("  {}", rule.text));
        let all = summary.totals.requests;
        if rule.matches.requests == 0 && (rule.not_judged < all || all == 0) {
            let why = why_nothing(rule, all);
            let nothing = self.styled(WARNING, "matches nothing");
            self.line(&format!("  {nothing}{why}"));
        } else if rule.matches.requests > 0 {
            self.matches(&rule.matches, summary);
        }
        if rule.not_judged > 0 {
            let all = if rule.not_judged == all { "all " } else { "" };
            let requests = requests_text(rule.not_judged);
            let what = rule.not_recorded.join(", ");
            let note = format!("{all}{requests}, whose log does not record {what}");
            let note = self.styled(WARNING, &note);
            self.fact("not judged", &note);
        }
    }

    fn matches(&mut self, matches: &Matches, summary: &Summary) {
        let totals = &summary.totals;
        if let Some(timeline) = matches.timeline.as_ref().filter(|timeline| timeline.hits.len() > 1) {
            self.timeline(timeline);
        }
        let of_all = |part, whole| format!("{} of all", percent(part, whole));
        self.fact("requests", &format!("{}, {}", grouped(matches.requests), of_all(matches.requests, totals.requests)));
        self.fact("bytes", &format!("{}, {}", byte_count(matches.bytes), of_all(matches.bytes, totals.bytes)));
        if matches.clients == 0 {
            self.fact("clients", "not known: these requests were logged without address");
        } else {
            let about = if matches.clients_exact { "" } else { "about " };
            let share = of_all(matches.clients.min(totals.clients), totals.clients);
            self.fact("clients", &format!("{about}{}, {share}", grouped(matches.clients)));
            self.returning(matches, summary);
        }
        if let (Some(from), Some(to)) = (&matches.from, &matches.to) {
            let plain = |time: &str| time.replace('T', " ").replace('Z', "");
            let times = format!("{} to {} UTC ({})", plain(from), plain(to), span(matches.span_seconds));
            self.fact("matched", &times);
        }
        let statuses = matches.statuses.iter().take(STATUSES_MAX).map(|status| {
            let name = status.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
            format!("{name} {}", percent(status.requests, matches.requests))
        });
        let mut statuses: Vec<String> = statuses.collect();
        if let Some(more @ 1..) = matches.statuses.len().checked_sub(STATUSES_MAX) {
            statuses.push(format!("and {more} more"));
        }
        self.fact("answered", &statuses.join(", "));
        let mut agents = values(&matches.user_agents);
        if matches.without_user_agent > 0 {
            let place = agents.partition_point(|(requests, _)| *requests >= matches.without_user_agent);
            agents.insert(place, (matches.without_user_agent, "(none)"));
        }
        self.values("agents", &agents, matches.requests);
        self.values("paths", &values(&matches.paths), matches.requests);
    }

    /// Whom the rule would hurt: those who were there before.
    fn returning(&mut self, matches: &Matches, summary: &Summary) {
        let at_least = if matches.clients_exact { "" } else { "at least " };
        let returning = match matches.returning_clients {
            0 if matches.clients_exact => "no client that was seen an hour earlier or more".to_owned(),
            0 => format!("none of the first {} clients", grouped(summary.clients_max as u64)),
            clients => format!(
                "{at_least}{} of them, seen an hour earlier or more; {} of their {} had been answered with 2xx or 3xx",
                grouped(clients),
                grouped(matches.returning_requests_answered),
                match matches.returning_requests {
                    1 => "1 match".to_owned(),
                    requests => format!("{} matches", grouped(requests)),
                }
            ),
        };
        let style = if matches.returning_requests_answered > 0 { WARNING } else { anstyle::Style::new() };
        let mut lines = wrapped(&returning, self.screen.columns.saturating_sub(NAME_COLUMNS + 2)).into_iter();
        let first = self.styled(style, &lines.next().unwrap_or_default());
        self.fact("returning", &first);
        for line in lines {
            let line = self.styled(style, &line);
            self.fact("", &line);
        }
        for client in &matches.most_hit_returning_clients {
            let requests = requests_text(u64::from(client.requests));
            let answered = grouped(u64::from(client.requests_answered));
            self.fact("", &format!("{}  {requests}, {answered} answered so", client.client));
        }
    }

    fn values(&mut self, name: &str, values: &[(u64, &str)], requests: u64) {
        const SHARE_COLUMNS: usize = 6;
        let room = self.screen.columns.saturating_sub(NAME_COLUMNS + SHARE_COLUMNS + 4);
        for (index, (hits, value)) in values.iter().enumerate() {
            let share = percent((*hits).min(requests), requests);
            let name = if index == 0 { name } else { "" };
            self.fact(name, &format!("{share:>SHARE_COLUMNS$}  {}", cut_middle(value, room)));
        }
    }
}

/// Why a rule matched nothing, as far as that can be said.
fn why_nothing(rule: &RuleSummary, requests: u64) -> String {
    if requests == 0 {
        return ": there are no requests".to_owned();
    }
    let quoted = rule.conditions_never_met.iter().map(|condition| format!("\n    {condition}"));
    match (rule.conditions_never_met.len(), rule.conditions) {
        (_, 1) => String::new(),
        (0, _) => ": each of its conditions is met by some request, but not together as it asks".to_owned(),
        (_, _) => {
            format!("; by themselves, these of its conditions match nothing either:{}", quoted.collect::<String>())
        }
    }
}

fn values(values: &[ValueSummary]) -> Vec<(u64, &str)> {
    values.iter().map(|value| (value.requests - value.requests_error, value.value.as_str())).collect()
}
