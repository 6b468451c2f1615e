//! Clients whose connections are closed before a byte is read: a refusal costs a hundred times what that does.
//!
//! At first for seconds, since whoever else comes from the address waits as long to be seen. Longer only for those that come
//! back after it ([`Revisit`](super::revisit::Revisit)), and then now and then a connection is read all the same: another user
//! agent ends the ban at once. Addresses from which several agents come, or from which anything was served since they were refused,
//! are not dropped at all.

use std::time::Duration;

use super::clients::{ClientSlot, ClientTable, Entry, RECENT_SECONDS, seconds};
use super::reputation::{BAN_MIN, Reputation};
use super::revisit::Revisit;
use crate::decision::RuleId;
use crate::units::Timestamp;

/// This many refusals in about a minute, all to one user agent and nothing served between them (beside the traffic: in that minute), and the client is dropped.
const REFUSED_MIN: u16 = 32;

/// This many suffice for one that was dropped before and goes on with the same when it is heard again. Each worker counts its own, so
/// with two of them the client has had up to twice as many.
const REFUSED_AGAIN_MIN: u16 = 4;

/// How long it is dropped the first time; each time doubles it, up to the most, in seconds. Whoever else connects from the address at
/// the beginning of it gets through with the fifth try of their system, which comes after 15 seconds (RFC 6298: 1, 2, 4 and 8 apart).
const SECONDS_MIN: u32 = 15;
const SECONDS_MAX: u32 = 40;

/// Which rule a client is dropped for, as far as there is room to say. Another rule of the same mark may be pardoned with it.
pub(super) const fn rule_mark(rule: RuleId) -> u8 {
    rule.0 as u8
}

impl Entry {
    /// Drops the client if it has gone on for long enough and little speaks for it.
    pub(super) fn drop_if_due(&mut self, rule: RuleId, now: u32) {
        let refused = self.refused.saturating_add(self.refused_before);
        let enough = if self.drops > 0 || self.revisit.is_repeated() { REFUSED_AGAIN_MIN } else { REFUSED_MIN };
        if refused < enough || self.reputation.sum(now) <= BAN_MIN {
            return;
        }
        let doubled = SECONDS_MIN.checked_shl(u32::from(self.drops)).unwrap_or(SECONDS_MAX);
        let long = self.revisit.ban_seconds(now.saturating_sub(self.first_seen));
        self.drop_until = now.saturating_add(doubled.min(SECONDS_MAX).max(long));
        self.drops = self.drops.saturating_add(1).min(16);
        self.drop_rule = rule_mark(rule);
        (self.refused, self.refused_before) = (0, 0);
    }

    fn pardon(&mut self) {
        (self.drop_until, self.drops) = (0, 0);
        (self.refused, self.refused_before) = (0, 0);
        (self.reputation, self.revisit) = (Reputation::default(), Revisit::default());
    }
}

impl ClientTable {
    /// Whether a new connection of this client is closed without an answer, and the [`rule_mark`] of the rule that it was
    /// dropped for.
    pub(super) fn turn_away(&mut self, client: ClientSlot, now: Timestamp) -> Option<u8> {
        let now = seconds(now);
        let entry = self.find(client).filter(|entry| entry.drop_until > now)?;
        if entry.seen(now) {
            // It came back, and too early: the ban was long enough to meet it, and must be so the next time.
            let longer = now.saturating_add(entry.revisit.ban_seconds(now.saturating_sub(entry.first_seen)));
            entry.drop_until = entry.drop_until.max(longer);
        }
        let is_ban = entry.drop_until - now > SECONDS_MAX;
        if is_ban && now.saturating_sub(entry.window) >= RECENT_SECONDS {
            entry.turn(now);
            return None;
        }
        Some(entry.drop_rule)
    }

    /// Takes in that another worker drops this client until then: one that sends to all of them is dropped by all, and each time
    /// for longer. Not where this one knows better: that more than one visitor may be behind it, or that it has a good name. Heard
    /// again, or of a time that is over, it changes nothing.
    pub(super) fn dropped_elsewhere(&mut self, client: ClientSlot, until: Timestamp, mark: u8, now: Timestamp) {
        let (now, until) = (seconds(now), seconds(until));
        let Some(entry) = self.find(client) else { return };
        entry.turn(now);
        if until <= entry.drop_until.max(now) || entry.may_be_several() || entry.reputation.sum(now) < 0.0 {
            return;
        }
        if entry.drop_until <= now {
            entry.drops = entry.drops.saturating_add(1).min(16);
            entry.drop_rule = mark;
            (entry.refused, entry.refused_before) = (0, 0);
        }
        entry.drop_until = until;
    }

    /// Ends what a client suffers, and forgets what speaks against it.
    pub(super) fn free(&mut self, client: ClientSlot) {
        if let Some(entry) = self.find(client) {
            entry.pardon();
        }
    }

    /// For how long new connections of this client are not answered, and the [`rule_mark`] of the rule that it was dropped for.
    pub(super) fn drop_left(&mut self, client: ClientSlot, now: Timestamp) -> Option<(Duration, u8)> {
        let now = seconds(now);
        let entry = self.find(client).filter(|entry| entry.drop_until > now)?;
        Some((Duration::from_secs(u64::from(entry.drop_until - now)), entry.drop_rule))
    }

    /// Ends what clients suffer for these rules, and forgets what speaks against them.
    pub(super) fn pardon(&mut self, is_pardoned: impl Fn(u8) -> bool) {
        self.entries().filter(|entry| entry.drops > 0 && is_pardoned(entry.drop_rule)).for_each(Entry::pardon);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::address::ClientAddress;

    const START: Timestamp = Timestamp::from_seconds(1_700_000_000);
    const RULE: RuleId = RuleId(300);

    fn table() -> (ClientTable, ClientSlot) {
        let table = ClientTable::new(64, 7);
        let client = table.slot(ClientAddress::new(Ipv4Addr::from_bits(1).into()));
        (table, client)
    }

    fn refuse(table: &mut ClientTable, client: ClientSlot, times: u16, now: Timestamp) {
        for _ in 0..times {
            table.request(client, b"a/1", now);
            table.refused(client, RULE, now);
        }
    }

    #[test]
    fn whoever_goes_on_after_refusals_is_dropped_for_longer_and_longer() {
        let (mut table, client) = table();
        let mut now = START;
        for (refusals, expected) in
            [(REFUSED_MIN, 15), (REFUSED_AGAIN_MIN, 30), (REFUSED_AGAIN_MIN, 40), (REFUSED_AGAIN_MIN, 40)]
        {
            for _ in 0..refusals {
                assert_eq!(table.turn_away(client, now), None);
                refuse(&mut table, client, 1, now);
            }
            assert_eq!(table.turn_away(client, now + Duration::from_secs(expected - 1)), Some(rule_mark(RULE)));
            now = now + Duration::from_secs(expected);
            assert_eq!(table.turn_away(client, now), None);
        }
    }

    #[test]
    fn what_another_worker_drops_is_dropped_for_as_long_and_counts() {
        let (mut table, client) = table();
        refuse(&mut table, client, REFUSED_MIN - 1, START);
        let hear = |table: &mut ClientTable, until, now| table.dropped_elsewhere(client, until, rule_mark(RULE), now);
        let until = START + Duration::from_secs(15);
        // The same is heard again with each of its connections until the kernel knows, and late.
        hear(&mut table, until, START);
        hear(&mut table, until, START + Duration::from_secs(1));
        hear(&mut table, until, until);
        assert_eq!(table.turn_away(client, START + Duration::from_secs(14)), Some(rule_mark(RULE)));
        let back = START + Duration::from_secs(15);
        assert_eq!(table.turn_away(client, back), None);
        refuse(&mut table, client, REFUSED_AGAIN_MIN - 1, back);
        assert_eq!(table.turn_away(client, back), None, "what was refused before is not counted twice");
        refuse(&mut table, client, 1, back);
        assert_eq!(table.turn_away(client, back + Duration::from_secs(29)), Some(rule_mark(RULE)), "the second time");
        assert_eq!(table.turn_away(client, back + Duration::from_secs(30)), None);
    }

    #[test]
    fn a_worker_that_knows_of_another_visitor_goes_on_serving() {
        let (mut table, client) = table();
        refuse(&mut table, client, 4, START);
        table.request(client, b"browser/2", START);
        let until = START + Duration::from_secs(15);
        table.dropped_elsewhere(client, until, rule_mark(RULE), START);
        assert_eq!(table.turn_away(client, START), None);
        let stranger = table.slot(ClientAddress::new(Ipv4Addr::from_bits(2).into()));
        table.dropped_elsewhere(stranger, until, rule_mark(RULE), START);
        assert_eq!(table.turn_away(stranger, START), None, "it has never come here");
    }

    #[test]
    fn where_there_may_be_another_visitor_nobody_is_dropped() {
        let (mut table, client) = table();
        table.request(client, b"browser/2", START);
        refuse(&mut table, client, 1_000, START);
        assert_eq!(table.turn_away(client, START), None);
        let (mut table, client) = self::table();
        refuse(&mut table, client, 1, START);
        table.request(client, b"a/1", START);
        table.served(client, START);
        refuse(&mut table, client, 1_000, START);
        assert_eq!(table.turn_away(client, START), None);
        // A minute later nothing was served for long enough.
        let later = START + Duration::from_secs(90);
        refuse(&mut table, client, 1_000, later);
        assert!(table.turn_away(client, later).is_some());
    }

    #[test]
    fn what_was_served_before_any_rule_met_it_does_not_spare_a_flood() {
        let (mut table, client) = table();
        for _ in 0..100 {
            table.request(client, b"a/1", START);
            table.served(client, START);
        }
        refuse(&mut table, client, REFUSED_MIN, START);
        assert!(table.turn_away(client, START).is_some());
    }

    #[test]
    fn a_ban_outlasts_the_pause_of_a_reader_that_comes_back_every_ninety_minutes() {
        let (mut table, client) = table();
        let period = Duration::from_secs(90 * 60);
        let mut read = Vec::new();
        for visit in 0..8 {
            let mut read_now = 0;
            // Two requests a second for five minutes, each on a connection of its own, all of which the rule refuses.
            for step in 0..600 {
                let now = START + period * visit + Duration::from_millis(500) * step;
                if table.turn_away(client, now).is_none() {
                    read_now += 1;
                    refuse(&mut table, client, 1, now);
                }
            }
            read.push(read_now);
        }
        assert!(read[0] > 48, "{read:?}");
        assert!(read[1] <= 20, "{read:?}");
        // From the third visit on it is only looked at twice a minute.
        assert!(read[2..].iter().all(|read| *read <= 11), "{read:?}");
    }

    #[test]
    fn another_agent_ends_a_ban() {
        let (mut table, client) = table();
        let visits: Vec<Timestamp> = (0..3).map(|visit| START + Duration::from_secs(3600) * visit).collect();
        for now in &visits {
            refuse(&mut table, client, 64, *now);
        }
        let during = visits[2] + Duration::from_secs(1200);
        // The first connection after a while is read, all others are not.
        assert_eq!(table.turn_away(client, during), None);
        assert!(table.turn_away(client, during).is_some());
        table.request(client, b"browser/2", during);
        assert_eq!(table.turn_away(client, during), None);
    }

    #[test]
    fn a_withdrawn_rule_pardons_those_that_it_dropped() {
        let (mut table, client) = table();
        refuse(&mut table, client, REFUSED_MIN, START);
        table.pardon(|rule| rule != rule_mark(RULE));
        assert!(table.turn_away(client, START).is_some());
        table.pardon(|rule| rule == rule_mark(RULE));
        assert_eq!(table.turn_away(client, START), None);
        refuse(&mut table, client, 8, START);
        assert_eq!(table.turn_away(client, START), None);
    }
}
