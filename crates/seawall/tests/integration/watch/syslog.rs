//! What comes over the sockets of syslog.

use std::io::Write as _;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use seawall::host::clock::Clock;

use super::line;
use crate::support::eventually;
use crate::support::guard::{Guard, text};

#[test]
fn syslog_messages_are_received_in_datagrams_and_over_connections() {
    let guard = Guard::watch(&["udp://127.0.0.1:0", "tcp://127.0.0.1:0"], |_| {});
    let address = |scheme: &str| {
        let found = guard.watching().iter().find_map(|name| name.strip_prefix(scheme));
        found.unwrap_or_else(|| panic!("{scheme} in {:?}", guard.watching())).to_owned()
    };
    let read = |index: usize| guard.status()["sensors"][index]["log"]["read"].as_u64().expect("a count");
    let clock = Clock::start();
    let request = || line(&clock, "192.0.2.7", "GET /", "Mozilla/5.0");
    let (old, new) = (
        format!("<190>Nov  6 10:00:00 host nginx: {}", request().trim_end()),
        format!("<190>1 2025-11-06T10:00:00Z host nginx - - - {}", request().trim_end()),
    );

    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for message in [&old, &new, &format!("{old}\n")] {
        socket.send_to(message.as_bytes(), address("udp://")).expect("sent");
    }
    eventually("the datagrams", || read(0) == 3);

    let mut stream = TcpStream::connect(address("tcp://")).expect("a connection");
    write!(stream, "{old}\n{new}\n{} {old}{} {new}", old.len(), new.len()).expect("sent");
    drop(stream);
    eventually("the stream", || read(1) == 4);
    assert_eq!(guard.count("requests"), 7);
}

#[test]
fn syslog_messages_without_a_host_are_received() {
    let guard = Guard::watch(&["udp://127.0.0.1:0"], |_| {});
    let address = guard.watching()[0].strip_prefix("udp://").expect("an address").to_owned();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let request = line(&Clock::start(), "192.0.2.7", "GET /", "Mozilla/5.0");
    let seconds = i64::try_from(Clock::start().now().as_seconds()).expect("a moment");
    let at = jiff::Timestamp::from_second(seconds).expect("a moment").strftime("%d/%b/%Y:%H:%M:%S");
    let haproxy = format!(
        "192.0.2.7:53332 [{at}.143] fe be/s1 0/0/7/14/21 200 512 - - ---- 2/1/0/0/0 0/0 {{Mozilla/5.0}} \"GET / HTTP/1.1\""
    );
    for message in [
        format!("<134>Nov  6 10:00:00 haproxy[7]: {haproxy}"),
        format!("<134>{haproxy}"),
        format!("<190>Nov  6 10:00:00 nginx: {}", request.trim_end()),
    ] {
        socket.send_to(message.as_bytes(), &address).expect("sent");
    }
    eventually("the datagrams", || guard.sensor()["lines"] == 3);
    let sensor = guard.sensor();
    assert_eq!((&sensor["read"], &sensor["format"]), (&3.into(), &"haproxy".into()), "{sensor:#}");
}

#[test]
fn senders_that_say_nothing_shut_nobody_out() {
    let guard = Guard::watch(&["tcp://127.0.0.1:0"], |_| {});
    let address = guard.watching()[0].strip_prefix("tcp://").expect("an address").to_owned();
    let message = || format!("<190>Nov  6 10:00:00 host nginx: {}", line(&Clock::start(), "192.0.2.7", "GET /", "a"));
    let connect = || TcpStream::connect(&address).expect("a connection");
    let send = |stream: &mut TcpStream| stream.write_all(message().as_bytes()).expect("sent");
    // As many as there are places have spoken once and are idle now, the first for longest.
    let mut idle: Vec<TcpStream> = Vec::new();
    for number in 0..64 {
        idle.push(connect());
        send(&mut idle[number]);
        eventually("its line", || guard.sensor()["read"] == number + 1);
    }
    let mut late = connect();
    send(&mut late);
    eventually("the line of one who came later", || guard.sensor()["read"] == 65);
    // Any number of strangers who never say anything costs those who do no place.
    let strangers: Vec<TcpStream> = (0..200).map(|_| connect()).collect();
    send(&mut late);
    send(&mut idle[63]);
    eventually("the lines of those who are known", || guard.sensor()["read"] == 67);
    let mut newest = connect();
    send(&mut newest);
    eventually("the line of one who came last", || guard.sensor()["read"] == 68);
    drop(strangers);
}

#[test]
fn messages_that_come_faster_than_they_are_read_are_a_lag_and_then_sampled() {
    let guard = Guard::watch(&["tcp://127.0.0.1:0"], |_| {});
    let address = guard.watching()[0].strip_prefix("tcp://").expect("an address").to_owned();
    assert_eq!(guard.sensor()["lag_seconds"], 0.0);
    let message = format!("<190>Nov  6 10:00:00 host nginx: {}", line(&Clock::start(), "192.0.2.7", "GET /", "a"));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(&address).expect("a connection");
                let messages = message.repeat(1_000);
                while !stop.load(Ordering::Relaxed) {
                    stream.write_all(messages.as_bytes()).expect("sent");
                }
            });
        }
        let clock = Clock::start();
        let until = |is_so: &dyn Fn() -> bool| {
            let mut so = is_so();
            while !so && clock.uptime() < Duration::from_secs(30) {
                so = is_so();
            }
            so
        };
        let is_told = until(&|| guard.sensor()["lag_seconds"].as_f64().is_some_and(|lag| lag > 0.5));
        // After five seconds of it one in eight is judged, and stands for the others.
        let is_sampled = until(&|| guard.sensor()["passed_over_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
        stop.store(true, Ordering::Relaxed);
        assert!(is_told && is_sampled, "{:#}", guard.sensor());
    });
    eventually("its end", || guard.sensor()["lag_seconds"] == 0.0);
}

#[test]
fn a_socket_in_the_file_system_is_there_while_the_guard_runs() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log.sock");
    let mut guard = Guard::watch(&[&format!("unix:{}", path.display())], |_| {});
    let socket = UnixDatagram::unbound().expect("a socket");
    let message = format!("<190>Nov  6 10:00:00 host nginx: {}", line(&Clock::start(), "192.0.2.7", "GET /", "a"));
    socket.send_to(message.as_bytes(), &path).expect("sent");
    eventually("the message", || guard.sensor()["read"] == 1);
    assert!(guard.command(&["stop"]).status.success());
    guard.wait();
    assert!(!path.exists());
}

#[test]
fn connections_to_a_socket_in_the_file_system_are_received() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log.sock");
    // One that a dead guard left behind, for datagrams, is no hindrance.
    drop(UnixDatagram::bind(&path).expect("a socket"));
    let place = format!("unix-stream:{}", path.display());
    let mut guard = Guard::watch(&[&place], |_| {});
    assert_eq!(guard.watching(), [place.as_str()]);
    let message = || format!("<190>Nov  6 10:00:00 host nginx: {}", line(&Clock::start(), "192.0.2.7", "GET /", "a"));
    let mut senders = [(); 2].map(|()| UnixStream::connect(&path).expect("a connection"));
    for sender in &mut senders {
        write!(sender, "{}", message()).expect("sent");
    }
    eventually("the lines of both", || guard.sensor()["read"] == 2);
    write!(senders[0], "{}{}", message(), message().trim_end()).expect("sent");
    drop(senders);
    eventually("the rest", || guard.sensor()["read"] == 4);
    assert!(guard.command(&["stop"]).status.success());
    guard.wait();
    assert!(!path.exists());
}

#[test]
fn datagrams_that_the_kernel_drops_are_counted() {
    let guard = Guard::watch(&["udp://127.0.0.1:0"], |_| {});
    let address = guard.watching()[0].strip_prefix("udp://").expect("an address").to_owned();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    // While it stands still its buffer, of some megabytes, fills.
    guard.signal(rustix::process::Signal::STOP);
    for _ in 0..3_000 {
        socket.send_to(&[b'x'; 8_000], &address).expect("sent");
    }
    guard.signal(rustix::process::Signal::CONT);
    eventually("what was dropped", || guard.sensor()["dropped_datagrams"].as_u64().is_some_and(|dropped| dropped > 0));
    eventually("all that were sent", || {
        let sensor = guard.sensor();
        sensor["lines"]
            .as_u64()
            .zip(sensor["dropped_datagrams"].as_u64())
            .is_some_and(|(read, lost)| read + lost == 3_000)
    });
    let shown = text(&guard.command(&["status"]).stdout);
    assert!(shown.split_whitespace().collect::<Vec<_>>().join(" ").contains("datagrams dropped"), "{shown}");
}
