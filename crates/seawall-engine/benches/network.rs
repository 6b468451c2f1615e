//! The cost of one look-up of country and autonomous system, in a table as large as that of the whole internet, and of
//! decoding it. Limit: 100 ns for a look-up, IPv4 or IPv6.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use criterion::{Criterion, criterion_group, criterion_main};
use seawall_engine::address::ClientAddress;
use seawall_engine::network::{CountryCode, NetworkTable, NetworkTableBuilder};

const RANGES_V4: u32 = 480_000;
const RANGES_V6: u64 = 210_000;
const SYSTEMS: u32 = 90_000;
/// More addresses than any cache remembers the way to.
const ADDRESSES: usize = 1 << 16;

fn mixed(seed: u64) -> u64 {
    // SplitMix64: the addresses of a flood share nothing that a cache could use.
    let mut bits = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// The upper 64 bits of an address in 2000::/3, of which a third is in use.
fn upper(seed: u64) -> u64 {
    0x2000_0000_0000_0000 | mixed(seed) >> 4
}

fn table() -> NetworkTable {
    let mut builder = NetworkTableBuilder::new();
    let countries: Vec<CountryCode> = CountryCode::all().collect();
    for asn in 1..=SYSTEMS {
        builder.name_system(asn, &format!("Example Network {asn}")).expect("not too many systems");
    }
    let mut v4: Vec<u32> = (0..u64::from(RANGES_V4)).map(|seed| mixed(seed) as u32 & !0xFF).collect();
    v4.sort_unstable();
    v4.dedup();
    let mut v6: Vec<u64> = (0..RANGES_V6).map(|seed| upper(seed) & !0xFFFF).collect();
    v6.sort_unstable();
    v6.dedup();
    let v4 = v4
        .windows(2)
        .map(|pair| (IpAddr::V4(Ipv4Addr::from_bits(pair[0])), IpAddr::V4(Ipv4Addr::from_bits(pair[1] - 1))));
    let address = |upper: u64| IpAddr::V6(Ipv6Addr::from_bits(u128::from(upper) << 64));
    let v6 = v6.windows(2).map(|pair| (address(pair[0]), address(pair[1] - 1)));
    for (seed, (first, last)) in v4.chain(v6).enumerate() {
        let value = mixed(seed as u64);
        let country = countries[value as usize % countries.len()];
        builder.add_country(first, last, country).expect("a range");
        builder.add_system(first, last, 1 + (value >> 32) as u32 % SYSTEMS).expect("a range");
    }
    builder.build("a bench")
}

fn network(criterion: &mut Criterion) {
    let table = table();
    println!("ranges {:?}, {} bytes resident", table.range_counts(), table.resident_bytes());
    let v4: Vec<ClientAddress> = (0..ADDRESSES as u64)
        .map(|seed| ClientAddress::new(IpAddr::V4(Ipv4Addr::from_bits(mixed(!seed) as u32))))
        .collect();
    let v6: Vec<ClientAddress> = (0..ADDRESSES as u64)
        .map(|seed| ClientAddress::new(IpAddr::V6(Ipv6Addr::from_bits(u128::from(upper(!seed)) << 64 | 1))))
        .collect();
    for (name, addresses) in [("lookup IPv4", &v4), ("lookup IPv6", &v6)] {
        let mut next = addresses.iter().cycle();
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| next.next().map(|address| table.lookup(black_box(*address))));
        });
    }
    let one = ClientAddress::new(IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)));
    criterion.bench_function("lookup IPv4, the same address", |bencher| bencher.iter(|| table.lookup(black_box(one))));
    let bytes = table.encode().expect("every system has a name");
    let mut group = criterion.benchmark_group("load");
    group.sample_size(10).bench_function("decode", |bencher| bencher.iter(|| NetworkTable::decode(black_box(&bytes))));
    group.finish();
}

criterion_group!(benches, network);
criterion_main!(benches);
