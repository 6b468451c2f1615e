//! Lines that are JSON objects, and what Caddy writes in place of them.

use super::*;

#[test]
fn nginx_in_json() {
    check(
        &[
            r#"{"time":"2024-05-01T12:00:01+02:00","remote_addr":"192.0.2.1","request":"GET /a?b=\"c\" HTTP/2.0","status": "200","body_bytes_sent":"512","request_time":"0.005","upstream_response_time":"0.004","http_user_agent":"A\/1 \u00e9","http_referer":"","http_x_forwarded_for":"203.0.113.7","host":"Example.org"}"#,
        ],
        "json | 1714557601.000000 | 192.0.2.1 | 203.0.113.7 | GET | example.org | /a | b=\"c\" | HTTP/2.0 | 200 | 512 | 5ms | 4ms | A/1 é | -",
    );
    check(
        &[
            r#"{"msec":1714557601.250,"remote_addr":"2001:db8::1","request_method":"POST","request_uri":"/a?b","server_protocol":"HTTP/1.1","status":404,"bytes_sent":7}"#,
        ],
        "json | 1714557601.250000 | 2001:db8::1 | - | POST |  | /a | b | HTTP/1.1 | 404 | 7 | 0ns | 0ns | - | -",
    );
}

#[test]
fn nginx_in_json_says_who_is_connected_and_whom_a_header_names() {
    for (members, client, is_peer) in [
        (r#""remote_addr":"192.0.2.1","realip_remote_addr":"10.0.0.1""#, Some("192.0.2.1"), false),
        (r#""realip_remote_addr":"10.0.0.1","remote_addr":"192.0.2.1""#, Some("192.0.2.1"), false),
        (r#""remote_addr":"192.0.2.1","realip_remote_addr":"192.0.2.1""#, Some("192.0.2.1"), true),
        (r#""remote_addr":"192.0.2.1","realip_remote_addr":"unix:""#, Some("192.0.2.1"), false),
        (r#""realip_remote_addr":"10.0.0.1""#, Some("10.0.0.1"), true),
        (r#""remote_addr":"192.0.2.1""#, Some("192.0.2.1"), true),
    ] {
        let line = format!(r#"{{"msec":1714557601.250,{members},"request":"GET /a HTTP/1.1","status":200}}"#);
        let mut reader = Reader::default();
        let entry = reader.read(line.as_bytes()).expect("a line");
        let found = entry.observation.client.map(|client| client.ip().to_string());
        assert_eq!((found.as_deref(), entry.is_peer), (client, is_peer), "{line}");
    }
}

#[test]
fn json_says_what_the_client_asked_for_in_the_field_that_is_nearest_to_it() {
    let read = |members: &str, expected: &str| {
        let line = format!(r#"{{"time":"2024-05-01T10:00:01Z","remote_addr":"192.0.2.1",{members},"status":200}}"#);
        let shown = show(&[&line]);
        let fields: Vec<&str> = shown.split(" | ").collect();
        assert_eq!(fields.get(4..9).map(|fields| fields.join(" ")).as_deref(), Some(expected), "{line}");
    };
    let asked = "GET  /wp-login.php a=b HTTP/1.1";
    read(r#""request":"GET /wp-login.php?a=b HTTP/1.1","uri":"/index.php","args":"a=b""#, asked);
    read(r#""uri":"/index.php","args":"a=b","request":"GET /wp-login.php?a=b HTTP/1.1""#, asked);
    read(r#""request_uri":"/wp-login.php?a=b","uri":"/index.php","request_method":"GET""#, asked);
    read(r#""url":"/x","request_uri":"/wp-login.php?a=b","path":"/y","method":"GET""#, asked);
    read(r#""uri":"/a","path":"/b","args":"c","method":"GET""#, "GET  /a c HTTP/1.1");
    read(r#""request":"-","path":"/b","method":"GET""#, "GET  /b - HTTP/0.9");
    // As some who write JSON do, with a backslash before each slash.
    read(r#""request":"GET \/wp-login.php?a=b HTTP\/1.1""#, asked);
    read(r#""request":"GET http:\/\/a.example:80\/x?y HTTP\/2.0""#, "GET a.example /x y HTTP/2.0");
    read(r#""request_uri":"\/wp-login.php?a=b","method":"GET","server_protocol":"HTTP\/1.1""#, asked);
    // A backslash of the client's.
    read(r#""request":"GET /a\\/b HTTP/1.1""#, r"GET  /a\/b - HTTP/1.1");
}

#[test]
fn the_time_in_json_is_the_first_that_is_one() {
    let at = |members: &str| {
        let line = format!(r#"{{{members},"remote_addr":"192.0.2.1","request":"GET / HTTP/1.1","status":200}}"#);
        show(&[&line]).split(" | ").nth(1).unwrap_or("none").to_owned()
    };
    for members in [
        r#""ts":1714557601,"time":"2024-05-01T12:00:01+02:00""#,
        r#""time":12,"timestamp":"2024-05-01T12:00:01+02:00""#,
        r#""time":"0.005","msec":1714557601.000"#,
        r#""time_local":"01\/May\/2024:10:00:01 +0000""#,
    ] {
        assert_eq!(at(members), "1714557601.000000", "{members}");
    }
    assert_eq!(at(r#""time":12"#), "none");
}

#[test]
fn a_duration_in_json_has_a_unit_only_where_its_maker_is_known() {
    let line = r#"{"method":"GET","path":"/orders","format":"html","controller":"OrdersController","status":200,"duration":58.33,"time":"2025-05-17T10:05:03Z","ip":"192.0.2.1"}"#;
    let mut reader = Reader::default();
    let entry = reader.read(line.as_bytes()).expect("a request");
    assert!(!entry.is_timed && entry.observation.cost.connection_time.is_zero());
}

#[test]
fn caddy() {
    check(
        &[
            r#"{"level":"info","ts":1693840791.7564995,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"192.0.2.9","remote_port":"44790","client_ip":"192.0.2.1","proto":"HTTP/2.0","method":"GET","host":"example.org:8080","uri":"/a?b","headers":{"User-Agent":["curl/7.74.0"],"Referer":["https://a.example/"]}},"bytes_read":0,"duration":0.002701,"size":12,"status":200}"#,
        ],
        "caddy | 1693840791.756499 | 192.0.2.1 | - | GET | example.org | /a | b | HTTP/2.0 | 200 | 12 | 2.701ms | 2.701ms | curl/7.74.0 | https://a.example/",
    );
    check(&[r#"{"level":"info","ts":1693840791.75,"msg":"server running"}"#], "not-a-request");
}

#[test]
fn caddy_with_other_times_and_durations() {
    let line = |at: &str, duration: &str| {
        format!(
            r#"{{"level":"info","ts":{at},"logger":"http.log.access","msg":"handled request","request":{{"remote_ip":"192.0.2.1","proto":"HTTP/1.1","method":"GET","host":"a.example","uri":"/a"}},"duration":{duration},"size":12,"status":200}}"#
        )
    };
    let read = |micros: &str, time: &str| {
        format!(
            "caddy | 1714564800.{micros} | 192.0.2.1 | - | GET | a.example | /a | - | HTTP/1.1 | 200 | 12 | {time} | {time} | - | -"
        )
    };
    for (at, micros) in [
        ("\"2024/05/01 12:00:00.123\"", "123000"),
        ("\"2024/05/01 12:00:00\"", "000000"),
        ("\"2024/05/01 12:00:00.123456789\"", "123456"),
        ("\"2024-05-01T12:00:00.123Z\"", "123000"),
        ("\"2024-05-01T14:00:00.123+0200\"", "123000"),
        ("\"01/May/2024:14:00:00 +0200\"", "000000"),
        ("1714564800.123", "123000"),
        ("1714564800123.0", "123000"),
        ("1714564800123456789", "123456"),
    ] {
        check(&[&line(at, "0.5")], &read(micros, "500ms"));
    }
    for (duration, time) in [
        ("\"1.5ms\"", "1.5ms"),
        ("\"250µs\"", "250µs"),
        (r#""250\u00b5s""#, "250µs"),
        ("\"1m2.5s\"", "62.5s"),
        ("\"0s\"", "0ns"),
        ("357313", "357.313µs"),
        ("2", "2s"),
        ("0", "0ns"),
    ] {
        check(&[&line("1714564800.123", duration)], &read("123000", time));
    }
}

#[test]
fn caddy_for_people() {
    let object = r#"{"request": {"remote_ip": "192.0.2.1", "client_ip": "192.0.2.1", "proto": "HTTP/2.0", "method": "GET", "host": "a.example", "uri": "/a?b", "headers": {"User-Agent": ["A/1"]}}, "bytes_read": 0, "user_id": "", "duration": 0.0005, "size": 12, "status": 200}"#;
    let read = "caddy | 1714564800.123000 | 192.0.2.1 | - | GET | a.example | /a | b | HTTP/2.0 | 200 | 12 | 500µs | 500µs | A/1 | -";
    for at in ["2024/05/01 12:00:00.123", "2024-05-01T12:00:00.123Z", "1714564800.123"] {
        check(&[&format!("{at}\tinfo\thttp.log.access.log0\thandled request\t{object}")], read);
        check(&[&format!("{at}\t\u{1b}[34mINFO\u{1b}[0m\thttp.log.access\thandled request\t{object}")], read);
    }
    for line in [
        "2024/05/01 12:00:00.123\tinfo\tserving initial configuration",
        "2024/05/01 12:00:00.123\tinfo\ttls\tcleaning storage unit\t{\"storage\": \"FileStorage:/data/caddy\"}",
    ] {
        check(&[line], "no-timestamp");
    }
    check(&[&format!("10:00\tinfo\thttp.log.access\thandled request\t{object}")], "wrong-timestamp");
}

/// Where a server writes tabs and quotes as they came, a client can send what Caddy would have written.
#[test]
fn a_line_is_for_people_only_where_all_of_it_is_of_caddy() {
    let object = r#"{"ts":1717243200.5,"request":{"remote_ip":"198.51.100.9","method":"GET","host":"x","uri":"/forged"},"status":200}"#;
    let common = r#"192.0.2.1 - - [01/Jun/2024:12:00:00 +0000] "GET /"#;
    for tabs in ["\t", "\tinfo\thttp.log.access\thandled request\t"] {
        for end in ["", " HTTP/1.1\" 404 10", "\" 404 10 \"-\" \"A/1\""] {
            let shown = show(&[&format!("{common}{tabs}{object}{end}")]);
            assert!(!shown.starts_with("caddy"), "{shown}");
        }
    }
    let at = "2024-06-01T12:00:00Z";
    for line in [
        format!("{at}\t192.0.2.1\tGET\t/\t{object}"),
        format!("{at}\tinfo\t192.0.2.1\t/\t{object}"),
        format!("{at}\tinfo\thttp.log.accessible\thandled request\t{object}"),
        format!("{at}\tinfo\thttp.log.access\t{object}"),
        format!("{at}\tinfo\thttp.log.access\thandled request\tx\t{object}"),
        format!("{at}\tinfo\thttp.log.access\thandled request\t{object} x"),
        format!("{at}\tloud\thttp.log.access\thandled request\t{object}"),
    ] {
        check(&[&line], "no-timestamp");
    }
    let shown = show(&[&format!("{at}\tinfo\thttp.log.access\thandled request\t{object}")]);
    assert!(shown.starts_with("caddy | 1717243200.000000 | "), "{shown}");
}

#[test]
fn traefik_in_json() {
    check(
        &[
            r#"{"ClientAddr":"192.0.2.1:39496","ClientHost":"192.0.2.1","DownstreamContentSize":357,"DownstreamStatus":200,"Duration":357313,"OriginDuration":324669,"RequestHost":"example.org","RequestMethod":"GET","RequestPath":"/a?b","RequestProtocol":"HTTP/1.1","StartLocal":"2021-12-08T15:02:43.587782192+01:00","StartUTC":"2021-12-08T14:02:43.587782192Z","request_User-Agent":"A/1"}"#,
        ],
        "traefik | 1638972163.587782 | 192.0.2.1 | - | GET | example.org | /a | b | HTTP/1.1 | 200 | 357 | 357.313µs | 324.669µs | A/1 | -",
    );
}

#[test]
fn cloudfront_in_json() {
    let line = r#"{"date":"2024-05-01","time":"12:00:01","x-edge-location":"FRA50-P1","sc-bytes":"512","c-ip":"192.0.2.1","cs-method":"GET","cs(Host)":"d111.cloudfront.net","cs-uri-stem":"/a","sc-status":"200","cs(Referer)":"-","cs(User-Agent)":"Mozilla/5.0%20(X11)","cs-uri-query":"b=c","cs(Cookie)":"-","x-edge-result-type":"Miss","x-host-header":"example.org","cs-protocol":"https","cs-bytes":"253","time-taken":"0.25","x-forwarded-for":"-","cs-protocol-version":"HTTP/2.0"}"#;
    let read = "w3c | 1714564801.000000 | 192.0.2.1 | - | GET | example.org | /a | b=c | HTTP/2.0 | 200 | 512 | 250ms | 250ms | Mozilla/5.0 (X11) | -";
    check(&[line], read);
    check(&[&line.replace(r#""date":"2024-05-01","time":"12:00:01""#, r#""timestamp":"1714564801""#)], read);
    check(&[&line.replace(r#""date":"2024-05-01","time":"12:00:01""#, r#""timestamp(ms)":"1714564801000""#)], read);
    let escaped = [
        (r#""cs-uri-stem":"/a""#, r#""cs-uri-stem":"\/a\\""#),
        ("b=c", r"b=\u0026"),
        ("%20(X11)", r"%20(\u0026%22)"),
        ("HTTP/2.0", r"HTTP\/2.0"),
    ];
    let written = escaped.into_iter().fold(line.to_owned(), |line, (plain, escaped)| line.replace(plain, escaped));
    let sent = read.replace("/a |", r"/a\ |").replace("b=c", "b=&").replace("(X11)", "(&\")");
    check(&[&written], &sent);
    check(&[&line.replace(r#""date":"2024-05-01","#, "")], "wrong-timestamp");
    check(&[&line.replace(r#""sc-status":"200""#, r#""sc-status":"many""#)], "wrong-status");
    let mut reader = Reader::of("CLOUDFRONT".parse().expect("a format"));
    assert!(!reader.read(line.as_bytes()).expect("a line").is_peer);
}

#[test]
fn names_of_logstash_and_of_elastic() {
    let logstash = r#"{"message":"x","@timestamp":"2024-05-01T10:00:01.250Z","path":"/var/log/apache2/access.log","clientip":"192.0.2.1","verb":"GET","request":"/a?b","httpversion":"1.1","response":"200","bytes":"512","referrer":"\"https://a.example/\"","agent":"\"A/1\""}"#;
    check(
        &[logstash],
        "json | 1714557601.250000 | 192.0.2.1 | - | GET |  | /a | b | HTTP/1.1 | 200 | 512 | 0ns | 0ns | A/1 | https://a.example/",
    );
    let expected = "json | 1714557601.000000 | 192.0.2.1 | - | POST | a.example | /a | b=c | HTTP/2.0 | 404 | 512 | 5ms | 5ms | A/1 | https://b.example/";
    check(
        &[
            r#"{"@timestamp":"2024-05-01T12:00:01+02:00","source":{"ip":"192.0.2.1"},"http":{"version":"2.0","request":{"method":"POST","referrer":"https://b.example/"},"response":{"status_code":404,"body":{"bytes":512}}},"url":{"domain":"a.example","original":"/a?b=c","path":"/x"},"user_agent":{"original":"A/1"},"event":{"duration":5000000}}"#,
        ],
        expected,
    );
    check(
        &[
            r#"{"@timestamp":"2024-05-01T10:00:01Z","client.ip":"192.0.2.1","http.version":"2","http.request.method":"POST","http.request.referrer":"https://b.example/","http.response.status_code":404,"http.response.body.bytes":512,"url.domain":"a.example","url.path":"/a","url.query":"b=c","user_agent.original":"A/1","event.duration":5000000}"#,
        ],
        expected,
    );
}

#[test]
fn names_of_node_and_of_google() {
    check(
        &[
            r#"{"level":30,"time":1714557601250,"pid":7,"hostname":"web","req":{"id":1,"method":"GET","url":"/a?b=c","query":{"b":"c"},"headers":{"host":"a.example:3000","user-agent":"A/1","referer":"https://b.example/"},"remoteAddress":"192.0.2.1","remotePort":5},"res":{"statusCode":200,"headers":{"content-length":512}},"responseTime":5,"msg":"request completed"}"#,
        ],
        "json | 1714557601.250000 | 192.0.2.1 | - | GET | a.example | /a | b=c | HTTP/1.1 | 200 | 512 | 5ms | 5ms | A/1 | https://b.example/",
    );
    check(
        &[
            r#"{"timestamp":"2024-05-01T10:00:01Z","httpRequest":{"requestMethod":"GET","requestUrl":"https://a.example/a?b","requestSize":"9","status":200,"responseSize":"512","userAgent":"A/1","remoteIp":"192.0.2.1","referer":"https://b.example/","latency":"0.005s","protocol":"HTTP/1.1"}}"#,
        ],
        "json | 1714557601.000000 | 192.0.2.1 | - | GET | a.example | /a | b | HTTP/1.1 | 200 | 512 | 5ms | 5ms | A/1 | https://b.example/",
    );
    check(
        &[
            r#"{"datetime":"2024-05-01T10:00:01Z","remote-addr":"192.0.2.1","method":"GET","url":"/a","http-version":"1.0","statusCode":"200","content-length":"5","response-time":"1.5","user-agent":"A/1"}"#,
        ],
        "json | 1714557601.000000 | 192.0.2.1 | - | GET |  | /a | - | HTTP/1.0 | 200 | 5 | 1.5ms | 1.5ms | A/1 | -",
    );
}

#[test]
fn json_without_a_target_is_no_request_and_one_without_a_status_says_so() {
    let line = |members: &str| {
        format!(r#"{{"time":"2024-05-01T10:00:01Z","remote_addr":"192.0.2.1","method":"GET",{members}"size":5}}"#)
    };
    check(&[&line(r#""what":"/a","status":200,"#)], "no-target");
    for (members, is_unrecorded) in [(r#""uri":"/a","#, true), (r#""uri":"/a","status":"-","#, false)] {
        let (mut reader, line) = (Reader::default(), line(members));
        let unrecorded = reader.read(line.as_bytes()).expect("a line").unrecorded;
        assert_eq!((unrecorded.status, unrecorded.bytes, unrecorded.version), (is_unrecorded, false, true), "{line}");
    }
}
