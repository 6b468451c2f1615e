//! Any bytes as a line of an access log.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_engine::observation::log::{Encoding, Format, FormatChoice, Reader, Template, recognise, restore};

const TEMPLATES: [&str; 5] = [
    r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_user_agent""#,
    "%h %l %u %t %m %U%q %>s %b %D",
    r#"%h %^[%d:%t %^] "%r" %s %b "%R" "%u""#,
    r#"~h{," } %~[%d:%t] "%r" %s %b %T"#,
    r#"{"ts":"%x.%^","request":{"remote_ip":"%h","uri":"%U","headers":{"User-Agent":["%u","%^"]}},"status":"%s"}"#,
];

fuzz_target!(|text: &[u8]| {
    // A whole log, whose format is told by its first lines.
    if let Some(recognition) = recognise(text.split(|byte| *byte == b'\n')) {
        let mut knowing = Reader::default();
        knowing.know(&recognition);
        for line in text.split(|byte| *byte == b'\n') {
            let _ = knowing.read(line);
        }
    }
    let mut reader = Reader::default();
    let mut buffer = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        if let Ok(entry) = reader.read(line) {
            let request = entry.observation.request;
            let restored = restore(&request, entry.encoding, &mut buffer);
            assert!(entry.encoding != Encoding::Plain || restored == request);
        }
        let mut alone = Reader::default();
        let alone = alone.read(line).map(|entry| entry.format).ok();
        assert_eq!(recognise([line]).map(|found| found.format), alone);
        for format in Format::ALL {
            let _ = Reader::new(Some(format)).read(line);
        }
    }
    for template in TEMPLATES {
        let mut reader = Reader::of(FormatChoice::Template(Template::parse(template).expect("a format")));
        if let Ok(entry) = reader.read(text) {
            restore(&entry.observation.request, entry.encoding, &mut buffer);
        }
    }
    if let Ok(format) = std::str::from_utf8(text) {
        let _ = Template::parse(format);
    }
});
