//! How large the frames of the clock are: the bytes that go to every viewer each second.

use seawall::origin::clock::frame::{TimeOfDay, change};
use seawall_engine::units::Timestamp;

use super::Bench;
use super::figure::{Figure, Goal, OURS, Series};
use crate::Failure;

const BYTES_MAX: f64 = 60.0;

/// The mean over each hour of the day.
pub(crate) fn run(_bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let time = |second: u64| TimeOfDay::from(Timestamp::from_seconds(second));
    let mean = |hour: u64| {
        let seconds = hour * 3600..(hour + 1) * 3600;
        let bytes: usize = seconds.map(|second| change(time(second), time(second + 1)).len()).sum();
        bytes as f64 / 3600.0
    };
    Ok(vec![Figure {
        what: "Bytes for a clock frame, mean over an hour".to_owned(),
        unit: "bytes",
        goal: Goal::AtMost(BYTES_MAX),
        series: vec![Series { name: OURS.to_owned(), values: (0..24).map(mean).collect() }],
        notes: vec![
            "One value for each hour of the day. The original that this was modelled on spent 351 bytes; a new viewer is \
             sent a whole picture first."
                .to_owned(),
        ],
    }])
}
