//! From where operators are logged in.
//!
//! Whom the system has written down as logged in (utmp, and logind where there is none) is believed at once, as is whoever started the
//! guard. A mere connection
//! to the SSH port is anybody's, so a flooder could buy immunity with one; it counts only when it has lasted for longer
//! than sshd bears anybody who has not logged in (`LoginGraceTime`, two minutes unless its configuration says otherwise).

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use seawall_engine::address::ClientAddress;
use seawall_engine::units::Timestamp;

use super::super::kernel::netlink::Connection;
use super::sshd::Sshd;

/// By how much a connection must outlast the time that sshd bears somebody who has not logged in.
const SETTLED_BEYOND: Duration = Duration::from_secs(30);

/// Connections that are watched, and bytes of each file that are read.
const CONNECTIONS_MAX: usize = 1024;
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// `struct utmp` of Linux: its size, where it says what an entry is and from which address, and the kind of a user's.
const UTMP_BYTES: usize = 384;
const UTMP_ADDRESS: usize = 348;
const UTMP_USER: u8 = 7;

/// Where logind writes down each session, and how many of them are read.
const LOGIND: &str = "run/systemd/sessions";
const LOGIND_MAX: usize = 1024;

/// `ESTABLISHED` in /proc/net/tcp.
const ESTABLISHED: &str = "01";

/// Connections to the SSH port, and since when each is known.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    since: HashMap<(IpAddr, u16), Timestamp>,
}

impl Sessions {
    /// Addresses from which somebody is logged in on the machine whose root folder is `root`. `list` asks the kernel for the
    /// connections to a port; where it does not answer, its tables in `/proc` are read.
    pub(super) fn look(
        &mut self,
        root: &Path,
        list: impl Fn(u16) -> io::Result<Vec<Connection>>,
        now: Timestamp,
    ) -> Vec<IpAddr> {
        let text = |path: &str| fs::read(root.join(path)).unwrap_or_default();
        let Sshd { ports, login_grace_time } = Sshd::read(root);
        let mut open = Vec::new();
        match ports.iter().map(|port| list(*port)).collect::<io::Result<Vec<_>>>() {
            Ok(listed) => {
                let established = listed.iter().flatten().filter(|connection| connection.is_established);
                open.extend(
                    established.map(|connection| (connection.peer, connection.peer_port)).take(CONNECTIONS_MAX),
                );
            }
            // Every connection is written out there, thousands in a flood.
            Err(_) => {
                for path in ["proc/net/tcp", "proc/net/tcp6"] {
                    let bytes = text(path);
                    let bytes = bytes.get(..bytes.len().min(BYTES_MAX)).unwrap_or_default();
                    open.extend(established(&String::from_utf8_lossy(bytes), &ports).take(CONNECTIONS_MAX));
                }
            }
        }
        self.since.retain(|connection, _| open.contains(connection));
        let mut found = Vec::new();
        for connection in open.into_iter().take(CONNECTIONS_MAX) {
            let since = *self.since.entry(connection).or_insert(now);
            // Where it bears anybody for ever, a connection tells nothing.
            if login_grace_time.is_some_and(|grace| now.since(since) >= grace + SETTLED_BEYOND) {
                found.push(connection.0);
            }
        }
        for path in ["run/utmp", "var/run/utmp"] {
            let bytes = text(path);
            found.extend(logged_in(bytes.get(..bytes.len().min(BYTES_MAX)).unwrap_or_default()));
        }
        found.extend(logind(&root.join(LOGIND)));
        found.extend(own_session());
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Where whoever runs this process is logged in from, as sshd says in `SSH_CONNECTION`: client address first.
pub(crate) fn own_session() -> Option<IpAddr> {
    client_of(&std::env::var("SSH_CONNECTION").ok()?)
}

fn client_of(connection: &str) -> Option<IpAddr> {
    let address = connection.split_ascii_whitespace().next()?.split('%').next()?;
    address.parse().ok().map(|address: IpAddr| address.to_canonical())
}

/// Peers of established connections to one of `ports`: `sl local_address rem_address st …` with addresses in hexadecimal, each
/// 32 bits in the machine's byte order.
fn established<'t>(table: &'t str, ports: &'t [u16]) -> impl Iterator<Item = (IpAddr, u16)> + 't {
    let address = |text: &str| -> Option<(IpAddr, u16)> {
        let (address, port) = text.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let mut bytes = [0; 16];
        let words = bytes.chunks_exact_mut(4).zip(address.as_bytes().chunks_exact(8));
        for (word, digits) in words {
            let bits = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
            word.copy_from_slice(&bits.to_ne_bytes());
        }
        match address.len() {
            8 => Some((IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])), port)),
            32 => Some((IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical(), port)),
            _ => None,
        }
    };
    table.lines().filter_map(move |line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (_, local_port) = address(words.next()?)?;
        let peer = address(words.next()?)?;
        (words.next()? == ESTABLISHED && ports.contains(&local_port)).then_some(peer)
    })
}

/// From where the sessions of logind come. One that is closing is over for whoever had it.
fn logind(folder: &Path) -> Vec<IpAddr> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(LOGIND_MAX);
    // Beside each file lies a pipe by which logind learns that the session has ended.
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let texts = files.filter_map(|entry| fs::read(entry.path()).ok());
    texts.filter_map(|bytes| remote(&String::from_utf8_lossy(bytes.get(..bytes.len().min(BYTES_MAX))?))).collect()
}

/// Where one session comes from: lines as `REMOTE_HOST=198.51.100.7`.
fn remote(session: &str) -> Option<IpAddr> {
    let value = |name: &str| session.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    if value("STATE") == Some("closing") {
        return None;
    }
    client_of(value("REMOTE_HOST")?)
}

/// The addresses of users in utmp.
fn logged_in(utmp: &[u8]) -> impl Iterator<Item = IpAddr> + '_ {
    utmp.chunks_exact(UTMP_BYTES).filter_map(|entry| {
        if entry.first() != Some(&UTMP_USER) {
            return None;
        }
        let bytes: [u8; 16] = entry.get(UTMP_ADDRESS..UTMP_ADDRESS + 16)?.try_into().ok()?;
        let is_v4 = bytes.iter().skip(4).all(|byte| *byte == 0);
        let address = if is_v4 {
            IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]))
        } else {
            IpAddr::V6(Ipv6Addr::from(bytes))
        };
        Some(ClientAddress::new(address).ip()).filter(|address| !address.is_unspecified())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As /proc writes it.
    fn line(local: ([u8; 4], u16), peer: ([u8; 4], u16), state: &str) -> String {
        let hex = |(address, port): ([u8; 4], u16)| format!("{:08X}:{port:04X}", u32::from_ne_bytes(address));
        format!("   0: {} {} {state} 00000000:00000000 00:00000000\n", hex(local), hex(peer))
    }

    #[test]
    fn a_connection_to_ssh_counts_once_it_has_outlasted_the_grace_time() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("proc/net")).expect("room");
        fs::create_dir_all(folder.path().join("etc/ssh")).expect("room");
        fs::write(folder.path().join("etc/ssh/sshd_config"), "port 2222\nLoginGraceTime 5m\n").expect("room");
        let mut table = "  sl  local_address rem_address   st\n".to_owned();
        table += &line(([192, 0, 2, 1], 2222), ([198, 51, 100, 7], 50_000), "01");
        table += &line(([192, 0, 2, 1], 22), ([198, 51, 100, 8], 50_000), "03");
        table += &line(([192, 0, 2, 1], 80), ([203, 0, 113, 9], 50_000), "01");
        table += "broken 00:00 zz\n";
        fs::write(folder.path().join("proc/net/tcp"), table).expect("room");
        let start = Timestamp::from_seconds(1_700_000_000);
        let unheard = |_| Err(io::Error::from(io::ErrorKind::Unsupported));
        let look = |sessions: &mut Sessions, now| sessions.look(folder.path(), unheard, now);
        let mut sessions = Sessions::default();
        let peers = |found: Vec<IpAddr>| -> Vec<String> {
            found.iter().filter(|ip| Some(**ip) != own_session()).map(ToString::to_string).collect()
        };
        assert!(peers(look(&mut sessions, start)).is_empty());
        assert!(peers(look(&mut sessions, start + Duration::from_secs(329))).is_empty());
        assert_eq!(peers(look(&mut sessions, start + Duration::from_secs(330))), ["198.51.100.7"]);
        fs::write(folder.path().join("proc/net/tcp"), "").expect("room");
        assert!(peers(look(&mut sessions, start + Duration::from_secs(330))).is_empty());
    }

    #[test]
    fn where_the_kernel_answers_its_tables_are_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("proc/net")).expect("room");
        let table = line(([192, 0, 2, 1], 22), ([203, 0, 113, 9], 50_000), "01");
        fs::write(folder.path().join("proc/net/tcp"), table).expect("room");
        let start = Timestamp::from_seconds(1_700_000_000);
        let mut sessions = Sessions::default();
        let mut look = |now| {
            let connection = |host| Connection::between(IpAddr::from([198, 51, 100, host]), 22);
            let mut half_open = connection(8);
            half_open.is_established = false;
            let list = |port| Ok(if port == 22 { vec![connection(7), half_open] } else { Vec::new() });
            let found = sessions.look(folder.path(), list, now);
            found.into_iter().filter(|ip| Some(*ip) != own_session()).collect::<Vec<IpAddr>>()
        };
        assert!(look(start).is_empty());
        assert_eq!(look(start + Duration::from_secs(150)), [IpAddr::from([198, 51, 100, 7])]);
    }

    #[test]
    fn users_in_utmp_and_in_the_environment_are_known() {
        let mut utmp = vec![0; UTMP_BYTES * 3 + 5];
        utmp[0] = UTMP_USER;
        utmp[UTMP_ADDRESS..UTMP_ADDRESS + 4].copy_from_slice(&[198, 51, 100, 7]);
        // A terminal of the machine itself has no address.
        utmp[UTMP_BYTES] = UTMP_USER;
        utmp[2 * UTMP_BYTES] = 8;
        utmp[2 * UTMP_BYTES + UTMP_ADDRESS] = 9;
        let found: Vec<String> = logged_in(&utmp).map(|address| address.to_string()).collect();
        assert_eq!(found, ["198.51.100.7"]);
        assert_eq!(client_of("2001:db8::7 50000 2001:db8::1 22"), "2001:db8::7".parse().ok());
        assert_eq!(client_of("fe80::1%eth0 50000 fe80::2 22"), "fe80::1".parse().ok());
        assert_eq!((client_of(""), client_of("nobody 1 2 3")), (None, None));
    }

    #[test]
    fn sessions_of_logind_are_known_until_they_close() {
        let folder = tempfile::tempdir().expect("a folder");
        let sessions = folder.path().join(LOGIND);
        fs::create_dir_all(&sessions).expect("room");
        let write = |name: &str, text: &str| fs::write(sessions.join(name), text).expect("room");
        write("1", "UID=1000\nACTIVE=1\nSTATE=active\nREMOTE=1\nREMOTE_HOST=198.51.100.7\nSERVICE=sshd\n");
        write("2", "STATE=online\nREMOTE_HOST=fe80::1%eth0\n");
        write("3", "STATE=closing\nREMOTE_HOST=198.51.100.8\n");
        write("4", "STATE=active\nREMOTE=0\nTTY=tty1\n");
        write("5", "STATE=active\nREMOTE_HOST=laptop.example\n");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            sessions.join("1.ref"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .expect("a pipe, which nobody writes to");
        let mut found: Vec<String> = logind(&sessions).iter().map(ToString::to_string).collect();
        found.sort_unstable();
        assert_eq!(found, ["198.51.100.7", "fe80::1"]);
        assert!(logind(Path::new("/nowhere")).is_empty());
    }

    #[test]
    fn ipv6_peers_are_read_and_mapped_ones_are_ipv4() {
        let mut mapped = [0; 16];
        mapped[10..].copy_from_slice(&[0xff, 0xff, 198, 51, 100, 7]);
        let hex = |bytes: [u8; 16]| -> String {
            bytes
                .chunks_exact(4)
                .map(|word| format!("{:08X}", u32::from_ne_bytes([word[0], word[1], word[2], word[3]])))
                .collect()
        };
        let table = format!("0: {}:0016 {}:C350 01\n", hex([0; 16]), hex(mapped));
        assert_eq!(established(&table, &[22]).collect::<Vec<_>>(), [("198.51.100.7".parse().expect("ip"), 50_000)]);
    }
}
