//! When nft hangs or fails, a table cannot be removed, or what is needed is not there yet: what is in force and what is told.

use std::fs;
use std::time::Duration;

use super::{CLIENT, SECTIONS, ban, guard, kernel};
use crate::support::eventually;
use crate::support::guard::{Guard, Setup, text};
use crate::support::namespace::{connect, is_dropped, nft, within};
use crate::support::origin::Origin;

/// A folder with an nft that does what a file beside it says: it hangs, fails midway in its transaction, or is the real one.
fn unreliable_nft() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    // A transaction that ends with the removal of what is not there is undone as a whole.
    let script = format!(
        "#!/bin/bash\n\
         here={}\n\
         [ -e $here/hangs ] && {{ sleep 1000; exit 1; }}\n\
         [ -e $here/fails ] && {{ sed 's/]}}$/,{{\"delete\":{{\"table\":{{\"family\":\"inet\",\"name\":\"nowhere\"}}}}}}]}}/' | /usr/sbin/nft \"$@\"; exit; }}\n\
         exec /usr/sbin/nft \"$@\"\n",
        folder.path().display()
    );
    let program = folder.path().join("nft");
    fs::write(&program, script).expect("room");
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("our file");
    folder
}

/// Puts one more client on the never-ban list: whom the table never drops is written by the program.
fn spare(guard: &Guard, client: &str) {
    let config = fs::read_to_string(guard.config_path()).expect("a configuration");
    let spared = config.replacen("never-ban = [", &format!("never-ban = [\"{client}\", "), 1);
    assert_ne!(spared, config);
    fs::write(guard.config_path(), spared).expect("written");
    let reloaded = guard.command(&["reload"]);
    assert!(reloaded.status.success(), "{reloaded:?}");
}

#[test]
fn a_panic_does_not_wait_for_an_nft_that_hangs_or_fails() {
    within(|| {
        let (origin, programs) = (Origin::echoing(), unreliable_nft());
        let setup = Setup::to(&origin.url()).kernel("").sections(SECTIONS).programs(programs.path());
        let mut guard = setup.start();
        for (how, spared) in [("hangs", "127.0.60.1"), ("fails", "127.0.61.1")] {
            ban(&guard, &[CLIENT]);
            eventually("it is dropped", || is_dropped(CLIENT, guard.address()));
            fs::write(programs.path().join(how), "").expect("room");
            // Soon the program is waited for.
            spare(&guard, spared);
            std::thread::sleep(Duration::from_millis(500));
            let clock = seawall::host::clock::Clock::start();
            let done = guard.command(&["panic"]);
            assert!(done.status.success(), "{done:?}");
            assert!(clock.uptime() < Duration::from_secs(1), "{how}: {:?}", clock.uptime());
            assert!(connect(CLIENT, guard.address()).is_ok());
            assert!(!nft(&["list", "tables"]).contains("seawall"), "{how}");
            fs::remove_file(programs.path().join(how)).expect("it is there");
            assert!(guard.command(&["panic", "--over"]).status.success());
        }
        eventually("it is dropped again", || is_dropped(CLIENT, guard.address()));
        fs::write(programs.path().join("hangs"), "").expect("room");
        spare(&guard, "127.0.62.1");
        std::thread::sleep(Duration::from_millis(500));
        let stopped = guard.command(&["stop"]);
        assert!(stopped.status.success(), "{stopped:?}");
        assert!(guard.wait().success());
        assert!(!nft(&["list", "tables"]).contains("seawall"));
    });
}

#[test]
fn whoever_bans_somebody_while_the_kernels_table_cannot_be_changed_is_told() {
    within(|| {
        let (origin, programs) = (Origin::echoing(), unreliable_nft());
        let guard = Setup::to(&origin.url()).kernel("").sections(SECTIONS).programs(programs.path()).start();
        fs::write(programs.path().join("fails"), "").expect("room");
        ban(&guard, &["127.0.0.8"]);
        eventually("it has failed", || kernel(&guard, "state") == "failing");
        let said = ban(&guard, &[CLIENT]);
        assert!(said.contains("in the proxy; kernel: not yet, because "), "{said}");
        let answer = guard.command(&["bans", "add", "127.0.0.9", "--json"]).stdout;
        let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
        assert_eq!(answer["layers"], serde_json::json!(["proxy"]));
        assert!(answer["kernel_problem"].is_string(), "{answer}");
        fs::remove_file(programs.path().join("fails")).expect("it is there");
        eventually("it is dropped in the end", || is_dropped(CLIENT, guard.address()));
        assert!(ban(&guard, &["127.0.0.10"]).contains("in the proxy and the kernel."));
    });
}

/// The table inet seawall as another program's alone, which nobody else can remove, until the input ends.
fn foreign_table() -> std::process::Child {
    let mut owner =
        std::process::Command::new("nft").arg("-i").stdin(std::process::Stdio::piped()).spawn().expect("nft");
    let input = owner.stdin.as_mut().expect("a pipe");
    std::io::Write::write_all(input, b"add table inet seawall { flags owner; }\n").expect("it reads");
    eventually("the table is there", || nft(&["list", "tables"]).contains("table inet seawall"));
    owner
}

#[test]
fn what_a_panic_or_the_end_cannot_take_out_is_told_and_tried_again() {
    within(|| {
        let origin = Origin::echoing();
        let mut guard = guard(&origin);
        let mut owner = foreign_table();
        let told = guard.command(&["panic"]);
        assert_eq!(told.status.code(), Some(4), "{told:?}");
        assert!(text(&told.stderr).contains("failed to remove the table inet seawall"), "{told:?}");
        eventually("it is shown", || text(&guard.command(&["status"]).stdout).contains("failed to remove the table"));
        assert_eq!(kernel(&guard, "state"), "failing");
        drop(owner.stdin.take());
        owner.wait().expect("it ends with its input");
        eventually("it is noticed that it is gone", || kernel(&guard, "state") == "panicked");
        let mut owner = foreign_table();
        let stopped = guard.command(&["stop"]);
        assert_eq!(stopped.status.code(), Some(4), "{stopped:?}");
        assert!(text(&stopped.stderr).contains("failed to remove the table inet seawall"), "{stopped:?}");
        assert_eq!(guard.wait().code(), Some(4));
        drop(owner.stdin.take());
        owner.wait().expect("it ends with its input");
    });
}

#[test]
fn a_table_of_before_that_the_next_guard_cannot_use_is_removed_or_told() {
    within(|| {
        let origin = Origin::echoing();
        let setup = |kernel: &str| Setup::to(&origin.url()).kernel(kernel).sections(SECTIONS);
        let mut first = setup("").start();
        let kill = |guard: &mut Guard| {
            ban(guard, &[CLIENT, "--for", "1h"]);
            eventually("it is in the kernel", || nft(&["list", "ruleset"]).contains(CLIENT));
            guard.signal(rustix::process::Signal::KILL);
            guard.wait();
        };
        kill(&mut first);
        let second = setup("use = \"never\"").start_after(&first);
        eventually("it is gone", || !nft(&["list", "tables"]).contains("seawall"));
        ban(&second, &[CLIENT]);
        assert!(second.command(&["bans", "remove", CLIENT]).status.success(), "nothing remains of it");

        let mut third = setup("").start();
        kill(&mut third);
        let fourth = setup("").without_right().start_after(&third);
        for (arguments, told) in [
            (&["bans", "remove", CLIENT][..], "out of the guard, but the table inet seawall"),
            (&["panic"], "nft delete table inet"),
        ] {
            let output = fourth.command(arguments);
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(4), "{said}");
            assert!(said.contains(told) && said.contains("may still drop") && said.contains("CAP_NET_ADMIN"), "{said}");
        }
    });
}

#[test]
fn a_panic_without_a_guard_finds_a_table_of_another_name() {
    within(|| {
        let origin = Origin::echoing();
        let mut guard = Setup::to(&origin.url()).kernel("table = \"gate\"").sections(SECTIONS).start();
        ban(&guard, &[CLIENT]);
        eventually("it is dropped", || is_dropped(CLIENT, guard.address()));
        guard.signal(rustix::process::Signal::KILL);
        guard.wait();
        nft(&["add", "table", "inet", "theirs"]);
        // What another user notes is not followed, but named.
        let note = guard.state_path().join("kernel-table");
        std::os::unix::fs::chown(&note, Some(65_534), None).expect("root makes the namespace");
        let output = guard.command(&["panic"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output.stderr).contains("seawall panic --table gate"), "{output:?}");
        std::os::unix::fs::chown(&note, Some(0), None).expect("root makes the namespace");
        let output = guard.command(&["panic"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(nft(&["list", "tables"]), "table inet theirs\n");
        assert!(!note.exists());
    });
}

#[test]
fn a_panic_that_does_not_find_the_guard_leaves_its_table_and_says_so() {
    within(|| {
        let origin = Origin::echoing();
        let (guard, nobodys) = (guard(&origin), tempfile::tempdir().expect("a folder"));
        ban(&guard, &[CLIENT]);
        eventually("it is dropped", || is_dropped(CLIENT, guard.address()));
        // What a killed guard has left goes.
        nft(&["add", "table", "inet", "seawall-2"]);
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_seawall"))
            .args(["panic", "--state"])
            .arg(nobodys.path())
            .output()
            .expect("seawall can be started");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let (said, told) = (text(&output.stderr), text(&output.stdout));
        let state = guard.state_path();
        assert!(
            said.contains("inet seawall is of a guard that runs") && said.contains(&*state.to_string_lossy()),
            "{said}"
        );
        assert!(told.contains("removed inet seawall-2"), "{told}");
        assert!(is_dropped(CLIENT, guard.address()));
        assert_eq!(nft(&["list", "tables"]), "table inet seawall\n");
    });
}

#[test]
fn what_the_kernel_layer_lacks_at_the_start_may_come_later() {
    within(|| {
        let origin = Origin::echoing();
        // As if sixteen other guards had every table.
        let namespace = std::os::unix::fs::MetadataExt::ino(&fs::metadata("/proc/thread-self/ns/net").expect("Linux"));
        fs::create_dir_all("/run/seawall").expect("root makes the namespace");
        let claims: Vec<fs::File> = (1..=16)
            .map(|number| {
                let table = if number == 1 { "seawall".to_owned() } else { format!("seawall-{number}") };
                let path = format!("/run/seawall/table-{namespace}-{table}.lock");
                let claim = fs::File::create(path).expect("root makes the namespace");
                claim.try_lock().expect("a new namespace");
                claim
            })
            .collect();
        let guard = guard(&origin);
        let said = ban(&guard, &[CLIENT]);
        assert!(said.contains("in the proxy.") && !said.contains("kernel"), "{said}");
        assert_eq!(kernel(&guard, "state"), "off");
        drop(claims);
        std::thread::sleep(Duration::from_secs(5));
        eventually("it is dropped once there is a table for it", || is_dropped(CLIENT, guard.address()));
        assert_eq!(guard.log().matches("failed to claim the table").count(), 1, "{}", guard.log());
        assert!(guard.log().contains("what the kernel layer needs is there now"), "{}", guard.log());
    });
}

/// The program would read a hundred thousand elements to tell of two counters.
#[test]
fn what_is_dropped_is_counted_without_a_program() {
    within(|| {
        let (origin, programs) = (Origin::echoing(), unreliable_nft());
        let guard = Setup::to(&origin.url()).kernel("").sections(SECTIONS).programs(programs.path()).start();
        ban(&guard, &[CLIENT]);
        eventually("it is dropped", || is_dropped(CLIENT, guard.address()));
        fs::write(programs.path().join("hangs"), "").expect("room");
        let packets = || kernel(&guard, "dropped")["packets"].as_u64().unwrap_or_default();
        let before = packets();
        assert!(is_dropped(CLIENT, guard.address()));
        eventually("it is counted", || packets() > before);
    });
}

#[test]
fn a_transaction_that_fails_midway_changes_nothing_and_is_tried_again() {
    within(|| {
        let (origin, programs) = (Origin::echoing(), unreliable_nft());
        let guard = Setup::to(&origin.url()).kernel("").sections(SECTIONS).programs(programs.path()).start();
        ban(&guard, &["127.0.60.0/24", "--for", "1h"]);
        eventually("it is dropped", || is_dropped("127.0.60.1", guard.address()));
        fs::write(programs.path().join("fails"), "").expect("room");
        spare(&guard, "127.0.60.7");
        eventually("it fails", || kernel(&guard, "failures").as_u64().is_some_and(|failures| failures >= 1));
        assert!(is_dropped("127.0.60.1", guard.address()), "what was there stays");
        assert!(!nft(&["list", "ruleset"]).contains("127.0.60.7"), "and nothing of it is done");
        fs::remove_file(programs.path().join("fails")).expect("it is there");
        eventually("it is spared in the end", || !is_dropped("127.0.60.7", guard.address()));
        // The table is made anew first, and whom it drops is put in right after.
        eventually("the others are dropped", || is_dropped("127.0.60.1", guard.address()));
    });
}
