//! Logs: how fast a report of a large one is made, beside GoAccess, in how much memory, and how fast lines are read.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::figure::{Figure, Goal, OURS, Series};
use super::{Bench, engine};
use crate::Failure;
use crate::packages::{self, Needed};

const GOACCESS: &str = "GoAccess";

const NEEDED: &[Needed] = &[Needed { program: "goaccess", package: "goaccess", why: "the peer that reports on logs" }];

/// Lines of the log, each of a client of its own.
const LINES: u32 = 1_000_000;
const LINES_QUICK: u32 = 100_000;

/// How many times as fast as GoAccess, and in how much memory at most, in MiB.
const TIMES_AS_FAST: f64 = 40.0;
const MEMORY_MAX: f64 = 256.0;

/// For one line, in nanoseconds: two million a second.
const PARSE_MAX: f64 = 500.0;

/// How often the memory of a program is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Reports on a large log, and the reading of lines.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    packages::install_missing(NEEDED)?;
    let log = bench.folder("logs")?.join("access.log");
    let lines = if bench.is_quick { LINES_QUICK } else { LINES };
    write_log(&log, lines).map_err(|source| Failure::Write { path: log.clone(), source })?;
    let size = fs::metadata(&log).map_or(0, |metadata| metadata.len()) / 1_000_000;
    let mut times = [OURS, GOACCESS].map(|name| Series { name: name.to_owned(), values: Vec::new() });
    let mut memory = times.clone();
    for repetition in 1..=bench.repetitions {
        for ((times, memory), command) in times.iter_mut().zip(&mut memory).zip(commands(bench, &log)) {
            let used = run_once(bench, &command)?;
            bench.say(&format!(
                "{repetition}/{} {}: {:.2} s, {:.0} MiB",
                bench.repetitions, times.name, used.seconds, used.mebibytes
            ));
            times.values.push(used.seconds);
            memory.values.push(used.mebibytes);
        }
    }
    let ratio = times[1].median() / times[0].median();
    let what = format!("a log of {lines} lines and as many clients, {size} MB");
    let mut figures = vec![
        Figure {
            what: format!("Report with every panel on {what}"),
            unit: "s",
            goal: Goal::None,
            series: times.to_vec(),
            notes: vec!["Each is free to use every core.".to_owned()],
        },
        Figure {
            what: "The same: times as fast as GoAccess".to_owned(),
            unit: "×",
            goal: Goal::AtLeast(TIMES_AS_FAST),
            series: vec![Series { name: OURS.to_owned(), values: vec![ratio] }],
            notes: vec!["Median by median.".to_owned()],
        },
        Figure {
            what: "The same: memory at most".to_owned(),
            unit: "MiB",
            goal: Goal::AtMost(MEMORY_MAX),
            series: memory.to_vec(),
            notes: vec![],
        },
    ];
    figures.extend(engine::criterion(bench, "seawall-engine", "parse", |name| {
        if name == "parse combined" { Goal::AtMost(PARSE_MAX) } else { Goal::None }
    })?);
    Ok(figures)
}

/// The report of each, as a user would have it: nothing is left out.
fn commands(bench: &Bench, log: &Path) -> [Vec<String>; 2] {
    let log = log.display().to_string();
    let output = PathBuf::from(&log).with_extension("json").display().to_string();
    let ours = [bench.guard.display().to_string(), "report".to_owned(), "--json".to_owned(), log.clone()];
    let goaccess = ["goaccess", &log, "--log-format=COMBINED", "--no-global-config", "--no-progress", "-o", &output];
    [ours.to_vec(), goaccess.map(str::to_owned).to_vec()]
}

struct Used {
    seconds: f64,
    mebibytes: f64,
}

/// Runs a command to its end and watches how much memory it has.
fn run_once(bench: &Bench, command: &[String]) -> Result<Used, Failure> {
    let shown = command.join(" ");
    let (program, arguments) = command.split_first().ok_or_else(|| Failure::Bench("no command".to_owned()))?;
    let start = bench.clock.uptime();
    let mut started = Command::new(program);
    started.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = started.spawn().map_err(|source| Failure::Start { command: shown.clone(), source })?;
    let status = format!("/proc/{}/status", child.id());
    let mut kibibytes = 0;
    let ended = loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let high_water = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let found = high_water.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kibibytes = kibibytes.max(found.unwrap_or(0));
        match child.try_wait().map_err(|error| Failure::Bench(format!("failed to wait for {shown}: {error}")))? {
            Some(status) => break status,
            None => thread::sleep(LOOK_INTERVAL),
        }
    };
    if !ended.success() {
        return Err(Failure::Command { command: shown, status: ended });
    }
    Ok(Used { seconds: (bench.clock.uptime() - start).as_secs_f64(), mebibytes: kibibytes as f64 / 1024.0 })
}

/// A combined log as of a site that a million come to: paths, agents and referers as unevenly spread as on real ones.
pub(super) fn write_log(path: &Path, lines: u32) -> std::io::Result<()> {
    let mut dice = fastrand::Rng::with_seed(1);
    let mut output = BufWriter::new(File::create(path)?);
    let agents: Vec<String> = (60..160)
        .map(|version| {
            format!(
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0"
            )
        })
        .collect();
    for number in 0..lines {
        // Spread over the addresses by an odd factor, so that no two are the same and they come in no order.
        let client = std::net::Ipv4Addr::from_bits(number.wrapping_mul(0x9E37_79B1));
        let second = number / 12;
        let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
        let skewed = |dice: &mut fastrand::Rng, count: f64| (dice.f64().powi(3) * count) as usize;
        let (page, agent) = (skewed(&mut dice, 5_000.0), skewed(&mut dice, agents.len() as f64));
        let status = if dice.u8(..) < 12 { 404 } else { 200 };
        writeln!(
            output,
            "{client} - - [17/May/2025:{hour:02}:{minute:02}:{second:02} +0000] \"GET /page/{page} HTTP/1.1\" {status} {} \"-\" \"{}\"",
            dice.u32(200..60_000),
            agents.get(agent).map_or("-", String::as_str),
        )?;
    }
    output.flush()
}
