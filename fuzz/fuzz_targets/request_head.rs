//! Any bytes as the head of a request, as a client sends it to the proxy: at once, and in pieces.

#![no_main]
#![expect(dead_code, reason = "files of the proxy are taken in as they are; only the head is asked here")]

#[path = "../../crates/seawall/src/source/proxy/claims.rs"]
mod claims;
#[path = "../../crates/seawall/src/source/proxy/head.rs"]
mod head;
#[path = "../../crates/seawall/src/source/proxy/headers.rs"]
mod headers;

use head::{BodyLength, Head, HeadScanner, header_room};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Some((piece, text)) = text.split_first() else { return };
    let at_once = HeadScanner::default().is_complete(text);
    let mut scanner = HeadScanner::default();
    let mut in_pieces = Ok(false);
    for end in (usize::from(*piece).max(1)..text.len()).step_by(usize::from(*piece).max(1)).chain([text.len()]) {
        in_pieces = scanner.is_complete(&text[..end]);
        if in_pieces != Ok(false) {
            break;
        }
    }
    // What is no HTTP is told as early as it can be, or when the head is parsed; what is whole is whole however it comes.
    if at_once == Ok(true) {
        assert_ne!(in_pieces, Ok(false));
    }
    if in_pieces == Ok(true) {
        assert_eq!(at_once, Ok(true));
    }
    let mut room = header_room();
    let parsed = Head::parse(text, &mut room);
    if at_once == Ok(true) && in_pieces.is_err() {
        assert!(parsed.is_err(), "what is no HTTP in pieces is none at once");
    }
    // Only what is whole is ever parsed; a line that ends with a line feed alone never is.
    if let (Ok(true), Ok(head)) = (at_once, parsed) {
        assert!(head.length <= text.len() && text[..head.length].ends_with(b"\r\n\r\n"));
        let request = head.request();
        assert!(!request.host.iter().any(u8::is_ascii_uppercase));
        if head.body == BodyLength::Chunked {
            // One that says both how long it is and that it is chunked is not let through (RFC 9112, 6.3).
            assert!(head.values("content-length").next().is_none());
        }
    }
});
