//! A few clients that go through all pages and load none of their parts.

use rustc_hash::{FxHashMap, FxHashSet};

use super::Scene;
use crate::detection::values::ValueHash;
use crate::observation::attribute::Attribute;
use crate::units::counted;

/// Different paths that a client asks for, at least: a browser loads as many parts of a page, but not as many pages.
const PATHS_MIN: usize = 20;

/// The share of requests for static files, at most.
const STATIC_SHARE_MAX: f64 = 0.1;

/// The share of the excess that such clients send.
const SHARE_MIN: f64 = 0.5;

/// What one client asked for: how many rows stand for it, how many requests that is, how many for static files.
#[derive(Default)]
struct Asked {
    rows: usize,
    requests: f64,
    statics: f64,
}

pub(super) fn shows(scene: &Scene<'_>) -> Option<String> {
    let mut clients: FxHashMap<u32, Asked> = FxHashMap::default();
    let known = || scene.rows.iter().filter(|sampled| sampled.row.client_hash != 0 && sampled.row.is_mineable());
    for sampled in known() {
        let asked = clients.entry(sampled.row.client_hash).or_default();
        asked.rows += 1;
        asked.requests += sampled.cost(0);
        if scene.marked.is_static(sampled.row.marks.one(Attribute::Extension)) {
            asked.statics += sampled.cost(0);
        }
    }
    // In a flood of many clients hardly any has asked so often, and of the others no paths are kept.
    clients.retain(|_, asked| asked.rows >= PATHS_MIN && asked.statics <= STATIC_SHARE_MAX * asked.requests);
    let mut paths: FxHashMap<u32, FxHashSet<ValueHash>> = FxHashMap::default();
    for sampled in known().filter(|sampled| clients.contains_key(&sampled.row.client_hash)) {
        paths.entry(sampled.row.client_hash).or_default().insert(sampled.row.marks.one(Attribute::Path));
    }
    paths.retain(|_, paths| paths.len() >= PATHS_MIN);
    let crawled: f64 = paths.keys().filter_map(|client| clients.get(client)).map(|asked| asked.requests).sum();
    (crawled > 0.0 && crawled >= SHARE_MIN * scene.excess()).then(|| {
        let who = counted(paths.len() as u64, "client");
        let paths = paths.values().map(FxHashSet::len).max().unwrap_or_default();
        format!("{who} asked for up to {paths} different paths each, and for next to no parts of pages")
    })
}
