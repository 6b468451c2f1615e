//! What logs tell, and what is wrong with them.

use super::layout::bytes;
use crate::daemon::Sensor;
use crate::show::text::escape;
use crate::source::watch::report::LogSensor;

/// Reasons of each log of which an example is shown.
const EXAMPLES_MAX: usize = 3;

/// What is wrong with a sensor, where it would be missed last.
pub(super) fn alarms(sensor: &Sensor, log: &LogSensor) -> Vec<String> {
    let name = escape(sensor.address.as_bytes());
    let wrong = log.clock_wrong_by_seconds.map(|seconds| match seconds {
        0.. => format!("its times are {seconds} s behind this machine's clock; the moment of reading is taken instead"),
        _ => format!(
            "its times are {} s ahead of this machine's clock; the moment of reading is taken instead",
            -seconds
        ),
    });
    let lost = log.copy.as_ref().and_then(|copy| {
        let trouble = copy.trouble.as_ref()?;
        Some(format!("the private copy {} loses lines: {trouble}; {} so far", copy.path, copy.lost_lines))
    });
    let alarms = log.alarms.iter().map(|alarm| alarm.text.clone());
    alarms
        .chain(log.trouble.clone())
        .chain(wrong)
        .chain(lost)
        .map(|text| format!("ALARM       {name}: {}", escape(text.as_bytes())))
        .collect()
}

/// A log in one line.
pub(super) fn log_sensor(sensor: &Sensor, log: &LogSensor) -> String {
    let format = match &log.format {
        Some(format) => format!("{format} ({:.0}%)", 100.0 * log.confidence),
        None => "format not known yet".to_owned(),
    };
    let mut text = format!(
        "  {}: {format}, {:.1} lines/s, {} lines, {} not read",
        escape(sensor.address.as_bytes()),
        log.rate,
        log.lines,
        log.unread.iter().filter(|unread| unread.is_failure).map(|unread| unread.lines).sum::<u64>()
    );
    if log.unread_durations > 0 {
        text += &format!(", {} with an unreadable duration", log.unread_durations);
    }
    if log.late > 0 {
        text += &format!(", {} too old", log.late);
    }
    if log.delay_seconds > 0.0 {
        text += &format!(", {:.0} s late by the server's buffer", log.delay_seconds);
    }
    if log.lag_seconds > 0.0 || log.behind_bytes > 0 {
        text += &format!(", behind by {} ({:.1} s)", bytes(log.behind_bytes as f64), log.lag_seconds);
    }
    if log.dropped_datagrams > 0 {
        text += &format!(", {} datagrams dropped", log.dropped_datagrams);
    }
    if log.passed_over_entries > 0 {
        text += &format!(", {} entries passed over", log.passed_over_entries);
    }
    if log.passed_over_bytes > 0 {
        text += &format!(", {} passed over", bytes(log.passed_over_bytes as f64));
    }
    text
}

/// Lines that could not be read, with an example of each reason.
pub(super) fn not_read(log: &LogSensor) -> impl Iterator<Item = String> {
    // The example is escaped already.
    let examples =
        log.unread.iter().filter(|unread| unread.is_failure && !unread.example.is_empty()).take(EXAMPLES_MAX);
    examples.map(|unread| format!("    {} not read, {}, as: {}", unread.lines, unread.reason, unread.example))
}
