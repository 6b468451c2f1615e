//! Which country and which autonomous system a client's address belongs to: the table that is built in, or one made of the
//! operator's own files.
//!
//! Owns where the data comes from; how it is looked up is the engine's ([`seawall_engine::network`]). Nothing here goes to
//! the network: what is built in is as old as the program, and files are read once, at start and at reload.

mod embedded;
pub mod mmdb;

use seawall_engine::address::ClientAddress;
use seawall_engine::network::{CountryCode, Network, NetworkKind, NetworkTable, NetworkTableBuilder};
use seawall_engine::observation::Request;

use crate::config::NetworkFiles;
use mmdb::{Content, Mmdb, MmdbError};

/// What answers for the country and the autonomous system of an address. Shared by all threads; a look-up takes no lock.
#[derive(Debug)]
pub enum Networks {
    /// What is built in: unpacked at the first look-up, or by [`Networks::prepare`], and then kept for good.
    Embedded,
    /// What was made of the operator's files, with what they do not tell taken from what is built in.
    Own(Box<NetworkTable>),
}

impl Networks {
    /// The tables that `files` ask for. Reads every file that is named, which takes about a second for a large one.
    ///
    /// # Errors
    /// What is wrong with a file: it cannot be read, is no MaxMind DB, is damaged, or lacks what it was named for.
    pub fn load(files: &NetworkFiles) -> Result<Self, MmdbError> {
        let NetworkFiles { country, asn } = files;
        if country.is_none() && asn.is_none() {
            return Ok(Self::Embedded);
        }
        let mut builder = NetworkTableBuilder::new();
        let mut origins = Vec::new();
        for (content, path) in [(Content::Country, country), (Content::Asn, asn)] {
            if let Some(path) = path {
                let file = Mmdb::open(path)?;
                file.add_to(&mut builder, content)?;
                origins.push(file.describe());
            }
        }
        // Unpacked for this once and let go: what is built in need not be kept beside what is made of it.
        if country.is_none() || asn.is_none() {
            let embedded = embedded::read();
            copy(&embedded, &mut builder, country.is_none(), asn.is_none())
                .map_err(|source| MmdbError::Build { path: "the built-in table".into(), source })?;
            origins.push(embedded.origin().to_owned());
        }
        Ok(Self::Own(Box::new(builder.build(&origins.join("; ")))))
    }

    /// Unpacks what is built in, which takes some tens of milliseconds, so that no look-up has to.
    pub fn prepare(&self) {
        self.table();
    }

    /// The country and the autonomous system of `address`, as far as they are known.
    pub fn lookup(&self, address: ClientAddress) -> Network {
        self.table().lookup(address)
    }

    /// The same for each of several addresses, and nothing for none, in place of what `networks` held: in less time than one
    /// after the other.
    pub fn lookup_all(
        &self,
        addresses: impl ExactSizeIterator<Item = Option<ClientAddress>>,
        networks: &mut Vec<Network>,
    ) {
        self.table().lookup_all(addresses, networks);
    }

    /// Writes into a request where its client's network is, as far as that is known.
    pub fn locate(&self, client: Option<ClientAddress>, request: &mut Request<'_>) {
        let network = client.map(|client| self.lookup(client)).unwrap_or_default();
        request.country = network.country().map(CountryCode::letters);
        request.asn = network.asn();
    }

    /// What the autonomous system calls itself.
    pub fn asn_name(&self, asn: u32) -> Option<&str> {
        self.table().asn_name(asn)
    }

    /// What kind of network the autonomous system is, as far as its name tells.
    pub fn kind(&self, asn: u32) -> NetworkKind {
        self.table().kind(asn)
    }

    /// The table that answers.
    pub fn table(&self) -> &NetworkTable {
        match self {
            Self::Embedded => embedded::table(),
            Self::Own(table) => table,
        }
    }
}

/// Adds the countries, the systems, or both of `table` to `builder`.
fn copy(
    table: &NetworkTable,
    builder: &mut NetworkTableBuilder,
    countries: bool,
    systems: bool,
) -> Result<(), seawall_engine::network::BuildError> {
    for range in table.ranges() {
        if let Some(country) = range.network.country().filter(|_| countries) {
            builder.add_country(range.first, range.last, country)?;
        }
        if let Some(asn) = range.network.asn().filter(|_| systems) {
            builder.add_system(range.first, range.last, asn)?;
        }
    }
    if systems {
        table.systems().try_for_each(|(asn, name)| builder.name_system(asn, name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::host::clock::Clock;

    fn test_file(name: &str) -> Option<PathBuf> {
        Some(PathBuf::from("tests/data/networks").join(name))
    }

    fn show(networks: &Networks, address: &str) -> String {
        let network = networks.lookup(ClientAddress::new(address.parse().expect("a test address")));
        let name = network.asn().and_then(|asn| networks.asn_name(asn));
        format!("{:?} {:?} {name:?}", network.country(), network.asn())
    }

    #[test]
    fn what_is_built_in_knows_well_known_addresses() {
        let networks = Networks::load(&NetworkFiles::default()).expect("the built-in table");
        networks.prepare();
        // The operators of public name servers keep these addresses for good.
        for (address, asn, kind) in [
            ("8.8.8.8", 15169, NetworkKind::Hosting),
            ("::ffff:8.8.8.8", 15169, NetworkKind::Hosting),
            ("1.1.1.1", 13335, NetworkKind::Cdn),
            ("2001:4860:4860::8888", 15169, NetworkKind::Hosting),
            ("2606:4700:4700::1111", 13335, NetworkKind::Cdn),
            ("193.0.6.139", 3333, NetworkKind::Unknown),
        ] {
            let network = networks.lookup(ClientAddress::new(address.parse().expect("a test address")));
            assert_eq!(network.asn(), Some(asn), "{address}");
            assert_eq!(networks.kind(asn), kind, "{:?}", networks.asn_name(asn));
            assert!(network.country().is_some(), "{address}");
        }
        for address in ["127.0.0.1", "10.0.0.1", "192.0.2.1", "::1", "fe80::1", "2001:db8::1", "255.255.255.255"] {
            let network = networks.lookup(ClientAddress::new(address.parse().expect("a test address")));
            assert!(network.is_unknown(), "{address}: {network:?}");
        }
        assert_eq!(networks.asn_name(15169), Some("Google LLC"));
        assert_eq!(networks.asn_name(0), None);
    }

    #[test]
    fn every_range_of_what_is_built_in_is_found_from_its_first_address_to_its_last() {
        let table = embedded::read();
        let (v4, v6) = table.range_counts();
        assert!(table.ranges().count() > (v4 + v6) / 2);
        for range in table.ranges() {
            for address in [range.first, range.last] {
                assert_eq!(table.lookup(ClientAddress::new(address)), range.network, "{address}");
            }
        }
    }

    #[test]
    fn what_is_built_in_is_small() {
        let clock = Clock::start();
        let table = embedded::read();
        println!("unpacked in {:?}", clock.uptime());
        let (v4, v6) = table.range_counts();
        let resident = table.resident_bytes();
        println!("{} bytes packed, {resident} bytes resident, {v4} IPv4 and {v6} IPv6 ranges", embedded::PACKED.len());
        println!("{} systems, from {}", table.system_count(), table.origin());
        // More than the internet of 2026 by a margin, so that what is built in can be renewed without thought.
        assert!(resident <= 12 << 20, "{resident} bytes are resident");
        assert!(embedded::PACKED.len() <= 4 << 20, "{} bytes are packed", embedded::PACKED.len());
        assert!(v4 > 300_000 && v6 > 100_000 && table.system_count() > 60_000);
    }

    #[test]
    fn files_of_the_operator_replace_what_is_built_in() {
        let files =
            NetworkFiles { country: test_file("GeoLite2-Country-Test.mmdb"), asn: test_file("GeoLite2-ASN-Test.mmdb") };
        let networks = Networks::load(&files).expect("readable files");
        assert_eq!(show(&networks, "2.125.160.216"), "Some(GB) None None");
        assert_eq!(show(&networks, "2001:218::1"), "Some(JP) None None");
        assert_eq!(show(&networks, "1.128.0.1"), "None Some(1221) Some(\"Telstra Pty Ltd\")");
        assert_eq!(show(&networks, "8.8.8.8"), "None None None");
    }

    #[test]
    fn what_one_file_does_not_tell_is_taken_from_what_is_built_in() {
        let files = NetworkFiles { country: test_file("GeoLite2-Country-Test.mmdb"), asn: None };
        let networks = Networks::load(&files).expect("a readable file");
        assert_eq!(show(&networks, "8.8.8.8"), "None Some(15169) Some(\"Google LLC\")");
        let files = NetworkFiles { country: None, asn: test_file("GeoLite2-ASN-Test.mmdb") };
        let networks = Networks::load(&files).expect("a readable file");
        assert_eq!(show(&networks, "8.8.8.8"), "Some(US) None None");
        assert_eq!(networks.asn_name(15169), Some("Google Inc."));
    }
}
