//! What a drill found: the numbers for people and scripts, and whether each target holds.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::time::Duration;

use seawall_engine::decision::{Event, IncidentStatus, RuleStatus, Stage, Status, Verdict};
use seawall_engine::units::Timestamp;
use serde::Serialize;

use super::guard::{GuardStatus, Usage};
use super::kernel::{Escalation, KernelSaid, Sample, escalation};
use super::load::{End, Harvest, Sent};
use super::origin::Arrival;
use super::population::Population;
use super::scenario::{Label, Scenario, Targets};

/// What is sent this long after a rule was put in force was sent in its presence: the gate takes it up meanwhile.
const RULE_GRACE: Duration = Duration::from_millis(250);

/// The lag behind schedule, of the worst visit in a hundred, beyond which a drill proves nothing.
const LAG_MAX: Duration = Duration::from_millis(250);

/// Streams watched for less say nothing about their frame rate.
const STREAM_WATCHED_MIN: Duration = Duration::from_secs(3);

/// The outcome of a drill.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The scenario's name.
    pub scenario: String,
    /// The seed of this run.
    pub seed: u64,
    /// Whether a guard stood before the origin.
    pub guarded: bool,
    /// How long traffic was sent, in seconds.
    pub duration_seconds: f64,
    /// When the unusual traffic began, after the start, in seconds.
    pub onset_seconds: f64,
    /// Whether all that was planned was sent in time.
    pub valid: bool,
    /// Why not, and other remarks.
    pub remarks: Vec<String>,
    /// What became of the wanted requests.
    pub wanted: Traffic,
    /// What became of the unwanted ones.
    pub unwanted: Traffic,
    /// From the onset to the first rule in force that is about the flood, in seconds.
    pub onset_to_rule_seconds: Option<f64>,
    /// Unwanted requests sent a quarter of a second or more after that.
    pub unwanted_after_rule: Share,
    /// The rules that were put in force, or proposed.
    pub rules: Vec<RuleFound>,
    /// What the guard made of it.
    pub incidents: Vec<IncidentStatus>,
    /// What happened at the guard, as its journal has it.
    pub events: Vec<Event>,
    /// Streams that were watched for three seconds or more.
    pub streams: Option<Streams>,
    /// CPU time of the guard, in seconds.
    pub guard_cpu_seconds: f64,
    /// What handing clients down to the kernel has saved the guard, where it did.
    pub escalation: Option<Escalation>,
    /// The most memory that the guard held, in bytes.
    pub guard_resident_bytes_peak: u64,
    /// The drill itself.
    pub generator: Generator,
    /// Each target, and whether it holds.
    pub targets: Vec<Target>,
}

/// What became of the requests of one label.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Traffic {
    /// Requests sent.
    pub sent: u64,
    /// Requests that reached the origin; those served, where the guard itself is the origin.
    pub reached_origin: u64,
    /// Requests answered whole by the site.
    pub served: u64,
    /// Requests that the guard refused.
    pub refused: u64,
    /// Connections closed without an answer.
    pub dropped: u64,
    /// No answer in time, a server error, or an answer cut short.
    pub failed: u64,
    /// Time to the head of the answer, of those served, in milliseconds: half are faster.
    pub p50_milliseconds: Option<f64>,
    /// The same: 99 of 100 are faster.
    pub p99_milliseconds: Option<f64>,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
}

/// How many out of how many.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Share {
    /// How many.
    pub count: u64,
    /// Out of how many.
    pub of: u64,
}

/// One rule, with whom it really hit.
#[derive(Clone, Debug, Serialize)]
pub struct RuleFound {
    /// What the guard says of it.
    #[serde(flatten)]
    pub status: RuleStatus,
    /// When it was first put in force, in seconds after the onset.
    pub enforced_after_onset_seconds: Option<f64>,
    /// Wanted requests that it refused, out of those sent while it was in force.
    pub wanted_refused: Share,
    /// Unwanted requests that it refused, out of those sent while it was in force.
    pub unwanted_refused: Share,
}

/// How endless answers were.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Streams {
    /// How many.
    pub count: u64,
    /// The most connections open at once.
    pub at_once_peak: u64,
    /// Frames a second, in the middle.
    pub frames_per_second_p50: f64,
    /// Frames a second that all but one in a hundred had.
    pub frames_per_second_p01: f64,
}

/// How well the load kept to its schedule.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Generator {
    /// Visits begun.
    pub visits: u64,
    /// How late the worst visit in a hundred began, in milliseconds.
    pub lag_p99_milliseconds: f64,
    /// How late the worst visit began, in milliseconds.
    pub lag_max_milliseconds: f64,
    /// Visits not made since a cap was reached.
    pub visits_withheld: u64,
    /// Connections that this machine refused to make.
    pub local_failures: u64,
    /// The most connections open at once.
    pub connections_peak: u64,
    /// CPU time of load and origin together, in seconds.
    pub cpu_seconds: f64,
}

/// One target.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    /// What was asked.
    pub name: &'static str,
    /// What must be, in words.
    pub wanted: String,
    /// What was, in words.
    pub found: String,
    /// Whether it holds.
    pub met: bool,
}

impl Outcome {
    /// Whether the drill was valid and all targets hold.
    pub fn holds(&self) -> bool {
        self.valid && self.targets.iter().all(|target| target.met)
    }
}

/// All that was seen while the drill ran.
pub(crate) struct Seen {
    pub(crate) starts: Timestamp,
    pub(crate) ended: Timestamp,
    pub(crate) harvest: Harvest,
    /// `None` where the guard itself is the origin.
    pub(crate) arrivals: Option<Vec<Arrival>>,
    pub(crate) guard: Option<Watched>,
    pub(crate) connections_peak: usize,
    pub(crate) cpu: Duration,
    pub(crate) remarks: Vec<String>,
}

/// What was seen of the guard.
#[derive(Default)]
pub(crate) struct Watched {
    pub(crate) status: Status,
    pub(crate) events: Vec<Event>,
    pub(crate) usage: Usage,
    /// When each rule was first in force, and when it was first seen not to be any more.
    pub(crate) in_force: HashMap<u32, (Timestamp, Option<Timestamp>)>,
    pub(crate) kernel: KernelSaid,
    samples: Vec<Sample>,
}

impl Watched {
    /// Takes what the guard says now.
    pub(crate) fn update(&mut self, now: GuardStatus) {
        let GuardStatus { detection: mut status, events, enforcement } = now;
        self.kernel = enforcement.kernel;
        for event in events {
            if !self.events.contains(&event) {
                self.events.push(event);
            }
        }
        for rule in &status.rules {
            let Some(enforced) = rule.enforced else { continue };
            let entry = self.in_force.entry(rule.id.0).or_insert((enforced, None));
            entry.1 = match rule.stage {
                Stage::Enforced => None,
                _ => entry.1.or(Some(status.at)),
            };
        }
        // A rule that the guard has forgotten meanwhile stays in the report as it was last seen.
        let gone: Vec<_> =
            self.status.rules.iter().filter(|old| status.rules.iter().all(|new| new.id != old.id)).cloned().collect();
        for rule in &gone {
            if let Some(entry) = self.in_force.get_mut(&rule.id.0) {
                entry.1 = entry.1.or(Some(status.at));
            }
        }
        status.rules.extend(gone);
        self.status = status;
    }

    /// Notes how much processor time it has used by now.
    pub(crate) fn sample(&mut self, at: Timestamp, cpu: Duration) {
        self.samples.push(Sample { at, cpu, clients: self.kernel.clients });
    }
}

/// Counts everything.
pub(crate) fn tally(scenario: &Scenario, seed: u64, population: &Population, seen: Seen) -> Outcome {
    let Seen { starts, ended, harvest, arrivals, guard, connections_peak, cpu, mut remarks } = seen;
    let guarded = guard.is_some();
    let onset = starts + scenario.onset.0;
    let watched = guard.unwrap_or_default();
    let first_rule = first_rule(&watched, &harvest.sent);
    let (mut wanted, mut unwanted) = (traffic(&harvest.sent, Label::Wanted), traffic(&harvest.sent, Label::Unwanted));
    let mut after = Share { count: 0, of: 0 };
    let is_after = |at: Timestamp| first_rule.is_some_and(|rule| at >= rule + RULE_GRACE);
    after.of = harvest.sent.iter().filter(|sent| sent.label == Label::Unwanted && is_after(sent.at)).count() as u64;
    match &arrivals {
        None => {
            wanted.reached_origin = wanted.served;
            unwanted.reached_origin = unwanted.served;
            let reached = |sent: &&Sent| sent.label == Label::Unwanted && sent.end == End::Served && is_after(sent.at);
            after.count = harvest.sent.iter().filter(reached).count() as u64;
        }
        Some(arrivals) => {
            let mut unknown = 0_u64;
            for (arrival, sent_at) in matched(arrivals, &harvest.sent) {
                match arrival.client.and_then(|address| population.label(address)) {
                    Some(Label::Wanted) => wanted.reached_origin += 1,
                    Some(Label::Unwanted) => {
                        unwanted.reached_origin += 1;
                        after.count += u64::from(is_after(sent_at));
                    }
                    None => unknown += 1,
                }
            }
            if unknown > 0 {
                remarks.push(format!(
                    "{unknown} requests reached the origin without the address of any client of the drill"
                ));
            }
        }
    }
    let generator = generator(&harvest, connections_peak, cpu);
    let mut valid = true;
    for (reason, is_so) in [
        (
            format!("the load fell {:.0} ms behind its schedule", generator.lag_p99_milliseconds),
            generator.lag_p99_milliseconds > LAG_MAX.as_secs_f64() * 1e3,
        ),
        (format!("{} visits were withheld at a cap", generator.visits_withheld), generator.visits_withheld > 0),
        (
            format!("this machine refused {} connections (ports or open files)", generator.local_failures),
            generator.local_failures > 0,
        ),
    ] {
        if is_so {
            valid = false;
            remarks.push(format!("not valid: {reason}"));
        }
    }
    let rules = rules(&watched, &harvest.sent, onset, ended);
    let mut outcome = Outcome {
        scenario: scenario.name.clone(),
        seed,
        guarded,
        duration_seconds: ended.since(starts).as_secs_f64(),
        onset_seconds: scenario.onset.0.as_secs_f64(),
        valid,
        remarks,
        wanted,
        unwanted,
        onset_to_rule_seconds: first_rule.map(|rule| seconds_after(rule, onset)),
        unwanted_after_rule: after,
        rules,
        incidents: watched.status.incidents,
        events: watched.events,
        streams: streams(&harvest.sent, connections_peak),
        escalation: escalation(&watched.samples, first_rule, ended, watched.kernel.dropped.packets),
        guard_cpu_seconds: watched.usage.cpu.as_secs_f64(),
        guard_resident_bytes_peak: watched.usage.resident_peak,
        generator,
        targets: Vec::new(),
    };
    outcome.targets = targets(&scenario.targets, &outcome);
    outcome
}

/// When the first rule came into force that then refused an unwanted request; failing that, the first of all.
fn first_rule(watched: &Watched, sent: &[Sent]) -> Option<Timestamp> {
    let mut hits: HashMap<u32, u64> = HashMap::new();
    for sent in sent.iter().filter(|sent| sent.label == Label::Unwanted) {
        if let End::Refused { rule: Some(rule) } = sent.end {
            *hits.entry(rule).or_default() += 1;
        }
    }
    let of = |useful: bool| {
        let rules = watched.in_force.iter().filter(|(id, _)| !useful || hits.contains_key(id));
        rules.map(|(_, (from, _))| *from).min()
    };
    of(true).or_else(|| of(false))
}

/// Seconds from one moment to another, negative when it lies before.
fn seconds_after(at: Timestamp, from: Timestamp) -> f64 {
    at.since(from).as_secs_f64() - from.since(at).as_secs_f64()
}

fn traffic(sent: &[Sent], label: Label) -> Traffic {
    let mut traffic = Traffic::default();
    let mut latencies = Vec::new();
    for sent in sent.iter().filter(|sent| sent.label == label) {
        traffic.sent += 1;
        if sent.status != 0 {
            *traffic.statuses.entry(sent.status).or_default() += 1;
        }
        match sent.end {
            End::Served => {
                traffic.served += 1;
                latencies.push(sent.latency.as_secs_f64() * 1e3);
            }
            End::Refused { .. } => traffic.refused += 1,
            End::Dropped => traffic.dropped += 1,
            End::Failed => traffic.failed += 1,
        }
    }
    latencies.sort_unstable_by(f64::total_cmp);
    traffic.p50_milliseconds = quantile(&latencies, 0.5);
    traffic.p99_milliseconds = quantile(&latencies, 0.99);
    traffic
}

/// The value that this share of sorted values does not exceed.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last as f64 * share).round() as usize).copied()
}

/// Each arrival at the origin with the moment at which its request was sent: the last one of its client before it that
/// no other arrival has taken.
fn matched(arrivals: &[Arrival], sent: &[Sent]) -> Vec<(Arrival, Timestamp)> {
    let mut times: HashMap<Ipv4Addr, Vec<Timestamp>> = HashMap::new();
    for sent in sent {
        times.entry(sent.address).or_default().push(sent.at);
    }
    times.values_mut().for_each(|times| times.sort_unstable());
    let mut sorted = arrivals.to_vec();
    sorted.sort_by_key(|arrival| arrival.at);
    let find = |arrival: Arrival| {
        let of_client = arrival.client.and_then(|client| times.get_mut(&client));
        let sent_at = of_client.and_then(|times| {
            let before = times.partition_point(|at| *at <= arrival.at);
            before.checked_sub(1).map(|index| times.remove(index))
        });
        (arrival, sent_at.unwrap_or(arrival.at))
    };
    sorted.into_iter().map(find).collect()
}

fn generator(harvest: &Harvest, connections_peak: usize, cpu: Duration) -> Generator {
    let mut lags: Vec<f64> = harvest.lags.iter().map(|lag| lag.as_secs_f64() * 1e3).collect();
    lags.sort_unstable_by(f64::total_cmp);
    Generator {
        visits: lags.len() as u64,
        lag_p99_milliseconds: quantile(&lags, 0.99).unwrap_or(0.0),
        lag_max_milliseconds: lags.last().copied().unwrap_or(0.0),
        visits_withheld: harvest.visits_withheld,
        local_failures: harvest.local_failures,
        connections_peak: connections_peak as u64,
        cpu_seconds: cpu.as_secs_f64(),
    }
}

fn rules(watched: &Watched, sent: &[Sent], onset: Timestamp, ended: Timestamp) -> Vec<RuleFound> {
    let found = |status: &RuleStatus| {
        let in_force = watched.in_force.get(&status.id.0);
        let share = |label: Label| {
            let Some((from, until)) = in_force else { return Share::default() };
            let present = |at: Timestamp| at >= *from && at <= until.unwrap_or(ended);
            let of_label = sent.iter().filter(|sent| sent.label == label);
            let hit = |sent: &&Sent| sent.end == End::Refused { rule: Some(status.id.0) };
            Share {
                count: of_label.clone().filter(hit).count() as u64,
                of: of_label.filter(|sent| present(sent.at)).count() as u64,
            }
        };
        RuleFound {
            enforced_after_onset_seconds: in_force.map(|(from, _)| seconds_after(*from, onset)),
            wanted_refused: share(Label::Wanted),
            unwanted_refused: share(Label::Unwanted),
            status: status.clone(),
        }
    };
    let mut rules: Vec<_> = watched.status.rules.iter().map(found).collect();
    rules.sort_by_key(|rule| rule.status.id);
    rules
}

fn streams(sent: &[Sent], connections_peak: usize) -> Option<Streams> {
    let watched = sent.iter().filter_map(|sent| sent.stream).filter(|stream| stream.watched >= STREAM_WATCHED_MIN);
    let mut rates: Vec<f64> = watched.map(|stream| f64::from(stream.frames) / stream.watched.as_secs_f64()).collect();
    rates.sort_unstable_by(f64::total_cmp);
    Some(Streams {
        count: rates.len() as u64,
        at_once_peak: connections_peak as u64,
        frames_per_second_p50: quantile(&rates, 0.5)?,
        frames_per_second_p01: quantile(&rates, 0.01)?,
    })
}

/// What each kebab-case word of the guard's vocabulary is written as.
fn word(value: impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn targets(asked: &Targets, outcome: &Outcome) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut ask = |name, wanted: String, found: String, met| targets.push(Target { name, wanted, found, met });
    let percent = |share: f64| format!("{:.3}%", share * 100.0);
    let share = |count: u64, of: u64| if of == 0 { 0.0 } else { count as f64 / of as f64 };
    if let Some(most) = asked.onset_to_rule_seconds_max {
        let found = outcome.onset_to_rule_seconds;
        let text = found.map_or("no rule in force".to_owned(), |found| format!("{found:.2} s"));
        ask("onset to rule", format!("≤ {most} s"), text, found.is_some_and(|found| (0.0..=most).contains(&found)));
    }
    if let Some(most) = asked.unwanted_reaching_origin_after_rule_share_max {
        let Share { count, of } = outcome.unwanted_after_rule;
        let met = of > 0 && share(count, of) <= most.0;
        let text = if of == 0 { "no rule in force".to_owned() } else { percent(share(count, of)) };
        ask("unwanted reaching the origin after the rule", format!("≤ {}", percent(most.0)), text, met);
    }
    if let Some(most) = asked.unwanted_reaching_origin_share_max {
        let found = share(outcome.unwanted.reached_origin, outcome.unwanted.sent);
        ask("unwanted reaching the origin", format!("≤ {}", percent(most.0)), percent(found), found <= most.0);
    }
    if let Some(most) = asked.wanted_refused_max {
        let found = outcome.wanted.refused + outcome.wanted.dropped;
        ask("wanted refused or dropped", format!("≤ {most}"), found.to_string(), found <= most);
    }
    if let Some(least) = asked.wanted_served_share_min {
        let found = share(outcome.wanted.served, outcome.wanted.sent);
        let met = outcome.wanted.sent > 0 && found >= least.0;
        ask("wanted served", format!("≥ {}", percent(least.0)), percent(found), met);
    }
    if let Some(verdict) = asked.verdict {
        let found = outcome.incidents.iter().map(|incident| word(incident.verdict)).collect::<Vec<_>>().join(", ");
        let contradicts =
            |incident: &IncidentStatus| incident.verdict != verdict && incident.verdict != Verdict::Undecided;
        let met = outcome.incidents.iter().any(|incident| incident.verdict == verdict)
            && !outcome.incidents.iter().any(contradicts);
        ask("verdict", word(verdict), if found.is_empty() { "no incident".to_owned() } else { found }, met);
    }
    if let Some(shape) = asked.shape {
        let shapes: Vec<_> =
            outcome.incidents.iter().flat_map(|incident| &incident.shapes).map(|named| named.shape).collect();
        let found = shapes.iter().map(word).collect::<Vec<_>>().join(", ");
        ask("shape", word(shape), if found.is_empty() { "none".to_owned() } else { found }, shapes.contains(&shape));
    }
    if let Some(most) = asked.rules_max {
        let found = outcome.rules.iter().filter(|rule| rule.enforced_after_onset_seconds.is_some()).count();
        ask("rules in force", format!("≤ {most}"), found.to_string(), found <= most as usize);
    }
    if let Some(least) = asked.stream_frames_per_second_min {
        let found = outcome.streams.map(|streams| streams.frames_per_second_p01);
        let text = found.map_or("no streams".to_owned(), |found| format!("{found:.2}"));
        ask(
            "frames a second, 99 of 100 streams",
            format!("≥ {least}"),
            text,
            found.is_some_and(|found| found >= least),
        );
    }
    if let Some(least) = asked.streams_at_once_min {
        let found = outcome.streams.map_or(0, |streams| streams.at_once_peak);
        ask("streams at once", format!("≥ {least}"), found.to_string(), found >= least);
    }
    if let Some(most) = asked.guard_cpu_seconds_max {
        let found = outcome.guard_cpu_seconds;
        ask("CPU seconds of the guard", format!("≤ {most}"), format!("{found:.2}"), outcome.guarded && found <= most);
    }
    targets
}
