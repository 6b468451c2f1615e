//! The `seawall` command.

use std::process::ExitCode;

/// Proxying allocates for each request; this allocator halves what that costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    seawall::run()
}
