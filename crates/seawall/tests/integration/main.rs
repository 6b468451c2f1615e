//! Everything that is tried from outside: the commands, and the library as other programs would use it.

mod check;
mod config;
