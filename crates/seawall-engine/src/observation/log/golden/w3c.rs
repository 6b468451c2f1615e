//! Lines whose columns a directive names.

use super::{check, show};

#[test]
fn w3c_extended_with_columns_that_change() {
    let first =
        "#Fields: date time c-ip cs-method cs-uri-stem cs-uri-query sc-status sc-bytes time-taken cs(User-Agent)";
    check(
        &[first, "2024-05-01 12:00:01 192.0.2.1 GET /a b=c 200 512 15 Mozilla/5.0+(X11)"],
        "w3c | 1714564801.000000 | 192.0.2.1 | - | GET |  | /a | b=c | HTTP/1.1 | 200 | 512 | 15ms | 15ms | Mozilla/5.0 (X11) | -",
    );
    check(
        &[
            first,
            "2024-05-01 12:00:01 192.0.2.1 GET /a - 200 512 15 -",
            "#Fields: date time cs-uri-stem sc-status",
            "2024-05-01 12:00:02 /b 404",
        ],
        "w3c | 1714564802.000000 | - | - |  |  | /b | - | HTTP/1.1 | 404 | 0 | 0ns | 0ns | - | -",
    );
    check(&[first, "2024-05-01 12:00:01 192.0.2.1 GET"], "too-few-fields");
    check(&[first], "directive");
}

/// Servers let clients ask for such hosts, and a log may begin with the host.
#[test]
fn a_host_that_begins_as_a_directive_hides_nothing() {
    let line =
        |host: &str| format!(r#"{host} 192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 5 "-" "A/1""#);
    let read = |host: &str| {
        format!(
            "vhost-combined | 1431857103.000000 | 192.0.2.1 | - | GET | {host} | /a | - | HTTP/1.1 | 200 | 5 | 0ns | 0ns | A/1 | -"
        )
    };
    let after = line("a.example");
    for host in ["#a", "#fields", "#date", "#fields: date time cs-uri-stem", "#date: x"] {
        let host = host.replace("fields", "Fields").replace("#date", "#Date");
        check(&[&after, &line(&host)], &read(&host.to_ascii_lowercase()));
        check(&[&line(&host), &after], &read("a.example"));
    }
    // Of a line that is cut off nothing is learnt, and it is counted as what it is.
    let cut = line("#Fields: date time cs-uri-stem");
    check(&[&cut[..60]], "no-timestamp");
    check(&[&line("#Date:")[..60]], "unclosed-quote");
    check(&[&cut[..60], &after], &read("a.example"));
    check(&["# a comment"], "no-timestamp");
}

#[test]
fn directives_are_those_that_name_what_is_needed() {
    let line = "2024-05-01 12:00:01 192.0.2.1 GET /a";
    for directive in
        ["#Software: Microsoft Internet Information Services 10.0", "#Version: 1.0", "#Date: 2024-05-01 12:00:01"]
    {
        check(&[directive], "directive");
    }
    let whole = "#Fields: date time c-ip cs-method cs-uri-stem";
    for (directive, reason) in [
        ("#Fields: date time c-ip", "no-target-column"),
        ("#Fields: c-ip cs-uri-stem", "no-time-column"),
        ("#Fields:", "no-time-column"),
        ("#Fields: time c-ip cs-method cs-uri-stem", "no-date-column"),
    ] {
        // It is no request itself; those that follow cannot be read.
        check(&[directive], "directive");
        check(&[directive, line], reason);
        // The columns of before hold no longer, and later ones hold again.
        check(&[whole, directive, line], reason);
        assert!(show(&[directive, whole, line]).starts_with("w3c | "), "{directive}");
    }
    check(&["#Fields: date time 5 cs-uri-stem"], "no-timestamp");
    check(&["#Fields: date time cs-uri-stem \"x\""], "no-timestamp");
}

#[test]
fn the_day_of_a_directive_is_that_of_lines_that_name_none() {
    let read = |directives: &[&str], line: &str| {
        let shown = show(&[directives, &[line]].concat());
        shown.split(" | ").skip(1).step_by(3).take(3).map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    let columns = "#Fields: time c-ip cs-method cs-uri sc-status";
    let line = "12:00:01 192.0.2.1 GET /a?b=c 200";
    assert_eq!(read(&["#Date: 2024-05-01 00:00:00", columns], line), "1714564801.000000 GET b=c");
    assert_eq!(
        read(&["#Date: 2024-05-01 00:00:00", columns, "#Date: 2024-05-02 00:00:00"], line),
        "1714651201.000000 GET b=c"
    );
    let absolute = "12:00:01 192.0.2.1 GET http://a.example/a?b=c 200";
    assert_eq!(read(&["#Date: 2024-05-01 00:00:00", columns], absolute), "1714564801.000000 GET b=c");
    check(&["#Date: yesterday", columns, line], "no-date-column");
}

#[test]
fn lines_that_stand_by_themselves_are_read_among_those_of_columns() {
    let directive = "#Fields: date time c-ip cs-method cs-uri-stem";
    let columns = "2024-05-01 12:00:01 192.0.2.1 GET /a";
    let itself = r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 5 "-" "A/1""#;
    let is =
        |lines: &[&str], format: &str| assert!(show(lines).starts_with(&format!("{format} | ")), "{}", show(lines));
    is(&[directive, columns], "w3c");
    is(&[directive, itself], "combined");
    is(&[directive, columns, itself, itself], "combined");
    is(&[directive, itself, itself, columns], "w3c");
}

#[test]
fn columns_parted_by_tabs_and_texts_in_quotes() {
    let names =
        "date time c-ip cs-method cs-uri-stem cs-uri-query sc-status sc-bytes time-taken cs(User-Agent) cs(Referer)";
    let directives = [format!("#Fields: {names}"), format!("#Fields:\t{}", names.replace(' ', "\t"))];
    let read = |agent: &str, referer: &str| {
        format!(
            "w3c | 1714564801.000000 | 192.0.2.1 | - | GET |  | /a | b=c | HTTP/1.1 | 200 | 512 | 15ms | 15ms | {agent} | {referer}"
        )
    };
    let line =
        |agent: &str, referer: &str| format!("2024-05-01 12:00:01 192.0.2.1 GET /a b=c 200 512 15 {agent} {referer}");
    let tabs = |agent: &str| line("AGENT", "-").replace(' ', "\t").replace("AGENT", agent);
    for directive in &directives {
        check(&[directive, &tabs("Mozilla/5.0 (X11)")], &read("Mozilla/5.0 (X11)", "-"));
        check(&[directive, &tabs("a+b")], &read("a+b", "-"));
        check(&[directive, &tabs("\"Mozilla/5.0 (X11)\"")], &read("Mozilla/5.0 (X11)", "-"));
        check(&[directive, &line("\"Mozilla/5.0 (X11) a+b\"", "\"-\"")], &read("Mozilla/5.0 (X11) a+b", "-"));
        check(
            &[directive, &line("\"a \"\"b\"\" c\"", "http://a.example/")],
            &read("a \"\"b\"\" c", "http://a.example/"),
        );
        check(&[directive, &line("\"a\"", "\"\"")], &read("a", "-"));
        // Quotes and tabs of a client's join and part nothing.
        check(&[directive, &line("\"a", "b\"")], &read("\"a", "b\""));
        check(&[directive, &line("a\tb", "-")], &read("a\tb", "-"));
        let joined = line("a\"", "-").replace("b=c", "\"b=c");
        check(&[directive, &joined], &read("a\"", "-").replace("b=c", "\"b=c"));
    }
}

#[test]
fn addresses_of_the_link_have_a_zone() {
    let fields =
        "#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port c-ip cs(User-Agent) sc-status time-taken";
    check(
        &[fields, "2024-05-01 12:00:01 fe80::9%5 GET /a - 80 fe80::1%5 A/1 200 15"],
        "w3c | 1714564801.000000 | fe80::1 | - | GET |  | /a | - | HTTP/1.1 | 200 | 0 | 15ms | 15ms | A/1 | -",
    );
}
