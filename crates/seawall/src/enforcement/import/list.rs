//! Lists of networks: one in each line, as addresses, networks or ranges, or as `ipset save` writes its sets.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use super::{Import, Imported, NETWORKS_MAX};
use crate::show::text::escape;

/// Networks that one range becomes at most; any range of IPv6 does with fewer.
const RANGE_NETWORKS_MAX: usize = 256;

/// Reads a list. Empty lines, comments (`#`, `;`, `//`) and the lines of an ipset file that make sets are passed over.
pub fn read(text: &str) -> Import {
    let mut import = Import::default();
    for (index, line) in text.lines().enumerate() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let line = line.split("//").next().unwrap_or_default().trim();
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            None | Some("create" | "-N" | "COMMIT" | "flush") => continue,
            Some("add" | "-A") => {
                let entry = words.nth(1);
                let timeout = words.clone().zip(words.skip(1)).find(|(word, _)| *word == "timeout");
                let seconds = timeout.and_then(|(_, seconds)| seconds.parse().ok());
                // A timeout of 0 means for good.
                add(&mut import, index + 1, entry.unwrap_or_default(), seconds.filter(|seconds| *seconds > 0));
            }
            Some(entry) => add(&mut import, index + 1, entry, None),
        }
        if import.networks.len() >= NETWORKS_MAX {
            import.refuse(index + 2, format!("the file holds more than {NETWORKS_MAX} networks; the rest is left out"));
            break;
        }
    }
    import
}

fn add(import: &mut Import, line: usize, entry: &str, seconds: Option<u64>) {
    // Entries of some kinds of set name a port or an interface behind the address: they are about more than an address.
    match networks(entry) {
        Some(networks) => import.networks.extend(networks.into_iter().map(|network| Imported { network, seconds })),
        None => {
            let shown: String = entry.chars().take(60).collect();
            import.refuse(line, format!("'{}' is no address, network or range", escape(shown.as_bytes())));
        }
    }
}

fn networks(entry: &str) -> Option<Vec<IpNet>> {
    if let Ok(address) = entry.parse::<IpAddr>() {
        return Some(vec![address.into()]);
    }
    if let Ok(network) = entry.parse::<IpNet>() {
        return Some(vec![network.trunc()]);
    }
    let (first, last) = entry.split_once('-')?;
    let networks: Vec<IpNet> = match (first.parse().ok()?, last.parse().ok()?) {
        (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => {
            Ipv4Subnets::new(first, last, 0).take(RANGE_NETWORKS_MAX).map(IpNet::V4).collect()
        }
        (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => {
            Ipv6Subnets::new(first, last, 0).take(RANGE_NETWORKS_MAX).map(IpNet::V6).collect()
        }
        _ => return None,
    };
    Some(networks)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_kind_of_line_is_read() {
        let text = "# a comment\n\n192.0.2.1\n198.51.100.0/24 ; a provider\n203.0.113.4-203.0.113.7\n2001:db8::/32 // v6\n\
                    create bad hash:ip family inet hashsize 1024 maxelem 65536 timeout 600\n\
                    add bad 192.0.2.9 timeout 77\nadd bad 192.0.2.10 timeout 0 comment \"x\"\nadd nets 10.0.0.0/8\n\
                    add ports 192.0.2.3,tcp:80\nnonsense\x1b[2J\n203.0.113.9-203.0.113.1\n";
        let import = read(text);
        let shown: Vec<_> = import.networks.iter().map(|one| (one.network.to_string(), one.seconds)).collect();
        let expected = [
            ("192.0.2.1/32", None),
            ("198.51.100.0/24", None),
            ("203.0.113.4/30", None),
            ("2001:db8::/32", None),
            ("192.0.2.9/32", Some(77)),
            ("192.0.2.10/32", None),
            ("10.0.0.0/8", None),
        ];
        assert_eq!(shown, expected.map(|(network, seconds)| (network.to_owned(), seconds)));
        assert_eq!(import.unreadable_count, 3);
        assert_eq!(import.unreadable[1], (12, "'nonsense\\x1b[2J' is no address, network or range".to_owned()));
    }

    proptest! {
        #[test]
        fn whatever_a_file_holds_nothing_panics(text in "\\PC{0,200}", lines in proptest::collection::vec("(add x )?[0-9a-f:./-]{0,40}( timeout [0-9]{1,30})?", 0..20)) {
            read(&text);
            let import = read(&lines.join("\n"));
            prop_assert!(import.networks.len() <= 20 * RANGE_NETWORKS_MAX);
        }
    }
}
