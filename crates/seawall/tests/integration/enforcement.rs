//! What is dropped in the kernel, and what is not: with the real nft, each test in a network namespace of its own.

mod answers;
mod failures;
mod fragments;
mod orders;
mod workers;

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::eventually;
use crate::support::guard::{Guard, Setup, text};
use crate::support::namespace::{Neighbour, connect, is_dropped, nft, run, within};
use crate::support::origin::Origin;

/// In a drill's way: the clients of these tests live on loopback.
const SECTIONS: &str = "[policy]\nnever-ban = [\"127.0.0.99\", \"127.0.9.9\"]\nnever-ban-loopback = false\n";

const CLIENT: &str = "127.0.0.7";

fn guard(origin: &Origin) -> Guard {
    Setup::to(&origin.url()).kernel("").sections(SECTIONS).start()
}

fn ban(guard: &Guard, arguments: &[&str]) -> String {
    let output = guard.command(&[&["bans", "add"], arguments].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn kernel(guard: &Guard, name: &str) -> serde_json::Value {
    guard.status()["enforcement"]["kernel"][name].clone()
}

#[test]
fn a_banned_client_is_dropped_on_the_guarded_ports_and_nowhere_else() {
    within(|| {
        let (origin, other) = (Origin::echoing(), std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
        let guard = guard(&origin);
        assert_eq!(nft(&["list", "ruleset"]), "", "no table before there is somebody to drop");
        assert!(connect(CLIENT, guard.address()).is_ok());
        let said = ban(&guard, &[CLIENT, "--for", "1h", "--reason", "a test"]);
        assert!(said.contains("in the proxy and the kernel"), "{said}");
        eventually("it is dropped", || is_dropped(CLIENT, guard.address()));
        // SSH, say, is somebody else's port.
        assert!(connect(CLIENT, other.local_addr().expect("an address")).is_ok());
        assert!(connect("127.0.0.8", guard.address()).is_ok());
        eventually("it is counted", || {
            kernel(&guard, "dropped")["packets"].as_u64().is_some_and(|packets| packets > 0)
        });
        assert_eq!(kernel(&guard, "clients").as_u64(), Some(1));
        let screen = text(&guard.command(&["status"]).stdout);
        assert!(screen.contains("the kernel drops 1 client and"), "{screen}");
        let listed = text(&guard.command(&["bans", "list"]).stdout);
        assert!(listed.contains(CLIENT) && listed.contains("a test"), "{listed}");
        assert!(guard.command(&["bans", "remove", CLIENT]).status.success());
        eventually("it is free", || connect(CLIENT, guard.address()).is_ok());
        eventually("it is written down", || {
            text(&guard.command(&["journal"]).stdout).contains("127.0.0.7/32 for 1h: a test")
        });
    });
}

#[test]
fn whoever_has_banned_somebody_may_ask_at_once() {
    within(|| {
        let origin = Origin::echoing();
        let guard = guard(&origin);
        for (count, client) in (1..).zip([CLIENT, "127.0.0.8", "127.0.0.10"]) {
            ban(&guard, &[client]);
            assert_eq!(guard.status()["enforcement"]["bans"].as_u64(), Some(count), "{client}");
        }
        assert!(guard.command(&["bans", "remove", CLIENT]).status.success());
        assert_eq!(guard.status()["enforcement"]["bans"].as_u64(), Some(2));
    });
}

#[test]
fn who_is_banned_reaches_no_port_that_is_published_for_a_container() {
    within(|| {
        let neighbour = Neighbour::join();
        let origin = Origin::echoing();
        let container = std::net::TcpListener::bind((Neighbour::OURS, 0)).expect("a port of the container");
        let inside = container.local_addr().expect("an address");
        let published: SocketAddr = format!("{}:8443", Neighbour::OURS).parse().expect("an address");
        // As Docker publishes a port: translated before the packet is for anybody.
        nft(&["add", "table", "ip", "docker"]);
        nft(&["add", "chain", "ip", "docker", "pre", "{ type nat hook prerouting priority dstnat; }"]);
        nft(&["add", "rule", "ip", "docker", "pre", "tcp", "dport", "8443", "dnat", "to", &inside.to_string()]);
        let guard = Setup::to(&origin.url()).kernel("ports = [8443]").sections(SECTIONS).start();
        eventually("it reaches the container", || neighbour.connect(published).is_ok());
        ban(&guard, &[Neighbour::ITS]);
        eventually("it is dropped", || neighbour.connect(published).is_err());
        // Only what was published is guarded: that it got through by the other port shows that the translation was what would have let it.
        assert!(neighbour.connect(inside).is_ok());
        assert!(guard.command(&["bans", "remove", Neighbour::ITS]).status.success());
        eventually("it is free", || neighbour.connect(published).is_ok());
    });
}

#[test]
fn its_established_connections_are_ended() {
    within(|| {
        // The port of another program, whose connections only the kernel can end.
        let (origin, other) = (Origin::echoing(), std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
        let other = other.local_addr().map(|address| (address, other)).expect("an address");
        let guard =
            Setup::to(&origin.url()).kernel(&format!("ports = [{}]", other.0.port())).sections(SECTIONS).start();
        for (address, spared) in [(guard.address(), "127.0.0.8"), (other.0, "127.0.0.9")] {
            let (mut connection, kept) =
                (connect(CLIENT, address).expect("free"), connect(spared, address).expect("free"));
            connection.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
            kept.set_nonblocking(true).expect("a socket");
            ban(&guard, &[CLIENT]);
            let error = connection.read(&mut [0; 9]).expect_err("it is cut");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            assert_eq!((&kept).read(&mut [0; 9]).expect_err("it stays").kind(), ErrorKind::WouldBlock);
            assert!(guard.command(&["bans", "remove", CLIENT]).status.success());
            eventually("it is free", || connect(CLIENT, address).is_ok());
        }
        eventually("it is counted", || kernel(&guard, "connections_ended").as_u64() >= Some(1));
    });
}

#[test]
fn without_the_kernel_a_banned_clients_connections_are_reset_where_they_are() {
    // An answer that goes on for as long as it is taken.
    let origin = Origin::start(|mut visit| {
        while let Ok(Some(request)) = visit.request() {
            if request.target != "/endless" {
                visit.answer("here");
                continue;
            }
            visit.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
            while std::io::Write::write_all(visit.stream(), &[b'x'; 1_000]).is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
            return;
        }
    });
    let sections = "[trust]\nproxies = [\"127.0.0.40\"]\n\n[policy]\nnever-ban-loopback = false\n";
    let guard = Setup::to(&origin.url()).sections(sections).start();
    let from = |source: &str| crate::support::client::Client::connect_from(source, guard.address());
    let (mut idle, mut running, mut half, mut posting) = (from(CLIENT), from(CLIENT), from(CLIENT), from(CLIENT));
    assert_eq!(idle.fetch("/").status, 200);
    running.get("/endless");
    running.bytes(5_000);
    half.send("GET / HTTP/1.1\r\nHost: exam");
    // That one has hyper.
    posting.send("POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 1000\r\n\r\nxx");
    let (mut other, mut proxy) = (from("127.0.0.8"), from("127.0.0.40"));
    assert_eq!(other.fetch("/").status, 200);
    let named = "GET / HTTP/1.1\r\nHost: example.org\r\nX-Forwarded-For: 127.0.0.7\r\n\r\n";
    proxy.send(named);
    assert_eq!(proxy.answer().status, 200);
    ban(&guard, &[CLIENT]);
    let clock = seawall::host::clock::Clock::start();
    for (what, client) in [("idle", &idle), ("running", &running), ("half", &half), ("posting", &posting)] {
        client.stream().set_read_timeout(Some(Duration::from_secs(5))).expect("a socket");
        let error = std::io::copy(&mut client.stream(), &mut std::io::sink()).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{what}");
    }
    assert!(clock.uptime() < Duration::from_secs(2), "{:?}", clock.uptime());
    assert_eq!(other.fetch("/").status, 200);
    // What a proxy sends is other clients' as well: there the request is refused.
    proxy.send(named);
    assert_eq!(proxy.answer().status, 403);
    proxy.send("GET / HTTP/1.1\r\nHost: example.org\r\nX-Forwarded-For: 127.0.0.8\r\n\r\n");
    assert_eq!(proxy.answer().status, 200);
    eventually("they are counted as gone", || guard.status()["traffic"]["connections"].as_u64() == Some(2));
}

#[test]
fn a_protected_address_within_a_banned_network_stays_free() {
    within(|| {
        let origin = Origin::echoing();
        let guard = guard(&origin);
        let said = ban(&guard, &["127.0.9.0/24", "--for", "1h"]);
        assert!(said.contains("127.0.9.9 stays free"), "{said}");
        eventually("the network is dropped", || is_dropped("127.0.9.1", guard.address()));
        assert!(connect("127.0.9.9", guard.address()).is_ok());
        let refused = guard.command(&["bans", "add", "127.0.0.99"]);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains("never-ban list: named by never-ban in the configuration"), "{said}");
        let never = text(&guard.command(&["bans", "--never"]).stdout);
        assert!(never.contains("127.0.0.99") && never.contains("named by never-ban"), "{never}");
    });
}

#[test]
fn the_operators_own_address_is_not_banned() {
    within(|| {
        let origin = Origin::echoing();
        let guard = guard(&origin);
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_seawall"))
            .args(["bans", "add", "198.51.100.7", "203.0.113.9", "--state"])
            .arg(guard.state_path())
            .env("SSH_CONNECTION", "198.51.100.7 50000 192.0.2.1 22")
            .output()
            .expect("seawall can be started");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("198.51.100.7 is not banned: it is on the never-ban list: where an operator"), "{said}");
        eventually("the other is", || nft(&["list", "ruleset"]).contains("203.0.113.9"));
        let rules = nft(&["list", "set", "inet", "seawall", "never4"]);
        assert!(rules.contains("198.51.100.7"), "{rules}");
    });
}

#[test]
fn a_table_that_others_flush_change_or_fill_is_repaired() {
    within(|| {
        let origin = Origin::echoing();
        let guard = guard(&origin);
        ban(&guard, &[CLIENT, "127.0.8.0/24", "--for", "1h"]);
        eventually("it is dropped", || is_dropped(CLIENT, guard.address()));
        let repairs = || kernel(&guard, "repairs").as_u64().expect("a number");
        let mut before = 0;
        let set = "element inet seawall clients4";
        let until = |time: &str| format!("delete {set} {{ {CLIENT} }}; add {set} {{ {CLIENT} timeout {time} }}");
        for (what, damage) in [
            ("the ruleset is flushed", &["flush", "ruleset"][..]),
            ("the rules are flushed", &["flush", "chain", "inet", "seawall", "guard"]),
            ("the bans are flushed", &["flush", "set", "inet", "seawall", "clients4"]),
            ("the allow set is widened", &["add", "element", "inet", "seawall", "never4", "{ 127.0.0.0/27 }"]),
            ("a ban is added", &["add", "element", "inet", "seawall", "clients4", "{ 127.0.0.55 }"]),
            ("a network is added", &["add", "element", "inet", "seawall", "networks4", "{ 127.0.77.0/24 timeout 1h }"]),
            ("a ban is to end sooner", &[until("1m").as_str()]),
            ("a ban is to end later", &[until("1h").as_str()]),
            ("a rule is put first", &["insert", "rule", "inet", "seawall", "guard", "accept"]),
        ] {
            // Only what the guard has seen as its own can be told from what others did.
            eventually("it knows its table", || kernel(&guard, "state") == "active");
            std::thread::sleep(Duration::from_millis(1_500));
            nft(damage);
            eventually(what, || repairs() > before);
            before = repairs();
            eventually("the client is dropped again", || is_dropped(CLIENT, guard.address()));
            assert!(connect("127.0.0.55", guard.address()).is_ok(), "{what}");
            assert!(connect("127.0.77.1", guard.address()).is_ok(), "{what}");
        }
        assert!(guard.log().contains("by another program; it is made anew"), "{}", guard.log());
        eventually("it is in the journal", || {
            text(&guard.command(&["journal"]).stdout).contains("by another program; it is made anew")
        });
        // Other programs' tables are theirs.
        nft(&["add", "table", "inet", "theirs"]);
        std::thread::sleep(Duration::from_millis(2_500));
        assert_eq!(repairs(), before);
        assert!(nft(&["list", "tables"]).contains("theirs"));
    });
}

#[test]
fn a_guard_that_stops_leaves_nothing_unless_told_to() {
    within(|| {
        let origin = Origin::echoing();
        for (settings, stays) in [("", false), ("keep = true", true)] {
            let mut guard = Setup::to(&origin.url()).kernel(settings).sections(SECTIONS).start();
            ban(&guard, &[CLIENT]);
            eventually("it is dropped", || is_dropped(CLIENT, guard.address()));
            guard.signal(Signal::TERM);
            assert!(guard.wait().success());
            assert_eq!(nft(&["list", "tables"]).contains("seawall"), stays);
        }
    });
}

#[test]
fn bans_come_back_after_a_kill_and_the_table_of_before_is_taken_up() {
    within(|| {
        let origin = Origin::echoing();
        let mut first = guard(&origin);
        ban(&first, &[CLIENT, "127.0.8.0/24", "--for", "1h", "--reason", "kept"]);
        ban(&first, &["127.0.0.66", "--for", "1s"]);
        eventually("it is written", || first.status()["record"]["written"].as_u64().is_some_and(|count| count >= 5));
        first.signal(Signal::KILL);
        first.wait();
        let left = nft(&["list", "set", "inet", "seawall", "clients4"]);
        assert!(left.contains("timeout 10m"), "what a killed guard leaves ends by itself: {left}");
        // As after a reboot: nothing is in the kernel.
        nft(&["flush", "ruleset"]);
        let config = fs::read_to_string(first.config_path()).expect("a configuration");
        let state = first.state_path();
        let second = Guard::start(&config, |directory| {
            let (copied, said) =
                run("cp", &["-a", state.to_str().expect("a path"), directory.to_str().expect("a path")]);
            assert!(copied, "{said}");
        });
        eventually("it is dropped again", || is_dropped(CLIENT, second.address()));
        assert!(is_dropped("127.0.8.1", second.address()));
        let listed = text(&second.command(&["bans", "list"]).stdout);
        assert!(listed.contains("kept") && !listed.contains("127.0.0.66"), "{listed}");
    });
}

#[test]
fn two_guards_on_one_machine_have_tables_of_their_own() {
    within(|| {
        let origin = Origin::echoing();
        let (first, second) = (guard(&origin), guard(&origin));
        ban(&first, &["127.0.0.7"]);
        ban(&second, &["127.0.0.8"]);
        eventually("each has its own", || {
            let tables = nft(&["list", "tables"]);
            tables.contains("table inet seawall\n") && tables.contains("table inet seawall-2\n")
        });
        std::thread::sleep(Duration::from_millis(2_500));
        assert_eq!((kernel(&first, "repairs").as_u64(), kernel(&second, "repairs").as_u64()), (Some(0), Some(0)));
        assert!(is_dropped("127.0.0.7", first.address()) && connect("127.0.0.7", second.address()).is_ok());
        assert!(is_dropped("127.0.0.8", second.address()) && connect("127.0.0.8", first.address()).is_ok());
        assert!(second.log().contains("this one takes inet seawall-2"), "{}", second.log());
    });
}

#[test]
fn what_is_not_confirmed_is_undone() {
    within(|| {
        let origin = Origin::echoing();
        let guard = guard(&origin);
        ban(&guard, &["127.0.0.8", "--for", "1h", "--confirm", "30s"]);
        assert!(text(&guard.command(&["confirm"]).stdout).contains("Confirmed 1 change"));
        let said = ban(&guard, &[CLIENT, "--for", "1h", "--confirm", "3s"]);
        assert!(said.contains("seawall confirm"), "{said}");
        eventually("it is dropped", || is_dropped(CLIENT, guard.address()));
        eventually("it is free again", || connect(CLIENT, guard.address()).is_ok());
        assert!(is_dropped("127.0.0.8", guard.address()));
        // The kernel counts in whole seconds, and so may be a little early.
        eventually("it is undone", || text(&guard.command(&["journal"]).stdout).contains("not confirmed in time"));
        assert_eq!(guard.command(&["confirm"]).status.code(), Some(1));
    });
}

#[test]
fn a_panic_takes_everything_out_at_once_and_lasts_over_a_restart() {
    within(|| {
        let origin = Origin::echoing();
        let mut first = guard(&origin);
        ban(&first, &[CLIENT, "--for", "1h"]);
        // Every other address, so that no two become one network.
        let list: String = (0..10_000_u32)
            .map(|at| format!("198.{}.{}.{}\n", 18 + at / 32_768, at / 128 % 256, at % 128 * 2))
            .collect();
        let path = first.config_path().with_file_name("list.txt");
        fs::write(&path, list).expect("room");
        let imported = first.command(&["bans", "import", path.to_str().expect("a path"), "--anyway"]);
        assert!(imported.status.success(), "{}", text(&imported.stderr));
        eventually("they are dropped", || kernel(&first, "clients").as_u64() >= Some(10_001));
        eventually("it is dropped", || is_dropped(CLIENT, first.address()));
        let clock = seawall::host::clock::Clock::start();
        let said = text(&first.command(&["panic"]).stdout);
        assert!(clock.uptime() < Duration::from_secs(1), "{:?}", clock.uptime());
        assert!(said.contains("Everything is out") && said.contains("10001 bans no longer"), "{said}");
        assert!(connect(CLIENT, first.address()).is_ok());
        assert_eq!(nft(&["list", "ruleset"]), "");
        first.signal(Signal::TERM);
        assert!(first.wait().success());
        let (config, state) = (fs::read_to_string(first.config_path()).expect("a configuration"), first.state_path());
        let second = Guard::start(&config, |directory| {
            assert!(run("cp", &["-a", state.to_str().expect("a path"), directory.to_str().expect("a path")]).0);
        });
        eventually("the panic is shown", || {
            text(&second.command(&["status"]).stdout).contains("nothing is in force since `seawall panic`")
        });
        assert!(connect(CLIENT, second.address()).is_ok());
        assert!(second.command(&["panic", "--over"]).status.success());
        eventually("it is dropped again", || is_dropped(CLIENT, second.address()));
    });
}

#[test]
fn a_panic_without_a_guard_removes_what_one_left() {
    within(|| {
        let origin = Origin::echoing();
        let mut guard = guard(&origin);
        ban(&guard, &[CLIENT]);
        eventually("it is dropped", || is_dropped(CLIENT, guard.address()));
        guard.signal(Signal::KILL);
        guard.wait();
        nft(&["add", "table", "inet", "theirs"]);
        let output = guard.command(&["panic"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(nft(&["list", "tables"]), "table inet theirs\n");
    });
}

#[test]
fn without_the_right_the_proxy_refuses_and_the_guard_says_what_is_missing() {
    within(|| {
        let origin = Origin::echoing();
        let guard = Setup::to(&origin.url()).kernel("").sections(SECTIONS).without_right().start();
        let asked = "AmbientCapabilities=CAP_NET_ADMIN";
        eventually("it says so", || guard.log().contains(asked));
        assert_eq!(guard.log().matches(asked).count(), 1, "{}", guard.log());
        let said = ban(&guard, &[CLIENT, "127.0.8.0/24"]);
        assert!(said.contains("in the proxy.") && !said.contains("kernel"), "{said}");
        for client in [CLIENT, "127.0.8.1"] {
            eventually("its connections are closed unread", || {
                let read = connect(client, guard.address()).and_then(|mut connection| {
                    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
                    connection.read(&mut [0; 9])
                });
                read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
            });
        }
        assert_eq!(guard.command(&["status"]).status.code(), Some(0));
        assert_eq!(nft(&["list", "ruleset"]), "");
    });
}

#[test]
fn the_right_to_change_the_packet_filter_is_all_that_it_needs() {
    within(|| {
        let origin = Origin::echoing();
        let guard = Setup::to(&origin.url()).kernel("").sections(SECTIONS).unprivileged().start();
        let status = fs::read_to_string(format!("/proc/{}/status", guard.pid())).expect("it runs");
        let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        assert_eq!((line("CapEff:"), line("Uid:")), (Some("0000000000001000"), Some("65534\t65534\t65534\t65534")));
        let mut connection = connect(CLIENT, guard.address()).expect("it is free");
        connection.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
        let said = ban(&guard, &[CLIENT, "127.0.8.0/24"]);
        assert!(said.contains("in the proxy and the kernel"), "{said}");
        eventually("it is dropped", || is_dropped(CLIENT, guard.address()) && is_dropped("127.0.8.1", guard.address()));
        assert!(connection.read(&mut [0; 9]).is_err(), "its connection is ended, too");
        nft(&["flush", "ruleset"]);
        eventually("it is repaired", || is_dropped(CLIENT, guard.address()));
        assert_eq!(kernel(&guard, "repairs").as_u64(), Some(1));
        assert_eq!(kernel(&guard, "failures").as_u64(), Some(0), "{}", guard.log());
    });
}

#[test]
fn lists_and_databases_of_others_are_imported_and_exported() {
    within(|| {
        let origin = Origin::echoing();
        let guard = guard(&origin);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("list");
        fs::write(
            &file,
            "create b hash:ip family inet\nadd b 127.0.0.7 timeout 900\nadd b 127.0.0.99\n203.0.113.0/24\nx\n",
        )
        .expect("room");
        let import =
            |more: &[&str]| guard.command(&[&["bans", "import", file.to_str().expect("a path")], more].concat());
        let tried = import(&["--dry-run"]);
        let time = "Would ban 2 networks for 15m, and 24h (--for) the 1 of which the file names no end.";
        assert!(text(&tried.stdout).contains(time), "{tried:?}");
        assert_eq!(text(&guard.command(&["bans", "list"]).stdout), "Nobody is banned.\n");
        let done = import(&["--for", "2h"]);
        assert_eq!(done.status.code(), Some(1));
        assert!(text(&done.stdout).contains("Banned 2 networks"), "{done:?}");
        let said = text(&done.stderr);
        assert!(said.contains(":5: 'x' is no address") && said.contains("127.0.0.99 is not banned"), "{said}");
        eventually("it is dropped", || is_dropped(CLIENT, guard.address()));
        let exported = text(&guard.command(&["bans", "export"]).stdout);
        assert!(
            exported.contains("add seawall4 127.0.0.7 timeout 8") && exported.contains("203.0.113.0/24"),
            "{exported}"
        );
        assert!(text(&guard.command(&["bans", "remove", "--all"]).stdout).contains("Took back 2 bans"));
        fs::write(&file, exported).expect("room");
        assert!(text(&import(&[]).stdout).contains("Banned 2 networks"));
    });
}

#[test]
fn a_country_is_all_its_networks_and_is_taken_back_as_one() {
    within(|| {
        let origin = Origin::echoing();
        let guard = guard(&origin);
        let bans = |arguments: &[&str]| guard.command(&[&["bans"], arguments].concat());
        let tried = bans(&["add", "--country", "LI", "--asn", "AS13335", "--for", "2h", "--dry-run"]);
        assert!(tried.status.success() && text(&tried.stdout).contains("is not known"), "{tried:?}");
        assert!(text(&tried.stdout).contains("for 2h, with --anyway or --confirm."), "{tried:?}");
        for unknown in [&["--country", "LI"][..], &["--asn", "13335"], &["203.0.112.0/22"]] {
            let withheld = bans(&[&["add"], unknown].concat());
            let said = text(&withheld.stderr);
            assert_eq!(withheld.status.code(), Some(1), "{withheld:?}");
            assert!(
                said.contains("is not known") && said.contains("--confirm 60s") && said.contains("--anyway"),
                "{said}"
            );
        }
        assert_eq!(text(&bans(&["list"]).stdout), "Nobody is banned.\n");
        assert!(bans(&["add", "--country", "LI", "--confirm", "30s"]).status.success());
        assert!(bans(&["remove", "--all"]).status.success());
        assert!(bans(&["add", "--country", "LI", "--anyway"]).status.success());
        assert!(bans(&["add", "203.0.113.7"]).status.success());
        let entries = || kernel(&guard, "networks").as_u64().unwrap_or_default();
        eventually("the kernel has it", || entries() > 50);
        eventually("it is written down", || text(&guard.command(&["journal"]).stdout).contains("networks of LI"));
        let removed = bans(&["remove", "--country", "LI"]);
        assert!(text(&removed.stdout).starts_with("Took back "), "{removed:?}");
        eventually("the kernel has let go of it", || entries() == 0);
        assert!(text(&bans(&["list"]).stdout).contains("203.0.113.7"));
        for wrong in [&["--country", "XX"][..], &["--asn", "0"], &["--asn", "x"], &[]] {
            assert_eq!(bans(&[&["add"], wrong].concat()).status.code(), Some(2), "{wrong:?}");
        }
    });
}

#[test]
fn a_rule_of_the_operator_refuses_until_it_is_taken_back_and_outlives_the_guard() {
    let origin = Origin::echoing();
    let mut first = Setup::to(&origin.url()).sections(SECTIONS).start();
    let add = |guard: &Guard, arguments: &[&str]| guard.command(&[&["rules", "add"], arguments].concat());
    let withheld = add(&first, &["path = \"/login\""]);
    assert_eq!(withheld.status.code(), Some(1), "nothing was learned: {withheld:?}");
    let said = text(&withheld.stderr);
    assert!(said.contains("is not known") && said.contains("--confirm 60s") && said.contains("--anyway"), "{said}");
    assert_eq!(first.connect().fetch("/login").status, 200);
    let added = add(&first, &["path = \"/login\"", "--for", "2h", "--reason", "guessing", "--anyway"]);
    assert!(text(&added.stdout).starts_with("R10001 is in force for 2h: path = \"/login\""), "{added:?}");
    assert_eq!(first.connect().fetch("/login").status, 403);
    assert_eq!(first.connect().fetch("/").status, 200);
    assert!(text(&added.stdout).contains("is not known"), "nothing was learned: {added:?}");
    let tried = add(&first, &["path = \"/tried\"", "--dry-run"]);
    assert!(text(&tried.stdout).starts_with("R10002 would be in force for 1h: path = \"/tried\""), "{tried:?}");
    assert!(text(&tried.stdout).contains("with --confirm or with --anyway"), "{tried:?}");
    assert_eq!(first.connect().fetch("/tried").status, 200);
    let explained = text(&first.command(&["rules", "explain", "R10001"]).stdout);
    assert!(explained.contains("an operator said so: guessing"), "{explained}");
    for (rule, expected) in [
        ("path contains \"x\"", "column 1: `path contains \"x\"` cannot be looked up"),
        ("method = GET and nonsense = 1", "column 18: there is no attribute `nonsense`"),
        ("client-prefix = 127.0.0.99/32", "never-ban list"),
    ] {
        let refused = add(&first, &[rule]);
        assert!(!refused.status.success() && text(&refused.stderr).contains(expected), "{refused:?}");
    }
    assert!(add(&first, &["path = \"/brief\"", "--confirm", "1s"]).status.success());
    assert_eq!(first.connect().fetch("/brief").status, 403);
    eventually("what is not confirmed is taken back", || first.connect().fetch("/brief").status == 200);
    first.signal(Signal::TERM);
    assert!(first.wait().success());
    let (config, state) = (fs::read_to_string(first.config_path()).expect("a configuration"), first.state_path());
    let second = Guard::start(&config, |directory| {
        assert!(run("cp", &["-a", state.to_str().expect("a path"), directory.to_str().expect("a path")]).0);
    });
    eventually("the rule is in force again", || second.connect().fetch("/login").status == 403);
    assert!(second.command(&["rules", "remove", "R10001"]).status.success());
    eventually("it is taken back", || second.connect().fetch("/login").status == 200);
    for expected in ["R10001: path = \"/login\"", "was not confirmed in time", "remove-rule"] {
        eventually(expected, || text(&second.command(&["journal"]).stdout).contains(expected));
    }
}

#[test]
fn a_client_that_goes_on_after_refusals_is_dropped_by_the_kernel() {
    within(|| {
        let origin = Origin::echoing();
        let guard = guard(&origin);
        assert!(guard.command(&["rules", "add", "path = \"/unwanted\"", "--anyway"]).status.success());
        let clock = seawall::host::clock::Clock::start();
        let mut tries = 0;
        // On connections of its own each, as a flood comes.
        loop {
            assert!(clock.uptime() < Duration::from_secs(10), "after {tries} tries it is not dropped");
            let mut connection = match connect(CLIENT, guard.address()) {
                Ok(connection) => connection,
                Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => break,
                // One that is closed unread may be so before it is seen to be open.
                Err(_) => continue,
            };
            let request =
                b"GET /unwanted HTTP/1.1\r\nHost: example.org\r\nUser-Agent: flood\r\nConnection: close\r\n\r\n";
            // One that is under way when its client is banned gets no answer any more.
            connection.set_read_timeout(Some(Duration::from_millis(300))).expect("a socket");
            let _ = std::io::Write::write_all(&mut connection, request);
            let _ = connection.read_to_end(&mut Vec::new());
            tries += 1;
        }
        assert!(tries >= 32, "only who goes on: {tries}");
        assert!(is_dropped(CLIENT, guard.address()));
        assert!(connect("127.0.0.8", guard.address()).is_ok());
        // Shown without its address, and free as soon as the rule is taken back.
        let listed = text(&guard.command(&["bans", "list"]).stdout);
        assert!(listed.contains("goes on with what R10001 matches") && !listed.contains(CLIENT), "{listed}");
        assert!(text(&guard.command(&["bans", "list", "--show-addresses"]).stdout).contains(CLIENT));
        eventually("it is in the journal", || {
            let said = "R10001: 1 client more that went on after its refusals is dropped by the kernel";
            text(&guard.command(&["journal"]).stdout).contains(said)
        });
        assert!(guard.command(&["rules", "remove", "R10001"]).status.success());
        eventually("it is free", || connect(CLIENT, guard.address()).is_ok());
    });
}

#[test]
fn behind_a_trusted_proxy_nobody_is_dropped_by_the_kernel() {
    within(|| {
        let origin = Origin::echoing();
        let sections = "[trust]\nproxies = [\"127.0.0.7\"]\n\n[policy]\nnever-ban-loopback = false\n";
        let guard = Setup::to(&origin.url()).kernel("").sections(sections).start();
        assert!(guard.command(&["rules", "add", "path = \"/unwanted\"", "--anyway"]).status.success());
        for _ in 0..80 {
            let mut connection = connect(CLIENT, guard.address()).expect("the proxy is never dropped");
            let request = b"GET /unwanted HTTP/1.1\r\nHost: example.org\r\nUser-Agent: flood\r\nX-Forwarded-For: 203.0.113.5\r\nConnection: close\r\n\r\n";
            std::io::Write::write_all(&mut connection, request).expect("it is read");
            let _ = connection.read_to_end(&mut Vec::new());
        }
        assert_eq!(nft(&["list", "ruleset"]), "");
        // A ban by the operator holds for it all the same, in the proxy.
        ban(&guard, &["203.0.113.6"]);
        let mut connection = connect(CLIENT, guard.address()).expect("the proxy is never dropped");
        let request =
            b"GET / HTTP/1.1\r\nHost: example.org\r\nX-Forwarded-For: 203.0.113.6\r\nConnection: close\r\n\r\n";
        std::io::Write::write_all(&mut connection, request).expect("it is read");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    });
}

#[test]
fn all_addresses_of_an_ipv6_client_are_one() {
    within(|| {
        let origin = Origin::echoing();
        for address in ["fd00:1:2:3::1/64", "fd00:1:2:3::2/64", "fd00:1:2:4::1/64"] {
            assert!(run("ip", &["-6", "address", "add", address, "dev", "lo", "nodad"]).0);
        }
        let listen: SocketAddr = "[fd00:1:2:4::1]:8088".parse().expect("an address");
        let guard = Setup::to(&origin.url()).listen(&[listen]).kernel("").sections(SECTIONS).start();
        assert!(connect("fd00:1:2:3::2", listen).is_ok());
        ban(&guard, &["fd00:1:2:3::1"]);
        eventually("it is dropped", || is_dropped("fd00:1:2:3::1", listen));
        assert!(is_dropped("fd00:1:2:3::2", listen), "an address of its own makes nobody another client");
        assert!(connect("fd00:1:2:4::1", listen).is_ok());
    });
}

#[test]
fn a_flood_that_changes_its_address_within_one_64_is_one_client() {
    within(|| {
        let origin = Origin::echoing();
        let listen: SocketAddr = "[fd00:1:2:4::1]:8088".parse().expect("an address");
        let host = |number: u32| format!("fd00:1:2:3:{:x}:{number:x}::1", number * 7);
        let hosts =
            (0..250).map(host).chain(["fd00:1:2:3:ffff::1", "fd00:1:2:4::1", "fd00:1:2:5::1"].map(str::to_owned));
        let batch: String = hosts.map(|host| format!("address add {host}/64 dev lo nodad\n")).collect();
        let file = tempfile::NamedTempFile::new().expect("room");
        fs::write(file.path(), batch).expect("room");
        let (done, said) = run("ip", &["-6", "-batch", file.path().to_str().expect("a path")]);
        assert!(done, "{said}");
        let guard = Setup::to(&origin.url()).listen(&[listen]).kernel("").sections(SECTIONS).start();
        assert!(guard.command(&["rules", "add", "path = \"/unwanted\"", "--anyway"]).status.success());
        let clock = seawall::host::clock::Clock::start();
        let mut tries = 0;
        loop {
            assert!(clock.uptime() < Duration::from_secs(20), "after {tries} tries it is not dropped");
            tries += 1;
            // Hardly ever twice from the same address.
            let mut connection = match connect(&host(tries % 250), listen) {
                Ok(connection) => connection,
                Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => break,
                Err(_) => continue,
            };
            let request =
                b"GET /unwanted HTTP/1.1\r\nHost: example.org\r\nUser-Agent: flood\r\nConnection: close\r\n\r\n";
            connection.set_read_timeout(Some(Duration::from_millis(300))).expect("a socket");
            let _ = std::io::Write::write_all(&mut connection, request);
            let _ = connection.read_to_end(&mut Vec::new());
        }
        assert!(tries >= 32, "only who goes on: {tries}");
        assert!(is_dropped("fd00:1:2:3:ffff::1", listen), "also an address that was never seen");
        assert!(connect("fd00:1:2:5::1", listen).is_ok());
        assert_eq!(kernel(&guard, "clients").as_u64(), Some(1));
    });
}

#[test]
fn a_table_that_others_have_filled_is_made_anew() {
    within(|| {
        let origin = Origin::echoing();
        // A set that is full refuses one more.
        let guard = Setup::to(&origin.url()).kernel("entries-max = 64").sections(SECTIONS).start();
        ban(&guard, &["127.0.0.60", "--for", "1h"]);
        eventually("it is dropped", || is_dropped("127.0.0.60", guard.address()));
        let others: Vec<String> = (1..=63).map(|host| format!("10.0.0.{host} timeout 1h")).collect();
        nft(&["add", "element", "inet", "seawall", "clients4", &format!("{{ {} }}", others.join(", "))]);
        ban(&guard, &[CLIENT, "--for", "1h"]);
        eventually("it is dropped in the end", || is_dropped(CLIENT, guard.address()));
        assert!(is_dropped("127.0.0.60", guard.address()));
        assert!(!nft(&["list", "set", "inet", "seawall", "clients4"]).contains("10.0.0."));
    });
}
