//! The user agents, and words of them, with which most clients arrive at this moment, and among them those that ordinary
//! visitors do not have. A flood from many addresses that is small beside the ordinary traffic stands out here: on ordinary
//! days an agent that nobody has had before comes with one client or two. Words tell servers of one kind, each of which adds
//! its own name to its agent.
//!
//! A table of fixed size, keyed by hash; of two values in one place the one that comes more often stays.

use super::trigger::NEWCOMERS_MIN;
use super::values::Item;

/// How many values are watched.
const VALUES: usize = 8192;

/// In how many steps arrivals fade to a half: two seconds.
const FADE_STEPS: f32 = 8.0;

/// How long a value that ordinary visitors have is not asked about again, in steps: an hour.
const KNOWN_STEPS: u32 = 4 * 3600;

#[derive(Clone, Copy, Debug, Default)]
struct Watched {
    item: Option<Item>,
    /// The step as of which arrivals are faded.
    step: u32,
    arrivals: f32,
    /// Until when it counts as known.
    known_until: u32,
}

/// Who arrives with which agent.
#[derive(Clone, Debug)]
pub(crate) struct Newcomers {
    watched: Vec<Watched>,
    /// The place of the one with most arrivals in the newest step, of those that are new.
    foremost: usize,
}

impl Newcomers {
    pub(crate) fn new() -> Self {
        Self { watched: vec![Watched::default(); VALUES], foremost: 0 }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(self.watched.as_slice())
    }

    /// Counts the arrival of a client with this value. `is_ordinary` is asked once it comes often.
    pub(crate) fn arrive(&mut self, item: Item, step: u64, weight: f32, is_ordinary: impl FnOnce(Item) -> bool) {
        let step = step as u32;
        let at = item.hash as usize % VALUES;
        let watched = &mut self.watched[at];
        watched.fade(step);
        if watched.item != Some(item) {
            if watched.arrivals > weight {
                watched.arrivals -= weight;
                return;
            }
            *watched = Watched { item: Some(item), step, ..Watched::default() };
        }
        watched.arrivals += weight;
        let arrivals = watched.arrivals;
        if watched.is_known(step) || f64::from(arrivals) < NEWCOMERS_MIN {
            return;
        }
        if is_ordinary(item) {
            watched.known_until = step.wrapping_add(KNOWN_STEPS);
            return;
        }
        let foremost = &mut self.watched[self.foremost];
        foremost.fade(step);
        if foremost.is_known(step) || foremost.arrivals < arrivals {
            self.foremost = at;
        }
    }

    /// The new value with which most clients arrive at this step, and how many, if they are many.
    pub(crate) fn foremost(&self, step: u64) -> Option<(Item, f64)> {
        let mut watched = self.watched[self.foremost];
        watched.fade(step as u32);
        let arrivals = f64::from(watched.arrivals);
        let item = watched.item.filter(|_| arrivals >= NEWCOMERS_MIN && !watched.is_known(step as u32))?;
        Some((item, arrivals))
    }
}

impl Watched {
    fn fade(&mut self, step: u32) {
        let passed = step.wrapping_sub(self.step);
        if passed > 0 {
            self.arrivals *= (-(passed as f32) / FADE_STEPS).exp2();
            self.step = step;
        }
    }

    const fn is_known(&self, step: u32) -> bool {
        self.known_until > step
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::attribute::Attribute;

    fn agent(hash: u32) -> Item {
        Item { attribute: Attribute::UserAgent, hash }
    }

    #[test]
    fn the_foremost_is_the_one_that_comes_most_and_is_not_known() {
        let mut newcomers = Newcomers::new();
        let mut asked = 0;
        for step in 0..16 {
            for (hash, count) in [(7, 4), (8, 2), (9 + step as u32, 1)] {
                for _ in 0..count {
                    newcomers.arrive(agent(hash), step, 1.0, |item| {
                        asked += 1;
                        item.hash == 7
                    });
                }
            }
        }
        let (foremost, arrivals) = newcomers.foremost(15).expect("there is one");
        assert_eq!(foremost, agent(8), "the other is known");
        assert!((14.0..24.0).contains(&arrivals), "{arrivals}");
        assert!(asked < 40, "of what is known is asked once: {asked}");
        assert_eq!(newcomers.foremost(200), None, "they are gone");
    }

    #[test]
    fn a_flood_of_made_up_agents_hides_none() {
        let mut newcomers = Newcomers::new();
        for step in 0..16_u32 {
            for number in 0..2000 {
                newcomers.arrive(agent(100 + step * 2000 + number), step.into(), 1.0, |_| false);
            }
            (0..8).for_each(|_| newcomers.arrive(agent(7), step.into(), 1.0, |_| false));
        }
        assert_eq!(newcomers.foremost(15).map(|(item, _)| item), Some(agent(7)));
    }
}
