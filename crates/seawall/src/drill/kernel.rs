//! A drill in which the guard may use the kernel's packet filter, and what it saves the guard: `drill --kernel`.

use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::thread::UnshareFlags;
use seawall_engine::units::Timestamp;
use serde::{Deserialize, Serialize};

use super::DrillError;

/// The guard has handed down whom it hands down when this share of the clients that the kernel drops at the end are dropped.
const SETTLED_SHARE: f64 = 0.9;

/// A shorter time on either side says nothing, since processor time is told in hundredths of a second.
const TIME_MIN: Duration = Duration::from_secs(2);

/// What the guard says of the kernel.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct KernelSaid {
    /// Why it is not used.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    /// Clients that it drops.
    #[serde(default)]
    pub(crate) clients: u64,
    #[serde(default)]
    pub(crate) dropped: PacketsSaid,
}

/// What was dropped.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct PacketsSaid {
    #[serde(default)]
    pub(crate) packets: u64,
}

/// How the guard stood at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Timestamp,
    /// Processor time so far.
    pub(crate) cpu: Duration,
    /// Clients that the kernel drops.
    pub(crate) clients: u64,
}

/// What handing clients down to the kernel has saved the guard.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Escalation {
    /// When the first client was dropped by the kernel, in seconds after the first rule.
    pub begins_seconds: f64,
    /// When nine tenths of them were.
    pub settled_seconds: f64,
    /// Clients that it drops at the end.
    pub clients: u64,
    /// Packets dropped.
    pub packets: u64,
    /// Processor time of the guard in a second, in milliseconds, while a rule refused the flood and the kernel dropped nobody.
    pub cpu_before: f64,
    /// The same once nine tenths were dropped.
    pub cpu_after: f64,
}

/// Moves this thread, and all that it starts from now on, into a network namespace of its own: the guard's table is there, and
/// the machine's own firewall is left alone.
pub(super) fn enter_namespace() -> Result<(), DrillError> {
    let machine = |what: &'static str| move |error: io::Error| DrillError::Machine(what, error);
    #[expect(deprecated, reason = "the replacement is unsafe for flags that this is not; the network is not memory")]
    let unshared = rustix::thread::unshare(UnshareFlags::NEWNET);
    unshared
        .map_err(io::Error::from)
        .map_err(machine("make a network namespace of the drill's own (try it as root)"))?;
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).stdin(Stdio::null()).output();
    let up = up.map_err(machine("bring loopback up in its namespace with `ip` (Debian's package iproute2)"))?;
    if up.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&up.stderr).trim().to_owned();
    Err(machine("bring loopback up in its namespace")(io::Error::other(said)))
}

/// What the samples show, if long enough before and after. `rule` is when the first rule was in force, `ended` when the last
/// request was sent.
pub(super) fn escalation(
    samples: &[Sample],
    rule: Option<Timestamp>,
    ended: Timestamp,
    packets: u64,
) -> Option<Escalation> {
    let rule = rule?;
    let samples: Vec<Sample> = samples.iter().filter(|sample| (rule..=ended).contains(&sample.at)).copied().collect();
    let (start, end) = (samples.first()?, samples.last().filter(|last| last.clients > 0)?);
    let first = samples.iter().find(|sample| sample.clients > 0)?;
    let settled = samples.iter().find(|sample| sample.clients as f64 >= SETTLED_SHARE * end.clients as f64)?;
    let per_second = |from: &Sample, to: &Sample| {
        let passed = to.at.since(from.at);
        (passed >= TIME_MIN).then(|| to.cpu.saturating_sub(from.cpu).as_secs_f64() * 1e3 / passed.as_secs_f64())
    };
    Some(Escalation {
        begins_seconds: first.at.since(rule).as_secs_f64(),
        settled_seconds: settled.at.since(rule).as_secs_f64(),
        clients: end.clients,
        packets,
        cpu_before: per_second(start, first)?,
        cpu_after: per_second(settled, end)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_is_until_the_first_and_after_is_once_nearly_all_are_dropped() {
        let at = Timestamp::from_seconds;
        // 100 ms/s for ten seconds, then fewer while clients go down, then 10 ms/s.
        let sample = |second: u64| {
            let (cpu, clients) = match second {
                0..=10 => (100 * second, 0),
                11..=20 => (1000 + 50 * (second - 10), 10 * (second - 10)),
                _ => (1500 + 10 * (second - 20), 100),
            };
            Sample { at: at(second), cpu: Duration::from_millis(cpu), clients }
        };
        let samples: Vec<Sample> = (0..=40).map(sample).collect();
        let found = escalation(&samples, Some(at(2)), at(30), 7).expect("clients were handed down");
        assert_eq!((found.begins_seconds, found.settled_seconds, found.clients, found.packets), (9.0, 17.0, 100, 7));
        assert!((found.cpu_before - 850.0 / 9.0).abs() < 0.1, "{found:?}");
        assert!((found.cpu_after - 150.0 / 11.0).abs() < 0.1, "{found:?}");
        assert_eq!(escalation(&samples, None, at(30), 7), None);
        assert_eq!(escalation(&samples[..11], Some(at(2)), at(30), 7), None, "nobody was handed down");
        assert_eq!(escalation(&samples, Some(at(10)), at(30), 7), None, "too short before");
        let freed: Vec<Sample> =
            samples.iter().map(|seen| if seen.at > at(25) { Sample { clients: 0, ..*seen } } else { *seen }).collect();
        assert_eq!(escalation(&freed, Some(at(2)), at(30), 7), None, "all were let go");
    }
}
