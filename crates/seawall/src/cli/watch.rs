//! `seawall watch`

mod unguarded;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use seawall_engine::observation::log::FormatChoice;

use super::Failure;
use super::output::print;
use super::serve::{log_to_standard_error, state_line};
use super::treatment;
use crate::config::{self, CommandLine, Config, Environment};
use crate::daemon::{self, Addresses, ConfigSource};
use crate::host::clock::Clock;
use crate::privacy::KeyStore;
use crate::show::text::escape;
use crate::source::watch::Watch;
use crate::source::watch::place::Place;

/// Guard a site beside its web server: follow its logs as they grow and find what is unwanted.
///
/// A SOURCE is a log file (also one that does not exist yet, or a named pipe), a pattern in quotes ('/var/log/nginx/*.log': files
/// that come to match are read too), `-` for standard input, `journal:UNIT` for the systemd journal, and udp://ADDR:PORT,
/// tcp://ADDR:PORT, unix:/PATH or unix-stream:/PATH for a place to receive syslog messages. Files are followed through every
/// rotation, and read on where they were left after a restart. docs/watch.md tells what to write into the configuration of each web server.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  seawall watch /var/log/nginx/access.log
  seawall watch '/var/log/apache2/*access.log' --state /var/lib/seawall
  seawall watch udp://127.0.0.1:5514   # nginx: access_log syslog:server=127.0.0.1:5514;
  seawall watch journal:caddy.service
  docker logs -f --tail 0 web | seawall watch -
  CustomLog \"|/usr/bin/seawall watch --pipe --write /var/log/apache2/private.log\" combined

No request is refused: what each rule would refuse is counted, and shown by `seawall status`.
In a flood that also prints what to type so that the server refuses what was found.
Whoever goes on with it is dropped by the kernel, where the guard may use it; `[kernel] use = \"never\"` forbids it.
SIGHUP reads the configuration again and makes the file of --write anew. SIGTERM stops.")]
pub(crate) struct Arguments {
    /// Where log lines come from; several may be given. Without any, those of `[watch]` in the configuration.
    #[arg(value_name = "SOURCE", required_unless_present_any = ["pipe", "config"])]
    sources: Vec<Place>,

    /// Read log lines from standard input, and end when it does; as `-`. It is read whatever happens, since the web server waits
    /// for that: where the guard cannot start, lines are only written on (--write), and the start is tried again.
    #[arg(long)]
    pipe: bool,

    /// Write standard input on to this file, with pseudonyms in place of addresses unless --mode says otherwise. It is appended to,
    /// and made anew after it was renamed. Lines are left out, and counted, rather than that the web server waits for a disk.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,

    #[command(flatten)]
    treatment: treatment::Options,

    /// The format of the logs, when it is not to be recognised: a name, or a format string as nginx, Apache or GoAccess have it;
    /// see docs/formats.md.
    #[arg(long, value_name = "FORMAT")]
    format: Option<FormatChoice>,

    /// Look at files four times a second instead of being told by the kernel; for network file systems.
    #[arg(long)]
    poll: bool,

    /// Read files that were not read before from their beginnings, and not from their ends. What is older than some seconds is
    /// counted, but is no traffic of now.
    #[arg(long)]
    from_start: bool,

    /// The configuration file; of its sections those about sites do not matter here. A SOURCE here goes before those of [watch].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where the status page is, or `off` [default: what the configuration says, and 127.0.0.1:8081 without].
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,

    /// Where the control socket, positions and what was learnt are kept [default: what the configuration says].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// Why the guard does not run.
enum Ended {
    /// It could not start.
    Before(Failure),
    /// It has run.
    After(Failure),
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    log_to_standard_error();
    match guard(arguments, || {}) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // Who types it sees what is wrong; a web server only waits for its pipe to be read.
        Err(Ended::Before(failure)) if arguments.pipe && !std::io::stdin().is_terminal() => {
            unguarded::go_on(arguments, failure)
        }
        Err(Ended::Before(failure) | Ended::After(failure)) => Err(failure),
    }
}

/// For a command line that is wrong: whether it is that of a pipe, and a web server waits.
pub(crate) fn is_piped(mut words: impl Iterator<Item = std::ffi::OsString>) -> bool {
    words.any(|word| word == "watch") && words.any(|word| word == "--pipe")
}

pub(crate) use unguarded::discard;

/// Runs the guard. `ready` is called when it does.
fn guard(arguments: &Arguments, ready: impl FnOnce()) -> Result<(), Ended> {
    let Prepared { config, source, watch, missing } = prepare(arguments).map_err(Ended::Before)?;
    let state_directory = config.state_directory.clone();
    let announce = |names: &[String], addresses: &Addresses| {
        ready();
        let mut text = String::new();
        for name in names {
            text += &format!("Watching {}\n", escape(name.as_bytes()));
        }
        for path in &missing {
            let path = escape(path.as_os_str().as_encoded_bytes());
            text += &format!("{path} is not there yet, or may not be looked for; it is read as soon as it is\n");
        }
        if let Some(admin) = addresses.admin {
            text += &format!("Status page http://{admin}/\n");
        }
        text += &state_line(&state_directory);
        // Whoever starts a piped log program may have closed its output.
        if print(&text).is_err() {
            tracing::warn!("what is watched could not be printed");
        }
    };
    daemon::watch(config, source, watch, announce).map_err(|error| {
        let ended = if error.is_of_the_end() { Ended::After } else { Ended::Before };
        ended(treatment::shown(error))
    })
}

/// What a guard is started with.
struct Prepared {
    config: Config,
    source: ConfigSource,
    watch: Watch,
    /// Files that are not there yet.
    missing: Vec<PathBuf>,
}

fn prepare(arguments: &Arguments) -> Result<Prepared, Failure> {
    let mut places = arguments.sources.clone();
    if arguments.pipe {
        places.push(Place::Input);
    }
    let (config, source) = configuration(arguments)?;
    if places.is_empty() {
        places.clone_from(&config.watch);
    }
    if places.is_empty() {
        return Err(Failure::invalid("nothing is to be watched; name a SOURCE, or write sources = [\"…\"] in [watch]"));
    }
    let inputs = places.iter().filter(|place| **place == Place::Input).count();
    if inputs > 1 {
        return Err(Failure::usage("standard input can be watched once; leave out --pipe or `-`"));
    }
    if arguments.write.is_some() && inputs == 0 {
        return Err(Failure::usage(
            "--write writes on what comes from standard input; add --pipe, or use `seawall anonymize`",
        ));
    }
    let copy = match &arguments.write {
        Some(path) => {
            let keys =
                || KeyStore::open(&config.state_directory, config.privacy.key_retention_days).map_err(treatment::shown);
            Some((path.clone(), arguments.treatment.anonymizer(keys, Clock::start().now())?))
        }
        None if arguments.treatment.are_given() => {
            return Err(Failure::usage("what becomes of addresses matters to what is written on; add --write FILE"));
        }
        None => None,
    };
    let is_missing = |place: &Place| match place {
        Place::File(path) if !path.exists() => Some(path.clone()),
        _ => None,
    };
    let missing = places.iter().filter_map(is_missing).collect();
    let configured = config.watch_format.as_ref().map(|format| &format.choice);
    let format = arguments.format.as_ref().or(configured).cloned();
    let (polls, from_start) = (arguments.poll, arguments.from_start);
    Ok(Prepared { config, source, watch: Watch { places, format, polls, from_start, copy }, missing })
}

/// The configuration, with what the command line says in place of the file.
fn configuration(arguments: &Arguments) -> Result<(Config, ConfigSource), Failure> {
    let line = CommandLine { admin: arguments.admin.clone(), ..CommandLine::default() };
    let mut config = Config::from_command_line(&line)?;
    let mut source = ConfigSource::CommandLine;
    let state_directory = arguments.state.clone();
    if let Some(path) = &arguments.config {
        let admin = arguments.admin.is_some().then_some(config.admin);
        let environment = Environment { beside: true, ..Environment::of_process() };
        config = config::load_in(path, &environment)?;
        config.admin = admin.unwrap_or(config.admin);
        source = ConfigSource::File { path: path.clone(), state_directory: state_directory.clone(), admin };
    }
    config.state_directory = state_directory.unwrap_or(config.state_directory);
    Ok((config, source))
}
