//! Packet filters with an exported file in them, each in a network namespace of its own.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use super::program::{export, find};
use crate::support::namespace::{connect, is_dropped, nft, run, within};
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

#[test]
fn ipset_holds_who_is_banned_and_nobody_else() {
    if find("ipset").is_none() {
        return skip("ipset is not installed (Debian's package ipset)");
    }
    within(|| {
        let (has_ipset, said) = run("ipset", &["list", "-name"]);
        if !has_ipset {
            return skip(&format!("ipset cannot be used here: {said}"));
        }
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
