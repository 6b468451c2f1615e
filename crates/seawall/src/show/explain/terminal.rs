//! An explanation as people read it.

use anstyle::Style;
use seawall_engine::decision::{CostKind, NamedShape, Shape, Verdict};

use super::clients_text;
use super::origins::Part;
use super::summary::{
    HabitSummary, HeaviestSummary, PrevalentSummary, RuleSummary, SpanSummary, Summary, SurgeSummary, TimeZoneSummary,
};
use crate::show::log::Screen;
use crate::show::log::page::{BAR, Page, QUIET, TITLE, WARNING, block, requests_text, span};
use crate::show::text::{byte_count, grouped, percent_at_most};

/// A network with less of the excess than this is no heaviest.
const HEAVIEST_SHOWN_MIN: f64 = 0.02;

/// How many of the surges that are not explained are listed.
const LEFT_OUT_SHOWN_MAX: usize = 20;

/// Clients of whom fewer than this are new in the later half stay.
const TURNOVER_SHOWN_MIN: f64 = 0.05;

/// The summary as text.
pub fn render(summary: &Summary, screen: Screen) -> String {
    let columns = screen.columns.clamp(40, 240);
    let mut page = Page::new(Screen { columns, ..screen });
    page.inputs(&summary.inputs);
    page.fact("requests", &grouped(summary.requests));
    if let (Some(from), Some(to)) = (&summary.from, &summary.to) {
        page.sentence("time", &format!("{} to {} UTC", plain(from), plain(to)));
    }
    for note in &summary.notes {
        page.styled_sentence("note", WARNING, note);
    }
    if summary.surges.is_empty() {
        page.line("");
        page.no_surge(summary);
    }
    page.habits(&summary.habits);
    for (number, surge) in (1..).zip(&summary.surges) {
        page.line("");
        page.surge(surge, number);
    }
    page.prevalent_values(summary);
    if !summary.left_out.is_empty() {
        page.line("");
        page.left_out(&summary.left_out);
    }
    page.unread(&summary.unread, summary.lines);
    page.text
}

impl Page {
    /// That there is none, and what there is to say all the same.
    fn no_surge(&mut self, summary: &Summary) {
        if summary.requests == 0 {
            let said = match summary.lines {
                0 => "No surge can be told: there are no lines.",
                _ => {
                    "No surge can be told: no line could be read as a request. What stands in their way is below; where it is the format, \
                      name it with --format."
                }
            };
            self.paragraph(Style::new(), 0, said);
            return;
        }
        self.paragraph(Style::new(), 0, "No surge: there is no time with much more than is usual.");
    }

    /// What comes at the same hour on many days.
    fn habits(&mut self, habits: &[HabitSummary]) {
        for habit in habits {
            self.line("");
            let hours = format!("{:02}:00 to {:02}:00 UTC", habit.from_hour, habit.until_hour);
            self.styled_sentence("habit", TITLE, &format!("{hours} on about half of the days or more"));
            let amount = |value: f64| match habit.cost {
                CostKind::Requests => grouped(value.round() as u64),
                cost => amount(cost, value),
            };
            let much = format!(
                "up to {} in {}, where the median hour has up to {}",
                amount(habit.peak),
                span(habit.seconds),
                amount(habit.elsewhere)
            );
            self.sentence(cost_name(habit.cost), &much);
        }
        if !habits.is_empty() {
            self.line("");
            self.paragraph(
                Style::new(),
                0,
                "What comes at the same hour on about half of the days or more is usual at that hour, as a backup is, and so is a \
                 flood that does: it is no surge. To see which it is, give the log of one such day alone.",
            );
        }
    }

    /// What may be a flood that lasts.
    fn prevalent_values(&mut self, summary: &Summary) {
        for prevalent in &summary.prevalent {
            self.line("");
            self.prevalent(prevalent);
        }
        if !summary.prevalent.is_empty() {
            self.line("");
            self.paragraph(
                Style::new(),
                0,
                "What lasts for most of a log is what is usual in it, so a flood that does is no surge. On an ordinary site the \
                 commonest user agent is on about a quarter of the visitors, and no page has half of all requests. If that is \
                 not what the site is for, add logs from before it began, or try these as rules with seawall backtest.",
            );
        }
    }

    fn prevalent(&mut self, prevalent: &PrevalentSummary) {
        self.styled_sentence("stands out", TITLE, &prevalent.text);
        let of = format!(
            "{:.0}% of all requests outside surges: {}{}, from {} to {} UTC",
            prevalent.share * 100.0,
            requests_text(prevalent.requests),
            from_clients(prevalent.clients, prevalent.clients_exact, prevalent.requests_per_client),
            plain(&prevalent.first),
            plain(&prevalent.last)
        );
        self.sentence("", &of);
    }

    /// Surges beyond those that are explained.
    fn left_out(&mut self, spans: &[SpanSummary]) {
        self.heading("Further surges", "weaker than those above, and not explained");
        for span in spans.iter().take(LEFT_OUT_SHOWN_MAX) {
            self.paragraph(Style::new(), 2, &format!("{} to {} UTC", plain(&span.from), plain(&span.until)));
        }
        if let Some(more @ 1..) = spans.len().checked_sub(LEFT_OUT_SHOWN_MAX) {
            self.line(&format!("  and {more} more"));
        }
        let how = "To have one explained, give only the log around it, with what is usual before.";
        self.paragraph(QUIET, 2, how);
    }

    /// A surge and its explanation.
    pub(in crate::show) fn surge(&mut self, surge: &SurgeSummary, number: usize) {
        let when = format!("{} to {} UTC ({})", plain(&surge.from), plain(&surge.until), span(surge.seconds));
        let title = format!("Surge {number}");
        if title.len() + when.len() + 4 <= self.screen.columns {
            self.heading(&title, &when);
        } else {
            self.heading(&title, "");
            self.sentence("time", &when);
        }
        self.curve(&surge.curve);
        for cost in &surge.costs {
            let amounts = format!(
                "{} on average, {} at the peak, where {} is usual; {} more than usual in all",
                rate(cost.cost, cost.mean),
                rate(cost.cost, cost.peak),
                rate(cost.cost, cost.normal),
                amount(cost.cost, cost.excess)
            );
            self.sentence(cost_name(cost.cost), &amounts);
        }
        if surge.clients > 0 {
            let all = requests_text(surge.requests);
            let from = from_clients(surge.clients, surge.clients_exact, surge.requests_per_client);
            self.sentence("clients", &format!("{all}{from}"));
        }
        let style = match surge.verdict {
            Verdict::Explained | Verdict::Crowd => TITLE,
            _ => WARNING,
        };
        self.styled_sentence("verdict", style, verdict(surge.verdict));
        if !surge.shapes.is_empty() {
            let named = |named: &NamedShape| format!("{} ({})", shape(named.shape), named.evidence);
            self.sentence("shape", &surge.shapes.iter().map(named).collect::<Vec<_>>().join("; "));
        }
        for rule in &surge.rules {
            self.surge_rule(rule);
        }
        if surge.rules.is_empty() {
            self.sentence("because", &surge.explanation);
        }
        if let Some(heaviest) = surge.heaviest.as_ref().filter(|heaviest| heaviest.share >= HEAVIEST_SHOWN_MIN) {
            self.sentence("heaviest", &heaviest_network(heaviest));
        }
        for (name, found) in [
            ("countries", &surge.origins.countries),
            ("networks", &surge.origins.systems),
            ("kinds", &surge.origins.kinds),
        ] {
            if !found.is_empty() {
                self.sentence(name, &parts(found));
            }
        }
        self.sentence("do", &surge.advice);
    }

    fn surge_rule(&mut self, rule: &RuleSummary) {
        self.styled_sentence(&rule.name.replace('-', " "), TITLE, &rule.text);
        let matches = format!(
            "explains {}, in every eighth of the surge at least {}: {}, {}{}",
            share(rule.coverage),
            share(rule.stability),
            requests_text(rule.requests),
            byte_count(rule.bytes),
            from_clients(rule.clients, rule.clients_exact, rule.requests_per_client)
        );
        self.sentence("", &matches);
        if let Some(turnover) = rule.turnover.filter(|turnover| *turnover >= TURNOVER_SHOWN_MIN) {
            let lost = format!("its clients change: {} of the later half were not in the earlier one", share(turnover));
            self.sentence("", &lost);
        }
        let outside = match rule.outside {
            0 => "none of the requests outside surges".to_owned(),
            count => format!(
                "{} outside surges, {} of returning clients",
                requests_text(count),
                grouped(rule.outside_returning)
            ),
        };
        let interval = format!(
            "{:.2}% of normal traffic, at most {:.2}%",
            rule.collateral * 100.0,
            percent_at_most(rule.collateral_upper)
        );
        let of_clients = match rule.outside_clients {
            0 => String::new(),
            _ => format!(", sent by {:.2}% of the clients outside surges", rule.outside_clients_share * 100.0),
        };
        self.sentence("", &format!("hits {outside}: {interval}{of_clients}"));
        let apart: Vec<String> =
            [(rule.beside, "just before and after surges"), (rule.own, "at other times with the same mark")]
                .into_iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, when)| format!("{} {when}", requests_text(count)))
                .collect();
        if !apart.is_empty() {
            self.sentence("", &format!("and, not taken for normal, {}", apart.join(" and ")));
        }
        if !rule.shares.is_empty() {
            self.sentence("", &format!("all of it has {}", rule.shares.join(", ")));
        }
        if let Some(first) = &rule.recurs {
            self.sentence("", &format!("it came before, in the surge of {} UTC", plain(first)));
        }
        if let Some(first) = &rule.first_before {
            let what = rule.before_sign.as_ref().map_or(String::new(), |sign| format!(" with {sign}"));
            self.sentence(
                "",
                &format!("first seen at {} UTC, {}{what} before the surge", plain(first), requests_text(rule.before)),
            );
        }
        if let Some(zone) = &rule.time_zone {
            self.sentence("", &time_zone(zone));
        }
    }

    /// The strongest cost over the surge and as long before and after.
    fn curve(&mut self, curve: &[f64]) {
        let most = curve.iter().copied().fold(0.0, f64::max);
        let scale = |value: f64| (value * 1000.0 / most.max(f64::MIN_POSITIVE)) as u64;
        let merged = curve.len().div_ceil(self.screen.columns.saturating_sub(4).max(1)).max(1);
        let cells = curve.chunks(merged).map(|cells| cells.iter().copied().fold(0.0, f64::max));
        let text: String = cells.map(|value| block(scale(value), 1000)).collect();
        let text = self.styled(BAR, &text);
        self.line(&format!("  {text}"));
        self.paragraph(QUIET, 2, "the surge in the middle, as long before and after");
    }
}

fn plain(time: &str) -> String {
    time.replace('T', " ").replace('Z', "")
}

fn share(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

/// From how many clients.
fn from_clients(clients: u64, is_exact: bool, each: f64) -> String {
    let each = if each < 10.0 { format!("{each:.1}") } else { format!("{each:.0}") };
    match clients {
        0 => String::new(),
        1 => " from one client".to_owned(),
        _ => format!(" from {}, {each} each", clients_text(clients, is_exact)),
    }
}

fn heaviest_network(heaviest: &HeaviestSummary) -> String {
    let has = format!("{} has {:.1}% of the excess", heaviest.network, heaviest.share * 100.0);
    if heaviest.is_gateway {
        return format!("{has}, with {} user agents: a gateway, or a program that changes its name", heaviest.agents);
    }
    has
}

fn parts(parts: &[Part]) -> String {
    let part = |part: &Part| {
        let number = part.asn.map(|asn| format!(" (AS{asn})")).unwrap_or_default();
        format!("{}{number} {:.0}%", part.name, part.share * 100.0)
    };
    parts.iter().map(part).collect::<Vec<_>>().join(", ")
}

fn time_zone(zone: &TimeZoneSummary) -> String {
    match zone.offset_hours {
        Some(offset) => {
            format!("who sends it sleeps as people at UTC{offset:+} do ({:.0}% sure)", zone.confidence * 100.0)
        }
        None => format!("it comes at all hours alike, so a machine sends it ({:.0}% sure)", zone.confidence * 100.0),
    }
}

const fn cost_name(cost: CostKind) -> &'static str {
    match cost {
        CostKind::Requests => "requests",
        CostKind::Bytes => "bytes",
        CostKind::UpstreamTime => "work",
        CostKind::ConnectionTime => "open",
    }
}

fn rate(cost: CostKind, value: f64) -> String {
    format!("{}/s", amount(cost, value))
}

fn amount(cost: CostKind, value: f64) -> String {
    match cost {
        CostKind::Bytes => byte_count(value.max(0.0) as u64),
        CostKind::Requests if value >= 10.0 => grouped(value.round() as u64),
        CostKind::Requests => format!("{value:.1}"),
        CostKind::UpstreamTime | CostKind::ConnectionTime => format!("{value:.1} s"),
    }
}

const fn shape(shape: Shape) -> &'static str {
    match shape {
        Shape::Distributed => "distributed: many clients, few requests from each, one target",
        Shape::Misdirected => "misdirected: for hosts that are not yours",
        Shape::PostToStatic => "posts to something static",
        Shape::Announce => "BitTorrent clients that take the site for a tracker",
        Shape::Crawler => "a crawler: a few clients go through all pages without their parts",
        Shape::RetryStorm => "a retry storm: the site failed and is asked the same again and again",
        Shape::IgnoresRefusals => "clients that do not wait when they are told to",
        Shape::FeedHerd => "a herd: programs whose clocks agree ask for one link",
        Shape::SlowConnections => "connections that are held and hardly used",
        Shape::Crowd => "a crowd",
    }
}

const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Explained => "explained",
        Verdict::Partial => "explained in part",
        Verdict::Undecided => "undecided: too little ordinary traffic to say whom a rule would hurt; add earlier logs",
        Verdict::NotSeparable => "not separable: nothing tells it from wanted traffic",
        Verdict::Crowd => "a crowd: many people",
        Verdict::External => "external: the cause is not in the requests",
    }
}
