//! Lists of networks: one in each line, as addresses, networks or ranges, or as `ipset save` writes its sets.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use super::ipset::{Sets, WhichSet};
use super::{Import, Imported, NETWORKS_MAX};
use crate::show::text::escape;

/// Networks that one range becomes at most; any range of IPv6 does with fewer.
const RANGE_NETWORKS_MAX: usize = 256;

/// Reads a list. Empty lines and comments (`#`, `;`, `//`) are passed over; of the sets of an ipset file those are read that are
/// `wanted`.
///
/// # Errors
/// When the file holds several sets and none is wanted, or not those that are.
pub fn read(text: &str, wanted: &[String]) -> Result<Import, WhichSet> {
    let (mut import, mut sets) = (Import::default(), Sets::default());
    for (index, line) in text.lines().enumerate() {
        if sets.follow(index + 1, line) {
            if sets.is_full() {
                import.refuse(
                    index + 2,
                    format!("its sets hold more than {NETWORKS_MAX} networks; the rest is left out"),
                );
                break;
            }
            continue;
        }
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let line = line.split("//").next().unwrap_or_default();
        if let Some(entry) = line.split_ascii_whitespace().next() {
            add(&mut import, index + 1, entry);
        }
        if import.networks.len() >= NETWORKS_MAX {
            import.refuse(index + 2, format!("the file holds more than {NETWORKS_MAX} networks; the rest is left out"));
            break;
        }
    }
    sets.take(wanted, &mut import)?;
    Ok(import)
}

fn add(import: &mut Import, line: usize, entry: &str) {
    match networks(entry) {
        Some(networks) => {
            import.networks.extend(networks.into_iter().map(|network| Imported { network, seconds: None }));
        }
        None => {
            let shown: String = entry.chars().take(60).collect();
            import.refuse(line, format!("'{}' is no address, network or range", escape(shown.as_bytes())));
        }
    }
}

/// An address, a network, or a range as networks.
pub(super) fn networks(entry: &str) -> Option<Vec<IpNet>> {
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
                    add bad 192.0.2.9 timeout 77\nadd bad 192.0.2.10 timeout 0 comment \"x\"\n\
                    add bad 192.0.2.3,tcp:80\nnonsense\x1b[2J\n203.0.113.9-203.0.113.1\n";
        let import = read(text, &[]).expect("one set");
        let shown: Vec<_> = import.networks.iter().map(|one| (one.network.to_string(), one.seconds)).collect();
        let expected = [
            ("192.0.2.1/32", None),
            ("198.51.100.0/24", None),
            ("203.0.113.4/30", None),
            ("2001:db8::/32", None),
            ("192.0.2.9/32", Some(77)),
            ("192.0.2.10/32", None),
        ];
        assert_eq!(shown, expected.map(|(network, seconds)| (network.to_owned(), seconds)));
        assert_eq!(import.unreadable_count, 3);
        assert_eq!(import.unreadable[0], (11, "'nonsense\\x1b[2J' is no address, network or range".to_owned()));
    }

    proptest! {
        #[test]
        fn whatever_a_file_holds_nothing_panics(text in "\\PC{0,200}", lines in proptest::collection::vec("(add x )?[0-9a-f:./-]{0,40}( timeout [0-9]{1,30})?", 0..20)) {
            let _ = read(&text, &[]);
            let import = read(&lines.join("\n"), &[]).expect("one set");
            prop_assert!(import.networks.len() <= 20 * RANGE_NETWORKS_MAX);
        }
    }
}
