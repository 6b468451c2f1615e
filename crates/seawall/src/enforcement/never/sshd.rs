//! What sshd is told that matters here: on which ports it listens, and for how long it bears somebody who has not logged in.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where it listens unless it is told otherwise, and how long it bears somebody (sshd_config(5)).
const PORT: u16 = 22;
const LOGIN_GRACE_TIME: Duration = Duration::from_secs(120);

/// Files that are read, and how deep they may name each other; sshd's own limit is as deep.
const FILES_MAX: usize = 256;
const DEPTH_MAX: usize = 16;

/// Units of systemd that listen for sshd, each with what its folders of changes are called after.
const SOCKET_UNITS: [&str; 2] = ["ssh.socket", "sshd.socket"];
/// Folders of units; what is in one goes before the same in those behind it. What generators made (`sshd-socket-generator`) only changes.
const UNIT_FOLDERS: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "run/systemd/generator",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];

/// What sshd was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sshd {
    pub(super) ports: Vec<u16>,
    /// None when it bears them for ever.
    pub(super) login_grace_time: Option<Duration>,
}

impl Sshd {
    /// As the files say of the machine whose root folder is `root`.
    pub(super) fn read(root: &Path) -> Self {
        let mut reading = Reading {
            root,
            ports: Vec::new(),
            is_port_said: false,
            is_default_listened_on: false,
            grace: None,
            files: 0,
        };
        reading.file(&root.join("etc/ssh/sshd_config"), 0);
        let of_units: Vec<Unit> = SOCKET_UNITS.into_iter().filter_map(|unit| reading.unit(unit)).collect();
        // What a unit that is in use listens on takes the place of what sshd would by itself. One that is not may yet be started.
        let is_default = reading.ports.is_empty() || (reading.is_default_listened_on && !reading.is_port_said);
        if is_default && !of_units.iter().any(|unit| unit.is_enabled && !unit.ports.is_empty()) {
            reading.ports.push(PORT);
        }
        reading.ports.extend(of_units.into_iter().flat_map(|unit| unit.ports));
        reading.ports.sort_unstable();
        reading.ports.dedup();
        let grace = reading.grace.unwrap_or(LOGIN_GRACE_TIME);
        Self { ports: reading.ports, login_grace_time: (!grace.is_zero()).then_some(grace) }
    }
}

struct Reading<'r> {
    root: &'r Path,
    ports: Vec<u16>,
    /// Whether there is a line `Port`.
    is_port_said: bool,
    /// Whether there is an address to listen on without a port: it is listened on those of `Port`.
    is_default_listened_on: bool,
    grace: Option<Duration>,
    files: usize,
}

/// A unit of systemd that listens in sshd's place.
struct Unit {
    ports: Vec<u16>,
    is_enabled: bool,
}

impl Reading<'_> {
    fn file(&mut self, path: &Path, depth: usize) {
        self.files += 1;
        if depth > DEPTH_MAX || self.files > FILES_MAX {
            return;
        }
        let Ok(text) = fs::read_to_string(path) else { return };
        for line in text.lines() {
            // `Port 22`, `Port=22`, `Port = 22`.
            let line = line.trim_start().replacen('=', " ", 1);
            let mut words = line.split_ascii_whitespace().map(|word| word.trim_matches('"'));
            let Some(name) = words.next() else { continue };
            match name.to_ascii_lowercase().as_str() {
                "include" => words
                    .flat_map(|pattern| self.matching(pattern))
                    .collect::<Vec<_>>()
                    .iter()
                    .for_each(|file| self.file(file, depth + 1)),
                "port" => {
                    let port = words.next().and_then(|port| port.parse::<u16>().ok());
                    self.is_port_said |= port.is_some();
                    self.ports.extend(port);
                }
                "listenaddress" => match words.next().and_then(port_of) {
                    Some(port) => self.ports.push(port),
                    None => self.is_default_listened_on = true,
                },
                // The first word counts, as it does for sshd.
                "logingracetime" if self.grace.is_none() => self.grace = words.next().and_then(time),
                _ => {}
            }
        }
    }

    /// The files of a pattern: from /etc/ssh unless it is absolute, with `*` in the name of the file alone.
    fn matching(&self, pattern: &str) -> Vec<PathBuf> {
        let path = match pattern.strip_prefix('/') {
            Some(absolute) => self.root.join(absolute),
            None => self.root.join("etc/ssh").join(pattern),
        };
        let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            return Vec::new();
        };
        let Some((before, after)) = name.split_once('*') else { return vec![path] };
        let is_meant = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        };
        let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut files: Vec<PathBuf> = files.filter(is_meant).collect();
        files.sort_unstable();
        files
    }

    /// What a unit listens on after all that changes it (systemd.unit(5)); none where neither it is in use nor anybody changed it, as
    /// where a package only brings it along.
    fn unit(&self, name: &str) -> Option<Unit> {
        let folders = || UNIT_FOLDERS.iter().map(|folder| self.root.join(folder));
        let is_enabled = folders().any(|folder| is_wanted(&folder, name));
        let own = folders().map(|folder| folder.join(name)).find(|file| file.symlink_metadata().is_ok());
        let mut changes: Vec<PathBuf> = folders()
            .flat_map(|folder| fs::read_dir(folder.join(format!("{name}.d"))).into_iter().flatten().flatten())
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
            .collect();
        // By name, wherever they are; of two with one name the first folder's counts.
        changes.sort_by(|one, other| one.file_name().cmp(&other.file_name()));
        changes.dedup_by(|later, earlier| later.file_name() == earlier.file_name());
        let is_operators = own.as_ref().is_some_and(|own| own.starts_with(self.root.join("etc")));
        if !is_enabled && !is_operators && changes.is_empty() {
            return None;
        }
        let mut ports = Vec::new();
        for file in own.into_iter().chain(changes) {
            let text = fs::read_to_string(file).unwrap_or_default();
            for line in text.lines() {
                let value = line.trim().strip_prefix("ListenStream");
                let Some(value) = value.and_then(|rest| rest.trim_start().strip_prefix('=')).map(str::trim) else {
                    continue;
                };
                // Nothing takes back all that was said before.
                if value.is_empty() {
                    ports.clear();
                }
                ports.extend(value.parse().ok().or_else(|| port_of(value)));
            }
        }
        Some(Unit { ports, is_enabled })
    }
}

/// Whether something in this folder of units wants or requires the unit, as `systemctl enable` has it.
fn is_wanted(folder: &Path, unit: &str) -> bool {
    let folders = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let of_others =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "wants" || extension == "requires");
    folders.filter(of_others).any(|path| path.join(unit).symlink_metadata().is_ok())
}

/// The port of `host:port`, `[v6]:port` or `v4:port`; none where only an address is given.
fn port_of(address: &str) -> Option<u16> {
    let (host, port) = address.rsplit_once(':')?;
    let is_v6_alone = host.contains(':') && !host.ends_with(']');
    port.parse().ok().filter(|_| !is_v6_alone)
}

/// A time of sshd_config(5): `120`, `2m`, `1h30m`.
fn time(text: &str) -> Option<Duration> {
    let (mut seconds, mut number) = (0_u64, String::new());
    for character in text.chars() {
        let unit = match character.to_ascii_lowercase() {
            digit if digit.is_ascii_digit() => {
                number.push(digit);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 7 * 86_400,
            _ => return None,
        };
        seconds = seconds.checked_add(std::mem::take(&mut number).parse::<u64>().ok()?.checked_mul(unit)?)?;
    }
    if !number.is_empty() {
        seconds = seconds.checked_add(number.parse().ok()?)?;
    }
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> Sshd {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("room");
            fs::write(path, text).expect("room");
        }
        Sshd::read(root.path())
    }

    #[test]
    fn ports_are_found_wherever_they_are_said() {
        for (files, expected) in [
            (&[][..], vec![22]),
            (&[("etc/ssh/sshd_config", "# Port 9\nport 2222\nPort=2223\nPermitRootLogin no\n")], vec![2222, 2223]),
            // Somebody else's may be on port 22.
            (&[("etc/ssh/sshd_config", "ListenAddress 192.0.2.1:2022\n")], vec![2022]),
            (&[("etc/ssh/sshd_config", "Port 2222\nListenAddress ::\n")], vec![2222]),
            (&[("etc/ssh/sshd_config", "Port none\n")], vec![22]),
            (
                &[(
                    "etc/ssh/sshd_config",
                    "ListenAddress 192.0.2.1:2022\nListenAddress [::1]:2023\nListenAddress ::1\n",
                )],
                vec![22, 2022, 2023],
            ),
            (
                &[
                    ("etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\nInclude other\n"),
                    ("etc/ssh/sshd_config.d/a.conf", "Port 2024\n"),
                    ("etc/ssh/sshd_config.d/b.txt", "Port 2025\n"),
                    ("etc/ssh/other", "Port 2026\nInclude other\n"),
                ],
                vec![2024, 2026],
            ),
            // As Debian brings it, not in use.
            (
                &[
                    ("lib/systemd/system/ssh.socket", "[Socket]\nListenStream=22\n"),
                    ("etc/ssh/sshd_config", "Port 2222\n"),
                ],
                vec![2222],
            ),
            (
                &[
                    ("lib/systemd/system/ssh.socket", "[Socket]\nListenStream=22\n"),
                    ("etc/systemd/system/sockets.target.wants/ssh.socket", ""),
                    ("etc/ssh/sshd_config", "Port 2222\n"),
                ],
                vec![22, 2222],
            ),
            (
                &[
                    ("lib/systemd/system/ssh.socket", "[Socket]\nListenStream=22\n"),
                    ("etc/systemd/system/ssh.service.requires/ssh.socket", ""),
                    ("run/systemd/generator/ssh.socket.d/a.conf", "[Socket]\nListenStream=\nListenStream=[::]:2028\n"),
                ],
                vec![2028],
            ),
            (
                &[
                    ("lib/systemd/system/ssh.socket", "[Socket]\nListenStream=22\n"),
                    (
                        "etc/systemd/system/ssh.socket.d/port.conf",
                        "[Socket]\nListenStream=\nListenStream = 0.0.0.0:2027\n",
                    ),
                ],
                vec![22, 2027],
            ),
        ] {
            assert_eq!(machine(files).ports, expected, "{files:?}");
        }
    }

    #[test]
    fn the_grace_time_is_the_first_that_is_said() {
        let of = |text: &str| machine(&[("etc/ssh/sshd_config", text)]).login_grace_time;
        assert_eq!(of(""), Some(Duration::from_secs(120)));
        assert_eq!(of("LoginGraceTime 10m\nLoginGraceTime 5\n"), Some(Duration::from_secs(600)));
        assert_eq!(of("logingracetime=1h30m"), Some(Duration::from_secs(5_400)));
        assert_eq!(of("LoginGraceTime 0"), None, "for ever");
        assert_eq!(of("LoginGraceTime x"), Some(Duration::from_secs(120)));
    }
}
