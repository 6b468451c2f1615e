//! Any bytes as a line of an access log.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_engine::observation::Request;
use seawall_engine::observation::log::{Format, read, recognise, restore};

fuzz_target!(|line: &[u8]| {
    let reading = read(line, None);
    for format in Format::ALL {
        let expected = read(line, Some(format));
        assert_eq!(reading.map(|entry| entry.format), expected.map(|entry| entry.format));
    }
    assert_eq!(recognise([line]).map(|found| found.format), reading.ok().map(|entry| entry.format));
    let Ok(entry) = reading else { return };
    let request = entry.observation.request;
    for field in fields(&request) {
        assert!(field.is_empty() || field == b"/" || lies_within(field, line));
    }
    let mut buffer = Vec::new();
    let restored = restore(&request, &mut buffer);
    assert!(!entry.verbatim || restored == request);
});

fn fields<'a>(request: &Request<'a>) -> impl Iterator<Item = &'a [u8]> {
    let optional = [request.query, request.user_agent, request.referer];
    [request.method, request.host, request.path].into_iter().chain(optional.into_iter().flatten())
}

fn lies_within(part: &[u8], whole: &[u8]) -> bool {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    whole.start <= part.start && part.end <= whole.end
}
