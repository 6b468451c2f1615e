//! Configurations that are good, with what they mean, and bad ones, with every problem.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use seawall::config::{self, Config, Environment, Place, Problems};

/// The files of a folder of `tests/data/config`, sorted, by paths that are the same on every machine.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new("tests/data/config").join(folder);
    let entries = fs::read_dir(&folder).expect("the folder of test configurations");
    let paths = entries.map(|entry| entry.expect("an entry of the folder").path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

fn parse(text: &str) -> Result<Config, Problems> {
    config::parse_in(text, "seawall.toml", &Environment::default())
}

#[test]
fn bad_configurations_show_every_problem() {
    for path in files("bad") {
        let problems = config::load(&path).expect_err("a bad configuration");
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        insta::with_settings!({ snapshot_path => "../data/config/bad", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, problems);
        });
    }
}

#[test]
fn good_configurations_are_read() {
    for path in files("good") {
        let text = fs::read_to_string(&path).expect("a readable file");
        // Files that it names lie in its folder.
        let config = config::parse_in(&text, &path.to_string_lossy(), &Environment::default());
        let config = config.unwrap_or_else(|problems| panic!("{}:\n{problems}", path.display()));
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        insta::with_settings!({ snapshot_path => "../data/config/good", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_debug_snapshot!(name, config);
        });
    }
}

#[test]
fn a_byte_that_is_not_utf8_has_a_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("latin1.toml");
    fs::write(&path, b"# ok\nname = \"M\xfcller\"\n").expect("a written file");
    let problems = config::load(&path).expect_err("latin-1");
    assert_eq!(
        problems.to_string(),
        format!("{}:2:10: the file is not UTF-8 from here on; save it as UTF-8", path.display())
    );
    assert!(!problems.is_unreadable());
}

#[test]
fn a_device_without_end_is_refused() {
    let problems = config::load(Path::new("/dev/zero")).expect_err("no configuration");
    assert_eq!(problems.to_string(), "/dev/zero: the file is larger than 1 MiB, so it is no configuration");
}

#[test]
fn relative_paths_are_taken_from_the_folder_of_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("www")).expect("a folder in it");
    let path = folder.path().join("seawall.toml");
    fs::write(&path, "state-directory = \"state\"\n[[site]]\nhosts = [\"*\"]\nfiles = \"www\"\n")
        .expect("a written file");
    let config = config::load(&path).expect("a good configuration");
    assert_eq!(config.state_directory, folder.path().join("state"));
    assert_eq!(config.sites[0].origin, config::Origin::Files { root: folder.path().join("www") });
}

#[test]
fn the_command_line_makes_a_configuration_of_one_site() {
    let some = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let line = config::CommandLine {
        to: Some("http://127.0.0.1:3000".to_owned()),
        hosts: some(&["Example.org", "*.example.org"]),
        listen: some(&["127.0.0.1:9000"]),
        admin: Some("off".to_owned()),
    };
    let config = Config::from_command_line(&line).expect("a good command line");
    assert_eq!(config.listen, ["127.0.0.1:9000".parse().expect("an address")]);
    assert_eq!(config.admin, None);
    assert_eq!(config.sites.len(), 1);
    assert_eq!(config.sites[0].name, "example.org");
    assert_eq!(config.sites[0].hosts[1].to_string(), "*.example.org");
    assert_eq!(config.limits, Config::default().limits);

    let none = Config::from_command_line(&config::CommandLine::default()).expect("the default");
    assert_eq!(none, Config::default());

    let line = config::CommandLine {
        to: Some("127.0.0.1:3000".to_owned()),
        hosts: some(&["example.org:80"]),
        listen: some(&["80", "127.0.0.1:8080"]),
        admin: Some("on".to_owned()),
    };
    insta::assert_snapshot!(Config::from_command_line(&line).expect_err("a bad command line"), @r#"
    --host: found "example.org:80", which has a port; write "example.org": a site answers on every port that is listened on
    --to: found "127.0.0.1:3000", which is no URL; write "http://127.0.0.1:3000"
    --listen: found "80", which names no address; write "127.0.0.1:80" for this machine alone, "0.0.0.0:80" or "[::]:80" for all
    --admin: found "on", which is no IP address with a port; write, for example, "127.0.0.1:8080"
    "#);
}

#[test]
fn a_command_line_that_collides_with_itself_is_refused() {
    for (to, listen) in [("http://127.0.0.1:8080", "127.0.0.1:8080"), ("http://127.0.0.1:3000", "127.0.0.1:8081")] {
        let line = config::CommandLine {
            to: Some(to.to_owned()),
            listen: vec![listen.to_owned()],
            ..config::CommandLine::default()
        };
        let problems = Config::from_command_line(&line).expect_err("a collision");
        assert_eq!(problems.iter().count(), 1, "{problems}");
    }
}

#[test]
fn the_never_ban_list_is_all_who_are_exempt() {
    let text = "[[site]]\nhosts = [\"*\"]\norigin = \"clock\"\n\
                [trust]\nproxies = [\"192.0.2.0/24\"]\n[policy]\nnever-ban = [\"203.0.113.7\"]\n";
    let set = |text: &str| -> Vec<String> {
        let set = parse(text).expect("a good configuration").never_ban_set();
        set.networks().map(|network| network.to_string()).collect()
    };
    assert_eq!(set(text), ["127.0.0.0/8", "192.0.2.0/24", "203.0.113.7/32", "::1/128"]);
    let without_loopback = format!("{text}never-ban-loopback = false\n");
    assert_eq!(set(&without_loopback), ["192.0.2.0/24", "203.0.113.7/32"]);
}

/// Whatever stands in the text, it is read or refused, and every problem lies within it.
fn check_that_it_is_judged(text: &str) {
    let Err(problems) = parse(text) else { return };
    for problem in problems {
        let Place::Character { line, column, .. } = problem.place else { panic!("{problem}") };
        let lines: Vec<&str> = text.split('\n').collect();
        assert!((1..=lines.len()).contains(&line), "line {line} of {text:?}");
        assert!((1..=lines[line - 1].chars().count() + 1).contains(&column), "column {column} of {text:?}");
        assert!(!problem.message.contains(['\n', '\x1b']), "{:?}", problem.message);
    }
}

/// A configuration with every setting, to be damaged.
fn everything() -> String {
    fs::read_to_string("tests/data/config/good/everything.toml").expect("a readable file")
}

proptest! {
    #[test]
    fn any_text_is_judged(text in any::<String>()) {
        check_that_it_is_judged(&text);
    }

    #[test]
    fn any_text_made_of_toml_is_judged(words in prop::collection::vec(prop::sample::select(vec![
        "[", "]", "{", "}", "=", ",", ".", "\n", "\"", "'", "\"\"\"", "#", " ", "site", "limits", "hosts", "listen",
        "policy", "upstream", "\"*\"", "\"10s\"", "1", "-1", "0x", "1e9", "true", "1979-05-27", "\u{0}", "ü",
    ]), 0..60)) {
        check_that_it_is_judged(&words.concat());
    }

    #[test]
    fn any_damage_is_judged(at in any::<prop::sample::Index>(), length in 0_usize..20, put in "\\PC{0,8}|[\\[\\]{}=\"\n.]{0,3}") {
        let text = everything();
        let characters: Vec<char> = text.chars().collect();
        let start = at.index(characters.len());
        let end = (start + length).min(characters.len());
        let damaged: String =
            characters[..start].iter().copied().chain(put.chars()).chain(characters[end..].iter().copied()).collect();
        check_that_it_is_judged(&damaged);
    }

    #[test]
    fn any_value_of_any_setting_is_judged(line in any::<prop::sample::Index>(), value in any::<String>()) {
        let text = everything();
        let settings: Vec<&str> = text.lines().filter(|line| line.contains(" = ")).collect();
        let setting = settings[line.index(settings.len())];
        let (key, _) = setting.split_once(" = ").expect("a setting");
        let value = toml::Value::String(value);
        check_that_it_is_judged(&text.replace(setting, &format!("{key} = {value}")));
    }

    #[test]
    fn any_text_as_an_upstream_is_judged(to in any::<String>(), host in "\\PC{0,40}", listen in "[0-9a-f:.\\[\\]%]{0,30}") {
        let line = config::CommandLine { to: Some(to), hosts: vec![host], admin: Some(listen.clone()), listen: vec![listen] };
        let _ = Config::from_command_line(&line);
    }
}
