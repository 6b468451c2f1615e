//! `seawall check`, as the operator runs it.

use std::process::{Command, Output};

/// Runs `seawall check` in surroundings that are the same on every machine.
fn check(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command.arg("check").args(arguments).env("STATE_DIRECTORY", "/var/lib/seawall");
    command.output().expect("seawall can be started")
}

/// What was printed; the line about this machine's open-files limit is left out.
fn printed(output: &[u8]) -> String {
    let text = String::from_utf8(output.to_vec()).expect("output in UTF-8");
    text.lines().filter(|line| !line.contains("open-files limit is")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_good_configuration_is_told_in_plain_words() {
    for name in ["everything", "minimal", "public-status-page"] {
        let output = check(&["--config", &format!("tests/data/config/good/{name}.toml")]);
        assert_eq!(output.status.code(), Some(0));
        assert!(output.stderr.is_empty());
        insta::assert_snapshot!(format!("check-{name}"), printed(&output.stdout));
    }
}

#[test]
fn without_a_file_the_defaults_are_told() {
    let output = check(&[]);
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(printed(&output.stdout));
}

#[test]
fn a_bad_configuration_ends_with_three_and_every_problem() {
    let output = check(&["--config", "tests/data/config/bad/wrong-types.toml"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout.is_empty());
    insta::assert_snapshot!(printed(&output.stderr));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    for arguments in [&["--config", "no/such/file.toml"][..], &["--config", "no/such/file.toml", "--json"]] {
        let output = check(arguments);
        assert_eq!(output.status.code(), Some(4));
    }
    let output = check(&["--config", "no/such/file.toml"]);
    insta::assert_snapshot!(printed(&output.stderr), @"seawall: no/such/file.toml: failed to read the configuration: No such file or directory (os error 2)");
}

#[test]
fn json_says_the_same() {
    let output = check(&["--config", "tests/data/config/good/everything.toml", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!("json-of-a-good-configuration", printed(&output.stdout));

    let output = check(&["--config", "tests/data/config/bad/unicode-columns.toml", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stderr.is_empty());
    insta::assert_snapshot!("json-of-a-bad-configuration", printed(&output.stdout));
}

#[test]
fn a_configuration_of_logs_alone_is_one_for_watch() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("watch.toml");
    std::fs::write(&path, "[watch]\nsources = [\"/var/log/nginx/access.log\"]\n").expect("room");
    let output = check(&["--config", path.to_str().expect("UTF-8")]);
    let said = printed(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output.stderr));
    assert!(said.contains("for `seawall watch`") && !said.contains("Visitors are served"), "{said}");
    // What guards nothing at all is refused as ever.
    std::fs::write(&path, "[policy]\nenforce = \"never\"\n").expect("room");
    assert_eq!(check(&["--config", path.to_str().expect("UTF-8")]).status.code(), Some(3));
}

#[test]
fn a_configuration_for_logs_needs_no_site_and_its_own_problems_are_shown() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let without_logs = file("logs-on-the-command-line.toml", "admin = \"off\"\n");
    let output = check(&["--config", &without_logs, "--watch"]);
    let said = printed(&output.stdout);
    assert!(output.status.success() && said.contains("those are said on the command line"), "{said}");
    let said = printed(&check(&["--config", &without_logs]).stderr);
    assert!(said.contains("no site is guarded"), "{said}");
    let wrong = file("wrong.toml", "[watch]\nsources = [\"udp://nowhere\"]\nformat = \"nonsense\"\n");
    let output = check(&["--config", &wrong]);
    let said = printed(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("udp://nowhere") && !said.contains("no site is guarded"), "{said}");
    assert!(said.contains("`format` in [watch]: found \"nonsense\", which cannot be used"), "{said}");
}
