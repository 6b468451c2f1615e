//! `seawall backtest`

use std::io::{self, IsTerminal as _, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use seawall_engine::decision::expression::{Lists, NamedExpression, Use};

use seawall_engine::observation::log::FormatChoice;

use super::Failure;
use super::logs::{Unreadable, expression, files, networks_and_lists};
use super::output::{clients, print, screen};
use super::rule_file;
use crate::networks::Networks;
use crate::show::backtest::terminal::render;
use crate::show::backtest::{Backtest, Candidate, RULES_MAX};
use crate::show::log::{Logs, Progress};
use crate::show::text::escape;
use crate::source::follow::LineBreak;

const EXAMPLES: &str = "\
Examples:
  seawall backtest --rule 'path = \"/announce\"' /var/log/nginx/access.log*
  seawall backtest --rules rules.txt --config /etc/seawall.toml access.log
  seawall backtest --rule 'user-agent contains curl' --print-matched access.log | less

Exit codes:
  0  done, also when a rule matches nothing; lines that could not be read are in the summary
  2  the command line is wrong, or the text of a --rule is
  3  the file of rules, or the configuration, is not valid
  4  a file could not be read, or not whole; the summary holds what could";

/// Try rules on logs: what they would have refused, when, and whom it would have hurt.
///
/// For each rule, and for all together: requests, bytes, clients, when, what the server had answered, and how many
/// returning clients it would have hit, who are most likely real visitors: clients that the logs show at least an hour
/// before a match. A rule that matches nothing is said to, and which of its conditions match nothing by themselves.
/// Nothing is refused or changed. Rules are described in docs/rules.md; logs are read as `seawall report` reads them.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The logs; `-` for standard input.
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,

    /// The format of the logs, when it is not to be recognised: a name, or a format string as the configuration of nginx or Apache
    /// or GoAccess has it.
    #[arg(long, value_name = "NAME|STRING")]
    format: Option<FormatChoice>,

    /// A rule; may be given several times.
    #[arg(long = "rule", value_name = "TEXT", required_unless_present = "rules")]
    texts: Vec<String>,

    /// A file of rules, one on each line, as NAME: RULE or the rule alone; what follows a # is a comment.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,

    /// The configuration whose hosts are the list `sites`, as in `host not in sites`, and whose tables of networks are used in place
    /// of the built-in one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print every matched line as it is, and the summary on standard error.
    #[arg(long)]
    print_matched: bool,

    /// Print the summary as one JSON object, on standard error with `--print-matched`.
    #[arg(long)]
    json: bool,

    /// Show client addresses, which are otherwise replaced by pseudonyms that are new in each run.
    #[arg(long)]
    show_addresses: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let (network_files, lists) = networks_and_lists(arguments.config.as_deref())?;
    let candidates = candidates(arguments, &lists)?;
    let mut backtest = Backtest::new(candidates, clients(arguments.show_addresses)?);
    let networks = backtest.asks_for_networks().then(|| Networks::load(&network_files)).transpose();
    let networks = networks.map_err(Failure::machine)?;
    let paths = files(&arguments.logs);
    let logs = Logs { networks: networks.as_ref(), ..Logs::new(&paths, arguments.format.as_ref()) };
    let mut matched = MatchedLines::new();
    let mut unreadable = Unreadable::default();
    backtest.collect(
        &logs,
        &mut Progress::on_terminal(),
        |line, line_break| {
            if arguments.print_matched { matched.print(line, line_break) } else { ControlFlow::Continue(()) }
        },
        |error| unreadable.say(error),
    );
    let printed = matched.finish();
    if let Err(error) = printed {
        // A reader that has gone, as `head` does, wants no more; what is known would be the summary of a part.
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Ok(ExitCode::SUCCESS);
        }
        return Err(Failure::machine(format!("failed to write to standard output: {error}")));
    }
    let summary = backtest.summary();
    let text = if arguments.json {
        let json = serde_json::to_string_pretty(&summary);
        json.map_err(|error| Failure::machine(format_args!("cannot write the summary as JSON: {error}")))? + "\n"
    } else if arguments.print_matched {
        render(&summary, screen(&io::stderr()))
    } else {
        render(&summary, screen(&io::stdout()))
    };
    if arguments.print_matched {
        eprint!("{text}");
    } else {
        print(&text)?;
    }
    Ok(unreadable.exit_code())
}

/// Every rule that was given, those of the file first.
fn candidates(arguments: &Arguments, lists: &Lists) -> Result<Vec<Candidate>, Failure> {
    let mut candidates = match &arguments.rules {
        Some(path) => from_file(path, lists)?,
        None => Vec::new(),
    };
    for text in &arguments.texts {
        let expression = expression("--rule", text, Use::Rule, lists)?;
        candidates.push(Candidate { name: None, place: "--rule".to_owned(), expression });
    }
    if candidates.len() > RULES_MAX {
        return Err(Failure::usage(format!(
            "{} rules were given, where at most {RULES_MAX} can be tried at once; try them in parts",
            candidates.len()
        )));
    }
    Ok(candidates)
}

/// The rules of a file, or every problem in it.
fn from_file(path: &Path, lists: &Lists) -> Result<Vec<Candidate>, Failure> {
    let candidate = |rule: NamedExpression| Candidate {
        name: rule.name.map(String::from),
        place: format!("{}:{}", path.to_string_lossy(), rule.line),
        expression: rule.expression,
    };
    Ok(rule_file::read(path, lists)?.into_iter().map(candidate).collect())
}

/// Writes matched lines to standard output: as they are, so that they can be read by another program, but escaped on a
/// terminal, which they could act on.
struct MatchedLines {
    output: io::BufWriter<io::StdoutLock<'static>>,
    is_terminal: bool,
    /// Whether the last line had no line break, which it gets if another follows.
    is_open: bool,
    result: io::Result<()>,
}

impl MatchedLines {
    fn new() -> Self {
        let output = io::stdout();
        let is_terminal = output.is_terminal();
        Self { output: io::BufWriter::new(output.lock()), is_terminal, is_open: false, result: Ok(()) }
    }

    fn print(&mut self, line: &[u8], line_break: LineBreak) -> ControlFlow<()> {
        self.result = self.write(line, line_break);
        if self.result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn write(&mut self, line: &[u8], line_break: LineBreak) -> io::Result<()> {
        if self.is_open {
            self.output.write_all(b"\n")?;
        }
        if self.is_terminal {
            return writeln!(self.output, "{}", escape(line));
        }
        self.is_open = matches!(line_break, LineBreak::None | LineBreak::Return);
        self.output.write_all(line)?;
        self.output.write_all(line_break.as_bytes())
    }

    /// Whether everything was written.
    fn finish(mut self) -> io::Result<()> {
        self.result?;
        self.output.flush()
    }
}
