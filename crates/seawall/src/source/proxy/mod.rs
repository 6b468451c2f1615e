//! The source in line: a reverse proxy that sees every request before the site does.
//!
//! The path of a request, in the order of the modules:
//!
//! - [`listener`], [`worker`]: one thread for each core accepts, and turns away by address before a byte is read.
//! - [`connection`]: reads the first head ([`head`]), settles who the client is ([`client_address`]) and where the request
//!   goes ([`settings`]), has it judged, and answers what the guard can answer by itself ([`answers`]).
//! - [`forward`]: gives what goes on to hyper ([`stream`], [`body`], [`headers`]) and to the site ([`upstream`]); judges later requests
//!   on the same connection.
//! - [`streams`]: hands viewers of the clock to its broadcaster.
//!
//! Observations leave through [`crate::source::record`], counts through [`traffic`]. Every wait has a bound
//! ([`deadlines`]).

mod answers;
mod body;
mod client_address;
mod connection;
mod deadlines;
mod forward;
mod head;
mod headers;
pub mod listener;
pub mod settings;
mod stream;
mod streams;
pub mod traffic;
mod upstream;
pub mod worker;
