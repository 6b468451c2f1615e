//! Web servers with an exported file in them refuse exactly what Seawall would.

use std::net::{IpAddr, Ipv4Addr};

use super::program::Program;
use super::table::{RULES, client_of, requests, rule, rules_file};

const NGINX: Program = Program {
    system: "nginx",
    program: "nginx",
    package: "nginx-light",
    file: "seawall.conf",
    files: &[(
        "nginx.conf",
        "daemon off;\nworker_processes 1;\npid FOLDER/pid;\nerror_log FOLDER/err;\nevents {}\nhttp {\n    access_log off;\n    \
         client_body_temp_path FOLDER/1;\n    proxy_temp_path FOLDER/2;\n    fastcgi_temp_path FOLDER/3;\n    uwsgi_temp_path FOLDER/4;\n    \
         scgi_temp_path FOLDER/5;\n    include FOLDER/seawall.conf;\n    server {\n        listen HOST:PORT;\n        \
         if ($seawall_refused) { return 403; }\n        return 200;\n    }\n}\n",
    )],
    arguments: &["-p", "FOLDER", "-c", "FOLDER/nginx.conf"],
};

const APACHE: Program = Program {
    system: "apache",
    program: "apache2",
    package: "apache2",
    file: "seawall.conf",
    files: &[(
        "apache.conf",
        "ServerRoot FOLDER\nPidFile FOLDER/pid\nListen HOST:PORT\nServerName localhost\nErrorLog FOLDER/err\nUser www-data\nGroup www-data\n\
         LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so\n\
         LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so\n\
         LoadModule setenvif_module /usr/lib/apache2/modules/mod_setenvif.so\n\
         LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so\n\
         LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so\n\
         DefaultRuntimeDir FOLDER\nAllowEncodedSlashes NoDecode\nProxyPass / http://127.0.0.1:1/ nocanon\nInclude FOLDER/seawall.conf\n",
    )],
    arguments: &["-D", "FOREGROUND", "-f", "FOLDER/apache.conf"],
};

const HAPROXY: Program = Program {
    system: "haproxy",
    program: "haproxy",
    package: "haproxy",
    file: "seawall.cfg",
    files: &[("haproxy.cfg", "frontend web from seawall\n    bind HOST:PORT\n    http-request return status 200\n")],
    arguments: &["-db", "-f", "FOLDER/seawall.cfg", "-f", "FOLDER/haproxy.cfg"],
};

const VARNISH: Program = Program {
    system: "varnish",
    program: "varnishd",
    package: "varnish",
    file: "seawall.vcl",
    files: &[(
        "main.vcl",
        "vcl 4.1;\ninclude \"FOLDER/seawall.vcl\";\nbackend default none;\nsub vcl_recv {\n    return (synth(200));\n}\n",
    )],
    arguments: &[
        "-F",
        "-n",
        "FOLDER/work",
        "-a",
        "HOST:PORT",
        "-f",
        "FOLDER/main.vcl",
        "-s",
        "malloc,16M",
        "-j",
        "none",
    ],
};

const CADDY: Program = Program {
    system: "caddy",
    program: "caddy",
    package: "caddy",
    file: "seawall.caddy",
    files: &[(
        "Caddyfile",
        "{\n\tadmin off\n\tauto_https off\n}\nimport FOLDER/seawall.caddy\nhttp://:PORT {\n\tbind HOST\n\timport seawall\n\trespond 200\n}\n",
    )],
    arguments: &["run", "--config", "FOLDER/Caddyfile", "--adapter", "caddyfile"],
};

/// Statuses with which a server refuses a request by itself, before or whatever our file says.
const OWN_REFUSALS: [u16; 5] = [400, 404, 405, 501, 505];

/// Loads every rule, each for a client of its own, sends each request from each of these clients, and compares. `unsaid` are
/// the rules that the system cannot say; `may_refuse_less` says of which requests a rule may not be found to hold.
fn compare(program: &Program, unsaid: &[&str], may_refuse_less: impl Fn(&str, &super::table::Sent) -> bool) {
    let options = ["--rules", "rules.txt", "--never", "never.txt"];
    let inputs = [("rules.txt", rules_file()), ("never.txt", "192.0.2.1\n".to_owned())];
    let inputs = inputs.each_ref().map(|(name, content)| (*name, content.as_str()));
    let Some((running, left_out)) = program.start(&inputs, &options) else { return };
    let left_out: Vec<&str> = left_out
        .iter()
        .map(|name| RULES[name.trim_start_matches('r').parse::<usize>().expect("the number of a rule")])
        .collect();
    assert_eq!(left_out, unsaid);
    let (mut refused, mut passed, mut own) = (0, 0, 0);
    let mut wrong = Vec::new();
    for (index, text) in RULES.iter().enumerate() {
        let (expression, client) = (rule(index), client_of(index));
        for sent in requests() {
            let status = running.status(client, &sent.bytes());
            let is_meant = sent.meets(&expression, client) && !unsaid.contains(text);
            match (status, is_meant) {
                (status, _) if OWN_REFUSALS.contains(&status) => own += 1,
                (403, true) => refused += 1,
                (403, false) => wrong.push(format!("refused though `{text}` does not hold: {sent:?}")),
                (_, false) => passed += 1,
                (_, true) if may_refuse_less(text, &sent) => passed += 1,
                (status, true) => wrong.push(format!("{status} though `{text}` holds: {sent:?}")),
            }
        }
    }
    let shown: Vec<&String> = wrong.iter().take(20).collect();
    assert!(wrong.is_empty(), "{} are wrong:\n{shown:#?}", wrong.len());
    // Each side has to be tried, and few requests may be none of ours.
    assert!(refused > 1_000 && passed > 4_000 && own * 10 < refused + passed, "{refused} {passed} {own}");
}

/// Bans, and who is never refused by them or by rules.
fn spares(program: &Program) {
    let inputs = [
        ("rules.txt", "path = /announce\n"),
        ("bans.txt", "127.0.3.0/24\n127.0.4.7\n2001:db8::7\n192.0.2.0/24\n"),
        ("never.txt", "127.0.3.9\n127.0.5.0/24\n192.0.2.0/24\n"),
    ];
    let options = ["--rules", "rules.txt", "--bans", "bans.txt", "--never", "never.txt"];
    let Some((running, _)) = program.start(&inputs, &options) else { return };
    for (client, path, is_refused) in [
        ("127.0.3.1", "/", true),
        ("127.0.3.9", "/", false),
        ("127.0.3.9", "/announce", false),
        ("127.0.4.7", "/", true),
        ("127.0.4.8", "/", false),
        ("127.0.4.8", "/announce", true),
        ("127.0.5.1", "/announce", false),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        let client: IpAddr = client.parse().expect("an address");
        assert_eq!(running.status(client, request.as_bytes()) == 403, is_refused, "{client} {path}");
    }
}

/// A list as large as a country's is taken.
fn takes_many(program: &Program) {
    let many: String =
        (0..10_000_u32).map(|number| format!("{}\n", Ipv4Addr::from_bits(0xc612_0000 + 3 * number))).collect();
    let bans = format!("127.0.4.7\n{many}");
    let inputs = [("bans.txt", bans.as_str()), ("never.txt", "192.0.2.1\n")];
    let Some((running, _)) = program.start(&inputs, &["--bans", "bans.txt", "--never", "never.txt"]) else { return };
    for (client, is_refused) in [("127.0.4.7", true), ("127.0.4.8", false)] {
        let client: IpAddr = client.parse().expect("an address");
        let request = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        assert_eq!(running.status(client, request) == 403, is_refused, "{client}");
    }
}

/// A server with nothing in its file starts and refuses nobody.
fn starts_with_nothing(program: &Program) {
    let inputs = [("bans.txt", "127.0.0.1\n"), ("never.txt", "127.0.0.0/8\n")];
    let options = ["--bans", "bans.txt", "--never", "never.txt"];
    let Some((running, _)) = program.start(&inputs, &options) else { return };
    let request = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    let client: IpAddr = "127.0.0.1".parse().expect("an address");
    assert_ne!(running.status(client, request), 403);
}

/// What a system that takes a missing header for an empty one cannot ask.
const MISSING: [&str; 4] = [
    "user-agent = none",
    "user-agent = \"\"",
    "(path = \"/announce\" or path-prefix = \"/wiki/\") and not (method = POST or user-agent = none)",
    "referer-origin = none",
];

#[test]
fn nginx_refuses_what_seawall_would() {
    compare(&NGINX, &missing(), |_, _| false);
    spares(&NGINX);
    takes_many(&NGINX);
    starts_with_nothing(&NGINX);
}

#[test]
fn apache_refuses_what_seawall_would() {
    compare(&APACHE, &missing(), |_, _| false);
    spares(&APACHE);
    takes_many(&APACHE);
    starts_with_nothing(&APACHE);
}

#[test]
fn haproxy_refuses_what_seawall_would() {
    compare(&HAPROXY, &[], |_, _| false);
    spares(&HAPROXY);
    takes_many(&HAPROXY);
    starts_with_nothing(&HAPROXY);
}

#[test]
fn varnish_refuses_what_seawall_would() {
    compare(&VARNISH, &[], |_, _| false);
    spares(&VARNISH);
    starts_with_nothing(&VARNISH);
}

#[test]
fn caddy_refuses_what_seawall_would_but_for_parts_of_long_values() {
    let unsaid = ["user-agent = \"\\xff\\xfe bot\"", "user-agent-word contains ot", "user-agent-word = none"];
    let is_long = |bytes: &[u8]| bytes.len() > 250 || !bytes.is_ascii();
    compare(&CADDY, &unsaid, |_, sent| {
        is_long(sent.target.as_bytes()) || sent.user_agent.as_deref().is_some_and(is_long)
    });
    spares(&CADDY);
    takes_many(&CADDY);
    starts_with_nothing(&CADDY);
}

/// [`MISSING`] in the order of [`RULES`].
fn missing() -> Vec<&'static str> {
    RULES.iter().copied().filter(|rule| MISSING.contains(rule)).collect()
}
