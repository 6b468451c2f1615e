//! Rules that the operator took back. For a while the guard puts in force neither them nor what comes to the same; what it finds of that is
//! shown under the number that the operator knows. Nothing here looks at requests.
//!
//! What comes to the same as a rule: what everything has that the rule matched, since it would refuse all of it again, and what nothing
//! has but what the rule matched, since it would refuse a part of it again. That is told by what the conditions say (each conjunction that
//! contains the rule's, and each that they contain), and by what all that was matched had in common: a flood has several marks, and whoever
//! takes back the rule of one would else meet that of the next within a second.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::expression::{Expression, Lists, Use};
use super::held::Finding;
use super::{BAN_DURATION_MAX, Condition, Event, EventKind, RuleId, RuleStatus, Stage};
use crate::observation::attribute::Attribute;
use crate::units::Timestamp;

/// Those that are remembered; of more, the oldest goes.
const VETOES_MAX: usize = 32;

/// How long one lasts once its incident is over, where the operator says no time: the flood of every day is met by then.
const AFTER_INCIDENT: Duration = Duration::from_secs(86_400);

/// A rule that the operator took back, and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Veto {
    /// The rule as it was then.
    pub rule: RuleStatus,
    /// When it was taken back.
    pub since: Timestamp,
    /// Until when it is not put in force again; none as long as its incident is open, after which it has a day.
    pub until: Option<Timestamp>,
}

impl Veto {
    /// Whether the text of its rule is the whole rule. That of one about a network of clients is not: nobody is to read there which.
    pub fn is_told_by_text(&self) -> bool {
        conditions(&self.rule.text).is_some()
    }
}

/// Those that last.
#[derive(Clone, Debug, Default)]
pub(super) struct Vetoes {
    vetoed: Vec<Vetoed>,
}

/// One that lasts.
#[derive(Clone, Debug)]
pub(super) struct Vetoed {
    veto: Veto,
    conditions: Vec<Condition>,
    /// These, and what all that the rule matched had in common beyond them.
    shared: Vec<Condition>,
    /// In which incident it was found again last, and as what.
    again: Option<(u32, String)>,
}

impl Vetoes {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Veto> {
        self.vetoed.iter().map(|vetoed| &vetoed.veto)
    }

    /// Takes a rule in that was taken back.
    pub(super) fn add(
        &mut self,
        rule: RuleStatus,
        conditions: Vec<Condition>,
        now: Timestamp,
        until: Option<Timestamp>,
    ) {
        self.put(Veto { rule, since: now, until }, conditions);
    }

    /// Says anew for how long a rule is not made again that was taken back before; returns it as it is then.
    pub(super) fn renew(&mut self, id: RuleId, until: Option<Timestamp>) -> Option<&Veto> {
        let vetoed = self.vetoed.iter_mut().find(|vetoed| vetoed.veto.rule.id == id)?;
        vetoed.veto.until = until;
        Some(&vetoed.veto)
    }

    /// Takes up those of before a restart, which has ended their incidents.
    pub(super) fn take_up(&mut self, vetoes: Vec<Veto>, now: Timestamp) {
        for mut veto in vetoes {
            let is_known = self.iter().any(|known| known.rule.id == veto.rule.id);
            let Some(conditions) = conditions(&veto.rule.text).filter(|_| !is_known) else { continue };
            veto.until = veto.until.or(Some(now + AFTER_INCIDENT));
            self.put(veto, conditions);
        }
    }

    fn put(&mut self, veto: Veto, conditions: Vec<Condition>) {
        if self.vetoed.len() >= VETOES_MAX {
            self.vetoed.remove(0);
        }
        let shared = with_closure(&conditions, &veto.rule.evidence.closure);
        self.vetoed.push(Vetoed { veto, conditions, shared, again: None });
    }

    /// Lets time pass: a day begins for those whose incident is not the open one any more, and some end.
    pub(super) fn pass(&mut self, now: Timestamp, open: Option<u32>) {
        for veto in self.vetoed.iter_mut().map(|vetoed| &mut vetoed.veto) {
            if veto.until.is_none() {
                veto.until = end(now, None, Some(veto.rule.incident) == open);
            }
        }
        self.vetoed.retain(|vetoed| vetoed.veto.until.is_none_or(|until| until > now));
    }

    /// The one that stands against what comes to the same as its rule.
    pub(super) fn against(&mut self, conditions: &[Condition], closure: &[String]) -> Option<&mut Vetoed> {
        if self.vetoed.is_empty() {
            return None;
        }
        let shared = with_closure(conditions, closure);
        self.vetoed
            .iter_mut()
            .find(|vetoed| is_within(&vetoed.shared, conditions) || is_within(&shared, &vetoed.conditions))
    }

    /// Ends one.
    pub(super) fn lift(&mut self, id: RuleId) -> Option<Veto> {
        let at = self.vetoed.iter().position(|vetoed| vetoed.veto.rule.id == id)?;
        Some(self.vetoed.remove(at).veto)
    }

    /// Ends those of which the operator wants all refused again, by a rule of these conditions.
    pub(super) fn lift_within(&mut self, conditions: &[Condition]) -> Vec<RuleId> {
        let gone = self.vetoed.extract_if(.., |vetoed| is_within(&vetoed.shared, conditions));
        gone.map(|vetoed| vetoed.veto.rule.id).collect()
    }

    pub(super) fn status(&self) -> impl Iterator<Item = RuleStatus> {
        self.vetoed.iter().map(Vetoed::status)
    }
}

impl Vetoed {
    /// Notes that it was found again; it is said once in each incident.
    pub(super) fn find_again(&mut self, now: Timestamp, incident: u32, finding: &Finding) -> Option<Event> {
        let text = finding.conditions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        let id = self.veto.rule.id;
        let is_news = self.again.as_ref().is_none_or(|(before, _)| *before != incident);
        let said = format!("{id} found again and not put in force, since an operator took it back: {text}");
        self.again = Some((incident, text));
        is_news.then_some(Event { at: now, kind: EventKind::RuleProposed, text: said })
    }

    fn status(&self) -> RuleStatus {
        let again = match &self.again {
            Some((incident, text)) => format!("found again in incident {incident} and not put in force: {text}"),
            None => "not found again since".to_owned(),
        };
        RuleStatus {
            stage: Stage::Vetoed,
            reason: format!("an operator took it back; {again}"),
            expires: self.veto.until,
            taken_back: Some(self.veto.since),
            confirm_until: None,
            ..self.veto.rule.clone()
        }
    }
}

/// Until when a rule is not made again that is taken back now: for a time that was said, or until a day after its incident.
pub(super) fn end(now: Timestamp, length: Option<Duration>, is_open: bool) -> Option<Timestamp> {
    match length {
        Some(length) => Some(now + length.min(BAN_DURATION_MAX)),
        None => (!is_open).then_some(now + AFTER_INCIDENT),
    }
}

/// Whether whatever has all of `narrow` has all of `wide`, by what they say alone.
fn is_within(narrow: &[Condition], wide: &[Condition]) -> bool {
    wide.iter().all(|wide| narrow.iter().any(|narrow| narrow.implies(wide)))
}

/// What a rule is shown as, read again; none where it names a network.
fn conditions(text: &str) -> Option<Vec<Condition>> {
    let conditions = Expression::parse(text, Use::Rule, &Lists::default()).ok()?.as_conditions()?;
    conditions.iter().all(|condition| condition.attribute != Attribute::ClientPrefix).then_some(conditions)
}

fn with_closure(own: &[Condition], closure: &[String]) -> Vec<Condition> {
    own.iter().cloned().chain(closure.iter().filter_map(|text| conditions(text)).flatten()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Action, Evidence};

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn read(text: &str) -> Vec<Condition> {
        Expression::parse(text, Use::Rule, &Lists::default()).expect("a rule").as_conditions().expect("conditions")
    }

    fn closure(text: &str) -> Vec<String> {
        if text.is_empty() { Vec::new() } else { text.split(" and ").map(str::to_owned).collect() }
    }

    fn rule(id: u32, text: &str, common: &str) -> RuleStatus {
        RuleStatus {
            id: RuleId(id),
            incident: 1,
            text: text.to_owned(),
            action: Action::Refuse { status: 403 },
            stage: Stage::Enforced,
            reason: String::new(),
            found: NOW,
            enforced: Some(NOW),
            expires: None,
            taken_back: None,
            confirm_until: None,
            evidence: Evidence { closure: closure(common), ..Evidence::default() },
            matched: 0,
            refused: 0,
            canaries: 0,
            asking: None,
            spared: 0,
            closed: 0,
            refused_by_server: 0,
            collateral_actual: None,
        }
    }

    fn vetoed(text: &str, common: &str) -> Vetoes {
        let mut vetoes = Vetoes::default();
        vetoes.add(rule(3, text, common), read(text), NOW, None);
        vetoes
    }

    #[test]
    fn what_comes_to_the_same_is_not_made_again_and_what_does_not_is() {
        let agent = "user-agent = \"QQGameHall/2\"";
        for (text, common, found, its_common, expected) in [
            (agent, "", agent, "", true),
            // It contains the rule, or is contained in it.
            (agent, "", "path = \"/a\" and user-agent = \"QQGameHall/2\"", "", true),
            ("path = \"/a\" and user-agent = \"QQGameHall/2\"", "", agent, "", true),
            (agent, "", "path = \"/a\"", "", false),
            ("path = \"/a\" and user-agent = \"x\"", "", "path = \"/a\" and user-agent = \"y\"", "", false),
            // By what is a part of another value.
            (agent, "", "user-agent-word = \"QQGameHall\"", "", true),
            ("user-agent-word = \"QQGameHall\"", "", agent, "", true),
            ("path = \"/a/b/c.php\"", "", "path-prefix = \"/a/\"", "", true),
            ("path = \"/a/b/c.php\"", "", "extension = \"php\"", "", true),
            ("path-prefix = \"/a/b/\"", "", "path-prefix = \"/a/\"", "", true),
            ("path-prefix = \"/a/\"", "", "path-prefix = \"/b/\"", "", false),
            ("query-keys = \"id\"", "", "query-keys != none", "", true),
            ("query-keys != none", "", "query-keys = \"id\"", "", true),
            ("query-keys != none", "", "query-keys = none", "", false),
            (agent, "path = \"/\" and query-keys != none", "path = \"/\" and query-keys != none", "", true),
            ("path = \"/a/b/c.php\"", "", "path-prefix = \"/b/\"", "", false),
            // By what all had in common that the rule matched, or that this would match.
            (agent, "path = \"/a\" and method = \"POST\"", "path = \"/a\"", "", true),
            (agent, "path = \"/a\" and method = \"POST\"", "method = \"POST\" and host = \"b\"", "", false),
            (agent, "", "path = \"/a\"", "user-agent = \"QQGameHall/2\"", true),
            (agent, "path = \"/a\"", "path = \"/b\"", "method = \"POST\"", false),
        ] {
            let is_against = vetoed(text, common).against(&read(found), &closure(its_common)).is_some();
            assert_eq!(is_against, expected, "{text} ({common}) against {found} ({its_common})");
        }
    }

    #[test]
    fn networks_are_compared_as_such() {
        let network = |text: &str| vec![Condition::new(Attribute::ClientPrefix, text.as_bytes())];
        let mut vetoes = Vetoes::default();
        vetoes.add(rule(3, "client-prefix = (an IPv4 /24)", ""), network("192.0.2.0/24"), NOW, None);
        for (found, expected) in [("192.0.2.7/32", true), ("192.0.0.0/16", true), ("192.0.3.0/24", false)] {
            assert_eq!(vetoes.against(&network(found), &[]).is_some(), expected, "{found}");
        }
        // Its text does not tell which network it is, so that nothing of it can be kept.
        assert!(vetoes.iter().all(|veto| !veto.is_told_by_text()));
    }

    #[test]
    fn one_lasts_until_a_day_after_its_incident_or_for_the_time_that_was_said() {
        let day = AFTER_INCIDENT;
        let lasts = |vetoes: &mut Vetoes, after: Duration, open| {
            vetoes.pass(NOW + after, open);
            vetoes.iter().count() == 1
        };
        let mut vetoes = vetoed("path = \"/a\"", "");
        assert!(lasts(&mut vetoes, 3 * day, Some(1)) && lasts(&mut vetoes, 4 * day, Some(2)));
        assert!(lasts(&mut vetoes, 5 * day - Duration::from_secs(1), Some(1)) && !lasts(&mut vetoes, 5 * day, Some(1)));
        let mut vetoes = vetoed("path = \"/a\"", "");
        vetoes.renew(RuleId(3), end(NOW, Some(day / 24), true));
        assert!(lasts(&mut vetoes, day / 25, Some(1)) && !lasts(&mut vetoes, day / 24, Some(1)));
        assert_eq!(end(NOW, Some(Duration::MAX), false), Some(NOW + BAN_DURATION_MAX));
    }

    #[test]
    fn they_are_bounded_and_come_back_once_with_what_they_were() {
        let mut vetoes = Vetoes::default();
        for number in 0..=VETOES_MAX as u32 {
            vetoes.add(rule(number, &format!("path = \"/{number}\""), ""), read("path = \"/x\""), NOW, None);
        }
        assert_eq!(vetoes.iter().map(|veto| veto.rule.id.0).collect::<Vec<_>>(), (1..=32).collect::<Vec<_>>());
        let mut kept: Vec<Veto> = vetoed("path = \"/a\"", "method = \"POST\"").iter().cloned().collect();
        kept.push(Veto { rule: rule(4, "what nobody can read", ""), ..kept[0].clone() });
        let mut vetoes = Vetoes::default();
        vetoes.take_up(kept.clone(), NOW);
        vetoes.take_up(kept, NOW);
        let expected = (vec![RuleId(3)], Some(NOW + AFTER_INCIDENT));
        assert_eq!((vetoes.status().map(|rule| rule.id).collect(), vetoes.vetoed[0].veto.until), expected);
        assert!(vetoes.against(&read("method = \"POST\""), &[]).is_some());
    }

    #[test]
    fn a_rule_that_refuses_all_of_it_again_takes_it_back_and_one_of_a_part_does_not() {
        let mut vetoes = vetoed("user-agent = \"x\"", "path = \"/a\"");
        assert_eq!(vetoes.lift_within(&read("user-agent = \"x\" and method = \"POST\"")), []);
        assert_eq!(vetoes.lift_within(&read("path = \"/a\"")), [RuleId(3)]);
        assert_eq!((vetoes.lift(RuleId(3)), vetoes.iter().count()), (None, 0));
    }
}
