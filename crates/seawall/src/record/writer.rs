//! The one thread that writes: takes what has come in batches, each a transaction ([`batch`]), and sees to it that the file is the
//! one that it should be: read before it is written, set aside when it is damaged, made again when it is gone, within its bounds.

mod after;
mod batch;
mod present;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use rusqlite::Connection;
use seawall_engine::decision::Ban;
use seawall_engine::units::{Timestamp, counted};

use super::bans::BanTable;
use super::schema::{self, RecordError, Seen};
use super::{Action, Actor, BASELINE_NAME, Entry, Inbox, Past, bounds, past};
use crate::config::Retention;
use crate::host::clock::{Behind, CLOCK_SET_MIN, Clock, Step};
use crate::privacy::{Day, KeyError, KeyStore};
use after::Waiting;
use batch::Failed;
use present::Present;

pub(super) use batch::add_to_journal;

/// What comes within this time is one transaction. A killed guard loses no more than that.
const BATCH_INTERVAL: Duration = Duration::from_millis(250);

/// Entries of one transaction, and those that are kept while nothing can be written.
const BATCH_ENTRIES_MAX: usize = 4_096;

/// How long it waits after the first failure, and after many in a row: each attempt may be a long one.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
const RETRY_PAUSES_MAX: u32 = 10;

/// How often it is tried to read what cannot be read at present.
const READ_INTERVAL: Duration = Duration::from_secs(2);

/// How often what is too old is deleted, and how often it is looked whether it may be, until the date has settled.
const TRIM_INTERVAL: Duration = Duration::from_secs(600);
const UNSETTLED_TRIM_INTERVAL: Duration = Duration::from_secs(60);

/// The log beside the file is carried over when a large batch has made it larger than that.
const LOG_BYTES_MAX: u64 = 4 << 20;

/// What is read of the record only after the start, when it could not be read then.
#[derive(Clone, Debug, Default)]
pub struct Late {
    /// Who was banned.
    pub bans: Vec<Ban>,
    /// The values by name; none when they had been read before.
    pub values: Option<BTreeMap<String, String>>,
    /// How far the machine's clock is behind the times in the values.
    pub behind: Behind,
    /// What is known of the guard before; nothing when it was known already.
    pub past: Past,
}

/// How the keys are opened.
pub type OpenKeys = Box<dyn Fn() -> Result<KeyStore, KeyError> + Send>;

/// Whether bans are written.
enum Bans {
    /// They are.
    Kept(BanTable),
    /// No keys are kept, and so no bans.
    Forgotten,
    /// The keys could not be had so far, for this reason.
    Waiting(String),
}

/// The writer, until its guard ends.
pub struct Writer {
    inbox: Inbox,
    path: PathBuf,
    retention: Retention,
    clock: Clock,
    /// How far the machine's clock has been set since the start. What is written is in its time.
    step: Step,
    /// Which date is believed.
    present: Present,
    /// Bans that had ended by this date, the machine's when they were read, are in the file and not in force.
    passed_over: Option<Timestamp>,
    /// Told what is read late.
    late: Box<dyn Fn(Late) + Send>,
    connection: Option<Connection>,
    /// The file that is open, as it was after the last batch.
    seen: Option<Seen>,
    bans: Bans,
    /// Opens the keys.
    keys: OpenKeys,
    /// The values as they are to be, with when each was last changed.
    values: BTreeMap<String, (Timestamp, String)>,
    /// What is known of the guard before.
    past: Past,
    /// Whether it is known what the file held at the start. Before that no value of before may be replaced.
    is_read: bool,
    read_at: Timestamp,
    /// Whether another file was begun while the guard runs, into which the present state is still to be written.
    is_another: bool,
    /// The day for which bans were asked for, to be written under its key.
    asked_for: Option<Day>,
    /// What was done of which the effect is not known yet.
    waiting: Waiting,
    /// Whether that of before the start is among it.
    has_taken_up: bool,
    failures: u32,
    retry_at: Timestamp,
    trim_at: Timestamp,
    /// What is wrong at present with the file and with the keys, and what was set aside.
    problem: Option<String>,
    keys_problem: Option<String>,
    /// That the file is larger than it may become, and that the date cannot be right.
    size_problem: Option<String>,
    date_problem: Option<String>,
    notice: Option<String>,
}

impl Writer {
    /// Reads who was banned and the values, then opens the file for writing, or begins another when it is damaged. What cannot be
    /// read now is read and handed to `late` when it can be; the guard goes on in any case.
    pub fn open(
        inbox: Inbox,
        path: PathBuf,
        retention: Retention,
        keys: OpenKeys,
        clock: Clock,
        late: Box<dyn Fn(Late) + Send>,
    ) -> (Self, Vec<Ban>) {
        let now = clock.now();
        let mut writer = Self {
            inbox,
            path,
            retention,
            clock,
            step: Step::default(),
            present: Present::default(),
            passed_over: None,
            late,
            connection: None,
            seen: None,
            bans: Bans::open(&keys),
            keys,
            values: BTreeMap::new(),
            past: Past::default(),
            is_read: false,
            read_at: now + READ_INTERVAL,
            is_another: false,
            asked_for: None,
            waiting: Waiting::default(),
            has_taken_up: false,
            failures: 0,
            retry_at: now,
            trim_at: now,
            problem: None,
            keys_problem: None,
            size_problem: None,
            date_problem: None,
            notice: None,
        };
        let (mut bans, first) = match writer.read(now) {
            Ok(read) => (read.bans, Ok(())),
            Err(failed) => (Vec::new(), Err(failed)),
        };
        // Where it can be written it can be read in another way. It is looked through whole when it is opened to be written, which takes
        // seconds of a large one; who was banned is not waited for so long where it is known.
        let opened = if writer.is_read {
            Ok(())
        } else {
            writer.reopen().and_then(|()| {
                bans = writer.read(now)?.bans;
                Ok(())
            })
        };
        // What could not be read at first may have been read in the other way, or be set aside.
        if let Err(failed) = opened.and(if writer.is_read { Ok(()) } else { first }) {
            writer.fail(&failed, now);
        }
        writer.tell_status();
        (writer, bans)
    }

    /// A value as it was kept before the start, as JSON; none when there was none, or when it is not yet known.
    pub fn kept(&self, name: &str) -> Option<String> {
        self.values.get(name).map(|(_, value)| value.clone())
    }

    /// How far the machine's clock is behind the times in the values.
    pub fn behind(&self) -> Behind {
        self.present.behind(self.step.to_machine(self.clock.now()))
    }

    /// What was read of the guard before.
    pub const fn past(&self) -> Past {
        self.past
    }

    /// Whether it is known what the file held.
    pub const fn is_read(&self) -> bool {
        self.is_read
    }

    /// Writes until every [`super::Record`] is gone.
    pub fn run(mut self) {
        let mut batch: Vec<Entry> = Vec::new();
        loop {
            let received = self.inbox.received.recv_timeout(BATCH_INTERVAL);
            let mut is_over = matches!(received, Err(RecvTimeoutError::Disconnected) | Ok(Entry::Stop));
            batch.extend(received);
            if !is_over && !batch.is_empty() {
                std::thread::sleep(BATCH_INTERVAL);
            }
            while batch.len() < 2 * BATCH_ENTRIES_MAX
                && let Ok(entry) = self.inbox.received.try_recv()
            {
                is_over |= matches!(entry, Entry::Stop);
                batch.push(entry);
            }
            batch.retain(|entry| !matches!(entry, Entry::Stop));
            let now = self.clock.now();
            let mut lost = 0;
            if is_over || now >= self.retry_at {
                match self.step(&mut batch, now) {
                    Ok(()) => (self.failures, self.problem) = (0, None),
                    Err(failed) => self.fail(&failed, now),
                }
                self.tell_status();
            }
            if batch.len() > BATCH_ENTRIES_MAX {
                batch::add_up_minutes(&mut batch);
            }
            // The latest tell most of what is going on.
            lost += batch.drain(..batch.len().saturating_sub(BATCH_ENTRIES_MAX)).count();
            if is_over {
                lost += batch.len() + self.inbox.shared.unwritten().len();
            }
            if lost > 0 {
                self.note(|status| status.lost += lost as u64);
            }
            if is_over {
                return;
            }
        }
    }

    /// Writes a batch, which is empty then, and sees to what is to be seen to meanwhile.
    fn step(&mut self, batch: &mut Vec<Entry>, now: Timestamp) -> Result<(), Failed> {
        if self.step.follow(&self.clock) {
            let machine = self.step.to_machine(now);
            tracing::info!(
                "the machine's clock was set to {} s after 1970; the record is written in its time from now on",
                machine.as_seconds()
            );
            self.present.was_set(machine);
            // Bans were written in the time of before.
            self.inbox.shared.want_bans();
        }
        self.look_at_file()?;
        if self.is_incomplete() && now >= self.read_at {
            self.read_at = now + READ_INTERVAL;
            self.read_late(now)?;
        }
        if self.connection.is_none() {
            self.reopen()?;
        }
        self.follow_date(now)?;
        let today = Day::of(self.step.to_machine(now));
        if self.asked_for != Some(today) && self.bans.table().is_some_and(|bans| bans.is_of_another_day(today)) {
            self.asked_for = Some(today);
            self.inbox.shared.want_bans();
        }
        let has_written = self.write(batch, now)?;
        batch.clear();
        let kept = if has_written || now >= self.trim_at { self.keep_bounds(now) } else { Ok(()) };
        self.seen = Seen::of(&self.path);
        kept
    }

    /// Sees whether the date can be right, and takes up what was done before the start, once it is known when that was.
    fn follow_date(&mut self, now: Timestamp) -> Result<(), Failed> {
        let Some(connection) = self.connection.as_mut().filter(|_| self.is_read) else { return Ok(()) };
        if !self.has_taken_up {
            self.waiting.take_up(connection, self.present.seen(), (self.step, now))?;
            // Only now: a file that is locked is asked again.
            self.has_taken_up = true;
        }
        let machine = self.step.to_machine(now);
        // One that is behind is not right yet.
        if let (Some(wrong), Bans::Kept(bans)) = (self.passed_over, &mut self.bans)
            && machine < wrong
            && self.present.seen().is_none_or(|seen| machine >= seen)
        {
            let bans = bans.read_again(connection, (machine, wrong), self.step)?;
            self.passed_over = Some(machine);
            if !bans.is_empty() {
                let count = counted(bans.len() as u64, "ban");
                tracing::info!("{count} had ended only by a clock that was ahead, and will be in force again");
                (self.late)(Late { bans, ..Late::default() });
            }
        }
        self.present.follow(machine, now);
        self.inbox.shared.has_date_settled.store(self.present.has_settled(), Ordering::Relaxed);
        let problem = self.present.problem(machine);
        if let (Some(problem), None) = (&problem, &self.date_problem) {
            tracing::warn!("{problem}");
        }
        self.date_problem = problem;
        Ok(())
    }

    /// Whether something of before the start is still to be read.
    fn is_incomplete(&self) -> bool {
        let are_bans_incomplete = match &self.bans {
            Bans::Kept(bans) => bans.has_unreadable(),
            Bans::Forgotten => false,
            Bans::Waiting(_) => true,
        };
        (are_bans_incomplete || !self.is_read) && !self.is_another
    }

    /// Sees whether the file is still there, and still what was written. Its owner may delete it, and put back another.
    fn look_at_file(&mut self) -> Result<(), Failed> {
        let (Some(before), Some(connection)) = (self.seen, &self.connection) else { return Ok(()) };
        let path = self.path.display();
        let now = Seen::of(&self.path);
        if now.is_some_and(|now| now.is_same(&before)) {
            if now.is_some_and(|now| now.is_unchanged(&before)) {
                return Ok(());
            }
            // Somebody else has written. Whoever did so by way of the database has left it whole.
            let found = schema::check_on_disk(&self.path);
            self.seen = now;
            return match found {
                Err(RecordError::Damaged { found, .. }) => Err(Failed::Damaged(found)),
                Ok(()) | Err(_) => Ok(()),
            };
        }
        let what = if now.is_some() { "replaced" } else { "deleted" };
        let notice = format!("the record {path} was {what} while the guard ran; what is in force was written anew");
        schema::leave_as_it_is(connection);
        self.connection = None;
        self.is_another = true;
        self.say(notice);
        Ok(())
    }

    /// Opens the file for writing; a damaged one is set aside.
    fn reopen(&mut self) -> Result<(), Failed> {
        let mut opened = schema::open(&self.path);
        if let Err(error @ (RecordError::Damaged { .. } | RecordError::Newer { .. })) = &opened {
            self.set_aside(&error.to_string());
            opened = schema::open(&self.path);
        }
        let connection = opened.map_err(|error| Failed::Other(error.to_string()))?;
        self.seen = Seen::of(&self.path);
        if self.is_another {
            if let Bans::Kept(bans) = &mut self.bans {
                bans.begin_anew();
                // What it holds is over: in its place comes what is in force.
                bans.read(&connection, self.step.to_machine(self.clock.now()), Behind::default(), self.step)?;
            }
            self.waiting.clear();
            self.inbox.shared.want_bans();
            batch::write_values(&connection, &self.values, self.step)?;
            self.is_another = false;
        }
        self.connection = Some(connection);
        Ok(())
    }

    fn set_aside(&mut self, found: &str) {
        if let Some(connection) = self.connection.take() {
            schema::leave_as_it_is(&connection);
        }
        let mut notice = match schema::set_aside(&self.path) {
            Ok(aside) => format!("{found}; it is kept as {} and another was begun", aside.display()),
            Err(failed) => format!("{found}; failed to set it aside: {failed}"),
        };
        if !self.is_read {
            notice += "; who was banned and which rules were in force before could not be read, and they are not in force now";
        }
        // Nothing more can be read of it.
        (self.is_read, self.is_another) = (true, true);
        self.say(notice);
    }

    /// Reads what was not read before: who was banned, and the values.
    fn read(&mut self, now: Timestamp) -> Result<Late, Failed> {
        let opened;
        let connection = match &self.connection {
            Some(connection) => connection,
            None => match schema::open_to_restore(&self.path) {
                Ok(connection) => {
                    opened = connection;
                    &opened
                }
                Err(RecordError::Missing { .. }) => {
                    self.is_read = true;
                    return Ok(Late { values: Some(BTreeMap::new()), ..Late::default() });
                }
                Err(error) => return Err(Failed::Other(error.to_string())),
            },
        };
        if !self.is_read && schema::is_known(schema::layout(connection)?) {
            self.present = Present::read(connection)?;
        }
        let machine = self.step.to_machine(now);
        let behind = self.present.behind(machine);
        let mut late = Late { behind, ..Late::default() };
        if !schema::is_known(schema::layout(connection)?) {
            // There is nothing in it, or it is of a later version and will be set aside.
            // A guard that was killed while it made its first one has learnt nothing yet.
            let has_learnt = self.path.with_file_name(BASELINE_NAME).exists();
            if !self.is_read && has_learnt && schema::layout(connection)? == 0 {
                let notice = "was empty at the start, as a file is that was emptied by hand or lost in a crash: who was banned and which rules \
                              were in force before is not known";
                self.notice = Some(format!("the record {} {notice}", self.path.display()));
                tracing::warn!("{}", self.notice.as_deref().unwrap_or_default());
            }
            late.values = (!self.is_read).then(BTreeMap::new);
            self.is_read = true;
            return Ok(late);
        }
        if let Bans::Kept(bans) = &mut self.bans {
            late.bans = bans.read(connection, machine, behind, self.step)?;
            self.passed_over = self.passed_over.max(Some(machine).filter(|machine| *machine >= CLOCK_SET_MIN));
        }
        if !self.is_read {
            self.past = past::read(connection, self.present.seen())?;
            late.past = self.past;
            let values = batch::read_values(connection, self.step)?;
            late.values = Some(values.iter().map(|(name, (_, value))| (name.clone(), value.clone())).collect());
            // What was said since goes before it.
            for (name, value) in values {
                self.values.entry(name).or_insert(value);
            }
            self.is_read = true;
        }
        Ok(late)
    }

    fn read_late(&mut self, now: Timestamp) -> Result<(), Failed> {
        if matches!(self.bans, Bans::Waiting(_)) {
            self.bans = Bans::open(&self.keys);
        }
        let late = self.read(now)?;
        if !late.bans.is_empty() || late.values.is_some() {
            tracing::info!("what was in force before is taken up now: the record could not be read at the start");
            (self.late)(late);
        }
        Ok(())
    }

    /// Deletes what is too old, and the oldest of the rest while the file is too large.
    fn keep_bounds(&mut self, now: Timestamp) -> Result<(), Failed> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        if now >= self.trim_at {
            let has_settled = self.present.has_settled();
            self.trim_at = now + if has_settled { TRIM_INTERVAL } else { UNSETTLED_TRIM_INTERVAL };
            let machine = self.step.to_machine(now);
            // A guard without traffic writes nothing else, and was there all the same.
            self.present.write(connection)?;
            if has_settled {
                let ended = bounds::delete_ended(connection, machine)?;
                self.passed_over = None;
                if ended > 0 {
                    let text = format!("{} by hand, while no guard ran", counted(ended, "ban"));
                    add_to_journal(connection, machine, Actor::Guard, Action::Expire, &text)?;
                }
                bounds::delete_old(connection, &self.retention, machine)?;
                let is_certain = self.present.is_certain();
                if is_certain {
                    bounds::date_back(connection, machine)?;
                }
                if let Bans::Kept(bans) = &mut self.bans {
                    bans.forget(connection, machine, is_certain)?;
                }
            }
        }
        let problem = bounds::keep_within(connection, self.retention.size_max)?;
        if let (Some(problem), None) = (&problem, &self.size_problem) {
            tracing::warn!("the record: {problem}");
        }
        self.size_problem = problem;
        if Seen::of(&self.path).is_some_and(|seen| seen.log_bytes() > LOG_BYTES_MAX) {
            bounds::carry_log_over(connection)?;
        }
        Ok(())
    }

    fn note(&self, change: impl FnOnce(&mut super::RecordStatus)) {
        change(&mut self.inbox.shared.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Tells people of what was found, and keeps it to be seen.
    fn say(&mut self, notice: String) {
        tracing::warn!("{notice}");
        self.notice = Some(notice);
    }

    /// Notes a failure, tells the log of each kind once, and puts a damaged file aside.
    fn fail(&mut self, failed: &Failed, now: Timestamp) {
        if let Failed::Damaged(found) = failed {
            let damaged = RecordError::Damaged { path: self.path.clone(), found: found.clone() };
            self.set_aside(&damaged.to_string());
        }
        let problem = failed.to_string();
        if self.problem.as_ref() != Some(&problem) {
            tracing::warn!("the record cannot be written, the guard goes on without: {problem}");
        }
        self.failures += 1;
        self.retry_at = now + RETRY_PAUSE * self.failures.min(RETRY_PAUSES_MAX);
        self.problem = Some(problem);
        self.note(|status| status.failures += 1);
    }

    /// Publishes what is wrong and how large the file is.
    fn tell_status(&mut self) {
        let keys = match &self.bans {
            Bans::Kept(bans) => bans.problem().map(str::to_owned),
            Bans::Forgotten => None,
            Bans::Waiting(why) => Some(format!("bans are not written: {why}")),
        };
        if keys.is_some() && keys != self.keys_problem {
            tracing::warn!("{}", keys.as_deref().unwrap_or_default());
        }
        self.keys_problem.clone_from(&keys);
        let problems =
            [&self.problem, &keys, &self.size_problem, &self.date_problem, &self.notice].into_iter().flatten();
        let problem = problems.cloned().reduce(|all, problem| format!("{all}; {problem}"));
        let bytes = Seen::of(&self.path).map_or(0, |seen| seen.bytes());
        self.note(|status| (status.problem, status.bytes) = (problem, bytes));
    }
}

impl Bans {
    fn open(keys: &OpenKeys) -> Self {
        match keys() {
            Ok(keys) => BanTable::new(keys).map_or(Self::Forgotten, Self::Kept),
            Err(error) => Self::Waiting(error.to_string()),
        }
    }

    const fn table(&self) -> Option<&BanTable> {
        match self {
            Self::Kept(bans) => Some(bans),
            Self::Forgotten | Self::Waiting(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
