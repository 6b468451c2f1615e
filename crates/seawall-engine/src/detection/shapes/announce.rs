//! BitTorrent clients that take the site for a tracker (BEP 3, BEP 48): `/announce` and `/scrape`, of a torrent that the
//! query names as `info_hash`. A page of announcements is none.

use rustc_hash::FxHashMap;

use super::Scene;
use crate::detection::values::{Texts, ValueHash};
use crate::observation::attribute::Attribute;

/// The share of the excess.
const SHARE_MIN: f64 = 0.3;

pub(super) fn shows(scene: &Scene<'_>) -> Option<String> {
    let mut known: FxHashMap<[ValueHash; 2], bool> = FxHashMap::default();
    let announces = scene.requests(|sampled| {
        let asked = [Attribute::Path, Attribute::QueryKeys].map(|attribute| sampled.row.marks.one(attribute));
        *known.entry(asked).or_insert_with(|| is_announce(scene.texts, asked))
    });
    (announces >= 10.0 && announces >= SHARE_MIN * scene.excess()).then(|| {
        let all = scene.requests(|_| true);
        format!("{announces:.0} of {all:.0} requests name a torrent (info_hash) to /announce or /scrape")
    })
}

/// Whether this path, with these names of parameters, is how a tracker is asked: at whatever place, as `/announce.php` as well.
fn is_announce(texts: &Texts, [path, keys]: [ValueHash; 2]) -> bool {
    let is_tracker = |path: &[u8]| {
        let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let name = last.split(|byte| *byte == b'.').next().unwrap_or_default();
        matches!(name, b"announce" | b"scrape")
    };
    let names_torrent = |keys: &[u8]| keys.split(|byte| *byte == b'&').any(|key| key == b"info_hash");
    texts.kept(Attribute::Path, path).is_some_and(is_tracker)
        && texts.kept(Attribute::QueryKeys, keys).is_some_and(names_torrent)
}
