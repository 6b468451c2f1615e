//! `seawall import`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::Failure;
use super::output::print;
use crate::config::include;
use crate::fail2ban::{Converted, Filter, FilterError, Jail, convert};
use crate::show::excerpt::excerpt;
use crate::show::text::escape;

/// Say what was written for another program in Seawall's words.
///
/// (Bans of other programs are read by `seawall bans import`.)
#[derive(clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "\
Example:
  seawall import fail2ban /etc/fail2ban/filter.d/nginx-botsearch.conf --jail /etc/fail2ban/jail.conf"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a limit of a filter that is for an access log in the combined format, and print it.
    ///
    /// What is printed is a file for `limits` in [include], with a case that it was tried on. It is met by nothing that the filter would
    /// have passed over: each of its regular expressions is taken apart into conditions on method, path, version, status and user
    /// agent, and what cannot be proven to ask for no more is left out. What is left out is told on standard error, with the
    /// reason; docs/limits.md says what came of each filter of fail2ban's.
    #[command(
        name = "fail2ban",
        after_help = "\
Examples:
  seawall import fail2ban /etc/fail2ban/filter.d/nginx-bad-request.conf
  seawall import fail2ban nginx-botsearch.conf --jail /etc/fail2ban/jail.conf > /etc/seawall/limits.d/botsearch.toml

Exit codes:
  0  done; what could not be said of it is on standard error
  1  nothing of the filter could be said
  2  the command line is wrong
  3  the file is no filter, or the jail has a number that is none
  4  a file could not be read"
    )]
    Fail2ban {
        /// The filter, as filter.d/NAME.conf; files that it names are read from its folder.
        #[arg(value_name = "FILTER")]
        filter: PathBuf,
        /// The file whose jail of the same name says how often is too often, and for how long.
        #[arg(long, value_name = "FILE")]
        jail: Option<PathBuf>,
    },
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Command::Fail2ban { filter, jail } = &arguments.command;
    fail2ban(filter, jail.as_deref())
}

fn fail2ban(path: &Path, jail: Option<&Path>) -> Result<ExitCode, Failure> {
    let filter = Filter::read(path).map_err(failure)?;
    let jail = jail.map_or(Ok(Jail::default()), |jail| Jail::read(jail, &filter.name)).map_err(failure)?;
    let Converted { text, said, unsayable, .. } = convert(&filter, &jail);
    let name = escape(path.to_string_lossy().as_bytes());
    for one in &unsayable {
        let column = one.column.map(|column| format!("column {column}: ")).unwrap_or_default();
        eprintln!("seawall: {name}:{}: {column}{}", one.line, escape(one.reason.as_bytes()));
        eprintln!("{}", excerpt(&one.text, one.column.unwrap_or(1)));
    }
    let Some(text) = text else {
        return Err(Failure::negative(format!("nothing of {name} could be said in rules of Seawall's")));
    };
    // Whoever gets it may rely on it.
    if let Err(problems) = include::check(&text, "the limit that was made") {
        return Err(Failure::negative(format!("what was made of {name} does not hold what it must:\n{problems}")));
    }
    print(&text)?;
    if !unsayable.is_empty() {
        eprintln!("seawall: {name}: {said} of {} expressions are in the limit", said + unsayable.len());
    }
    Ok(ExitCode::SUCCESS)
}

fn failure(error: FilterError) -> Failure {
    match error {
        FilterError::Read { .. } => Failure::machine(error),
        FilterError::Content { .. } => Failure::invalid(error),
    }
}
