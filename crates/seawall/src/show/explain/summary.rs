//! An explanation ready to be shown. Its serialised form is the output of `--json`, whose names are kept stable and described in
//! `docs/explain.md`. Every text in it has been made safe for a terminal.

use seawall_engine::decision::{CostKind, Shape, Verdict};
use seawall_engine::detection::explain::{Explained, TimeZone, Traced};
use seawall_engine::units::Timestamp;
use serde::Serialize;

use super::advice::advice;
use super::origins::Origins;
use super::{Explanation, Notes, Traces};
use crate::networks::Networks;
use crate::show::log::summary::{InputSummary, UnreadSummary};
use crate::show::log::{Clients, moment};

/// The surges of some logs.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Lines that were read as requests.
    pub(super) requests: u64,
    /// The earliest and the latest request, in UTC.
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    pub(super) surges: Vec<SurgeSummary>,
    /// What the logs do not tell, and what follows from that.
    pub(super) notes: Vec<String>,
    pub(super) inputs: Vec<InputSummary>,
    pub(super) unread: Vec<UnreadSummary>,
    /// All lines, read or not.
    pub(super) lines: u64,
}

#[derive(Debug, Serialize)]
pub(in crate::show) struct SurgeSummary {
    /// In UTC.
    pub(in crate::show) from: String,
    pub(in crate::show) until: String,
    pub(super) seconds: u64,
    pub(super) costs: Vec<CostSummary>,
    pub(in crate::show) verdict: Verdict,
    pub(super) shapes: Vec<Shape>,
    pub(in crate::show) explanation: String,
    pub(in crate::show) advice: String,
    pub(in crate::show) rules: Vec<RuleSummary>,
    /// Where the clients are that the rules match; those of the whole surge when there are none.
    pub(super) origins: Origins,
    /// The first of the costs over the surge and as long before and after, in its unit a second.
    pub(super) curve: Vec<f64>,
}

/// One cost, in its unit a second: requests, bytes, seconds of work, seconds of connections.
#[derive(Debug, Serialize)]
pub(super) struct CostSummary {
    pub(super) cost: CostKind,
    pub(super) normal: f64,
    pub(super) mean: f64,
    pub(super) peak: f64,
    /// All told, in the unit.
    pub(super) excess: f64,
}

#[derive(Debug, Serialize)]
pub(in crate::show) struct RuleSummary {
    pub(in crate::show) text: String,
    /// The share of the excess that it explains.
    pub(super) coverage: f32,
    /// The share of normal traffic that it hits: the estimate, and the upper end of the 95% interval.
    pub(super) collateral: f32,
    pub(super) collateral_upper: f32,
    /// The least share that it explains of any eighth of the surge.
    pub(super) stability: f32,
    pub(super) requests: u64,
    pub(super) bytes: u64,
    pub(super) clients: u64,
    pub(super) requests_per_client: f64,
    /// What all that it matches have in common besides.
    pub(super) shares: Vec<String>,
    /// Requests outside all surges that it hits, their share there, and those of returning clients among them.
    pub(super) outside: u64,
    pub(super) outside_share: f64,
    pub(super) outside_returning: u64,
    /// The first match more than ten minutes before the surge, in UTC, and how many there were until then.
    pub(super) first_before: Option<String>,
    pub(super) before: u64,
    pub(super) time_zone: Option<TimeZoneSummary>,
}

#[derive(Debug, Serialize)]
pub(super) struct TimeZoneSummary {
    /// The strength of the daily rhythm, 0 to 1.
    pub(super) rhythm: f64,
    /// Hours from UTC; `None` for what has no rhythm and is a machine's.
    pub(super) offset_hours: Option<i64>,
    /// 0 to 1.
    pub(super) confidence: f64,
}

impl Summary {
    pub(super) fn new(explanation: &Explanation, networks: &Networks, clients: &Clients, show_addresses: bool) -> Self {
        let inputs = &explanation.inputs;
        let time = |at: Option<Timestamp>| at.map(|at| moment(at.as_seconds()).to_string());
        let unread = inputs.unread_summaries(clients);
        Self {
            requests: inputs.total.hits,
            from: time(inputs.first),
            to: time(inputs.last),
            surges: surges(&explanation.surges, networks, show_addresses),
            notes: notes(&explanation.notes, inputs.total.hits),
            lines: inputs.total.hits + unread.iter().map(|reason| reason.lines).sum::<u64>(),
            inputs: inputs.summaries(),
            unread,
        }
    }
}

/// Explained surges, ready to be shown.
pub(in crate::show) fn surges(traces: &Traces, networks: &Networks, show_addresses: bool) -> Vec<SurgeSummary> {
    traces.iter().map(|(explained, rules)| surge(explained, rules, networks, show_addresses)).collect()
}

fn surge(explained: &Explained, rules: &[Traced], networks: &Networks, show_addresses: bool) -> SurgeSummary {
    let surge = &explained.surge;
    let cost = |level: &seawall_engine::detection::explain::Level| CostSummary {
        cost: level.cost,
        normal: level.normal,
        mean: level.mean,
        peak: level.peak,
        excess: level.excess,
    };
    SurgeSummary {
        from: moment(surge.from.as_seconds()).to_string(),
        until: moment(surge.until.as_seconds()).to_string(),
        seconds: surge.until.since(surge.from).as_secs(),
        costs: surge.levels.iter().map(cost).collect(),
        verdict: explained.verdict,
        shapes: explained.shapes.clone(),
        explanation: explained.explanation.clone(),
        advice: advice(explained, rules),
        rules: rules.iter().map(|traced| rule(traced, show_addresses)).collect(),
        origins: Origins::of(&explained.clients, networks),
        curve: surge.curve.clone(),
    }
}

fn rule(traced: &Traced, show_addresses: bool) -> RuleSummary {
    let evidence = &traced.evidence;
    let (first_before, before) = traced.precursor.unzip();
    RuleSummary {
        text: if show_addresses { traced.rule.text_with_networks() } else { traced.rule.to_string() },
        coverage: evidence.coverage,
        collateral: evidence.collateral,
        collateral_upper: evidence.collateral_upper,
        stability: evidence.stability,
        requests: traced.requests,
        bytes: traced.bytes,
        clients: traced.clients,
        requests_per_client: traced.requests as f64 / traced.clients.max(1) as f64,
        shares: evidence.closure.clone(),
        outside: traced.outside,
        outside_share: traced.outside_share,
        outside_returning: traced.outside_returning,
        first_before: first_before.map(|at: Timestamp| moment(at.as_seconds()).to_string()),
        before: before.unwrap_or_default(),
        time_zone: traced.time_zone.map(time_zone),
    }
}

fn time_zone(zone: TimeZone) -> TimeZoneSummary {
    TimeZoneSummary { rhythm: zone.rhythm, offset_hours: zone.offset_hours, confidence: zone.confidence }
}

/// What the logs do not tell.
fn notes(notes: &Notes, requests: u64) -> Vec<String> {
    let mut said = Vec::new();
    if requests > 0 && notes.without_client == requests {
        said.push("The logs hold no addresses, so clients are not counted and no rule can name them.".to_owned());
    }
    if requests > 0 && notes.without_agent == requests {
        said.push("The logs hold no user agents, the best mark of a sender; log them (format combined).".to_owned());
    }
    if notes.backwards > 0 {
        said.push(format!(
            "The time runs backwards by more than a minute at {} lines; they are counted at the time that they state.",
            crate::show::text::grouped(notes.backwards)
        ));
    }
    said
}
