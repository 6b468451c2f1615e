//! `seawall export`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::PossibleValue;
use http::Method;
use ipnet::IpNet;
use seawall_engine::address::loopback_networks;
use seawall_engine::decision::expression::{Expression, Lists, Use};
use seawall_engine::decision::{Action, RuleStatus, Stage};
use seawall_engine::units::{Timestamp, counted};

use super::Failure;
use super::bans::read_import;
use super::guard::Guard;
use super::output::print;
use super::output_file::OutputFile;
use super::{rule_file, tested_file};
use crate::config;
use crate::daemon::Snapshot;
use crate::enforcement::{BanView, NeverBanView};
use crate::export::{Ban, Candidate, Material, SYSTEMS, System, of_client, system};
use crate::host::clock::wall_clock;
use crate::show::text::escape;

const EXAMPLES: &str = "\
Examples:
  seawall export nginx --output /etc/nginx/conf.d/seawall.conf --test 'nginx -t -q' && nginx -s reload
  seawall export nftables | nft -f -
  seawall export haproxy --rules rules.txt --bans banned.txt --never office.txt
  seawall export caddy --rules rules.txt --config /etc/seawall.toml --strict

Exit codes:
  0  written; what could not be said is listed in the file
  1  with --strict: something could not be said, and nothing is written; with --test: what was there before is there again
  3  a file of rules or bans, or the configuration, is not valid
  4  a file could not be read or written
  5  no guard is running where the command looked for one";

/// Write rules and bans in the language of another system, as one file that it includes.
///
/// The rules in force and the bans of a running guard, or those of files. A rule is written only if the system can ask for exactly
/// that; what it cannot is listed at the head of the file, with the reason, and so is how the file is used and when the first of
/// its rules and bans ends. Who is on the never-ban list is never refused. The file holds the addresses of clients. docs/export.md says
/// what each system can say.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// For which system.
    #[arg(value_name = "SYSTEM", value_parser = names())]
    system: String,

    /// Rules of a file instead of a guard's: one on each line, as NAME: RULE or the rule alone.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,

    /// Bans of a file instead of a guard's: whatever `seawall bans import` reads.
    #[arg(long, value_name = "FILE")]
    bans: Option<PathBuf>,

    /// Also never refuse whom this file names, one address or network on each line. Without a guard and without this, that is
    /// loopback, and what --config says.
    #[arg(long, value_name = "FILE")]
    never: Option<PathBuf>,

    /// The configuration whose hosts are the list `sites`, as in `host not in sites`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Also write rules that the guard only proposes, or counts in shadow.
    #[arg(long, conflicts_with_all = ["rules", "bans"])]
    proposed: bool,

    /// For packet filters: the ports that are closed to who is banned; may be given several times.
    #[arg(long = "port", value_name = "PORT", default_values_t = [80, 443])]
    ports: Vec<u16>,

    /// Write nothing when something cannot be said.
    #[arg(long)]
    strict: bool,

    /// Write to this file instead of standard output. It takes its name when it is whole, and nobody but its owner and its group may read
    /// it (0640 at most). One that is there already keeps its owner and its group.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Run this in a shell once the file is in its place, and put back what was there before if it fails.
    #[arg(long, value_name = "COMMAND", requires = "output")]
    test: Option<String>,

    #[command(flatten)]
    guard: Guard,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let found = system(&arguments.system);
    let system = found.ok_or_else(|| Failure::usage(format!("there is no system {}", arguments.system)))?;
    let material = material(arguments, system)?;
    let written = system.write(&material);
    let unsaid: Vec<&str> = written.unsaid.iter().map(|unsaid| unsaid.name.as_str()).collect();
    let too_many =
        format!("{} of the bans are left out, since {} takes minutes to load more", written.too_many, system.name);
    if arguments.strict && (!written.unsaid.is_empty() || written.too_many > 0) {
        let reasons = written.unsaid.iter().map(|unsaid| format!("{}: {}", unsaid.name, unsaid.why));
        let reasons = reasons.chain((written.too_many > 0).then(|| too_many.clone())).collect::<Vec<_>>().join("\n");
        return Err(Failure::negative(format!(
            "{} cannot say everything, so nothing is written\n{reasons}",
            system.name
        )));
    }
    match &arguments.output {
        None => print(&written.text)?,
        Some(path) => write(arguments, path, &written.text)?,
    }
    if !unsaid.is_empty() {
        eprintln!("seawall: not said, and listed in the file with the reasons: {}", unsaid.join(", "));
    }
    if written.too_many > 0 {
        eprintln!("seawall: {too_many}; a packet filter takes all (`seawall export nftables`)");
    }
    Ok(ExitCode::SUCCESS)
}

fn write(arguments: &Arguments, path: &Path, text: &str) -> Result<(), Failure> {
    let inputs = [&arguments.rules, &arguments.bans, &arguments.never, &arguments.config];
    let inputs: Vec<PathBuf> = inputs.into_iter().flatten().cloned().collect();
    let output = OutputFile::open("--output", path, &inputs, None)?.private();
    match &arguments.test {
        None => output.write(text),
        Some(command) => tested_file::write("--output", output, text, command),
    }
}

fn material(arguments: &Arguments, system: &System) -> Result<Material, Failure> {
    let now = wall_clock();
    let mut material = match (&arguments.rules, &arguments.bans) {
        (None, None) => of_guard(arguments)?,
        (rules, bans) => of_files(arguments, rules.as_deref(), bans.as_deref(), now)?,
    };
    if let Some(never) = &arguments.never {
        material.never_ban.extend(networks(never)?.into_iter().map(|(network, _)| network));
    }
    material.made = now;
    material.ports.clone_from(&arguments.ports);
    material.command = command(arguments, system);
    material.file = arguments.output.as_deref().and_then(plain);
    // In a crontab a percent sign ends the command.
    let is_plain = |test: &&String| test.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b"'%".contains(&byte));
    material.test =
        arguments.test.as_ref().map(|test| Some(test).filter(is_plain).map_or("COMMAND", String::as_str).to_owned());
    Ok(material)
}

fn of_guard(arguments: &Arguments) -> Result<Material, Failure> {
    let guard = &arguments.guard;
    let status: Snapshot = guard.ask(Method::GET, "/v1/status")?;
    let never_ban: Vec<NeverBanView> = guard.ask(Method::GET, "/v1/never-ban")?;
    let never_ban = never_ban.into_iter().map(|entry| entry.network).collect();
    if status.enforcement.panicked {
        // What a panic took out of every layer is taken out of this one with the next file.
        eprintln!("seawall: nothing is in force since `seawall panic`, so the file refuses nobody");
        return Ok(Material { never_ban, ..Material::default() });
    }
    let rules: Vec<RuleStatus> = guard.ask(Method::GET, "/v1/rules?networks=true")?;
    let bans: Vec<BanView> = guard.ask(Method::GET, "/v1/bans?addresses=true")?;
    let is_written = |rule: &&RuleStatus| match rule.stage {
        Stage::Enforced => true,
        Stage::Proposed | Stage::Shadow => arguments.proposed,
        Stage::Retired | Stage::Vetoed => false,
    };
    let waiting = rules.iter().filter(|rule| matches!(rule.stage, Stage::Proposed | Stage::Shadow)).count();
    if waiting > 0 && !arguments.proposed {
        eprintln!("seawall: {waiting} rules are proposed or in shadow; --proposed writes them as well");
    }
    // A system that keeps what the guard takes back would lock out for good whom `--confirm` is there for.
    let (unconfirmed, rules): (Vec<&RuleStatus>, Vec<&RuleStatus>) =
        rules.iter().filter(is_written).partition(|rule| rule.confirm_until.is_some());
    let rules = rules.into_iter().map(candidate).collect::<Result<_, _>>()?;
    let left_out = bans.iter().filter(|ban| ban.confirm_until.is_some()).count() as u64;
    let bans_left_out = (left_out > 0).then(|| counted(left_out, "ban"));
    let bans = bans.iter().filter_map(|view| Some(ban(view, confirmed_end(view)?))).collect::<Result<_, _>>()?;
    let mut waiting: Vec<String> = unconfirmed.iter().map(|rule| format!("{}: {}", rule.id, rule.text)).collect();
    waiting.extend(bans_left_out.clone());
    if !waiting.is_empty() {
        let names = unconfirmed.iter().map(|rule| rule.id.to_string());
        let names = names.chain(bans_left_out).collect::<Vec<_>>().join(", ");
        eprintln!("seawall: left out until `seawall confirm`, and listed in the file: {names}");
    }
    Ok(Material { rules, bans, waiting, never_ban, ..Material::default() })
}

fn candidate(rule: &RuleStatus) -> Result<Candidate, Failure> {
    let expression = Expression::parse(&rule.text, Use::Rule, &Lists::default()).map_err(|error| {
        Failure::no_guard(format!("failed to read the guard's rule {}: {error}; is it of another version?", rule.id))
    })?;
    let obstacle = match rule.action {
        Action::Refuse { .. } | Action::Drop => None,
        Action::Throttle { rate } => {
            Some(format!("it only slows down, to {rate} requests a second, and a file could only refuse them all"))
        }
    };
    Ok(Candidate { name: rule.id.to_string(), expression, expires: rule.expires, obstacle })
}

/// Until when a network is banned whether or not anything is confirmed; none when it is not.
fn confirmed_end(view: &BanView) -> Option<Timestamp> {
    if view.confirm_until.is_some() { view.unconfirmed_expires } else { Some(view.expires) }
}

fn ban(view: &BanView, expires: Timestamp) -> Result<Ban, Failure> {
    let address = view.network.parse::<std::net::IpAddr>().map(IpNet::from);
    let network = address.or_else(|_| view.network.parse::<IpNet>()).map_err(|_| {
        let shown = escape(view.network.as_bytes());
        Failure::no_guard(format!(
            "failed to read the guard's ban of {shown}: it is no network; is it of another version?"
        ))
    })?;
    Ok(Ban { network, expires: Some(expires) })
}

fn of_files(
    arguments: &Arguments,
    rules: Option<&Path>,
    bans: Option<&Path>,
    now: Timestamp,
) -> Result<Material, Failure> {
    let config = arguments.config.as_deref().map(config::load).transpose()?;
    let lists = config.as_ref().map(config::Config::lists).unwrap_or_default();
    let rules = rules.map(|path| rule_file::read(path, &lists)).transpose()?.unwrap_or_default();
    let rules = rules.into_iter().map(|rule| Candidate {
        name: rule.name.map_or_else(|| format!("line-{}", rule.line), String::from),
        expression: rule.expression,
        expires: None,
        obstacle: None,
    });
    let bans = bans.map(networks).transpose()?.unwrap_or_default();
    let bans = bans.into_iter().map(|(network, seconds)| Ban {
        network: of_client(network),
        expires: seconds.map(|seconds| now + Duration::from_secs(seconds)),
    });
    let never_ban = match (&config, &arguments.never) {
        (Some(config), _) => config.never_ban_set().networks().collect(),
        (None, None) => loopback_networks().to_vec(),
        (None, Some(_)) => Vec::new(),
    };
    Ok(Material { rules: rules.collect(), bans: bans.collect(), never_ban, ..Material::default() })
}

/// The networks of a list, and for how many seconds each is still banned, if it says so. Of who is to be refused or spared none may
/// be passed over.
fn networks(path: &Path) -> Result<Vec<(IpNet, Option<u64>)>, Failure> {
    let import = read_import(path, &[], "`ipset save NAME` writes one of them")?;
    let name = escape(path.to_string_lossy().as_bytes());
    if let Some((line, why)) = import.unreadable.first() {
        let more = import.unreadable_count - 1;
        let more = if more > 0 { format!(", and {more} more like it") } else { String::new() };
        return Err(Failure::invalid(format!("{name}:{line}: {why}{more}")));
    }
    Ok(import.networks.into_iter().map(|one| (one.network, one.seconds)).collect())
}

/// The command that makes the file anew, but for where it writes, for its head: wherever it is run from, and whoever runs it.
fn command(arguments: &Arguments, system: &System) -> String {
    let mut words = vec!["seawall export".to_owned(), system.name.to_owned()];
    let is_of_guard = arguments.rules.is_none() && arguments.bans.is_none();
    let files = [
        ("--state", is_of_guard.then_some(arguments.guard.state()), "DIR"),
        ("--rules", arguments.rules.as_deref(), "FILE"),
        ("--bans", arguments.bans.as_deref(), "FILE"),
        ("--never", arguments.never.as_deref(), "FILE"),
        ("--config", arguments.config.as_deref(), "FILE"),
    ];
    for (option, path, kind) in files.into_iter().filter_map(|(option, path, kind)| Some((option, path?, kind))) {
        words.push(format!("{option} {}", plain(path).unwrap_or_else(|| kind.to_owned())));
    }
    if arguments.proposed {
        words.push("--proposed".to_owned());
    }
    if arguments.ports != [80, 443] {
        words.extend(arguments.ports.iter().map(|port| format!("--port {port}")));
    }
    words.join(" ")
}

/// A path from the root, if it is one and needs no quotes.
fn plain(path: &Path) -> Option<String> {
    // Standard input is no file to come back to.
    let path = (path != Path::new("-")).then(|| std::path::absolute(path).ok()).flatten()?;
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    path.into_os_string().into_string().ok().filter(|path| path.as_bytes().iter().all(is_plain))
}

fn names() -> Vec<PossibleValue> {
    SYSTEMS.iter().map(|system| PossibleValue::new(system.name).help(system.about)).collect()
}
