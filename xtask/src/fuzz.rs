//! `cargo xtask fuzz`: the targets of fuzz/, each for a time.
//!
//! They run on the compiler that everything else is built with: what guides libFuzzer is a pass of LLVM, and as the engine has no unsafe
//! code there is nothing for a sanitizer, which would need a nightly compiler.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::packages::{Needed, install_missing};
use crate::test::run_command;
use crate::{Failure, root};

/// Every target, and the longest input that it is given, in bytes.
const TARGETS: [(&str, u32); 5] =
    [("envelope", 2_048), ("log_line", 4_096), ("request_head", 2_048), ("rule", 1_024), ("template", 2_048)];

/// What tells libFuzzer which paths an input took, and which values were compared.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                        -Cllvm-args=-sanitizer-coverage-trace-compares";

/// What builds libFuzzer.
const NEEDED: &[Needed] = &[Needed { program: "c++", package: "g++", why: "the compiler of libFuzzer, which is C++" }];

/// An input that takes longer is a failure, in seconds.
const INPUT_SECONDS_MAX: u32 = 10;

/// Feed the readers of logs, rules and request heads with what a fuzzer makes up
///
/// Stops at the first input that a target fails on, which is left in fuzz/artifacts. See fuzz/README.md.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only these
    #[arg(value_name = "TARGET", value_parser = TARGETS.map(|(name, _)| name))]
    targets: Vec<String>,
    /// How long to run each
    #[arg(long, value_name = "N", default_value_t = 180)]
    seconds: u32,
}

/// Runs the task.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    install_missing(NEEDED)?;
    let host = host()?;
    let mut build = Command::new("cargo");
    // With a target named, build scripts and procedural macros are built without the flags.
    build.args(["build", "--release", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--target", &host]);
    build.env("RUSTFLAGS", COVERAGE);
    run_command(build)?;
    let is_wanted = |name: &str| arguments.targets.is_empty() || arguments.targets.iter().any(|target| target == name);
    for (name, bytes_max) in TARGETS.into_iter().filter(|(name, _)| is_wanted(name)) {
        println!("==> {name}");
        let (corpus, artifacts) = (folder("corpus", name)?, folder("artifacts", name)?);
        let mut command = Command::new(root().join("fuzz/target").join(&host).join("release").join(name));
        command.args([
            format!("-max_total_time={}", arguments.seconds),
            format!("-max_len={bytes_max}"),
            format!("-timeout={INPUT_SECONDS_MAX}"),
            format!("-artifact_prefix={}/", artifacts.display()),
            "-print_final_stats=1".to_owned(),
            "-verbosity=0".to_owned(),
        ]);
        command.arg(corpus).arg(root().join("fuzz/seeds").join(name));
        run_command(command)?;
    }
    Ok(())
}

/// Checks that every target compiles.
pub(crate) fn check() -> Result<(), Failure> {
    install_missing(NEEDED)?;
    let mut command = Command::new("cargo");
    command.args(["check", "--locked", "--quiet", "--manifest-path", "fuzz/Cargo.toml"]);
    run_command(command)
}

/// A folder of a target, which is there afterwards.
fn folder(kind: &str, target: &str) -> Result<PathBuf, Failure> {
    let path = root().join("fuzz").join(kind).join(target);
    fs::create_dir_all(&path).map_err(|source| Failure::Write { path: path.clone(), source })?;
    Ok(path)
}

/// The machine that this is, as the compiler names it.
fn host() -> Result<String, Failure> {
    let output = Command::new("rustc").args(["--version", "--verbose"]).output();
    let output = output.map_err(|source| Failure::Start { command: "rustc --version".to_owned(), source })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failure::Metadata(format!("no line `host: …` in {text}")))
}
