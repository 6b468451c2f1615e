//! The clock site: an image that always shows the present time (UTC), and a page that shows the image.
//!
//! The image never ends, so a server that spends a task, a timer or a buffer on each viewer is soon out of something. Here
//! one frame is made each second ([`frame`]) and sent to everybody from one place ([`broadcast`]), driven by one task for
//! each worker ([`beat`]); a viewer costs its socket and 32 bytes.
//!
//! What a request gets is the source's to say ([`crate::source::proxy`]); nothing here reads a request.

pub mod beat;
pub mod broadcast;
pub mod frame;
pub mod page;

pub use beat::run;
pub use broadcast::{Broadcaster, Counters, End, Finished, Full, Limits, VIEWERS_MAX_DEFAULT};
