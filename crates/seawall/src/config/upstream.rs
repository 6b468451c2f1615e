//! The servers that requests are forwarded to, as people write them.

use std::net::Ipv6Addr;
use std::ops::Range;
use std::path::PathBuf;

use super::checked::Upstream;
use super::host::{bracketed, check_name};
use super::kind::{Text, shorten};

/// The longest path of a unix socket: `sun_path` of unix(7) less its final NUL.
const UNIX_PATH_BYTES_MAX: usize = 107;

/// The port of `http://` without one.
const HTTP_PORT: u16 = 80;

/// `http://127.0.0.1:3000` or `unix:/run/app.sock`.
pub(super) struct UpstreamUrl;

impl Text for UpstreamUrl {
    type Value = Upstream;
    const NAME: &'static str = "URL, http:// or unix:";
    const EXAMPLE: &'static str = "\"http://127.0.0.1:3000\"";

    fn parse(&self, text: &str) -> Result<Upstream, String> {
        // Credentials come first: what is advised below repeats the rest, and a password is not repeated.
        if credentials(text).is_some() {
            return Err(
                "but credentials in the URL are not supported; requests keep the ones that they bring".to_owned()
            );
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return parse_unix(path);
        }
        match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => parse_http(rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => Err(format!(
                "but https is not supported: the guard speaks plain HTTP to a server on the same machine or network; \
                 write \"http://{rest}\" if it answers that"
            )),
            Some((scheme, _)) => Err(format!("but {scheme:?} is not supported; write http://HOST:PORT or unix:/PATH")),
            None if text.starts_with('/') => Err(format!("which is no URL; for a unix socket write \"unix:{text}\"")),
            None if parse_http(text).is_ok() => Err(format!("which is no URL; write \"http://{text}\"")),
            None => Err("which is no URL; write http://HOST:PORT or unix:/PATH".to_owned()),
        }
    }

    fn show_given(&self, text: &str) -> String {
        match credentials(text) {
            Some(range) => shorten(&format!("{}…{}", &text[..range.start], &text[range.end..])),
            None => shorten(text),
        }
    }

    fn show_text(&self, value: &Upstream) -> String {
        value.to_string()
    }
}

/// Where `user:password` stands in a URL with an authority.
fn credentials(text: &str) -> Option<Range<usize>> {
    if text.starts_with("unix:") {
        return None;
    }
    let start = text.find("://").map_or(0, |at| at + 3);
    let authority = text[start..].split(['/', '?', '#']).next().unwrap_or_default();
    authority.rfind('@').map(|end| start..start + end)
}

fn parse_unix(path: &str) -> Result<Upstream, String> {
    if let Some(path) = path.strip_prefix("//") {
        return Err(format!(
            "but a unix socket is written without slashes before its path: \"unix:/{}\"",
            path.trim_start_matches('/')
        ));
    }
    if !path.starts_with('/') || path.len() == 1 {
        return Err("but the path of a unix socket must be absolute, such as \"unix:/run/app.sock\"".to_owned());
    }
    if path.contains('\0') {
        return Err("but a path cannot hold a NUL".to_owned());
    }
    if path.len() > UNIX_PATH_BYTES_MAX {
        return Err(format!("but the path of a unix socket has at most {UNIX_PATH_BYTES_MAX} bytes"));
    }
    Ok(Upstream::Unix { path: PathBuf::from(path) })
}

/// Reads what follows `http://`.
fn parse_http(rest: &str) -> Result<Upstream, String> {
    let (authority, beyond) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if beyond.contains('?') {
        return Err(format!("but a query is not supported: requests keep their own; write \"http://{authority}\""));
    }
    if beyond.contains('#') {
        return Err(format!("but a fragment is not supported; write \"http://{authority}\""));
    }
    if !matches!(beyond, "" | "/") {
        return Err(format!("but a path is not supported: requests keep their own; write \"http://{authority}\""));
    }
    if authority.contains('%') {
        return Err("but an IPv6 zone is not supported".to_owned());
    }
    let (host, port) = match authority
        .rfind(']')
        .map_or_else(|| authority.rfind(':'), |end| (end + 1 < authority.len()).then_some(end + 1))
    {
        None => (authority, HTTP_PORT),
        Some(at) => {
            let (host, port) = authority.split_at(at);
            let port = port.strip_prefix(':').and_then(|port| port.parse::<u16>().ok()).filter(|port| *port != 0);
            (host, port.ok_or("whose port is none; write a number from 1 to 65535")?)
        }
    };
    if authority.parse::<Ipv6Addr>().is_ok() || host.parse::<Ipv6Addr>().is_ok() {
        return Err(
            "which holds an IPv6 address without brackets; write, for example, \"http://[::1]:3000\"".to_owned()
        );
    }
    let host = match bracketed(host) {
        Some(ip) => ip.to_string(),
        None => check_name(host)?,
    };
    Ok(Upstream::Http { host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_are_read() {
        for (text, host, port) in [
            ("http://127.0.0.1:3000", "127.0.0.1", 3000),
            ("HTTP://App.Internal/", "app.internal", 80),
            ("http://[::1]:3000", "::1", 3000),
            ("http://[::1]", "::1", 80),
            ("http://localhost", "localhost", 80),
        ] {
            assert_eq!(UpstreamUrl.parse(text), Ok(Upstream::Http { host: host.to_owned(), port }), "{text}");
        }
        assert_eq!(UpstreamUrl.parse("unix:/run/a.sock"), Ok(Upstream::Unix { path: PathBuf::from("/run/a.sock") }));
    }

    #[test]
    fn what_is_not_supported_says_what_is() {
        for (text, expected) in [
            ("127.0.0.1:3000", "write \"http://127.0.0.1:3000\""),
            ("/run/a.sock", "write \"unix:/run/a.sock\""),
            ("unix:a.sock", "absolute"),
            ("unix:///run/a.sock", "\"unix:/run/a.sock\""),
            ("https://example.org", "plain HTTP"),
            ("ftp://example.org", "not supported"),
            ("http://example.org/app", "write \"http://example.org\""),
            ("http://example.org?a=b", "query"),
            ("http://example.org/#a", "fragment"),
            ("http://user:secret@example.org", "credentials"),
            ("http://", "names no host"),
            ("http://:3000", "names no host"),
            ("http://example.org:0", "port"),
            ("http://example.org:99999", "port"),
            ("http://example.org:", "port"),
            ("http://::1", "brackets"),
            ("http://[::1", "cannot stand"),
            ("http://[::1]x", "port"),
            ("http://[fe80::1%25eth0]:80", "zone"),
            ("http://exa mple.org", "cannot stand"),
            ("three words here", "no URL"),
        ] {
            let message = UpstreamUrl.parse(text).expect_err(text);
            assert!(message.contains(expected), "{text}: {message}");
        }
        assert!(UpstreamUrl.parse(&format!("unix:/{}", "a".repeat(107))).is_err());
    }

    #[test]
    fn a_password_is_never_repeated() {
        for text in
            ["http://user:secret@example.org", "https://user:secret@example.org/a", "user:sec@secret@example.org"]
        {
            let message =
                format!("{}{}", UpstreamUrl.show_given(text), UpstreamUrl.parse(text).expect_err("credentials"));
            assert!(message.contains("example.org") && !message.contains("sec"), "{message}");
        }
    }
}
