//! What the guard does again and again by itself, as the journal and the log are told: every ten seconds at most for each rule and layer,
//! however many clients that were, so that a flood fills neither.

use std::collections::BTreeMap;
use std::time::Duration;

use seawall_engine::decision::RuleId;
use seawall_engine::units::{Timestamp, counted};

use crate::record::{Action, Actor, Record};

/// How long what happens is collected.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// Where clients that go on after refusals are kept away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    Kernel,
    Edge,
}

/// What is still to be told.
#[derive(Debug, Default)]
pub(super) struct Recurring {
    clients: BTreeMap<(RuleId, Layer), u64>,
    /// What became of the kernel's table last, and how often anything did.
    repairs: Option<(String, u64)>,
    tell_at: Timestamp,
}

impl Recurring {
    /// A client that went on after refusals of a rule is kept away.
    pub(super) fn handed_down(&mut self, rule: RuleId, layer: Layer) {
        *self.clients.entry((rule, layer)).or_default() += 1;
    }

    /// The kernel's table is made anew after this.
    pub(super) fn repaired(&mut self, harm: String) {
        let before = self.repairs.take().map_or(0, |(_, times)| times);
        self.repairs = Some((harm, before + 1));
    }

    /// Tells what has happened, when it is time.
    pub(super) fn tell(&mut self, record: &Record, now: Timestamp) {
        if now >= self.tell_at && !(self.clients.is_empty() && self.repairs.is_none()) {
            self.tell_at = now + TELL_INTERVAL;
            self.tell_all(record);
        }
    }

    /// Tells what has happened, and forgets it.
    pub(super) fn tell_all(&mut self, record: &Record) {
        for (action, text) in self.take() {
            // A repair is a warning, and was given when it was made.
            if action != Action::Repair {
                tracing::info!("{text}");
            }
            record.journal(Actor::Guard, action, text);
        }
    }

    fn take(&mut self) -> Vec<(Action, String)> {
        let of_rule = |((rule, layer), clients): ((RuleId, Layer), u64)| {
            let layer = match layer {
                Layer::Kernel => "dropped by the kernel",
                Layer::Edge => "refused at the edge",
            };
            let are = if clients == 1 { "is" } else { "are" };
            let who = counted(clients, "client");
            (Action::Ban, format!("{rule}: {who} more that went on after its refusals {are} {layer}"))
        };
        let repaired = self.repairs.take().map(|(harm, times)| {
            let again = if times > 1 { format!(" ({times} times)") } else { String::new() };
            (Action::Repair, format!("{harm}; it is made anew{again}"))
        });
        std::mem::take(&mut self.clients).into_iter().map(of_rule).chain(repaired).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_clients_of_one_rule_and_many_repairs_are_a_line_each() {
        let mut recurring = Recurring::default();
        for _ in 0..1_200 {
            recurring.handed_down(RuleId(3), Layer::Kernel);
        }
        recurring.handed_down(RuleId(4), Layer::Edge);
        recurring.repaired("the table inet seawall was changed by another program".to_owned());
        recurring.repaired("the table inet seawall was removed by another program".to_owned());
        let texts = [
            (Action::Ban, "R3: 1200 clients more that went on after its refusals are dropped by the kernel"),
            (Action::Ban, "R4: 1 client more that went on after its refusals is refused at the edge"),
            (Action::Repair, "the table inet seawall was removed by another program; it is made anew (2 times)"),
        ];
        assert_eq!(recurring.take(), texts.map(|(action, text)| (action, text.to_owned())));
        assert_eq!(recurring.take(), []);
    }
}
