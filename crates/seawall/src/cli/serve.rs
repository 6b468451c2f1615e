//! `seawall serve`

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use super::Failure;
use super::output::print;
use crate::config::{self, CommandLine, Config, Environment};
use crate::daemon::{self, Addresses, ConfigSource};

/// Guard a site: stand in front of it and refuse the unwanted part of its traffic.
///
/// Without options it guards a built-in clock site on 127.0.0.1:8080, with a status page on 127.0.0.1:8081, so that you
/// can try it at once.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  seawall serve
  seawall serve --to http://127.0.0.1:3000 --host example.org --listen 0.0.0.0:80
  seawall serve --config /etc/seawall.toml

SIGHUP reads the configuration again, SIGTERM stops: new visitors are no longer taken,
those under way are waited for as long as limits.drain-time-max says. A second SIGTERM
cuts them off.")]
pub(crate) struct Arguments {
    /// The configuration file; see docs/configuration.md.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["to", "host"])]
    config: Option<PathBuf>,

    /// The server to guard: http://HOST:PORT or unix:/PATH.
    #[arg(long, value_name = "URL", requires = "host")]
    to: Option<String>,

    /// A host that the site answers to, as in the address bar; may be given several times. `*` for every host.
    #[arg(long, value_name = "NAME", requires = "to")]
    host: Vec<String>,

    /// Where to listen for visitors [default: 127.0.0.1:8080]; may be given several times.
    #[arg(long, value_name = "ADDR", conflicts_with = "config")]
    listen: Vec<String>,

    /// Where the status page is, or `off` [default: 127.0.0.1:8081].
    #[arg(long, value_name = "ADDR", conflicts_with = "config")]
    admin: Option<String>,

    /// Where the control socket and what was learnt are kept [default: what the configuration says].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    log_to_standard_error();
    let (mut config, source) = configuration(&arguments)?;
    if let Some(state) = arguments.state {
        config.state_directory = state;
    }
    let is_trial = matches!(source, ConfigSource::CommandLine) && arguments.to.is_none();
    let state_directory = config.state_directory.clone();
    let announce = |addresses: &Addresses| {
        let mut text = String::new();
        for address in &addresses.visitors {
            text += &format!("Guarding on http://{address}/\n");
        }
        if let Some(admin) = addresses.admin {
            text += &format!("Status page http://{admin}/\n");
        }
        if is_trial {
            text += "Try: open both in a browser; `seawall status`; `seawall drill cacert` replays a real flood;\n     \
                     `seawall serve --to http://127.0.0.1:3000 --host example.org` guards a server of yours.\n";
        } else {
            if let (Some(host), Some(address)) = (arguments.host.first(), addresses.visitors.first()) {
                let host = if host == "*" { "example.org" } else { host };
                text += &format!("Try: curl -H 'Host: {host}' http://{address}/\n");
            }
            text += &state_line(&state_directory);
        }
        // A full disk behind standard output is no reason not to guard.
        if print(&text).is_err() {
            tracing::warn!("where the guard listens could not be printed");
        }
    };
    daemon::run(config, source, announce).map_err(Failure::machine)?;
    Ok(ExitCode::SUCCESS)
}

/// What a guard has to say goes to standard error; `SEAWALL_LOG` says how much.
pub(super) fn log_to_standard_error() {
    let filter = EnvFilter::try_from_env("SEAWALL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let is_terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(is_terminal).init();
}

/// Where the state is, and how to look at it.
pub(super) fn state_line(state_directory: &Path) -> String {
    let here = std::path::absolute(state_directory).unwrap_or_else(|_| state_directory.to_owned());
    let is_default = here == Environment::of_process().default_state_directory();
    let option = if is_default { String::new() } else { format!(" --state {}", here.display()) };
    format!("State in {}; `seawall status{option}` shows what is going on.\n", here.display())
}

fn configuration(arguments: &Arguments) -> Result<(Config, ConfigSource), Failure> {
    if let Some(path) = &arguments.config {
        let config = config::load(path)?;
        let source = ConfigSource::File { path: path.clone(), state_directory: arguments.state.clone(), admin: None };
        return Ok((config, source));
    }
    let line = CommandLine {
        to: arguments.to.clone(),
        hosts: arguments.host.clone(),
        listen: arguments.listen.clone(),
        admin: arguments.admin.clone(),
    };
    let config = Config::from_command_line(&line)?;
    Ok((config, ConfigSource::CommandLine))
}
