//! Texts that are read, and what they ask; texts that are not, and what is said of them.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::decision::{Action, Condition, RuleId, Stage, Wanted};
use crate::observation::attribute::{Attribute, each_value};

fn lists() -> Lists {
    let mut sites = List::default();
    sites.insert(*b"example.org");
    sites.insert_ending(*b".example.net");
    let mut office = List::default();
    office.insert(*b"192.0.2.0/24");
    office.insert(*b"2001:db8::1");
    let mut everything = List::default();
    everything.insert_everything();
    let mut lists = Lists::default();
    lists.insert("sites", sites);
    lists.insert("office", office);
    lists.insert("everything", everything);
    lists
}

#[track_caller]
fn parse(text: &str) -> Expression {
    Expression::parse(text, Use::Filter, &lists()).unwrap_or_else(|error| panic!("{text}: {}: {error}", error.column))
}

#[track_caller]
fn canonical(text: &str, expected: &str) {
    let expression = parse(text);
    assert_eq!(expression.to_string(), expected);
    assert_eq!(parse(expected), expression, "{expected}");
}

#[track_caller]
fn fails(text: &str, column: usize, expected: &str) {
    let error = Expression::parse(text, Use::Rule, &lists()).expect_err(text);
    assert_eq!((error.column, error.to_string().as_str()), (column, expected), "{text}");
}

fn request() -> Request<'static> {
    Request {
        method: b"POST",
        host: b"example.org",
        path: b"/ca/cacert.pem",
        query: Some(b"a=1&b=2"),
        user_agent: Some(b"Mozilla/5.0 QQGameHall"),
        country: Some(*b"CN"),
        asn: Some(4134),
        ..Request::default()
    }
}

fn client() -> Option<ClientAddress> {
    Some(ClientAddress::new("192.0.2.77".parse().expect("an address")))
}

#[test]
fn what_expressions_ask() {
    let answer = Answer {
        status: Some(404),
        bytes: 1000,
        at: Some(Timestamp::from_seconds(1_714_566_600)),
        duration: Some(Duration::from_millis(250)),
    };
    for (text, expected) in [
        ("path = /ca/cacert.pem", true),
        ("path != /ca/cacert.pem", false),
        ("method = POST and path = \"/ca/cacert.pem\"", true),
        ("method = GET or path = \"/ca/cacert.pem\"", true),
        ("method = GET or method = HEAD and path = \"/ca/cacert.pem\"", false),
        ("(method = GET or method = POST) and path = \"/ca/cacert.pem\"", true),
        ("not method = GET", true),
        ("not (method = GET or method = POST)", false),
        ("not not method = POST", true),
        ("user-agent contains QQGameHall", true),
        ("user-agent contains qqgamehall", false),
        ("user-agent not contains curl", true),
        ("user-agent starts-with Mozilla/", true),
        ("user-agent ends-with Mozilla/", false),
        ("user-agent-word = QQGameHall", true),
        ("user-agent-word != QQGameHall", false),
        ("user-agent-word in (curl, QQGameHall)", true),
        ("path-prefix = /ca/", true),
        ("path-prefix starts-with /c", true),
        ("extension in (crt, PEM)", true),
        ("query-keys = a&b", true),
        ("referer-origin = none", true),
        ("referer-origin != none", false),
        ("referer-origin != \"https://a.example\"", true),
        ("referer-origin not in (\"https://a.example\")", true),
        ("user-agent = none", false),
        ("host in sites", true),
        ("host not in sites", false),
        ("country = CN and host not in sites", false),
        ("country = cn and host in sites", true),
        ("country in (DE, CN) and asn = AS4134", true),
        ("host in everything", true),
        ("client = 192.0.2.77", true),
        ("client = 192.0.2.78", false),
        ("client-prefix = 192.0.0.0/16", true),
        ("client in (2001:db8::/32, 192.0.2.64/26)", true),
        ("client not in (2001:db8::/32, 192.0.2.64/26)", false),
        ("client in office", true),
        ("client = none", false),
        ("version = HTTP/1.1", true),
        ("status = 404", true),
        ("status >= 500", false),
        ("status < 500 and status > 400", true),
        ("status <= 404", true),
        ("status in (404, 410)", true),
        ("status not in (404, 410)", false),
        ("status = none", false),
        ("bytes >= 1000", true),
        ("time >= 2024-05-01T12:30", true),
        ("time < 2024-05-01T14:30:00+02:00", false),
        ("time > 2024-05-01 and time < 2024-05-02", true),
        ("duration = 250", true),
        ("duration < 250 or duration = none", false),
        ("bytes != 1000", false),
    ] {
        assert_eq!(parse(text).matches(&request(), client(), answer), expected, "{text}");
    }
}

#[test]
fn what_is_not_there_meets_only_what_asks_for_its_absence() {
    let nothing = Request { method: b"GET", path: b"/", ..Request::default() };
    for (text, expected) in [
        ("user-agent = none", true),
        ("user-agent contains a", false),
        ("user-agent != a", true),
        ("user-agent-word = none", true),
        ("path-prefix = none", true),
        ("path-template = none", true),
        ("host = none", true),
        ("host in sites", false),
        ("host not in sites", true),
        ("host in everything", true),
        ("client = none", true),
        ("client in office", false),
        ("client != 192.0.2.1", true),
        ("status = none", true),
        ("status < 500", false),
        ("status != 404", true),
        ("bytes = 0", true),
    ] {
        assert_eq!(parse(text).matches(&nothing, None, Answer::default()), expected, "{text}");
    }
}

#[test]
fn hosts_below_a_site_are_in_its_list() {
    let listed = parse("host in sites");
    for (host, expected) in [("www.example.net", true), ("example.net", false), ("other.example", false)] {
        let request = Request { host: host.as_bytes(), ..request() };
        assert_eq!(listed.matches(&request, None, Answer::default()), expected, "{host}");
    }
}

#[test]
fn texts_have_one_form() {
    canonical("path=/announce", "path = \"/announce\"");
    canonical("method=GET and(path=/a or path=/b)", "method = \"GET\" and (path = \"/a\" or path = \"/b\")");
    canonical("(path=/a and path=/b) or ((path=/c))", "path = \"/a\" and path = \"/b\" or path = \"/c\"");
    canonical("path=/a and (path=/b and path=/c)", "path = \"/a\" and path = \"/b\" and path = \"/c\"");
    canonical("not (not path=/a)", "not not path = \"/a\"");
    canonical("not (path=/a and path=/b)", "not (path = \"/a\" and path = \"/b\")");
    canonical("user-agent not in (a, \"b c\")", "user-agent not in (\"a\", \"b c\")");
    canonical("host!=Example.ORG", "host != \"example.org\"");
    canonical("client = 192.0.2.7", "client-prefix = \"192.0.2.7/32\"");
    canonical("client in (10.0.0.0/8, ::1)", "client-prefix in (\"10.0.0.0/8\", \"::1/128\")");
    canonical("client not in office", "client-prefix not in office");
    canonical("host not in sites # not ours", "host not in sites");
    canonical("status>=500 or status in (404,410) or bytes!=0", "status >= 500 or status in (404, 410) or bytes != 0");
    canonical("user-agent = \"none\"", "user-agent = \"none\"");
    canonical(
        "user-agent contains \"\\x1b[\\\"\\\\\\t\\'é\"",
        "user-agent contains \"\\x1b[\\\"\\\\\\t\\'\\xc3\\xa9\"",
    );
    canonical("user-agent\n  contains é", "user-agent contains \"\\xc3\\xa9\"");
    canonical("user-agent = and", "user-agent = \"and\"");
}

#[test]
fn errors_point_at_what_is_wrong_and_say_what_would_be_right() {
    fails("", 1, "the end stands where a condition is expected, as in `path = \"/announce\"`");
    fails("user-agnet contains a", 1, "there is no attribute `user-agnet`; did you mean `user-agent`?");
    fails("method = GET and UserAgent = a", 18, "there is no attribute `UserAgent`; did you mean `user-agent`?");
    fails("pth = /a", 1, "there is no attribute `pth`; did you mean `path`?");
    let every =
        Attribute::ALL.iter().map(|attribute| attribute.name()).chain(["client"]).collect::<Vec<_>>().join(", ");
    for name in ["bad", "asdf", "qwerty", "x"] {
        fails(&format!("{name} = a"), 1, &format!("there is no attribute `{name}`; there are {every}"));
    }
    fails("ip = 192.0.2.1", 1, "there is no attribute `ip`; did you mean `client`?");
    fails(
        "path /announce",
        6,
        "`/announce` stands after `path`, where one of =, !=, contains, starts-with, ends-with, in, not in is expected",
    );
    fails(
        "path containz x",
        6,
        "`containz` stands after `path`, where one of =, !=, contains, starts-with, ends-with, in, not in is expected; did you mean `contains`?",
    );
    fails(
        "path",
        5,
        "the end stands after `path`, where one of =, !=, contains, starts-with, ends-with, in, not in is expected",
    );
    fails(
        "path > 5",
        6,
        "`>` stands after `path`, where one of =, !=, contains, starts-with, ends-with, in, not in is expected",
    );
    fails(
        "client contains 192",
        8,
        "`contains` stands after `client-prefix`, where one of =, !=, in, not in is expected",
    );
    fails("path = ", 7, "the end stands where a value is expected");
    fails("path = (a)", 8, "`(` stands where a value is expected; put quotes around one that holds such a character");
    fails("path = /a path = /b", 11, "`path` stands where `and`, `or` or the end is expected");
    fails("path = /a AND path = /b", 11, "`AND` stands where `and`, `or` or the end is expected; did you mean `and`?");
    fails("path = /a and", 14, "the end stands where a condition is expected, as in `path = \"/announce\"`");
    fails("and path = /a", 1, "`and` stands where a condition is expected, as in `path = \"/announce\"`");
    fails("(path = /a", 1, "this parenthesis is never closed");
    fails("path = /a)", 10, "this parenthesis was never opened");
    fails("path in (/a, /b", 9, "this parenthesis is never closed");
    fails("path in (/a /b)", 13, "`/b` stands where `,` or `)` is expected; put quotes around a value with spaces");
    fails("path in ()", 10, "`)` stands where at least one value, as in `in (a, b)`, is expected");
    fails(
        "user-agent in (none, a)",
        16,
        "`none` stands where a value is expected; absence is asked for by itself, as in `user-agent = none or user-agent in (…)`",
    );
    fails("path = \"/a", 8, "this quote does not end on its line; a quote in a value is written as \\\"");
    fails(
        "path = \"/é\\q\"",
        11,
        "this is no escape; there are \\n, \\r, \\t, \\\", \\', \\\\ and \\xNN, and a backslash itself is \\\\",
    );
    fails("path == /a", 6, "`==` has no meaning here: write `=`");
    fails("path = /a && path = /b", 11, "`&&` has no meaning here: write `and`");
    fails("!path = /a", 1, "`!` has no meaning here: write `not`");
    fails("path = '/a'", 8, "`'` has no meaning here: a value is quoted with \"");
    fails("path = /a\\b", 10, "'\\\\' can stand only in a quoted value, where it is written as \\\\");
    fails("path = /a\u{7}", 10, "'\\u{7}' can stand only in a quoted value, where it is written as \\x07");
    fails("path = /a\0", 10, "'\\0' can stand only in a quoted value, where it is written as \\x00");
    fails("path = \u{201c}/a\u{201d}", 8, "`\u{201c}` has no meaning here: a value is quoted with \"");
    fails("path = /a\u{2019}s", 10, "`\u{2019}` has no meaning here: a value is quoted with \"");
    fails(
        "announce: path = /a",
        1,
        "there is no attribute `announce:`; a name stands before a rule in files of rules alone",
    );
    fails("host in site", 9, "there is no list `site`; did you mean `sites`?");
    fails(
        "host in elsewhere",
        9,
        "there is no list `elsewhere`; there is sites, office, everything, and several values stand in parentheses",
    );
    fails("client in everything", 11, "`everything` is a list of other values than these");
    fails("version in sites", 12, "`sites` is a list of other values than these");
    fails("client in sites", 11, "`sites` is a list of other values than these");
    fails(
        "client-prefix = (an IPv4 /32)",
        17,
        "`(` stands where a network is expected; the text of a rule leaves out networks, and `in (…)` asks for several",
    );
    fails(
        "method = post",
        10,
        "`post` is not POST: methods have a case; write POST, or quotes around what is meant as it stands",
    );
    fails(
        "method = GET and status >= 500",
        18,
        "a rule cannot ask for `status`: a request is judged before it is answered, with its status still unknown; filters over logs can ask for it",
    );
    fails(
        &format!("path = \"/{}\"", "a".repeat(256)),
        8,
        &format!("`/{}…` has 257 bytes, where 256 are compared at most", "a".repeat(59)),
    );
    assert_eq!(parse("method = \"post\"").to_string(), "method = \"post\"");
    fails("path = /a and country = UK", 25, "`UK` is no country code; write GB");
    let codes = "is no country code; a code has two letters, as CN or DE (ISO 3166-1)";
    fails("country = XX and host not in sites", 11, &format!("`XX` {codes}"));
    fails("country in (DE, Germany)", 17, &format!("`Germany` {codes}"));
    fails("asn = telekom", 7, "`telekom` is no number of an autonomous system, as 4134");
    fails("asn = 4294967296", 7, "`4294967296` is no number of an autonomous system, as 4134");
}

#[test]
fn names_that_are_far_from_all_are_answered_with_all() {
    let error = Expression::parse("colour = red", Use::Filter, &lists()).expect_err("no attribute");
    let text = error.to_string();
    assert!(
        text.contains("there are user-agent, ") && text.ends_with("client, status, bytes, time, duration"),
        "{text}"
    );
    let error = Expression::parse("colour = red", Use::Rule, &lists()).expect_err("no attribute");
    assert!(!error.to_string().contains("status"), "{error}");
    for status in ["99", "600", "ok", "4x4"] {
        assert!(Expression::parse(&format!("status = {status}"), Use::Filter, &lists()).is_err(), "{status}");
    }
}

#[test]
fn length_depth_and_number_are_bounded() {
    let problem = |text: &str| Expression::parse(text, Use::Rule, &lists()).map_err(|error| error.problem);
    let nested = |depth: usize| format!("{}path = /a{}", "(".repeat(depth), ")".repeat(depth));
    assert!(problem(&nested(DEPTH_MAX)).is_ok());
    assert_eq!(problem(&nested(DEPTH_MAX + 1)), Err(Problem::TooDeep));
    assert!(problem(&format!("{}path = /a", "not ".repeat(DEPTH_MAX))).is_ok());
    assert_eq!(problem(&format!("{}path = /a", "not ".repeat(DEPTH_MAX + 1))), Err(Problem::TooDeep));
    assert_eq!(problem(&"(".repeat(TEXT_BYTES_MAX)), Err(Problem::TooDeep));
    assert_eq!(problem(&"(".repeat(TEXT_BYTES_MAX + 1)), Err(Problem::TooLong { bytes: TEXT_BYTES_MAX + 1 }));
    let many = |count: usize| vec!["path = /a"; count].join(" or ");
    assert!(problem(&many(CONDITIONS_MAX)).is_ok());
    assert_eq!(problem(&many(CONDITIONS_MAX + 1)), Err(Problem::TooManyConditions));
    // Each letter takes two bytes as written here, and eight in the canonical text.
    let letters = vec!["é".repeat(100); 20].join(", ");
    assert!(
        matches!(problem(&format!("user-agent in ({letters})")), Err(Problem::TooLong { bytes }) if bytes > 16_000)
    );
}

#[test]
fn files_hold_a_rule_on_each_line() {
    let text = "\u{FEFF}# all of them\n\nannounce: path = /announce # BitTorrent\r\n  user-agent contains \"a#b\"\n";
    let rules = read_file(text.as_bytes(), Use::Rule, &lists()).expect("a good file");
    let shown: Vec<_> =
        rules.iter().map(|rule| (rule.line, rule.name.as_deref(), rule.expression.to_string())).collect();
    assert_eq!(
        shown,
        [(3, Some("announce"), "path = \"/announce\"".to_owned()), (4, None, "user-agent contains \"a#b\"".to_owned())]
    );
    let text = "a: path = /a\npath /b\na: path = /c\nb.c: path = /d\né: path = /e\nlonely:\n";
    let problems = read_file(text.as_bytes(), Use::Rule, &lists()).expect_err("a bad file");
    let shown: Vec<_> = problems.iter().map(|problem| (problem.line, problem.error.column, &*problem.text)).collect();
    assert_eq!(
        shown,
        [
            (2, 6, "path /b"),
            (3, 1, "a: path = /c"),
            (4, 1, "b.c: path = /d"),
            (5, 1, "é: path = /e"),
            (6, 8, "lonely:")
        ]
    );
    assert_eq!(problems[1].error.to_string(), "the rule in line 1 has the name `a` already");
    let problems = read_file(b"path = \"/\xe9t\xe9\"\npath = /b\n# \xe9\npath /c\n", Use::Rule, &lists());
    let shown: Vec<_> =
        problems.expect_err("Latin-1").iter().map(|problem| (problem.line, problem.error.column)).collect();
    assert_eq!(shown, [(1, 10), (3, 3), (4, 6)], "what else is wrong is said as well");
}

/// Text that cannot be read must not be able to exhaust the stack or the time either.
#[test]
fn any_text_is_answered() {
    for text in
        ["not ".repeat(2000), "(not ".repeat(1500), "path in (a,".repeat(700), "a".repeat(8192), "\"".repeat(8191)]
    {
        assert!(Expression::parse(&text, Use::Rule, &lists()).is_err());
    }
}

/// Any expression that can be read, as text.
fn texts() -> impl Strategy<Value = String> {
    let value = vec(any::<u8>(), 1..12).prop_map(|value| format!("\"{}\"", value.escape_ascii()));
    let text_attribute = prop_oneof![Just("user-agent"), Just("path"), Just("host")];
    let operator = prop_oneof![Just("contains"), Just("not contains"), Just("starts-with"), Just("not ends-with"),];
    let free = prop_oneof![
        Just("user-agent ="),
        Just("user-agent !="),
        Just("user-agent not in (a b, "),
        Just("user-agent in (")
    ];
    let condition = prop_oneof![
        (text_attribute, operator, value.clone())
            // No part of a path holds what begins the query.
            .prop_map(|(name, operator, value)| format!("{name} {operator} {}", value.replace('?', "!"))),
        (free, value).prop_map(|(operator, value)| {
            let operator = operator.replace("a b", "\"a b\"");
            let closing = if operator.contains('(') { ")" } else { "" };
            format!("{operator} {value}{closing}")
        }),
        any::<[u8; 4]>().prop_map(|address| format!("client = {}", std::net::Ipv4Addr::from(address))),
        any::<u128>().prop_map(|address| format!("client in (10.0.0.0/8, {})", std::net::Ipv6Addr::from_bits(address))),
        (100..600_u16).prop_map(|status| format!("status > {status}")),
        (100..600_u16).prop_map(|status| format!("status not in (200, {status})")),
        Just("referer-origin = none".to_owned()),
        Just("host not in sites".to_owned()),
        Just("client in office".to_owned()),
    ];
    condition.prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..4).prop_map(|parts| format!("({})", parts.join(") and ("))),
            vec(inner.clone(), 1..4).prop_map(|parts| parts.join(" or ")),
            vec(inner.clone(), 1..4).prop_map(|parts| parts.join(" and ")),
            inner.prop_map(|part| format!("not ({part})")),
        ]
    })
}

/// A request as a server receives it.
#[derive(Clone, Debug)]
struct Received {
    method: &'static str,
    host: String,
    path: String,
    query: Option<String>,
    user_agent: Option<Vec<u8>>,
    referer: Option<String>,
    client: [u8; 4],
}

impl Received {
    fn request(&self) -> Request<'_> {
        Request {
            method: self.method.as_bytes(),
            host: self.host.as_bytes(),
            path: self.path.as_bytes(),
            query: self.query.as_deref().map(str::as_bytes),
            user_agent: self.user_agent.as_deref(),
            referer: self.referer.as_deref().map(str::as_bytes),
            ..Request::default()
        }
    }

    fn client(&self) -> ClientAddress {
        ClientAddress::new(std::net::IpAddr::from(self.client))
    }
}

fn received() -> impl Strategy<Value = Received> {
    let user_agent = prop_oneof!["[ -~]{0,20}".prop_map(String::into_bytes), vec(any::<u8>(), 0..300)];
    (
        prop_oneof![Just("GET"), Just("POST"), Just("get"), Just("")],
        prop_oneof![Just(String::new()), "[a-z]{1,3}\\.example"],
        "/([a-c]/){0,3}[a-c]{0,2}(\\.(PHP|gz))?",
        proptest::option::of("([a-c]=?[0-9]?&?){0,4}"),
        proptest::option::of(user_agent),
        proptest::option::of("https://[a-c]\\.example(/[a-c])?"),
        (0..2_u8, 0..4_u8).prop_map(|(third, fourth)| [192, 0, third, fourth]),
    )
        .prop_map(|(method, host, path, query, user_agent, referer, client)| Received {
            method,
            host,
            path,
            query,
            user_agent,
            referer,
            client,
        })
}

/// Conditions as mining makes them: on values that a request has.
fn mined(received: &Received, choices: &[u8]) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for choice in choices {
        let attribute = Attribute::ALL[usize::from(*choice) % Attribute::COUNT];
        let mut values = Vec::new();
        each_value(attribute, &received.request(), Some(received.client()), |value| {
            values.push(value.map(<[u8]>::to_vec));
        });
        if Wanted::may_be_anything(attribute) && choice % 2 == 1 && values.iter().any(Option::is_some) {
            conditions.push(Condition::present(attribute));
        } else if let Some(value) = values.get(usize::from(choice / 64) % values.len().max(1)) {
            conditions
                .push(value.as_ref().map_or(Condition::absent(attribute), |value| Condition::new(attribute, value)));
        }
    }
    conditions
}

proptest! {
    #[test]
    fn the_canonical_text_reads_back_as_the_same(text in texts()) {
        let Ok(expression) = Expression::parse(&text, Use::Filter, &lists()) else {
            // Too long or too deep, which are the only ways in which these texts can be wrong.
            let error = Expression::parse(&text, Use::Filter, &lists()).expect_err("as before");
            prop_assert!(matches!(error.problem, Problem::TooLong { .. } | Problem::TooDeep), "{text}: {error}");
            return Ok(());
        };
        let canonical = expression.to_string();
        prop_assert!(canonical.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{canonical}");
        let again = Expression::parse(&canonical, Use::Filter, &lists());
        prop_assert_eq!(again.as_ref(), Ok(&expression), "{}", canonical);
    }

    #[test]
    fn no_text_makes_the_parser_fail_otherwise(text in "(path|not|and|[()\"\\\\=!<>,# a-e/é\n]|in|contains|[\\x00-\\x7f]){0,60}") {
        if let Err(error) = Expression::parse(&text, Use::Filter, &lists()) {
            prop_assert!(error.column >= 1 && error.column <= text.chars().count() + 1);
            prop_assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
        }
        let _ = read_file(text.as_bytes(), Use::Rule, &lists());
    }

    #[test]
    fn the_text_of_a_rule_asks_the_same(
        requests in vec(received(), 2..8),
        choices in vec(any::<u8>(), 1..=4),
    ) {
        let conditions = mined(&requests[0], &choices);
        prop_assume!(!conditions.is_empty());
        let is_about_clients = conditions.iter().any(|condition| condition.network().is_some());
        let action = Action::Refuse { status: 403 };
        let rule = Rule { id: RuleId(1), conditions, action, stage: Stage::Enforced, canary_interval: 0, is_asking: false };
        let shown = Expression::parse(&rule.to_string(), Use::Rule, &Lists::default());
        prop_assert_eq!(shown.is_ok(), !is_about_clients, "{}: {:?}", rule, shown);
        let whole = Expression::parse(&rule.text_with_networks(), Use::Rule, &Lists::default());
        prop_assert_eq!(whole.as_ref(), Ok(&Expression::from(&rule)), "{}", rule.text_with_networks());
        for received in &requests {
            let (request, client) = (received.request(), Some(received.client()));
            let expected = rule.matches(&request, client);
            for expression in shown.iter().chain(&whole) {
                prop_assert_eq!(expression.matches(&request, client, Answer::default()), expected, "{}", expression);
            }
        }
    }
}
