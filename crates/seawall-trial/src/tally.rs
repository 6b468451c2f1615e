//! What a run came to, by the labels.

use std::collections::HashMap;
use std::time::Duration;

use seawall_engine::decision::{Event, RuleId};
use seawall_engine::detection::statistics::share_lower_95;
use serde::{Deserialize, Serialize};

/// What a run came to, since the onset.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Unwanted requests.
    pub unwanted: u64,
    /// Unwanted requests that were refused.
    pub unwanted_refused: u64,
    /// Unwanted requests since the first rule was in force.
    pub unwanted_after_rule: u64,
    /// Of those, the refused.
    pub unwanted_refused_after_rule: u64,
    /// Wanted requests.
    pub wanted: u64,
    /// Wanted requests that were refused.
    pub wanted_refused: u64,
    /// Seconds from the onset to the first rule in force.
    pub time_to_rule: Option<f64>,
    /// What the engine said.
    pub events: Vec<Event>,
    /// Unwanted requests of each tick, and the refused among them.
    pub ticks: Vec<(u32, u32)>,
    /// Each rule that was in force.
    pub rules: HashMap<RuleId, RuleTally>,
    /// The work of the detector in each tick.
    pub work: Vec<Work>,
}

/// The work of the detector in one tick.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// The time that it took of a processor.
    pub time: Duration,
    /// Whether an incident was open.
    pub in_incident: bool,
}

/// What one rule came to while it was in force.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RuleTally {
    /// Its conditions.
    pub text: String,
    /// Whether one of them is a single address.
    pub names_address: bool,
    /// The upper bound of the share of normal traffic that it was predicted to hurt, when it was put in force.
    pub predicted: f32,
    /// Wanted requests while it was in force.
    pub wanted: u64,
    /// Those that it refused.
    pub wanted_refused: u64,
    /// Requests of a day of ordinary traffic, and those of them that it matches: a minute in force is too short to see a share
    /// of a thousandth.
    pub ordinary: (u64, u64),
}

impl RuleTally {
    /// Whether it matches no more than was predicted at most: of a day of ordinary traffic, and of those who came while it was in
    /// force, as far as so few can tell (95% confidence).
    pub fn bound_holds(&self) -> bool {
        let of_run = share_lower_95(self.wanted_refused as f64, self.wanted as f64);
        of_run.max(share(self.ordinary)) <= f64::from(self.predicted)
    }

    /// The share of wanted requests that it matches: of those of a day of ordinary traffic, or of those who came while it was in
    /// force, whichever is more.
    pub fn actual(&self) -> f64 {
        share(self.ordinary).max(share((self.wanted, self.wanted_refused)))
    }
}

/// The share of all that matched.
fn share((all, matched): (u64, u64)) -> f64 {
    matched as f64 / all.max(1) as f64
}

/// The right rules are in force when, over this many ticks with unwanted requests, this share of them is refused.
const RIGHT_TICKS: usize = 4;
const RIGHT_SHARE: f64 = 0.8;

impl Tally {
    /// The share of unwanted requests that were refused since the first rule.
    pub fn recall(&self) -> f64 {
        self.unwanted_refused_after_rule as f64 / self.unwanted_after_rule.max(1) as f64
    }

    /// The tick from which on the rules in force are the right ones, judged by what they refuse.
    pub fn right_tick(&self) -> Option<usize> {
        let busy: Vec<(usize, (u32, u32))> =
            self.ticks.iter().copied().enumerate().filter(|(_, (unwanted, _))| *unwanted > 0).collect();
        let is_right = |window: &&[(usize, (u32, u32))]| {
            let (unwanted, refused) =
                window.iter().fold((0, 0), |(unwanted, refused), (_, tick)| (unwanted + tick.0, refused + tick.1));
            window.first().is_some_and(|(_, (_, refused))| *refused > 0)
                && f64::from(refused) >= RIGHT_SHARE * f64::from(unwanted)
        };
        busy.windows(RIGHT_TICKS).find(is_right).and_then(|window| window.first()).map(|(tick, _)| *tick)
    }

    /// The share of unwanted requests that were refused from this tick on.
    pub fn recall_since(&self, tick: usize) -> f64 {
        let (unwanted, refused) = self.ticks.iter().skip(tick).fold((0_u64, 0_u64), |(unwanted, refused), tick| {
            (unwanted + u64::from(tick.0), refused + u64::from(tick.1))
        });
        refused as f64 / unwanted.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_broken_by_a_day_or_by_those_who_came() {
        let rule = |ordinary, run: (u64, u64)| RuleTally {
            predicted: 0.01,
            wanted: run.0,
            wanted_refused: run.1,
            ordinary,
            ..RuleTally::default()
        };
        assert!(rule((100_000, 900), (500, 2)).bound_holds());
        assert!(!rule((100_000, 1_100), (500, 2)).bound_holds(), "1.1% of an ordinary day");
        assert!(!rule((100_000, 0), (500, 30)).bound_holds(), "6% of those who came");
        // 8 of 500 are more than 1%, but so few that it may be chance.
        assert!(rule((100_000, 0), (500, 8)).bound_holds());
        assert!((rule((100_000, 0), (500, 8)).actual() - 0.016).abs() < 1e-9);
    }
}
