//! The record: how many decisions a second its writer takes, how soon each is where a kill cannot reach it, and how long the report of a
//! month takes. Written by the program's own writer into its own tables, on the disk that holds the build.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use seawall::config::Retention;
use seawall::host::clock::Clock;
use seawall::privacy::KeyStore;
use seawall::record::{self, Measure, MinuteCount, Reader, Record, Situation, Writer};
use seawall_engine::decision::{Event, EventKind, Evidence, RuleId};
use seawall_engine::units::Timestamp;
use tempfile::TempDir;

use super::figure::{Figure, Goal, OURS, Series};
use super::{Bench, release_folder};
use crate::Failure;

/// What they are to reach: decisions a second, and milliseconds.
const DECISIONS_RATE_MIN: f64 = 1_000.0;
const WRITTEN_MAX: f64 = 1_000.0;
const REPORT_MAX: f64 = 200.0;

/// Decisions that are handed over as fast as the record takes them, and how many may be under way: a little less than its queue holds.
const DECISIONS: u64 = 50_000;
const UNDER_WAY_MAX: u64 = 8_000;

/// Decisions a second while it is looked at when each is written, and how long that goes on, in seconds.
const PACE: u64 = 1_000;
const PACED_SECONDS: u64 = 10;

/// How often a pace is kept, and it is looked at what is written.
const TICK: Duration = Duration::from_millis(1);

/// Minutes of the month, and of an incident; one comes every so many.
const MINUTES: u64 = 30 * 24 * 60;
const INCIDENT_MINUTES: u64 = 90;
const INCIDENT_INTERVAL: u64 = 10 * 60;

/// Minutes that are handed over before it is waited for them.
const MINUTES_UNDER_WAY_MAX: u64 = 4_000;

/// Sites, and rules of the operator's, which refuse at each of them all the time.
const SITES: [&str; 5] = ["blog", "forum", "shop", "static", "wiki"];
const OWN_RULES: [u32; 3] = [10_001, 10_002, 10_003];

/// Reports of which the middle one counts.
const REPORTS: usize = 11;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Of the bounds of the record none is met.
const RETENTION: Retention = Retention { days: 60, size_max: 4 << 30 };

/// Measures all three.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let (mut rates, mut times, mut reports) = (Vec::new(), Vec::new(), Vec::new());
    let month = folder()?;
    write_month(month.path())?;
    for _ in 0..bench.repetitions {
        rates.push(rate()?);
        times.push(longest(bench.seconds(PACED_SECONDS))?);
        reports.push(report(bench, month.path())?);
        let last = [&rates, &times, &reports].map(|values| values.last().copied().unwrap_or(f64::NAN));
        bench.say(&format!("{:.0} decisions/s, written within {:.0} ms, report {:.0} ms", last[0], last[1], last[2]));
    }
    let figure = |what: &str, unit: &'static str, goal: Goal, values: Vec<f64>, note: String| Figure {
        what: what.to_owned(),
        unit,
        goal,
        series: vec![Series { name: OURS.to_owned(), values }],
        notes: vec![note],
    };
    let bytes = std::fs::metadata(record::path(month.path())).map_or(0, |metadata| metadata.len());
    Ok(vec![
        figure(
            "The record: decisions written",
            "1/s",
            Goal::AtLeast(DECISIONS_RATE_MIN),
            rates,
            format!("{DECISIONS} with their evidence, handed over as fast as they are taken, until all are committed."),
        ),
        figure(
            "The record: the longest time until a decision is where a kill cannot reach it",
            "ms",
            Goal::AtMost(WRITTEN_MAX),
            times,
            format!("At {PACE} a second: from handing it over until another connection reads it from the file."),
        ),
        figure(
            "`seawall report` of a month of the record",
            "ms",
            Goal::AtMost(REPORT_MAX),
            reports,
            format!(
                "From starting the command to its end. {MINUTES} minutes of {} sites with their rules and {} incidents, {:.0} MB, \
                 which the system has in memory.",
                SITES.len(),
                MINUTES / INCIDENT_INTERVAL,
                bytes as f64 / 1e6
            ),
        ),
    ])
}

/// On the disk of the build: the folder for temporary files may be memory.
fn folder() -> Result<TempDir, Failure> {
    let target = release_folder();
    TempDir::with_prefix_in("record-", &target).map_err(|source| Failure::Write { path: target, source })
}

/// A record with its writer, as a guard has them.
struct Running {
    record: Record,
    clock: Clock,
    writer: JoinHandle<()>,
    folder: PathBuf,
}

impl Running {
    fn start(folder: &Path) -> Result<Self, Failure> {
        let clock = Clock::start();
        let situation = Situation { requests: 812.5, served: 640.25, ..Situation::default() };
        let (record, inbox) = Record::new(clock, Measure::by(move || situation));
        let keys = folder.to_owned();
        let open_keys = Box::new(move || KeyStore::open(&keys, RETENTION.days));
        let path = record::path(folder);
        let (writer, _) = Writer::open(inbox, path, RETENTION, open_keys, clock, Box::new(|_| {}));
        let writer = thread::Builder::new().name("record".to_owned()).spawn(move || writer.run());
        let writer = writer.map_err(|source| Failure::Start { command: "the record's thread".to_owned(), source })?;
        Ok(Self { record, clock, writer, folder: folder.to_owned() })
    }

    /// Waits until so many entries at most of those handed over are not written.
    fn wait_for(&self, handed: u64, under_way_max: u64) -> Result<(), Failure> {
        let clock = Clock::start();
        while handed.saturating_sub(self.record.status().written) > under_way_max {
            if clock.uptime() > PATIENCE {
                let status = self.record.status();
                return Err(Failure::Bench(format!("{handed} entries are not written after {PATIENCE:?}: {status:?}")));
            }
            thread::sleep(TICK);
        }
        Ok(())
    }

    /// Has all written. A figure without what was lost would be none.
    fn end(self) -> Result<(), Failure> {
        self.record.stop();
        let ended = self.writer.join().is_ok();
        let status = self.record.status();
        if ended && status.lost == 0 && status.failures == 0 {
            return Ok(());
        }
        let path = record::path(&self.folder);
        Err(Failure::Bench(format!("the record {} was not written whole: {status:?}", path.display())))
    }
}

/// Decisions a second that are taken and committed.
fn rate() -> Result<f64, Failure> {
    let folder = folder()?;
    let running = Running::start(folder.path())?;
    let clock = Clock::start();
    for number in 0..DECISIONS {
        running.wait_for(number, UNDER_WAY_MAX)?;
        decide(&running.record, running.clock.now(), EventKind::RuleEnforced, number);
    }
    running.wait_for(DECISIONS, 0)?;
    let rate = DECISIONS as f64 / clock.uptime().as_secs_f64();
    running.end()?;
    Ok(rate)
}

/// The longest time, in milliseconds, from handing a decision over until it is read from the file, at [`PACE`] for so long.
fn longest(time: Duration) -> Result<f64, Failure> {
    let folder = folder()?;
    let running = Running::start(folder.path())?;
    // The file is made with what is written first.
    decide(&running.record, running.clock.now(), EventKind::RuleEnforced, 0);
    running.wait_for(1, 0)?;
    let clock = Clock::start();
    let is_over = Arc::new(AtomicBool::new(false));
    let looking = {
        let (is_over, reader) = (Arc::clone(&is_over), Reader::open(folder.path()).map_err(|error| failed(&error))?);
        thread::spawn(move || look(&reader, clock, &is_over))
    };
    let mut handed = Vec::new();
    while clock.uptime() < time {
        let due = clock.uptime().as_millis() as u64 * PACE / 1_000;
        while (handed.len() as u64) < due {
            handed.push(clock.uptime());
            decide(&running.record, running.clock.now(), EventKind::RuleEnforced, handed.len() as u64);
        }
        thread::sleep(TICK);
    }
    running.end()?;
    is_over.store(true, Ordering::Relaxed);
    let seen = looking.join().unwrap_or_else(|_| Err(Failure::Bench("the looking thread panicked".to_owned())))?;
    let mut longest = Duration::ZERO;
    for (number, at) in handed.iter().enumerate() {
        let first = seen.iter().find(|(_, last)| *last > number as u64);
        let (first, _) = first.ok_or_else(|| Failure::Bench(format!("the decision {number} is not in the record")))?;
        longest = longest.max(first.saturating_sub(*at));
    }
    Ok(1_000.0 * longest.as_secs_f64())
}

/// Looks which decision is the last in the file: each time that it is another, when, and its number.
fn look(reader: &Reader, clock: Clock, is_over: &AtomicBool) -> Result<Vec<(Duration, u64)>, Failure> {
    let mut seen: Vec<(Duration, u64)> = Vec::new();
    loop {
        // Looked at once more after the end.
        let is_last = is_over.load(Ordering::Relaxed);
        let lines = reader.journal(1, None).map_err(|error| failed(&error))?;
        let number = lines.first().and_then(|line| line.detail.strip_prefix('R')?.split(' ').next()?.parse().ok());
        if let Some(number) = number.filter(|number| seen.last().is_none_or(|(_, last)| last != number)) {
            seen.push((clock.uptime(), number));
        }
        if is_last {
            return Ok(seen);
        }
        thread::sleep(TICK);
    }
}

fn failed(error: &record::RecordError) -> Failure {
    Failure::Bench(error.to_string())
}

/// A decision as detection makes them.
fn decide(record: &Record, at: Timestamp, kind: EventKind, rule: u64) {
    let text =
        format!("R{rule} refuses path = \"/announce\" and user-agent = \"Transmission/3.00\": the flood is back");
    let closure =
        ["method = GET", "version = \"HTTP/1.1\"", "referer-origin = none", "header-order = \"host,user-agent\""];
    let evidence = Evidence {
        coverage: 0.937_5,
        collateral: 0.000_4,
        collateral_upper: 0.001_1,
        stability: 0.885_2,
        score: 0.911_7,
        rows: 1_812,
        clients: 640,
        closure: closure.map(str::to_owned).to_vec(),
    };
    record.decision(&Event { at, kind, text }, Some(&evidence));
}

/// Writes the roll-ups and decisions of the month that ends now.
fn write_month(folder: &Path) -> Result<(), Failure> {
    let running = Running::start(folder)?;
    let mut random = fastrand::Rng::with_seed(1);
    let first = running.clock.now().as_seconds() / 60 - MINUTES;
    let mut handed = 0;
    for minute in 0..MINUTES {
        running.wait_for(handed, MINUTES_UNDER_WAY_MAX)?;
        let (incident, into) = (minute / INCIDENT_INTERVAL, minute % INCIDENT_INTERVAL);
        // A guard that has started anew counts its rules anew.
        let found: Vec<u32> = (0..3).map(|rule| 1 + (3 * incident + rule) as u32 % 90).collect();
        let flood: &[u32] = if into < INCIDENT_MINUTES { &found } else { &[] };
        running.record.minute(first + minute, counts(&mut random, flood));
        handed += 1;
        if into == 1 {
            let at = Timestamp::from_seconds(60 * (first + minute));
            for rule in found {
                let steps = [EventKind::RuleProposed, EventKind::RuleShadowed, EventKind::RuleEnforced];
                steps.into_iter().for_each(|kind| decide(&running.record, at, kind, u64::from(rule)));
                handed += steps.len() as u64;
            }
        }
    }
    running.end()
}

/// What a minute comes to: at each site visitors, now and then errors, and what the operator's rules refuse; and what is of none. In
/// a flood two sites have what the found rules refuse, and what is turned away meanwhile.
fn counts(random: &mut fastrand::Rng, flood: &[u32]) -> Vec<MinuteCount> {
    let mut counts = Vec::new();
    let mut add = |site: &str, outcome, rule: Option<u32>, requests: u32| {
        counts.push(MinuteCount { site: site.into(), outcome, rule: rule.map(RuleId), requests: f64::from(requests) });
    };
    for (place, site) in SITES.into_iter().enumerate() {
        add(site, "served", None, random.u32(40..900));
        if random.u8(..4) == 0 {
            add(site, "failed", None, random.u32(1..9));
        }
        if random.u8(..4) == 0 {
            add(site, "client-limit", None, random.u32(1..30));
        }
        for rule in OWN_RULES {
            add(site, "refused", Some(rule), random.u32(1..60));
        }
        if place < 2 && !flood.is_empty() {
            flood.iter().for_each(|rule| add(site, "refused", Some(*rule), random.u32(5_000..90_000)));
            add(site, "overload", None, random.u32(1..400));
        }
    }
    for outcome in ["misdirected", "malformed", "unfinished"] {
        add("", outcome, None, random.u32(1..50));
    }
    counts
}

/// Milliseconds of the report; the middle one of several.
fn report(bench: &Bench, folder: &Path) -> Result<f64, Failure> {
    let mut times = Vec::new();
    for _ in 0..REPORTS {
        let mut command = Command::new(&bench.guard);
        command.arg("report").arg("--state").arg(folder).stdin(Stdio::null());
        let clock = Clock::start();
        let output = command.output();
        let time = clock.uptime();
        let output = output.map_err(|source| Failure::Start { command: "seawall report".to_owned(), source })?;
        let said = String::from_utf8_lossy(&output.stdout);
        // A line for each day, and the rules.
        if !output.status.success() || said.matches("\n20").count() < 30 || !said.contains("Transmission") {
            let error = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::Bench(format!("`seawall report` does not report the month: {error}{said}")));
        }
        times.push(1_000.0 * time.as_secs_f64());
    }
    Ok(Series { name: OURS.to_owned(), values: times }.median())
}
