//! `seawall bans`

mod lists;
mod report;
mod words;

use std::net::IpAddr;
use std::path::PathBuf;
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
use super::output::{print, print_json};
use crate::config::quantity;
use crate::enforcement::{
    BanRequest, BanView, Banned, NamedList, NeverBanView, UnbanRequest, Unbanned, shown_network as shown,
};
use crate::host::clock::wall_clock;
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
        #[arg(value_name = "ADDRESS", required_unless_present_any = ["country", "asn"], value_parser = as_typed)]
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
        /// Why, for whoever looks into the journal later.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        guard: Guard,
        /// Print what became of it as JSON.
        #[arg(long)]
        json: bool,
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
        /// Print what became of it as JSON; what of the file is passed over is said on standard error then.
        #[arg(long)]
        json: bool,
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

impl Places {
    /// As the guard names them.
    fn names(&self) -> String {
        let countries = self.country.iter().map(|country| country.as_str().to_owned());
        countries.chain(self.asn.iter().map(|asn| format!("AS{asn}"))).collect::<Vec<_>>().join(", ")
    }
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
            let asked = networks.iter().map(|network| (network.trunc(), None)).collect();
            let banned: Banned = guard.ask_with("/v1/bans", &how.request(asked, places, BanCause::Operator))?;
            let others = words::banned_as_others(networks, &banned);
            if *json {
                print_json(&banned)?;
                eprint!("{others}");
            } else {
                print(&format!("{}{others}", words::outcome(&banned, how, &quantity::show_duration(how.duration))))?;
            }
            return words::refused(&banned, how);
        }
        Some(Command::Remove { names, places, file, sets, reason, guard, json, .. }) => {
            let list = file.as_deref().map(|file| lists::named(file, sets, *json)).transpose()?;
            remove(names, places, list, reason.as_deref(), guard, *json)?;
        }
        Some(Command::Import { file, sets, how, guard, json }) => return lists::import(file, sets, how, guard, *json),
        Some(Command::Export { guard }) => lists::export(guard)?,
        Some(Command::Report { file, top, show_addresses, json, guard }) => {
            let report = report::report(file.as_deref(), *top, *show_addresses, guard)?;
            if *json {
                print_json(&report)?;
            } else {
                print(&report.render())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn remove(
    names: &[String],
    places: &Places,
    list: Option<NamedList>,
    reason: Option<&str>,
    guard: &Guard,
    json: bool,
) -> Result<(), Failure> {
    let request = UnbanRequest {
        names: names.to_vec(),
        countries: places.country.clone(),
        systems: places.asn.clone(),
        list,
        reason: reason.map(str::to_owned),
    };
    let unbanned: Unbanned = guard.ask_with("/v1/bans/remove", &request)?;
    if json {
        print_json(&unbanned)?;
    } else {
        print(&words::taken_back(&unbanned))?;
    }
    if let Some(remains) = &unbanned.remains {
        return Err(Failure::machine(format!("it is out of the guard, but {remains}")));
    }
    words::not_banned(&unbanned, wall_clock()).map_or(Ok(()), |why| Err(Failure::negative(why)))?;
    if unbanned.removed > 0 || !unbanned.freed.is_empty() {
        return Ok(());
    }
    if let Some(list) = request.list {
        let source = escape(list.source.as_bytes());
        return Err(Failure::negative(format!("nobody is banned whom {source} names")));
    }
    let places = places.names();
    if !places.is_empty() {
        return Err(Failure::negative(format!("nobody is banned within the networks of {places}")));
    }
    Ok(())
}

fn never(guard: &Guard, json: bool) -> Result<(), Failure> {
    let entries: Vec<NeverBanView> = guard.ask(Method::GET, "/v1/never-ban")?;
    if json {
        return print_json(&entries);
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
        return print_json(&bans);
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

fn system(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("AS").or_else(|| text.strip_prefix("as")).unwrap_or(text);
    digits.parse().ok().filter(|number| *number != 0).ok_or_else(|| "write the number of a system, as 4134".to_owned())
}

fn network(text: &str) -> Result<IpNet, String> {
    as_typed(text).map(|network| network.trunc())
}

/// The same with what stands in it behind the length of a network, so that it can be said that this is passed over.
fn as_typed(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address.or_else(|_| text.parse::<IpNet>()).map_err(|_| {
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

fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}
