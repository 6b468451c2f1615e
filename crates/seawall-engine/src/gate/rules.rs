//! Rules and limits, compiled so that judging looks up each attribute once, however many rules ask for it.
//!
//! Every rule and limit is one bit of a mask. For each attribute that any of them asks for there is a table from value
//! to the mask of those that it satisfies. Starting from all bits, each attribute clears the rules that ask for another
//! value; what is left has matched (the bitmap intersection of packet classifiers; Lakshman and Stiliadis, SIGCOMM 1998).
//! The attributes that cost least are looked at first, and none that no rule still left asks for.

use std::collections::HashMap;
use std::time::Duration;

use ipnet::IpNet;

use crate::address::{AddressSet, ClientAddress};
use crate::decision::{Action, Condition, Pardons, Rule, RuleId, Stage};
use crate::observation::Request;
use crate::observation::attribute::{Attribute, each_value};

/// The most rules that one set holds.
pub const RULES_MAX: usize = 32;

/// The most client limits that one set holds.
pub const CLIENT_LIMITS_MAX: usize = 96;

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
    Attribute::QueryKeys,
    Attribute::UserAgentWord,
];

/// One bit for each rule, from the lowest, and for each client limit after them.
pub(super) type Mask = u128;

/// A limit that each client has for itself.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientLimit {
    /// Which requests count; all when empty.
    pub conditions: Vec<Condition>,
    /// How many requests a client may send in `period`, and all at once.
    pub requests: u32,
    /// The period that the number refers to.
    pub period: Duration,
}

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
    #[error("{found} client limits, where there can be at most {CLIENT_LIMITS_MAX}")]
    TooManyLimits {
        /// How many there were.
        found: usize,
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
#[derive(Clone, Copy, Debug)]
pub(super) struct CompiledLimit {
    /// Tokens a microsecond.
    pub(super) rate: f32,
    pub(super) burst: f32,
}

/// The conditions on one attribute. An attribute has several of these only where one rule asks for several of its
/// values at once, as two words of a user agent.
#[derive(Clone, Debug)]
struct AttributeTable {
    attribute: Attribute,
    /// Those that ask for any value of the attribute here; the others pass it.
    asking: Mask,
    absent: Mask,
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
        Self { attribute, asking: 0, absent: 0, values: HashMap::default(), filter: 0, networks: Vec::new() }
    }

    fn add(&mut self, bit: Mask, condition: &Condition) {
        self.asking |= bit;
        match &condition.value {
            None => self.absent |= bit,
            Some(_) if self.attribute == Attribute::ClientPrefix => {
                self.networks.extend(condition.network().map(|network| (network, bit)));
            }
            Some(value) => {
                self.filter |= filter_bit(value);
                *self.values.entry(value.clone()).or_default() |= bit;
            }
        }
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
                Some(value) if self.filter & filter_bit(value) == 0 => 0,
                Some(value) => self.look_up(value),
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
    never_ban: AddressSet,
    pub(super) pardons: Pardons,
}

impl RuleSet {
    /// Compiles the rules that are in force or in shadow; proposed and retired ones are left out.
    ///
    /// # Errors
    /// When there are more than fit, or a rule has no condition.
    pub fn compile(rules: &[Rule], limits: &[ClientLimit], never_ban: AddressSet) -> Result<Self, RuleSetError> {
        let active: Vec<&Rule> =
            rules.iter().filter(|rule| matches!(rule.stage, Stage::Shadow | Stage::Enforced)).collect();
        if active.len() > RULES_MAX {
            return Err(RuleSetError::TooManyRules { found: active.len() });
        }
        if limits.len() > CLIENT_LIMITS_MAX {
            return Err(RuleSetError::TooManyLimits { found: limits.len() });
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
            set.add_conditions(1 << (RULES_MAX + set.limits.len()), &limit.conditions);
            let burst = limit.requests.max(1) as f32;
            set.limits.push(CompiledLimit { rate: burst / limit.period.as_micros().max(1) as f32, burst });
        }
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
        self.tables.iter().any(|table| table.attribute == attribute)
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
            let free = |table: &&mut AttributeTable| table.attribute == condition.attribute && table.asking & bit == 0;
            let table = match self.tables.iter_mut().find(free) {
                Some(table) => table,
                None => {
                    self.tables.push(AttributeTable::new(condition.attribute));
                    let last = self.tables.len() - 1;
                    &mut self.tables[last]
                }
            };
            table.add(bit, condition);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(id: u32, conditions: Vec<Condition>) -> Rule {
        Rule {
            id: RuleId(id),
            conditions,
            action: Action::Refuse { status: 403 },
            stage: Stage::Enforced,
            canary_interval: 0,
        }
    }

    #[test]
    fn what_cannot_be_compiled_is_refused() {
        let many: Vec<Rule> =
            (0..=RULES_MAX as u32).map(|id| rule(id, vec![Condition::new(Attribute::Path, b"/")])).collect();
        let compile = |rules: &[Rule]| RuleSet::compile(rules, &[], AddressSet::default()).map(|_| ());
        assert_eq!(compile(&many), Err(RuleSetError::TooManyRules { found: RULES_MAX + 1 }));
        assert_eq!(compile(&[rule(7, vec![])]), Err(RuleSetError::Unconditional { rule: RuleId(7) }));
        let limit = ClientLimit { conditions: vec![], requests: 1, period: Duration::from_secs(1) };
        let limits = vec![limit; CLIENT_LIMITS_MAX + 1];
        assert!(RuleSet::compile(&[], &limits, AddressSet::default()).is_err());
    }

    fn condition() -> impl Strategy<Value = Condition> {
        let value = prop::sample::select(vec!["/a/", "/a/b", "POST", "GET", "alpha", "beta", "gif", "id"]);
        (prop::sample::select(Attribute::ALL.to_vec()), prop::option::of(value))
            .prop_map(|(attribute, value)| Condition { attribute, value: value.map(|text| text.as_bytes().into()) })
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
