//! `seawall check`: says whether a configuration is valid and what it means. Changes nothing and opens no socket.

use std::fmt::{self, Display, Write as _};
use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::process::{Resource, getrlimit};
use seawall_engine::decision::{Action, Enforce};
use seawall_engine::gate::{LimitAction, LimitKey};
use serde_json::{Value, json};

use super::Failure;
use super::output::print;
use crate::config::quantity::{show_duration, show_size};
use crate::config::{
    self, ClientAddressSource, Config, Edge, EdgePlace, EdgeUse, Environment, FILE_BYTES_MAX, HostPattern, Kernel,
    KernelUse, Limits, NetworkFiles, Notify, Origin, Place, Problems, Retention, Secret, UrlForm, Way,
};
use crate::show::text::escape;

const EXAMPLE: &str = "\
Examples:
  seawall check --config seawall.toml
  seawall check --config watch.toml --watch
  seawall check --config seawall.toml --json | jq .sites";

/// Say whether a configuration is valid, and what it means
///
/// Shows every problem at once, each as FILE:LINE:COLUMN with what would be right, and exits with 3. A valid
/// configuration is told in plain words: which host goes where, who is believed about client addresses, which limits
/// hold. Without --config it tells what holds without a configuration.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Arguments {
    /// The configuration to check
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check it for `seawall watch` with sources on its command line, which needs no site. One that has [watch] and no site is checked
    /// for that anyhow.
    #[arg(long, requires = "config")]
    watch: bool,
    /// Print one JSON object instead, for valid and invalid configurations alike
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let name = arguments.config.as_ref().map(|path| path.display().to_string());
    let loaded = match &arguments.config {
        Some(path) => load(path, arguments.watch),
        None => Ok(Config::default()),
    };
    match loaded {
        Ok(config) if arguments.json => print(&format!("{:#}\n", config_json(name.as_deref(), &config)))?,
        Ok(config) => print(&Explanation { name: name.as_deref(), config: &config }.to_string())?,
        Err(problems) => {
            if arguments.json {
                print(&format!("{:#}\n", problems_json(name.as_deref(), &problems)))?;
                return Ok(Failure::from(problems).exit_code());
            }
            return Err(Failure::from(problems));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The configuration of `serve`, or one that names no site but logs, which is for `watch`.
fn load(path: &Path, is_for_watch: bool) -> Result<Config, Problems> {
    let beside = is_for_watch || names_logs_alone(path);
    config::load_in(path, &Environment { beside, ..Environment::of_process() })
}

/// Whether a file has a section for logs and none for a site, whatever stands in them.
fn names_logs_alone(path: &Path) -> bool {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
    let table = read.ok().and_then(|_| text.parse::<toml::Table>().ok());
    table.is_some_and(|table| table.contains_key("watch") && !table.contains_key("site"))
}

/// What a configuration means, in plain words.
struct Explanation<'a> {
    name: Option<&'a str>,
    config: &'a Config,
}

impl Display for Explanation<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.config;
        match self.name {
            Some(name) => writeln!(formatter, "{name} is valid. This is what it means.\n")?,
            None => writeln!(formatter, "No --config was given. This is what holds without one.\n")?,
        }
        let is_for_watch = config.sites.is_empty();
        if is_for_watch {
            writeln!(formatter, "It names no site and is for `seawall watch`, which serves nobody.")?;
            if config.watch.is_empty() {
                writeln!(formatter, "It names no log either: those are said on the command line.")?;
            }
        } else {
            writeln!(formatter, "Visitors are served on {}.", listed(&config.listen))?;
        }
        match config.admin {
            Some(address) => writeln!(formatter, "The status page is http://{address}/.")?,
            None => writeln!(formatter, "There is no status page.")?,
        }
        writeln!(formatter, "The state is kept in {}.", config.state_directory.display())?;
        match config.workers {
            _ if is_for_watch => {}
            Some(1) => writeln!(formatter, "One thread serves visitors.")?,
            Some(workers) => writeln!(formatter, "{workers} threads serve visitors.")?,
            None => writeln!(formatter, "One thread for each core serves visitors.")?,
        }
        if !is_for_watch {
            self.sites(formatter)?;
        }
        self.trust(formatter)?;
        write_limits(formatter, &config.limits)?;
        write_client_limits(formatter, config)?;
        write_rules(formatter, config)?;
        write_networks(formatter, &config.networks)?;
        self.policy(formatter)?;
        write_privacy(formatter, config.privacy.key_retention_days)?;
        write_kernel(formatter, &config.kernel)?;
        write_edge(formatter, config.edge.as_ref())?;
        let Retention { days, size_max } = &config.record;
        writeln!(formatter, "\nRecord\n  What was done is kept for {days} days, in at most {}.", show_size(*size_max))?;
        write_notify(formatter, &config.notify)?;
        if !config.watch.is_empty() || config.watch_format.is_some() {
            writeln!(formatter, "\nLogs")?;
        }
        if !config.watch.is_empty() {
            writeln!(formatter, "  `seawall watch` reads {}.", listed(&config.watch))?;
        }
        if let Some(format) = &config.watch_format {
            writeln!(formatter, "  Their lines are in the format {}.", escape(format.text.as_bytes()))?;
        }
        let notes = notes(config);
        if !notes.is_empty() {
            writeln!(formatter, "\nWorth knowing")?;
        }
        notes.iter().try_for_each(|note| writeln!(formatter, "  {note}"))
    }
}

impl Explanation<'_> {
    fn sites(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sites = &self.config.sites;
        let width = |text: fn(&config::Site) -> usize| sites.iter().map(text).max().unwrap_or(0);
        let name_width = width(|site| site.name.chars().count());
        let hosts_width = width(|site| hosts_in_words(&site.hosts).len());
        writeln!(formatter, "\nSites, in the order in which they are asked")?;
        for site in sites {
            let (name, hosts, origin) = (&site.name, hosts_in_words(&site.hosts), origin_in_words(&site.origin));
            writeln!(formatter, "  {name:name_width$}  {hosts:hosts_width$}  ->  {origin}")?;
        }
        if sites.iter().any(|site| site.hosts.contains(&HostPattern::Any)) {
            Ok(())
        } else {
            writeln!(formatter, "  Every other host gets 421 Misdirected Request.")
        }
    }

    fn trust(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trust = &self.config.trust;
        writeln!(formatter, "\nWho the client is")?;
        if trust.proxies.is_empty() {
            return writeln!(formatter, "  The TCP peer. No header is believed about it.");
        }
        let proxies = listed(&trust.proxies);
        writeln!(formatter, "  The TCP peer, unless it is one of the proxies {proxies}:")?;
        writeln!(formatter, "  then {}.", source_in_words(trust.client_address))
    }

    fn policy(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.config;
        let enforcement = match config.policy.enforce {
            Enforce::Never => "Rules are only proposed, never put in force.",
            Enforce::UnderStress => "A rule is put in force only while the server is under stress.",
            Enforce::OnExcess => "A rule is put in force as soon as traffic exceeds what is normal.",
        };
        writeln!(formatter, "\nPolicy\n  {enforcement}")?;
        let never_ban = config.never_ban_set();
        if never_ban.is_empty() {
            return writeln!(formatter, "  Nobody is exempt.");
        }
        let networks: Vec<_> = never_ban.networks().collect();
        writeln!(formatter, "  Nothing is ever enforced against {}.", listed(&networks))
    }
}

/// The limits, each with where it comes from.
fn write_limits(formatter: &mut fmt::Formatter<'_>, limits: &Limits) -> fmt::Result {
    writeln!(formatter, "\nLimits")?;
    let shown = limits_in_words(limits);
    let defaults = limits_in_words(&Config::default().limits);
    for ((words, value), (_, default)) in shown.iter().zip(&defaults) {
        write!(formatter, "  {words:<55} {value}")?;
        if value != default {
            write!(formatter, " (default {default})")?;
        }
        writeln!(formatter)?;
    }
    if limits.connections_max.is_none() {
        // The guard raises the limit to the hard one at start, so that is the one to name.
        let files = getrlimit(Resource::Nofile).maximum;
        let files = files.map_or_else(|| "no limit".to_owned(), |files| files.to_string());
        writeln!(formatter, "  The open-files limit is {files} here, for a process like this one.")?;
    }
    Ok(())
}

/// The limits that each client has for itself.
fn write_client_limits(formatter: &mut fmt::Formatter<'_>, config: &Config) -> fmt::Result {
    writeln!(formatter, "\nLimits of single clients")?;
    if config.client_limits.is_empty() {
        return writeln!(formatter, "  None; see [[limit]], and [include] for some that come with Seawall.");
    }
    for limit in &config.client_limits {
        let time = limit.length.map_or_else(|| "as long as it needs".to_owned(), show_duration);
        let done = match limit.action {
            _ if config.policy.enforce == Enforce::Never => "is only said".to_owned(),
            LimitAction::Log => "is only said".to_owned(),
            LimitAction::Limit => "is refused".to_owned(),
            LimitAction::Refuse => format!("gets the client refused for {time}"),
            LimitAction::Ban => format!("gets the client banned for {time}"),
        };
        writeln!(formatter, "  {}: {limit}", limit.name)?;
        writeln!(formatter, "    from one {} {done}.", key_in_words(limit.key))?;
    }
    match config.client_limit_cases {
        0 => writeln!(formatter, "  They were tried on no case; see [[limit.test]]."),
        1 => writeln!(formatter, "  The case that they were tried on is met."),
        cases => writeln!(formatter, "  All {cases} cases that they were tried on are met."),
    }
}

/// What is always refused, where that is said.
fn write_rules(formatter: &mut fmt::Formatter<'_>, config: &Config) -> fmt::Result {
    if config.rules.is_empty() {
        return Ok(());
    }
    writeln!(formatter, "\nRules")?;
    for rule in &config.rules {
        let done = if rule.action == Action::Drop { "dropped" } else { "refused" };
        let is = if config.policy.enforce == Enforce::Never { "is counted, and would be" } else { "is" };
        writeln!(formatter, "  {}: what meets {} {is} {done}.", rule.name, escape(rule.text.as_bytes()))?;
    }
    match config.rule_cases {
        0 => writeln!(formatter, "  They were tried on no case; see [[rule.test]]."),
        1 => writeln!(formatter, "  The case that they were tried on is met."),
        cases => writeln!(formatter, "  All {cases} cases that they were tried on are met."),
    }
}

fn key_in_words(key: LimitKey) -> &'static str {
    match key {
        LimitKey::Client => "client",
        LimitKey::Prefix => "network (an IPv4 /24 or an IPv6 /48)",
        LimitKey::ClientAndHost => "client for one host",
    }
}

/// Where addresses are looked up.
fn write_networks(formatter: &mut fmt::Formatter<'_>, networks: &NetworkFiles) -> fmt::Result {
    let NetworkFiles { country, asn } = networks;
    writeln!(formatter, "\nNetworks")?;
    for (what, file) in [("countries", country), ("autonomous systems", asn)] {
        match file {
            Some(file) => writeln!(formatter, "  The {what} of addresses are looked up in {}.", file.display())?,
            None => writeln!(formatter, "  The {what} of addresses are looked up in the built-in table.")?,
        }
    }
    Ok(())
}

/// For how long pseudonyms can be told.
fn write_privacy(formatter: &mut fmt::Formatter<'_>, key_retention_days: u16) -> fmt::Result {
    writeln!(formatter, "\nPrivacy")?;
    match key_retention_days {
        0 => writeln!(formatter, "  No key of pseudonyms is kept: each run has its own."),
        1 => writeln!(formatter, "  The key of a day's pseudonyms is deleted when the day is over."),
        days => writeln!(formatter, "  The key of a day's pseudonyms is kept for {days} days."),
    }
}

/// What is dropped in the kernel.
fn write_kernel(formatter: &mut fmt::Formatter<'_>, kernel: &Kernel) -> fmt::Result {
    let Kernel { usage, table, ports, keep, entries_max } = kernel;
    writeln!(formatter, "\nKernel")?;
    if *usage == KernelUse::Never {
        return writeln!(formatter, "  Nobody is dropped by the kernel.");
    }
    let further = if ports.is_empty() { String::new() } else { format!(" and on {}", listed(ports)) };
    writeln!(formatter, "  Who is banned is dropped on the ports that the guard listens on{further},")?;
    writeln!(formatter, "  by the table inet {table}, where the guard has CAP_NET_ADMIN and nft is installed.")?;
    writeln!(formatter, "  At most {entries_max} are banned at once.")?;
    let stays = if *keep { "stays, and its entries end within ten minutes" } else { "goes" };
    writeln!(formatter, "  When the guard stops the table {stays}.")
}

/// What is refused at the CDN.
fn write_edge(formatter: &mut fmt::Formatter<'_>, edge: Option<&Edge>) -> fmt::Result {
    writeln!(formatter, "\nEdge")?;
    let Some(Edge { place, usage, token, name, interval, verify_interval, rules_max, entries_max, api, keep }) = edge
    else {
        return writeln!(formatter, "  Nothing is done at a CDN.");
    };
    let of = match place {
        EdgePlace::Cloudflare { account, zone } => format!("in the account {account}, in rules of the zone {zone}"),
        EdgePlace::Fastly { service } => format!("of the service {service}"),
    };
    writeln!(formatter, "  Who is banned is refused by {}, by the list {name} {of}.", place.provider())?;
    match usage {
        EdgeUse::Propose => writeln!(formatter, "  It is only said what would be done: see `seawall edge plan`.")?,
        EdgeUse::On => writeln!(formatter, "  It is changed at most once in {}.", show_duration(*interval))?,
    }
    writeln!(formatter, "  It is read back every {}.", show_duration(*verify_interval))?;
    writeln!(formatter, "  At most {entries_max} entries and {rules_max} rules.")?;
    let token = match token {
        Secret::File(path) => format!("in {}", path.display()),
        Secret::Environment(variable) => format!("in ${variable}"),
        Secret::Given(_) => "given".to_owned(),
    };
    writeln!(formatter, "  The API is {api}; the token is {token}.")?;
    let end = if *keep {
        "What is there stays when the guard stops, until `seawall edge clear`"
    } else {
        "What was put there goes when the guard stops"
    };
    writeln!(formatter, "  {end}.")
}

/// Who is told of what happens.
fn write_notify(formatter: &mut fmt::Formatter<'_>, notify: &[Notify]) -> fmt::Result {
    writeln!(formatter, "\nNotifications")?;
    if notify.is_empty() {
        return writeln!(formatter, "  Nobody is told of what happens; see [[notify]].");
    }
    for Notify { name, way, on, interval_min } in notify {
        let how = match way {
            Way::Command(_) => format!("by the program {way}"),
            Way::Url { form, .. } => {
                let form = match form {
                    UrlForm::Json => "JSON",
                    UrlForm::Ntfy => "text for ntfy",
                    UrlForm::Slack => "text for Slack",
                };
                format!("by {form}, posted to {way}")
            }
        };
        let kinds: Vec<String> = on.iter().map(|kind| json!(kind).as_str().unwrap_or_default().to_owned()).collect();
        writeln!(
            formatter,
            "  {name}: {how}, at most once in {}, of {}.",
            show_duration(*interval_min),
            listed(&kinds)
        )?;
    }
    Ok(())
}

/// Each limit in words, with its value. A limit that is not named here does not compile.
fn limits_in_words(limits: &Limits) -> [(&'static str, String); 12] {
    let Limits {
        head_bytes_max,
        head_time_max,
        idle_time_max,
        body_idle_time_max,
        connections_max,
        connections_per_client_max,
        client_requests_per_minute_max,
        upstream_connect_time_max,
        upstream_answer_time_max,
        upstream_idle_time_max,
        upstream_connections_max,
        drain_time_max,
    } = limits;
    let connections = connections_max.map_or_else(|| "from the open-files limit".to_owned(), |count| count.to_string());
    [
        ("A request head is at most", show_size(*head_bytes_max)),
        ("and arrives within", show_duration(*head_time_max)),
        ("A connection may wait for a request for", show_duration(*idle_time_max)),
        ("A client may be silent within a body for", show_duration(*body_idle_time_max)),
        ("Connections in all", connections),
        ("Connections of one client (IPv4 address or IPv6 /64)", connections_per_client_max.to_string()),
        (
            "Requests of one client in a minute",
            client_requests_per_minute_max.map_or_else(|| "no limit".to_owned(), |requests| requests.to_string()),
        ),
        ("An upstream accepts a connection within", show_duration(*upstream_connect_time_max)),
        ("answers a request within", show_duration(*upstream_answer_time_max)),
        ("and may be silent within an answer for", show_duration(*upstream_idle_time_max)),
        ("Connections to one upstream", upstream_connections_max.to_string()),
        ("A stop waits for requests under way for", show_duration(*drain_time_max)),
    ]
}

/// What is valid and yet may not be what was meant.
fn notes(config: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(admin) = config.admin.filter(|address| !address.ip().is_loopback()) {
        notes.push(format!("The status page on {admin} needs no password: whoever reaches that address can read it."));
    }
    if config.policy.enforce == Enforce::Never {
        notes.push("Nothing is enforced: Seawall watches and proposes only.".to_owned());
    }
    if !config.rules.is_empty() {
        notes.push(
            "What rules hit of normal traffic is known to the running guard: `seawall reload` says which hit more than 1% of it.".to_owned(),
        );
    }
    if !config.policy.never_ban_loopback {
        notes.push("Loopback is not exempt, which is meant for drills.".to_owned());
    }
    let is_public = |address: &SocketAddr| !address.ip().is_loopback();
    if config.listen.iter().any(is_public) && config.policy.never_ban.is_empty() {
        notes.push("never-ban in [policy] is empty: name the addresses that you administer from.".to_owned());
    }
    if config.edge.is_some() && config.trust.proxies.is_empty() {
        notes.push("proxies in [trust] is empty, so no client is known to come through the CDN of [edge].".to_owned());
    }
    if config.trust.proxies.is_empty() && config.trust.client_address != ClientAddressSource::XForwardedFor {
        notes.push("client-address in [trust] has no effect without proxies.".to_owned());
    }
    notes
}

fn hosts_in_words(hosts: &[HostPattern]) -> String {
    let words: Vec<String> = hosts
        .iter()
        .map(|host| match host {
            HostPattern::Any => "any host".to_owned(),
            HostPattern::Exact(_) | HostPattern::Below(_) => host.to_string(),
        })
        .collect();
    words.join(", ")
}

fn origin_in_words(origin: &Origin) -> String {
    match origin {
        Origin::Upstream(upstream) => upstream.to_string(),
        Origin::Clock => "the built-in clock".to_owned(),
        Origin::Files { root } => format!("the files in {}", root.display()),
    }
}

fn source_in_words(source: ClientAddressSource) -> &'static str {
    match source {
        ClientAddressSource::XForwardedFor => "the rightmost address in X-Forwarded-For that is not a proxy's",
        ClientAddressSource::Forwarded => "the rightmost address in Forwarded that is not a proxy's",
        ClientAddressSource::CfConnectingIp => "the address in CF-Connecting-IP",
        ClientAddressSource::FastlyClientIp => "the address in Fastly-Client-IP",
        ClientAddressSource::ProxyProtocol => "the address that the PROXY protocol says",
    }
}

/// `a`, `a and b`, `a, b and c`.
fn listed(items: &[impl Display]) -> String {
    let mut text = String::new();
    for (index, item) in items.iter().enumerate() {
        let separator = match index {
            0 => "",
            _ if index + 1 == items.len() => " and ",
            _ => ", ",
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{item}");
    }
    text
}

fn config_json(name: Option<&str>, config: &Config) -> Value {
    let mut settings = config.to_json();
    settings["valid"] = true.into();
    settings["file"] = json!(name);
    settings["notes"] = json!(notes(config));
    settings
}

fn problems_json(name: Option<&str>, problems: &Problems) -> Value {
    let problems: Vec<Value> = problems
        .iter()
        .map(|problem| match &problem.place {
            Place::Character { name, line, column } => {
                json!({ "file": name, "line": line, "column": column, "message": problem.message })
            }
            Place::File { .. } | Place::Option { .. } => json!({ "message": problem.message }),
        })
        .collect();
    json!({ "valid": false, "file": name, "problems": problems })
}
