//! POST to something static: nobody's browser does that, and a POST goes through caches to the origin.

use super::Scene;
use crate::observation::attribute::Attribute;

/// The share of the excess.
const SHARE_MIN: f64 = 0.5;

pub(super) fn shows(scene: &Scene<'_>) -> Option<String> {
    let posts = scene.requests(|sampled| {
        let marks = &sampled.row.marks;
        marks.one(Attribute::Method) == scene.marked.post && scene.marked.is_static(marks.one(Attribute::Extension))
    });
    (posts >= 10.0 && posts >= SHARE_MIN * scene.excess())
        .then(|| format!("{posts:.0} of {:.0} requests post to static files", scene.requests(|_| true)))
}
