//! The guard of a drill: a `seawall serve` of its own, in a process group of its own, that does not outlive the drill.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use seawall_engine::decision::{Event, Status};
use serde::Deserialize;

use super::DrillError;
use super::kernel::KernelSaid;
use super::scenario::{OriginKind, Scenario};

/// How long a guard may take until it answers.
const START_TIME_MAX: Duration = Duration::from_secs(15);

/// How long a guard may take to stop, before it is killed.
const STOP_TIME_MAX: Duration = Duration::from_secs(8);

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The longest answer of the control socket that is read.
const STATUS_BYTES_MAX: u64 = 16 << 20;

/// A running guard; dropping it kills it and all that it started.
pub(crate) struct Guard {
    child: Child,
    directory: PathBuf,
    /// Where it serves visitors.
    pub(crate) address: SocketAddr,
}

/// What a guard says of itself; what else it says is not the drill's affair.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct GuardStatus {
    pub(crate) detection: Status,
    #[serde(default)]
    pub(crate) events: Vec<Event>,
    #[serde(default)]
    pub(crate) enforcement: EnforcementSaid,
}

/// What it says of enforcement.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct EnforcementSaid {
    #[serde(default)]
    pub(crate) kernel: KernelSaid,
}

/// What a process has used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    /// The most memory that was resident at once, in bytes.
    pub(crate) resident_peak: u64,
}

/// Writes the guard's configuration. `upstream` is `None` where the guard itself is the origin; `kernel` says whether it may use
/// the packet filter.
pub(crate) fn configuration(
    scenario: &Scenario,
    directory: &Path,
    listen: SocketAddr,
    upstream: Option<SocketAddr>,
    kernel: bool,
) -> String {
    use toml::Value;
    let text = |text: &str| Value::String(text.to_owned());
    let mut site = toml::Table::new();
    site.insert("name".into(), text("drill"));
    site.insert("hosts".into(), Value::Array(scenario.site.hosts.iter().map(|host| text(host)).collect()));
    match (scenario.origin.kind, upstream) {
        (OriginKind::Server, Some(upstream)) => site.insert("upstream".into(), text(&format!("http://{upstream}"))),
        _ => site.insert("origin".into(), text("clock")),
    };
    let mut policy = toml::Table::new();
    if let Some(enforce) = scenario.guard.enforce
        && let Ok(enforce) = Value::try_from(enforce)
    {
        policy.insert("enforce".into(), enforce);
    }
    // The clients of a drill all live on loopback, which is otherwise never enforced against.
    policy.insert("never-ban-loopback".into(), Value::Boolean(false));
    let mut top = toml::Table::new();
    top.insert("listen".into(), Value::Array(vec![text(&listen.to_string())]));
    top.insert("admin".into(), text("off"));
    top.insert("state-directory".into(), text(&directory.join("state").display().to_string()));
    if let Some(workers) = scenario.guard.workers.and_then(|workers| i64::try_from(workers).ok()) {
        top.insert("workers".into(), Value::Integer(workers));
    }
    top.insert("site".into(), Value::Array(vec![Value::Table(site)]));
    top.insert("policy".into(), Value::Table(policy));
    // A drill never touches the firewall of the machine that it is tried on, but only one in a namespace of its own.
    let used = if kernel { "auto" } else { "never" };
    let kernel = toml::Table::from_iter([("use".to_owned(), text(used))]);
    top.insert("kernel".into(), Value::Table(kernel));
    if !scenario.guard.limits.is_empty() {
        top.insert("limits".into(), Value::Table(scenario.guard.limits.clone()));
    }
    top.to_string()
}

/// An address of loopback that nobody listens on just now.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

impl Guard {
    /// Starts `program serve` with its configuration and state in `directory` and waits until it answers. `pause` waits
    /// and says whether the operator has had enough.
    pub(crate) fn start(
        program: &Path,
        scenario: &Scenario,
        directory: &Path,
        upstream: Option<SocketAddr>,
        kernel: bool,
        mut pause: impl FnMut(Duration) -> bool,
    ) -> Result<Self, DrillError> {
        let machine = |what: &'static str| move |error: io::Error| DrillError::Machine(what, error);
        let address = free_address().map_err(machine("find a free port"))?;
        let file = directory.join("seawall.toml");
        fs::write(&file, configuration(scenario, directory, address, upstream, kernel))
            .map_err(machine("write the guard's configuration"))?;
        let log = File::create(directory.join("guard.log")).map_err(machine("create the guard's log"))?;
        let log_too = log.try_clone().map_err(machine("create the guard's log"))?;
        let child = Command::new(program)
            .arg("serve")
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(log_too)
            .process_group(0)
            .spawn()
            .map_err(machine("start the guard"))?;
        let mut guard = Self { child, directory: directory.to_owned(), address };
        let mut waited = Duration::ZERO;
        loop {
            match guard.status() {
                Ok(_) => return Ok(guard),
                Err(error) if waited >= START_TIME_MAX => {
                    let reason = format!("it did not answer on its control socket in {START_TIME_MAX:?}: {error}");
                    return Err(guard.failed(&reason));
                }
                Err(_) => {}
            }
            if let Ok(Some(status)) = guard.child.try_wait() {
                return Err(guard.failed(&format!("it ended at once ({status})")));
            }
            if pause(POLL_INTERVAL) {
                return Err(DrillError::Interrupted);
            }
            waited += POLL_INTERVAL;
        }
    }

    /// Asks the guard how it stands.
    pub(crate) fn status(&self) -> io::Result<GuardStatus> {
        let mut socket = UnixStream::connect(self.directory.join("state/control.sock"))?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.set_write_timeout(Some(Duration::from_secs(2)))?;
        socket.write_all(b"GET /v1/status HTTP/1.0\r\nHost: seawall\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        socket.take(STATUS_BYTES_MAX).read_to_end(&mut answer)?;
        let bad = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let end = memchr::memmem::find(&answer, b"\r\n\r\n").ok_or_else(|| bad("no HTTP answer".to_owned()))?;
        let (head, body) = answer.split_at(end + 4);
        if !head.starts_with(b"HTTP/1.") || head.get(9..12) != Some(b"200") {
            return Err(bad(format!(
                "answered {:?}",
                String::from_utf8_lossy(head).lines().next().unwrap_or_default()
            )));
        }
        serde_json::from_slice(body).map_err(|error| bad(format!("its status is not understood: {error}")))
    }

    /// The process that the guard is.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself, which a guard must not.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Ends it in good order.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        let mut waited = Duration::ZERO;
        while waited < STOP_TIME_MAX && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(POLL_INTERVAL);
            waited += POLL_INTERVAL;
        }
    }

    /// The error for a guard that did not do its part, with the last of what it said.
    pub(crate) fn failed(&self, reason: &str) -> DrillError {
        let log = fs::read_to_string(self.directory.join("guard.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last: Vec<String> = lines
            .iter()
            .skip(lines.len().saturating_sub(15))
            .map(|line| format!("\n    {}", line.escape_debug()))
            .collect();
        let said = if last.is_empty() { "\n    (nothing)".to_owned() } else { last.concat() };
        DrillError::Guard { reason: reason.to_owned(), said }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // A group that is gone already is what is wanted.
            _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Once waited for, the number may belong to somebody else.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::KILL);
            _ = self.child.wait();
        }
    }
}

/// What a process has used so far, from /proc; nothing when it is gone.
pub(crate) fn usage(process: u32) -> Usage {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name may hold spaces and brackets; what follows the last bracket does not.
    let fields: Vec<u64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
        .unwrap_or_default();
    let ticks = fields.get(11).copied().unwrap_or(0) + fields.get(12).copied().unwrap_or(0);
    let cpu = Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second().max(1) as f64);
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = peak.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0);
    Usage { cpu, resident_peak: kibibytes * 1024 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_what_it_used() {
        let used = usage(std::process::id());
        assert!(used.resident_peak > 100_000, "{used:?}");
        assert_eq!(usage(u32::MAX), Usage::default());
    }
}
