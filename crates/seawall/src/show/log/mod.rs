//! What the commands that read logs share: reading the inputs request by request, naming clients, counting in bounded
//! memory, and what every page says of its inputs. What a command makes of the requests is its own.
//!
//! A command gives [`read::read_inputs`] a place for what is known of the [`inputs::Inputs`] and a function that is called
//! with each request.

pub(super) mod clients;
pub mod files;
pub(super) mod filter;
mod index;
pub(super) mod inputs;
pub(super) mod page;
pub(super) mod progress;
pub(super) mod read;
pub(super) mod recorded;
pub(super) mod summary;
pub(super) mod table;
pub(super) mod unread;

pub use clients::Clients;
pub use filter::Filter;
pub use page::Screen;
pub use progress::Progress;
pub use read::Logs;

/// A moment as calendars know it; the last one that they know for any beyond.
pub(super) fn moment(seconds: u64) -> jiff::Timestamp {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .unwrap_or(jiff::Timestamp::MAX)
}
