//! Bounds on connections.

use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use seawall::host::clock::Clock;

use crate::support::client::{Client, NoAnswer};
use crate::support::eventually;
use crate::support::guard::Setup;
use crate::support::origin::Origin;

const NOBODY_PROTECTED: &str = "[policy]\nnever-ban-loopback = false\n";

#[test]
fn a_connection_too_many_of_one_client_is_reset() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).limits("connections-per-client-max = 3").sections(NOBODY_PROTECTED).start();
    let connect = |from: &str| {
        let mut client = Client::connect_from(from, guard.address());
        client.get("/");
        client.try_answer(false).map(|_| client)
    };
    let mut open: Vec<Client> = (0..3).map(|_| connect("127.0.0.5").expect("room for three")).collect();
    assert_eq!(connect("127.0.0.5").err(), Some(NoAnswer::Reset));
    assert!(connect("127.0.0.6").is_ok());
    assert!(open.iter_mut().all(|client| client.fetch("/").status == 200));
    open.pop();
    eventually("one has made room", || connect("127.0.0.5").is_ok());
    eventually("it is counted", || guard.count("closed_unread") >= 1);
}

#[test]
fn a_connection_too_many_of_all_is_reset() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).limits("connections-max = 8").sections(NOBODY_PROTECTED).start();
    let connect = |number: usize| {
        let mut client = Client::connect_from(&format!("127.0.1.{number}"), guard.address());
        client.get("/");
        client.try_answer(false).map(|_| client)
    };
    let mut open: Vec<Client> = (1..=8).map(|number| connect(number).expect("room for eight")).collect();
    assert_eq!(connect(9).err(), Some(NoAnswer::Reset));
    assert!(open.iter_mut().all(|client| client.fetch("/").status == 200));
    eventually("the status shows it", || {
        let limits = &guard.status()["limits"];
        (limits["connections"].as_u64(), limits["connections_max"].as_u64()) == (Some(8), Some(8))
    });
    open.pop();
    eventually("one has made room", || connect(9).is_ok());
}

#[test]
fn idle_connections_are_closed() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).limits("idle-time-max = \"300ms\"").start();
    let clock = Clock::start();
    thread::scope(|scope| {
        scope.spawn(|| guard.connect().expect_close());
        scope.spawn(|| {
            let mut client = guard.connect();
            assert_eq!(client.fetch("/").status, 200);
            client.expect_close();
        });
    });
    assert!((Duration::from_millis(250)..Duration::from_secs(2)).contains(&clock.uptime()), "{:?}", clock.uptime());
}

#[test]
fn requests_beyond_the_upstreams_connections_wait_and_are_then_refused() {
    let (go, gone) = mpsc::channel();
    let gone = Mutex::new(gone);
    let origin = Origin::start(move |mut visit| {
        while let Ok(Some(request)) = visit.request() {
            if request.target == "/slow" {
                let _ = gone.lock().expect("one at a time").recv();
            }
            visit.answer(&request.target);
        }
    });
    let limits = "upstream-connections-max = 1\nupstream-connect-time-max = \"400ms\"";
    let guard = Setup::to(&origin.url()).limits(limits).start();
    let mut slow = guard.connect();
    slow.get("/slow");
    eventually("the site is busy", || origin.requests().0.len() == 1);
    let answer = guard.connect().fetch("/refused");
    assert_eq!(answer.status, 503);
    assert!(answer.headers.one("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()));
    let mut waiting = guard.connect();
    waiting.get("/waiting");
    eventually("it has arrived", || guard.count("requests") == 3);
    go.send(()).expect("the site waits");
    assert_eq!(slow.answer().text(), "/slow");
    assert_eq!(waiting.answer().text(), "/waiting");
    assert_eq!(origin.connections(), 1);
}
