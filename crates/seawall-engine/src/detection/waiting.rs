//! How long requests wait before the site works on them. What is measured of a request is the time until its answer, and in a
//! site that is full most of that is spent in a queue behind others: visitors who ask for next to nothing look as dear as
//! those who fill it. The quickest requests of each moment tell the two apart. On an ordinary site some take no work to
//! speak of, so when even these take long, that is how long everybody waits at that moment, and only what goes beyond it
//! is work of a request's own.

use super::recent::Sampled;

/// What counts as quick: the time that this share of the ordinary answers does not exceed.
pub(super) const QUICK_SHARE: f64 = 0.25;

/// With fewer ordinary answers than this in a second, moments without a quick one are too common for a judgement.
const USUAL_RATE_MIN: f64 = 1.0;

/// How long a moment is, in microseconds.
const MOMENT_MICROS: u64 = 250_000;

/// How much longer the wait may be than it was or will be a moment away, in seconds. A queue before a site that has stopped grows
/// by a second each second; much more than that says that there was no quick answer at this moment.
const STEP_MAX: f64 = 0.3;

/// Where this share of the moments around has a quick answer, in so many before and after, nobody waits: the others are moments
/// without visitors.
const FREE_SHARE: f64 = 0.25;
const AROUND: usize = 4;

/// A wait that nobody would notice is none, in seconds.
const WAITING_MIN: f64 = 0.1;

/// What is ordinary of the time until the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usual {
    /// Answers in a second.
    pub(crate) rate: f64,
    /// How long a quick one takes at most, in seconds.
    pub(crate) quick: f64,
}

/// How long requests waited, moment by moment.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    first: u64,
    moments: Vec<f64>,
}

impl Waiting {
    /// By these rows; `time` says how long one took until its answer, 0 when it has none yet.
    pub(super) fn new(rows: &[Sampled<'_>], time: impl Fn(&Sampled<'_>) -> f64, usual: Usual) -> Self {
        let answered = rows.iter().filter(|sampled| time(sampled) > 0.0);
        let moments = rows.iter().map(moment);
        let (Some(first), Some(last)) = (moments.clone().min(), moments.max()) else { return Self::default() };
        if usual.rate < USUAL_RATE_MIN {
            return Self::default();
        }
        let mut quickest = vec![f64::INFINITY; (last - first) as usize + 1];
        for sampled in answered {
            if let Some(quickest) = quickest.get_mut((moment(sampled) - first) as usize) {
                *quickest = quickest.min(time(sampled));
            }
        }
        let is_free: Vec<bool> = (0..quickest.len()).map(|at| is_free(&quickest, at, usual)).collect();
        let mut before = f64::INFINITY;
        for quickest in &mut quickest {
            *quickest = quickest.min(before + STEP_MAX);
            before = *quickest;
        }
        let mut after = f64::INFINITY;
        for quickest in quickest.iter_mut().rev() {
            *quickest = quickest.min(after + STEP_MAX);
            after = *quickest;
        }
        let waited = |(quickest, is_free): (f64, bool)| {
            Some(quickest - usual.quick).filter(|waited| !is_free && *waited >= WAITING_MIN).unwrap_or_default()
        };
        Self { first, moments: quickest.into_iter().zip(is_free).map(waited).collect() }
    }

    /// How long a request waited that was answered at this moment.
    pub(super) fn of(&self, sampled: &Sampled<'_>) -> f64 {
        let at = moment(sampled).checked_sub(self.first);
        at.and_then(|at| self.moments.get(at as usize)).copied().unwrap_or_default()
    }
}

/// Whether quick answers are as usual around this moment.
fn is_free(quickest: &[f64], at: usize, usual: Usual) -> bool {
    let around = quickest.get(at.saturating_sub(AROUND)..(at + AROUND + 1).min(quickest.len())).unwrap_or_default();
    let answered = around.iter().filter(|quickest| quickest.is_finite());
    let quick = answered.clone().filter(|quickest| **quickest < usual.quick + WAITING_MIN).count();
    quick as f64 >= FREE_SHARE * answered.count() as f64
}

const fn moment(sampled: &Sampled<'_>) -> u64 {
    sampled.at.as_micros() / MOMENT_MICROS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::recent::Row;
    use crate::units::Timestamp;

    const USUAL: Usual = Usual { rate: 4.0, quick: 0.01 };

    /// How long those waited who were answered at the end of ten seconds with these answers, each with its moment in
    /// milliseconds.
    fn waiting(answers: impl Iterator<Item = (u64, f32)>, usual: Usual) -> f64 {
        let row = |(millis, time)| Row {
            costs: [1.0, 0.0, time, 0.0],
            at: Timestamp::from_micros(1_000_000_000 + millis * 1000),
            ..Row::default()
        };
        let rows: Vec<Row> = answers.chain([(9_990, 30.0)]).map(row).collect();
        let sampled: Vec<Sampled<'_>> = rows.iter().map(|row| Sampled { row, at: row.at, factor: 1.0 }).collect();
        let waiting = Waiting::new(&sampled, |sampled| sampled.cost(2), usual);
        sampled.last().map_or(0.0, |last| waiting.of(last))
    }

    #[test]
    fn what_the_quickest_take_is_waiting_and_what_a_flood_takes_is_not() {
        let ordinary = |wait: f32| (0..40).map(move |number| (number * 250, wait + [0.01, 0.08][number as usize % 2]));
        let dear = |wait: f32| (0..200).map(move |number| (number * 50, wait + 2.0));
        assert_eq!(waiting(ordinary(0.0), USUAL), 0.0);
        assert_eq!(waiting(ordinary(0.0).chain(dear(0.0)), USUAL), 0.0, "dear, and the site is not full");
        let full = waiting(ordinary(5.0).chain(dear(5.0)), USUAL);
        assert!((4.9..5.2).contains(&full), "{full}");
    }

    #[test]
    fn a_queue_that_grows_is_followed_and_a_moment_without_visitors_is_bridged() {
        let growing = (0..40).map(|number| (number * 250, number as f32 * 0.25));
        let grown = waiting(growing, USUAL);
        assert!((9.0..10.5).contains(&grown), "{grown}");
        let dear = || (0..200).map(|number| (number * 50, 2.0));
        let bridged = waiting(dear().chain([(9_700, 0.01)]), USUAL);
        assert!(bridged <= 1.0, "{bridged}");
        // Visitors in every other moment.
        let visited = (0..20).map(|number| (number * 500, 0.01));
        assert_eq!(waiting(dear().chain(visited), USUAL), 0.0);
    }

    #[test]
    fn where_little_is_usual_nothing_is_said() {
        assert_eq!(waiting([(9_900, 5.0)].into_iter(), Usual { rate: 0.1, quick: 0.01 }), 0.0);
        assert_eq!(Waiting::default().moments.len(), 0);
    }
}
