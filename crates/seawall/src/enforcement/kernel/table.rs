//! What the kernel's table should hold, what it holds, and the changes between the two. Pure: nothing here touches the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::IpNet;
use seawall_engine::units::Timestamp;

/// For how long an element is put into the kernel at most; it is renewed while it is wanted. When the guard is killed its
/// bans are gone this long after at the latest.
pub(crate) const LEASE: Duration = Duration::from_secs(600);

/// An element that is wanted for longer is renewed when less than this is left of its lease.
const RENEW: Duration = Duration::from_secs(300);

/// Differences up to this do not matter: the kernel tells remaining times in whole seconds.
const SLACK: Duration = Duration::from_secs(3);

/// Who is to be dropped on which ports, and who never is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Desired {
    /// The ports that are guarded, TCP and UDP.
    pub(crate) ports: BTreeSet<u16>,
    /// Asked first; none of them lies in another.
    pub(crate) never_ban: BTreeSet<IpNet>,
    /// Until when each network is dropped.
    pub(crate) bans: BTreeMap<IpNet, Timestamp>,
}

/// What the table holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Installed {
    pub(crate) ports: BTreeSet<u16>,
    pub(crate) never_ban: BTreeSet<IpNet>,
    /// Until when each element stays by itself.
    pub(crate) bans: BTreeMap<IpNet, Timestamp>,
}

/// In which of the table's sets a network lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Single clients, in a hash: their number costs nothing.
    Clients4,
    /// The same; a client of IPv6 is a /64.
    Clients6,
    /// Larger networks, in a tree.
    Networks4,
    /// The same of IPv6.
    Networks6,
}

impl Place {
    /// Each with its set's name.
    pub(crate) const ALL: [(Self, &'static str); 4] = [
        (Self::Clients4, "clients4"),
        (Self::Clients6, "clients6"),
        (Self::Networks4, "networks4"),
        (Self::Networks6, "networks6"),
    ];

    pub(crate) fn of(network: IpNet) -> Self {
        match (network, network.prefix_len()) {
            (IpNet::V4(_), 32) => Self::Clients4,
            (IpNet::V4(_), _) => Self::Networks4,
            (IpNet::V6(_), 64) => Self::Clients6,
            (IpNet::V6(_), _) => Self::Networks6,
        }
    }

    /// The name of its set.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(place, _)| *place == self).map_or("", |(_, name)| name)
    }

    const fn is_tree(self) -> bool {
        matches!(self, Self::Networks4 | Self::Networks6)
    }
}

/// The changes that make a table what it should be. They are made in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The whole set of ports, if it changes.
    pub(crate) ports: Option<BTreeSet<u16>>,
    /// The whole allow set, if it changes.
    pub(crate) never_ban: Option<BTreeSet<IpNet>>,
    /// Trees that are emptied before anything is put in: a tree takes no overlapping elements, and what overlaps is not known
    /// by its own name once others edit it.
    pub(crate) emptied: BTreeSet<Place>,
    /// Elements of the hashes that are taken out.
    pub(crate) removed: BTreeSet<IpNet>,
    /// Elements that are put in, or renewed, and for how long.
    pub(crate) added: BTreeMap<IpNet, Duration>,
}

impl Changes {
    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Desired {
    /// What is to be in each set: networks that lie within another of the same kind are left out, since a tree holds no
    /// overlapping elements. They come in when the one around them ends.
    fn elements(&self, now: Timestamp) -> BTreeMap<IpNet, Timestamp> {
        let lasting = self.bans.iter().filter(|(_, expires)| expires.since(now) >= Duration::from_secs(1));
        let mut elements = BTreeMap::new();
        let mut around: Option<IpNet> = None;
        // Sorted by address and then length, so that what lies around comes before what lies in it.
        for (network, expires) in lasting {
            if Place::of(*network).is_tree() {
                if around.is_some_and(|around| around.contains(network)) {
                    continue;
                }
                around = Some(*network);
            }
            elements.insert(*network, *expires);
        }
        elements
    }
}

/// The changes that make `installed` what is `desired`; a table that is not there has nothing in it.
pub(crate) fn plan(desired: &Desired, installed: &Installed, now: Timestamp) -> Changes {
    let mut changes = Changes {
        ports: (desired.ports != installed.ports).then(|| desired.ports.clone()),
        never_ban: (desired.never_ban != installed.never_ban).then(|| desired.never_ban.clone()),
        ..Changes::default()
    };
    let elements = desired.elements(now);
    let is_gone = |until: Timestamp| until <= now;
    for (network, until) in &installed.bans {
        if !elements.contains_key(network) && !is_gone(*until) {
            changes.removed.insert(*network);
        }
    }
    for (network, expires) in &elements {
        let installed = installed.bans.get(network).copied().filter(|until| !is_gone(*until));
        let is_right = installed.is_some_and(|until| {
            until + SLACK >= (*expires).min(now + RENEW) && until <= *expires + SLACK && until <= now + LEASE + SLACK
        });
        if !is_right {
            changes.added.insert(*network, lease(*expires, now));
        }
    }
    // A tree that changes is written anew.
    let touched = changes.removed.iter().chain(changes.added.keys()).map(|network| Place::of(*network));
    changes.emptied = touched.filter(|place| place.is_tree()).collect();
    changes.removed.retain(|network| !Place::of(*network).is_tree());
    for (network, expires) in &elements {
        if changes.emptied.contains(&Place::of(*network)) {
            changes.added.insert(*network, lease(*expires, now));
        }
    }
    changes
}

fn lease(expires: Timestamp, now: Timestamp) -> Duration {
    expires.since(now).min(LEASE)
}

impl Installed {
    /// What the table holds once the changes are made.
    pub(crate) fn apply(&mut self, changes: &Changes, now: Timestamp) {
        if let Some(ports) = &changes.ports {
            self.ports.clone_from(ports);
        }
        if let Some(never_ban) = &changes.never_ban {
            self.never_ban.clone_from(never_ban);
        }
        self.bans.retain(|network, until| {
            *until > now && !changes.removed.contains(network) && !changes.emptied.contains(&Place::of(*network))
        });
        self.bans.extend(changes.added.iter().map(|(network, duration)| (*network, now + *duration)));
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use ipnet::{Ipv4Net, Ipv6Net};
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn network(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    fn after(seconds: u64) -> Timestamp {
        NOW + Duration::from_secs(seconds)
    }

    fn desired(bans: &[(&str, u64)]) -> Desired {
        let bans = bans.iter().map(|(text, seconds)| (network(text), after(*seconds))).collect();
        Desired { ports: [80, 443].into(), never_ban: [network("198.51.100.7/32")].into(), bans }
    }

    #[test]
    fn an_element_lies_by_kind_and_what_is_wanted_for_long_is_only_leased() {
        let wanted = desired(&[("192.0.2.1/32", 86_400), ("2001:db8:1:2::/64", 60), ("203.0.113.0/24", 60)]);
        let mut installed = Installed::default();
        installed.apply(&plan(&wanted, &installed, NOW), NOW);
        assert_eq!(installed.bans[&network("192.0.2.1/32")], NOW + LEASE);
        assert_eq!(installed.bans[&network("2001:db8:1:2::/64")], after(60));
        assert_eq!(installed.ports, wanted.ports);
        assert!(plan(&wanted, &installed, NOW).is_empty());
        // Long before it ends it is renewed; what has ended is not taken out, since it is no longer there.
        let later = after(400);
        let changes = plan(&wanted, &installed, later);
        assert_eq!(changes.added, [(network("192.0.2.1/32"), LEASE)].into());
        assert!(changes.removed.is_empty() && changes.emptied.is_empty());
    }

    #[test]
    fn a_network_within_another_waits_until_that_ends() {
        let wanted = desired(&[("10.0.0.0/8", 60), ("10.1.0.0/16", 600), ("10.1.2.3/32", 600)]);
        let mut installed = Installed::default();
        installed.apply(&plan(&wanted, &installed, NOW), NOW);
        assert!(!installed.bans.contains_key(&network("10.1.0.0/16")));
        assert!(installed.bans.contains_key(&network("10.1.2.3/32")));
        let later = after(60);
        installed.apply(&plan(&wanted, &installed, later), later);
        assert_eq!(
            installed.bans.keys().copied().collect::<Vec<_>>(),
            [network("10.1.0.0/16"), network("10.1.2.3/32")]
        );
    }

    #[test]
    fn what_others_put_in_goes_and_what_they_took_out_comes_back() {
        let wanted = desired(&[("192.0.2.1/32", 600), ("203.0.113.0/24", 600)]);
        let mut installed = Installed::default();
        installed.apply(&plan(&wanted, &installed, NOW), NOW);
        installed.bans.insert(network("192.0.2.99/32"), after(3_600));
        installed.bans.remove(&network("192.0.2.1/32"));
        installed.bans.insert(network("203.0.113.0/24"), after(86_400));
        let changes = plan(&wanted, &installed, NOW);
        assert_eq!(changes.removed, [network("192.0.2.99/32")].into());
        assert_eq!(changes.emptied, [Place::Networks4].into());
        assert!(changes.added.contains_key(&network("192.0.2.1/32")));
        assert!(changes.added.contains_key(&network("203.0.113.0/24")));
    }

    fn any_network() -> impl Strategy<Value = IpNet> {
        prop_oneof![
            (any::<u8>(), 20_u8..=32).prop_map(|(bits, length)| {
                let address = Ipv4Addr::from_bits(0xC000_0200 | (u32::from(bits) << 4));
                IpNet::V4(Ipv4Net::new_assert(address, length).trunc())
            }),
            (any::<u8>(), 48_u8..=64).prop_map(|(bits, length)| {
                let address = Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) | (u128::from(bits) << 64));
                IpNet::V6(Ipv6Net::new_assert(address, length).trunc())
            }),
        ]
    }

    fn any_bans(seconds: std::ops::Range<u64>) -> impl Strategy<Value = BTreeMap<IpNet, Timestamp>> {
        proptest::collection::btree_map(any_network(), seconds.prop_map(after), 0..40)
    }

    proptest! {
        #[test]
        fn what_is_applied_is_what_is_desired(bans in any_bans(0..2_000), before in any_bans(0..900), passed in 0_u64..900) {
            let wanted = Desired { bans, ..desired(&[]) };
            let mut installed = Installed { bans: before, ..Installed::default() };
            let now = after(passed);
            installed.apply(&plan(&wanted, &installed, now), now);
            prop_assert_eq!(&installed.ports, &wanted.ports);
            prop_assert_eq!(&installed.never_ban, &wanted.never_ban);
            for (network, until) in &installed.bans {
                let expires = wanted.bans.get(network).copied();
                prop_assert!(expires.is_some_and(|expires| *until <= expires + SLACK), "only what is wanted, no longer than that");
                prop_assert!(*until <= now + LEASE + SLACK);
            }
            for (network, expires) in &wanted.bans {
                if expires.since(now) < Duration::from_secs(1) {
                    continue;
                }
                let covered = installed.bans.iter().any(|(held, until)| {
                    held.contains(network) && *until + SLACK >= (*expires).min(now + RENEW).min(*until + SLACK)
                });
                prop_assert!(covered, "everybody who is wanted is dropped");
            }
            let trees: Vec<&IpNet> = installed.bans.keys().filter(|network| Place::of(**network).is_tree()).collect();
            for pair in trees.windows(2) {
                prop_assert!(!pair[0].contains(pair[1]), "a tree takes no overlapping elements");
            }
            prop_assert!(plan(&wanted, &installed, now).is_empty(), "and then nothing is left to do");
        }
    }
}
