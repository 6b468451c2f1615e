//! Which table is whose: two guards on one machine must not fight over one.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

/// Guards on one machine.
const GUARDS_MAX: usize = 16;

/// A name that no other guard of this network namespace has. It is given back when the process ends, however it ends: it is
/// held as an abstract socket, which belongs to a network namespace as the tables do.
#[derive(Debug)]
pub(crate) struct Claim {
    table: String,
    _held: UnixListener,
}

impl Claim {
    /// Claims `name`, or the first free of `name-2`, `name-3` and so on.
    ///
    /// # Errors
    /// When all are taken, or the system has no abstract sockets.
    pub(crate) fn take(name: &str) -> io::Result<Self> {
        let names =
            (1..=GUARDS_MAX).map(|number| if number == 1 { name.to_owned() } else { format!("{name}-{number}") });
        for table in names {
            match hold(&table) {
                Ok(held) => return Ok(Self { table, _held: held }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other(format!("{GUARDS_MAX} other guards have the tables {name}, {name}-2 and so on")))
    }

    /// The table's name.
    pub(crate) fn table(&self) -> &str {
        &self.table
    }
}

fn hold(table: &str) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(format!("seawall/table/{table}"))?)
}

/// Whether `table` is one that guards who are told `name` make.
pub(crate) fn is_of(table: &str, name: &str) -> bool {
    let number = table.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
    table == name || number.is_some_and(|number| number.parse().is_ok_and(|number| (2..=GUARDS_MAX).contains(&number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_guard_gets_another_table_and_a_name_is_free_once_its_guard_has_ended() {
        let name = format!("test-{}", std::process::id());
        let first = Claim::take(&name).expect("free");
        let second = Claim::take(&name).expect("another is free");
        assert_eq!((first.table(), second.table()), (name.as_str(), format!("{name}-2").as_str()));
        drop(first);
        assert_eq!(Claim::take(&name).expect("free again").table(), name);
    }

    #[test]
    fn tables_of_other_programs_are_not_ours() {
        for (table, expected) in
            [("seawall", true), ("seawall-2", true), ("seawall-17", false), ("seawall-x", false), ("filter", false)]
        {
            assert_eq!(is_of(table, "seawall"), expected, "{table}");
        }
    }
}
