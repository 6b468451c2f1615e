//! What becomes of addresses in lines that are written on: the options that commands have for it.

use seawall_engine::units::Timestamp;

use super::Failure;
use crate::privacy::{Anonymizer, KeyStore, Pseudonyms, Scheme, Treatment};
use crate::show::text::escape;

/// The options.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// What becomes of addresses.
    #[arg(long, value_enum, default_value_t = Mode::Pseudonym)]
    mode: Mode,

    /// Make pseudonyms of which those of one network have one network, too. Whoever knows some of the clients can then tell more
    /// about others.
    #[arg(long)]
    prefix_preserving: bool,

    /// Leave the queries of targets and referers as they are, which is the default.
    #[arg(long, conflicts_with = "drop_queries")]
    keep_queries: bool,

    /// Take the queries of targets and referers out, with their question marks; a query that is a field of its own becomes `-`.
    #[arg(long)]
    drop_queries: bool,
}

/// What becomes of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// Another address, for a day always the same one; it can be told whose it is as long as the day's key is kept
    Pseudonym,
    /// The first address of its network: /24 of IPv4, /48 of IPv6
    Truncate,
    /// `-`, or 0.0.0.0 where the format needs an address
    Remove,
}

impl Options {
    /// Whether any is other than by default.
    pub(crate) fn are_given(&self) -> bool {
        self.mode != Mode::Pseudonym || self.prefix_preserving || self.keep_queries || self.drop_queries
    }

    /// What does it; `keys` are opened when pseudonyms are wanted.
    pub(crate) fn anonymizer(
        &self,
        keys: impl FnOnce() -> Result<KeyStore, Failure>,
        now: Timestamp,
    ) -> Result<Anonymizer, Failure> {
        if self.prefix_preserving && self.mode != Mode::Pseudonym {
            return Err(Failure::usage("--prefix-preserving is about pseudonyms; leave it out, or --mode"));
        }
        let treatment = match self.mode {
            Mode::Truncate => Treatment::Truncate,
            Mode::Remove => Treatment::Remove,
            Mode::Pseudonym => {
                let scheme = if self.prefix_preserving { Scheme::PrefixPreserving } else { Scheme::Deterministic };
                Treatment::Pseudonyms(Box::new(Pseudonyms::new(keys()?, scheme)))
            }
        };
        Anonymizer::new(treatment, self.drop_queries && !self.keep_queries, now).map_err(shown)
    }
}

/// A failure with a text that may name files.
pub(crate) fn shown(error: impl std::fmt::Display) -> Failure {
    Failure::machine(escape(error.to_string().as_bytes()))
}
