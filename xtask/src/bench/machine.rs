//! The machine that a run was made on: its cores, and what the results must be read with.

use std::fs;
use std::process::{Child, Command, Stdio};

use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

use crate::Failure;

/// Which core does what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    /// Of whoever is measured.
    pub(crate) server: usize,
    /// Of the load and of the origin behind.
    pub(crate) load: usize,
}

/// What a reader needs to know of the machine.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory: String,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
    pub(crate) nginx: String,
    pub(crate) haproxy: String,
    pub(crate) goaccess: String,
    pub(crate) fail2ban: String,
    /// The version of the project, with the commit that was measured.
    pub(crate) seawall: String,
    /// Over the last minute before the run: above a few tenths somebody else was at work.
    pub(crate) load_average: String,
    /// How far before others the run goes: see [`go_first`].
    pub(crate) priority: String,
}

/// The nice value of a run: before everything else that ordinarily runs.
const NICE: i32 = -20;

impl Cores {
    /// The first two cores that this process may use.
    ///
    /// # Errors
    /// When there is only one.
    pub(crate) fn find() -> Result<Self, Failure> {
        let allowed = sched_getaffinity(None).map_err(|error| failure("ask which cores may be used", &error))?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        match (cores.next(), cores.next()) {
            (Some(server), Some(load)) => Ok(Self { server, load }),
            _ => Err(Failure::Bench(
                "these measurements need two cores: one for the server, one for the load".to_owned(),
            )),
        }
    }

    /// Keeps this thread, and all that it starts, on the core of the load.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn keep_to_load(self) -> Result<(), Failure> {
        let mut set = CpuSet::new();
        set.set(self.load);
        sched_setaffinity(None, &set).map_err(|error| failure("keep to one core", &error))
    }
}

/// Lets this process, and all that it starts, go before others where that is allowed: a ruler must not wait for whoever
/// else is at work, and who is measured only as much as the others that are measured.
pub(crate) fn go_first() {
    // Not allowed without privilege; the run then says that it had none.
    let _ = setpriority_process(None, NICE);
}

/// Keeps a core from going to sleep, by work that gives way to any other. Waking a virtual core that has gone to sleep is up to
/// its host, which takes milliseconds over one in a few hundred; that would be measured as the server's. Dropping it ends it.
pub(crate) struct Awake(Child);

impl Awake {
    /// Begins.
    ///
    /// # Errors
    /// When the work cannot be started.
    pub(crate) fn keep(core: usize) -> Result<Self, Failure> {
        let core = core.to_string();
        let command = ["--idle", "0", "taskset", "--cpu-list", &core, "sh", "-c", "while :; do :; done"];
        let child = Command::new("chrt").args(command).stdin(Stdio::null()).spawn();
        child.map(Self).map_err(|source| Failure::Start { command: format!("chrt {}", command.join(" ")), source })
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        // It has nothing to lose, and may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Machine {
    /// This machine.
    pub(crate) fn describe() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let after = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = after(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemTotal");
        let kibibytes = memory.and_then(|memory| memory.split_whitespace().next()?.parse::<u64>().ok());
        let loads = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let commit = said("git", &["describe", "--always", "--dirty"]);
        Self {
            processor: after(&cpuinfo, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(0, Into::into),
            memory: kibibytes.map_or_else(String::new, |size| format!("{:.1} GiB", size as f64 / 1_048_576.0)),
            kernel: format!("Linux {}", release.trim()),
            rustc: said("rustc", &["--version"]),
            nginx: said("nginx", &["-v"]).replace("nginx version: ", ""),
            haproxy: said("haproxy", &["-v"]),
            goaccess: said("goaccess", &["--version"]),
            fail2ban: said("fail2ban-client", &["--version"]),
            seawall: format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
            load_average: loads.split_whitespace().next().unwrap_or_default().to_owned(),
            priority: getpriority_process(None).map_or_else(|_| "unknown".to_owned(), |nice| format!("nice {nice}")),
        }
    }

    /// In Markdown.
    pub(crate) fn markdown(&self) -> String {
        let rows = [
            ("processor", &self.processor),
            ("memory", &self.memory),
            ("kernel", &self.kernel),
            ("Seawall", &self.seawall),
            ("rustc", &self.rustc),
            ("nginx", &self.nginx),
            ("HAProxy", &self.haproxy),
            ("GoAccess", &self.goaccess),
            ("fail2ban", &self.fail2ban),
            ("load average before", &self.load_average),
            ("priority", &self.priority),
        ];
        let mut text = format!("| machine | |\n| --- | --- |\n| cores | {} |\n", self.cores);
        for (name, value) in rows {
            text.push_str(&format!("| {name} | {value} |\n"));
        }
        text
    }

    /// A word for file names.
    pub(crate) fn slug(&self) -> String {
        let words = format!("{} {} cores", self.processor.replace("Processor", ""), self.cores).to_lowercase();
        let words: Vec<&str> = words.split(|letter: char| !letter.is_ascii_alphanumeric()).collect();
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
    }
}

/// The first line that a program says, on either stream.
fn said(program: &str, arguments: &[&str]) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program).args(arguments).env("PATH", path).current_dir(crate::root()).output();
    let Ok(output) = output else { return "unknown".to_owned() };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or("unknown").to_owned()
}

fn failure(what: &str, error: &rustix::io::Errno) -> Failure {
    Failure::Bench(format!("failed to {what}: {error}"))
}
