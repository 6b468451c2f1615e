//! Limits of single clients, from the configuration to the ban: in line, beside a server, and in files that are included.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use seawall::host::clock::Clock;
use serde_json::Value;

use crate::support::client::{Client, NoAnswer};
use crate::support::eventually;
use crate::support::guard::{Guard, Setup, text};
use crate::support::namespace::{nft, within};
use crate::support::origin::Origin;

const LOGIN: &str =
    "[[limit]]\nname = \"login\"\nrule = 'method = POST and path = \"/wp-login.php\"'\nrate = \"5 in 10m\"\n";

const AUTH: &str =
    "[[limit]]\nname = \"auth\"\nrule = 'path-prefix = \"/private/\" and status = 401'\nrate = \"5 in 10m\"\n";

/// A site that lets nobody in below `/private/`.
fn site() -> Origin {
    Origin::start(|mut visit| {
        while let Ok(Some(request)) = visit.request() {
            if request.target.starts_with("/private/") {
                visit.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
            } else {
                visit.answer(&request.target);
            }
        }
    })
}

/// A guard whose limits are in use.
fn guard(origin: &Origin, sections: &str) -> Guard {
    let guard = Setup::to(&origin.url()).sections(sections).start();
    eventually("the limits are in use", || !limits(&guard).is_empty());
    guard
}

fn limits(guard: &Guard) -> Vec<Value> {
    guard.status()["client_limits"].as_array().cloned().unwrap_or_default()
}

fn count(guard: &Guard, name: &str, what: &str) -> u64 {
    let limits = limits(guard);
    let limit = limits.iter().find(|limit| limit["name"] == name).unwrap_or_else(|| panic!("{name} in {limits:?}"));
    limit[what].as_u64().expect("a number")
}

/// The status that a client gets on a connection of its own; none when that is reset.
fn ask(guard: &Guard, from: &str, head: &str, body: &str) -> Option<u16> {
    let mut client = Client::connect_from(from, guard.address());
    client.send(format!(
        "{head} HTTP/1.1\r\nHost: example.org\r\nUser-Agent: bot/1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    match client.try_answer(false) {
        Ok(answer) => Some(answer.status),
        Err(NoAnswer::Reset) => None,
        Err(why) => panic!("no answer: {why:?}"),
    }
}

fn journal(guard: &Guard) -> String {
    text(&guard.command(&["journal"]).stdout)
}

#[test]
fn whoever_tries_passwords_is_banned_and_nobody_else() {
    let origin = site();
    let sections = format!(
        "[policy]\nnever-ban-loopback = false\nnever-ban = [\"127.0.0.99\"]\n{LOGIN}action = \"ban\"\nfor = \"2h\"\n"
    );
    let guard = guard(&origin, &sections);
    let login = |from: &str| ask(&guard, from, "POST /wp-login.php", "log=admin&pwd=1");
    let answers: Vec<_> = (0..6).map(|_| login("127.0.0.7")).collect();
    assert_eq!(answers, [Some(200), Some(200), Some(200), Some(200), Some(200), Some(429)]);
    eventually("it is closed unread, whatever it asks for", || ask(&guard, "127.0.0.7", "GET /", "").is_none());
    assert_eq!(login("127.0.0.8"), Some(200));
    assert!((0..20).all(|_| login("127.0.0.99") == Some(200)), "the operator");
    let listed = text(&guard.command(&["bans", "list"]).stdout);
    assert!(
        listed.contains("beyond a limit: login: more than 5 in 10m of method = \"POST\" and path = \"/wp-login.php\"")
            && listed.contains("s left")
            && !listed.contains("127.0.0.7"),
        "{listed}"
    );
    let pseudonym = listed.split_whitespace().find(|word| word.starts_with("client-")).expect("a pseudonym");
    assert!(listed.starts_with("pseudonym ") && pseudonym.parse::<std::net::IpAddr>().is_err(), "{listed}");
    eventually("the report calls it the same", || {
        let report = text(&guard.command(&["bans", "report"]).stdout);
        report.contains("\npseudonym ") && report.contains(&format!("\n{pseudonym} "))
    });
    eventually("it is written down", || {
        journal(&guard).contains("limit login bans a client for 2h: more than 5 in 10m of method")
    });
    assert_eq!((count(&guard, "login", "offences"), count(&guard, "login", "matched")), (1, 7));
    let shown = text(&guard.command(&["status"]).stdout);
    assert!(shown.contains("per client  login banned 1, refused 1"), "{shown}");
    // Taken back, it has all its tries again.
    assert!(guard.command(&["bans", "remove", "127.0.0.7"]).status.success());
    eventually("it is free", || ask(&guard, "127.0.0.7", "GET /", "") == Some(200));
    assert!((0..5).all(|_| login("127.0.0.7") == Some(200)));
}

#[test]
fn a_limit_by_the_answer_counts_both_ways_to_the_site() {
    let origin = site();
    let guard = guard(
        &origin,
        &format!(
            "[policy]\nnever-ban-loopback = false\n{AUTH}key = \"client+host\"\naction = \"refuse\"\nfor = \"1h\"\n"
        ),
    );
    let ways = [("GET /private/a", ""), ("POST /private/a", "x"), ("GET /private/b", "")];
    let answers: Vec<_> = (0..5).map(|turn| ask(&guard, "127.0.0.7", ways[turn % 3].0, ways[turn % 3].1)).collect();
    assert_eq!(answers, [Some(401); 5]);
    eventually("they are counted", || count(&guard, "auth", "matched") == 5);
    assert_eq!(
        ask(&guard, "127.0.0.7", "GET /private/a", ""),
        Some(401),
        "only its answer tells that it is one too many"
    );
    eventually("it is", || count(&guard, "auth", "offences") == 1);
    assert_eq!(ask(&guard, "127.0.0.7", "GET /private/a", ""), Some(429));
    assert_eq!(ask(&guard, "127.0.0.7", "GET /open", ""), Some(200), "only what the rule asks for is refused");
    assert_eq!(ask(&guard, "127.0.0.8", "GET /private/a", ""), Some(401));
    // He is in no list of bans, and is freed all the same.
    let freed = guard.command(&["bans", "remove", "127.0.0.7"]);
    assert_eq!(text(&freed.stdout), "A limit no longer refuses 127.0.0.7.\n");
    assert!(freed.status.success());
    assert_eq!(ask(&guard, "127.0.0.7", "GET /private/a", ""), Some(401));
    eventually("it is written down", || journal(&guard).contains("unban"));
    assert_eq!(guard.command(&["bans", "remove", "127.0.0.7"]).status.code(), Some(1), "there is nothing to take back");
}

#[test]
fn whoever_tries_wrong_passwords_one_after_the_other_is_banned() {
    let origin = site();
    let guard = guard(&origin, &format!("[policy]\nnever-ban-loopback = false\n{AUTH}action = \"ban\"\n"));
    for _ in 0..6 {
        assert_eq!(ask(&guard, "127.0.0.7", "GET /private/a", ""), Some(401));
    }
    eventually("it is closed unread", || ask(&guard, "127.0.0.7", "GET /", "").is_none());
    assert_eq!(ask(&guard, "127.0.0.8", "GET /", ""), Some(200));
}

#[test]
fn a_client_behind_a_proxy_is_refused_and_the_proxy_is_not() {
    within(|| {
        let origin = site();
        let sections = format!("[trust]\nproxies = [\"127.0.0.1\"]\n{LOGIN}action = \"ban\"\n");
        let guard = Setup::to(&origin.url()).kernel("").sections(&sections).start();
        eventually("the limit is in use", || !limits(&guard).is_empty());
        let ask = |client: &str, head: &str| {
            let mut connection = guard.connect();
            connection.send(format!(
                "{head} HTTP/1.1\r\nHost: example.org\r\nX-Forwarded-For: {client}\r\nUser-Agent: bot/1\r\nContent-Length: 0\r\n\r\n"
            ));
            connection.answer().status
        };
        let answers: Vec<u16> = (0..6).map(|_| ask("203.0.113.7", "POST /wp-login.php")).collect();
        assert_eq!(answers, [200, 200, 200, 200, 200, 429]);
        eventually("it is refused whatever it asks for", || ask("203.0.113.7", "GET /") == 403);
        assert_eq!(ask("203.0.113.8", "GET /"), 200);
        // The kernel would see the proxy; whom the operator names may come by any way.
        assert!(guard.command(&["bans", "add", "203.0.113.9"]).status.success());
        eventually("the kernel has the other", || nft(&["list", "ruleset"]).contains("203.0.113.9"));
        assert!(!nft(&["list", "ruleset"]).contains("203.0.113.7"));
        assert!(guard.command(&["bans", "remove", "203.0.113.7"]).status.success());
        eventually("it is free", || ask("203.0.113.7", "GET /") == 200);
    });
}

#[test]
fn where_nothing_is_enforced_it_is_only_said() {
    let origin = site();
    let sections = format!("[policy]\nenforce = \"never\"\nnever-ban-loopback = false\n{LOGIN}action = \"ban\"\n");
    let guard = guard(&origin, &sections);
    assert!((0..20).all(|_| ask(&guard, "127.0.0.7", "POST /wp-login.php", "x") == Some(200)));
    eventually("it is said", || journal(&guard).contains("limit login was exceeded by a client, and nothing was done"));
    assert_eq!(text(&guard.command(&["bans", "list"]).stdout), "Nobody is banned.\n");
}

#[test]
fn included_files_are_read_again_at_a_reload_and_refused_whole() {
    let origin = site();
    let prepare = |folder: &Path| {
        fs::create_dir(folder.join("limits.d")).expect("a folder");
        fs::write(folder.join("limits.d/login.toml"), format!("{LOGIN}action = \"ban\"\n")).expect("written");
    };
    let config = format!(
        "{}\n[include]\nlimits = [\"shipped:probes\", \"limits.d/*.toml\"]\n",
        Setup::to(&origin.url()).sections("[policy]\nnever-ban-loopback = false\n").text()
    );
    let guard = Guard::start(&config, prepare);
    let names =
        || limits(&guard).iter().map(|limit| limit["name"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>();
    eventually("both are in use", || names() == ["probes", "login"]);
    (0..3).for_each(|_| assert_eq!(ask(&guard, "127.0.0.7", "POST /wp-login.php", "x"), Some(200)));

    let added = guard.folder().join("limits.d/wrong.toml");
    let case = "\n[[limit.test]]\npath = \"/other\"\nmatches = true\n";
    fs::write(&added, format!("{}{case}", LOGIN.replace("\"login\"", "\"other\""))).expect("written");
    let refused = guard.command(&["reload"]);
    assert!(!refused.status.success());
    let said = text(&refused.stderr);
    assert!(said.contains("limits.d/wrong.toml:8:11: a case of the limit \"other\" fails"), "{said}");
    assert_eq!(names(), ["probes", "login"]);

    fs::write(&added, LOGIN.replace("\"login\"", "\"other\"")).expect("written");
    assert!(guard.command(&["reload"]).status.success());
    eventually("it is in use", || names() == ["probes", "login", "other"]);
    assert_eq!(count(&guard, "login", "matched"), 3, "the others go on where they were");
    let answers: Vec<_> = (0..3).map(|_| ask(&guard, "127.0.0.7", "POST /wp-login.php", "x")).collect();
    assert_eq!(answers, [Some(200), Some(200), Some(429)]);
}

#[test]
fn beside_a_server_its_log_tells_whom_the_kernel_drops() {
    within(|| {
        let clock = Clock::start();
        let config = format!(
            "admin = \"off\"\n[policy]\nnever-ban = [\"203.0.113.250\"]\n[trust]\nproxies = [\"198.51.100.1\"]\n{AUTH}action = \"ban\"\n"
        );
        let guard = Guard::watch_as(&config, &["access.log"], |folder| {
            fs::write(folder.join("access.log"), "").expect("written");
        });
        eventually("the limit is in use", || !limits(&guard).is_empty());
        let line = |client: &str, status: u16, rest: &str| {
            let seconds = i64::try_from(clock.now().as_seconds()).expect("a moment");
            let at = jiff::Timestamp::from_second(seconds).expect("a moment").strftime("%d/%b/%Y:%H:%M:%S +0000");
            format!("{client} - - [{at}] \"GET /private/a HTTP/1.1\" {status} 9 \"-\" \"bot/1\"{rest}\n")
        };
        let mut lines = line("203.0.113.7", 401, "").repeat(6);
        lines += &line("203.0.113.8", 401, "").repeat(5);
        lines += &line("203.0.113.9", 200, "").repeat(50);
        lines += &line("203.0.113.250", 401, "").repeat(50);
        lines += &line("198.51.100.1", 401, " \"203.0.113.77\"").repeat(50);
        let mut log = fs::OpenOptions::new().append(true).open(guard.folder().join("access.log")).expect("a log");
        // The rules may reach the thread that reads a moment after the status tells of them.
        std::thread::sleep(std::time::Duration::from_millis(600));
        std::io::Write::write_all(&mut log, lines.as_bytes()).expect("written");
        let dropped = || nft(&["list", "ruleset"]);
        eventually("it is dropped", || dropped().contains("203.0.113.7 "));
        for client in ["203.0.113.8", "203.0.113.9", "203.0.113.77"] {
            assert!(!dropped().contains(client), "{client} in {}", dropped());
        }
        let listed = text(&guard.command(&["bans", "list"]).stdout);
        assert!(listed.contains("beyond a limit: auth: more than 5 in 10m"), "{listed}");
        eventually("of the one behind a proxy it is only said", || {
            journal(&guard).contains("limit auth was exceeded by a client, and nothing was done")
        });
    });
}

/// `seawall check` of a configuration beside these files.
fn check(include: &str, files: &[(&str, &[u8])]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("written");
    }
    let config = format!("[[site]]\nhosts = [\"*\"]\norigin = \"clock\"\n[include]\nlimits = {include}\n");
    fs::write(folder.path().join("seawall.toml"), config).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command
        .args(["check", "--config", "seawall.toml"])
        .current_dir(folder.path())
        .output()
        .expect("seawall can be started")
}

#[track_caller]
fn refuses(include: &str, files: &[(&str, &[u8])], expected: &str) {
    let output = check(include, files);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(expected), "{said}");
}

#[test]
fn what_is_wrong_with_an_included_file_is_told_with_its_place() {
    let good = LOGIN.as_bytes();
    refuses("\"none.toml\"", &[], "seawall.toml:5:10: `limits` in [include]: failed to read none.toml: No such file");
    refuses(
        "\"none.d/*.toml\"",
        &[],
        "seawall.toml:5:10: `limits` in [include]: failed to look into the folder none.d",
    );
    refuses("\"a[.toml\"", &[], "which is no pattern of paths");
    refuses("\"a\\u001b.toml\"", &[], "failed to read a\\u{1b}.toml");
    refuses("\"shipped:wordpres\"", &[], "which does not come with Seawall; there are \"shipped:wordpress\"");
    refuses("\"a.toml\"", &[("a.toml", b"")], "a.toml:1:1: this file holds no [[limit]]");
    refuses("\"a.toml\"", &[("a.toml", b"name = 1\n")], "a.toml:1:1: unknown key `name`");
    refuses("\"a.toml\"", &[("a.toml", b"[[limit]\n")], "a.toml:1:9: not valid TOML");
    refuses("\"a.toml\"", &[("a.toml", b"\xff")], "failed to read a.toml: it is not UTF-8");
    refuses("\"a\"", &[("a/b.toml", good)], "failed to read a: Is a directory");
    refuses(
        "\"a.toml\"",
        &[("a.toml", &[b"include.limits = \"a.toml\"\n", good].concat())],
        "a.toml:1:1: an included file includes no others",
    );
    refuses(
        "[\"a.toml\", \"b.toml\"]",
        &[("a.toml", good), ("b.toml", good)],
        "b.toml:2:8: two limits have the name \"login\"",
    );
    refuses(
        "\"a.toml\"",
        &[("a.toml", LOGIN.replace("path =", "pth =").as_bytes())],
        "a.toml:3:27: `rule` in [[limit]]: there is no attribute `pth`",
    );
    let twice = check("[\"a.toml\", \"./*.toml\", \"a.toml\"]", &[("a.toml", good)]);
    // seawall.toml itself is no file of limits.
    assert!(text(&twice.stderr).contains("seawall.toml:1:3: unknown key `site`"), "{}", text(&twice.stderr));
    let empty = check("[\"a.d/*.toml\", \"a.toml\", \"a.toml\"]", &[("a.d/readme", b""), ("a.toml", good)]);
    assert_eq!(empty.status.code(), Some(0), "{}", text(&empty.stderr));
    assert!(text(&empty.stdout).contains("login: more than 5 in 10m of method = \"POST\""), "{}", text(&empty.stdout));
}

#[test]
fn a_filter_of_fail2bans_becomes_a_file_that_can_be_included() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, content: &str| fs::write(folder.path().join(name), content).expect("written");
    write(
        "login.conf",
        "[Definition]\nfailregex = ^<HOST> .*\"POST /wp-login\\.php\n            ^client <HOST> denied\n",
    );
    write("errors.conf", "[Definition]\nfailregex = ^client <HOST> denied\n");
    write("none.conf", "nothing\n");
    write("jail.conf", "[DEFAULT]\nbantime = 1h\n[login]\nmaxretry = 3\nfindtime = 1d\n");
    let import = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
        command
            .args(["import", "fail2ban"])
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .expect("seawall can be started")
    };
    let made = import(&["login.conf", "--jail", "jail.conf"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    insta::assert_snapshot!("limit-of-a-filter", text(&made.stdout));
    insta::assert_snapshot!("what-could-not-be-said", text(&made.stderr));
    let checked = check("\"login.toml\"", &[("login.toml", &made.stdout)]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    for (file, code) in [("errors.conf", 1), ("none.conf", 3), ("absent.conf", 4)] {
        let output = import(&[file]);
        assert_eq!(
            (output.status.code(), output.stdout.as_slice()),
            (Some(code), &b""[..]),
            "{}",
            text(&output.stderr)
        );
    }
}

/// Where fail2ban is installed: what became of its own filters meets nothing that they do not, and of one that is said exactly all that they do.
#[test]
fn filters_of_the_real_fail2ban_meet_what_its_own_program_finds() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut log = String::new();
    let paths =
        ["/", "/phpmyadmin/x", "/wp-login.php", "/cgi-bin/a", "/webmail", "/myadmin/?q=1", "/blog/a,b", "//MyAdmin/"];
    let agents = ["Mozilla/5.0", "Atomic_Email_Hunter/4.0", "EmailSiphon", "Franklin Locator 1.8"];
    let mut client = 0;
    for (method, status) in
        ["GET", "POST", "PUT"].into_iter().flat_map(|method| [200, 400, 404].map(|status| (method, status)))
    {
        for (path, agent) in paths.into_iter().flat_map(|path| agents.map(|agent| (path, agent))) {
            client += 1;
            let address = format!("192.0.{}.{}", client / 250, client % 250);
            let _ = writeln!(
                log,
                "{address} - - [10/Oct/2026:13:55:36 +0000] \"{method} {path} HTTP/1.1\" {status} 153 \"-\" \"{agent}\""
            );
        }
    }
    fs::write(folder.path().join("access.log"), &log).expect("written");
    let run =
        |program: &str, arguments: &[&str]| Command::new(program).args(arguments).current_dir(folder.path()).output();
    for (filter, is_exact) in [("nginx-bad-request", true), ("nginx-botsearch", false), ("apache-badbots", false)] {
        let file = format!("/etc/fail2ban/filter.d/{filter}.conf");
        let found = match run("fail2ban-regex", &["--print-all-matched", "access.log", &file]) {
            Ok(output) => text(&output.stdout),
            Err(error) => return eprintln!("skipped: fail2ban-regex cannot be started ({error})"),
        };
        let matched = found.lines().skip_while(|line| !line.contains("Matched line(s)")).skip(1);
        let theirs: Vec<&str> = matched.map_while(|line| line.strip_prefix("|  ")).collect();
        let made = run(env!("CARGO_BIN_EXE_seawall"), &["import", "fail2ban", &file]).expect("seawall can be started");
        let made = text(&made.stdout);
        let (_, rule) = made.split_once("rule = '''\n").expect("a rule");
        let (rule, _) = rule.split_once("\n'''").expect("its end");
        let others: Vec<&str> = log.lines().filter(|line| !theirs.contains(line)).collect();
        let [ours, none] = [&theirs, &others].map(|lines| {
            fs::write(folder.path().join("part.log"), lines.join("\n")).expect("written");
            let output = run(env!("CARGO_BIN_EXE_seawall"), &["report", "--json", "--where", rule, "part.log"]);
            let report: Value = serde_json::from_slice(&output.expect("seawall can be started").stdout).expect("JSON");
            report["totals"]["requests"].as_u64().expect("a number")
        });
        assert_eq!(none, 0, "{filter} meets what fail2ban does not");
        assert!(ours > 0 && (!is_exact || ours == theirs.len() as u64), "{filter}: {ours} of {}", theirs.len());
    }
}

#[test]
fn rules_of_included_files_hold_until_they_are_taken_out() {
    let origin = Origin::echoing();
    let rule = "[[rule]]\nname = \"old\"\nrule = 'path = \"/old\"'\n";
    let case = "[[rule.test]]\npath = \"/old\"\nmatches = true\n";
    let sections = "[policy]\nnever-ban-loopback = false\n[include]\nlimits = [\"limits.d/*.toml\"]\n";
    let guard = Guard::start(&Setup::to(&origin.url()).sections(sections).text(), |folder| {
        fs::create_dir(folder.join("limits.d")).expect("a folder");
        fs::write(folder.join("limits.d/old.toml"), format!("{rule}{case}")).expect("written");
    });
    eventually("it is in force", || guard.connect().fetch("/old").status == 403);
    assert_eq!(guard.connect().fetch("/new").status, 200);
    let listed = text(&guard.command(&["rules", "list"]).stdout);
    assert!(listed.contains("R20001"), "{listed}");
    // It ends with the configuration alone.
    let removed = guard.command(&["rules", "remove", "R20001"]);
    assert_eq!(removed.status.code(), Some(1), "{removed:?}");
    assert!(text(&removed.stderr).contains("R20001 is in the configuration"), "{}", text(&removed.stderr));
    // A case that fails refuses the whole, and the rules of before stay.
    let file = guard.folder().join("limits.d/old.toml");
    fs::write(&file, format!("{rule}{}", case.replace("/old", "/other"))).expect("written");
    let refused = guard.command(&["reload"]);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3));
    assert!(
        said.contains("limits.d/old.toml:6:11: a case of the rule \"old\" fails: its rule does not meet"),
        "{said}"
    );
    fs::write(&file, rule.replace("path =", "path <")).expect("written");
    let said = text(&guard.command(&["reload"]).stderr);
    assert!(said.contains("limits.d/old.toml:3:14: `rule` in [[rule]]: "), "{said}");
    assert_eq!(guard.connect().fetch("/old").status, 403);
    fs::remove_file(&file).expect("it is there");
    assert!(guard.command(&["reload"]).status.success());
    eventually("it is taken out", || guard.connect().fetch("/old").status == 200);
}
