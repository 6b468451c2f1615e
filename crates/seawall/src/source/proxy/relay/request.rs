//! The head of a request on its way to the site: written anew, without what concerns the client's connection.

use super::super::claims::Claims;
use super::super::head::Head;
use super::super::headers::Kind;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const X_FORWARDED_PROTO: &str = "x-forwarded-proto";

/// Writes the head of a request that has no body and asks for no other protocol ([`Head::is_plain`]).
pub(super) fn write(head: &Head<'_>, claims: &Claims, text: &mut Vec<u8>) {
    let is = |name: &str, expected| name.eq_ignore_ascii_case(expected);
    for part in [head.method(), b" ", head.target(), b" HTTP/1.1\r\n"] {
        text.extend_from_slice(part);
    }
    let mut names_protocol = false;
    for (name, value) in head.headers() {
        let kind = Kind::of_any_case(name);
        if kind.ends_here(name, claims.belief) || (kind == Kind::Claim && is(name, X_FORWARDED_FOR)) {
            continue;
        }
        names_protocol |= kind == Kind::Claim && is(name, X_FORWARDED_PROTO);
        write_line(name.as_bytes(), value, text);
    }
    // Some servers refuse a POST that does not say how long its body is.
    if head.has_length() || matches!(head.method(), b"POST" | b"PUT" | b"PATCH") {
        write_line(b"Content-Length", b"0", text);
    }
    text.extend_from_slice(b"X-Forwarded-For: ");
    claims.write_forwarded_for(head.values(X_FORWARDED_FOR), text);
    text.extend_from_slice(b"\r\n");
    if !names_protocol {
        write_line(b"X-Forwarded-Proto", b"http", text);
    }
    text.extend_from_slice(b"\r\n");
}

/// Writes one header.
pub(super) fn write_line(name: &[u8], value: &[u8], text: &mut Vec<u8>) {
    for part in [name, b": ", value, b"\r\n"] {
        text.extend_from_slice(part);
    }
}
