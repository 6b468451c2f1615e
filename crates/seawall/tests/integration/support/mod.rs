//! A guard in a process of its own, the site behind it, and a client that sends exactly the bytes it is told to.

pub(crate) mod client;
pub(crate) mod edge;
pub(crate) mod guard;
pub(crate) mod message;
pub(crate) mod namespace;
pub(crate) mod origin;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use seawall::host::clock::Clock;

/// How long a test waits for something that should come at once; only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Says that a test is skipped for want of something, also where the output of tests is captured. A green test that has tried
/// nothing is a lie: root can have all that is needed, and so for root it fails unless `SEAWALL_MAY_SKIP` is 1.
pub(crate) fn skip(why: &str) {
    let may_skip = std::env::var("SEAWALL_MAY_SKIP").is_ok_and(|value| value == "1");
    let is_root = rustix::process::geteuid().is_root();
    assert!(may_skip || !is_root, "this test cannot be run: {why}; SEAWALL_MAY_SKIP=1 has it skipped");
    say_skipped(why);
}

/// Says that a test is skipped for want of something that comes neither with the source nor with root's rights.
pub(crate) fn say_skipped(why: &str) {
    // If nobody can be told, the test is no different.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let clock = Clock::start();
    while !condition() {
        assert!(clock.uptime() < PATIENCE, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// An address that nobody listens on. On a loopback address of its own, so that no other socket takes its port before
/// the test does.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let host = NEXT.fetch_add(1, Ordering::Relaxed);
    let listener = TcpListener::bind((format!("127.77.{}.{host}", std::process::id() % 250), 0));
    listener.and_then(|listener| listener.local_addr()).expect("a free port")
}
