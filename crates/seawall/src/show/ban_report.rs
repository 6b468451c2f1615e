//! Who was banned how often: for each client its bans, their share, the mean time between two, the first, the last, and its
//! network. A client that comes back soon after each ban is banned for too short a time.

use hashbrown::HashMap;
use ipnet::IpNet;
use seawall_engine::address::ClientAddress;
use seawall_engine::decision::ban_network;
use seawall_engine::observation::Request;
use seawall_engine::units::{Timestamp, counted};
use serde::Serialize;

use crate::networks::Networks;
use crate::privacy::Labels;

/// Clients that are told apart; the bans of further ones are counted in the total alone.
const CLIENTS_MAX: usize = 1_000_000;

/// The report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BanReport {
    /// All bans.
    pub bans: u64,
    /// How many clients were banned.
    pub clients: u64,
    /// Whether they have pseudonyms.
    pub are_pseudonyms: bool,
    /// The most often banned, at most as many as were asked for.
    pub lines: Vec<BanLine>,
    /// Bans that the guard made besides, which its record has under keys that are gone.
    pub keyless: u64,
    /// Lines of the log that tell of a ban which cannot be read.
    pub unreadable: u64,
    /// The first of these, with its number, escaped.
    pub first_unreadable: Option<String>,
}

/// One client.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BanLine {
    /// Its name: an address where those were asked for, else a pseudonym.
    pub client: String,
    /// How often it was banned.
    pub bans: u64,
    /// The share of all bans, 0 to 1.
    pub share: f64,
    /// The mean time between two of its bans, in seconds; none for one ban alone.
    pub interval_seconds: Option<f64>,
    /// When it was first banned.
    pub first: Timestamp,
    /// When it was last banned.
    pub last: Timestamp,
    /// Country and autonomous system, as far as they are known.
    pub network: String,
}

#[derive(Clone, Copy)]
struct Counted {
    bans: u64,
    first: Timestamp,
    last: Timestamp,
}

impl BanReport {
    /// The report of these bans, with the `count` clients that were banned most often, by `labels` or, without, by their addresses.
    pub fn new(
        bans: impl IntoIterator<Item = (Timestamp, IpNet)>,
        count: usize,
        networks: &Networks,
        labels: Option<&Labels>,
    ) -> Self {
        let mut clients = HashMap::<IpNet, Counted>::new();
        let mut total = 0;
        for (at, network) in bans {
            total += 1;
            if clients.len() >= CLIENTS_MAX && !clients.contains_key(&network) {
                continue;
            }
            let counted = clients.entry(network).or_insert(Counted { bans: 0, first: at, last: at });
            counted.bans += 1;
            counted.first = counted.first.min(at);
            counted.last = counted.last.max(at);
        }
        let found = clients.len() as u64;
        let mut clients: Vec<(IpNet, Counted)> = clients.into_iter().collect();
        clients.sort_unstable_by_key(|(network, counted)| (std::cmp::Reverse(counted.bans), counted.first, *network));
        clients.truncate(count);
        let line = |(network, counted): (IpNet, Counted)| {
            let address = ClientAddress::new(network.addr());
            let network = ban_network(network);
            let is_address = network.prefix_len() == network.max_prefix_len();
            let client = match labels {
                Some(labels) => labels.of(network),
                None if is_address => network.addr().to_string(),
                None => network.to_string(),
            };
            let pauses = counted.bans.saturating_sub(1);
            BanLine {
                client,
                bans: counted.bans,
                share: counted.bans as f64 / f64::max(total as f64, 1.0),
                interval_seconds: (pauses > 0).then(|| counted.last.since(counted.first).as_secs_f64() / pauses as f64),
                first: counted.first,
                last: counted.last,
                network: network_of(networks, address),
            }
        };
        let lines = clients.into_iter().map(line).collect();
        let are_pseudonyms = labels.is_some();
        Self { bans: total, clients: found, are_pseudonyms, lines, keyless: 0, unreadable: 0, first_unreadable: None }
    }

    /// As a table for a terminal.
    pub fn render(&self) -> String {
        let mut text = format!("{} of {}\n", counted(self.bans, "ban"), counted(self.clients, "client"));
        if let Some(first) = &self.first_unreadable {
            text += &format!(
                "{} {} be read; the first is {first}\n",
                self.unreadable,
                if self.unreadable == 1 { "line cannot" } else { "lines cannot" }
            );
        }
        if self.keyless > 0 {
            let bans = counted(self.keyless, "older ban");
            text += &format!("and {bans} of whom nobody can tell any more: the keys are gone\n");
        }
        if self.lines.is_empty() {
            return text;
        }
        let heading = if self.are_pseudonyms { "pseudonym" } else { "client" };
        let width = self.lines.iter().map(|line| line.client.len()).max().unwrap_or(0).max(heading.len());
        text += &format!(
            "{:width$}  {:>6}  {:>5}  {:>8}  {:16}  {:16}  network\n",
            heading, "bans", "share", "interval", "first", "last"
        );
        for line in &self.lines {
            let interval = line.interval_seconds.map_or_else(|| "-".to_owned(), interval);
            text += &format!(
                "{:width$}  {:>6}  {:>4.0}%  {:>8}  {}  {}  {}\n",
                line.client,
                line.bans,
                100.0 * line.share,
                interval,
                time(line.first),
                time(line.last),
                line.network
            );
        }
        text
    }
}

fn network_of(networks: &Networks, client: ClientAddress) -> String {
    let mut request = Request::default();
    networks.locate(Some(client), &mut request);
    let country = request.country.map(|letters| String::from_utf8_lossy(&letters).into_owned());
    let asn =
        request.asn.map(|asn| format!("AS{asn} {}", networks.asn_name(asn).unwrap_or_default()).trim_end().to_owned());
    let parts: Vec<String> = country.into_iter().chain(asn).collect();
    // Names of networks are anybody's who registers one.
    let text = crate::show::text::escape(parts.join(" ").as_bytes());
    text.chars().take(40).collect()
}

fn interval(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.0}s"),
        ..7_200.0 => format!("{:.1}m", seconds / 60.0),
        ..172_800.0 => format!("{:.2}h", seconds / 3_600.0),
        _ => format!("{:.1}d", seconds / 86_400.0),
    }
}

fn time(at: Timestamp) -> String {
    let moment = jiff::Timestamp::from_second(i64::try_from(at.as_seconds()).unwrap_or_default()).unwrap_or_default();
    moment.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::{Day, KeyStore};

    #[test]
    fn pseudonyms_are_called_so() {
        let networks = Networks::load(&crate::config::NetworkFiles::default()).expect("the built-in table");
        let today = Day::of(Timestamp::from_seconds(1_562_000_000));
        let key = KeyStore::open(std::path::Path::new("unused"), 0).and_then(|keys| keys.key(today, today));
        let labels = Labels::new(&key.expect("a key"));
        let bans = ["192.0.2.1/32", "2001:db8::/64", "192.0.2.0/28"].map(|text| text.parse().expect("a network"));
        let of = |labels| {
            let report = BanReport::new(bans.map(|network| (Timestamp::EPOCH, network)), 5, &networks, labels);
            let text = report.render();
            let heading = text.lines().nth(1).and_then(|line| line.split_whitespace().next()).map(str::to_owned);
            (heading.expect("a heading"), report.lines.into_iter().map(|line| line.client).collect::<Vec<_>>())
        };
        let mut named: Vec<String> = bans.iter().map(|network| labels.of(*network)).collect();
        named.sort();
        let (heading, mut clients) = of(Some(&labels));
        clients.sort();
        assert_eq!((heading.as_str(), clients), ("pseudonym", named));
        let (heading, clients) = of(None);
        assert_eq!(heading, "client");
        assert_eq!(clients, ["192.0.2.0/28", "192.0.2.1", "2001:db8::/64"]);
    }

    #[test]
    fn clients_are_ranked_by_their_bans_with_the_time_between() {
        let networks = Networks::load(&crate::config::NetworkFiles::default()).expect("the built-in table");
        let at = |hours: u64| Timestamp::from_seconds(1_562_000_000 + 3_600 * hours);
        let client = |text: &str| text.parse::<IpNet>().expect("a network");
        let bans = [
            (at(0), client("192.0.2.1/32")),
            (at(1), client("192.0.2.2/32")),
            (at(2), client("192.0.2.1/32")),
            (at(4), client("192.0.2.1/32")),
        ];
        let report = BanReport::new(bans, 1, &networks, None);
        assert_eq!((report.bans, report.clients, report.lines.len()), (4, 2, 1));
        let line = &report.lines[0];
        assert_eq!((line.client.as_str(), line.bans, line.share), ("192.0.2.1", 3, 0.75));
        assert_eq!((line.interval_seconds, line.first, line.last), (Some(7_200.0), at(0), at(4)));
        assert!(report.render().contains("2.00h"), "{}", report.render());
        let none = BanReport::new([], 5, &networks, None);
        assert_eq!(none.render(), "0 bans of 0 clients\n");
        let keyless = BanReport { keyless: 2, ..none };
        let said = "0 bans of 0 clients\nand 2 older bans of whom nobody can tell any more: the keys are gone\n";
        assert_eq!(keyless.render(), said);
    }
}
