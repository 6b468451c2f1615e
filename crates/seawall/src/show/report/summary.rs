//! What a report says, ready to be shown. Its serialised form is the output of `--json`, whose names are kept stable and
//! described in `docs/report.md`. Every text in it has been made safe for a terminal.

use hdrhistogram::Histogram;
use seawall_engine::detection::explain::Surge;
use serde::{Serialize, Serializer};

use super::Report;
use super::collection::{Counted, Counter, DistributionCounter, TableCounter};
use super::panel::{DerivedPanel, Kind, Names, Order, Panel, Unit, Wording};
use super::traffic::{OutcomeClass, Traffic};
use crate::agents::Agents;
use crate::show::explain::summary::{SurgeSummary, surges};
use crate::show::log::moment;
use crate::show::log::summary::{InputSummary, Totals, UnreadSummary, share};
use crate::show::log::table::{Count, Row, Table};

/// How many rows of a panel in order of time are shown at least: a whole day.
const TIME_ROWS_MIN: usize = 24;

/// The most cells of the traffic over time.
const TRAFFIC_CELLS_MAX: u64 = 240;

/// The parts of requests that a distribution tells the amounts of.
const QUANTILES: [f64; 7] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0];

/// What a report says.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub(super) totals: Totals,
    /// The filter, as it was understood.
    pub(super) filter: Option<String>,
    pub(super) inputs: Vec<InputSummary>,
    pub(super) panels: Vec<PanelSummary>,
    pub(super) unread: Vec<UnreadSummary>,
}

#[derive(Debug, Serialize)]
pub(super) struct PanelSummary {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    #[serde(flatten)]
    pub(super) content: Content,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Content {
    Table(TableSummary),
    Traffic(TrafficSummary),
    Distribution(DistributionSummary),
    Surges(SurgesSummary),
}

#[derive(Debug, Serialize)]
pub(super) struct TableSummary {
    /// Whether the logs record this at all.
    pub(super) recorded: bool,
    /// Distinct values.
    pub(super) distinct: u64,
    /// Whether `distinct` and the counts of all rows are exact.
    pub(super) exact: bool,
    /// By how much the hits of a row can be too high at most, and how many hits a value that is missing can have.
    pub(super) hits_error_max: u64,
    /// Requests that have no value.
    pub(super) without_value: Tally,
    /// Requests from logs whose format has no room for the value.
    pub(super) not_recorded: Tally,
    pub(super) rows: Vec<RowSummary>,
    /// What people read for requests that have no value.
    #[serde(rename = "without_value_label")]
    pub(super) absent_label: &'static str,
    /// Whether the rows are in order of time.
    #[serde(skip)]
    pub(super) is_of_time: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct RowSummary {
    pub(super) value: String,
    /// What people read for it.
    #[serde(skip)]
    pub(super) label: String,
    /// What there is to say about it besides: the words for a status, the name of a network, the kind of an agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<String>,
    #[serde(flatten)]
    pub(super) tally: Tally,
    /// How many of the hits may be too many.
    pub(super) hits_error: u64,
    /// How many of the bytes may be other values'.
    pub(super) bytes_error: u64,
    /// The hits by outcome, without those that may be too many.
    pub(super) hits_by_outcome: HitsByOutcome,
}

/// Hits in the order of [`OutcomeClass::ALL`]; an object with the names of those that there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct HitsByOutcome(pub(super) [u64; OutcomeClass::ALL.len()]);

impl Serialize for HitsByOutcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let named = OutcomeClass::ALL.iter().zip(self.0).filter(|(_, hits)| *hits > 0);
        serializer.collect_map(named.map(|(class, hits)| (class.name(), hits)))
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Tally {
    pub(super) hits: u64,
    pub(super) hits_share: f64,
    pub(super) bytes: u64,
    pub(super) bytes_share: f64,
    /// How long a request took on average, in milliseconds; `None` where no log says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mean_ms: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct TrafficSummary {
    /// The beginning of the first cell, in UTC.
    pub(super) from: Option<String>,
    pub(super) cell_seconds: u64,
    pub(super) outcomes: Vec<OutcomeSummary>,
}

#[derive(Debug, Serialize)]
pub(super) struct OutcomeSummary {
    pub(super) outcome: &'static str,
    #[serde(skip)]
    pub(super) title: &'static str,
    #[serde(flatten)]
    pub(super) tally: Tally,
    /// The hits in each cell.
    pub(super) cells: Vec<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct DistributionSummary {
    /// Requests whose log says the amount, and those whose log does not.
    pub(super) requests: u64,
    pub(super) requests_not_recorded: u64,
    /// The mean, in the unit that the name says.
    #[serde(flatten)]
    pub(super) mean: Option<Mean>,
    pub(super) quantiles: Vec<QuantileSummary>,
    /// How many requests had an amount up to a bound, and above the bound before it.
    pub(super) buckets: Vec<BucketSummary>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) enum Mean {
    #[serde(rename = "mean_ms")]
    Milliseconds(f64),
    #[serde(rename = "mean_bytes")]
    Bytes(f64),
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) enum Amount {
    #[serde(rename = "value_ms")]
    Milliseconds(f64),
    #[serde(rename = "value_bytes")]
    Bytes(u64),
}

#[derive(Debug, Serialize)]
pub(super) struct QuantileSummary {
    /// This part of the requests had at most
    pub(super) quantile: f64,
    #[serde(flatten)]
    pub(super) amount: Amount,
}

#[derive(Debug, Serialize)]
pub(super) struct BucketSummary {
    #[serde(flatten)]
    pub(super) up_to: Amount,
    pub(super) requests: u64,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct SurgesSummary {
    pub(super) explained: bool,
    /// With explanations, when they were wanted and possible.
    pub(super) surges: Vec<SurgeSummary>,
    /// Without: only when, and how much.
    pub(super) found: Vec<FoundSurge>,
    /// Weaker ones beyond those, which are never explained.
    pub(super) left_out: Vec<FoundSurge>,
}

#[derive(Debug, Serialize)]
pub(super) struct FoundSurge {
    /// In UTC.
    pub(super) from: String,
    pub(super) until: String,
    pub(super) seconds: u64,
    /// How many times what is usual there was of what it had most of.
    pub(super) times_usual: f64,
    #[serde(skip)]
    pub(super) cost: &'static str,
}

impl Report<'_> {
    /// What the report says, with the `top` rows of each panel.
    pub fn summary(&self, top: usize) -> Summary {
        let wanted = &self.options.panels;
        let counters = self.collection.as_ref().map_or(&[][..], |collection| &collection.counters);
        let shown = counters.iter().filter(|counter| wanted.is_empty() || wanted.contains(&counter.panel.name));
        Summary {
            totals: self.totals(counters),
            filter: self.filter.as_ref().map(|filter| crate::show::text::escape(filter.as_bytes())),
            inputs: self.inputs.summaries(),
            panels: shown.filter_map(|counter| self.panel(counter, counters, top)).collect(),
            unread: self.inputs.unread_summaries(&self.options.clients),
        }
    }

    fn totals(&self, counters: &[Counter]) -> Totals {
        let (distinct, is_exact) = table(counters, "clients")
            .map_or((0, true), |counter| (counter.table.distinct(), counter.table.is_exact()));
        self.inputs.totals(distinct, is_exact)
    }

    fn panel(&self, counter: &Counter, counters: &[Counter], top: usize) -> Option<PanelSummary> {
        let Panel { name, title, kind } = counter.panel;
        let content = match (&counter.counted, kind) {
            (Counted::Table(table), _) => Content::Table(self.table(table, top)),
            (Counted::Traffic(traffic), _) => Content::Traffic(self.traffic(traffic)),
            (Counted::Distribution(distribution), _) => Content::Distribution(distribution_summary(distribution)),
            (Counted::Surges(_), _) => Content::Surges(self.surges()),
            (Counted::Elsewhere, Kind::Derived(derived)) => {
                Content::Table(self.derived(table(counters, derived.of)?, derived, top)?)
            }
            (Counted::Elsewhere, _) => return None,
        };
        Some(PanelSummary { name, title, content })
    }

    fn table(&self, counter: &TableCounter, top: usize) -> TableSummary {
        let (table, panel) = (&counter.table, counter.panel);
        let is_of_time = panel.order == Order::Time;
        let mut chosen = table.top(if is_of_time { top.max(TIME_ROWS_MIN) } else { top });
        if is_of_time {
            chosen.sort_unstable_by(|a, b| a.value.cmp(&b.value));
        }
        TableSummary {
            recorded: counter.unrecorded.hits == 0 || table.distinct() > 0 || table.absent().hits > 0,
            without_value: self.tally(table.absent()),
            not_recorded: self.tally(counter.unrecorded),
            absent_label: panel.absent,
            is_of_time,
            ..self.rows(table, &chosen, panel.wording)
        }
    }

    /// The rows of another table in another order; `None` where no row has what they are ordered by.
    fn derived(&self, counter: &TableCounter, panel: &DerivedPanel, top: usize) -> Option<TableSummary> {
        let hits_min = panel.hits_min_per.map_or(1, |per| (self.inputs.total.hits / per).max(1));
        let wanted = |row: &Row| row.count.hits - row.hits_error >= hits_min && (panel.key)(row) > 0;
        let chosen = counter.table.top_by(top, wanted, panel.key);
        (!chosen.is_empty()).then(|| self.rows(&counter.table, &chosen, counter.panel.wording))
    }

    fn rows(&self, table: &Table, chosen: &[&Row], wording: Wording) -> TableSummary {
        let names = self.names();
        let row = |row: &&Row| {
            let text = (wording.text)(&row.value, &names);
            RowSummary {
                label: wording.label.map_or_else(|| text.clone(), |label| label(&row.value, &names)),
                detail: wording.detail.and_then(|detail| detail(&row.value, &names)),
                value: text,
                tally: self.tally(row.count),
                hits_error: row.hits_error,
                bytes_error: row.bytes_error,
                hits_by_outcome: HitsByOutcome(row.hits_by_kind()),
            }
        };
        TableSummary {
            recorded: true,
            distinct: table.distinct(),
            exact: table.is_exact(),
            hits_error_max: table.missing_hits_max(),
            without_value: self.tally(Count::default()),
            not_recorded: self.tally(Count::default()),
            rows: chosen.iter().map(row).collect(),
            absent_label: "",
            is_of_time: false,
        }
    }

    fn names(&self) -> Names<'_> {
        Names { clients: &self.options.clients, networks: self.options.networks, agents: Agents::built_in() }
    }

    fn traffic(&self, traffic: &Traffic) -> TrafficSummary {
        let (from, cell_seconds, cells) = traffic.span(TRAFFIC_CELLS_MAX).unwrap_or_default();
        let outcome = |((class, count), cells): ((OutcomeClass, Count), Vec<u64>)| OutcomeSummary {
            outcome: class.name(),
            title: class.title(),
            tally: self.tally(count),
            cells,
        };
        TrafficSummary {
            from: (cell_seconds > 0).then(|| moment(from).to_string()),
            cell_seconds,
            outcomes: traffic.totals().zip(cells).map(outcome).collect(),
        }
    }

    fn surges(&self) -> SurgesSummary {
        let clients = &self.options.clients;
        let left_out = self.surges.found.left_out.iter().map(found_surge).collect();
        match &self.surges.explained {
            Some(explained) => SurgesSummary {
                explained: true,
                surges: surges(explained, self.options.networks, clients.shows_addresses()),
                found: Vec::new(),
                left_out,
            },
            None => SurgesSummary {
                found: self.surges.found.surges.iter().map(found_surge).collect(),
                left_out,
                ..Default::default()
            },
        }
    }

    fn tally(&self, count: Count) -> Tally {
        Tally {
            hits: count.hits,
            hits_share: share(count.hits, self.inputs.total.hits),
            bytes: count.bytes,
            bytes_share: share(count.bytes, self.inputs.total.bytes),
            mean_ms: count.mean_micros().map(milliseconds),
        }
    }
}

impl Summary {
    /// The formats of the inputs, each once.
    pub(super) fn formats(&self) -> Vec<&'static str> {
        let mut formats: Vec<_> = self.inputs.iter().filter_map(|input| input.format).collect();
        formats.sort_unstable();
        formats.dedup();
        formats
    }

    /// Whether any row says how long requests took.
    pub(super) fn is_timed(&self) -> bool {
        self.panels.iter().any(|panel| match &panel.content {
            Content::Table(table) => table.rows.iter().any(|row| row.tally.mean_ms.is_some()),
            _ => false,
        })
    }
}

/// What was counted for the table panel of this name.
fn table<'a>(counters: &'a [Counter], name: &str) -> Option<&'a TableCounter> {
    counters.iter().find_map(|counter| match &counter.counted {
        Counted::Table(table) if counter.panel.name == name => Some(table),
        _ => None,
    })
}

fn found_surge(surge: &Surge) -> FoundSurge {
    let strongest = surge.levels.first();
    FoundSurge {
        from: moment(surge.from.as_seconds()).to_string(),
        until: moment(surge.until.as_seconds()).to_string(),
        seconds: surge.until.since(surge.from).as_secs(),
        times_usual: strongest.map_or(0.0, |level| rounded(level.mean / level.normal.max(1e-9), 10.0)),
        cost: strongest.map_or("requests", |level| match level.cost {
            seawall_engine::decision::CostKind::Requests => "requests",
            seawall_engine::decision::CostKind::Bytes => "bytes",
            _ => "time",
        }),
    }
}

fn distribution_summary(counter: &DistributionCounter) -> DistributionSummary {
    let (amounts, unit) = (&counter.amounts, counter.panel.unit);
    let quantile = |quantile: f64| QuantileSummary {
        quantile,
        amount: amount(if quantile >= 1.0 { amounts.max() } else { amounts.value_at_quantile(quantile) }, unit),
    };
    DistributionSummary {
        requests: amounts.len(),
        requests_not_recorded: counter.unrecorded,
        mean: (!amounts.is_empty()).then(|| match unit {
            Unit::Microseconds => Mean::Milliseconds(rounded(amounts.mean() / 1000.0, 1000.0)),
            Unit::Bytes => Mean::Bytes(rounded(amounts.mean(), 1.0)),
        }),
        quantiles: if amounts.is_empty() { Vec::new() } else { QUANTILES.into_iter().map(quantile).collect() },
        buckets: buckets(amounts, unit),
    }
}

/// The counts between powers of two, without the empty ones at either end.
fn buckets(amounts: &Histogram<u64>, unit: Unit) -> Vec<BucketSummary> {
    let mut counts = [0_u64; u64::BITS as usize];
    for recorded in amounts.iter_recorded() {
        // The bits that a bound must have which is no smaller.
        let bits = recorded.value_iterated_to().max(1).next_power_of_two().trailing_zeros();
        if let Some(count) = counts.get_mut(bits as usize) {
            *count += recorded.count_since_last_iteration();
        }
    }
    let first = counts.iter().position(|count| *count > 0).unwrap_or(0);
    let last = counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
    let shown = (0_u32..).zip(counts).take(last).skip(first);
    shown.map(|(bits, requests)| BucketSummary { up_to: amount(1 << bits, unit), requests }).collect()
}

fn amount(value: u64, unit: Unit) -> Amount {
    match unit {
        Unit::Microseconds => Amount::Milliseconds(milliseconds(value)),
        Unit::Bytes => Amount::Bytes(value),
    }
}

fn milliseconds(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

/// To so many parts of one.
fn rounded(number: f64, parts: f64) -> f64 {
    (number * parts).round() / parts
}
