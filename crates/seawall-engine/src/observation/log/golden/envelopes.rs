//! Lines within what others write around them.

use super::*;

#[test]
fn lines_within_what_others_write() {
    let line = r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 5 "-" "A/1""#;
    let read =
        "combined | 1431857103.000000 | 192.0.2.1 | - | GET |  | /a | - | HTTP/1.1 | 200 | 5 | 0ns | 0ns | A/1 | -";
    for wrapped in [
        format!("2025-12-31T17:37:40.493035218+01:00 stdout F {line}"),
        format!("<134>May 17 10:05:03 host nginx[7]: {line}"),
        format!("May  7 10:05:03 host nginx: {line}"),
        format!("<190>1 2015-05-17T10:05:03Z host nginx 7 - [a@1 b=\"c\"] {line}"),
        format!("2015-05-17T10:05:03+00:00 192.0.2.9 nginx[7]: {line}"),
        format!("web-1  | {line}"),
        format!(r#"{{"log":"{}\n","stream":"stdout","time":"2015-05-17T10:05:03Z"}}"#, line.replace('"', "\\\"")),
    ] {
        check(&[&wrapped], read);
        // The second is unwrapped at once, and a bare one in between is read all the same.
        check(&[&wrapped, &wrapped], read);
        check(&[&wrapped, line], read);
    }
}

#[test]
fn lines_that_a_container_runtime_split_are_read_once_and_whole() {
    let line = format!(
        r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a?{} HTTP/1.1" 200 5 "-" "A/1""#,
        "b".repeat(40_000)
    );
    let read = format!(
        "combined | 1431857103.000000 | 192.0.2.1 | - | GET |  | /a | {} | HTTP/1.1 | 200 | 5 | 0ns | 0ns | A/1 | -",
        "b".repeat(40_000)
    );
    let cri = |mark: &str, text: &str| format!("2025-12-31T17:37:40.493035218+01:00 stdout {mark} {text}");
    let docker = |text: &str| {
        format!(r#"{{"log":"{}","stream":"stdout","time":"2015-05-17T10:05:03Z"}}"#, text.replace('"', "\\\""))
    };
    let (first, rest) = line.split_at(16 * 1024);
    let (second, third) = rest.split_at(16 * 1024);
    let of_cri = [cri("P", first), cri("P", second), cri("F", third)];
    let of_docker = [docker(first), docker(second), docker(&format!("{third}\\n"))];
    for [first, second, third] in [of_cri, of_docker] {
        check(&[&first], "part");
        check(&[&first, &second], "part");
        check(&[&first, &second, &third], &read);
        check(&["other", &first, "other", &second, &third, &first, &second, &third], &read);
    }
    // A request that is longer than any line is one that cannot be read, whatever its last part holds.
    let mut lines = vec![cri("P", first); 5];
    lines.push(cri("F", r#"192.0.2.9 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 "-" "A/1""#));
    check(&lines.iter().map(String::as_str).collect::<Vec<_>>(), "too-long");
}

/// The two servers' defaults or options that leave the host out, and what the line is without them.
#[test]
fn syslog_without_a_host() {
    let haproxy = r#"192.0.2.1:53332 [25/Feb/2019:16:19:48.143] fe be/s1 0/0/7/1457/1487 200 11394 - - ---- 2/1/0/0/0 0/0 "GET /a HTTP/1.1""#;
    let of_haproxy = "haproxy | 1551111588.143000 | 192.0.2.1 | - | GET |  | /a | - | HTTP/1.1 | 200 | 11394 | 1.487s | 1.457s | - | -";
    for before in [
        "<134>Feb 25 16:19:49 haproxy[7]: ",
        "<134>haproxy[7]: ",
        "<134>",
        "<6>",
        "2019-02-25T16:19:49.143+00:00 ",
        "<6>2019-02-25T16:19:49.143+00:00 ",
        "",
    ] {
        let line = format!("{before}{haproxy}");
        check(&[&line], of_haproxy);
        check(&[&line, &line], of_haproxy);
    }
    let nginx = r#"- - [10/Oct/2020:13:55:36 +0000] "GET /a HTTP/1.1" 200 5 "-" "A/1""#;
    for client in ["192.0.2.1", "2001:db8::1"] {
        let of_nginx = format!(
            "combined | 1602338136.000000 | {client} | - | GET |  | /a | - | HTTP/1.1 | 200 | 5 | 0ns | 0ns | A/1 | -"
        );
        for before in ["<190>Oct 10 13:55:36 nginx: ", "<190>nginx: ", "<190>"] {
            let line = format!("{before}{client} {nginx}");
            check(&[&line], &of_nginx);
            check(&[&line, &line], &of_nginx);
            let mut reader = Reader::default();
            assert!(reader.read(line.as_bytes()).expect("a line").is_peer, "{line}");
        }
    }
}

/// `journalctl -o json`
#[test]
fn entries_of_the_journal() {
    let line = r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 5 "-" "A/1""#;
    let read =
        "combined | 1431857103.000000 | 192.0.2.1 | - | GET |  | /a | - | HTTP/1.1 | 200 | 5 | 0ns | 0ns | A/1 | -";
    let entry = |message: &str| {
        format!(
            r#"{{"__CURSOR":"s=0639;i=4f;b=3c7b","__REALTIME_TIMESTAMP":"1431857103000123","_TRANSPORT":"stdout","PRIORITY":"6","_HOSTNAME":"web1","MESSAGE":{message},"SYSLOG_IDENTIFIER":"nginx","_SYSTEMD_UNIT":"nginx.service"}}"#
        )
    };
    let text = entry(&format!("\"{}\"", line.replace('"', "\\\"")));
    let numbers: Vec<String> = line.bytes().map(|byte| byte.to_string()).collect();
    let bytes = entry(&format!("[{}]", numbers.join(",")));
    for wrapped in [&text, &bytes] {
        check(&[wrapped], read);
        check(&[wrapped, wrapped], read);
        check(&[wrapped, line], read);
    }
    let caddy = r#"{"ts":1693840791.75,"request":{"remote_ip":"192.0.2.1","method":"GET","host":"a.example","uri":"/a"},"duration":0.5,"size":12,"status":200}"#;
    check(
        &[&entry(&format!("\"{}\"", caddy.replace('"', "\\\"")))],
        "caddy | 1693840791.750000 | 192.0.2.1 | - | GET | a.example | /a | - | HTTP/1.1 | 200 | 12 | 500ms | 500ms | - | -",
    );
    check(&[&entry("\"Started nginx.service.\"")], "no-timestamp");
    check(&[&entry("null")], "no-timestamp");
}

/// `kubectl logs --prefix`
#[test]
fn names_of_pods_are_no_hosts() {
    let line = r#"192.0.2.1 - - [10/Oct/2020:13:55:36 +0000] "GET /a HTTP/1.1" 200 5 "-" "A/1""#;
    let read =
        "combined | 1602338136.000000 | 192.0.2.1 | - | GET |  | /a | - | HTTP/1.1 | 200 | 5 | 0ns | 0ns | A/1 | -";
    for before in ["[pod/web-7d9c-x2x/nginx] ", "[pod/web-7d9c-x2x/nginx] 2020-10-10T13:55:36.123456789Z "] {
        let line = format!("{before}{line}");
        check(&[&line], read);
        check(&[&line, &line], read);
        let lines = [line.as_bytes(); 3];
        assert_eq!(recognise(lines).map(|recognition| recognition.format), Some(Format::Combined));
        let mut reader = Reader::default();
        assert!(reader.read(line.as_bytes()).expect("a line").is_peer, "{line}");
    }
    let json =
        r#"{"time": "2020-10-10T13:55:36Z", "remote_addr": "192.0.2.1", "request": "GET /a HTTP/1.1", "status": 200}"#;
    check(
        &[&format!("[pod/web/nginx] {json}")],
        "json | 1602338136.000000 | 192.0.2.1 | - | GET |  | /a | - | HTTP/1.1 | 200 | 0 | 0ns | 0ns | - | -",
    );
}

#[test]
fn times_of_containers_before_lines() {
    let line = r#"192.0.2.1 - - [10/Oct/2020:13:55:36 +0000] "GET /a HTTP/1.1" 200 5 "-" "A/1""#;
    let read =
        "combined | 1602338136.000000 | 192.0.2.1 | - | GET |  | /a | - | HTTP/1.1 | 200 | 5 | 0ns | 0ns | A/1 | -";
    for before in ["2020-10-10T13:55:36.123456789Z ", "web-1  | 2020-10-10T13:55:36.123456789Z "] {
        let line = format!("{before}{line}");
        check(&[&line], read);
        check(&[&line, &line], read);
    }
    let json =
        r#"{"time": "2020-10-10T13:55:36Z", "remote_addr": "192.0.2.1", "request": "GET /a HTTP/1.1", "status": 200}"#;
    check(
        &[&format!("2020-10-10T13:55:36.123456789Z {json}")],
        "json | 1602338136.000000 | 192.0.2.1 | - | GET |  | /a | - | HTTP/1.1 | 200 | 0 | 0ns | 0ns | - | -",
    );
}

/// Who asks for such a host neither hides himself nor changes how the lines of others are read.
#[test]
fn a_host_that_looks_like_an_envelope_is_a_host() {
    let line = |before: &str| format!(r#"{before} - - [10/Oct/2020:13:55:36 +0000] "GET /a HTTP/1.1" 200 5 "-" "A/1""#);
    let visitor = line("www.example 192.0.2.1");
    for host in
        ["[pod/web/nginx]", "<190>nginx:", "<190>", "<190>x", "2020-10-10T13:55:36Z", "<190>2020-10-10T13:55:36Z"]
    {
        let odd = line(&format!("{host} 192.0.2.7"));
        let mut reader = Reader::default();
        for (line, client) in
            [(&visitor, "192.0.2.1"), (&odd, "192.0.2.7"), (&visitor, "192.0.2.1"), (&odd, "192.0.2.7")]
        {
            let entry = reader.read(line.as_bytes()).expect("a line");
            assert_eq!(
                entry.observation.client.map(|client| client.ip().to_string()).as_deref(),
                Some(client),
                "{line}"
            );
            assert!(entry.is_peer && entry.format == Format::VhostCombined, "{line}");
        }
        // Nor when it comes first.
        let mut reader = Reader::default();
        let _ = reader.read(odd.as_bytes());
        let address = line("9.9.9.9 192.0.2.7");
        for (line, host) in [(&visitor, "www.example"), (&address, "9.9.9.9")] {
            let entry = reader.read(line.as_bytes()).expect("a line");
            assert_eq!(entry.observation.request.host, host.as_bytes(), "{line}");
            assert!(entry.is_peer, "{line}");
        }
    }
}

/// What clients ask for in the lines of one kind is not taken for hosts of the other.
#[test]
fn hosts_come_first_within_what_others_write_as_well() {
    let inside = r#"www.example 192.0.2.1 - - [10/Oct/2020:13:55:36 +0000] "GET /a HTTP/1.1" 200 5 "-" "A/1""#;
    let read = "vhost-combined | 1602338136.000000 | 192.0.2.1 | - | GET | www.example | /a | - | HTTP/1.1 | 200 | 5 | 0ns | 0ns | A/1 | -";
    for before in ["<190>Oct 10 13:55:36 host nginx: ", "<190>Oct 10 13:55:36 nginx: ", "<190>nginx: "] {
        let line = format!("{before}{inside}");
        check(&[&line, "damaged", &line], read);
    }
}
