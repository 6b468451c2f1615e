//! What operators say: whom they cannot ban, what waits to be confirmed, and that there is room for it.

use std::fs;
use std::net::SocketAddr;

use rustix::process::Signal;

use super::{CLIENT, SECTIONS, ban, guard};
use crate::support::eventually;
use crate::support::guard::{Guard, Setup, text};
use crate::support::namespace::{connect, is_dropped, nft, run, within};
use crate::support::origin::Origin;

#[test]
fn whoever_gives_any_command_is_on_the_list() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).sections(SECTIONS).start();
    for (number, command) in [
        &["status"][..],
        &["bans", "--never"],
        &["rules", "list"],
        &["bans", "list"],
        &["confirm"],
        &["panic", "--over"],
    ]
    .into_iter()
    .enumerate()
    {
        let address = format!("198.51.100.{number}");
        std::process::Command::new(env!("CARGO_BIN_EXE_seawall"))
            .args(command)
            .arg("--state")
            .arg(guard.state_path())
            .env("SSH_CONNECTION", format!("{address} 50000 192.0.2.1 22"))
            .output()
            .expect("seawall can be started");
        let never = text(&guard.command(&["bans", "--never"]).stdout);
        assert!(never.lines().any(|line| line.starts_with(&format!("{address} "))), "{command:?}: {never}");
    }
}

#[test]
fn an_ipv6_address_of_an_operator_or_of_the_list_is_not_banned_and_stays_free_within_its_network() {
    within(|| {
        let origin = Origin::echoing();
        for address in ["fd00:1:2:3::1/64", "fd00:1:2:3::9/64", "fd00:1:2:4::1/64", "fd00:1:2:9::7/64"] {
            assert!(run("ip", &["-6", "address", "add", address, "dev", "lo", "nodad"]).0);
        }
        let listen: SocketAddr = "[fd00:1:2:4::1]:8088".parse().expect("an address");
        let sections = "[policy]\nnever-ban = [\"fd00:1:2:3::9\"]\nnever-ban-loopback = false\n";
        let guard = Setup::to(&origin.url()).listen(&[listen]).kernel("").sections(sections).start();
        let add = |networks: &[&str]| {
            std::process::Command::new(env!("CARGO_BIN_EXE_seawall"))
                .args([&["bans", "add"], networks].concat())
                .arg("--state")
                .arg(guard.state_path())
                .env("SSH_CONNECTION", "fd00:1:2:9::7 50000 fd00:1:2:4::1 22")
                .output()
                .expect("seawall can be started")
        };
        // Also another address of his, since his machine changes it.
        for (network, why) in [
            ("fd00:1:2:9::7", "where an operator"),
            ("fd00:1:2:9:5::5", "where an operator"),
            ("fd00:1:2:9::/64", "where an operator"),
            ("fd00:1:2:3::9", "named by never-ban"),
        ] {
            let refused = add(&[network]);
            let said = text(&refused.stderr);
            assert_eq!(refused.status.code(), Some(1), "{network}: {refused:?}");
            assert!(said.contains("it is on the never-ban list") && said.contains(why), "{said}");
        }
        assert_eq!(nft(&["list", "ruleset"]), "");
        // The network around is banned, and whoever is protected within it stays free.
        assert!(add(&["fd00:1:2:3::1"]).status.success());
        eventually("it is dropped", || is_dropped("fd00:1:2:3::1", listen));
        assert!(connect("fd00:1:2:3::9", listen).is_ok());
        assert!(add(&["fd00:1:2:8::/61"]).status.success());
        eventually("it is in the kernel", || {
            nft(&["list", "set", "inet", "seawall", "networks6"]).contains("fd00:1:2:8::/61")
        });
        assert!(connect("fd00:1:2:9::7", listen).is_ok());
    });
}

/// Another guard with a copy of this one's state, as if it were started again after a kill.
fn after_a_kill(first: &mut Guard) -> Guard {
    first.signal(Signal::KILL);
    first.wait();
    again(first)
}

/// Another guard with a copy of this one's state, with nothing left in the kernel.
fn again(first: &Guard) -> Guard {
    nft(&["flush", "ruleset"]);
    let (config, state) = (fs::read_to_string(first.config_path()).expect("a configuration"), first.state_path());
    Guard::start(&config, |directory| {
        assert!(run("cp", &["-a", state.to_str().expect("a path"), directory.to_str().expect("a path")]).0);
    })
}

/// Waits until so many entries are in the record.
fn written(guard: &Guard, least: u64) {
    eventually("it is written", || guard.status()["record"]["written"].as_u64().is_some_and(|count| count >= least));
}

#[test]
fn a_deadline_outlives_a_killed_guard_and_a_stopped_one_undoes_what_waits() {
    within(|| {
        let origin = Origin::echoing();
        let mut first = guard(&origin);
        ban(&first, &[CLIENT, "--confirm", "30s"]);
        assert!(first.command(&["rules", "add", "path = \"/x\"", "--confirm", "30s"]).status.success());
        ban(&first, &["127.0.0.8", "--for", "1h", "--confirm", "20s"]);
        assert!(text(&first.command(&["confirm"]).stdout).contains("Confirmed 3 changes"));
        ban(&first, &["127.0.0.9", "--confirm", "4s"]);
        assert!(first.command(&["rules", "add", "path = \"/y\"", "--confirm", "4s"]).status.success());
        written(&first, 14);
        let mut second = after_a_kill(&mut first);
        eventually("what was confirmed is in force", || is_dropped(CLIENT, second.address()));
        assert!(is_dropped("127.0.0.8", second.address()));
        eventually("what was not has ended", || {
            let listed = text(&second.command(&["bans", "list"]).stdout);
            !listed.contains("127.0.0.9") && listed.contains(CLIENT) && listed.contains("127.0.0.8")
        });
        assert!(connect("127.0.0.9", second.address()).is_ok());
        eventually("nor has the rule lasted", || {
            let rules = text(&second.command(&["rules", "list"]).stdout);
            rules.contains("/x") && !rules.contains("/y")
        });
        ban(&second, &["127.0.0.10", "--confirm", "1h"]);
        assert!(second.command(&["rules", "add", "path = \"/z\"", "--confirm", "1h"]).status.success());
        eventually("it is dropped", || is_dropped("127.0.0.10", second.address()));
        assert!(second.command(&["stop"]).status.success());
        assert!(second.wait().success());
        let third = again(&second);
        eventually("what was confirmed is in force again", || is_dropped(CLIENT, third.address()));
        let listed = text(&third.command(&["bans", "list"]).stdout);
        assert!(!listed.contains("127.0.0.10"), "{listed}");
        let rules = text(&third.command(&["rules", "list"]).stdout);
        assert!(rules.contains("/x") && !rules.contains("/z"), "{rules}");
    });
}

#[test]
fn a_short_deadline_does_not_wait_and_what_was_taken_back_stays_so() {
    within(|| {
        let origin = Origin::echoing();
        let guard = guard(&origin);
        ban(&guard, &["127.0.0.8", "--confirm", "10m"]);
        ban(&guard, &[CLIENT, "--confirm", "2s"]);
        ban(&guard, &["127.0.0.9", "--for", "1h"]);
        ban(&guard, &["127.0.0.9", "--for", "3h", "--confirm", "1s"]);
        assert!(guard.command(&["bans", "remove", "127.0.0.9"]).status.success());
        ban(&guard, &["127.0.0.10", "--for", "1h"]);
        ban(&guard, &["127.0.0.10", "--for", "3h", "--confirm", "1s"]);
        eventually("each is undone in its time", || {
            text(&guard.command(&["journal"]).stdout).matches("not confirmed").count() == 2
        });
        let listed = text(&guard.command(&["bans", "list"]).stdout);
        assert!(!listed.contains("127.0.0.7") && !listed.contains("127.0.0.9 "), "{listed}");
        assert!(listed.contains("127.0.0.8"), "{listed}");
        assert!(listed.lines().any(|line| line.contains("127.0.0.10") && line.contains(" 35")), "{listed}");
        eventually("it is free", || connect(CLIENT, guard.address()).is_ok());
    });
}

#[test]
fn a_full_table_refuses_a_list_and_never_the_operator() {
    within(|| {
        let origin = Origin::echoing();
        let guard = Setup::to(&origin.url()).kernel("entries-max = 64").sections(SECTIONS).start();
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("list");
        let list: String = (1..200).map(|host| format!("198.51.100.{host}\n")).collect();
        fs::write(&file, list).expect("room");
        let imported = guard.command(&["bans", "import", file.to_str().expect("a path")]);
        assert_eq!(imported.status.code(), Some(1), "{imported:?}");
        assert!(text(&imported.stderr).contains("there are 63 bans already"), "{imported:?}");
        for client in [CLIENT, "127.0.0.8", "127.0.0.9"] {
            ban(&guard, &[client]);
            eventually("it is dropped", || is_dropped(client, guard.address()));
        }
        assert_eq!(guard.status()["enforcement"]["bans"].as_u64(), Some(64));
        assert!(text(&guard.command(&["journal"]).stdout).contains("gave way to what an operator says"));
    });
}
