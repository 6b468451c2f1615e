//! Notices when a sensor no longer tells what it is there to tell.
//!
//! The worst failure of a guard that reads logs is that it matches nothing and says nothing: the addresses were taken out of the log,
//! its format was changed, or it is no longer written at all. A [`Silence`] watches one sensor by its counts, once a second, and
//! raises an [`Alarm`] that names what went missing. It knows nothing of files.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::observation::attribute::Attribute;
use crate::observation::log::Reason;
use crate::units::Timestamp;

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

/// and the server goes on: other sensors have lines, or so many connections were accepted meanwhile.
const ACCEPTED_MIN: u64 = 5;

/// Of a sensor that has had no line since the start nobody knows what is to be expected: the wrong file, or one that is no longer
/// written. It is silent when nothing has come for this long,
const UNHEARD_MIN: Duration = Duration::from_secs(45);

/// while so many connections were accepted that no other sensor tells of. Those of a shell, a database and a watch over this machine are
/// among them, so it takes more than a few.
const ACCEPTED_UNHEARD: u64 = 50;

/// Few requests of most sites have a query, and a flood has none, so neither a share nor a run says that the log has lost it. It has when
/// as many clients with one were to be expected by now as [`EXPECTED_LINES`], where so many a second came: three a minute, since
/// one alone that asks again and again may just have stopped.
const QUERY_VOTES_MIN: f64 = 3.0 / 60.0;

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
}

impl Field {
    /// Whether a client can leave it out, whatever the log records.
    const fn is_up_to_clients(self) -> bool {
        !matches!(self, Self::ClientAddress | Self::RequestTime)
    }

    /// Every field.
    pub const ALL: [Self; 8] = [
        Self::ClientAddress,
        Self::Host,
        Self::UserAgent,
        Self::Referer,
        Self::RequestTime,
        Self::Method,
        Self::Path,
        Self::Query,
    ];

    /// The field that a condition on this attribute needs, if it is one of these.
    pub const fn of(attribute: Attribute) -> Option<Self> {
        match attribute {
            Attribute::UserAgent | Attribute::UserAgentWord => Some(Self::UserAgent),
            Attribute::RefererOrigin => Some(Self::Referer),
            Attribute::Host => Some(Self::Host),
            Attribute::ClientPrefix | Attribute::Country | Attribute::Asn => Some(Self::ClientAddress),
            Attribute::Method => Some(Self::Method),
            Attribute::Path | Attribute::PathPrefix | Attribute::Extension => Some(Self::Path),
            Attribute::QueryKeys => Some(Self::Query),
            Attribute::Version | Attribute::HeaderOrder | Attribute::Ja4 => None,
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
        })
    }
}

/// What a sensor has seen since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Lines.
    pub lines: u64,
    /// Those that could be read.
    pub read: u64,
    /// Those of them that had each field, in the order of [`Field::ALL`].
    pub with: [u64; Field::ALL.len()],
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
}

/// What goes on elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// Lines that other sensors have had since their start.
    pub lines: u64,
    /// Connections that this machine has accepted, of anybody and for anything.
    pub accepted: u64,
}

/// What is wrong with a sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// Lines come, and none can be read.
    Unread,
    /// Lines can be read, and this is in none of them.
    Missing(Field),
    /// No lines come while the server goes on.
    Stopped,
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
    /// Lines a second, usually.
    rate: f64,
    /// The share of requests that have each field, usually; none where no request was read yet.
    shares: [Option<f64>; Field::ALL.len()],
    /// When a client's vote last had each field, and how many had it a second, usually.
    voted: [Option<Timestamp>; Field::ALL.len()],
    vote_rates: [f64; Field::ALL.len()],
    alarms: Vec<Alarm>,
}

impl Silence {
    /// Looks at the counts, about once a second. Returns what has changed.
    pub fn look(&mut self, now: Timestamp, reading: &Reading, elsewhere: Elsewhere) -> Vec<Change> {
        let Some((looked, before)) = self.last.replace((now, *reading)) else {
            self.heard = Some((now, elsewhere));
            return Vec::new();
        };
        let lines = reading.lines.saturating_sub(before.lines);
        let read = reading.read.saturating_sub(before.read);
        let votes = reading.votes.saturating_sub(before.votes);
        if lines > 0 {
            let (heard, _) = self.heard.replace((now, elsewhere)).unwrap_or((looked, elsewhere));
            learn(&mut self.rate, lines, now.since(heard));
        }
        let mut changes = Vec::new();
        for (index, field) in Field::ALL.into_iter().enumerate() {
            let with = reading.with[index].saturating_sub(before.with[index]);
            let trouble = Trouble::Missing(field);
            let (run, share) = (reading.runs[index], self.shares[index]);
            let is_missing = match field {
                Field::ClientAddress => run >= NO_ADDRESS_REQUESTS,
                Field::Query => {
                    let (rate, voted) = (self.vote_rates[index], self.voted[index].unwrap_or(now));
                    let is_expected = rate * now.since(voted).as_secs_f64() >= EXPECTED_LINES;
                    let is_usual = rate >= QUERY_VOTES_MIN && is_expected;
                    is_usual && run >= FIELD_REQUESTS && reading.clients_without[index] >= FIELD_CLIENTS
                }
                _ => {
                    let is_shared = !field.is_up_to_clients() || reading.clients_without[index] >= FIELD_CLIENTS;
                    run >= FIELD_REQUESTS && is_shared && share.is_some_and(|share| share >= FIELD_SHARE)
                }
            };
            let vote_rate = self.vote_rates[index];
            let text = || {
                let used_to = match share {
                    Some(_) if field == Field::Query => {
                        format!("{:.0} clients a minute came with one before", 60.0 * vote_rate)
                    }
                    Some(share) if share >= 0.01 => format!("it was in {:.0}% before", 100.0 * share),
                    _ => "this log does not record it, so nobody can be told from anybody else".to_owned(),
                };
                format!("the {field} is in none of the last {run} requests; {used_to}")
            };
            self.set(now, trouble, is_missing, with > 0 && !is_missing, text, &mut changes);
            // What is usual is not unlearned from what is missing.
            let votes_with = reading.votes_with[index].saturating_sub(before.votes_with[index]);
            if votes_with > 0
                && let Some(voted) = self.voted[index].replace(now)
            {
                learn(&mut self.vote_rates[index], votes_with, now.since(voted));
            }
            if votes > 0 && (votes_with > 0 || share.is_none_or(|share| share < FIELD_SHARE)) {
                let now_share = votes_with as f64 / votes as f64;
                let part = 1.0 - (-(votes as f64) / SHARE_VOTES).exp();
                let learned = share.map_or(now_share, |share| share + part * (now_share - share));
                self.shares[index] = Some(learned);
            }
        }
        let run = reading.unread_run;
        let text = || {
            let reason = reading.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("none of the last {run} lines could be read{reason}; --format names the format")
        };
        let is_unread = run >= UNREAD_LINES;
        self.set(now, Trouble::Unread, is_unread, read > 0 && !is_unread, text, &mut changes);
        self.look_for_stop(now, lines, elsewhere, &mut changes);
        changes
    }

    /// What is wrong now.
    pub fn alarms(&self) -> &[Alarm] {
        &self.alarms
    }

    fn look_for_stop(&mut self, now: Timestamp, lines: u64, elsewhere: Elsewhere, changes: &mut Vec<Change>) {
        let Some((heard, before)) = self.heard else { return };
        let (silence, rate) = (now.since(heard), self.rate);
        let accepted = elsewhere.accepted.saturating_sub(before.accepted);
        let goes_on = elsewhere.lines > before.lines || accepted >= ACCEPTED_MIN;
        let has_stopped = silence >= SILENCE_MIN && rate * silence.as_secs_f64() >= EXPECTED_LINES && goes_on;
        let is_explained = elsewhere.lines > before.lines;
        let is_unheard = rate <= 0.0 && silence >= UNHEARD_MIN && accepted >= ACCEPTED_UNHEARD && !is_explained;
        let text = || {
            if is_unheard {
                return format!(
                    "no line has come for {} s, since the start, while this machine accepted {accepted} connections; is it the log \
                     that the server writes?",
                    silence.as_secs()
                );
            }
            let others = match elsewhere.lines.saturating_sub(before.lines) {
                0 => format!("this machine accepted {accepted} connections meanwhile"),
                lines => format!("other sensors have had {lines} lines meanwhile"),
            };
            format!("no line for {} s, where {rate:.1} a second are usual; {others}", silence.as_secs())
        };
        self.set(now, Trouble::Stopped, has_stopped || is_unheard, lines > 0, text, changes);
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

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_700_000_000);

    /// A sensor of so many lines a second, and what is told of it.
    struct Watched {
        silence: Silence,
        reading: Reading,
        elsewhere: Elsewhere,
        second: u64,
    }

    impl Watched {
        fn new() -> Self {
            let (silence, reading, elsewhere) = (Silence::default(), Reading::default(), Elsewhere::default());
            Self { silence, reading, elsewhere, second: 0 }
        }

        /// Goes on for so many seconds; what is told, with the second from the beginning of this.
        fn run(&mut self, seconds: u64, step: impl Fn(&mut Reading, &mut Elsewhere)) -> Vec<(u64, Change)> {
            let mut told = Vec::new();
            for second in 0..seconds {
                let before = self.reading;
                step(&mut self.reading, &mut self.elsewhere);
                let read = self.reading.read - before.read;
                self.reading.unread_run =
                    if read > 0 { 0 } else { before.unread_run + self.reading.lines - before.lines };
                for (index, run) in self.reading.runs.iter_mut().enumerate() {
                    *run = if self.reading.with[index] > before.with[index] { 0 } else { before.runs[index] + read };
                }
                self.second += 1;
                let changes =
                    self.silence.look(START + Duration::from_secs(self.second), &self.reading, self.elsewhere);
                told.extend(changes.into_iter().map(|change| (second, change)));
            }
            told
        }
    }

    fn whole(lines: u64) -> impl Fn(&mut Reading, &mut Elsewhere) {
        move |reading, elsewhere| {
            reading.lines += lines;
            reading.read += lines;
            reading.votes += lines;
            reading.with.iter_mut().chain(&mut reading.votes_with).for_each(|with| *with += lines);
            reading.clients_without = [0; Field::ALL.len()];
            elsewhere.accepted += lines;
        }
    }

    fn raised(told: &[(u64, Change)]) -> Vec<(u64, Trouble)> {
        let alarms = told.iter().filter_map(|(second, change)| match change {
            Change::Raised(alarm) => Some((*second, alarm.trouble)),
            Change::Cleared(_) => None,
        });
        alarms.collect()
    }

    #[test]
    fn nothing_is_said_of_a_sensor_that_does_its_work() {
        let mut watched = Watched::new();
        assert_eq!(watched.run(600, whole(3)), []);
        // A quiet night, with the odd visitor.
        for _ in 0..20 {
            assert_eq!(watched.run(60, |_, _| {}), []);
            assert_eq!(watched.run(1, whole(1)), []);
        }
    }

    #[test]
    fn a_format_that_nobody_knows_is_told_with_the_reason() {
        let mut watched = Watched::new();
        watched.run(60, whole(5));
        let told = watched.run(60, |reading, _| {
            reading.lines += 5;
            reading.reason = Some(Reason::NoTimestamp);
        });
        assert_eq!(raised(&told), [(1, Trouble::Unread)]);
        assert!(watched.silence.alarms()[0].text.contains("no time stamp"), "{:?}", watched.silence.alarms());
        let told = watched.run(1, whole(5));
        assert!(matches!(told.as_slice(), [(0, Change::Cleared(_))]), "{told:?}");
        assert_eq!(watched.silence.alarms(), []);
    }

    #[test]
    fn what_goes_wrong_within_the_second_of_the_last_good_line_is_told() {
        let mut watched = Watched::new();
        watched.run(5, whole(5));
        let (before, now) = (watched.reading, START + Duration::from_secs(6));
        let reading = Reading { lines: before.lines + 20, read: before.read + 5, unread_run: 15, ..before };
        let told = watched.silence.look(now, &reading, Elsewhere::default());
        assert!(matches!(told.as_slice(), [Change::Raised(Alarm { trouble: Trouble::Unread, .. })]), "{told:?}");
        // Nothing more comes, and it is said all the same.
        assert_eq!(watched.silence.look(now + Duration::from_secs(1), &reading, Elsewhere::default()), []);
        assert_eq!(watched.silence.alarms().len(), 1);
    }

    #[test]
    fn addresses_that_go_missing_are_told_and_so_are_any_other_fields() {
        for (index, field) in Field::ALL.into_iter().enumerate() {
            let mut watched = Watched::new();
            watched.run(60, whole(5));
            let told = watched.run(60, |reading, elsewhere| {
                let before = *reading;
                whole(5)(reading, elsewhere);
                (reading.with[index], reading.votes_with[index]) = (before.with[index], before.votes_with[index]);
                reading.clients_without[index] = before.clients_without[index] + 5;
            });
            let found = raised(&told);
            let latest = if field == Field::Query { 30 } else { 10 };
            assert!(
                matches!(found.as_slice(), [(second, trouble)] if *trouble == Trouble::Missing(field) && *second <= latest),
                "{found:?}"
            );
            let used_to = if field == Field::Query { "clients a minute came" } else { "it was in 100% before" };
            assert!(watched.silence.alarms()[0].text.contains(used_to), "{:?}", watched.silence.alarms());
        }
    }

    #[test]
    fn one_client_that_leaves_a_field_out_is_no_alarm() {
        let referer = Field::ALL.iter().position(|field| *field == Field::Referer).expect("a field");
        let mut watched = Watched::new();
        watched.run(60, whole(5));
        // At night it is alone with the site, however much it asks for.
        let told = watched.run(600, |reading, elsewhere| {
            let before = *reading;
            whole(50)(reading, elsewhere);
            reading.votes = before.votes + u64::from(before.read.is_multiple_of(60));
            (reading.with[referer], reading.votes_with[referer]) = (before.with[referer], before.votes_with[referer]);
            reading.clients_without[referer] = 1;
        });
        assert_eq!(told, []);
        // The next visitors have it as ever; then the log has it no more.
        assert_eq!(watched.run(60, whole(5)), []);
        let told = watched.run(60, |reading, elsewhere| {
            let before = *reading;
            whole(5)(reading, elsewhere);
            (reading.with[referer], reading.votes_with[referer]) = (before.with[referer], before.votes_with[referer]);
            reading.clients_without[referer] = before.clients_without[referer] + 1;
        });
        assert_eq!(raised(&told), [(9, Trouble::Missing(Field::Referer))]);
    }

    /// Requests of as many clients, of which so many a second have a query.
    fn with_queries(lines: u64, queries: u64) -> impl Fn(&mut Reading, &mut Elsewhere) {
        move |reading, elsewhere| {
            let before = *reading;
            whole(lines)(reading, elsewhere);
            let query = Field::ALL.len() - 1;
            assert_eq!(Field::ALL[query], Field::Query);
            (reading.with[query], reading.votes_with[query]) =
                (before.with[query] + queries, before.votes_with[query] + queries);
            let clients = before.clients_without[query] + u32::try_from(lines).expect("few");
            reading.clients_without[query] = if queries > 0 { 0 } else { clients };
        }
    }

    #[test]
    fn a_log_that_loses_its_queries_is_told_although_few_requests_have_one() {
        let mut watched = Watched::new();
        assert_eq!(watched.run(600, with_queries(10, 1)), []);
        let told = watched.run(120, with_queries(10, 0));
        assert!(matches!(raised(&told).as_slice(), [(20..=40, Trouble::Missing(Field::Query))]), "{told:?}");
        assert!(watched.silence.alarms()[0].text.contains("clients a minute came with one before"));
        let told = watched.run(1, with_queries(10, 1));
        assert!(matches!(told.as_slice(), [(0, Change::Cleared(_))]), "{told:?}");
    }

    #[test]
    fn a_flood_without_queries_is_no_loss_of_them() {
        let mut watched = Watched::new();
        watched.run(600, with_queries(10, 1));
        for _ in 0..60 {
            assert_eq!(watched.run(3, with_queries(5_000, 0)), []);
            assert_eq!(watched.run(1, with_queries(5_000, 4)), []);
        }
        // Nor is it one when the only client that had one has gone.
        let mut watched = Watched::new();
        for _ in 0..10 {
            watched.run(59, with_queries(10, 0));
            watched.run(1, with_queries(10, 1));
        }
        assert_eq!(watched.run(3_600, with_queries(10, 0)), []);
    }

    #[test]
    fn a_log_that_never_had_addresses_is_told_and_one_without_referers_is_not() {
        let mut watched = Watched::new();
        let told = watched.run(60, |reading, _| {
            reading.lines += 1;
            reading.read += 1;
        });
        assert_eq!(raised(&told), [(19, Trouble::Missing(Field::ClientAddress))]);
    }

    #[test]
    fn a_log_that_is_no_longer_written_is_told_while_the_server_goes_on() {
        let mut watched = Watched::new();
        watched.run(120, whole(5));
        let told = watched.run(60, |_, elsewhere| elsewhere.accepted += 1);
        assert_eq!(raised(&told), [(19, Trouble::Stopped)]);
        assert!(matches!(watched.run(1, whole(1)).as_slice(), [(0, Change::Cleared(_))]));
        // Nothing goes on anywhere: the server is down, or nobody comes.
        assert_eq!(watched.run(600, |_, _| {}), []);
    }

    #[test]
    fn a_log_that_was_never_written_is_told_while_connections_are_accepted() {
        let mut watched = Watched::new();
        let told = watched.run(60, |_, elsewhere| elsewhere.accepted += 2);
        assert_eq!(raised(&told), [(45, Trouble::Stopped)]);
        assert!(watched.silence.alarms()[0].text.contains("is it the log that the server writes?"));
        assert!(matches!(watched.run(1, whole(1)).as_slice(), [(0, Change::Cleared(_))]));
    }

    #[test]
    fn a_log_that_nobody_has_need_to_write_is_no_alarm() {
        // A shell and a watch over this machine.
        assert_eq!(
            Watched::new().run(600, |_, elsewhere| elsewhere.accepted += u64::from(elsewhere.accepted < 40)),
            []
        );
        // The connections are those of another log.
        let others = |_: &mut Reading, elsewhere: &mut Elsewhere| {
            elsewhere.accepted += 5;
            elsewhere.lines += 5;
        };
        assert_eq!(Watched::new().run(600, others), []);
    }

    #[test]
    fn a_site_of_few_visitors_may_be_silent_for_longer() {
        let mut watched = Watched::new();
        for _ in 0..60 {
            watched.run(9, |_, elsewhere| elsewhere.accepted += 1);
            watched.run(1, whole(1));
        }
        let told = watched.run(600, |_, elsewhere| elsewhere.accepted += 1);
        assert!(matches!(raised(&told).as_slice(), [(150..=260, Trouble::Stopped)]), "{told:?}");
    }
}
