//! What a detector keeps: how much memory it takes, what it saves, and what it takes up again.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::time::Duration;

use seawall_engine::address::ClientAddress;
use seawall_engine::decision::{Aspect, Enforce, EventKind, RuleStatus, Stage};
use seawall_engine::detection::{Detector, RestoreError, Settings, Surroundings};
use seawall_engine::observation::{ClientHistory, Cost, Observation, Outcome};
use seawall_engine::units::Timestamp;
use seawall_trial::background::{Synthetic, browsers};
use seawall_trial::world::{self, World, stressed};
use seawall_trial::{Dice, Sent, address};

/// A detector that has seen this many clients, each once or more, over ten minutes. `neighbour` changes who they are within
/// their networks.
fn seen(clients: u32, neighbour: u8, requests: u32) -> Detector {
    let mut detector = Detector::new(Settings { seed: 5, ..Settings::default() });
    let (mut dice, agents) = (Dice::new(9), browsers());
    let start = Timestamp::from_seconds(world::START);
    for number in 0..requests {
        let at = start + Duration::from_secs(600) * number / requests;
        let page = Synthetic::page(&mut dice);
        let agent = &agents[number as usize % agents.len()];
        let mut sent = Sent::get(address(20, (number % clients) as usize), page, agent.clone());
        if let IpAddr::V4(ip) = &mut sent.client {
            let [first, second, third, fourth] = ip.octets();
            *ip = Ipv4Addr::new(first, second, third ^ neighbour, fourth);
        }
        sent.query = Some(format!("q{number}=1"));
        serve(&mut detector, at, &sent);
        if number % (requests / 2400).max(1) == 0 {
            detector.tick(at, &Surroundings::default());
        }
    }
    detector
}

/// A request that was served.
fn serve(detector: &mut Detector, at: Timestamp, sent: &Sent) {
    detector.observe(&Observation {
        at,
        client: Some(ClientAddress::new(sent.client)),
        request: sent.request(),
        outcome: Outcome::Served { status: 200 },
        cost: Cost { requests: 1, bytes: 1000, ..Cost::default() },
        weight: 1.0,
        history: ClientHistory::default(),
    });
}

#[test]
fn memory_does_not_depend_on_clients() {
    let fresh = Detector::new(Settings::default()).memory_bytes();
    for clients in [1, 1_000, 1_000_000] {
        let bytes = seen(clients, 0, clients.max(1000)).memory_bytes();
        println!("{clients} clients: {:.1} MiB", bytes as f64 / f64::from(1 << 20));
        assert_eq!(bytes, fresh, "{clients} clients");
        // With the gate's clients (4 MiB) and limits (384 KiB) it is 32 MiB.
        assert!(bytes <= (32 << 20) - (4 << 20) - (384 << 10), "{bytes} bytes");
    }
}

#[test]
fn a_restored_guard_is_warm_and_finds_a_flood() {
    let mut grown = World::warm(4, Enforce::UnderStress);
    assert_eq!(grown.status().drifts, [], "an ordinary week drifts nowhere");
    let saved = grown.detector().save();
    println!("saved: {} bytes", saved.len());
    assert!(saved.len() < 4 << 20);
    let mut world = World::new(4, Enforce::UnderStress);
    world.now = Timestamp::from_seconds(world::START + 8 * 86_400);
    world.detector().restore(&saved).expect("what was just saved");
    assert!(!world.status().cold);
    world.run(Duration::from_secs(120), |_, _| Vec::new());
    world.pressure = stressed();
    world.begin();
    world.run(Duration::from_secs(20), |dice, _| {
        (0..8).map(|_| Sent::get(dice.address(120, 5000), "/ca/cacert.pem", "QQGameHall")).collect()
    });
    let status = world.status();
    let rules: Vec<_> = status.rules.iter().filter(|rule| rule.stage == Stage::Enforced).collect();
    assert!(rules.iter().any(|rule| rule.text.contains("QQGameHall")), "{status:#?}");
    assert_eq!(world.tally.wanted_refused, 0);
}

#[test]
fn what_the_operator_took_back_stays_so_over_a_restart() {
    let flood = |world: &mut World| {
        world.pressure = stressed();
        world.begin();
        world.run(Duration::from_secs(20), |dice, _| {
            (0..8).map(|_| Sent::get(dice.address(120, 5000), "/ca/cacert.pem", "QQGameHall")).collect()
        });
        let rules = world.status().rules.into_iter().filter(|rule| rule.stage == Stage::Enforced);
        rules.map(|rule| (rule.id, rule.text)).collect::<Vec<_>>()
    };
    let mut world = World::warm(4, Enforce::UnderStress);
    let made = flood(&mut world);
    let now = world.now;
    let withdrawn: usize = made.iter().map(|(id, _)| world.detector().withdraw(*id, now, None).len()).sum();
    assert!(withdrawn >= made.len(), "{made:?}");
    // The flood goes on: it is found, and neither what was taken back nor another mark of it is put in force.
    assert_eq!(flood(&mut world), []);
    let rules = world.status().rules;
    let is_found = |rule: &RuleStatus| rule.stage == Stage::Vetoed && rule.reason.contains("found again");
    assert!(rules.iter().any(is_found), "{rules:#?}");
    let (now, numbers) = (world.now, world.detector().numbers());
    assert!(world.detector().stop(now).is_some_and(|event| event.text.contains("the guard stopped")));
    let (saved, vetoes) = (world.detector().save(), world.detector().vetoes().cloned().collect::<Vec<_>>());
    for hours in [0, 25] {
        let mut world = World::new(4, Enforce::UnderStress);
        world.now = now + Duration::from_secs(hours * 3600);
        world.detector().restore(&saved).expect("what was just saved");
        world.detector().take_up_vetoes(vetoes.clone(), now);
        assert_eq!(world.detector().numbers(), numbers);
        world.pressure = seawall_engine::detection::Pressure::default();
        world.run(Duration::from_secs(120), |_, _| Vec::new());
        let again = flood(&mut world);
        assert_eq!(!again.is_empty(), hours > 24, "{again:?}, where there were {made:?}");
        assert!(again.iter().all(|(id, _)| id.0 > numbers.rule), "{again:?} after {numbers:?}");
    }
}

#[test]
fn a_guard_that_is_restarted_on_its_first_day_has_something_to_compare_with() {
    let mut first = World::new(4, Enforce::UnderStress);
    first.run(Duration::from_secs(3600), |_, _| Vec::new());
    let saved = first.detector().save();
    for knows in [true, false] {
        let mut world = World::new(4, Enforce::UnderStress);
        world.now = first.now + Duration::from_secs(10);
        if knows {
            world.detector().restore(&saved).expect("what was just saved");
        }
        world.run(Duration::from_secs(5), |_, _| Vec::new());
        assert!(world.status().cold);
        world.pressure = stressed();
        world.begin();
        // Less than half of all, so that it is like a site's ordinary traffic to a guard that knows nothing.
        world.run(Duration::from_secs(20), |dice, _| {
            vec![Sent::get(dice.address(120, 5000), "/ca/cacert.pem", "QQGameHall")]
        });
        let status = world.status();
        let is_told = status.rules.iter().any(|rule| rule.stage == Stage::Enforced && rule.text.contains("QQGameHall"));
        assert_eq!(is_told, knows, "{status:#?}");
        assert_eq!(world.tally.wanted_refused, 0);
    }
}

#[test]
fn what_is_saved_is_the_same_whoever_the_clients_were() {
    assert!(seen(20, 0, 20_000).save() == seen(20, 85, 20_000).save());
}

#[test]
fn damaged_foreign_and_oversized_data_is_refused() {
    let saved = seen(500, 0, 20_000).save();
    let mut detector = Detector::new(Settings::default());
    assert_eq!(detector.restore(b"GIF89a"), Err(RestoreError::Foreign));
    assert_eq!(detector.restore(&[]), Err(RestoreError::Foreign));
    assert!(matches!(detector.restore(&vec![0; 20 << 20]), Err(RestoreError::Oversized { .. })));
    let mut newer = saved.clone();
    newer[8] = 9;
    assert_eq!(detector.restore(&newer), Err(RestoreError::Version { found: 9 }));
    for end in [0, 7, 8, 11, 12, 19, 20, 21, saved.len() / 2, saved.len() - 1] {
        assert!(detector.restore(&saved[..end]).is_err(), "cut at {end}");
    }
    let mut dice = Dice::new(1);
    for _ in 0..200 {
        let mut damaged = saved.clone();
        let at = dice.below(damaged.len());
        damaged[at] ^= 1 << dice.below(8);
        assert!(detector.restore(&damaged).is_err(), "a bit flipped at {at}");
    }
    assert_eq!(detector.restore(&saved), Ok(()));
}

/// Some days of sixty visits an hour; of these so many, by the hour since the first, are a poisoner's. Returns what happened.
fn days(detector: &mut Detector, dice: &mut Dice, days: Range<u64>, poison: impl Fn(u64) -> f64) -> Vec<EventKind> {
    let (agents, mut happened) = (browsers(), Vec::new());
    for minute in days.start * 1440..days.end * 1440 {
        let at = Timestamp::from_seconds(world::START + minute * 60);
        let number = dice.below(3000);
        let sent = if dice.chance(poison((minute - days.start * 1440) / 60)) {
            Sent::get(dice.address(120, 5000), "/wiki/page-3", "python-requests/2.31.0")
        } else {
            Sent::get(address(20, number), Synthetic::page(dice), agents[number % agents.len()].clone())
        };
        serve(detector, at, &sent);
        happened.extend(detector.tick(at, &Surroundings::default()).into_iter().map(|event| event.kind));
    }
    happened
}

#[test]
fn slow_poisoning_is_alarmed_once_over_a_restart_too_and_the_alarm_ends() {
    let (mut detector, mut dice) = (Detector::new(Settings { seed: 5, ..Settings::default() }), Dice::new(9));
    assert_eq!(days(&mut detector, &mut dice, 0..14, |_| 0.0), []);
    let happened = days(&mut detector, &mut dice, 14..20, |hour| hour as f64 / (36.0 * 24.0));
    let alarms = happened.iter().filter(|kind| **kind == EventKind::DriftAlarmed).count();
    let drifts = detector.status(Timestamp::EPOCH).drifts;
    println!("{drifts:#?}");
    assert_eq!(alarms, happened.len(), "{happened:?}");
    assert_eq!(alarms, drifts.len(), "each is said once");
    assert!(drifts.iter().any(|drift| drift.aspect == Aspect::Agents), "{drifts:?}");
    assert!(detector.rules().is_empty(), "an alarm stops nobody");

    let mut restored = Detector::new(Settings { seed: 6, ..Settings::default() });
    restored.restore(&detector.save()).expect("what was just saved");
    assert_eq!(restored.status(Timestamp::EPOCH).drifts.len(), alarms);
    let happened = days(&mut restored, &mut dice, 20..26, |_| 0.0);
    let of_kind = |kind| happened.iter().filter(|happened| **happened == kind).count();
    assert_eq!(of_kind(EventKind::DriftEnded), alarms, "{happened:?}");
    assert_eq!(restored.status(Timestamp::EPOCH).drifts, []);
}

#[test]
fn any_spacing_of_time_is_tolerated() {
    let mut detector = Detector::new(Settings::default());
    let mut dice = Dice::new(7);
    let mut at = Timestamp::from_seconds(world::START);
    for number in 0..20_000_usize {
        let jump = match dice.below(100) {
            0 => Duration::from_secs(dice.bits() % 100_000),
            1 => Duration::ZERO,
            _ => Duration::from_millis(dice.bits() % 400),
        };
        at = if dice.chance(0.01) { at - jump } else { at + jump };
        let sent = Sent::get(address(20, number % 700), format!("/{}", dice.below(50)), "agent");
        detector.observe(&Observation {
            at,
            client: (number % 3 > 0).then(|| ClientAddress::new(sent.client)),
            request: sent.request(),
            outcome: Outcome::Arrived,
            cost: Cost { requests: 1, bytes: dice.bits() % 1_000_000, ..Cost::default() },
            weight: [1.0, 40.0, f32::NAN, f32::INFINITY, -3.0][dice.below(5)],
            history: ClientHistory::default(),
        });
        if dice.chance(0.2) {
            detector.tick(at, &Surroundings::default());
        }
    }
    for extreme in [Timestamp::EPOCH, Timestamp::from_micros(u64::MAX), Timestamp::EPOCH] {
        detector.tick(extreme, &Surroundings::default());
    }
    let status = detector.status(at);
    assert!(status.incidents.iter().all(|incident| incident.offered_rate.is_finite()), "{status:?}");
}
