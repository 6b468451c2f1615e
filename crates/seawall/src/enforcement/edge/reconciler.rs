//! The thread of the edge: brings what is there into line with what is wanted, in rounds, and answers an operator.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use fastrand::Rng;
use seawall_engine::units::Timestamp;

use super::http::EdgeError;
use super::plan::{Changes, Installed, Target, plan};
use super::stop::Stop;
use super::target::Wanted;
use super::view::{EdgeState, EdgeStatus, PlanView, in_words};
use super::{CLEAR_TIME_MAX, Latest, Left, Notes, Order, Provider};
use crate::config::{self, EdgeUse};
use crate::host::clock::Clock;
use crate::record::{Action, Actor, Moment};

/// How long it waits after failures at most; after the first as long as between changes, each further one doubles it.
const RETRY_MAX: Duration = Duration::from_secs(600);

/// How often bans that have ended are looked for. The edge has no end of its own.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(10);

/// The shortest wait, while what is wanted is not known yet.
const WAIT_MIN: Duration = Duration::from_millis(20);

/// How often the edge is changed in one round until what is read back is what was meant: once more than it takes where
/// nobody else changes it.
const ATTEMPTS_MAX: usize = 2;

/// What is asked of the thread.
struct Asked {
    /// The generation of what is wanted,
    generation: u64,
    /// whether the operator took everything out,
    is_panicked: bool,
    /// and whether he waits for it: somebody has just been told that he is let in again.
    is_urgent: bool,
}

/// The thread's state.
pub(super) struct Reconciler {
    provider: Box<dyn Provider>,
    settings: config::Edge,
    notes: Notes,
    clock: Clock,
    latest: Arc<Mutex<Latest>>,
    published: Arc<ArcSwap<EdgeStatus>>,
    status: EdgeStatus,
    random: Rng,
    /// What was there when it was last read, until something fails.
    known: Option<Installed>,
    /// What the edge was left with: whatever else is there later, somebody else has put there.
    standing: Option<Target>,
    /// Whether anything that is there is this guard's to take away.
    has_applied: bool,
    /// Whether the operator has cleared it, and it is left alone until he has it applied.
    is_held: bool,
    /// The generation of what is wanted that was last looked at.
    seen: u64,
    round_at: Timestamp,
    read_at: Timestamp,
    expire_at: Timestamp,
    retry_at: Timestamp,
    retry_pause: Duration,
}

impl Reconciler {
    pub(super) fn new(
        provider: Box<dyn Provider>,
        settings: config::Edge,
        notes: Notes,
        clock: Clock,
        (latest, published): (Arc<Mutex<Latest>>, Arc<ArcSwap<EdgeStatus>>),
        seed: u64,
    ) -> Self {
        let now = clock.now();
        Self {
            status: EdgeStatus::new(&settings),
            retry_pause: settings.interval,
            provider,
            settings,
            notes,
            clock,
            latest,
            published,
            random: Rng::with_seed(seed),
            known: None,
            standing: None,
            has_applied: false,
            is_held: false,
            seen: 0,
            round_at: now,
            read_at: now,
            expire_at: now,
            retry_at: now,
        }
    }

    /// Runs until told to stop, and then takes away what was put there, unless it is to stay.
    pub(super) fn run(mut self, orders: &Receiver<Order>, stop: &Stop) {
        while !stop.is_told() {
            match orders.recv_timeout(self.wait(self.clock.now())) {
                Ok(Order::Look) | Err(RecvTimeoutError::Timeout) => {}
                Ok(order) => self.obey(order),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if !stop.is_told() {
                self.look(stop);
            }
            self.publish();
        }
        if self.has_applied && !self.settings.keep {
            self.provider.api().finish_by(self.clock.now() + CLEAR_TIME_MAX);
            if let Err(error) = self.clear_unasked() {
                tracing::warn!("failed to take everything out of the edge; `seawall edge clear` does: {error}");
            }
        }
        self.publish();
    }

    /// How long nothing is due.
    fn wait(&self, now: Timestamp) -> Duration {
        let asked = self.asked_for();
        if asked.is_urgent {
            return WAIT_MIN;
        }
        let mut due = self.read_at;
        if !asked.is_panicked {
            due = due.min(self.expire_at);
            if asked.generation != self.seen {
                due = due.min(self.round_at);
            }
        }
        due.max(self.retry_at).since(now).max(WAIT_MIN)
    }

    fn asked_for(&self) -> Asked {
        let latest = self.latest();
        Asked { generation: latest.generation, is_panicked: latest.is_panicked, is_urgent: latest.is_urgent }
    }

    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wanted; nothing while it is not known.
    fn wanted(&self) -> Option<Wanted> {
        let latest = self.latest();
        let (bans, rules) = latest.bans.as_ref().zip(latest.rules.as_ref())?;
        let (bans, rules) = (Arc::clone(bans), Arc::clone(rules));
        drop(latest);
        Some(Wanted { bans: (*bans).clone(), rules: (*rules).clone() })
    }

    /// Has a round if one is due.
    fn look(&mut self, stop: &Stop) {
        // Before it is asked what for: one that comes later has what follows begin anew.
        stop.answer_urge();
        let now = self.clock.now();
        let Asked { generation, is_panicked, is_urgent } = self.asked_for();
        // While everything is out it is no matter who would be refused.
        let is_changed = generation != self.seen && !is_panicked;
        let is_due =
            (is_changed && now >= self.round_at) || now >= self.read_at || (now >= self.expire_at && !is_panicked);
        if !is_urgent && (!is_due || now < self.retry_at) {
            return;
        }
        let done = if is_panicked {
            if is_urgent {
                self.retry_pause = self.settings.interval;
            }
            // Where nothing was put, all is out already.
            if !self.latest().may_hold {
                self.status.state = EdgeState::Panicked;
            }
            let cleared = self.clear_unasked().map(|()| self.status.state = EdgeState::Panicked);
            if cleared != Err(EdgeError::Stopped) {
                self.answer_waiting(&cleared);
            }
            cleared
        } else {
            let Some(wanted) = self.wanted() else { return };
            self.seen = generation;
            let moment = self.notes.record.moment();
            if now >= self.read_at {
                self.known = None;
            }
            match self.settings.usage {
                EdgeUse::On if !self.is_held => self.bring_into_line(&wanted).map(|done| {
                    // Who comes and goes is told by the bans; in a flood that is somebody in each round.
                    if done.changes_rules() {
                        self.journal(moment, Actor::Guard, Action::EdgeApply, &done);
                    }
                }),
                EdgeUse::On | EdgeUse::Propose => self.propose(&wanted).map(|_| ()),
            }
        };
        let now = self.clock.now();
        (self.round_at, self.expire_at) = (now + self.settings.interval, now + EXPIRE_INTERVAL);
        if let Err(error) = done {
            self.fail(&error);
        }
    }

    /// Tells who took everything out what came of it here.
    fn answer_waiting(&self, cleared: &Result<(), EdgeError>) {
        let answer = cleared.clone().map_err(|error| error.to_string());
        let mut latest = self.latest();
        latest.is_urgent = false;
        let waiting = std::mem::take(&mut latest.waiting);
        drop(latest);
        waiting.into_iter().for_each(|done| drop(done.send(answer.clone())));
    }

    fn obey(&mut self, order: Order) {
        // Its API takes seconds.
        let moment = self.notes.record.moment();
        // Whoever asked may have gone; what was ordered is done all the same.
        match order {
            Order::Look => {}
            Order::Plan(done) => {
                self.known = None;
                let planned = self.asked(|reconciler, wanted| reconciler.propose(&wanted));
                let _ = done.send(planned);
            }
            Order::Apply(done) => {
                (self.known, self.is_held) = (None, false);
                let applied = self.asked(|reconciler, wanted| {
                    let applied = reconciler.bring_into_line(&wanted);
                    reconciler.journal_asked(moment, Action::EdgeApply, applied.as_ref().ok());
                    applied
                });
                let _ = done.send(applied);
            }
            Order::Clear(done) => {
                let cleared = self.clear(true).map_err(|error| self.tell(&error));
                self.journal_asked(moment, Action::EdgeClear, cleared.as_ref().ok());
                if cleared.is_ok() {
                    (self.is_held, self.status.state) = (true, EdgeState::Proposing);
                }
                let _ = done.send(cleared);
            }
            Order::SetUp(done) => {
                self.retry_at = self.clock.now();
                let set_up = self.provider.set_up().map_err(|error| self.tell(&error));
                match &set_up {
                    Ok(text) => {
                        self.notes.record.journal_of(moment, Actor::Operator, Action::EdgeSetUp, text.clone());
                    }
                    Err(_) => self.journal_asked(moment, Action::EdgeSetUp, None),
                }
                // What was missing is there now.
                self.read_at = self.clock.now();
                let _ = done.send(set_up);
            }
        }
        self.publish();
    }

    /// Does something with what is wanted, for an operator.
    fn asked(
        &mut self,
        act: impl FnOnce(&mut Self, Wanted) -> Result<PlanView, EdgeError>,
    ) -> Result<PlanView, String> {
        let Asked { generation, is_panicked, .. } = self.asked_for();
        if is_panicked {
            return Err("nothing is in force since `seawall panic`; `seawall panic --over` goes on".to_owned());
        }
        let wanted =
            self.wanted().ok_or("the guard has only just begun, and what is wanted is not known yet; ask again")?;
        self.seen = generation;
        act(self, wanted).map_err(|error| self.tell(&error))
    }

    /// Puts into the journal what was done.
    fn journal(&self, moment: Moment, actor: Actor, action: Action, done: &PlanView) {
        let text = done.done(self.status.entries, self.status.rules);
        self.notes.record.journal_of(moment, actor, action, text);
    }

    /// The same of what an operator asked for. The words of a failure are the provider's, and may name an address, which belongs into
    /// no file.
    fn journal_asked(&self, moment: Moment, action: Action, done: Option<&PlanView>) {
        match done {
            Some(done) => self.journal(moment, Actor::Operator, action, done),
            None => {
                let provider = self.settings.place.provider();
                let text = format!("{provider}: failed, perhaps half way; the guard's log has the reason");
                self.notes.record.journal_of(moment, Actor::Operator, action, text);
            }
        }
    }

    /// Notes a failure, and gives its words.
    fn tell(&mut self, error: &EdgeError) -> String {
        self.fail(error);
        error.to_string()
    }

    /// What is there: as it was read last, or read anew. When it is not what it was left as, somebody else has been there.
    fn installed(&mut self) -> Result<Installed, EdgeError> {
        if let Some(known) = &self.known {
            return Ok(known.clone());
        }
        let installed = self.provider.read()?;
        self.read_at = self.clock.now() + self.settings.verify_interval;
        if let Some(standing) = self.standing.take() {
            let harm = plan(&standing, &installed);
            if !harm.is_empty() {
                self.note_repair(&harm);
            }
        }
        self.known = Some(installed.clone());
        Ok(installed)
    }

    fn note_repair(&mut self, harm: &Changes) {
        let words = in_words(harm);
        tracing::warn!(
            "somebody else has changed what is the guard's at the edge, and it is made as it should be: {words}"
        );
        self.status.repairs += 1;
        self.status.last_repair = Some(words);
    }

    /// Says what would be done.
    fn propose(&mut self, wanted: &Wanted) -> Result<PlanView, EdgeError> {
        let installed = self.installed()?;
        let target = self.provider.target(wanted, &installed, self.clock.now());
        let changes = plan(&target, &installed);
        self.status.proposed = changes.len() as u64;
        // Where the edge is on, this was asked by an operator, and what is to be done is done with the next round.
        if self.settings.usage == EdgeUse::Propose || self.is_held {
            self.status.state = EdgeState::Proposing;
        }
        self.succeed(&target, &installed);
        // What an operator has had applied stays known as ours until it is over.
        self.standing = self.has_applied.then(|| standing(&installed));
        Ok(PlanView::new(&self.settings, &changes, &target, &installed))
    }

    /// Makes the edge what is wanted, and reads back whether it is. What was done is told.
    fn bring_into_line(&mut self, wanted: &Wanted) -> Result<PlanView, EdgeError> {
        let mut told: Option<PlanView> = None;
        for attempt in 1..=ATTEMPTS_MAX {
            let installed = self.installed()?;
            self.has_applied = true;
            let target = self.provider.target(wanted, &installed, self.clock.now());
            let changes = plan(&target, &installed);
            let view = PlanView::new(&self.settings, &changes, &target, &installed);
            if !changes.is_empty() || !installed.entries.is_empty() || !installed.statements.is_empty() {
                self.note_holding()?;
            }
            if changes.is_empty() {
                self.status.proposed = 0;
                self.status.state = EdgeState::Active;
                self.succeed(&target, &installed);
                self.standing = Some(target);
                return Ok(told.unwrap_or(view));
            }
            // Until it is read back it is not certain what is there, and nobody is blamed for it.
            (self.known, self.standing) = (None, None);
            self.note_left();
            let applied = self.provider.apply(&changes);
            match applied {
                // What was to be changed is no longer there: it is read again.
                Err(error) if error.is_stale() && attempt < ATTEMPTS_MAX => continue,
                applied => applied?,
            }
            self.status.changes += 1;
            told = told.or(Some(view));
            // Read back: what differs now, nobody but another has changed.
            self.standing = Some(target);
        }
        let installed = self.installed()?;
        let target = self.provider.target(wanted, &installed, self.clock.now());
        let rest = plan(&target, &installed);
        if rest.is_empty() {
            self.status.proposed = 0;
            self.status.state = EdgeState::Active;
            self.succeed(&target, &installed);
            self.standing = Some(target);
            return Ok(told.unwrap_or_else(|| PlanView::new(&self.settings, &rest, &Target::default(), &installed)));
        }
        Err(EdgeError::NotReady(format!(
            "the edge does not hold what was put there ({}); does another program change it?",
            in_words(&rest)
        )))
    }

    /// Notes that something may be there, before it is, unless everything is out by now.
    fn note_holding(&self) -> Result<(), EdgeError> {
        let mut latest = self.latest();
        if latest.is_panicked {
            return Err(EdgeError::Stopped);
        }
        latest.may_hold = true;
        Ok(())
    }

    /// The same for after the guard is killed, so that no kill comes in between.
    fn note_left(&self) {
        let Some(config) = self.notes.config.clone() else { return };
        let left = Left { provider: self.settings.place.provider().to_owned(), config };
        if let Err(error) = left.note(&self.notes.state_directory) {
            tracing::warn!(%error, "failed to note in the state directory that something is at the edge");
        }
    }

    /// Takes away everything of ours, since all is over or out.
    fn clear_unasked(&mut self) -> Result<(), EdgeError> {
        // What is left to others is used only for what may be in force.
        let (may_hold, moment) = (self.latest().may_hold, self.notes.record.moment());
        let gone = self.clear(may_hold)?;
        if gone.entries > 0 || gone.rules > 0 {
            self.journal(moment, Actor::Guard, Action::EdgeClear, &gone);
        }
        Ok(())
    }

    /// Takes away everything of ours, with the requests that are left to others at other times or without.
    fn clear(&mut self, uses_reserves: bool) -> Result<PlanView, EdgeError> {
        (self.known, self.standing) = (None, None);
        self.provider.api().use_reserves(uses_reserves);
        let cleared = self.provider.read().and_then(|installed| self.provider.clear(&installed).map(|()| installed));
        self.provider.api().use_reserves(false);
        let installed = cleared?;
        self.has_applied = false;
        self.latest().may_hold = false;
        if let Err(error) = Left::forget(&self.notes.state_directory) {
            tracing::warn!(%error, "failed to note in the state directory that nothing is at the edge");
        }
        self.read_at = self.clock.now() + self.settings.verify_interval;
        self.status.proposed = 0;
        let view = PlanView::removed(&self.settings, &installed);
        self.succeed(&Target::default(), &Installed::default());
        Ok(view)
    }

    fn succeed(&mut self, target: &Target, installed: &Installed) {
        let now = self.clock.now();
        (self.retry_at, self.retry_pause) = (now, self.settings.interval);
        let status = &mut self.status;
        (status.reason, status.retry_at) = (None, None);
        status.entries = installed.banned() as u64;
        status.rules = installed.rules as u64;
        status.leave_out(&target.left_out);
        if status.proposed == 0 {
            status.in_line_at = Some(now);
        }
    }

    fn fail(&mut self, error: &EdgeError) {
        if *error == EdgeError::Stopped {
            return;
        }
        // What it holds is no longer certain.
        self.known = None;
        let now = self.clock.now();
        self.retry_at = match error {
            EdgeError::Limited { until, .. } => *until,
            _ => {
                // Half of it is chance, so that guards that failed together do not come back together.
                let pause = self.retry_pause.mul_f64(0.5 + self.random.f64() / 2.0);
                self.retry_pause = (self.retry_pause * 2).min(RETRY_MAX);
                now + pause
            }
        };
        self.read_at = self.retry_at;
        let reason = error.to_string();
        if self.status.reason.as_ref() != Some(&reason) {
            tracing::warn!("failed to bring the edge into line, the guard refuses by itself meanwhile: {reason}");
        }
        self.status.failures += 1;
        self.status.state = EdgeState::Failing;
        self.status.reason = Some(reason);
        self.status.retry_at = Some(self.retry_at);
    }

    fn publish(&mut self) {
        self.status.requests = self.provider.api().requests();
        if **self.published.load() != self.status {
            self.published.store(Arc::new(self.status.clone()));
        }
    }
}

/// What is there, as what should be.
fn standing(installed: &Installed) -> Target {
    let entries = installed.entries.iter().filter_map(|entry| Some(((entry.pool, entry.network?), entry.note)));
    Target {
        entries: entries.collect(),
        statements: installed.statements.iter().map(|held| held.statement.clone()).collect(),
        left_out: Vec::new(),
    }
}
