//! What orders do to the bans and the gate, on a thread's state that no thread runs and without a kernel layer.

use tokio::sync::oneshot;

use super::*;
use crate::config::{Config, KernelUse};
use crate::host::clock::Clock;
use crate::record::Inbox;
use crate::source::proxy::settings::Settings;

/// An enforcer, and what has to outlive it.
struct Set {
    enforcer: Enforcer,
    now: Timestamp,
    _folder: tempfile::TempDir,
    _inbox: Inbox,
}

impl Set {
    fn new(entries_max: usize) -> Self {
        Self::restored(entries_max, Vec::new())
    }

    /// As after a restart with these bans.
    fn restored(entries_max: usize, restored: Vec<Ban>) -> Self {
        let (folder, clock) = (tempfile::tempdir().expect("a folder"), Clock::start());
        let mut config = Config::default();
        (config.kernel.usage, config.kernel.entries_max) = (KernelUse::Never, entries_max);
        let settings = Settings::new(&config, 100).expect("settings");
        let (record, inbox) = Record::new(clock);
        let parts = Parts {
            shared: Arc::new(Shared::new(settings, AddressSet::default(), clock, 1)),
            queues: Vec::new(),
            innocent: Arc::default(),
            kernel: config.kernel.clone(),
            state: folder.path().to_owned(),
            edge: None,
            // Addresses of the machine that tests run on are nobody special.
            never_ban: Configured { loopback: false, ..config.never_ban_entries() },
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
        Self { enforcer, now: clock.now(), _folder: folder, _inbox: inbox }
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
    let bans = [BanCause::Limit, BanCause::ProxiedLimit, BanCause::Merged].into_iter().zip(["1", "2", "3"]);
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
    let bans = [BanCause::Limit, BanCause::Merged, BanCause::Operator].into_iter().zip(["1", "2", "3"]);
    let mut set = Set::restored(64, bans.map(|(cause, host)| ban(&format!("203.0.113.{host}/32"), now, cause)).collect());
    for is_on in [true, false] {
        set.ask(|done| Order::Panic(is_on, done)).expect("there is no kernel layer");
        assert!(!set.refuses("203.0.113.1") && !set.refuses("203.0.113.2"));
        assert_eq!(set.refuses("203.0.113.3"), !is_on);
    }
}
