//! Many people behind few addresses.

use crate::background::{Plan, browsers};
use crate::dice::address;
use crate::world::{Scene, Traffic};

/// People who load pages through shared addresses.
pub(super) struct Shared {
    addresses: usize,
    agents: Vec<String>,
    /// Visits a second.
    rate: f64,
}

impl Shared {
    /// A mobile provider's gateway.
    pub(super) fn cgnat() -> Self {
        Self { addresses: 1, agents: browsers(), rate: 4.0 }
    }

    /// An office: a handful of browsers behind one address.
    pub(super) fn office() -> Self {
        Self { addresses: 1, agents: browsers().into_iter().step_by(5).collect(), rate: 2.0 }
    }

    /// A CDN that the operator has not told the guard of.
    pub(super) fn cdn() -> Self {
        Self { addresses: 6, agents: browsers(), rate: 8.0 }
    }
}

impl Traffic for Shared {
    fn send(&mut self, scene: &mut Scene<'_>, plan: &mut Plan) {
        for _ in 0..scene.count(self.rate) {
            let client = address(180, scene.dice.below(self.addresses));
            let agent = scene.dice.pick(&self.agents).clone();
            let begin = scene.moment();
            let visit = scene.background.visit(scene.dice, client, &agent, None);
            plan.extend(visit.into_iter().map(|(after, sent)| (begin + after, sent)));
        }
    }
}
