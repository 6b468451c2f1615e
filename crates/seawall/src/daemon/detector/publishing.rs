//! What others are given: the workers and the edge the rules, and whoever looks the state.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use seawall_engine::address::AddressSet;
use seawall_engine::decision::{Rule, RuleId, RuleStatus, Stage};
use seawall_engine::gate::RuleSet;
use seawall_engine::units::Timestamp;

use super::super::snapshot::{Limits, Rates, SiteStatus, Snapshot, out_of_force};
use super::{Detecting, Running, own};
use crate::enforcement::Order;
use crate::enforcement::edge::WantedRule;
use crate::show::way_out::WayOut;
use crate::source::proxy::traffic::TrafficTotals;

/// How often the edge is told of the rules in force.
const EDGE_INTERVAL: Duration = Duration::from_secs(2);

impl Detecting {
    /// Hands the rules to the workers when they have changed.
    pub(super) fn publish_rules(&self, running: &mut Running) {
        let generation = running.detector.generation();
        if running.published == Some(generation) {
            return;
        }
        running.published = Some(generation);
        let settings = self.shared.settings.load();
        let mut pardons = running.detector.pardons();
        pardons.rules.extend(&running.pardoned.rules);
        pardons.everyone = pardons.everyone.wrapping_add(running.panics);
        // In a panic nothing is in force, limits of single clients included.
        let mut rules = running.own.for_gate();
        // The operator's come first: of those that match, the first acts.
        rules.extend(running.detector.rules());
        if running.is_panicked {
            rules.clear();
        }
        let limits = if running.is_panicked { Vec::new() } else { settings.limits_in_force(running.enforce) };
        let freed = Order::Pardon(pardons.clone());
        match RuleSet::compile(&rules, &limits, AddressSet::clone(&self.shared.never_ban.load())) {
            Ok(rules) => {
                let rules = rules.with_pardons(pardons);
                self.shared.rules.store(Arc::new(rules));
                self.shared.generation.fetch_add(1, Ordering::Release);
            }
            // The old rules stay: better those than none or a part.
            Err(error) => tracing::error!(%error, "failed to put the rules in force"),
        }
        // Whom a rule that was taken back had dropped is free in every layer; once the rule is gone, so that nobody is handed down for it
        // after that.
        let _ = self.enforcement.orders.send(freed);
    }

    /// Tells the edge which rules are in force, when that has changed.
    pub(super) fn tell_edge(&self, running: &mut Running, now: Timestamp) {
        let Some(edge) = self.edge.as_ref().filter(|_| now >= running.edge_at) else { return };
        running.edge_at = now + EDGE_INTERVAL;
        let status = running.detector.status(running.at);
        let refused = |rule: RuleId| {
            let own = running.own.status();
            let of = |rules: &[RuleStatus]| rules.iter().find(|status| status.id == rule).map(|status| status.refused);
            of(&own).or_else(|| of(&status.rules)).unwrap_or(0)
        };
        let wanted = |rule: Rule, is_operators| WantedRule { refused: refused(rule.id), is_operators, rule };
        let own = running.own.for_gate().into_iter().map(|rule| wanted(rule, true));
        let found = running.detector.rules().into_iter().map(|rule| wanted(rule, false));
        let rules: Vec<WantedRule> = own.chain(found).filter(|wanted| wanted.rule.stage == Stage::Enforced).collect();
        if running.at_edge.as_ref() != Some(&rules) {
            edge.set_rules(rules.clone());
            running.at_edge = Some(rules);
        }
    }

    pub(super) fn publish_snapshot(
        &self,
        running: &mut Running,
        now: Timestamp,
        totals: TrafficTotals,
        limits: Limits,
    ) {
        let mut detection = running.detector.status(running.at);
        detection.rules.splice(0..0, Self::own_status(running));
        if running.is_panicked {
            detection.rules.iter_mut().for_each(out_of_force);
        }
        let (first_at, first) = running.totals.front().copied().unwrap_or((now, totals));
        let seconds = now.since(first_at).as_secs_f64();
        let rate = |count: fn(&TrafficTotals) -> u64| match count(&totals).saturating_sub(count(&first)) {
            count if seconds > 0.0 => count as f64 / seconds,
            _ => 0.0,
        };
        let mut sensors = self.intake.sensors();
        running.silences.tell(&mut sensors);
        let (settings, health) = (self.shared.settings.load(), &self.shared.health);
        health.retain(|upstream| settings.uses(upstream));
        // Beside a server nothing is asked of the sites.
        let beside = self.intake.is_beside();
        // And nothing but it can refuse anything.
        let is_sought = beside && !running.is_panicked;
        let server_refuses = running.carried_out.look(now, &detection) && is_sought;
        let is_sought = is_sought && !server_refuses;
        let way_out = if is_sought { WayOut::of(&detection, &sensors, self.state.path()) } else { None };
        let sites = settings.sites().filter(|_| !beside);
        let sites = sites.map(|(name, destination)| SiteStatus::new(name, destination, health)).collect();
        self.snapshot.store(Arc::new(Snapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.shared.clock.uptime().as_secs(),
            calm: detection.is_calm(),
            enforce: running.enforce,
            stress: running.detector.stress(running.at),
            traffic: totals,
            rates: Rates {
                requests: rate(|totals| totals.requests),
                served: rate(|totals| totals.served),
                refused: rate(|totals| totals.refused_rule + totals.dropped_rule),
                would_refuse: rate(|totals| totals.would_refuse),
                misdirected: rate(|totals| totals.misdirected),
                malformed: rate(|totals| totals.malformed),
                limited: rate(|totals| totals.client_limited + totals.overloaded),
                client_limited: rate(|totals| totals.client_limited),
                overloaded: rate(|totals| totals.overloaded),
                failed: rate(|totals| totals.failed),
                closed_unread: rate(|totals| totals.closed_unread),
                bytes_sent: rate(|totals| totals.bytes_sent),
            },
            beside,
            sensors,
            sites,
            limits,
            enforcement: (**self.enforcement.status.load()).clone(),
            edge: self.edge.as_ref().map(|edge| (*edge.status()).clone()).unwrap_or_default(),
            record: self.record.status(),
            detection,
            way_out,
            server_refuses,
            silent_rules: running.rule_silences.alarms(),
            merged_clients: running.merged_clients.alarm().cloned(),
            rules_not_in_force: own::not_in_force(&running.own),
            harmful_rules: own::harmful(&running.own),
            confirm_until: None,
            // Added by whoever knows it, as well.
            page_trouble: None,
            panic_unkept: None,
            client_limits: self.shared.rules.load().limit_statuses().collect(),
            events: running.events.iter().cloned().collect(),
            notifications: running.notifications.load().statuses(),
        }));
    }
}
