//! Every setting, declared once: key, kind, range, default, and why. The reference page and the commented example come
//! from here as much as what is read does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use seawall_engine::decision::Enforce;
use toml::Spanned;

use super::address::{Network, SocketAddress};
use super::checked;
use super::checked::{
    ClientAddressSource, Config, KERNEL_TABLE, Kernel, KernelUse, Limits, NetworkFiles, Origin, Policy, Privacy,
    Retention, Site, Trust, WatchFormat,
};
use super::consistency::{self, SiteFound};
use super::defaults::Environment;
use super::edge;
use super::host::Host;
use super::include::{self, IncludeSource};
use super::kind::{Choice, Count, Flag, List, Located, OrWord, Size, Time};
use super::limit;
use super::notify;
use super::path::{FilePath, LogFormat, LogSource, SiteName, TableName};
use super::quantity::{KIB, MIB};
use super::rule;
use super::section::Section;
use super::upstream::UpstreamUrl;
use crate::networks::mmdb::Content;
use crate::privacy::{RETENTION_DAYS_DEFAULT, RETENTION_DAYS_MAX};
use crate::source::watch::place::Place as LogPlace;

/// What the top of the file is for.
pub(super) const WHY: &str = "Where the guard listens and where it keeps its state.";

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Reads the top of the file and all that is in it. Relative paths are taken from `folder`.
pub(super) fn read(top: &mut Section<'_, '_>, environment: &Environment, folder: &Path) -> Config {
    let listen = top
        .setting("listen", List { of: SocketAddress, filled: true })
        .why(
            "Where visitors are served. Loopback by default, so that a first try is seen by nobody else; \
             `\"0.0.0.0:80\"` and `\"[::]:80\"` serve everyone.",
        )
        .default(vec![unplaced(([127, 0, 0, 1], 8080).into())]);
    let admin = top
        .setting("admin", Located(OrWord { word: "off", kind: SocketAddress }))
        .why(
            "Where the status page is served. It needs no password, so keep it on loopback and reach it through \
             an SSH tunnel. It shows pseudonyms and no client addresses.",
        )
        .default(unplaced(Some(([127, 0, 0, 1], 8081).into())));
    let state_directory = top
        .setting("state-directory", FilePath)
        .example("\"/var/lib/seawall\"")
        .why(
            "Where the control socket, the learnt baseline and the record live. Only the guard's user may enter it. docs/state.md says \
             what survives what. A relative path, here and elsewhere, is taken from the folder of the configuration file.",
        )
        .default_in_words(
            environment.default_state_directory(),
            "`$STATE_DIRECTORY` (set by systemd), else `/var/lib/seawall` for root, else `$XDG_STATE_HOME/seawall`, \
             else `~/.local/state/seawall`",
        );
    let workers = top
        .setting("workers", OrWord { word: "auto", kind: Count { of: "threads", range: 1..=1024 } })
        .why("Threads that serve visitors. `\"auto\"` is one for each core, since each shares nothing with the others.")
        .default(None);
    let sites = top.tables(
        "[[site]]",
        "One guarded site. There can be several; a request goes to the first whose hosts match, and one whose host is \
         no site's gets `421 Misdirected Request`. Each has exactly one of `upstream`, `origin` and `files`.",
        |table| site(table, folder),
    );
    let trust = top.table(
        "[trust]",
        "Whose word about the client's address is believed. Without any proxy named here the client is the TCP peer, \
         and headers that claim otherwise are ignored: anyone can send them. When nearly all requests come through a proxy \
         that is not named here, that is an alarm.",
        trust,
    );
    let limits = top.table(
        "[limits]",
        "Bounds on what one connection, one client and one upstream may take. The defaults are for a small server and \
         ordinary browsers.",
        limits,
    );
    let found_limits = top.tables("[[limit]]", limit::WHY, limit::read).unwrap_or_default();
    let found_rules = top.tables("[[rule]]", rule::WHY, rule::read).unwrap_or_default();
    let included = top.table("[include]", include::WHY, |table| {
        table
            .setting("limits", List { of: IncludeSource, filled: false })
            .example("[\"shipped:wordpress\", \"shipped:probes\", \"shipped:http-auth\", \"/etc/seawall/limits.d/*.toml\"]")
            .why(
                "Files that hold `[[limit]]`s and `[[rule]]`s, by name or pattern, and those that come with Seawall: `\"shipped:wordpress\"` (logins, \
                 and floods of xmlrpc.php), `\"shipped:probes\"` (scanners that ask for what is not there), `\"shipped:http-auth\"` \
                 (passwords tried on HTTP authentication). None by default, since what is normal on a site its operator knows.",
            )
            .default(Vec::new())
    });
    let networks = top.table(
        "[networks]",
        "Where the country and the autonomous system of a client's address are looked up. Tables for both are built in \
         and need no set-up; name files of your own for newer or more exact data. They are read at start and at a \
         reload. A file takes the place of what is built in for what it is named for: with `country` alone, systems are still \
         looked up in what is built in.",
        |table| networks(table, folder),
    );
    let policy = top.table("[policy]", "How decisions are made, and who is never affected by them.", policy);
    let privacy = top.table("[privacy]", "How client addresses are hidden where they are kept or passed on.", privacy);
    let (watch, watch_format) =
        top.table("[watch]", "What `seawall watch` reads. `seawall serve` has no use for it.", |table| {
            watch(table, folder)
        });
    let notify = top.tables(
        "[[notify]]",
        "Who is told of what happens, by a program or a request. There can be several. `seawall notify test` sends a trial \
         message; docs/notifications.md tells what a message says.",
        |table| notify::read(table, folder),
    );

    let kernel = top.table(
        "[kernel]",
        "Who goes on after refusals, and whom you ban, is dropped by the kernel, before a connection is made: that costs \
         a fortieth of refusing. In a table of the guard's own, on the guarded ports alone, never anybody on the \
         never-ban list, and gone when the guard is. See docs/enforcement.md.",
        kernel,
    );
    let edge = top.table(
        "[edge]",
        "Clients that come through a CDN cannot be dropped by the kernel, which sees the CDN: who is banned, and what a rule in force \
         refuses, is refused there instead. Off unless you name the provider. See docs/edge.md.",
        |table| edge::read(table, folder),
    );
    let record = top.table(
        "[record]",
        "How long the record of what was decided and done is kept, in the state directory.",
        record,
    );

    if top.is_given() {
        consistency::check(top, &listen, &admin, sites.as_deref(), !environment.beside);
        notify::check(top, notify.as_deref().unwrap_or_default());
    }
    let sites: Vec<Site> = sites.into_iter().flatten().map(|found| found.site).collect();
    let lists = checked::lists(&sites);
    let mut checked = include::Checked::default();
    limit::check(top.report, found_limits, &lists, &mut checked.limits);
    rule::check(top.report, found_rules, &lists, &mut checked.rules);
    include::read(top.report, &included, folder, &lists, &mut checked);
    Config {
        listen: values(listen),
        admin: admin.into_inner(),
        state_directory: folder.join(state_directory),
        workers,
        sites,
        trust,
        limits,
        client_limits: checked.limits.limits,
        client_limit_cases: checked.limits.cases,
        rules: checked.rules.rules,
        rule_cases: checked.rules.cases,
        networks,
        policy,
        privacy,
        kernel,
        edge,
        record,
        notify: values(notify.unwrap_or_default()),
        watch,
        watch_format,
    }
}

fn site(table: &mut Section<'_, '_>, folder: &Path) -> SiteFound {
    let name = table
        .setting("name", Located(SiteName))
        .example_in_use("\"example\"")
        .why("What the site is called in reports. No two sites have the same.")
        .optional("the first of `hosts`")
        .flatten();
    let hosts = table
        .setting("hosts", List { of: Host, filled: true })
        .example_in_use("[\"example.org\", \"*.example.org\"]")
        .why(
            "The hosts that the site answers to, without port: `\"example.org\"` is that host alone, `\"*.example.org\"` \
             every name below it, `\"*\"` any host and none at all. Naming your hosts is worth it: traffic that was \
             meant for somebody else, as poisoned DNS sends it, is then refused in a few bytes.",
        )
        .required(Vec::new());
    let upstream = table
        .setting("upstream", Located(UpstreamUrl))
        .example_in_use("\"http://127.0.0.1:3000\"")
        .why(
            "The server that answers: `\"http://HOST:PORT\"` or `\"unix:/PATH\"`. Requests keep their path and query. \
             A unix socket spares the ports of the machine, of which TCP to one address has about 28,000.",
        )
        .optional("not set");
    let origin = table
        .setting(
            "origin",
            Located(Choice { words: &[("clock", (), "an endless image that shows the time, and a page around it")] }),
        )
        .example("\"clock\"")
        .why("An origin that is built in.")
        .optional("not set");
    let files = table
        .setting("files", Located(FilePath))
        .example("\"/var/www/html\"")
        .why("A folder of static files that the guard serves by itself.")
        .optional("not set");

    let place = table.place();
    let upstream_place = upstream.iter().flatten().map(Spanned::span).next();
    let origin = match (upstream, origin, files) {
        (Some(upstream), None, None) => upstream.map(|upstream| Origin::Upstream(upstream.into_inner())),
        (None, Some(_), None) => Some(Origin::Clock),
        (None, None, Some(files)) => files.map(|files| {
            let root = folder.join(files.get_ref());
            consistency::check_folder(table, &files.span(), &root);
            Origin::Files { root }
        }),
        (None, None, None) => {
            table.lacks(
                "the site has no origin; add upstream = \"http://127.0.0.1:3000\", files = \"/var/www/html\" or \
                 origin = \"clock\"",
            );
            None
        }
        (upstream, origin, files) => {
            let given = [(upstream.is_some(), "upstream"), (origin.is_some(), "origin"), (files.is_some(), "files")];
            let given: Vec<&str> = given.iter().filter(|(given, _)| *given).map(|(_, key)| *key).collect();
            table.report.refuse(&place, format!("the site has {}; keep one of them", given.join(" and ")));
            None
        }
    };
    let first_host = hosts.first().map_or_else(String::new, |host| host.get_ref().to_string());
    let name_place = name.as_ref().map_or(place, Spanned::span);
    let site = Site {
        name: name.map_or(first_host, Spanned::into_inner),
        hosts: hosts.iter().map(|host| host.get_ref().clone()).collect(),
        // A site without a good origin is never served: its problem refuses the whole file.
        origin: origin.unwrap_or(Origin::Clock),
    };
    SiteFound { site, name_place, hosts, upstream_place }
}

/// Reads `[watch]`: what is watched, and in which format that is.
fn watch(table: &mut Section<'_, '_>, folder: &Path) -> (Vec<LogPlace>, Option<WatchFormat>) {
    let sources = table
        .setting("sources", List { of: LogSource, filled: false })
        .example("[\"/var/log/nginx/access.log\", \"journal:caddy.service\"]")
        .why("The logs, as on the command line of `watch`, which goes before them; docs/watch.md tells of each kind.")
        .default(Vec::new());
    let format = table
        .setting("format", LogFormat)
        .example("'$remote_addr [$time_local] \"$request\" $status $body_bytes_sent $request_time'")
        .why(
            "The format of these logs, and of those on the command line, where it is not to be recognised: a name, or a format string as \
             nginx, Apache or GoAccess have it. `--format` goes before it. docs/formats.md tells of each.",
        )
        .optional("recognised from the lines themselves")
        .flatten();
    (values(sources).into_iter().map(|source| source.within(folder)).collect(), format)
}

fn trust(table: &mut Section<'_, '_>) -> Trust {
    let proxies: Vec<Spanned<IpNet>> = table
        .setting("proxies", List { of: Network, filled: false })
        .example("[\"192.0.2.10\", \"2001:db8::/48\"]")
        .why(
            "The proxies and CDNs in front of the guard. They are believed about the client's address, and are never \
             limited or refused themselves.",
        )
        .default(Vec::new());
    for network in &proxies {
        consistency::check_proxies(table, network);
    }
    let client_address = table
        .setting(
            "client-address",
            Choice {
                words: &[
                    (
                        "x-forwarded-for",
                        ClientAddressSource::XForwardedFor,
                        "the header of that name: the rightmost address that is not a proxy's, as nginx, Apache, \
                         HAProxy and most CDNs write it",
                    ),
                    ("forwarded", ClientAddressSource::Forwarded, "the header of RFC 7239, read in the same way"),
                    ("cf-connecting-ip", ClientAddressSource::CfConnectingIp, "the header that Cloudflare sets"),
                    ("fastly-client-ip", ClientAddressSource::FastlyClientIp, "the header that Fastly sets"),
                    (
                        "proxy-protocol",
                        ClientAddressSource::ProxyProtocol,
                        "PROXY protocol, version 1 or 2, before the first request of each connection",
                    ),
                ],
            },
        )
        .why("How the proxies say who the client is. Choose what yours set and do not pass on from outside.")
        .default(ClientAddressSource::XForwardedFor);
    Trust { proxies: values(proxies), client_address }
}

fn limits(table: &mut Section<'_, '_>) -> Limits {
    Limits {
        head_bytes_max: table
            .setting("head-bytes-max", Size { range: KIB..=MIB })
            .why(
                "The largest request head: request line and headers. Browsers send one or two KiB, and servers accept \
                 8 to 16. A larger one gets 431.",
            )
            .default(16 * KIB),
        head_time_max: table
            .setting("head-time-max", Time { range: 100 * MILLISECOND..=5 * MINUTE })
            .why(
                "The longest time from the first byte of a head to its last. An honest head is one packet or two; \
                 attacks by slow sending live on servers that wait for a minute. A later one gets 408.",
            )
            .default(10 * SECOND),
        idle_time_max: table
            .setting("idle-time-max", Time { range: 100 * MILLISECOND..=HOUR })
            .why(
                "The longest time between requests on a connection, and before its first. 75 seconds, as with nginx, \
                 spares browsers a new connection while somebody reads a page.",
            )
            .default(75 * SECOND),
        body_idle_time_max: table
            .setting("body-idle-time-max", Time { range: 100 * MILLISECOND..=HOUR })
            .why(
                "The longest silence of a client in the middle of a body, in either direction. A mobile network may \
                 be silent for some seconds; a client that reads nothing for half a minute is gone or means harm. When \
                 others wait for a connection to the site, a third of it is borne from those who take or send less than \
                 8 KiB a second.",
            )
            .default(30 * SECOND),
        connections_max: table
            .setting("connections-max", OrWord { word: "auto", kind: Count { of: "connections", range: 1..=10_000_000 } })
            .why(
                "Connections in all. `\"auto\"` derives it from the open-files limit, which is raised to its hard limit \
                 at start: a connection and its upstream take a file each.",
            )
            .default(None),
        connections_per_client_max: table
            .setting("connections-per-client-max", Count { of: "connections", range: 1..=1_000_000 })
            .why(
                "Connections of one client, which is an IPv4 address or an IPv6 /64. A browser opens six; 256 leaves \
                 room for the forty people of an office behind one address.",
            )
            .default(256),
        client_requests_per_minute_max: table
            .setting(
                "client-requests-per-minute-max",
                OrWord { word: "off", kind: Count { of: "requests", range: 1..=1_000_000 } },
            )
            .why(
                "Requests of one client in a minute, and all at once; more get 429. Off by default: an office behind one \
                 address may send thousands, and a flood sends one from each of its addresses.",
            )
            .default(None),
        upstream_connect_time_max: table
            .setting("upstream-connect-time-max", Time { range: 10 * MILLISECOND..=MINUTE })
            .why(
                "The longest time to connect to an upstream. It is near; if it has not accepted after two seconds \
                 (which leaves room for one lost packet), failing at once keeps requests from piling up. Then 504.",
            )
            .default(2 * SECOND),
        upstream_answer_time_max: table
            .setting("upstream-answer-time-max", Time { range: 10 * MILLISECOND..=HOUR })
            .why(
                "The longest time from the request to the head of the upstream's answer. Nobody waits for a page \
                 longer than half a minute; raise it for a site with slow reports. Then 504.",
            )
            .default(30 * SECOND),
        upstream_idle_time_max: table
            .setting("upstream-idle-time-max", Time { range: 10 * MILLISECOND..=HOUR })
            .why("The longest silence of an upstream in the middle of an answer. Raise it for long polling.")
            .default(60 * SECOND),
        upstream_connections_max: table
            .setting("upstream-connections-max", Count { of: "connections", range: 1..=65_535 })
            .why(
                "Connections to one upstream, from the whole guard. More than a small server can work on at once, \
                 and few enough that a flood cannot fill it.",
            )
            .default(512),
        drain_time_max: table
            .setting("drain-time-max", Time { range: Duration::ZERO..=HOUR })
            .why(
                "How long a stop waits for requests under way. Service managers kill after 90 seconds, machines that \
                 shut down often sooner.",
            )
            .default(10 * SECOND),
    }
}

fn networks(table: &mut Section<'_, '_>, folder: &Path) -> NetworkFiles {
    let country = table
        .setting("country", Located(FilePath))
        .example("\"/var/lib/GeoIP/GeoLite2-Country.mmdb\"")
        .why(
            "A MaxMind DB file (`.mmdb`) that tells the country: GeoIP2 or GeoLite2 Country or City, DB-IP, IPinfo, \
             ip-location-db.",
        )
        .optional("what is built in")
        .flatten();
    let asn = table
        .setting("asn", Located(FilePath))
        .example("\"/var/lib/GeoIP/GeoLite2-ASN.mmdb\"")
        .why("A MaxMind DB file (`.mmdb`) that tells the autonomous system and its name.")
        .optional("what is built in")
        .flatten();
    let mut file = |key: &'static str, content: Content, path: Option<Spanned<PathBuf>>| {
        path.map(|path| {
            let file = folder.join(path.get_ref());
            consistency::check_network_file(table, &path.span(), key, &file, content);
            file
        })
    };
    NetworkFiles { country: file("country", Content::Country, country), asn: file("asn", Content::Asn, asn) }
}

fn policy(table: &mut Section<'_, '_>) -> Policy {
    let enforce = table
        .setting(
            "enforce",
            Choice {
                words: &[
                    ("never", Enforce::Never, "every rule is only proposed"),
                    (
                        "under-stress",
                        Enforce::UnderStress,
                        "only while the server is under stress: an unusual crowd that it can carry is left alone",
                    ),
                    ("on-excess", Enforce::OnExcess, "as soon as traffic exceeds what is normal"),
                ],
            },
        )
        .why("When a rule that was found is put in force.")
        .default(Enforce::UnderStress);
    let never_ban = table
        .setting("never-ban", List { of: Network, filled: false })
        .example("[\"198.51.100.7\", \"2001:db8:7::/48\"]")
        .why(
            "Networks that nothing is ever enforced against, beside loopback and `proxies` of `[trust]`. Name the \
             addresses that you administer from.",
        )
        .default(Vec::new());
    for network in &never_ban {
        consistency::check_never_ban(table, network);
    }
    let never_ban_loopback = table
        .setting("never-ban-loopback", Flag)
        .why("Whether loopback is on that list. Off only for drills, whose clients all live there.")
        .default(true);
    Policy { enforce, never_ban: values(never_ban), never_ban_loopback }
}

fn privacy(table: &mut Section<'_, '_>) -> Privacy {
    let retention = Count { of: "days", range: 0..=RETENTION_DAYS_MAX };
    let key_retention_days = table
        .setting("key-retention-days", retention)
        .why(
            "For how many days the key of a day's pseudonyms is kept in the state directory, the day itself included. \
             Once it is deleted nobody can tell any more whom they meant. A week is as long as most look back for \
             attacks. With 0 no key is kept, and pseudonyms of two runs cannot be compared.",
        )
        .default(RETENTION_DAYS_DEFAULT);
    Privacy { key_retention_days }
}

fn kernel(table: &mut Section<'_, '_>) -> Kernel {
    let usage = table
        .setting(
            "use",
            Choice {
                words: &[
                    ("auto", KernelUse::Auto, "when the guard has the right (CAP_NET_ADMIN) and `nft` is installed"),
                    ("never", KernelUse::Never, "the proxy refuses by itself"),
                ],
            },
        )
        .why(
            "Whether the kernel drops who is banned. On where it can be: those whom it drops are closed unread by the \
             proxy anyway, no table is made before there is somebody to drop, and without it a small machine spends a flood \
             on accepting and closing connections.",
        )
        .default(KernelUse::Auto);
    let name = table
        .setting("table", TableName)
        .why(
            "The nftables table, of the family inet, that is the guard's alone. A second guard on the same machine takes \
             the same name with -2.",
        )
        .default(KERNEL_TABLE.to_owned());
    let ports = table
        .setting("ports", List { of: Count { of: "ports", range: 1..=u16::MAX }, filled: false })
        .example("[80, 443]")
        .why(
            "Ports on which a banned client is dropped, beside those that the guard listens on. SSH and all else stays \
             reachable for everybody, so that nobody is locked out.",
        )
        .default(Vec::new());
    for port in &ports {
        consistency::check_kernel_port(table, port);
    }
    let keep = table
        .setting("keep", Flag)
        .why(
            "Whether the table stays when the guard stops. Its entries end by themselves within ten minutes, and a guard \
             that starts takes it up.",
        )
        .default(false);
    let entries_max = table
        .setting("entries-max", Count { of: "bans", range: 64..=1_000_000 })
        .why(
            "The most bans at once. When they fill, those of single clients are merged into the smallest networks that \
             hold the least of other traffic. 100,000 take about 65 MB.",
        )
        .default(131_072);
    Kernel { usage, table: name, ports: values(ports), keep, entries_max }
}

fn record(table: &mut Section<'_, '_>) -> Retention {
    let days = table
        .setting("retention-days", Count { of: "days", range: 1..=3_660 })
        .why("For how many days decisions, the journal and the counts of each minute are kept.")
        .default(90);
    let size_max = table
        .setting("size-max", Size { range: MIB..=1024 * 1024 * MIB })
        .why("The largest that the file becomes. When it is reached, the oldest goes first; bans stay, and a quarter of it is always for the \
             rest.")
        .default(256 * MIB);
    Retention { days, size_max }
}

/// The values of a list, without their places.
fn values<T>(list: Vec<Spanned<T>>) -> Vec<T> {
    list.into_iter().map(Spanned::into_inner).collect()
}

/// A value that stands in no text.
fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}
