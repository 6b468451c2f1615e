//! The kernel's table through `nft -j`: writing a transaction, running the program. What it lists is read in [`super::listing`].

use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use rustix::process::{Pid, Signal};
use seawall_engine::units::Timestamp;
use serde_json::{Value, json};

use super::listing::{Found, read};
use super::table::Changes;
use crate::host::clock::Clock;

/// Where Debian keeps it, beside what PATH names: services often run without /usr/sbin.
const FOLDERS: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// The longest that one transaction may take. 100,000 elements take a third of a second to a second.
const TIME_MAX: Duration = Duration::from_secs(10);

/// The longest that removing a table may take: whoever asks for it is in a hurry.
const REMOVAL_TIME_MAX: Duration = Duration::from_millis(500);

/// How often a running program is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// What is kept of an error message: nft quotes the whole command, which may be megabytes.
const MESSAGE_BYTES_MAX: u64 = 64 * 1024;
const MESSAGE_CHARACTERS_MAX: usize = 200;

/// No listing of a table of ours is larger.
const LISTING_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The counters: packets and bytes dropped.
pub(crate) const COUNTERS: [&str; 2] = ["dropped_clients", "dropped_networks"];

/// The program.
#[derive(Clone, Debug)]
pub(crate) struct Nft {
    program: PathBuf,
    /// Set while something is waited for that is more urgent than whatever is under way.
    hurry: Arc<AtomicBool>,
}

/// Why a transaction or a reading failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NftError {
    /// The program is not there.
    #[error("nft is not installed (Debian's package nftables)")]
    Missing,
    /// It cannot be started, fed or waited for.
    #[error("failed to run {}: {error}", program.display())]
    Run { program: PathBuf, error: io::Error },
    /// It took too long and was ended.
    #[error("nft did not finish within {limit:?} and was ended")]
    Slow { limit: Duration },
    /// A panic or the guard's end was waited for.
    #[error("nft was ended before it had finished, since something more urgent was asked for")]
    Interrupted,
    /// It said no.
    #[error("nft refused it: {message}")]
    Refused { message: String },
    /// The kernel said no to what was said to it directly.
    #[error("the kernel refused to change the elements of its table: {0}")]
    Elements(io::Error),
    /// What it printed cannot be read.
    #[error("failed to read what nft printed: {0}")]
    Listing(serde_json::Error),
}

impl NftError {
    /// Whether the table, or something in it, is not there.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Refused { message } if message.contains("No such file or directory"))
    }
}

impl Nft {
    /// Finds the program.
    pub(crate) fn find(hurry: Arc<AtomicBool>) -> Result<Self, NftError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders = std::env::split_paths(&path).chain(FOLDERS.map(PathBuf::from));
        let program = folders.find_map(|folder| Some(folder.join("nft")).filter(|program| program.is_file()));
        program.map(|program| Self { program, hurry }).ok_or(NftError::Missing)
    }

    /// Makes the table anew, with the ports and whom it never drops, in place of whatever was there under its name. Whom it drops is put in
    /// right after ([`super::elements`]): nobody is, until then.
    pub(crate) fn rebuild(&self, table: &str, changes: &Changes, size: usize) -> Result<(), NftError> {
        let name = json!({ "family": "inet", "name": table });
        let mut batch = Batch::default();
        batch.push(json!({ "add": { "table": &name } }));
        batch.push(json!({ "delete": { "table": &name } }));
        for object in layout(table, size) {
            batch.push(json!({ "add": object }));
        }
        batch.settings(table, changes);
        self.transact(batch)
    }

    /// Changes the ports and whom the table never drops.
    pub(crate) fn apply(&self, table: &str, changes: &Changes) -> Result<(), NftError> {
        let mut batch = Batch::default();
        batch.settings(table, changes);
        self.transact(batch)
    }

    /// Takes the table away, if it is there.
    pub(crate) fn remove(&self, table: &str) -> Result<(), NftError> {
        let name = json!({ "family": "inet", "name": table });
        let mut batch = Batch::default();
        // Deleting what is not there would be an error.
        batch.push(json!({ "add": { "table": &name } }));
        batch.push(json!({ "delete": { "table": &name } }));
        self.run(&["-j", "-f", "-"], Some(batch.finish()), REMOVAL_TIME_MAX).map(|_| ())
    }

    /// Reads the table; none when there is none of that name.
    pub(crate) fn read(&self, table: &str, now: Timestamp) -> Result<Option<Found>, NftError> {
        match self.run(&["-j", "list", "table", "inet", table], None, TIME_MAX) {
            Ok(listing) => read(&listing, now).map(Some).map_err(NftError::Listing),
            Err(error) if error.is_absence() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn transact(&self, batch: Batch) -> Result<(), NftError> {
        self.run(&["-j", "-f", "-"], Some(batch.finish()), TIME_MAX).map(|_| ())
    }

    /// Runs the program with this input, for no longer than `limit`, and returns what it printed.
    fn run(&self, arguments: &[&str], input: Option<String>, limit: Duration) -> Result<Vec<u8>, NftError> {
        let failed = |error| NftError::Run { program: self.program.clone(), error };
        let mut command = Command::new(&self.program);
        // A group of its own, so that it is ended with whatever it has started.
        command.args(arguments).env("LC_ALL", "C").process_group(0);
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let clock = Clock::start();
        std::thread::scope(|scope| {
            // It may stop reading when it has found an error, which it then tells itself.
            scope.spawn(move || stdin.zip(input).map(|(mut stdin, input)| stdin.write_all(input.as_bytes())));
            let printed = scope.spawn(move || read_some(stdout, LISTING_BYTES_MAX));
            let said = scope.spawn(move || read_some(stderr, MESSAGE_BYTES_MAX));
            let status = loop {
                match child.try_wait() {
                    Ok(Some(status)) => break Ok(status),
                    Ok(None) if self.hurry.load(Ordering::Acquire) => {
                        end(&mut child);
                        break Err(NftError::Interrupted);
                    }
                    Ok(None) if clock.uptime() > limit => {
                        end(&mut child);
                        break Err(NftError::Slow { limit });
                    }
                    Ok(None) => std::thread::sleep(LOOK_INTERVAL),
                    Err(error) => break Err(failed(error)),
                }
            };
            let (printed, said) = (printed.join().unwrap_or_default(), said.join().unwrap_or_default());
            if status?.success() { Ok(printed) } else { Err(NftError::Refused { message: first_line(&said) }) }
        })
    }
}

/// Ends a program and all of its group. It may have ended by itself in between.
fn end(child: &mut Child) {
    let _ = rustix::process::kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}

/// Reads up to `bytes_max`, and what is beyond to nowhere, so that the program can end.
fn read_some(source: Option<impl io::Read>, bytes_max: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(source) = source {
        let mut source = source.take(bytes_max);
        // What could be read is what there is to tell.
        let _ = source.read_to_end(&mut bytes);
        let _ = io::copy(&mut source.into_inner(), &mut io::sink());
    }
    bytes
}

/// The first line of an error, without what could act on a terminal. Messages name the place and the reason; what follows is
/// the command itself, with addresses in it.
fn first_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let line = text.lines().next().unwrap_or("it said nothing");
    line.chars().filter(|character| !character.is_control()).take(MESSAGE_CHARACTERS_MAX).collect()
}

/// Commands of one transaction.
#[derive(Default)]
struct Batch {
    commands: Vec<Value>,
}

impl Batch {
    fn push(&mut self, command: Value) {
        self.commands.push(command);
    }

    fn finish(self) -> String {
        json!({ "nftables": self.commands }).to_string()
    }

    fn settings(&mut self, table: &str, changes: &Changes) {
        if let Some(ports) = &changes.ports {
            self.write(table, "ports", &ports.iter().map(|port| json!(port)).collect::<Vec<_>>());
        }
        if let Some(never_ban) = &changes.never_ban {
            for (name, is_v4) in [("never4", true), ("never6", false)] {
                let networks = never_ban.iter().filter(|network| network.addr().is_ipv4() == is_v4);
                self.write(table, name, &networks.map(|network| prefix(*network)).collect::<Vec<_>>());
            }
        }
    }

    /// Has a set hold these and nothing else.
    fn write(&mut self, table: &str, name: &str, elements: &[Value]) {
        self.push(json!({ "flush": { "set": { "family": "inet", "table": table, "name": name } } }));
        if !elements.is_empty() {
            let added = json!({ "family": "inet", "table": table, "name": name, "elem": elements });
            self.push(json!({ "add": { "element": added } }));
        }
    }
}

fn prefix(network: IpNet) -> Value {
    json!({ "prefix": { "addr": network.addr(), "len": network.prefix_len() } })
}

/// The table without elements, in the order in which it is made. Its chain lies before connection tracking and before the
/// ports of containers are translated, so that a dropped packet costs nearly nothing and containers are covered.
///
/// The sets of networks do not merge by themselves (`auto-merge`): nft would give neighbours one remaining time, whichever
/// comes first, and end a long ban with a short one.
fn layout(table: &str, size: usize) -> Vec<Value> {
    let set = |name: &str, kind: &str, flags: &[&str]| {
        let mut set = json!({ "family": "inet", "table": table, "name": name, "type": kind });
        if !flags.is_empty() {
            set["flags"] = json!(flags);
        }
        if name.starts_with("clients") {
            set["size"] = json!(size);
        }
        json!({ "set": set })
    };
    let lookup = |family: &str, set: &str| {
        json!({ "match": { "op": "==", "left": { "payload": { "protocol": family, "field": "saddr" } },
                           "right": format!("@{set}") } })
    };
    let lookup_64 = json!({ "match": { "op": "==", "left": { "&": [
        { "payload": { "protocol": "ip6", "field": "saddr" } }, "ffff:ffff:ffff:ffff::" ] }, "right": "@clients6" } });
    let foreign_port = json!({ "match": { "op": "!=", "left": { "payload": { "protocol": "th", "field": "dport" } },
                                          "right": "@ports" } });
    let later_piece = json!({ "match": { "op": "!=", "left": { "&": [
        { "payload": { "protocol": "ip", "field": "frag-off" } }, 0x1fff ] }, "right": 0 } });
    let later_piece_6 = json!({ "match": { "op": "!=", "left": { "exthdr": { "name": "frag", "field": "frag-off" } },
                                           "right": 0 } });
    let rule = |expressions: Vec<Value>| json!({ "rule": { "family": "inet", "table": table, "chain": "guard", "expr": expressions } });
    let accept = || json!({ "accept": null });
    let [clients, networks] = COUNTERS;
    let drop =
        |lookup: Value, counter: &str| rule(vec![lookup, json!({ "counter": counter }), json!({ "drop": null })]);
    let mut objects = vec![json!({ "table": { "family": "inet", "name": table } })];
    for counter in COUNTERS {
        objects.push(json!({ "counter": { "family": "inet", "table": table, "name": counter } }));
    }
    objects.extend([
        set("ports", "inet_service", &[]),
        set("never4", "ipv4_addr", &["interval"]),
        set("never6", "ipv6_addr", &["interval"]),
        set("clients4", "ipv4_addr", &["timeout"]),
        set("clients6", "ipv6_addr", &["timeout"]),
        set("networks4", "ipv4_addr", &["interval", "timeout"]),
        set("networks6", "ipv6_addr", &["interval", "timeout"]),
        json!({ "chain": { "family": "inet", "table": table, "name": "guard", "type": "filter", "hook": "prerouting",
                           "prio": -300, "policy": "accept" } }),
        rule(vec![lookup("ip", "never4"), accept()]),
        rule(vec![lookup("ip6", "never6"), accept()]),
        // Without a comparison of the protocol: TCP, UDP and SCTP have their ports in one place, and what has none, as ICMP,
        // is kept out by the next line.
        rule(vec![
            json!({ "match": { "op": "!=", "left": { "meta": { "key": "l4proto" } }, "right": { "set": ["tcp", "udp"] } } }),
            accept(),
        ]),
        rule(vec![foreign_port, accept()]),
        // Of a packet in pieces only the first has ports; of the others the kernel takes for a port whatever stands in its place, which may
        // be one that is guarded. Without its first a packet is never whole.
        rule(vec![later_piece, accept()]),
        rule(vec![later_piece_6, accept()]),
        drop(lookup("ip", "clients4"), clients),
        drop(lookup_64, clients),
        drop(lookup("ip", "networks4"), networks),
        drop(lookup("ip6", "networks6"), networks),
    ]);
    objects
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_json_and_sets_are_written_whole() {
        let network = |text: &str| text.parse::<IpNet>().expect("a network");
        let changes = Changes {
            ports: Some([443].into()),
            never_ban: Some([network("192.0.2.1/32"), network("203.0.113.0/24")].into()),
            ..Changes::default()
        };
        let mut batch = Batch::default();
        batch.settings("seawall", &changes);
        let text = batch.finish();
        let value: Value = serde_json::from_str(&text).expect("JSON");
        insta::assert_snapshot!(serde_json::to_string_pretty(&value["nftables"]).expect("JSON"));
    }

    #[test]
    fn an_error_is_one_short_line_without_the_command() {
        let said = format!("internal:0:0-0: Error: No such\x1b[2J file\nadd element {}\n", "192.0.2.1, ".repeat(9_999));
        assert_eq!(first_line(said.as_bytes()), "internal:0:0-0: Error: No such[2J file");
        assert_eq!(first_line(b""), "it said nothing");
    }
}
