//! What views show of small logs.

use std::path::{Path, PathBuf};

use regex::bytes::Regex;
use seawall_engine::decision::expression::{Lists, Use};

use super::*;
use crate::networks::Networks;
use crate::show::log::{Clients, Screen};

fn view(view: View, names: &[&str], top: usize) -> ViewSummary {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/report");
    let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
    let options = Options {
        clients: Clients::by_pseudonym(b"a key for tests."),
        networks: &Networks::Embedded,
        panels: Vec::new(),
        explains: false,
        threads: 1,
    };
    let mut view =
        view.read(&Logs::new(&paths, None), &options, top, &mut Progress::hidden(), |error| panic!("{error}"));
    for (input, name) in view.inputs.iter_mut().zip(names) {
        input.name = (*name).to_owned();
    }
    for row in &mut view.rows {
        for cell in row.cells.iter_mut().filter(|cell| cell.label.starts_with('/') && cell.label.contains("tests/data"))
        {
            *cell = Cell::text("a file".to_owned());
        }
    }
    view
}

fn shown(view: &ViewSummary) -> String {
    let json = serde_json::to_string_pretty(&view.rows).expect("rows are JSON");
    format!("{}\n{}\n{json}", render(view, Screen { columns: 120, colour: false }), view.csv().expect("memory"))
}

fn rule(text: &str) -> View {
    View::FirstSeen(Box::new(Expression::parse(text, Use::Filter, &Lists::default()).expect("a rule")))
}

#[test]
fn leeches() {
    insta::assert_snapshot!(shown(&view(View::Leech, &["combined.log", "vhost.log"], 3)));
}

#[test]
fn matches_of_each_file() {
    let expression = Regex::new("feed|wiki").expect("an expression");
    insta::assert_snapshot!(shown(&view(View::Matches(Box::new(expression)), &["combined.log", "vhost.log"], 10)));
}

#[test]
fn first_seen() {
    insta::assert_snapshot!(shown(&view(rule("path starts-with \"/wiki/\""), &["combined.log", "vhost.log"], 2)));
}

#[test]
fn the_one_file_is_not_named_in_each_row() {
    let (one, two) = (&["combined.log"][..], &["combined.log", "vhost.log"][..]);
    for (names, is_told) in [(one, false), (two, true)] {
        let view = view(rule("status = 200"), names, 2);
        let text = render(&view, Screen { columns: 120, colour: false });
        assert_eq!(text.lines().any(|line| line.contains(" file ") && line.contains(" path ")), is_told, "{text}");
        assert_eq!(view.page().columns.len(), if is_told { 8 } else { 7 });
        // Programs are told in any case.
        assert!(view.csv().expect("memory").starts_with("time,input,line,"));
    }
}

#[test]
fn what_never_matched_is_said_to() {
    let view = view(rule("path = \"/nowhere\""), &["combined.log"], 2);
    assert!(view.rows.is_empty());
    assert_eq!(view.notes, ["No request matches."]);
}

#[test]
fn one_is_not_said_as_many_are() {
    for (text, expected) in [
        ("path = \"/x\"", "1 request matches, 0 B to nobody whose address is known, from "),
        ("path starts-with \"/say\"", "2 requests match, 306 B to one client, from "),
    ] {
        let view = view(rule(text), &["combined.log"], 1);
        assert!(!render(&view, Screen { columns: 120, colour: false }).contains("1 rows"));
        assert!(view.notes.iter().any(|note| note.starts_with(expected)), "{:?}", view.notes);
    }
}

#[test]
fn no_line_is_wider_than_the_screen() {
    for view in [view(View::Leech, &["combined.log"], 10), view(rule("status = 200"), &["combined.log"], 10)] {
        for columns in 60..=200 {
            for line in render(&view, Screen { columns, colour: false }).lines() {
                assert!(crate::show::log::page::width(line) <= columns, "{columns}: {line}");
            }
        }
    }
}

#[test]
fn few_clients_are_counted_and_many_estimated() {
    for (clients, is_exact) in [(1, true), (CLIENTS_EXACT_MAX, true), (CLIENTS_EXACT_MAX + 1, false), (40_000, false)] {
        let mut count = ClientCount::default();
        (0..clients).chain(0..clients).for_each(|client| count.add(client as u128));
        let (counted, said_exact) = count.count();
        assert_eq!(said_exact, is_exact, "{clients}");
        assert!(counted.abs_diff(clients as u64) <= if is_exact { 0 } else { clients as u64 / 20 }, "{counted}");
    }
}
