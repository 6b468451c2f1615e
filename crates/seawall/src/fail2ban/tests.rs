use std::fs;

use super::*;
use crate::config::include;

/// What comes of the filter of this `[Definition]`, beside a file that it may name.
fn made(definition: &str) -> Converted {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mine.conf");
    let common = "[Init]\nblock = \\/?(<mail>|cgi-bin)[^,]*\nmail = roundcube|(ext)?mail\n";
    fs::write(folder.path().join("common.conf"), common).expect("written");
    fs::write(&path, definition).expect("written");
    let filter = Filter::read(&path).unwrap_or_else(|error| panic!("{error}"));
    let converted = convert(&filter, &Jail::default());
    if let Some(text) = &converted.text {
        include::check(text, "limit").unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    }
    converted
}

fn rule_of(expression: &str) -> Result<(String, bool), String> {
    let converted = made(&format!("[Definition]\nfailregex = {expression}\n"));
    match (converted.text, converted.unsayable.as_slice()) {
        (Some(text), []) => {
            let rule = text.split("'''").nth(1).unwrap_or_default().trim().to_owned();
            Ok((rule, converted.is_exact))
        }
        (_, [one, ..]) => Err(one.reason.clone()),
        (None, []) => panic!("nothing was said of {expression}"),
    }
}

#[track_caller]
fn becomes(expression: &str, rule: &str, is_exact: bool) {
    assert_eq!(rule_of(expression), Ok((rule.to_owned(), is_exact)), "{expression}");
}

#[track_caller]
fn fails(expression: &str, expected: &str) {
    let reason = rule_of(expression).expect_err(expression);
    assert!(reason.contains(expected), "{expression}: {reason}");
}

#[test]
fn expressions_become_conditions() {
    becomes(r#"^<HOST> - \S+ \[\] "[^"]*" 400"#, "status = 400", true);
    becomes(r#"^<HOST> .*"POST /wp-login\.php"#, r#"method = "POST" and path starts-with "/wp-login.php""#, false);
    becomes(
        r#"^<HOST> \S+ \S+ \[\] "POST /wp-login\.php HTTP/1\.1" 200"#,
        r#"method = "POST" and path = "/wp-login.php" and query-keys = none and version = "HTTP/1.1" and status = 200"#,
        true,
    );
    becomes(
        r#"^<HOST> - \S+ \[\] "(?:GET|POST) [^"]*" (?:401|403) "#,
        r#"method in ("GET", "POST") and status in (401, 403)"#,
        true,
    );
    becomes(
        r#"^<HOST> -[^"]*"(?:GET|HEAD) [^"]*" \d+ \d+ "[^"]*" "(?:EmailSiphon|Poirot)"$"#,
        r#"method in ("GET", "HEAD") and user-agent in ("EmailSiphon", "Poirot")"#,
        true,
    );
    becomes(r#"^<HOST> - \S+ \[\] "[^"]*" 5\d\d "#, "status >= 500 and status <= 599", true);
    becomes(
        r#"^<ADDR> - \S+ \[\] "GET /[^ ]*\.php HTTP/[^"]*" 404"#,
        r#"method = "GET" and path starts-with "/" and path ends-with ".php" and query-keys = none and version in ("HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "HTTP/3.0") and status = 404"#,
        false,
    );
}

#[test]
fn what_conditions_cannot_say_is_named() {
    fails(r#"^\[error\] client <HOST> denied"#, "fits no line of an access log");
    fails(r#"^<HOST> - \S+ \[\] "GET [^"]*\?[^"]*=http://"#, "in the query");
    fails(r#"^<HOST> - \S+ \[\] "GET /a[^"]*b[^"]*c HTTP"#, "several parts");
    fails(r#"^<HOST> - (?!- )\S+ \[\] "GET"#, "looks ahead");
    fails(r#"^<HOST> - - \[\] "GET /a HTTP/1\.1" 401"#, "no conditions could be found");
    fails(r#"^<HOST> - \S+ \[\] "GET <nothing>"#, "said nowhere");
}

#[test]
fn names_are_put_in_and_what_follows_a_path_is_asked_for_without_what_it_may_not_hold() {
    let converted = made(
        "[INCLUDES]\nbefore = common.conf\n\n[Definition]\nfailregex = ^<HOST> \\- \\S+ \\[\\] \\\"(GET|POST) \\/<block> \\S+\\\" 404 .+$\n\
         ignoreregex =\n",
    );
    assert!(converted.unsayable.is_empty(), "{:?}", converted.unsayable);
    let text = converted.text.expect("a limit");
    for part in
        ["path starts-with \"/roundcube\"", "path starts-with \"/extmail\"", "path not contains \",\"", "status = 404"]
    {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn what_is_ignored_is_not_met() {
    let filter = |ignored: &str| {
        made(&format!("[Definition]\nfailregex = ^<HOST> - \\S+ \\[\\] \"[^\"]*\" 404\nignoreregex = {ignored}\n"))
    };
    assert!(filter(r#"^<HOST> - \S+ \[\] "[^"]*" 200"#).text.is_some(), "which no line of it has");
    let taken_away = filter("robots\\.txt");
    assert!(taken_away.text.is_none() && taken_away.unsayable[0].reason.contains("ignoreregex"), "{taken_away:?}");
}

#[test]
fn a_filter_that_is_said_in_part_says_which() {
    let converted =
        made("[Definition]\nfailregex = ^<HOST> - \\S+ \\[\\] \"[^\"]*\" 400\n            ^client <HOST> denied\n");
    assert_eq!((converted.said, converted.unsayable.len()), (1, 1));
    assert_eq!(converted.unsayable[0].line, 3);
    assert!(
        converted.text.is_some_and(|text| text.contains("rate = \"4 in 10m\"") && text.contains("may be met by less"))
    );
}
