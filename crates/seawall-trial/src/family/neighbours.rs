//! A flood out of a network in which visitors are as well.

use std::net::IpAddr;

use super::Flood;
use crate::background::known::network_visitor;
use crate::background::{Plan, browsers};
use crate::request::Sent;
use crate::world::{Scene, Traffic};

/// The seconds after which the flood begins; the visitors have come all the while.
pub(super) const BEGIN: f64 = 120.0;

/// Addresses of the flood, and of visitors.
const FLOODING: usize = 20;
const VISITING: usize = 100;

/// Visits a second.
const VISITS: f64 = 0.3;

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
            let number = scene.dice.below(VISITING);
            // Many have the very agent of the flood.
            let agent = match number % 4 {
                0 => scene.background.commonest_agent(),
                _ => self.agents[number % self.agents.len()].clone(),
            };
            let begin = scene.moment();
            let client = network_visitor(scene.background.network(), number);
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
