//! An explanation as people read it.

use seawall_engine::decision::{CostKind, Shape, Verdict};

use super::origins::Part;
use super::summary::{CostSummary, RuleSummary, Summary, SurgeSummary, TimeZoneSummary};
use crate::show::log::Screen;
use crate::show::log::page::{BAR, Page, QUIET, WARNING, block, requests_text, span};
use crate::show::text::{byte_count, grouped};

/// The summary as text.
pub fn render(summary: &Summary, screen: Screen) -> String {
    let columns = screen.columns.clamp(40, 240);
    let mut page = Page::new(Screen { columns, ..screen });
    page.inputs(&summary.inputs);
    page.fact("requests", &grouped(summary.requests));
    if let (Some(from), Some(to)) = (&summary.from, &summary.to) {
        page.fact("time", &format!("{} to {} UTC", plain(from), plain(to)));
    }
    for note in &summary.notes {
        let note = page.styled(WARNING, note);
        page.sentence("note", &note);
    }
    if summary.surges.is_empty() {
        page.line("");
        page.line(if summary.requests == 0 {
            "No surge: there are no requests."
        } else {
            "No surge: there is no time with much more than is usual at its hour."
        });
    }
    for (number, surge) in (1..).zip(&summary.surges) {
        page.line("");
        page.surge(surge, number);
    }
    page.unread(&summary.unread, summary.lines);
    page.text
}

impl Page {
    /// A surge and its explanation.
    pub(in crate::show) fn surge(&mut self, surge: &SurgeSummary, number: usize) {
        let when = format!("{} to {} UTC ({})", plain(&surge.from), plain(&surge.until), span(surge.seconds));
        self.heading(&format!("Surge {number}"), &when);
        self.curve(&surge.curve);
        for cost in &surge.costs {
            let amounts = format!(
                "{} on average, {} at the peak, where {} is usual; {} more than usual in all",
                rate(cost, cost.mean),
                rate(cost, cost.peak),
                rate(cost, cost.normal),
                amount(cost.cost, cost.excess)
            );
            self.sentence(cost_name(cost.cost), &amounts);
        }
        let style = match surge.verdict {
            Verdict::Explained | Verdict::Crowd => anstyle::Style::new().bold(),
            _ => WARNING,
        };
        let verdict = self.styled(style, verdict(surge.verdict));
        self.fact("verdict", &verdict);
        if !surge.shapes.is_empty() {
            let shapes: Vec<&str> = surge.shapes.iter().map(|named| shape(*named)).collect();
            self.sentence("shape", &shapes.join("; "));
        }
        for (number, rule) in (1..).zip(&surge.rules) {
            self.surge_rule(rule, number);
        }
        if surge.rules.is_empty() {
            self.sentence("because", &surge.explanation);
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

    fn surge_rule(&mut self, rule: &RuleSummary, number: usize) {
        let text = self.styled(anstyle::Style::new().bold(), &rule.text);
        self.fact(&format!("rule {number}"), &text);
        let mut matches = format!(
            "explains {}, in every eighth of the surge at least {}: {}, {}",
            share(rule.coverage),
            share(rule.stability),
            requests_text(rule.requests),
            byte_count(rule.bytes),
        );
        if rule.clients > 0 {
            let each = rule.requests_per_client;
            let each = if each < 10.0 { format!("{each:.1}") } else { format!("{each:.0}") };
            matches += &match rule.clients {
                1 => " from one client".to_owned(),
                clients => format!(" from about {} clients, {each} each", grouped(clients)),
            };
        }
        self.sentence("", &matches);
        let outside = match rule.outside {
            0 => "none of the requests outside surges".to_owned(),
            count => format!(
                "{} outside surges ({:.2}% of them), {} of returning clients",
                requests_text(count),
                rule.outside_share * 100.0,
                grouped(rule.outside_returning)
            ),
        };
        let predicted = format!("{:.2}% to {:.2}%", rule.collateral * 100.0, rule.collateral_upper * 100.0);
        self.sentence("", &format!("hits {outside}; of normal traffic {predicted}"));
        if !rule.shares.is_empty() {
            self.sentence("", &format!("all of it has {}", rule.shares.join(", ")));
        }
        if let Some(first) = &rule.first_before {
            self.sentence(
                "",
                &format!("first seen at {} UTC, {} before the surge", plain(first), requests_text(rule.before)),
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
        let note = self.styled(QUIET, "the surge in the middle, as long before and after");
        self.line(&format!("  {note}"));
    }
}

fn plain(time: &str) -> String {
    time.replace('T', " ").replace('Z', "")
}

fn share(share: f32) -> String {
    format!("{:.0}%", share * 100.0)
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
        None => "it comes at all hours alike: a machine".to_owned(),
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

fn rate(cost: &CostSummary, value: f64) -> String {
    format!("{}/s", amount(cost.cost, value))
}

fn amount(cost: CostKind, value: f64) -> String {
    match cost {
        CostKind::Bytes => byte_count(value.max(0.0) as u64),
        CostKind::Requests if value >= 10.0 => grouped(value as u64),
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
        Verdict::Undecided => "undecided: too little to go by",
        Verdict::Explained => "explained",
        Verdict::Partial => "explained in part",
        Verdict::NotSeparable => "not separable: nothing tells it from wanted traffic",
        Verdict::Crowd => "a crowd: many people",
        Verdict::External => "external: the cause is not in the requests",
    }
}
