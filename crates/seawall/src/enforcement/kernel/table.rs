//! What the kernel's table should hold, what it holds, and the changes between the two. Pure: nothing here touches the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::IpNet;
use seawall_engine::decision::Bans;
use seawall_engine::units::Timestamp;

/// For how long an element is put into the kernel at most; it is renewed while it is wanted. When the guard is killed its
/// bans are gone this long after at the latest.
pub(crate) const LEASE: Duration = Duration::from_secs(600);

/// An element that is wanted for longer is renewed when less than this is left of its lease.
const RENEW: Duration = Duration::from_secs(300);

/// What ends sooner than this is not put in.
const LASTING_MIN: Duration = Duration::from_secs(1);

/// Differences up to this do not matter: the kernel tells remaining times in whole seconds.
const SLACK: Duration = Duration::from_secs(3);

/// Who is to be dropped on which ports, and who never is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Desired<'d> {
    /// The ports that are guarded, TCP and UDP.
    pub(crate) ports: &'d BTreeSet<u16>,
    /// Asked first; none of them lies in another.
    pub(crate) never_ban: &'d BTreeSet<IpNet>,
    /// Who is dropped.
    pub(crate) bans: &'d Bans,
}

/// What the table holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Installed {
    pub(crate) ports: BTreeSet<u16>,
    pub(crate) never_ban: BTreeSet<IpNet>,
    /// Until when each element stays by itself.
    bans: BTreeMap<IpNet, Timestamp>,
    /// Until when each is leased, until it is due: then it is renewed, if it is wanted for longer.
    leases: BTreeSet<(Timestamp, IpNet)>,
    /// How many of them are in trees.
    in_trees: usize,
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

    /// Whether that is a tree.
    pub(crate) const fn is_tree(self) -> bool {
        matches!(self, Self::Networks4 | Self::Networks6)
    }
}

/// The changes that make a table what it should be: who is dropped in one transaction, and before it the rest in another.
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
    /// Of these, elements of the hashes that may be there with another end: the kernel keeps the end of what is there.
    pub(crate) renewed: BTreeSet<IpNet>,
}

impl Changes {
    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether they are about more than who is dropped.
    pub(crate) const fn are_of_settings(&self) -> bool {
        self.ports.is_some() || self.never_ban.is_some()
    }
}

impl Desired<'_> {
    /// Until when a network is wanted, if that is worth a transaction.
    fn expires(&self, network: IpNet, now: Timestamp) -> Option<Timestamp> {
        let expires = self.bans.get(network).filter(|ban| ban.cause.is_for_packets())?.expires;
        (expires.since(now) >= LASTING_MIN).then_some(expires)
    }

    /// What is to be in a tree: networks that lie within another are left out, since a tree holds no overlapping elements. They
    /// come in when the one around them ends.
    fn tree(&self, place: Place, now: Timestamp) -> BTreeMap<IpNet, Timestamp> {
        let mut elements = BTreeMap::new();
        let mut around: Option<IpNet> = None;
        // Sorted by address and then length, so that what lies around comes before what lies in it.
        for ban in self.bans.iter().filter(|ban| Place::of(ban.network) == place && ban.cause.is_for_packets()) {
            let is_inside = around.is_some_and(|around| around.contains(&ban.network));
            if !is_inside && ban.expires.since(now) >= LASTING_MIN {
                around = Some(ban.network);
                elements.insert(ban.network, ban.expires);
            }
        }
        elements
    }
}

/// The changes that make `installed` what is `desired`; a table that is not there has nothing in it.
pub(crate) fn plan(desired: Desired<'_>, installed: &Installed, now: Timestamp) -> Changes {
    let banned = desired.bans.iter().map(|ban| ban.network);
    plan_of(desired, installed, banned.chain(installed.bans.keys().copied()), now)
}

/// The same where nothing but what is `touched` can have changed: it costs nothing for those that are not.
pub(crate) fn plan_of(
    desired: Desired<'_>,
    installed: &Installed,
    touched: impl IntoIterator<Item = IpNet>,
    now: Timestamp,
) -> Changes {
    let mut changes = Changes {
        ports: (*desired.ports != installed.ports).then(|| desired.ports.clone()),
        never_ban: (*desired.never_ban != installed.never_ban).then(|| desired.never_ban.clone()),
        ..Changes::default()
    };
    let (mut trees, mut added) = (BTreeSet::new(), Vec::new());
    for network in touched {
        let place = Place::of(network);
        if place.is_tree() {
            trees.insert(place);
            continue;
        }
        match desired.expires(network, now) {
            None if installed.until(network, now).is_some() => drop(changes.removed.insert(network)),
            Some(expires) if !installed.is_right(network, expires, now) => {
                added.push((network, lease(expires, now)));
                if installed.contains(network) {
                    changes.renewed.insert(network);
                }
            }
            _ => {}
        }
    }
    // All at once: what is touched is in order for the most part.
    changes.added = added.into_iter().collect();
    // A tree that changes is written anew.
    for place in trees {
        let elements = desired.tree(place, now);
        let held = installed.bans.iter().filter(|(network, until)| Place::of(**network) == place && **until > now);
        let has_others = held.into_iter().any(|(network, _)| !elements.contains_key(network));
        if has_others || elements.iter().any(|(network, expires)| !installed.is_right(*network, *expires, now)) {
            changes.emptied.insert(place);
            changes.added.extend(elements.iter().map(|(network, expires)| (*network, lease(*expires, now))));
        }
    }
    changes
}

fn lease(expires: Timestamp, now: Timestamp) -> Duration {
    expires.since(now).min(LEASE)
}

impl Installed {
    /// How many clients and how many networks it holds.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.bans.len() - self.in_trees, self.in_trees)
    }

    /// Whether it holds this network.
    pub(crate) fn contains(&self, network: IpNet) -> bool {
        self.bans.contains_key(&network)
    }

    /// Whether the other holds this network for as long, but for so much.
    pub(crate) fn is_as_long(&self, network: IpNet, other: &Self, slack: Duration) -> bool {
        match (self.bans.get(&network), other.bans.get(&network)) {
            (Some(one), Some(other)) => *one <= *other + slack && *other <= *one + slack,
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    /// Those that stay beyond this moment.
    pub(crate) fn beyond(&self, at: Timestamp) -> impl Iterator<Item = IpNet> {
        self.bans.iter().filter(move |(_, until)| **until > at).map(|(network, _)| *network)
    }

    /// Those whose leases have to be renewed.
    pub(crate) fn due(&self, now: Timestamp) -> impl Iterator<Item = IpNet> {
        self.leases.iter().take_while(move |(until, _)| *until + SLACK < now + RENEW).map(|(_, network)| *network)
    }

    /// Lets go of leases that were due and are not to be renewed, since those who have them are wanted for no longer.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        while self.leases.first().is_some_and(|(until, _)| *until + SLACK < now + RENEW) {
            self.leases.pop_first();
        }
    }

    /// Puts one in that stays until then.
    pub(crate) fn insert(&mut self, network: IpNet, until: Timestamp) {
        match self.bans.insert(network, until) {
            Some(before) => drop(self.leases.remove(&(before, network))),
            None => self.in_trees += usize::from(Place::of(network).is_tree()),
        }
    }

    fn remove(&mut self, network: IpNet) {
        if let Some(until) = self.bans.remove(&network) {
            self.in_trees -= usize::from(Place::of(network).is_tree());
            self.leases.remove(&(until, network));
        }
    }

    /// Lets go of those of `touched` that have ended by themselves.
    pub(crate) fn forget_ended(&mut self, touched: impl IntoIterator<Item = IpNet>, now: Timestamp) {
        for network in touched {
            if self.bans.get(&network).is_some_and(|until| *until <= now) {
                self.remove(network);
            }
        }
    }

    fn until(&self, network: IpNet, now: Timestamp) -> Option<Timestamp> {
        self.bans.get(&network).copied().filter(|until| *until > now)
    }

    fn is_right(&self, network: IpNet, expires: Timestamp, now: Timestamp) -> bool {
        self.until(network, now).is_some_and(|until| {
            until + SLACK >= expires.min(now + RENEW) && until <= expires + SLACK && until <= now + LEASE + SLACK
        })
    }

    /// What the table holds once the changes are made.
    pub(crate) fn apply(&mut self, changes: &Changes, now: Timestamp) {
        if let Some(ports) = &changes.ports {
            self.ports.clone_from(ports);
        }
        if let Some(never_ban) = &changes.never_ban {
            self.never_ban.clone_from(never_ban);
        }
        if !changes.emptied.is_empty() {
            let is_emptied = |network: &&IpNet| changes.emptied.contains(&Place::of(**network));
            let gone: Vec<IpNet> = self.bans.keys().filter(is_emptied).copied().collect();
            gone.into_iter().for_each(|network| self.remove(network));
        }
        changes.removed.iter().for_each(|network| self.remove(*network));
        for (network, duration) in &changes.added {
            self.insert(*network, now + *duration);
            // Also one that is wanted for no longer at present: its ban may be made longer while it is not yet due.
            self.leases.insert((now + *duration, *network));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use ipnet::{Ipv4Net, Ipv6Net};
    use proptest::prelude::*;
    use seawall_engine::address::AddressSet;
    use seawall_engine::decision::{Ban, BanCause};

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn network(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    fn after(seconds: u64) -> Timestamp {
        NOW + Duration::from_secs(seconds)
    }

    /// What a test wants, kept for it.
    struct Wanted {
        ports: BTreeSet<u16>,
        never_ban: BTreeSet<IpNet>,
        bans: Bans,
    }

    impl Wanted {
        fn new(bans: impl IntoIterator<Item = (IpNet, Timestamp)>) -> Self {
            let (ports, never_ban) = ([80, 443].into(), [network("198.51.100.7/32")].into());
            let mut wanted = Self { ports, never_ban, bans: Bans::new(100) };
            bans.into_iter().for_each(|(network, expires)| wanted.ban(network, expires));
            wanted.bans.take_changed();
            wanted
        }

        fn ban(&mut self, network: IpNet, expires: Timestamp) {
            let ban = Ban { network, since: NOW, expires, cause: BanCause::Operator, reason: None };
            self.bans.add(ban, &AddressSet::default()).expect("room");
        }

        fn desired(&self) -> Desired<'_> {
            Desired { ports: &self.ports, never_ban: &self.never_ban, bans: &self.bans }
        }

        fn plan(&self, installed: &Installed, now: Timestamp) -> Changes {
            plan(self.desired(), installed, now)
        }
    }

    fn desired(bans: &[(&str, u64)]) -> Wanted {
        Wanted::new(bans.iter().map(|(text, seconds)| (network(text), after(*seconds))))
    }

    #[test]
    fn whom_only_a_proxy_names_is_in_no_set() {
        let mut wanted = desired(&[("192.0.2.1/32", 600)]);
        for text in ["192.0.2.2/32", "203.0.113.0/24"] {
            let cause = BanCause::ProxiedLimit;
            let ban = Ban { network: network(text), since: NOW, expires: after(600), cause, reason: None };
            wanted.bans.add(ban, &AddressSet::default()).expect("room");
        }
        let mut installed = Installed::default();
        installed.apply(&wanted.plan(&installed, NOW), NOW);
        assert_eq!(installed.bans.keys().copied().collect::<Vec<_>>(), [network("192.0.2.1/32")]);
    }

    #[test]
    fn an_element_lies_by_kind_and_what_is_wanted_for_long_is_only_leased() {
        let wanted = desired(&[("192.0.2.1/32", 86_400), ("2001:db8:1:2::/64", 60), ("203.0.113.0/24", 60)]);
        let mut installed = Installed::default();
        installed.apply(&wanted.plan(&installed, NOW), NOW);
        assert_eq!(installed.bans[&network("192.0.2.1/32")], NOW + LEASE);
        assert_eq!(installed.bans[&network("2001:db8:1:2::/64")], after(60));
        assert_eq!(installed.ports, wanted.ports);
        assert!(wanted.plan(&installed, NOW).is_empty());
        // Long before it ends it is renewed; what has ended is not taken out, since it is no longer there.
        let later = after(400);
        let changes = wanted.plan(&installed, later);
        assert_eq!(changes.added, [(network("192.0.2.1/32"), LEASE)].into());
        assert_eq!(changes.renewed, [network("192.0.2.1/32")].into());
        assert!(changes.removed.is_empty() && changes.emptied.is_empty());
    }

    #[test]
    fn a_ban_that_is_made_longer_lasts_as_long() {
        let mut wanted = desired(&[("192.0.2.1/32", 400), ("203.0.113.0/24", 400)]);
        let mut installed = Installed::default();
        installed.apply(&wanted.plan(&installed, NOW), NOW);
        for text in ["192.0.2.1/32", "203.0.113.0/24"] {
            wanted.ban(network(text), after(86_400));
        }
        let touched = wanted.bans.take_changed();
        assert!(plan_of(wanted.desired(), &installed, touched, NOW).is_empty(), "there is time");
        installed.settle(NOW);
        let later = after(200);
        let changes = plan_of(wanted.desired(), &installed, installed.due(later), later);
        assert_eq!(
            changes.added.keys().copied().collect::<Vec<_>>(),
            [network("192.0.2.1/32"), network("203.0.113.0/24")]
        );
    }

    #[test]
    fn a_network_within_another_waits_until_that_ends() {
        let wanted = desired(&[("10.0.0.0/8", 60), ("10.1.0.0/16", 600), ("10.1.2.3/32", 600)]);
        let mut installed = Installed::default();
        installed.apply(&wanted.plan(&installed, NOW), NOW);
        assert!(!installed.bans.contains_key(&network("10.1.0.0/16")));
        assert!(installed.bans.contains_key(&network("10.1.2.3/32")));
        let later = after(60);
        installed.apply(&wanted.plan(&installed, later), later);
        assert_eq!(
            installed.bans.keys().copied().collect::<Vec<_>>(),
            [network("10.1.0.0/16"), network("10.1.2.3/32")]
        );
    }

    #[test]
    fn what_others_put_in_goes_and_what_they_took_out_comes_back() {
        let wanted = desired(&[("192.0.2.1/32", 600), ("203.0.113.0/24", 600)]);
        let mut installed = Installed::default();
        installed.apply(&wanted.plan(&installed, NOW), NOW);
        installed.insert(network("192.0.2.99/32"), after(3_600));
        installed.remove(network("192.0.2.1/32"));
        installed.insert(network("203.0.113.0/24"), after(86_400));
        let changes = wanted.plan(&installed, NOW);
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
            let wanted = Wanted::new(bans.clone());
            let mut installed = Installed::default();
            before.iter().for_each(|(network, until)| installed.insert(*network, *until));
            let now = after(passed);
            installed.apply(&wanted.plan(&installed, now), now);
            prop_assert_eq!(&installed.ports, &wanted.ports);
            prop_assert_eq!(&installed.never_ban, &wanted.never_ban);
            for (network, until) in installed.bans.iter().filter(|(_, until)| **until > now) {
                let expires = bans.get(network).copied();
                prop_assert!(expires.is_some_and(|expires| *until <= expires + SLACK), "only what is wanted, no longer than that");
                prop_assert!(*until <= now + LEASE + SLACK);
            }
            for (network, expires) in &bans {
                if expires.since(now) < Duration::from_secs(1) {
                    continue;
                }
                let covered = installed.bans.iter().any(|(held, until)| {
                    held.contains(network) && *until + SLACK >= (*expires).min(now + RENEW).min(*until + SLACK)
                });
                prop_assert!(covered, "everybody who is wanted is dropped");
            }
            let lasting = installed.bans.iter().filter(|(_, until)| **until > now).map(|(network, _)| network);
            let trees: Vec<&IpNet> = lasting.filter(|network| Place::of(**network).is_tree()).collect();
            for pair in trees.windows(2) {
                prop_assert!(!pair[0].contains(pair[1]), "a tree takes no overlapping elements");
            }
            prop_assert!(wanted.plan(&installed, now).is_empty(), "and then nothing is left to do");
        }

        #[test]
        fn what_was_touched_is_enough_to_plan_from(
            bans in any_bans(0..2_000),
            steps in proptest::collection::vec((any_network(), 0_u64..2_000, any::<bool>(), 0_u64..200), 0..30),
        ) {
            let mut wanted = Wanted::new(bans);
            let mut installed = Installed::default();
            let mut now = NOW;
            installed.apply(&wanted.plan(&installed, now), now);
            for (network, seconds, is_banned, passed) in steps {
                now = now + Duration::from_secs(passed);
                wanted.bans.expire(now);
                if is_banned {
                    wanted.ban(network, after(seconds));
                } else {
                    wanted.bans.remove(network);
                }
                wanted.bans.expire(now);
                let mut touched = wanted.bans.take_changed();
                touched.extend(installed.due(now));
                let changes = plan_of(wanted.desired(), &installed, touched.iter().copied(), now);
                installed.apply(&changes, now);
                installed.forget_ended(touched, now);
                installed.settle(now);
                prop_assert!(installed.due(now).next().is_none(), "what is right is not asked for again");
                let whole = wanted.plan(&installed, now);
                // What has less than a second left may stay until then.
                let ending = |network: &IpNet| installed.bans.get(network).is_some_and(|until| *until <= now + LASTING_MIN);
                // And what is wanted for that little longer than its lease need not come back.
                let is_slack = |network: &IpNet| wanted.bans.get(*network).is_some_and(|ban| ban.expires <= now + SLACK);
                prop_assert!(whole.added.keys().all(is_slack) && whole.removed.iter().all(ending), "{whole:?}");
                prop_assert_eq!(installed.bans.keys().filter(|network| Place::of(**network).is_tree()).count(), installed.counts().1);
            }
        }
    }
}
