//! How a guard stands to the traffic, in words: in line what its rules say is done, beside a server it is counted, and the kernel
//! drops whoever goes on where it may.

use crate::daemon::Snapshot;
use crate::enforcement::KernelState;

/// How a guard stands to the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Requests pass through it.
    InLine,
    /// It reads what another server has written.
    Beside {
        /// Whether the kernel drops whoever goes on.
        drops: bool,
    },
}

impl Standing {
    /// That of the guard whose state this is.
    pub const fn of(snapshot: &Snapshot) -> Self {
        let drops = matches!(snapshot.enforcement.kernel.state, KernelState::Ready | KernelState::Active);
        if snapshot.beside { Self::Beside { drops } } else { Self::InLine }
    }

    /// Whether nothing stands in the way of a request.
    pub const fn is_beside(self) -> bool {
        matches!(self, Self::Beside { .. })
    }

    /// What a number of requests that rules refuse is called.
    pub const fn refused(self) -> &'static str {
        if self.is_beside() { "would have refused" } else { "refused" }
    }

    /// What becomes of what rules in force meet.
    pub const fn fate(self) -> &'static str {
        match self {
            Self::InLine => "what rules refuse is refused",
            // Without the kernel nothing beside a server can keep anybody away.
            Self::Beside { drops: false } => "nobody is refused, what rules would refuse is counted",
            Self::Beside { drops: true } => {
                "no request is refused, and who goes on with what rules would refuse is dropped by the kernel"
            }
        }
    }
}
