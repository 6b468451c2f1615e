//! What people and programs see of small logs.

use std::path::{Path, PathBuf};

use super::terminal::render;
use super::*;
use crate::show::log::Screen;

/// A report on test data, named as if it lay in the present folder.
fn report(names: &[&str], clients: Clients) -> Report {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/report");
    let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
    let mut report = Report::new(clients);
    report.collect(&Logs { paths: &paths, format: None }, &mut Progress::hidden(), |error| panic!("{error}"));
    for (input, name) in report.inputs.inputs.iter_mut().zip(names) {
        input.name = (*name).to_owned();
    }
    report
}

fn pseudonyms() -> Clients {
    Clients::by_pseudonym(b"a key for tests.")
}

fn plain(columns: usize) -> Screen {
    Screen { columns, colour: false }
}

#[test]
fn a_combined_log_at_80_columns() {
    let summary = report(&["combined.log"], pseudonyms()).summary(5);
    insta::assert_snapshot!(render(&summary, plain(80)));
}

#[test]
fn virtual_hosts_at_140_columns_with_addresses() {
    let summary = report(&["vhost.log"], Clients::by_address()).summary(10);
    insta::assert_snapshot!(render(&summary, plain(140)));
}

#[test]
fn a_damaged_log_of_mixed_formats() {
    let summary = report(&["damaged.log"], pseudonyms()).summary(10);
    insta::assert_snapshot!(render(&summary, plain(100)));
}

#[test]
fn several_logs_as_json() {
    let summary = report(&["vhost.log", "damaged.log"], pseudonyms()).summary(2);
    insta::assert_snapshot!(serde_json::to_string_pretty(&summary).expect("a summary is JSON"));
}

#[test]
fn nothing_at_all() {
    let summary = Report::new(pseudonyms()).summary(10);
    insta::assert_snapshot!(render(&summary, plain(80)));
}

#[test]
fn no_line_is_wider_than_the_screen_and_none_acts_on_it() {
    let summary = report(&["combined.log", "vhost.log", "damaged.log"], pseudonyms()).summary(100);
    for columns in 40..=200 {
        for line in render(&summary, plain(columns)).lines() {
            let width = unicode_width::UnicodeWidthStr::width(line);
            // A label has its eight columns even where there is room for none.
            assert!(width <= columns.max(60), "{width} columns of {columns}: {line}");
            assert!(!line.chars().any(char::is_control), "{line:?}");
            assert!(!line.contains('\u{202e}'), "{line:?}");
        }
    }
}

#[test]
fn colours_change_nothing_but_the_colour() {
    let summary = report(&["combined.log", "damaged.log"], pseudonyms()).summary(10);
    let coloured = render(&summary, Screen { columns: 100, colour: true });
    let mut without = String::new();
    for (index, piece) in coloured.split('\x1b').enumerate() {
        let text = if index == 0 { Some(piece) } else { piece.split_once('m').map(|(_, text)| text) };
        without.push_str(text.expect("a colour"));
    }
    // Trailing spaces are cut only where no colour ends after them.
    let trimmed = |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
    assert_eq!(trimmed(&without), trimmed(&render(&summary, plain(100))));
}

#[test]
fn addresses_are_shown_only_when_asked_for() {
    let names = ["combined.log", "vhost.log", "damaged.log"];
    let shown = |clients| {
        let summary = report(&names, clients).summary(1000);
        let json = serde_json::to_string(&summary).expect("a summary is JSON");
        format!("{}{json}", render(&summary, plain(200)))
    };
    let networks = ["192.0.2.", "198.51.100.", "203.0.113.", "2001:db8:"];
    let with = shown(Clients::by_address());
    let without = shown(pseudonyms());
    for network in networks {
        assert!(with.contains(network), "{network}");
        assert!(!without.contains(network), "{network}");
    }
}

#[test]
fn every_panel_counts_every_request() {
    let summary = report(&["combined.log", "vhost.log", "damaged.log"], pseudonyms()).summary(1000);
    let totals = &summary.totals;
    assert_eq!(totals.lines, totals.requests + totals.lines_unread);
    for panel in &summary.panels {
        assert!(panel.exact && panel.recorded, "{}", panel.name);
        let tallies = || panel.rows.iter().map(|row| row.tally).chain([panel.without_value, panel.not_recorded]);
        assert_eq!(tallies().map(|tally| tally.hits).sum::<u64>(), totals.requests, "{}", panel.name);
        assert_eq!(tallies().map(|tally| tally.bytes).sum::<u64>(), totals.bytes, "{}", panel.name);
    }
}
