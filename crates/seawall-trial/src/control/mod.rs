//! What looks like a flood and is none: on these nothing may be blocked, whatever the load. To add one: its file, and its
//! entry in [`ALL`].

mod link;
mod programs;
mod shared;

use crate::world::Traffic;

pub use link::Link;

/// One kind of unusual but wanted traffic.
#[derive(Clone, Copy)]
pub struct Control {
    /// The name in tables.
    pub name: &'static str,
    /// What it does, in a line.
    pub what: &'static str,
    /// How long it is watched, in seconds.
    pub seconds: u32,
    /// Whether it is made of programs that only the made-up site knows.
    pub knows_programs: bool,
    /// Makes it.
    pub traffic: fn() -> Box<dyn Traffic>,
}

/// Every kind.
pub const ALL: [Control; 7] = [
    Control {
        name: "crowd",
        what: "a link on a big site: readers grow within a minute to ten a second, then fade",
        seconds: 180,
        knows_programs: false,
        traffic: || Box::new(Link::crowd()),
    },
    Control {
        name: "new browser release",
        what: "a busy hour in which a third of the visitors has a browser that nobody had before",
        seconds: 180,
        knows_programs: false,
        traffic: || Box::new(Link::new_release()),
    },
    Control {
        name: "feed herd",
        what: "three hundred feed readers within fifteen seconds, every minute",
        seconds: 180,
        knows_programs: true,
        traffic: || Box::new(programs::Herd::default()),
    },
    Control {
        name: "search crawl",
        what: "the known crawler from all its addresses, ten pages a second",
        seconds: 120,
        knows_programs: true,
        traffic: || Box::new(programs::Crawl),
    },
    Control {
        name: "uptime monitors",
        what: "the known monitors, each asking every second",
        seconds: 120,
        knows_programs: true,
        traffic: || Box::new(programs::Probes),
    },
    Control {
        name: "CGNAT burst",
        what: "two hundred people behind one address, loading pages",
        seconds: 120,
        knows_programs: false,
        traffic: || Box::new(shared::Shared::cgnat()),
    },
    Control {
        name: "CDN egress",
        what: "all visitors of a busy hour through six addresses of a CDN",
        seconds: 120,
        knows_programs: false,
        traffic: || Box::new(shared::Shared::cdn()),
    },
];
