//! Everything that is tried from outside: the commands, and the library as other programs would use it. One binary, so
//! that it is linked once.

mod anonymize;
mod backtest;
mod check;
mod config;
mod configured;
mod daemon;
mod drill;
mod edge;
mod enforcement;
mod explain;
mod export;
mod limits;
mod notify;
mod proxy;
mod record;
mod record_killed;
mod report;
mod report_inputs;
mod support;
mod watch;
