//! What the enforcing thread is told and asked, and what it answers.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use seawall_engine::address::AddressSet;
use seawall_engine::decision::{Ban, BanCause, Collateral, Pardons};
use seawall_engine::network::CountryCode;
use seawall_engine::units::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::kernel::KernelStatus;
use super::never::{Configured, Entry, Reason};

/// How others reach the enforcing thread.
#[derive(Clone, Debug)]
pub struct Enforcement {
    /// What it is told.
    pub orders: Sender<Order>,
    /// How it is.
    pub status: Arc<ArcSwap<EnforcementStatus>>,
    /// Set to have it end what is under way, as an nft that hangs, for an order that cannot wait.
    pub hurry: Arc<AtomicBool>,
}

impl Enforcement {
    /// Has everything taken out, which cannot wait, or go on, which ends nothing that is under way. False when the thread is gone.
    pub fn panic(&self, is_on: bool, done: oneshot::Sender<Result<(), String>>) -> bool {
        let order = Order::Panic(is_on, done);
        if is_on { self.urge(order) } else { self.orders.send(order).is_ok() }
    }

    /// Gives an order that cannot wait; obeying it ends the hurry. False when the thread is gone.
    pub fn urge(&self, order: Order) -> bool {
        self.hurry.store(true, Ordering::Release);
        self.orders.send(order).is_ok()
    }
}

/// What is done with the never-ban list.
pub struct Then(pub Box<dyn FnOnce(&AddressSet) + Send>);

impl fmt::Debug for Then {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Then")
    }
}

/// What the thread is told or asked.
#[derive(Debug)]
pub enum Order {
    /// Ban these.
    Ban(BanRequest, oneshot::Sender<Banned>),
    /// Take these bans back.
    Unban(UnbanRequest, oneshot::Sender<Unbanned>),
    /// Say who is banned; with addresses in the clear where asked for.
    List(bool, oneshot::Sender<Vec<BanView>>),
    /// Say who is never banned.
    NeverBan(oneshot::Sender<Vec<NeverBanView>>),
    /// An operator is at this address.
    Operator(IpAddr),
    /// Take everything out, or go on; answered with what is still in force and why, if anything is.
    Panic(bool, oneshot::Sender<Result<(), String>>),
    /// What was done with a deadline is to stay.
    Confirm(oneshot::Sender<Confirmed>),
    /// The configuration has changed.
    Configure {
        /// Who is never banned.
        never_ban: Configured,
        /// The guarded ports.
        ports: Vec<u16>,
        /// What is done once the never-ban list is that of the new configuration.
        then: Then,
    },
    /// Rules were taken back: whom they had dropped is free.
    Pardon(Pardons),
    /// Bans of before the start that could be read only now.
    TakeUp(Vec<Ban>),
    /// End.
    Stop,
}

/// What is to be banned.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BanRequest {
    /// Whom, and for how long each, in seconds, if not as long as the others.
    pub networks: Vec<(IpNet, Option<u64>)>,
    /// Every network of these countries,
    #[serde(default)]
    pub countries: Vec<CountryCode>,
    /// and of these autonomous systems.
    #[serde(default)]
    pub systems: Vec<u32>,
    /// For how long, in seconds.
    pub seconds: u64,
    /// Why.
    pub reason: Option<String>,
    /// Who says so.
    pub cause: BanCause,
    /// The file that it was read from, as it was named.
    #[serde(default)]
    pub source: Option<String>,
    /// Undo it after so many seconds unless it is confirmed.
    pub confirm_seconds: Option<u64>,
    /// Only say what it would be and do.
    #[serde(default)]
    pub dry_run: bool,
    /// Do it even if more than 1% of the visitors would be kept away, or it is not known how many.
    #[serde(default)]
    pub anyway: bool,
}

/// The share of the traffic served lately that an operator's bans may keep away unless it is said that they may, 0 to 1. The same
/// as for rules that detection makes.
pub const COLLATERAL_MAX: f32 = 0.01;

/// Why nothing was done that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Withheld {
    /// It keeps away more than [`COLLATERAL_MAX`].
    TooMuch,
    /// Whom it keeps away is not known, and it is about more than a client's own network.
    Unknown,
}

/// What makes a request doubtful whose effect on visitors is not known: it has to say that it is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doubt {
    /// A list has networks that are not used on the Internet, from which visitors come through a VPN, a proxy or containers.
    Private,
    /// A list has networks that are larger than anybody's.
    TooLarge,
    /// A list has a larger part of all addresses than any that is made on purpose.
    TooMany,
    /// More than a client's own network was typed.
    Wide,
    /// More networks were typed than anybody looks at one by one.
    Long,
    /// It is about a country or an autonomous system.
    Place,
}

/// Of what a request is doubtful.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubtful {
    /// What makes it so.
    pub doubt: Doubt,
    /// The first network that does, or the places, as people write them; none where it is all of it together.
    pub first: Option<String>,
    /// How many do.
    pub count: usize,
}

/// What became of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Banned {
    /// How many bans are new or changed.
    pub added: usize,
    /// How many were there already and stay as they were.
    pub unchanged: usize,
    /// What could not be banned, and why.
    pub refused: Vec<Unbannable>,
    /// Protected addresses within a banned network, which stay free.
    pub spared: Vec<Entry>,
    /// Which layers hold it or are about to; none when nobody was banned.
    pub layers: Vec<String>,
    /// Why the kernel does not hold it yet, where it is to: it cannot be changed at present, which is tried again.
    #[serde(default)]
    pub kernel_problem: Option<String>,
    /// When it is undone unless confirmed.
    pub confirm_until: Option<Timestamp>,
    /// How many networks it was about, those of countries and systems among them, as few as they can be written with.
    pub networks: usize,
    /// What of the traffic served lately comes from there, single clients left out; none when too little was served to tell, or there is
    /// nothing but these.
    pub collateral: Option<Collateral>,
    /// How many of the networks are single clients: what was served is known by networks.
    #[serde(default)]
    pub clients: usize,
    /// Why nobody was banned, if that has to be meant and it was not said that it is.
    #[serde(default)]
    pub withheld: Option<Withheld>,
    /// Of what it is doubtful, where whom it keeps away is not known.
    #[serde(default)]
    pub doubtful: Option<Doubtful>,
    /// Countries and autonomous systems of which no network is known.
    #[serde(default)]
    pub unknown_places: Vec<String>,
}

/// Who could not be banned, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unbannable {
    /// Who, as it was asked for.
    pub network: IpNet,
    /// Why not, for people.
    pub reason: String,
}

/// Which bans are to be taken back: all when nothing is named.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct UnbanRequest {
    /// Each an address, a network or a pseudonym.
    pub names: Vec<String>,
    /// All within these countries,
    pub countries: Vec<CountryCode>,
    /// and within these autonomous systems.
    pub systems: Vec<u32>,
    /// All within what a file names.
    #[serde(default)]
    pub list: Option<NamedList>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

/// The networks of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NamedList {
    /// The file, as it was named.
    pub source: String,
    /// Its networks.
    pub networks: Vec<IpNet>,
}

/// What became of taking bans back.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Unbanned {
    /// How many are gone.
    pub removed: usize,
    /// Those of whom there was none, but whom a limit refused: they have their allowance again.
    #[serde(default)]
    pub freed: Vec<String>,
    /// Those of which there was none.
    pub unknown: Vec<String>,
    /// Of the first of them that lie in larger networks that are banned: in which.
    #[serde(default)]
    pub within: Vec<Within>,
    /// How many were not looked at, since everything was taken out meanwhile.
    #[serde(default)]
    pub left: usize,
    /// What is still in force all the same and why, if anything is.
    #[serde(default)]
    pub remains: Option<String>,
}

/// Who is not banned himself, but with others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Within {
    /// Who, as he was named.
    pub name: String,
    /// The bans of larger networks that he is in.
    pub around: Vec<BanView>,
}

/// What was confirmed.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Confirmed {
    /// How many changes stay.
    pub changes: usize,
}

/// What a panic did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Panicked {
    /// Rules that were in force.
    pub rules: usize,
    /// Bans that were in force.
    pub bans: usize,
    /// How long it took here, in milliseconds.
    pub milliseconds: u64,
    /// How long it took at the CDN, in milliseconds; none where there is none, or it is not out there.
    #[serde(default)]
    pub edge_milliseconds: Option<u64>,
    /// What is still in force, why, and what takes it out by hand, if anything is.
    #[serde(default)]
    pub remains: Option<String>,
    /// That it ends with a restart, or comes back with one, and why, if it does.
    #[serde(default)]
    pub unkept: Option<String>,
    /// Whether there was no panic that could have ended, so that nothing was done.
    #[serde(default)]
    pub is_none: bool,
}

/// A ban as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BanView {
    /// Who: the network itself where the operator named it or asked for addresses, else a pseudonym.
    pub network: String,
    /// Whether it is a pseudonym.
    pub is_pseudonym: bool,
    /// Since when, in the machine's time.
    pub since: Timestamp,
    /// Until when, in the machine's time.
    pub expires: Timestamp,
    /// Who or what made it.
    pub cause: BanCause,
    /// Why.
    pub reason: Option<String>,
    /// The country of the network.
    pub country: Option<String>,
    /// Until when it waits to be confirmed, in the machine's time; then it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_until: Option<Timestamp>,
    /// Until when its network is banned all the same, in the machine's time: what it took the place of comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unconfirmed_expires: Option<Timestamp>,
}

/// An entry of the never-ban list as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NeverBanView {
    /// Whom it is about.
    pub network: IpNet,
    /// Why.
    pub reason: Reason,
    /// The same in words.
    pub words: String,
}

/// What is shown of enforcement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnforcementStatus {
    /// Whether the operator took everything out.
    pub panicked: bool,
    /// Bans at present, those that last for less than four minutes among them.
    pub bans: u64,
    /// The most that there can be.
    pub bans_max: u64,
    /// Entries of the never-ban list.
    pub never_ban: u64,
    /// Bans that there was no room for.
    pub overflowed: u64,
    /// Changes that wait to be confirmed,
    pub unconfirmed: u64,
    /// and until when the first of them does, in the machine's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_until: Option<Timestamp>,
    /// Requests, within ten minutes of each other, of clients that the kernel had been dropping for twenty seconds: it sees another
    /// address than theirs, or they come to a port that is not guarded.
    #[serde(default)]
    pub undropped: u64,
    /// The kernel.
    pub kernel: KernelStatus,
}

/// How long something lasts, as a request says it.
pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
