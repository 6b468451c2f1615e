//! Format strings of each language, and lines read by them.

use super::*;
use crate::observation::Outcome;

fn read<T>(format: &str, line: &str, with: impl FnOnce(&Entry<'_>) -> T) -> Result<T, Reason> {
    let template = Template::parse(format).unwrap_or_else(|error| panic!("{format}: {error}"));
    template.read(line.as_bytes()).map(|entry| with(&entry))
}

#[test]
fn each_of_the_three_languages_is_understood() {
    let line = r#"192.0.2.1 - bob [17/May/2015:10:05:03 +0000] "GET /a?b HTTP/1.1" 200 512 "-" "A\"/1.0""#;
    for format in [
        r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#,
        r#"%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\""#,
        r#"%h %^ %^ [%d:%t %^] "%r" %s %b "%R" "%u""#,
    ] {
        let read = read(format, line, |entry| {
            let observation = &entry.observation;
            let client = observation.client.map(|client| client.ip().to_string());
            assert_eq!(client.as_deref(), Some("192.0.2.1"), "{format}");
            assert_eq!(observation.at.as_seconds(), 1_431_857_103, "{format}");
            assert_eq!(observation.request.path, b"/a", "{format}");
            assert_eq!(observation.request.query, Some(&b"b"[..]), "{format}");
            assert_eq!(observation.request.user_agent, Some(&br#"A\"/1.0"#[..]), "{format}");
            assert_eq!((observation.request.referer, observation.cost.bytes), (None, 512), "{format}");
            assert_eq!(observation.outcome, Outcome::Served { status: 200 }, "{format}");
            assert_eq!(entry.encoding, Encoding::Backslash, "{format}");
        });
        assert_eq!(read, Ok(()), "{format}");
    }
}

#[test]
fn times_are_in_the_units_of_their_makers() {
    for (format, line, micros) in [
        ("$msec $request_method $request_uri $request_time", "1431857103.250 GET /a 0.005", 5_000),
        ("%{%Y-%m-%dT%H:%M:%S%z}t %m %U%q %D", "2015-05-17T10:05:03+0000 GET /a?b 5000", 5_000),
        ("%t %m %U %T", "[17/May/2015:10:05:03 +0000] GET /a 2", 2_000_000),
        ("%t %m %U %{ms}T", "[17/May/2015:10:05:03 +0000] GET /a 2", 2_000),
        ("[%{%d/%b/%Y:%H:%M:%S}t.%{msec_frac}t] %m %U %D", "[17/May/2015:10:05:03.250] GET /a 5000", 5_000),
        // The example of mod_log_config.
        ("[%{%d/%b/%Y %T}t.%{msec_frac}t %{%z}t] %m %U %D", "[17/May/2015 12:05:03.250 +0200] GET /a 5000", 5_000),
        ("%{%F}t %{%T}t.%{usec_frac}t%{%z}t %m %U %D", "2015-05-17 10:05:03.250000+0000 GET /a 5000", 5_000),
        ("%{begin:%c}t %m %U %D", "Sun May 17 10:05:03 2015 GET /a 5000", 5_000),
        ("%{%y%m%d%H%M%S}t %m %U %D", "150517100503 GET /a 5000", 5_000),
        ("%{sec}t %m %U %D", "1431857103 GET /a 5000", 5_000),
        ("%{msec}t %m %U %D", "1431857103250 GET /a 5000", 5_000),
        ("%{usec}t %m %U %D", "1431857103250000 GET /a 5000", 5_000),
        ("%{%s}t.%{msec_frac}t %m %U %D", "1431857103.250 GET /a 5000", 5_000),
        (r"%t\t%m\t%U\t%D", "[17/May/2015:10:05:03 +0000]\tGET\t/a\t5000", 5_000),
        (r#"%t %m "%U" \\ %D\n"#, r#"[17/May/2015:10:05:03 +0000] GET "/a" \ 5000"#, 5_000),
        ("%x %m %U %L", "2015-05-17T10:05:03Z GET /a 7", 7_000),
    ] {
        let read = read(format, line, |entry| {
            assert_eq!(entry.observation.at.as_seconds(), 1_431_857_103, "{format}");
            entry.observation.cost.connection_time.as_micros()
        });
        assert_eq!(read, Ok(micros), "{format}");
    }
}

#[test]
fn what_the_client_sent_goes_before_what_the_server_made_of_it() {
    let request = r#""GET /wp-login.php?a HTTP/1.1""#;
    for (format, line) in [
        (r#""$request" $uri $args $msec"#, format!("{request} /index.php q=1 1431857103.250")),
        (r#"$uri $args "$request" $msec"#, format!("/index.php q=1 {request} 1431857103.250")),
        (r#""$request" $uri$is_args$args $msec"#, format!("{request} /index.php?q=1 1431857103.250")),
        (r#""%r" %U%q %{sec}t"#, format!("{request} /index.php?q=1 1431857103")),
        ("$request_uri $uri $msec", "/wp-login.php?a /index.php 1431857103.250".to_owned()),
        (r#"%U%q "%r" %{sec}t"#, format!("/index.php?q=1 {request} 1431857103")),
    ] {
        let path = read(format, &line, |entry| {
            let request = entry.observation.request;
            assert_eq!(request.query, Some(&b"a"[..]), "{format}");
            request.path.to_vec()
        });
        assert_eq!(path.as_deref(), Ok(&b"/wp-login.php"[..]), "{format}");
    }
}

#[test]
fn the_peer_is_who_is_connected_and_the_client_whom_the_server_names() {
    let (nginx, apache) = ("$realip_remote_addr", "%{c}a");
    for (format, line, expected) in [
        ("$remote_addr PEER", "192.0.2.1 10.0.0.1", ("192.0.2.1", false)),
        ("PEER $remote_addr", "10.0.0.1 192.0.2.1", ("192.0.2.1", false)),
        ("$remote_addr PEER", "192.0.2.1 192.0.2.1", ("192.0.2.1", true)),
        ("$remote_addr PEER", "192.0.2.1 unix:", ("192.0.2.1", false)),
        // A name in place of the client is nobody, and surely not the proxy.
        ("$remote_addr PEER", "www.example 10.0.0.1", ("-", false)),
        ("PEER", "192.0.2.1", ("192.0.2.1", true)),
        ("$remote_addr", "192.0.2.1", ("192.0.2.1", true)),
        ("$remote_addr $http_x_real_ip", "192.0.2.1 9.9.9.9", ("192.0.2.1", true)),
        ("$http_x_real_ip $remote_addr", "- 192.0.2.1", ("192.0.2.1", true)),
        ("$http_x_real_ip", "192.0.2.1", ("192.0.2.1", false)),
    ] {
        let nginx = format.replace("PEER", nginx);
        let apache = format.replace("PEER", apache).replace("$remote_addr", "%a");
        for format in [format!("{nginx} $msec $request_uri"), format!("{apache} %{{sec}}t %U")] {
            if format.contains("$http") && format.contains('%') {
                continue;
            }
            let read = read(&format, &format!("{line} 1431857103 /a"), |entry| {
                let client = entry.observation.client.map(|client| client.ip().to_string());
                (client.unwrap_or("-".to_owned()), entry.is_peer)
            });
            assert_eq!(read, Ok((expected.0.to_owned(), expected.1)), "{format}: {line}");
        }
    }
    // Only where the client is a proxy that is trusted does the header say who it is.
    let forwarded =
        read("$remote_addr $http_x_real_ip $msec $request_uri", "10.0.0.1 192.0.2.1 1431857103 /a", |entry| {
            entry.forwarded_for.map(<[u8]>::to_vec)
        });
    assert_eq!(forwarded, Ok(Some(b"192.0.2.1".to_vec())));
    // Where names are looked up, the address says who it is.
    let read = read("%h %a %{sec}t %U", "www.example 192.0.2.1 1431857103 /a", |entry| entry.observation.client);
    assert!(read.expect("a line").is_some());
}

#[test]
fn hosts_and_targets_that_nothing_parts() {
    for (format, line, expected) in [
        ("$msec $host $uri$is_args$args $status", "a.example /a?b=c 200", ("a.example", "/a", Some("b=c"))),
        ("$msec $host $uri$is_args$args", "a.example /a", ("a.example", "/a", None)),
        ("$msec $host ${document_uri}${is_args}${query_string}", "a.example /a?", ("a.example", "/a", Some(""))),
        ("$msec $scheme://$host$request_uri $status", "https://A.example/a?b 200", ("A.example", "/a", Some("b"))),
        (
            "$msec $scheme://$host:$server_port$uri$is_args$args",
            "http://a.example:80/a?b",
            ("a.example", "/a", Some("b")),
        ),
        (
            "$msec \"$scheme://$http_host$request_uri\" $status",
            "\"http://a.example:80/a\" 200",
            ("a.example", "/a", None),
        ),
        ("$msec $host$request_uri $status", "a.example* 200", ("a.example", "*", None)),
        ("$msec $host$request_uri $status", "a.example 400", ("a.example", "", None)),
        ("%{sec}t %{Host}i%U%q %s", "a.example/a?b 200", ("a.example", "/a", Some("b"))),
        ("%{sec}t %v:%p%U %s", "a.example:443/a 200", ("a.example", "/a", None)),
    ] {
        let read = read(format, &format!("1431857103 {line}"), |entry| {
            let request = entry.observation.request;
            assert_eq!(request.host, expected.0.as_bytes(), "{format}");
            assert_eq!(request.path, expected.1.as_bytes(), "{format}");
            assert_eq!(request.query, expected.2.map(str::as_bytes), "{format}");
        });
        assert_eq!(read, Ok(()), "{format}: {line}");
    }
}

#[test]
fn the_host_that_is_asked_for_goes_before_the_name_of_the_server() {
    for (format, line, host) in [
        ("$msec $http_host $server_name $request_uri", "a.example _ /a", "a.example"),
        ("$msec $server_name $http_host $request_uri", "_ a.example:80 /a", "a.example"),
        ("$msec $http_host $server_name $request_uri", "- b.example /a", "b.example"),
        ("$msec $http_host \"$request\"", "a.example \"GET http://c.example/ HTTP/1.1\"", "c.example"),
        ("$msec \"$request\" $http_host", "\"GET http://c.example/ HTTP/1.1\" a.example", "c.example"),
        ("%{sec}t %{Host}i %v %U", "a.example b.example /a", "a.example"),
        ("%{sec}t %v %U", "b.example /a", "b.example"),
    ] {
        let read = read(format, &format!("1431857103 {line}"), |entry| entry.observation.request.host.to_vec());
        assert_eq!(read.as_deref(), Ok(host.as_bytes()), "{format}: {line}");
    }
}

#[test]
fn what_cannot_be_used_says_where() {
    for (format, error) in [
        ("", TemplateError::NoField),
        ("just words", TemplateError::NoField),
        ("$remote_addr $request", TemplateError::NoTime),
        ("$remote_addr [$time_local]", TemplateError::NoRequest),
        ("$time_local$request", TemplateError::NothingBetween { column: 12 }),
        ("$msec $http_user_agent$request_uri", TemplateError::NothingBetween { column: 23 }),
        ("$msec $request_uri$args", TemplateError::NothingBetween { column: 19 }),
        (
            "log_format main '$remote_addr [$time_local] \"$request\"';",
            TemplateError::WholeDirective { name: "log_format" },
        ),
        ("  logformat \"%h %t %r\" combined", TemplateError::WholeDirective { name: "LogFormat" }),
        ("log-format %h %^[%d:%t %^] \"%r\" %s", TemplateError::WholeDirective { name: "log-format" }),
        ("%t %r %{Referer", TemplateError::Unfinished { column: 7 }),
        ("%r %{%I:%M %p}t", TemplateError::UnknownTime { column: 4 }),
        ("%r %{%d/%b/%Y}t", TemplateError::NoTime),
        ("%r %{msec_frac}t", TemplateError::NoTime),
        (r"%r\t%{%Z}t", TemplateError::UnknownTime { column: 5 }),
        ("%t %r %", TemplateError::Unfinished { column: 7 }),
    ] {
        assert_eq!(Template::parse(format), Err(error), "{format}");
    }
    assert_eq!(Template::parse(&"$status ".repeat(100)), Err(TemplateError::TooLong));
}

#[test]
fn other_lines_are_refused() {
    let format = r#"[$time_local] "$request" $status"#;
    for line in ["", "[17/May/2015:10:05:03 +0000] \"GET /", "[yesterday] \"GET / HTTP/1.1\" 200", "x"] {
        assert!(read(format, line, |_| ()).is_err(), "{line}");
    }
}

fn of_goaccess(format: &str, line: &str) -> Result<String, Reason> {
    read(format, line, |entry| {
        let Entry { observation, forwarded_for, is_peer, .. } = entry;
        let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        let optional = |field: Option<&[u8]>| field.map_or("-".to_owned(), text);
        [
            observation.at.as_micros().to_string(),
            observation.client.map_or("-".to_owned(), |client| client.ip().to_string()),
            format!("{is_peer}"),
            optional(*forwarded_for),
            text(observation.request.host),
            text(observation.request.path),
            optional(observation.request.user_agent),
            format!("{:?}", observation.cost.connection_time),
        ]
        .join(" | ")
    })
}

#[test]
fn addresses_and_spaces_of_goaccess() {
    let at = "[17/May/2015:10:05:03 +0000]";
    for (format, line, expected) in [
        // As GoAccess's manual and its configuration have them.
        (
            "%^ %^ %^ %v %^: %x.%^ %~%L %h %^/%s %b %m %U",
            "May 17 10:05:03 www.example squid: 1431857103.250    180 192.0.2.1 TCP_MISS/200 411 GET /a",
            "1431857103250000 | 192.0.2.1 | true | - | www.example | /a | - | 180ms",
        ),
        (
            "%v %^ %^ %e [%d:%t] \"%r\" %s %b %R %u ~h{,\" } %^",
            &format!("a.example 10.0.0.1 - - {at} \"GET /a HTTP/1.1\" 200 5 \"-\" \"A/1\" 192.0.2.1 -"),
            "1431857103000000 | 192.0.2.1 | false | 192.0.2.1 | a.example | /a | \"A/1\" | 0ns",
        ),
        (
            "%h %^[%d:%t %^] \"%r\" %s %b \"%R\" \"%u\" \"~h{, }\" %T",
            &format!("10.0.0.1 - - {at} \"GET /a HTTP/1.1\" 200 5 \"-\" \"A/1\" \"203.0.113.7, 192.0.2.1\" 0.250"),
            "1431857103000000 | 10.0.0.1 | true | 203.0.113.7, 192.0.2.1 |  | /a | A/1 | 250ms",
        ),
        (
            "~h{, } %^[%d:%t %^] \"%r\" %s %b \"%R\" \"%u\"",
            &format!("203.0.113.7, 2001:db8::1 - - {at} \"GET /a HTTP/1.1\" 200 5 \"-\" \"A/1\""),
            "1431857103000000 | 2001:db8::1 | false | 203.0.113.7, 2001:db8::1 |  | /a | A/1 | 0ns",
        ),
        (
            "%h %^[%d:%t %^] \"%r\" %s %b ~h{,\" } %~\"%u\"",
            &format!("10.0.0.1 - - {at} \"GET /a HTTP/1.1\" 200 5 \"-\"   \"A/1\""),
            "1431857103000000 | 10.0.0.1 | true | - |  | /a | A/1 | 0ns",
        ),
    ] {
        assert_eq!(of_goaccess(format, line).as_deref(), Ok(expected), "{format}: {line}");
    }
}

#[test]
fn a_zone_behind_the_time_of_goaccess_is_its_zone() {
    let request = "\"GET /a HTTP/1.1\" 200";
    for (format, time) in [
        ("%h [%d %t %^] \"%r\" %s", "[2015-05-17 12:05:03 +0200]"),
        ("%h [%d %t %^] \"%r\" %s", "[17/May/2015 12:05:03 +02:00]"),
        ("%h [%d %t %^] \"%r\" %s", "[2015-05-17 10:05:03 UTC]"),
        ("%h [%d %t] \"%r\" %s", "[2015-05-17 10:05:03]"),
        ("%h [%x] \"%r\" %s", "[2015-05-17 12:05:03 +0200]"),
        ("%h %d %t %^ \"%r\" %s", "2015-05-17 02:35:03 -0730"),
        // What is no zone is passed over, as GoAccess does.
        ("%h %d %t %^ \"%r\" %s", "17/May/2015 10:05:03 bob"),
    ] {
        let read = read(format, &format!("192.0.2.1 {time} {request}"), |entry| entry.observation.at.as_seconds());
        assert_eq!(read, Ok(1_431_857_103), "{format}: {time}");
    }
    // As GoAccess has them for IIS.
    let format = "%d %t %^ %m %U %q %^ %^ %h %u %R %s %^ %^ %L";
    let line = "2015-05-17 10:05:03 10.0.0.1 GET /a - 443 - 192.0.2.1 A/1 - 200 0 0 7";
    let expected = "1431857103000000 | 192.0.2.1 | true | - |  | /a | A/1 | 7ms";
    assert_eq!(of_goaccess(format, line).as_deref(), Ok(expected));
    let object = read(r#"{"at":"%d %t %^","uri":"%U"}"#, r#"{"at":"2015-05-17 12:05:03 +0200","uri":"/a"}"#, |entry| {
        entry.observation.at.as_seconds()
    });
    assert_eq!(object, Ok(1_431_857_103));
    // It was still 1969.
    let before = read("%h %d %t %^ \"%r\"", "192.0.2.1 1970-01-01 00:30:00 +0100 \"GET /a HTTP/1.1\"", |_| ());
    assert_eq!(before, Err(Reason::WrongTimestamp));
}

/// All but the last address of a list is what the client says.
#[test]
fn whoever_a_client_names_in_a_list_is_not_taken_for_it() {
    let at = "[17/May/2015:10:05:03 +0000]";
    let client = |format: &str, before: &str| {
        let format = format!("{format}[%d:%t %^] \"%r\" %s %b");
        let line = format!("{before}{at} \"GET /a HTTP/1.1\" 200 5");
        let read = read(&format, &line, |entry| {
            (entry.observation.client.map(|client| client.ip().to_string()), entry.observation.request.path == b"/a")
        });
        assert!(read.as_ref().is_ok_and(|(_, is_read)| *is_read), "{format}: {line}: {read:?}");
        read.ok().and_then(|(client, _)| client).unwrap_or_default()
    };
    for (format, before, expected) in [
        // In quotes, which end the list.
        ("~h{,\" }%^", "\"198.51.100.9, foo, 203.0.113.5\" - ", "203.0.113.5"),
        ("~h{,\" }%^", "\"198.51.100.9, foo\" - ", ""),
        ("~h{,\" }%^", "\"198.51.100.9 foo\" - ", ""),
        ("~h{,\" } %^", "\"198.51.100.9 - x, 203.0.113.5\" - ", "203.0.113.5"),
        ("~h{,\" } %^", "\"-\" - ", ""),
        ("\"~h{, }\" %^", "\"198.51.100.9 - x, 203.0.113.5\" - ", "203.0.113.5"),
        ("\"~h{, }\" %^", "\"198.51.100.9,\" - ", ""),
        ("\"~h{,\" }\" %^", "\"198.51.100.9 foo, 203.0.113.5\" - ", "203.0.113.5"),
        ("~h{,\" }%^", "\"198.51.100.9\", \"203.0.113.5\" - ", ""),
        // Up to a text that is in no list.
        ("~h{, } - ", "unknown, 203.0.113.5 - ", "203.0.113.5"),
        ("~h{, } - ", "198.51.100.9, unknown - ", ""),
        ("~h{, } - ", "203.0.113.5 - ", "203.0.113.5"),
        // With nothing around it.
        ("~h{, } %^", "198.51.100.9, foo, 203.0.113.5 - - ", "203.0.113.5"),
        ("~h{, } %^", "foo, 203.0.113.5 - bob ", "203.0.113.5"),
        ("~h{, } %^", "198.51.100.9, foo - - ", ""),
        ("~h{, } %^", "- - - ", ""),
        // What a client sends may look as what follows the list.
        ("~h{, } %^", "198.51.100.9 - x, 203.0.113.5 - - ", ""),
        ("~h{,\" }%^", "198.51.100.9 foo, 203.0.113.5 - - ", ""),
        ("~h{ } %^", "198.51.100.9 foo, 203.0.113.5 - - ", ""),
        ("~h{ } %^", "198.51.100.9 203.0.113.5 - - ", "203.0.113.5"),
        // A format that does not say what stands between entries.
        ("~h{,} %^", "198.51.100.9, 203.0.113.5 - - ", ""),
        ("~h{,} %^", "203.0.113.5 - - ", "203.0.113.5"),
    ] {
        assert_eq!(client(format, before), expected, "{format}: {before}");
    }
}

#[test]
fn json_of_goaccess() {
    // What its configuration has for Caddy, of which a number is a time.
    let format = r#"{"ts":"%x.%^","request":{"remote_ip":"%h","proto":"%H","method":"%m","host":"%v","uri":"%U","headers":{"User-Agent":["%u","%^"]},"tls":{"cipher_suite":"%k","proto": "%K"}},"duration": "%T","size": "%b","status": "%s","resp_headers":{"Content-Type":["%M;%^"]}}"#;
    let line = r#"{"level":"info","ts":1693840791.7564995,"request":{"remote_ip":"192.0.2.1","proto":"HTTP/2.0","method":"GET","host":"a.example:80","uri":"/a?b","headers":{"User-Agent":["A\"/1"]}},"duration":0.002701,"size":12,"status":200,"resp_headers":{"Content-Type":["text/html"]}}"#;
    let expected = r#"1693840791756499 | 192.0.2.1 | true | - | a.example | /a | A\"/1 | 2.701ms"#;
    assert_eq!(of_goaccess(format, line).as_deref(), Ok(expected));
    assert_eq!(of_goaccess(&format.replace('"', "\\\""), line).as_deref(), Ok(expected));
    let encoding = read(format, line, |entry| entry.encoding);
    assert_eq!(encoding, Ok(Encoding::Json));
    // Some names in other places, and a list of addresses.
    let format = r#"{ "time": "%dT%t%^", "http": { "line": "%r", "for": "~h{, }" }, "code": "%s", "ms": "%L" }"#;
    let line = r#"{"http":{"for":"203.0.113.7, 192.0.2.1","line":"GET /a HTTP/1.1"},"ms":"7.5","code":404,"time":"2015-05-17T10:05:03.250Z"}"#;
    assert_eq!(
        of_goaccess(format, line).as_deref(),
        Ok("1431857103250000 | 192.0.2.1 | false | 203.0.113.7, 192.0.2.1 |  | /a | - | 7.5ms")
    );
    for (line, reason) in [
        ("", Reason::NoTimestamp),
        ("{}", Reason::NoTimestamp),
        (r#"{"time":"yesterday"}"#, Reason::WrongTimestamp),
        (r#"{"time":"2015-05-17T10:05:03Z","code":"many"}"#, Reason::WrongStatus),
        (r#"{"time":"2015-05-17T10:05:03Z","http":{"#, Reason::NoTimestamp),
        ("[1]", Reason::NoTimestamp),
    ] {
        assert_eq!(of_goaccess(format, line), Err(reason), "{line}");
    }
}

#[test]
fn what_goaccess_does_not_have_is_refused_with_what_it_has() {
    for (format, error) in [
        ("%h %^[%d:%t %^] \"%r\" %s %Q", TemplateError::UnknownDirective { column: 25 }),
        ("%h %^[%d:%t %^] \"%r\" ~h", TemplateError::Unfinished { column: 22 }),
        ("%h %^[%d:%t %^] \"%r\" %^~h{, }", TemplateError::NothingBetween { column: 24 }),
        (r#"{"ts":"%x","uri":"%U","a":"%Q"}"#, TemplateError::UnknownDirective { column: 28 }),
        (r#"{"ts":"%x","uri":"%U""#, TemplateError::NotJson),
        (r#"{"ts":"%x","uri":"%U"} more"#, TemplateError::NotJson),
        (r#"{"uri":"%U","ip":"%h","a":"%^"}"#, TemplateError::NoTime),
        (r#"{"ts":"%x","ip":"%h"}"#, TemplateError::NoRequest),
    ] {
        assert_eq!(Template::parse(format), Err(error), "{format}");
    }
    let text = TemplateError::UnknownDirective { column: 1 }.to_string();
    assert!(text.contains("there are %x %d %t (time), %h ~h{, } (client)") && text.ends_with("%~ (spaces)"), "{text}");
    assert!(TemplateError::NotJson.to_string().contains(r#"{"ts":"%x","request":{"remote_ip":"%h","#));
}
