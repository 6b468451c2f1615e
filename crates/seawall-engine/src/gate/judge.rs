//! One worker's judge.

use std::sync::Arc;
use std::time::Duration;

use super::allowances::Allowances;
use super::bans::BanSet;
use super::buckets;
use super::clients::{Acquaintance, ClientSlot, ClientTable};
use super::drops::rule_mark;
use super::limit::{Awaited, Offence};
use super::limiting::Limited;
use super::rules::{CompiledRule, LIMITS_MAX, RULES_MAX, RuleSet, THROTTLED_STATUS};
use super::voters::Voters;
use crate::address::ClientAddress;
use crate::decision::{Action, RuleId};
use crate::detection::RuleTraffic;
use crate::observation::{ClientHistory, Request, static_file};
use crate::units::Timestamp;

/// What is to be done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Let it through.
    Pass,
    /// Answer with this status.
    Refuse {
        /// The rule that says so.
        rule: RuleId,
        /// 403, 410 or 429.
        status: u16,
    },
    /// Close the connection without an answer.
    Drop {
        /// The rule that says so.
        rule: RuleId,
    },
    /// The client has used up a limit of its own: 429.
    ClientLimit,
}

/// What came of judging a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What is to be done with it.
    pub judgement: Judgement,
    /// The first rule in force that it matches, whether it acts on it or not.
    pub in_force: Option<RuleId>,
    /// What was known of the client.
    pub history: ClientHistory,
    /// What is to be handed to [`Gate::answered`] once the site has answered.
    pub awaited: Awaited,
    /// The client has sent more than a limit allows.
    pub offence: Option<Offence>,
}

/// What one rule has done since the counts were last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCount {
    /// Requests that it matched, in force or in shadow.
    pub matched: u64,
    /// Of these, one of each client in a minute, so that nobody decides alone how often it matches.
    pub votes: u64,
    /// Requests that it refused.
    pub refused: u64,
    /// Of these, those of clients that had been refused several times within the minute before.
    pub refused_again: u64,
    /// Matching requests that it let through as probes.
    pub canaries: u64,
    /// Of what it matched, one request in a minute of each client that is known good.
    pub matched_known: u64,
    /// How many such clients it matched for the first time.
    pub known_clients: u64,
    /// Requests that it matched and did not act on, for the good name of the client.
    pub spared: u64,
    /// Connections that were closed unread, of clients that go on although it refuses them.
    pub closed: u64,
    /// Requests that it matched and that the server beside which this is had refused.
    pub refused_by_server: u64,
}

impl RuleCount {
    /// Adds it to what detection is told of the rule.
    pub const fn add_to(&self, traffic: &mut RuleTraffic) {
        traffic.matched += self.matched;
        traffic.votes += self.votes;
        traffic.refused += self.refused;
        traffic.refused_again += self.refused_again;
        traffic.canaries += self.canaries;
        traffic.matched_known += self.matched_known;
        traffic.known_clients += self.known_clients;
        traffic.spared += self.spared;
        traffic.closed += self.closed;
        traffic.refused_by_server += self.refused_by_server;
    }
}

/// The rule in force that decides on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acting {
    /// The one of this number acts.
    Rule(usize),
    /// It does not, for the good name of the client.
    Sparing(usize),
}

/// Where a judge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// What it says is done.
    InLine,
    /// It only sees what passes.
    Beside {
        /// Whether something further down can drop clients.
        hands_down: bool,
    },
}

/// What this worker keeps for one rule while the rule stays.
#[derive(Clone, Copy, Debug, Default)]
struct RuleState {
    /// What is left of this worker's share of the throttled rate, as of `last`.
    tokens: f32,
    last: Timestamp,
    /// Matching requests since the last that passed as a probe, and when that was.
    since_canary: u32,
    last_canary: Timestamp,
    /// What is left of the requests that may be spared, as of `last_spared`.
    spared_left: f32,
    last_spared: Timestamp,
    voters: Voters,
    /// The same of clients that are known good, and those that it has ever matched.
    known_voters: Voters,
    known_ever: Voters,
}

/// The least time between two probes of one rule on one worker: ten a second show well enough whether it is still needed, and
/// of a fast flood one in so many would be hundreds.
const CANARY_PAUSE: Duration = Duration::from_millis(100);

/// Requests a second that one rule spares, over the whole guard, and how many at once: the few visitors whom it meets by
/// mistake. More is a flood whose senders have bought a good name.
const SPARED_RATE: f32 = 5.0;
const SPARED_BURST: f32 = 20.0;

/// One worker's judge: rules, clients and counts. Nobody else touches it, so nothing in it is locked; what clients have left of their
/// limits is in a table that all workers share, and a clone shares it too.
#[derive(Clone, Debug)]
pub struct Gate {
    pub(super) rules: Arc<RuleSet>,
    bans: Arc<BanSet>,
    /// What this worker knows of its clients.
    pub clients: ClientTable,
    pub(super) allowances: Arc<Allowances>,
    states: [RuleState; RULES_MAX],
    counts: [RuleCount; RULES_MAX],
    pub(super) limit_voters: [Voters; LIMITS_MAX],
    known: u64,
    known_voters: Voters,
    workers: f32,
    /// Which of the workers it is, as a part of them all.
    turn: f32,
    pub(super) place: Place,
}

impl Gate {
    /// A judge without rules, one of `workers` that share the traffic, with a client table of `client_entries`.
    pub fn new(workers: usize, client_entries: usize, seed: u64) -> Self {
        Self {
            rules: Arc::default(),
            bans: Arc::default(),
            clients: ClientTable::new(client_entries, seed),
            allowances: Arc::new(Allowances::new(seed)),
            states: [RuleState::default(); RULES_MAX],
            counts: [RuleCount::default(); RULES_MAX],
            limit_voters: [Voters::default(); LIMITS_MAX],
            known: 0,
            known_voters: Voters::default(),
            workers: workers.max(1) as f32,
            turn: 0.0,
            place: Place::InLine,
        }
    }

    /// The same as the worker of this number, from 0: the probes of a rule are in turn, or the first would come only once every worker
    /// has met as many requests as lie between two.
    pub fn numbered(self, number: usize) -> Self {
        Self { turn: number as f32 / self.workers, ..self }
    }

    /// The same with a table of allowances that other judges share.
    pub fn sharing(self, allowances: Arc<Allowances>) -> Self {
        Self { allowances, ..self }
    }

    /// The same beside the traffic: it counts what rules would refuse. Nobody is told to go away, so nobody is held to go on although
    /// he was, unless something further down [`hands_down`](Self::set_hands_down) is there.
    pub fn beside(self) -> Self {
        Self { place: Place::Beside { hands_down: false }, ..self }
    }

    /// Beside the traffic: whether clients that rules in force would refuse again and again are to be found, as many times and within
    /// the same time as in line ([`Self::drop_left`] then says who), since something else can drop them.
    pub fn set_hands_down(&mut self, hands_down: bool) {
        if let Place::Beside { hands_down: present } = &mut self.place {
            *present = hands_down;
        }
    }

    /// The rules in use.
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// Takes other rules into use. Counts not yet taken are handed to `count` first; a rule that stays keeps its throttle.
    pub fn install(&mut self, rules: Arc<RuleSet>, count: impl FnMut(RuleId, RuleCount)) {
        self.take_counts(count);
        let mut states = [RuleState::default(); RULES_MAX];
        for (state, rule) in states.iter_mut().zip(&rules.rules) {
            let interval = f64::from(rule.canary_interval);
            let passed = match self.rules.rules.iter().position(|old| old.id == rule.id) {
                Some(before) => {
                    *state = self.states[before];
                    f64::from(state.since_canary) / f64::from(self.rules.rules[before].canary_interval.max(1))
                }
                None => f64::from(self.turn),
            };
            // As far on the way to its next probe as it was, however long that is now.
            state.since_canary = (passed.min(1.0) * interval) as u32;
        }
        self.states = states;
        if self.rules.limits_mark != rules.limits_mark {
            self.limit_voters = [Voters::default(); LIMITS_MAX];
        }
        let before = std::mem::replace(&mut self.rules, rules);
        let (pardons, before) = (&self.rules.pardons, &before.pardons);
        let everyone = pardons.everyone != before.everyone;
        let pardoned = pardons.rules_since(before);
        if everyone || pardoned.clone().next().is_some() {
            self.clients.pardon(|mark| everyone || pardoned.clone().any(|rule| rule_mark(rule) == mark));
        }
    }

    /// Takes other bans into use.
    pub fn install_bans(&mut self, bans: Arc<BanSet>) {
        self.bans = bans;
    }

    /// Whether this client is banned, whatever it asks for. The caller asks for the never-ban list first.
    pub fn is_banned(&self, client: ClientAddress, now: Timestamp) -> bool {
        self.bans.contains(client, now)
    }

    /// For how long the connections of this client are closed unread from now on, since it goes on after refusals, and the
    /// rule that it was refused by, where that is still there. Counts nothing.
    pub fn drop_left(&mut self, client: ClientSlot, now: Timestamp) -> Option<(Duration, Option<RuleId>)> {
        let (left, mark) = self.clients.drop_left(client, now)?;
        Some((left, self.rules.rules.iter().map(|rule| rule.id).find(|id| rule_mark(*id) == mark)))
    }

    /// Takes in that the gate of another worker drops this client until then, for this rule. Nothing comes of it when the rule is no
    /// longer there: those whom it dropped are free.
    pub fn dropped_elsewhere(&mut self, client: ClientSlot, until: Timestamp, rule: RuleId, now: Timestamp) {
        if self.rules.has(rule) {
            self.clients.dropped_elsewhere(client, until, rule_mark(rule), now);
        }
    }

    /// Ends what a client suffers for what it did, and forgets what speaks against it.
    pub fn free(&mut self, client: ClientSlot) {
        self.clients.free(client);
    }

    /// The same of all clients that are or were dropped.
    pub fn free_all(&mut self) {
        self.clients.pardon(|_| true);
    }

    /// Whether a new connection of this client is to be closed unread, since it goes on after refusals.
    pub fn turns_away(&mut self, client: ClientSlot, now: Timestamp) -> bool {
        let Some(mark) = self.clients.turn_away(client, now) else { return false };
        if let Some(index) = self.rules.rules.iter().position(|rule| rule_mark(rule.id) == mark) {
            self.counts[index].closed += 1;
        }
        true
    }

    /// Notes that the site or the guard told this client to come back later.
    pub fn told_to_wait(&mut self, client: ClientAddress, now: Timestamp) {
        let slot = self.clients.slot(client);
        self.clients.told_to_wait(slot, now);
    }

    /// Beside the traffic: counts that the server refused what this rule matches.
    pub fn refused_by_server(&mut self, rule: RuleId) {
        if let Some(index) = self.rules.rules.iter().position(|present| present.id == rule) {
            self.counts[index].refused_by_server += 1;
        }
    }

    /// Hands what each rule has done since the last time to `count`, and returns how many requests came from clients that are known
    /// good, one of each in a minute.
    pub fn take_counts(&mut self, mut count: impl FnMut(RuleId, RuleCount)) -> u64 {
        for (rule, counted) in self.rules.rules.iter().zip(&mut self.counts) {
            let counted = std::mem::take(counted);
            if counted != RuleCount::default() {
                count(rule.id, counted);
            }
        }
        std::mem::take(&mut self.known)
    }

    /// The memory that its own tables take, whatever they hold. [`Allowances`] are shared.
    pub fn memory_bytes(&self) -> usize {
        self.clients.memory_bytes()
    }

    /// Judges one request and counts it for its client.
    pub fn judge(&mut self, request: &Request<'_>, client: Option<ClientAddress>, now: Timestamp) -> Judged {
        let slot = client.map(|client| self.clients.slot(client));
        let agent = request.user_agent.unwrap_or_default();
        let known = slot.map(|slot| self.clients.request(slot, agent, now)).unwrap_or_default();
        if let Some(client) = client.filter(|_| known.is_known) {
            self.known += u64::from(self.known_voters.vote(client, now));
        }
        let (mut judgement, acting, met) = self.judge_rules(request, client, known, now);
        let mut limited = Limited::default();
        if met != 0
            && let (Some(client), Some(slot)) = (client, slot)
        {
            limited = self.judge_limits(request, (client, slot), met, now);
            if limited.is_over && judgement == Judgement::Pass {
                judgement = Judgement::ClientLimit;
            }
        }
        if let Some(slot) = slot {
            self.note(slot, judgement, acting, known, now);
            if request.method == b"POST" && static_file::is_static(request.path) {
                self.clients.posted_to_static(slot, now);
            }
        }
        let in_force = acting.and_then(|acting| {
            let (Acting::Rule(index) | Acting::Sparing(index)) = acting;
            self.rules.rules.get(index)
        });
        Judged {
            judgement,
            in_force: in_force.map(|rule| rule.id),
            history: known.history,
            awaited: limited.awaited,
            offence: limited.offence,
        }
    }

    /// Notes for a client what became of its request.
    fn note(
        &mut self,
        slot: ClientSlot,
        judgement: Judgement,
        acting: Option<Acting>,
        known: Acquaintance,
        now: Timestamp,
    ) {
        match (judgement, acting) {
            (Judgement::Pass, None) => self.clients.served(slot, now),
            (Judgement::Pass, Some(Acting::Sparing(_))) => self.clients.spared(slot, now),
            // What a rule in force lets pass is no page served to a visitor: it stands for all that it holds back.
            (Judgement::Pass, Some(Acting::Rule(_))) => {}
            _ if self.place != Place::InLine => self.note_beside(slot, judgement, known, now),
            (Judgement::ClientLimit, _) => self.clients.told_to_wait(slot, now),
            (Judgement::Refuse { rule, .. } | Judgement::Drop { rule }, acting) => {
                let goes_on = self.clients.refused(slot, rule, now);
                if let Some(Acting::Rule(index)) = acting {
                    self.counts[index].refused_again += u64::from(goes_on);
                }
                if matches!(judgement, Judgement::Refuse { status: THROTTLED_STATUS, .. }) {
                    self.clients.told_to_wait(slot, now);
                }
            }
        }
    }

    /// Notes beside the traffic what would have become of a request, for whatever drops clients further down. Nobody was told to go
    /// away: what is only slowed down may be people, and whoever was a visitor for hours would have stopped at a refusal.
    fn note_beside(&mut self, slot: ClientSlot, judgement: Judgement, known: Acquaintance, now: Timestamp) {
        let is_slowed = matches!(judgement, Judgement::Refuse { status: THROTTLED_STATUS, .. });
        if self.place != (Place::Beside { hands_down: true }) || is_slowed || known.is_proven {
            return;
        }
        if let Judgement::Refuse { rule, .. } | Judgement::Drop { rule } = judgement {
            self.clients.would_be_refused(slot, rule, now);
        }
    }

    /// What the rules say, which rule in force says it, and one bit for each way to meet a limit that is to be looked at.
    fn judge_rules(
        &mut self,
        request: &Request<'_>,
        client: Option<ClientAddress>,
        known: Acquaintance,
        now: Timestamp,
    ) -> (Judgement, Option<Acting>, u64) {
        if client.is_some_and(|client| self.bans.contains(client, now) && !self.rules.never_ban().contains(client)) {
            return (Judgement::Drop { rule: RuleId::BANNED }, None, 0);
        }
        if self.rules.is_empty() {
            return (Judgement::Pass, None, 0);
        }
        let matched = self.rules.matching(request, client);
        if matched == 0 || client.is_some_and(|client| self.rules.never_ban().contains(client)) {
            return (Judgement::Pass, None, 0);
        }
        let met = (matched >> RULES_MAX) as u64;
        let mut matched = (matched & ((1 << RULES_MAX) - 1)) as u64;
        // Every rule that matches is counted, but only the first that is in force acts.
        let mut judgement = Judgement::Pass;
        let mut acting = None;
        while matched != 0 {
            let index = matched.trailing_zeros() as usize;
            matched &= matched - 1;
            let Some(rule) = self.rules.rules.get(index).copied() else { continue };
            let count = &mut self.counts[index];
            count.matched += 1;
            if let Some(client) = client {
                let state = &mut self.states[index];
                count.votes += u64::from(state.voters.vote(client, now));
                if known.is_known {
                    count.matched_known += u64::from(state.known_voters.vote(client, now));
                    count.known_clients += u64::from(state.known_ever.vote_for_good(client));
                }
            }
            if rule.enforced && acting.is_none() {
                if known.history.is_of_good_name && self.spares(index, now) {
                    acting = Some(Acting::Sparing(index));
                } else {
                    acting = Some(Acting::Rule(index));
                    judgement = self.act(index, rule, now);
                }
            }
        }
        (judgement, acting, met)
    }

    /// Whether the rule may spare one more.
    fn spares(&mut self, index: usize, now: Timestamp) -> bool {
        let state = &mut self.states[index];
        let rate = SPARED_RATE / self.workers / 1_000_000.0;
        let spares = buckets::take(&mut state.spared_left, &mut state.last_spared, rate, SPARED_BURST, now);
        self.counts[index].spared += u64::from(spares);
        spares
    }

    fn act(&mut self, index: usize, rule: CompiledRule, now: Timestamp) -> Judgement {
        let (count, state) = (&mut self.counts[index], &mut self.states[index]);
        state.since_canary = state.since_canary.saturating_add(1);
        let is_due = rule.canary_interval > 0 && state.since_canary >= rule.canary_interval;
        if is_due && now.since(state.last_canary) >= CANARY_PAUSE {
            state.since_canary = 0;
            state.last_canary = now;
            count.canaries += 1;
            return Judgement::Pass;
        }
        let judgement = match rule.action {
            Action::Throttle { rate } => {
                let share = rate / self.workers;
                // At least one request may wait, however low the rate.
                let burst = share.max(1.0);
                if buckets::take(&mut state.tokens, &mut state.last, share / 1_000_000.0, burst, now) {
                    return Judgement::Pass;
                }
                Judgement::Refuse { rule: rule.id, status: THROTTLED_STATUS }
            }
            Action::Refuse { status } => Judgement::Refuse { rule: rule.id, status },
            Action::Drop => Judgement::Drop { rule: rule.id },
        };
        count.refused += 1;
        judgement
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::address::AddressSet;
    use crate::decision::expression::{Expression, Lists, Use};
    use crate::decision::{Condition, Pardons, Rule, Stage};
    use crate::gate::{Limit, LimitAction, LimitKey};
    use crate::observation::attribute::Attribute;

    const START: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn client(number: u32) -> Option<ClientAddress> {
        Some(ClientAddress::new(Ipv4Addr::from_bits(number).into()))
    }

    fn rule(id: u32, action: Action, stage: Stage, canary_interval: u32) -> Rule {
        let conditions = vec![Condition::new(Attribute::UserAgentWord, b"QQGameHall")];
        Rule { id: RuleId(id), conditions, action, stage, canary_interval, is_asking: false }
    }

    fn gate(rules: &[Rule], limits: &[Limit], never_ban: AddressSet) -> Gate {
        let mut gate = Gate::new(1, 64, 1);
        let set = RuleSet::compile(rules, limits, never_ban).expect("few enough rules");
        gate.install(Arc::new(set), |_, _| ());
        gate
    }

    fn limit(rule: Option<&str>, requests: u32, period: Duration) -> Limit {
        Limit {
            name: "limit".into(),
            rule: rule.map(|text| Expression::parse(text, Use::Limit, &Lists::default()).expect("a rule")),
            requests,
            period,
            key: LimitKey::Client,
            action: LimitAction::Limit,
            length: None,
            spares: false,
            counts: Arc::default(),
        }
    }

    const UNWANTED: Request<'static> = Request {
        method: b"POST",
        host: b"example.org",
        path: b"/ca/cacert.pem",
        query: None,
        version: crate::observation::Version::Http11,
        user_agent: Some(b"QQGameHall"),
        referer: None,
        header_order: None,
        ja4: None,
        country: None,
        asn: None,
    };

    #[test]
    fn the_last_of_as_many_rules_as_there_can_be_acts() {
        let (refuse, last) = (Action::Refuse { status: 403 }, RULES_MAX as u32);
        let stage = |id: u32| if id == last { Stage::Enforced } else { Stage::Shadow };
        let rules: Vec<Rule> = (1..=last).map(|id| rule(id, refuse, stage(id), 0)).collect();
        let mut gate = gate(&rules, &[], AddressSet::default());
        let expected = Judgement::Refuse { rule: RuleId(last), status: 403 };
        assert_eq!(gate.judge(&UNWANTED, client(1), START).judgement, expected);
    }

    #[test]
    fn a_rule_in_force_refuses_and_one_in_shadow_only_counts() {
        let refuse = Action::Refuse { status: 403 };
        let mut shadow = gate(&[rule(1, refuse, Stage::Shadow, 0)], &[], AddressSet::default());
        assert_eq!(shadow.judge(&UNWANTED, client(1), START).judgement, Judgement::Pass);
        let mut taken = Vec::new();
        shadow.take_counts(|id, count| taken.push((id, count.matched, count.refused)));
        assert_eq!(taken, [(RuleId(1), 1, 0)]);

        let mut enforced = gate(&[rule(1, refuse, Stage::Enforced, 0)], &[], AddressSet::default());
        let expected = Judgement::Refuse { rule: RuleId(1), status: 403 };
        assert_eq!(enforced.judge(&UNWANTED, client(1), START).judgement, expected);
        let wanted = Request { user_agent: Some(b"curl/8.5.0"), ..UNWANTED };
        assert_eq!(enforced.judge(&wanted, client(1), START).judgement, Judgement::Pass);
    }

    #[test]
    fn one_request_in_so_many_passes_as_a_probe_across_count_takings() {
        let mut gate =
            gate(&[rule(1, Action::Refuse { status: 403 }, Stage::Enforced, 10)], &[], AddressSet::default());
        let mut passed = |requests: u32, pause: Duration| {
            (0..requests)
                .map(|number| {
                    gate.take_counts(|_, _| ());
                    let now = START + pause * number;
                    u32::from(gate.judge(&UNWANTED, client(1), now).judgement == Judgement::Pass)
                })
                .sum::<u32>()
        };
        assert_eq!(passed(100, Duration::from_millis(10)), 10);
        // However fast the flood is, ten in its one second.
        assert!(passed(100_000, Duration::from_micros(10)) <= 10);
    }

    #[test]
    fn the_workers_probe_in_turn_whatever_the_interval_becomes() {
        let of_interval = |interval| [rule(1, Action::Refuse { status: 403 }, Stage::Enforced, interval)];
        let compiled =
            |interval| Arc::new(RuleSet::compile(&of_interval(interval), &[], AddressSet::default()).unwrap());
        let mut gates: Vec<Gate> = (0..8).map(|number| Gate::new(8, 64, 1).numbered(number)).collect();
        let mut now = START;
        for (interval, requests, expected) in [(256, 256, 8), (16, 64, 32), (256, 512, 16)] {
            let mut passed = Vec::new();
            for (number, gate) in gates.iter_mut().enumerate() {
                gate.install(compiled(interval), |_, _| ());
                for request in 0..requests {
                    now = now + Duration::from_secs(1);
                    if gate.judge(&UNWANTED, client(1), now).judgement == Judgement::Pass {
                        passed.push((request, number));
                    }
                }
            }
            passed.sort_unstable();
            assert_eq!(passed.len(), expected, "{interval}");
            let apart = interval / 8;
            assert!(passed.is_sorted_by(|one, other| other.0 - one.0 == apart), "{interval}: {passed:?}");
        }
    }

    #[test]
    fn a_throttle_lets_its_rate_through_and_survives_a_new_rule_set() {
        let throttle = rule(1, Action::Throttle { rate: 2.0 }, Stage::Enforced, 0);
        let mut gate = gate(std::slice::from_ref(&throttle), &[], AddressSet::default());
        let mut passed = 0;
        for step in 0..1_000 {
            let now = START + Duration::from_millis(10 * step);
            passed += u32::from(gate.judge(&UNWANTED, client(1), now).judgement == Judgement::Pass);
            if step % 100 == 0 {
                let set = RuleSet::compile(std::slice::from_ref(&throttle), &[], AddressSet::default());
                gate.install(Arc::new(set.expect("one rule")), |_, _| ());
            }
        }
        assert!((20..=22).contains(&passed), "{passed} in ten seconds at two a second");
    }

    #[test]
    fn nobody_on_the_never_ban_list_is_refused_or_limited() {
        let limit = limit(None, 1, Duration::from_secs(60));
        let never_ban = AddressSet::new([client(1).expect("a client").prefix(32)]);
        let mut gate = gate(&[rule(1, Action::Drop, Stage::Enforced, 0)], &[limit], never_ban);
        for _ in 0..10 {
            assert_eq!(gate.judge(&UNWANTED, client(1), START).judgement, Judgement::Pass);
        }
        assert_eq!(gate.judge(&UNWANTED, client(2), START).judgement, Judgement::Drop { rule: RuleId(1) });
    }

    #[test]
    fn a_client_limit_counts_each_client_for_itself() {
        let limit = limit(Some("path = /login"), 2, Duration::from_secs(10));
        let mut gate = gate(&[], &[limit], AddressSet::default());
        let request = Request { method: b"POST", path: b"/login", ..Request::default() };
        let mut judge = |number, request: &Request<'_>, now| gate.judge(request, client(number), now).judgement;
        assert_eq!(judge(1, &request, START), Judgement::Pass);
        assert_eq!(judge(1, &request, START), Judgement::Pass);
        assert_eq!(judge(1, &request, START), Judgement::ClientLimit);
        assert_eq!(judge(2, &request, START), Judgement::Pass);
        assert_eq!(judge(1, &Request { path: b"/", ..request }, START), Judgement::Pass);
        assert_eq!(judge(1, &request, START + Duration::from_secs(6)), Judgement::Pass);
    }

    #[test]
    fn visitors_of_good_name_are_spared_by_a_rule_but_few_of_them() {
        let refuse = rule(1, Action::Refuse { status: 403 }, Stage::Enforced, 0);
        let mut gate = gate(&[], &[], AddressSet::default());
        let hour = Duration::from_secs(3600);
        for (number, at) in (0..40).flat_map(|number| (0..6).map(move |at| (number, START + hour * at))) {
            gate.judge(&UNWANTED, client(number), at);
        }
        let set = RuleSet::compile(&[refuse], &[], AddressSet::default()).expect("one rule");
        gate.install(Arc::new(set), |_, _| ());
        let now = START + hour * 6;
        assert_eq!(gate.judge(&UNWANTED, client(1), now).judgement, Judgement::Pass);
        assert!(matches!(gate.judge(&UNWANTED, client(1_000), now).judgement, Judgement::Refuse { .. }));
        // A whole flood of such visitors is no visit.
        let passed =
            (0..40).filter(|number| gate.judge(&UNWANTED, client(*number), now).judgement == Judgement::Pass).count();
        assert!(passed < 20, "{passed}");
    }

    #[test]
    fn beside_the_traffic_only_what_can_be_dropped_is_found_and_nobody_who_may_be_a_visitor() {
        let dropped = |action: Action, hands_down: bool, visits: u64| {
            let mut gate = gate(&[], &[], AddressSet::default()).beside();
            gate.set_hands_down(hands_down);
            let hour = Duration::from_secs(3600);
            let request = Request { method: b"GET", ..UNWANTED };
            // Seen for a while before there is a rule, each hour a page or two.
            for visit in 0..visits {
                for page in 0..2 {
                    gate.judge(
                        &request,
                        client(1),
                        START + hour * u32::try_from(visit).unwrap_or(0) + Duration::from_secs(page),
                    );
                }
            }
            let set = RuleSet::compile(&[rule(1, action, Stage::Enforced, 0)], &[], AddressSet::default());
            gate.install(Arc::new(set.expect("one rule")), |_, _| ());
            let now = START + hour * 12;
            let mut times = 0;
            let slot = gate.clients.slot(client(1).expect("a client"));
            while times < 200 && gate.drop_left(slot, now).is_none() {
                gate.judge(&request, client(1), now);
                times += 1;
            }
            (times < 200).then_some(times)
        };
        let refuse = Action::Refuse { status: 403 };
        assert_eq!(dropped(refuse, true, 0), Some(32), "as many times as in line");
        assert_eq!(dropped(Action::Drop, true, 0), Some(32));
        assert_eq!(dropped(refuse, false, 0), None, "nothing could drop it");
        assert_eq!(dropped(Action::Throttle { rate: 0.1 }, true, 0), None, "it is only slowed down");
        assert_eq!(dropped(refuse, true, 10), None, "it was a visitor for hours");
    }

    #[test]
    fn the_rule_in_force_is_named_whatever_comes_of_it() {
        let throttle = Action::Throttle { rate: 1.0 };
        let cases = [
            (Action::Refuse { status: 403 }, Stage::Enforced, 1, Some(RuleId(1))),
            (Action::Drop, Stage::Enforced, 0, Some(RuleId(1))),
            (throttle, Stage::Enforced, 0, Some(RuleId(1))),
            (throttle, Stage::Shadow, 0, None),
        ];
        for (action, stage, canary_interval, in_force) in cases {
            let mut gate = gate(&[rule(1, action, stage, canary_interval)], &[], AddressSet::default()).beside();
            assert_eq!(gate.judge(&UNWANTED, client(1), START).in_force, in_force);
            assert_eq!(gate.judge(&Request { user_agent: None, ..UNWANTED }, client(1), START).in_force, None);
            gate.refused_by_server(RuleId(1));
            gate.refused_by_server(RuleId(2));
            let mut counted = Vec::new();
            gate.take_counts(|rule, count| counted.push((rule, count.refused_by_server)));
            assert_eq!(counted, [(RuleId(1), 1)]);
        }
    }

    #[test]
    fn a_probe_does_not_make_a_visitor_of_a_flood() {
        let mut gate =
            gate(&[rule(1, Action::Refuse { status: 403 }, Stage::Enforced, 10)], &[], AddressSet::default());
        for number in 0..60 {
            gate.judge(&UNWANTED, client(1), START + Duration::from_millis(20) * number);
        }
        let slot = gate.clients.slot(client(1).expect("a client"));
        assert!(gate.turns_away(slot, START + Duration::from_secs(2)));
        let mut closed = 0;
        gate.take_counts(|_, count| closed += count.closed);
        assert_eq!(closed, 1);
    }

    #[test]
    fn whoever_was_dropped_is_pardoned_when_the_rule_is_withdrawn() {
        let refuse = rule(1, Action::Refuse { status: 403 }, Stage::Enforced, 0);
        let mut gate = gate(&[refuse], &[], AddressSet::default());
        for _ in 0..60 {
            gate.judge(&UNWANTED, client(1), START);
        }
        let slot = gate.clients.slot(client(1).expect("a client"));
        let mut install = |pardons: Pardons| {
            let set = RuleSet::compile(&[], &[], AddressSet::default()).expect("no rule").with_pardons(pardons);
            gate.install(Arc::new(set), |_, _| ());
            gate.turns_away(slot, START)
        };
        assert!(install(Pardons::default()));
        assert!(install(Pardons { rules: vec![(RuleId(2), 0)], everyone: 0 }));
        assert!(!install(Pardons { rules: vec![(RuleId(2), 0), (RuleId(1), 1)], everyone: 0 }));
    }
}
