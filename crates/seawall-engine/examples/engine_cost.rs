//! What the engine costs, for tools that count from outside: `engine_cost judge COUNT` judges so many requests, to be run
//! under callgrind, and `engine_cost memory CLIENTS` lets so many clients pass and prints the memory that the engine says
//! it has, and that the process has.

#[path = "../benches/judging/mod.rs"]
mod judging;

use std::fs;
use std::hint::black_box;
use std::net::{IpAddr, Ipv6Addr};
use std::process::ExitCode;
use std::time::Duration;

use judging::{Judging, LAST_RULE, LIMITED, ORDINARY};
use seawall_engine::address::ClientAddress;
use seawall_engine::detection::{Detector, Settings, Surroundings};
use seawall_engine::gate::{Allowances, Gate};
use seawall_engine::observation::{Cost, Observation, Outcome};
use seawall_engine::units::Timestamp;

/// Entries of the client table, as all workers together have them.
const CLIENT_ENTRIES: usize = 65_536;

/// Requests at least, so that one client's run is as long as many clients'.
const REQUESTS_MIN: u64 = 100_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = arguments.get(1).and_then(|number| number.parse().ok());
    match (arguments.first().map(String::as_str), number) {
        (Some("judge"), Some(count)) => judge(count),
        (Some("memory"), Some(clients)) => memory(clients),
        _ => {
            eprintln!("usage: engine_cost judge COUNT | engine_cost memory CLIENTS");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Of each kind so many.
fn judge(count: u64) {
    let mut judging = Judging::new();
    for request in [ORDINARY, LAST_RULE, LIMITED] {
        for _ in 0..count {
            black_box(judging.judge(black_box(&request)));
        }
    }
}

/// Lets requests of so many clients, each from a network of its own, through gate and detection.
fn memory(clients: u64) {
    let before = resident_bytes_peak();
    let mut gate = Gate::new(1, CLIENT_ENTRIES, 1);
    let mut detector = Detector::new(Settings::default());
    let mut now = Timestamp::from_seconds(1_700_000_000);
    for number in 0..clients.max(REQUESTS_MIN) {
        now = now + Duration::from_micros(100);
        let network = (number % clients).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let client = ClientAddress::new(IpAddr::V6(Ipv6Addr::from_bits(u128::from(network) << 64 | 1)));
        let history = gate.judge(&ORDINARY, Some(client), now).history;
        detector.observe(&Observation {
            at: now,
            client: Some(client),
            request: ORDINARY,
            outcome: Outcome::Served { status: 200 },
            cost: Cost { requests: 1, bytes: 8_000, ..Cost::default() },
            weight: 1.0,
            history,
        });
        if number % 2_500 == 0 {
            detector.tick(now, &Surroundings::default());
        }
    }
    let resident = resident_bytes_peak().saturating_sub(before);
    println!("{} {resident}", gate.memory_bytes() + Allowances::memory_bytes() + detector.memory_bytes());
}

/// The most that the process had resident, in bytes; 0 where the kernel does not tell.
fn resident_bytes_peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
