//! Rules and limits, compiled so that judging looks up each attribute once, however many rules ask for it.
//!
//! Every rule and limit is one bit of a mask. For each attribute that any of them asks for there is a table from value
//! to the mask of those that it satisfies. Starting from all bits, each attribute clears the rules that ask for another
//! value; what is left has matched (the bitmap intersection of packet classifiers; Lakshman and Stiliadis, SIGCOMM 1998).
//! The attributes that cost least are looked at first, and none that no rule still left asks for.

use std::collections::HashMap;

use ipnet::IpNet;

use super::allowances::{Allowances, Quota, Tag};
use super::limit::{Limit, LimitAction, LimitId, LimitKey, LimitStatus};
use crate::address::{AddressSet, ClientAddress};
use crate::decision::expression::{Alternative, Expression, Lookup, Mixed};
use crate::decision::{Action, Condition, Pardons, Rule, RuleId, Stage, Wanted};
use crate::observation::Request;
use crate::observation::attribute::{Attribute, each_value};
use crate::units::Timestamp;

/// The most rules that one set holds: those that detection makes, those that people said, and those of the configuration.
pub const RULES_MAX: usize = 40;

/// The most limits that one set holds, and the most ways in which requests can meet them all together: a rule of a limit whose parts
/// are joined by `or` has as many as parts.
pub const LIMITS_MAX: usize = 64;

/// The status of what a throttle refuses: Too Many Requests.
pub(super) const THROTTLED_STATUS: u16 = 429;

/// What a rule that drops answers where it cannot drop.
pub const DROPPED_STATUS: u16 = 403;

/// The attributes by what it costs to look at them, the cheapest first.
const BY_COST: [Attribute; Attribute::COUNT] = [
    Attribute::Method,
    Attribute::Version,
    Attribute::Country,
    Attribute::Asn,
    Attribute::Ja4,
    Attribute::HeaderOrder,
    Attribute::Path,
    Attribute::Host,
    Attribute::Extension,
    Attribute::RefererOrigin,
    Attribute::UserAgent,
    Attribute::ClientPrefix,
    Attribute::PathPrefix,
    Attribute::PathTemplate,
    Attribute::QueryKeys,
    Attribute::UserAgentWord,
];

/// One bit for each rule, from the lowest, and for each way to meet a limit after them.
pub(super) type Mask = u128;

/// Why rules cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleSetError {
    /// Too many rules.
    #[error("{found} rules, where at most {RULES_MAX} can be in force at once")]
    TooManyRules {
        /// How many there were.
        found: usize,
    },
    /// Too many limits.
    #[error(
        "limits of single clients that requests can meet in {found} ways, where {LIMITS_MAX} are the most; each part that `or` joins in a \
         rule is one, and `in (…)` asks for several values in one"
    )]
    TooManyLimits {
        /// How many there were.
        found: usize,
    },
    /// A limit whose rule cannot be taken apart.
    #[error("limit {limit}: {error}")]
    Mixed {
        /// What it is called.
        limit: String,
        /// Why.
        error: Mixed,
    },
    /// A rule that matches everything.
    #[error("rule {rule} has no condition, so it would match every request")]
    Unconditional {
        /// The rule.
        rule: RuleId,
    },
}

/// What the judge needs to know of a rule once it has matched.
#[derive(Clone, Copy, Debug)]
pub(super) struct CompiledRule {
    pub(super) id: RuleId,
    pub(super) action: Action,
    pub(super) enforced: bool,
    pub(super) canary_interval: u32,
}

/// What the judge needs to know of a limit.
#[derive(Clone, Debug)]
pub(super) struct CompiledLimit {
    pub(super) id: LimitId,
    pub(super) quota: Quota,
    pub(super) key: LimitKey,
    pub(super) action: LimitAction,
    /// As it was said.
    pub(super) said: Limit,
}

impl CompiledLimit {
    fn new(limit: &Limit) -> Self {
        Self {
            id: limit.id(),
            quota: Quota::new(limit.requests, limit.period),
            key: limit.key,
            action: limit.action,
            said: limit.clone(),
        }
    }

    pub(super) fn tag(&self, allowances: &Allowances, client: ClientAddress, host: u64) -> Tag {
        let host = if self.key == LimitKey::ClientAndHost { host } else { 0 };
        allowances.tag(self.id, self.key.number(client), host)
    }
}

/// One way in which a request can meet a limit, beyond what is looked up in the tables.
#[derive(Clone, Debug)]
pub(super) struct CompiledAlternative {
    /// Which of the limits.
    pub(super) limit: usize,
    pub(super) rest: Option<Expression>,
    pub(super) answer: Option<Expression>,
}

/// The conditions on one attribute. An attribute has several of these only where one rule asks for several of its
/// values at once, as two words of a user agent.
#[derive(Clone, Debug)]
struct AttributeTable {
    attribute: Attribute,
    /// Those that ask for any value of the attribute here; the others pass it.
    asking: Mask,
    absent: Mask,
    present: Mask,
    /// The seed is fixed: whoever sends values cannot add any, so cannot make them collide.
    values: HashMap<Box<[u8]>, Mask, foldhash::fast::FixedState>,
    /// One bit for each value's first byte and length, modulo 64: most values that are looked up, as the words of a user
    /// agent, are told apart by it without hashing them.
    filter: u64,
    /// For [`Attribute::ClientPrefix`] in place of `values`.
    networks: Vec<(IpNet, Mask)>,
}

impl AttributeTable {
    fn new(attribute: Attribute) -> Self {
        Self {
            attribute,
            asking: 0,
            absent: 0,
            present: 0,
            values: HashMap::default(),
            filter: 0,
            networks: Vec::new(),
        }
    }

    /// Has `bit` ask for this value; for one of them, if it asks for several.
    fn add(&mut self, bit: Mask, value: &[u8]) {
        self.asking |= bit;
        self.filter |= filter_bit(value);
        *self.values.entry(value.into()).or_default() |= bit;
    }

    /// The same, for having none.
    fn add_absent(&mut self, bit: Mask) {
        self.asking |= bit;
        self.absent |= bit;
    }

    /// The same, for having any.
    fn add_present(&mut self, bit: Mask) {
        self.asking |= bit;
        self.present |= bit;
    }

    fn add_network(&mut self, bit: Mask, network: Option<IpNet>) {
        self.asking |= bit;
        self.networks.extend(network.map(|network| (network, bit)));
    }

    /// Those that some value of the request satisfies.
    #[inline]
    fn satisfied(&self, request: &Request<'_>, client: Option<ClientAddress>) -> Mask {
        let mut satisfied = 0;
        if self.attribute == Attribute::ClientPrefix {
            let Some(client) = client else { return 0 };
            for (network, mask) in &self.networks {
                satisfied |= if network.contains(&client.ip()) { *mask } else { 0 };
            }
            return satisfied;
        }
        each_value(self.attribute, request, client, |value| {
            satisfied |= match value {
                Some(value) if self.filter & filter_bit(value) == 0 => self.present,
                Some(value) => self.look_up(value) | self.present,
                None => self.absent,
            };
        });
        satisfied
    }

    /// Apart from the rest, which is short enough to be compiled into each attribute's loop.
    #[inline(never)]
    fn look_up(&self, value: &[u8]) -> Mask {
        self.values.get(value).copied().unwrap_or(0)
    }
}

#[inline]
fn filter_bit(value: &[u8]) -> u64 {
    let first = value.first().copied().unwrap_or(0);
    1 << ((usize::from(first) + 7 * value.len()) % 64)
}

/// Immutable and compiled. See the module.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    tables: Vec<AttributeTable>,
    all: Mask,
    pub(super) rules: Vec<CompiledRule>,
    pub(super) limits: Vec<CompiledLimit>,
    pub(super) alternatives: Vec<CompiledAlternative>,
    /// Tells sets with different limits apart.
    pub(super) limits_mark: u64,
    /// Whether any alternative asks for the host that a limit counts for itself.
    pub(super) marks_hosts: bool,
    asked_by_limits: Vec<Attribute>,
    never_ban: AddressSet,
    pub(super) pardons: Pardons,
}

impl RuleSet {
    /// Compiles the rules that are in force or in shadow; proposed and retired ones are left out.
    ///
    /// # Errors
    /// When there are more than fit, or a rule has no condition.
    pub fn compile(rules: &[Rule], limits: &[Limit], never_ban: AddressSet) -> Result<Self, RuleSetError> {
        let active: Vec<&Rule> =
            rules.iter().filter(|rule| matches!(rule.stage, Stage::Shadow | Stage::Enforced)).collect();
        if active.len() > RULES_MAX {
            return Err(RuleSetError::TooManyRules { found: active.len() });
        }
        if let Some(rule) = active.iter().find(|rule| rule.conditions.is_empty()) {
            return Err(RuleSetError::Unconditional { rule: rule.id });
        }
        let mut set = Self { never_ban, ..Self::default() };
        for rule in active {
            set.add_conditions(1 << set.rules.len(), &rule.conditions);
            set.rules.push(CompiledRule {
                id: rule.id,
                action: rule.action,
                enforced: rule.stage == Stage::Enforced,
                canary_interval: rule.canary_interval,
            });
        }
        for limit in limits {
            set.add_limit(limit)?;
        }
        if set.alternatives.len() > LIMITS_MAX {
            return Err(RuleSetError::TooManyLimits { found: set.alternatives.len() });
        }
        set.limits_mark = set.limits.iter().fold(1, |mark: u64, limit| mark.rotate_left(7) ^ limit.id.0);
        let cost = |table: &AttributeTable| BY_COST.iter().position(|attribute| *attribute == table.attribute);
        set.tables.sort_by_key(cost);
        Ok(set)
    }

    /// The same, after which what clients suffer for these rules is over.
    pub fn with_pardons(self, pardons: Pardons) -> Self {
        Self { pardons, ..self }
    }

    /// Whether any rule or limit asks for this, so that it must be known before judging.
    pub fn asks_for(&self, attribute: Attribute) -> bool {
        self.tables.iter().any(|table| table.attribute == attribute) || self.asked_by_limits.contains(&attribute)
    }

    /// Whether this rule is in the set, in force or not.
    pub fn has(&self, rule: RuleId) -> bool {
        self.rules.iter().any(|other| other.id == rule)
    }

    /// The limit that this is, as it was said.
    pub fn limit(&self, id: LimitId) -> Option<&Limit> {
        self.limits.iter().find(|limit| limit.id == id).map(|limit| &limit.said)
    }

    /// Every limit, as it was said.
    pub fn limits(&self) -> impl Iterator<Item = &Limit> {
        self.limits.iter().map(|limit| &limit.said)
    }

    /// Every limit with what it has done.
    pub fn limit_statuses(&self) -> impl Iterator<Item = LimitStatus> + '_ {
        self.limits.iter().map(|limit| limit.said.status())
    }

    /// Gives a client back all that it has used of every limit, for every host. Says whether one of them kept it away.
    pub fn forget(&self, client: ClientAddress, allowances: &Allowances, now: Timestamp) -> bool {
        let forget = |limit: &CompiledLimit| allowances.forget(limit.tag(allowances, client, 0), limit.quota, now);
        self.limits.iter().map(forget).fold(false, |before, was_withheld| before | was_withheld)
    }

    /// The addresses that nothing here is ever done to.
    pub fn never_ban(&self) -> &AddressSet {
        &self.never_ban
    }

    /// The rules in force, each with the status that it refuses with. One that drops has an answer too, for connections that
    /// cannot be dropped since others share them.
    pub fn refusals(&self) -> impl Iterator<Item = (RuleId, u16)> + '_ {
        self.rules.iter().filter(|rule| rule.enforced).map(|rule| match rule.action {
            Action::Throttle { .. } => (rule.id, THROTTLED_STATUS),
            Action::Refuse { status } => (rule.id, status),
            Action::Drop => (rule.id, DROPPED_STATUS),
        })
    }

    /// Whether there is nothing to match.
    pub fn is_empty(&self) -> bool {
        self.all == 0
    }

    /// The rules and limits that the request meets.
    #[inline]
    pub(super) fn matching(&self, request: &Request<'_>, client: Option<ClientAddress>) -> Mask {
        let mut matched = self.all;
        for table in &self.tables {
            if matched & table.asking != 0 {
                matched &= table.satisfied(request, client) | !table.asking;
            }
        }
        matched
    }

    fn add_conditions(&mut self, bit: Mask, conditions: &[Condition]) {
        self.all |= bit;
        for condition in conditions {
            let table = self.table(condition.attribute, bit);
            match &condition.wanted {
                Wanted::Value(_) if condition.attribute == Attribute::ClientPrefix => {
                    table.add_network(bit, condition.network());
                }
                Wanted::Value(value) => table.add(bit, value),
                Wanted::Nothing => table.add_absent(bit),
                Wanted::Anything => table.add_present(bit),
            }
        }
    }

    fn add_limit(&mut self, limit: &Limit) -> Result<(), RuleSetError> {
        let ways = match &limit.rule {
            Some(rule) => rule.alternatives(),
            None => Ok(vec![Alternative { lookups: Vec::new(), rest: None, answer: None }]),
        };
        let ways = ways.map_err(|error| RuleSetError::Mixed { limit: limit.name.to_string(), error })?;
        let index = self.limits.len();
        self.limits.push(CompiledLimit::new(limit));
        self.marks_hosts |= limit.key == LimitKey::ClientAndHost;
        for Alternative { lookups, rest, answer } in ways {
            // What does not fit is refused by whoever compiles, who says how many there are.
            let bit = Mask::checked_shl(1, (RULES_MAX + self.alternatives.len()) as u32).unwrap_or(0);
            self.all |= bit;
            for Lookup { attribute, values } in lookups {
                let table = self.table(attribute, bit);
                for value in &values {
                    match value {
                        Some(value) => table.add(bit, value),
                        None => table.add_absent(bit),
                    }
                }
            }
            self.alternatives.push(CompiledAlternative { limit: index, rest, answer });
        }
        let asked = limit.rule.iter().flat_map(Expression::conditions).filter_map(|one| one.subject().attribute());
        self.asked_by_limits.extend(asked);
        Ok(())
    }

    /// A table of this attribute in which `bit` asks for nothing yet.
    fn table(&mut self, attribute: Attribute, bit: Mask) -> &mut AttributeTable {
        let is_free = |table: &AttributeTable| table.attribute == attribute && table.asking & bit == 0;
        let place = self.tables.iter().position(is_free).unwrap_or_else(|| {
            self.tables.push(AttributeTable::new(attribute));
            self.tables.len() - 1
        });
        &mut self.tables[place]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn rule(id: u32, conditions: Vec<Condition>) -> Rule {
        Rule {
            id: RuleId(id),
            conditions,
            action: Action::Refuse { status: 403 },
            stage: Stage::Enforced,
            canary_interval: 0,
            is_asking: false,
        }
    }

    #[test]
    fn what_cannot_be_compiled_is_refused() {
        let many: Vec<Rule> =
            (0..=RULES_MAX as u32).map(|id| rule(id, vec![Condition::new(Attribute::Path, b"/")])).collect();
        let compile = |rules: &[Rule]| RuleSet::compile(rules, &[], AddressSet::default()).map(|_| ());
        assert_eq!(compile(&many), Err(RuleSetError::TooManyRules { found: RULES_MAX + 1 }));
        assert_eq!(compile(&[rule(7, vec![])]), Err(RuleSetError::Unconditional { rule: RuleId(7) }));
        let any = Limit {
            name: "any".into(),
            rule: None,
            requests: 1,
            period: Duration::from_secs(1),
            key: LimitKey::Client,
            action: LimitAction::Limit,
            length: None,
            spares: false,
            counts: Arc::default(),
        };
        let limits = |count| RuleSet::compile(&[], &vec![any.clone(); count], AddressSet::default()).map(|_| ());
        assert_eq!(limits(LIMITS_MAX), Ok(()));
        assert_eq!(limits(200), Err(RuleSetError::TooManyLimits { found: 200 }));
    }

    fn condition() -> impl Strategy<Value = Condition> {
        let value = prop::sample::select(vec!["/a/", "/a/b", "POST", "GET", "alpha", "beta", "gif", "id"]);
        let wanted = prop_oneof![
            Just(Wanted::Nothing),
            Just(Wanted::Anything),
            value.prop_map(|text| Wanted::Value(text.as_bytes().into())),
        ];
        (prop::sample::select(Attribute::ALL.to_vec()), wanted)
            .prop_filter("only of some", |(attribute, wanted)| {
                *wanted != Wanted::Anything || Wanted::may_be_anything(*attribute)
            })
            .prop_map(|(attribute, wanted)| Condition { attribute, wanted })
    }

    proptest! {
        /// The compiled form and the definition in [`Condition::matches`] agree on every request.
        #[test]
        fn compiled_rules_match_as_defined(
            sets in prop::collection::vec(prop::collection::vec(condition(), 1..4), 1..RULES_MAX),
            method in prop::sample::select(vec!["GET", "POST"]),
            path in prop::sample::select(vec!["/a/b", "/a/b/c.gif", "/", "/a/"]),
            query in prop::option::of(prop::sample::select(vec!["id=1", "alpha=2&beta"])),
            user_agent in prop::option::of(prop::sample::select(vec!["alpha beta/1.0", "alpha", "gamma (beta)"])),
        ) {
            let request = Request {
                method: method.as_bytes(),
                path: path.as_bytes(),
                query: query.map(str::as_bytes),
                user_agent: user_agent.map(str::as_bytes),
                ..Request::default()
            };
            let rules: Vec<Rule> = sets.into_iter().enumerate().map(|(id, set)| rule(id as u32, set)).collect();
            let set = RuleSet::compile(&rules, &[], AddressSet::default()).expect("few enough rules");
            let matched = set.matching(&request, None);
            for (index, rule) in rules.iter().enumerate() {
                prop_assert_eq!(matched >> index & 1 == 1, rule.matches(&request, None), "{}", rule);
            }
        }
    }
}
