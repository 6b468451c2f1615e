//! A few clients that go through all pages and load none of their parts.

use rustc_hash::{FxHashMap, FxHashSet};

use super::Scene;
use crate::observation::attribute::Attribute;
use crate::units::counted;

/// Different paths that a client asks for, at least: a browser loads as many parts of a page, but not as many pages.
const PATHS_MIN: usize = 20;

/// The share of requests for static files, at most.
const STATIC_SHARE_MAX: f64 = 0.1;

/// The share of the excess that such clients send.
const SHARE_MIN: f64 = 0.5;

/// What one client asked for.
#[derive(Default)]
struct Asked {
    paths: FxHashSet<u32>,
    requests: f64,
    statics: f64,
}

pub(super) fn shows(scene: &Scene<'_>) -> Option<String> {
    let mut clients: FxHashMap<u32, Asked> = FxHashMap::default();
    let known = scene.rows.iter().filter(|sampled| sampled.row.client_hash != 0 && sampled.row.is_mineable());
    for sampled in known {
        let asked = clients.entry(sampled.row.client_hash).or_default();
        asked.paths.insert(sampled.row.marks.one(Attribute::Path));
        asked.requests += sampled.cost(0);
        if scene.marked.is_static(sampled.row.marks.one(Attribute::Extension)) {
            asked.statics += sampled.cost(0);
        }
    }
    let crawls = |asked: &&Asked| asked.paths.len() >= PATHS_MIN && asked.statics <= STATIC_SHARE_MAX * asked.requests;
    let crawlers = || clients.values().filter(crawls);
    let crawled: f64 = crawlers().map(|asked| asked.requests).sum();
    (crawled > 0.0 && crawled >= SHARE_MIN * scene.excess()).then(|| {
        let paths = crawlers().map(|asked| asked.paths.len()).max().unwrap_or_default();
        let who = counted(crawlers().count() as u64, "client");
        format!("{who} asked for up to {paths} different paths each, and for next to no parts of pages")
    })
}
