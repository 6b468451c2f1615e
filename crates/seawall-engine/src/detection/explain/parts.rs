//! A surge in eighths. In a flood whose addresses take turns each has a part of its own, and only what all of them share is in
//! every part.

use super::surges::Surge;
use crate::decision::CostKind;
use crate::units::Timestamp;

/// How many parts.
pub(super) const PARTS: usize = 8;

/// A part has an excess when that is this share of what each has on average, and this many standard deviations (Poisson) and
/// requests: fewer are chance.
const SHARE_MIN: f64 = 0.1;
const DEVIATIONS_MIN: f64 = 3.0;
const REQUESTS_MIN: f64 = 10.0;

/// How much of the strongest cost came in each part.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parts([f64; PARTS]);

impl Parts {
    /// Adds what came at a moment of a surge.
    pub(super) fn add(&mut self, surge: &Surge, at: Timestamp, cost: f64) {
        let length = surge.until.since(surge.from).as_micros().max(1);
        let part = (at.since(surge.from).as_micros() * PARTS as u128 / length) as usize;
        if let Some(sum) = self.0.get_mut(part) {
            *sum += cost;
        }
    }

    /// The parts with an excess: when they are, and which.
    pub(super) fn exceeding(&self, surge: &Surge) -> Vec<usize> {
        let usual = usual(surge);
        let mean = self.0.iter().map(|sum| sum - usual).sum::<f64>() / PARTS as f64;
        let is_certain = |excess: f64| {
            surge.strongest() != CostKind::Requests
                || excess >= REQUESTS_MIN && excess >= DEVIATIONS_MIN * usual.max(0.0).sqrt()
        };
        let excess = self.0.iter().map(|sum| sum - usual).enumerate();
        excess
            .filter(|(_, excess)| *excess > 0.0 && *excess >= SHARE_MIN * mean && is_certain(*excess))
            .map(|(part, _)| part)
            .collect()
    }

    /// The least share that something explains of the excess of any part that has one, when these are its parts and normal
    /// traffic has it at this share; 1 when no part has an excess.
    pub(super) fn least_share(&self, surge: &Surge, of_it: &Self, normal_share: f64) -> f64 {
        let usual = usual(surge);
        let share = |part: usize| {
            let excess = self.0[part] - usual;
            // Adding nothing makes -0 a plain 0.
            ((of_it.0[part] - normal_share * usual) / excess).clamp(0.0, 1.0) + 0.0
        };
        self.exceeding(surge).into_iter().map(share).fold(1.0, f64::min)
    }
}

/// When a part is.
pub(super) fn window(surge: &Surge, part: usize) -> (Timestamp, Timestamp) {
    let length = surge.until.since(surge.from) / PARTS as u32;
    (surge.from + length * part as u32, surge.from + length * (part as u32 + 1))
}

/// What is usual of the strongest cost in one part.
fn usual(surge: &Surge) -> f64 {
    surge.usual[surge.strongest() as usize] * surge.until.since(surge.from).as_secs_f64() / PARTS as f64
}

#[cfg(test)]
mod tests {
    use super::super::surges::Level;
    use super::*;

    #[test]
    fn parts_without_a_certain_excess_say_nothing() {
        let level = Level { cost: CostKind::Requests, normal: 0.1, mean: 1.0, peak: 1.0, excess: 720.0 };
        let (from, until) = (Timestamp::from_seconds(800), Timestamp::from_seconds(1600));
        let surge = Surge {
            from,
            until,
            levels: vec![level],
            usual: [0.1, 0.0, 0.0, 0.0],
            curve: Vec::new(),
            curve_seconds: 10,
        };
        // Ten are usual in each; 18 are chance, and few beside what the others have.
        let offered = Parts([100.0, 210.0, 18.0, 8.0, 300.0, 110.0, 210.0, 210.0]);
        assert_eq!(offered.exceeding(&surge), [0, 1, 4, 5, 6, 7]);
        let all_but_usual = Parts([90.0, 200.0, 0.0, 0.0, 290.0, 50.0, 200.0, 200.0]);
        assert_eq!(offered.least_share(&surge, &all_but_usual, 0.0), 0.5);
        let nothing = offered.least_share(&surge, &Parts::default(), 0.0);
        assert!(nothing == 0.0 && nothing.is_sign_positive());
        assert_eq!(window(&surge, 7), (Timestamp::from_seconds(1500), until));
        let mut counted = Parts::default();
        [800, 899, 900, 1599].into_iter().for_each(|second| counted.add(&surge, Timestamp::from_seconds(second), 1.0));
        assert_eq!(counted.0, [2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    }
}
