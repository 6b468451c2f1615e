//! Starts the threads that enforce, here and at the CDN, and that write the record, and tells them of each other.

use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use seawall_engine::decision::{Ban, Enforce, Innocent, NamedRule, OwnRule, Veto};
use seawall_engine::units::Timestamp;
use tokio::sync::Notify;

use super::state::StateDirectory;
use super::threads::{Restoring, spawn, spawn_vital};
use super::{Command, ConfigSource, KeptRules, Snapshot, StartError, random_seed};
use crate::config::{self, Config, ConfiguredRule, KernelUse};
use crate::enforcement::edge::Notes;
use crate::enforcement::telling::Told;
use crate::enforcement::{Edge, Enforcement, Enforcer, HandDown, Order, Parts, Removed, remove_tables};
use crate::host::clock::{Behind, carried_over};
use crate::privacy::KeyStore;
use crate::record::{self, Late, Measure, Past, Record, Situation, Writer};
use crate::source::shared::Shared;

/// The threads, which end in this order.
pub(super) struct Threads {
    enforcer: JoinHandle<Result<(), String>>,
    writer: JoinHandle<()>,
    kernel: config::Kernel,
    state: PathBuf,
}

impl Threads {
    /// Waits for all, once the enforcing one was told to stop, and names those that had failed. The record is the last, since the
    /// others write into its journal.
    ///
    /// # Errors
    /// What is still in force, for people.
    pub(super) fn join(
        self,
        edge: Option<&Edge>,
        record: &Record,
        failed: &mut Vec<&'static str>,
    ) -> Result<(), String> {
        let left = self.enforcer.join().unwrap_or_else(|_| {
            failed.push("the enforcing thread");
            leave_nothing(&self.kernel, &self.state)
        });
        if let Some(edge) = edge {
            edge.stop();
        }
        record.stop();
        if self.writer.join().is_err() {
            failed.push("the thread that writes the record");
        }
        left
    }
}

/// Takes out of the kernel what an enforcing thread that failed has in force there; its claim has gone with it.
fn leave_nothing(kernel: &config::Kernel, state: &Path) -> Result<(), String> {
    if kernel.keep || kernel.usage == KernelUse::Never {
        return Ok(());
    }
    match remove_tables(Some(&kernel.table), state) {
        Ok(Removed { failed, .. }) if !failed.is_empty() => Err(failed.join("; ")),
        // Without the right it had no table either.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Who tells these threads what, and whom they tell.
pub(super) struct Ways {
    /// Clients that are to be dropped further down.
    pub(super) handed_down: Vec<rtrb::Consumer<HandDown>>,
    /// To each of those who hand down.
    pub(super) told: Vec<rtrb::Producer<Told>>,
    /// To the detecting thread.
    pub(super) detector: Sender<Command>,
    /// To whoever waits for the bans of before.
    pub(super) restoring: Restoring,
    /// Ends the guard.
    pub(super) stop: Arc<Notify>,
}

/// What was started.
pub(super) struct Begun {
    pub(super) enforcement: Enforcement,
    pub(super) edge: Option<Edge>,
    pub(super) record: Record,
    pub(super) innocent: Arc<Mutex<Innocent>>,
    /// The operator's rules of before; none while it is not known which.
    pub(super) rules: Option<KeptRules>,
    pub(super) threads: Threads,
}

/// Opens the record, takes up who was banned, and starts the threads.
pub(super) fn start(
    (config, source): (&Config, &ConfigSource),
    state: &StateDirectory,
    shared: &Arc<Shared>,
    snapshot: &Arc<ArcSwap<Snapshot>>,
    ports: Vec<u16>,
    Ways { handed_down, told, detector, restoring, stop }: Ways,
) -> Result<Begun, StartError> {
    let (folder, retention_days) = (state.path().to_owned(), config.privacy.key_retention_days);
    let open_keys = move || KeyStore::open(&folder, retention_days);
    let keys = open_keys().ok();
    let seen = Arc::clone(snapshot);
    let (record, inbox) = Record::new(shared.clock, Measure::by(move || Situation::of(&seen.load())));
    let path = record::path(state.path());
    let (orders, received) = std::sync::mpsc::channel();
    let (late_orders, late_rules) = (orders.clone(), detector.clone());
    let clock = shared.clock;
    // Under `never` none of them is in force.
    let is_enforced = config.policy.enforce != Enforce::Never;
    let configured = if is_enforced { config.rules.clone() } else { Vec::new() };
    let early = configured.clone();
    let late = Box::new(move |late: Late| {
        let kept = late.values.map(|values| kept_rules(|name| values.get(name).cloned(), late.behind, late.past));
        let bans = late.bans.into_iter();
        let bans = bans.filter(|ban| is_of_present_rules(ban, kept.as_ref(), &configured, clock.now())).collect();
        // A thread that has ended ends the guard with it.
        let _ = late_orders.send(Order::TakeUp(bans));
        if let Some(kept) = kept {
            let _ = late_rules.send(Command::TakeUpRules(kept));
        }
    });
    let retention = config.record.clone();
    let (writer, mut restored) = Writer::open(inbox, path, retention, Box::new(open_keys), shared.clock, late);
    let rules = writer.is_read().then(|| kept_rules(|name| writer.kept(name), writer.behind(), writer.past()));
    restored.retain(|ban| is_of_present_rules(ban, rules.as_ref(), &early, clock.now()));
    let writer = spawn("record", move || writer.run())?;
    let seed = random_seed()?;
    let config_file = match source {
        ConfigSource::File { path, .. } => std::path::absolute(path).ok(),
        ConfigSource::CommandLine => None,
    };
    let notes = Notes { record: record.clone(), state_directory: state.path().to_owned(), config: config_file };
    let start_edge = |settings| Edge::start(settings, notes, state.is_panicked(), shared.clock, seed);
    let edge = config.edge.as_ref().map(start_edge).transpose().map_err(StartError::Thread)?;
    let (status, hurry) = (Arc::<ArcSwap<_>>::default(), Arc::default());
    let innocent = Arc::<Mutex<Innocent>>::default();
    let parts = Parts {
        shared: Arc::clone(shared),
        queues: handed_down,
        told,
        innocent: Arc::clone(&innocent),
        kernel: config.kernel.clone(),
        // Told to whoever looks for the guard from elsewhere.
        state: std::path::absolute(state.path()).unwrap_or_else(|_| state.path().to_owned()),
        edge: edge.clone().zip(config.edge.clone()),
        never_ban: config.never_ban_entries(),
        beside: snapshot.load().beside,
        ports,
        record: record.clone(),
        restored,
        keys,
        never_ban_changed: Box::new(move |never_ban| {
            // A detector that has ended ends the guard with it.
            let _ = detector.send(Command::NeverBan(never_ban.clone()));
        }),
        panicked: state.is_panicked(),
        hurry: Arc::clone(&hurry),
        status: Arc::clone(&status),
    };
    // The right is a thread's own, so it is asked for where it is used.
    let enforcer = spawn_vital("enforcer", &stop, move || {
        let enforcer = Enforcer::new(parts);
        drop(restoring);
        enforcer.run(&received)
    })?;
    let enforcement = Enforcement { orders, status, hurry };
    let threads = Threads { enforcer, writer, kernel: config.kernel.clone(), state: state.path().to_owned() };
    Ok(Begun { enforcement, edge, record, innocent, rules, threads })
}

/// The operator's rules as they were kept, in the time of a clock that is so far behind.
fn own_rules(kept: Option<&str>, behind: Behind) -> Vec<OwnRule> {
    let read = kept.map(serde_json::from_str).transpose().unwrap_or_else(|error| {
        tracing::warn!(%error, "failed to read the operator's rules of before, which are not in force");
        None
    });
    let mut rules: Vec<OwnRule> = read.unwrap_or_default();
    for rule in &mut rules {
        (rule.since, rule.expires) = behind.to_machine(rule.since, rule.expires);
    }
    rules
}

/// What is kept of the operator's rules.
fn kept_rules(kept: impl Fn(&str) -> Option<String>, behind: Behind, past: Past) -> KeptRules {
    let names = kept(record::RULE_NAMES).map(|names| serde_json::from_str(&names)).transpose();
    let names = names.unwrap_or_else(|error| {
        tracing::warn!(%error, "failed to read which numbers the rules of the configuration had; they are numbered anew");
        None
    });
    let vetoes = kept(record::VETOES).map(|vetoes| serde_json::from_str::<Vec<Veto>>(&vetoes)).transpose();
    let vetoes = vetoes.unwrap_or_else(|error| {
        tracing::warn!(%error, "failed to read which rules were taken back; they may be made again");
        None
    });
    let mut vetoes = vetoes.unwrap_or_default();
    for veto in &mut vetoes {
        if let Some(until) = veto.until {
            let (since, until) = behind.to_machine(veto.since, until);
            (veto.since, veto.until) = (since, Some(until));
        }
    }
    let said = own_rules(kept(record::RULES).as_deref(), behind);
    let numbers = kept(record::NUMBERS).map(|numbers| serde_json::from_str(&numbers)).transpose();
    let numbers = numbers.unwrap_or_else(|error| {
        tracing::warn!(%error, "failed to read which numbers were given last; some may be given again");
        None
    });
    KeptRules { said, names: names.unwrap_or_default(), vetoes, numbers: numbers.unwrap_or_default(), past }
}

/// Whether what a ban was made for is still there. Rules that detection found end with the guard, those of the operator by
/// themselves, and those of the configuration when they are not in it as they were; whom they had dropped is free then.
fn is_of_present_rules(ban: &Ban, kept: Option<&KeptRules>, configured: &[ConfiguredRule], now: Timestamp) -> bool {
    let is_in_force = |rule: &OwnRule| carried_over(rule.since, rule.expires, now).1 > now;
    let is_as_before =
        |named: &NamedRule| configured.iter().any(|rule| named.is_of(&rule.name, &rule.text, rule.action));
    let is_there = |kept: &KeptRules, id| {
        kept.said.iter().any(|rule| rule.id == id && is_in_force(rule))
            || kept.names.iter().any(|named| named.id == id && is_as_before(named))
    };
    ban.cause.rule().is_none_or(|id| kept.is_some_and(|kept| is_there(kept, id)))
}

impl Situation {
    fn of(snapshot: &Snapshot) -> Self {
        let rates = &snapshot.rates;
        Self {
            requests: rates.requests,
            served: rates.served,
            refused: rates.refused + rates.client_limited + rates.closed_unread,
            failed: rates.failed + rates.overloaded,
            would_refuse: snapshot.beside.then_some(rates.would_refuse),
            cpu_used: Some(snapshot.limits.cpu_used),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use seawall_engine::address::AddressSet;
    use seawall_engine::decision::{Action, BanCause, OwnRules, RuleId};

    use super::*;
    use crate::host::clock::Clock;

    #[test]
    fn a_thread_that_failed_is_named_at_the_end() {
        let state = tempfile::tempdir().expect("a folder");
        let kernel = config::Kernel { usage: KernelUse::Never, ..Config::default().kernel };
        let threads = |fails: bool| Threads {
            enforcer: spawn("enforcer", move || if fails { panic!("a fault of the test") } else { Ok(()) })
                .expect("a thread"),
            writer: spawn("record", move || assert!(!fails, "a fault of the test")).expect("a thread"),
            kernel: kernel.clone(),
            state: state.path().to_owned(),
        };
        let (record, _inbox) = Record::new(Clock::start(), Measure::by(Situation::default));
        for (fails, expected) in
            [(false, &[][..]), (true, &["the enforcing thread", "the thread that writes the record"])]
        {
            let mut failed = Vec::new();
            assert_eq!(threads(fails).join(None, &record, &mut failed), Ok(()));
            assert_eq!(failed, expected);
        }
    }

    #[test]
    fn what_limits_refused_and_what_the_site_had_no_room_for_are_in_the_situation() {
        let rates = crate::daemon::Rates {
            refused: 1.0,
            client_limited: 2.0,
            closed_unread: 4.0,
            failed: 8.0,
            overloaded: 16.0,
            ..Default::default()
        };
        let situation = Situation::of(&Snapshot { rates, ..Snapshot::default() });
        assert_eq!((situation.refused, situation.failed), (7.0, 24.0));
    }

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn rule(id: u32, seconds: u64) -> OwnRule {
        OwnRule {
            id: RuleId(id),
            text: "path = \"/x\"".to_owned(),
            action: Action::Drop,
            reason: None,
            since: NOW,
            expires: NOW + Duration::from_secs(seconds),
            predicted: None,
        }
    }

    #[test]
    fn of_a_rule_no_more_is_left_than_when_the_clock_was_last_right() {
        let kept = serde_json::to_string(&[rule(10_001, 3_600), rule(10_002, 6)]).expect("JSON");
        let seen = NOW + Duration::from_secs(600);
        let left = |machine: Timestamp| {
            let rules = own_rules(Some(&kept), Behind::new(machine, seen)).into_iter();
            rules
                .map(|rule| carried_over(rule.since, rule.expires, machine).1.since(machine).as_secs())
                .collect::<Vec<_>>()
        };
        // Two years behind, before there were guards, right, and 24 years ahead.
        let years = |count: u32| Duration::from_secs(365 * 86_400) * count;
        assert_eq!(left(NOW - years(2)), [3_000, 0]);
        assert_eq!(left(Timestamp::from_seconds(1_000)), [3_000, 0]);
        assert_eq!(left(NOW + Duration::from_secs(1_800)), [1_800, 0]);
        assert_eq!(left(NOW + years(24)), [0, 0]);
    }

    #[test]
    fn a_ban_for_a_rule_ends_with_it() {
        let now = NOW;
        let said = vec![rule(10_001, 3_600), rule(10_002, 6)];
        let mut own = OwnRules::default();
        let named = |name: &str| OwnRule { reason: Some(name.to_owned()), ..rule(0, 0) };
        own.configure(vec![named("kept"), named("changed")], &AddressSet::default(), Enforce::OnExcess);
        let configured = [("kept", "path = \"/x\""), ("changed", "path = \"/y\"")];
        let configured = configured.map(|(name, text)| ConfiguredRule {
            name: name.to_owned(),
            text: text.to_owned(),
            action: Action::Drop,
        });
        let rules = KeptRules { said, names: own.names().clone(), ..KeptRules::default() };
        let comes_back = |cause: BanCause, rules: Option<&KeptRules>| {
            let network = "192.0.2.7/32".parse().expect("a network");
            let ban = Ban { network, since: now, expires: now + Duration::from_secs(240), cause, reason: None };
            is_of_present_rules(&ban, rules, &configured, now + Duration::from_secs(60))
        };
        assert!(comes_back(BanCause::Rule(RuleId(10_001)), Some(&rules)));
        // Its rule has ended meanwhile, was found by detection, or is not known.
        assert!(!comes_back(BanCause::Rule(RuleId(10_002)), Some(&rules)));
        assert!(!comes_back(BanCause::Rule(RuleId(1)), Some(&rules)));
        assert!(!comes_back(BanCause::Merged(Some(RuleId(1))), Some(&rules)));
        assert!(!comes_back(BanCause::Rule(RuleId(10_001)), None));
        assert!(comes_back(BanCause::Merged(Some(RuleId(10_001))), Some(&rules)));
        assert!(comes_back(BanCause::Merged(None), None));
        // One of the configuration is known by its number and by what it does.
        assert!(comes_back(BanCause::Rule(RuleId(20_001)), Some(&rules)));
        assert!(!comes_back(BanCause::Rule(RuleId(20_002)), Some(&rules)));
        assert!(!comes_back(BanCause::Rule(RuleId(20_001)), None));
        assert!(comes_back(BanCause::Limit, None) && comes_back(BanCause::Operator, None));
    }
}
