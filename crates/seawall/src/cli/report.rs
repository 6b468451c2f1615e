//! `seawall report`

use std::io::IsTerminal as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::PossibleValue;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use seawall_engine::decision::expression::{Lists, Use};
use seawall_engine::observation::log::FormatChoice;
use serde::Serialize;

use super::Failure;
use super::journal;
use super::logs::{Unreadable, expression, files, networks_and_lists};
use super::output::{clients, print, screen};
use super::output_file::{Kind, OutputFile};
use crate::config::Environment;
use crate::host::clock::wall_clock;
use crate::networks::Networks;
use crate::record::Span;
use crate::show::log::{Filter, Logs, Progress};
use crate::show::record_report::RecordReport;
use crate::show::report::views::{self, VIEWS, View};
use crate::show::report::{Options, Report, csv, html, panel_names, terminal};

/// The most memory that a compiled --match may take, in bytes: what people write takes a few KiB.
const MATCH_BYTES_MAX: usize = 1 << 20;

/// How long whoever is before this command in a pipeline may take until the first bytes of what nobody reads are there.
const INPUT_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

const EXAMPLES: &str = "\
Examples:
  seawall report /var/log/nginx/access.log*       the log and its rotated, gzipped predecessors
  seawall report --where 'path = \"/time.gif\" and status = 200' access.log
  seawall report --html report.html access.log    charts, in one file that needs no network
  seawall report --view leech --top 25 access.log
  seawall report --view matches --match 'wp-(login|admin)' 'access.log*'
  seawall report --view first-seen 'user-agent contains curl' access.log*
  zcat old.log.gz | seawall report --json - | jq .totals
  seawall report --days 7                         what the guard itself has recorded
  seawall report --hours 1                        the same of the last hour, minute by minute

Exit codes:
  0  done; lines that could not be read are in the report
  2  the command line is wrong, or the text of a filter, a rule or an expression is
  3  the configuration is not valid
  4  a file could not be read, or not whole; the report holds what could. Or a report could not be written
  5  without a FILE: there is no record where the command looked for one";

/// Show what happened, from the access logs of any usual web server, or, without a file, from the guard's own record.
///
/// Formats are recognised by themselves (docs/formats.md), also behind a syslog, Docker or CRI prefix, and so is compression (gzip,
/// bzip2, xz, zstd). Shows totals, traffic over time by outcome, surges with their explanation, then hits by hour, host, path,
/// status, user agent, country, network, client and more, response times, and what could not be read. docs/report.md says
/// what each panel means.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The logs; `-` for standard input. Patterns in quotes are resolved here. Rotated sets are read in the order of time, and a
    /// file that is named twice is read once. With --view first-seen, a rule stands before them.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Without a FILE: the state directory of the guard whose record is reported.
    #[arg(long, value_name = "DIR", conflicts_with = "files", default_value_os_t = Environment::of_process().default_state_directory())]
    state: PathBuf,

    /// Without a FILE: how many days.
    #[arg(long, value_name = "N", default_value_t = 30, conflicts_with = "files", value_parser = clap::value_parser!(u32).range(1..=3_660))]
    days: u32,

    /// Without a FILE: how many hours, in place of days. Up to three are shown by minute, more by ten minutes.
    #[arg(long, value_name = "N", conflicts_with_all = ["files", "days"], value_parser = clap::value_parser!(u32).range(1..=24))]
    hours: Option<u32>,

    /// The format of the logs, when it is not to be recognised: a name, or a format string as the configuration of nginx or Apache
    /// or GoAccess has it.
    #[arg(long, value_name = "NAME|STRING")]
    format: Option<FormatChoice>,

    /// Look only at requests that meet this filter (docs/rules.md).
    #[arg(long = "where", value_name = "FILTER")]
    filter: Option<String>,

    /// Show only this: one of the panels, or a view of its own.
    #[arg(long, value_name = "NAME", value_parser = view_names(), hide_possible_values = true)]
    view: Option<String>,

    /// What --view matches looks for in each line that is a request: a regular expression.
    #[arg(long = "match", value_name = "REGEX")]
    expression: Option<String>,

    /// How many rows each table has.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    top: u32,

    /// Print the report as one JSON object.
    #[arg(long, conflicts_with = "csv")]
    json: bool,

    /// Print the report as comma-separated values, a line for each row of each panel.
    #[arg(long)]
    csv: bool,

    /// Write the report to this file as a web page, complete in itself.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "csv"])]
    html: Option<PathBuf>,

    /// The configuration whose tables of networks are used in place of the built-in one, and whose hosts are the list `sites`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Say only when there were surges, and do not read the logs again to explain them.
    #[arg(long)]
    no_explanations: bool,

    /// How many threads read, at most 4; as many as there are cores, unless this says otherwise.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// Show client addresses, which are otherwise replaced by pseudonyms that are new in each run.
    #[arg(long)]
    show_addresses: bool,
}

/// The names for --view, each with what it shows.
fn view_names() -> Vec<PossibleValue> {
    let views = VIEWS.into_iter().map(|(name, help)| PossibleValue::new(name).help(help));
    views.chain(panel_names().map(PossibleValue::new)).collect()
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if arguments.files.is_empty() {
        return of_record(arguments);
    }
    let (network_files, lists) = networks_and_lists(arguments.config.as_deref())?;
    let filter = arguments.filter.as_ref().map(|text| expression("--where", text, Use::Filter, &lists)).transpose()?;
    let filter = filter.map(Filter::new);
    let (view, paths) = view(arguments, &lists)?;
    let paths = files(paths);
    let kind = Kind { name: "report of seawall", beginning: html::BEGINNING };
    let page = arguments.html.as_ref().map(|path| OutputFile::open("--html", path, &paths, Some(&kind)));
    let page = page.transpose()?;
    let networks = Networks::load(&network_files).map_err(Failure::machine)?;
    let logs =
        Logs { filter: filter.as_ref(), networks: Some(&networks), ..Logs::new(&paths, arguments.format.as_ref()) };
    let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let options = Options {
        clients: clients(arguments.show_addresses)?,
        networks: &networks,
        panels: panel_names().filter(|name| Some(*name) == arguments.view.as_deref()).collect(),
        explains: !arguments.no_explanations,
        threads: arguments.threads.map_or_else(cores, NonZeroUsize::get),
    };
    let top = usize::try_from(arguments.top).unwrap_or(usize::MAX);
    let (mut progress, mut unreadable) = (Progress::on_terminal(), Unreadable::default());
    let failed = |error: &_| unreadable.say(error);
    let text = if let Some(view) = view {
        let summary = view.read(&logs, &options, top, &mut progress, failed);
        if let Some(page) = page {
            write(page, &html::render(&summary.page()).map_err(Failure::machine)?)?;
            return Ok(unreadable.exit_code());
        }
        match arguments {
            Arguments { json: true, .. } => json(&summary)?,
            Arguments { csv: true, .. } => summary.csv().map_err(Failure::machine)?,
            _ => views::render(&summary, screen(&std::io::stdout())),
        }
    } else {
        let summary = Report::read(&logs, options, &mut progress, failed).summary(top);
        if let Some(page) = page {
            write(page, &html::render(&summary).map_err(Failure::machine)?)?;
            return Ok(unreadable.exit_code());
        }
        match arguments {
            Arguments { json: true, .. } => json(&summary)?,
            Arguments { csv: true, .. } => csv::render(&summary).map_err(Failure::machine)?,
            _ => terminal::render(&summary, screen(&std::io::stdout())),
        }
    };
    print(&text)?;
    Ok(unreadable.exit_code())
}

/// The report of the guard's own record, which holds counts and no requests.
fn of_record(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let about_logs = arguments.filter.is_some()
        || arguments.view.is_some()
        || arguments.expression.is_some()
        || arguments.csv
        || arguments.html.is_some();
    if about_logs {
        return Err(Failure::usage("--where, --view, --match, --csv and --html are about logs; name a FILE"));
    }
    if is_given_input() {
        eprintln!(
            "seawall: standard input was not read: without a FILE this is the report of the guard's own record; `-` reads it"
        );
    }
    let (span, seconds) = match arguments.hours {
        Some(hours) => (Span::Minute, 3_600 * u64::from(hours)),
        None => (Span::Hour, 86_400 * u64::from(arguments.days)),
    };
    let now = wall_clock();
    let since = now - Duration::from_secs(seconds);
    let reader = journal::open(&arguments.state)?;
    let counts = reader.traffic(span, since, now).map_err(Failure::machine)?;
    let decisions = reader.rule_decisions(since, now).map_err(Failure::machine)?;
    let incidents = reader.incidents(since, now).map_err(Failure::machine)?;
    let report = RecordReport::new(&counts, span, &decisions, incidents);
    let top = usize::try_from(arguments.top).unwrap_or(usize::MAX);
    print(&if arguments.json { json(&report)? } else { report.render(screen(&std::io::stdout()).columns, top) })?;
    Ok(ExitCode::SUCCESS)
}

/// Whether somebody seems to give a log on standard input: there is something in a pipe or a file, and it is no terminal or
/// `/dev/null`. cron gives every program a pipe, and nothing in it.
fn is_given_input() -> bool {
    let input = std::io::stdin();
    let is_log = |mode| matches!(FileType::from_raw_mode(mode), FileType::Fifo | FileType::RegularFile);
    if !fstat(&input).is_ok_and(|status| is_log(status.st_mode)) {
        return false;
    }
    let mut polled = [PollFd::new(&input, PollFlags::IN)];
    let is_ready = poll(&mut polled, Some(&INPUT_WAIT)).is_ok_and(|ready| ready > 0);
    is_ready && polled.iter().any(|polled| polled.revents().contains(PollFlags::IN))
}

/// The view that is a table of its own, if one was asked for, and the files to be read.
fn view<'a>(arguments: &'a Arguments, lists: &Lists) -> Result<(Option<View>, &'a [PathBuf]), Failure> {
    let (name, paths) = (arguments.view.as_deref(), arguments.files.as_slice());
    if arguments.expression.is_some() && name != Some("matches") {
        return Err(Failure::usage("--match is for --view matches; --where chooses requests for every panel and view"));
    }
    let view = match name {
        Some("leech") => View::Leech,
        Some("matches") => {
            let text = arguments.expression.as_ref().ok_or_else(|| {
                Failure::usage("--view matches needs an expression: --match 'REGEX', as in --match 'wp-(login|admin)'")
            })?;
            let expression = regex::bytes::RegexBuilder::new(text).size_limit(MATCH_BYTES_MAX).build();
            View::Matches(Box::new(expression.map_err(|error| Failure::usage(format!("--match: {error}")))?))
        }
        Some("first-seen") => {
            let usage =
                "--view first-seen needs a rule and then files: --view first-seen 'path = \"/announce\"' access.log";
            let (rule, paths) = paths.split_first().ok_or_else(|| Failure::usage(usage))?;
            let rule = expression("the rule", &rule.to_string_lossy(), Use::Filter, lists)?;
            if paths.is_empty() {
                return Err(Failure::usage(usage));
            }
            return Ok((Some(View::FirstSeen(Box::new(rule))), paths));
        }
        _ => return Ok((None, paths)),
    };
    Ok((Some(view), paths))
}

fn json(summary: &impl Serialize) -> Result<String, Failure> {
    let json = serde_json::to_string_pretty(summary);
    json.map(|json| json + "\n")
        .map_err(|error| Failure::machine(format_args!("cannot write the report as JSON: {error}")))
}

/// Writes the page, and says where to whoever watches.
fn write(file: OutputFile, page: &str) -> Result<(), Failure> {
    let name = file.name();
    file.write(page)?;
    if std::io::stderr().is_terminal() {
        eprintln!("seawall: wrote {name}");
    }
    Ok(())
}
