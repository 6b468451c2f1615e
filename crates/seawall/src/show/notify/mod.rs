//! Tells people of what happens, by programs and requests, and never gets in the way of what it tells of.
//!
//! The path of an event, in the order of the modules: the detecting thread hands it over ([`Notifications::note`]) and goes on; an
//! [`outbox`] gathers what belongs together and says when it is time; a [`sender`], one thread for each recipient, has it put into
//! words ([`message`]) and sends it. Each way to send is a file of its own, [`command`] and [`post`], and stands in [`way`].
//!
//! Everything is bounded: what is gathered, how often a message is sent, and how long sending may take.

mod command;
mod message;
mod outbox;
mod post;
mod sender;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use seawall_engine::decision::{Event, EventKind};
use seawall_engine::units::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::{Config, Notify, Way};
use crate::daemon::Snapshot;
use crate::host::clock::Clock;
use message::{Message, Sender as Origin};
use sender::Sender;

/// The longest that sending may take.
const SEND_TIME_MAX: Duration = Duration::from_secs(10);

/// Events that wait for a sender that is busy.
const HANDED_MAX: usize = 64;

/// One way to send a message.
trait Send: std::marker::Send {
    /// Sends it, within [`SEND_TIME_MAX`].
    ///
    /// # Errors
    /// Why it was not taken, in words that show no secret.
    fn send(&self, message: &Message) -> Result<(), String>;
}

/// The way that is configured.
fn way(notify: &Notify, clock: Clock) -> Box<dyn Send> {
    match &notify.way {
        Way::Command(words) => Box::new(command::Command::new(words.clone(), clock)),
        Way::Url { url, form, token } => Box::new(post::Post::new(url.clone(), *form, token.clone())),
    }
}

/// How one recipient does; what `status` shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Notified {
    /// What the recipient is called.
    pub name: String,
    /// The program or the host.
    pub to: String,
    /// Messages that were taken.
    pub sent: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Events that wait to be sent.
    pub waiting: u64,
    /// Events that were never sent, since there were too many or they were too old.
    pub left_out: u64,
    /// When a message was last taken.
    pub last_sent: Option<Timestamp>,
    /// Why the last attempt failed, until one succeeds.
    pub trouble: Option<String>,
}

/// All recipients of a running guard. Dropping it ends their threads.
#[derive(Default)]
pub struct Notifications {
    recipients: Vec<Recipient>,
}

struct Recipient {
    on: Vec<EventKind>,
    events: SyncSender<Event>,
    /// Events that its thread was too busy to take.
    refused: AtomicU64,
    state: Arc<Mutex<Notified>>,
}

impl Notifications {
    /// Starts a thread for each recipient. Messages tell of `snapshot` as it is when they are sent.
    ///
    /// # Errors
    /// When a thread cannot be had.
    pub fn start(config: &Config, clock: Clock, snapshot: &Arc<ArcSwap<Snapshot>>) -> std::io::Result<Self> {
        let mut recipients = Vec::new();
        for notify in &config.notify {
            let (events, received) = sync_channel(HANDED_MAX);
            let state = Notified { name: notify.name.clone(), to: notify.way.to_string(), ..Notified::default() };
            let state = Arc::new(Mutex::new(state));
            let sender = Sender::new(
                way(notify, clock),
                Origin::new(&config.state_directory),
                notify.interval_min,
                clock,
                Arc::clone(snapshot),
                Arc::clone(&state),
            );
            thread::Builder::new().name("notifier".to_owned()).spawn(move || sender.run(&received))?;
            recipients.push(Recipient { on: notify.on.clone(), events, refused: AtomicU64::new(0), state });
        }
        Ok(Self { recipients })
    }

    /// Hands an event over to whoever wants to know of it. Waits for nothing.
    pub fn note(&self, event: &Event) {
        for recipient in self.recipients.iter().filter(|recipient| recipient.on.contains(&event.kind)) {
            if recipient.events.try_send(event.clone()).is_err() {
                recipient.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// How each recipient does.
    pub fn statuses(&self) -> Vec<Notified> {
        let status = |recipient: &Recipient| {
            let mut status = recipient.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
            status.left_out += recipient.refused.load(Ordering::Relaxed);
            status
        };
        self.recipients.iter().map(status).collect()
    }
}

/// What became of a trial message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// What the recipient is called.
    pub name: String,
    /// The program or the host.
    pub to: String,
    /// Why it was not taken, if it was not.
    pub error: Option<String>,
}

/// Sends a trial message to every recipient, or to the one of this name, and waits until each has taken it or not.
pub fn test(config: &Config, only: Option<&str>, clock: Clock) -> Vec<Trial> {
    let message = Message::trial(&Origin::new(&config.state_directory), clock.now());
    let chosen = config.notify.iter().filter(|notify| only.is_none_or(|only| notify.name == only));
    let try_one = |notify: &Notify| Trial {
        name: notify.name.clone(),
        to: notify.way.to_string(),
        error: way(notify, clock).send(&message).err(),
    };
    thread::scope(|scope| {
        let running: Vec<_> = chosen.map(|notify| (notify, scope.spawn(|| try_one(notify)))).collect();
        let result = |(notify, running): (&Notify, thread::ScopedJoinHandle<'_, Trial>)| {
            running.join().unwrap_or_else(|_| Trial {
                name: notify.name.clone(),
                to: notify.way.to_string(),
                error: Some("sending panicked; this is a bug of Seawall".to_owned()),
            })
        };
        running.into_iter().map(result).collect()
    })
}
