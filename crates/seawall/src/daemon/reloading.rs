//! Reading the configuration again, and going back to the one of before where the new one is not confirmed in time.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use seawall_engine::address::AddressSet;
use seawall_engine::units::Timestamp;
use tokio::sync::oneshot;

use super::{Command, ConfigSource, Daemon, Reloaded, connections_max};
use crate::config::{Config, Environment};
use crate::enforcement::{Order, Then};
use crate::record::{Action, Actor};
use crate::show::notify::Notifications;
use crate::source::proxy::settings::Settings;

/// How long it waits with going back where that has failed: an address may be in use for a moment.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// The configuration of before one that waits to be confirmed.
pub(super) struct Unconfirmed {
    before: Config,
    until: Timestamp,
}

/// What was put in force.
struct PutInForce {
    before: Config,
    /// What differs from that, for the journal.
    changes: String,
    reloaded: Reloaded,
    rules: OfRules,
}

/// Answered with what there is to say of the rules of the configuration, once they are in force or not.
pub(super) type OfRules = oneshot::Receiver<Vec<String>>;

/// Who has the configuration read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reloader {
    /// An operator with a command; where a time is said, it is to be confirmed within it.
    Command(Option<Duration>),
    /// SIGHUP, perhaps by a program that rotates logs: what waits to be confirmed goes on waiting.
    Signal,
}

impl Daemon {
    /// As [`Self::reload`], and tells the log how it went, whoever asked for it.
    pub(super) fn reload_and_log(self: &Arc<Self>, reloader: Reloader) -> Result<(Reloaded, OfRules), String> {
        let reloaded = self.reload(reloader);
        match &reloaded {
            Ok(_) => tracing::info!("the configuration was read again"),
            Err(problems) => tracing::error!("the configuration was not changed:\n{problems}"),
        }
        reloaded
    }

    /// SIGHUP: files are made anew where some are written, and the configuration is read again.
    pub(super) fn hang_up(self: &Arc<Self>) {
        let is_from_file = matches!(self.source, ConfigSource::File { .. });
        if !self.intake.reopen() || is_from_file {
            drop(self.reload_and_log(Reloader::Signal));
        }
    }

    /// Reads the configuration again. When anything in it is wrong, everything stays as it was.
    ///
    /// # Errors
    /// The problems, for people.
    fn reload(self: &Arc<Self>, reloader: Reloader) -> Result<(Reloaded, OfRules), String> {
        let ConfigSource::File { path, state_directory, admin } = &self.source else {
            return Err("this guard was started without a configuration file, so there is nothing to read again".into());
        };
        if self.is_stopping.load(Ordering::Acquire) {
            return Err("this guard is stopping".into());
        }
        let environment = Environment { beside: self.intake.is_beside(), ..Environment::of_process() };
        let mut config = crate::config::load_in(path, &environment).map_err(|problems| problems.to_string())?;
        if environment.beside {
            config.sites.clear();
        }
        if let Some(state_directory) = state_directory {
            config.state_directory.clone_from(state_directory);
        }
        if let Some(admin) = admin {
            config.admin = *admin;
        }
        // Whoever rotates logs at night must not put in force for good what has just been undone.
        if reloader == Reloader::Signal && self.undone().as_ref() == Some(&config) {
            return Err("the file still has what was not confirmed in time, and a signal does not put that in force: change it, \
                        or say `seawall reload`"
                .into());
        }
        let moment = self.record.moment();
        let PutInForce { before, changes, mut reloaded, rules } = self.put_in_force(config)?;
        *self.undone() = None;
        let (actor, detail) = match reloader {
            Reloader::Command(Some(time)) => {
                let until = self.shared.clock.now() + time;
                self.await_confirmation(before, until);
                reloaded.confirm_until = Some(until);
                (Actor::Operator, format!("to be confirmed: {changes}"))
            }
            Reloader::Command(None) => {
                *self.unconfirmed() = None;
                (Actor::Operator, changes)
            }
            Reloader::Signal => (Actor::Signal, changes),
        };
        self.record.journal_of(moment, actor, Action::Reload, detail);
        Ok((reloaded, rules))
    }

    /// Puts a configuration in force, and returns the one of before.
    fn put_in_force(&self, config: Config) -> Result<PutInForce, String> {
        let mut current = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        // Everything that can fail comes first.
        let prepared = self.intake.prepare(&config, &current).map_err(|error| error.to_string())?;
        let settings = Settings::new(&config, connections_max(&config, self.open_files));
        let mut settings = settings.map_err(|error| error.to_string())?;
        settings.go_on_from(&self.shared.settings.load());
        let notifications = self.notifications_for(&config, &current)?;
        self.shared.settings.store(Arc::new(settings));
        self.shared.generation.fetch_add(1, Ordering::Release);
        let listening = self.intake.take(prepared);
        if let Some(notifications) = notifications {
            self.notifications.store(Arc::new(notifications));
        }
        let (done, of_rules) = oneshot::channel();
        let (detector, enforce, rules) = (self.detector.clone(), config.policy.enforce, config.rules.clone());
        // Which rules can be in force is decided by the new never-ban list, and that is the enforcing thread's.
        let then = Then(Box::new(move |never_ban: &AddressSet| {
            // A detector that has ended ends the guard with it, so there is nobody left to be told.
            let _ = detector.send(Command::Configuration { enforce, never_ban: never_ban.clone(), rules, done });
        }));
        let ports = self.intake.guarded_ports(&listening);
        let _ = self.enforcement.orders.send(Order::Configure { never_ban: config.never_ban_entries(), ports, then });
        let mut needs_restart = Vec::new();
        for (name, is_changed) in [
            ("workers", current.workers != config.workers),
            ("admin", current.admin != config.admin),
            ("watch", (&current.watch, &current.watch_format) != (&config.watch, &config.watch_format)),
            ("state-directory", current.state_directory != config.state_directory),
            ("kernel", current.kernel != config.kernel),
            ("edge", current.edge != config.edge),
            ("record", current.record != config.record),
        ] {
            needs_restart.extend(is_changed.then(|| name.to_owned()));
        }
        let (sites, warnings, changes) = (config.sites.len(), Vec::new(), config.changes_since(&current));
        let reloaded = Reloaded { sites, listening, needs_restart, confirm_until: None, warnings };
        Ok(PutInForce { before: std::mem::replace(&mut *current, config), changes, reloaded, rules: of_rules })
    }

    /// Starts anew whoever is told of what happens, if that has changed.
    fn notifications_for(&self, config: &Config, current: &Config) -> Result<Option<Notifications>, String> {
        if config.notify == current.notify {
            return Ok(None);
        }
        let started = Notifications::start(config, self.shared.clock, &self.snapshot);
        started.map(Some).map_err(|error| format!("failed to start a thread for notifications: {error}"))
    }

    /// Has the configuration of before come back then. Of several that wait one after the other, the one before all comes back, with the
    /// last deadline.
    fn await_confirmation(self: &Arc<Self>, before: Config, until: Timestamp) {
        let mut unconfirmed = self.unconfirmed();
        let before = unconfirmed.take().map_or(before, |earlier| earlier.before);
        *unconfirmed = Some(Unconfirmed { before, until });
        drop(unconfirmed);
        let daemon = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(until.since(daemon.shared.clock.now())).await;
            while !daemon.undo_reload(until) {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        });
    }

    /// The configuration in force stays; returns whether one waited for that.
    pub(super) fn confirm_reload(&self) -> bool {
        let is_confirmed = self.unconfirmed().take().is_some();
        if is_confirmed {
            self.record.journal(Actor::Operator, Action::Confirm, "the configuration".to_owned());
        }
        is_confirmed
    }

    /// Puts the configuration of before in force again, if one still waits with this deadline. Says whether nothing is left to be done.
    fn undo_reload(&self, until: Timestamp) -> bool {
        // Of a guard that stops the journal says that the configuration waited.
        if self.is_stopping.load(Ordering::Acquire) {
            return true;
        }
        let mut unconfirmed = self.unconfirmed();
        let Some(waiting) = unconfirmed.take_if(|waiting| waiting.until == until) else { return true };
        let moment = self.record.moment();
        match self.put_in_force(waiting.before.clone()) {
            Ok(PutInForce { before: undone, changes, .. }) => {
                *self.undone() = Some(undone);
                let text = format!("the configuration was not confirmed in time: {changes}");
                self.record.journal_of(moment, Actor::Guard, Action::Undo, text);
            }
            Err(error) => {
                tracing::error!(
                    "the configuration was not confirmed in time, and that of before cannot come back yet: {error}"
                );
                *unconfirmed = Some(waiting);
                return false;
            }
        }
        tracing::warn!(
            "the configuration was not confirmed in time, and that of before is in force again; the file has the new one still, which \
             `seawall reload` or the next start puts in force, and a signal does not"
        );
        true
    }

    /// Until when the configuration waits to be confirmed, if it does.
    pub(super) fn confirm_until(&self) -> Option<Timestamp> {
        self.unconfirmed().as_ref().map(|waiting| waiting.until)
    }

    /// What the journal says of a guard that stops while its configuration waits to be confirmed.
    pub(super) fn left_unconfirmed(&self) -> String {
        let text = "the configuration waited to be confirmed; the file has it, so the next start puts it in force";
        self.confirm_until().map(|_| text.to_owned()).unwrap_or_default()
    }

    fn undone(&self) -> MutexGuard<'_, Option<Config>> {
        self.undone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unconfirmed(&self) -> MutexGuard<'_, Option<Unconfirmed>> {
        self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
