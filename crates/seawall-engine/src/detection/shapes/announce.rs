//! BitTorrent clients that take the site for a tracker (BEP 3, BEP 48): `/announce` and `/scrape`.

use super::Scene;
use crate::observation::attribute::Attribute;

/// The share of the excess.
const SHARE_MIN: f64 = 0.3;

pub(super) fn shows(scene: &Scene<'_>) -> Option<String> {
    let announces = scene.requests(|sampled| scene.marked.announces.contains(&sampled.row.marks.one(Attribute::Path)));
    (announces >= 10.0 && announces >= SHARE_MIN * scene.excess())
        .then(|| format!("{announces:.0} of {:.0} requests are for /announce or /scrape", scene.requests(|_| true)))
}
