//! Enforcement below the proxy: brings the kernel and the gate's bans into line with what was decided, and keeps them so.
//!
//! One thread ([`enforcer`]) owns who is banned and why ([`seawall_engine::decision::Bans`]), the never-ban list ([`mod@never`]) and
//! the kernel's table ([`kernel`]). Workers hand down clients that go on after refusals over bounded queues and never wait
//! for anything here; when a queue is full the next connection of the same client hands it down again.
//! Each has a table of its own, so they are told whom the others drop and whom somebody has freed ([`telling`]).
//!
//! Which layer: a ban is put into the gate and, where there is one, into the kernel, and at the CDN in front ([`edge`]). A client that
//! was named by a trusted proxy is never put into the kernel, which would see the proxy: the edge is where it can be refused. A rule by anything but the address stays in the proxy; only
//! addresses that go on after its refusals go down.

mod asked;
pub mod edge;
mod enforcer;
pub mod import;
mod kernel;
mod limits;
mod never;
mod orders;
mod recurring;
pub mod telling;
mod unconfirmed;
mod undropped;

pub use edge::Edge;
pub use enforcer::{Enforcer, Parts};
pub use kernel::{Dropped, KernelState, KernelStatus, Removed, remove_tables};
pub(crate) use never::ssh_ports;
pub use never::{Configured, Entry, Reason};
pub use orders::{
    BanRequest, BanView, Banned, COLLATERAL_MAX, Confirmed, Doubt, Doubtful, Enforcement, EnforcementStatus, NamedList,
    NeverBanView, Order, Panicked, Then, UnbanRequest, Unbannable, Unbanned, Withheld, Within,
};

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use seawall_engine::address::ClientAddress;
use seawall_engine::decision::{REASON_CHARACTERS_MAX, RuleId};
use seawall_engine::gate::{LimitAction, LimitId, Offence};
use seawall_engine::units::Timestamp;

/// Where operators are logged in from who run a command: this process's own SSH session.
pub fn own_session() -> Option<std::net::IpAddr> {
    never::own_session()
}

/// A reason as it can be shown anywhere.
pub(crate) fn printable(reason: &str) -> Arc<str> {
    let plain = reason.chars().filter(|character| !character.is_control());
    plain.take(REASON_CHARACTERS_MAX).collect::<String>().into()
}

/// A client without its length, as people write it.
pub(crate) fn shown_network(network: IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() { network.addr().to_string() } else { network.to_string() }
}

/// What the journal says of what waits to be confirmed.
pub(crate) fn to_be_confirmed(within: Duration) -> String {
    format!(" (to be confirmed within {})", crate::config::quantity::show_duration(within))
}

/// Clients that one worker can hand down before they are taken; what does not fit comes again with its next connection.
const QUEUE_CLIENTS: usize = 4_096;

/// A client that is to be kept away.
#[derive(Clone, Copy, Debug)]
pub struct HandDown {
    /// Who: the TCP peer, or whom a trusted proxy names.
    pub client: ClientAddress,
    /// Whether a proxy names it. Then the kernel cannot see it, and the edge can.
    pub is_proxied: bool,
    /// For how long, in seconds.
    pub seconds: u32,
    /// Why.
    pub why: Why,
}

/// Why a client is to be kept away.
#[derive(Clone, Copy, Debug)]
pub enum Why {
    /// It goes on after refusals by this rule, where that is still there, and is dropped until then.
    GoesOn(Option<RuleId>, Timestamp),
    /// It has sent more than this limit allows, for which this is to happen.
    Beyond(LimitId, LimitAction),
}

impl HandDown {
    /// A client that goes on after refusals, and is not answered for so long from now on.
    pub fn goes_on(
        client: ClientAddress,
        is_proxied: bool,
        (left, rule): (Duration, Option<RuleId>),
        now: Timestamp,
    ) -> Self {
        // Clients are dropped for whole seconds of the clock.
        let until = Timestamp::from_seconds(now.as_seconds()) + left;
        Self { client, is_proxied, seconds: whole_seconds(left), why: Why::GoesOn(rule, until) }
    }

    /// A client that has gone beyond a limit, and what is left of the time for which that counts.
    pub fn beyond(offence: &Offence, is_proxied: bool, left: Duration) -> Self {
        let why = Why::Beyond(offence.limit, offence.action);
        Self { client: offence.client, is_proxied, seconds: whole_seconds(left), why }
    }
}

fn whole_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

/// The queue from one worker.
pub fn queue() -> (rtrb::Producer<HandDown>, rtrb::Consumer<HandDown>) {
    rtrb::RingBuffer::new(QUEUE_CLIENTS)
}
