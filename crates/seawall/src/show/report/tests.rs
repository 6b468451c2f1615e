//! What people and programs see of small logs.

use std::path::{Path, PathBuf};

use seawall_engine::decision::expression::{Expression, Lists, Use};

use super::summary::Content;
use super::terminal::render;
use super::*;
use crate::show::log::{Filter, Screen};

/// A report on test data, named as if it lay in the present folder.
fn report(names: &[&str], clients: Clients) -> Report<'static> {
    report_of(names, clients, &[], None, 1)
}

/// The same with these panels, this filter and so many threads.
fn report_of(
    names: &[&str],
    clients: Clients,
    panels: &[&'static str],
    filter: Option<&str>,
    threads: usize,
) -> Report<'static> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/report");
    let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
    let filter = filter.map(|text| Expression::parse(text, Use::Filter, &Lists::default()).expect("a filter"));
    let filter = filter.map(Filter::new);
    let options = Options { clients, networks: &Networks::Embedded, panels: panels.to_vec(), explains: true, threads };
    let logs = Logs { filter: filter.as_ref(), ..Logs::new(&paths, None) };
    let mut report = Report::read(&logs, options, &mut Progress::hidden(), |error| panic!("{error}"));
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
    let summary = report(&[], pseudonyms()).summary(10);
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

/// The table panels of a summary, by name.
fn tables(summary: &Summary) -> impl Iterator<Item = (&'static str, &summary::TableSummary)> {
    summary.panels.iter().filter_map(|panel| match &panel.content {
        Content::Table(table) => Some((panel.name, table)),
        _ => None,
    })
}

/// Panels that are about some requests only.
const OF_SOME: [&str; 4] = ["static_files", "not_found", "paths_by_bytes", "slowest_paths"];

#[test]
fn every_panel_counts_every_request() {
    let summary = report(&["combined.log", "vhost.log", "damaged.log"], pseudonyms()).summary(1000);
    let totals = &summary.totals;
    let blank: u64 = summary.unread.iter().filter(|reason| !reason.is_failure).map(|reason| reason.lines).sum();
    assert!(blank > 0 && totals.lines == totals.requests + totals.lines_unread + blank, "{blank}");
    let mut whole = 0;
    for (name, table) in tables(&summary).filter(|(name, _)| !OF_SOME.contains(name)) {
        assert!(table.exact && table.recorded, "{name}");
        let tallies = || table.rows.iter().map(|row| row.tally).chain([table.without_value, table.not_recorded]);
        assert_eq!(tallies().map(|tally| tally.hits).sum::<u64>(), totals.requests, "{name}");
        assert_eq!(tallies().map(|tally| tally.bytes).sum::<u64>(), totals.bytes, "{name}");
        whole += 1;
    }
    assert_eq!(whole, 11);
    for panel in &summary.panels {
        match &panel.content {
            Content::Traffic(traffic) => {
                let outcomes = traffic.outcomes.iter();
                let hits: u64 = outcomes.clone().map(|outcome| outcome.tally.hits).sum();
                assert_eq!(hits, totals.requests);
                assert_eq!(outcomes.flat_map(|outcome| &outcome.cells).sum::<u64>(), totals.requests);
            }
            Content::Distribution(amounts) => {
                assert_eq!(amounts.requests + amounts.requests_not_recorded, totals.requests, "{}", panel.name);
                assert_eq!(amounts.buckets.iter().map(|bucket| bucket.requests).sum::<u64>(), amounts.requests);
            }
            Content::Table(_) | Content::Surges(_) => {}
        }
    }
}

#[test]
fn threads_change_nothing() {
    let names = ["combined.log", "vhost.log", "damaged.log"];
    let json = |threads| {
        let summary = report_of(&names, pseudonyms(), &[], None, threads).summary(1000);
        serde_json::to_string_pretty(&summary).expect("a summary is JSON")
    };
    assert_eq!(json(1), json(3));
}

#[test]
fn a_filter_holds_for_every_panel() {
    let filter = "path = \"/feed.xml\" and status = 200";
    let summary = report_of(&["combined.log"], pseudonyms(), &[], Some(filter), 1).summary(1000);
    let all = report(&["combined.log"], pseudonyms()).summary(1000);
    let (of_some, of_all) = (&summary.totals, &all.totals);
    assert!(of_some.requests > 5 && of_some.requests < of_all.requests);
    assert_eq!(of_some.requests + of_some.requests_left_out, of_all.requests);
    for (name, table) in tables(&summary).filter(|(name, _)| !OF_SOME.contains(name)) {
        let hits: u64 = table.rows.iter().map(|row| row.tally.hits).sum();
        assert_eq!(hits + table.without_value.hits + table.not_recorded.hits, of_some.requests, "{name}");
    }
    let (_, paths) = tables(&summary).find(|(name, _)| *name == "paths").expect("paths");
    assert_eq!(paths.rows.iter().map(|row| row.value.as_str()).collect::<Vec<_>>(), ["/feed.xml"]);
    // What the log does not record is not judged, and said.
    let summary = report_of(&["combined.log"], pseudonyms(), &[], Some("host = none"), 1).summary(10);
    assert_eq!((summary.totals.requests, summary.totals.requests_not_judged), (0, 64));
    assert_eq!(summary.totals.not_recorded, ["host"]);
    let summary = report_of(&["combined.log"], pseudonyms(), &[], Some("duration > 500"), 1).summary(10);
    assert_eq!((summary.totals.requests, summary.totals.requests_not_judged), (0, 65));
    assert_eq!(summary.totals.not_recorded, ["duration"]);
    let summary = report_of(&["combined.log"], pseudonyms(), &[], Some("duration = none"), 1).summary(10);
    assert_eq!((summary.totals.requests, summary.totals.requests_not_judged), (65, 0));
}

/// The report of a log of these lines, with its filter, read by so many threads.
fn report_of_lines(lines: &str, panel: &'static str, filter: Option<&str>, threads: usize) -> Summary {
    let folder = tempfile::tempdir().expect("a folder");
    let paths = [folder.path().join("access.log")];
    std::fs::write(&paths[0], lines).expect("room");
    let filter = filter.map(|text| Expression::parse(text, Use::Filter, &Lists::default()).expect("a filter"));
    let filter = filter.map(Filter::new);
    let options =
        Options { clients: pseudonyms(), networks: &Networks::Embedded, panels: vec![panel], explains: false, threads };
    let logs = Logs { filter: filter.as_ref(), ..Logs::new(&paths, None) };
    Report::read(&logs, options, &mut Progress::hidden(), |error| panic!("{error}")).summary(5)
}

fn timed_line(bytes: u64, further: &str) -> String {
    format!("192.0.2.1 - - [31/Dec/2025:00:00:00 +0000] \"GET /a HTTP/1.1\" 200 {bytes} \"-\" \"A/1\" {further}\n")
}

#[test]
fn numbers_that_may_be_times_are_told_of_with_what_would_say_so() {
    let fast: String = (0..300).map(|number| timed_line(5_000, &(300 + number).to_string())).collect();
    let note = "lines end with a number whose meaning is not known; if it is a time, name the format, for example --format \
                '%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-agent}i\" %D'";
    let shown = |lines: &str, filter| {
        let summary = report_of_lines(lines, "response_times", filter, 1);
        let text = render(&summary, plain(240));
        assert_eq!(summary.totals.unknown_number.is_some(), text.contains(note), "{text}");
        text
    };
    let text = shown(&fast, None);
    assert!(text.contains("Response times") && text.contains(note) && !text.contains("not recorded"), "{text}");
    let text = shown(&fast, Some("duration > 5"));
    assert!(text.contains("300 are of logs that do not record duration") && text.contains(note), "{text}");
    // A few of them are of no account, and what is known is known.
    let few: String = (0..300).map(|number| timed_line(5_000, if number < 100 { "5" } else { "" })).collect();
    assert!(shown(&few, None).contains("not recorded in these logs (format: combined)"));
    assert!(!shown(&timed_line(5, "0.250").repeat(300), None).contains(note));
}

/// Each thread sees other lines, of which some would say what the numbers are.
#[test]
fn threads_do_not_find_out_apart_what_numbers_are() {
    let line =
        |number: u64| timed_line(5_000, &(if number.is_multiple_of(7) { 90_000 + number } else { 300 }).to_string());
    let told: String = (0..20_000).map(line).collect();
    // What tells comes after the first block.
    let told_late: String =
        (0..20_000).map(|number| if number < 9_000 { timed_line(5, "300") } else { line(number) }).collect();
    for lines in [told, told_late] {
        let json = |threads| {
            let summary = report_of_lines(&lines, "response_times", None, threads);
            serde_json::to_string(&summary.panels).expect("a summary is JSON")
        };
        assert_eq!(json(1), json(3));
    }
}

#[test]
fn one_panel_alone_is_a_view() {
    for name in panel_names() {
        let report = report_of(&["combined.log"], pseudonyms(), &[name], None, 1);
        let names: Vec<_> = report.summary(10).panels.iter().map(|panel| panel.name).collect();
        // This log does not say how long requests took.
        let expected = if name == "slowest_paths" { vec![] } else { vec![name] };
        assert_eq!(names, expected);
        assert_eq!(report.summary(10).totals.clients, 8);
    }
}

#[test]
fn values_are_harmless_in_spreadsheets() {
    let summary = report(&["combined.log", "damaged.log"], pseudonyms()).summary(100);
    let text = csv::render(&summary).expect("memory");
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    assert_eq!(reader.headers().expect("a header").len(), 11);
    let rows: Vec<::csv::StringRecord> = reader.records().collect::<Result<_, _>>().expect("rows of as many fields");
    assert!(rows.iter().any(|row| &row[0] == "paths" && &row[1] == "/feed.xml" && &row[3] == "18"));
    assert!(rows.iter().flatten().all(|field| !field.starts_with(['=', '+', '-', '@'])));
    assert_eq!(csv::harmless("=HYPERLINK(1)"), "'=HYPERLINK(1)");
}

#[test]
fn surges_that_are_too_weak_to_be_explained_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("access.log");
    let mut log = String::new();
    for second in 0..86_400_u32 {
        let (hour, minute) = (second / 3600, second / 60 % 60);
        let is_flood = second > 3600 && second % 8000 < 200;
        for number in 0..if is_flood { 10 + second / 8000 } else { u32::from(second % 4 == 0) } {
            log += &format!(
                "192.0.2.{} - - [31/Dec/2025:{hour:02}:{minute:02}:{:02} +0000] \"GET / HTTP/1.1\" 200 300 \"-\" \"agent\"\n",
                number % 200,
                second % 60
            );
        }
    }
    std::fs::write(&path, log).expect("room");
    let options = Options {
        clients: pseudonyms(),
        networks: &Networks::Embedded,
        panels: vec!["surges"],
        explains: false,
        threads: 1,
    };
    let paths = [path];
    let report = Report::read(&Logs::new(&paths, None), options, &mut Progress::hidden(), |error| panic!("{error}"));
    let summary = report.summary(5);
    let surges = summary.panels.iter().find_map(|panel| match &panel.content {
        Content::Surges(surges) => Some(surges),
        _ => None,
    });
    let surges = surges.expect("the panel");
    assert_eq!((surges.found.len(), surges.left_out.len()), (8, 2), "{surges:?}");
    let shown = render(&summary, plain(100));
    assert!(shown.contains("2 more that are weaker are not explained"), "{shown}");
    let first = surges.left_out[0].from.replace('T', " ").replace('Z', "");
    assert!(shown.contains(&first), "{shown}");
}
