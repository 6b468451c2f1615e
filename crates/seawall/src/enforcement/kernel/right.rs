//! The one right that the kernel layer needs, CAP_NET_ADMIN, and how it is passed on to `nft`.

use std::fmt;

use rustix::thread::{CapabilitySet, capabilities, configure_capability_in_ambient_set, set_capabilities};

/// The right is missing. Its text says how to get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missing;

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(
            "the guard lacks the capability CAP_NET_ADMIN: under systemd add AmbientCapabilities=CAP_NET_ADMIN to [Service], \
             else run `setcap cap_net_admin+ep` on the seawall program",
        )
    }
}

/// Makes sure that this thread has the right, and that programs that it starts have it too.
pub(crate) fn obtain() -> Result<(), Missing> {
    let mut sets = capabilities(None).map_err(|_| Missing)?;
    if !sets.permitted.contains(CapabilitySet::NET_ADMIN) {
        return Err(Missing);
    }
    sets.effective |= CapabilitySet::NET_ADMIN;
    sets.inheritable |= CapabilitySet::NET_ADMIN;
    set_capabilities(None, sets).map_err(|_| Missing)?;
    // What a file's capabilities give is not passed on unless it is in the ambient set; root's children have all anyway.
    match configure_capability_in_ambient_set(CapabilitySet::NET_ADMIN, true) {
        Ok(()) => Ok(()),
        Err(_) if rustix::process::geteuid().is_root() => Ok(()),
        Err(_) => Err(Missing),
    }
}
