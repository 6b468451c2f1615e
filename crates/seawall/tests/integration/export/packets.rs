//! Packet filters with an exported file in them, each in a network namespace of its own.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use super::program::{export, find};
use crate::support::guard::{Setup, text};
use crate::support::namespace::{connect, is_dropped, nft, run, within};
use crate::support::origin::Origin;
use crate::support::skip;

/// Bans that overlap, the inner of one lasting longer, and one without end.
const BANS: &str = "add x 127.0.3.0/24 timeout 3000\nadd x 127.0.4.7\nadd x 127.0.6.0/24 timeout 300\nadd x 127.0.6.7 timeout 9000\n\
                    add x 127.0.6.8 timeout 100\nadd x 2001:db8:1:2::7 timeout 77\n";
const NEVER: &str = "127.0.3.9\n127.0.5.0/24\n";

/// The file of a system in a folder, as a path.
fn written(folder: &Path, system: &str, port: u16) -> String {
    for (name, content) in
        [("bans.txt", BANS), ("never.txt", NEVER), ("rules.txt", "client = 127.0.7.0/24\npath = /x\n")]
    {
        fs::write(folder.join(name), content).expect("room for a file");
    }
    let port = port.to_string();
    let options = ["--rules", "rules.txt", "--bans", "bans.txt", "--never", "never.txt", "--port", &port];
    let output = export(folder, &[&[system], &options[..]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), said.contains("with the reasons: line-2")), (Some(0), true), "{said}");
    let path = folder.join(system);
    fs::write(&path, output.stdout).expect("room for a file");
    path.to_str().expect("a path of text").to_owned()
}

#[test]
fn nft_drops_who_is_banned_and_nobody_else() {
    within(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let [guarded, other] = listeners.each_ref().map(|listener| listener.local_addr().expect("an address"));
        let file = written(folder.path(), "nftables", guarded.port());
        nft(&["add", "table", "inet", "seawall"]);
        nft(&["-c", "-f", &file]);
        assert!(!nft(&["list", "tables"]).contains("seawall_export"), "a check changes nothing");
        // The second time it takes the place of the first.
        for _ in 0..2 {
            nft(&["-f", &file]);
        }
        for (client, dropped) in [
            ("127.0.3.1", true),
            ("127.0.3.9", false),
            ("127.0.4.7", true),
            ("127.0.4.8", false),
            ("127.0.5.1", false),
            ("127.0.6.7", true),
            ("127.0.6.8", true),
            ("127.0.6.200", true),
            ("127.0.7.1", true),
        ] {
            assert_eq!(is_dropped(client, guarded), dropped, "{client}");
            assert!(connect(client, other).is_ok(), "{client}: the other port is open to everybody");
        }
        let listed = nft(&["list", "set", "inet", "seawall_export", "banned4"]);
        for expected in ["127.0.6.7 timeout 2h30m", "127.0.3.0/24 timeout 50m", "127.0.6.8/29 timeout 5m"] {
            assert!(listed.contains(expected), "{expected}: {listed}");
        }
        assert!(!listed.contains("127.0.6.8 timeout"), "a longer ban holds it: {listed}");
        let listed = nft(&["list", "set", "inet", "seawall_export", "banned6"]);
        assert!(listed.contains("2001:db8:1:2::/64 timeout 1m"), "{listed}");
        assert!(nft(&["list", "tables"]).contains("table inet seawall\n"), "the guard's table stays");
    });
}

/// Runs `test` in a network namespace of its own where ipset can be used.
fn within_with_ipset(test: impl FnOnce() + Send + 'static) {
    if find("ipset", "ipset").is_none() {
        return;
    }
    within(|| match run("ipset", &["list", "-name"]) {
        (true, _) => test(),
        (false, said) => skip(&format!("ipset cannot be used here: {said}")),
    });
}

#[test]
fn ipset_takes_the_bans_of_a_guard_however_long_they_last() {
    within_with_ipset(|| {
        let origin = Origin::echoing();
        let guard = Setup::to(&origin.url()).start();
        for (whom, time) in [("203.0.113.7", "365d"), ("2001:db8:1:2::3", "40d"), ("198.51.100.0/24", "60s")] {
            let output = guard.command(&["bans", "add", whom, "--for", time]);
            assert!(output.status.success(), "{output:?}");
        }
        let exported = guard.command(&["bans", "export"]);
        let said = text(&exported.stdout);
        assert!(said.contains("\n# 2 of them last longer than the 2147483 s that a set can hold somebody\n"), "{said}");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bans");
        fs::write(&file, &exported.stdout).expect("room for a file");
        let (restored, said) = run("ipset", &["restore", "-file", file.to_str().expect("a path of text")]);
        assert!(restored, "{said}");
        assert!(run("ipset", &["test", "seawall4", "203.0.113.7"]).0);
        assert!(run("ipset", &["test", "seawall6", "2001:db8:1:2::9"]).0);
        // What `ipset save` makes of it is read again.
        let (_, saved) = run("ipset", &["save"]);
        fs::write(&file, saved).expect("room for a file");
        assert!(guard.command(&["bans", "remove", "--all"]).status.success());
        let output = guard.command(&["bans", "import", file.to_str().expect("a path of text")]);
        assert!(output.status.success() && text(&output.stdout).contains("Banned 3 networks"), "{output:?}");
    });
}

#[test]
fn whom_a_set_exempts_is_not_imported() {
    within_with_ipset(|| {
        let restore = |text: &str| {
            let folder = tempfile::tempdir().expect("a folder");
            let file = folder.path().join("sets");
            fs::write(&file, text).expect("room for a file");
            let (restored, said) = run("ipset", &["restore", "-file", file.to_str().expect("a path of text")]);
            assert!(restored, "{said}");
        };
        restore(
            "create nets hash:net comment timeout 0\nadd nets 203.0.113.0/24 timeout 900 comment \"nomatch\"\n\
             add nets 203.0.113.9 timeout 0 nomatch comment \"ours\"\ncreate wide hash:ip netmask 24\nadd wide 198.51.100.7\n\
             create allow hash:ip\nadd allow 192.0.2.1\n",
        );
        let (_, saved) = run("ipset", &["save"]);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("saved");
        fs::write(&file, &saved).expect("room for a file");
        let origin = Origin::echoing();
        let guard = Setup::to(&origin.url()).start();
        let import = |sets: &[&str]| {
            let path = file.to_str().expect("a path of text");
            guard.command(&[&["bans", "import", path, "--anyway"], sets].concat())
        };
        let output = import(&[]);
        let said = text(&output.stderr);
        assert!(
            said.contains("several sets, allow, nets, wide,") && said.contains("; name those with --set NAME"),
            "{said}"
        );
        assert_eq!(output.status.code(), Some(3));
        let output = import(&["--set", "nets", "--set", "wide"]);
        let said = text(&output.stdout);
        assert!(
            said.contains("1 exception (nomatch) left out") && said.contains("Banned 9 networks"),
            "{said} {saved}"
        );
        let banned = text(&guard.command(&["bans", "list", "--show-addresses"]).stdout);
        for (network, is_banned) in
            [("203.0.113.128/25", true), ("203.0.113.9", false), ("198.51.100.0/24", true), ("192.0.2.1", false)]
        {
            assert_eq!(banned.contains(&format!("{network} ")), is_banned, "{network}: {banned}");
        }
    });
}

#[test]
fn ipset_holds_who_is_banned_and_nobody_else() {
    within_with_ipset(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let file = written(folder.path(), "ipset", 80);
        for _ in 0..2 {
            let (restored, said) = run("ipset", &["-exist", "restore", "-file", &file]);
            assert!(restored, "{said}");
        }
        for (set, client, is_in) in [
            ("seawall4", "127.0.3.1", true),
            ("seawall4", "127.0.3.9", false),
            ("seawall4", "127.0.4.7", true),
            ("seawall4", "127.0.4.8", false),
            ("seawall4", "127.0.6.7", true),
            ("seawall4", "127.0.7.1", true),
            ("seawall6", "2001:db8:1:2:3::4", true),
            ("seawall6", "2001:db8:1:3::4", false),
        ] {
            assert_eq!(run("ipset", &["test", set, client]).0, is_in, "{client}");
        }
        let (_, names) = run("ipset", &["list", "-name"]);
        assert_eq!(names, "seawall4\nseawall6\n");
    });
}
