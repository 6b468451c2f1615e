//! Whom an operator's request is about: what it names, and every network of its countries and autonomous systems; and what that
//! would do to visitors.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use seawall_engine::address::{AddressSet, ClientAddress};
use seawall_engine::decision::{
    BAN_LENGTH_MIN_V4, BAN_LENGTH_MIN_V6, BanCause, BanError, Collateral, Innocent, ban_network, check_ban,
};
use seawall_engine::network::CountryCode;

use super::orders::{BanRequest, COLLATERAL_MAX, Doubt, Doubtful, Withheld};
use super::shown_network;
use crate::networks::Networks;

/// The largest networks of one holder.
const LARGEST_V4: u8 = 8;
const LARGEST_V6: u8 = 19;

/// The share of all addresses that a list may have unasked. China, the largest that is banned as a list, has a twelfth.
const LIST_SHARE_MAX: f64 = 0.125;

/// More than these are not looked at one by one by whoever types them.
const BY_HAND_MAX: usize = 64;

/// Networks with what an operator says of each. Those of lists and countries are as few as they can be written with; single
/// clients stay as they are named, so that each can be taken back, and so does whatever a person names. An address of IPv6 that may
/// not be banned stays itself: its /64, which a ban of it would be about, may have nobody on the list but in part.
pub(super) fn networks(request: &BanRequest, known: &Networks, never_ban: &AddressSet) -> Vec<(IpNet, Option<u64>)> {
    let is_list = request.cause == BanCause::Import;
    let as_banned = |network: IpNet| if check_ban(network, never_ban).is_ok() { ban_network(network) } else { network };
    let named = request.networks.iter().map(|(network, seconds)| (as_banned(*network), *seconds));
    // What is too large is refused by itself, and takes nothing in.
    let is_too_large = |network: IpNet| matches!(check_ban(network, never_ban), Err(BanError::TooLarge { .. }));
    let (of_lists, mut others): (Vec<_>, Vec<_>) = named.partition(|(network, seconds)| {
        is_list && seconds.is_none() && !is_client(*network) && !is_too_large(*network)
    });
    let mut large: Vec<IpNet> = of_lists.into_iter().map(|(network, _)| network).collect();
    large.extend(of_places(&request.countries, &request.systems, known));
    let large = AddressSet::new(large);
    let is_within = |network: IpNet| is_list && large.contains(ClientAddress::new(network.addr()));
    others.retain(|(network, seconds)| seconds.is_some() || !is_within(*network));
    others.extend(large.networks().flat_map(bannable).map(|network| (network, None)));
    others
}

/// A network in parts that are no larger than may be banned.
fn bannable(network: IpNet) -> impl Iterator<Item = IpNet> {
    let largest = if network.addr().is_ipv4() { BAN_LENGTH_MIN_V4 } else { BAN_LENGTH_MIN_V6 };
    // It cannot fail: a length between the network's own and the longest.
    network.subnets(largest.max(network.prefix_len())).into_iter().flatten()
}

/// Every network of these countries and systems, IPv6 no finer than it is banned.
pub(super) fn of_places(countries: &[CountryCode], systems: &[u32], known: &Networks) -> Vec<IpNet> {
    if countries.is_empty() && systems.is_empty() {
        return Vec::new();
    }
    let prefixes = known.table().prefixes(|network| {
        network.country().is_some_and(|country| countries.contains(&country))
            || network.asn().is_some_and(|asn| systems.contains(&asn))
    });
    prefixes.into_iter().map(ban_network).collect()
}

/// These places by their names.
pub(super) fn places(countries: &[CountryCode], systems: &[u32]) -> String {
    names(countries, systems).collect::<Vec<_>>().join(", ")
}

fn names(countries: &[CountryCode], systems: &[u32]) -> impl Iterator<Item = String> {
    let countries = countries.iter().map(|country| country.as_str().to_owned());
    countries.chain(systems.iter().map(|asn| format!("AS{asn}")))
}

/// Takes the countries and systems of which no network is known out of a request, and says which those are.
pub(super) fn take_unknown_places(request: &mut BanRequest, known: &Networks) -> Vec<String> {
    let (mut countries, mut systems) = (request.countries.clone(), request.systems.clone());
    for range in known.table().ranges() {
        if countries.is_empty() && systems.is_empty() {
            break;
        }
        countries.retain(|country| range.network.country() != Some(*country));
        systems.retain(|asn| range.network.asn() != Some(*asn));
    }
    request.countries.retain(|country| !countries.contains(country));
    request.systems.retain(|asn| !systems.contains(asn));
    names(&countries, &systems).collect()
}

/// What of the traffic that is served in calm times comes from the larger ones of these networks; of single clients that is not
/// asked. None when too little was served to tell.
pub(super) fn collateral(networks: &[(IpNet, Option<u64>)], innocent: &Innocent) -> Option<Collateral> {
    let large = networks.iter().map(|(network, _)| *network).filter(|network| !is_client(*network));
    let large = AddressSet::new(large);
    if large.is_empty() { None } else { innocent.within(&large) }
}

/// Why a request has to say that it means it, and has not, and of what it is doubtful where that is known. A list was made by somebody who
/// had a reason, but not always for this: one of addresses that nobody may come from over a border has the operator's own networks in it,
/// and a damaged one may have the Internet. Of what is typed a slip may keep away everybody. Of `networks` those are left out that are
/// refused by themselves.
pub(super) fn withheld(
    request: &BanRequest,
    networks: &[(IpNet, Option<u64>)],
    collateral: Option<Collateral>,
) -> Option<(Withheld, Option<Doubtful>)> {
    match collateral {
        _ if request.anyway || networks.is_empty() => None,
        Some(collateral) if collateral.upper > COLLATERAL_MAX => Some((Withheld::TooMuch, None)),
        _ if request.confirm_seconds.is_some() => None,
        _ => {
            let is_list = request.cause == BanCause::Import;
            let doubtful = match collateral {
                // What came lately does not say who comes at other times: a list is asked about what none of unwanted senders has.
                _ if is_list => doubt_of_list(networks),
                Some(_) => None,
                None => doubt_of_typed(request, networks),
            };
            doubtful.map(|doubtful| (Withheld::Unknown, Some(doubtful)))
        }
    }
}

/// What of a typed request may keep away whom nobody meant.
fn doubt_of_typed(request: &BanRequest, networks: &[(IpNet, Option<u64>)]) -> Option<Doubtful> {
    let places = places(&request.countries, &request.systems);
    if !places.is_empty() {
        let count = request.countries.len() + request.systems.len();
        return Some(Doubtful { doubt: Doubt::Place, first: Some(places), count });
    }
    let is_long = networks.len() > BY_HAND_MAX;
    let long = || Doubtful { doubt: Doubt::Long, first: None, count: networks.len() };
    of_networks(networks, Doubt::Wide, is_wide).or_else(|| is_long.then(long))
}

/// Why a list may be none of unwanted senders: it has networks that are nobody's on the Internet, one that is larger than anybody's, or
/// more than an eighth of all addresses.
fn doubt_of_list(networks: &[(IpNet, Option<u64>)]) -> Option<Doubtful> {
    let addresses = |network: &IpNet| match network {
        IpNet::V4(network) => 2_f64.powi(-i32::from(network.prefix_len())),
        // Of 2000::/3, which is all that is given out.
        IpNet::V6(network) => 2_f64.powi(3 - i32::from(network.prefix_len())),
    };
    let share = |is_v4: bool| {
        let of_family = networks.iter().map(|(network, _)| network).filter(|network| network.addr().is_ipv4() == is_v4);
        of_family.map(addresses).sum::<f64>()
    };
    let too_many = || Doubtful { doubt: Doubt::TooMany, first: None, count: networks.len() };
    let private = AddressSet::new(private_networks());
    let is_largest =
        |network: IpNet| network.prefix_len() < if network.addr().is_ipv4() { LARGEST_V4 } else { LARGEST_V6 };
    of_networks(networks, Doubt::Private, |network| private.overlaps(network))
        .or_else(|| of_networks(networks, Doubt::TooLarge, is_largest))
        .or_else(|| [true, false].into_iter().any(|is_v4| share(is_v4) > LIST_SHARE_MAX).then(too_many))
}

/// The networks of which a request is doubtful, if there are any.
fn of_networks(networks: &[(IpNet, Option<u64>)], doubt: Doubt, is_so: impl Fn(IpNet) -> bool) -> Option<Doubtful> {
    let mut doubtful = networks.iter().map(|(network, _)| *network).filter(|network| is_so(*network));
    let first = doubtful.next()?;
    Some(Doubtful { doubt, first: Some(shown_network(first)), count: 1 + doubtful.count() })
}

/// Networks that are not used on the Internet: RFC 1918, 6598, 3927, 4193 and 4291.
fn private_networks() -> impl Iterator<Item = IpNet> {
    let v4 = [
        ([10, 0, 0, 0], 8),
        ([172, 16, 0, 0], 12),
        ([192, 168, 0, 0], 16),
        ([100, 64, 0, 0], 10),
        ([169, 254, 0, 0], 16),
    ];
    let v6 = [(0xfc00, 7), (0xfe80, 10)];
    let v4 = v4.into_iter().map(|(octets, length)| IpNet::new(Ipv4Addr::from(octets).into(), length));
    let v6 = v6.into_iter().map(|(first, length)| IpNet::new(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0).into(), length));
    // No length is longer than an address.
    v4.chain(v6).flatten()
}

/// Whether it is more than the network of one client, household or office.
fn is_wide(network: IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.prefix_len() < 24,
        IpNet::V6(network) => network.prefix_len() < 48,
    }
}

pub(super) fn is_client(network: IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.prefix_len() == 32,
        IpNet::V6(network) => network.prefix_len() >= 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NetworkFiles;

    fn network(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    fn request(named: &[(&str, Option<u64>)]) -> BanRequest {
        BanRequest {
            networks: named.iter().map(|(text, seconds)| (network(text), *seconds)).collect(),
            countries: vec![],
            systems: vec![],
            seconds: 60,
            reason: None,
            cause: BanCause::Import,
            source: None,
            confirm_seconds: None,
            dry_run: false,
            anyway: false,
        }
    }

    #[test]
    fn networks_of_a_list_are_put_together_and_clients_stay_apart() {
        let known = Networks::load(&NetworkFiles::default()).expect("the built-in table");
        let asked = request(&[
            ("198.51.100.0/25", None),
            ("198.51.100.128/25", None),
            ("198.51.100.7/32", None),
            ("203.0.113.8/32", None),
            ("203.0.113.9/32", None),
            ("192.0.2.0/25", Some(5)),
            ("2001:db8::7/128", None),
        ]);
        let nobody = AddressSet::default();
        let found = networks(&asked, &known, &nobody);
        let expected = [
            ("203.0.113.8/32", None),
            ("203.0.113.9/32", None),
            ("192.0.2.0/25", Some(5)),
            ("2001:db8::/64", None),
            ("198.51.100.0/24", None),
        ];
        assert_eq!(found, expected.map(|(text, seconds)| (network(text), seconds)));
        let named = BanRequest { cause: BanCause::Operator, ..asked };
        assert_eq!(networks(&named, &known, &nobody).len(), 7, "a person's bans are taken back as they were said");
    }

    #[test]
    fn one_network_that_is_too_large_takes_no_other_in_and_none_becomes_too_large() {
        let known = Networks::load(&NetworkFiles::default()).expect("the built-in table");
        let found = |asked: &BanRequest| -> Vec<IpNet> {
            networks(asked, &known, &AddressSet::default()).into_iter().map(|(network, _)| network).collect()
        };
        let asked = request(&[("0.0.0.0/0", None), ("10.0.0.0/8", None)]);
        assert_eq!(found(&asked), ["0.0.0.0/0", "10.0.0.0/8"].map(network));
        let eighths: Vec<String> = (32..64).map(|first| format!("{first}.0.0.0/8")).collect();
        let asked = request(&eighths.iter().map(|text| (text.as_str(), None)).collect::<Vec<_>>());
        assert_eq!(found(&asked), ["32.0.0.0/4", "48.0.0.0/4"].map(network));
    }

    #[test]
    fn a_protected_address_of_ipv6_is_not_made_its_64() {
        let known = Networks::load(&NetworkFiles::default()).expect("the built-in table");
        let never_ban = AddressSet::new([network("2001:db8::7/128")]);
        let asked = request(&[("2001:db8::7/128", None), ("2001:db8::8/128", None)]);
        let found = networks(&asked, &known, &never_ban);
        assert_eq!(found, [(network("2001:db8::7/128"), None), (network("2001:db8::/64"), None)]);
    }

    #[test]
    fn a_country_and_a_system_are_all_their_networks() {
        let known = Networks::load(&NetworkFiles::default()).expect("the built-in table");
        let liechtenstein: CountryCode = "LI".parse().expect("a country");
        let asked = BanRequest { countries: vec![liechtenstein], systems: vec![13335], ..request(&[]) };
        let found = networks(&asked, &known, &AddressSet::default());
        assert!(found.len() > 50, "{}", found.len());
        let set = AddressSet::new(found.iter().map(|(network, _)| *network));
        assert!(set.contains(ClientAddress::new("1.1.1.1".parse().expect("an address"))));
        for (network, _) in &found {
            let place = known.lookup(ClientAddress::new(network.addr()));
            assert!(place.country() == Some(liechtenstein) || place.asn() == Some(13335), "{network}: {place:?}");
        }
    }

    #[test]
    fn places_of_which_no_network_is_known_are_taken_out_and_named() {
        let known = Networks::load(&NetworkFiles::default()).expect("the built-in table");
        let country: CountryCode = "LI".parse().expect("a country");
        let mut asked = BanRequest { countries: vec![country], systems: vec![13335, 999_999_999], ..request(&[]) };
        assert_eq!(take_unknown_places(&mut asked, &known), ["AS999999999"]);
        assert_eq!((asked.countries, asked.systems), (vec![country], vec![13335]));
    }

    #[test]
    fn what_may_keep_anybody_away_has_to_be_meant() {
        let typed = BanRequest { cause: BanCause::Operator, ..request(&[]) };
        let held = |asked: &BanRequest, networks: &[&str]| {
            let networks: Vec<_> = networks.iter().map(|text| (network(text), None)).collect();
            let (withheld, doubtful) = withheld(asked, &networks, None)?;
            assert_eq!(withheld, Withheld::Unknown);
            let Doubtful { doubt, first, count } = doubtful.expect("of what it is doubtful is known");
            Some((doubt, first, count))
        };
        let of = |doubt, first: &str, count| Some((doubt, Some(first.to_owned()), count));
        for (networks, expected) in [
            (vec!["192.0.2.7/32"], None),
            (vec!["192.0.2.0/24", "2001:db8::/48"], None),
            (vec!["192.0.2.7/32", "192.0.2.0/23", "10.0.0.0/8"], of(Doubt::Wide, "192.0.2.0/23", 2)),
            (vec!["2001:db8::/47"], of(Doubt::Wide, "2001:db8::/47", 1)),
            (vec!["192.0.2.7/32"; 64], None),
            (vec!["192.0.2.7/32"; 65], Some((Doubt::Long, None, 65))),
            (vec![], None),
        ] {
            assert_eq!(held(&typed, &networks), expected, "{networks:?}");
        }
        let wide = ["10.0.0.0/8"];
        assert_eq!(held(&BanRequest { anyway: true, ..typed.clone() }, &wide), None);
        assert_eq!(held(&BanRequest { confirm_seconds: Some(60), ..typed.clone() }, &wide), None);
        let list = BanRequest { cause: BanCause::Import, ..typed.clone() };
        for (networks, expected) in [
            (vec!["203.0.112.0/23", "2400::/19", "8.0.0.0/8"], None),
            (vec!["8.0.0.0/7"], of(Doubt::TooLarge, "8.0.0.0/7", 1)),
            (vec!["2400::/18"], of(Doubt::TooLarge, "2400::/18", 1)),
            (vec!["8.0.0.0/7", "10.1.2.3/32", "10.1.2.4/32"], of(Doubt::Private, "10.1.2.3", 2)),
            (vec!["172.16.0.0/12"], of(Doubt::Private, "172.16.0.0/12", 1)),
            (vec!["fd12:3456::/48"], of(Doubt::Private, "fd12:3456::/48", 1)),
        ] {
            assert_eq!(held(&list, &networks), expected, "{networks:?}");
            assert_eq!(held(&BanRequest { anyway: true, ..list.clone() }, &networks), None);
        }
        let eighths: Vec<String> = (11..44).map(|first| format!("{first}.0.0.0/8")).collect();
        let eighths: Vec<&str> = eighths.iter().map(String::as_str).collect();
        assert_eq!(held(&list, &eighths[..32]), None);
        assert_eq!(held(&list, &eighths), Some((Doubt::TooMany, None, 33)), "more than an eighth of all addresses");
        for (asked, name) in [
            (BanRequest { systems: vec![64_500], ..typed.clone() }, "AS64500"),
            (BanRequest { countries: vec!["US".parse().expect("a country")], ..typed }, "US"),
        ] {
            assert_eq!(held(&asked, &["192.0.2.0/24"]), of(Doubt::Place, name, 1));
        }
    }

    #[test]
    fn what_keeps_many_visitors_away_has_to_be_meant() {
        let mut innocent = Innocent::new();
        for number in 0..2_000_u32 {
            let address = if number % 20 == 0 { 0xC633_6407 } else { number << 12 };
            innocent.serve(ClientAddress::new(Ipv4Addr::from_bits(address).into()), 1.0);
        }
        let asked = request(&[("198.51.100.0/24", None)]);
        let of = |text: &str| collateral(&[(network(text), None)], &innocent);
        let collateral = of("198.51.100.0/24");
        assert!(collateral.is_some_and(|collateral| (0.04..0.06).contains(&collateral.share)), "{collateral:?}");
        let networks = [(network("198.51.100.0/24"), None)];
        let held =
            |asked: &BanRequest, collateral| withheld(asked, &networks, collateral).map(|(withheld, _)| withheld);
        assert_eq!(held(&asked, collateral), Some(Withheld::TooMuch));
        assert_eq!(
            held(&BanRequest { confirm_seconds: Some(60), ..asked.clone() }, collateral),
            Some(Withheld::TooMuch)
        );
        assert_eq!(held(&BanRequest { anyway: true, ..asked.clone() }, collateral), None);
        assert_eq!(held(&asked, of("203.0.113.0/24")), None);
        let private = [(network("10.0.0.0/8"), None)];
        let harmless = Some(Collateral { share: 0.0, upper: 0.001 });
        assert_eq!(
            withheld(&asked, &private, harmless).map(|(held, _)| held),
            Some(Withheld::Unknown),
            "though nobody came"
        );
        let typed = BanRequest { cause: BanCause::Operator, ..asked };
        assert!(withheld(&typed, &private, harmless).is_none());
        let unsure = Some(Collateral { share: COLLATERAL_MAX / 2.0, upper: COLLATERAL_MAX * 1.1 });
        assert_eq!(held(&typed, unsure), Some(Withheld::TooMuch));
        assert_eq!(of("198.51.100.7/32"), None, "of a single client it is not asked");
        assert_eq!(super::collateral(&[(network("198.51.100.0/24"), None)], &Innocent::new()), None);
    }
}
