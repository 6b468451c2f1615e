//! Floods that differ in when they come, and with what else.

use super::{senders, targets};
use crate::background::{Plan, browsers};
use crate::control::Link;
use crate::dice::address;
use crate::request::Sent;
use crate::world::{Scene, Traffic};

pub(super) fn pulses(seconds: f64) -> f64 {
    if seconds % 35.0 < 5.0 { 60.0 } else { 0.0 }
}

pub(super) fn ramp(seconds: f64) -> f64 {
    8.0 * seconds / 60.0
}

pub(super) fn ramp_half_hour(seconds: f64) -> f64 {
    24.0 * seconds / 1800.0
}

pub(super) fn ramp_six_hours(seconds: f64) -> f64 {
    24.0 * seconds / 21_600.0
}

pub(super) fn two(scene: &mut Scene<'_>, number: usize) -> Sent {
    if number.is_multiple_of(2) {
        targets::posts_to_file(scene, number)
    } else {
        senders::rotating_address(scene, number)
    }
}

/// Readers of a link, and half a minute later a flood.
pub(super) struct DuringCrowd {
    link: Link,
    flood: super::Flood,
}

impl Default for DuringCrowd {
    fn default() -> Self {
        let rate = |seconds: f64| if seconds < 30.0 { 0.0 } else { 40.0 };
        Self { link: Link::steady(8.0, browsers()), flood: super::Flood::new(rate, targets::posts_to_file) }
    }
}

impl Traffic for DuringCrowd {
    fn send(&mut self, scene: &mut Scene<'_>, plan: &mut Plan) {
        self.link.send(scene, plan);
        self.flood.send(scene, plan);
    }
}

/// Readers of a page, who load its parts, and then a flood of it.
pub(super) struct ReadersFirst {
    readers: Link,
    flood: super::Flood,
}

/// How long the readers come, in seconds.
pub(super) const READING: f64 = 20.0;

impl Default for ReadersFirst {
    fn default() -> Self {
        let rate = |seconds: f64| if seconds < READING { 0.0 } else { 40.0 };
        let readers = Link::steady(8.0, browsers()).to(targets::ONE_PAGE);
        Self { readers, flood: super::Flood::new(rate, targets::one_page) }
    }
}

impl Traffic for ReadersFirst {
    fn send(&mut self, scene: &mut Scene<'_>, plan: &mut Plan) {
        if scene.seconds < READING {
            let mut readers = Plan::new();
            self.readers.send(scene, &mut readers);
            plan.extend(readers.into_iter().map(|(after, sent)| (after, Sent { wanted: false, ..sent })));
        }
        self.flood.send(scene, plan);
    }
}

/// Posts to one page, and beside them readers of a page elsewhere that shows one of the site's pictures.
pub(super) struct BesidePicture {
    flood: super::Flood,
    agents: Vec<String>,
    number: usize,
}

/// Readers a second.
const PICTURE_READERS: f64 = 15.0;

impl Default for BesidePicture {
    fn default() -> Self {
        Self { flood: super::Flood::steady(60.0, targets::posts_to_page), agents: browsers(), number: 0 }
    }
}

impl Traffic for BesidePicture {
    fn send(&mut self, scene: &mut Scene<'_>, plan: &mut Plan) {
        for _ in 0..scene.count(PICTURE_READERS) {
            self.number += 1;
            let agent = scene.dice.pick(&self.agents).clone();
            let picture = Sent::get(address(150, self.number), "/images/7.png", agent);
            let referer = Some("https://forum.example/".to_owned());
            plan.push((scene.moment(), Sent { wanted: true, referer, ..picture }));
        }
        self.flood.send(scene, plan);
    }
}
