//! Enforcement: how long it takes until who is banned is dropped by the kernel, and until all are again after a kill. In a network
//! namespace of its own, so that this machine's firewall is left alone.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::thread::UnshareFlags;
use seawall::host::clock::Clock;
use socket2::{Domain, Socket, Type};

use super::Bench;
use super::figure::{Figure, Goal, OURS, Series};
use crate::Failure;
use crate::packages::{self, Needed};

const NEEDED: &[Needed] = &[
    Needed { program: "nft", package: "nftables", why: "what changes the kernel's table" },
    Needed { program: "ip", package: "iproute2", why: "the network namespace" },
];

/// Clients, and networks of a country's zone file.
const CLIENTS: usize = 100_000;
const NETWORKS: usize = 5_244;

/// Bans of one client each, of which the time to the first dropped packet is taken.
const SINGLE_BANS: u8 = 10;

/// What they are to reach, in milliseconds.
const CLIENTS_MAX: f64 = 1_000.0;
const RESTORED_MAX: f64 = 2_000.0;
const NETWORKS_MAX: f64 = 100.0;
const DROPPED_MAX: f64 = 500.0;

const LISTEN: &str = "127.0.0.1:8099";
const CONFIG: &str = "listen = \"127.0.0.1:8099\"\nadmin = \"off\"\nstate-directory = \"state\"\nworkers = 1\n\
                      [[site]]\nhosts = [\"*\"]\norigin = \"clock\"\n[policy]\nnever-ban-loopback = false\n";

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A packet on loopback that is not answered by then was dropped.
const ANSWER_TIME_MAX: Duration = Duration::from_millis(30);

/// Measures on a thread of its own: only that is moved into the namespace, with all that it starts.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    packages::install_missing(NEEDED)?;
    std::thread::scope(|scope| {
        let measured = scope.spawn(|| {
            #[expect(
                deprecated,
                reason = "the replacement is unsafe for flags that this is not; the network is not memory"
            )]
            let unshared = rustix::thread::unshare(UnshareFlags::NEWNET);
            unshared
                .map_err(|error| Failure::Bench(format!("a network namespace of its own cannot be had: {error}")))?;
            measure(bench)
        });
        measured.join().unwrap_or_else(|_| Err(Failure::Bench("the measuring thread panicked".to_owned())))
    })
}

fn measure(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let folder = bench.folder("enforcement")?;
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|source| Failure::Write { path: path.clone(), source })
    };
    write("seawall.toml", CONFIG.to_owned())?;
    write("clients", clients())?;
    write("networks", networks())?;
    command("ip", &["link", "set", "lo", "up"], &folder)?;
    let mut values: [Vec<f64>; 5] = Default::default();
    for _ in 0..bench.repetitions {
        let mut guard = Guard::start(bench, &folder)?;
        let clock = Clock::start();
        guard.seawall(&["bans", "import", "clients", "--for", "2h"])?;
        guard.until("clients", CLIENTS)?;
        values[0].push(milliseconds(clock.uptime()));
        values[1].push(guard.kernel("transaction_milliseconds")?);
        // The record is written a quarter of a second later.
        std::thread::sleep(Duration::from_secs(2));
        guard.kill();
        command("nft", &["flush", "ruleset"], &folder)?;
        let clock = Clock::start();
        let guard = Guard::start(bench, &folder)?;
        guard.until("clients", CLIENTS)?;
        values[2].push(milliseconds(clock.uptime()));
        guard.seawall(&["bans", "remove", "--all"])?;
        guard.until("clients", 0)?;
        guard.seawall(&["bans", "import", "networks", "--for", "2h"])?;
        guard.until("networks", NETWORKS)?;
        values[3].push(guard.kernel("transaction_milliseconds")?);
        for host in 1..=SINGLE_BANS {
            values[4].push(guard.until_dropped(Ipv4Addr::new(127, 1, 0, host))?);
        }
        drop(guard);
        fs::remove_dir_all(folder.join("state")).map_err(|source| Failure::Write { path: folder.clone(), source })?;
        let last = values.each_ref().map(|values| values.last().copied().unwrap_or(f64::NAN));
        bench.say(&format!("{last:.0?} ms"));
    }
    let [imported, transaction, restored, networks, dropped] = values;
    let figure = |what: &str, goal: f64, values: Vec<f64>, note: &str| Figure {
        what: what.to_owned(),
        unit: "ms",
        goal: Goal::AtMost(goal),
        series: vec![Series { name: OURS.to_owned(), values }],
        notes: vec![note.to_owned()],
    };
    Ok(vec![
        figure("100,000 bans: the transaction", CLIENTS_MAX, transaction, "The last, where it took several."),
        figure(
            "100,000 bans: from the command until the kernel has all",
            CLIENTS_MAX,
            imported,
            "Reading the file, sending it to the guard and writing the record are part of it.",
        ),
        figure(
            "100,000 bans in the kernel again, from the start of a guard that was killed",
            RESTORED_MAX,
            restored,
            "With an empty packet filter, as after a reboot.",
        ),
        figure("5,244 networks: the transaction", NETWORKS_MAX, networks, "All /22, at random."),
        figure(
            "From the command that bans a client until its packets are dropped",
            DROPPED_MAX,
            dropped,
            "Starting the command is part of it.",
        ),
    ])
}

/// A running guard, killed when dropped.
struct Guard {
    process: Child,
    program: PathBuf,
    folder: PathBuf,
}

impl Guard {
    fn start(bench: &Bench, folder: &Path) -> Result<Self, Failure> {
        let log =
            File::create(folder.join("log")).map_err(|source| Failure::Write { path: folder.to_owned(), source })?;
        let mut serve = Command::new(&bench.guard);
        serve.args(["serve", "--config", "seawall.toml"]).current_dir(folder).stdout(Stdio::null()).stderr(log);
        let process = serve.spawn().map_err(|source| Failure::Start { command: "seawall serve".to_owned(), source })?;
        Ok(Self { process, program: bench.guard.clone(), folder: folder.to_owned() })
    }

    fn seawall(&self, arguments: &[&str]) -> Result<Vec<u8>, Failure> {
        let all = [arguments, &["--state", "state"]].concat();
        command(&self.program.to_string_lossy(), &all, &self.folder)
    }

    /// A number of the kernel layer's status.
    fn kernel(&self, name: &str) -> Result<f64, Failure> {
        let status = self.seawall(&["status", "--json"])?;
        let status: serde_json::Value =
            serde_json::from_slice(&status).map_err(|error| Failure::Bench(error.to_string()))?;
        let found = status["enforcement"]["kernel"][name].as_f64();
        found.ok_or_else(|| Failure::Bench(format!("the status has no number `{name}`")))
    }

    fn until(&self, name: &str, expected: usize) -> Result<(), Failure> {
        let clock = Clock::start();
        // While it starts it does not answer yet.
        while self.kernel(name).ok() != Some(expected as f64) {
            if clock.uptime() > PATIENCE {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                return Err(Failure::Bench(format!("the kernel has not {expected} {name} after {PATIENCE:?}:\n{log}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Milliseconds from the command that bans a client until it is dropped.
    fn until_dropped(&self, client: Ipv4Addr) -> Result<f64, Failure> {
        let address: SocketAddr = LISTEN.parse().map_err(|_| Failure::Bench("no address".to_owned()))?;
        let clock = Clock::start();
        self.seawall(&["bans", "add", &client.to_string()])?;
        while clock.uptime() < PATIENCE {
            let begun = clock.uptime();
            let connect = || -> std::io::Result<()> {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
                socket.bind(&SocketAddr::from((client, 0)).into())?;
                socket.connect_timeout(&address.into(), ANSWER_TIME_MAX)
            };
            if connect().is_err_and(|error| error.kind() == std::io::ErrorKind::TimedOut) {
                return Ok(milliseconds(begun));
            }
        }
        Err(Failure::Bench(format!("a banned client is not dropped after {PATIENCE:?}")))
    }

    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.kill();
    }
}

fn command(program: &str, arguments: &[&str], folder: &Path) -> Result<Vec<u8>, Failure> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let shown = || format!("{program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).current_dir(folder).env("PATH", path).output();
    let output = output.map_err(|source| Failure::Start { command: shown(), source })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(Failure::Bench(format!("`{}`: {}", shown(), String::from_utf8_lossy(&output.stderr).trim_end())))
}

fn milliseconds(duration: Duration) -> f64 {
    1_000.0 * duration.as_secs_f64()
}

/// Distinct addresses, one in each line; always the same.
fn clients() -> String {
    let mut random = fastrand::Rng::with_seed(1);
    let mut found = BTreeSet::new();
    while found.len() < CLIENTS {
        found.insert(Ipv4Addr::from_bits(random.u32(0x0B00_0000..0x7800_0000)));
    }
    found.iter().map(|address| format!("{address}\n")).collect()
}

/// Distinct networks, one in each line; always the same.
fn networks() -> String {
    let mut random = fastrand::Rng::with_seed(1);
    let mut found = BTreeSet::new();
    while found.len() < NETWORKS {
        found.insert(Ipv4Addr::from_bits(random.u32(0x8000_0000..0xC000_0000) & !0x3FF));
    }
    found.iter().map(|address| format!("{address}/22\n")).collect()
}
