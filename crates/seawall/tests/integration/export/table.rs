//! Requests and rules to compare what Seawall says of each with what a real program does, near misses among them.

use std::net::IpAddr;

use seawall_engine::address::ClientAddress;
use seawall_engine::decision::expression::{Answer, Expression, Lists, Use};
use seawall_engine::observation::{Request, Version};

/// A request as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) version: Version,
    pub(super) host: Option<&'static str>,
    pub(super) user_agent: Option<Vec<u8>>,
    pub(super) referer: Option<&'static str>,
}

impl Sent {
    fn get(target: &str) -> Self {
        let user_agent = Some(b"Mozilla/5.0 (X11) Gecko/20100101".to_vec());
        let (method, version, host) = ("GET", Version::Http11, Some("a.example"));
        Self { method, target: target.to_owned(), version, host, user_agent, referer: None }
    }

    fn agent(agent: impl Into<Vec<u8>>) -> Self {
        Self { user_agent: Some(agent.into()), ..Self::get("/") }
    }

    fn host(host: &'static str) -> Self {
        Self { host: Some(host), ..Self::get("/") }
    }

    fn referer(referer: &'static str) -> Self {
        Self { referer: Some(referer), ..Self::get("/") }
    }

    /// The bytes of it.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} {}\r\n", self.method, self.target, self.version.as_str()).into_bytes();
        let mut line = |name: &str, value: &[u8]| {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        };
        self.host.into_iter().for_each(|host| line("Host", host.as_bytes()));
        self.user_agent.iter().for_each(|agent| line("User-Agent", agent));
        self.referer.into_iter().for_each(|referer| line("Referer", referer.as_bytes()));
        line("Connection", b"close");
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    /// Whether the rule holds of it, by Seawall's own reckoning.
    pub(super) fn meets(&self, rule: &Expression, client: IpAddr) -> bool {
        // As the proxy reads it: without port and final dot, in lower case; the target in absolute form names the host.
        let target = self
            .target
            .strip_prefix("http://")
            .map_or(self.target.as_str(), |rest| &rest[rest.find('/').expect("a path")..]);
        let host = self.host.unwrap_or_default();
        let name = if host.starts_with('[') {
            &host[..=host.find(']').expect("an address")]
        } else {
            host.split(':').next().unwrap_or_default()
        };
        let host = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let (path, query) = Request::split_target(target.as_bytes());
        let request = Request {
            method: self.method.as_bytes(),
            host: host.as_bytes(),
            path,
            query,
            version: self.version,
            user_agent: self.user_agent.as_deref(),
            referer: self.referer.map(str::as_bytes),
            ..Request::default()
        };
        rule.matches(&request, Some(ClientAddress::new(client)), Answer::default())
    }
}

/// Requests that every program takes.
pub(super) fn requests() -> Vec<Sent> {
    let long = |length| "x".repeat(length);
    let mut requests: Vec<Sent> = [
        "/",
        "/announce",
        "/Announce",
        "/announce/",
        "/announce2",
        "/x/announce",
        "/%61nnounce",
        "/announce%20",
        "/announce?",
        "/announce?info_hash=%aa&peer_id=1",
        "/?/announce",
        "//announce",
        "/./announce",
        "/a/../announce",
        "/announce;x=1",
        "/wiki/Front",
        "/wiki",
        "/wiki/",
        "/Wiki/Front",
        "/a/wiki/b",
        "/wiki/2019/x",
        "/1/2/3/4/5/x",
        "/index.php",
        "/INDEX.PHP",
        "/index.php/style.css",
        "/a.php5",
        "/php",
        "/.php",
        "/.php/style.css",
        "/x.css",
        "/a.b/c.css",
        "/a.php.b/c.css",
        "/cgi-bin/x.PL/a/b.png",
        "/x.css?a=b.php",
        "/x.p%68p",
        "/q?action=edit&id=7",
        "/q?id=7&action=edit",
        "/q?action&id",
        "/q?action=edit&&id=7&",
        "/q?&action=1&id",
        "/q?Action=1&id=2",
        "/q?actions=1&id=2",
        "/q?action=1&id=2&x=3",
        "/q?=1",
        "/q?a=1&=2",
        "/q?action=1%26id=2",
        "/a$b",
        "/a'b",
        "/a(b)",
        "/a~b",
        "/a,b;c",
        "/a:b@c",
        "/a+b",
        "/a%22b",
        "/a%00b",
        "/a%0ab",
        "/caf%C3%A9",
    ]
    .into_iter()
    .map(Sent::get)
    .collect();
    requests.extend([
        Sent::get(&format!("/{}announce", long(246))),
        Sent::get(&format!("/{}announce", long(247))),
        Sent::get(&format!("/{}announce", long(248))),
        Sent::get(&format!("/{}.php", long(251))),
        Sent::get(&format!("/{}.php", long(252))),
        Sent::get(&format!("/q?{}=1&id=2", long(300))),
        Sent::get(&format!("/q?action={}&id=2", long(239))),
        Sent::get(&format!("/q?action={}&id=2", long(260))),
        Sent::get(&format!("/q?{}", (0..18).map(|number| format!("k{number}=1")).collect::<Vec<_>>().join("&"))),
    ]);
    requests.extend(
        [
            "QQGameHall",
            "qqgamehall",
            "QQGameHall/1.0",
            "xQQGameHall",
            "a \"quoted\" one",
            "$host ${x} %{y} %[z]",
            "it's; { } `b` #c",
            "back\\slash",
            "\\x41",
            "a*b",
            "a.c",
            "abc",
            "bot",
            "Bot",
            "robots 9bots bot-x",
            "-m str",
            "1 2 3 4 5 6 7 8 9 10 11 12 bot 13 14 15 16 17 18 19 20 21 22 23",
        ]
        .map(Sent::agent),
    );
    requests.extend([
        Sent::agent("日本語 bot".as_bytes()),
        Sent::agent(&b"\xff\xfe bot"[..]),
        Sent::agent(format!("{} bot", long(252))),
        Sent::agent(format!("{} bot", long(253))),
        Sent::agent(long(256)),
        Sent::agent(long(300)),
        Sent::agent("one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen bot"),
        Sent::agent("one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty bot"),
        Sent::agent(""),
        Sent { user_agent: None, ..Sent::get("/") },
        Sent { user_agent: None, ..Sent::get("/announce") },
        Sent { method: "POST", ..Sent::agent("QQGameHall") },
        Sent { method: "POST", ..Sent::get("/announce") },
        Sent { method: "POSTS", ..Sent::get("/announce") },
        Sent { method: "OPTIONS", ..Sent::get("/announce") },
        Sent { method: "HEAD", ..Sent::get("/announce") },
        Sent { version: Version::Http10, ..Sent::get("/announce") },
        Sent { version: Version::Http10, host: None, ..Sent::get("/") },
        Sent::get("http://a.example/announce"),
        Sent::get("http://a.example/q?action=1&id=2"),
    ]);
    requests.extend(
        [
            "A.Example",
            "a.example:8080",
            "a.example.",
            "a.example.:80",
            "b.example",
            "xa.example",
            "a.example.org",
            "www.a.example",
            "80.example:81",
            "[2001:db8::1]:80",
        ]
        .map(Sent::host),
    );
    requests.extend(
        [
            "https://news.example/item?id=1",
            "https://news.example",
            "https://news.example.org/",
            "http://news.example/",
            "HTTPS://news.example/",
            "https://news.example?x",
            "news.example/a/b/c",
            "https:",
            "",
        ]
        .map(Sent::referer),
    );
    requests
}

/// Rules, every attribute and every operator among them.
pub(super) const RULES: &[&str] = &[
    "path = \"/announce\"",
    "path != \"/announce\"",
    "path contains announce",
    "path contains example or path starts-with http",
    "path starts-with \"/announce\"",
    "path ends-with announce",
    "path in (\"/wiki\", \"/a$b\", \"/a'b\", \"/a%22b\", \"/caf%C3%A9\")",
    "path contains \"$\" or path contains \"(\" or path ends-with \"~b\"",
    "path not contains announce and path not starts-with \"/q\"",
    "path-prefix = \"/wiki/\"",
    "path-prefix starts-with \"/wi\"",
    "path-prefix ends-with \"2019/\" or path-prefix contains \"/3/4\"",
    "path-prefix contains wiki",
    "path-prefix = none",
    "path-prefix not in (\"/wiki/\", \"/cgi-bin/\")",
    "extension = php",
    "extension in (css, png)",
    "extension = none",
    "extension contains h or extension ends-with ss",
    "extension not starts-with p",
    "query-keys = \"action&id\"",
    "query-keys starts-with \"action&\"",
    "query-keys contains \"on&i\"",
    "query-keys ends-with \"id\"",
    "query-keys = none",
    "path starts-with \"/\" and query-keys != none",
    "query-keys = \"\"",
    "query-keys ends-with \"k15\" or query-keys contains \"k17\"",
    "user-agent = \"QQGameHall\"",
    "user-agent contains bot",
    "user-agent starts-with \"a\"",
    "user-agent ends-with \"bot\"",
    "user-agent not contains Mozilla",
    "user-agent in (\"a \\\"quoted\\\" one\", \"$host ${x} %{y} %[z]\", \"it's; { } `b` #c\", \"back\\\\slash\", \"\\\\x41\", \"-m str\")",
    "user-agent contains \"a*b\" or user-agent = \"a.c\"",
    "user-agent starts-with \"-m\"",
    "user-agent = \"\\xff\\xfe bot\"",
    "user-agent contains \"日本\"",
    "user-agent = none",
    "user-agent = \"\"",
    "user-agent = none or user-agent = \"\"",
    "user-agent-word = bot",
    "user-agent-word starts-with Game or user-agent-word ends-with lla",
    "user-agent-word contains ot",
    "user-agent-word = none",
    "referer-origin = \"https://news.example\"",
    "referer-origin contains news",
    "referer-origin ends-with example",
    "referer-origin starts-with \"https:\"",
    "referer-origin = none",
    "host = a.example",
    "host in (b.example, \"[2001:db8::1]\", www.a.example)",
    "host ends-with \".example\"",
    "host contains \"80\" or host starts-with x",
    "host not in (a.example)",
    "host = none",
    "method = POST",
    "method starts-with POS or method = HEAD",
    "version = \"HTTP/1.0\"",
    "version != \"HTTP/1.1\" and path = \"/announce\"",
    "method = POST and path = \"/announce\" and user-agent-word = Mozilla",
    "(path = \"/announce\" or path-prefix = \"/wiki/\") and not (method = POST or user-agent = none)",
    "not (path = / or path = \"/announce\" or not method = GET) and (extension != php or host != a.example)",
    "client in (127.0.1.0/26, 2001:db8::/32)",
    "client not in (127.0.1.0/26) and path = \"/announce\"",
];

/// The address that tries a rule: each rule is for one client alone, so that all can be loaded at once.
pub(super) fn client_of(index: usize) -> IpAddr {
    IpAddr::from([127, 0, 1, u8::try_from(index + 1).expect("fewer than 255 rules")])
}

/// The rule for its client alone.
pub(super) fn rule_text(index: usize) -> String {
    format!("client = {} and ({})", client_of(index), RULES[index])
}

/// The rule itself.
pub(super) fn rule(index: usize) -> Expression {
    Expression::parse(&rule_text(index), Use::Rule, &Lists::default())
        .unwrap_or_else(|error| panic!("{}: {error}", RULES[index]))
}

/// A file of all of them, named `r0`, `r1` and so on.
pub(super) fn rules_file() -> String {
    (0..RULES.len()).map(|index| format!("r{index}: {}\n", rule_text(index))).collect()
}
