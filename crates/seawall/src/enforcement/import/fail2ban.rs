//! fail2ban: its database, in which the bans are that it has in force, and its log, in which all are that it made.

use std::io::BufRead;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use rusqlite::{Connection, OpenFlags};
use seawall_engine::units::Timestamp;

use super::{Import, Imported, NETWORKS_MAX};

/// Jails whose bans are counted by themselves.
const JAILS_MAX: usize = 32;

/// The longest line of the log that is looked at.
const LINE_BYTES_MAX: usize = 4_096;

/// What is shown of a line that cannot be read.
const SHOWN_CHARACTERS_MAX: usize = 120;

/// What every line of its log has, before the part of the program that writes it.
const OWN_MARK: &str = " fail2ban.";

/// Bans of a log that are taken in.
const BANS_MAX: usize = 10_000_000;

/// How a SQLite database begins.
const DATABASE_BEGINNING: &[u8] = b"SQLite format 3\0";

/// Whether a file is a database, by how it begins.
pub fn is_database(beginning: &[u8]) -> bool {
    beginning.starts_with(DATABASE_BEGINNING)
}

/// The bans that are in force in fail2ban's database (`/var/lib/fail2ban/fail2ban.sqlite3`). Those of several jails are one; a
/// ban without end (`bantime = -1`) has no seconds. Those of jails that are not enabled stand there until they are purged, and are in force
/// nowhere: they are left out, unless no jail is enabled, since fail2ban disables all when it stops.
///
/// # Errors
/// When it is no such database.
pub fn read_database(path: &Path, now: Timestamp) -> Result<Import, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // Versions before 0.11 had no table of what is in force.
    let has = |table: &str| -> Result<bool, rusqlite::Error> {
        let sql = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?";
        connection.query_row(sql, [table], |row| row.get::<_, i64>(0).map(|count| count > 0))
    };
    let bans = if has("bips")? {
        "ip, timeofban, bantime, {}, jail FROM bips"
    } else {
        "ip, timeofban, NULL, {}, jail FROM bans"
    };
    let is_disabled = if has("jails")? {
        "jail IN (SELECT name FROM jails WHERE NOT enabled) AND EXISTS (SELECT 1 FROM jails WHERE enabled)"
    } else {
        "0"
    };
    let mut statement = connection.prepare(&format!("SELECT {}", bans.replace("{}", is_disabled)))?;
    let mut rows = statement.query([])?;
    let (mut import, now, mut number) = (Import::default(), now.as_seconds() as i64, 0);
    let mut found = std::collections::BTreeMap::<IpNet, Option<u64>>::new();
    while let Some(row) = rows.next()? {
        number += 1;
        if row.get(3)? {
            import.disabled += 1;
            continue;
        }
        let text: String = row.get(0)?;
        let network = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse::<IpNet>());
        let Ok(network) = network else {
            import.refuse(number, "its address is none".to_owned());
            continue;
        };
        let (since, duration): (i64, Option<i64>) = (row.get(1)?, row.get(2)?);
        let left = match duration {
            None | Some(..0) => None,
            Some(duration) => {
                let left = since.saturating_add(duration).saturating_sub(now);
                if left <= 0 {
                    import.ended += 1;
                    continue;
                }
                u64::try_from(left).ok()
            }
        };
        if found.len() >= NETWORKS_MAX {
            import.refuse(number, format!("the database holds more than {NETWORKS_MAX} bans; the rest is left out"));
            break;
        }
        let jail: String = row.get::<_, Option<String>>(4)?.unwrap_or_default();
        if import.jails.len() < JAILS_MAX || import.jails.contains_key(&jail) {
            *import.jails.entry(jail).or_default() += 1;
        }
        // The longest of those for one address; without end is longer than any.
        let longest = found.entry(network.trunc()).or_insert(left);
        *longest = longest.zip(left).map(|(one, other)| one.max(other));
    }
    import.networks = found.into_iter().map(|(network, seconds)| Imported { network, seconds }).collect();
    Ok(import)
}

/// What a fail2ban.log tells of bans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BansMade {
    /// When each was made, and of whom.
    pub bans: Vec<(Timestamp, IpNet)>,
    /// Lines that cannot be read: of other programs, or that tell of a ban with a host name in place of an address or a time that is none.
    pub unreadable: u64,
    /// The number of the first such line, from 1, and its beginning, unescaped.
    pub first_unreadable: Option<(u64, String)>,
    /// Lines of fail2ban's, whatever they tell.
    pub lines: u64,
}

impl BansMade {
    /// Whether it is the log of another program.
    pub const fn is_foreign(&self) -> bool {
        self.lines == 0 && self.unreadable > 0
    }
}

/// The bans of a fail2ban.log. Restored ones, of a restart, are none that were made. A time in the log is where the machine is.
///
/// # Errors
/// When the log cannot be read on.
pub fn read_log(mut log: impl BufRead) -> std::io::Result<BansMade> {
    let (mut made, mut line, mut number) = (BansMade::default(), Vec::new(), 0);
    let zone = jiff::tz::TimeZone::system();
    while made.bans.len() < BANS_MAX {
        line.clear();
        if read_line(&mut log, &mut line)? == 0 {
            break;
        }
        number += 1;
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        let is_own = text.contains(OWN_MARK);
        let told = text.rsplit_once("] Ban ").filter(|(head, _)| head.contains("fail2ban.actions"));
        let ban = told.and_then(|(head, address)| ban_of(head, address, &zone));
        made.lines += u64::from(is_own);
        // What else there is of fail2ban's own tells of no ban; and a line between two may be empty.
        if ban.is_none() && (told.is_some() || !is_own) && !text.is_empty() {
            made.unreadable += 1;
            made.first_unreadable.get_or_insert_with(|| (number, text.chars().take(SHOWN_CHARACTERS_MAX).collect()));
        }
        made.bans.extend(ban);
    }
    Ok(made)
}

/// Reads a line; of one that is too long only the beginning is kept.
fn read_line(log: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut read = 0;
    loop {
        let buffer = log.fill_buf()?;
        if buffer.is_empty() {
            return Ok(read);
        }
        let end = memchr::memchr(b'\n', buffer).map(|end| end + 1);
        let taken = end.unwrap_or(buffer.len());
        let room = LINE_BYTES_MAX.saturating_sub(line.len());
        line.extend_from_slice(buffer.get(..taken.min(room)).unwrap_or_default());
        log.consume(taken);
        read += taken;
        if end.is_some() {
            return Ok(read);
        }
    }
}

/// `2024-05-17 12:34:56,789 fail2ban.actions [123]: NOTICE  [sshd] Ban 192.0.2.1`
fn ban_of(head: &str, address: &str, zone: &jiff::tz::TimeZone) -> Option<(Timestamp, IpNet)> {
    let address: IpAddr = address.split_ascii_whitespace().next()?.parse().ok()?;
    let time = head.get(..19)?;
    let moment = jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", time).ok()?;
    let seconds = zone.to_ambiguous_timestamp(moment).compatible().ok()?.as_second();
    Some((Timestamp::from_seconds(u64::try_from(seconds).ok()?), IpNet::from(address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bans_in_force_are_read_from_the_database() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("fail2ban.sqlite3");
        let connection = Connection::open(&path).expect("a database");
        // As fail2ban 1.0 lays it out.
        connection
            .execute_batch(
                "CREATE TABLE bans(jail TEXT, ip TEXT, timeofban INTEGER NOT NULL, bantime INTEGER NOT NULL, bancount INTEGER NOT NULL default 1, data JSON);
                 CREATE TABLE bips(ip TEXT NOT NULL, jail TEXT NOT NULL, timeofban INTEGER NOT NULL, bantime INTEGER NOT NULL, bancount INTEGER NOT NULL default 1, data JSON, PRIMARY KEY(ip, jail));
                 INSERT INTO bips VALUES ('192.0.2.1', 'sshd', 1000, 600, 1, NULL), ('192.0.2.1', 'nginx', 1000, 900, 1, NULL),
                     ('192.0.2.2', 'sshd', 1000, -1, 1, NULL), ('192.0.2.3', 'sshd', 1000, 10, 1, NULL),
                     ('2001:db8::1', 'sshd', 1000, 600, 1, NULL), ('nobody', 'sshd', 1000, 600, 1, NULL);",
            )
            .expect("tables");
        let import = read_database(&path, Timestamp::from_seconds(1_100)).expect("a database");
        let shown: Vec<_> = import.networks.iter().map(|one| (one.network.to_string(), one.seconds)).collect();
        let expected = [("192.0.2.1/32", Some(800)), ("192.0.2.2/32", None), ("2001:db8::1/128", Some(500))];
        assert_eq!(shown, expected.map(|(network, seconds)| (network.to_owned(), seconds)));
        assert_eq!((import.ended, import.unreadable_count), (1, 1));
        assert_eq!(import.jails, [("nginx".to_owned(), 1), ("sshd".to_owned(), 3)].into());
        // A jail that is not enabled bans nobody, unless fail2ban as a whole has stopped.
        let of_jails = |enabled: [u8; 2]| {
            let rows = format!(
                "DELETE FROM jails; INSERT INTO jails VALUES ('sshd', {}), ('nginx', {});",
                enabled[0], enabled[1]
            );
            connection.execute_batch(&rows).expect("rows");
            let import = read_database(&path, Timestamp::from_seconds(1_100)).expect("a database");
            (import.networks.len(), import.disabled)
        };
        connection
            .execute_batch("CREATE TABLE jails(name TEXT NOT NULL UNIQUE, enabled INTEGER NOT NULL DEFAULT 1);")
            .expect("a table");
        assert_eq!((of_jails([1, 1]), of_jails([0, 1]), of_jails([0, 0])), ((3, 0), (1, 5), (3, 0)));
        assert!(is_database(&std::fs::read(&path).expect("a file")));
        std::fs::write(&path, "SQLite format 3\0 or not").expect("room");
        assert!(read_database(&path, Timestamp::EPOCH).is_err());
    }

    #[test]
    fn bans_are_read_from_the_log() {
        let log = "2024-05-17 12:34:56,789 fail2ban.filter         [77]: INFO    [sshd] Found 192.0.2.1 - 2024-05-17 12:34:56\n\
                   2024-05-17 12:34:56,789 fail2ban.actions        [77]: NOTICE  [sshd] Ban 192.0.2.1\n\
                   2024-05-17 12:44:56,789 fail2ban.actions        [77]: NOTICE  [sshd] Unban 192.0.2.1\n\
                   2024-05-17 12:50:00,000 fail2ban.actions        [77]: NOTICE  [sshd] Restore Ban 192.0.2.1\n\
                   2024-05-17 13:34:56,789 fail2ban.actions        [77]: NOTICE  [nginx] Ban 2001:db8::1\n\
                   2024-05-17 13:34:56,789 fail2ban.actions        [77]: NOTICE  [nginx] Ban nobody\n\
                   x Ban 192.0.2.9\n";
        let long = format!("{}\n{log}", "x".repeat(100_000));
        let BansMade { bans, unreadable, first_unreadable, .. } = read_log(log.as_bytes()).expect("lines");
        let (line, text) = first_unreadable.expect("a host name");
        assert_eq!((unreadable, line), (2, 6), "{text}");
        assert!(text.ends_with("[nginx] Ban nobody"), "{text}");
        assert_eq!(bans.len(), 2);
        let made = read_log(long.as_bytes()).expect("lines");
        assert_eq!((made.unreadable, made.lines, made.is_foreign()), (3, 6, false));
        assert_eq!(made.first_unreadable, Some((1, "x".repeat(SHOWN_CHARACTERS_MAX))), "of a long line the beginning");
        assert_eq!(made.bans, bans);
        // That of another program, and none.
        let access = "203.0.113.7 - - [17/May/2024:12:34:56 +0000] \"GET / HTTP/1.1\" 200 5\n";
        let foreign = read_log(access.as_bytes()).expect("lines");
        assert!(foreign.is_foreign() && foreign.unreadable == 1, "{foreign:?}");
        assert!(!read_log(&b""[..]).expect("lines").is_foreign());
        let networks: Vec<String> = bans.iter().map(|(_, network)| network.to_string()).collect();
        assert_eq!(networks, ["192.0.2.1/32", "2001:db8::1/128"]);
        assert_eq!(bans[1].0.since(bans[0].0).as_secs(), 3_600);
    }
}
