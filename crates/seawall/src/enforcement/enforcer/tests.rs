//! What orders do to the bans and the gate, on a thread's state that no thread runs and without a kernel layer.

mod journalled;

use seawall_engine::address::ClientAddress;
use seawall_engine::decision::{BanCause, RuleId, client_network};
use tokio::sync::oneshot;

use super::super::orders::{BanRequest, Banned, Enforcement, UnbanRequest, Unbanned, seconds};
use super::super::telling::Told;
use super::*;
use crate::config::{Config, KernelUse};
use crate::host::clock::{Clock, wall_clock};
use crate::record::{Action, Inbox, Measure, Situation};
use crate::source::proxy::settings::Settings;

/// An enforcer, and what has to outlive it.
struct Set {
    enforcer: Enforcer,
    now: Timestamp,
    _folder: tempfile::TempDir,
    inbox: Inbox,
}

impl Set {
    fn new(entries_max: usize) -> Self {
        Self::restored(entries_max, Vec::new())
    }

    /// As after a restart with these bans.
    fn restored(entries_max: usize, restored: Vec<Ban>) -> Self {
        Self::of_clock(entries_max, restored, Clock::start())
    }

    fn of_clock(entries_max: usize, restored: Vec<Ban>, clock: Clock) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = Config::default();
        (config.kernel.usage, config.kernel.entries_max) = (KernelUse::Never, entries_max);
        let settings = Settings::new(&config, 100).expect("settings");
        let (record, inbox) = Record::new(clock, Measure::by(Situation::default));
        let parts = Parts {
            shared: Arc::new(Shared::new(settings, AddressSet::default(), clock, 1)),
            queues: Vec::new(),
            told: Vec::new(),
            innocent: Arc::default(),
            kernel: config.kernel.clone(),
            state: folder.path().to_owned(),
            edge: None,
            // Addresses of the machine that tests run on are nobody special.
            never_ban: Configured { loopback: false, ..config.never_ban_entries() },
            beside: false,
            ports: Vec::new(),
            record,
            restored,
            keys: KeyStore::open(folder.path(), 7).ok(),
            never_ban_changed: Box::new(|_| {}),
            panicked: false,
            hurry: Arc::default(),
            status: Arc::default(),
        };
        let mut enforcer = Enforcer::new(parts);
        enforcer.publish_gate();
        Self { enforcer, now: clock.now(), _folder: folder, inbox }
    }

    /// As the thread does with an order that nobody waits for.
    fn obey(&mut self, order: Order) {
        self.enforcer.obey(order, self.now);
        self.enforcer.publish_gate();
    }

    /// The same with one that is answered.
    fn ask<T>(&mut self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> T {
        let (done, mut is_done) = oneshot::channel();
        self.obey(order(done));
        is_done.try_recv().expect("it was answered")
    }

    fn refuses(&self, client: &str) -> bool {
        let client = ClientAddress::new(client.parse().expect("an address"));
        self.enforcer.parts.shared.bans.load().contains(client, self.now)
    }
}

fn network(text: &str) -> IpNet {
    text.parse().expect("a network")
}

fn ban(text: &str, since: Timestamp, cause: BanCause) -> Ban {
    Ban { network: network(text), since, expires: since + seconds(3_600), cause, reason: None }
}

#[test]
fn whom_limits_had_banned_is_free_in_the_gate_once_nothing_is_to_be_enforced() {
    let now = Clock::start().now();
    let bans = [BanCause::Limit, BanCause::ProxiedLimit, BanCause::Merged(None)].into_iter().zip(["1", "2", "3"]);
    let bans = bans.map(|(cause, host)| ban(&format!("203.0.113.{host}/32"), now, cause));
    let mut set = Set::restored(64, bans.chain([ban("203.0.113.4/32", now, BanCause::Operator)]).collect());
    assert!(["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"].iter().all(|client| set.refuses(client)));
    set.obey(Order::Pardon(Pardons { everyone: 1, ..Pardons::default() }));
    assert_eq!(set.enforcer.bans.len(), 1);
    assert!(["203.0.113.1", "203.0.113.2", "203.0.113.3"].iter().all(|client| !set.refuses(client)));
    assert!(set.refuses("203.0.113.4"), "what an operator says stays");
}

#[test]
fn after_a_panic_nothing_that_the_guard_came_to_before_is_in_force_again() {
    let now = Clock::start().now();
    let bans = [BanCause::Limit, BanCause::Merged(None), BanCause::Operator].into_iter().zip(["1", "2", "3"]);
    let mut set =
        Set::restored(64, bans.map(|(cause, host)| ban(&format!("203.0.113.{host}/32"), now, cause)).collect());
    for is_on in [true, false] {
        set.ask(|done| Order::Panic(is_on, done)).expect("there is no kernel layer");
        assert!(!set.refuses("203.0.113.1") && !set.refuses("203.0.113.2"));
        assert_eq!(set.refuses("203.0.113.3"), !is_on);
    }
}

fn asked(
    clients: &[&str],
    cause: BanCause,
    seconds: u64,
    confirm_seconds: Option<u64>,
) -> impl FnOnce(oneshot::Sender<Banned>) -> Order {
    let request = BanRequest {
        networks: clients.iter().map(|client| (network(&format!("{client}/32")), None)).collect(),
        countries: vec![],
        systems: vec![],
        seconds,
        reason: None,
        cause,
        source: None,
        confirm_seconds,
        dry_run: false,
        anyway: false,
    };
    |done| Order::Ban(request, done)
}

fn unban(names: &[&str]) -> impl FnOnce(oneshot::Sender<Unbanned>) -> Order {
    let request = UnbanRequest { names: names.iter().map(|name| (*name).to_owned()).collect(), ..Default::default() };
    |done| Order::Unban(request, done)
}

#[test]
fn a_pseudonym_names_a_client_or_a_network_at_no_more_cost_than_an_address() {
    let mut set = Set::new(70_000);
    let networks = ["203.0.113.7/32", "203.0.113.64/26", "2001:db8:7:7::/64", "2001:db8:70::/44"];
    for text in networks {
        set.enforcer.take(ban(text, set.now, BanCause::Limit));
    }
    let views = set.ask(|done| Order::List(false, done));
    let names: Vec<&str> = views.iter().map(|ban| ban.network.as_str()).collect();
    assert!(views.iter().all(|ban| ban.is_pseudonym) && names.iter().all(|name| !networks.contains(name)));
    assert!(views.iter().all(|ban| ban.network.parse::<IpNet>().is_err()), "nobody takes it for one: {names:?}");
    let unbanned = set.ask(unban(&names));
    assert_eq!((unbanned.removed, unbanned.unknown.len()), (4, 0));
    // Who is not banned costs nothing for each who is.
    for host in 0..60_000_u32 {
        let address = std::net::Ipv4Addr::from_bits(0xC612_0000 | host).into();
        set.enforcer
            .take(Ban { network: IpNet::new(address, 32).expect("a client"), ..ban("::/0", set.now, BanCause::Limit) });
    }
    let strangers: Vec<String> = (0..2_000).map(|host| format!("100.64.{}.{}", host / 256, host % 256)).collect();
    let strangers: Vec<&str> = strangers.iter().map(String::as_str).collect();
    let clock = Clock::start();
    let unbanned = set.ask(unban(&strangers));
    assert_eq!(unbanned.unknown.len(), 2_000);
    assert!(clock.uptime() < Duration::from_secs(5), "{:?}", clock.uptime());
}

#[test]
fn a_long_order_ends_for_a_panic() {
    let mut set = Set::new(64);
    set.enforcer.parts.hurry.store(true, Ordering::Release);
    let banned = set.ask(asked(&["203.0.113.7"], BanCause::Operator, 60, None));
    assert_eq!((banned.added, banned.refused.len()), (0, 1));
    assert!(banned.refused[0].reason.contains("a panic"), "{:?}", banned.refused);
    assert_eq!(set.ask(unban(&["203.0.113.7", "203.0.113.8"])).left, 2);
}

#[test]
fn whose_bans_gave_way_to_an_order_that_bans_nobody_stay_banned() {
    let addresses = |hosts: std::ops::Range<usize>| hosts.map(|host| format!("203.0.113.{host}")).collect::<Vec<_>>();
    let (lists, ours) = (addresses(0..60), addresses(100..130));
    let mut set = Set::new(64);
    let lists: Vec<&str> = lists.iter().map(String::as_str).collect();
    let ours: Vec<&str> = ours.iter().map(String::as_str).collect();
    assert_eq!(set.ask(asked(&lists, BanCause::Import, 600, None)).added, 60);
    let before: Vec<Ban> = set.enforcer.bans.iter().cloned().collect();
    // Way is made for all of it at once, and then a panic comes first.
    set.enforcer.parts.hurry.store(true, Ordering::Release);
    let banned = set.ask(asked(&ours, BanCause::Operator, 600, None));
    assert_eq!((banned.added, banned.refused.len()), (0, 30));
    assert_eq!(set.enforcer.bans.iter().cloned().collect::<Vec<Ban>>(), before);
    assert!(set.refuses("203.0.113.0"));
}

#[test]
fn going_on_ends_nothing_that_is_under_way_and_no_hurry_of_a_panic_behind_it() {
    let mut set = Set::new(64);
    let (orders, ordered) = std::sync::mpsc::channel();
    let (hurry, status) = (Arc::clone(&set.enforcer.parts.hurry), Arc::default());
    let enforcement = Enforcement { orders, status, hurry };
    assert!(enforcement.panic(false, oneshot::channel().0));
    assert_eq!(set.ask(asked(&["203.0.113.7"], BanCause::Import, 60, None)).added, 1);
    assert!(enforcement.panic(true, oneshot::channel().0));
    for is_hurried in [true, false] {
        set.obey(ordered.try_recv().expect("an order"));
        assert_eq!(set.enforcer.parts.hurry.load(Ordering::Acquire), is_hurried);
    }
}

#[test]
fn of_whom_is_banned_with_a_network_around_it_is_said_which() {
    let mut set = Set::new(64);
    set.enforcer.take(ban("203.0.113.0/24", set.now, BanCause::Import));
    set.enforcer.take(ban("203.0.113.0/28", set.now, BanCause::Merged(None)));
    let unbanned = set.ask(unban(&["203.0.113.7", "198.51.100.7"]));
    assert_eq!((unbanned.removed, unbanned.unknown.len(), unbanned.within.len()), (0, 2, 1));
    let [list, merged] = unbanned.within[0].around.as_slice() else { panic!("{:?}", unbanned.within) };
    assert_eq!(
        (list.network.as_str(), list.cause, merged.cause),
        ("203.0.113.0/24", BanCause::Import, BanCause::Merged(None))
    );
    // As the list shows it, by which it can be taken back.
    assert!(merged.is_pseudonym);
    assert_eq!(set.ask(unban(&[&merged.network, "203.0.113.0/24"])).removed, 2);
}

#[test]
fn whose_bans_were_merged_is_free_with_the_rule() {
    let mut set = Set::new(64);
    for (text, rule) in [("203.0.113.0/28", 1), ("203.0.113.64/28", 2)] {
        set.enforcer.take(ban(text, set.now, BanCause::Merged(Some(RuleId(rule)))));
    }
    let mut pardons = Pardons::default();
    pardons.add(RuleId(1));
    set.obey(Order::Pardon(pardons));
    let left: Vec<IpNet> = set.enforcer.bans.iter().map(|ban| ban.network).collect();
    assert_eq!(left, [network("203.0.113.64/28")]);
}

/// How the only ban goes on after so many seconds: who made it, and how long it lasts then.
fn after(set: &mut Set, time: u64) -> Option<(BanCause, u64)> {
    let now = set.now + seconds(time);
    set.enforcer.bans.expire(now);
    set.enforcer.undo_unconfirmed(now);
    set.enforcer.bans.iter().next().map(|ban| (ban.cause, ban.expires.since(now).as_secs()))
}

#[test]
fn of_what_an_operator_and_a_list_say_the_later_end_counts() {
    use BanCause::{Import, Operator};
    let client = &["203.0.113.7"][..];
    let mut set = Set::new(64);
    set.ask(asked(client, Operator, 5, None));
    assert_eq!(set.ask(asked(client, Import, 600, None)).added, 1);
    assert_eq!(after(&mut set, 10), Some((Import, 590)));
    assert_eq!(set.ask(asked(client, Import, 60, None)).unchanged, 1);

    // Over a ban that is not confirmed, whose end leaves the list's alone: whether it would be the longer one or not.
    for (time, confirmed) in [(60, (Import, 590)), (6_000, (Operator, 5_990))] {
        for is_confirmed in [false, true] {
            let mut set = Set::new(64);
            set.ask(asked(client, Operator, time, Some(5)));
            assert_eq!(set.ask(asked(client, Import, 600, None)).added, 1);
            if is_confirmed {
                set.ask(Order::Confirm);
            }
            let expected = if is_confirmed { confirmed } else { (Import, 590) };
            assert_eq!(after(&mut set, 10), Some(expected), "{time} s, confirmed: {is_confirmed}");
        }
    }

    // A list's that is not confirmed gives the operator's back.
    let mut set = Set::new(64);
    set.ask(asked(client, Operator, 60, None));
    set.ask(asked(client, Import, 600, Some(5)));
    assert_eq!(after(&mut set, 10), Some((Operator, 50)));

    // Of both that are confirmed together, as if neither had waited.
    for (first, second) in [((Operator, 6_000), (Import, 600)), ((Import, 600), (Operator, 6_000))] {
        let mut set = Set::new(64);
        for (cause, time) in [first, second] {
            assert_eq!(set.ask(asked(client, cause, time, Some(5))).added, 1);
            set.now = set.now + seconds(1);
        }
        assert_eq!(set.ask(Order::Confirm).changes, 2);
        assert!(after(&mut set, 10).is_some_and(|(cause, left)| cause == Operator && left > 5_900), "{first:?}");
    }
}

#[test]
fn whose_bans_gave_way_to_what_is_not_confirmed_is_banned_again() {
    let address = |host: usize| format!("203.0.113.{host}");
    let (lists, ours): (Vec<String>, Vec<String>) = ((0..60).map(address).collect(), (100..130).map(address).collect());
    let (lists, ours): (Vec<&str>, Vec<&str>) =
        (lists.iter().map(String::as_str).collect(), ours.iter().map(String::as_str).collect());
    let full = || {
        let mut set = Set::new(64);
        assert_eq!(set.ask(asked(&lists, BanCause::Import, 600, None)).added, 60);
        assert_eq!(set.ask(asked(&ours, BanCause::Operator, 600, Some(5))).added, 30);
        assert_eq!(set.enforcer.bans.iter().filter(|ban| ban.cause == BanCause::Import).count(), 34);
        set
    };
    let left = |set: &mut Set| {
        let now = set.now + seconds(5);
        set.enforcer.undo_unconfirmed(now);
        let listed = set.enforcer.bans.iter().filter(|ban| ban.cause == BanCause::Import).count();
        (listed, set.enforcer.bans.len() - listed)
    };
    assert_eq!(left(&mut full()), (60, 0));
    let mut set = full();
    set.ask(Order::Confirm);
    assert_eq!(left(&mut set), (34, 30));
    // What was taken back meanwhile does not come back.
    let mut set = full();
    let unknown = set.ask(unban(&lists[..10])).unknown.len();
    assert_eq!((unknown > 0, left(&mut set)), (true, (50, 0)));
    // All come back where there is room for them, though some of it is kept for operators.
    let mut set = Set::new(64);
    let standing = ["198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4"];
    set.ask(asked(&lists, BanCause::Import, 600, None));
    set.ask(asked(&standing, BanCause::Operator, 600, None));
    assert_eq!(set.ask(asked(&ours, BanCause::Operator, 600, Some(5))).added, 30);
    assert_eq!((left(&mut set), set.enforcer.overflowed), ((60, 4), 0));
    // With all that they gave way to taken back they need not wait, and nothing waits to be confirmed.
    let mut set = full();
    set.ask(unban(&ours));
    set.enforcer.undo_unconfirmed(set.now);
    let listed = set.enforcer.bans.iter().filter(|ban| ban.cause == BanCause::Import).count();
    assert_eq!((listed, set.enforcer.unconfirmed.len(), set.ask(Order::Confirm).changes), (60, 0, 0));
    let mut set = full();
    set.ask(unban(&[]));
    assert_eq!(left(&mut set), (0, 0));
}

#[test]
fn whoever_is_taken_back_is_free_at_the_workers_whatever_banned_him_last() {
    let mut set = Set::new(100);
    let (queue, mut told) = super::super::telling::queue();
    set.enforcer.telling = Telling::new(vec![queue]);
    let mut freed = |set: &mut Set, names: &[&str]| -> Vec<String> {
        set.ask(unban(names));
        let words = |told| match told {
            Told::Freed(client) => client_network(client).to_string(),
            Told::FreedAll => "all".to_owned(),
            Told::Dropped { .. } => "dropped".to_owned(),
        };
        std::iter::from_fn(|| told.pop().ok()).map(words).collect()
    };
    // A ban of the operator's may stand where that of a rule did, and without a kernel the workers drop clients that nobody has banned.
    set.ask(asked(&["203.0.113.7"], BanCause::Operator, 600, None));
    assert_eq!(freed(&mut set, &["203.0.113.7", "203.0.113.8"]), ["203.0.113.8/32", "203.0.113.7/32"]);
    assert_eq!(freed(&mut set, &[]), ["all"]);
    assert_eq!(freed(&mut set, &["203.0.113.0/24", "nobody"]), [""; 0]);
}

#[test]
fn no_port_of_ssh_is_guarded_for_being_named() {
    assert_eq!(guarded(&[80, 443], &[8443, 2222], &[2222]), BTreeSet::from([80, 443, 8443]));
    assert_eq!(guarded(&[80], &[], &[22]), BTreeSet::from([80]));
}

#[test]
fn of_a_list_whose_entries_end_one_by_one_a_line_an_hour_says_so() {
    let mut set = Set::new(100);
    let start = set.now;
    for (host, length) in [(1, 10), (2, 20), (3, 5_000), (4, 5_010)] {
        let ban = ban(&format!("203.0.113.{host}/32"), start, BanCause::Import);
        set.enforcer.take(Ban { expires: start + seconds(length), ..ban });
    }
    set.inbox.journalled();
    let mut at = |time: u64| {
        let ended = set.enforcer.bans.expire(start + seconds(time));
        set.enforcer.journal_ended(&ended, start + seconds(time));
        set.inbox.journalled()
    };
    let line = |text: &str| vec![(Action::Expire, text.to_owned())];
    assert_eq!((at(9), at(10), at(20), at(3_609)), (vec![], vec![], vec![], vec![]));
    assert_eq!((at(3_610), at(3_611)), (line("2 bans of lists"), vec![]));
    // Nothing more is to come than what ends last.
    assert_eq!((at(5_000), at(5_010), at(9_999)), (vec![], line("2 bans of lists"), vec![]));
}

#[test]
fn bans_are_shown_in_the_time_of_a_clock_that_was_set() {
    let early = Clock::anchored(Timestamp::from_seconds(1_000));
    let mut set = Set::of_clock(10, Vec::new(), early);
    set.enforcer.take(ban("192.0.2.7/32", set.now, BanCause::Operator));
    let bans = set.ask(|done| Order::List(false, done));
    let left = bans[0].expires.since(wall_clock()).as_secs();
    assert!((3_590..=3_600).contains(&left), "{left} s");
    assert_eq!(bans[0].expires.since(bans[0].since), seconds(3_600));
}

#[test]
fn layers_that_hold_nobody_are_not_named() {
    let mut set = Set::new(64);
    let banned = set.ask(asked(&["203.0.113.7"], BanCause::Operator, 60, None));
    assert_eq!((banned.added, banned.layers), (1, vec!["proxy".to_owned()]));
    // The same again, whom nobody may ban, and what is only tried.
    assert_eq!(set.ask(asked(&["203.0.113.7"], BanCause::Import, 5, None)).layers, [""; 0]);
    set.obey(Order::Operator("203.0.113.8".parse().expect("an address")));
    let refused = set.ask(asked(&["203.0.113.8"], BanCause::Operator, 60, None));
    assert_eq!((refused.added, refused.refused.len(), refused.layers), (0, 1, vec![]));
}

#[test]
fn whom_nobody_can_ban_is_taken_out_before_a_list_is_judged() {
    let mut set = Set::new(64);
    set.obey(Order::Operator("10.1.2.3".parse().expect("an address")));
    let mut ask = |networks: &[&str], cause: BanCause| {
        let request = BanRequest {
            networks: networks.iter().map(|text| (network(text), None)).collect(),
            countries: vec![],
            systems: vec![],
            seconds: 60,
            reason: None,
            cause,
            source: None,
            confirm_seconds: None,
            dry_run: false,
            anyway: false,
        };
        set.ask(|done| Order::Ban(request, done))
    };
    let import =
        |banned: Banned| (banned.added, banned.refused.len(), banned.doubtful.and_then(|doubtful| doubtful.first));
    let first = ask(&["10.1.2.3/32", "203.0.113.7/32", "0.0.0.0/0"], BanCause::Import);
    assert_eq!(import(first), (1, 2, None));
    let second = ask(&["10.1.2.3/32", "203.0.113.8/32", "10.1.2.4/32"], BanCause::Import);
    assert_eq!(import(second), (0, 1, Some("10.1.2.4".to_owned())));
    // Of an address in the form of IPv6 it is said as well why.
    let mapped = ask(&["::ffff:10.1.2.3/128"], BanCause::Operator);
    assert_eq!(mapped.refused[0].reason, "it is on the never-ban list: where an operator is logged in from");
}
