//! One rule on the ladder: its state, and each step that it takes up or down.
//!
//! Up: shadow for a second, then throttle or refuse as the evidence allows, then drop, for clients that go on after
//! refusals. Down: one step for each minute in which what it meets stays near normal, so that a flood that only pauses finds
//! the rule still standing. Nothing here looks at requests.

use std::time::Duration;

use crate::observation::attribute::Attribute;
use crate::units::Timestamp;

use super::asking::{Asking, Telling, Told};
use super::policy::Permit;
use super::traffic::{Met, WINDOW_SECONDS};
use super::{Action, Condition, Event, EventKind, Evidence, Rule, RuleId, RuleStatus, Stage, Wanted};

/// How long a rule only counts whom it would hit.
const SHADOW: Duration = Duration::from_secs(1);

/// A rule in shadow or proposed that the search has not found again for this long was chance.
pub(super) const LOST: Duration = Duration::from_secs(2);

/// In force it is not found again for this long when its flood has gone: longer than between two looks at what is settled.
const NOT_FOUND: Duration = Duration::from_secs(5);

/// How long a throttle is tried before it may become a refusal.
const THROTTLE_TRIAL: Duration = Duration::from_secs(10);

/// How long a refusal is tried before it may become a drop: whoever only asks once more has stopped by then.
const REFUSAL_TRIAL: Duration = Duration::from_secs(20);

/// The first life of an enforced rule; it doubles with each renewal,
const LIFE: Duration = Duration::from_secs(60);

/// up to this.
const LIFE_MAX: Duration = Duration::from_secs(3600);

/// A rule is needed while it meets this many times what is normal,
const NEEDED_FACTOR: f64 = 2.0;

/// at least this many requests in a minute,
const NEEDED_MIN: f64 = 6.0;

/// and at least this share of the most that it has met in one: nothing is learnt while a rule is in force, so no trickle may keep it
/// there. More where it names no sender who is nobody else: then visitors may be what is left.
const NEEDED_SHARE: f64 = 0.02;
const NEEDED_SHARE_OF_ANYONE: f64 = 0.1;

/// A rule that has stepped down is needed again at this many times the above: with one limit for both directions, a trickle
/// around it would send the rule up and down.
const BACK_FACTOR: f64 = 2.0;

/// What is back is seen within this many seconds, when there are at least so many requests in them.
const BACK_SECONDS: u64 = 2;
const BACK_MIN: f64 = 10.0;

/// How long a rule is not needed before it steps down; it doubles each time that the flood comes back to a rule that had,
const PATIENCE: Duration = Duration::from_secs(WINDOW_SECONDS);

/// up to this: while a rule is in force nothing is learnt of what is normal.
const PATIENCE_MAX: Duration = Duration::from_secs(480);

/// A rule without the mark of a sender who is nobody else is put in force again without being asked about anew for so long after it was
/// let go, one with it for longer: what it names may since be what people ask for.
const ARMED_AGAIN: Duration = Duration::from_secs(600);
const ARMED_AGAIN_BY_MARK: Duration = Duration::from_secs(86_400);

/// A throttle lets this many times the normal amount through,
const THROTTLE_FACTOR: f64 = 1.2;

/// and at least this many requests a second.
const THROTTLE_RATE_MIN: f64 = 1.0;

/// What hurts so few at most may be refused however small its part of the excess is.
pub(crate) const HARMLESS_COLLATERAL: f32 = 0.002;

/// Evidence that suffices to refuse at once.
const STRONG_SCORE: f32 = 0.5;
const STRONG_COLLATERAL: f32 = 0.01;

/// The most that a rule may hurt, at the upper bound, to drop connections. With none of 3,000 normal requests hit the bound
/// is this low.
const HARD_COLLATERAL: f32 = 0.001;

/// The most that a rule may hurt, at the upper bound, to be put in force by itself.
const ENFORCED_COLLATERAL_MAX: f32 = 0.01;

/// How long what was let go since it met a crowd is not put in force again.
const SPARED: Duration = Duration::from_secs(60);

const NO_LONGER_NEEDED: &str = "it is no longer needed";

/// Why one is let go that came in force while little was known, and would now only be proposed.
const TOO_WIDE: &str = "it might hit more of normal traffic than a rule may that nobody has put in force";

const REFUSE: Action = Action::Refuse { status: 403 };

/// A conjunction that explains an excess.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) conditions: Vec<Condition>,
    pub(crate) evidence: Evidence,
    /// Requests a second that normal traffic has of it.
    pub(crate) normal_rate: f64,
    /// The share that it explains of what the rules before it left, of the cost by which it was found.
    pub(crate) of_left: f32,
    /// Whether it is established that this is no crowd: without it nothing is enforced.
    pub(crate) cleared: bool,
    /// Whether that is only since the site has given hardly anything to those whom it meets.
    pub(crate) is_unanswered: bool,
    /// Whether it names the mark of a sender (agent, order of headers, handshake) that nobody in normal traffic has.
    pub(crate) has_foreign_mark: bool,
    /// Whether a crowd is there, or was just now, of which this may be a part.
    pub(crate) is_beside_crowd: bool,
}

/// A rule with its state.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) rule: Rule,
    /// Whether the guard is beside a server, so that what a rule does is what it would do.
    beside: bool,
    pub(super) incident: u32,
    pub(super) evidence: Evidence,
    pub(super) normal_rate: f64,
    pub(super) of_left: f32,
    pub(super) cleared: bool,
    pub(super) has_foreign_mark: bool,
    is_beside_crowd: bool,
    /// Whether they are people, where that was not known when it was put in force, or some of them have read since.
    asking: Option<Asking>,
    /// When it is said whom it meets although it has not asked.
    telling: Telling,
    /// When it was let go since it met a crowd.
    spared: Option<Timestamp>,
    pub(super) reason: String,
    pub(super) found: Timestamp,
    pub(super) found_last: Timestamp,
    pub(super) enforced: Option<Timestamp>,
    pub(super) expires: Option<Timestamp>,
    pub(super) met: Met,
    /// When what it does last changed.
    pub(super) stepped: Timestamp,
    shadowed: Timestamp,
    life: Duration,
    /// When it was last needed.
    needed: Timestamp,
    /// How long it must not be needed before it steps down.
    patience: Duration,
    /// Whether it has stepped down and nothing has come back since.
    softened: bool,
    /// Whether others explain its flood with less harm: it only slows down then, whatever comes.
    outdone: bool,
}

impl Held {
    pub(super) fn new(id: RuleId, incident: u32, finding: Finding, now: Timestamp, beside: bool) -> Self {
        Self {
            rule: Rule {
                id,
                action: REFUSE,
                stage: Stage::Proposed,
                canary_interval: Rule::CANARY_INTERVAL,
                is_asking: false,
                conditions: finding.conditions,
            },
            beside,
            incident,
            evidence: finding.evidence,
            normal_rate: finding.normal_rate,
            of_left: finding.of_left,
            cleared: finding.cleared,
            has_foreign_mark: finding.has_foreign_mark,
            is_beside_crowd: finding.is_beside_crowd,
            asking: finding.is_unanswered.then_some(Asking::Since(now)),
            telling: Telling::new(now),
            spared: None,
            reason: String::new(),
            found: now,
            found_last: now,
            enforced: None,
            expires: None,
            met: Met::default(),
            shadowed: now,
            life: LIFE,
            stepped: now,
            needed: now,
            patience: PATIENCE,
            softened: false,
            outdone: false,
        }
    }

    /// Whether it has to be learned what they do whom the site gives something. Not of the mark of a sender who is nobody else, unless a
    /// crowd is there that might have it.
    pub(super) fn is_asking(&self) -> bool {
        self.asking.is_some_and(Asking::is_open) && self.may_be_people()
    }

    /// Whether it has asked, so that at each look is said what they tell whom the site has given something.
    pub(super) fn has_asked(&self) -> bool {
        self.asking.is_some() && self.may_be_people()
    }

    /// Since when nothing was said of what they tell, where it is time for that although it has not asked: a crowd may have come since.
    pub(super) fn is_untold_since(&self, now: Timestamp) -> Option<Timestamp> {
        self.telling.due_since(now).filter(|_| self.asking.is_none() && self.may_be_people())
    }

    const fn may_be_people(&self) -> bool {
        !self.has_foreign_mark || self.is_beside_crowd
    }

    /// Lets go what turned out to meet a crowd.
    pub(super) fn spare(&mut self, now: Timestamp) -> Event {
        (self.cleared, self.spared) = (false, Some(now));
        self.retire(now, "what it meets is a crowd")
    }

    /// Whether it was let go for that just now, so that what is found of the moment before is no reason to put it in force again.
    pub(super) fn is_spared(&self, now: Timestamp) -> bool {
        self.rule.stage == Stage::Retired && self.spared.is_some_and(|spared| now.since(spared) <= SPARED)
    }

    /// Takes what they tell whom the site has given something.
    pub(super) fn note(&mut self, now: Timestamp, told: Told) {
        self.telling.note(now, told);
        self.ask(now, Asking::after(self.asking, now, told));
    }

    /// Asks whom it meets while a crowd is there, unless it does or is about none.
    pub(super) fn suspect(&mut self, now: Timestamp) {
        if self.asking.is_none_or(|asking| !asking.is_lasting()) {
            self.asking = Some(Asking::Suspected(now));
        }
    }

    /// Is found again, for this incident.
    pub(super) fn begin_anew(&mut self, now: Timestamp, incident: u32) {
        if self.incident != incident {
            self.telling = Telling::new(now);
        }
        (self.incident, self.found_last) = (incident, now);
    }

    fn ask(&mut self, now: Timestamp, asking: Option<Asking>) {
        if self.asking.is_some() && asking.is_none() {
            self.telling.doubt(now);
        }
        self.asking = asking;
    }

    /// Lets as many through as it takes to know whom it meets; whether that has changed.
    pub(super) fn probe(&mut self, now: Timestamp) -> bool {
        self.ask(now, self.asking.and_then(|asking| asking.step(now)));
        let present = (self.rule.canary_interval, self.rule.is_asking);
        let wanted = match self.asking.filter(|_| self.is_asking()) {
            Some(asking) => (asking.interval(now, &self.met, present.0), true),
            None => (Rule::CANARY_INTERVAL, false),
        };
        (self.rule.canary_interval, self.rule.is_asking) = wanted;
        wanted != present
    }

    /// Takes for granted, before it is in force, what a finding says of whether these are people.
    pub(super) fn learn_whom_it_meets(&mut self, now: Timestamp, finding: &Finding) {
        self.is_beside_crowd = finding.is_beside_crowd;
        self.asking = finding.is_unanswered.then(|| self.asking.unwrap_or(Asking::Since(now)));
    }

    /// Takes what is known now in place of what was.
    pub(super) fn learn(&mut self, finding: Finding) {
        self.evidence = finding.evidence;
        self.normal_rate = finding.normal_rate;
        self.of_left = finding.of_left;
    }

    pub(super) fn status(&self) -> RuleStatus {
        RuleStatus {
            id: self.rule.id,
            incident: self.incident,
            text: self.rule.to_string(),
            action: self.rule.action,
            stage: self.rule.stage,
            reason: self.reason.clone(),
            found: self.found,
            enforced: self.enforced,
            expires: self.expires,
            taken_back: None,
            confirm_until: None,
            evidence: self.evidence.clone(),
            matched: self.met.matched,
            refused: self.met.refused,
            canaries: self.met.canaries,
            asking: (self.rule.is_asking && self.rule.stage == Stage::Enforced).then_some(self.rule.canary_interval),
            spared: self.met.spared,
            closed: self.met.closed,
            refused_by_server: self.met.refused_by_server,
            collateral_actual: self.met.known_share(),
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.rule.stage != Stage::Retired
    }

    pub(super) fn is_harmful(&self) -> bool {
        self.met.is_harmful(self.evidence.collateral_upper)
    }

    /// What is permitted for this rule: none that could hurt many is put in force by itself. While little is known the bound
    /// of the harm is wide for any rule, and it slows down for a minute only.
    pub(super) fn allowed(&self, permit: Permit) -> Permit {
        if permit == Permit::Refuse && self.evidence.collateral_upper > ENFORCED_COLLATERAL_MAX {
            return Permit::Propose("it might hit more than 1% of normal traffic");
        }
        let is_wide = |condition: &Condition| matches!(condition.attribute, Attribute::Country | Attribute::Asn);
        let asks_for_anything = |condition: &Condition| condition.wanted == Wanted::Anything;
        if permit == Permit::Refuse && !self.has_foreign_mark && self.evidence.collateral_upper > HARMLESS_COLLATERAL {
            let conditions = &self.rule.conditions;
            if conditions.iter().any(is_wide) {
                return Permit::Propose(
                    "it names a country or a provider, and might hit more than 0.2% of normal traffic",
                );
            }
            // A search, a page by its number and a link of a newsletter are met alike.
            if conditions.iter().any(asks_for_anything) {
                return Permit::Propose(
                    "it meets queries of all kinds, and might hit more than 0.2% of normal traffic",
                );
            }
        }
        permit
    }

    pub(super) fn propose(&mut self, now: Timestamp, reason: &str) -> Event {
        self.rule.stage = Stage::Proposed;
        self.reason = format!("proposed: {reason}");
        let text = format!("{} proposed, since {reason}: {}", self.rule.id, self.rule);
        Event { at: now, kind: EventKind::RuleProposed, text }
    }

    pub(super) fn shadow(&mut self, now: Timestamp) -> Event {
        self.rule.stage = Stage::Shadow;
        self.shadowed = now;
        self.reason = "in shadow: counting whom it would hit".to_owned();
        let text = format!("{} in shadow: {}", self.rule.id, self.rule);
        Event { at: now, kind: EventKind::RuleShadowed, text }
    }

    pub(super) fn end_shadow(&mut self, now: Timestamp, permit: Permit, gone: &mut Vec<RuleId>) -> Option<Event> {
        if now.since(self.found_last) > LOST {
            gone.push(self.rule.id);
            let text = format!("{} dropped in shadow, it no longer explains the excess: {}", self.rule.id, self.rule);
            return Some(Event { at: now, kind: EventKind::RuleRetired, text });
        }
        if let Permit::Propose(reason) = self.allowed(permit) {
            return Some(self.propose(now, reason));
        }
        if now.since(self.shadowed) < SHADOW || !self.cleared || self.met.matched == 0 || self.is_harmful() {
            return None;
        }
        let why = format!(
            "explains {:.0}% of the excess, at most {:.2}% of normal traffic",
            self.evidence.coverage * 100.0,
            self.evidence.collateral_upper * 100.0
        );
        Some(self.enforce(now, permit, &why))
    }

    pub(super) fn enforce(&mut self, now: Timestamp, permit: Permit, why: &str) -> Event {
        self.rule.stage = Stage::Enforced;
        self.rule.action = if permit == Permit::Refuse && self.is_strong() { REFUSE } else { self.throttle() };
        if self.enforced.is_some() {
            self.be_more_patient();
        }
        self.enforced = Some(now);
        // While it was let go, the site gave all of them what they came for, and they were no people.
        if self.telling.take_people(now) && self.asking.is_none() {
            self.telling.doubt(now);
        }
        self.asking = self.asking.map(|_| Asking::Since(now));
        self.life = LIFE;
        self.expires = Some(now + self.life);
        (self.stepped, self.needed, self.softened, self.outdone) = (now, now, false, false);
        self.reason = self.decided(why);
        self.event(now, EventKind::RuleEnforced, why)
    }

    /// What time does to a rule in force: it is renewed, goes up or down a step, or is let go.
    pub(super) fn go_on(&mut self, now: Timestamp, permit: Permit) -> Option<Event> {
        let expired = self.expires.is_some_and(|expires| expires <= now);
        // On a young baseline a rule must be found again, or end with its minute; but what is closed unread nobody finds.
        let is_lost = permit == Permit::Throttle && now.since(self.found_last) > NOT_FOUND && !self.met.is_closing(now);
        let allowed = self.allowed(permit);
        if expired && allowed != permit {
            return Some(self.retire(now, TOO_WIDE));
        }
        if expired && is_lost {
            return Some(self.retire(now, NO_LONGER_NEEDED));
        }
        if self.met.last(WINDOW_SECONDS, now) >= self.needed_in_a_minute() {
            self.needed = now;
        } else if now.since(self.stepped) >= PATIENCE
            && now.since(self.needed) >= self.patience.saturating_sub(PATIENCE)
        {
            return Some(self.step_down(now));
        }
        if expired {
            self.life = match permit {
                Permit::Throttle => LIFE,
                Permit::Propose(_) | Permit::Refuse => (self.life * 2).min(LIFE_MAX),
            };
            self.expires = Some(now + self.life);
        }
        self.step_up(now, allowed)
    }

    /// Slows down what it refused, since others explain the flood with less harm; nothing when it does so already.
    pub(super) fn soften(&mut self, now: Timestamp) -> Option<Event> {
        if self.outdone {
            return None;
        }
        self.outdone = true;
        let why = "others explain the flood with less harm";
        let throttle = self.throttle();
        Some(self.step(now, throttle, EventKind::RuleRetired, why))
    }

    fn step_up(&mut self, now: Timestamp, permit: Permit) -> Option<Event> {
        if self.outdone {
            return None;
        }
        let for_long = |trial: Duration| now.since(self.stepped) >= trial;
        if self.softened {
            return (permit == Permit::Refuse && self.is_back(now)).then(|| {
                self.be_more_patient();
                self.softened = false;
                let action = if self.is_strong() { REFUSE } else { self.rule.action };
                self.step(now, action, EventKind::RuleEnforced, "the flood is back")
            });
        }
        match self.rule.action {
            Action::Throttle { .. } => (permit == Permit::Refuse && for_long(THROTTLE_TRIAL) && self.is_strong())
                .then(|| self.step(now, REFUSE, EventKind::RuleEnforced, "the evidence has grown")),
            Action::Refuse { .. } => {
                let goes_on = permit == Permit::Refuse && for_long(REFUSAL_TRIAL) && self.met.goes_on(now);
                (goes_on && self.is_hard()).then(|| {
                    let why = "its clients go on after refusals, and nobody else is like them";
                    self.step(now, Action::Drop, EventKind::RuleEnforced, why)
                })
            }
            // Someone of good standing is among them after all: whoever is refused is at least told so.
            Action::Drop => (!self.is_hard()).then(|| {
                let why = "a client of good standing was hit";
                self.step(now, REFUSE, EventKind::RuleRetired, why)
            }),
        }
    }

    fn step_down(&mut self, now: Timestamp) -> Event {
        let action = match self.rule.action {
            Action::Drop => REFUSE,
            Action::Refuse { .. } => self.throttle(),
            Action::Throttle { .. } => return self.retire(now, NO_LONGER_NEEDED),
        };
        self.softened = true;
        self.life = LIFE;
        self.expires = Some(now + PATIENCE);
        self.step(now, action, EventKind::RuleRetired, "hardly anything comes any more")
    }

    pub(super) fn retire(&mut self, now: Timestamp, why: &str) -> Event {
        self.rule.stage = Stage::Retired;
        self.stepped = now;
        self.expires = None;
        self.asking = self.asking.filter(|asking| asking.is_lasting());
        self.met.forget_most();
        let length = if self.has_foreign_mark { "a day" } else { "ten minutes" };
        let again = if self.cleared {
            format!("armed again at once if the flood returns within {length}")
        } else {
            "in force again only once it is found again and is no crowd".to_owned()
        };
        self.reason = format!("retired: {why}, and {again}");
        let text = format!("{} retired, {why}: {}", self.rule.id, self.rule);
        Event { at: now, kind: EventKind::RuleRetired, text }
    }

    /// For how long after it was let go it is put in force again without a search.
    pub(super) const fn armed_again(&self) -> Duration {
        if self.has_foreign_mark { ARMED_AGAIN_BY_MARK } else { ARMED_AGAIN }
    }

    fn step(&mut self, now: Timestamp, action: Action, kind: EventKind, why: &str) -> Event {
        self.rule.action = action;
        self.stepped = now;
        self.reason = self.decided(&format!("it {}, since {why}", self.rule.action.words(self.beside)));
        self.event(now, kind, why)
    }

    fn event(&self, now: Timestamp, kind: EventKind, why: &str) -> Event {
        let does = self.rule.action.words(self.beside);
        Event { at: now, kind, text: format!("{} {does}, {why}: {}", self.rule.id, self.rule) }
    }

    /// Why a rule has come as far as it can.
    fn decided(&self, why: &str) -> String {
        format!("{}: {why}", if self.beside { "decided" } else { "enforced" })
    }

    /// Requests in so many seconds from which on it is needed.
    fn needed_in(&self, seconds: u64) -> f64 {
        NEEDED_FACTOR * self.normal_rate * seconds as f64
    }

    fn needed_in_a_minute(&self) -> f64 {
        let share = if self.has_foreign_mark { NEEDED_SHARE } else { NEEDED_SHARE_OF_ANYONE };
        self.needed_in(WINDOW_SECONDS).max(NEEDED_MIN).max(share * self.met.most())
    }

    /// Whether a flood that had let go has come back: within two seconds when it is strong, within the minute otherwise.
    fn is_back(&self, now: Timestamp) -> bool {
        let comes = |seconds: u64, least: f64| {
            self.met.last(seconds, now) >= (BACK_FACTOR * self.needed_in(seconds)).max(least)
        };
        comes(BACK_SECONDS, BACK_MIN) || comes(WINDOW_SECONDS, BACK_FACTOR * self.needed_in_a_minute())
    }

    fn be_more_patient(&mut self) {
        self.patience = (self.patience * 2).min(PATIENCE_MAX);
    }

    fn throttle(&self) -> Action {
        Action::Throttle { rate: (THROTTLE_FACTOR * self.normal_rate).max(THROTTLE_RATE_MIN) as f32 }
    }

    fn is_strong(&self) -> bool {
        let evidence = &self.evidence;
        evidence.collateral_upper <= HARMLESS_COLLATERAL
            || (evidence.score >= STRONG_SCORE && evidence.collateral_upper <= STRONG_COLLATERAL)
    }

    /// Whether it can hit nobody but the sender that it names: a dropped client sees a reset and is told nothing.
    fn is_hard(&self) -> bool {
        self.cleared
            && self.has_foreign_mark
            && self.evidence.collateral == 0.0
            && self.evidence.collateral_upper <= HARD_COLLATERAL
            && self.met.matched_known == 0
    }
}
