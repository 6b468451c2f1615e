//! The hosts that a site answers to, and host names in general.

use std::net::{IpAddr, Ipv6Addr};

use super::checked::HostPattern;
use super::kind::Text;

/// A host that a site answers to.
pub(super) struct Host;

impl Text for Host {
    type Value = HostPattern;
    const NAME: &'static str = "host";
    const EXAMPLE: &'static str = "\"example.org\"";

    fn parse(&self, text: &str) -> Result<HostPattern, String> {
        if text == "*" {
            return Ok(HostPattern::Any);
        }
        if let Some((_, rest)) = text.split_once("://") {
            let host = rest.split('/').next().unwrap_or_default();
            return Err(format!("which is a URL; write the host alone: {host:?}"));
        }
        if text.contains('/') {
            return Err("which holds a path; a site is told by its host alone".to_owned());
        }
        if let Some(ip) = text.parse::<Ipv6Addr>().ok().or_else(|| bracketed(text)) {
            return Ok(HostPattern::Exact(format!("[{ip}]")));
        }
        if let Some((host, port)) = text.rsplit_once(':')
            && port.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Err(format!("which has a port; write {host:?}: a site answers on every port that is listened on"));
        }
        if let Some(below) = text.strip_prefix("*.") {
            let name = check_name(below)?;
            if below.parse::<IpAddr>().is_ok() {
                return Err("but there are no names below an IP address".to_owned());
            }
            return Ok(HostPattern::Below(format!(".{name}")));
        }
        if text.contains('*') {
            return Err(
                "but a star stands only for all that is before the first dot: \"*.example.org\", or \"*\" for any host"
                    .to_owned(),
            );
        }
        check_name(text).map(HostPattern::Exact)
    }

    fn show_text(&self, value: &HostPattern) -> String {
        value.to_string()
    }
}

/// The name in lower case, or why it is no host name or IPv4 address (RFC 1123; underscores are let through, since they
/// are in use).
pub(super) fn check_name(name: &str) -> Result<String, String> {
    const NAME_BYTES_MAX: usize = 253;
    const LABEL_BYTES_MAX: usize = 63;
    if name.is_empty() {
        return Err("which names no host".to_owned());
    }
    if !name.is_ascii() {
        return Err("which is not ASCII; write the form that browsers send, which begins with xn--".to_owned());
    }
    if let Some(without) = name.strip_suffix('.') {
        return Err(format!("which ends with a dot; write {without:?}"));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("which is longer than {NAME_BYTES_MAX} characters"));
    }
    for label in name.split('.') {
        if label.is_empty() {
            return Err("which has two dots in a row or begins with one".to_owned());
        }
        if label.len() > LABEL_BYTES_MAX {
            return Err(format!("which has a part of more than {LABEL_BYTES_MAX} characters"));
        }
        if let Some(strange) = label.chars().find(|letter| !letter.is_ascii_alphanumeric() && !"-_".contains(*letter)) {
            return Err(format!("in which {strange:?} cannot stand; a host is letters, digits, hyphens and dots"));
        }
    }
    Ok(name.to_ascii_lowercase())
}

/// The address in `[::1]`.
pub(super) fn bracketed(text: &str) -> Option<Ipv6Addr> {
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Whether every request that `later` stands for is taken by `earlier`.
pub(super) fn covers(earlier: &HostPattern, later: &HostPattern) -> bool {
    match (earlier, later) {
        (HostPattern::Any, _) => true,
        (_, HostPattern::Any) | (HostPattern::Exact(_), HostPattern::Below(_)) => false,
        (HostPattern::Exact(earlier), HostPattern::Exact(later)) => earlier == later,
        (HostPattern::Below(earlier), HostPattern::Exact(later) | HostPattern::Below(later)) => {
            later.ends_with(earlier.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        Host.parse(text).expect("a test host")
    }

    #[test]
    fn hosts_are_read_in_lower_case() {
        assert_eq!(pattern("Example.ORG"), HostPattern::Exact("example.org".to_owned()));
        assert_eq!(pattern("*.Example.org"), HostPattern::Below(".example.org".to_owned()));
        assert_eq!(pattern("*"), HostPattern::Any);
        assert_eq!(pattern("::1"), pattern("[0:0::1]"));
        assert_eq!(pattern("192.0.2.1"), HostPattern::Exact("192.0.2.1".to_owned()));
    }

    #[test]
    fn what_is_no_host_says_what_would_be() {
        for (text, expected) in [
            ("https://example.org/a", "\"example.org\""),
            ("example.org/a", "path"),
            ("example.org:80", "write \"example.org\""),
            ("example.org.", "write \"example.org\""),
            ("a.*.org", "*.example.org"),
            ("*.192.0.2.1", "below an IP"),
            ("exa mple.org", "' ' cannot stand"),
            ("müller.example", "xn--"),
            ("a..b", "two dots"),
            ("", "names no host"),
        ] {
            let message = Host.parse(text).expect_err(text);
            assert!(message.contains(expected), "{text}: {message}");
        }
        assert!(Host.parse(&format!("{}.org", "a".repeat(64))).is_err());
        assert!(Host.parse(&"a.".repeat(200)).is_err());
    }

    #[test]
    fn a_pattern_covers_what_it_takes_away() {
        for (earlier, later, expected) in [
            ("*", "example.org", true),
            ("*", "*", true),
            ("example.org", "example.org", true),
            ("example.org", "*.example.org", false),
            ("*.example.org", "example.org", false),
            ("*.example.org", "www.example.org", true),
            ("*.example.org", "*.www.example.org", true),
            ("*.example.org", "myexample.org", false),
            ("*.example.org", "*", false),
        ] {
            assert_eq!(covers(&pattern(earlier), &pattern(later)), expected, "{earlier} {later}");
        }
    }
}
