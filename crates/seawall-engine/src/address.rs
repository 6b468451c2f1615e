//! Client addresses in one canonical form, and the set of addresses that are never enforced against.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The address of a client, with IPv4-mapped IPv6 (`::ffff:192.0.2.1`) turned into the IPv4 that it stands for,
/// so that one client has one address whichever kind of socket saw it.
///
/// It deliberately has no `Display` and a `Debug` without the address: what reaches a log, a page or the disk is
/// a pseudonym, unless the operator asked for addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// The canonical form of `address`.
    pub const fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    /// The address itself, for use and not for show.
    pub const fn ip(self) -> IpAddr {
        self.0
    }

    /// The number under which limits and client state are kept: an IPv4 address is one client; of IPv6 the /64 is,
    /// since any host may take any address of its /64 (RFC 8981).
    pub fn client_key(self) -> u128 {
        match self.0 {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            // The top bit pattern of an IPv6 /64 never collides with a 32-bit number: the lower half is dropped and
            // bit 64 is always set.
            IpAddr::V6(address) => (address.to_bits() >> 64) | (1 << 64),
        }
    }

    /// The network of `length` bits around this address; a length beyond the family's is taken as the whole address.
    pub fn prefix(self, length: u8) -> IpNet {
        match self.0 {
            IpAddr::V4(address) => {
                let net = Ipv4Net::new_assert(address, length.min(32));
                IpNet::V4(net.trunc())
            }
            IpAddr::V6(address) => {
                let net = Ipv6Net::new_assert(address, length.min(128));
                IpNet::V6(net.trunc())
            }
        }
    }

    /// Whether this is the machine itself.
    pub const fn is_loopback(self) -> bool {
        self.0.is_loopback()
    }

    /// Whether no visitor on the Internet can have it: loopback, private (RFC 1918, RFC 4193), shared (RFC 6598), link-local or none.
    pub const fn is_local(self) -> bool {
        match self.0 {
            IpAddr::V4(address) => {
                let is_shared = address.to_bits() >> 22 == 0x6440_0000 >> 22;
                is_shared
                    || address.is_loopback()
                    || address.is_private()
                    || address.is_link_local()
                    || address.is_unspecified()
            }
            IpAddr::V6(address) => {
                address.is_loopback()
                    || address.is_unique_local()
                    || address.is_unicast_link_local()
                    || address.is_unspecified()
            }
        }
    }
}

impl From<IpAddr> for ClientAddress {
    fn from(address: IpAddr) -> Self {
        Self::new(address)
    }
}

impl fmt::Debug for ClientAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.0.is_ipv4() { "IPv4" } else { "IPv6" };
        write!(formatter, "ClientAddress({family})")
    }
}

/// A set of networks that answers "is this address in it, and by which entry". Immutable once made.
///
/// Entries are sorted and nested ones merged away, so a look-up is one binary search for each family.
#[derive(Clone, Debug, Default)]
pub struct AddressSet {
    v4: Vec<Ipv4Net>,
    v6: Vec<Ipv6Net>,
}

impl AddressSet {
    /// The set of all addresses in `networks`; host bits are ignored.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match canonical_network(network) {
                IpNet::V4(net) => v4.push(net),
                IpNet::V6(net) => v6.push(net),
            }
        }
        Self { v4: Ipv4Net::aggregate(&v4), v6: Ipv6Net::aggregate(&v6) }
    }

    /// The entry that holds `address`, if any.
    pub fn find(&self, address: ClientAddress) -> Option<IpNet> {
        match address.ip() {
            IpAddr::V4(ip) => {
                let after = self.v4.partition_point(|net| net.network() <= ip);
                let net = self.v4.get(after.checked_sub(1)?)?;
                net.contains(&ip).then_some(IpNet::V4(*net))
            }
            IpAddr::V6(ip) => {
                let after = self.v6.partition_point(|net| net.network() <= ip);
                let net = self.v6.get(after.checked_sub(1)?)?;
                net.contains(&ip).then_some(IpNet::V6(*net))
            }
        }
    }

    /// The entry that holds all of `network`, if any.
    pub fn around(&self, network: IpNet) -> Option<IpNet> {
        let network = canonical_network(network);
        self.find(ClientAddress::new(network.addr())).filter(|entry| entry.contains(&network))
    }

    /// Whether `address` is in the set.
    pub fn contains(&self, address: ClientAddress) -> bool {
        self.find(address).is_some()
    }

    /// Whether any address of `network` is in the set, or the other way round.
    pub fn overlaps(&self, network: IpNet) -> bool {
        // Entries are apart from each other, so the last one that begins no later than `network` ends is the only candidate.
        match canonical_network(network) {
            IpNet::V4(network) => {
                let after = self.v4.partition_point(|net| net.network() <= network.broadcast());
                let entry = after.checked_sub(1).and_then(|at| self.v4.get(at));
                entry.is_some_and(|entry| entry.broadcast() >= network.network())
            }
            IpNet::V6(network) => {
                let after = self.v6.partition_point(|net| net.network() <= network.broadcast());
                let entry = after.checked_sub(1).and_then(|at| self.v6.get(at));
                entry.is_some_and(|entry| entry.broadcast() >= network.network())
            }
        }
    }

    /// All entries, IPv4 first, sorted.
    pub fn networks(&self) -> impl Iterator<Item = IpNet> + '_ {
        let v4 = self.v4.iter().map(|net| IpNet::V4(*net));
        v4.chain(self.v6.iter().map(|net| IpNet::V6(*net)))
    }

    /// Whether the set holds nothing.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

/// The loopback networks of both families.
pub fn loopback_networks() -> [IpNet; 2] {
    [
        IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
        IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
    ]
}

/// An IPv4-mapped IPv6 network (`::ffff:0:0/96` and longer) as the IPv4 network it stands for; host bits are
/// dropped.
pub(crate) fn canonical_network(network: IpNet) -> IpNet {
    if let IpNet::V6(net) = network
        && net.prefix_len() >= 96
        && let Some(mapped) = net.network().to_ipv4_mapped()
    {
        return IpNet::V4(Ipv4Net::new_assert(mapped, net.prefix_len() - 96));
    }
    network.trunc()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> ClientAddress {
        ClientAddress::new(text.parse().expect("a test address"))
    }

    fn network(text: &str) -> IpNet {
        text.parse().expect("a test network")
    }

    #[test]
    fn mapped_ipv4_is_the_same_client() {
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
        assert_eq!(address("::ffff:192.0.2.1").client_key(), address("192.0.2.1").client_key());
    }

    #[test]
    fn an_ipv6_slash_64_is_one_client_and_never_an_ipv4_one() {
        assert_eq!(address("2001:db8::1").client_key(), address("2001:db8::ffff:1").client_key());
        assert_ne!(address("2001:db8::1").client_key(), address("2001:db8:0:1::1").client_key());
        assert_ne!(address("::2").client_key(), address("0.0.0.2").client_key());
    }

    #[test]
    fn local_addresses_are_those_that_no_visitor_has() {
        for local in
            ["127.0.0.1", "10.1.2.3", "172.17.0.1", "192.168.0.9", "100.64.0.1", "100.127.255.255", "169.254.1.1"]
        {
            assert!(address(local).is_local() && address(&format!("::ffff:{local}")).is_local(), "{local}");
        }
        for local in ["::1", "::", "fd00::1", "fe80::1"] {
            assert!(address(local).is_local(), "{local}");
        }
        for public in ["192.0.2.1", "172.32.0.1", "100.63.255.255", "100.128.0.0", "2001:db8::1", "fec0::1"] {
            assert!(!address(public).is_local(), "{public}");
        }
    }

    #[test]
    fn prefixes_drop_host_bits_and_clamp_lengths() {
        assert_eq!(address("192.0.2.77").prefix(24), network("192.0.2.0/24"));
        assert_eq!(address("192.0.2.77").prefix(99), network("192.0.2.77/32"));
        assert_eq!(address("2001:db8::1").prefix(48), network("2001:db8::/48"));
    }

    #[test]
    fn sets_find_the_entry_that_holds_an_address() {
        let set = AddressSet::new(
            ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.1/32", "::ffff:198.51.100.0/120", "2001:db8::/32"].map(network),
        );
        assert_eq!(set.find(address("10.1.2.3")), Some(network("10.0.0.0/8")));
        assert_eq!(set.around(network("10.1.0.0/16")), Some(network("10.0.0.0/8")));
        assert_eq!(set.around(network("::ffff:198.51.100.9/128")), Some(network("198.51.100.0/24")));
        assert_eq!(set.around(network("10.0.0.0/7")), None, "a part of it is not");
        assert_eq!(set.around(network("2001:db8:7::/48")), Some(network("2001:db8::/32")));
        assert!(set.contains(address("192.0.2.1")));
        assert!(!set.contains(address("192.0.2.2")));
        assert!(set.contains(address("198.51.100.9")));
        assert!(set.contains(address("2001:db8:ffff::1")));
        assert!(!set.contains(address("2001:db9::1")));
        assert!(set.overlaps(network("0.0.0.0/0")));
        assert!(set.overlaps(network("10.9.9.0/24")));
        assert!(!set.overlaps(network("203.0.113.0/24")));
        assert!(!AddressSet::default().contains(address("10.0.0.1")));
    }

    #[test]
    fn debug_output_holds_no_address() {
        assert_eq!(format!("{:?}", address("192.0.2.1")), "ClientAddress(IPv4)");
    }
}
