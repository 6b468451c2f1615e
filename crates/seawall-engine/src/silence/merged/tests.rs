//! A minute and more of traffic through every kind of proxy, and without one.

use super::super::Sent;
use super::*;
use crate::address::ClientAddress;

const START: Timestamp = Timestamp::from_seconds(1_700_000_000);

/// One request: its peer, the client that it names and where, its agent.
type Request = (String, Option<(Claim, String)>, String);

struct Watched {
    clients: MergedClients,
    recent: RecentPeers,
    trusted: AddressSet,
    place: Place,
    second: u64,
}

impl Watched {
    fn new(place: Place) -> Self {
        let (clients, recent, trusted) = (MergedClients::default(), RecentPeers::default(), AddressSet::default());
        Self { clients, recent, trusted, place, second: 0 }
    }

    fn trust(&mut self, networks: &[&str]) {
        self.trusted = AddressSet::new(networks.iter().map(|network| network.parse().expect("a network")));
    }

    /// Goes on for so many seconds; what is told, with the second from the beginning of this.
    fn run(&mut self, seconds: u64, requests: impl Fn(u64) -> Vec<Request>) -> Vec<(u64, Change)> {
        let address = |text: &str| ClientAddress::new(text.parse().expect("an address"));
        let mut told = Vec::new();
        for second in 0..seconds {
            let now = START + Duration::from_secs(self.second);
            for (peer, named, agent) in requests(self.second) {
                let named = named.as_ref().map(|(claim, client)| (*claim, address(client)));
                self.recent.count(now, Some(Sent { peer: address(&peer), named, agent: Some(agent.as_bytes()) }));
            }
            let change = self.clients.look(now, &self.recent, &self.trusted, self.place);
            told.extend(change.map(|change| (second, change)));
            self.second += 1;
        }
        told
    }

    /// The same with so many requests of known clients a second.
    fn run_apart(&mut self, seconds: u64, requests: u64) -> Vec<(u64, Change)> {
        let mut told = Vec::new();
        for second in 0..seconds {
            let now = START + Duration::from_secs(self.second);
            (0..requests).for_each(|_| self.recent.count(now, None));
            let change = self.clients.look(now, &self.recent, &self.trusted, self.place);
            told.extend(change.map(|change| (second, change)));
            self.second += 1;
        }
        told
    }
}

/// So many visitors a second behind the peer.
fn through(peer: &str, claim: Option<Claim>, count: u64) -> impl Fn(u64) -> Vec<Request> {
    move |second| {
        let visitor = |nth: u64| {
            let number = second * count + nth;
            let named = claim.map(|claim| (claim, format!("198.51.100.{}", number % 250)));
            (peer.to_owned(), named, format!("agent {}", number % 40))
        };
        (0..count).map(visitor).collect()
    }
}

/// So many visitors a second without a proxy.
fn direct(count: u64) -> impl Fn(u64) -> Vec<Request> {
    move |second| {
        let visitor = |nth| (format!("203.{}.113.7", (second * count + nth) % 200), None, "agent".to_owned());
        (0..count).map(visitor).collect()
    }
}

fn both(one: impl Fn(u64) -> Vec<Request>, other: impl Fn(u64) -> Vec<Request>) -> impl Fn(u64) -> Vec<Request> {
    move |second| one(second).into_iter().chain(other(second)).collect()
}

fn raised(told: &[(u64, Change)]) -> &str {
    match told {
        [(second, Change::Raised(alarm))] if (30..60).contains(second) => &alarm.text,
        other => panic!("{other:?}"),
    }
}

fn is_cleared(told: &[(u64, Change)]) -> bool {
    matches!(told, [(_, Change::Cleared(_))])
}

#[test]
fn a_local_proxy_that_names_its_clients_is_told_within_a_minute_with_what_to_write() {
    for (peer, claim, expected) in [
        ("127.0.0.1", Claim::XForwardedFor, "in X-Forwarded-For, which is not believed"),
        ("127.0.0.1", Claim::XForwardedFor, "write `[trust] proxies = [\"127.0.0.1\"]`"),
        ("::1", Claim::XForwardedFor, "write `[trust] proxies = [\"::1\"]`"),
        ("10.0.0.3", Claim::Forwarded, "[\"10.0.0.3\"]` and `client-address = \"forwarded\"`"),
        ("172.17.0.1", Claim::CfConnectingIp, "[\"172.17.0.1\"]` and `client-address = \"cf-connecting-ip\"`"),
        ("fd00::7", Claim::FastlyClientIp, "[\"fd00::7\"]` and `client-address = \"fastly-client-ip\"`"),
        ("169.254.0.2", Claim::XRealIp, "have it send X-Forwarded-For, since X-Real-IP is not read, and write"),
    ] {
        let mut watched = Watched::new(Place::InLine);
        let told = watched.run(70, through(peer, Some(claim), 5));
        let text = raised(&told);
        assert!(text.starts_with("100% of the last ") && text.contains(expected), "{text}");
        assert_eq!(watched.clients.alarm().map(|alarm| alarm.text.as_str()), Some(text));
    }
    // Several of one kind, beside checks of the machine itself.
    let mut watched = Watched::new(Place::InLine);
    watched.trust(&["192.0.2.0/24"]);
    let proxies =
        both(through("10.0.0.3", Some(Claim::XForwardedFor), 3), through("10.0.0.4", Some(Claim::XForwardedFor), 2));
    let told = watched.run(70, both(proxies, through("127.0.0.1", None, 1)));
    assert!(raised(&told).contains("add \"10.0.0.3\", \"10.0.0.4\" to `proxies` of [trust]"), "{told:?}");
}

#[test]
fn it_is_over_once_the_proxy_is_trusted_or_clients_come_by_themselves() {
    let proxy = || through("127.0.0.1", Some(Claim::XForwardedFor), 5);
    let mut watched = Watched::new(Place::InLine);
    raised(&watched.run(70, proxy()));
    watched.trust(&["127.0.0.0/8"]);
    assert!(is_cleared(&watched.run_apart(1, 5)), "at once");
    assert_eq!(watched.run_apart(200, 5), []);

    let mut watched = Watched::new(Place::InLine);
    raised(&watched.run(70, proxy()));
    assert_eq!(watched.run_apart(100, 0), [], "nobody comes");
    watched.trust(&["127.0.0.1/32"]);
    assert!(is_cleared(&watched.run_apart(1, 0)), "also then");

    let mut watched = Watched::new(Place::InLine);
    raised(&watched.run(70, proxy()));
    // What goes up and down around the share is told once.
    for _ in 0..10 {
        assert_eq!(watched.run(40, both(through("127.0.0.1", Some(Claim::XForwardedFor), 9), direct(1))), []);
        assert_eq!(watched.run(40, proxy()), []);
    }
    // At night nobody comes, or nearly.
    assert_eq!(watched.run(3_600, |_| Vec::new()), []);
    assert_eq!(watched.run(3_600, |second| if second % 30 == 0 { proxy()(second) } else { Vec::new() }), []);
    assert!(is_cleared(&watched.run(90, direct(5))));
}

#[test]
fn few_requests_a_short_while_and_visitors_of_the_same_network_are_no_alarm() {
    let claim = Some(Claim::XForwardedFor);
    for place in [Place::InLine, Place::Log] {
        let seldom =
            |second: u64| if second.is_multiple_of(2) { through("127.0.0.1", claim, 3)(second) } else { Vec::new() };
        assert_eq!(Watched::new(place).run(600, seldom), [], "90 a minute");
        assert_eq!(Watched::new(place).run(25, through("127.0.0.1", claim, 500)), [], "less than half a minute");
        assert_eq!(
            Watched::new(place).run(600, both(through("127.0.0.1", claim, 9), direct(1))),
            [],
            "one in ten is direct"
        );
        assert_eq!(Watched::new(place).run(600, direct(20)), []);
        let office = |second: u64| -> Vec<Request> {
            (0..20).map(|nth| (format!("192.168.1.{}", (second + nth) % 12), None, format!("agent {nth}"))).collect()
        };
        assert_eq!(Watched::new(place).run(600, office), [], "a site of one network");
    }
}

#[test]
fn in_line_a_silent_proxy_is_told_from_a_program_by_its_agents() {
    let mut watched = Watched::new(Place::InLine);
    let probe = |_| vec![("127.0.0.1".to_owned(), None, "curl/8.5.0".to_owned()); 10];
    assert_eq!(watched.run(600, probe), []);
    let told = watched.run(70, both(probe, through("172.17.0.1", None, 1_000)));
    let [(_, Change::Raised(alarm))] = told.as_slice() else { panic!("{told:?}") };
    let expected = "if that is your proxy, have it send X-Forwarded-For and write `[trust] proxies = [\"172.17.0.1\"]`";
    assert!(alarm.text.contains(expected), "{}", alarm.text);
    // Trusting it is not enough: it still names nobody.
    watched.trust(&["172.17.0.1/32"]);
    assert_eq!(watched.run(70, through("172.17.0.1", None, 5)), []);
    assert!(is_cleared(&watched.run_apart(90, 5)));
    let told = watched.run(200, through("172.17.0.1", None, 50));
    let [(_, Change::Raised(alarm))] = told.as_slice() else { panic!("{told:?}") };
    assert!(
        alarm.text.contains("which is trusted, without the header that client-address of [trust] names"),
        "{}",
        alarm.text
    );
}

#[test]
fn a_log_in_which_one_local_address_is_every_client_is_told() {
    let mut watched = Watched::new(Place::Log);
    let same = |_| vec![("10.0.0.3".to_owned(), None, String::new()); 4];
    let told = watched.run(70, same);
    let text = raised(&told).to_owned();
    for expected in [
        "100% of the last ",
        "have the client 10.0.0.3, ",
        "set_real_ip_from",
        "mod_remoteip",
        "$http_x_forwarded_for at the end of the line and write `[trust] proxies = [\"10.0.0.3\"]`",
    ] {
        assert!(text.contains(expected), "{text}");
    }
    // Trust alone does not help while the log does not say whom the proxy names.
    watched.trust(&["10.0.0.3/32"]);
    assert_eq!(watched.run(100, same), []);
    assert!(is_cleared(&watched.run_apart(90, 4)));

    let mut watched = Watched::new(Place::Log);
    let told = watched.run(70, through("10.0.0.3", Some(Claim::XForwardedFor), 4));
    assert!(raised(&told).ends_with("if that is your proxy, write `[trust] proxies = [\"10.0.0.3\"]`"), "{told:?}");
}

#[test]
fn public_proxies_are_asked_about_and_never_named() {
    let cdn = |second: u64| -> Vec<Request> {
        let request = |nth: u64| {
            let (peer, named) =
                (format!("172.{}.9.{}", 68 + nth % 3, second % 200), format!("198.51.100.{}", second % 250));
            (peer, Some((Claim::CfConnectingIp, named)), String::new())
        };
        (0..6).map(request).collect()
    };
    let mut watched = Watched::new(Place::InLine);
    let told = watched.run(70, cdn);
    let text = raised(&told);
    assert!(text.starts_with("is there a proxy or a CDN in front? 100% of the last "), "{text}");
    assert!(text.contains("come from 3 networks and name other clients in CF-Connecting-IP"), "{text}");
    assert!(text.contains("with `client-address = \"cf-connecting-ip\"`") && !text.contains("172.68"), "{text}");
    watched.trust(&["172.64.0.0/13"]);
    assert!(is_cleared(&watched.run(1, cdn)));
    assert_eq!(watched.run(100, cdn), [], "whoever trusts anybody knows of it");
}

#[test]
fn a_flood_whose_headers_are_made_up_is_no_proxy() {
    let claim = |number: u64| Some((Claim::XForwardedFor, format!("198.51.100.{}", number % 250)));
    // Of botnets.
    for networks in [200, 12] {
        let botnet = |second: u64| -> Vec<Request> {
            let sender = |nth: u64| (format!("203.{}.7.9", nth % networks), claim(second + nth), String::new());
            (0..200).map(sender).collect()
        };
        assert_eq!(Watched::new(Place::InLine).run(300, both(direct(5), botnet)), []);
        assert_eq!(Watched::new(Place::InLine).run(300, botnet), []);
    }
    // Of one network, half of it without the header, or with one client in all of it.
    let half = |second: u64| {
        vec![("203.0.113.9".to_owned(), claim(second).filter(|_| second.is_multiple_of(2)), String::new()); 50]
    };
    assert_eq!(Watched::new(Place::InLine).run(300, half), []);
    let one = |_| vec![("203.0.113.9".to_owned(), claim(1), String::new()); 50];
    assert_eq!(Watched::new(Place::InLine).run(300, one), []);
    // And while visitors come as before.
    let flood = |second: u64| vec![("203.0.113.9".to_owned(), claim(second), String::new()); 50];
    assert_eq!(Watched::new(Place::InLine).run(300, both(direct(5), flood)), []);
}
