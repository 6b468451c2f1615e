//! Traffic that is meant for others: the Host is not ours, as after poisoned DNS. It is misdirected, not malicious; it
//! gets 421 and no rule.

use super::Scene;
use crate::detection::recent::Answered;

/// The share of the excess.
const SHARE_MIN: f64 = 0.5;

pub(super) fn shows(scene: &Scene<'_>) -> Option<String> {
    let misdirected = scene.requests(|sampled| sampled.row.answered == Answered::Misdirected);
    (misdirected >= 10.0 && misdirected >= SHARE_MIN * scene.excess())
        .then(|| format!("{misdirected:.0} of {:.0} requests are for hosts of others", scene.requests(|_| true)))
}
