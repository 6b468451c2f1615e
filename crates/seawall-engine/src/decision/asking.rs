//! How many of those whom a rule meets pass while it is not known whether they are people.
//!
//! Whom the site gives nothing can fetch no parts of pages: a crowd that has brought the site down looks like a flood, and a rule that
//! refuses it proves itself. So enough pass to be asked. Pure; what they tell is found out by the detection.

use std::time::Duration;

use crate::units::Timestamp;

use super::traffic::Met;

/// How many requests a second pass at first: thirty in a minute, of which eight suffice to know it.
const RATE: f64 = 0.5;

/// While nobody is given anything, so many pass in half as many after each such time: a flood may cost the site as much as each of them
/// can. At least this rate: one that is given something is a reason to ask more again.
const HALVED_AFTER: Duration = Duration::from_secs(60);
const RATE_MIN: f64 = 1.0 / 30.0;

/// However few come, one of two is refused; and however many, some pass.
const INTERVAL_MIN: f64 = 2.0;
const INTERVAL_MAX: f64 = 65_536.0;

/// What a rule meets a second is the most of what it has met over so many.
const RATE_SECONDS: [u64; 2] = [2, 10];

/// The interval stays where it is while what is wanted is less than this many times as much, or as little.
const HYSTERESIS: f64 = 2.0;

/// What was known is asked again after so long: what the site gave may not have been what they came for.
const ASKED_AGAIN: Duration = Duration::from_secs(120);

/// How often it is said whether a rule that has not asked meets a crowd by now: each time costs a crowd test.
const TOLD_INTERVAL: Duration = Duration::from_secs(10);

/// When a rule was let go, or asked, for those who read then, and it was no crowd, nothing is said of it for so long; twice as long each
/// time, as often as this: senders may read to be let through.
const DOUBTED: Duration = Duration::from_secs(120);
const DOUBLED_MAX: u32 = 3;

/// What a rule was let go for is forgotten when it is in force again only after so long.
const PEOPLE_REMEMBERED: Duration = Duration::from_secs(300);

/// What they tell, to whom the site has given something since a rule is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// They read what they were given: people.
    People,
    /// Enough were given something, and they are none.
    NoPeople,
    /// Some were given something, too few to tell.
    Little,
    /// Too few to tell, but two at least, and half of them, read it.
    LittleOfReaders,
    /// The site has given nobody anything.
    Nothing,
}

/// Where the asking is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// Since when nobody has been given anything.
    Since(Timestamp),
    /// When it was known that these are no people.
    Known(Timestamp),
    /// Since when some of those who pass where nothing is asked are readers: a crowd may have come to what was none.
    Suspected(Timestamp),
}

/// A suspicion of which nothing has come after so long is dropped.
const SUSPECTED: Duration = Duration::from_secs(60);

impl Asking {
    /// What comes of what they tell, where nothing is asked or something is. What is known holds until it is asked again, unless they turn
    /// out to be people.
    pub(super) fn after(asking: Option<Self>, now: Timestamp, told: Told) -> Option<Self> {
        match (asking, told) {
            (_, Told::People) => Some(Self::Since(now)),
            (None, Told::LittleOfReaders) => Some(Self::Suspected(now)),
            (Some(Self::Suspected(_)), Told::NoPeople) => None,
            (Some(Self::Since(_)), Told::NoPeople) => Some(Self::Known(now)),
            (Some(Self::Since(_)), Told::Little | Told::LittleOfReaders) => Some(Self::Since(now)),
            (asking, Told::Nothing | Told::Little | Told::LittleOfReaders | Told::NoPeople) => asking,
        }
    }

    /// Lets time pass: what was known a while ago is asked again, and what was suspected is asked no more.
    pub(super) fn step(self, now: Timestamp) -> Option<Self> {
        match self {
            Self::Known(at) if now.since(at) >= ASKED_AGAIN => Some(Self::Since(now)),
            Self::Suspected(at) if now.since(at) >= SUSPECTED => None,
            Self::Since(_) | Self::Known(_) | Self::Suspected(_) => Some(self),
        }
    }

    /// Whether it asks now.
    pub(super) const fn is_open(self) -> bool {
        matches!(self, Self::Since(_) | Self::Suspected(_))
    }

    /// Whether it was not known when the rule was put in force, so that a rule in force again asks anew.
    pub(super) const fn is_lasting(self) -> bool {
        matches!(self, Self::Since(_) | Self::Known(_))
    }

    /// One matching request in how many passes. `present` is how many it is so far.
    pub(super) fn interval(self, now: Timestamp, met: &Met, present: u32) -> u32 {
        let (Self::Since(since) | Self::Known(since) | Self::Suspected(since)) = self;
        let halvings = now.since(since).as_secs() / HALVED_AFTER.as_secs();
        let passing = (RATE / 2.0_f64.powi(halvings.min(16) as i32)).max(RATE_MIN);
        let rate = RATE_SECONDS.map(|seconds| met.rate(seconds, now)).into_iter().fold(0.0, f64::max);
        let wanted = (rate / passing).clamp(INTERVAL_MIN, INTERVAL_MAX);
        let is_near = |of: f64| wanted < HYSTERESIS * of && of < HYSTERESIS * wanted;
        // By powers of two, and not to and fro: each change goes to all that judge.
        if is_near(f64::from(present)) { present } else { 1 << (wanted as u32).ilog2() }
    }
}

/// When it is said whom a rule meets that has not asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Telling {
    last: Timestamp,
    /// Not before this.
    from: Timestamp,
    /// When it met people.
    people: Option<Timestamp>,
    /// How often it came to nothing.
    doubts: u32,
}

impl Telling {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self { last: now, from: now, people: None, doubts: 0 }
    }

    /// Since when nothing was said, where it is time for it.
    pub(super) fn due_since(self, now: Timestamp) -> Option<Timestamp> {
        (now >= self.from && now.since(self.last) >= TOLD_INTERVAL).then_some(self.last)
    }

    pub(super) fn note(&mut self, now: Timestamp, told: Told) {
        self.last = now;
        if told == Told::People {
            self.people = Some(now);
        }
    }

    /// Whether it has met people just now; that is said once.
    pub(super) fn take_people(&mut self, now: Timestamp) -> bool {
        self.people.take().is_some_and(|at| now.since(at) <= PEOPLE_REMEMBERED)
    }

    /// It came to nothing.
    pub(super) fn doubt(&mut self, now: Timestamp) {
        self.from = now + (DOUBTED * 2_u32.pow(self.doubts.min(DOUBLED_MAX)));
        self.doubts = self.doubts.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Rule, RuleId};
    use crate::detection::RuleTraffic;

    const BEGIN: u64 = 1_000_000;

    /// The intervals of each quarter of a second at this rate, from the tenth second on.
    fn intervals(rate: u64, seconds: std::ops::Range<u64>, asking: Asking) -> Vec<u32> {
        let mut met = Met::default();
        let mut intervals = Vec::new();
        let mut present = Rule::CANARY_INTERVAL;
        let mut asking = asking;
        for quarter in (seconds.start - 10) * 4..seconds.end * 4 {
            let now = Timestamp::from_micros((BEGIN * 4 + quarter) * 250_000);
            let matched = rate * (quarter + 1) / 4 - rate * quarter / 4;
            met.count(now, &RuleTraffic { matched, ..RuleTraffic::none(RuleId(1)) });
            asking = asking.step(now).expect("no suspicion");
            present = asking.interval(now, &met, present);
            if quarter >= seconds.start * 4 {
                intervals.push(present);
            }
        }
        intervals.dedup();
        intervals
    }

    #[test]
    fn as_many_pass_as_it_takes_and_no_more() {
        let asking = Asking::Since(Timestamp::from_seconds(BEGIN));
        // Nor does it change as the second passes, whatever the rate.
        for (rate, interval) in [(1, 2), (2, 4), (4, 8), (8, 16), (9, 16), (10, 16), (40, 64), (100, 128), (5000, 8192)]
        {
            assert_eq!(intervals(rate, 10..50, asking), [interval], "{rate}/s");
        }
        assert_eq!(intervals(10, 10..400, asking), [16, 32, 64, 128, 256], "nobody is given anything");
        assert_eq!(intervals(1, 10..900, asking), [2, 4, 8, 16], "two in a minute go on passing");
    }

    #[test]
    fn more_are_asked_once_one_is_given_something() {
        let at = |second| Timestamp::from_seconds(BEGIN + second);
        let began = Some(Asking::Since(at(0)));
        assert_eq!(Asking::after(began, at(600), Told::Nothing), began);
        for little in [Told::Little, Told::LittleOfReaders] {
            assert_eq!(Asking::after(began, at(600), little), Some(Asking::Since(at(600))));
        }
        assert_eq!(intervals(10, 610..650, Asking::Since(at(600))), [16]);
        let known = Asking::Known(at(700));
        assert_eq!(Asking::after(began, at(700), Told::NoPeople), Some(known));
        assert!(!known.is_open());
        for told in [Told::Nothing, Told::Little, Told::LittleOfReaders, Told::NoPeople] {
            assert_eq!(Asking::after(Some(known), at(710), told), Some(known));
        }
        assert_eq!(known.step(at(819)), Some(known), "it holds for a while");
        assert_eq!(known.step(at(820)), Some(Asking::Since(at(820))), "and is asked again");
    }

    #[test]
    fn readers_where_nothing_is_asked_are_a_reason_to_ask_for_a_while() {
        let at = |second| Timestamp::from_seconds(BEGIN + second);
        for told in [Told::Nothing, Told::Little, Told::NoPeople] {
            assert_eq!(Asking::after(None, at(0), told), None);
        }
        let suspected = Asking::Suspected(at(0));
        assert_eq!(Asking::after(None, at(0), Told::LittleOfReaders), Some(suspected));
        assert!(suspected.is_open() && !suspected.is_lasting());
        let mut met = Met::default();
        (0..10).for_each(|second| met.count(at(second), &RuleTraffic { matched: 10, ..RuleTraffic::none(RuleId(1)) }));
        assert_eq!(suspected.interval(at(10), &met, Rule::CANARY_INTERVAL), 16);
        assert_eq!(Asking::after(Some(suspected), at(5), Told::LittleOfReaders), Some(suspected));
        assert_eq!(Asking::after(Some(suspected), at(5), Told::NoPeople), None);
        assert_eq!(Asking::after(Some(suspected), at(5), Told::People), Some(Asking::Since(at(5))));
        assert_eq!((suspected.step(at(59)), suspected.step(at(60))), (Some(suspected), None));
    }

    #[test]
    fn readers_who_were_no_crowd_are_believed_less_and_less() {
        let at = |second| Timestamp::from_seconds(BEGIN + second);
        let mut telling = Telling::new(at(0));
        assert_eq!((telling.due_since(at(9)), telling.due_since(at(10))), (None, Some(at(0))));
        telling.note(at(10), Told::Little);
        assert_eq!((telling.due_since(at(19)), telling.due_since(at(20))), (None, Some(at(10))));
        assert!(!telling.take_people(at(10)));
        for (after, is_remembered) in [(300, true), (301, false)] {
            telling.note(at(10), Told::People);
            assert_eq!(telling.take_people(at(10 + after)), is_remembered);
            assert!(!telling.take_people(at(10)));
        }
        for pause in [120, 240, 480, 960, 960] {
            telling.doubt(at(20));
            assert_eq!(telling.due_since(at(20 + pause - 1)), None, "{pause}");
            assert_eq!(telling.due_since(at(20 + pause)), Some(at(10)), "{pause}");
        }
    }
}
