//! Any text as the description of a log's format (nginx, Apache, GoAccess), and lines of that log.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_engine::observation::log::{FormatChoice, Reader, Template, restore};

fuzz_target!(|text: &[u8]| {
    let mut lines = text.split(|byte| *byte == b'\n');
    let Some(Ok(format)) = lines.next().map(str::from_utf8) else { return };
    match Template::parse(format) {
        Ok(template) => {
            let mut reader = Reader::of(FormatChoice::Template(template));
            let mut buffer = Vec::new();
            for line in lines {
                if let Ok(entry) = reader.read(line) {
                    restore(&entry.observation.request, entry.encoding, &mut buffer);
                }
            }
        }
        Err(error) => assert!(!error.to_string().chars().any(char::is_control), "{error}"),
    }
});
