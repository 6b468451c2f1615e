//! More than one worker: each has a table of its clients, and what is taken back is taken back in all of them.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::SECTIONS;
use crate::support::guard::{Guard, Setup, text};
use crate::support::namespace::{connect, within};
use crate::support::origin::Origin;

fn guard(origin: &Origin) -> Guard {
    let guard = Setup::to(&origin.url()).kernel("").workers(2).sections(SECTIONS).start();
    assert!(guard.command(&["rules", "add", "path = \"/unwanted\"", "--anyway"]).status.success());
    guard
}

/// The answer to one request on a connection of its own; nothing where there is none.
fn answer(client: &str, address: SocketAddr, path: &str) -> Option<String> {
    let mut connection = connect(client, address).ok()?;
    connection.set_read_timeout(Some(Duration::from_millis(300))).expect("a socket");
    let request = format!("GET {path} HTTP/1.1\r\nHost: example.org\r\nUser-Agent: flood\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    Some(answer).filter(|answer| !answer.is_empty())
}

/// Sends until there is no answer any more, and says how many there were.
fn flood(client: &str, address: SocketAddr) -> usize {
    (0..200).take_while(|_| answer(client, address, "/unwanted").is_some()).count()
}

fn is_served(client: &str, address: SocketAddr) -> bool {
    answer(client, address, "/wanted").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// Clients that are dropped while something is taken back, and after it are served.
fn after(orders: &[&str]) {
    let origin = Origin::echoing();
    let guard = guard(&origin);
    let address = guard.address();
    let (stop, started) = (AtomicBool::new(false), AtomicBool::new(false));
    let flooding = |network: u8| {
        let (stop, started) = (&stop, &started);
        move || {
            let mut clients = Vec::new();
            for number in 1..=120 {
                if stop.load(Ordering::Acquire) {
                    break;
                }
                let client = format!("127.0.{network}.{number}");
                flood(&client, address);
                clients.push(client);
                started.store(clients.len() >= 4, Ordering::Release);
            }
            clients
        }
    };
    let clients: Vec<String> = std::thread::scope(|scope| {
        let threads = [scope.spawn(flooding(20)), scope.spawn(flooding(21))];
        while !started.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let output = guard.command(orders);
        assert!(output.status.success(), "{}", text(&output.stderr));
        stop.store(true, Ordering::Release);
        threads.into_iter().flat_map(|thread| thread.join().expect("it ends")).collect()
    });
    // The last of each may have gone on after it, which is a new offence where the rule is still there.
    std::thread::sleep(Duration::from_secs(1));
    let kept_away: Vec<&String> = clients.iter().filter(|client| !(0..4).all(|_| is_served(client, address))).collect();
    assert!(kept_away.is_empty(), "{kept_away:?} of {} are still kept away after {orders:?}", clients.len());
}

#[test]
fn a_panic_frees_every_client_of_every_worker() {
    within(|| after(&["panic"]));
}

#[test]
fn a_rule_that_is_taken_back_frees_every_client_of_every_worker() {
    within(|| after(&["rules", "remove", "R10001"]));
}

#[test]
fn a_client_whose_ban_is_taken_back_is_free_though_a_rule_has_dropped_it() {
    within(|| {
        let origin = Origin::echoing();
        let guard = guard(&origin);
        let (first, second) = ("127.0.0.7", "127.0.0.8");
        for remove in [&[first][..], &["--all"]] {
            for client in [first, second] {
                assert!(flood(client, guard.address()) < 200, "{client} is not dropped");
            }
            let output = guard.command(&[&["bans", "remove"], remove].concat());
            assert!(output.status.success(), "{}", text(&output.stderr));
            std::thread::sleep(Duration::from_millis(600));
            assert!((0..8).all(|_| is_served(first, guard.address())), "after {remove:?}");
            assert_eq!(is_served(second, guard.address()), remove == ["--all"], "after {remove:?}");
        }
    });
}

#[test]
fn whom_one_worker_drops_the_others_drop() {
    within(|| {
        let origin = Origin::echoing();
        // Without the kernel, so that the workers alone keep it away.
        let guard = Setup::to(&origin.url()).workers(2).sections(SECTIONS).start();
        assert!(guard.command(&["rules", "add", "path = \"/unwanted\"", "--anyway"]).status.success());
        let client = "127.0.0.7";
        assert!(flood(client, guard.address()) < 200);
        std::thread::sleep(Duration::from_millis(600));
        let answered = (0..40).filter(|_| answer(client, guard.address(), "/unwanted").is_some()).count();
        assert_eq!(answered, 0, "whichever worker a connection comes to");
    });
}
