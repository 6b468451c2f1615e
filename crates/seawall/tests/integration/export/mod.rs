//! `seawall export`: files for other systems, loaded into the real programs.

mod command;
mod packets;
mod program;
mod table;
mod web;
