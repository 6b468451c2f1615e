//! The request line, as clients write it: well-formed, of an ancient kind, or no HTTP at all.

use crate::observation::{Request, Version};

/// The longest method that is taken for one; registered methods have at most 17 letters.
const METHOD_BYTES_MAX: usize = 32;

/// What a request line says, as the parts of a request that it can fill; the rest is left at its default.
///
/// A line that is no HTTP (a TLS handshake sent to the plain port, another protocol, a probe) gives a request without
/// method whose path is the whole line, so that it can still be counted and matched; an empty line, or `-`, gives one
/// without either. The host is filled only from a target that names it (absolute or authority form), and is as sent.
pub(super) fn read(line: &[u8]) -> Request<'_> {
    let nothing = Request { version: Version::Http09, ..Request::default() };
    if line.is_empty() || line == b"-" {
        return nothing;
    }
    split(line).unwrap_or(Request { path: line, ..nothing })
}

/// A host as it may stand in a target or a virtual host field, without its port.
pub(super) fn without_port(authority: &[u8]) -> &[u8] {
    match memchr::memrchr(b':', authority) {
        Some(at) if authority[at + 1..].iter().all(u8::is_ascii_digit) && !in_brackets(authority, at) => {
            &authority[..at]
        }
        _ => authority,
    }
}

/// Whether a colon belongs to an IPv6 address: in brackets, or one of several where there are none.
fn in_brackets(authority: &[u8], colon: usize) -> bool {
    match memchr::memrchr(b']', authority) {
        Some(closing) => colon < closing,
        None => memchr::memchr(b':', &authority[..colon]).is_some(),
    }
}

fn split(line: &[u8]) -> Option<Request<'_>> {
    let method_end = line.iter().position(|byte| !is_token(*byte))?;
    let (method, rest) = (&line[..method_end], &line[method_end..]);
    if method.is_empty() || method.len() > METHOD_BYTES_MAX || rest.first() != Some(&b' ') {
        return None;
    }
    let (target, version) = split_version(rest.trim_ascii_start());
    if target.is_empty() || target.starts_with(b"HTTP/") {
        return None;
    }
    let origin_form = target[0] == b'/' || target == b"*";
    if version.is_none() && !origin_form && scheme_end(target).is_none() {
        return None;
    }
    let version = version.and_then(Version::parse).unwrap_or(Version::Http09);
    let (host, path_and_query) = if origin_form { (&target[..0], target) } else { split_authority(method, target) };
    let (path, query) = Request::split_target(path_and_query);
    // `http://example.org` and `http://example.org?a` ask for the root (RFC 9112, section 3.2.2).
    let path = if path.is_empty() { b"/" } else { path };
    Some(Request { method, host, path, query, version, ..Request::default() })
}

/// The target, and the version if there is one. Targets with raw spaces in them are common enough, so the version is what follows the last
/// space.
#[inline]
fn split_version(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let at = match text {
        // Nearly all of them: nothing is searched for.
        [target @ .., b' ', b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Some(target.len()),
        _ => memchr::memrchr(b' ', text).filter(|at| text[at + 1..].starts_with(b"HTTP/")),
    };
    at.map_or((text, None), |at| (text[..at].trim_ascii_end(), Some(&text[at + 1..])))
}

/// Host, and path with query, of a target that does not begin with a slash.
pub(super) fn split_authority<'a>(method: &[u8], target: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    if method == b"CONNECT" {
        return (without_port(target), target);
    }
    let Some(authority_start) = scheme_end(target) else { return (&target[..0], target) };
    let rest = &target[authority_start..];
    let authority_end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let authority = &rest[..authority_end];
    let host = match memchr::memrchr(b'@', authority) {
        Some(at) => &authority[at + 1..],
        None => authority,
    };
    (without_port(host), &rest[authority_end..])
}

/// Where the authority begins in `http://…`, of any scheme of at most eight letters.
fn scheme_end(target: &[u8]) -> Option<usize> {
    let colon = target.iter().take(9).position(|byte| *byte == b':')?;
    let scheme = &target[..colon];
    let is_scheme = !scheme.is_empty() && scheme.iter().all(u8::is_ascii_alphabetic);
    (is_scheme && target[colon + 1..].starts_with(b"//")).then_some(colon + 3)
}

/// Letters, digits and the marks that methods are made of in practice.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, method: &str, host: &str, path: &str, query: Option<&str>, version: Version) {
        let request = read(line.as_bytes());
        assert_eq!(request.method, method.as_bytes(), "method of {line}");
        assert_eq!(request.host, host.as_bytes(), "host of {line}");
        assert_eq!(request.path, path.as_bytes(), "path of {line}");
        assert_eq!(request.query, query.map(str::as_bytes), "query of {line}");
        assert_eq!(request.version, version, "version of {line}");
    }

    #[test]
    fn well_formed_lines() {
        check("GET / HTTP/1.1", "GET", "", "/", None, Version::Http11);
        check("GET /a?b=c?d HTTP/2.0", "GET", "", "/a", Some("b=c?d"), Version::Http2);
        check("OPTIONS * HTTP/1.0", "OPTIONS", "", "*", None, Version::Http10);
        check("CONNECT Example.org:443 HTTP/1.1", "CONNECT", "Example.org", "Example.org:443", None, Version::Http11);
    }

    #[test]
    fn absolute_targets_name_the_host() {
        check("GET http://a.example/p?q HTTP/1.1", "GET", "a.example", "/p", Some("q"), Version::Http11);
        check("GET HTTPS://u:p@A.example:8443 HTTP/1.1", "GET", "A.example", "/", None, Version::Http11);
        check("GET http://a.example?q HTTP/1.1", "GET", "a.example", "/", Some("q"), Version::Http11);
        check("GET http://[2001:db8::1]:80/ HTTP/1.1", "GET", "[2001:db8::1]", "/", None, Version::Http11);
        check("GET http://[2001:db8::1]/ HTTP/1.1", "GET", "[2001:db8::1]", "/", None, Version::Http11);
    }

    #[test]
    fn odd_but_readable_lines() {
        check("GET /a b c HTTP/1.1", "GET", "", "/a b c", None, Version::Http11);
        check("GET /", "GET", "", "/", None, Version::Http09);
        check("GET /a b", "GET", "", "/a b", None, Version::Http09);
        check("GET  /  HTTP/1.1", "GET", "", "/", None, Version::Http11);
        check("GET / HTTP/9.7", "GET", "", "/", None, Version::Http09);
        check("GET relative HTTP/1.1", "GET", "", "relative", None, Version::Http11);
    }

    #[test]
    fn what_is_no_http_is_kept_whole_and_has_no_method() {
        for line in
            [r"\x16\x03\x01\x01 \x02", "HELP", "GET", "SSH-2.0-Go x", "a|'|'|b 1", "GET HTTP/1.1", "Gh0st\\xAD /"]
        {
            check(line, "", "", line, None, Version::Http09);
        }
        check("", "", "", "", None, Version::Http09);
        check("-", "", "", "", None, Version::Http09);
    }

    #[test]
    fn ports_are_taken_off_and_addresses_left_whole() {
        for (authority, host) in [
            ("a.example:80", "a.example"),
            ("a.example", "a.example"),
            ("a.example:", "a.example"),
            ("a.example:http", "a.example:http"),
            ("[2001:db8::1]:80", "[2001:db8::1]"),
            ("[2001:db8::1]", "[2001:db8::1]"),
            ("2001:db8::1", "2001:db8::1"),
            ("", ""),
        ] {
            assert_eq!(without_port(authority.as_bytes()), host.as_bytes(), "{authority}");
        }
    }
}
