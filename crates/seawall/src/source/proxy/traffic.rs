//! Counts of one worker, read by the status from another thread.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

macro_rules! counters {
    ($($(#[doc = $documentation:literal])+ $name:ident,)+) => {
        /// Counters of one worker, since its start. Only the worker writes them.
        #[derive(Debug, Default)]
        pub struct Traffic {
            $($(#[doc = $documentation])+ pub $name: Counter,)+
        }

        /// The sum over all workers at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct TrafficTotals {
            $($(#[doc = $documentation])+ pub $name: u64,)+
        }

        impl TrafficTotals {
            /// Adds one worker's counters.
            pub fn add(&mut self, traffic: &Traffic) {
                $(self.$name += traffic.$name.get();)+
            }
        }
    };
}

counters! {
    /// Connections accepted.
    accepted,
    /// Connections closed unread: of clients that went on after refusals, or beyond a limit.
    closed_unread,
    /// Connections open now.
    connections,
    /// Streams of the clock open now.
    streams,
    /// Requests whose head was read.
    requests,
    /// Requests answered by the site, or by the guard in its place with what the site would have said.
    served,
    /// Requests refused by a rule; beside a server, those that the server refused of what a rule in force matches.
    refused_rule,
    /// Requests dropped by a rule without an answer.
    dropped_rule,
    /// Beside a server: requests that rules would have refused or dropped and the server has not.
    would_refuse,
    /// Requests for a host that is none of ours.
    misdirected,
    /// Heads that were no clear HTTP, too large or too slow.
    malformed,
    /// Requests beyond a limit of their client.
    client_limited,
    /// Requests refused because too much came at once.
    overloaded,
    /// Requests that the site did not answer, or answered with an error of its own (5xx).
    failed,
    /// Requests whose clients left before the answer.
    gone,
    /// Bytes of answers sent to clients.
    bytes_sent,
    /// Microseconds that requests have waited for a connection to their upstream.
    upstream_wait_micros,
}

/// A number with one writer, so that adding to it needs no lock prefix.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `number`.
    pub fn add(&self, number: u64) {
        self.0.store(self.get().wrapping_add(number), Ordering::Relaxed);
    }

    /// Takes `number` away.
    pub fn subtract(&self, number: u64) {
        self.0.store(self.get().wrapping_sub(number), Ordering::Relaxed);
    }

    /// Replaces it.
    pub fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
