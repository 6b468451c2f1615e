//! Packets in pieces: only the first says for which port they are.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::ban;
use crate::export::program::export;
use crate::support::eventually;
use crate::support::guard::Setup;
use crate::support::namespace::{is_dropped, nft, run, within};
use crate::support::origin::Origin;

/// More than one packet of loopback holds, once that is made smaller.
const LARGE: usize = 5_000;
const LOOPBACK_BYTES: &str = "1280";

const BANNED: [&str; 2] = ["127.0.0.7", "fd00:1:2:3::7"];
const OTHERS: [&str; 2] = ["127.0.0.8", "fd00:1:2:4::8"];

/// Whether what a client sends there arrives. It holds nothing but the number of this port: of a piece in the middle that stands where the
/// first has its ports.
fn arrives(from: &str, to: &UdpSocket, bytes: usize, port: u16) -> bool {
    let from: IpAddr = from.parse().expect("an address");
    let sender = UdpSocket::bind(SocketAddr::new(from, 0)).expect("an address of this namespace");
    let content = port.to_be_bytes().repeat(bytes / 2);
    sender.send_to(&content, to.local_addr().expect("an address")).expect("room");
    to.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    to.recv(&mut [0; 2 * LARGE]).is_ok_and(|received| received == bytes)
}

fn listening(port: u16, is_v6: bool) -> UdpSocket {
    let address: IpAddr = if is_v6 { "fd00:1:2:4::1" } else { "127.0.0.1" }.parse().expect("an address");
    UdpSocket::bind(SocketAddr::new(address, port)).expect("a port that is free for UDP")
}

/// Loopback with small packets, and the addresses of those who send.
fn small_packets() {
    assert!(run("ip", &["link", "set", "lo", "mtu", LOOPBACK_BYTES]).0);
    for address in ["fd00:1:2:3::7/64", "fd00:1:2:4::8/64", "fd00:1:2:4::1/64"] {
        assert!(run("ip", &["-6", "address", "add", address, "dev", "lo", "nodad"]).0);
    }
}

/// That pieces are dropped of who is banned on this port, and nowhere else.
fn are_dropped_on(port: u16) {
    // Where somebody tracks connections, the kernel puts packets together before anybody looks at them.
    for tracks in [false, true] {
        if tracks {
            nft(&["add", "table", "inet", "tracking"]);
            nft(&["add", "chain", "inet", "tracking", "in", "{ type filter hook input priority 0; }"]);
            nft(&["add", "rule", "inet", "tracking", "in", "ct", "state", "established", "accept"]);
        }
        for (banned, other) in BANNED.into_iter().zip(OTHERS) {
            let is_v6 = banned.contains(':');
            let guarded = listening(port, is_v6);
            let unguarded = listening(0, is_v6);
            for bytes in [100, LARGE] {
                let case = format!("{bytes} bytes of {banned}, tracked: {tracks}");
                assert!(arrives(banned, &unguarded, bytes, port), "{case}: on another port");
                assert!(!arrives(banned, &guarded, bytes, port), "{case}: on a guarded port");
                assert!(arrives(other, &guarded, bytes, port), "{case}: of {other}");
            }
        }
    }
}

#[test]
fn pieces_of_packets_of_a_banned_client_are_dropped_on_the_guarded_ports_and_nowhere_else() {
    within(|| {
        small_packets();
        let origin = Origin::echoing();
        let guard = Setup::to(&origin.url()).kernel("").sections("[policy]\nnever-ban-loopback = false\n").start();
        ban(&guard, &BANNED);
        eventually("it is dropped", || is_dropped(BANNED[0], guard.address()));
        are_dropped_on(guard.address().port());
    });
}

#[test]
fn an_exported_table_drops_pieces_as_the_guards_own_does() {
    within(|| {
        small_packets();
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("bans.txt"), BANNED.join("\n")).expect("room for a file");
        fs::write(folder.path().join("rules.txt"), "path = /x\n").expect("room for a file");
        fs::write(folder.path().join("never.txt"), "192.0.2.1\n").expect("room for a file");
        let port = listening(0, false).local_addr().expect("an address").port();
        let given = ["--rules", "rules.txt", "--bans", "bans.txt", "--never", "never.txt", "--port", &port.to_string()]
            .map(str::to_owned);
        let options: Vec<&str> = given.iter().map(String::as_str).collect();
        let output = export(folder.path(), &[&["nftables"], &options[..]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let table = folder.path().join("table.nft");
        fs::write(&table, output.stdout).expect("room for a file");
        nft(&["-f", table.to_str().expect("a path of text")]);
        are_dropped_on(port);
    });
}
