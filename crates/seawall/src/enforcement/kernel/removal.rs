//! How a table of ours is taken out of the kernel: by a guard, or when no guard answers.

use std::path::Path;

use super::claim::{self, Holder};
use super::nft::Nft;
use super::{elements, left, netlink, right};
use crate::config::KERNEL_TABLE;

/// Removes a table that is ours, first by a message to the kernel, which needs no program.
pub(super) fn remove(nft: Option<&Nft>, table: &str) -> Result<(), String> {
    let Err(error) = elements::remove_table(table) else { return Ok(()) };
    let by_nft = nft.map(|nft| nft.remove(table));
    match by_nft {
        Some(Ok(())) => Ok(()),
        Some(Err(said)) => Err(format!(
            "failed to remove the table inet {table}, which still drops whoever is in it: the kernel says {error}, and with the \
             program: {said}"
        )),
        None => Err(format!("failed to remove the table inet {table}, which still drops whoever is in it: {error}")),
    }
}

/// What became of tables that no guard answers for.
#[derive(Debug, Default)]
pub struct Removed {
    /// Those that are gone.
    pub removed: Vec<String>,
    /// Those of guards that run, each with its guard's state directory.
    pub held: Vec<(String, String)>,
    /// Why others are still there, for people.
    pub failed: Vec<String>,
}

/// Removes every table that guards told `name` make and that no running guard has: for when the guard of this state directory does
/// not answer. Without a name those of the default one, and what is noted in the state directory.
///
/// # Errors
/// When the right is missing, or the kernel has no nf_tables.
pub fn remove_tables(name: Option<&str>, state: &Path) -> Result<Removed, String> {
    right::obtain().map_err(|missing| missing.to_string())?;
    let tables = netlink::tables().map_err(|error| format!("the kernel's nf_tables does not answer: {error}"))?;
    let (mut done, folders) = (Removed::default(), claim::folders(state));
    let noted = left::noted(state);
    let is_told = |table: &str| claim::is_of(table, name.unwrap_or(KERNEL_TABLE));
    for table in tables {
        let noted = noted.as_ref().filter(|(noted, _)| *noted == table && name.is_none());
        match noted {
            _ if is_told(&table) => {}
            None => continue,
            Some((_, true)) => {}
            Some((_, false)) => {
                done.failed.push(format!(
                    "the table inet {table} was left, since only another user's note in the state directory says that it is the \
                     guard's: seawall panic --table {table}"
                ));
                continue;
            }
        }
        match claim::holder(&table, &folders) {
            // It would be made anew at once.
            Holder::Guard { state } => done.held.push((table, state)),
            Holder::Untold { why } => {
                done.failed
                    .push(format!("the table inet {table} was left: whether a guard has it cannot be told: {why}"));
            }
            Holder::Nobody { .. } => match remove(None, &table) {
                Ok(()) => {
                    if left::noted(state).is_some_and(|(noted, is_own)| is_own && noted == table) {
                        left::forget(state);
                    }
                    done.removed.push(table);
                }
                Err(error) => done.failed.push(error),
            },
        }
    }
    Ok(done)
}
