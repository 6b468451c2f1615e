//! The command line: one file for each command. Each has `Arguments` and `run`; this file only lists them.

mod anonymize;
mod backtest;
mod bans;
mod check;
mod confirm;
mod drill;
mod edge;
mod explain;
mod export;
mod failure;
mod guard;
mod import;
mod journal;
mod logs;
mod notify;
mod output;
mod output_file;
mod panic;
pub(crate) mod reference;
mod reload;
mod report;
mod rule_file;
pub(crate) mod rule_reference;
mod rules;
mod serve;
mod status;
mod stop;
mod tested_file;
mod treatment;
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub(crate) use failure::Failure;

/// Keeps a small server standing in a flood of unwanted traffic.
#[derive(Parser)]
#[command(name = "seawall", version, max_term_width = 100, after_help = failure::EXIT_CODES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Arguments),
    Watch(watch::Arguments),
    Check(check::Arguments),
    Status(status::Arguments),
    Rules(rules::Arguments),
    Bans(bans::Arguments),
    Edge(edge::Arguments),
    Export(export::Arguments),
    Import(import::Arguments),
    Journal(journal::Arguments),
    Confirm(confirm::Arguments),
    Panic(panic::Arguments),
    Reload(reload::Arguments),
    Stop(stop::Arguments),
    Notify(notify::Arguments),
    Report(report::Arguments),
    Explain(explain::Arguments),
    Backtest(backtest::Arguments),
    Anonymize(anonymize::Arguments),
    Drill(drill::Arguments),
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let parsed = Cli::try_parse().unwrap_or_else(|error| {
        // Nothing more can be done with it than not to block who writes into it.
        if error.use_stderr() && watch::is_piped(std::env::args_os()) {
            let _ = error.print();
            watch::discard();
            std::process::exit(error.exit_code());
        }
        error.exit()
    });
    let result = match parsed.command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Watch(arguments) => watch::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Rules(arguments) => rules::run(&arguments),
        Command::Bans(arguments) => bans::run(&arguments),
        Command::Edge(arguments) => edge::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Journal(arguments) => journal::run(&arguments),
        Command::Confirm(arguments) => confirm::run(&arguments),
        Command::Panic(arguments) => panic::run(&arguments),
        Command::Reload(arguments) => reload::run(&arguments),
        Command::Stop(arguments) => stop::run(&arguments),
        Command::Notify(arguments) => notify::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Backtest(arguments) => backtest::run(&arguments),
        Command::Anonymize(arguments) => anonymize::run(&arguments),
        Command::Drill(arguments) => drill::run(&arguments),
    };
    result.unwrap_or_else(|failure| failure.report())
}

/// The whole command line, for the generated reference.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_systemd_units_run_are_commands() {
        for (unit, rights) in [
            (include_str!("../../../../examples/seawall.service"), "CAP_NET_ADMIN CAP_NET_BIND_SERVICE"),
            (include_str!("../../../../examples/seawall-watch.service"), "CAP_NET_ADMIN"),
        ] {
            let commands: Vec<&str> = unit
                .lines()
                .filter_map(|line| line.strip_prefix("Exec")?.split_once('='))
                .map(|(_, command)| command)
                .collect();
            assert_eq!(commands.len(), 2);
            for command in commands {
                let parsed = Cli::try_parse_from(command.split_whitespace());
                assert!(
                    parsed.is_ok(),
                    "{command}: {}",
                    parsed.err().map_or_else(String::new, |error| error.to_string())
                );
            }
            // What it has is all that it may ever have.
            for setting in ["AmbientCapabilities", "CapabilityBoundingSet"] {
                assert!(unit.lines().any(|line| line == format!("{setting}={rights}")), "{setting}");
            }
        }
    }
}
