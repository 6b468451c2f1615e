//! Which sensors and rules no longer tell what they are there to tell.

use seawall_engine::decision::expression::Expression;
use seawall_engine::decision::{Rule, RuleId};
use seawall_engine::gate::Limit;
use seawall_engine::silence::{self, Reading, RuleReading};
use seawall_engine::units::Timestamp;

use super::super::rule_silences::Said;
use super::super::silences::MatchedLimit;
use super::{Detecting, Running};
use crate::source::proxy::traffic::TrafficTotals;

impl Detecting {
    /// Notes which sensors no longer tell what they are there to tell.
    pub(super) fn listen(&self, running: &mut Running, now: Timestamp) {
        let readings = self.intake.readings();
        if readings.is_empty() {
            return;
        }
        let mut status = running.detector.status(running.at).rules;
        status.extend(running.own.status());
        let has_matched = |id: RuleId| status.iter().any(|rule| rule.id == id && rule.matched > 0);
        let rules: Vec<Rule> = running.detector.rules().into_iter().chain(running.own.for_gate()).collect();
        let settings = self.shared.settings.load();
        let limits = || -> Vec<MatchedLimit> {
            let matched = |limit: &Limit| {
                let fields = limit.rule.as_ref().map(silence::needed).unwrap_or_default();
                (limit.counts.met().0 > 0).then(|| MatchedLimit { name: limit.name.to_string(), fields })
            };
            self.shared.rules.load().limits().filter_map(matched).collect()
        };
        for event in running.silences.look(now, &readings, &settings.trusted, &rules, has_matched, limits) {
            self.note(running, Some(event));
        }
    }

    /// Notes which of the rules that people said no longer match.
    pub(super) fn miss_rules(&self, running: &mut Running, now: Timestamp, totals: &TrafficTotals) {
        if !running.rule_silences.is_due(now) {
            return;
        }
        let enforcement = self.enforcement.status.load();
        let held = enforcement.bans + enforcement.kernel.clients + enforcement.kernel.networks;
        // A client that comes to every gate votes at each.
        let gates = self.traffic.len().max(1) as u64;
        let own = running.own.for_gate();
        let said = |(id, reading): (RuleId, RuleReading)| {
            let rule = own.iter().find(|rule| rule.id == id)?;
            let reading = RuleReading { votes: reading.votes / gates, kept_away: reading.kept_away + held, ..reading };
            Some(Said { name: format!("rule {id} ({rule})"), expression: Expression::from(rule), reading })
        };
        let rules = self.shared.rules.load();
        // In a panic nothing is in force, and so nothing matches.
        let own = running.own.met().filter(|_| !running.is_panicked).filter_map(said);
        // Whom rules refuse no longer comes to a limit that asks for the answer, nor does who is closed unread.
        let turned_away = totals.refused_rule + totals.dropped_rule + totals.closed_unread;
        // One that counts all requests falls silent with the sensor alone.
        let limits = rules.limits().filter_map(|limit| {
            let (matched, votes) = limit.counts.met();
            Some(Said {
                name: format!("limit \"{}\"", limit.name),
                expression: limit.rule.clone()?,
                reading: RuleReading { matched, votes: votes / gates, kept_away: held + turned_away },
            })
        });
        let said: Vec<Said> = own.chain(limits).collect();
        let readings: Vec<Reading> = self.intake.readings().into_iter().map(|heard| heard.reading).collect();
        for event in running.rule_silences.look(now, &said, totals.requests, &readings) {
            self.note(running, Some(event));
        }
    }
}
