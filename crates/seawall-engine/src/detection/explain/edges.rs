//! Where in a time with more than usual the surge begins and ends.
//!
//! The time comes from a scale at which a surge stands out, which may be an hour; its edges are looked for in stretches of
//! seconds. A single busy stretch is no edge there: where requests are few, many a stretch has twice as many as usual. So the
//! edges are those between which the sum of what exceeds a level is largest (the maximum subarray, Bentley: "Programming
//! Pearls", 1984). The level is where a stretch is as likely one of the surge as one of before: for events that come by
//! themselves the logarithmic mean of both rates, found with the surge itself in a few rounds.

use std::ops::Range;

/// Rounds in which level and edges are found; two or three are enough.
const ROUNDS_MAX: usize = 8;

/// A part is one of the surge's when it holds this share of what the strongest does.
const PART_SHARE_MIN: f64 = 0.25;

/// The parts of `sums` that are the surge, in order: one, or several between which more is missing
/// than either has. `usual` is what a
/// stretch has usually, `least` what it must have at least to be more. At most `most` are looked for.
pub(super) fn surging(sums: &[f64], usual: f64, least: f64, most: usize) -> Vec<Range<usize>> {
    let mut level = 0.0;
    let (mut strongest, mut score) = (0..sums.len(), 0.0);
    for _ in 0..ROUNDS_MAX {
        let mean = sums.get(strongest.clone()).unwrap_or_default().iter().sum::<f64>() / strongest.len().max(1) as f64;
        // What fades away slowly is the surge until it is twice what is usual, however high it was.
        level = logarithmic_mean(usual.max(least), mean).min(least + 2.0 * usual);
        let before = strongest.clone();
        (strongest, score) = largest(sums, 0..sums.len(), level);
        if strongest == before || strongest.is_empty() {
            break;
        }
    }
    let mut parts = vec![strongest.clone()];
    let mut rest = vec![0..strongest.start, strongest.end..sums.len()];
    while let Some(range) = rest.pop().filter(|_| parts.len() < most) {
        let (part, part_score) = largest(sums, range.clone(), level);
        if !part.is_empty() && part_score >= score * PART_SHARE_MIN {
            rest.extend([range.start..part.start, part.end..range.end]);
            parts.push(part);
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.sort_unstable_by_key(|part| part.start);
    parts
}

/// The part within `range` with the largest sum of what is above the level, and that sum.
fn largest(sums: &[f64], range: Range<usize>, level: f64) -> (Range<usize>, f64) {
    let mut best = (range.start..range.start, 0.0);
    let (mut from, mut score) = (range.start, 0.0);
    for (place, sum) in range.clone().zip(sums.get(range).unwrap_or_default()) {
        if score <= 0.0 {
            (from, score) = (place, 0.0);
        }
        score += sum - level;
        if score > best.1 {
            best = (from..place + 1, score);
        }
    }
    best
}

/// (b - a) / (ln b - ln a)
fn logarithmic_mean(first: f64, second: f64) -> f64 {
    let difference = second - first;
    // Nearly equal ones would lose all digits in the quotient.
    if difference.abs() <= first * 1e-6 || first <= 0.0 || second <= 0.0 {
        return f64::midpoint(first, second);
    }
    difference / (second / first).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What there is in each stretch of an hour: `usual` on average, by chance, and more in the parts given.
    fn hour(usual: f64, parts: &[(Range<usize>, f64)]) -> Vec<f64> {
        let mut state = 7_u64;
        let mut below = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        (0..360)
            .map(|stretch| {
                let more: f64 = parts.iter().filter(|(part, _)| part.contains(&stretch)).map(|(_, more)| more).sum();
                // Ten throws with one chance in twenty for each half of what is expected.
                let thrown: u64 = (0..20).map(|_| below(2_000)).sum();
                ((usual + more) * thrown as f64 / 20_000.0).round()
            })
            .collect()
    }

    #[track_caller]
    fn only(parts: &[Range<usize>]) -> Range<usize> {
        assert_eq!(parts.len(), 1, "{parts:?}");
        parts[0].clone()
    }

    #[track_caller]
    fn check(usual: f64, parts: &[(Range<usize>, f64)], within: usize) {
        let found = surging(&hour(usual, parts), usual, 1.0, 8);
        assert_eq!(found.len(), parts.len(), "{found:?}");
        for (found, (part, _)) in found.iter().zip(parts) {
            let is_near = found.start.abs_diff(part.start) <= within && found.end.abs_diff(part.end) <= within;
            assert!(is_near, "{found:?} for {part:?}");
        }
    }

    #[test]
    fn a_flood_in_a_quiet_hour_has_its_own_edges() {
        check(0.5, &[(6..78, 8.0)], 1);
        check(0.0, &[(6..78, 8.0)], 0);
        check(10.0, &[(100..172, 30.0)], 1);
        check(10.0, &[(0..360, 30.0)], 0);
    }

    #[test]
    fn floods_far_apart_are_two() {
        check(1.0, &[(20..60, 20.0), (280..320, 8.0)], 1);
    }

    #[test]
    fn pulses_are_one() {
        let pulses: Vec<f64> =
            (0..360).map(|stretch| if (60..120).contains(&stretch) && stretch % 3 == 0 { 60.0 } else { 1.0 }).collect();
        assert_eq!(only(&surging(&pulses, 1.0, 1.0, 8)), 60..118);
    }

    #[test]
    fn one_busy_stretch_after_it_is_not_its_end() {
        let mut sums = vec![0.0; 360];
        sums.get_mut(6..78).expect("an hour").fill(8.0);
        sums.get_mut(340..341).expect("an hour").fill(4.0);
        assert_eq!(only(&surging(&sums, 0.1, 1.0, 8)), 6..78);
    }

    #[test]
    fn nothing_is_in_nothing() {
        assert_eq!(surging(&[], 1.0, 1.0, 8), [0..0; 0]);
        assert_eq!(surging(&[0.0, 0.0], 1.0, 1.0, 8), [0..0; 0]);
        assert_eq!(surging(&[5.0, 5.0], 5.0, 1.0, 8), [0..0; 0]);
    }
}
