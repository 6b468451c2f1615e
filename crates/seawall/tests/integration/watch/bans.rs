//! Beside another server only the kernel can keep anybody away: with the real nft, each test in a network namespace of its own.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use seawall::host::clock::Clock;

use super::{append, line};
use crate::support::eventually;
use crate::support::guard::{Guard, text};
use crate::support::namespace::{nft, within};

const CONFIG: &str = "admin = \"off\"\n[policy]\nenforce = \"on-excess\"\nnever-ban = [\"203.0.113.250\"]\n\
                      [trust]\nproxies = [\"198.51.100.1\"]\n[kernel]\nports = [8443]\n";

/// A guard on `access.log` with a rule of the operator's in force, as there is none of detection's so soon.
fn guard(arguments: &[&str], prepare: impl FnOnce(&Path)) -> Guard {
    let guard = Guard::watch_as(CONFIG, arguments, prepare);
    let added = guard.command(&["rules", "add", "path = \"/unwanted\"", "--for", "1h", "--anyway"]);
    assert!(added.status.success(), "{}", text(&added.stderr));
    guard
}

/// So many requests of a client, all for what the rule refuses.
fn unwanted(clock: &Clock, client: &str, times: usize) -> String {
    line(clock, client, "GET /unwanted", "flood/1").repeat(times)
}

/// Has lines written until one is judged by the rule. Each is another client's.
fn until_judged(guard: &Guard, clock: &Clock, mut write: impl FnMut(&str)) {
    let mut number = 0_u32;
    eventually("the rule is in use", || {
        number += 1;
        write(&unwanted(clock, &format!("192.0.2.{}", number % 250), 1));
        guard.status()["detection"]["rules"][0]["matched"].as_u64().is_some_and(|matched| matched > 0)
    });
}

fn is_in_kernel(client: &str) -> bool {
    let address: IpAddr = client.parse().expect("an address");
    let set = if address.is_ipv4() { "clients4" } else { "clients6" };
    nft(&["list", "ruleset"]).contains("table inet seawall")
        && nft(&["list", "set", "inet", "seawall", set]).contains(client)
}

#[test]
fn a_client_of_a_followed_log_that_goes_on_is_dropped_by_the_kernel_and_nobody_else() {
    within(|| {
        let clock = Clock::start();
        let guard = guard(&["access.log"], |folder| append(&folder.join("access.log"), ""));
        let log = guard.folder().join("access.log");
        until_judged(&guard, &clock, |text| append(&log, text));
        let shown = text(&guard.command(&["status"]).stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.contains("who goes on with what rules would refuse is dropped by the kernel"), "{shown}");
        // The operator, a trusted proxy and those whom it names, one who asks for other things too, one who stops in time.
        let forwarded = |client: &str| {
            let line = line(&clock, "198.51.100.1", "GET /unwanted", "flood/1");
            format!("{} \"{client}\"\n", line.trim_end()).repeat(100)
        };
        append(&log, &unwanted(&clock, "203.0.113.250", 100));
        append(&log, &forwarded("203.0.113.77"));
        append(&log, &line(&clock, "203.0.113.8", "GET /page/1", "flood/1"));
        append(&log, &unwanted(&clock, "203.0.113.8", 100));
        append(&log, &unwanted(&clock, "203.0.113.9", 20));
        append(&log, &unwanted(&clock, "203.0.113.10", 60));
        append(&log, &unwanted(&clock, "2001:db8:1:2::7", 60));
        eventually("it is dropped", || is_in_kernel("203.0.113.10") && is_in_kernel("2001:db8:1:2::"));
        let table = nft(&["list", "table", "inet", "seawall"]);
        let clients = nft(&["list", "set", "inet", "seawall", "clients4"]);
        for client in ["203.0.113.250", "203.0.113.77", "203.0.113.8,", "203.0.113.8 ", "203.0.113.9", "198.51.100.1"] {
            assert!(!clients.contains(client), "{client} in {clients}");
        }
        for port in ["80", "443", "8443"] {
            assert!(nft(&["list", "set", "inet", "seawall", "ports"]).contains(port), "{table}");
        }
        let listed = text(&guard.command(&["bans", "list"]).stdout);
        assert!(listed.contains("goes on with what R10001 matches") && !listed.contains("203.0.113."), "{listed}");
        // Free as soon as the rule is taken back.
        assert!(guard.command(&["rules", "remove", "R10001"]).status.success());
        eventually("it is free", || !is_in_kernel("203.0.113.10"));
    });
}

/// A stranger can ask for any host and say to be any user. Neither has anybody else dropped for it, nor hides who it was.
#[test]
fn nobody_can_have_another_dropped_by_what_he_sends() {
    within(|| {
        let clock = Clock::start();
        let behind_host = |host: &str, client: &str| {
            let line = line(&clock, client, "GET /unwanted", "flood/1");
            format!("{host} {line}")
        };
        let guard = guard(&["hosts.log", "plain.log"], |folder| {
            append(&folder.join("hosts.log"), &behind_host("www.example", "192.0.2.250"));
            append(&folder.join("plain.log"), &line(&clock, "192.0.2.251", "GET /", "a"));
        });
        let (hosts, plain) = (guard.folder().join("hosts.log"), guard.folder().join("plain.log"));
        until_judged(&guard, &clock, |text| append(&hosts, &format!("www.example {text}")));
        append(&hosts, &behind_host("203.0.113.99", "203.0.113.10").repeat(60));
        append(&hosts, &behind_host("203.0.113.98 203.0.113.97", "203.0.113.11").repeat(60));
        let as_user = |user: &str, client: &str| {
            let line = line(&clock, client, "GET /unwanted", "flood/1");
            line.replacen("- -", &format!("- {user}"), 1)
        };
        append(&plain, &as_user("203.0.113.96 - x", "203.0.113.12").repeat(60));
        eventually("who sent it is dropped", || {
            ["10", "11", "12"].iter().all(|end| is_in_kernel(&format!("203.0.113.{end}")))
        });
        let clients = nft(&["list", "set", "inet", "seawall", "clients4"]);
        assert!(!clients.contains("203.0.113.9"), "{clients}");
    });
}

#[test]
fn bans_work_without_an_address_on_the_disk() {
    within(|| {
        let clock = Clock::start();
        let mut guard = guard(&["--pipe", "--write", "private.log"], |_| ());
        let mut input = guard.input();
        until_judged(&guard, &clock, |text| {
            std::io::Write::write_all(&mut input, text.as_bytes()).expect("it reads");
        });
        std::io::Write::write_all(&mut input, unwanted(&clock, "203.0.113.10", 60).as_bytes()).expect("it reads");
        eventually("it is dropped", || is_in_kernel("203.0.113.10"));
        eventually("the log is written on", || {
            std::fs::read_to_string(guard.folder().join("private.log")).is_ok_and(|log| log.contains("/unwanted"))
        });
        // Closed in order, so that all that is ever written has been.
        drop(input);
        guard.signal(Signal::TERM);
        guard.wait();
        let mut files = vec![guard.folder().to_path_buf()];
        while let Some(path) = files.pop() {
            if path.is_dir() {
                files.extend(std::fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
            } else if !path.ends_with("seawall.toml") && path.is_file() {
                let bytes = std::fs::read(&path).expect("a file");
                let shows = |needle: &[u8]| memchr::memmem::find(&bytes, needle).is_some();
                assert!(!shows(b"203.0.113.10") && !shows(&[203, 0, 113, 10]), "{}", path.display());
            }
        }
    });
}

#[test]
fn lines_that_others_can_write_ban_nobody() {
    within(|| {
        let clock = Clock::start();
        let guard = guard(&["udp://0.0.0.0:0"], |_| ());
        let port = guard.watching()[0].rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let send = |text: &str| {
            let message = format!("<190>Nov 26 12:00:00 web nginx: {}", text.trim_end());
            sender.send_to(message.as_bytes(), ("127.0.0.1", port)).expect("sent");
        };
        until_judged(&guard, &clock, send);
        (0..100).for_each(|_| send(&unwanted(&clock, "203.0.113.10", 1)));
        eventually("they are judged", || {
            guard.status()["detection"]["rules"][0]["matched"].as_u64().is_some_and(|matched| matched > 90)
        });
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(nft(&["list", "ruleset"]), "");
    });
}
