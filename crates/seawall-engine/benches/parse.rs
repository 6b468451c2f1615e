//! The cost of reading one line of an access log. Limit: 500 ns for a combined line, two million lines a second.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use seawall_engine::observation::log::Reader;

/// One line of each kind, as long as they are on real sites.
const LINES: [(&str, &str); 4] = [
    (
        "combined",
        r#"203.0.113.77 - - [17/May/2015:10:05:03 +0000] "GET /presentations/logstash-monitorama-2013/images/kibana.png HTTP/1.1" 200 203023 "https://example.org/presentations/logstash/" "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/32.0.1700.77 Safari/537.36""#,
    ),
    (
        "json",
        r#"{"time":"2024-05-01T12:00:01+02:00","remote_addr":"203.0.113.77","request":"GET /a/b/c?d=e HTTP/2.0","status":200,"body_bytes_sent":20323,"request_time":0.005,"upstream_response_time":"0.004","http_user_agent":"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/32.0.1700.77 Safari/537.36","http_referer":"https://example.org/","host":"example.org"}"#,
    ),
    (
        "haproxy in syslog",
        r#"Feb 25 16:19:49 198.51.100.2 haproxy[7]: 203.0.113.77:53332 [25/Feb/2019:16:19:48.143] in~ bk/srv 0/0/7/1457/1487 200 11394 - - ---- 2/1/0/0/0 0/0 {Mozilla/5.0 (X11; Linux x86_64)} {} "GET /a/b?c=d HTTP/1.1""#,
    ),
    (
        "no line of any format",
        "2024-05-01 12:00:01 [error] 7#7: something else happened, client: 203.0.113.77, server: example.org",
    ),
];

fn parse(criterion: &mut Criterion) {
    for (name, line) in LINES {
        let mut reader = Reader::default();
        criterion.bench_function(&format!("parse {name}"), |bencher| {
            bencher.iter(|| reader.read(black_box(line.as_bytes())).map(|entry| entry.observation.cost.bytes));
        });
    }
}

criterion_group!(benches, parse);
criterion_main!(benches);
