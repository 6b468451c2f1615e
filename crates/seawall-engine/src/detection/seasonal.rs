//! What is normal at this time of the week, for each cost: how much, how much at most, how uneven.
//!
//! Two scales. Sums over ten seconds are kept for each of the 2,016 five-minute slots of a week, as median, 95th
//! percentile and median absolute deviation. Sums over one second are kept as histograms for each hour of a working day
//! and of a weekend day; they say what an ordinary burst is. While the baseline is young, the ten minutes before stand in.

use serde::{Deserialize, Serialize};

use crate::decision::CostKind;
use crate::units::Timestamp;

use super::baseline::{STRATA, stratum};
use super::series::{SERIES, Sums};
use super::statistics::quantile;

const COSTS: usize = CostKind::ALL.len();

/// How long a slot is, in seconds.
const SLOT_SECONDS: u64 = 300;

/// The slots of a week.
const SLOTS: usize = 2016;

const SLOTS_PER_DAY: usize = 288;
const DAY_SECONDS: u64 = 86_400;

/// Slots on either side that are asked as well, so that one odd five minutes decides nothing: half an hour.
const NEIGHBOURS: usize = 6;

/// Visits to a slot and its neighbours that suffice by themselves: each twice.
const VISITS_MIN: usize = 2 * (2 * NEIGHBOURS + 1);

/// How many seconds one sample sums.
pub(crate) const SAMPLE_SECONDS: usize = 10;

/// The least seconds of a run that end as a sample all the same when a gap cuts it.
const SAMPLE_SECONDS_MIN: usize = 8;

/// The samples of ten minutes.
const BEFORE: usize = 60;

/// So much is something to compare with: a minute just now, or two slots at some time, since the first and the last are cut.
const CONTRAST_SAMPLES: usize = 6;
const CONTRAST_SLOTS: u64 = 2;

/// Learning for less than a day is too little to block on.
const COLD_SECONDS: u64 = 86_400;

/// What is normal grows by a tenth a day at most: a sample counts at most this many times what was rarely exceeded as of
/// yesterday, so that an attack that is not noticed teaches little, however slowly it grows.
const GROWTH_PER_DAY: f32 = 1.1;

/// How far a slot follows a new week: half way.
const FOLLOW: f32 = 0.5;

/// What is normal for one cost at one scale.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Normal {
    /// The median sum.
    pub(crate) median: f64,
    /// The sum that is rarely exceeded: about the 99th percentile.
    pub(crate) upper: f64,
    /// The median absolute deviation.
    pub(crate) spread: f64,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Quantiles {
    median: f32,
    upper: f32,
    spread: f32,
}

/// One slot of the week.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Slot {
    visits: u16,
    /// The day of the last visit, since the epoch.
    day: u32,
    costs: [Quantiles; COSTS],
}

/// What is normal, and the samples on their way to becoming it.
#[derive(Clone, Debug)]
pub(crate) struct Seasonal {
    slots: Vec<Slot>,
    bursts: Vec<Histogram>,
    learned_slots: u64,
    /// How many samples have been learned since the start: what is normal changes only with these and with the slot.
    samples_learned: u64,
    /// The slot under way, by its number since the epoch, and its samples.
    current: u64,
    samples: Vec<[f32; COSTS]>,
    /// The ten minutes before, a ring.
    before: Vec<[f32; COSTS]>,
    before_at: usize,
    /// The sample under way.
    sum: [f64; COSTS],
    seconds: usize,
}

/// What of it is saved.
#[derive(Serialize, Deserialize)]
pub(crate) struct SavedSeasonal {
    learned_slots: u64,
    slots: Vec<Slot>,
    bursts: Vec<Vec<f32>>,
}

impl Seasonal {
    pub(crate) fn new() -> Self {
        Self {
            slots: vec![Slot::default(); SLOTS],
            bursts: vec![Histogram::default(); STRATA * SERIES],
            learned_slots: 0,
            samples_learned: 0,
            current: 0,
            samples: Vec::with_capacity(SLOT_SECONDS as usize / SAMPLE_SECONDS),
            before: Vec::with_capacity(BEFORE),
            before_at: 0,
            sum: [0.0; COSTS],
            seconds: 0,
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(self.slots.as_slice())
            + size_of_val(self.bursts.as_slice())
            + (self.samples.capacity() + self.before.capacity()) * size_of::<[f32; COSTS]>()
    }

    /// How long has been learned, in seconds. A slot that was observed in part counts whole: what matters is how much
    /// of the day and week is known.
    pub(crate) fn learned_seconds(&self) -> u64 {
        self.learned_slots * SLOT_SECONDS + (self.samples.len() * SAMPLE_SECONDS) as u64
    }

    /// For how long traffic was observed, for people. Until a day is known each second that was learned from is still counted; after
    /// that, slots are near enough.
    pub(crate) fn observed_seconds(&self) -> u64 {
        let known = self.learned_seconds();
        if !self.is_cold() {
            return known;
        }
        let seconds: f64 = self.bursts.iter().step_by(SERIES).map(|hour| f64::from(hour.total)).sum();
        known.min(seconds as u64)
    }

    /// Whether less than a day is known.
    pub(crate) fn is_cold(&self) -> bool {
        self.learned_seconds() < COLD_SECONDS
    }

    /// Whether there is anything at all to compare with: a minute, or what was known before a restart.
    pub(crate) fn has_contrast(&self) -> bool {
        self.learned_slots >= CONTRAST_SLOTS || self.before.len() >= CONTRAST_SAMPLES
    }

    /// Whether the ten minutes before stand in for what is normal. Just after a restart there are none of them.
    pub(crate) fn is_by_minutes(&self) -> bool {
        self.is_cold() && (self.learned_slots < CONTRAST_SLOTS || self.before.len() >= CONTRAST_SAMPLES)
    }

    /// Learns one second. Returns the ten-second sums when they are complete.
    pub(crate) fn learn(&mut self, second: u64, sums: &Sums) -> Option<[f64; COSTS]> {
        let stratum = stratum(Timestamp::from_seconds(second));
        for (series, sum) in sums.iter().enumerate() {
            self.bursts[stratum * SERIES + series].add(*sum as f32, (second / DAY_SECONDS) as u32);
        }
        for (total, cost) in self.sum.iter_mut().zip(sums) {
            *total += cost;
        }
        self.seconds += 1;
        (self.seconds == SAMPLE_SECONDS).then(|| self.finish_sample(second))
    }

    /// A gap in observation: what is under way ends here, if it is nearly whole.
    pub(crate) fn gap(&mut self, second: u64) {
        if self.seconds >= SAMPLE_SECONDS_MIN {
            let scale = SAMPLE_SECONDS as f64 / self.seconds as f64;
            self.sum = self.sum.map(|sum| sum * scale);
            self.finish_sample(second);
        }
        self.discard_sample();
    }

    /// Drops the sample under way: it may hold the beginning of something that is not normal.
    pub(crate) fn discard_sample(&mut self) {
        self.sum = [0.0; COSTS];
        self.seconds = 0;
    }

    fn finish_sample(&mut self, second: u64) -> [f64; COSTS] {
        let sample = self.sum.map(|sum| sum as f32);
        self.samples_learned += 1;
        let slot = second / SLOT_SECONDS;
        if slot != self.current {
            self.finish_slot();
            self.current = slot;
        }
        if self.samples.len() < self.samples.capacity() {
            self.samples.push(sample);
        }
        if self.before.len() < BEFORE {
            self.before.push(sample);
        } else {
            self.before[self.before_at] = sample;
            self.before_at = (self.before_at + 1) % BEFORE;
        }
        let sum = self.sum;
        self.discard_sample();
        sum
    }

    fn finish_slot(&mut self) {
        if self.samples.is_empty() {
            return;
        }
        let warm = !self.is_cold();
        let at = Timestamp::from_seconds(self.current * SLOT_SECONDS);
        let day = (self.current / SLOTS_PER_DAY as u64) as u32;
        for cost in 0..COSTS {
            let mut values: Vec<f32> = self.samples.iter().map(|sample| sample[cost]).collect();
            // What was learned today does not say how much more of it may be.
            let known = self.pooled(at, cost, |slot| slot.day != day);
            if warm && known.upper > 0.0 {
                let most = known.upper as f32 * GROWTH_PER_DAY;
                values.iter_mut().for_each(|value| *value = value.min(most));
            }
            let new = Quantiles::of(&mut values);
            let slot = &mut self.slots[self.current as usize % SLOTS];
            let old = &mut slot.costs[cost];
            *old = if slot.visits == 0 { new } else { old.towards(new, FOLLOW) };
        }
        let slot = &mut self.slots[self.current as usize % SLOTS];
        slot.visits = slot.visits.saturating_add(1);
        slot.day = day;
        self.learned_slots += 1;
        self.samples.clear();
    }

    /// Changes whenever [`Self::normal`] may.
    pub(crate) const fn revision(&self, at: Timestamp) -> (u64, u64) {
        (at.as_seconds() / SLOT_SECONDS, self.samples_learned)
    }

    /// What ten seconds of this cost are at this time.
    pub(crate) fn normal(&self, at: Timestamp, cost: usize) -> Normal {
        if self.is_by_minutes() {
            let mut values: Vec<f32> = self.before.iter().map(|sample| sample[cost]).collect();
            return Quantiles::of(&mut values).normal();
        }
        self.pooled(at, cost, |_| true)
    }

    /// What ten seconds are at this time, by the slots that count.
    fn pooled(&self, at: Timestamp, cost: usize, counts: impl Fn(&Slot) -> bool) -> Normal {
        let slot = (at.as_seconds() / SLOT_SECONDS) as usize % SLOTS;
        let around = |day: usize| {
            let middle = slot + SLOTS + day * SLOTS_PER_DAY;
            (middle - NEIGHBOURS..=middle + NEIGHBOURS).map(|slot| &self.slots[slot % SLOTS])
        };
        let known = |slots: &mut dyn Iterator<Item = &Slot>| -> Vec<Quantiles> {
            slots.filter(|slot| slot.visits > 0 && counts(slot)).map(|slot| slot.costs[cost]).collect()
        };
        let mut pool = known(&mut around(0));
        // One visit says little about how much is rarely exceeded: until this time of the week has come again, it is judged
        // with the same time of other days.
        let visits: usize = around(0).map(|slot| usize::from(slot.visits)).sum();
        if visits < VISITS_MIN {
            pool = known(&mut (0..7).flat_map(around));
        }
        if pool.len() <= NEIGHBOURS {
            pool = known(&mut self.slots.iter());
        }
        let mut medians: Vec<f32> = pool.iter().map(|slot| slot.median).collect();
        let mut spreads: Vec<f32> = pool.iter().map(|slot| slot.spread).collect();
        spreads.sort_by(f32::total_cmp);
        let between = Quantiles::of(&mut medians);
        Normal {
            median: f64::from(between.median),
            upper: f64::from(pool.iter().map(|slot| slot.upper).fold(0.0, f32::max)),
            spread: f64::from(between.spread.max(quantile(&spreads, 0.5))),
        }
    }

    /// What one second of this series is at this time.
    pub(crate) fn normal_second(&self, at: Timestamp, series: usize) -> Normal {
        let middle = stratum(at);
        let (day, hour) = (middle / 24, middle % 24);
        let mut pool = Histogram::default();
        for hour in [hour + 23, hour, hour + 1] {
            pool.merge(&self.bursts[(day * 24 + hour % 24) * SERIES + series]);
        }
        if pool.total < BURST_SECONDS_MIN {
            pool = Histogram::default();
            for stratum in 0..STRATA {
                pool.merge(&self.bursts[stratum * SERIES + series]);
            }
        }
        Normal {
            median: pool.quantile(0.5),
            upper: pool.quantile(0.99),
            spread: (pool.quantile(0.75) - pool.quantile(0.25)) / 2.0,
        }
    }

    pub(crate) fn saved(&self) -> SavedSeasonal {
        SavedSeasonal {
            learned_slots: self.learned_slots,
            slots: self.slots.clone(),
            bursts: self.bursts.iter().map(Histogram::saved).collect(),
        }
    }

    /// From what was saved; `None` when it cannot be of this kind.
    pub(crate) fn restored(saved: &SavedSeasonal) -> Option<Self> {
        let sound = |slot: &Slot| {
            let sound = |value: f32| value.is_finite() && value >= 0.0;
            slot.costs.iter().all(|cost| sound(cost.median) && sound(cost.upper) && sound(cost.spread))
        };
        if saved.slots.len() != SLOTS
            || saved.bursts.len() != STRATA * SERIES
            || !saved.slots.iter().all(sound)
            || saved.learned_slots > u64::from(u32::MAX)
        {
            return None;
        }
        let bursts = saved.bursts.iter().map(|saved| Histogram::restored(saved)).collect::<Option<_>>()?;
        Some(Self { slots: saved.slots.clone(), bursts, learned_slots: saved.learned_slots, ..Self::new() })
    }
}

impl Quantiles {
    /// Of some values, which are sorted on the way.
    fn of(values: &mut [f32]) -> Self {
        values.sort_by(f32::total_cmp);
        let median = quantile(values, 0.5);
        let upper = quantile(values, 0.99);
        let mut deviations: Vec<f32> = values.iter().map(|value| (value - median).abs()).collect();
        deviations.sort_by(f32::total_cmp);
        Self { median, upper, spread: quantile(&deviations, 0.5) }
    }

    fn towards(self, other: Self, share: f32) -> Self {
        let towards = |from: f32, to: f32| from + (to - from) * share;
        Self {
            median: towards(self.median, other.median),
            upper: towards(self.upper, other.upper),
            spread: towards(self.spread, other.spread),
        }
    }

    fn normal(self) -> Normal {
        Normal { median: f64::from(self.median), upper: f64::from(self.upper), spread: f64::from(self.spread) }
    }
}

/// Seconds in three hours' histograms below which those of the whole week are asked.
const BURST_SECONDS_MIN: f32 = 200.0;

/// Counts are halved when they reach this many seconds, about three weeks of one hour, so that the old fades.
const BURST_SECONDS_MAX: f32 = 75_600.0;

/// Buckets of a histogram, four to a doubling: from 2⁻¹⁰ to 2³⁷ with an error of at most a fifth.
const BUCKETS: usize = 190;

const BUCKETS_BELOW_ONE: f32 = 40.0;

/// Seconds from which on a histogram knows what is usual.
const USUAL_SECONDS_MIN: f32 = 1000.0;

/// How often one second summed to what.
#[derive(Clone, Debug)]
struct Histogram {
    total: f32,
    /// The most that a second of this day counts for; none while it is not known what is usual.
    most: Option<f32>,
    day: u32,
    buckets: [f32; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self { total: 0.0, most: None, day: 0, buckets: [0.0; BUCKETS] }
    }
}

impl Histogram {
    fn add(&mut self, value: f32, day: u32) {
        if self.total >= USUAL_SECONDS_MIN && (day != self.day || self.most.is_none()) {
            // A bucket is wider than a tenth, so what is usual is taken no higher than it was let grow.
            let usual = (self.quantile(0.99) as f32).min(self.most.unwrap_or(f32::INFINITY));
            self.most = Some(usual * GROWTH_PER_DAY);
            self.day = day;
        }
        let value = value.min(self.most.unwrap_or(f32::INFINITY)).max(0.0);
        let bucket = if value <= 0.0 { 0.0 } else { (value.log2() * 4.0).floor() + BUCKETS_BELOW_ONE + 1.0 };
        self.buckets[(bucket.max(0.0) as usize).min(BUCKETS - 1)] += 1.0;
        self.total += 1.0;
        if self.total >= BURST_SECONDS_MAX {
            self.total /= 2.0;
            self.buckets.iter_mut().for_each(|count| *count /= 2.0);
        }
    }

    fn merge(&mut self, other: &Self) {
        if other.total > 0.0 {
            self.total += other.total;
            self.buckets.iter_mut().zip(&other.buckets).for_each(|(count, other)| *count += other);
        }
    }

    /// The middle of the bucket in which this share is reached.
    fn quantile(&self, share: f64) -> f64 {
        let goal = f64::from(self.total) * share;
        let mut below = 0.0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            below += f64::from(*count);
            if below >= goal && *count > 0.0 {
                let exponent = (bucket as f64 - 0.5 - f64::from(BUCKETS_BELOW_ONE)) / 4.0;
                return if bucket == 0 { 0.0 } else { exponent.exp2() };
            }
        }
        0.0
    }

    /// Without the empty buckets at its end.
    fn saved(&self) -> Vec<f32> {
        let used = self.buckets.iter().rposition(|count| *count > 0.0).map_or(0, |last| last + 1);
        self.buckets[..used].to_vec()
    }

    fn restored(saved: &[f32]) -> Option<Self> {
        let mut histogram = Self::default();
        histogram.buckets.get_mut(..saved.len())?.copy_from_slice(saved);
        histogram.total = saved.iter().sum();
        let sound = saved.iter().all(|count| count.is_finite() && *count >= 0.0);
        (sound && histogram.total < 2.0 * BURST_SECONDS_MAX).then_some(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Monday.
    const START: u64 = 1_600_041_600;

    fn learn_days(seasonal: &mut Seasonal, from: u64, days: u64, rate: impl Fn(u64) -> f64) {
        for slot in 0..days * 288 {
            let start = from + slot * SLOT_SECONDS;
            for second in start..start + 10 {
                seasonal.learn(second, &[rate(second), 0.0, 0.0, 0.0, 1.0, 1.0]);
            }
            seasonal.gap(start + 10);
        }
    }

    #[test]
    fn ten_seconds_of_each_slot_make_a_week_known() {
        let mut seasonal = Seasonal::new();
        assert!(seasonal.is_cold() && !seasonal.has_contrast());
        let by_day = |second: u64| if second % 86_400 < 43_200 { 2.0 } else { 20.0 };
        learn_days(&mut seasonal, START, 7, by_day);
        assert!(!seasonal.is_cold());
        let at = |hour: u64| Timestamp::from_seconds(START + 8 * 86_400 + hour * 3600);
        assert_eq!(seasonal.normal(at(4), 0).median, 20.0);
        assert_eq!(seasonal.normal(at(16), 0).median, 200.0);
        let second = seasonal.normal_second(at(16), 0);
        assert!((16.0..=24.0).contains(&second.upper), "{second:?}");
    }

    #[test]
    fn of_two_minutes_no_more_is_said_to_have_been_observed() {
        let mut seasonal = Seasonal::new();
        // They begin a minute before a slot ends.
        let learn = |seasonal: &mut Seasonal, seconds: std::ops::Range<u64>| {
            for second in seconds {
                seasonal.learn(START + 240 + second, &[1.0; SERIES]);
            }
        };
        learn(&mut seasonal, 0..50);
        assert_eq!(seasonal.observed_seconds(), 50);
        learn(&mut seasonal, 50..120);
        assert_eq!((seasonal.observed_seconds(), seasonal.learned_seconds()), (120, 360));
        // Of the slot under way nothing is saved.
        let restored = Seasonal::restored(&seasonal.saved()).expect("what was just saved");
        assert_eq!((restored.observed_seconds(), restored.learned_seconds()), (120, 300));
        learn_days(&mut seasonal, START + 86_400, 1, |_| 5.0);
        assert_eq!(seasonal.observed_seconds(), seasonal.learned_seconds());
    }

    #[test]
    fn a_week_of_poison_moves_what_is_normal_by_a_tenth_at_most() {
        let mut seasonal = Seasonal::new();
        learn_days(&mut seasonal, START, 7, |_| 5.0);
        learn_days(&mut seasonal, START + 7 * 86_400, 7, |_| 500.0);
        let normal = seasonal.normal(Timestamp::from_seconds(START + 14 * 86_400), 0);
        assert!(normal.upper <= 50.0 * 1.1 * 1.1, "{normal:?}");
        let second = seasonal.normal_second(Timestamp::from_seconds(START + 14 * 86_400), 0);
        assert!(second.median < 20.0, "{second:?}");
    }

    #[test]
    fn a_flood_that_grows_within_a_day_teaches_a_tenth() {
        let mut seasonal = Seasonal::new();
        learn_days(&mut seasonal, START, 2, |_| 5.0);
        assert!(!seasonal.is_cold());
        // Twice as much each hour, in the first week, in which no slot has been there before.
        let from = START + 2 * 86_400;
        learn_days(&mut seasonal, from, 1, |second| 5.0 * ((second - from) as f64 / 3600.0).exp2());
        let normal = seasonal.normal(Timestamp::from_seconds(from + 86_400), 0);
        assert!(normal.upper <= 50.0 * 1.101, "{normal:?}");
        learn_days(&mut seasonal, from + 86_400, 4, |_| 500.0);
        let normal = seasonal.normal(Timestamp::from_seconds(from + 5 * 86_400), 0);
        assert!((60.0..=50.0 * 1.1_f64.powi(5) + 0.1).contains(&normal.upper), "growth is followed: {normal:?}");
    }

    #[test]
    fn what_a_second_may_be_grows_by_a_tenth_a_day() {
        let mut histogram = Histogram::default();
        (0..2000).for_each(|_| histogram.add(100.0, 1));
        let usual = histogram.quantile(0.99);
        for day in 2..12 {
            (0..3600).for_each(|_| histogram.add(1e6, day));
        }
        let grown = histogram.quantile(0.99) / usual;
        // Ten days, and a bucket's width for rounding.
        assert!((2.0..=1.1_f64.powi(10) * 1.2).contains(&grown), "{grown}");
    }

    #[test]
    fn what_was_saved_is_what_is_restored_and_nonsense_is_refused() {
        let mut seasonal = Seasonal::new();
        learn_days(&mut seasonal, START, 2, |second| (second % 7) as f64);
        let at = Timestamp::from_seconds(START + 3600);
        let restored = Seasonal::restored(&seasonal.saved()).expect("what was just saved");
        assert_eq!(restored.normal_second(at, 0), seasonal.normal_second(at, 0));
        assert_eq!(restored.normal(at, 0), seasonal.normal(at, 0));
        let mut broken = seasonal.saved();
        broken.slots[3].costs[0].median = f32::NAN;
        assert!(Seasonal::restored(&broken).is_none());
        let mut broken = seasonal.saved();
        broken.bursts.pop();
        assert!(Seasonal::restored(&broken).is_none());
    }
}
