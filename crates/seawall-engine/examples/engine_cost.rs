//! What the engine costs, for tools that count from outside: `engine_cost judge COUNT` judges so many requests, to be run
//! under callgrind, and `engine_cost memory CLIENTS` lets so many clients pass, then a flood, and prints the memory that the engine
//! says it has, the most that it had of the heap, as the allocator counted it, and the most that the process had resident.

#[path = "../benches/flooded/mod.rs"]
mod flooded;
#[path = "../benches/judging/mod.rs"]
mod judging;

use std::fs;
use std::hint::black_box;
use std::process::ExitCode;

use flooded::Flooded;
use judging::{Judging, LAST_RULE, LIMITED, ORDINARY};

/// Counts while something is profiled, and costs nothing that matters otherwise.
#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = arguments.get(1).and_then(|number| number.parse().ok());
    match (arguments.first().map(String::as_str), number) {
        (Some("judge"), Some(count)) => judge(count),
        (Some("memory"), Some(clients)) => return memory(clients),
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

fn memory(clients: u64) -> ExitCode {
    let resident_before = resident_bytes_peak();
    let _profiler = dhat::Profiler::builder().testing().build();
    let before = dhat::HeapStats::get().curr_bytes;
    let mut flooded = Flooded::new();
    flooded.know(clients);
    let rules = flooded.flood(clients);
    if rules == 0 {
        eprintln!("engine_cost: no rule came of the flood, so the memory would not be that of an incident");
        return ExitCode::FAILURE;
    }
    let counted = dhat::HeapStats::get().max_bytes - before;
    let resident = resident_bytes_peak().saturating_sub(resident_before);
    println!("{} {counted} {resident}", flooded.stated_bytes());
    ExitCode::SUCCESS
}

/// The most that the process had resident, in bytes; 0 where the kernel does not tell.
fn resident_bytes_peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
