//! The cost of one look-up of country and autonomous system in the table that is built into the program, and of reading
//! it. Limit: 100 ns for a look-up, IPv4 or IPv6.

use std::fs::File;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use seawall_engine::address::ClientAddress;
use seawall_engine::network::NetworkTable;

/// More addresses than any cache remembers the way to.
const ADDRESSES: u64 = 1 << 16;

/// SplitMix64: the addresses of a flood share nothing that a cache could use.
fn mixed(seed: u64) -> u64 {
    let mut bits = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

fn unpack() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../seawall/data/networks.bin.zst");
    let file = File::open(path).expect("the table that is built in");
    zstd::decode_all(file).expect("a packed table")
}

/// The first or the last address of ranges taken at random, so that small ranges are asked for as often as large ones.
fn addresses(table: &NetworkTable, wanted: fn(&IpAddr) -> bool) -> Vec<ClientAddress> {
    let ends: Vec<IpAddr> = table.ranges().flat_map(|range| [range.first, range.last]).filter(wanted).collect();
    (0..ADDRESSES).map(|seed| ClientAddress::new(ends[mixed(seed) as usize % ends.len()])).collect()
}

fn network(criterion: &mut Criterion) {
    let bytes = unpack();
    let table = NetworkTable::decode(&bytes).expect("a table");
    println!("ranges {:?}, {} bytes resident", table.range_counts(), table.resident_bytes());
    for (name, wanted) in
        [("network lookup IPv4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool), ("network lookup IPv6", IpAddr::is_ipv6)]
    {
        let addresses = addresses(&table, wanted);
        let mut next = addresses.iter().cycle();
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| next.next().map(|address| table.lookup(black_box(*address))));
        });
    }
    for (name, address) in [
        ("network lookup the same IPv4", IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8))),
        ("network lookup the same IPv6", IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888))),
    ] {
        let address = ClientAddress::new(address);
        criterion.bench_function(name, |bencher| bencher.iter(|| table.lookup(black_box(address))));
    }
    let mut group = criterion.benchmark_group("network table");
    group.sample_size(10);
    group.bench_function("unpack", |bencher| bencher.iter(unpack));
    group.bench_function("decode", |bencher| bencher.iter(|| NetworkTable::decode(black_box(&bytes))));
    group.finish();
}

criterion_group!(benches, network);
criterion_main!(benches);
