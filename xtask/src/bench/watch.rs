//! Following logs: how many lines a second one core takes with detection on, and whether 50,000 a second for a minute, nearly all of them
//! of a flood that a rule meets, are read in time.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use seawall::host::clock::Clock;
use seawall_engine::detection::{Detector, Settings, Surroundings};
use seawall_engine::observation::Observation;
use seawall_engine::observation::log::Reader;

use super::figure::{Figure, Goal, OURS, Series};
use super::{Bench, logs};
use crate::Failure;
use crate::packages::{self, Needed};

/// Lines that are read at once.
const LINES: u32 = 1_000_000;
const LINES_QUICK: u32 = 100_000;

/// Lines that the peer reads, which takes a few seconds, and the expression that it looks for, as for a guessed password.
const PEER_LINES: u32 = 20_000;
const FAIL2BAN: &str = "fail2ban-regex";
const FAIL2BAN_EXPRESSION: &str = r#"^<HOST> \S+ \S+ .*"POST /login\b"#;

const NEEDED: &[Needed] =
    &[Needed { program: FAIL2BAN, package: "fail2ban", why: "the peer that reads logs line by line" }, logs::TIMER];

/// How many a core is to take in a second.
const RATE_MIN: f64 = 500_000.0;

/// Lines a second that come for [`STEADY_SECONDS`], and by how many seconds the last one read may be behind.
const STEADY_RATE: u64 = 50_000;
const STEADY_SECONDS: u64 = 60;
const LAG_MAX: f64 = 1.0;

/// Of these lines so many are ordinary visitors', as many as a second has had for a day and an hour before.
const VISITORS: u64 = 2;
const LEARNED_SECONDS: u64 = 25 * 3_600;

/// Rules are made, and this machine's firewall is left alone.
const CONFIG: &str = "admin = \"off\"\n[policy]\nenforce = \"on-excess\"\n[kernel]\nuse = \"never\"\n";

/// What is in force from the start where what is read at once is a flood: detection takes seconds to find it, and is done with reading by
/// then.
const FLOOD_RULE: &str = "[[rule]]\nname = \"flood\"\nrule = 'method = POST and path = \"/ca/cacert.pem\"'\n";

/// How long a guard may take to start, and to read the last line.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the guard is asked.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// Both.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    packages::install_missing(NEEDED)?;
    let lines = if bench.is_quick { LINES_QUICK } else { LINES };
    let mut rates = [OURS, FAIL2BAN].map(|name| Series { name: name.to_owned(), values: Vec::new() });
    let mut flooded = Vec::new();
    for repetition in 1..=bench.repetitions {
        flooded.push(flood_at_once(bench, lines)?);
        for (series, rate) in rates.iter_mut().zip([ordinary_at_once(bench, lines)?, peer(bench)?]) {
            bench.say(&format!(
                "{repetition}/{} {}: {rate:.0} lines a second of processor time",
                bench.repetitions, series.name
            ));
            series.values.push(rate);
        }
    }
    let steady = steady(bench)?;
    bench.say(&format!("{} of {} lines, lag {:.2} s, {:.0}%", steady.read, steady.written, steady.lag, steady.used));
    let ours = |values: Vec<f64>| vec![Series { name: OURS.to_owned(), values }];
    let what =
        format!("{STEADY_RATE} lines a second for {} s in a followed file", bench.seconds(STEADY_SECONDS).as_secs());
    Ok(vec![
        Figure {
            what: format!("Lines a second that a core takes with detection on, {lines} lines at once through a pipe"),
            unit: "lines/s",
            goal: Goal::AtLeast(RATE_MIN),
            series: rates.to_vec(),
            notes: vec![
                "By the processor time of the whole guard, its detecting thread among it.".to_owned(),
                format!(
                    "{FAIL2BAN} looks for one expression in a file of {PEER_LINES} such lines, and detects nothing."
                ),
            ],
        },
        Figure {
            what: format!("The same, {lines} lines of a flood that a rule meets"),
            unit: "lines/s",
            goal: Goal::AtLeast(RATE_MIN),
            series: ours(flooded),
            notes: vec![
                "The rule stands in the configuration: before detection has found one, all is read.".to_owned(),
            ],
        },
        Figure {
            what: format!("{what}: lines lost, or read twice"),
            unit: "lines",
            goal: Goal::AtMost(0.0),
            series: ours(vec![(steady.written as f64 - steady.read as f64).abs()]),
            notes: vec![format!(
                "All but {VISITORS} a second are of a flood from 65,536 addresses, against which {} in force at the end.",
                steady.rules
            )],
        },
        Figure {
            what: format!("{what}: longest time from writing a line until the status counts it"),
            unit: "s",
            goal: Goal::AtMost(LAG_MAX),
            series: ours(vec![steady.lag]),
            notes: vec!["The status is made four times a second, and asked for ten times.".to_owned()],
        },
        Figure {
            what: format!("{what}: a core that it takes"),
            unit: "%",
            goal: Goal::None,
            series: ours(vec![steady.used]),
            notes: vec![],
        },
    ])
}

/// Lines for a second of processor time, of ordinary visitors, all of whom are new to the guard.
fn ordinary_at_once(bench: &Bench, lines: u32) -> Result<f64, Failure> {
    let log = bench.folder("watch")?.join("pipe.log");
    logs::write_log(&log, lines, 0).map_err(|source| Failure::Write { path: log.clone(), source })?;
    Ok(at_once(bench, &log, lines, CONFIG, None)?.0)
}

/// The same of a flood, against which a rule is in force.
fn flood_at_once(bench: &Bench, lines: u32) -> Result<f64, Failure> {
    let log = bench.folder("watch")?.join("flood.log");
    let mut dice = fastrand::Rng::with_seed(7);
    let at = time(&bench.clock);
    let text: String = (0..lines).map(|_| unwanted(&at, &mut dice)).collect();
    fs::write(&log, text).map_err(|source| Failure::Write { path: log.clone(), source })?;
    let learned = learned(&bench.clock)?;
    let (rate, guard) = at_once(bench, &log, lines, &format!("{CONFIG}{FLOOD_RULE}"), Some(&learned))?;
    let status = guard.status().unwrap_or_default();
    let rules = status["detection"]["rules"].as_array().into_iter().flatten();
    let matched = rules.filter_map(|rule| rule["matched"].as_u64()).max().unwrap_or(0);
    if matched < u64::from(lines) * 9 / 10 {
        return Err(Failure::Bench(format!("the rule met {matched} of {lines} lines")));
    }
    Ok(rate)
}

/// Reads a log through a pipe as fast as it goes; lines for a second of processor time.
fn at_once<'b>(
    bench: &'b Bench,
    log: &Path,
    lines: u32,
    config: &str,
    learned: Option<&[u8]>,
) -> Result<(f64, Guard<'b>), Failure> {
    let folder = bench.folder("watch")?;
    let input = File::open(log).map_err(|source| Failure::Write { path: log.to_owned(), source })?;
    // A second source keeps it running after the end of the first.
    let guard = Guard::start(bench, &folder, &["-", "idle.log"], input.into(), config, learned)?;
    let before = guard.cpu_time();
    let mut waited = Duration::ZERO;
    loop {
        let read = guard.lines("pipe")?;
        if read == u64::from(lines) {
            break;
        }
        if waited > PATIENCE {
            return Err(Failure::Bench(format!("{read} of {lines} lines were read")));
        }
        thread::sleep(ASK_INTERVAL);
        waited += ASK_INTERVAL;
    }
    // What was used before it was asked the first time belongs to it as well.
    let used = guard.cpu_time().max(before);
    Ok((f64::from(lines) / used.as_secs_f64(), guard))
}

/// Lines for a second of processor time in which fail2ban looks for one expression.
fn peer(bench: &Bench) -> Result<f64, Failure> {
    let log = bench.folder("watch")?.join("peer.log");
    logs::write_log(&log, PEER_LINES, 0).map_err(|source| Failure::Write { path: log.clone(), source })?;
    let command = [FAIL2BAN.to_owned(), log.display().to_string(), FAIL2BAN_EXPRESSION.to_owned()];
    Ok(f64::from(PEER_LINES) / logs::run_once(bench, &command)?.core_seconds)
}

/// What came of a log that grows steadily.
struct Steady {
    written: u64,
    read: u64,
    lag: f64,
    used: f64,
    /// The rules in force at the end, in words.
    rules: String,
}

fn steady(bench: &Bench) -> Result<Steady, Failure> {
    let folder = bench.folder("watch")?;
    let log = folder.join("steady.log");
    let file = OpenOptions::new().append(true).create(true).open(&log);
    let mut file = file.map_err(|source| Failure::Write { path: log.clone(), source })?;
    let guard = Guard::start(bench, &folder, &["steady.log"], Stdio::null(), CONFIG, Some(&learned(&bench.clock)?))?;
    guard.lines("file")?;
    let clock = bench.clock;
    let (start, used_before) = (clock.uptime(), guard.cpu_time());
    let end = start + bench.seconds(STEADY_SECONDS);
    let ends = Arc::new(AtomicBool::new(false));
    // How many lines there were at which moment.
    let marks = Arc::new(std::sync::Mutex::new(VecDeque::new()));
    let writer = thread::spawn({
        let (ends, marks) = (Arc::clone(&ends), Arc::clone(&marks));
        move || -> std::io::Result<u64> {
            let (mut written, mut dice) = (0_u64, fastrand::Rng::with_seed(7));
            while !ends.load(Ordering::Acquire) {
                let due = (clock.uptime() - start).as_micros() as u64 * STEADY_RATE / 1_000_000;
                if due > written {
                    let at = time(&clock);
                    let text = (written..due).map(|number| match number % STEADY_RATE < VISITORS {
                        true => ordinary(&at, &mut dice),
                        false => unwanted(&at, &mut dice),
                    });
                    file.write_all(text.collect::<String>().as_bytes())?;
                    written = due;
                    if let Ok(mut marks) = marks.lock() {
                        marks.push_back((clock.uptime(), written));
                    }
                }
                thread::sleep(Duration::from_millis(2));
            }
            Ok(written)
        }
    });
    let mut lag = Duration::ZERO;
    while clock.uptime() < end {
        let read = guard.lines("file")?;
        let now = clock.uptime();
        let mut marks = marks.lock().map_err(|_| Failure::Bench("the writer failed".to_owned()))?;
        while marks.front().is_some_and(|(_, written)| *written <= read) {
            marks.pop_front();
        }
        // The oldest line that was not counted.
        lag = lag.max(marks.front().map_or(Duration::ZERO, |(at, _)| now - *at));
        drop(marks);
        thread::sleep(ASK_INTERVAL);
    }
    let used = (guard.cpu_time() - used_before).as_secs_f64() / (clock.uptime() - start).as_secs_f64() * 100.0;
    ends.store(true, Ordering::Release);
    let written = writer.join().map_err(|_| Failure::Bench("the writer failed".to_owned()))?;
    let written = written.map_err(|source| Failure::Write { path: log, source })?;
    thread::sleep(Duration::from_secs(1));
    Ok(Steady { written, read: guard.lines("file")?, lag: lag.as_secs_f64(), used, rules: guard.rules()? })
}

/// What a guard keeps that has seen ordinary visitors until now: on its first day it would only propose.
fn learned(clock: &Clock) -> Result<Vec<u8>, Failure> {
    let (mut detector, mut reader) = (Detector::new(Settings::default()), Reader::default());
    let (begin, mut dice) = (clock.now() - Duration::from_secs(LEARNED_SECONDS), fastrand::Rng::with_seed(8));
    let written = time(clock);
    for second in 0..LEARNED_SECONDS {
        let at = begin + Duration::from_secs(second);
        for _ in 0..VISITORS {
            let line = ordinary(&written, &mut dice);
            let entry = reader.read(line.trim_end().as_bytes());
            let entry = entry.map_err(|reason| Failure::Bench(format!("a line cannot be read: {reason}")))?;
            detector.observe(&Observation { at, ..entry.observation });
        }
        detector.tick(at, &Surroundings::default());
    }
    Ok(detector.save())
}

/// This moment, as logs have it.
fn time(clock: &Clock) -> String {
    let now = i64::try_from(clock.now().as_seconds()).unwrap_or_default();
    jiff::Timestamp::from_second(now).unwrap_or_default().strftime("%d/%b/%Y:%H:%M:%S +0000").to_string()
}

/// A visitor's line.
fn ordinary(at: &str, dice: &mut fastrand::Rng) -> String {
    let (network, host, page, version) = (dice.u8(..), dice.u8(..), dice.u32(..5_000), 100 + dice.u8(..40));
    format!(
        "198.18.{network}.{host} - - [{at}] \"GET /page/{page} HTTP/1.1\" 200 5120 \"-\" \"Mozilla/5.0 (X11; Linux x86_64; rv:{version}.0) Gecko/20100101 Firefox/{version}.0\"\n"
    )
}

/// A line of the flood.
fn unwanted(at: &str, dice: &mut fastrand::Rng) -> String {
    let (network, host) = (dice.u8(..), dice.u8(..));
    format!(
        "198.19.{network}.{host} - - [{at}] \"POST /ca/cacert.pem HTTP/1.1\" 200 1452 \"-\" \"Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; QQGameHall)\"\n"
    )
}

/// A guard on logs. Dropping it stops it.
struct Guard<'b> {
    bench: &'b Bench,
    child: Child,
    state: PathBuf,
}

impl<'b> Guard<'b> {
    fn start(
        bench: &'b Bench,
        folder: &Path,
        sources: &[&str],
        input: Stdio,
        config: &str,
        learned: Option<&[u8]>,
    ) -> Result<Self, Failure> {
        let (state, file) = (folder.join("state"), folder.join("seawall.toml"));
        // What was learned, and where a log was left, is another run's.
        let _ = fs::remove_dir_all(&state);
        let prepare = || {
            fs::create_dir_all(&state)?;
            fs::set_permissions(&state, fs::Permissions::from_mode(0o700))?;
            learned.map_or(Ok(()), |learned| fs::write(state.join("baseline"), learned))?;
            fs::write(&file, config)
        };
        prepare().map_err(|source| Failure::Write { path: folder.to_owned(), source })?;
        let log = folder.join("guard.log");
        let output = File::create(&log).map_err(|source| Failure::Write { path: log, source })?;
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &bench.cores.server.to_string()]).arg(&bench.guard).arg("watch");
        command.args(sources).args(["--config", "seawall.toml", "--state"]).arg(&state).current_dir(folder);
        let child = command.stdin(input).stdout(Stdio::null()).stderr(output).spawn();
        let child = child.map_err(|source| Failure::Start { command: "seawall watch".to_owned(), source })?;
        let guard = Self { bench, child, state };
        let mut waited = Duration::ZERO;
        while guard.status().is_none() {
            if waited > PATIENCE {
                return Err(Failure::Bench("seawall watch did not start".to_owned()));
            }
            thread::sleep(ASK_INTERVAL);
            waited += ASK_INTERVAL;
        }
        Ok(guard)
    }

    fn status(&self) -> Option<serde_json::Value> {
        let mut command = Command::new(&self.bench.guard);
        let output =
            command.args(["status", "--json", "--state"]).arg(&self.state).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| serde_json::from_slice(&output.stdout).ok())?
    }

    /// Lines of the first sensor of a kind.
    fn lines(&self, kind: &str) -> Result<u64, Failure> {
        let status = self.status().ok_or_else(|| Failure::Bench("seawall watch does not answer".to_owned()))?;
        let sensors = status["sensors"].as_array().into_iter().flatten();
        let sensor = sensors.into_iter().find(|sensor| sensor["name"] == kind);
        Ok(sensor.and_then(|sensor| sensor["log"]["read"].as_u64()).unwrap_or(0))
    }

    /// The rules in force, in words. That there is none makes the measurement one of something else.
    fn rules(&self) -> Result<String, Failure> {
        let status = self.status().ok_or_else(|| Failure::Bench("seawall watch does not answer".to_owned()))?;
        let rules = status["detection"]["rules"].as_array().into_iter().flatten();
        let enforced = rules.filter(|rule| rule["stage"] == "enforced").filter_map(|rule| rule["text"].as_str());
        match enforced.collect::<Vec<_>>().as_slice() {
            [] => Err(Failure::Bench("no rule is in force against the flood".to_owned())),
            [rule] => Ok(format!("`{rule}` is")),
            rules => Ok(format!("`{}` are", rules.join("`, `"))),
        }
    }

    /// The processor time that all its threads have used.
    fn cpu_time(&self) -> Duration {
        super::program::cpu_time([PathBuf::from(format!("/proc/{}", self.child.id()))])
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
