//! Tools that people have.

use std::io::ErrorKind;
use std::process::Command;

use crate::support::guard::{Setup, text};
use crate::support::origin::Origin;

/// Runs a tool; none when it is not installed.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => {
            assert!(output.status.success(), "{program} {arguments:?}: {}", text(&output.stderr));
            Some(text(&output.stdout))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("{program} is not installed; not tried");
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

#[test]
fn curl() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).start();
    let url = format!("http://example.org:{}/a?b", guard.address().port());
    let resolve = format!("example.org:{}:127.0.0.1", guard.address().port());
    let run = |arguments: &[&str]| run("curl", &[&["-sS", "--resolve", &resolve], arguments].concat());
    for (arguments, expected) in [
        (&[][..], "GET /a?b 0"),
        (&["-d", "a=b"], "POST /a?b 3"),
        (&["-X", "PUT", "-H", "Transfer-Encoding: chunked", "-d", "abcd"], "PUT /a?b 4"),
        (&["-0"], "GET /a?b 0"),
        (&["-X", "DELETE"], "DELETE /a?b 0"),
        (&["--compressed", "--http1.1"], "GET /a?b 0"),
        (&["--http2"], "GET /a?b 0"),
    ] {
        let Some(printed) = run(&[arguments, &[url.as_str()]].concat()) else { return };
        assert_eq!(printed, expected, "{arguments:?}");
    }
    let head = run(&["-I", &url]).expect("curl");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    // Two requests on one connection.
    let written = run(&["-w", " %{num_connects}\n", &url, &url]).expect("curl");
    assert_eq!(written, "GET /a?b 0 1\nGET /a?b 0 0\n");
    let status = run(&["-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: evil.example", &url]).expect("curl");
    assert_eq!(status, "421");
}

#[test]
fn wrk() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).start();
    let url = format!("http://{}/", guard.address());
    let Some(printed) = run("wrk", &["-t1", "-c8", "-d1s", "-H", "Host: example.org", &url]) else { return };
    assert!(
        printed.contains("requests in") && !printed.contains("Non-2xx") && !printed.contains("Socket errors"),
        "{printed}"
    );
    assert!(guard.connect().fetch("/after").status == 200);
}
