//! A server under measurement: started on one core, watched through /proc, stopped in the end. It is told nothing but its
//! configuration.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::Failure;

/// Held by the one run that there can be at a time.
const RUN_ADDRESS: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 18_099);

/// How long a server may take to listen, and to stop.
const PATIENCE: Duration = Duration::from_secs(10);

const SAID_LINES: usize = 10;

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Sees to it that no other run is under way, which would share cores and ports with this one, until it is dropped.
///
/// # Errors
/// When there is another.
pub(crate) fn only_run() -> Result<TcpListener, Failure> {
    TcpListener::bind(RUN_ADDRESS).map_err(|error| {
        let (host, port) = RUN_ADDRESS;
        Failure::Bench(format!(
            "failed to listen on {host}:{port} ({error}): is another `cargo xtask bench` under way?"
        ))
    })
}

/// The processor time that all threads of these processes (folders of /proc) have used.
pub(crate) fn cpu_time(processes: impl IntoIterator<Item = PathBuf>) -> Duration {
    let threads = processes.into_iter().filter_map(|process| fs::read_dir(process.join("task")).ok());
    let nanoseconds = |thread: fs::DirEntry| -> Option<u64> {
        fs::read_to_string(thread.path().join("schedstat")).ok()?.split_whitespace().next()?.parse().ok()
    };
    Duration::from_nanos(threads.flatten().flatten().filter_map(nanoseconds).sum())
}

/// A running server. Dropping it stops it.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `command` on `core` and waits until it listens on each of `addresses`. What it says goes to a file in
    /// `directory`.
    ///
    /// # Errors
    /// When somebody else listens there; when it does not start, ends at once or does not listen in time, with the last
    /// that it said.
    pub(crate) fn start(
        name: &'static str,
        command: &[&str],
        core: usize,
        directory: &Path,
        addresses: &[SocketAddr],
    ) -> Result<Self, Failure> {
        // The guard lets several processes share an address, as its workers do, so a second one would not be noticed.
        if let Some(taken) = addresses.iter().find(|address| TcpStream::connect(**address).is_ok()) {
            return Err(Failure::Bench(format!("{name} is to listen on {taken}, but somebody else does already")));
        }
        let log = directory.join(format!("{name}.log"));
        let shown = format!("taskset --cpu-list {core} {}", command.join(" "));
        let started = || -> io::Result<Child> {
            let output = File::create(&log)?;
            Command::new("taskset")
                .env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()))
                .args(["--cpu-list", &core.to_string()])
                .args(command)
                .stdin(Stdio::null())
                .stdout(output.try_clone()?)
                .stderr(output)
                .spawn()
        };
        let child = started().map_err(|source| Failure::Start { command: shown, source })?;
        let mut program = Self { name, child, log };
        for address in addresses {
            program.wait_for(*address)?;
        }
        Ok(program)
    }

    fn wait_for(&mut self, address: SocketAddr) -> Result<(), Failure> {
        let mut waited = Duration::ZERO;
        while TcpStream::connect(address).is_err() {
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || waited >= PATIENCE {
                let why = ended.map_or("does not listen".to_owned(), |status| format!("ended at once ({status})"));
                return Err(Failure::Bench(format!("{} {why} on {address}; {}", self.name, self.said())));
            }
            thread::sleep(POLL_INTERVAL);
            waited += POLL_INTERVAL;
        }
        Ok(())
    }

    /// The processor time that all its processes and threads have used, from the scheduler's own count in nanoseconds.
    pub(crate) fn cpu_time(&self) -> Duration {
        cpu_time(self.processes())
    }

    /// The memory that all its processes have resident.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let kibibytes = |process: PathBuf| -> Option<u64> {
            let status = fs::read_to_string(process.join("status")).ok()?;
            status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
        };
        self.processes().into_iter().filter_map(kibibytes).sum::<u64>() * 1024
    }

    /// The identifier of the process that does the work: the only child, or the process itself.
    pub(crate) fn worker(&self) -> u32 {
        children(self.child.id()).first().copied().unwrap_or(self.child.id())
    }

    /// The last that it said, for a failure.
    pub(crate) fn said(&self) -> String {
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        let last: Vec<&str> = said.lines().rev().take(SAID_LINES).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        format!("the last that {} said:\n{}", self.name, last.join("\n"))
    }

    fn processes(&self) -> Vec<PathBuf> {
        let own = self.child.id();
        std::iter::once(own).chain(children(own)).map(|process| PathBuf::from(format!("/proc/{process}"))).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.child);
        // It may have ended by itself; then there is nobody to tell.
        let _ = kill_process(pid, Signal::TERM);
        let mut waited = Duration::ZERO;
        while matches!(self.child.try_wait(), Ok(None)) {
            if waited >= PATIENCE {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(POLL_INTERVAL);
            waited += POLL_INTERVAL;
        }
    }
}

fn children(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let listed = fs::read_to_string(path).unwrap_or_default();
    listed.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}
