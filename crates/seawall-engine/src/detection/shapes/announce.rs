//! BitTorrent clients that take the site for a tracker (BEP 3, BEP 48): `/announce` and `/scrape`, of a torrent that the
//! query names as `info_hash`. A page of announcements is none.

use rustc_hash::FxHashMap;

use super::Scene;
use crate::detection::values::{ABSENT, Texts, ValueHash};
use crate::observation::attribute::Attribute;

/// The share of the excess.
const SHARE_MIN: f64 = 0.3;

pub(super) fn shows(scene: &Scene<'_>) -> Option<String> {
    // Most requests have no query, and many the same names in it: those are asked first, since a text is far from everything else in
    // memory.
    let mut naming: FxHashMap<ValueHash, bool> = FxHashMap::default();
    let announces = scene.requests(|sampled| {
        let [path, keys] = [Attribute::Path, Attribute::QueryKeys].map(|attribute| sampled.row.marks.one(attribute));
        keys != ABSENT
            && *naming.entry(keys).or_insert_with(|| names_torrent(scene.texts, keys))
            && is_tracker(scene.texts, path)
    });
    (announces >= 10.0 && announces >= SHARE_MIN * scene.excess()).then(|| {
        let all = scene.requests(|_| true);
        format!("{announces:.0} of {all:.0} requests name a torrent (info_hash) to /announce or /scrape")
    })
}

fn names_torrent(texts: &Texts, keys: ValueHash) -> bool {
    let names = texts.kept(Attribute::QueryKeys, keys);
    names.is_some_and(|names| names.split(|byte| *byte == b'&').any(|name| name == b"info_hash"))
}

/// Whether trackers are asked there, at whatever place, as at `/announce.php` as well.
fn is_tracker(texts: &Texts, path: ValueHash) -> bool {
    texts.kept(Attribute::Path, path).is_some_and(|path| {
        let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let name = last.split(|byte| *byte == b'.').next().unwrap_or_default();
        matches!(name, b"announce" | b"scrape")
    })
}
