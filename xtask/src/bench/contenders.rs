//! Who is measured: the guard, and in its place nginx or HAProxy, each with its configuration from bench/peers, alone on
//! the server's core; behind them an origin on the core of the load.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use super::figure::{OURS, Series};
use super::program::Program;
use super::{Bench, past};
use crate::Failure;

pub(crate) const NGINX: &str = "nginx";
pub(crate) const HAPROXY: &str = "HAProxy";

/// Everybody, in the order of their turns.
pub(crate) const ALL: [Contender; 3] = [Contender::Seawall, Contender::Nginx, Contender::Haproxy];

// The ports that the configurations in bench/peers name.
const ORIGIN: u16 = 18_100;
const STREAMS: u16 = 18_110;
const SEAWALL: u16 = 18_200;
const NGINX_PROXY: u16 = 18_210;
const NGINX_REFUSING: u16 = 18_211;
const HAPROXY_PROXY: u16 = 18_220;
const HAPROXY_REFUSING: u16 = 18_221;
const BARE_RELAY: u16 = 18_230;

/// One of those that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Seawall,
    Nginx,
    Haproxy,
}

impl Contender {
    /// As it is called in results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Seawall => OURS,
            Self::Nginx => NGINX,
            Self::Haproxy => HAPROXY,
        }
    }

    /// Where it proxies.
    pub(crate) fn proxy(self) -> SocketAddr {
        loopback(match self {
            Self::Seawall => SEAWALL,
            Self::Nginx => NGINX_PROXY,
            Self::Haproxy => HAPROXY_PROXY,
        })
    }

    /// Where it refuses everything; the guard refuses by rule, in the place where it proxies.
    pub(crate) fn refusing(self) -> SocketAddr {
        match self {
            Self::Seawall => self.proxy(),
            Self::Nginx => loopback(NGINX_REFUSING),
            Self::Haproxy => loopback(HAPROXY_REFUSING),
        }
    }

    /// Starts it on the server's core. The guard has learnt nothing and has no rule.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn start(self, bench: &Bench) -> Result<Program, Failure> {
        self.start_with(bench, None)
    }

    /// Starts it; the guard with what it learnt before.
    fn start_with(self, bench: &Bench, baseline: Option<&[u8]>) -> Result<Program, Failure> {
        match self {
            Self::Seawall => guard(bench, OURS, "guard.toml", bench.cores.server, self.proxy(), baseline),
            Self::Nginx => nginx(bench, NGINX, "nginx.conf", bench.cores.server, &[self.proxy(), self.refusing()]),
            Self::Haproxy => {
                let configuration = peers(HAPROXY_CONFIGURATION);
                let command = ["haproxy", "-db", "-q", "-f", configuration.as_str()];
                let addresses = [self.proxy(), self.refusing()];
                Program::start(HAPROXY, &command, bench.cores.server, &bench.folder(HAPROXY)?, &addresses)
            }
        }
    }
}

const HAPROXY_CONFIGURATION: &str = "haproxy.cfg";

/// The guard after days of ordinary traffic of one site, ready to tell a flood from it.
///
/// # Errors
/// When it does not come up.
pub(crate) fn experienced_guard(bench: &Bench) -> Result<Program, Failure> {
    Contender::Seawall.start_with(bench, Some(&past::baseline(seawall::host::clock::wall_clock())))
}

/// The origin: 100 bytes for whatever is asked, on the load's core.
///
/// # Errors
/// When it does not come up.
pub(crate) fn origin(bench: &Bench) -> Result<Program, Failure> {
    nginx(bench, "origin", "origin.nginx.conf", bench.cores.load, &[origin_address()])
}

/// Where the origin listens.
pub(crate) fn origin_address() -> SocketAddr {
    loopback(ORIGIN)
}

/// The clock as an origin for the peers, on the load's core.
///
/// # Errors
/// When it does not come up.
pub(crate) fn streams(bench: &Bench) -> Result<Program, Failure> {
    guard(bench, "streams", "streams.toml", bench.cores.load, loopback(STREAMS), None)
}

/// Lets every contender measure once, then everyone once more, and so on: what disturbs the machine for a while disturbs
/// all. `measure` gives the values of one turn, in the order of the figures that they belong to.
///
/// # Errors
/// The first that `measure` gives.
pub(crate) fn take_turns<const FIGURES: usize>(
    bench: &Bench,
    measure: impl FnMut(Contender) -> Result<[f64; FIGURES], Failure>,
) -> Result<[Vec<Series>; FIGURES], Failure> {
    take_turns_of(bench, &ALL.map(|contender| (contender.name(), contender)), measure)
}

/// The same for whoever is given, each with its name.
///
/// # Errors
/// The first that `measure` gives.
pub(crate) fn take_turns_of<T: Copy, const FIGURES: usize>(
    bench: &Bench,
    all: &[(&str, T)],
    mut measure: impl FnMut(T) -> Result<[f64; FIGURES], Failure>,
) -> Result<[Vec<Series>; FIGURES], Failure> {
    let empty = all.iter().map(|(name, _)| Series { name: (*name).to_owned(), values: Vec::new() });
    let mut figures = std::array::from_fn(|_| empty.clone().collect::<Vec<_>>());
    for repetition in 1..=bench.repetitions {
        for (place, (name, whose)) in all.iter().enumerate() {
            let values = measure(*whose)?;
            let shown: Vec<String> = values.iter().map(|value| format!("{value:.2}")).collect();
            bench.say(&format!("{repetition}/{} {name}: {}", bench.repetitions, shown.join(", ")));
            for (series, value) in figures.iter_mut().zip(values) {
                if let Some(series) = series.get_mut(place) {
                    series.values.push(value);
                }
            }
        }
    }
    Ok(figures)
}

/// Where the relay listens that looks at nothing.
pub(crate) fn bare_relay_address() -> SocketAddr {
    loopback(BARE_RELAY)
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn peers(file: &str) -> String {
    crate::root().join("bench/peers").join(file).display().to_string()
}

fn nginx(
    bench: &Bench,
    name: &'static str,
    configuration: &str,
    core: usize,
    addresses: &[SocketAddr],
) -> Result<Program, Failure> {
    let folder = bench.folder(name)?;
    let (configuration, prefix) = (peers(configuration), folder.display().to_string());
    Program::start(name, &["nginx", "-c", &configuration, "-p", &prefix], core, &folder, addresses)
}

fn guard(
    bench: &Bench,
    name: &'static str,
    configuration: &str,
    core: usize,
    address: SocketAddr,
    baseline: Option<&[u8]>,
) -> Result<Program, Failure> {
    let state = bench.folder(&format!("{name}-state"))?;
    let forgotten = fs::remove_dir_all(&state).and_then(|()| fs::create_dir(&state));
    forgotten
        .and_then(|()| baseline.map_or(Ok(()), |baseline| fs::write(state.join("baseline"), baseline)))
        .map_err(|source| Failure::Write { path: state.clone(), source })?;
    let (program, configuration, state) = (shown(&bench.guard), peers(configuration), shown(&state));
    let command = [program.as_str(), "serve", "--config", &configuration, "--state", &state];
    Program::start(name, &command, core, &bench.folder(name)?, &[address])
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
