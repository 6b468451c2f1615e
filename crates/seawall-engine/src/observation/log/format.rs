//! The names of the known formats, and what each records.

use std::fmt;

/// The format of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Apache's `combined` and nginx's default: common, then referer and user agent. Further fields may follow.
    Combined,
    /// The common log format (CLF). Further fields may follow.
    Common,
    /// Combined behind the virtual host, as Apache's `vhost_combined`.
    VhostCombined,
    /// Common behind the virtual host.
    VhostCommon,
}

/// Which attributes of a request a format has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// The virtual host.
    pub host: bool,
    /// The `User-Agent` header.
    pub user_agent: bool,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Combined, Self::Common, Self::VhostCombined, Self::VhostCommon];

    /// The name in reports, options and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Combined => "combined",
            Self::Common => "common",
            Self::VhostCombined => "vhost-combined",
            Self::VhostCommon => "vhost-common",
        }
    }

    /// Which attributes it records.
    pub const fn fields(self) -> Fields {
        match self {
            Self::Combined => Fields { host: false, user_agent: true },
            Self::Common => Fields { host: false, user_agent: false },
            Self::VhostCombined => Fields { host: true, user_agent: true },
            Self::VhostCommon => Fields { host: true, user_agent: false },
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
