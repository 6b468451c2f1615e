//! What looks like a flood and is none: on these nothing may be blocked, whatever the load. To add one: its file, and its
//! entry in [`ALL`]. [`Recorded`] ones come out of a file.

mod link;
mod programs;
mod recorded;
mod shared;

use crate::background::browsers;
use crate::trial::Known;
use crate::world::Traffic;

pub use link::{LINKED, Link, Overwhelming};
pub use recorded::{Recorded, RecordingError};

/// One kind of unusual but wanted traffic.
#[derive(Clone, Copy)]
pub struct Control {
    /// The name in tables.
    pub name: &'static str,
    /// What it does, in a line.
    pub what: &'static str,
    /// How long it is watched, in seconds.
    pub seconds: u32,
    /// It is run with one seed in so many.
    pub one_seed_in: u64,
    /// Whether it is made of programs that only the made-up site knows.
    pub knows_programs: bool,
    /// How long the guard has known the site.
    pub known: Known,
    /// Makes it.
    pub traffic: fn() -> Box<dyn Traffic>,
}

const USUAL: Control = Control {
    name: "",
    what: "",
    seconds: 120,
    one_seed_in: 1,
    knows_programs: false,
    known: Known::Week,
    traffic: || Box::new(Link::crowd()),
};

/// Every kind.
pub const ALL: [Control; 19] = [
    Control {
        name: "crowd",
        what: "a link on a big site: readers grow within a minute to ten a second, then fade",
        seconds: 180,
        traffic: || Box::new(Link::crowd()),
        ..USUAL
    },
    Control {
        name: "crowd: no answer",
        what: "a link that goes on; at its height the site falls over: it answers one page in fifty, and a proxy gives up on the others",
        seconds: 240,
        traffic: || Box::new(Overwhelming::given_up(60.0..f64::INFINITY)),
        ..USUAL
    },
    Control {
        name: "crowd: turned away",
        what: "the same, and the others are told at once that there is too much (503)",
        seconds: 240,
        traffic: || Box::new(Overwhelming::turned_away(60.0..f64::INFINITY)),
        ..USUAL
    },
    Control {
        name: "crowd: ticker",
        what: "a link brings four readers a second for half a minute, whose browsers ask for the page again every ten seconds, and not for \
               its parts",
        seconds: 300,
        traffic: || Box::new(link::Ticker::default()),
        ..USUAL
    },
    Control {
        name: "crowd: 1,000/s",
        what: "a link that brings readers whose browsers send a thousand requests a second within a minute, and goes on",
        one_seed_in: 10,
        traffic: || Box::new(Link::lasting(READERS_FAST)),
        ..USUAL
    },
    Control {
        name: "new browser release",
        what: "a busy hour in which a third of the visitors has a browser that nobody had before",
        seconds: 180,
        traffic: || Box::new(Link::new_release()),
        ..USUAL
    },
    Control {
        name: "feed herd",
        what: "three hundred feed readers within fifteen seconds, every minute",
        seconds: 180,
        knows_programs: true,
        traffic: || Box::new(programs::Herd::default()),
        ..USUAL
    },
    Control {
        name: "search crawl",
        what: "the known crawler from all its addresses, ten pages a second",
        knows_programs: true,
        traffic: || Box::new(programs::Crawl),
        ..USUAL
    },
    Control {
        name: "uptime monitors",
        what: "the known monitors, each asking every second",
        knows_programs: true,
        traffic: || Box::new(programs::Probes),
        ..USUAL
    },
    Control {
        name: "CGNAT burst",
        what: "two hundred people behind one address, loading pages",
        traffic: || Box::new(shared::Shared::cgnat()),
        ..USUAL
    },
    Control {
        name: "office",
        what: "people with six browsers behind one address, two visits a second",
        traffic: || Box::new(shared::Shared::office()),
        ..USUAL
    },
    Control {
        name: "CDN egress",
        what: "all visitors of a busy hour through six addresses of a CDN",
        traffic: || Box::new(shared::Shared::cdn()),
        ..USUAL
    },
    Control {
        name: "federated herd",
        what: "servers that make a preview of one page, twenty a second at first, and say who they are",
        traffic: || Box::new(programs::Previews::default()),
        ..USUAL
    },
    Control {
        name: "started in a crowd",
        what: "a link that brings ten readers a second, under way when the guard is started",
        known: Known::Nothing,
        traffic: || Box::new(Link::steady(10.0, browsers())),
        ..USUAL
    },
    Control {
        name: "started: one browser",
        what: "the same, and two thirds of the readers have the same browser",
        known: Known::Nothing,
        traffic: || Box::new(Link::of_one_browser()),
        ..USUAL
    },
    Control {
        name: "started: CGNAT",
        what: "two hundred people behind one address, under way when the guard is started",
        known: Known::Nothing,
        traffic: || Box::new(shared::Shared::cgnat()),
        ..USUAL
    },
    Control {
        name: "started: CDN",
        what: "all visitors through six addresses of a CDN, under way when the guard is started",
        known: Known::Nothing,
        traffic: || Box::new(shared::Shared::cdn()),
        ..USUAL
    },
    Control {
        name: "started: federated",
        what: "servers that make a preview of one page, under way when the guard is started",
        known: Known::Nothing,
        traffic: || Box::new(programs::Previews::default()),
        ..USUAL
    },
    Control {
        name: "started in a crawl",
        what: "a crawler with a name from all its addresses, under way when the guard is started",
        knows_programs: true,
        known: Known::Nothing,
        traffic: || Box::new(programs::Crawl),
        ..USUAL
    },
];

/// Readers a second whose browsers send a thousand requests.
const READERS_FAST: f64 = 100.0;
