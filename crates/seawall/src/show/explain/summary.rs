//! An explanation ready to be shown. Its serialised form is the output of `--json`, whose names are kept stable and described in
//! `docs/explain.md`. Every text in it has been made safe for a terminal.

use seawall_engine::decision::{CostKind, NamedShape, Verdict};
use seawall_engine::detection::explain::{Habit, Heaviest, Level, Prevalent, Surge, TimeZone, Traced, TracedSurge};
use seawall_engine::units::{Timestamp, counted};
use serde::Serialize;

use super::Explanation;
use super::advice::{advice, objection};
use super::origins::Origins;
use crate::networks::Networks;
use crate::show::log::page::span;
use crate::show::log::summary::{InputSummary, UnreadSummary};
use crate::show::log::{Clients, moment};

/// A log that is shorter than this does not say what is usual.
const SECONDS_MIN: u64 = 3600;

/// The surges of some logs.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Lines that were read as requests.
    pub(super) requests: u64,
    /// The earliest and the latest request, in UTC.
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    /// Seconds between them.
    pub(super) seconds: u64,
    pub(super) surges: Vec<SurgeSummary>,
    /// Surges beyond the strongest, which are not explained.
    pub(super) left_out: Vec<SpanSummary>,
    /// What comes at the same hour on about half of the days or more, and so is usual there.
    pub(super) habits: Vec<HabitSummary>,
    /// What more than half of the requests outside surges have.
    pub(super) prevalent: Vec<PrevalentSummary>,
    /// What the logs do not tell, and what follows from that.
    pub(super) notes: Vec<String>,
    pub(super) inputs: Vec<InputSummary>,
    pub(super) unread: Vec<UnreadSummary>,
    /// All lines, read or not.
    pub(super) lines: u64,
}

/// A stretch of time, in UTC.
#[derive(Debug, Serialize)]
pub(super) struct SpanSummary {
    pub(super) from: String,
    pub(super) until: String,
}

#[derive(Debug, Serialize)]
pub(super) struct HabitSummary {
    /// The first hour in UTC, and the one at which it is over.
    pub(super) from_hour: u8,
    pub(super) until_hour: u8,
    pub(super) cost: CostKind,
    /// In stretches of so many seconds,
    pub(super) seconds: u64,
    /// the most on the median day then, and at the median hour, in units.
    pub(super) peak: f64,
    pub(super) elsewhere: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct PrevalentSummary {
    /// As a rule.
    pub(super) text: String,
    /// The share of the requests outside surges.
    pub(super) share: f64,
    pub(super) requests: u64,
    pub(super) clients: u64,
    pub(super) clients_exact: bool,
    pub(super) requests_per_client: f64,
    /// The first request with it, and the last, in UTC.
    pub(super) first: String,
    pub(super) last: String,
}

#[derive(Debug, Serialize)]
pub(in crate::show) struct SurgeSummary {
    /// In UTC.
    pub(in crate::show) from: String,
    pub(in crate::show) until: String,
    pub(super) seconds: u64,
    pub(super) costs: Vec<CostSummary>,
    pub(in crate::show) verdict: Verdict,
    pub(super) shapes: Vec<NamedShape>,
    pub(in crate::show) explanation: String,
    pub(in crate::show) advice: String,
    pub(in crate::show) rules: Vec<RuleSummary>,
    /// All requests within, and the clients that sent them; zero when the logs have no addresses.
    pub(super) requests: u64,
    pub(super) clients: u64,
    pub(super) clients_exact: bool,
    pub(super) requests_per_client: f64,
    /// The network with most of the excess.
    pub(super) heaviest: Option<HeaviestSummary>,
    /// Where the excess comes from: what the rules match; of the whole surge when there are none.
    pub(super) origins: Origins,
    /// The first of the costs over the surge and as long before and after, in its unit a second, each over so many seconds.
    pub(super) curve: Vec<f64>,
    pub(super) curve_seconds: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct HeaviestSummary {
    /// How large the network is: `an IPv4 /16`; with addresses the network itself.
    pub(super) network: String,
    /// The share of the excess, 0 to 1.
    pub(super) share: f64,
    /// Different user agents in the sample.
    pub(super) agents: usize,
    /// Whether it is one address with many agents.
    pub(super) is_gateway: bool,
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
    /// What it is called where it is spoken of, and in a file of rules.
    pub(super) name: String,
    pub(in crate::show) text: String,
    /// Why it is not advised, when it is not.
    pub(super) not_advised: Option<String>,
    /// The share of the excess that it explains.
    pub(super) coverage: f64,
    /// The share of the requests outside surges that it hits, and the upper end of its 95% interval.
    pub(super) collateral: f64,
    pub(super) collateral_upper: f64,
    /// The least share that it explains of any eighth of the surge that has an excess.
    pub(super) stability: f64,
    /// Of a rule that names addresses, the share in the later half of the surge whose clients were not in the earlier one.
    pub(super) turnover: Option<f64>,
    pub(super) requests: u64,
    pub(super) bytes: u64,
    pub(super) clients: u64,
    pub(super) clients_exact: bool,
    pub(super) requests_per_client: f64,
    /// Requests of these by clients that were there an hour before.
    pub(super) returning: u64,
    /// What all that it matches have in common besides.
    pub(super) shares: Vec<String>,
    /// Requests outside all surges that it hits, their share there, and those of returning clients among them.
    pub(super) outside: u64,
    pub(super) outside_share: f64,
    pub(super) outside_returning: u64,
    /// The clients that sent them, and their share of all that came outside surges.
    pub(super) outside_clients: u64,
    pub(super) outside_clients_share: f64,
    /// Requests just before and after surges that it hits, and those at other times that have a mark of the surge's senders.
    pub(super) beside: u64,
    pub(super) own: u64,
    /// When the first surge began with the same rule, where that was an earlier one, in UTC.
    pub(super) recurs: Option<String>,
    /// The first match more than ten minutes before the surge, in UTC, how many there were until then, and what matched, when it
    /// was not the rule but something else that all of the surge has.
    pub(super) first_before: Option<String>,
    pub(super) before: u64,
    pub(super) before_sign: Option<String>,
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
        let seconds = inputs.first.zip(inputs.last).map_or(0, |(first, last)| last.since(first).as_secs());
        Self {
            requests: inputs.total.hits,
            from: time(inputs.first),
            to: time(inputs.last),
            seconds,
            surges: surges(&explanation.surges, networks, show_addresses),
            left_out: explanation.left_out.iter().map(span_of).collect(),
            habits: explanation.habits.iter().map(habit).collect(),
            prevalent: explanation.prevalent.iter().map(prevalent).collect(),
            notes: notes(explanation, inputs.total.hits, seconds),
            lines: inputs.total.hits + unread.iter().map(|reason| reason.lines).sum::<u64>(),
            inputs: inputs.summaries(),
            unread,
        }
    }
}

fn habit(habit: &Habit) -> HabitSummary {
    let Habit { from: from_hour, until: until_hour, cost, seconds, peak, elsewhere } = *habit;
    HabitSummary { from_hour, until_hour, cost, seconds, peak, elsewhere }
}

/// Explained surges, ready to be shown.
pub(in crate::show) fn surges(surges: &[TracedSurge], networks: &Networks, show_addresses: bool) -> Vec<SurgeSummary> {
    surges.iter().map(|traced| surge(traced, networks, show_addresses)).collect()
}

fn surge(traced: &TracedSurge, networks: &Networks, show_addresses: bool) -> SurgeSummary {
    let TracedSurge { explained, within, rules } = traced;
    let surge = &explained.surge;
    let cost = |level: &Level| CostSummary {
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
        advice: advice(traced),
        rules: rules.iter().map(|found| rule(traced, found, show_addresses)).collect(),
        requests: within.requests,
        clients: within.clients,
        clients_exact: within.clients_exact,
        requests_per_client: within.each(),
        heaviest: explained.heaviest.as_ref().map(|heaviest| heaviest_network(heaviest, show_addresses)),
        origins: Origins::of(&explained.clients, networks),
        curve: surge.curve.clone(),
        curve_seconds: surge.curve_seconds,
    }
}

fn heaviest_network(heaviest: &Heaviest, show_addresses: bool) -> HeaviestSummary {
    let family = if heaviest.network.addr().is_ipv4() { "IPv4" } else { "IPv6" };
    HeaviestSummary {
        network: match show_addresses {
            true => heaviest.network.to_string(),
            false => format!("an {family} /{}", heaviest.network.prefix_len()),
        },
        share: heaviest.share,
        agents: heaviest.agents,
        is_gateway: heaviest.is_gateway(),
    }
}

fn span_of(surge: &Surge) -> SpanSummary {
    let [from, until] = [surge.from, surge.until].map(|at| moment(at.as_seconds()).to_string());
    SpanSummary { from, until }
}

fn prevalent(found: &Prevalent) -> PrevalentSummary {
    let (first, last) = found.span;
    PrevalentSummary {
        text: found.condition.to_string(),
        share: found.share,
        requests: found.counted.requests,
        clients: found.counted.clients,
        clients_exact: found.counted.clients_exact,
        requests_per_client: found.counted.each(),
        first: moment(first.as_seconds()).to_string(),
        last: moment(last.as_seconds()).to_string(),
    }
}

fn rule(surge: &TracedSurge, traced: &Traced, show_addresses: bool) -> RuleSummary {
    let evidence = &traced.evidence;
    let precursor = traced.precursor.as_ref();
    RuleSummary {
        name: super::rule_name(traced),
        text: if show_addresses { traced.rule.text_with_networks() } else { traced.rule.to_string() },
        not_advised: objection(surge, traced),
        coverage: traced.coverage,
        collateral: traced.outside_share,
        collateral_upper: traced.outside_share_upper,
        stability: traced.steady,
        turnover: traced.turnover,
        requests: traced.within.requests,
        bytes: traced.within.bytes,
        clients: traced.within.clients,
        clients_exact: traced.within.clients_exact,
        requests_per_client: traced.within.each(),
        returning: traced.within_returning,
        shares: evidence.closure.clone(),
        outside: traced.outside,
        outside_share: traced.outside_share,
        outside_returning: traced.outside_returning,
        outside_clients: traced.outside_clients,
        outside_clients_share: traced.outside_clients_share,
        beside: traced.beside,
        own: traced.own,
        recurs: traced.recurs.map(|first| moment(first.as_seconds()).to_string()),
        first_before: precursor.map(|first| moment(first.at.as_seconds()).to_string()),
        before: precursor.map_or(0, |first| first.requests),
        before_sign: precursor.and_then(|first| first.sign.as_ref()).map(ToString::to_string),
        time_zone: traced.time_zone.map(time_zone),
    }
}

fn time_zone(zone: TimeZone) -> TimeZoneSummary {
    TimeZoneSummary { rhythm: zone.rhythm, offset_hours: zone.offset_hours, confidence: zone.confidence }
}

/// What the logs do not tell.
fn notes(explanation: &Explanation, requests: u64, seconds: u64) -> Vec<String> {
    let (notes, left_out) = (&explanation.notes, explanation.left_out.len());
    let mut said = Vec::new();
    if requests > 0 && notes.without_client == requests {
        said.push("The logs hold no addresses, so clients are not counted and no rule can name them.".to_owned());
    }
    if requests > 0 && notes.without_agent == requests {
        said.push("The logs hold no user agents, the best mark of a sender; log them (format combined).".to_owned());
    }
    if notes.backwards > 0 {
        said.push(match notes.backwards {
            1 => "The time runs backwards by more than a minute at 1 line; it is counted at the time that it states."
                .to_owned(),
            count => format!(
                "The time runs backwards by more than a minute at {} lines; they are counted at the time that they state.",
                crate::show::text::grouped(count)
            ),
        });
    }
    if let Some(far) = &explanation.far {
        said.push(format!(
            "{} dated far from all others, between {} and {} UTC, as by a clock that was wrong; {} set aside.",
            match far.requests {
                1 => "1 request is".to_owned(),
                count => format!("{} requests are", crate::show::text::grouped(count)),
            },
            moment(far.from.as_seconds()).strftime("%Y-%m-%d %H:%M"),
            moment(far.until.as_seconds()).strftime("%Y-%m-%d %H:%M"),
            if far.requests == 1 { "it is" } else { "they are" }
        ));
    }
    if requests > 0 && seconds < SECONDS_MIN {
        let length = span(seconds.max(1));
        said.push(format!("The logs span {length}, too little to say what is usual. Add earlier ones."));
    }
    if left_out > 0 {
        said.push(format!(
            "{} more, weaker than those below, {} not explained; what came in them is not taken for normal.",
            counted(left_out as u64, "surge"),
            if left_out == 1 { "is" } else { "are" }
        ));
    }
    said
}
