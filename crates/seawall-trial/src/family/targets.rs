//! Floods that differ in what they ask for.

use std::time::Duration;

use super::senders::BOTS;
use crate::background::browsers;
use crate::dice::address;
use crate::request::Sent;
use crate::world::Scene;

/// Posts to one file, as a game's downloader gone wrong.
pub(super) fn posts_to_file(scene: &mut Scene<'_>, _: usize) -> Sent {
    let mut sent = Sent::get(scene.dice.address(BOTS.0, BOTS.1), "/ca/cacert.pem", "QQGameHall");
    sent.method = "POST".to_owned();
    sent.bytes = 225_000;
    sent
}

pub(super) fn random_path(scene: &mut Scene<'_>, _: usize) -> Sent {
    let agent = "Mozilla/5.0 (Windows NT 6.1; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/83.0.4103.97 Safari/537.36";
    let client = scene.dice.address(BOTS.0, BOTS.1);
    let mut sent = Sent::get(client, format!("/{}", scene.dice.word(12)), agent);
    sent.query = Some(format!("{}={}", scene.dice.word(5), scene.dice.word(5)));
    sent.status = 404;
    sent
}

/// Names made up by a machine, next to the root, each of its own address and with an ordinary agent.
pub(super) fn made_up_paths(scene: &mut Scene<'_>, number: usize) -> Sent {
    let agent = scene.dice.pick(&browsers()).clone();
    let name = scene.dice.below(1 << 32);
    Sent { status: 404, ..Sent::get(address(BOTS.0, number), format!("/{name:08x}"), agent) }
}

/// The page that visitors read most, with a name of a parameter and a value that are letters by chance, past every cache; each of its own address and with
/// an ordinary agent.
pub(super) fn made_up_parameters(scene: &mut Scene<'_>, number: usize) -> Sent {
    let agent = scene.dice.pick(&browsers()).clone();
    let query = format!("{}={}", scene.dice.word(6), scene.dice.word(6));
    Sent { query: Some(query), ..Sent::get(address(BOTS.0, number), scene.background.front_page(), agent) }
}

/// Below a page that lies in a directory of pages, where the site answers whatever is asked with a page.
pub(super) fn faked_parts(scene: &mut Scene<'_>, number: usize) -> Sent {
    /// What one address asks for: a page, and what passes for its parts.
    const VISIT: usize = 40;
    let agents = browsers();
    // Twenty addresses at a time take turns.
    let (round, turn) = (number / (20 * VISIT), number % (20 * VISIT));
    let visitor = 20 * round + turn % 20;
    let page = loop {
        let page = scene.background.page(scene.dice);
        if page.matches('/').count() > 1 && !page.ends_with('/') {
            break page;
        }
    };
    let path = if turn < 20 { page } else { format!("{page}/{}.css", scene.dice.word(6)) };
    let mut sent = Sent::get(address(BOTS.0, visitor), path, agents[visitor % agents.len()].clone());
    sent.upstream = Duration::from_millis(80);
    sent
}

pub(super) fn large_files(scene: &mut Scene<'_>, _: usize) -> Sent {
    let path = format!("/files/image-{}.iso", scene.dice.below(30));
    let mut sent = Sent::get(scene.dice.address(BOTS.0, BOTS.1), path, "Go-http-client/1.1");
    sent.bytes = 4_000_000;
    sent
}

pub(super) fn posts_to_page(scene: &mut Scene<'_>, number: usize) -> Sent {
    let agent = scene.dice.pick(&browsers()).clone();
    Sent { method: "POST".to_owned(), ..Sent::get(address(BOTS.0, number), "/wiki/SandBox", agent) }
}

/// What floods of one page ask for.
pub(super) const ONE_PAGE: &str = "/wiki/export";

/// One page and nothing else, where browsers would ask for its parts.
pub(super) fn one_page(scene: &mut Scene<'_>, number: usize) -> Sent {
    let agent = scene.dice.pick(&browsers()).clone();
    Sent::get(address(BOTS.0, number), ONE_PAGE, agent)
}

/// The same of a site that is down.
pub(super) fn given_up(scene: &mut Scene<'_>, number: usize) -> Sent {
    Sent { upstream: Duration::from_secs(30), status: 504, ..one_page(scene, number) }
}

/// What the site has elsewhere.
pub(super) fn redirected(scene: &mut Scene<'_>, number: usize) -> Sent {
    Sent { status: 301, ..one_page(scene, number) }
}

/// Answers that the site has at once, and that are taken a few bytes at a time.
pub(super) fn slow_readers(scene: &mut Scene<'_>, number: usize) -> Sent {
    Sent { taking: Duration::from_secs(30), ..one_page(scene, number) }
}

pub(super) fn slow_form(scene: &mut Scene<'_>, number: usize) -> Sent {
    let agent = scene.dice.pick(&browsers()).clone();
    let mut sent = Sent::get(address(BOTS.0, number), "/wiki/edit", agent);
    sent.method = "POST".to_owned();
    sent.upstream = Duration::from_secs(2);
    sent
}
