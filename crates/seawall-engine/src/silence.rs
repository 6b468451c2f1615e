//! Notices when a sensor no longer tells what it is there to tell.
//!
//! The worst failure of a guard that reads logs is that it matches nothing and says nothing: the addresses were taken out of the log,
//! its format was changed, or it is no longer written at all. A [`Silence`] watches one sensor by its counts, once a second, and
//! raises an [`Alarm`] that names what went missing. It knows nothing of files. A [`RuleSilence`] does the same for one rule that used
//! to match, and [`MergedClients`] for clients that all come as one address, through a proxy that is not trusted.

mod blind;
mod merged;
mod peers;
mod rule;
mod share;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::observation::attribute::Attribute;
use crate::observation::log::{Format, Reason};
use crate::units::Timestamp;
pub use blind::{NEVER_LOGGED, needed, unmatchable};
pub use merged::{MergedClients, Place};
pub use peers::{Claim, Peers, RecentPeers, Sent};
pub use rule::{RuleAlarm, RuleChange, RuleReading, RuleSilence, Surrounding};
use share::RecentShare;

/// So many lines one after the other of which none could be read are no accident.
const UNREAD_LINES: u64 = 10;

/// The same for requests without a client's address.
const NO_ADDRESS_REQUESTS: u64 = 20;

/// A field that was in this share of requests is missing when it is in none of so many: by chance that happens once in 10⁹ times.
const FIELD_SHARE: f64 = 0.5;
const FIELD_REQUESTS: u64 = 30;

/// And when these requests come from so many clients: one that never sends the field proves nothing about the log.
const FIELD_CLIENTS: u32 = 10;

/// A sensor has stopped when nothing has come for this long,
const SILENCE_MIN: Duration = Duration::from_secs(20);

/// while so many lines were to be expected: by chance that happens once in 10⁸ times,
const EXPECTED_LINES: f64 = 20.0;

/// that is known from so many lines, over a time in which the same silence had room: of a few at once nobody knows how often they come.
/// What is known of so long a time, or of so many lines, holds for any.
const USUAL_LINES_MIN: u64 = 50;
const USUAL_TIME: Duration = Duration::from_secs(600);
const USUAL_LINES: u64 = 500;

/// and the server goes on: other sensors have lines, or so many connections were accepted meanwhile.
const ACCEPTED_MIN: u64 = 5;

/// Of a sensor that has had no line since the start nobody knows what is to be expected: the wrong file, or one that is no longer
/// written. It is told of when nothing can come for this long without a break, since a log that is rotated is away for a moment,
/// or when nothing comes for as long
const UNHEARD_MIN: Duration = Duration::from_secs(45);

/// while so many connections were accepted that no other sensor tells of. Those of a shell, a database and a watch over this machine are
/// among them, so it takes more than a few.
const ACCEPTED_UNHEARD: u64 = 50;

/// Few requests of most sites have a query, and a flood has none, so neither a share nor a run says that the log has lost it. It has when
/// as many clients with one were to be expected by now as [`EXPECTED_LINES`], where so many a second came: three a minute, since
/// one alone that asks again and again may just have stopped.
const QUERY_VOTES_MIN: f64 = 3.0 / 60.0;

/// This share of the usual traffic must go on without what is missed: where less is left, those who came with it have gone, as at the end
/// of a flood.
const TRAFFIC_SHARE: f64 = 0.8;

/// Over how long the usual rate of lines is averaged, in seconds, and over how many votes the usual share of a field.
const RATE_SECONDS: f64 = 300.0;
const SHARE_VOTES: f64 = 500.0;

/// What a request may come with, where a log records it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Field {
    /// The address of the client.
    ClientAddress,
    /// The host that was asked.
    Host,
    /// `User-Agent`
    UserAgent,
    /// `Referer`
    Referer,
    /// How long the request took.
    RequestTime,
    /// The method.
    Method,
    /// The path.
    Path,
    /// The query of the target.
    Query,
    /// The status of the answer.
    Status,
    /// How many bytes the answer had.
    Bytes,
    /// The version of HTTP.
    Protocol,
}

impl Field {
    /// Whether a client can leave it out, whatever the log records.
    const fn is_up_to_clients(self) -> bool {
        !matches!(self, Self::ClientAddress | Self::RequestTime)
    }

    /// Every field.
    pub const ALL: [Self; 11] = [
        Self::ClientAddress,
        Self::Host,
        Self::UserAgent,
        Self::Referer,
        Self::RequestTime,
        Self::Method,
        Self::Path,
        Self::Query,
        Self::Status,
        Self::Bytes,
        Self::Protocol,
    ];

    /// The field that a condition on this attribute needs, if it is one of these.
    pub const fn of(attribute: Attribute) -> Option<Self> {
        match attribute {
            Attribute::UserAgent | Attribute::UserAgentWord => Some(Self::UserAgent),
            Attribute::RefererOrigin => Some(Self::Referer),
            Attribute::Host => Some(Self::Host),
            Attribute::ClientPrefix | Attribute::Country | Attribute::Asn => Some(Self::ClientAddress),
            Attribute::Method => Some(Self::Method),
            Attribute::Path | Attribute::PathTemplate | Attribute::PathPrefix | Attribute::Extension => {
                Some(Self::Path)
            }
            Attribute::QueryKeys => Some(Self::Query),
            Attribute::Version => Some(Self::Protocol),
            Attribute::HeaderOrder | Attribute::Ja4 => None,
        }
    }

    /// Whether lines in this format have a place for it.
    pub const fn has_room_in(self, format: Format) -> bool {
        match self {
            Self::Host => format.fields().host,
            Self::UserAgent => format.fields().user_agent,
            Self::Referer => format.fields().referer,
            _ => true,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::ClientAddress => "client address",
            Self::Host => "host",
            Self::UserAgent => "user agent",
            Self::Referer => "referer",
            Self::RequestTime => "request time",
            Self::Method => "method",
            Self::Path => "path",
            Self::Query => "query",
            Self::Status => "status",
            Self::Bytes => "number of bytes",
            Self::Protocol => "protocol",
        })
    }
}

/// What a sensor has seen since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Lines.
    pub lines: u64,
    /// Those of them that tell of long ago, as of a file that is read from its beginning: they say nothing of how often lines come.
    pub late: u64,
    /// Those that could be read.
    pub read: u64,
    /// Those of them that had each field, in the order of [`Field::ALL`].
    pub with: [u64; Field::ALL.len()],
    /// Those of them in a format that has no room for each field.
    pub without_room: [u64; Field::ALL.len()],
    /// Requests of which each client has one in a minute, so that nobody decides alone what is usual; those without a known client
    /// are among them.
    pub votes: u64,
    /// Those of them that had each field.
    pub votes_with: [u64; Field::ALL.len()],
    /// Lines since the last that could be read, and requests since the last with each field.
    pub unread_run: u64,
    /// See [`Self::unread_run`].
    pub runs: [u64; Field::ALL.len()],
    /// How many clients there were since the last request with each field; the count may stop at a hundred or more.
    pub clients_without: [u32; Field::ALL.len()],
    /// Why the last one that could not be read could not.
    pub reason: Option<Reason>,
    /// Whether there is nothing that could be read at present: no such file, or one that may not be opened.
    pub is_out_of_reach: bool,
    /// Whether that is for another reason than that nothing is there: a log that is rotated is away for a moment, but one that
    /// may not be opened does not come back by itself.
    pub is_barred: bool,
}

impl Reading {
    /// Lines that tell of now.
    pub const fn timely(&self) -> u64 {
        self.lines.saturating_sub(self.late)
    }
}

/// What goes on elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// Lines that other sensors have had since their start, but for those of long ago.
    pub lines: u64,
    /// Connections that this machine has accepted, of anybody and for anything.
    pub accepted: u64,
}

/// What is wrong with a sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// Lines come, and none or few can be read.
    Unread,
    /// Lines can be read, and this is in none of them, or in few.
    Missing(Field),
    /// No lines come while the server goes on.
    Stopped,
    /// No line can come: there is nothing yet, or what is there cannot be read.
    OutOfReach,
    /// Nearly all clients are one, as through a proxy that is not trusted.
    ClientsMerged,
}

/// Says that a sensor does not tell what it is there to tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    /// What is wrong.
    pub trouble: Trouble,
    /// Since when it has been said.
    pub since: Timestamp,
    /// In a sentence, for people.
    pub text: String,
}

/// A change that is told once.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Something is wrong.
    Raised(Alarm),
    /// It is no longer.
    Cleared(Alarm),
}

/// Watches one sensor.
#[derive(Clone, Debug, Default)]
pub struct Silence {
    last: Option<(Timestamp, Reading)>,
    /// When lines last came, and what went on elsewhere then.
    heard: Option<(Timestamp, Elsewhere)>,
    /// Since when there has been nothing that could be read, without a break, and since when for another reason than that nothing
    /// is there, without a line.
    out_of_reach_since: Option<Timestamp>,
    barred_since: Option<Timestamp>,
    /// Lines a second, usually; how many there were so far, and when the first came.
    rate: f64,
    heard_lines: u64,
    heard_first: Option<Timestamp>,
    /// Whether lines of long ago have come.
    has_history: bool,
    /// The share of requests that have each field, usually; none where no request was read yet.
    shares: [Option<f64>; Field::ALL.len()],
    /// When a client's vote last had each field, and how many had it a second, usually.
    voted: [Option<Timestamp>; Field::ALL.len()],
    vote_rates: [f64; Field::ALL.len()],
    /// How many votes there had been when one last had a query, and how many there are a second, usually.
    votes_at_query: u64,
    votes_rate: Rate,
    /// Of the last lines those that could not be read, and of the last requests those without a client's address: a sensor that is
    /// mostly blind has no long run of either.
    unread: RecentShare,
    without_address: RecentShare,
    alarms: Vec<Alarm>,
}

impl Silence {
    /// Looks at the counts, about once a second. Returns what has changed.
    pub fn look(&mut self, now: Timestamp, reading: &Reading, elsewhere: Elsewhere) -> Vec<Change> {
        if self.barred_since.is_some() && !reading.is_barred {
            // Lines can be missed only from when they could have come.
            self.heard = Some((now, elsewhere));
        }
        self.out_of_reach_since = reading.is_out_of_reach.then(|| self.out_of_reach_since.unwrap_or(now));
        self.barred_since = reading.is_barred.then(|| self.barred_since.unwrap_or(now));
        let Some((looked, before)) = self.last.replace((now, *reading)) else {
            self.heard = Some((now, elsewhere));
            return Vec::new();
        };
        let lines = reading.lines.saturating_sub(before.lines);
        let read = reading.read.saturating_sub(before.read);
        let votes = reading.votes.saturating_sub(before.votes);
        self.unread.add(lines, lines.saturating_sub(read));
        let address = Field::ALL
            .iter()
            .zip(reading.with)
            .zip(before.with)
            .find(|((field, _), _)| **field == Field::ClientAddress);
        let with_address = address.map_or(0, |((_, now), before)| now.saturating_sub(before));
        self.without_address.add(read, read.saturating_sub(with_address));
        if lines > 0 {
            let (heard, _) = self.heard.replace((now, elsewhere)).unwrap_or((looked, elsewhere));
            // What the log was before may still be read.
            self.barred_since = self.barred_since.map(|_| now);
            let timely = reading.timely().saturating_sub(before.timely());
            self.has_history |= timely < lines;
            if timely > 0 {
                learn(&mut self.rate, timely, now.since(heard));
                self.heard_lines = self.heard_lines.saturating_add(timely);
                self.heard_first.get_or_insert(now);
            }
        }
        let mut changes = Vec::new();
        for (index, field) in Field::ALL.into_iter().enumerate() {
            let with = reading.with[index].saturating_sub(before.with[index]);
            let trouble = Trouble::Missing(field);
            let (run, share) = (reading.runs[index], self.shares[index]);
            let is_missing = match field {
                Field::ClientAddress => run >= NO_ADDRESS_REQUESTS || self.without_address.is_most(),
                Field::Query => {
                    let (rate, voted) = (self.vote_rates[index], self.voted[index].unwrap_or(now));
                    let seconds = now.since(voted).as_secs_f64();
                    let is_expected = rate * seconds >= EXPECTED_LINES;
                    let is_usual = rate >= QUERY_VOTES_MIN && is_expected;
                    let votes = reading.votes.saturating_sub(self.votes_at_query) as f64;
                    let goes_on = votes >= TRAFFIC_SHARE * self.votes_rate.usual() * seconds;
                    is_usual && goes_on && run >= FIELD_REQUESTS && reading.clients_without[index] >= FIELD_CLIENTS
                }
                // Without it half of what limits ask for is not known, whether the log ever had it or not.
                Field::Status if share.is_none_or(|share| share == 0.0) => {
                    run >= FIELD_REQUESTS && reading.clients_without[index] >= FIELD_CLIENTS
                }
                _ => {
                    let is_shared = !field.is_up_to_clients() || reading.clients_without[index] >= FIELD_CLIENTS;
                    run >= FIELD_REQUESTS && is_shared && share.is_some_and(|share| share >= FIELD_SHARE)
                }
            };
            let is_back = match field {
                Field::ClientAddress => self.without_address.is_little(),
                _ => with > 0,
            };
            let (vote_rate, missing) = (self.vote_rates[index], self.without_address.percent());
            let text = || {
                let used_to = match share {
                    Some(_) if field == Field::Query => {
                        format!("{:.0} clients a minute came with one before", 60.0 * vote_rate)
                    }
                    Some(share) if share >= FIELD_SHARE => format!("it was in {:.0}% before", 100.0 * share),
                    _ if field == Field::Status => {
                        "this log does not record it, so no limit on answers is met, and none is seen to fail"
                            .to_owned()
                    }
                    _ if run < NO_ADDRESS_REQUESTS => "those without it cannot be told from anybody else".to_owned(),
                    _ => "this log does not record it, so nobody can be told from anybody else".to_owned(),
                };
                match field {
                    Field::ClientAddress if run < NO_ADDRESS_REQUESTS => {
                        format!("{missing}% of the last requests came without a {field}; {used_to}")
                    }
                    _ => format!("the {field} is in none of the last {run} requests; {used_to}"),
                }
            };
            self.set(now, trouble, is_missing, is_back && !is_missing, text, &mut changes);
            // What is usual is not unlearned from what is missing.
            let votes_with = reading.votes_with[index].saturating_sub(before.votes_with[index]);
            if votes_with > 0 {
                let voted = self.voted[index].replace(now);
                let all = (field == Field::Query).then(|| {
                    let all = reading.votes.saturating_sub(self.votes_at_query);
                    self.votes_at_query = reading.votes;
                    all
                });
                if let Some(voted) = voted {
                    learn(&mut self.vote_rates[index], votes_with, now.since(voted));
                    if let Some(all) = all {
                        self.votes_rate.learn(all, now.since(voted));
                    }
                }
            }
            if votes > 0 && (votes_with > 0 || share.is_none_or(|share| share < FIELD_SHARE)) {
                let now_share = votes_with as f64 / votes as f64;
                let part = 1.0 - (-(votes as f64) / SHARE_VOTES).exp();
                let learned = share.map_or(now_share, |share| share + part * (now_share - share));
                self.shares[index] = Some(learned);
            }
        }
        let (run, unread) = (reading.unread_run, self.unread.percent());
        let text = || {
            let reason = reading.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            let which = if run >= UNREAD_LINES {
                format!("none of the last {run} lines could be read")
            } else {
                format!("{unread}% of the last lines could not be read")
            };
            format!("{which}{reason}; --format names the format")
        };
        let is_unread = run >= UNREAD_LINES || self.unread.is_most();
        self.set(now, Trouble::Unread, is_unread, self.unread.is_little() && !is_unread, text, &mut changes);
        self.look_for_reach(now, elsewhere, &mut changes);
        self.look_for_stop(now, lines, elsewhere, &mut changes);
        changes
    }

    /// What is wrong now.
    pub fn alarms(&self) -> &[Alarm] {
        &self.alarms
    }

    fn look_for_reach(&mut self, now: Timestamp, elsewhere: Elsewhere, changes: &mut Vec<Change>) {
        let is_unheard = self.rate <= 0.0;
        if is_unheard && self.out_of_reach_since.is_some() {
            // Lines can be missed only from when they could have come.
            self.heard = Some((now, elsewhere));
        }
        // Whether one that had lines and is not there any more is missed, its rate tells.
        let since = if is_unheard { self.out_of_reach_since } else { self.barred_since };
        let lasted = since.map_or(Duration::ZERO, |since| now.since(since));
        let text = || format!("nothing could be read for {} s", lasted.as_secs());
        let is_back = self.out_of_reach_since.is_none();
        self.set(now, Trouble::OutOfReach, lasted >= UNHEARD_MIN, is_back, text, changes);
    }

    fn look_for_stop(&mut self, now: Timestamp, lines: u64, elsewhere: Elsewhere, changes: &mut Vec<Change>) {
        let Some((heard, before)) = self.heard else { return };
        let (silence, rate) = (now.since(heard), self.rate);
        let accepted = elsewhere.accepted.saturating_sub(before.accepted);
        let goes_on = elsewhere.lines > before.lines || accepted >= ACCEPTED_MIN;
        let known_for = self.heard_first.map_or(Duration::ZERO, |first| heard.since(first));
        let is_long_enough = known_for >= silence.min(USUAL_TIME) || self.heard_lines >= USUAL_LINES;
        let is_known = self.heard_lines >= USUAL_LINES_MIN && is_long_enough;
        let is_expected = is_known && rate * silence.as_secs_f64() >= EXPECTED_LINES;
        // Why none can come is said in its own words.
        let has_stopped = silence >= SILENCE_MIN && is_expected && goes_on && self.barred_since.is_none();
        let is_explained = elsewhere.lines > before.lines;
        let is_unheard = rate <= 0.0 && silence >= UNHEARD_MIN;
        let is_missed = is_unheard && accepted >= ACCEPTED_UNHEARD && !is_explained;
        let since = if self.has_history { "those of before were read" } else { "the start" };
        let text = || {
            if is_missed {
                return format!(
                    "no line has come for {} s, since {since}, while this machine accepted {accepted} connections; is it the log \
                     that the server writes?",
                    silence.as_secs()
                );
            }
            let others = match elsewhere.lines.saturating_sub(before.lines) {
                0 => format!("this machine accepted {accepted} connections meanwhile"),
                lines => format!("other sensors have had {lines} lines meanwhile"),
            };
            format!("no line for {} s, where {} are usual; {others}", silence.as_secs(), rate_text(rate))
        };
        self.set(now, Trouble::Stopped, has_stopped || is_missed, lines > 0, text, changes);
    }

    fn set(
        &mut self,
        now: Timestamp,
        trouble: Trouble,
        is_wrong: bool,
        is_right: bool,
        text: impl Fn() -> String,
        changes: &mut Vec<Change>,
    ) {
        match self.alarms.iter().position(|alarm| alarm.trouble == trouble) {
            None if is_wrong => {
                let alarm = Alarm { trouble, since: now, text: text() };
                self.alarms.push(alarm.clone());
                changes.push(Change::Raised(alarm));
            }
            Some(index) if is_right => changes.push(Change::Cleared(self.alarms.remove(index))),
            _ => {}
        }
    }
}

/// Learns how many come a second, usually, of so many that came in a while.
fn learn(rate: &mut f64, count: u64, passed: Duration) {
    let passed = passed.as_secs_f64().max(0.001);
    let part = 1.0 - (-passed / RATE_SECONDS).exp();
    *rate += part * (count as f64 / passed - *rate);
}

/// How many come a second, or in a longer time where that is few.
fn rate_text(rate: f64) -> String {
    let often = [(1.0, "a minute"), (60.0, "an hour")];
    match often.into_iter().find(|(minutes, _)| rate * 60.0 * minutes >= 2.0) {
        _ if rate >= 1.0 => format!("{rate:.1} a second"),
        Some((minutes, name)) => format!("{:.0} {name}", rate * 60.0 * minutes),
        None => format!("{:.0} a day", rate * 86_400.0),
    }
}

/// How many come a second, from the first on: what is learned of little time is not too low.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    learned: f64,
    /// What it would be of one a second.
    of_one: f64,
}

impl Rate {
    fn learn(&mut self, count: u64, passed: Duration) {
        learn(&mut self.learned, count, passed);
        let part = 1.0 - (-passed.as_secs_f64().max(0.001) / RATE_SECONDS).exp();
        self.of_one += part * (1.0 - self.of_one);
    }

    fn usual(self) -> f64 {
        if self.of_one > 0.0 { self.learned / self.of_one } else { 0.0 }
    }
}

#[cfg(test)]
mod tests;
