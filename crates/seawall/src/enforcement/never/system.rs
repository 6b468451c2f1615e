//! This machine's own addresses, gateways and resolvers, from `/proc`, `/etc/resolv.conf` and what systemd-resolved writes. What cannot be read is left out.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::{Entry, Reason};

/// These files are small; a larger one is not read on.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// Everything that is to be protected about the machine whose root folder is `root`. Its own addresses only on demand.
pub(super) fn entries(root: &Path, own: bool) -> Vec<Entry> {
    let read = |path: &str| {
        let mut bytes = fs::read(root.join(path)).unwrap_or_default();
        bytes.truncate(TEXT_BYTES_MAX);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let mut entries = Vec::new();
    let mut add = |addresses: Vec<IpAddr>, reason| {
        let real = addresses.into_iter().filter(|address| !address.is_unspecified() && !address.is_loopback());
        entries.extend(real.map(|address| Entry { network: address.into(), reason }));
    };
    if own {
        add(own_v4(&read("proc/net/fib_trie")), Reason::Own);
        add(own_v6(&read("proc/net/if_inet6")), Reason::Own);
    }
    add(gateways_v4(&read("proc/net/route")), Reason::Gateway);
    add(gateways_v6(&read("proc/net/ipv6_route")), Reason::Gateway);
    // Where systemd-resolved answers on loopback, the resolvers that it asks are in a file of its own.
    for path in ["etc/resolv.conf", "run/systemd/resolve/resolv.conf"] {
        add(resolvers(&read(path)), Reason::Resolver);
    }
    entries
}

/// `|-- 192.0.2.1` and below it `/32 host LOCAL`.
fn own_v4(text: &str) -> Vec<IpAddr> {
    let (mut found, mut last) = (Vec::new(), None);
    for line in text.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<IpAddr>().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(last);
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// `20010db8000000000000000000000001 02 40 00 80 eth0`
fn own_v6(text: &str) -> Vec<IpAddr> {
    text.lines().filter_map(|line| hex_v6(line.split_ascii_whitespace().next()?)).collect()
}

/// `eth0  00000000  010200C0  0003 …`: interface, destination, gateway and flags, numbers in the machine's byte order.
fn gateways_v4(text: &str) -> Vec<IpAddr> {
    let gateway = |line: &str| {
        let bits = u32::from_str_radix(line.split_ascii_whitespace().nth(2)?, 16).ok()?;
        Some(IpAddr::V4(Ipv4Addr::from(bits.to_ne_bytes())))
    };
    text.lines().skip(1).filter_map(gateway).collect()
}

/// Destination, its length, source, its length, gateway.
fn gateways_v6(text: &str) -> Vec<IpAddr> {
    text.lines().filter_map(|line| hex_v6(line.split_ascii_whitespace().nth(4)?)).collect()
}

fn resolvers(text: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("nameserver") {
            return None;
        }
        // A zone, as in fe80::1%eth0, is no part of what a packet says.
        words.next()?.split('%').next()?.parse().ok()
    };
    text.lines().filter_map(address).collect()
}

fn hex_v6(text: &str) -> Option<IpAddr> {
    let bits = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32)?;
    Some(IpAddr::V6(Ipv6Addr::from_bits(bits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_read_from_proc() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("proc/net")).expect("room");
        fs::create_dir_all(folder.path().join("etc")).expect("room");
        let write = |path: &str, text: &str| fs::write(folder.path().join(path), text).expect("room");
        write(
            "proc/net/fib_trie",
            "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 192.0.2.10\n        \
             /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n",
        );
        write("proc/net/if_inet6", "20010db8000000000000000000000001 02 40 00 80 eth0\nbroken\n");
        let gateway = u32::from_ne_bytes([192, 0, 2, 1]);
        write(
            "proc/net/route",
            &format!(
                "Iface\tDestination\tGateway\neth0\t00000000\t{gateway:08X}\t0003\neth0\t000200C0\t00000000\t0001\n"
            ),
        );
        write("proc/net/ipv6_route", "");
        write(
            "etc/resolv.conf",
            "# nameserver 10.9.9.9\nnameserver 198.51.100.53\nnameserver fe80::1%eth0\nnameserver x\n",
        );
        fs::create_dir_all(folder.path().join("run/systemd/resolve")).expect("room");
        write("run/systemd/resolve/resolv.conf", "nameserver 203.0.113.53\nnameserver 127.0.0.1\n");
        let entry = |text: &str, reason| Entry { network: text.parse().expect("a network"), reason };
        let machine = [
            entry("192.0.2.1/32", Reason::Gateway),
            entry("198.51.100.53/32", Reason::Resolver),
            entry("fe80::1/128", Reason::Resolver),
            entry("203.0.113.53/32", Reason::Resolver),
        ];
        assert_eq!(entries(folder.path(), false), machine);
        let own = [entry("192.0.2.10/32", Reason::Own), entry("2001:db8::1/128", Reason::Own)];
        assert_eq!(entries(folder.path(), true), [&own[..], &machine].concat());
        assert_eq!(entries(Path::new("/nowhere"), true), []);
    }
}
