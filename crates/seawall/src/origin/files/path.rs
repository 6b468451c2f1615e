//! From the target of a request to a path below the folder. Pure: no file is looked at.
//!
//! What is ambiguous is refused, not repaired: a path is decoded once, and no part of it is removed or merged.

use http::StatusCode;
use percent_encoding::percent_decode_str;

/// A well-formed target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Relative to the folder, decoded, without a slash at either end; empty for the folder itself.
    pub(super) path: Vec<u8>,
    /// Whether it ends in a slash.
    pub(super) names_folder: bool,
    /// The same target with a slash after its path, undecoded.
    pub(super) location: String,
}

/// Takes a target in origin form apart.
///
/// # Errors
/// 400 for what is no path at all, 404 for a path that can lead to nothing which is served.
pub(super) fn parse_target(target: &str) -> Result<Target, StatusCode> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let inner = path.strip_prefix('/').ok_or(StatusCode::BAD_REQUEST)?;
    if !is_encoded_well(path) {
        return Err(StatusCode::BAD_REQUEST);
    }
    let names_folder = path.ends_with('/');
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let mut decoded = Vec::with_capacity(inner.len());
    if !inner.is_empty() || path.len() > 1 {
        let mut segments = inner.split('/').peekable();
        let mut first = true;
        while let Some(segment) = segments.next() {
            let segment: Vec<u8> = percent_decode_str(segment).collect();
            if segment.contains(&0) {
                return Err(StatusCode::BAD_REQUEST);
            }
            // Folders that exist to be served carry a dot by decree (RFC 8615), at the top alone.
            let well_known = first && segment == b".well-known" && segments.peek().is_some();
            // An empty segment would make `//host` a redirect to another site; an encoded slash would make one segment two.
            if segment.is_empty() || segment.contains(&b'/') || (segment.starts_with(b".") && !well_known) {
                return Err(StatusCode::NOT_FOUND);
            }
            if !first {
                decoded.push(b'/');
            }
            decoded.extend_from_slice(&segment);
            first = false;
        }
    }
    let location = match query {
        Some(query) => format!("{path}/?{query}"),
        None => format!("{path}/"),
    };
    Ok(Target { path: decoded, names_folder, location })
}

/// Whether every percent sign begins an encoded byte, and there is nothing that a path cannot have.
fn is_encoded_well(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.iter().enumerate().all(|(position, byte)| match byte {
        b'%' => bytes.get(position + 1..position + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)),
        b'#' => false,
        byte => !byte.is_ascii_control() && *byte != b' ',
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: &str, expect: Result<(&str, bool), u16>) {
        let parsed = parse_target(target);
        let parsed = parsed
            .map(|target| (String::from_utf8_lossy(&target.path).into_owned(), target.names_folder))
            .map_err(|status| status.as_u16());
        assert_eq!(parsed, expect.map(|(path, folder)| (path.to_owned(), folder)), "{target}");
    }

    #[test]
    fn targets_are_decoded_once() {
        check("/", Ok(("", true)));
        check("/a", Ok(("a", false)));
        check("/a/b/", Ok(("a/b", true)));
        check("/a%2520b", Ok(("a%20b", false)));
        check("/a?/../b", Ok(("a", false)));
        check("/a\\..\\b", Ok(("a\\..\\b", false)));
        check("/a..b/c.", Ok(("a..b/c.", false)));
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        for target in
            ["//", "//a", "/a//b", "/a//", "/.", "/..", "/a/..", "/a/../", "/%2E%2e/a", "/a%2Fb", "/.well-known"]
        {
            check(target, Err(404));
        }
        for target in ["", "a", "?", "/%", "/%g0", "/%0", "/a b", "/a#b", "/%00", "/a\nb"] {
            check(target, Err(400));
        }
    }
}
