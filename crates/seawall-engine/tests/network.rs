//! The table of networks against the plainest way to look something up, and against damaged bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use seawall_engine::address::ClientAddress;
use seawall_engine::network::{CountryCode, Network, NetworkKind, NetworkTable, NetworkTableBuilder};

/// A range as a source gives it: of a country or of a system.
#[derive(Clone, Debug)]
enum Given {
    Country(IpAddr, IpAddr, CountryCode),
    System(IpAddr, IpAddr, u32),
}

fn code(text: &str) -> CountryCode {
    text.parse().expect("a country code")
}

fn address(text: &str) -> ClientAddress {
    ClientAddress::new(text.parse().expect("a test address"))
}

fn v4(bits: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(bits))
}

fn v6(upper: u64, lower: u64) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from_bits(u128::from(upper) << 64 | u128::from(lower)))
}

/// Ranges of one kind and family that were given one after the other, adjoin and say the same, as one.
fn joined(given: &[Given]) -> Vec<Given> {
    fn adjoin(last: IpAddr, first: IpAddr) -> bool {
        match (last, first) {
            (IpAddr::V4(last), IpAddr::V4(first)) => last.to_bits().checked_add(1) == Some(first.to_bits()),
            (IpAddr::V6(last), IpAddr::V6(first)) => (last.to_bits() >> 64) + 1 == first.to_bits() >> 64,
            _ => false,
        }
    }
    let mut joined: Vec<Given> = Vec::new();
    for next in given {
        let before = joined.iter_mut().rev().find(|before| match (before, next) {
            (Given::Country(one, ..), Given::Country(other, ..))
            | (Given::System(one, ..), Given::System(other, ..)) => one.is_ipv4() == other.is_ipv4(),
            _ => false,
        });
        match (before, next) {
            (Some(Given::Country(_, end, one)), Given::Country(first, last, other))
                if one == other && adjoin(*end, *first) =>
            {
                *end = *last;
            }
            (Some(Given::System(_, end, one)), Given::System(first, last, other))
                if one == other && adjoin(*end, *first) =>
            {
                *end = *last;
            }
            _ => joined.push(next.clone()),
        }
    }
    joined
}

/// What the builder says it does, by looking at every range: the first start has an address, then the first given.
fn scan(given: &[Given], address: ClientAddress) -> Network {
    fn holds(first: IpAddr, last: IpAddr, address: IpAddr) -> bool {
        match (first, last, address) {
            (IpAddr::V4(first), IpAddr::V4(last), IpAddr::V4(address)) => (first..=last).contains(&address),
            (IpAddr::V6(first), IpAddr::V6(last), IpAddr::V6(address)) => {
                let upper = |address: Ipv6Addr| address.to_bits() >> 64;
                (upper(first)..=upper(last)).contains(&upper(address))
            }
            _ => false,
        }
    }
    fn start(first: IpAddr) -> u128 {
        match first {
            IpAddr::V4(first) => u128::from(first.to_bits()),
            IpAddr::V6(first) => first.to_bits() >> 64,
        }
    }
    let ip = address.ip();
    let countries = given.iter().filter_map(|given| match given {
        Given::Country(first, last, country) if holds(*first, *last, ip) => Some((start(*first), *country)),
        _ => None,
    });
    let systems = given.iter().filter_map(|given| match given {
        Given::System(first, last, asn) if holds(*first, *last, ip) => Some((start(*first), *asn)),
        _ => None,
    });
    let country = countries.min_by_key(|found| found.0).map(|found| found.1);
    Network::new(country, systems.min_by_key(|found| found.0).map(|found| found.1))
}

fn build(given: &[Given]) -> NetworkTable {
    let mut builder = NetworkTableBuilder::new();
    for given in given {
        match given {
            Given::Country(first, last, country) => builder.add_country(*first, *last, *country),
            Given::System(first, last, asn) => {
                builder.name_system(*asn, &format!("System {asn}")).expect("few systems");
                builder.add_system(*first, *last, *asn)
            }
        }
        .expect("a range");
    }
    builder.build("a test")
}

/// Addresses that often are neighbours, of one another and of the ends of everything.
fn bits_v4() -> impl Strategy<Value = u32> {
    prop_oneof![0..64_u32, Just(u32::MAX), 0xFFFF_FFC0..=u32::MAX, 0x0100_FFF0..0x0101_0010_u32, any::<u32>()]
}

fn bits_v6() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..64_u64,
        Just(u64::MAX),
        (u64::MAX - 64)..=u64::MAX,
        0x2001_0DB8_0000_0000..0x2001_0DB8_0000_0040_u64,
        // Networks across a border of the first sixteen bits, a few of them smaller than any that is routed.
        (0x2001_FFFF_FF80..0x2002_0000_0080_u64).prop_map(|bits| bits << 16),
        (0x2001_FFFF_FFF8..0x2002_0000_0008_u64, 0..4_u64).prop_map(|(bits, fine)| bits << 16 | fine << 14),
        any::<u64>()
    ]
}

fn ranges() -> impl Strategy<Value = Vec<Given>> {
    let bounds = prop_oneof![
        (bits_v4(), bits_v4()).prop_map(|(one, other)| (v4(one.min(other)), v4(one.max(other)))),
        (bits_v6(), bits_v6()).prop_map(|(one, other)| (v6(one.min(other), 0), v6(one.max(other), u64::MAX))),
    ];
    // The largest number that a range tells itself, and others.
    let asn = prop::sample::select(vec![1, 2, (1 << 23) - 1, 1 << 23, u32::MAX]);
    let given = (bounds, prop::sample::select(vec!["DE", "FR", "US"]), asn, any::<bool>());
    let given = given.prop_map(|((first, last), country, asn, of_country)| {
        if of_country { Given::Country(first, last, code(country)) } else { Given::System(first, last, asn) }
    });
    prop::collection::vec(given, 0..200)
}

proptest! {
    #[test]
    fn a_lookup_finds_what_a_scan_finds(given in ranges(), v4s in prop::collection::vec(bits_v4(), 40), v6s in prop::collection::vec(bits_v6(), 40)) {
        let table = build(&given);
        let given = joined(&given);
        let edges = given.iter().flat_map(|given| match given {
            Given::Country(first, last, _) | Given::System(first, last, _) => [*first, *last],
        });
        let neighbours = edges.flat_map(|edge| match edge {
            IpAddr::V4(edge) => [-1, 0, 1].map(|step| v4(edge.to_bits().wrapping_add_signed(step))),
            IpAddr::V6(edge) => [-1, 0, 1].map(|step| v6(((edge.to_bits() >> 64) as u64).wrapping_add_signed(step), 7)),
        });
        let asked = v4s.into_iter().map(v4).chain(v6s.into_iter().map(|upper| v6(upper, 1))).chain(neighbours);
        let asked: Vec<Option<ClientAddress>> =
            asked.enumerate().map(|(number, asked)| (number % 7 > 0).then(|| ClientAddress::new(asked))).collect();
        let mut together = vec![Network::new(None, Some(7)); 3];
        table.lookup_all(asked.iter().copied(), &mut together);
        prop_assert_eq!(together.len(), asked.len());
        for (asked, together) in asked.into_iter().zip(together) {
            let expected = asked.map(|asked| scan(&given, asked)).unwrap_or_default();
            prop_assert_eq!(together, expected, "{:?}", asked.map(ClientAddress::ip));
            prop_assert_eq!(asked.map(|asked| table.lookup(asked)).unwrap_or_default(), expected);
        }
    }

    #[test]
    fn what_is_encoded_is_decoded(given in ranges()) {
        let table = build(&given);
        let bytes = table.encode().expect("memory");
        let again = NetworkTable::decode(&bytes).expect("a table");
        prop_assert!(again.ranges().eq(table.ranges()));
        prop_assert!(again.systems().eq(table.systems()));
        prop_assert_eq!(again.origin(), "a test");
        prop_assert_eq!(again.encode().expect("the same"), bytes);
        // The ranges are all there is to a table.
        let mut builder = NetworkTableBuilder::new();
        for range in table.ranges() {
            range.network.country().map_or(Ok(()), |country| builder.add_country(range.first, range.last, country)).expect("a range");
            range.network.asn().map_or(Ok(()), |asn| builder.add_system(range.first, range.last, asn)).expect("a range");
        }
        prop_assert!(builder.build("").ranges().eq(table.ranges()));
    }

    #[test]
    fn any_bytes_are_a_table_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        try_out(&bytes);
        try_out(&[b"seawnet1".as_slice(), &bytes].concat());
    }

    #[test]
    fn any_damage_is_an_error_or_a_table(given in ranges(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = build(&given).encode().expect("memory");
        let at = at.index(bytes.len());
        bytes[at] = byte;
        try_out(&bytes);
    }
}

/// Decodes `bytes`, and asks all that can be asked of what comes out. Nothing may panic.
fn try_out(bytes: &[u8]) {
    let Ok(table) = NetworkTable::decode(bytes) else { return };
    for address in [v4(0), v4(u32::MAX), v4(0x0808_0808), v6(0, 0), v6(u64::MAX, 0), v6(0x2001_0DB8_0000_0000, 1)] {
        let network = table.lookup(ClientAddress::new(address));
        if let Some(asn) = network.asn() {
            let _ = (table.asn_name(asn), table.kind(asn));
        }
    }
    for (asn, _) in table.systems() {
        assert!(asn > 0);
    }
    assert!(table.ranges().all(|range| range.first <= range.last));
    let _ = (table.encode(), table.resident_bytes(), table.range_counts(), format!("{table:?}"));
}

fn small() -> NetworkTable {
    let mut builder = NetworkTableBuilder::new();
    let network = |text: &str| text.parse::<IpAddr>().expect("a test address");
    builder.add_country(network("192.0.2.0"), network("192.0.2.255"), code("DE")).expect("a range");
    builder.add_country(network("2001:db8::"), network("2001:db8:ff::"), code("FR")).expect("a range");
    builder.add_system(network("192.0.2.128"), network("198.51.100.255"), 64_496).expect("a range");
    builder.add_system(network("2001:db8:5::"), network("2001:db8:5::ffff"), 64_511).expect("a range");
    builder.name_system(64_496, "Example Telecom").expect("few systems");
    builder.name_system(64_511, "Exämple Hosting").expect("few systems");
    builder.build("a test")
}

#[test]
fn every_truncation_is_an_error_and_every_flipped_bit_at_most_another_table() {
    let bytes = small().encode().expect("memory");
    for length in 0..bytes.len() {
        assert!(NetworkTable::decode(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
    }
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        try_out(&damaged);
    }
    let surplus = [bytes.as_slice(), b"x"].concat();
    let error = NetworkTable::decode(&surplus).map(|_| ()).expect_err("surplus");
    assert_eq!(error.to_string(), "1 bytes follow the last column, where none belong");
    let error = NetworkTable::decode(b"\x1f\x8bgzip").map(|_| ()).expect_err("no table");
    assert_eq!(
        error.to_string(),
        r#"the bytes begin with "\\x1f\\x8bgzip", where a table of networks begins with "seawnet1""#
    );
}

#[test]
fn country_and_system_are_told_together() {
    let table = small();
    let check = |text: &str, country: Option<&str>, asn: Option<u32>| {
        assert_eq!(table.lookup(address(text)), Network::new(country.map(code), asn), "{text}");
    };
    check("192.0.2.1", Some("DE"), None);
    check("192.0.2.200", Some("DE"), Some(64_496));
    check("::ffff:192.0.2.200", Some("DE"), Some(64_496));
    check("192.0.3.1", None, Some(64_496));
    check("198.51.101.0", None, None);
    check("2001:db8::1", Some("FR"), None);
    // IPv6 is told apart by /64.
    check("2001:db8:5::1:0", Some("FR"), Some(64_511));
    check("2001:db8:5:1::", Some("FR"), None);
    assert_eq!(table.asn_name(64_511), Some("Exämple Hosting"));
    assert_eq!(table.asn_name(1), None);
    assert_eq!(table.kind(64_496), NetworkKind::Access);
    assert_eq!(table.kind(64_511), NetworkKind::Hosting);
    assert_eq!(table.kind(1), NetworkKind::Unknown);
    assert_eq!(NetworkTable::default().lookup(address("192.0.2.1")), Network::default());
}

#[test]
fn what_is_no_range_is_refused() {
    let mut builder = NetworkTableBuilder::new();
    let mut refused =
        |first: IpAddr, last: IpAddr| builder.add_system(first, last, 1).expect_err("no range").to_string();
    assert_eq!(
        refused(v4(2), v4(1)),
        "found a range from 0.0.0.2 to 0.0.0.1, where the last address must follow the first in the same family"
    );
    assert!(refused(v4(2), v6(1, 1)).contains("in the same family"));
}

#[test]
fn a_system_needs_no_name() {
    let mut builder = NetworkTableBuilder::new();
    builder.add_system(v4(1), v4(2), 64_496).expect("a range");
    let table = NetworkTable::decode(&builder.build("").encode().expect("memory")).expect("a table");
    assert_eq!(table.lookup(ClientAddress::new(v4(2))).asn(), Some(64_496));
    assert_eq!(table.asn_name(64_496), None);
    assert_eq!(table.systems().collect::<Vec<_>>(), [(64_496, "")]);
}

#[test]
fn names_are_printable_and_bounded() {
    let mut builder = NetworkTableBuilder::new();
    builder.name_system(1, &"ä".repeat(1000)).expect("few systems");
    builder.name_system(2, " a\u{1b}[31m ").expect("few systems");
    builder.name_system(3, "\n").expect("few systems");
    let table = builder.build("");
    assert_eq!(table.asn_name(1), Some("ä".repeat(128).as_str()));
    assert_eq!(table.asn_name(2), Some("a [31m"));
    assert_eq!(table.asn_name(3), None);
}
