//! The source in line: a reverse proxy that sees every request before the site does.
//!
//! The path of a request, in the order of the modules:
//!
//! - [`listener`], [`worker`]: one thread for each core accepts, and turns away by address before a byte is read.
//! - [`connection`]: reads the first head ([`head`]), settles who the client is ([`client_address`]) and where the request
//!   goes ([`settings`]), has it judged, and answers what the guard can answer by itself ([`answers`]).
//! - [`relay`]: sends a request without a body on to the site over a kept connection ([`upstream`]), and the answer back.
//! - [`forward`]: gives what is less plain to hyper ([`stream`], [`body`]), for good; judges later requests on the same connection.
//! - [`streams`]: hands viewers of the clock to its broadcaster.
//!
//! What may go on of a message is told by [`headers`], who asks by [`claims`]. Observations leave through [`account`],
//! of what lasts also through [`under_way`], and [`crate::source::record`], counts through [`traffic`]. Every wait has a bound
//! ([`deadlines`]).

mod account;
mod answers;
mod body;
mod buffers;
mod claims;
mod client;
pub(in crate::source) mod client_address;
mod client_socket;
mod connection;
mod deadlines;
mod forward;
mod head;
mod headers;
pub mod listener;
mod relay;
pub mod settings;
mod stream;
mod streams;
pub mod traffic;
mod under_way;
mod upstream;
pub mod worker;

pub use upstream::{Health, UpstreamHealth};
