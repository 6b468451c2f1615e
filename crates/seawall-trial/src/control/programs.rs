//! Programs that are known by their history.

use std::time::Duration;

use crate::background::{Plan, known};
use crate::dice::address;
use crate::request::Sent;
use crate::world::{Scene, TICK, Traffic};

/// Feed readers whose clocks agree.
#[derive(Default)]
pub(super) struct Herd {
    minute: Option<u64>,
}

impl Traffic for Herd {
    fn send(&mut self, scene: &mut Scene<'_>, plan: &mut Plan) {
        let minute = (scene.seconds / 60.0) as u64;
        if self.minute.replace(minute) == Some(minute) {
            return;
        }
        for number in 0..300 {
            let mut sent = known::reader(number % 80);
            sent.client = address(known::READERS.0, number);
            plan.push((Duration::from_secs_f64(scene.dice.uniform() * 15.0), shown(scene, sent)));
        }
    }
}

/// A search engine that has found the site.
pub(super) struct Crawl;

impl Traffic for Crawl {
    fn send(&mut self, scene: &mut Scene<'_>, plan: &mut Plan) {
        for _ in 0..scene.count(10.0) {
            let client = scene.dice.address(known::CRAWLERS.0, known::CRAWLERS.1);
            let mut sent = Sent::get(client, scene.background.page(scene.dice), known::CRAWLER);
            sent.wanted = true;
            plan.push((scene.moment(), shown(scene, sent)));
        }
    }
}

/// Monitors that have seen a failure and look closely.
pub(super) struct Probes;

impl Traffic for Probes {
    fn send(&mut self, scene: &mut Scene<'_>, plan: &mut Plan) {
        for number in 0..known::MONITORS.1 {
            if scene.dice.chance(TICK.as_secs_f64()) {
                plan.push((scene.moment(), shown(scene, known::probe(number))));
            }
        }
    }
}

/// Federated servers that make a preview of a page that somebody has shared.
#[derive(Default)]
pub(super) struct Previews {
    servers: usize,
}

impl Traffic for Previews {
    fn send(&mut self, scene: &mut Scene<'_>, plan: &mut Plan) {
        for _ in 0..scene.count(20.0 * (-scene.seconds / 30.0).exp()) {
            self.servers += 1;
            let (version, name) = (scene.dice.below(9), scene.dice.word(8));
            let agent = format!("Mastodon/4.2.{version} (http.rb/5.1.1; +https://{name}.example/)");
            let mut sent = Sent::get(address(150, self.servers), super::LINKED, agent);
            sent.wanted = true;
            let sent = shown(scene, sent);
            let begin = scene.moment();
            // Some look first whether it is a page at all.
            if scene.dice.chance(0.3) {
                plan.push((begin, Sent { method: "HEAD".to_owned(), ..sent.clone() }));
            }
            plan.push((begin + Duration::from_millis(300), sent));
        }
    }
}

fn shown(scene: &Scene<'_>, sent: Sent) -> Sent {
    Sent { header_order: sent.header_order.filter(|_| scene.background.has_headers()), ..sent }
}
