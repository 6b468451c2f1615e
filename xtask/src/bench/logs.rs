//! Logs: how fast a report of a large one is made, beside GoAccess, in how much memory, how long a flood in one takes to explain,
//! and how fast lines are read.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::figure::{Figure, Goal, OURS, Series};
use super::{Bench, engine};
use crate::Failure;
use crate::packages::{self, Needed};

const GOACCESS: &str = "GoAccess";

/// Says what a program took, as the system counted it until its end (GNU time).
const TIME: &str = "time";

/// What [`run_once`] needs.
pub(super) const TIMER: Needed = Needed { program: TIME, package: "time", why: "it says what a program took" };

const NEEDED: &[Needed] =
    &[Needed { program: "goaccess", package: "goaccess", why: "the peer that reports on logs" }, TIMER];

/// Lines of the log, each of a client of its own.
const LINES: u32 = 1_000_000;
const LINES_QUICK: u32 = 100_000;

/// How many times as fast as GoAccess, and in how much memory at most, in MiB.
const TIMES_AS_FAST: f64 = 40.0;
const MEMORY_MAX: f64 = 256.0;

/// What `explain` may take of one core for a log of a million lines with a flood in it, in seconds.
const EXPLAIN_MAX: f64 = 2.0;

/// The part of that log that is flood, and how many of its lines come in a second.
const FLOOD_PART: u32 = 10;
const FLOOD_RATE: u32 = 200;

/// For one line, in nanoseconds: two million a second.
const PARSE_MAX: f64 = 500.0;

/// Reports on a large log, and the reading of lines.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    packages::install_missing(NEEDED)?;
    let log = bench.folder("logs")?.join("access.log");
    let lines = if bench.is_quick { LINES_QUICK } else { LINES };
    write_log(&log, lines, 0).map_err(|source| Failure::Write { path: log.clone(), source })?;
    let flooded = log.with_file_name("flooded.log");
    let ordinary = lines - lines / FLOOD_PART;
    write_log(&flooded, ordinary, lines - ordinary)
        .map_err(|source| Failure::Write { path: flooded.clone(), source })?;
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
    let (explain_times, explain_memory) = explain(bench, &flooded)?;
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
        Figure {
            what: format!("Explanation of a flood in such a log: time of one core, {lines} lines"),
            unit: "s",
            goal: if bench.is_quick { Goal::None } else { Goal::AtMost(EXPLAIN_MAX) },
            series: vec![explain_times],
            notes: vec!["It reads the log three times, the last time in part.".to_owned()],
        },
        Figure {
            what: "The same: memory at most".to_owned(),
            unit: "MiB",
            goal: Goal::AtMost(MEMORY_MAX),
            series: vec![explain_memory],
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

/// What the explanation of this log takes of one core, and of memory.
fn explain(bench: &Bench, log: &Path) -> Result<(Series, Series), Failure> {
    let command =
        [bench.guard.display().to_string(), "explain".to_owned(), "--json".to_owned(), log.display().to_string()];
    let mut times = Series { name: OURS.to_owned(), values: Vec::new() };
    let mut memory = times.clone();
    for repetition in 1..=bench.repetitions {
        let used = run_once(bench, &command)?;
        bench.say(&format!(
            "{repetition}/{} explain: {:.2} s of one core, {:.0} MiB",
            bench.repetitions, used.core_seconds, used.mebibytes
        ));
        times.values.push(used.core_seconds);
        memory.values.push(used.mebibytes);
    }
    Ok((times, memory))
}

pub(super) struct Used {
    seconds: f64,
    /// Of all cores together.
    pub(super) core_seconds: f64,
    /// Resident, at most.
    mebibytes: f64,
}

/// Runs a command to its end, on both cores.
pub(super) fn run_once(bench: &Bench, command: &[String]) -> Result<Used, Failure> {
    let shown = command.join(" ");
    let account = bench.folder("logs")?.join("account");
    // This process keeps to one core, and what it starts would too.
    let mut timed = Command::new("taskset");
    timed.args(["--cpu-list", &format!("{},{}", bench.cores.server, bench.cores.load)]);
    timed.args([TIME, "--format", "%U %S %M", "--output"]).arg(&account).arg("--").args(command);
    timed.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = bench.clock.uptime();
    let status = timed.status().map_err(|source| Failure::Start { command: shown.clone(), source })?;
    let seconds = (bench.clock.uptime() - start).as_secs_f64();
    if !status.success() {
        return Err(Failure::Command { command: shown, status });
    }
    let text = fs::read_to_string(&account).unwrap_or_default();
    let [user, system, kibibytes] = numbers(&text)
        .ok_or_else(|| Failure::Bench(format!("{TIME} says \"{text}\" of {shown}, not three numbers")))?;
    Ok(Used { seconds, core_seconds: user + system, mebibytes: kibibytes / 1024.0 })
}

/// The three numbers of a text, which are all that it has.
fn numbers(text: &str) -> Option<[f64; 3]> {
    let numbers: Result<Vec<f64>, _> = text.split_whitespace().map(str::parse).collect();
    numbers.ok()?.try_into().ok()
}

/// A combined log as of a site that a million come to: paths, agents and referers as unevenly spread as on real ones. In the
/// middle of it are so many lines of a flood, each of a client of its own too.
pub(super) fn write_log(path: &Path, lines: u32, flood: u32) -> std::io::Result<()> {
    let mut dice = fastrand::Rng::with_seed(1);
    let mut output = BufWriter::new(File::create(path)?);
    let agents: Vec<String> = (60..160)
        .map(|version| {
            format!(
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0"
            )
        })
        .collect();
    let begin = lines / 2 / 12;
    for number in 0..lines {
        if number % 12 == 0 && number / 12 >= begin {
            let sent = (number / 12 - begin).saturating_mul(FLOOD_RATE);
            for flooding in sent..flood.min(sent + FLOOD_RATE) {
                let client = std::net::Ipv4Addr::from_bits((lines + flooding).wrapping_mul(0x9E37_79B1));
                let second = number / 12;
                let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
                writeln!(
                    output,
                    "{client} - - [17/May/2025:{hour:02}:{minute:02}:{second:02} +0000] \"GET /announce?info_hash={flooding} HTTP/1.1\" 404 100 \"-\" \"uTorrent/3.5\"",
                )?;
            }
        }
        // Spread over the addresses by an odd factor, so that no two are the same and they come in no order.
        let client = std::net::Ipv4Addr::from_bits(number.wrapping_mul(0x9E37_79B1));
        let second = number / 12;
        let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
        let skewed = |dice: &mut fastrand::Rng, count: f64| (dice.f64().powi(3) * count) as usize;
        let (page, agent) = (skewed(&mut dice, 5_000.0), skewed(&mut dice, agents.len() as f64));
        let status = if dice.u8(..) < 12 { 404 } else { 200 };
        let referer = match dice.u8(..3) {
            0 => "-".to_owned(),
            1 => format!("https://www.example.org/page/{}", skewed(&mut dice, 5_000.0)),
            _ => format!("https://site-{}.example/", skewed(&mut dice, 300.0)),
        };
        writeln!(
            output,
            "{client} - - [17/May/2025:{hour:02}:{minute:02}:{second:02} +0000] \"GET /page/{page} HTTP/1.1\" {status} {} \"{referer}\" \"{}\"",
            dice.u32(200..60_000),
            agents.get(agent).map_or("-", String::as_str),
        )?;
    }
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_took_is_three_numbers() {
        assert_eq!(numbers("1.41 0.11 143612\n"), Some([1.41, 0.11, 143_612.0]));
        for text in ["", "1.41 0.11", "1.41 0.11 x", "1 2 3 4"] {
            assert_eq!(numbers(text), None, "{text}");
        }
    }
}
