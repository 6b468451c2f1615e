//! The project's own tasks: `cargo xtask test`, `generate`, `ip-data`, `agent-data`, `bench`, `fuzz`, `trial`. One file for each; this
//! one only lists them.

mod agent_data;
mod bench;
mod failure;
mod fuzz;
mod generate;
mod ip_data;
mod packages;
mod rust_version;
mod test;
mod trial;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub(crate) use failure::Failure;

/// The project's own tasks
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    AgentData(agent_data::Arguments),
    Bench(bench::Arguments),
    Fuzz(fuzz::Arguments),
    Generate(generate::Arguments),
    IpData(ip_data::Arguments),
    Test(test::Arguments),
    Trial(trial::Arguments),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::AgentData(arguments) => agent_data::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
        Task::Generate(arguments) => generate::run(&arguments),
        Task::IpData(arguments) => ip_data::run(&arguments),
        Task::Test(arguments) => test::run(&arguments),
        Task::Trial(arguments) => trial::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the project.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}
