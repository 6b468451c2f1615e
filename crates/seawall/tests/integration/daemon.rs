//! The running guard as its operator meets it: starting, looking, reloading, stopping.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use rustix::process::Signal;
use seawall::host::clock::Clock;

use crate::support::client::Client;
use crate::support::guard::{Guard, Setup, text};
use crate::support::origin::Origin;
use crate::support::{eventually, free_address};

/// Runs a `seawall serve` that should not start: its exit code and what it says.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_seawall"))
        .arg("serve")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("seawall can be started");
    let clock = Clock::start();
    while process.try_wait().expect("a process of ours").is_none() {
        if clock.uptime() > Duration::from_secs(5) {
            process.kill().expect("a process of ours");
            panic!("{arguments:?} was not refused");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = process.wait_with_output().expect("its output");
    (output.status.code(), text(&output.stderr))
}

fn string(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

#[test]
fn what_keeps_a_guard_from_starting_is_named_in_one_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let free = free_address();
    let occupied = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let occupied = (occupied.local_addr().expect("its address").to_string(), occupied);
    fs::write(path("file"), "").expect("a file");
    let site = "[[site]]\nhosts = [\"a\"]\nupstream = \"http://127.0.0.1:1\"\n";
    fs::write(
        path("admin.toml"),
        format!("listen = \"{free}\"\nadmin = \"{}\"\nstate-directory = \"s\"\n{site}", occupied.0),
    )
    .expect("a configuration");
    let (state, file, missing) = (path("state"), path("file"), path("missing.toml"));
    let admin = path("admin.toml");
    let to = ["--to", "http://127.0.0.1:1", "--host", "example.org"];
    let with = |more: &[&'static str]| [&to[..], more].concat();
    let listen = ["--listen", &occupied.0, "--state", string(&state)];
    for (arguments, code, named) in [
        ([&to[..], &listen].concat(), 4, occupied.0.as_str()),
        (vec!["--config", string(&admin)], 4, occupied.0.as_str()),
        (vec!["--config", string(&missing)], 4, string(&missing)),
        (vec!["--config", string(directory.path())], 4, string(directory.path())),
        ([&to[..], &["--listen", "192.0.2.1:8080", "--state", string(&state)]].concat(), 4, "192.0.2.1:8080"),
        (with(&["--listen", "127.0.0.1:0", "--state", "/proc/nothing/here"]), 4, "/proc/nothing/here"),
        ([&to[..], &["--listen", "127.0.0.1:0", "--state", string(&file)]].concat(), 4, string(&file)),
        (vec!["--to", "ftp://127.0.0.1/", "--host", "a"], 2, "ftp://127.0.0.1/"),
        (vec!["--to", "127.0.0.1:3000", "--host", "a"], 2, "127.0.0.1:3000"),
        (vec!["--to", "http://127.0.0.1:1", "--host", "a/b"], 2, "a/b"),
        (with(&["--listen", "nowhere"]), 2, "nowhere"),
    ] {
        let (found, said) = refused(&arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(named), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
        assert!(said.starts_with("seawall: "), "{arguments:?}: {said}");
    }
}

#[test]
fn every_problem_of_a_configuration_is_shown_and_nothing_starts() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("seawall.toml");
    fs::write(&path, "listen = \"nowhere\"\n[[site]]\nhosts = [\"a\"]\nupstream = \"gopher://x\"\n").expect("a file");
    let (code, said) = refused(&["--config", string(&path)]);
    assert_eq!(code, Some(3), "{said}");
    for place in [":1:10: ", ":4:12: "] {
        assert!(said.contains(&format!("{}{place}", path.display())), "{said}");
    }
}

#[test]
fn a_state_directory_serves_one_guard_at_a_time() {
    let origin = Origin::echoing();
    let mut guard = Setup::to(&origin.url()).start();
    let state = guard.state_path();
    let arguments = ["--to", "http://127.0.0.1:1", "--host", "a", "--listen", "127.0.0.1:0", "--state", string(&state)];
    let (code, said) = refused(&arguments);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains(string(&state)) && said.lines().count() == 1, "{said}");
    // The first is none the worse for it.
    assert_eq!(guard.connect().fetch("/").status, 200);
    assert!(guard.command(&["stop"]).status.success());
    assert!(guard.wait().success());
}

#[test]
fn the_control_socket_is_its_owners_alone_and_replaces_a_dead_one() {
    let origin = Origin::echoing();
    let guard = Guard::start(&Setup::to(&origin.url()).text(), |directory| {
        let state = directory.join("state");
        fs::DirBuilder::new().mode(0o755).create(&state).expect("a directory");
        drop(UnixListener::bind(state.join("control.sock")).expect("a socket"));
        assert!(state.join("control.sock").exists());
    });
    let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o777;
    assert_eq!(mode(&guard.state_path()), 0o700);
    assert_eq!(mode(&guard.state_path().join("control.sock")), 0o600);
    assert!(guard.command(&["status"]).status.success());
}

#[test]
fn a_running_guard_tells_how_it_is() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).start();
    let mut client = guard.connect();
    assert_eq!(client.fetch("/").status, 200);
    client.send("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_eq!(client.answer().status, 421);
    eventually("both are counted", || (guard.count("served"), guard.count("misdirected")) == (1, 1));
    let status = guard.status();
    assert_eq!(status["pid"].as_u64(), Some(u64::from(guard.pid())));
    assert_eq!(status["calm"].as_bool(), Some(true));
    assert_eq!(status["sensors"][0]["address"].as_str(), Some(guard.address().to_string().as_str()));
    let screen = text(&guard.command(&["status"]).stdout);
    assert!(screen.contains("learning") && screen.contains(&guard.address().to_string()), "{screen}");
    assert!(screen.lines().count() <= 24, "{screen}");
    assert_eq!(text(&guard.command(&["rules", "list"]).stdout), "There are no rules.\n");
    assert_eq!(text(&guard.command(&["rules", "list", "--json"]).stdout), "[]\n");
    let removed = guard.command(&["rules", "remove", "R7"]);
    assert!(!removed.status.success() && text(&removed.stderr).contains("R7"));
}

#[test]
fn without_a_guard_commands_say_so() {
    let directory = tempfile::tempdir().expect("a directory");
    for arguments in [&["status"][..], &["status", "--json"], &["rules", "list"], &["reload"], &["stop"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
        let output =
            command.args(arguments).arg("--state").arg(directory.path()).output().expect("seawall can be started");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{said}");
        assert!(said.contains(string(directory.path())) && said.lines().count() == 1, "{said}");
    }
}

/// A site that answers `/slow` when it is told to.
fn slow_site() -> (Origin, mpsc::Sender<()>) {
    let (go, gone) = mpsc::channel();
    let gone = Mutex::new(gone);
    let origin = Origin::start(move |mut visit| {
        while let Ok(Some(request)) = visit.request() {
            if request.target != "/slow" {
                visit.answer(&request.target);
                continue;
            }
            visit.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
            let _ = gone.lock().expect("one at a time").recv();
            visit.send("world");
        }
    });
    (origin, go)
}

fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err()
}

#[test]
fn a_reload_drops_nobody() {
    let (origin, go) = slow_site();
    let other = Origin::echoing();
    let (kept, removed, added) = (free_address(), free_address(), free_address());
    let guard = Setup::to(&origin.url()).listen(&[kept, removed]).start();
    let mut idle = Client::connect(removed);
    assert_eq!(idle.fetch("/before").text(), "/before");
    let mut under_way = Client::connect(removed);
    under_way.get("/slow");
    under_way.expect_bytes(b"hello");

    fs::write(guard.config_path(), Setup::to(&other.url()).listen(&[kept, added]).text()).expect("a configuration");
    let output = guard.command(&["reload"]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(said.contains(&kept.to_string()) && said.contains(&added.to_string()), "{said}");
    assert!(!said.contains(&removed.to_string()) && !said.contains("restart"), "{said}");

    // The new configuration counts at once, on connections of before too.
    assert_eq!(Client::connect(added).fetch("/added").text(), "GET /added 0");
    assert_eq!(Client::connect(kept).fetch("/kept").text(), "GET /kept 0");
    assert_eq!(idle.fetch("/after").text(), "GET /after 0");
    eventually("nobody listens there any more", || is_refused(removed));
    go.send(()).expect("the site waits");
    assert_eq!(under_way.answer().text(), "helloworld");
    assert_eq!(under_way.fetch("/after").text(), "GET /after 0");
    eventually("the status shows where it listens", || {
        let status = guard.status();
        let sensors = status["sensors"].as_array().expect("sensors").clone();
        sensors.iter().filter_map(|sensor| sensor["address"].as_str()).eq([kept.to_string(), added.to_string()])
    });
}

#[test]
fn a_configuration_that_is_not_confirmed_gives_way_to_the_one_of_before() {
    let (first, second) = (Origin::echoing(), Origin::echoing());
    let (kept, removed, added) = (free_address(), free_address(), free_address());
    let before = Setup::to(&first.url()).listen(&[kept, removed]).limits("connections-max = 66");
    let after = Setup::to(&second.url()).listen(&[kept, added]).limits("connections-max = 77");
    let guard = before.start();
    let connections_max = || guard.status()["limits"]["connections_max"].as_u64();
    let reload = |confirm: &[&str]| {
        fs::write(guard.config_path(), after.text()).expect("a configuration");
        let output = guard.command(&[&["reload"], confirm].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        eventually("it is in force", || connections_max() == Some(77));
        text(&output.stdout)
    };
    let said = reload(&["--confirm", "1s"]);
    assert!(said.contains("Say `seawall confirm` within 1s, or the configuration of before comes back."), "{said}");
    // A signal, of whoever rotates logs, say, confirms nothing.
    guard.signal(Signal::HUP);
    let journal = || text(&guard.command(&["journal"]).stdout);
    eventually("that of before is back", || connections_max() == Some(66));
    assert_eq!(Client::connect(removed).fetch("/").status, 200);
    eventually("nobody listens there any more", || is_refused(added));
    assert!(second.connections() == 0, "its site was never asked");
    eventually("it is in the journal", || journal().contains("the configuration was not confirmed in time: "));
    let journal = journal();
    let told = journal.lines().filter(|line| line.contains("limits.connections_max: "));
    let told =
        told.map(|line| (line.contains("operator"), line.contains("to be confirmed"), line.contains("66 -> 77")));
    assert_eq!(told.collect::<Vec<_>>(), [(true, true, true), (false, false, false)], "{journal}");
    assert!(journal.contains("signal    reload          nothing has changed"), "{journal}");
    assert!(!guard.command(&["confirm"]).status.success(), "nothing waits any more");

    // Confirmed, and with a later word that needs no confirmation, it stays.
    for word in ["confirm", "reload"] {
        fs::write(guard.config_path(), before.text()).expect("a configuration");
        assert!(guard.command(&["reload"]).status.success());
        reload(&["--confirm", "1s"]);
        assert!(guard.command(&[word]).status.success());
        std::thread::sleep(Duration::from_millis(1_300));
        assert_eq!(connections_max(), Some(77), "{word}");
    }
}

#[test]
fn a_panic_that_cannot_be_kept_over_a_restart_says_so() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).start();
    let mark = guard.state_path().join("panic");
    let shown = || text(&guard.command(&["status"]).stdout);
    // Who is root writes into every directory, and nobody through a link that leads nowhere.
    std::os::unix::fs::symlink("nowhere/at/all", &mark).expect("room");
    let panicked = guard.command(&["panic"]);
    let (done, said) = (text(&panicked.stdout), text(&panicked.stderr));
    assert_eq!(panicked.status.code(), Some(4), "{panicked:?}");
    assert!(done.contains("Everything is out") && !done.contains("It stays so"), "{done}");
    assert!(said.contains("it is done, but a restart ends the panic: its mark"), "{said}");
    assert!(shown().contains("ALARM       a restart ends the panic"), "{}", shown());
    fs::remove_file(&mark).expect("it is there");
    let panicked = text(&guard.command(&["panic"]).stdout);
    assert!(panicked.contains("It stays so until `seawall panic --over`"), "{panicked}");
    assert!(mark.exists() && !shown().contains("a restart"), "{}", shown());
    fs::remove_file(&mark).expect("it is there");
    fs::create_dir(&mark).expect("room");
    let over = guard.command(&["panic", "--over"]);
    assert_eq!(over.status.code(), Some(4), "{over:?}");
    assert!(text(&over.stdout).contains("in force again"), "{over:?}");
    assert!(text(&over.stderr).contains("but a restart takes everything out again: its mark"), "{over:?}");
    assert!(shown().contains("ALARM       a restart takes everything out again"), "{}", shown());
}

#[test]
fn whoever_looks_right_after_a_panic_sees_nothing_in_force() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).start();
    assert!(guard.command(&["rules", "add", "path = \"/x\"", "--anyway"]).status.success());
    eventually("it is in force", || guard.status()["detection"]["rules"][0]["stage"] == "enforced");
    for _ in 0..5 {
        for (arguments, is_panicked) in [(&["panic"][..], true), (&["panic", "--over"], false)] {
            assert!(guard.command(arguments).status.success());
            let status = guard.status();
            let stage = if is_panicked { "proposed" } else { "enforced" };
            assert_eq!(status["detection"]["rules"][0]["stage"], stage, "{arguments:?}");
            assert_eq!(status["enforcement"]["panicked"], is_panicked, "{arguments:?}");
        }
    }
    assert!(guard.command(&["panic"]).status.success());
    let shown = text(&guard.command(&["status"]).stdout);
    assert!(
        shown.contains("R10001 proposed") && shown.contains("nothing is in force since `seawall panic`"),
        "{shown}"
    );
}

#[test]
fn a_bad_configuration_is_refused_whole() {
    let origin = Origin::echoing();
    let (kept, never) = (free_address(), free_address());
    let guard = Setup::to(&origin.url()).listen(&[kept]).start();
    let bad = "[[site]]\nhosts = [\"other.example\"]\nupstream = \"gopher://x\"\nbogus = 1\n";
    fs::write(guard.config_path(), format!("listen = [\"{never}\"]\nworkers = 0\n{bad}")).expect("a configuration");
    let output = guard.command(&["reload"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    for place in ["seawall.toml:2:11: ", "seawall.toml:5:12: ", "seawall.toml:6:1: "] {
        assert!(said.contains(place), "{said}");
    }
    guard.signal(Signal::HUP);
    eventually("the log says so", || guard.log().contains("seawall.toml:6:1: "));
    assert_eq!(Client::connect(kept).fetch("/").status, 200);
    assert!(is_refused(never));
    // Neither is one that cannot be carried out.
    let occupied = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = occupied.local_addr().expect("its address");
    fs::write(guard.config_path(), Setup::to("http://127.0.0.1:1").listen(&[never, address]).text())
        .expect("a configuration");
    let output = guard.command(&["reload"]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains(&address.to_string()), "{}", text(&output.stderr));
    assert_eq!(Client::connect(kept).fetch("/").status, 200);
    assert!(is_refused(never));
    fs::remove_file(guard.config_path()).expect("it was there");
    assert!(text(&guard.command(&["reload"]).stderr).contains("seawall.toml"));
    assert_eq!(Client::connect(kept).fetch("/").status, 200);
}

#[test]
fn a_signal_reloads_too_and_changes_what_can_be_changed() {
    let (first, second) = (Origin::echoing(), Origin::echoing());
    let guard = Setup::to(&first.url()).start();
    let mut client = guard.connect();
    assert_eq!(client.fetch("/").status, 200);
    let changed = Setup::to(&second.url()).limits("connections-max = 77").text();
    fs::write(guard.config_path(), changed.replace("workers = 1", "workers = 2")).expect("a configuration");
    guard.signal(Signal::HUP);
    eventually("the new limit holds", || guard.status()["limits"]["connections_max"].as_u64() == Some(77));
    assert_eq!(client.fetch("/").status, 200);
    assert_eq!(second.connections(), 1);
    fs::write(guard.config_path(), changed).expect("a configuration");
    let output = guard.command(&["reload"]);
    let said = text(&output.stdout);
    assert!(said.contains("restart: workers."), "{said}");
}

#[test]
fn a_state_directory_given_as_an_option_does_not_look_changed() {
    let origin = Origin::echoing();
    let guard = Guard::start_elsewhere(&Setup::to(&origin.url()).text());
    let output = guard.command(&["reload"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains("restart"), "{}", text(&output.stdout));
}

#[test]
fn a_guard_without_a_file_says_that_there_is_nothing_to_read_again() {
    let origin = Origin::echoing();
    let guard = Guard::start_without_file(&origin.url());
    assert_eq!(guard.connect().fetch("/").status, 200);
    let output = guard.command(&["reload"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(text(&output.stderr).lines().count(), 1);
    assert_eq!(guard.connect().fetch("/").status, 200);
}

#[test]
fn a_stop_lets_what_is_under_way_finish() {
    for way in ["stop", "SIGTERM", "SIGINT"] {
        let (origin, go) = slow_site();
        let mut guard = Setup::to(&origin.url()).start();
        let mut stop = None;
        let mut idle = guard.connect();
        assert_eq!(idle.fetch("/").status, 200);
        let mut unused = guard.connect();
        let mut under_way = guard.connect();
        under_way.get("/slow");
        under_way.expect_bytes(b"hello");
        match way {
            "stop" => stop = Some(guard.begin(&["stop"])),
            "SIGTERM" => guard.signal(Signal::TERM),
            _ => guard.signal(Signal::INT),
        }
        eventually("nobody new is taken", || is_refused(guard.address()));
        idle.expect_close();
        unused.expect_close();
        assert_eq!(guard.ended(), None, "{way}");
        assert!(stop.as_mut().is_none_or(|stop| stop.try_wait().expect("it runs").is_none()));
        go.send(()).expect("the site waits");
        assert_eq!(under_way.answer().text(), "helloworld", "{way}");
        under_way.expect_close();
        assert!(guard.wait().success(), "{way}");
        // The command returns when the guard has stopped, and not before.
        assert!(stop.is_none_or(|mut stop| stop.wait().expect("it ends").success()));
    }
}

#[test]
fn a_stop_ends_within_its_bound() {
    let (origin, _go) = slow_site();
    let mut guard = Setup::to(&origin.url()).limits("drain-time-max = \"400ms\"").start();
    let mut under_way = guard.connect();
    under_way.get("/slow");
    under_way.expect_bytes(b"hello");
    let clock = Clock::start();
    guard.signal(Signal::TERM);
    assert!(guard.wait().success());
    assert!((Duration::from_millis(350)..Duration::from_secs(2)).contains(&clock.uptime()), "{:?}", clock.uptime());
    assert!(under_way.try_answer(false).is_err());
}

#[test]
fn a_second_signal_cuts_off_whoever_is_under_way() {
    let (origin, _go) = slow_site();
    let mut guard = Setup::to(&origin.url()).limits("drain-time-max = \"1m\"").start();
    let mut under_way = guard.connect();
    under_way.get("/slow");
    under_way.expect_bytes(b"hello");
    guard.signal(Signal::TERM);
    eventually("nobody new is taken", || is_refused(guard.address()));
    assert_eq!(guard.ended(), None);
    guard.signal(Signal::INT);
    assert!(guard.wait().success());
    assert!(under_way.try_answer(false).is_err());
}

#[test]
fn a_draining_guard_still_tells_how_it_is() {
    let (origin, go) = slow_site();
    let mut guard = Setup::to(&origin.url()).start();
    let mut under_way = guard.connect();
    under_way.get("/slow");
    under_way.expect_bytes(b"hello");
    guard.signal(Signal::TERM);
    eventually("nobody new is taken", || is_refused(guard.address()));
    eventually("the one under way is seen", || guard.count("connections") == 1);
    go.send(()).expect("the site waits");
    assert_eq!(under_way.answer().text(), "helloworld");
    assert!(guard.wait().success());
}

#[test]
fn what_was_learnt_is_kept_over_a_restart() {
    let origin = Origin::echoing();
    let mut guard = Setup::to(&origin.url()).start();
    assert_eq!(guard.connect().fetch("/").status, 200);
    guard.signal(Signal::TERM);
    assert!(guard.wait().success());
    let baseline = guard.state_path().join("baseline");
    assert!(fs::metadata(&baseline).expect("it is there").len() > 0);
    assert_eq!(fs::metadata(&baseline).expect("it is there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_status_page_is_for_this_machine_alone() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).status_page().start();
    let mut client = Client::connect(guard.admin());
    let mut get = |path: &str, host: &str| {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.answer()
    };
    let local = guard.admin().to_string();
    for host in [local.as_str(), "localhost", "localhost:9"] {
        let page = get("/", host);
        assert_eq!(page.status, 200);
        assert!(page.headers.one("content-type").is_some_and(|kind| kind.starts_with("text/html")));
        let policy = page.headers.one("content-security-policy").expect("a policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(page.headers.one("x-content-type-options"), Some("nosniff"));
    }
    let status = get("/v1/status", &local);
    let status: serde_json::Value = serde_json::from_slice(&status.body).expect("JSON");
    assert_eq!(status["pid"].as_u64(), Some(u64::from(guard.pid())));
    // A page elsewhere whose name was made to lead here must learn nothing.
    for host in ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", ""] {
        for path in ["/", "/v1/status"] {
            let answer = get(path, host);
            assert_eq!(answer.status, 421, "{host}");
            assert!(!answer.text().contains("pid"), "{host}");
        }
    }
    // It shows; it does not obey.
    for path in ["/v1/stop", "/v1/reload", "/v1/rules/1"] {
        for method in ["GET", "POST", "DELETE"] {
            let mut client = Client::connect(guard.admin());
            client.send(format!("{method} {path} HTTP/1.1\r\nHost: {local}\r\n\r\n"));
            assert_eq!(client.answer().status, 404, "{method} {path}");
        }
    }
    assert_eq!(guard.connect().fetch("/").status, 200);
}
