//! The configuration after checking: what the rest of the program works with. Nothing here can be wrong any more.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use seawall_engine::address::{AddressSet, loopback_networks};
use seawall_engine::decision::expression::{List, Lists};

use crate::source::watch::place::Place as LogPlace;
use seawall_engine::decision::{Enforce, EventKind};
use seawall_engine::gate::Limit;
use seawall_engine::observation::log::FormatChoice;

use crate::enforcement::{Configured, Entry, Reason};

/// The list that rules can ask for hosts: those of all sites.
pub const SITES: &str = "sites";

/// Everything that the operator can say.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where the guard listens for visitors.
    pub listen: Vec<SocketAddr>,
    /// Where the status page is served; `None` for nowhere.
    pub admin: Option<SocketAddr>,
    /// Where the control socket and the baseline live.
    pub state_directory: PathBuf,
    /// Threads that serve visitors; `None` for one for each core.
    pub workers: Option<usize>,
    /// What is guarded, in the order given; the first site whose hosts match takes the request.
    pub sites: Vec<Site>,
    /// Whose word about the client's address is believed.
    pub trust: Trust,
    /// Bounds on what a connection may take.
    pub limits: Limits,
    /// What each client may send of something, those of included files among them.
    pub client_limits: Vec<Limit>,
    /// The cases that those were tried on.
    pub client_limit_cases: usize,
    /// What is always refused, by rules of included files, too.
    pub rules: Vec<super::ConfiguredRule>,
    /// The cases that those were tried on.
    pub rule_cases: usize,
    /// Where countries and autonomous systems are looked up.
    pub networks: NetworkFiles,
    /// How decisions are made.
    pub policy: Policy,
    /// How client addresses are hidden.
    pub privacy: Privacy,
    /// What is dropped in the kernel.
    pub kernel: Kernel,
    /// What is refused at the CDN in front, if anything.
    pub edge: Option<Edge>,
    /// How long what was done is kept.
    pub record: Retention,
    /// Who is told of what happens.
    pub notify: Vec<Notify>,
    /// What `watch` reads when its command line names nothing.
    pub watch: Vec<LogPlace>,
    /// The format of what it reads, when that is not to be recognised and its command line does not name one.
    pub watch_format: Option<WatchFormat>,
}

/// The format of the logs that are watched.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchFormat {
    /// As it is written.
    pub text: String,
    /// What it means.
    pub choice: FormatChoice,
}

impl Config {
    /// Everybody whom nothing is ever enforced against: loopback unless switched off, the trusted proxies, and the
    /// operator's own networks.
    pub fn never_ban_set(&self) -> AddressSet {
        let loopback = loopback_networks().into_iter().filter(|_| self.policy.never_ban_loopback);
        AddressSet::new(loopback.chain(self.trust.proxies.iter().copied()).chain(self.policy.never_ban.iter().copied()))
    }

    /// The same with the reason of each, for the list that builds itself.
    pub fn never_ban_entries(&self) -> Configured {
        let loopback = self.policy.never_ban_loopback;
        let of = |networks: &[IpNet], reason| -> Vec<Entry> {
            networks.iter().map(|network| Entry { network: *network, reason }).collect()
        };
        let mut entries = if loopback { of(&loopback_networks(), Reason::Loopback) } else { Vec::new() };
        entries.extend(of(&self.trust.proxies, Reason::Proxy));
        entries.extend(of(&self.policy.never_ban, Reason::Configured));
        Configured { entries, loopback }
    }

    /// The lists that rules can ask for by name.
    pub fn lists(&self) -> Lists {
        lists(&self.sites)
    }

    /// The hosts of the sites.
    pub fn hosts(&self) -> List {
        hosts(&self.sites)
    }
}

/// The lists that rules can ask for by name, of these sites.
pub(super) fn lists(sites: &[Site]) -> Lists {
    let mut lists = Lists::default();
    lists.insert(SITES, hosts(sites));
    lists
}

fn hosts(sites: &[Site]) -> List {
    let mut list = List::default();
    for host in sites.iter().flat_map(|site| &site.hosts) {
        match host {
            HostPattern::Exact(host) => list.insert(host.as_bytes()),
            HostPattern::Below(suffix) => list.insert_ending(suffix.as_bytes()),
            HostPattern::Any => list.insert_everything(),
        }
    }
    list
}

/// One guarded site.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// Its name in reports.
    pub name: String,
    /// The hosts that it answers to.
    pub hosts: Vec<HostPattern>,
    /// Where its answers come from.
    pub origin: Origin,
}

/// A host that a site answers to, in lower case and without port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// `example.org`; an IPv6 address stands in brackets, as in `Host`.
    Exact(String),
    /// `*.example.org`, held as `.example.org`: every name below, not the name itself.
    Below(String),
    /// `*`: every host, and none at all.
    Any,
}

/// As it is written in a configuration.
impl fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => formatter.write_str(host),
            Self::Below(suffix) => write!(formatter, "*{suffix}"),
            Self::Any => formatter.write_str("*"),
        }
    }
}

/// Where a site's answers come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Another server.
    Upstream(Upstream),
    /// The built-in clock.
    Clock,
    /// A folder of static files.
    Files {
        /// The folder.
        root: PathBuf,
    },
}

/// A server that requests are forwarded to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Upstream {
    /// `http://host:port`
    Http {
        /// A name or an address, as in the URL, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// `unix:/path/to.sock`
    Unix {
        /// The socket.
        path: PathBuf,
    },
}

/// As it is written in a configuration.
impl fmt::Display for Upstream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { host, port } if host.contains(':') => write!(formatter, "http://[{host}]:{port}"),
            Self::Http { host, port } => write!(formatter, "http://{host}:{port}"),
            Self::Unix { path } => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// Whose word about the client's address is believed.
#[derive(Clone, Debug, PartialEq)]
pub struct Trust {
    /// The proxies in front of the guard. Never the subject of a limit or a rule.
    pub proxies: Vec<IpNet>,
    /// How they say who the client is.
    pub client_address: ClientAddressSource,
}

/// How a trusted proxy says who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAddressSource {
    /// `X-Forwarded-For`, from the right, past trusted proxies.
    XForwardedFor,
    /// `Forwarded` (RFC 7239), from the right, past trusted proxies.
    Forwarded,
    /// `CF-Connecting-IP`
    CfConnectingIp,
    /// `Fastly-Client-IP`
    FastlyClientIp,
    /// PROXY protocol, version 1 or 2, before the first request.
    ProxyProtocol,
}

/// Bounds on what a connection may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest request head, in bytes.
    pub head_bytes_max: usize,
    /// The longest time from the first byte of a head to its last.
    pub head_time_max: Duration,
    /// The longest time between requests on a connection, and before its first.
    pub idle_time_max: Duration,
    /// The longest silence of a client in the middle of a body, in either direction.
    pub body_idle_time_max: Duration,
    /// Connections in all; `None` to derive it from the open-files limit.
    pub connections_max: Option<usize>,
    /// Connections of one client (an IPv4 address or an IPv6 /64).
    pub connections_per_client_max: u32,
    /// Requests of one client in a minute; `None` for no limit.
    pub client_requests_per_minute_max: Option<u32>,
    /// The longest time to connect to an upstream.
    pub upstream_connect_time_max: Duration,
    /// The longest time from the request to the head of the upstream's answer.
    pub upstream_answer_time_max: Duration,
    /// The longest silence of an upstream in the middle of an answer.
    pub upstream_idle_time_max: Duration,
    /// Connections to one upstream, from the whole guard.
    pub upstream_connections_max: usize,
    /// How long a stop waits for requests under way.
    pub drain_time_max: Duration,
}

/// MaxMind DB files to look addresses up in; `None` for what is built in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkFiles {
    /// Where the country is looked up.
    pub country: Option<PathBuf>,
    /// Where the autonomous system is looked up.
    pub asn: Option<PathBuf>,
}

/// How decisions are made.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// When a rule that was found is put in force.
    pub enforce: Enforce,
    /// Networks that are never enforced against, beside loopback and `trust.proxies`.
    pub never_ban: Vec<IpNet>,
    /// Whether loopback is on that list. Off only in drills, whose clients all live there.
    pub never_ban_loopback: bool,
}

/// How client addresses are hidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privacy {
    /// For how many days the key of a day's pseudonyms is kept, its own included.
    pub key_retention_days: u16,
}

/// Whether the kernel drops who is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelUse {
    /// Where the guard has the right and `nft` is installed.
    Auto,
    /// Nowhere; the proxy refuses.
    Never,
}

/// The nftables table, unless the configuration names another.
pub(crate) const KERNEL_TABLE: &str = "seawall";

/// What is dropped in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Whether it is used.
    pub usage: KernelUse,
    /// The table, of the family inet.
    pub table: String,
    /// Further ports that a banned client is dropped on, beside those that the guard listens on.
    pub ports: Vec<u16>,
    /// Whether the table stays when the guard stops.
    pub keep: bool,
    /// The most bans at once.
    pub entries_max: usize,
}

/// What is refused at the CDN in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Where.
    pub place: EdgePlace,
    /// Whether anything is done there.
    pub usage: EdgeUse,
    /// What proves that we may.
    pub token: Secret,
    /// What is called so there is ours.
    pub name: String,
    /// How often it is changed at most.
    pub interval: Duration,
    /// How often it is read back.
    pub verify_interval: Duration,
    /// The most rules, those of others among them.
    pub rules_max: usize,
    /// The most addresses and networks in the list.
    pub entries_max: usize,
    /// The URL of the API, without a slash at its end.
    pub api: String,
    /// Whether everything stays when the guard stops.
    pub keep: bool,
}

/// Which CDN, and what of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EdgePlace {
    /// A zone of Cloudflare's.
    Cloudflare {
        /// The account that lists belong to.
        account: String,
        /// The zone that has the rules.
        zone: String,
    },
    /// A service of Fastly's.
    Fastly {
        /// The service.
        service: String,
    },
}

impl EdgePlace {
    /// The provider, as people call it.
    pub const fn provider(&self) -> &'static str {
        match self {
            Self::Cloudflare { .. } => "Cloudflare",
            Self::Fastly { .. } => "Fastly",
        }
    }
}

/// Whether anything is done at the CDN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeUse {
    /// It is only shown what would be.
    Propose,
    /// It is.
    On,
}

/// How long what was done is kept, and in how much room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Days.
    pub days: u16,
    /// Bytes of the file.
    pub size_max: usize,
}

/// Somebody who is told of what happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Notify {
    /// What it is called.
    pub name: String,
    /// How.
    pub way: Way,
    /// Of what.
    pub on: Vec<EventKind>,
    /// The least time between two messages.
    pub interval_min: Duration,
}

/// How somebody is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    /// By a program, with its arguments.
    Command(Vec<String>),
    /// By a request to a server.
    Url {
        /// Where to.
        url: Secret,
        /// What is posted.
        form: UrlForm,
        /// What proves that we may.
        token: Option<Secret>,
    },
}

/// Without what may be secret: the program, or the host.
impl fmt::Display for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(words) => formatter.write_str(words.first().map_or("", String::as_str)),
            Self::Url { url: Secret::Given(url), .. } => {
                let host = url.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
                formatter.write_str(host.as_deref().unwrap_or_default())
            }
            Self::Url { url: Secret::File(path), .. } => write!(formatter, "the URL in {}", path.display()),
            Self::Url { url: Secret::Environment(name), .. } => write!(formatter, "the URL in ${name}"),
        }
    }
}

/// What is posted to a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlForm {
    /// One JSON object.
    Json,
    /// Text with the headers of ntfy.
    Ntfy,
    /// `{"text": …}`
    Slack,
}

/// What is not to be shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// As written in the configuration.
    Given(String),
    /// In a file, whose surrounding white space does not count.
    File(PathBuf),
    /// In an environment variable of the guard.
    Environment(String),
}

/// Where it is, and never what it is.
impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(_) => formatter.write_str("Given(…)"),
            Self::File(path) => formatter.debug_tuple("File").field(path).finish(),
            Self::Environment(name) => formatter.debug_tuple("Environment").field(name).finish(),
        }
    }
}
