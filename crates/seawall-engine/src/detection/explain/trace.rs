//! Counts exactly whom the rules that were found hit in a log: inside their surges and outside, how many clients, at which
//! hours, and since when.

use std::collections::BTreeMap;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};

use super::acquaintances::{Acquaintances, hash};
use super::counted::{Clients, Counted, Counting};
use super::found::{Found, Zone};
use super::parts::Parts;
use super::settled::COLLATERAL_MAX;
use super::{Explained, Level, Proposed, Surge, TimeZone};
use crate::decision::{Action, Condition, Evidence, Rule, RuleId, Stage, Verdict, Wanted};
use crate::detection::inquiry::EXPLAINED_SHARE;
use crate::detection::marked::WORDS_OF_ADDRESSES;
use crate::detection::mining::COVERAGE_MIN;
use crate::detection::observing::observed_costs;
use crate::detection::statistics::share_upper_95;
use crate::distinct::Distinct;
use crate::observation::attribute::{Attribute, user_agent_words};
use crate::observation::{Observation, Outcome};
use crate::units::Timestamp;

/// What came this long before a surge belongs to its beginning and is no precursor.
const BEGINNING: Duration = Duration::from_secs(600);

/// What more of whose hits outside surges than this are of returning clients is what visitors have too, and foretells nothing.
const FORETELLING_RETURNING_MAX: f64 = 0.1;

/// Hours in which the clients of a rule are counted, for its time zone: a month of them.
const HOURS_MAX: usize = 31 * 24;

/// With what the user agent of every browser begins, and how many letters the name of a program has at least.
const BROWSER: &[u8] = b"Mozilla/";
const NAME_MIN: usize = 4;

/// Clients of the earlier half of a surge that are remembered for one rule.
const EARLIER_MAX: usize = 1 << 16;

/// What a rule has met.
#[derive(Clone, Debug)]
pub struct Traced {
    /// The rule.
    pub rule: Rule,
    /// What spoke for it.
    pub evidence: Evidence,
    /// What it matches within its surge.
    pub within: Counted,
    /// Of these requests, from clients that had been there an hour before.
    pub within_returning: u64,
    /// Of these requests, what the site answered with something to see.
    pub within_served: u64,
    /// Of these requests, what the site failed to answer: 429, or an error of its own.
    pub within_failed: u64,
    /// Whether most of its senders say in their user agents where they come from, as search engines do.
    pub says_whence: bool,
    /// The share of the excess that it explains: of the strongest cost, or of the one that it is about.
    pub coverage: f64,
    /// The least share that it explains of any eighth of the surge that has an excess.
    pub steady: f64,
    /// For a rule that names addresses, the share of what it matches in the later half of the surge whose clients were not in the
    /// earlier half.
    pub turnover: Option<f64>,
    /// Requests outside all surges, and not beside one, that it would have hit too.
    pub outside: u64,
    /// Of these, from clients that had been there an hour before.
    pub outside_returning: u64,
    /// Of these, what the site answered with something to see.
    pub outside_served: u64,
    /// The share of all requests there, and the upper end of its 95% interval.
    pub outside_share: f64,
    /// The upper end.
    pub outside_share_upper: f64,
    /// The clients that sent them, and their share of all that came outside surges, with whatever mark; zero when the log has no addresses.
    pub outside_clients: u64,
    /// The share.
    pub outside_clients_share: f64,
    /// The program that the rule names a version of, and whether others of it are ordinary.
    pub program: Option<Program>,
    /// Requests beside surges that it matches, most likely their beginnings and ends.
    pub beside: u64,
    /// Requests outside with a mark of the surge's senders, which are not normal.
    pub own: u64,
    /// When the first surge began that the same rule explains, where that was an earlier one.
    pub recurs: Option<Timestamp>,
    /// What foretold the surge; nothing where it recurs.
    pub precursor: Option<Precursor>,
    /// Where those who send it sleep.
    pub time_zone: Option<TimeZone>,
}

/// A program of which a rule names one version, by its user agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Its user agent.
    agent: Condition,
    /// The word of its user agents that all its versions have.
    pub word: Condition,
    /// Requests of its other versions outside all surges.
    pub others: u64,
    /// Of these, from clients that had been there an hour before.
    pub others_returning: u64,
    /// The share of all requests there.
    pub others_share: f64,
}

impl Program {
    /// The program whose user agent these conditions name, where it has a version and is no browser.
    fn of(conditions: &[Condition]) -> Option<Self> {
        let agent = conditions.iter().find(|condition| condition.attribute == Attribute::UserAgent)?;
        let Wanted::Value(text) = &agent.wanted else { return None };
        let is_versioned = text.iter().any(u8::is_ascii_digit) && !text.starts_with(BROWSER);
        // Agents of all kinds have parts of web addresses in them.
        let is_name =
            |word: &&[u8]| word.len() >= NAME_MIN && !WORDS_OF_ADDRESSES.iter().any(|part| part.as_bytes() == *word);
        let word = user_agent_words(text).find(is_name).filter(|_| is_versioned)?;
        let word = Condition::new(Attribute::UserAgentWord, word);
        Some(Self { agent: agent.clone(), word, others: 0, others_returning: 0, others_share: 0.0 })
    }

    /// Whether this is another version of it.
    fn is_other(&self, observation: &Observation<'_>) -> bool {
        let has = |condition: &Condition| condition.matches(&observation.request, observation.client);
        has(&self.word) && !has(&self.agent)
    }
}

/// A first match before the surge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Precursor {
    /// When it came.
    pub at: Timestamp,
    /// How many there were until the surge.
    pub requests: u64,
    /// What matched, when it was not the rule: something else that all of the flood has.
    pub sign: Option<Condition>,
}

/// A surge with what was counted of it.
#[derive(Clone, Debug)]
pub struct TracedSurge {
    /// What is thought of it.
    pub explained: Explained,
    /// All that came within.
    pub within: Counted,
    /// Its rules.
    pub rules: Vec<Traced>,
}

/// Counts for every rule of every surge.
#[derive(Debug)]
pub struct Trace {
    found: Found,
    acquaintances: Acquaintances,
    explained: Vec<Explained>,
    surges: Vec<Whole>,
    own: Vec<Condition>,
    requests_outside: u64,
    clients_outside: u64,
}

/// A surge.
#[derive(Debug, Default)]
struct Whole {
    counting: Counting,
    /// What any of its rules matches.
    matched: Counting,
    parts: Parts,
    rules: Vec<Followed>,
}

/// A rule.
#[derive(Debug)]
struct Followed {
    rule: Rule,
    says_whence: bool,
    names_clients: bool,
    counting: Counting,
    within_returning: u64,
    within_served: u64,
    within_failed: u64,
    parts: Parts,
    earlier: FxHashSet<u64>,
    later: u64,
    later_new: u64,
    outside: u64,
    outside_returning: u64,
    outside_served: u64,
    outside_clients: Clients,
    program: Option<Program>,
    beside: u64,
    own: u64,
    /// The rule itself, then its signs.
    signs: Vec<Sign>,
    /// Clients by the hour since the Unix epoch.
    hours: FxHashMap<u64, Distinct>,
}

/// What may foretell a surge.
#[derive(Debug, Default)]
struct Sign {
    condition: Option<Condition>,
    all: u64,
    returning: u64,
    before: u64,
    first_before: Option<Timestamp>,
}

impl Trace {
    /// For the rules of these surges.
    pub(super) fn new(
        explained: Vec<Explained>,
        found: Found,
        acquaintances: Acquaintances,
        clients_outside: u64,
    ) -> Self {
        let mut number = 0;
        let mut followed = |proposed: &Proposed| {
            number += 1;
            Followed::new(number, proposed)
        };
        let whole =
            |one: &Explained| Whole { rules: one.rules.iter().map(&mut followed).collect(), ..Whole::default() };
        Self {
            surges: explained.iter().map(whole).collect(),
            own: explained.iter().flat_map(|one| one.own.clone()).collect(),
            explained,
            found,
            acquaintances,
            requests_outside: 0,
            clients_outside,
        }
    }

    /// Whether observations must say where clients are.
    pub fn asks_for_networks(&self) -> bool {
        let rules = || self.surges.iter().flat_map(|whole| &whole.rules);
        let of_rules = rules().flat_map(|rule| &rule.rule.conditions);
        let of_signs = rules().flat_map(|rule| &rule.signs).filter_map(|sign| sign.condition.as_ref());
        of_rules.chain(of_signs).any(|condition| matches!(condition.attribute, Attribute::Country | Attribute::Asn))
    }

    /// Texts of which at least one stands, as it was sent, in every request outside the surges that counts for more than another; `None`
    /// where that need not be.
    pub fn literals(&self) -> Option<Vec<&[u8]>> {
        let of_rules = self.surges.iter().flat_map(|whole| &whole.rules).map(|rule| rule.rule.conditions.as_slice());
        let rules = self.surges.iter().flat_map(|whole| &whole.rules);
        let of_signs = rules.flat_map(|rule| &rule.signs).filter_map(|sign| sign.condition.as_ref());
        let of_programs = self.surges.iter().flat_map(|whole| &whole.rules).filter_map(|rule| rule.program.as_ref());
        let programs = of_programs.map(|program| &program.word);
        let single = of_signs.chain(&self.own).chain(programs).map(std::slice::from_ref);
        of_rules.chain(single).map(literal).collect()
    }

    /// Takes so many requests outside of surges and not beside one, in which none of the [`Trace::literals`] stands.
    pub fn pass(&mut self, requests: u64) {
        self.requests_outside += requests;
    }

    /// Takes one observation of the third reading.
    pub fn observe(&mut self, observation: &Observation<'_>) {
        let Self { found, acquaintances, surges, own, .. } = self;
        let returning = || {
            let second = observation.at.as_seconds() as u32;
            observation.client.is_some_and(|client| acquaintances.is_returning(client, second))
        };
        let zone = found.zone(observation.at);
        if let Zone::Within(number) = zone {
            let (Some(whole), Some(surge)) = (surges.get_mut(number), found.surges.get(number)) else { return };
            let cost = observed_costs(observation)[surge.strongest() as usize];
            whole.counting.add(observation);
            whole.parts.add(surge, observation.at, cost);
            let middle = surge.from + surge.until.since(surge.from) / 2;
            let mut is_matched = false;
            for followed in whole.rules.iter_mut().filter(|followed| followed.matches(observation)) {
                followed.counting.add(observation);
                followed.parts.add(surge, observation.at, cost);
                followed.within_returning += u64::from(returning());
                followed.within_served += u64::from(is_served(observation));
                followed.within_failed += u64::from(is_failure(observation));
                followed.note_hour(observation);
                followed.note_half(observation, middle);
                is_matched = true;
            }
            if is_matched {
                whole.matched.add(observation);
            }
            return;
        }
        if found.is_far(observation.at) {
            return;
        }
        let is_own = own.iter().any(|mark| mark.matches(&observation.request, observation.client));
        let is_normal = zone == Zone::Outside && !is_own;
        self.requests_outside += u64::from(is_normal);
        for (whole, surge) in surges.iter_mut().zip(&found.surges) {
            for followed in &mut whole.rules {
                let is_before = observation.at + BEGINNING < surge.from;
                let matches = followed.matches(observation);
                for sign in &mut followed.signs {
                    let is_met = match &sign.condition {
                        None => matches,
                        Some(condition) => condition.matches(&observation.request, observation.client),
                    };
                    if is_met {
                        sign.meet(observation.at, is_before, returning());
                    }
                }
                if !matches {
                    if let Some(program) = followed.program.as_mut().filter(|_| is_normal)
                        && program.is_other(observation)
                    {
                        program.others += 1;
                        program.others_returning += u64::from(returning());
                    }
                    continue;
                }
                // Visitors who would be hit, too, sleep where they like.
                if !is_normal {
                    followed.note_hour(observation);
                }
                match zone {
                    _ if is_normal => {
                        followed.outside += 1;
                        followed.outside_returning += u64::from(returning());
                        followed.outside_served += u64::from(is_served(observation));
                        if let Some(client) = observation.client {
                            followed.outside_clients.add(hash(client));
                        }
                    }
                    Zone::Outside => followed.own += 1,
                    Zone::Beside | Zone::Within(_) => followed.beside += 1,
                }
            }
        }
    }

    /// What was counted, surge by surge.
    pub fn finish(self) -> Vec<TracedSurge> {
        let (outside, clients_outside) = (self.requests_outside, self.clients_outside);
        let hours = hours_of_rules(self.surges.iter().flat_map(|whole| &whole.rules));
        let mut first: FxHashMap<String, Timestamp> = FxHashMap::default();
        for (whole, surge) in self.surges.iter().zip(&self.found.surges) {
            for followed in &whole.rules {
                let from = first.entry(followed.rule.text_with_networks()).or_insert(surge.from);
                *from = surge.from.min(*from);
            }
        }
        let of_one = |((mut explained, whole), surge): ((Explained, Whole), &Surge)| {
            let traced = |(followed, proposed): (Followed, &Proposed)| {
                let share = followed.outside as f64 / outside.max(1) as f64;
                let coverage = coverage(surge, &followed.counting, share);
                // What explains less of the whole cannot explain more of every part: those without an excess are left out.
                let steady = whole.parts.least_share(surge, &followed.parts, share).min(coverage);
                let upper = share_upper_95(followed.outside as f64, outside as f64);
                let text = followed.rule.text_with_networks();
                let time_zone = hours.get(&text).and_then(time_zone);
                let recurs = first.get(&text).copied().filter(|first| *first < surge.from);
                let mut traced = followed.traced(proposed.evidence.clone(), share, upper);
                traced.precursor = traced.precursor.filter(|_| recurs.is_none());
                if let Some(program) = &mut traced.program {
                    program.others_share = program.others as f64 / outside.max(1) as f64;
                }
                // Of few the estimate of all may be less than their number.
                let clients_share = (traced.outside_clients as f64 / clients_outside.max(1) as f64).min(1.0);
                Traced { coverage, steady, time_zone, recurs, outside_clients_share: clients_share, ..traced }
            };
            let hit = whole.rules.iter().map(|followed| followed.outside).sum::<u64>() as f64 / outside.max(1) as f64;
            let covered = coverage(surge, &whole.matched, hit.min(1.0));
            let rules: Vec<Traced> = whole.rules.into_iter().zip(&explained.rules).map(traced).collect();
            if matches!(explained.verdict, Verdict::Explained | Verdict::Partial) && !rules.is_empty() {
                let is_explained = covered >= EXPLAINED_SHARE && hit <= COLLATERAL_MAX;
                explained.verdict = if is_explained { Verdict::Explained } else { Verdict::Partial };
                explained.explanation = in_numbers(&explained, &rules, covered >= EXPLAINED_SHARE);
            }
            TracedSurge { within: whole.counting.counted(), rules, explained }
        };
        self.explained.into_iter().zip(self.surges).zip(&self.found.surges).map(of_one).collect()
    }
}

impl Followed {
    fn new(number: u32, proposed: &Proposed) -> Self {
        let rule = Rule {
            id: RuleId(number),
            conditions: proposed.conditions.clone(),
            action: Action::Refuse { status: 403 },
            stage: Stage::Proposed,
            canary_interval: 0,
            is_asking: false,
        };
        let signs = proposed.signs.iter().map(|sign| Sign { condition: Some(sign.clone()), ..Sign::default() });
        Self {
            names_clients: rule.conditions.iter().any(|condition| condition.attribute == Attribute::ClientPrefix),
            program: Program::of(&rule.conditions),
            rule,
            says_whence: proposed.says_whence,
            counting: Counting::default(),
            within_returning: 0,
            within_served: 0,
            within_failed: 0,
            parts: Parts::default(),
            earlier: FxHashSet::default(),
            later: 0,
            later_new: 0,
            outside: 0,
            outside_returning: 0,
            outside_served: 0,
            outside_clients: Clients::default(),
            beside: 0,
            own: 0,
            signs: std::iter::once(Sign::default()).chain(signs).collect(),
            hours: FxHashMap::default(),
        }
    }

    fn matches(&self, observation: &Observation<'_>) -> bool {
        self.rule.matches(&observation.request, observation.client)
    }

    fn note_hour(&mut self, observation: &Observation<'_>) {
        let Some(client) = observation.client else { return };
        let hour = observation.at.as_seconds() / 3600;
        if self.hours.len() < HOURS_MAX || self.hours.contains_key(&hour) {
            self.hours.entry(hour).or_insert_with(Distinct::small).add(hash(client));
        }
    }

    fn note_half(&mut self, observation: &Observation<'_>, middle: Timestamp) {
        let Some(client) = observation.client.filter(|_| self.names_clients) else { return };
        if observation.at >= middle {
            self.later += 1;
            self.later_new += u64::from(!self.earlier.contains(&hash(client)));
        } else if self.earlier.len() < EARLIER_MAX {
            self.earlier.insert(hash(client));
        }
    }

    fn traced(self, evidence: Evidence, share: f64, upper: f64) -> Traced {
        let foretelling = self.signs.into_iter().filter_map(Sign::precursor);
        Traced {
            within: self.counting.counted(),
            within_returning: self.within_returning,
            within_served: self.within_served,
            within_failed: self.within_failed,
            says_whence: self.says_whence,
            coverage: 0.0,
            steady: 0.0,
            turnover: self.names_clients.then(|| self.later_new as f64 / self.later.max(1) as f64),
            outside: self.outside,
            outside_returning: self.outside_returning,
            outside_served: self.outside_served,
            outside_share: share,
            outside_share_upper: upper,
            // No request has two.
            outside_clients: self.outside_clients.count().min(self.outside),
            outside_clients_share: 0.0,
            program: self.program,
            beside: self.beside,
            own: self.own,
            recurs: None,
            precursor: foretelling.min_by_key(|precursor| precursor.at),
            time_zone: None,
            rule: self.rule,
            evidence,
        }
    }
}

/// What the rules explain, as it was counted.
fn in_numbers(explained: &Explained, rules: &[Traced], is_covered: bool) -> String {
    let mut text = explained.amounts.clone();
    for traced in rules {
        let clients = match traced.within.clients {
            0 => String::new(),
            clients => format!(" ({})", crate::units::counted(clients, "client")),
        };
        text += &format!("; {:.0}% of the excess has {}{clients}", traced.coverage * 100.0, traced.rule);
    }
    text += match explained.verdict {
        Verdict::Partial if is_covered => "; too much of normal traffic has it as well",
        Verdict::Partial => "; the rest has nothing in common that normal traffic has not",
        _ => "",
    };
    text
}

/// The longest text that stands in every request that meets all of these.
fn literal(conditions: &[Condition]) -> Option<&[u8]> {
    conditions.iter().filter_map(Condition::literal).max_by_key(|literal| literal.len())
}

/// Clients by the hour of what each rule matches, by the rule's text. One flood whose senders sleep is a surge each day with the same rule, of
/// which each has counted the hours of its own day.
fn hours_of_rules<'f>(rules: impl Iterator<Item = &'f Followed>) -> FxHashMap<String, BTreeMap<u64, u64>> {
    let mut hours: FxHashMap<String, BTreeMap<u64, u64>> = FxHashMap::default();
    for followed in rules {
        let of_rule = hours.entry(followed.rule.text_with_networks()).or_default();
        for (hour, clients) in &followed.hours {
            let most = of_rule.entry(*hour).or_default();
            *most = (*most).max(clients.estimate());
        }
    }
    hours
}

fn time_zone(hours: &BTreeMap<u64, u64>) -> Option<TimeZone> {
    TimeZone::of(&hours.iter().map(|(hour, clients)| (*hour, *clients)).collect::<Vec<_>>(), 1)
}

/// The share of a surge's excess that a rule explains which normal traffic has at this share: of its strongest cost, unless that
/// is next to nothing and it is another cost that the rule is about.
fn coverage(surge: &Surge, matched: &Counting, normal_share: f64) -> f64 {
    let length = surge.until.since(surge.from).as_secs_f64();
    let share = |level: &Level| {
        let usual = normal_share * level.normal * length;
        // Adding nothing makes -0 a plain 0.
        ((matched.cost(level.cost) - usual) / level.excess.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0) + 0.0
    };
    let mut shares = surge.levels.iter().map(share);
    let strongest = shares.next().unwrap_or_default();
    if strongest >= COVERAGE_MIN { strongest } else { shares.fold(strongest, f64::max) }
}

/// Whether the site answered with something to see.
fn is_served(observation: &Observation<'_>) -> bool {
    matches!(observation.outcome, Outcome::Served { status } if (200..400).contains(&status))
}

/// Whether the site failed to answer.
fn is_failure(observation: &Observation<'_>) -> bool {
    matches!(observation.outcome, Outcome::Served { status } if status == 429 || status >= 500)
}

impl Sign {
    fn meet(&mut self, at: Timestamp, is_before: bool, returning: bool) {
        self.all += 1;
        self.returning += u64::from(returning);
        if is_before {
            self.before += 1;
            self.first_before = Some(self.first_before.map_or(at, |first| first.min(at)));
        }
    }

    fn precursor(self) -> Option<Precursor> {
        let foretells = self.returning as f64 <= FORETELLING_RETURNING_MAX * self.all as f64;
        let at = self.first_before.filter(|_| foretells)?;
        Some(Precursor { at, requests: self.before, sign: self.condition })
    }
}
