//! What the record has of the guard before: the last numbers that it gave, and the incident that it left open. A guard that stops closes its
//! own; one that is killed closes none.

use rusqlite::{Connection, OptionalExtension as _, params};
use seawall_engine::decision::{EventKind, Numbers};
use seawall_engine::units::Timestamp;

use super::name;

/// What is known of the guard before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// The highest numbers that are in the record.
    pub numbers: Numbers,
    /// The incident that was open when it was killed, if one was.
    pub left_open: Option<LeftOpen>,
}

/// An incident that nobody has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOpen {
    /// Its number.
    pub incident: u32,
    /// When the guard that saw it wrote last, in the machine's time.
    pub last_seen: Option<Timestamp>,
}

/// Reads it. Numbers that detection gives to no rule, as in a damaged file, are passed over.
pub(super) fn read(connection: &Connection, last_seen: Option<Timestamp>) -> rusqlite::Result<Past> {
    let rule = "SELECT max(CAST(substr(detail, 2) AS INTEGER)) FROM decision
                WHERE detail GLOB 'R[0-9]*' AND CAST(substr(detail, 2) AS INTEGER) <= ?";
    let rule: Option<i64> = connection.query_row(rule, [Numbers::RULE_MAX], |row| row.get(0))?;
    // All that is said of an incident begins with `incident`, a space and its number.
    let incident = "SELECT max(CAST(substr(detail, 10) AS INTEGER)) FROM decision
                    WHERE detail GLOB 'incident [0-9]*' AND CAST(substr(detail, 10) AS INTEGER) <= ?";
    let incident: Option<i64> = connection.query_row(incident, [u32::MAX], |row| row.get(0))?;
    let number = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok()).unwrap_or_default();
    let last = "SELECT kind, CAST(substr(detail, 10) AS INTEGER) FROM decision WHERE kind IN (?1, ?2) ORDER BY id DESC LIMIT 1";
    let (opened, closed) = (name(&EventKind::IncidentOpened), name(&EventKind::IncidentClosed));
    let last: Option<(String, i64)> =
        connection.query_row(last, params![opened, closed], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let left_open = last.filter(|(kind, _)| *kind == opened).and_then(|(_, number)| u32::try_from(number).ok());
    Ok(Past {
        numbers: Numbers { rule: number(rule), incident: number(incident) },
        left_open: left_open.map(|incident| LeftOpen { incident, last_seen }),
    })
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;

    #[test]
    fn the_last_numbers_and_what_was_left_open_are_told_by_the_decisions() {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = schema::open(&super::super::path(folder.path())).expect("a record");
        let seen = Some(Timestamp::from_seconds(1_700_000_000));
        let past = || read(&connection, seen).expect("read");
        assert_eq!(past(), Past::default());
        let decide = |kind: &str, detail: &str| {
            let sql = "INSERT INTO decision (at, kind, detail) VALUES (0, ?, ?)";
            connection.execute(sql, [kind, detail]).expect("written");
        };
        decide("incident-opened", "incident 2 opened: more requests");
        decide("rule-shadowed", "R11 in shadow: path = \"/R12\"");
        decide("rule-enforced", "R9 refuses with 403, since R77 does: path = \"/x\"");
        // Of a person's rule, and what was never written so.
        decide("rule-silent", "rule R10001 (path = \"/y\") has matched nothing for 20 s");
        for number in ["10001", "4294967295", "99999999999999999999"] {
            decide("rule-enforced", &format!("R{number} refuses"));
        }
        let open = Past {
            numbers: Numbers { rule: 11, incident: 2 },
            left_open: Some(LeftOpen { incident: 2, last_seen: seen }),
        };
        assert_eq!(past(), open);
        decide("verdict-changed", "incident 2: one agent");
        assert_eq!(past(), open);
        decide("incident-closed", "incident 2 is over: one agent");
        assert_eq!(past(), Past { left_open: None, ..open });
        decide("incident-opened", "incident 4294967295 opened: damage");
        decide("incident-opened", "incident 99999999999999999999 opened: damage");
        assert_eq!(past(), Past { numbers: Numbers { rule: 11, incident: u32::MAX }, left_open: None });
    }
}
