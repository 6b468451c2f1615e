//! Real logs, which do not come with the source.

use std::io::Write as _;
use std::path::Path;

use super::*;

/// The real logs, the format of each, and the lines in it that are no requests: messages of servers, and one line that is cut off.
const CORPUS: [(&str, Format, usize); 16] = [
    ("apache-combined-10k.log", Format::Combined, 1),
    ("hub-apache2-logs.log", Format::Combined, 2),
    ("hub-apache2-malformed.log", Format::Combined, 0),
    ("hub-aws-alb-logs.log", Format::AwsLoadBalancer, 0),
    ("hub-caddy-logs.log", Format::Caddy, 1),
    ("hub-envoy-logs.log", Format::Envoy, 0),
    ("hub-haproxy-logs.log", Format::Haproxy, 3),
    ("hub-http-dos-bypass-cache.log", Format::Combined, 0),
    ("hub-litespeed-logs.log", Format::Combined, 2),
    ("hub-nginx-http-malformed.log", Format::Combined, 0),
    ("hub-nginx-proxy-manager-logs.log", Format::ProxyManager, 2),
    ("hub-traefik_clf.log", Format::Combined, 0),
    ("hub-traefik_json.log", Format::Traefik, 1),
    ("lnav-caddy_log.0.log", Format::Caddy, 35),
    ("lnav-haproxy.0.log", Format::Haproxy, 4),
    ("lnav-shop_access_log.0.log", Format::Combined, 0),
];

/// Every line of real logs that is a request is read, at a moment of our time, and the format of each log is
/// known.
#[test]
fn the_corpus_is_read() {
    let Some(folder) = std::env::var_os("SEAWALL_CORPUS") else {
        // Past the harness, which shows nothing of a test that does not fail. If nobody can be told, the test is no different.
        let _ = writeln!(std::io::stderr(), "skipped: SEAWALL_CORPUS names no folder of real logs");
        return;
    };
    let folder = Path::new(&folder).join("logs");
    for entry in std::fs::read_dir(&folder).expect("the folder of real logs") {
        let name = entry.expect("an entry").file_name();
        assert!(CORPUS.iter().any(|(known, _, _)| name == *known), "nothing is expected of {}", name.display());
    }
    for (name, format, others) in CORPUS {
        let content = std::fs::read(folder.join(name)).expect(name);
        let lines = || content.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).filter(|line| !line.is_empty());
        assert_eq!(recognise(lines()).map(|found| found.format), Some(format), "{name}");
        let mut reader = Reader::default();
        let mut unread = Vec::new();
        for line in lines() {
            match reader.read(line) {
                Ok(entry) => {
                    assert!(entry.observation.at.as_seconds() > 1_400_000_000, "{name}: {}", line.escape_ascii());
                }
                Err(reason) => unread.push((reason, line.escape_ascii().to_string())),
            }
        }
        assert_eq!(unread.len(), others, "{name}: {unread:#?}");
        // Of what looks like requests, nothing but the line that is cut off.
        let requests = unread.iter().filter(|(reason, _)| !matches!(reason, Reason::NoTimestamp | Reason::NotARequest));
        assert!(requests.count() * 100 <= lines().count(), "{name}: {unread:#?}");
    }
}
