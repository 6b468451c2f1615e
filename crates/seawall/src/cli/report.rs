//! `seawall report`

use std::path::PathBuf;
use std::process::ExitCode;

use seawall_engine::observation::log::FormatChoice;

use super::Failure;
use super::output::{clients, print, screen};
use crate::show::log::{Logs, Progress};
use crate::show::report::Report;
use crate::show::report::terminal::render;
use crate::show::text::escape;

const EXAMPLES: &str = "\
Examples:
  seawall report /var/log/nginx/access.log*       the log and its rotated, gzipped predecessors
  zcat old.log.gz | seawall report --top 25 -     standard input
  seawall report --json access.log | jq .totals   for programs

Exit codes:
  0  done; lines that could not be read are in the report
  2  the command line is wrong
  4  a file could not be read, or not whole; the report holds what could";

/// Show what happened, from the access logs of any usual web server.
///
/// Formats are recognised by themselves (docs/formats.md), also behind a syslog, Docker or CRI prefix, and so is compression (gzip,
/// bzip2, xz, zstd). Shows totals, then hits by hour, host, path, status, user agent
/// and client, each with its share of hits and bytes, and what could not be read.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The logs; `-` for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The format of the logs, when it is not to be recognised: a name, or a format string as the configuration of nginx or Apache
    /// or GoAccess has it.
    #[arg(long, value_name = "NAME|STRING")]
    format: Option<FormatChoice>,

    /// How many rows each table has.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    top: u32,

    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,

    /// Show client addresses, which are otherwise replaced by pseudonyms that are new in each run.
    #[arg(long)]
    show_addresses: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut report = Report::new(clients(arguments.show_addresses)?);
    let mut failed = 0;
    report.collect(
        &Logs { paths: &arguments.files, format: arguments.format.as_ref() },
        &mut Progress::on_terminal(),
        |error| {
            failed += 1;
            eprintln!("seawall: {}", escape(error.to_string().as_bytes()));
        },
    );
    let summary = report.summary(usize::try_from(arguments.top).unwrap_or(usize::MAX));
    let text = if arguments.json {
        let json = serde_json::to_string_pretty(&summary);
        json.map_err(|error| Failure::machine(format_args!("cannot write the report as JSON: {error}")))? + "\n"
    } else {
        render(&summary, screen(&std::io::stdout()))
    };
    print(&text)?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(super::failure::UNREADABLE) })
}
