//! Logs of which only times and sizes matter.

use super::super::stretches::STRETCHES_MAX;
use super::*;
use crate::observation::{ClientHistory, Cost, Outcome, Request};

/// A Monday.
const START: u64 = 1_600_041_600;

fn add(finder: &mut SurgeFinder, second: u64, bytes: u64) {
    finder.add(&Observation {
        at: Timestamp::from_seconds(START + second),
        client: None,
        request: Request::default(),
        outcome: Outcome::Served { status: 200 },
        cost: Cost { requests: 1, bytes, ..Cost::default() },
        weight: 1.0,
        history: ClientHistory::default(),
    });
}

#[test]
fn a_flood_is_found_with_its_edges_and_its_costs() {
    let mut finder = SurgeFinder::default();
    for second in 0..7200 {
        add(&mut finder, second, 5_000);
        for _ in 0..if (3600..3900).contains(&second) { 30 } else { 0 } {
            add(&mut finder, second, 300);
        }
    }
    let surges = finder.find().surges;
    assert_eq!(surges.len(), 1, "{surges:#?}");
    let surge = &surges[0];
    assert_eq!(surge.from, Timestamp::from_seconds(START + 3600));
    assert_eq!(surge.until, Timestamp::from_seconds(START + 3900));
    assert_eq!(surge.levels.len(), 1, "more bytes, but not so many: {surge:?}");
    let level = surge.levels[0];
    assert_eq!((level.cost, level.normal, level.mean, level.peak), (CostKind::Requests, 1.0, 31.0, 31.0));
    assert_eq!(level.excess, 9000.0);
    assert!(surge.curve.contains(&31.0) && surge.curve.contains(&1.0));
}

#[test]
fn a_flood_in_a_quiet_log_is_as_long_as_it_was() {
    let mut finder = SurgeFinder::default();
    for second in 0..12 * 3600_u64 {
        // Now and then several at once, as a page with its parts.
        for _ in 0..if second % 97 == 0 { 4 } else { 0 } {
            add(&mut finder, second, 500);
        }
    }
    let flood = 8 * 3600 + 3300..9 * 3600 + 420_u64;
    for second in flood.clone() {
        add(&mut finder, second, 300);
    }
    let surges = finder.find().surges;
    assert_eq!(surges.len(), 1, "{surges:#?}");
    let near = |at: Timestamp, second: u64| at.as_seconds().abs_diff(START + second) <= 10;
    assert!(near(surges[0].from, flood.start) && near(surges[0].until, flood.end), "{surges:#?}");
}

#[test]
fn a_flood_is_found_in_a_log_that_is_silent_for_most_of_its_span() {
    let mut finder = SurgeFinder::default();
    // A day and a half of traffic, forty days of nothing, and the same again with a flood in it.
    for start in [0, 42 * 86_400] {
        for second in (0..36 * 3600_u64).step_by(2) {
            add(&mut finder, start + second, 500);
        }
    }
    let flood = 43 * 86_400..43 * 86_400 + 600_u64;
    for second in flood.clone() {
        for _ in 0..5 {
            add(&mut finder, second, 300);
        }
    }
    let surges = finder.find().surges;
    assert_eq!(surges.len(), 1, "{surges:#?}");
    let near = |at: Timestamp, second: u64| at.as_seconds().abs_diff(START + second) <= 10;
    assert!(near(surges[0].from, flood.start) && near(surges[0].until, flood.end), "{surges:#?}");
}

#[test]
fn a_stray_date_hides_nothing() {
    let mut finder = SurgeFinder::default();
    for second in 0..7200 {
        for _ in 0..if (3600..3900).contains(&second) { 30 } else { 1 } {
            add(&mut finder, second, 300);
        }
    }
    add(&mut finder, 10 * 86_400, 300);
    add(&mut finder, 400 * 86_400, 300);
    assert_eq!(finder.find().surges.len(), 1);
}

#[test]
fn surges_beyond_those_that_are_explained_are_known() {
    let mut finder = SurgeFinder::default();
    for second in 0..86_400 {
        let is_flood = second > 3600 && second % 8000 < 200;
        for _ in 0..if is_flood { 10 + second / 8000 } else { 1 } {
            add(&mut finder, second, 300);
        }
    }
    let found = finder.find();
    assert_eq!((found.surges.len(), found.left_out.len()), (8, 2), "{found:#?}");
    assert!(found.left_out.iter().all(|surge| surge.until < found.surges[0].from), "the weakest came first");
}

#[test]
fn what_is_usual_at_its_hour_is_no_surge() {
    let mut finder = SurgeFinder::default();
    for minute in 0..6 * 1440_u64 {
        let busy = (18..20).contains(&(minute / 60 % 24));
        for number in 0..if busy { 120 } else { 12 } {
            add(&mut finder, minute * 60 + number % 60, 1000);
        }
    }
    let found = finder.find();
    assert_eq!(found.surges, Vec::new());
    let [habit] = found.habits[..] else { panic!("{:?}", found.habits) };
    assert_eq!((habit.from, habit.until, habit.cost), (18, 20, CostKind::Requests));
    assert_eq!((habit.seconds, habit.peak, habit.elsewhere), (600, 1200.0, 120.0));
}

/// What is found in a log of so many days, of which `many` says how many requests come in a minute, with how many bytes each: the number of surges,
/// and the hours of each habit.
fn habits(days: u64, many: impl Fn(u64) -> (u64, u64)) -> (usize, Vec<(u8, u8, CostKind)>) {
    let mut finder = SurgeFinder::default();
    for minute in 0..days * 1440 {
        let (requests, bytes) = many(minute);
        for number in 0..requests {
            add(&mut finder, minute * 60 + number * 7 % 60, bytes);
        }
    }
    let found = finder.find();
    (found.surges.len(), found.habits.iter().map(|habit| (habit.from, habit.until, habit.cost)).collect())
}

#[test]
fn what_comes_at_the_same_hour_on_many_days_is_told() {
    const REQUESTS: CostKind = CostKind::Requests;
    // Three times as much in the evening as in the morning, and little by night.
    let visitors = |minute: u64| [2, 1, 1, 8, 10, 18, 24, 6][(minute / 60 % 24 / 3) as usize];
    let flooded = |hour: u64, on: fn(u64) -> bool| {
        move |minute: u64| {
            let is_flooded = minute / 60 % 24 == hour && minute % 60 < 10 && on(minute / 1440);
            (visitors(minute) + 600 * u64::from(is_flooded), 1000)
        }
    };
    assert_eq!(habits(6, |minute| (visitors(minute), 1000)), (0, vec![]));
    assert_eq!(habits(6, flooded(3, |day| day > 0)), (0, vec![(3, 4, REQUESTS)]));
    assert_eq!(habits(6, flooded(3, |day| day % 2 == 0)), (0, vec![(3, 4, REQUESTS)]));
    // On fewer days it is a surge on each, and so it is in a log that is too short to compare days.
    assert_eq!(habits(6, flooded(3, |day| day < 2)), (2, vec![]));
    assert_eq!(habits(2, flooded(3, |_| true)), (2, vec![]));
    // Over midnight.
    let late = |minute: u64| (visitors(minute) + if (minute + 60) % 1440 < 120 { 600 } else { 0 }, 1000);
    assert_eq!(habits(6, late), (0, vec![(23, 1, REQUESTS)]));
    // Large answers, each minute for an hour.
    let copied =
        |minute: u64| if minute / 60 % 24 == 5 { (visitors(minute), 8_000_000) } else { (visitors(minute), 1000) };
    assert_eq!(habits(6, copied), (0, vec![(5, 6, CostKind::Bytes)]));
}

#[test]
fn the_busy_hours_of_visitors_and_single_downloads_are_no_habits() {
    let hour = |minute: u64| minute / 60 % 24;
    // Nothing is known of hours in which the log was not written, or in which the site is not used.
    assert_eq!(habits(6, |minute| (if (6..16).contains(&hour(minute)) { 60 } else { 0 }, 1000)).1, vec![]);
    assert_eq!(habits(6, |minute| (if (8..17).contains(&hour(minute)) { 60 } else { 8 }, 1000)).1, vec![]);
    // One answer of 40 MB, as a backup is.
    let backed_up = |minute: u64| if minute % 1440 == 185 { (1, 40_000_000) } else { (4, 1000) };
    assert_eq!(habits(6, backed_up).1, vec![]);
    // Sixteen years, which are looked at by the day.
    assert_eq!(habits(6000, |minute| (u64::from(minute % 60 == 0), 1000)).1, vec![]);
}

#[test]
fn a_log_of_any_length_and_shape_is_bounded() {
    let mut finder = SurgeFinder::default();
    for number in 0..400_000_u64 {
        add(&mut finder, number * 977 % 4_000_000_000, 10);
    }
    assert!(finder.stretches.sums.len() <= STRETCHES_MAX);
    assert!(finder.find().surges.len() <= SURGES_MAX);
    assert_eq!(SurgeFinder::default().find().surges, Vec::new());
    let mut lone = SurgeFinder::default();
    add(&mut lone, 0, 1);
    add(&mut lone, u64::MAX / 2_000_000, 1);
    assert_eq!(lone.find().surges, Vec::new());
}

#[test]
fn floods_hours_apart_are_told_apart_whatever_they_have() {
    for hours in [1, 2, 3] {
        let mut finder = SurgeFinder::default();
        for second in 0..12 * 3600 {
            if second % 2 == 0 {
                add(&mut finder, second, 5_000);
            }
        }
        let floods = [5 * 3600, (5 + hours) * 3600];
        for (flood, bytes) in floods.into_iter().zip([9_000, 300]) {
            for number in 0..300 * 20 {
                add(&mut finder, flood + number / 20, bytes);
            }
        }
        let surges = finder.find().surges;
        let when: Vec<(u64, u64)> =
            surges.iter().map(|surge| (surge.from.as_seconds() - START, surge.until.as_seconds() - START)).collect();
        assert_eq!(when, floods.map(|flood| (flood, flood + 300)), "{hours} hours apart");
        let costs = |surge: &Surge| surge.levels.iter().map(|level| level.cost).collect::<Vec<_>>();
        assert_eq!(costs(&surges[0]), [CostKind::Requests, CostKind::Bytes]);
        assert_eq!(costs(&surges[1]), [CostKind::Requests]);
    }
}

#[test]
fn pulses_are_one_surge() {
    let mut finder = SurgeFinder::default();
    for second in 0..12 * 3600 {
        if second % 2 == 0 {
            add(&mut finder, second, 500);
        }
        // A minute of every five.
        for _ in 0..if (18_000..21_600).contains(&second) && second % 300 < 60 { 20 } else { 0 } {
            add(&mut finder, second, 300);
        }
    }
    let surges = finder.find().surges;
    assert_eq!(surges.len(), 1, "{surges:#?}");
    assert_eq!(surges[0].from, Timestamp::from_seconds(START + 18_000));
    assert_eq!(surges[0].until, Timestamp::from_seconds(START + 21_360));
}

#[test]
fn a_flood_that_swells_is_one_and_a_weaker_one_in_the_same_hours_is_another() {
    let when = |weaker: std::ops::Range<u64>| -> Vec<(u64, u64)> {
        let mut finder = SurgeFinder::default();
        for second in 0..86_400 {
            add(&mut finder, second, 500);
            let fast = (44_000..44_300).contains(&second);
            for _ in 0..if fast { 50 } else { 2 * u64::from(weaker.contains(&second)) } {
                add(&mut finder, second, 300);
            }
        }
        let surges = finder.find().surges;
        surges.iter().map(|surge| (surge.from.as_seconds() - START, surge.until.as_seconds() - START)).collect()
    };
    assert_eq!(when(41_400..46_000), [(41_400, 46_000)]);
    assert_eq!(when(47_000..51_000), [(44_000, 44_300), (47_000, 51_000)]);
}

#[test]
fn a_minute_of_much_is_found_where_hours_have_little_and_a_visit_is_not() {
    let mut random = 7_u64;
    let mut below = |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    let mut finder = SurgeFinder::default();
    for day in 0..5 {
        // Five visits of a page with fifty parts, then a few pages more.
        for _ in 0..5 {
            let second = day * 86_400 + below(86_000);
            for request in 0..80 {
                add(&mut finder, second + if request < 50 { request / 10 } else { request }, 5_000);
            }
        }
        add(&mut finder, day * 86_400 + below(86_000), 60_000_000);
    }
    let mut flooded = SurgeFinder { stretches: finder.stretches.clone() };
    assert_eq!(finder.find().surges, Vec::new());
    for number in 0..300 {
        add(&mut flooded, 200_000 + number / 5, 300);
    }
    let surges = flooded.find().surges;
    assert_eq!(surges.len(), 1, "{surges:#?}");
    assert_eq!(surges[0].from, Timestamp::from_seconds(START + 200_000));
    assert_eq!(surges[0].until, Timestamp::from_seconds(START + 200_060));
}

#[test]
fn a_clock_that_was_wrong_hides_nothing() {
    let mut finder = SurgeFinder::default();
    for second in 0..12 * 3600 {
        for _ in 0..if (30_000..30_300).contains(&second) { 30 } else { 1 } {
            add(&mut finder, second, 300);
        }
    }
    let at = |finder: &mut SurgeFinder, second: u64| {
        finder.stretches.sums.entry(second / 10).or_default()[0] += 1.0;
    };
    for number in 0..40 {
        at(&mut finder, 60 + number * 20);
        at(&mut finder, START + 5 * 86_400 + number);
        at(&mut finder, 253_370_764_800);
    }
    let found = finder.find();
    assert_eq!(found.surges.len(), 1, "{found:#?}");
    assert_eq!(found.surges[0].from, Timestamp::from_seconds(START + 30_000));
    let far = found.far.expect("three kinds");
    assert_eq!((far.requests, far.from), (120, Timestamp::EPOCH));
    assert_eq!(found.zone(Timestamp::from_seconds(100)), super::super::Zone::Beside);
}

#[test]
fn two_mornings_with_days_between_have_a_flood_in_one() {
    let mut finder = SurgeFinder::default();
    for start in [0, 4 * 86_400_u64] {
        for second in 0..6 * 3600 {
            for _ in 0..if (start + second).abs_diff(4 * 86_400 + 7_300) < 150 { 30 } else { 1 } {
                add(&mut finder, start + second, 300);
            }
        }
    }
    let found = finder.find();
    assert_eq!((found.surges.len(), found.far), (1, None), "{found:#?}");
    assert_eq!(found.surges[0].from, Timestamp::from_seconds(START + 4 * 86_400 + 7_150));
}

#[test]
fn a_flood_on_a_busy_evening_is_one_with_its_own_edges() {
    let mut finder = SurgeFinder::default();
    // From one request in four seconds at night to nearly three a second at noon.
    let usual = |second: u64| {
        let hour = second as f64 / 3600.0;
        1.5 - 1.25 * (hour * std::f64::consts::TAU / 24.0).cos()
    };
    let (mut owed, flood) = (0.0, 72_000..72_900_u64);
    for second in 0..86_400 {
        owed += usual(second) + if flood.contains(&second) { 6.0 } else { 0.0 };
        while owed >= 1.0 {
            add(&mut finder, second, 300);
            owed -= 1.0;
        }
    }
    let surges = finder.find().surges;
    assert_eq!(surges.len(), 1, "{surges:#?}");
    let near = |at: Timestamp, second: u64| at.as_seconds().abs_diff(START + second) <= 20;
    assert!(near(surges[0].from, flood.start) && near(surges[0].until, flood.end), "{surges:#?}");
}

#[test]
fn one_download_is_no_surge_and_many_are() {
    let surges_of = |downloads: u64| {
        let mut finder = SurgeFinder::default();
        for second in 0..86_400 {
            add(&mut finder, second, 5_000);
        }
        for number in 0..downloads {
            add(&mut finder, 40_000 + number * 2, 2_000_000_000);
        }
        finder.find().surges.len()
    };
    assert_eq!([1, 3, 40].map(surges_of), [0, 0, 1]);
}
