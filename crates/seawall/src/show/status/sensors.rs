//! What logs tell, and what is wrong with them.

use seawall_engine::silence::{Alarm, Trouble};

use super::layout::bytes;
use crate::daemon::Sensor;
use crate::show::text::escape;
use crate::source::watch::report::LogSensor;

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
    // Why nothing can be read says more of the alarm that it is so.
    let is_of_trouble =
        |alarm: &&Alarm| matches!(alarm.trouble, Trouble::Stopped | Trouble::OutOfReach) && log.trouble.is_some();
    let explained = log.alarms.iter().find(is_of_trouble).map(|alarm| alarm.trouble);
    let alarms = log.alarms.iter().map(|alarm| match &log.trouble {
        Some(trouble) if explained == Some(alarm.trouble) => format!("{}: {trouble}", alarm.text),
        _ => alarm.text.clone(),
    });
    alarms
        .chain(log.trouble.clone().filter(|_| explained.is_none()))
        .chain(wrong)
        .chain(lost)
        .map(|text| format!("ALARM       {name}: {}", escape(text.as_bytes())))
        .collect()
}

/// Whether something is wrong with a log, or lines of it cannot be read.
pub(super) fn is_troubled(sensor: &Sensor, log: &LogSensor) -> bool {
    not_read(log).next().is_some() || !alarms(sensor, log).is_empty()
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

/// Lines that could not be read, by reason, each with an example where there is one.
pub(super) fn not_read(log: &LogSensor) -> impl Iterator<Item = String> {
    log.unread.iter().filter(|unread| unread.is_failure).map(|unread| {
        // The example is escaped already.
        let example = if unread.example.is_empty() { String::new() } else { format!(", as: {}", unread.example) };
        format!("    {} not read, {}{example}", unread.lines, unread.reason)
    })
}

#[cfg(test)]
mod tests {
    use seawall_engine::units::Timestamp;

    use super::*;
    use crate::source::watch::report::Unread;

    #[test]
    fn why_nothing_can_be_read_and_since_when_is_one_alarm() {
        let alarm = |trouble, text: &str| Alarm { trouble, since: Timestamp::EPOCH, text: text.to_owned() };
        let sensor = Sensor { name: "file".to_owned(), address: "a.log".to_owned(), log: None };
        let log = LogSensor {
            trouble: Some("it does not exist yet".to_owned()),
            alarms: vec![
                alarm(Trouble::Unread, "none could be read"),
                alarm(Trouble::OutOfReach, "nothing could be read for 45 s"),
            ],
            ..LogSensor::default()
        };
        let expected = ["none could be read", "nothing could be read for 45 s: it does not exist yet"];
        assert_eq!(alarms(&sensor, &log), expected.map(|text| format!("ALARM       a.log: {text}")));
        let log = LogSensor { alarms: Vec::new(), ..log };
        assert_eq!(alarms(&sensor, &log), ["ALARM       a.log: it does not exist yet"]);
    }

    #[test]
    fn every_reason_for_which_lines_cannot_be_read_is_said() {
        let unread = |reason: &str, example: &str, is_failure| Unread {
            reason: reason.to_owned(),
            lines: 3,
            is_failure,
            example: example.to_owned(),
        };
        let log = LogSensor {
            unread: ["a", "b", "c", "d"].map(|reason| unread(reason, "x", true)).into(),
            ..LogSensor::default()
        };
        assert_eq!(not_read(&log).count(), 4);
        let log = LogSensor { unread: vec![unread("a", "", true), unread("b", "x", false)], ..LogSensor::default() };
        assert_eq!(not_read(&log).collect::<Vec<_>>(), ["    3 not read, a"]);
    }
}
