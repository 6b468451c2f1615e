//! A flood out of a network in which visitors are as well.

use std::net::IpAddr;

use super::Flood;
use crate::background::known::{NETWORK_VISITORS, network_visitor};
use crate::background::{Plan, browsers};
use crate::request::Sent;
use crate::world::{Scene, Traffic};

/// The seconds after which the flood begins; the visitors have come all the while.
pub(super) const BEGIN: f64 = 120.0;

/// Addresses of the flood.
const FLOODING: usize = 20;

/// Visits a second, beside those that are ordinary: it is a busy hour there.
const VISITS: f64 = 0.2;

/// The flood, and the visitors.
pub(super) struct Neighbours {
    flood: Flood,
    agents: Vec<String>,
}

impl Default for Neighbours {
    fn default() -> Self {
        let rate = |seconds: f64| if seconds < BEGIN { 0.0 } else { 40.0 };
        Self { flood: Flood::new(rate, flooding), agents: browsers() }
    }
}

impl Traffic for Neighbours {
    fn send(&mut self, scene: &mut Scene<'_>, plan: &mut Plan) {
        for _ in 0..scene.count(VISITS) {
            let (client, agent) = network_visitor(scene.background.network(), scene.dice.below(NETWORK_VISITORS));
            // Many have the very agent of the flood.
            let agent = match agent {
                Some(agent) => self.agents[agent % self.agents.len()].clone(),
                None => scene.background.commonest_agent(),
            };
            let begin = scene.moment();
            let visit = scene.background.visit(scene.dice, client, &agent, None);
            plan.extend(visit.into_iter().map(|(after, sent)| (begin + after, sent)));
        }
        self.flood.send(scene, plan);
    }
}

fn flooding(scene: &mut Scene<'_>, number: usize) -> Sent {
    let [first, second, third] = scene.background.network();
    let client = IpAddr::from([first, second, third, 10 + (number % FLOODING) as u8]);
    Sent::get(client, scene.background.page(scene.dice), scene.background.commonest_agent())
}
