//! Reading the configuration again, and going back to the one of before where the new one is not confirmed in time.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use seawall_engine::address::AddressSet;
use seawall_engine::units::Timestamp;

use super::{Command, ConfigSource, Daemon, Reloaded, connections_max};
use crate::config::{Config, Environment};
use crate::enforcement::Order;
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
    pub(super) fn reload_and_log(self: &Arc<Self>, reloader: Reloader) -> Result<Reloaded, String> {
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
    fn reload(self: &Arc<Self>, reloader: Reloader) -> Result<Reloaded, String> {
        let ConfigSource::File { path, state_directory } = &self.source else {
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
        let moment = self.record.moment();
        let (before, mut reloaded) = self.put_in_force(config)?;
        let detail = match reloader {
            Reloader::Command(Some(time)) => {
                let until = self.shared.clock.now() + time;
                self.await_confirmation(before, until);
                reloaded.confirm_until = Some(until);
                "to be confirmed".to_owned()
            }
            Reloader::Command(None) => {
                *self.unconfirmed() = None;
                String::new()
            }
            Reloader::Signal => String::new(),
        };
        self.record.journal_of(moment, Actor::Operator, Action::Reload, detail);
        Ok(reloaded)
    }

    /// Puts a configuration in force, and returns the one of before.
    fn put_in_force(&self, config: Config) -> Result<(Config, Reloaded), String> {
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
        // A detector that has ended ends the guard with it, so there is nobody left to be told.
        let _ = self.detector.send(Command::Configuration {
            enforce: config.policy.enforce,
            never_ban: AddressSet::clone(&self.shared.never_ban.load()),
            rules: config.rules.clone(),
        });
        // It makes the never-ban list anew and tells the detector of it.
        let ports = self.intake.guarded_ports(&listening);
        let _ = self.enforcement.orders.send(Order::Configure { never_ban: config.never_ban_entries(), ports });
        let mut needs_restart = Vec::new();
        for (name, is_changed) in [
            ("workers", current.workers != config.workers),
            ("admin", current.admin != config.admin),
            ("watch", current.watch != config.watch),
            ("state-directory", current.state_directory != config.state_directory),
            ("kernel", current.kernel != config.kernel),
            ("edge", current.edge != config.edge),
            ("record", current.record != config.record),
        ] {
            needs_restart.extend(is_changed.then(|| name.to_owned()));
        }
        let reloaded = Reloaded { sites: config.sites.len(), listening, needs_restart, confirm_until: None };
        Ok((std::mem::replace(&mut *current, config), reloaded))
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
        let mut unconfirmed = self.unconfirmed();
        let Some(waiting) = unconfirmed.take_if(|waiting| waiting.until == until) else { return true };
        if self.is_stopping.load(Ordering::Acquire) {
            return true;
        }
        let moment = self.record.moment();
        if let Err(error) = self.put_in_force(waiting.before.clone()) {
            tracing::error!(
                "the configuration was not confirmed in time, and that of before cannot come back yet: {error}"
            );
            *unconfirmed = Some(waiting);
            return false;
        }
        tracing::warn!(
            "the configuration was not confirmed in time, and that of before is in force again; the file has the new one still, which the \
             next reload or start reads"
        );
        let text = "the configuration was not confirmed in time".to_owned();
        self.record.journal_of(moment, Actor::Guard, Action::Undo, text);
        true
    }

    fn unconfirmed(&self) -> MutexGuard<'_, Option<Unconfirmed>> {
        self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
