//! Special shapes of traffic, each its own small detector in its own file. A new one is a file and a line in [`ALL`].
//!
//! A shape names what is going on for people; it does not make rules.

mod announce;
mod crawler;
mod distributed;
mod feed_herd;
mod ignores_refusals;
mod misdirected;
mod post_to_static;
mod retry_storm;
mod slow_connections;

use crate::decision::{NamedShape, Shape};

use super::marked::Marked;
use super::recent::Sampled;
use super::values::Texts;

pub(crate) use feed_herd::Rhythms;
pub(crate) use retry_storm::Retries;

/// What a shape looks at: everything offered since the onset, at most a minute.
pub(crate) struct Scene<'a> {
    pub(crate) rows: Vec<Sampled<'a>>,
    pub(crate) marked: &'a Marked,
    pub(crate) texts: &'a Texts,
    /// Requests that the same time would have normally.
    pub(crate) expected: f64,
    /// When paths have been asked for over the last hours.
    pub(crate) rhythms: &'a Rhythms,
}

impl Scene<'_> {
    /// How many requests answer to this.
    pub(crate) fn requests(&self, mut belongs: impl FnMut(&Sampled<'_>) -> bool) -> f64 {
        self.rows.iter().filter(|sampled| belongs(sampled)).map(|sampled| sampled.cost(0)).sum()
    }

    /// How many requests there are beyond what is normal.
    pub(crate) fn excess(&self) -> f64 {
        self.requests(|_| true) - self.expected
    }
}

/// By what a scene is told to have this shape, in a sentence for people; `None` when it has not.
type Shows = fn(&Scene<'_>) -> Option<String>;

/// Every shape that is looked for.
const ALL: [(Shape, Shows); 9] = [
    (Shape::Misdirected, misdirected::shows),
    (Shape::PostToStatic, post_to_static::shows),
    (Shape::Announce, announce::shows),
    (Shape::Crawler, crawler::shows),
    (Shape::RetryStorm, retry_storm::shows),
    (Shape::IgnoresRefusals, ignores_refusals::shows),
    (Shape::FeedHerd, feed_herd::shows),
    (Shape::SlowConnections, slow_connections::shows),
    (Shape::Distributed, distributed::shows),
];

/// The shapes that a scene has.
pub(crate) fn shapes(scene: &Scene<'_>) -> Vec<NamedShape> {
    ALL.into_iter().filter_map(|(shape, shows)| Some(NamedShape { shape, evidence: shows(scene)? })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::ClientAddress;
    use crate::detection::recent::Row;
    use crate::detection::values::Keys;
    use crate::observation::Request;
    use crate::units::Timestamp;

    /// The shapes of a scene, each with something to say for itself.
    fn names(scene: &Scene<'_>) -> Vec<Shape> {
        let named = shapes(scene);
        assert!(named.iter().all(|named| named.evidence.contains(|digit: char| digit.is_ascii_digit())), "{named:?}");
        named.into_iter().map(|named| named.shape).collect()
    }

    /// The shapes of connections of ten seconds each, half a second apart, each with its client, status and bytes.
    fn shapes_of_held(connections: impl Iterator<Item = (u32, u16, f32)>) -> Vec<Shape> {
        let (keys, mut texts) = (Keys::new(1), Texts::new());
        let rows: Vec<Row> = connections
            .zip(0_u64..)
            .map(|((client, status, bytes), number)| {
                let client = ClientAddress::new(std::net::Ipv4Addr::from_bits(client).into());
                Row {
                    marks: texts.marks(&keys, &Request { path: b"/time.gif", ..Request::default() }, Some(client), 1),
                    client_hash: keys.client(client),
                    costs: [f32::from(status == 408), bytes, 0.0, 10.0],
                    at: Timestamp::from_micros(1_000_000_000 + number * 500_000),
                    status,
                    ..Row::default()
                }
            })
            .collect();
        let sampled = rows.iter().rev().map(|row| Sampled { row, at: row.at, factor: 1.0 }).collect();
        let (marked, rhythms) = (Marked::new(&keys), Rhythms::new());
        names(&Scene { rows: sampled, marked: &marked, texts: &texts, expected: 0.0, rhythms: &rhythms })
    }

    #[test]
    fn connections_that_are_held_by_few_are_told_from_many_who_watch() {
        assert_eq!(shapes_of_held((0..20).map(|number| (1 + number % 10, 408, 0.0))), [Shape::SlowConnections]);
        assert_eq!(shapes_of_held((0..60).map(|number| (1 + number % 2, 200, 900.0))), [Shape::SlowConnections]);
        // A slow stream that each watches once, and a file that takes its time.
        assert_eq!(shapes_of_held((0..60).map(|number| (1 + number, 200, 3500.0))), []);
        assert_eq!(shapes_of_held((0..60).map(|number| (1 + number % 2, 200, 100_000.0))), []);
    }

    /// The shapes of these requests, each with the number of its client, its path and its status, ten a second.
    fn shapes_of(requests: impl Iterator<Item = (u32, String, u16)>) -> Vec<Shape> {
        let (keys, mut texts) = (Keys::new(1), Texts::new());
        let rows: Vec<Row> = requests
            .zip(0_u64..)
            .map(|((client, path, status), number)| {
                let (path, query) = path.split_once('?').map_or((&*path, None), |(path, query)| (path, Some(query)));
                let query = query.map(str::as_bytes);
                let request = Request { method: b"GET", path: path.as_bytes(), query, ..Request::default() };
                let client = ClientAddress::new(std::net::Ipv4Addr::from_bits(client).into());
                Row {
                    marks: texts.marks(&keys, &request, Some(client), 1),
                    client_hash: keys.client(client),
                    costs: [1.0, 0.0, 0.0, 0.0],
                    at: Timestamp::from_micros(1_000_000_000 + number * 100_000),
                    status,
                    ..Row::default()
                }
            })
            .collect();
        let sampled = rows.iter().rev().map(|row| Sampled { row, at: row.at, factor: 1.0 }).collect();
        let (marked, rhythms) = (Marked::new(&keys), Rhythms::new());
        names(&Scene { rows: sampled, marked: &marked, texts: &texts, expected: 1.0, rhythms: &rhythms })
    }

    #[test]
    fn each_shape_is_seen_and_no_other() {
        let announces = ["/announce?info_hash=%124&port=1", "/tracker/scrape.php?info_hash=a&info_hash=b"];
        for target in announces {
            let shapes = shapes_of((0..60).map(|number| (number, target.to_owned(), 404)));
            assert_eq!(shapes, [Shape::Announce, Shape::Distributed], "{target}");
        }
        for target in ["/announce", "/announce?page=2", "/announcements?info_hash=1", "/?info_hash=1"] {
            let shapes = shapes_of((0..60).map(|number| (number, target.to_owned(), 200)));
            assert_eq!(shapes, [Shape::Distributed], "{target}");
        }
        assert_eq!(shapes_of((0..60).map(|number| (1, format!("/page/{number}"), 200))), [Shape::Crawler]);
        assert_eq!(shapes_of((0..60).map(|number| (1 + number % 3, "/api".to_owned(), 502))), [Shape::RetryStorm]);
        let ignored = shapes_of((0..60).map(|number| (1 + number % 3, format!("/api/{}", number % 7), 429)));
        assert_eq!(ignored, [Shape::IgnoresRefusals]);
        // Many people who press reload once are told to wait as well.
        assert_eq!(shapes_of((0..60).map(|number| (1 + number % 30, format!("/{}", number % 7), 429))), []);
        assert_eq!(shapes_of((0..60).map(|number| (1, format!("/image/{number}.png"), 200))), []);
        assert_eq!(shapes_of((0..60).map(|number| (number % 10, format!("/{}", number % 7), 200))), []);
    }
}
