//! A guard behind a proxy that nobody trusts says so: it sees one client.

use std::fs;
use std::thread;
use std::time::Duration;

use seawall::host::clock::Clock;

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::guard::{Setup, text};
use crate::support::origin::Origin;

#[test]
fn clients_that_come_through_a_proxy_that_is_not_trusted_are_an_alarm_until_it_is() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).workers(2).start();
    let merged = || guard.status()["merged_clients"].clone();
    let ask = |number: u64| {
        let mut client = Client::connect(guard.address());
        // The second request of a connection with a body is read by hyper.
        for _ in 0..2 {
            client.send(format!(
                "POST / HTTP/1.1\r\nHost: example.org\r\nX-Forwarded-For: 203.0.113.{}\r\nContent-Length: 1\r\n\r\na",
                number % 250
            ));
            assert_eq!(client.answer().status, 200);
        }
    };
    let clock = Clock::start();
    let mut number = 0;
    while merged().is_null() {
        assert!(clock.uptime() < Duration::from_secs(60), "no alarm: {:#}", guard.status());
        ask(number);
        number += 1;
        thread::sleep(Duration::from_millis(200));
    }
    assert!(clock.uptime() > Duration::from_secs(29), "{:?}", clock.uptime());
    let said = merged()["text"].as_str().map(str::to_owned).unwrap_or_default();
    assert!(
        said.starts_with("100% of the last ") && said.contains("come from 127.0.0.1 and name other clients"),
        "{said}"
    );
    assert!(said.ends_with("write `[trust] proxies = [\"127.0.0.1\"]`"), "{said}");
    assert!(guard.status()["events"].to_string().contains("clients-merged"));
    let shown = text(&guard.command(&["status"]).stdout);
    assert!(shown.contains("ALARM       100% of the last"), "{shown}");
    assert_eq!(guard.log().matches("come from 127.0.0.1 and name").count(), 1, "{}", guard.log());

    let config = fs::read_to_string(guard.config_path()).expect("a configuration");
    fs::write(guard.config_path(), format!("{config}\n[trust]\nproxies = [\"127.0.0.1\"]\n")).expect("written");
    let reloaded = guard.command(&["reload"]);
    assert!(reloaded.status.success(), "{reloaded:?}");
    eventually("its end", || merged().is_null());
    assert!(guard.status()["events"].to_string().contains("clients-apart"));
}
