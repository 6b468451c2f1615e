//! The guard in line, with real sockets on both sides.

mod client_address;
mod keep_alive;
mod limits;
mod malformed;
mod merged_clients;
mod smuggling;
mod streaming;
mod tools;
mod two_ways;
mod upstream;
