//! The kinds of floods. To add one: a function beside the others that makes its requests, and its entry in [`ALL`].

mod neighbours;
mod senders;
mod targets;
mod timing;

use crate::background::Plan;
use crate::request::Sent;
use crate::trial::Known;
use crate::world::{Scene, Traffic};

/// What is right for a flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// It has a mark of its own: rules that refuse it and nobody else.
    Rules,
    /// It is one address, or a few, that send what others send as well: rules, each of which names an address.
    Address,
    /// It shares its marks and its network with visitors: whatever is done, no rule that matches one of them.
    Neighbours,
    /// Nothing tells it from wanted traffic: no rule, and to say so.
    NotSeparable,
}

/// One kind of flood.
#[derive(Clone, Copy)]
pub struct Family {
    /// The name in tables.
    pub name: &'static str,
    /// What it does, in a line.
    pub what: &'static str,
    /// What is right for it.
    pub right: Right,
    /// How long it is watched, in seconds.
    pub seconds: u32,
    /// Seconds after its beginning from which the time to a rule counts.
    pub onset: f64,
    /// For one that grows, its requests a second by the seconds since its beginning. What counts then is how strong it was
    /// when the right rules were in force, not how long that took.
    pub growth: Option<fn(f64) -> f64>,
    /// Seconds to the right rules that half of the runs, and nineteen of twenty, may take.
    pub time_max: (f64, f64),
    /// The least share of its requests to be refused once the right rules are in force.
    pub recall_min: f64,
    /// It is run with one seed in so many: those that last for hours.
    pub one_seed_in: u64,
    /// How long the guard has known the site.
    pub known: Known,
    /// Whether only what a guard in line sees tells it.
    pub needs_headers: bool,
    /// Makes it.
    pub traffic: fn() -> Box<dyn Traffic>,
}

const USUAL: Family = Family {
    name: "",
    what: "",
    right: Right::Rules,
    seconds: 60,
    onset: 0.0,
    growth: None,
    time_max: (3.0, 10.0),
    recall_min: 0.95,
    one_seed_in: 1,
    known: Known::Week,
    needs_headers: false,
    traffic: || Box::new(Flood::steady(0.0, senders::single_address)),
};

/// Every kind.
pub const ALL: [Family; 40] = [
    Family {
        name: "single address",
        what: "40/s from one address with the commonest agent, over all pages",
        right: Right::Address,
        traffic: || Box::new(Flood::steady(40.0, senders::single_address)),
        ..USUAL
    },
    Family {
        name: "single address: feed",
        what: "40/s from one address with the commonest agent, for the one page that others ask for most",
        right: Right::Address,
        traffic: || Box::new(Flood::steady(40.0, senders::single_address_busy_page)),
        ..USUAL
    },
    Family {
        name: "single address: login",
        what: "the same, for one page that few others ask for",
        right: Right::Address,
        traffic: || Box::new(Flood::steady(40.0, senders::single_address_quiet_page)),
        ..USUAL
    },
    Family {
        name: "three addresses",
        what: "45/s from three addresses of different networks with the commonest agent, over all pages",
        right: Right::Address,
        // Each asks for as much as a browser that loads page after page.
        time_max: (10.0, 15.0),
        traffic: || Box::new(Flood::steady(45.0, senders::three_addresses)),
        ..USUAL
    },
    Family {
        name: "network of visitors",
        what: "40/s from 20 addresses of one /24 with the commonest agent, from which visitors come too",
        right: Right::Neighbours,
        seconds: 180,
        onset: neighbours::BEGIN,
        traffic: || Box::new(neighbours::Neighbours::default()),
        ..USUAL
    },
    Family {
        name: "rotating address",
        what: "40/s with one agent, from another address every 20 s",
        seconds: 90,
        traffic: || Box::new(Flood::steady(40.0, senders::rotating_address)),
        ..USUAL
    },
    Family {
        name: "random agents",
        what: "40/s, each with an address and an agent of its own, searching one page",
        traffic: || Box::new(Flood::steady(40.0, senders::random_agents)),
        ..USUAL
    },
    Family {
        name: "random path and query",
        what: "40/s for pages that do not exist, with an old browser's agent",
        traffic: || Box::new(Flood::steady(40.0, targets::random_path)),
        ..USUAL
    },
    Family {
        name: "made-up paths",
        what: "40/s with ordinary agents, each from an address of its own for a name next to the root that a machine has made up",
        traffic: || Box::new(Flood::steady(40.0, targets::made_up_paths)),
        ..USUAL
    },
    Family {
        name: "made-up parameters",
        what: "40/s with ordinary agents, each from an address of its own for the page that visitors read most, with a parameter whose \
               name is made up",
        traffic: || Box::new(Flood::steady(40.0, targets::made_up_parameters)),
        ..USUAL
    },
    Family {
        name: "header order only",
        what: "40/s, copies of ordinary requests whose headers another program has written",
        needs_headers: true,
        traffic: || Box::new(Flood::steady(40.0, senders::header_order)),
        ..USUAL
    },
    Family {
        name: "bytes-heavy",
        what: "8/s for files of 4 MB, from 5,000 addresses with one downloader",
        traffic: || Box::new(Flood::steady(8.0, targets::large_files)),
        ..USUAL
    },
    Family {
        name: "slow-cost",
        what: "8/s of form posts that the site works on for 2 s each, with every agent",
        traffic: || Box::new(Flood::steady(8.0, targets::slow_form)),
        ..USUAL
    },
    Family {
        name: "one page",
        what: "5/s, as much again as is usual, for one page with every agent, each from an address of its own",
        // It grows by no more than the bursts in which visitors come, so that it is seen by what it adds up to.
        time_max: (10.0, 30.0),
        traffic: || Box::new(Flood::steady(5.0, targets::one_page)),
        ..USUAL
    },
    Family {
        name: "no answer",
        what: "40/s for one page with every agent, each from an address of its own, while the site answers none of it: a proxy gives up \
               after 30 s",
        traffic: || Box::new(Flood::steady(40.0, targets::given_up)),
        ..USUAL
    },
    Family {
        name: "redirected",
        what: "the same, each of which is sent to another address at once and does not go there",
        traffic: || Box::new(Flood::steady(40.0, targets::redirected)),
        ..USUAL
    },
    Family {
        name: "slow readers",
        what: "2/s for one page with every agent, each from an address of its own that takes half a minute over the answer; the time \
               counts from the tenth second, when twenty are held",
        onset: 10.0,
        // Less than ten connections at once are worth no incident, and what is held adds up.
        time_max: (10.0, 15.0),
        traffic: || Box::new(Flood::steady(2.0, targets::slow_readers)),
        ..USUAL
    },
    Family {
        name: "pulses",
        what: "60/s for 5 s out of each 35 s, one agent from 5,000 addresses",
        seconds: 180,
        traffic: || Box::new(Flood::new(timing::pulses, targets::posts_to_file)),
        ..USUAL
    },
    Family {
        name: "slow ramp",
        what: "one agent from 5,000 addresses, growing by 8/s a minute",
        seconds: 180,
        growth: Some(timing::ramp),
        traffic: || Box::new(Flood::new(timing::ramp, targets::posts_to_file)),
        ..USUAL
    },
    Family {
        name: "ramp of half an hour",
        what: "the same, growing to 24/s in 30 minutes",
        seconds: 1800,
        growth: Some(timing::ramp_half_hour),
        one_seed_in: 5,
        traffic: || Box::new(Flood::new(timing::ramp_half_hour, targets::posts_to_file)),
        ..USUAL
    },
    Family {
        name: "ramp of six hours",
        what: "the same, growing to 24/s in six hours, of which the first three are watched",
        seconds: 3 * 3600,
        growth: Some(timing::ramp_six_hours),
        one_seed_in: 20,
        traffic: || Box::new(Flood::new(timing::ramp_six_hours, targets::posts_to_file)),
        ..USUAL
    },
    Family {
        name: "two at once",
        what: "30/s each of two floods that have nothing in common",
        traffic: || Box::new(Flood::steady(60.0, timing::two)),
        ..USUAL
    },
    Family {
        name: "low and slow",
        what: "8/s over all pages, each of 5,000 addresses once in ten minutes, with one agent",
        traffic: || Box::new(Flood::steady(8.0, senders::low_and_slow)),
        ..USUAL
    },
    Family {
        name: "few clients",
        what: "60/s over all pages from 30 addresses with one agent",
        traffic: || Box::new(Flood::steady(60.0, senders::few_clients)),
        ..USUAL
    },
    Family {
        name: "faked parts",
        what: "40/s with ordinary agents from addresses that take turns: a page, then style sheets that would lie below pages",
        traffic: || Box::new(Flood::steady(40.0, targets::faked_parts)),
        ..USUAL
    },
    Family {
        name: "copies",
        what: "40/s, copies of ordinary requests from addresses of their own",
        right: Right::NotSeparable,
        traffic: || Box::new(Flood::steady(40.0, senders::copies)),
        ..USUAL
    },
    Family {
        name: "during a crowd",
        what: "40/s with one agent, while a link brings eight readers a second",
        seconds: 90,
        onset: 30.0,
        traffic: || Box::new(timing::DuringCrowd::default()),
        ..USUAL
    },
    Family {
        name: "readers first",
        what: "40/s for one page with every agent, each from an address of its own, for which eight readers a second have come for 20 s \
               before; the time counts from the first of the flood",
        seconds: 180,
        onset: timing::READING,
        // It is what is left of a crowd for a minute after the last look at which enough of them read.
        time_max: (85.0, 95.0),
        traffic: || Box::new(timing::ReadersFirst::default()),
        ..USUAL
    },
    Family {
        name: "beside a picture",
        what: "60/s of posts to one page, each with an address of its own and an ordinary agent, while another site's readers load one \
               picture 15 times a second",
        traffic: || Box::new(timing::BesidePicture::default()),
        ..USUAL
    },
    Family {
        name: "cold start",
        what: "50/s with one agent, ten minutes after the guard first saw the site",
        known: Known::TenMinutes,
        traffic: || Box::new(Flood::steady(50.0, targets::posts_to_file)),
        ..USUAL
    },
    Family {
        name: "cold single address",
        what: "20/s for one page from one address with the commonest agent, ten minutes after the guard first saw a site with \
               a request in three seconds",
        right: Right::Address,
        seconds: 120,
        // At half the rate at which one client is heavy at once, a visitor who opens one page after another does as much for seconds.
        time_max: (10.0, 10.0),
        known: Known::TenMinutesOfLittle,
        traffic: || Box::new(Flood::steady(20.0, senders::single_address_busy_page)),
        ..USUAL
    },
    Family {
        name: "cold few clients",
        what: "60/s over all pages from 30 addresses with one agent, ten minutes after the guard first saw the site",
        known: Known::TenMinutes,
        traffic: || Box::new(Flood::steady(60.0, senders::few_clients)),
        ..USUAL
    },
    Family {
        name: "cold few clients: little",
        what: "the same on a site with a request in three seconds",
        known: Known::TenMinutesOfLittle,
        traffic: || Box::new(Flood::steady(60.0, senders::few_clients)),
        ..USUAL
    },
    Family {
        name: "started in the flood",
        what: "50/s with one agent, under way when the guard is started; the time counts from its fifth second",
        known: Known::Nothing,
        onset: 5.0,
        traffic: || Box::new(Flood::steady(50.0, targets::posts_to_file)),
        ..USUAL
    },
    Family {
        name: "started in posts",
        what: "40/s of form posts to one path with every agent, under way when the guard is started; as above",
        known: Known::Nothing,
        onset: 5.0,
        traffic: || Box::new(Flood::steady(40.0, targets::slow_form)),
        ..USUAL
    },
    Family {
        name: "started in a browser's",
        what: "40/s for pages that do not exist with one browser's agent, under way when the guard is started; as above",
        known: Known::Nothing,
        onset: 5.0,
        // What one browser has of a site's visitors is let through: a third of what the others send.
        recall_min: 0.9,
        traffic: || Box::new(Flood::steady(40.0, targets::random_path)),
        ..USUAL
    },
    Family {
        name: "1,000/s: one agent",
        what: "1,000/s of posts with one agent from 5,000 addresses",
        one_seed_in: ONE_SEED_IN_FAST,
        traffic: || Box::new(Flood::steady(FAST, targets::posts_to_file)),
        ..USUAL
    },
    Family {
        name: "1,000/s: random paths",
        what: "1,000/s for pages that do not exist, with an old browser's agent",
        one_seed_in: ONE_SEED_IN_FAST,
        traffic: || Box::new(Flood::steady(FAST, targets::random_path)),
        ..USUAL
    },
    Family {
        name: "1,000/s: headers",
        what: "1,000/s, copies of ordinary requests whose headers another program has written",
        one_seed_in: ONE_SEED_IN_FAST,
        needs_headers: true,
        traffic: || Box::new(Flood::steady(FAST, senders::header_order)),
        ..USUAL
    },
    Family {
        name: "1,000/s: copies",
        what: "1,000/s, copies of ordinary requests from addresses of their own",
        right: Right::NotSeparable,
        one_seed_in: ONE_SEED_IN_FAST,
        traffic: || Box::new(Flood::steady(FAST, senders::copies)),
        ..USUAL
    },
];

/// Requests a second of the floods that are many times those of the others, and how many seeds have one.
const FAST: f64 = 1000.0;
const ONE_SEED_IN_FAST: u64 = 10;

/// A flood whose requests are made one by one.
struct Flood {
    /// Requests a second, by the seconds since its beginning.
    rate: Box<dyn Fn(f64) -> f64>,
    request: fn(&mut Scene<'_>, usize) -> Sent,
    /// How many there have been.
    number: usize,
}

impl Flood {
    fn new(rate: fn(f64) -> f64, request: fn(&mut Scene<'_>, usize) -> Sent) -> Self {
        Self { rate: Box::new(rate), request, number: 0 }
    }

    fn steady(rate: f64, request: fn(&mut Scene<'_>, usize) -> Sent) -> Self {
        Self { rate: Box::new(move |_| rate), request, number: 0 }
    }
}

impl Traffic for Flood {
    fn send(&mut self, scene: &mut Scene<'_>, plan: &mut Plan) {
        for _ in 0..scene.count((self.rate)(scene.seconds)) {
            let mut sent = (self.request)(scene, self.number);
            self.number += 1;
            if !scene.background.has_headers() {
                sent.header_order = None;
            }
            plan.push((scene.moment(), sent));
        }
    }
}
