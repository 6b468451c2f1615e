//! Why a line could not be read.

use std::fmt;

/// Why a line could not be read, in the order in which a reader comes upon it: of two readers that both refuse a line,
/// the one with the greater reason understood more of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Nothing but white space.
    Empty,
    /// Longer than [`super::LINE_BYTES_MAX`].
    TooLong,
    /// Within something that cannot be taken apart: an entry of the systemd journal that is no JSON.
    DamagedEntry,
    /// In a format other than the one that was named.
    OtherFormat,
    /// A directive of a W3C extended log: `#Fields: …`.
    Directive,
    /// A part of a line that a container runtime split: it is read with its last part.
    Part,
    /// No time stamp where any known format has one.
    NoTimestamp,
    /// The last `#Fields` names no column `date`, and no `#Date` came before it.
    NoDateColumn,
    /// The last `#Fields` names no column `time`.
    NoTimeColumn,
    /// The last `#Fields` names neither `cs-uri-stem` nor `cs-uri`.
    NoTargetColumn,
    /// A time stamp of the right shape that names no moment, one before 1970, or one after 9999.
    WrongTimestamp,
    /// Fewer fields than the format has.
    TooFewFields,
    /// The server's word about something else than a request.
    NotARequest,
    /// No member that is known for a target: a path, or a request line.
    NoTarget,
    /// No quoted request after the time stamp.
    NoRequest,
    /// A quoted field that does not end: most often a line that was cut.
    UnclosedQuote,
    /// The line ends before the status.
    NoStatus,
    /// Something other than a status of 100 to 599, or `-`, in its place.
    WrongStatus,
    /// The line ends before the size.
    NoSize,
    /// Something other than a number of bytes, or `-`, in its place.
    WrongSize,
}

impl Reason {
    /// Every reason, in order.
    pub const ALL: [Self; 20] = [
        Self::Empty,
        Self::TooLong,
        Self::DamagedEntry,
        Self::OtherFormat,
        Self::Directive,
        Self::Part,
        Self::NoTimestamp,
        Self::NoDateColumn,
        Self::NoTimeColumn,
        Self::NoTargetColumn,
        Self::WrongTimestamp,
        Self::TooFewFields,
        Self::NotARequest,
        Self::NoTarget,
        Self::NoRequest,
        Self::UnclosedQuote,
        Self::NoStatus,
        Self::WrongStatus,
        Self::NoSize,
        Self::WrongSize,
    ];

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong => "too-long",
            Self::DamagedEntry => "damaged-entry",
            Self::OtherFormat => "other-format",
            Self::Directive => "directive",
            Self::Part => "part",
            Self::NoTimestamp => "no-timestamp",
            Self::NoDateColumn => "no-date-column",
            Self::NoTimeColumn => "no-time-column",
            Self::NoTargetColumn => "no-target-column",
            Self::WrongTimestamp => "wrong-timestamp",
            Self::TooFewFields => "too-few-fields",
            Self::NotARequest => "not-a-request",
            Self::NoTarget => "no-target",
            Self::NoRequest => "no-request",
            Self::UnclosedQuote => "unclosed-quote",
            Self::NoStatus => "no-status",
            Self::WrongStatus => "wrong-status",
            Self::NoSize => "no-size",
            Self::WrongSize => "wrong-size",
        }
    }

    /// What people read.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Empty => "empty line",
            Self::TooLong => "line longer than 64 KiB",
            Self::DamagedEntry => "entry of the journal that is no JSON",
            Self::OtherFormat => "line in a format other than the one named",
            Self::Directive => "directive",
            Self::Part => "part of a line that the container runtime split, read with its last part",
            Self::NoTimestamp => "no time stamp of a known format",
            Self::NoDateColumn => "#Fields names no column `date`, and no #Date came before it",
            Self::NoTimeColumn => "#Fields names no column `time`",
            Self::NoTargetColumn => "#Fields names no column `cs-uri-stem`",
            Self::WrongTimestamp => "time stamp names no moment since 1970",
            Self::TooFewFields => "fewer fields than the format has",
            Self::NotARequest => "message about something else than a request",
            Self::NoTarget => "no name is known for a path or a request line (`request_uri`, `request`, `url`, …)",
            Self::NoRequest => "no quoted request after the time stamp",
            Self::UnclosedQuote => "quoted field does not end (line cut short?)",
            Self::NoStatus => "line ends before the status",
            Self::WrongStatus => "status is neither 100 to 599 nor `-`",
            Self::NoSize => "line ends before the size",
            Self::WrongSize => "size is neither a number of bytes nor `-`",
        }
    }
}

impl Reason {
    /// Whether the line is meant to say something of a request, and it could not be read.
    pub const fn is_failure(self) -> bool {
        !matches!(self, Self::Empty | Self::Directive | Self::Part)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text())
    }
}

impl std::error::Error for Reason {}
