//! Enforcement: how long it takes until who is banned is dropped by the kernel, and until all are again after a kill. In a network
//! namespace of its own, so that this machine's firewall is left alone. And what each costs: being there, and a dropped attempt to
//! connect beside a refused request. What is kept of it all is measured in [`record`].

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::thread::UnshareFlags;
use seawall::host::clock::Clock;
use socket2::{Domain, Protocol, Socket, Type};

use super::figure::{Figure, Goal, OURS, Series};
use super::program::cpu_time;
use super::{Bench, kernel_drills, record};
use crate::Failure;
use crate::packages::{self, Needed};

const NEEDED: &[Needed] = &[
    Needed { program: "nft", package: "nftables", why: "what changes the kernel's table" },
    Needed { program: "ip", package: "iproute2", why: "the network namespace" },
];

/// Clients, and networks of a country's zone file.
const CLIENTS: usize = 100_000;
const NETWORKS: usize = 5_244;

/// One of the clients, by which it is seen whether the kernel drops them.
const WITNESS: Ipv4Addr = Ipv4Addr::new(127, 9, 0, 1);

/// Bans of one client each, of which the time to the first dropped packet is taken.
const SINGLE_BANS: u8 = 10;

/// What they are to reach, in milliseconds.
const CLIENTS_MAX: f64 = 1_000.0;
const RESTORED_MAX: f64 = 2_000.0;
const NETWORKS_MAX: f64 = 100.0;
const DROPPED_MAX: f64 = 500.0;
const PANIC_MAX: f64 = 1_000.0;

/// The kernel is looked at every ten seconds.
const REPAIRED_MAX: f64 = 11_000.0;

/// The same for what it costs: memory at its most, in MB, and how many dropped attempts to connect cost as much as a refused request.
const MEMORY_MAX: f64 = 100.0;
const DROPPED_FOR_REFUSED_MIN: f64 = 20.0;

/// How long a guard is left alone with all its bans.
const REST: Duration = Duration::from_secs(10);

/// Requests that are refused, each on a connection of its own, and attempts to connect that are dropped. So many requests of one
/// client do not suffice for it to be closed unread.
const REFUSED: u32 = 12_000;
const REFUSED_OF_EACH: u32 = 20;
const ATTEMPTS: u32 = 200_000;

/// What is refused.
const UNWANTED: &str = "GET /unwanted HTTP/1.1\r\nHost: a.example\r\nUser-Agent: flood/1\r\nConnection: close\r\n\r\n";

const LISTEN_PORT: u16 = 8099;

/// What a client is banned for by itself.
const PROBE: &str = "GET /probe HTTP/1.1\r\nHost: a.example\r\nUser-Agent: probe/1\r\nConnection: close\r\n\r\n";

/// Packets to this port never leave whoever sends them.
const SENDER_PORT: u16 = 8098;
const SENDER: &str = "add table ip sender; add chain ip sender out { type filter hook output priority raw; }; \
                      add rule ip sender out tcp dport 8098 drop";

const CONFIG: &str = "listen = \"127.0.0.1:8099\"\nadmin = \"off\"\nstate-directory = \"state\"\nworkers = 1\n\
                      [[site]]\nhosts = [\"*\"]\norigin = \"clock\"\n[policy]\nnever-ban-loopback = false\n\
                      [[limit]]\nname = \"probe\"\nrule = 'path = \"/probe\"'\nrate = \"0 in 1h\"\naction = \"ban\"\n";

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A packet on loopback that is not answered by then was dropped.
const ANSWER_TIME_MAX: Duration = Duration::from_millis(30);

/// Measures the kernel on a thread of its own: only that is moved into the namespace, with all that it starts.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    packages::install_missing(NEEDED)?;
    let mut figures = record::measure(bench)?;
    let of_kernel = std::thread::scope(|scope| {
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
    });
    figures.extend(of_kernel?);
    figures.extend(kernel_drills::measure(bench)?);
    Ok(figures)
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
    let mut values: [Vec<f64>; 13] = Default::default();
    for _ in 0..bench.repetitions {
        let mut guard = Guard::start(bench, &folder)?;
        guard.until("clients", 0)?;
        // What it does once at its start is done.
        std::thread::sleep(Duration::from_secs(1));
        let clock = Clock::start();
        guard.seawall(&["bans", "import", "clients", "--for", "2h", "--anyway"])?;
        guard.until("clients", CLIENTS)?;
        values[0].push(milliseconds(clock.uptime()));
        values[1].push(guard.kernel("transaction_milliseconds")?);
        values[5].push(guard.memory_max()?);
        // What a killed guard may lose is what it was told in the last second.
        std::thread::sleep(Duration::from_secs(1));
        guard.kill();
        command("nft", &["flush", "ruleset"], &folder)?;
        let clock = Clock::start();
        let guard = Guard::start(bench, &folder)?;
        guard.until("clients", CLIENTS)?;
        values[2].push(milliseconds(clock.uptime()));
        std::thread::sleep(Duration::from_secs(2));
        let before = guard.cpu_time();
        std::thread::sleep(REST);
        values[6].push(milliseconds(guard.cpu_time() - before) / REST.as_secs_f64());
        values[11].push(guard.until_repaired()?);
        values[12].push(guard.until_panicked()?);
        guard.seawall(&["panic", "--over"])?;
        guard.until("clients", CLIENTS)?;
        guard.seawall(&["bans", "remove", "--all"])?;
        guard.until("clients", 0)?;
        guard.seawall(&["bans", "import", "networks", "--for", "2h", "--anyway"])?;
        guard.until("networks", NETWORKS)?;
        values[3].push(guard.kernel("transaction_milliseconds")?);
        for host in 1..=SINGLE_BANS {
            values[4].push(guard.until_dropped(Ipv4Addr::new(127, 1, 0, host), Guard::banned_by_command)?);
            values[10].push(guard.until_dropped(Ipv4Addr::new(127, 3, 0, host), Guard::banned_by_limit)?);
        }
        command("nft", &[SENDER], &folder)?;
        let client = Ipv4Addr::new(127, 1, 0, 1);
        let sent = attempts(client, SENDER_PORT)?;
        let dropped = attempts(client, LISTEN_PORT)? - sent;
        guard.until_counted(f64::from(ATTEMPTS))?;
        let refused = guard.refused()?;
        values[7].push(dropped);
        values[8].push(refused);
        values[9].push(refused / dropped);
        drop(guard);
        fs::remove_dir_all(folder.join("state")).map_err(|source| Failure::Write { path: folder.clone(), source })?;
        let last = values.each_ref().map(|values| values.last().copied().unwrap_or(f64::NAN));
        bench.say(&format!("{last:.0?} ms"));
    }
    let [
        imported,
        transaction,
        restored,
        networks,
        dropped,
        memory,
        rest,
        attempt,
        request,
        ratio,
        decided,
        repaired,
        panic,
    ] = values;
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
        figure(
            "100,000 bans dropped again after another program has deleted the table",
            REPAIRED_MAX,
            repaired,
            "As one of the clients sees it. The guard looks at the kernel every ten seconds, and at what became of its table whenever it \
             changes anything.",
        ),
        figure(
            "100,000 bans: from `seawall panic` until nobody is dropped",
            PANIC_MAX,
            panic,
            "As one of the clients sees it, who can connect again.",
        ),
        figure("5,244 networks: the transaction", NETWORKS_MAX, networks, "All /22, at random, none beside another."),
        figure(
            "From the command that bans a client until its packets are dropped",
            DROPPED_MAX,
            dropped,
            "Starting the command is part of it.",
        ),
        figure(
            "From the request for which a limit bans a client until its packets are dropped",
            DROPPED_MAX,
            decided,
            "As the client sees it, from when it sends that request.",
        ),
        Figure {
            unit: "MB",
            ..figure(
                "100,000 bans: the guard's memory at its most",
                MEMORY_MAX,
                memory,
                "From its start until the kernel has all.",
            )
        },
        Figure {
            unit: "ms/s",
            goal: Goal::None,
            ..figure(
                "100,000 bans: the guard's processor time at rest",
                0.0,
                rest,
                "Over ten seconds, nothing being asked of it.",
            )
        },
        Figure {
            unit: "us",
            goal: Goal::None,
            ..figure(
                "A dropped attempt to connect",
                0.0,
                attempt,
                "Time on one core of a loop that sends SYN packets over loopback, less that of one whose packets are dropped on \
                 their way out: what taking a packet in and dropping it costs.",
            )
        },
        Figure {
            unit: "us",
            goal: Goal::None,
            ..figure(
                "A refused request",
                0.0,
                request,
                "The guard's processor time; each on a connection of its own, answered 403.",
            )
        },
        Figure {
            unit: "x",
            goal: Goal::AtLeast(DROPPED_FOR_REFUSED_MIN),
            ..figure(
                "Dropped attempts to connect for the cost of one refused request",
                0.0,
                ratio,
                "Of the request only the guard's processor time: on loopback the sender pays for much of what the kernel does for it.",
            )
        },
    ])
}

/// Microseconds for each attempt of a client to connect to a port at which it is dropped. The packets are written by hand, since what a
/// connecting socket costs is not what the machine under the flood pays. On loopback a packet is taken in by the thread that
/// sends it.
fn attempts(client: Ipv4Addr, port: u16) -> Result<f64, Failure> {
    let failed = |error: std::io::Error| Failure::Bench(format!("a raw socket cannot be had or used: {error}"));
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // The header of IP is the sender's.
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW_PROTOCOL))).map_err(failed)?;
    let mut packet = [0_u8; 40];
    packet[0] = 0x45;
    packet[3] = 40;
    (packet[8], packet[9]) = (64, 6);
    packet[12..16].copy_from_slice(&client.octets());
    packet[16..20].copy_from_slice(&Ipv4Addr::LOCALHOST.octets());
    packet[22..24].copy_from_slice(&target.port().to_be_bytes());
    (packet[32], packet[33]) = (0x50, SYN);
    let clock = Clock::start();
    for from in (1_024..u16::MAX).cycle().take(ATTEMPTS as usize) {
        packet[20..22].copy_from_slice(&from.to_be_bytes());
        let is_kept =
            |error: &std::io::Error| error.kind() == std::io::ErrorKind::PermissionDenied && port == SENDER_PORT;
        if let Err(error) = socket.send_to(&packet, &target.into())
            && !is_kept(&error)
        {
            return Err(failed(error));
        }
    }
    Ok(1e6 * clock.uptime().as_secs_f64() / f64::from(ATTEMPTS))
}

/// IPPROTO_RAW, and the flag of TCP.
const RAW_PROTOCOL: i32 = 255;
const SYN: u8 = 2;

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

    /// A number of the kernel layer's status, by its path.
    fn kernel(&self, name: &str) -> Result<f64, Failure> {
        let status = self.seawall(&["status", "--json"])?;
        let status: serde_json::Value =
            serde_json::from_slice(&status).map_err(|error| Failure::Bench(error.to_string()))?;
        let found = status.pointer(&format!("/enforcement/kernel/{name}")).and_then(serde_json::Value::as_f64);
        found.ok_or_else(|| Failure::Bench(format!("the status has no number `{name}`")))
    }

    /// Waits until so many packets were dropped, by the kernel's own count.
    fn until_counted(&self, packets: f64) -> Result<(), Failure> {
        let clock = Clock::start();
        while self.kernel("dropped/packets")? < packets {
            if clock.uptime() > PATIENCE {
                return Err(Failure::Bench("what was sent is not dropped".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
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

    /// Milliseconds from the beginning of what bans a client until it is dropped.
    fn until_dropped(&self, client: Ipv4Addr, ban: fn(&Self, Ipv4Addr) -> Result<(), Failure>) -> Result<f64, Failure> {
        let clock = Clock::start();
        ban(self, client)?;
        while clock.uptime() < PATIENCE {
            let begun = clock.uptime();
            if is_dropped(client) {
                return Ok(milliseconds(begun));
            }
        }
        Err(Failure::Bench(format!("a banned client is not dropped after {PATIENCE:?}")))
    }

    /// Milliseconds from when another program deletes the table until all of it is there again.
    fn until_repaired(&self) -> Result<f64, Failure> {
        let delete = |guard: &Self, _| command("nft", &["delete", "table", "inet", "seawall"], &guard.folder).map(drop);
        let repaired = self.until_dropped(WITNESS, delete)?;
        self.until("clients", CLIENTS)?;
        Ok(repaired)
    }

    /// Milliseconds from the beginning of the command that ends it all until nobody is dropped.
    fn until_panicked(&self) -> Result<f64, Failure> {
        let clock = Clock::start();
        self.seawall(&["panic"])?;
        while clock.uptime() < PATIENCE {
            if !is_dropped(WITNESS) {
                return Ok(milliseconds(clock.uptime()));
            }
        }
        Err(Failure::Bench(format!("a client is still dropped {PATIENCE:?} after a panic")))
    }

    fn banned_by_command(&self, client: Ipv4Addr) -> Result<(), Failure> {
        self.seawall(&["bans", "add", &client.to_string()]).map(drop)
    }

    fn banned_by_limit(&self, client: Ipv4Addr) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::Bench(format!("a request is not taken: {error}"));
        let mut socket = connected(client, PATIENCE).map_err(failed)?;
        socket.write_all(PROBE.as_bytes()).map_err(failed)
    }

    /// The most memory that it has had, in MB.
    fn memory_max(&self) -> Result<f64, Failure> {
        let path = format!("/proc/{}/status", self.process.id());
        let status = fs::read_to_string(path).unwrap_or_default();
        let kilobytes =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        let kilobytes: f64 = kilobytes.ok_or_else(|| Failure::Bench("the guard has ended".to_owned()))?;
        Ok(kilobytes * 1_024.0 / 1e6)
    }

    fn cpu_time(&self) -> Duration {
        cpu_time([PathBuf::from(format!("/proc/{}", self.process.id()))])
    }

    /// Microseconds of the guard's processor time for each request that it refuses.
    fn refused(&self) -> Result<f64, Failure> {
        self.seawall(&["rules", "add", "path = \"/unwanted\"", "--anyway"])?;
        let failed = |error: std::io::Error| Failure::Bench(format!("a request is not answered: {error}"));
        let before = self.cpu_time();
        for number in 0..REFUSED {
            let client = Ipv4Addr::from_bits(0x7F02_0001 + number / REFUSED_OF_EACH);
            let mut socket = connected(client, PATIENCE).map_err(failed)?;
            socket.write_all(UNWANTED.as_bytes()).map_err(failed)?;
            let mut answer = [0; 1_024];
            let read = socket.read(&mut answer).map_err(failed)?;
            if !answer[..read].starts_with(b"HTTP/1.1 403") {
                return Err(Failure::Bench("a request that a rule forbids is not refused".to_owned()));
            }
        }
        Ok(1e6 * (self.cpu_time() - before).as_secs_f64() / f64::from(REFUSED))
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

/// Whether the kernel drops what this client sends to the guard. A connection that ends at once is none that was dropped.
fn is_dropped(client: Ipv4Addr) -> bool {
    connected(client, ANSWER_TIME_MAX).is_err_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
}

/// A connection of this client to the guard, if it is there by then.
fn connected(client: Ipv4Addr, patience: Duration) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((client, 0)).into())?;
    socket.connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, LISTEN_PORT)).into(), patience)?;
    Ok(socket)
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
    let mut found = BTreeSet::from([WITNESS]);
    while found.len() < CLIENTS {
        found.insert(Ipv4Addr::from_bits(random.u32(0x0B00_0000..0x7800_0000)));
    }
    found.iter().map(|address| format!("{address}\n")).collect()
}

/// Distinct networks, none beside another, one in each line; always the same.
fn networks() -> String {
    let mut random = fastrand::Rng::with_seed(1);
    let mut found = BTreeSet::new();
    while found.len() < NETWORKS {
        found.insert(Ipv4Addr::from_bits(random.u32(0x8000_0000..0xC000_0000) & !0x7FF));
    }
    found.iter().map(|address| format!("{address}/22\n")).collect()
}
