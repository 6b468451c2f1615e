//! `seawall export`: files for other systems, loaded into the real programs.

mod command;
mod packets;
pub(crate) mod program;
mod table;
mod web;
