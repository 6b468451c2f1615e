//! `seawall bans`

mod lists;
mod words;

use std::fs::File;
use std::io::BufReader;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use http::Method;
use ipnet::IpNet;
use seawall_engine::decision::{BAN_DURATION_MAX, BanCause};
use seawall_engine::network::CountryCode;

pub(super) use lists::read_import;

use super::Failure;
use super::guard::Guard;
use super::journal;
use super::output::print;
use crate::config::{NetworkFiles, quantity};
use crate::enforcement::import::fail2ban::{self, BansMade};
use crate::enforcement::{BanRequest, BanView, Banned, NeverBanView, UnbanRequest, Unbanned, Withheld};
use crate::host::clock::wall_clock;
use crate::networks::Networks;
use crate::privacy::{Day, KeyStore, Labels, RETENTION_DAYS_MAX};
use crate::show::ban_report::BanReport;
use crate::show::text::escape;

/// For how long somebody is banned unless it is said: long enough for a flood, and short enough to be forgotten without harm.
const DURATION_DEFAULT: &str = "24h";

/// Look at who is banned, ban somebody, take bans back.
///
/// A banned client is dropped by the kernel on the guarded ports, where the guard has the right, and closed unread by the proxy
/// otherwise. Every ban ends by itself. Nobody on the never-ban list can be banned.
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  seawall bans list
  seawall bans --never
  seawall bans add 203.0.113.7 198.51.100.0/24 --for 2h --reason 'scraper' --confirm 60s
  seawall bans remove 203.0.113.7
  seawall bans import /var/lib/fail2ban/fail2ban.sqlite3
  seawall bans report /var/log/fail2ban.log"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    /// Show who is never banned, and why.
    #[arg(long)]
    never: bool,

    #[command(flatten)]
    guard: Guard,

    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// List who is banned: those whom you named by their addresses, all others by pseudonyms.
    #[command(after_help = "Example:\n  seawall bans list --json")]
    List {
        #[command(flatten)]
        guard: Guard,
        /// Show the addresses of all.
        #[arg(long)]
        show_addresses: bool,
        /// Print everything as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ban addresses or networks; of an IPv6 address its /64.
    #[command(after_help = "\
Examples:
  seawall bans add 203.0.113.7 --for 2h --reason 'fills the guest book'
  seawall bans add 198.51.100.0/24 --confirm 60s    and `seawall confirm`, or it is undone
  seawall bans add --country CN --for 2h --dry-run    how many networks, and whom it would keep away
  seawall bans add --asn 4134")]
    Add {
        /// Whom.
        #[arg(value_name = "ADDRESS", required_unless_present_any = ["country", "asn"], value_parser = network)]
        networks: Vec<IpNet>,
        #[command(flatten)]
        places: Places,
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        guard: Guard,
        /// Print what became of it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take bans back: by address, network, pseudonym, where they are, or the file that names them.
    #[command(
        after_help = "Examples:\n  seawall bans remove 203.0.113.7\n  seawall bans remove --country CN\n  seawall bans remove --file cn.zone\n  seawall bans remove --all"
    )]
    Remove {
        /// Whose.
        #[arg(
            value_name = "ADDRESS",
            required_unless_present_any = ["all", "country", "asn", "file"],
            conflicts_with_all = ["all", "country", "asn", "file"]
        )]
        names: Vec<String>,
        /// Every ban.
        #[arg(long, conflicts_with_all = ["country", "asn", "file"])]
        all: bool,
        /// All that lie within the networks of this file, as a list that was imported; standard input for `-`. It is read as `import`
        /// reads it; bans of larger networks stay.
        #[arg(long, value_name = "FILE", conflicts_with_all = ["country", "asn"])]
        file: Option<PathBuf>,
        /// Of a file that `ipset save` wrote, this set; may be given several times.
        #[arg(long = "set", value_name = "NAME", requires = "file")]
        sets: Vec<String>,
        #[command(flatten)]
        places: Places,
        #[command(flatten)]
        guard: Guard,
    },
    /// Ban whom a file names: fail2ban's database, what `ipset save` wrote, or a list with one address or network in each line.
    #[command(after_help = "\
Examples:
  seawall bans import /var/lib/fail2ban/fail2ban.sqlite3
  ipset save bad | seawall bans import -
  seawall bans import /etc/ipset.conf --set bad4 --set bad6")]
    Import {
        /// The file; standard input for `-`.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Of what `ipset save` wrote, this set; may be given several times. A file with one set, or with one of IPv4 and the same of
        /// IPv6, needs none. Exceptions (`nomatch`) are left out.
        #[arg(long = "set", value_name = "NAME")]
        sets: Vec<String>,
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        guard: Guard,
    },
    /// Write who is banned as a list that `import` reads, with the addresses of all.
    #[command(after_help = "Example:\n  seawall bans export > bans.ipset")]
    Export {
        #[command(flatten)]
        guard: Guard,
    },
    /// Report who was banned how often: bans, their share, the mean time between two, the first, the last, and the network.
    ///
    /// From fail2ban.log, or from the guard's own record when no file is named.
    #[command(
        after_help = "Examples:\n  seawall bans report\n  seawall bans report /var/log/fail2ban.log --show-addresses"
    )]
    Report {
        /// A fail2ban.log; standard input for `-`.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// How many clients, those with the most bans.
        #[arg(long, value_name = "NUMBER", default_value_t = 20)]
        top: usize,
        /// Show client addresses, which otherwise have pseudonyms.
        #[arg(long)]
        show_addresses: bool,
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        guard: Guard,
    },
}

/// Where somebody is, by the table of networks.
#[derive(clap::Args)]
struct Places {
    /// Every network of this country, by its two letters; several with commas.
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    country: Vec<CountryCode>,
    /// Every network of this autonomous system, by its number; several with commas.
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', value_parser = system)]
    asn: Vec<u32>,
}

/// How somebody is banned.
#[derive(clap::Args)]
struct How {
    /// For how long, as 90s, 10m, 2h or 7d; a year at most.
    #[arg(long = "for", value_name = "TIME", default_value = DURATION_DEFAULT, value_parser = duration)]
    duration: Duration,
    /// Why, for whoever looks later.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Undo it after this time unless `seawall confirm` is said before.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    confirm: Option<Duration>,
    /// Only say what it would be and do; nobody is banned.
    #[arg(long, conflicts_with = "confirm")]
    dry_run: bool,
    /// Do it even if it keeps away more than 1% of the traffic that is served in calm times, or nobody knows how much.
    ///
    /// It is not known as long as fewer than 300 requests were served. Then more than a client's own network (a /24, of IPv6 a /48), a
    /// country, an autonomous system or more than 64 networks need this or --confirm.
    #[arg(long)]
    anyway: bool,
}

impl How {
    fn request(&self, networks: Vec<(IpNet, Option<u64>)>, places: &Places, cause: BanCause) -> BanRequest {
        BanRequest {
            networks,
            countries: places.country.clone(),
            systems: places.asn.clone(),
            dry_run: self.dry_run,
            anyway: self.anyway,
            seconds: self.duration.as_secs(),
            reason: self.reason.clone(),
            cause,
            source: None,
            confirm_seconds: self.confirm.map(|time| time.as_secs()),
        }
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    match &arguments.command {
        None if arguments.never => never(&arguments.guard, arguments.json)?,
        None => return Err(Failure::usage("name a command, as in `seawall bans list`, or ask for --never")),
        Some(Command::List { guard, show_addresses, json }) => show(guard, *show_addresses, *json)?,
        Some(Command::Add { networks, places, how, guard, json }) => {
            let asked = networks.iter().map(|network| (*network, None)).collect();
            let banned: Banned = guard.ask_with("/v1/bans", &how.request(asked, places, BanCause::Operator))?;
            if *json {
                print(&format!("{}\n", serde_json::to_string_pretty(&banned).map_err(Failure::machine)?))?;
            } else {
                print(&outcome(&banned, how, &quantity::show_duration(how.duration)))?;
            }
            return refused(&banned, how);
        }
        Some(Command::Remove { names, places, file, sets, guard, .. }) => {
            let request = UnbanRequest {
                names: names.clone(),
                countries: places.country.clone(),
                systems: places.asn.clone(),
                list: file.as_deref().map(|file| lists::named(file, sets)).transpose()?,
            };
            let unbanned: Unbanned = guard.ask_with("/v1/bans/remove", &request)?;
            print(&format!("Took back {} {}.\n", unbanned.removed, plural(unbanned.removed, "ban")))?;
            if let Some(remains) = &unbanned.remains {
                return Err(Failure::machine(format!("it is out of the guard, but {remains}")));
            }
            words::not_banned(&unbanned, wall_clock()).map_or(Ok(()), |why| Err(Failure::negative(why)))?;
            if let Some(list) = request.list.filter(|_| unbanned.removed == 0) {
                let source = escape(list.source.as_bytes());
                return Err(Failure::negative(format!("nobody is banned whom {source} names")));
            }
        }
        Some(Command::Import { file, sets, how, guard }) => return lists::import(file, sets, how, guard),
        Some(Command::Export { guard }) => lists::export(guard)?,
        Some(Command::Report { file, top, show_addresses, json, guard }) => {
            let report = report(file.as_deref(), *top, *show_addresses, guard)?;
            if *json {
                print(&format!("{}\n", serde_json::to_string_pretty(&report).map_err(Failure::machine)?))?;
            } else {
                print(&report.render())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn never(guard: &Guard, json: bool) -> Result<(), Failure> {
    let entries: Vec<NeverBanView> = guard.ask(Method::GET, "/v1/never-ban")?;
    if json {
        return print(&format!("{}\n", serde_json::to_string_pretty(&entries).map_err(Failure::machine)?));
    }
    let width = entries.iter().map(|entry| shown(entry.network).len()).max().unwrap_or(0);
    let line = |entry: &NeverBanView| format!("{:width$}  {}\n", shown(entry.network), entry.words);
    match entries.as_slice() {
        [] => print("Anybody can be banned.\n"),
        entries => print(&entries.iter().map(line).collect::<String>()),
    }
}

fn show(guard: &Guard, show_addresses: bool, json: bool) -> Result<(), Failure> {
    let bans: Vec<BanView> = guard.ask(Method::GET, &format!("/v1/bans?addresses={show_addresses}"))?;
    if json {
        return print(&format!("{}\n", serde_json::to_string_pretty(&bans).map_err(Failure::machine)?));
    }
    if bans.is_empty() {
        return print("Nobody is banned.\n");
    }
    let now = wall_clock();
    let has = |is_pseudonym: bool| bans.iter().any(|ban| ban.is_pseudonym == is_pseudonym);
    let heading = match (has(true), has(false)) {
        (true, true) => "address or pseudonym",
        (true, false) => "pseudonym",
        (false, _) => "address",
    };
    let width = bans.iter().map(|ban| ban.network.len()).max().unwrap_or(0).max(heading.len());
    let mut text = format!("{heading:width$}  country  {:>14}  why\n", "for");
    for ban in &bans {
        let left = quantity::show_duration(Duration::from_secs(ban.expires.since(now).as_secs()));
        let cause = words::cause(ban.cause);
        let reason = ban.reason.as_deref().map(|reason| format!(": {}", escape(reason.as_bytes()))).unwrap_or_default();
        let country = ban.country.as_deref().unwrap_or("--");
        let waits = if ban.confirm_until.is_some() { ", unless it is confirmed" } else { "" };
        text += &format!("{:width$}  {country:7}  {left:>9} left{waits}  {cause}{reason}\n", ban.network);
    }
    if has(true) {
        text += "Clients that you did not name have pseudonyms (client-..., network-...), which hold for a day and are no addresses; \
                 --show-addresses shows who they are.\n";
    }
    print(&text)
}

/// What became of a request, for people; `time` is for how long it is about.
fn outcome(banned: &Banned, how: &How, time: &str) -> String {
    let mut text = String::new();
    if let Some(collateral) = banned.collateral {
        let (share, upper) = (100.0 * collateral.share, 100.0 * collateral.upper);
        let whence = if banned.clients == 0 { "there" } else { "the networks in it" };
        text += &format!(
            "{share:.2}% of the traffic served in calm times comes from {whence}, {upper:.2}% at most (95% confidence).\n"
        );
        if banned.clients > 0 {
            let count = banned.clients;
            text += &format!("How much comes from {count} single {} is not known.\n", plural(count, "client"));
        }
    } else if banned.networks > 1 {
        text += "What of the traffic served in calm times comes from there is not known.\n";
    }
    if how.dry_run {
        let count = banned.networks.saturating_sub(banned.refused.len());
        let need = match banned.withheld {
            None => "",
            Some(Withheld::TooMuch) => ", with --anyway",
            Some(Withheld::Unknown) => ", with --anyway or --confirm",
        };
        text += &format!("Would ban {count} {} for {time}{need}.\n", plural(count, "network"));
    }
    if banned.added > 0 {
        let layers = if banned.layers.is_empty() {
            "nowhere now, and `seawall status` says why".to_owned()
        } else {
            format!("in the {}", banned.layers.join(" and the "))
        };
        text += &format!("Banned {} {} for {time}, {layers}.\n", banned.added, plural(banned.added, "network"));
    }
    if banned.unchanged > 0 {
        text += &format!("{} were banned for as long or longer already.\n", banned.unchanged);
    }
    for entry in &banned.spared {
        text += &format!("Within it {} stays free: it is {}.\n", shown(entry.network), entry.reason.words());
    }
    if let (Some(_), Some(time)) = (banned.confirm_until, how.confirm) {
        text += &format!("Say `seawall confirm` within {}, or it is undone.\n", quantity::show_duration(time));
    }
    text
}

/// The exit code of a request of which some may have been refused.
fn refused(banned: &Banned, how: &How) -> Result<ExitCode, Failure> {
    match banned.withheld.filter(|_| !how.dry_run) {
        Some(Withheld::TooMuch) => {
            return Err(Failure::negative(
                "nobody was banned: that keeps away more than 1% of the visitors; --anyway does it",
            ));
        }
        Some(Withheld::Unknown) => {
            return Err(Failure::negative(
                "nobody was banned: whom it keeps away is not known, and it is about more than a client's own network, or of a list \
                 about private networks or those of half the world; --confirm 60s does it and undoes it unless you say `seawall confirm`, --anyway does it for good",
            ));
        }
        None => {}
    }
    if banned.refused.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let reasons: Vec<String> = banned
        .refused
        .iter()
        .take(10)
        .map(|one| format!("{} is not banned: {}", shown(one.network), one.reason))
        .collect();
    let more = banned.refused.len().saturating_sub(reasons.len());
    let more = if more > 0 { format!("\nand {more} more") } else { String::new() };
    Err(Failure::negative(format!("{}{more}", reasons.join("\n"))))
}

fn report(file: Option<&Path>, top: usize, show_addresses: bool, guard: &Guard) -> Result<BanReport, Failure> {
    let networks = Networks::load(&NetworkFiles::default()).map_err(Failure::machine)?;
    let today = Day::of(wall_clock());
    let (mut keyless, mut key) = (0, None);
    let made = match file {
        None => {
            let reader = journal::open(guard.state())?;
            // Which keys are there decides of whom it can be told; none is made or deleted here.
            let keys = KeyStore::open(guard.state(), RETENTION_DAYS_MAX).map_err(Failure::machine)?;
            key = keys.kept(today).map_err(Failure::machine)?;
            let made = reader.bans_made(keys, wall_clock()).map_err(Failure::machine)?;
            keyless = made.keyless;
            BansMade { bans: made.bans, ..BansMade::default() }
        }
        Some(path) => {
            let shown = escape(path.to_string_lossy().as_bytes());
            let failed = |error: std::io::Error| Failure::machine(format!("failed to read {shown}: {error}"));
            if path == Path::new("-") {
                fail2ban::read_log(std::io::stdin().lock()).map_err(failed)?
            } else {
                fail2ban::read_log(BufReader::new(File::open(path).map_err(failed)?)).map_err(failed)?
            }
        }
    };
    let BansMade { bans, unreadable, first_unreadable } = made;
    // What cannot be read may be an address all the same.
    let first_unreadable = first_unreadable.map(|(line, text)| {
        if show_addresses { format!("line {line}: {}", escape(text.as_bytes())) } else { format!("line {line}") }
    });
    let labels = if show_addresses {
        None
    } else {
        // Those of `bans list`, where the guard has made a key today; of what others have banned only this run knows them.
        let of_run = || KeyStore::open(guard.state(), 0).and_then(|keys| keys.key(today, today));
        Some(Labels::new(&key.map_or_else(of_run, Ok).map_err(Failure::machine)?))
    };
    let report = BanReport::new(bans, top, &networks, labels.as_ref());
    Ok(BanReport { keyless, unreadable, first_unreadable, ..report })
}

fn system(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("AS").or_else(|| text.strip_prefix("as")).unwrap_or(text);
    digits.parse().ok().filter(|number| *number != 0).ok_or_else(|| "write the number of a system, as 4134".to_owned())
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address.or_else(|_| text.parse::<IpNet>()).map(|network| network.trunc()).map_err(|_| {
        "it is neither an address, as 203.0.113.7 or 2001:db8::7, nor a network, as 198.51.100.0/24".to_owned()
    })
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "it is no time; write, for example, 90s, 10m, 2h or 7d".to_owned();
    // Days are what the configuration has no use for.
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok()).map(|days| days.saturating_mul(86_400));
    let read = match days {
        Some(seconds) => Duration::from_secs(seconds),
        None => quantity::parse_duration(text).and_then(|time| time.try_into().ok()).ok_or_else(wrong)?,
    };
    match read {
        read if read < Duration::from_secs(1) => Err("it is less than a second".to_owned()),
        read if read > BAN_DURATION_MAX => Err("it is longer than a year".to_owned()),
        read => Ok(read),
    }
}

fn shown(network: IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() { network.addr().to_string() } else { network.to_string() }
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

#[cfg(test)]
mod tests {
    use seawall_engine::decision::Collateral;

    use super::*;

    #[test]
    fn what_is_not_known_of_single_clients_is_said_beside_the_share_of_the_networks() {
        let how = How { duration: Duration::from_secs(60), reason: None, confirm: None, dry_run: true, anyway: false };
        let collateral = Collateral { share: 0.001, upper: 0.004 };
        let said = |clients| {
            let banned = Banned { networks: 9, clients, collateral: Some(collateral), ..Banned::default() };
            outcome(&banned, &how, "1m")
        };
        let networks = "0.10% of the traffic served in calm times comes from there, 0.40% at most (95% confidence).\n";
        assert!(said(0).starts_with(networks), "{}", said(0));
        assert!(said(8).starts_with(&networks.replace("there", "the networks in it")), "{}", said(8));
        assert!(said(8).contains("How much comes from 8 single clients is not known.\n"), "{}", said(8));
    }
}
