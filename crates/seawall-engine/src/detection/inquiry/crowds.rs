//! Whether what was found is a crowd, a side of one, or neither.

use rustc_hash::FxHashSet;

use crate::decision::{Finding, RuleId, Told};
use crate::observation::attribute::Attribute;

use super::super::RARE_SHARE;
use super::super::crowd::{AGENT_SHARE_MAX, Crowd, crowd, told};
use super::super::index::Matching;
use super::super::mining::Candidate;
use super::super::recent::Sampled;
use super::super::values::{ABSENT, Item};
use super::{Choice, CrowdBefore, Found, InForce, Inquiry, View};

/// A program is disguised when this share of its requests has the agent of an ordinary visitor.
const DISGUISED_SHARE: f64 = 0.8;

/// Senders are known by their history when old acquaintances send this share, and are no more than so many.
const KNOWN_SHARE: f64 = 0.8;
const KNOWN_CLIENTS_MAX: usize = 256;

/// What has this share of its requests in common with what may be a crowd is a side of it.
const SIDE_SHARE: f64 = 0.3;

/// Whether most of what is no finding is a crowd.
pub(super) fn is_mostly_crowd(choices: &[Choice], findings: &[Found]) -> bool {
    let is_spared = |choice: &&Choice| findings.iter().all(|(items, _)| *items != choice.candidate.items);
    let share = |is_crowd: bool| {
        let spared = choices.iter().filter(is_spared).filter(|choice| choice.crowd.reason().is_some() == is_crowd);
        spared.map(|choice| choice.share).sum::<f64>()
    };
    share(true) > share(false)
}

impl Inquiry<'_> {
    /// Whether those whom a rule would be about are a crowd.
    pub(super) fn crowd_of(&self, candidate: &Candidate, view: &View<'_>) -> Crowd {
        if self.is_disguised(candidate, view) {
            return Crowd::No;
        }
        if self.is_known_by_history(candidate) {
            return Crowd::TooEarly;
        }
        let rows = || self.material.since_onset().iter().filter(|sampled| sampled.row.is_mineable()).copied();
        let is_foreign = candidate.collateral == 0.0;
        let has_read = |CrowdBefore { readers, seen }: CrowdBefore<'_>| {
            readers.read_on(&candidate.items, self.material.since_onset(), self.material.now, seen, &view.assets)
        };
        let verdict = crowd(&candidate.items, rows(), self.material.now, &view.assets, view.ordinary, is_foreign);
        if !verdict.is_none() {
            return verdict;
        }
        // One agent out of a crowd is as alike as a bot. An agent that ordinary visitors have is judged with the others.
        let is_agent = |item: &Item| matches!(item.attribute, Attribute::UserAgent | Attribute::UserAgentWord);
        let agents: Vec<Item> = candidate.items.iter().copied().filter(is_agent).collect();
        let is_ordinary = !agents.is_empty() && self.material.reference.has_all(&agents);
        let others: Vec<Item> = candidate.items.iter().copied().filter(|item| !is_agent(item)).collect();
        let verdict = if is_ordinary && candidate.score.coverage < 0.5 && !others.is_empty() {
            crowd(&others, rows(), self.material.now, &view.assets, view.ordinary, false)
        } else {
            verdict
        };
        if verdict.is_none() && self.crowd.is_some_and(has_read) { Crowd::Reading } else { verdict }
    }

    /// What they tell of rules in force, to whom the site has given something. Of a cost that is refused nothing is searched any more,
    /// so these are asked about by themselves.
    pub(super) fn told(&self, view: &View<'_>) -> Vec<(RuleId, Told)> {
        let rows = || self.material.since_onset().iter().filter(|sampled| sampled.row.is_mineable()).copied();
        let told = |InForce { items, since, .. }: &InForce| {
            told(items, rows(), self.material.now, &view.assets, view.ordinary, *since)
        };
        self.in_force.iter().map(|rule| (rule.rule, told(rule))).collect()
    }

    /// Whether much of what a rule hits is also hit by another that may yet turn out to be a crowd.
    pub(super) fn is_side(&self, choice: &Choice, choices: &[Choice]) -> bool {
        if choice.candidate.collateral == 0.0 || self.has_rare_mark(&choice.candidate.items) {
            return false;
        }
        let others: Vec<&[Item]> = choices
            .iter()
            .filter(|other| !other.crowd.is_none())
            .map(|other| other.candidate.items.as_slice())
            .collect();
        let (mut all, mut shared) = (0.0, 0.0);
        for sampled in self.material.rows().iter().filter(|row| row.row.marks.has_all(&choice.candidate.items)) {
            all += sampled.cost(0);
            if others.iter().any(|items| sampled.row.marks.has_all(items)) {
                shared += sampled.cost(0);
            }
        }
        shared >= SIDE_SHARE * all
    }

    /// Whether the rule is about a program's agent that ordinary traffic has, and nearly all who send it now have been here before: a
    /// search engine or a monitor that asks for more than usual, from few addresses. Such a rule is shown and not put in force. To have been
    /// here once an hour ago is cheap, so an agent that hardly anybody has, or that browsers have, is not known by it.
    fn is_known_by_history(&self, candidate: &Candidate) -> bool {
        let is_agent = |item: &&Item| matches!(item.attribute, Attribute::UserAgent | Attribute::UserAgentWord);
        let mut agents = candidate.items.iter().filter(is_agent).peekable();
        if candidate.collateral == 0.0 || agents.peek().is_none() || agents.any(|agent| self.is_rare(*agent)) {
            return false;
        }
        let matched = || self.material.since_onset().iter().filter(|row| row.row.marks.has_all(&candidate.items));
        let is_browser =
            |row: &&Sampled<'_>| self.marked.claims_browser(&row.row.marks) && !self.marked.is_named(&row.row.marks);
        let clients: FxHashSet<u32> = matched().map(|row| row.row.client_hash).collect();
        if clients.len() > KNOWN_CLIENTS_MAX || 2 * matched().filter(is_browser).count() > matched().count() {
            return false;
        }
        let returning: f64 = matched().filter(|sampled| sampled.row.returning).map(|sampled| sampled.cost(0)).sum();
        returning >= KNOWN_SHARE * matched().map(|sampled| sampled.cost(0)).sum::<f64>()
    }

    /// Whether nearly all of these come from who was here before, with a program's agent that ordinary traffic has.
    pub(super) fn are_known_programs(&self, matching: &[Matching<'_, '_>]) -> bool {
        let is_known = |sampled: &Sampled<'_>| {
            let agent = Item { attribute: Attribute::UserAgent, hash: sampled.row.marks.one(Attribute::UserAgent) };
            sampled.row.returning
                && agent.hash != ABSENT
                && !self.is_rare(agent)
                && (!self.marked.claims_browser(&sampled.row.marks) || self.marked.is_named(&sampled.row.marks))
        };
        let sum = |kept: &dyn Fn(&Sampled<'_>) -> bool| -> f64 {
            matching.iter().filter(|found| kept(found.sampled)).map(|found| found.sampled.cost(0)).sum()
        };
        sum(&is_known) >= KNOWN_SHARE * sum(&|_| true)
    }

    /// Whether the requests call themselves what ordinary visitors do, but were written by a program that no ordinary visitor has:
    /// an order of headers, or a handshake.
    fn is_disguised(&self, candidate: &Candidate, view: &View<'_>) -> bool {
        let is_hand = |item: &&Item| matches!(item.attribute, Attribute::HeaderOrder | Attribute::Ja4);
        let Some(hand) = candidate.items.iter().find(is_hand) else { return false };
        if self.material.reference.has_all(&[*hand]) {
            return false;
        }
        let matched =
            || self.material.since_onset().iter().filter(|sampled| sampled.row.marks.has_all(&candidate.items));
        let claiming = matched().filter(|sampled| view.people.is_ordinary(sampled.row.marks.one(Attribute::UserAgent)));
        claiming.count() as f64 >= DISGUISED_SHARE * matched().count() as f64
    }

    /// Whether the mark of a sender is among these that no normal request has.
    pub(super) fn has_foreign_mark(&self, items: &[Item]) -> bool {
        let mut marks = items.iter().filter(|item| item.attribute.is_mark() && item.hash != ABSENT);
        marks.any(|mark| !self.material.reference.has_all(&[*mark]))
    }

    /// Whether this is so far from ordinary visitors that it is no side of a crowd. Whoever comes while the site answers nobody is
    /// one of the crowd, unless it is most of what comes. What a rule refuses already is given nothing for that.
    pub(super) fn is_apart(&self, choice: &Choice, finding: &Finding) -> bool {
        finding.cleared
            && (!finding.is_unanswered
                || choice.share > AGENT_SHARE_MAX
                || self.standing.contains(&choice.candidate.items))
            && self.has_rare_mark(&choice.candidate.items)
            && f64::from(finding.evidence.collateral) <= RARE_SHARE
    }

    /// Whether the mark of a sender is among these that hardly any normal request has: what grows slowly has taught a little of its
    /// own before it is noticed.
    pub(super) fn has_rare_mark(&self, items: &[Item]) -> bool {
        items.iter().any(|item| item.attribute.is_mark() && self.is_rare(*item))
    }

    /// The same of a word of its agent, too.
    pub(super) fn has_rare_word(&self, items: &[Item]) -> bool {
        let is_word = |item: &&Item| item.attribute == Attribute::UserAgentWord;
        self.has_rare_mark(items) || items.iter().filter(is_word).any(|word| self.is_rare(*word))
    }

    fn is_rare(&self, item: Item) -> bool {
        let is_rare = match self.seen.and_then(|seen| seen.share(item)) {
            Some(share) => share <= RARE_SHARE,
            None => !self.material.reference.has_all(&[item]),
        };
        item.hash != ABSENT && is_rare
    }
}
