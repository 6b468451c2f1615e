//! Everything people look at.

pub mod backtest;
pub mod ban_report;
pub mod excerpt;
pub mod explain;
pub mod log;
pub mod notify;
pub mod record_report;
pub mod report;
pub mod standing;
pub mod status;
pub mod text;
pub mod time;
pub mod way_out;
pub mod web;
