//! The limit on open files, from which the number of connections follows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are not connections of visitors: listeners, runtimes, the control socket, files being served.
const RESERVED: usize = 256;

/// Raises the limit to the hard limit, as every program with many connections must, and returns what it is then.
/// `limits.conf` does not govern services; under systemd `LimitNOFILE` does.
pub fn raise() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // When it cannot be raised the old limit stays and connections are counted by that.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let raised = getrlimit(Resource::Nofile).current;
    raised.and_then(|files| usize::try_from(files).ok()).unwrap_or(1 << 20)
}

/// How many connections of visitors fit beside `upstream_connections`.
pub fn connections_max(open_files: usize, upstream_connections: usize) -> usize {
    open_files.saturating_sub(RESERVED + upstream_connections).max(open_files / 4).max(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_the_rest() {
        assert_eq!(connections_max(20_000, 512), 20_000 - 768);
        assert_eq!(connections_max(1_024, 4_096), 256);
        assert_eq!(connections_max(10, 0), 16);
    }
}
