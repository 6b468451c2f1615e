//! Notices when a rule that used to match matches nothing any more although traffic goes on.
//!
//! Most rules fall silent since those whom they are about have gone, which is no failure. It is told from one by what else changes: who
//! goes takes his requests along, and seldom are those of a rule many, each asking at his own time, who all leave at once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{EXPECTED_LINES, Field, RATE_SECONDS, SILENCE_MIN, TRAFFIC_SHARE};
use crate::units::Timestamp;

/// For how long a rule must have matched before it is known how often it usually does.
const STEADY_MIN: Duration = Duration::from_secs(300);

/// A silence is unusual when it is so many times as long as the longest in the hours before: what comes in waves has long ones.
const GAP_FACTOR: f64 = 4.0;

/// How long such a gap is remembered: after so many seconds of matching it counts for a third.
const GAP_SECONDS: f64 = 3_600.0;

/// So many different clients a second must usually meet it, six a minute: fewer may be one sender, who goes when he likes.
const VOTES_MIN: f64 = 6.0 / 60.0;

/// When so many more are kept away than before, as a share of the clients that usually meet the rule in a minute, it may be that all are:
/// one ban can be of a network. Some bans come at any time, for other reasons.
const KEPT_AWAY_SHARE: f64 = 0.25;

/// A rule that has matched nothing for so long is not missed any more: whom it is about may have gone for good.
const MISSED_FOR: Duration = Duration::from_secs(6 * 3_600);

/// What a rule has met since it was put in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleReading {
    /// Requests that it matched.
    pub matched: u64,
    /// Of these, one of each client in a minute.
    pub votes: u64,
    /// How often whom it matched was kept from asking again, and how many are kept at present: where that grows, silence is success.
    pub kept_away: u64,
}

/// What goes on around it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surrounding {
    /// All requests since the start.
    pub requests: u64,
    /// Where logs are read: the requests of all of them, and those that had each field, in the order of [`Field::ALL`].
    pub logged: Option<(u64, [u64; Field::ALL.len()])>,
}

/// Says that a rule no longer matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleAlarm {
    /// Which, for people.
    pub rule: String,
    /// Since when it has been said.
    pub since: Timestamp,
    /// What was usual and what is missing, in a sentence for people.
    pub text: String,
}

/// A change that is told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleChange {
    /// It no longer matches; how that is said.
    Raised(String),
    /// It does again.
    Cleared,
    /// It is not missed any more although it does not; why.
    Forgotten(&'static str),
}

/// Watches one rule.
#[derive(Clone, Debug, Default)]
pub struct RuleSilence {
    last: Option<RuleReading>,
    /// Since when it has matched as it usually does.
    since: Option<Timestamp>,
    /// When it last matched, and the requests until then.
    matched: Option<(Timestamp, u64)>,
    /// What the logs told one look after that: what is read of a line may be told a moment after what it matched.
    logged: Option<(u64, [u64; Field::ALL.len()])>,
    /// Voting clients, and all requests, a second, usually.
    votes: Usual,
    requests: Usual,
    /// The longest silence that is remembered, in seconds.
    gap: f64,
    /// Who was kept away in the minute before the present one, and in the one before that, while it still matched.
    kept_away: Option<(Timestamp, u64, u64)>,
    is_silent: bool,
}

/// How many come a second, usually.
#[derive(Clone, Copy, Debug, Default)]
struct Usual {
    sum: f64,
    weight: f64,
}

impl Usual {
    fn learn(&mut self, count: u64, seconds: f64) {
        let part = 1.0 - (-seconds / RATE_SECONDS).exp();
        self.sum += part * (count as f64 / seconds - self.sum);
        self.weight += part * (1.0 - self.weight);
    }

    /// Also right while little has been learnt.
    fn rate(self) -> f64 {
        if self.weight > 0.0 { self.sum / self.weight } else { 0.0 }
    }
}

impl RuleSilence {
    /// Looks at the counts, about once a second. `fields` are those that the rule asks for.
    pub fn look(
        &mut self,
        now: Timestamp,
        reading: &RuleReading,
        surrounding: &Surrounding,
        fields: &[Field],
    ) -> Option<RuleChange> {
        let before = self.last.replace(*reading)?;
        if reading.matched < before.matched {
            // It is counted anew, so nothing is known of it.
            let was_silent = self.is_silent;
            *self = Self { last: Some(*reading), ..Self::default() };
            return was_silent.then_some(RuleChange::Forgotten("it is counted anew"));
        }
        if reading.matched > before.matched {
            self.logged = surrounding.logged;
            return self.match_again(now, reading.votes - before.votes.min(reading.votes), reading, surrounding);
        }
        let (since, (matched, requests)) = (self.since?, self.matched?);
        let silence = now.since(matched);
        if self.is_silent && silence >= MISSED_FOR {
            *self = Self { last: self.last, ..Self::default() };
            return Some(RuleChange::Forgotten("it has matched nothing for six hours"));
        }
        if silence <= SILENCE_MIN / 4 {
            self.logged = surrounding.logged;
        }
        let seconds = silence.as_secs_f64();
        let is_usual = matched.since(since) >= STEADY_MIN && self.votes.rate() >= VOTES_MIN;
        let is_unusual =
            silence >= SILENCE_MIN && seconds >= GAP_FACTOR * self.gap && seconds * self.votes.rate() >= EXPECTED_LINES;
        let come = surrounding.requests.saturating_sub(requests) as f64;
        let goes_on = come >= TRAFFIC_SHARE * self.requests.rate() * seconds;
        let is_success = self.kept_away.is_some_and(|(_, _, earlier)| {
            reading.kept_away.saturating_sub(earlier) as f64 >= KEPT_AWAY_SHARE * 60.0 * self.votes.rate()
        });
        if self.is_silent || !is_usual || !is_unusual || !goes_on || is_success {
            return None;
        }
        self.is_silent = true;
        let missing = self.missing(surrounding, fields);
        let usual = 60.0 * self.votes.rate();
        Some(RuleChange::Raised(format!(
            "has matched nothing for {seconds:.0} s, where {usual:.0} clients a minute are usual, while requests go on; {missing}"
        )))
    }

    fn match_again(
        &mut self,
        now: Timestamp,
        votes: u64,
        reading: &RuleReading,
        surrounding: &Surrounding,
    ) -> Option<RuleChange> {
        let before = self.matched.replace((now, surrounding.requests));
        if self.is_silent {
            // What went wrong is not what is usual, and what comes now may be.
            let (last, matched, logged) = (self.last, self.matched, self.logged);
            *self = Self { last, matched, logged, since: Some(now), ..Self::default() };
            return Some(RuleChange::Cleared);
        }
        self.since.get_or_insert(now);
        match &mut self.kept_away {
            Some((began, newer, earlier)) if now.since(*began) >= Duration::from_secs(60) => {
                (*began, *newer, *earlier) = (now, reading.kept_away, *newer);
            }
            Some(_) => {}
            none => *none = Some((now, reading.kept_away, reading.kept_away)),
        }
        if let Some((matched, requests)) = before {
            let seconds = now.since(matched).as_secs_f64().max(0.001);
            self.votes.learn(votes, seconds);
            self.requests.learn(surrounding.requests.saturating_sub(requests), seconds);
            self.gap = seconds.max(self.gap * (-seconds / GAP_SECONDS).exp());
        }
        None
    }

    /// Which of the fields is in no request any more.
    fn missing(&self, surrounding: &Surrounding, fields: &[Field]) -> String {
        let (Some((read, with)), Some((read_before, before))) = (surrounding.logged, self.logged) else {
            return "in none of them is what it asks for".to_owned();
        };
        let read = read.saturating_sub(read_before);
        let gone = Field::ALL.iter().zip(with.iter().zip(before)).filter(|(_, (now, before))| **now <= *before);
        let gone: Vec<String> =
            gone.filter(|(field, _)| fields.contains(field)).map(|(field, _)| field.to_string()).collect();
        match gone.as_slice() {
            [] => "what it asks for is still in the log, and no value is one that it matches".to_owned(),
            [field] => format!("the {field} is in none of the last {read} requests"),
            fields => format!("the {} are in none of the last {read} requests", fields.join(" and the ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_700_000_000);

    /// A rule, and all that goes on around it.
    struct Watched {
        silence: RuleSilence,
        reading: RuleReading,
        surrounding: Surrounding,
        second: u64,
    }

    impl Watched {
        fn new() -> Self {
            let surrounding = Surrounding { requests: 0, logged: Some((0, [0; Field::ALL.len()])) };
            Self { silence: RuleSilence::default(), reading: RuleReading::default(), surrounding, second: 0 }
        }

        /// Goes on for so many seconds with so many requests in each and so many in which the rule matches one client; what is told,
        /// with the second from the beginning of this.
        fn run(&mut self, seconds: u64, requests: u64, matches: u64, without: &[Field]) -> Vec<(u64, RuleChange)> {
            let mut told = Vec::new();
            for second in 0..seconds {
                self.second += 1;
                self.reading.matched += 3 * matches;
                self.reading.votes += matches;
                self.surrounding.requests += requests;
                if let Some((read, with)) = &mut self.surrounding.logged {
                    *read += requests;
                    for (field, with) in Field::ALL.iter().zip(with) {
                        *with += if without.contains(field) { 0 } else { requests };
                    }
                }
                let now = START + Duration::from_secs(self.second);
                let fields = [Field::Host, Field::Path];
                let change = self.silence.look(now, &self.reading, &self.surrounding, &fields);
                told.extend(change.map(|change| (second, change)));
            }
            told
        }
    }

    fn raised(told: &[(u64, RuleChange)]) -> (u64, &str) {
        match told {
            [(second, RuleChange::Raised(text))] => (*second, text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_rule_that_falls_silent_while_traffic_goes_on_is_told_within_a_minute_with_the_field() {
        for (without, said) in [
            (&[Field::Host][..], "the host is in none of the last "),
            (&[Field::Host, Field::Path], "the host and the path are in none"),
            (&[], "no value is one that it matches"),
            (&[Field::Referer], "no value is one that it matches"),
        ] {
            let mut watched = Watched::new();
            assert_eq!(watched.run(400, 10, 1, &[]), []);
            let told = watched.run(300, 10, 0, without);
            let (second, text) = raised(&told);
            assert!((19..60).contains(&second), "{second}");
            assert!(text.contains(said) && text.contains("60 clients a minute are usual"), "{text}");
            assert_eq!(watched.run(10, 10, 1, &[]), [(0, RuleChange::Cleared)]);
        }
    }

    #[test]
    fn in_line_no_field_is_named() {
        let mut watched = Watched::new();
        watched.surrounding.logged = None;
        watched.run(400, 10, 1, &[]);
        assert!(raised(&watched.run(60, 10, 0, &[])).1.ends_with("in none of them is what it asks for"));
    }

    #[test]
    fn who_leaves_is_no_failure_of_a_rule() {
        // A flood ends, and its requests are missing.
        let mut watched = Watched::new();
        watched.run(400, 20, 10, &[]);
        assert_eq!(watched.run(3_600, 10, 0, &[]), []);
        // The night begins.
        let mut watched = Watched::new();
        watched.run(400, 20, 1, &[]);
        assert_eq!(watched.run(3_600, 2, 0, &[]), []);
        // One client asks all the time, and stops.
        let mut watched = Watched::new();
        for _ in 0..60 {
            watched.run(1, 10, 1, &[]);
            for _ in 0..59 {
                watched.reading.matched += 1;
                watched.run(1, 10, 0, &[]);
            }
        }
        assert_eq!(watched.run(3_600, 10, 0, &[]), []);
        // All whom it is about have been banned.
        let mut watched = Watched::new();
        watched.run(400, 10, 1, &[]);
        watched.reading.kept_away = 50;
        assert_eq!(watched.run(3_600, 10, 0, &[]), []);
        // A few bans are those of others.
        let mut watched = Watched::new();
        watched.run(400, 10, 1, &[]);
        watched.reading.kept_away = 5;
        assert_eq!(watched.run(3_600, 10, 0, &[]).len(), 1);
    }

    #[test]
    fn what_matched_for_a_short_time_or_comes_in_waves_is_not_missed() {
        let mut watched = Watched::new();
        watched.run(200, 10, 1, &[]);
        assert_eq!(watched.run(3_600, 10, 0, &[]), []);
        let mut watched = Watched::new();
        for _ in 0..30 {
            assert_eq!(watched.run(60, 10, 2, &[]), []);
            assert_eq!(watched.run(120, 10, 0, &[]), []);
        }
        assert!(raised(&watched.run(1_000, 10, 0, &[])).0 >= 300);
    }

    #[test]
    fn after_an_alarm_what_is_usual_is_learnt_anew() {
        let mut watched = Watched::new();
        watched.run(400, 10, 1, &[]);
        assert_eq!(watched.run(600, 10, 0, &[]).len(), 1);
        assert_eq!(watched.run(200, 10, 1, &[]).len(), 1);
        assert_eq!(watched.run(600, 10, 0, &[]), [], "it has not matched for long");
        watched.run(400, 10, 1, &[]);
        watched.reading.matched = 0;
        assert_eq!(watched.run(600, 10, 0, &[]), [], "it is counted anew");
        watched.run(400, 10, 1, &[]);
        assert_eq!(watched.run(600, 10, 0, &[]).len(), 1);
        watched.reading.matched = 0;
        assert!(matches!(watched.run(1, 10, 0, &[])[..], [(0, RuleChange::Forgotten(_))]));
    }

    #[test]
    fn who_never_comes_back_is_not_missed_for_ever() {
        let mut watched = Watched::new();
        watched.run(400, 10, 1, &[]);
        assert_eq!(watched.run(600, 10, 0, &[]).len(), 1);
        let told = watched.run(6 * 3_600, 10, 0, &[]);
        assert!(matches!(told[..], [(_, RuleChange::Forgotten(_))]), "{told:?}");
    }
}
