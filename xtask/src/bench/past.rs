//! What the guard knows from before a run: a week of a small site, so that it can tell a flood from it and refuse.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use seawall_engine::address::ClientAddress;
use seawall_engine::detection::{Detector, Settings, Surroundings};
use seawall_engine::observation::{ClientHistory, Cost, Observation, Outcome, Request, Version};
use seawall_engine::units::Timestamp;

const DAYS: u64 = 7;

/// Ten seconds of every five minutes are enough to learn what is normal.
const SLOT_SECONDS: u64 = 300;
const WINDOW_SECONDS: u64 = 10;

/// Requests in a second.
const RATE: u64 = 2;

const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 \
     Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
];

const PATHS: [&str; 6] = ["/", "/about", "/style.css", "/wiki/Front", "/wiki/News", "/picture.png"];

/// What a guard would have saved at `now`.
pub(crate) fn baseline(now: Timestamp) -> Vec<u8> {
    let mut detector = Detector::new(Settings { seed: 1, ..Settings::default() });
    let first = now.as_seconds() / SLOT_SECONDS - DAYS * 86_400 / SLOT_SECONDS;
    for slot in first..now.as_seconds() / SLOT_SECONDS {
        for second in 0..WINDOW_SECONDS {
            let at = Timestamp::from_seconds(slot * SLOT_SECONDS + second);
            for request in 0..RATE {
                let number = slot.wrapping_mul(31) ^ (second * RATE + request).wrapping_mul(0x9e37_79b9);
                detector.observe(&ordinary(at + Duration::from_millis(400 * request), number));
            }
            detector.tick(at + Duration::from_millis(900), &Surroundings::default());
        }
    }
    detector.tick(now, &Surroundings::default());
    detector.save()
}

/// One request of an ordinary visitor.
fn ordinary(at: Timestamp, number: u64) -> Observation<'static> {
    let any = |values: &[&'static str], place: u64| {
        values.get((place % values.len() as u64) as usize).copied().unwrap_or_default().as_bytes()
    };
    let client = Ipv4Addr::from_bits(0xc633_6400 | (number % 200) as u32);
    Observation {
        at,
        client: Some(ClientAddress::new(IpAddr::V4(client))),
        request: Request {
            method: b"GET",
            host: b"example.org",
            path: any(&PATHS, number / 7),
            version: Version::Http11,
            user_agent: Some(any(&AGENTS, number % 200)),
            ..Request::default()
        },
        outcome: Outcome::Served { status: 200 },
        cost: Cost {
            requests: 1,
            bytes: 2_000,
            upstream_time: Duration::from_millis(2),
            connection_time: Duration::from_millis(3),
            ..Cost::default()
        },
        weight: 1.0,
        history: ClientHistory {
            requests_recent: 3,
            age: Duration::from_secs(86_400),
            served: 60,
            is_of_good_name: false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_is_not_a_beginner_with_it() {
        let now = Timestamp::from_seconds(1_700_000_000);
        let mut detector = Detector::new(Settings::default());
        detector.restore(&baseline(now)).expect("a baseline");
        let status = detector.status(now);
        assert!(!status.cold && status.is_calm(), "{status:?}");
    }
}
