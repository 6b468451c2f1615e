//! What is said holds of exactly the requests that the rule itself holds of, and nothing that a rule asks for can be anything but a
//! value in a file. The real programs are tried in the integration tests.

use std::collections::BTreeMap;

use ipnet::IpNet;
use proptest::prelude::*;
use seawall_engine::address::ClientAddress;
use seawall_engine::decision::expression::{Answer, Expression, List, Lists, Use};
use seawall_engine::observation::attribute::USER_AGENT_WORDS_MAX;
use seawall_engine::observation::{Request, Version};
use seawall_engine::units::Timestamp;

use super::pattern::{MARKS, Patterns, Reads};
use super::term::{Dialect, Field, Leaf, Term, Test, lower};
use super::{Ban, Candidate, Material, SYSTEMS, Written, caddy, system, vcl};

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
const CLIENT: &str = "192.0.2.77";

/// A request as a client sends it.
#[derive(Clone, Debug, Default)]
struct Sent {
    method: String,
    target: String,
    host: Option<String>,
    user_agent: Option<Vec<u8>>,
    referer: Option<Vec<u8>>,
    is_old: bool,
}

impl Sent {
    /// The host without port and final dot, in lower case.
    fn clean_host(&self) -> String {
        let host = self.host.clone().unwrap_or_default();
        let name = host.split(':').next().unwrap_or_default();
        name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
    }

    fn meets(&self, expression: &Expression) -> bool {
        let host = self.clean_host();
        let (path, query) = Request::split_target(self.target.as_bytes());
        let request = Request {
            method: self.method.as_bytes(),
            host: host.as_bytes(),
            path,
            query,
            version: if self.is_old { Version::Http10 } else { Version::Http11 },
            user_agent: self.user_agent.as_deref(),
            referer: self.referer.as_deref(),
            ..Request::default()
        };
        expression.matches(&request, Some(client()), Answer::default())
    }

    /// A part as a server hands it to what is matched with it.
    fn part(&self, field: Field, reads: Reads) -> Option<Vec<u8>> {
        let (path, query) = Request::split_target(self.target.as_bytes());
        let part = match (field, reads) {
            (Field::Path | Field::Query, Reads::Characters) => return Some(self.target.clone().into()),
            (Field::Path, Reads::Bytes) => path.to_vec(),
            (Field::Query, Reads::Bytes) => {
                let cut = |query: &[u8]| [b"?", &query[..query.len().min(256)]].concat();
                return Some(query.map(cut).unwrap_or_default());
            }
            (Field::Method, _) => self.method.clone().into(),
            (Field::Host, _) => self.host.clone().unwrap_or_default().into(),
            (Field::UserAgent, _) => self.user_agent.clone()?,
            (Field::Referer, _) => self.referer.clone()?,
            (Field::Version, _) => if self.is_old { "HTTP/1.0" } else { "HTTP/1.1" }.into(),
        };
        Some(if reads == Reads::Bytes { part[..part.len().min(field.bytes_max())].to_vec() } else { part })
    }
}

fn client() -> ClientAddress {
    ClientAddress::new(CLIENT.parse().expect("an address"))
}

/// What a server makes of a term, with the engine of another implementation for its patterns.
fn holds(term: &Term, sent: &Sent, patterns: Patterns) -> bool {
    let find = |pattern: &str, text: &[u8]| match patterns.reads {
        Reads::Bytes => {
            regex::bytes::Regex::new(&format!("(?-u){pattern}")).expect("a pattern of bytes").is_match(text)
        }
        Reads::Characters => {
            regex::Regex::new(pattern).expect("a pattern of characters").is_match(&String::from_utf8_lossy(text))
        }
    };
    match term {
        Term::All(parts) => parts.iter().all(|part| holds(part, sent, patterns)),
        Term::Any(parts) => parts.iter().any(|part| holds(part, sent, patterns)),
        Term::Not(part) => !holds(part, sent, patterns),
        Term::Is(Leaf::Missing(Field::Host)) => {
            find(Patterns::no_host(), sent.host.as_deref().unwrap_or_default().as_bytes())
        }
        Term::Is(Leaf::Missing(Field::Query)) => !sent.target.contains('?'),
        Term::Is(Leaf::Missing(field)) => sent.part(*field, patterns.reads).is_none(),
        Term::Is(Leaf::Blank(field)) => sent.part(*field, patterns.reads).is_none_or(|part| part.is_empty()),
        Term::Is(Leaf::Text(field, tests)) => sent.part(*field, patterns.reads).is_some_and(|part| {
            let made = |test: &Test| test.pattern(*field, patterns).expect("what is lowered can be written");
            tests.iter().filter_map(made).any(|pattern| find(&pattern, &part))
        }),
        Term::Is(Leaf::Client(networks)) => networks.iter().any(|network| network.contains(&client().ip())),
    }
}

fn lists() -> Lists {
    let mut sites = List::default();
    sites.insert(&b"a.example"[..]);
    sites.insert_ending(&b".b.example"[..]);
    let mut lists = Lists::default();
    lists.insert("sites", sites);
    lists
}

fn parse(text: &str) -> Option<Expression> {
    Expression::parse(text, Use::Rule, &lists()).ok()
}

/// Pieces of which parts of requests and values are made, so that one is often found in the other.
fn text(pieces: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(pieces), 0..most).prop_map(|pieces| pieces.concat())
}

const PATHS: &[&str] = &[
    "/",
    "/a",
    "/b/",
    "a",
    "b",
    ".",
    ".php",
    ".PHP",
    "/index.php",
    "/x.css",
    ".py/",
    "%2f",
    "-",
    "_",
    "\"",
    "é",
    "//",
    "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];
const QUERIES: &[&str] = &[
    "a",
    "a=1",
    "&",
    "&&",
    "=",
    "b=?",
    "b",
    "id",
    "id=7&",
    "ab=",
    "x&",
    "\"",
    "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc",
];
const AGENTS: &[&str] = &[
    "Mozilla",
    "bot",
    "Bot",
    " ",
    "/",
    "5.0",
    "(",
    ";",
    "ab",
    "a",
    "é",
    "日本",
    "$",
    "\"",
    "'",
    "`",
    "\\",
    "{",
    "9x",
    "x y z ",
    "one two three four five six seven eight nine ten ",
    "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww",
];
const REFERERS: &[&str] = &["https:", "//", "/", "a.example", "b", "?", "é"];
const HOSTS: &[&str] = &["a.example", "A", ".", "b", ".b.example", "www", "80", "-"];
const METHODS: &[&str] = &["GET", "POST", "P", "O", "-", "ABCDEFGHIJKLMNOP"];

fn sent() -> impl Strategy<Value = Sent> {
    let header = |pieces, most| proptest::option::weighted(0.8, text(pieces, most));
    let port = proptest::sample::select(&["", "", ":", ":80", ":8080"][..]);
    let target = (text(PATHS, 8), header(QUERIES, 24));
    let target = target
        .prop_map(|(path, query)| format!("/{path}{}", query.map(|query| format!("?{query}")).unwrap_or_default()));
    (text(METHODS, 4), target, header(HOSTS, 4), port, header(AGENTS, 24), header(REFERERS, 6), any::<bool>()).prop_map(
        |(method, target, host, port, user_agent, referer, is_old)| Sent {
            method,
            target,
            host: host.map(|host| host + port),
            user_agent: user_agent.map(String::into_bytes),
            referer: referer.map(String::into_bytes),
            is_old,
        },
    )
}

/// A condition on one attribute, most of them such that something can meet it.
fn condition() -> impl Strategy<Value = String> {
    let attributes: &[(&str, &'static [&'static str])] = &[
        ("method", METHODS),
        ("path", PATHS),
        ("path-prefix", PATHS),
        ("extension", &["php", "p", "PHP", "css", "s", "py", "c", "a"]),
        ("query-keys", &["a", "b", "id", "&", "ab", "x"]),
        ("host", HOSTS),
        ("user-agent", AGENTS),
        ("user-agent-word", &["Mozilla", "bot", "ab", "o", "é", "日本", "one", "ten", "w", "B"]),
        ("referer-origin", REFERERS),
    ];
    let operator = proptest::sample::select(
        &["=", "!=", "contains", "not contains", "starts-with", "ends-with", "in", "not in", "none"][..],
    );
    proptest::sample::select(attributes).prop_flat_map(move |(attribute, pieces)| {
        (text(pieces, 4), text(pieces, 3), operator.clone(), any::<bool>()).prop_map(
            move |(value, other, operator, is_longer)| {
                let start = if is_longer && attribute.starts_with("path") { "/" } else { "" };
                let quoted = |value: &str| format!("\"{}\"", format!("{start}{value}").as_bytes().escape_ascii());
                match operator {
                    "none" => format!("{attribute} = none"),
                    "in" | "not in" => format!("{attribute} {operator} ({}, {})", quoted(&value), quoted(&other)),
                    operator => format!("{attribute} {operator} {}", quoted(&value)),
                }
            },
        )
    })
}

fn rule() -> impl Strategy<Value = String> {
    let others = proptest::sample::select(
        &[
            "host in sites",
            "host not in sites",
            "client in (192.0.2.0/24, 2001:db8::/32)",
            "version = \"HTTP/1.0\"",
            "client = 10.0.0.1",
        ][..],
    );
    let one = prop_oneof![6 => condition(), 1 => others.prop_map(str::to_owned)];
    one.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one} and {other})")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one} or {other})")),
            inner.prop_map(|one| format!("not ({one})")),
        ]
    })
}

/// What a dialect makes of a rule, and what the rule itself says.
fn compare(text: &str, sent: &Sent, dialect: &Dialect) -> Option<(bool, bool)> {
    let expression = parse(text)?;
    let term = lower(&expression, dialect).ok()?;
    Some((holds(&term, sent, dialect.patterns?), sent.meets(&expression)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn patterns_of_bytes_hold_of_what_the_rule_holds_of(text in rule(), sent in proptest::collection::vec(sent(), 4)) {
        for sent in sent {
            if let Some((said, meant)) = compare(&text, &sent, &vcl::DIALECT) {
                prop_assert_eq!(said, meant, "{} {:?}", text, sent);
            }
        }
    }

    #[test]
    fn patterns_of_characters_hold_of_nothing_else(text in rule(), sent in proptest::collection::vec(sent(), 4)) {
        for sent in sent {
            if let Some((said, meant)) = compare(&text, &sent, &caddy::DIALECT) {
                prop_assert!(meant || !said, "{} {:?}", text, sent);
                let parts = [Some(sent.target.as_bytes()), sent.user_agent.as_deref(), sent.referer.as_deref()];
                // That a word comes too late to count cannot be said there where it would refuse more.
                let words = sent.user_agent.iter().flat_map(|agent| agent.split(|byte| !byte.is_ascii_alphanumeric()));
                if words.filter(|word| !word.is_empty()).count() > USER_AGENT_WORDS_MAX {
                    continue;
                }
                if parts.into_iter().flatten().all(|part| part.is_ascii() && part.len() <= 250) && sent.method.len() <= 20 {
                    prop_assert_eq!(said, meant, "{} {:?}", text, sent);
                }
            }
        }
    }

    #[test]
    fn values_are_nothing_but_values(value in proptest::collection::vec(any::<u8>(), 1..40), attribute in 0_usize..5, operator in 0_usize..4) {
        let operator = ["=", "contains", "starts-with", "ends-with"][operator];
        let attribute = ["user-agent", "path", "referer-origin", "query-keys", "host"][attribute];
        check_hostile(attribute, operator, &value)?;
    }
}

#[test]
fn values_of_attackers_are_nothing_but_values() {
    let values: [&[u8]; 12] = [
        b"a\"; } server { return 200; } #",
        b"a'\nacl all src 0.0.0.0/0\n",
        b"$host ${PATH} {$HOME} %{HTTP_HOST} %[src]",
        b"`) || ClientIP(`0.0.0.0/0`) || (`",
        b"\\",
        b"a\\\"",
        b"\0",
        b"-m str -f /etc/passwd",
        b"m#x# || true",
        "\u{202e}日本".as_bytes(),
        b"\xff\xfe",
        b"\r\n# x\r\n",
    ];
    for value in values {
        for attribute in ["user-agent", "path", "referer-origin", "query-keys", "host"] {
            for operator in ["=", "contains", "starts-with", "ends-with"] {
                check_hostile(attribute, operator, value).expect("nothing gets out of its quotes");
            }
        }
    }
}

/// A file with a rule on this value is, apart from comments and patterns, the file with a rule on as many times `a`.
fn check_hostile(attribute: &str, operator: &str, value: &[u8]) -> Result<(), TestCaseError> {
    let rule = |value: &[u8]| format!("{attribute} {operator} \"{}\"", value.escape_ascii());
    // What decides on the shape of a pattern stays.
    let harmless: Vec<u8> = value.iter().map(|byte| if b"/?&=".contains(byte) { *byte } else { b'a' }).collect();
    let (Some(hostile), Some(harmless)) = (parse(&rule(value)), parse(&rule(&harmless))) else { return Ok(()) };
    for system in SYSTEMS {
        let written = system.write(&material(vec![candidate("x", &hostile)]));
        let is_plain = written.text.bytes().all(|byte| matches!(byte, b'\n' | b'\t' | b' '..=b'~'));
        prop_assert!(is_plain, "{}", written.text);
        if written.rules == 0 {
            continue;
        }
        let reference = system.write(&material(vec![candidate("x", &harmless)]));
        if system.name == "cloudflare" {
            prop_assert_eq!(unquoted(&written), Some(cased(attribute, value)), "{}", written.text);
            continue;
        }
        prop_assert_eq!(skeleton(&written.text), skeleton(&reference.text), "{}", written.text);
    }
    Ok(())
}

/// Hosts are compared in lower case.
fn cased(attribute: &str, value: &[u8]) -> Vec<u8> {
    if attribute == "host" { value.to_ascii_lowercase() } else { value.to_vec() }
}

/// The lines without comments, and of those with a pattern all that no pattern is written with.
fn skeleton(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let outside = |character: &char| !character.is_ascii_alphanumeric() && !MARKS.contains(*character);
    lines.map(|line| line.chars().filter(outside).collect()).collect()
}

/// The first string of the only expression, as Cloudflare reads it.
fn unquoted(written: &Written) -> Option<Vec<u8>> {
    let file: serde_json::Value = serde_json::from_str(&written.text).expect("JSON");
    let expression = file["rules"].as_array()?.last()?["expression"].as_str()?;
    let (mut value, mut escaped) = (Vec::new(), false);
    for byte in expression.bytes().skip_while(|byte| *byte != b'"').skip(1) {
        match byte {
            _ if escaped => {
                value.push(byte);
                escaped = false;
            }
            b'\\' => escaped = true,
            b'"' => return Some(value),
            byte => value.push(byte),
        }
    }
    None
}

fn candidate(name: &str, expression: &Expression) -> Candidate {
    Candidate { name: name.to_owned(), expression: expression.clone(), expires: None, obstacle: None }
}

fn material(rules: Vec<Candidate>) -> Material {
    Material { rules, made: NOW, ports: vec![80, 443], command: "seawall export".to_owned(), ..Material::default() }
}

fn network(text: &str) -> IpNet {
    text.parse().expect("a network")
}

/// Rules and bans of every kind.
fn sample() -> Material {
    let texts = [
        ("R1", "method = POST and path = \"/ca/cacert.pem\" and user-agent = \"QQGameHall\""),
        ("R2", "user-agent-word = MicroMessenger or query-keys = \"action&id\""),
        ("R3", "extension = php and host not in sites and not client in (198.51.100.0/24, 2001:db8::/32)"),
        ("R4", "user-agent = none"),
        ("R5", "client = 198.51.100.7"),
        ("R6", "country = CN"),
        ("R7", "referer-origin = \"https://news.example\" and version = \"HTTP/1.0\""),
        ("R8", "user-agent = none or user-agent = \"\""),
    ];
    let mut rules: Vec<Candidate> =
        texts.iter().map(|(name, text)| candidate(name, &parse(text).expect("a rule"))).collect();
    let after = |seconds| Some(Timestamp::from_seconds(NOW.as_seconds() + seconds));
    rules[0].expires = after(3_600);
    let slowed = Candidate { obstacle: Some("it only slows down".to_owned()), ..candidate("R9", &rules[0].expression) };
    rules.push(slowed);
    let bans = [
        ("203.0.113.7/32", after(600)),
        ("203.0.113.0/24", after(300)),
        ("192.0.2.0/24", None),
        ("2001:db8:1:2::/64", after(900)),
        ("192.0.2.9/32", after(900)),
    ];
    let bans = bans.iter().map(|(name, expires)| Ban { network: network(name), expires: *expires }).collect();
    let never_ban = ["127.0.0.0/8", "::1/128", "192.0.2.9/32"].map(network).to_vec();
    Material { bans, never_ban, ..material(rules) }
}

#[test]
fn every_system_writes_the_sample() {
    for system in SYSTEMS {
        let written = system.write(&sample());
        let text = written.text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
        insta::assert_snapshot!(system.name, text);
    }
}

#[test]
fn what_waits_to_be_confirmed_is_a_comment() {
    for system in SYSTEMS {
        let waiting = vec!["R10001: path = \"/{b}\"".to_owned(), "2 bans".to_owned()];
        let text = system.write(&Material { waiting, ..sample() }).text;
        let lines = ["Left out, since it waits to be confirmed (seawall confirm):", "  2 bans"];
        assert!(lines.iter().all(|line| text.contains(line)), "{}: {text}", system.name);
        assert!(text.contains("R10001: path = ") && !text.contains("/{b}"), "{}: {text}", system.name);
    }
}

#[test]
fn every_system_writes_a_file_of_nothing() {
    for system in SYSTEMS {
        let written = system.write(&material(Vec::new()));
        let text = written.text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
        insta::assert_snapshot!(format!("{}-empty", system.name), text);
    }
}

/// What is tried with no program of these systems is at least what it says that it is.
#[test]
fn what_is_yaml_or_json_can_be_read() {
    for material in [sample(), material(Vec::new())] {
        let written = system("traefik").expect("a system").write(&material);
        let read = yaml_rust2::YamlLoader::load_from_str(&written.text).expect("YAML");
        let routers = read[0]["http"]["routers"].as_hash().map_or(0, |routers| routers.len());
        // With TLS and without.
        assert_eq!(routers, 2 * (written.rules + usize::from(written.bans > 0)));
        let written = system("cloudflare").expect("a system").write(&material);
        let read: serde_json::Value = serde_json::from_str(&written.text).expect("JSON");
        let lists = usize::from(written.bans > 0) + usize::from(!material.never_ban.is_empty());
        assert_eq!(read["rules"].as_array().map(Vec::len), Some(written.rules + lists));
    }
}

#[test]
fn no_expression_of_cloudflare_is_too_long() {
    let bans = (0..9_999_u32)
        .map(|number| Ban { network: std::net::Ipv4Addr::from_bits(number << 8).into_net(), expires: None });
    let long = format!("user-agent in ({})", vec![format!("\"{}\"", "x".repeat(120)); 60].join(", "));
    let material =
        Material { bans: bans.collect(), ..material(vec![candidate("long", &parse(&long).expect("a rule"))]) };
    let written = system("cloudflare").expect("a system").write(&material);
    let file: serde_json::Value = serde_json::from_str(&written.text).expect("JSON");
    let expressions = file["rules"].as_array().expect("rules").iter().filter_map(|rule| rule["expression"].as_str());
    let lengths: Vec<usize> = expressions.map(str::len).collect();
    assert!(lengths.len() > 10 && lengths.iter().all(|length| *length <= 4_096), "{lengths:?}");
    assert!(written.unsaid[0].why.contains("4096 are the most"), "{:?}", written.unsaid);
}

trait IntoNet {
    fn into_net(self) -> IpNet;
}

impl IntoNet for std::net::Ipv4Addr {
    fn into_net(self) -> IpNet {
        std::net::IpAddr::V4(self).into()
    }
}

/// What each system cannot say, by the attributes' names: a change here is one for docs/export.md.
#[test]
fn what_cannot_be_said_is_known() {
    let rules = [
        ("method", "method = POST"),
        ("method-part", "method starts-with P"),
        ("path", "path = \"/a\""),
        ("path-part", "path contains b"),
        ("path-prefix", "path-prefix = \"/a/\""),
        ("path-template", "path-template = \"/{hex}\""),
        ("extension", "extension = php"),
        ("query-keys", "query-keys = \"a&b\""),
        ("no-query", "query-keys = none"),
        ("any-query", "query-keys != none"),
        ("host", "host = a.example"),
        ("no-host", "host = none"),
        ("user-agent", "user-agent = a"),
        ("no-user-agent", "user-agent = none"),
        ("empty-user-agent", "user-agent = \"\""),
        ("blank-user-agent", "user-agent = none or user-agent = \"\""),
        ("user-agent-word", "user-agent-word = abc"),
        ("referer-origin", "referer-origin = \"https://a.example\""),
        ("no-referer", "referer-origin != none"),
        ("version", "version = \"HTTP/2\""),
        ("client", "client in (192.0.2.0/24, 2001:db8::/32)"),
        ("country", "country = CN"),
        ("asn", "asn = 4134"),
        ("ja4", "ja4 = a"),
        ("header-order", "header-order = \"host accept\""),
        ("never", "extension contains \"-\""),
        ("always", "host in everything"),
    ];
    let mut lists = lists();
    let mut everything = List::default();
    everything.insert_everything();
    lists.insert("everything", everything);
    let rules: Vec<Candidate> = rules
        .iter()
        .map(|(name, text)| candidate(name, &Expression::parse(text, Use::Rule, &lists).expect("a rule")))
        .collect();
    let mut table = BTreeMap::<&str, Vec<String>>::new();
    for system in SYSTEMS {
        let written = system.write(&material(rules.clone()));
        table.insert(system.name, written.unsaid.into_iter().map(|unsaid| unsaid.name).collect());
    }
    let text: String = table.iter().map(|(system, unsaid)| format!("{system}: {}\n", unsaid.join(", "))).collect();
    insta::assert_snapshot!(text);
}

/// HTTP/3 comes over UDP.
#[test]
fn a_system_that_takes_few_bans_gets_those_that_last_longest() {
    let ban = |number: u32| Ban {
        network: IpNet::from(std::net::IpAddr::from(std::net::Ipv4Addr::from_bits(0x5000_0000 + number))),
        expires: Some(NOW + std::time::Duration::from_secs(u64::from(10 + number))),
    };
    let mut all = material(Vec::new());
    all.bans = (0..1_200).map(ban).collect();
    let written = system("varnish").expect("there is one").write(&all);
    assert_eq!((written.bans, written.too_many), (1_000, 200));
    assert!(written.text.contains("minutes to load more: 200 bans"), "{}", &written.text[..2_000]);
    let has = |number| written.text.contains(&format!("\"{}\"/32", ban(number).network.addr()));
    assert!(!has(199) && has(200) && has(1_199));
    let written = system("nginx").expect("there is one").write(&all);
    assert_eq!((written.bans, written.too_many), (1_200, 0));
}

#[test]
fn packet_filters_drop_both_protocols() {
    for (name, rules) in [
        ("nftables", &["meta l4proto { tcp, udp } th dport { 8080, 8443 }"][..]),
        (
            "ipset",
            &[
                "PREROUTING -p tcp -m multiport --dports 8080,8443 ",
                "PREROUTING -p udp -m multiport --dports 8080,8443 ",
            ],
        ),
        ("pf", &["proto { tcp, udp } from <seawall> to any port { 8080, 8443 }"]),
        (
            "ipfw",
            &[
                "\nadd 400 deny tcp from table(seawall,1) to me 8080,8443 in\n",
                "\nadd 400 deny udp from table(seawall,1) to me 8080,8443 in\n",
            ],
        ),
    ] {
        let written = system(name).expect("a system").write(&Material { ports: vec![8080, 8443], ..sample() });
        for rule in rules {
            assert!(written.text.contains(rule), "{rule}: {}", written.text);
        }
    }
}
