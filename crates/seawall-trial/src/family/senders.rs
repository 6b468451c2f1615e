//! Floods that differ in who sends.

use crate::dice::address;
use crate::request::Sent;
use crate::world::Scene;

/// Where floods come from.
pub(super) const BOTS: (u8, usize) = (120, 5000);

pub(super) fn single_address(scene: &mut Scene<'_>, _: usize) -> Sent {
    Sent::get(address(BOTS.0, 7), scene.background.page(scene.dice), scene.background.commonest_agent())
}

pub(super) fn three_addresses(scene: &mut Scene<'_>, number: usize) -> Sent {
    let client = address(BOTS.0, 7 + 1_000 * (number % 3));
    Sent::get(client, scene.background.page(scene.dice), scene.background.commonest_agent())
}

pub(super) fn single_address_busy_page(scene: &mut Scene<'_>, _: usize) -> Sent {
    Sent::get(address(BOTS.0, 7), scene.background.busy_page(), scene.background.commonest_agent())
}

pub(super) fn single_address_quiet_page(scene: &mut Scene<'_>, _: usize) -> Sent {
    Sent::get(address(BOTS.0, 7), scene.background.quiet_page(), scene.background.commonest_agent())
}

pub(super) fn rotating_address(scene: &mut Scene<'_>, _: usize) -> Sent {
    let path = format!("/{}/{}.php", scene.dice.below(50), scene.dice.below(1000));
    let mut sent = Sent::get(address(BOTS.0, (scene.seconds / 20.0) as usize), path, "scanner/1.0 (probe)");
    sent.status = 404;
    sent
}

pub(super) fn random_agents(scene: &mut Scene<'_>, number: usize) -> Sent {
    let dice = &mut *scene.dice;
    let agent = format!("{}/{}.{} ({})", dice.word(7), dice.below(20), dice.below(100), dice.word(9));
    let mut sent = Sent::get(address(BOTS.0, number), "/wiki/page-3", agent);
    sent.query = Some(format!("search={}", scene.dice.word(8)));
    sent.upstream = std::time::Duration::from_millis(80);
    sent
}

pub(super) fn header_order(scene: &mut Scene<'_>, number: usize) -> Sent {
    let mut sent = copies(scene, number);
    sent.header_order = Some("accept accept-encoding user-agent host connection");
    sent
}

pub(super) fn low_and_slow(scene: &mut Scene<'_>, _: usize) -> Sent {
    let client = scene.dice.address(BOTS.0, BOTS.1);
    Sent::get(client, scene.background.page(scene.dice), "python-requests/2.31.0")
}

pub(super) fn few_clients(scene: &mut Scene<'_>, _: usize) -> Sent {
    let client = scene.dice.address(BOTS.0, 30);
    Sent::get(client, scene.background.page(scene.dice), "python-requests/2.31.0")
}

pub(super) fn copies(scene: &mut Scene<'_>, number: usize) -> Sent {
    scene.background.copy(scene.dice, address(BOTS.0, number))
}
