//! What is refused at the CDN in front, against servers that behave as the APIs of Cloudflare and Fastly are documented to.

mod cloudflare;
mod fastly;
mod faults;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::edge::cloudflare::{ACCOUNT, ZONE};
use crate::support::edge::fastly::SERVICE;
use crate::support::edge::{Api, Fake, TOKEN};
use crate::support::guard::{Guard, Setup, text};
use crate::support::origin::Origin;

/// Through whom clients come.
const PROXY: &str = "127.0.0.2";

/// Short times, since nobody but the test waits.
const TIMES: &str = "interval = \"100ms\"\nverify-interval = \"300ms\"\n";

fn of_cloudflare<A: Api>(fake: &Fake<A>) -> String {
    let api = fake.url();
    format!("provider = \"cloudflare\"\naccount = \"{ACCOUNT}\"\nzone = \"{ZONE}\"\napi = \"{api}/client/v4\"\n{TIMES}")
}

fn of_fastly<A: Api>(fake: &Fake<A>) -> String {
    format!("provider = \"fastly\"\nservice = \"{SERVICE}\"\napi = \"{}\"\n{TIMES}", fake.url())
}

/// A guard behind a CDN, with these lines in `[edge]`.
fn guard(origin: &Origin, edge: &str) -> Guard {
    let sections = format!(
        "[trust]\nproxies = [\"{PROXY}\"]\n[policy]\nnever-ban = [\"198.51.100.7\"]\nnever-ban-loopback = false\n\
         [edge]\ntoken-file = \"token\"\n{edge}\n"
    );
    Guard::start(&Setup::to(&origin.url()).sections(&sections).text(), |folder| write_token(folder, 0o600))
}

fn write_token(folder: &Path, mode: u32) {
    let path = folder.join("token");
    fs::write(&path, format!("{TOKEN}\n")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
}

fn run(guard: &Guard, arguments: &[&str]) -> String {
    let output = guard.command(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn edge(guard: &Guard) -> Value {
    guard.status()["edge"].clone()
}

fn is_active(guard: &Guard) -> bool {
    edge(guard)["state"] == "active"
}

fn reason(guard: &Guard) -> String {
    edge(guard)["reason"].as_str().unwrap_or_default().to_owned()
}

/// What the journal says of the edge and of panics: who, what, and about what.
fn journal(guard: &Guard) -> Vec<(String, String, String)> {
    let lines: Vec<Value> = serde_json::from_str(&run(guard, &["journal", "--json"])).expect("JSON");
    let word = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let lines = lines.iter().map(|line| (word(line, "actor"), word(line, "action"), word(line, "detail")));
    lines.filter(|(_, action, _)| action.starts_with("edge-") || action == "panic").collect()
}

/// Runs `seawall edge` with a configuration and without a guard; the token is in the environment.
fn without_guard(folder: &Path, edge: &str, arguments: &[&str]) -> Output {
    let config = format!("admin = \"off\"\nstate-directory = \"state\"\n[edge]\n{edge}");
    fs::write(folder.join("edge.toml"), config).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command.arg("edge").args(arguments).args(["--config", "edge.toml"]).current_dir(folder);
    command.env("SEAWALL_EDGE_TOKEN", TOKEN).output().expect("started")
}

#[test]
fn a_token_that_others_can_read_is_refused_with_the_mode_that_is_right() {
    let folder = tempfile::tempdir().expect("a folder");
    write_token(folder.path(), 0o644);
    let section = format!(
        "provider = \"fastly\"\nservice = \"{SERVICE}\"\napi = \"http://127.0.0.1:1\"\ntoken-file = \"token\"\n"
    );
    let said = text(&without_guard(folder.path(), &section, &["plan"]).stderr);
    assert!(said.contains("edge.toml:7:14: `token-file` in [edge]") && said.contains("chmod 0600"), "{said}");
    assert!(!said.contains(TOKEN), "{said}");
    // And while it runs, when somebody makes it so.
    write_token(folder.path(), 0o600);
    let said = text(&without_guard(folder.path(), &section, &["plan"]).stderr);
    assert!(said.contains("failed to read the versions of the service: the server cannot be reached"), "{said}");
}

#[test]
fn without_an_edge_the_commands_say_what_to_configure() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).start();
    for arguments in [&["edge", "plan"][..], &["edge", "apply"], &["edge", "clear"], &["edge", "set-up"]] {
        let output = guard.command(arguments);
        assert_eq!(output.status.code(), Some(3));
        assert!(text(&output.stderr).contains("`provider` in [edge]"), "{}", text(&output.stderr));
    }
    assert!(run(&guard, &["edge", "status"]).contains("`provider` in [edge]"));
    assert_eq!(edge(&guard)["state"], "off");
    let folder = tempfile::tempdir().expect("a folder");
    let output = without_guard(folder.path(), "", &["plan"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("names no CDN"), "{}", text(&output.stderr));
}
