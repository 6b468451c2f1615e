//! Special shapes of traffic, each its own small detector in its own file. A new one is a file and a line in [`ALL`].
//!
//! A shape names what is going on for people; it does not make rules.

mod distributed;
mod misdirected;
mod post_to_static;

use crate::decision::Shape;

use super::crowd::Marked;
use super::recent::Sampled;

/// What a shape looks at: everything offered since the onset, at most a minute.
pub(crate) struct Scene<'a> {
    pub(crate) rows: Vec<Sampled<'a>>,
    pub(crate) marked: &'a Marked,
    /// Requests that the same time would have normally.
    pub(crate) expected: f64,
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

/// Whether a scene has this shape.
type Shows = fn(&Scene<'_>) -> bool;

/// Every shape that is looked for.
const ALL: [(Shape, Shows); 3] = [
    (Shape::Misdirected, misdirected::shows),
    (Shape::PostToStatic, post_to_static::shows),
    (Shape::Distributed, distributed::shows),
];

/// The shapes that a scene has.
pub(crate) fn shapes(scene: &Scene<'_>) -> Vec<Shape> {
    ALL.into_iter().filter(|(_, shows)| shows(scene)).map(|(shape, _)| shape).collect()
}
