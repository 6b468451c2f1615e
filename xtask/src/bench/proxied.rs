//! What passes through: how many requests a second one core forwards, and how much later their answers come.

use std::net::SocketAddr;
use std::time::Duration;

use super::bare_relay::BareRelay;
use super::contenders::{self, Contender, NGINX, take_turns, take_turns_of};
use super::figure::{Figure, Goal, OURS, Series};
use super::load::{Beside, Load, Outcome, Reuse, percentile};
use super::machine::Awake;
use super::{Bench, check};
use crate::Failure;

const CONNECTIONS: usize = 64;

/// What may be left unsent at a constant rate, as a share: one pause of the whole machine, which shows in the latency, since
/// that counts from when a request was due. More, and the contender does not carry the rate.
const UNSENT_MAX: f64 = 0.05;

/// The most latency that the guard may add at p99, in microseconds.
const ADDED_MAX: f64 = 200.0;

/// The name of [`BareRelay`] in results.
const BARE_RELAY: &str = "bare relay";

/// One request in so many goes direct while latency is measured, over as many connections: with fewer, one that is late would
/// keep others of them waiting that had no part in it.
const DIRECT_ONE_IN: u64 = 8;

/// A core that is used less than this was waiting for the load.
const SATURATED: f64 = 0.95;

/// Requests a second, keep-alive on both sides.
pub(crate) fn throughput(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let _origin = contenders::origin(bench)?;
    let [rates, costs, used] = take_turns(bench, |contender| {
        let program = contender.start(bench)?;
        send(contender.name(), contender.proxy(), None, bench.seconds(1))?;
        let before = program.cpu_time();
        let outcome = send(contender.name(), contender.proxy(), None, bench.seconds(5))?;
        let (used, answers) = ((program.cpu_time() - before).as_secs_f64(), outcome.answers() as f64);
        let elapsed = outcome.elapsed.as_secs_f64();
        Ok([answers / elapsed, used * 1e6 / answers, used / elapsed])
    })?;
    let idle: Vec<String> = used
        .iter()
        .filter(|series| series.median() < SATURATED)
        .map(|series| format!("{} used {:.0}% of its core", series.name, series.median() * 100.0))
        .collect();
    let mut notes = vec![format!("{CONNECTIONS} connections, each with one request under way.")];
    if !idle.is_empty() {
        notes.push(format!(
            "{}: there the load and the origin, which share the other core, were the bound, and the CPU for each request \
             tells more.",
            idle.join(", ")
        ));
    }
    Ok(vec![
        Figure {
            what: "Proxied requests on one core, 100-byte answers, keep-alive".to_owned(),
            unit: "requests/s",
            goal: Goal::AtLeastThatOf(NGINX),
            series: rates,
            notes,
        },
        Figure {
            what: "CPU for each proxied request, keep-alive".to_owned(),
            unit: "µs",
            goal: Goal::AtMostThatOf(NGINX),
            series: costs,
            notes: vec![],
        },
    ])
}

/// Latency beyond that of going direct: at half of the guard's peak rate, and at a twentieth.
pub(crate) fn latency(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let peak = {
        let _origin = contenders::origin(bench)?;
        let _program = Contender::Seawall.start(bench)?;
        send(OURS, Contender::Seawall.proxy(), None, bench.seconds(1))?;
        let outcome = send(OURS, Contender::Seawall.proxy(), None, bench.seconds(3))?;
        outcome.answers() as f64 / outcome.elapsed.as_secs_f64()
    };
    let _awake = Awake::keep(bench.cores.server)?;
    let mut figures = Vec::new();
    for (share, of_peak, goal) in
        [(2.0, "half of the peak rate", Goal::AtMost(ADDED_MAX)), (20.0, "a twentieth of it", Goal::None)]
    {
        figures.extend(latency_at(bench, (peak / share).round(), of_peak, goal)?);
    }
    Ok(figures)
}

/// Latency added at `rate`, which is `of_peak`.
fn latency_at(bench: &Bench, rate: f64, of_peak: &str, goal: Goal) -> Result<[Figure; 2], Failure> {
    let bare = [(BARE_RELAY, None)];
    let all: Vec<_> =
        contenders::ALL.map(|contender| (contender.name(), Some(contender))).into_iter().chain(bare).collect();
    let [median, high, direct_median, direct_high] = take_turns_of(bench, &all, |contender| {
        let (_program, _relay, name, target);
        match contender {
            Some(contender) => {
                _program = contender.start(bench)?;
                (name, target) = (contender.name(), contender.proxy());
            }
            None => {
                (name, target) = (BARE_RELAY, contenders::bare_relay_address());
                let started = BareRelay::start(target, contenders::origin_address(), bench.cores.server);
                _relay = started.map_err(|error| Failure::Bench(format!("{BARE_RELAY}: {error}")))?;
            }
        }
        compare(name, target, rate, bench.seconds(1))?;
        let outcome = compare(name, target, rate, bench.seconds(5))?;
        let delays = |share| (percentile(&outcome.delays, share), percentile(&outcome.delays_beside, share));
        let ((median, direct_median), (high, direct_high)) = (delays(0.5), delays(0.99));
        Ok([median - direct_median, high - direct_high, direct_median, direct_high])
    })?;
    let figure = |share: &str, goal, series, direct: &[Series]| {
        let direct: Vec<String> =
            direct.iter().map(|series| format!("{:.0} beside {}", series.median(), series.name)).collect();
        let note = format!(
            "At {rate:.0} requests/s over {CONNECTIONS} connections at a constant rate; from when a request was due to its \
             whole answer. One request in {DIRECT_ONE_IN} went direct, in the same load; it took, in µs at {share}: {}. The \
             {BARE_RELAY} passes bytes on without looking at them: what it adds, the machine adds to whatever stands in between.",
            direct.join(", ")
        );
        Figure { what: format!("Latency added at {share}, {of_peak}"), unit: "µs", goal, series, notes: vec![note] }
    };
    Ok([figure("p99", goal, high, &direct_high), figure("p50", Goal::None, median, &direct_median)])
}

fn send(name: &str, target: SocketAddr, rate: Option<f64>, duration: Duration) -> Result<Outcome, Failure> {
    run(name, &load(target, rate, duration))
}

/// Sends at a constant rate, and some of it direct.
fn compare(name: &str, target: SocketAddr, rate: f64, duration: Duration) -> Result<Outcome, Failure> {
    let origin = contenders::origin_address();
    let beside = Beside { target: origin, one_in: DIRECT_ONE_IN, connections: CONNECTIONS };
    // The rate is that of the contender, beside which the direct ones come.
    let rate = rate * DIRECT_ONE_IN as f64 / (DIRECT_ONE_IN - 1) as f64;
    run(name, &Load { beside: Some(beside), answers_at: Some(origin), ..load(target, Some(rate), duration) })
}

fn load(target: SocketAddr, rate: Option<f64>, duration: Duration) -> Load {
    let request = "GET /page HTTP/1.1\r\nHost: example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:126.0) \
                   Gecko/20100101 Firefox/126.0\r\nAccept: text/html,application/xhtml+xml\r\nAccept-Language: en\r\n\r\n";
    let (request, connections) = (request.to_owned(), CONNECTIONS);
    Load {
        target,
        request,
        connections,
        reuse: Reuse::KeepAlive,
        rate,
        duration,
        beside: None,
        answers_at: None,
        has_core: true,
    }
}

fn run(name: &str, load: &Load) -> Result<Outcome, Failure> {
    let outcome = load.run().map_err(|error| Failure::Bench(format!("the load failed: {error}")))?;
    check(name, &outcome, 200, 0.0)?;
    if outcome.unsent as f64 > UNSENT_MAX * outcome.answers() as f64 {
        let reason = format!("{} of {} requests could not be sent in time", outcome.unsent, outcome.answers());
        return Err(Failure::Bench(format!(
            "{name} cannot carry {:.0} requests/s: {reason}",
            load.rate.unwrap_or(0.0)
        )));
    }
    Ok(outcome)
}
