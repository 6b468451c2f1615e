//! The record: what was decided and done, in a database of its own in the state directory.
//!
//! Owns the file, its layout and its size. One thread writes ([`writer`]), in batches; nobody else waits for it. What is journalled
//! and counted goes over a bounded queue: when the disk is full or the file locked it is kept for a while, then counted as lost, and
//! shown. State, which is who is banned and the values by name, is never lost: what of it is not yet written is kept
//! ([`unwritten`]), and all of it is written again when the file was damaged, deleted or replaced. Traffic goes on in any case. Client
//! addresses are written as pseudonyms that only the keys of [`crate::privacy`] can undo, and those are deleted in time.

mod addresses;
mod bans;
mod bounds;
mod past;
mod read;
pub mod rollup;
mod schema;
mod situation;
mod unwritten;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use seawall_engine::decision::{Ban, Event, Evidence, RuleId};
use seawall_engine::units::Timestamp;
use serde::{Deserialize, Serialize};

pub use past::{LeftOpen, Past};
pub use read::{JournalLine, Reader, RecordedBans, RecordedIncident, RuleDecision, Span, TrafficCount};
pub use schema::RecordError;
pub use situation::{Measure, Moment, Situation};
pub use writer::{Late, OpenKeys, Writer};

use unwritten::Unwritten;

/// The file in the state directory.
pub const FILE_NAME: &str = "record.db";

/// What was learnt, which a guard that has run for a while has beside it.
pub const BASELINE_NAME: &str = "baseline";

/// The operator's rules.
pub const RULES: &str = "rules";

/// What the operator took back of what detection has found.
pub const VETOES: &str = "vetoes";

/// The last numbers that were given to rules and incidents.
pub const NUMBERS: &str = "numbers";

/// The numbers of the configuration's rules, by their names.
pub const RULE_NAMES: &str = "rule-names";

/// Entries that can wait to be written: at a thousand a second, those of eight.
const QUEUE_ENTRIES: usize = 8_192;

/// Who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Actor {
    /// A person, with a command.
    Operator,
    /// A signal, of a person or a program.
    Signal,
    /// The guard by itself.
    Guard,
    /// A file of another program, at an operator's command.
    Import,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Somebody was banned.
    Ban,
    /// A ban was taken back.
    Unban,
    /// Bans were merged to make room.
    Merge,
    /// What another program had changed was made as it should be.
    Repair,
    /// What an operator had banned or added, or a list, has ended.
    Expire,
    /// A rule was added.
    AddRule,
    /// A rule was taken back.
    RemoveRule,
    /// A rule that people said is not in force: it names somebody on the never-ban list.
    SuspendRule,
    /// It is again.
    ResumeRule,
    /// A rule was found, put in force, changed or let go by detection.
    Decide,
    /// Everything was taken out.
    Panic,
    /// Everything goes on.
    Resume,
    /// What had a deadline stays.
    Confirm,
    /// What had a deadline was undone, or what had been taken back.
    Undo,
    /// The edge was brought into line.
    EdgeApply,
    /// Everything was taken out of the edge.
    EdgeClear,
    /// What the edge needs was made there.
    EdgeSetUp,
    /// The configuration was read again.
    Reload,
    /// The guard began.
    Start,
    /// The guard ended as it should.
    Stop,
}

/// What is journalled and counted.
#[derive(Debug)]
enum Entry {
    Journal {
        moment: Moment,
        actor: Actor,
        action: Action,
        /// Whom it is about, where that is one network.
        network: Option<IpNet>,
        detail: String,
    },
    Decision {
        event: Event,
        before: Situation,
        evidence: Option<Evidence>,
    },
    Minute {
        minute: u64,
        counts: Vec<MinuteCount>,
    },
    BansMade(Vec<(IpNet, Timestamp)>),
    /// Write what has come, and end.
    Stop,
}

impl Entry {
    /// How many bans it says were made.
    fn bans_made(&self) -> usize {
        if let Self::BansMade(made) = self { made.len() } else { 0 }
    }
}

/// What happened in a minute.
#[derive(Clone, Debug, PartialEq)]
pub struct MinuteCount {
    /// The site's name; empty for requests that were for none.
    pub site: Arc<str>,
    /// What became of the requests.
    pub outcome: &'static str,
    /// The rule that refused them, if one did.
    pub rule: Option<RuleId>,
    /// How many.
    pub requests: f64,
}

/// How the record is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordStatus {
    /// Entries, bans and values written since the start.
    pub written: u64,
    /// Those that could not be written and are gone.
    pub lost: u64,
    /// Attempts to write that failed.
    pub failures: u64,
    /// The size of the file in bytes, with what is still beside it.
    pub bytes: u64,
    /// What is wrong at present, and which file was set aside.
    pub problem: Option<String>,
}

/// How others reach the record. Nothing here waits.
#[derive(Clone, Debug)]
pub struct Record {
    entries: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
    shared: Arc<Common>,
    clock: crate::host::clock::Clock,
}

/// What everybody and the writer share. Locks are held for no longer than it takes to copy something.
#[derive(Debug)]
struct Common {
    measure: Measure,
    status: Mutex<RecordStatus>,
    unwritten: Mutex<Unwritten>,
    /// Whether all bans that there are have to be handed over.
    wants_bans: AtomicBool,
    /// Whether what the machine's date says is over is.
    has_date_settled: AtomicBool,
}

impl Common {
    fn unwritten(&self) -> MutexGuard<'_, Unwritten> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn want_bans(&self) {
        self.wants_bans.store(true, Ordering::Release);
    }
}

impl Record {
    /// A record and what its writer takes from it.
    pub fn new(clock: crate::host::clock::Clock, measure: Measure) -> (Self, Inbox) {
        let (entries, received) = sync_channel(QUEUE_ENTRIES);
        let shared = Arc::new(Common {
            measure,
            status: Mutex::default(),
            unwritten: Mutex::default(),
            wants_bans: AtomicBool::default(),
            has_date_settled: AtomicBool::default(),
        });
        let inbox = Inbox { received, shared: Arc::clone(&shared) };
        (Self { entries, lost: Arc::default(), shared, clock }, inbox)
    }

    /// Notes what became of networks: the ban of each, or that it is over.
    pub fn bans_changed(&self, changes: impl IntoIterator<Item = (IpNet, Option<Ban>)>) {
        let changes = changes.into_iter();
        let mut unwritten = self.shared.unwritten();
        unwritten.expect(changes.size_hint().0);
        for (network, ban) in changes {
            if unwritten.change(network, ban) {
                self.shared.want_bans();
            }
        }
    }

    /// Whether all bans that there are have to be handed over now: the file may hold others, or hold them otherwise. Says so once.
    pub fn wants_bans(&self) -> bool {
        self.shared.wants_bans.load(Ordering::Relaxed) && self.shared.wants_bans.swap(false, Ordering::Acquire)
    }

    /// Whether what the machine's date says is over is: a clock that is ahead for a minute at the machine's start must not end anything for
    /// good.
    pub fn has_date_settled(&self) -> bool {
        self.shared.has_date_settled.load(Ordering::Relaxed)
    }

    /// Hands over all bans that there are.
    pub fn all_bans(&self, bans: Vec<Ban>) {
        self.shared.unwritten().replace(bans);
    }

    /// Notes that these were banned, and when, for those who rank clients by how often they were.
    pub fn bans_made(&self, bans: Vec<(IpNet, Timestamp)>) {
        self.push(Entry::BansMade(bans));
    }

    /// The present moment, for what takes a while: to be asked for before it is done.
    pub fn moment(&self) -> Moment {
        Moment { at: self.clock.now(), before: self.shared.measure.now() }
    }

    /// Notes what was done just now, by whom.
    pub fn journal(&self, actor: Actor, action: Action, detail: String) {
        self.journal_of(self.moment(), actor, action, detail);
    }

    /// Notes what was begun at that moment.
    pub fn journal_of(&self, moment: Moment, actor: Actor, action: Action, detail: String) {
        self.push(Entry::Journal { moment, actor, action, network: None, detail });
    }

    /// The same of what was done just now about one network, which is written under the key of the day; `detail` follows it where it is
    /// shown.
    pub fn journal_about(&self, network: IpNet, actor: Actor, action: Action, detail: String) {
        self.push(Entry::Journal { moment: self.moment(), actor, action, network: Some(network), detail });
    }

    /// Notes what detection decided just now.
    pub fn decision(&self, event: &Event, evidence: Option<&Evidence>) {
        let before = self.shared.measure.now();
        self.push(Entry::Decision { event: event.clone(), before, evidence: evidence.cloned() });
    }

    /// Notes what happened in a minute, counted from 1970.
    pub fn minute(&self, minute: u64, counts: Vec<MinuteCount>) {
        self.push(Entry::Minute { minute, counts });
    }

    /// Keeps a value, as JSON, in place of the one of before: [`RULES`], [`VETOES`], [`RULE_NAMES`], [`NUMBERS`].
    pub fn keep(&self, name: &'static str, value: String) {
        self.shared.unwritten().values.insert(name, (self.clock.now(), value));
    }

    fn push(&self, entry: Entry) {
        if self.entries.try_send(entry).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has everything written that was handed over, and ends the writer. Waits for room in the queue: for when the guard ends.
    pub fn stop(&self) {
        // A writer that has ended has nothing left to write.
        let _ = self.entries.send(Entry::Stop);
    }

    /// How it is.
    pub fn status(&self) -> RecordStatus {
        let mut status = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        status.lost += self.lost.load(Ordering::Relaxed);
        status
    }
}

/// The writer's end of the queue.
#[derive(Debug)]
pub struct Inbox {
    received: Receiver<Entry>,
    shared: Arc<Common>,
}

#[cfg(test)]
impl Inbox {
    /// Says whether the date has settled, in the writer's stead.
    pub(crate) fn settle_date(&self, has_settled: bool) {
        self.shared.has_date_settled.store(has_settled, Ordering::Relaxed);
    }

    /// What is kept under a name.
    pub(crate) fn kept(&self, name: &str) -> Option<String> {
        self.shared.unwritten().values.get(name).map(|(_, value)| value.clone())
    }

    /// What was handed over for the journal since this was last asked.
    pub(crate) fn journalled(&self) -> Vec<(Action, String)> {
        let line = |entry| match entry {
            Entry::Journal { action, detail, .. } => Some((action, detail)),
            _ => None,
        };
        self.received.try_iter().filter_map(line).collect()
    }
}

/// Notes in the record of a guard that does not run what was done in its stead, by an operator. Where there is no record none is begun:
/// it would belong to whoever says the command, and the guard could not write it.
///
/// # Errors
/// When it cannot be written.
pub fn journal_without_guard(
    state_directory: &Path,
    action: Action,
    detail: &str,
    now: Timestamp,
) -> Result<(), RecordError> {
    let path = path(state_directory);
    match schema::open_to_append(&path) {
        Err(RecordError::Missing { .. }) => Ok(()),
        opened => {
            let added = writer::add_to_journal(&opened?, now, Actor::Operator, action, detail);
            added.map_err(|error| RecordError::Database { action: "write", path, error })
        }
    }
}

/// The file of a state directory.
pub fn path(state_directory: &Path) -> PathBuf {
    state_directory.join(FILE_NAME)
}

/// A moment as it is written.
fn micros(at: Timestamp) -> i64 {
    i64::try_from(at.as_micros()).unwrap_or(i64::MAX)
}

/// The name that a value has in JSON, as it is written in the database.
fn name(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
