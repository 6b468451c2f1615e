//! The configuration: raw text to checked values.

mod checked;

pub use checked::{ClientAddressSource, Config, HostPattern, Limits, Origin, Policy, Site, Trust, Upstream};
