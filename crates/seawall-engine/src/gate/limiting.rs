//! Counts a request against the limits that it meets: as it comes, or once its answer is known.

use super::allowances::{Allowances, Taken};
use super::clients::{ClientSlot, ClientTable};
use super::judge::{Gate, Place};
use super::limit::{Awaited, LimitAction, Offence, host_mark};
use super::rules::CompiledLimit;
use super::voters::Voters;
use crate::address::ClientAddress;
use crate::decision::expression::{Answer, Expression};
use crate::observation::Request;
use crate::units::Timestamp;

/// What the limits say of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limited {
    /// It is too much.
    pub(super) is_over: bool,
    pub(super) awaited: Awaited,
    pub(super) offence: Option<Offence>,
}

impl Gate {
    /// Looks at the limits that a request meets as far as the tables know: `met` has a bit for each way.
    ///
    /// Kept out of the way of requests that meet none.
    #[inline(never)]
    pub(super) fn judge_limits(
        &mut self,
        request: &Request<'_>,
        (client, slot): (ClientAddress, ClientSlot),
        met: u64,
        now: Timestamp,
    ) -> Limited {
        let Self { rules, clients, allowances, place, limit_voters, .. } = self;
        let refuses = *place == Place::InLine;
        let host = if rules.marks_hosts { host_mark(request.host) } else { 0 };
        let mut limited =
            Limited { awaited: Awaited { host, set: rules.limits_mark, ..Awaited::default() }, ..Limited::default() };
        // Whatever the number of ways in which a request meets a limit, it counts once.
        let mut counted = 0_u64;
        for index in bits(met) {
            let Some(alternative) = rules.alternatives.get(index) else { continue };
            let Some(limit) = rules.limits.get(alternative.limit) else { continue };
            let is_met = |rest: &Expression| rest.matches(request, Some(client), Answer::default());
            if !alternative.rest.as_ref().is_none_or(is_met) {
                continue;
            }
            if alternative.answer.is_some() {
                limited.awaited.alternatives |= 1 << index;
                // Whether the one beyond the allowance is one too many is told by its answer. Where no more would come of it than
                // that the next are refused, it is refused itself.
                let is_over = match allowances.would_take(limit.tag(allowances, client, host), limit.quota, now) {
                    Taken::Within => false,
                    Taken::Over => {
                        limit.action == LimitAction::Limit
                            || (limit.action != LimitAction::Log
                                && limit.said.spares
                                && clients.is_to_be_spared(slot, now))
                    }
                    Taken::Withheld => limit.action != LimitAction::Log,
                };
                if is_over && refuses {
                    limit.said.counts.add_refused();
                }
                limited.is_over |= is_over;
            } else if counted & (1 << alternative.limit) == 0 {
                counted |= 1 << alternative.limit;
                vote(limit, limit_voters.get_mut(alternative.limit), client, now);
                let (is_over, offence) = count(limit, clients, allowances, (client, slot, host), now);
                if is_over && refuses {
                    limit.said.counts.add_refused();
                }
                limited.is_over |= is_over;
                limited.offence = graver(limited.offence, offence);
            }
        }
        limited
    }

    /// Counts a request whose answer is known against the limits that have waited for it. Says whether the client has sent more
    /// than one of them allows.
    pub fn answered(
        &mut self,
        awaited: Awaited,
        client: ClientAddress,
        status: u16,
        now: Timestamp,
    ) -> Option<Offence> {
        let Self { rules, clients, allowances, limit_voters, .. } = self;
        // The limits may be others by now.
        if awaited.is_nothing() || awaited.set != rules.limits_mark || rules.never_ban().contains(client) {
            return None;
        }
        let answer = Answer { status: Some(status), ..Answer::default() };
        let slot = clients.slot(client);
        let (mut counted, mut graver_of_all) = (0_u64, None);
        for index in bits(awaited.alternatives) {
            let Some(alternative) = rules.alternatives.get(index) else { continue };
            let Some(limit) = rules.limits.get(alternative.limit) else { continue };
            // Nothing of the request is asked here.
            let is_met =
                alternative.answer.as_ref().is_some_and(|asked| asked.matches(&Request::default(), None, answer));
            if is_met && counted & (1 << alternative.limit) == 0 {
                counted |= 1 << alternative.limit;
                vote(limit, limit_voters.get_mut(alternative.limit), client, now);
                let (_, offence) = count(limit, clients, allowances, (client, slot, awaited.host), now);
                graver_of_all = graver(graver_of_all, offence);
            }
        }
        graver_of_all
    }
}

/// Has the client vote for how often a limit is met.
fn vote(limit: &CompiledLimit, voters: Option<&mut Voters>, client: ClientAddress, now: Timestamp) {
    if voters.is_some_and(|voters| voters.vote(client, now)) {
        limit.said.counts.add_vote();
    }
}

/// Counts one request against one limit. Says whether it is to be refused, and whether something is to happen to the client.
fn count(
    limit: &CompiledLimit,
    clients: &mut ClientTable,
    allowances: &Allowances,
    (client, slot, host): (ClientAddress, ClientSlot, u64),
    now: Timestamp,
) -> (bool, Option<Offence>) {
    limit.said.counts.add_matched();
    let tag = limit.tag(allowances, client, host);
    let is_felt = limit.action != LimitAction::Log;
    match allowances.take(tag, limit.quota, now) {
        Taken::Within => (false, None),
        Taken::Withheld => (is_felt, None),
        Taken::Over if limit.action == LimitAction::Limit => (true, None),
        Taken::Over if limit.said.spares && clients.is_to_be_spared(slot, now) => {
            limit.said.counts.add_spared();
            if is_felt {
                clients.spared(slot, now);
            }
            (is_felt, None)
        }
        Taken::Over => {
            let length = limit.said.length.unwrap_or_else(|| clients.time_away(slot, now));
            if is_felt {
                clients.kept_away(slot);
            }
            allowances.withhold(tag, limit.quota, length, now);
            limit.said.counts.add_offence();
            (is_felt, Some(Offence { client, limit: limit.id, action: limit.action, at: now, length }))
        }
    }
}

/// The one of two after which more happens, or for longer.
fn graver(one: Option<Offence>, other: Option<Offence>) -> Option<Offence> {
    let gravity = |offence: &Offence| (offence.action, offence.length);
    one.into_iter().chain(other).max_by_key(gravity)
}

/// The numbers of the bits that are set.
fn bits(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let index = (mask != 0).then(|| mask.trailing_zeros() as usize)?;
        mask &= mask - 1;
        Some(index)
    })
}

#[cfg(test)]
mod tests;
