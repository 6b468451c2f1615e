//! Who the client is, and what the site is told of it: a proxy's word counts only when the proxy is trusted.

use crate::support::client::Client;
use crate::support::guard::{Guard, Setup};
use crate::support::message::Headers;
use crate::support::origin::Origin;

const PROXY: &str = "127.0.0.2";
const STRANGER: &str = "127.0.0.3";

const CLAIMS: &str = "X-Forwarded-For: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\nCF-Connecting-IP: 203.0.113.9\r\n\
                      Fastly-Client-IP: 203.0.113.9\r\nX-Real-IP: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n";

const DISGUISED: &str = "X_Forwarded_For: 203.0.113.9\r\nX-Forwarded_For: 203.0.113.9\r\nCF_Connecting_IP: 203.0.113.9\r\n\
                         x_real_ip: 203.0.113.9\r\nFASTLY_CLIENT_IP: 203.0.113.9\r\nX_Forwarded_Proto: https\r\n";

fn guard(origin: &Origin, source: &str) -> Guard {
    let sections = format!(
        "[trust]\nproxies = [\"{PROXY}\"]\nclient-address = \"{source}\"\n\n[policy]\nnever-ban-loopback = false\n"
    );
    Setup::to(&origin.url()).limits("connections-per-client-max = 3").sections(&sections).start()
}

/// What the site is told, of a first and a later request on one connection.
fn told(origin: &Origin, guard: &Guard, from: &str, before: &[u8], headers: &str) -> [Headers; 2] {
    let mut client = Client::connect_from(from, guard.address());
    client.send(before);
    [(); 2].map(|()| {
        client.send(format!("GET / HTTP/1.1\r\nHost: example.org\r\n{headers}\r\n"));
        assert_eq!(client.answer().status, 200);
        origin.last_request().headers
    })
}

#[test]
fn a_strangers_claims_are_taken_away() {
    for source in ["x-forwarded-for", "forwarded", "cf-connecting-ip", "fastly-client-ip", "proxy-protocol"] {
        let origin = Origin::echoing();
        let guard = guard(&origin, source);
        for claims in [CLAIMS, DISGUISED, ""] {
            for headers in told(&origin, &guard, STRANGER, b"", claims) {
                assert_eq!(headers.all("x-forwarded-for"), [STRANGER], "{source}");
                assert_eq!(headers.all("x-forwarded-proto"), ["http"], "{source}");
                assert!(!format!("{headers:?}").contains("203.0.113.9"), "{source}: {headers:?}");
                assert!(!format!("{headers:?}").contains("https"), "{source}: {headers:?}");
            }
        }
    }
}

#[test]
fn a_trusted_proxys_claims_go_on() {
    let origin = Origin::echoing();
    let guard = guard(&origin, "x-forwarded-for");
    let headers = "X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 203.0.113.9\r\n";
    for headers in told(&origin, &guard, PROXY, b"", headers) {
        assert_eq!(headers.all("x-forwarded-for"), ["198.51.100.7, 203.0.113.9, 127.0.0.2"]);
        assert_eq!(headers.all("x-forwarded-proto"), ["https"]);
        assert_eq!(headers.all("x-real-ip"), ["203.0.113.9"]);
    }
}

#[test]
fn a_client_named_in_another_header_is_told_in_the_usual_one() {
    for (source, header) in [
        ("forwarded", "Forwarded: for=203.0.113.9;proto=https"),
        ("cf-connecting-ip", "CF-Connecting-IP: 203.0.113.9"),
        ("fastly-client-ip", "Fastly-Client-IP: 203.0.113.9"),
    ] {
        let origin = Origin::echoing();
        let guard = guard(&origin, source);
        for headers in told(&origin, &guard, PROXY, b"", &format!("{header}\r\n")) {
            assert_eq!(headers.all("x-forwarded-for"), ["203.0.113.9, 127.0.0.2"], "{source}");
        }
    }
}

const VERSION_1: &[u8] = b"PROXY TCP4 203.0.113.9 192.0.2.2 4711 80\r\n";
const VERSION_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\xc0\0\x02\x02\x12\x67\0\x50";

#[test]
fn the_proxy_protocol_names_the_client_and_headers_do_not() {
    let origin = Origin::echoing();
    let guard = guard(&origin, "proxy-protocol");
    for before in [VERSION_1, VERSION_2] {
        for claims in
            ["", "X-Forwarded-For: 198.51.100.7\r\nX-Real-IP: 198.51.100.7\r\nX_Forwarded_For: 198.51.100.7\r\n"]
        {
            for headers in told(&origin, &guard, PROXY, before, claims) {
                assert_eq!(headers.all("x-forwarded-for"), ["203.0.113.9"]);
                assert!(!format!("{headers:?}").contains("198.51.100.7"), "{headers:?}");
            }
        }
    }
    // In pieces, and with the first request in the same packet.
    let mut client = Client::connect_from(PROXY, guard.address());
    for byte in VERSION_2 {
        client.send([*byte]);
    }
    assert_eq!(client.fetch("/").status, 200);
    assert_eq!(origin.last_request().headers.all("x-forwarded-for"), ["203.0.113.9"]);
    let mut client = Client::connect_from(PROXY, guard.address());
    client.send([VERSION_1, b"GET /a HTTP/1.1\r\nHost: example.org\r\n\r\n"].concat());
    assert_eq!(client.answer().text(), "GET /a 0");
    // A health check names nobody.
    for headers in told(&origin, &guard, PROXY, b"PROXY UNKNOWN\r\n", "X-Forwarded-For: 198.51.100.7\r\n") {
        assert_eq!(headers.all("x-forwarded-for"), [PROXY]);
    }
}

#[test]
fn the_proxy_protocol_is_required_of_its_proxy_and_refused_from_others() {
    let origin = Origin::echoing();
    let guard = guard(&origin, "proxy-protocol");
    for (from, bytes) in [
        (PROXY, &b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"[..]),
        (PROXY, b"PROXY TCP4 nobody 192.0.2.2 4711 80\r\n"),
        (STRANGER, VERSION_1),
        (STRANGER, VERSION_2),
    ] {
        let mut client = Client::connect_from(from, guard.address());
        client.send(bytes);
        assert_eq!(client.answer().status, 400, "{from} {:?}", String::from_utf8_lossy(bytes));
        client.expect_close();
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_trusted_proxy_is_many_clients_and_never_limited() {
    let origin = Origin::echoing();
    let guard = guard(&origin, "x-forwarded-for");
    let mut proxy: Vec<Client> = (0..10).map(|_| Client::connect_from(PROXY, guard.address())).collect();
    let mut stranger: Vec<Client> = (0..10).map(|_| Client::connect_from(STRANGER, guard.address())).collect();
    let served = |client: &mut Client| {
        client.get("/");
        client.try_answer(false).is_ok_and(|answer| answer.status == 200)
    };
    assert_eq!(proxy.iter_mut().map(served).filter(|served| *served).count(), 10);
    assert_eq!(stranger.iter_mut().map(served).filter(|served| *served).count(), 3);
}
