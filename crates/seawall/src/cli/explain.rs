//! `seawall explain`

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use seawall_engine::observation::log::FormatChoice;

use super::Failure;
use super::logs::{Unreadable, files};
use super::output::{clients, print, screen};
use super::output_file::{Kind, OutputFile};
use crate::config;
use crate::networks::Networks;
use crate::show::explain::explain;
use crate::show::explain::terminal::render;
use crate::show::log::{Logs, Progress};
use crate::show::text::escape;

/// Sampling is the same in each run, so that the same logs are explained in the same way.
const SEED: u64 = 1;

/// What `--rules-out` may replace. Rules that somebody wrote by hand begin otherwise.
pub(super) const RULES_FILE: Kind =
    Kind { name: "file of rules of an earlier run", beginning: "# Rules that explain the surges of a log." };

/// How a rule begins that an earlier run has written.
const WRITTEN_RULE: &str = "rule-";

/// How much of a rule is shown.
const SHOWN_BYTES_MAX: usize = 100;

const EXAMPLES: &str = "\
Examples:
  seawall explain /var/log/nginx/access.log*
  seawall explain --rules-out rules.txt access.log && seawall backtest --rules rules.txt access.log
  seawall explain --json access.log | jq '.surges[].rules[].text'

Exit codes:
  0  done, also when there is no surge; lines that could not be read are in the output
  2  the command line is wrong
  3  the configuration is not valid
  4  a file could not be read, or not whole; the output holds what could";

/// Find the surges in logs, and explain each: what it has in common, whom a rule would hurt, where it comes from.
///
/// For each time with much more than is usual at its hour (of requests, bytes, or time that the site worked): a verdict,
/// the rules that tell it from normal traffic with what they cover and whom they hit, clients, countries and networks, the
/// time zone of the senders, the first signs before, and what to do. The logs are read three times, so they must be
/// files; they are recognised as `seawall report` recognises them. Rules are described in docs/rules.md.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The logs.
    #[arg(required = true, value_name = "FILE")]
    logs: Vec<PathBuf>,

    /// The format of the logs, when it is not to be recognised: a name, or a format string as the configuration of nginx or Apache
    /// or GoAccess has it.
    #[arg(long, value_name = "NAME|STRING")]
    format: Option<FormatChoice>,

    /// Write the rules that were found to this file, with the addresses that they name, for `seawall backtest`. A file of an earlier
    /// run is replaced, unless a rule was added to it.
    #[arg(long, value_name = "FILE")]
    rules_out: Option<PathBuf>,

    /// The configuration whose tables of networks are used in place of the built-in one, and whose hosts are yours: what a log says
    /// was for others is misdirected.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print everything as one JSON object.
    #[arg(long)]
    json: bool,

    /// Show client addresses and networks, which are otherwise left out.
    #[arg(long)]
    show_addresses: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if arguments.logs.iter().any(|log| log.as_path() == Path::new("-")) {
        return Err(Failure::usage(
            "`-` cannot be explained: a log is read three times, and standard input only once; write it to a file",
        ));
    }
    let config = arguments.config.as_deref().map(config::load).transpose()?;
    let own_hosts = config.as_ref().map(config::Config::hosts);
    let network_files = config.map(|config| config.networks).unwrap_or_default();
    let networks = Networks::load(&network_files).map_err(Failure::machine)?;
    let logs = files(&arguments.logs);
    if arguments.rules_out.as_deref() == Some(Path::new("-")) {
        return Err(Failure::usage(
            "`--rules-out -` names no file, and standard output has the explanation; name a file",
        ));
    }
    for log in &logs {
        // A pipe is empty when it is read again, and what was found in it would be denied.
        if fs::metadata(log).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
            return Err(Failure::usage(format!(
                "{} cannot be explained: a log is read three times, and a pipe only once; write it to a file",
                escape(log.to_string_lossy().as_bytes())
            )));
        }
    }
    let rules_out = arguments.rules_out.as_ref();
    let rules_out =
        rules_out.map(|path| OutputFile::open("--rules-out", path, &logs, Some(&RULES_FILE))).transpose()?;
    if let Some(path) = &arguments.rules_out {
        keep_own_rules(path)?;
    }
    let mut unreadable = Unreadable::default();
    let read = Logs { own_hosts: own_hosts.as_ref(), ..Logs::new(&logs, arguments.format.as_ref()) };
    let explanation = explain(&read, &networks, SEED, &mut Progress::on_terminal(), |error| {
        unreadable.say(error);
    });
    if let Some(file) = rules_out {
        file.write(&explanation.rules_file())?;
    }
    let summary = explanation.summary(&networks, &clients(arguments.show_addresses)?, arguments.show_addresses);
    if arguments.json {
        let json = serde_json::to_string_pretty(&summary);
        let json =
            json.map_err(|error| Failure::machine(format_args!("cannot write the explanation as JSON: {error}")))?;
        print(&(json + "\n"))?;
    } else {
        print(&render(&summary, screen(&io::stdout())))?;
    }
    Ok(unreadable.exit_code())
}

/// Refuses to replace a file of rules to which somebody has added one of his own.
fn keep_own_rules(path: &Path) -> Result<(), Failure> {
    if !fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return Ok(());
    }
    let name = escape(path.to_string_lossy().as_bytes());
    let text = fs::read(path).map_err(|error| Failure::machine(format_args!("cannot read {name}: {error}")))?;
    let written = |line: &[u8]| line.is_empty() || line.starts_with(b"#") || line.starts_with(WRITTEN_RULE.as_bytes());
    match text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).find(|line| !written(line)) {
        None => Ok(()),
        Some(line) => Err(Failure::usage(format!(
            "--rules-out {name} holds a rule that was not written by an earlier run, so it is not replaced: {}; name another file, or move \
             the rule to one",
            escape(line.get(..line.len().min(SHOWN_BYTES_MAX)).unwrap_or_default())
        ))),
    }
}
