//! The engine by itself: criterion's medians of `judge`, `observe` and looks into an incident, instructions where valgrind is there, and memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::figure::{Figure, Goal, OURS, Series};
use super::{Bench, release_folder};
use crate::test::run_command;
use crate::{Failure, packages};

const JUDGE_NANOSECONDS_MAX: f64 = 300.0;
const OBSERVE_NANOSECONDS_MAX: f64 = 1_000.0;
const LOOK_MILLISECONDS_MAX: f64 = 20.0;
const LOOKUP_NANOSECONDS_MAX: f64 = 100.0;
const MEMORY_MEBIBYTES_MAX: f64 = 32.0;

/// Clients that pass, one after the other.
const CLIENTS: [u64; 3] = [1, 1_000, 1_000_000];

/// Judgements of each kind under callgrind: what setting up takes falls out of the difference.
const JUDGED: [u64; 2] = [1_000, 11_000];

/// Time of `judge` and `observe`, of looks into an incident, and of looking up the network of an address.
pub(crate) fn time(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for (package, benchmark, bound) in
        [("seawall-engine", "judge", JUDGE_NANOSECONDS_MAX), ("seawall-trial", "observe", OBSERVE_NANOSECONDS_MAX)]
    {
        figures.extend(criterion(bench, package, benchmark, |_| Goal::AtMost(bound))?);
    }
    figures.extend(criterion(bench, "seawall-engine", "network", |name| {
        if name.starts_with("network lookup") { Goal::AtMost(LOOKUP_NANOSECONDS_MAX) } else { Goal::None }
    })?);
    let looks = criterion(bench, "seawall-trial", "look", |_| Goal::AtMost(LOOK_MILLISECONDS_MAX))?;
    figures.extend(looks.into_iter().map(|mut look| {
        look.unit = "ms";
        look.series.iter_mut().flat_map(|series| &mut series.values).for_each(|value| *value /= 1e6);
        look
    }));
    figures.extend(instructions(bench)?);
    Ok(figures)
}

/// Memory of gate and detection with few and with many clients.
pub(crate) fn memory(_bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let program = example()?;
    let mut figures = Vec::new();
    for clients in CLIENTS {
        let output = Command::new(&program).args(["memory", &clients.to_string()]).output();
        let output = output.map_err(|source| Failure::Start { command: program.display().to_string(), source })?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let sizes: Vec<f64> = text.split_whitespace().filter_map(|size| size.parse().ok()).collect();
        let &[stated, counted, resident] = sizes.as_slice() else {
            return Err(Failure::Bench(format!("engine_cost memory said {text:?}, not three sizes")));
        };
        let mebibytes = |bytes: f64| bytes / 1_048_576.0;
        figures.push(Figure {
            what: format!("Memory of the engine with {clients} client addresses seen, and a flood"),
            unit: "MiB",
            goal: Goal::AtMost(MEMORY_MEBIBYTES_MAX),
            series: vec![Series { name: OURS.to_owned(), values: vec![mebibytes(counted)] }],
            notes: vec![format!(
                "The most that the allocator had given it at once, a flood with its search among it. It states {:.1} MiB, all tables at \
                 their full size; resident were {:.1} MiB.",
                mebibytes(stated),
                mebibytes(resident)
            )],
        });
    }
    Ok(figures)
}

/// What criterion measures in one file of benchmarks, whose names all begin as the file's does; `goal` says what each is to
/// reach.
pub(crate) fn criterion(
    bench: &Bench,
    package: &str,
    benchmark: &str,
    goal: impl Fn(&str) -> Goal,
) -> Result<Vec<Figure>, Failure> {
    let mut cargo = Command::new("taskset");
    cargo.args(["--cpu-list", &bench.cores.server.to_string()]);
    cargo.args(["cargo", "bench", "--quiet", "--locked", "--package", package, "--bench", benchmark, "--"]);
    cargo.args(["--noplot", benchmark]);
    if bench.is_quick {
        cargo.args(["--warm-up-time", "0.5", "--measurement-time", "1"]);
    }
    cargo.stdout(std::io::stderr());
    run_command(cargo)?;
    let figure = |(name, nanoseconds): (String, f64)| Figure {
        goal: goal(&name),
        what: name,
        unit: "ns",
        series: vec![Series { name: OURS.to_owned(), values: vec![nanoseconds] }],
        notes: vec!["Criterion's median.".to_owned()],
    };
    let folder = release_folder().join("../criterion");
    Ok(medians(&folder, benchmark)?.into_iter().map(figure).collect())
}

/// Criterion's medians of the benchmarks whose names begin so, by name.
fn medians(folder: &Path, start: &str) -> Result<Vec<(String, f64)>, Failure> {
    let unread =
        |error: &dyn std::fmt::Display| Failure::Bench(format!("failed to read what criterion found: {error}"));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| unread(&error))?.flatten() {
        let (Ok(name), new) = (entry.file_name().into_string(), entry.path().join("new")) else { continue };
        // A group of benchmarks has folders of its own in it.
        if !name.starts_with(start) || !new.is_dir() {
            continue;
        }
        let read = |file: &str| -> Result<serde_json::Value, Failure> {
            let text = fs::read_to_string(new.join(file)).map_err(|error| unread(&error))?;
            serde_json::from_str(&text).map_err(|error| unread(&error))
        };
        let title = read("benchmark.json")?.get("title").and_then(|title| title.as_str()).unwrap_or(&name).to_owned();
        let median = read("estimates.json")?.pointer("/median/point_estimate").and_then(serde_json::Value::as_f64);
        found.push((title, median.ok_or_else(|| unread(&"no median"))?));
    }
    found.sort_by(|first, second| first.0.cmp(&second.0));
    if found.is_empty() {
        return Err(Failure::Bench(format!("criterion left nothing about `{start}` in {}", folder.display())));
    }
    Ok(found)
}

/// Instructions for one judgement, on average over the three kinds: the same on every run, whatever else the machine does.
fn instructions(bench: &Bench) -> Result<Option<Figure>, Failure> {
    if !packages::is_installed("valgrind") {
        bench.say("instructions are not counted: valgrind is not installed");
        return Ok(None);
    }
    let program = example()?;
    let [few, many] = JUDGED.map(|count| -> Result<u64, Failure> {
        let file = bench.folder("callgrind")?.join("out");
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", &format!("--callgrind-out-file={}", file.display())])
            .arg(&program)
            .args(["judge", &count.to_string()])
            .output()
            .map_err(|source| Failure::Start { command: "valgrind".to_owned(), source })?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        collected(&said).ok_or_else(|| Failure::Bench(format!("callgrind counted nothing; it said: {said}")))
    });
    let judged = (JUDGED[1] - JUDGED[0]) * 3;
    Ok(Some(Figure {
        what: "Instructions for one judgement".to_owned(),
        unit: "instructions",
        goal: Goal::None,
        series: vec![Series { name: OURS.to_owned(), values: vec![(many? - few?) as f64 / judged as f64] }],
        notes: vec![
            "Counted by callgrind; the mean of an ordinary request, one by a rule, and one by a limit.".to_owned(),
        ],
    }))
}

/// The number of instructions in what callgrind says at its end.
fn collected(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.split_once("Collected : "))?.1.trim().parse().ok()
}

/// The example that stands for the engine, built as it is shipped.
fn example() -> Result<PathBuf, Failure> {
    let mut cargo = Command::new("cargo");
    cargo.args([
        "build",
        "--release",
        "--locked",
        "--quiet",
        "--package",
        "seawall-engine",
        "--example",
        "engine_cost",
    ]);
    run_command(cargo)?;
    Ok(release_folder().join("examples/engine_cost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_callgrind_is_read() {
        assert_eq!(collected("==1== Events    : Ir\n==1== Collected : 123456\n==1==\n"), Some(123_456));
        assert_eq!(collected("==1== nothing"), None);
    }
}
