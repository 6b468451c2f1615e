//! What a refusal costs: by a rule on a connection that stays, and for a foreign Host on one that does not.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::contenders::{self, Contender, NGINX, take_turns};
use super::figure::{Figure, Goal, Series};
use super::load::{Load, Outcome, Reuse};
use super::program::Program;
use super::{Bench, check};
use crate::{Failure, packages};

const CONNECTIONS: usize = 64;

/// Requests a second where all are offered the same: what each of them carries with ease.
const RATE_KEPT_ALIVE: f64 = 10_000.0;
const RATE_NEW_CONNECTIONS: f64 = 4_000.0;

/// The agent of a real flood of 2020, which no ordinary visitor has.
const FLOOD_AGENT: &str = "QQGameHall";

/// One matching request in 256 passes as a probe of whether the rule is still needed; never much more.
const PROBES_MAX: f64 = 0.006;

/// How long the guard may take to find its rule.
const RULE_TIME_MAX: Duration = Duration::from_secs(30);

/// A new incident is looked into four times a second for ten seconds, then once a second. Floods last for hours, so it is
/// what comes after that is measured.
const SETTLING_TIME: Duration = Duration::from_secs(11);

const TRACE_TIME: Duration = Duration::from_secs(1);

/// A refusal by rule, keep-alive.
pub(crate) fn by_rule(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let _origin = contenders::origin(bench)?;
    let [steady, peak, rate] = take_turns(bench, |contender| {
        let program = start_refusing(bench, contender)?;
        let steady = flood(contender, Some(RATE_KEPT_ALIVE), bench.seconds(4));
        let (steady, _) = cost(&program, 403, &steady)?;
        let peak = flood(contender, None, bench.seconds(4));
        let (peak, outcome) = cost(&program, 403, &peak)?;
        Ok([steady, peak, outcome.with_status(403) as f64 / outcome.elapsed.as_secs_f64()])
    })?;
    let what = "CPU for each refused request, keep-alive";
    let note = "The guard refuses by a rule that it found itself in the flood, and its figure holds everything: judging, \
                observing, detecting, and the probes (one request in 256, ten a second at most) by which it sees whether the rule is \
                still needed. It is taken once the incident is ten seconds old, for floods last. nginx (`return 403`) and HAProxy (`http-request deny`) refuse without looking.";
    let mut figures = vec![
        Figure {
            what: format!("{what}, at {RATE_KEPT_ALIVE:.0}/s"),
            unit: "µs",
            goal: Goal::AtMostThatOf(NGINX),
            series: steady,
            notes: vec![note.to_owned()],
        },
        Figure {
            what: format!("{what}, as fast as they are answered"),
            unit: "µs",
            goal: Goal::AtMostThatOf(NGINX),
            series: peak,
            notes: vec![],
        },
        Figure {
            what: "Requests refused on one core, keep-alive".to_owned(),
            unit: "requests/s",
            goal: Goal::None,
            series: rate,
            notes: vec!["Where the core was not fully used, the load was the bound; see the CPU for each.".to_owned()],
        },
    ];
    figures.extend(system_calls(bench)?);
    Ok(figures)
}

/// A refusal of a foreign Host, a new connection for each.
pub(crate) fn misdirected(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let _origin = contenders::origin(bench)?;
    let [costs] = take_turns(bench, |contender| {
        let program = contender.start(bench)?;
        let load = Load {
            target: contender.proxy(),
            request: request("graph.facebook.com", "Mozilla/5.0"),
            connections: CONNECTIONS,
            reuse: Reuse::NewConnection,
            rate: Some(RATE_NEW_CONNECTIONS),
            duration: bench.seconds(4),
            beside: None,
            answers_at: None,
            has_core: true,
        };
        cost(&program, 421, &Load { duration: bench.seconds(1), ..load.clone() })?;
        let (cost, _) = cost(&program, 421, &load)?;
        Ok([cost])
    })?;
    Ok(vec![Figure {
        what: format!(
            "CPU for each misdirected request (421), a new connection for each, at {RATE_NEW_CONNECTIONS:.0}/s"
        ),
        unit: "µs",
        goal: Goal::AtMostThatOf(NGINX),
        series: costs,
        notes: vec!["Accepting and closing are the greatest part, and the kernel's.".to_owned()],
    }])
}

/// Starts a contender and brings it to refuse what the flood asks.
fn start_refusing(bench: &Bench, contender: Contender) -> Result<Program, Failure> {
    if contender != Contender::Seawall {
        let program = contender.start(bench)?;
        flood(contender, Some(RATE_KEPT_ALIVE), bench.seconds(1)).run().map_err(|error| load_failure(&error))?;
        return Ok(program);
    }
    let program = contenders::experienced_guard(bench)?;
    let piece = flood(contender, Some(RATE_KEPT_ALIVE), Duration::from_millis(500));
    let start = bench.clock.uptime();
    while bench.clock.uptime() - start < RULE_TIME_MAX {
        let outcome = piece.run().map_err(|error| load_failure(&error))?;
        if outcome.with_status(403) as f64 >= outcome.answers() as f64 * (1.0 - PROBES_MAX) {
            let settling = Load { duration: SETTLING_TIME, ..piece };
            settling.run().map_err(|error| load_failure(&error))?;
            return Ok(program);
        }
    }
    Err(Failure::Bench(format!("the guard found no rule against the flood in {RULE_TIME_MAX:?}; {}", program.said())))
}

/// The flood that is refused. Each connection comes from an address of its own, as floods do.
fn flood(contender: Contender, rate: Option<f64>, duration: Duration) -> Load {
    Load {
        target: contender.refusing(),
        request: request("example.org", FLOOD_AGENT),
        connections: CONNECTIONS,
        reuse: Reuse::KeepAlive,
        rate,
        duration,
        beside: None,
        answers_at: None,
        has_core: true,
    }
}

fn request(host: &str, agent: &str) -> String {
    format!("GET /ca/cacert.pem HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nAccept: */*\r\n\r\n")
}

/// The processor time for each refusal, in microseconds.
fn cost(program: &Program, status: u16, load: &Load) -> Result<(f64, Outcome), Failure> {
    let before = program.cpu_time();
    let outcome = load.run().map_err(|error| load_failure(&error))?;
    let used = program.cpu_time() - before;
    let probes = if program.name == Contender::Seawall.name() { PROBES_MAX } else { 0.0 };
    check(program.name, &outcome, status, if status == 403 { probes } else { 0.0 })?;
    Ok((used.as_secs_f64() * 1e6 / outcome.with_status(status) as f64, outcome))
}

fn load_failure(error: &std::io::Error) -> Failure {
    Failure::Bench(format!("the load failed: {error}"))
}

/// System calls for each refusal, counted in a run of its own, since counting them slows everything.
fn system_calls(bench: &Bench) -> Result<Option<Figure>, Failure> {
    if !packages::is_installed("strace") {
        bench.say("system calls are not counted: strace is not installed");
        return Ok(None);
    }
    let mut all = Vec::new();
    for contender in contenders::ALL {
        let program = start_refusing(bench, contender)?;
        let Some(calls) = trace(bench, contender, &program)? else {
            bench.say("system calls are not counted: strace may not attach");
            return Ok(None);
        };
        all.push(Series { name: contender.name().to_owned(), values: vec![calls] });
    }
    Ok(Some(Figure {
        what: "System calls for each refused request, keep-alive".to_owned(),
        unit: "calls",
        goal: Goal::None,
        series: all,
        notes: vec![
            "Counted by strace in a run of its own, with what the program does beside (timers, statistics).".into(),
        ],
    }))
}

fn trace(bench: &Bench, contender: Contender, program: &Program) -> Result<Option<f64>, Failure> {
    let table = bench.folder("strace")?.join(contender.name());
    let started = Command::new("strace")
        .args(["-f", "-c", "-o"])
        .arg(&table)
        .args(["-p", &program.worker().to_string()])
        .stderr(Stdio::null())
        .spawn();
    let mut strace = started.map_err(|source| Failure::Start { command: "strace".to_owned(), source })?;
    // There is no sign of when it has attached; what it misses is little.
    thread::sleep(Duration::from_millis(300));
    let outcome =
        flood(contender, Some(RATE_KEPT_ALIVE / 5.0), TRACE_TIME).run().map_err(|error| load_failure(&error))?;
    let _ = kill_process(Pid::from_child(&strace), Signal::INT);
    let _ = strace.wait();
    let counted = fs::read_to_string(&table).unwrap_or_default();
    Ok(calls(&counted).map(|calls| calls as f64 / outcome.answers().max(1) as f64))
}

/// The number of calls in a table of `strace -c`.
fn calls(table: &str) -> Option<u64> {
    let total = table.lines().find(|line| line.trim_end().ends_with(" total"))?;
    total.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_calls_is_read() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                      61.71    1.198762       20668        58        58 futex\n\
                     100.00    1.942541          23     83516        59 total\n";
        assert_eq!(calls(table), Some(83_516));
        assert_eq!(calls("strace: attach: Operation not permitted"), None);
    }
}
