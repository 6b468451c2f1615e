//! `cargo xtask test`: everything that must hold before a change goes in, in the order in which it fails fastest.

use std::process::Command;
use std::time::Duration;

use seawall::host::clock::Clock;

use crate::{Failure, fuzz, generate, packages, rust_version};

/// Check everything: format, lints, tests, documentation, generated files, dependencies
///
/// Installs missing Debian packages where it may (as root), and names them otherwise. Stops at the first failure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave out the fuzz targets, the documentation and the dependencies, which seldom break
    #[arg(long)]
    fast: bool,
}

/// One step: its name, whether `--fast` leaves it out, and what it does.
struct Step {
    name: &'static str,
    seldom_breaks: bool,
    run: fn() -> Result<(), Failure>,
}

const STEPS: &[Step] = &[
    Step { name: "packages", seldom_breaks: false, run: packages::install_for_tests },
    Step { name: "format", seldom_breaks: false, run: || cargo(&["fmt", "--all", "--check"]) },
    Step { name: "rust-version", seldom_breaks: true, run: rust_version::check },
    Step {
        name: "lints",
        seldom_breaks: false,
        run: || cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "--deny", "warnings"]),
    },
    Step {
        name: "tests",
        seldom_breaks: false,
        run: || cargo(&["test", "--workspace", "--locked", "--quiet", "--no-fail-fast"]),
    },
    Step { name: "fuzz targets", seldom_breaks: true, run: fuzz::check },
    Step { name: "documentation", seldom_breaks: true, run: documentation },
    Step { name: "generated files", seldom_breaks: false, run: generate::check },
    Step { name: "dependencies", seldom_breaks: true, run: dependencies },
];

/// Runs the task.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let clock = Clock::start();
    let steps: Vec<&Step> = STEPS.iter().filter(|step| !(arguments.fast && step.seldom_breaks)).collect();
    for step in &steps {
        println!("==> {}", step.name);
        let before = clock.uptime();
        let result = (step.run)();
        println!("    {} in {}", if result.is_ok() { "passed" } else { "FAILED" }, seconds(clock.uptime() - before));
        result.map_err(|source| Failure::Step { step: step.name, source: Box::new(source) })?;
    }
    let skipped = if has_cargo_deny() { "" } else { ", but that dependencies were not checked" };
    println!("all {} steps passed in {}{skipped}", steps.len(), seconds(clock.uptime()));
    Ok(())
}

/// Starts `command` in the root of the project and waits for it; what it prints is seen.
pub(crate) fn run_command(mut command: Command) -> Result<(), Failure> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let shown: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let shown = shown.join(" ");
    let status = command.current_dir(crate::root()).status();
    let status = status.map_err(|source| Failure::Start { command: shown.clone(), source })?;
    if status.success() { Ok(()) } else { Err(Failure::Command { command: shown, status }) }
}

fn cargo(arguments: &[&str]) -> Result<(), Failure> {
    let mut command = Command::new("cargo");
    command.args(arguments);
    run_command(command)
}

fn documentation() -> Result<(), Failure> {
    let mut command = Command::new("cargo");
    command.args(["doc", "--workspace", "--no-deps", "--locked", "--quiet"]).env("RUSTDOCFLAGS", "--deny warnings");
    run_command(command)
}

/// Licences, advisories and sources of the dependencies, by deny.toml.
fn dependencies() -> Result<(), Failure> {
    if has_cargo_deny() {
        return cargo(&["deny", "--log-level", "error", "check"]);
    }
    println!("    skipped: cargo-deny is not installed (cargo install cargo-deny)");
    Ok(())
}

fn has_cargo_deny() -> bool {
    packages::is_installed("cargo-deny")
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
