//! Any bytes in what others write around a server's line: syslog, the journal, Docker, Kubernetes; and any bytes around a line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_engine::observation::log::{Reader, recognise, restore};

const LINE: &[u8] =
    br#"192.0.2.1 - - [31/Dec/2025:17:37:40 +0000] "GET /a?b=1 HTTP/1.1" 200 12 "https://example.org/" "agent""#;

/// What stands before a line, and what after it.
const AROUND: [(&[u8], &[u8]); 13] = [
    (b"<134>Feb 25 16:19:49 host nginx: ", b""),
    (b"<134>Feb 25 16:19:49 haproxy[7]: ", b""),
    (b"<134>", b""),
    (b"2025-12-31T17:37:40.493035218Z ", b""),
    (b"<134>1 2025-12-31T17:37:40Z host nginx 7 - - ", b""),
    (b"<134>1 2025-12-31T17:37:40Z host nginx 7 - [", b"] text"),
    (b"2025-12-31T17:37:40+01:00 host nginx[7]: ", b""),
    (b"2025-12-31T17:37:40.493035218+01:00 stdout F ", b""),
    (b"2025-12-31T17:37:40.493035218+01:00 stdout P ", b""),
    (b"web-1  | ", b""),
    (b"[pod/web/nginx] ", b""),
    (br#"{"__CURSOR":"s=1","MESSAGE":""#, br#""}"#),
    (br#"{"log":""#, br#"","stream":"stdout","time":"2025-12-31T17:37:40Z"}"#),
];

fn read(line: &[u8]) {
    let (mut reader, mut buffer) = (Reader::default(), Vec::new());
    for _ in 0..2 {
        if let Ok(entry) = reader.read(line) {
            restore(&entry.observation.request, entry.encoding, &mut buffer);
        }
    }
    let _ = recognise([line, LINE, line]);
}

fuzz_target!(|text: &[u8]| {
    for (before, after) in AROUND {
        read(&[before, text, after].concat());
    }
    read(&[text, LINE].concat());
    // As Docker writes it, whatever is in it.
    let mut escaped = Vec::new();
    for byte in text {
        match byte {
            b'"' | b'\\' => escaped.extend([b'\\', *byte]),
            b' '..=b'~' => escaped.push(*byte),
            _ => escaped.extend(format!("\\u{byte:04x}").bytes()),
        }
    }
    let [.., (before, after)] = AROUND;
    read(&[before, &escaped, LINE, after].concat());
});
