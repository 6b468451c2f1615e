//! How a task fails.

use std::io;
use std::path::PathBuf;

/// A failure that ends a task.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A command ended badly; what it printed stands above.
    #[error("`{command}` ended with {status}")]
    Command { command: String, status: std::process::ExitStatus },
    /// A command could not be started.
    #[error("failed to start `{command}`: {source}")]
    Start { command: String, source: io::Error },
    /// A file could not be written.
    #[error("failed to write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// Generated files are not what the program would make.
    #[error("these generated files are not current: {}; run `cargo xtask generate` and commit them", paths.join(", "))]
    NotCurrent { paths: Vec<&'static str> },
    /// Programs are missing that this process may not install.
    #[error("missing: {missing}; install with: apt-get install {packages}")]
    Packages { missing: String, packages: String },
    /// Dependencies need a newer Rust than the project says it does.
    #[error("rust-version of the workspace is {stated}, but these need a newer one: {needed}")]
    RustVersion { stated: String, needed: String },
    /// What cargo says about the project is not as expected.
    #[error("failed to read what `cargo metadata` printed: {0}")]
    Metadata(String),
    /// A benchmark could not be made, or what it saw must not be called a measurement.
    #[error("{0}")]
    Bench(String),
    /// The table of networks could not be made.
    #[error("failed to make the table of networks: {0}")]
    IpData(String),
    /// A named step of the test failed.
    #[error("step `{step}` failed: {source}")]
    Step { step: &'static str, source: Box<Failure> },
}
