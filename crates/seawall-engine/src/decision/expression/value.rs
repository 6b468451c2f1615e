//! Values as requests have them, checked where the attribute says what they look like: a rule that silently matches nothing
//! is worse than an error.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::address::canonical_network;
use crate::network::CountryCode;
use crate::observation::Version;
use crate::observation::attribute::{
    Attribute, METHOD_BYTES_MAX, VALUE_BYTES_MAX, path_prefixes, path_template, referer_origin, user_agent_words,
};
use crate::observation::path_template::PLACEHOLDERS;

/// What the values of an attribute look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any bytes.
    Text,
    Method,
    Host,
    Path,
    PathTemplate,
    PathPrefix,
    Extension,
    QueryKeys,
    UserAgentWord,
    RefererOrigin,
    Version,
    /// Addresses and networks.
    Client,
    /// Two letters.
    Country,
    /// A number.
    Asn,
}

impl Kind {
    /// What the values of `attribute` look like.
    pub(super) fn of(attribute: Attribute) -> Self {
        match attribute {
            Attribute::Method => Self::Method,
            Attribute::Host => Self::Host,
            Attribute::Path => Self::Path,
            Attribute::PathTemplate => Self::PathTemplate,
            Attribute::PathPrefix => Self::PathPrefix,
            Attribute::Extension => Self::Extension,
            Attribute::QueryKeys => Self::QueryKeys,
            Attribute::UserAgentWord => Self::UserAgentWord,
            Attribute::RefererOrigin => Self::RefererOrigin,
            Attribute::Version => Self::Version,
            Attribute::ClientPrefix => Self::Client,
            Attribute::Country => Self::Country,
            Attribute::Asn => Self::Asn,
            Attribute::UserAgent | Attribute::HeaderOrder | Attribute::Ja4 => Self::Text,
        }
    }

    /// Whether parts of values can be asked for.
    pub(super) const fn has_parts(self) -> bool {
        !matches!(self, Self::Version | Self::Client | Self::Country | Self::Asn)
    }
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// With the whole.
    Whole,
    /// With a part.
    Part,
}

/// The value in the form in which it is compared. `is_bare` is said of a value without quotes: what is probably an
/// oversight there is meant in quotes.
///
/// # Errors
/// Why no request has such a value, as what follows the value in a sentence.
pub(super) fn check(kind: Kind, value: &[u8], extent: Extent, is_bare: bool) -> Result<Box<[u8]>, String> {
    let most = if kind == Kind::Method { METHOD_BYTES_MAX } else { VALUE_BYTES_MAX };
    if value.len() > most {
        return Err(format!("has {} bytes, where {most} are compared at most", value.len()));
    }
    if extent == Extent::Part {
        if value.is_empty() {
            return Err("is empty, so it is part of everything".to_owned());
        }
        if matches!(kind, Kind::Path | Kind::PathPrefix | Kind::PathTemplate) && value.contains(&b'?') {
            return Err(
                "holds a `?`, which begins the query and is in no path; `query-keys != none` asks for any query, \
                        `query-keys contains` for names of its parameters"
                    .to_owned(),
            );
        }
        return Ok(match kind {
            Kind::Host | Kind::Extension => value.to_ascii_lowercase().into(),
            _ => value.into(),
        });
    }
    match kind {
        Kind::Text | Kind::Client => Ok(value.into()),
        Kind::Method => check_method(value, is_bare),
        Kind::Host => check_host(value),
        Kind::Path => check_path(value, is_bare),
        Kind::PathTemplate => check_path_template(value),
        Kind::PathPrefix => check_path_prefix(value),
        Kind::Extension => check_extension(value),
        Kind::QueryKeys if value.contains(&b'=') => {
            Err("holds a `=`: only the names of parameters are compared, as `action&id`".to_owned())
        }
        Kind::QueryKeys => Ok(value.into()),
        Kind::UserAgentWord if user_agent_words(value).eq([value]) => Ok(value.into()),
        Kind::UserAgentWord => {
            Err("is no single word of three letters and digits or more; ask `user-agent contains` for other parts"
                .to_owned())
        }
        Kind::RefererOrigin if is_bare && memchr::memmem::find(value, b"://").is_none() => Err(format!(
            "has no scheme, as in `https://{}`; write quotes around what is meant as it stands",
            referer_origin(value).escape_ascii()
        )),
        Kind::RefererOrigin if referer_origin(value) == value => Ok(value.into()),
        Kind::RefererOrigin => Err(format!("has a path; the origin is `{}`", referer_origin(value).escape_ascii())),
        Kind::Version => Version::parse(value)
            .map(|version| version.as_str().as_bytes().into())
            .ok_or_else(|| "is no version; there are HTTP/0.9, HTTP/1.0, HTTP/1.1, HTTP/2.0 and HTTP/3.0".to_owned()),
        Kind::Country => country_code(value),
        Kind::Asn => system_number(value),
    }
}

/// A network, or an address as the network of it alone.
///
/// # Errors
/// Why it is none, as what follows the value in a sentence.
pub(super) fn network(value: &[u8]) -> Result<IpNet, String> {
    let example = "is neither an address nor a network, as `192.0.2.7`, `192.0.2.0/24` or `2001:db8::/48`";
    let text = str::from_utf8(value).map_err(|_| example.to_owned())?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let network: IpNet = text.parse().map_err(|_| example.to_owned())?;
    if network != network.trunc() {
        let length = network.prefix_len();
        return Err(format!(
            "has bits set after its first {length}; the network of {length} bits is `{}`",
            network.trunc()
        ));
    }
    Ok(canonical_network(network))
}

/// A code that is assigned, in upper case.
fn country_code(value: &[u8]) -> Result<Box<[u8]>, String> {
    let code: Result<CountryCode, _> = String::from_utf8_lossy(value).parse();
    code.map(|code| code.as_str().as_bytes().into()).map_err(|error| match error.meant() {
        Some(meant) => format!("is no country code; write {meant}"),
        None => "is no country code; a code has two letters, as CN or DE (ISO 3166-1)".to_owned(),
    })
}

/// A number, as attributes write it.
fn system_number(value: &[u8]) -> Result<Box<[u8]>, String> {
    let digits = value.strip_prefix(b"AS").unwrap_or(value);
    let number: Option<u32> = str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    number
        .map(|number| number.to_string().into_bytes().into())
        .ok_or_else(|| "is no number of an autonomous system, as 4134".to_owned())
}

/// Methods are compared with their case (RFC 9110, section 9.1). Requests that are no HTTP have an empty one.
fn check_method(value: &[u8], is_bare: bool) -> Result<Box<[u8]>, String> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if !value.iter().all(is_token) {
        return Err("is no method; a method is one word, as POST".to_owned());
    }
    if is_bare && value.iter().any(u8::is_ascii_lowercase) {
        let upper = value.to_ascii_uppercase();
        return Err(format!(
            "is not {0}: methods have a case; write {0}, or quotes around what is meant as it stands",
            upper.escape_ascii()
        ));
    }
    Ok(value.into())
}

fn check_host(value: &[u8]) -> Result<Box<[u8]>, String> {
    if value.is_empty() {
        return Err("is empty; a request without host is `host = none`".to_owned());
    }
    let scheme = memchr::memmem::find(value, b"://").map(|at| &value[at + 3..]);
    if let Some(host) = scheme.map(|rest| rest.split(|byte| *byte == b'/').next().unwrap_or(rest)) {
        return Err(format!("is a URL; its host is `{}`", host.escape_ascii()));
    }
    if let Some(at) = memchr::memrchr(b':', value) {
        let (host, port) = (&value[..at], &value[at + 1..]);
        let is_port = port.iter().all(u8::is_ascii_digit) && (host.ends_with(b"]") || !host.contains(&b':'));
        if is_port && !host.is_empty() {
            return Err(format!("has a port; hosts are compared without: `{}`", host.escape_ascii()));
        }
    }
    Ok(value.to_ascii_lowercase().into())
}

fn check_path(value: &[u8], is_bare: bool) -> Result<Box<[u8]>, String> {
    if is_bare && !value.starts_with(b"/") && value != b"*" {
        return Err("does not begin with `/`, as paths do; write quotes around what is meant as it stands".to_owned());
    }
    if let Some(at) = memchr::memchr(b'?', value).filter(|_| value.starts_with(b"/") && !value.contains(&b' ')) {
        return Err(format!(
            "holds a query, which is no part of the path `{}`; ask `query-keys` for its parameters",
            value[..at].escape_ascii()
        ));
    }
    Ok(value.into())
}

fn check_path_template(value: &[u8]) -> Result<Box<[u8]>, String> {
    if let Some(template) = path_template(value, &mut [0; VALUE_BYTES_MAX]) {
        return Err(format!("is no template; what it is a path of is `{}`", template.escape_ascii()));
    }
    if PLACEHOLDERS.iter().any(|placeholder| memchr::memmem::find(value, placeholder.as_bytes()).is_some()) {
        return Ok(value.into());
    }
    Err(format!("holds none of {}, as every template does; ask `path` for a path", PLACEHOLDERS.join(", ")))
}

fn check_path_prefix(value: &[u8]) -> Result<Box<[u8]>, String> {
    if path_prefixes(value).last() == Some(value) {
        return Ok(value.into());
    }
    if !value.ends_with(b"/") {
        return Err("does not end with `/`, as directories do; ask `path starts-with` for another beginning".to_owned());
    }
    Err("is no directory of up to three levels, as `/a/b/c/`; ask `path starts-with` for another beginning".to_owned())
}

fn check_extension(value: &[u8]) -> Result<Box<[u8]>, String> {
    if let Some(without) = value.strip_prefix(b".") {
        return Err(format!("has a dot; extensions are compared without: `{}`", without.escape_ascii()));
    }
    // The extension of a file of that name is what it would be compared with.
    let mut buffer = Default::default();
    let file = [b"/file.", value].concat();
    crate::observation::attribute::extension(&file, &mut buffer)
        .filter(|extension| extension.eq_ignore_ascii_case(value))
        .map(Into::into)
        .ok_or_else(|| "is no extension; one has at most twelve letters and digits".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn fails(kind: Kind, value: &str, expected: &str) {
        let reason = check(kind, value.as_bytes(), Extent::Whole, true).expect_err(value);
        assert!(reason.contains(expected), "{value} {reason}");
    }

    #[track_caller]
    fn becomes(kind: Kind, value: &str, expected: &str) {
        assert_eq!(check(kind, value.as_bytes(), Extent::Whole, true).as_deref(), Ok(expected.as_bytes()), "{value}");
    }

    #[test]
    fn values_take_the_form_in_which_requests_have_them() {
        becomes(Kind::Country, "cn", "CN");
        becomes(Kind::Asn, "AS4134", "4134");
        becomes(Kind::Asn, "04134", "4134");
        becomes(Kind::Host, "Example.ORG", "example.org");
        becomes(Kind::Host, "[2001:db8::1]", "[2001:db8::1]");
        becomes(Kind::Extension, "PHP", "php");
        becomes(Kind::Version, "HTTP/2", "HTTP/2.0");
        becomes(Kind::PathPrefix, "/a/b/c/", "/a/b/c/");
        becomes(Kind::PathTemplate, "/{hex}/page-{digits}.mp3", "/{hex}/page-{digits}.mp3");
        becomes(Kind::RefererOrigin, "https://a.example", "https://a.example");
        becomes(Kind::QueryKeys, "action&id", "action&id");
        becomes(Kind::Path, "*", "*");
    }

    #[test]
    fn values_that_no_request_has_are_refused() {
        for code in ["C", "C1", "", "日", "XX"] {
            fails(Kind::Country, code, "two letters");
        }
        fails(Kind::Country, "CHN", "write CN");
        fails(Kind::Country, "UK", "write GB");
        for number in ["", "AS", "x", "-1", "4294967296"] {
            fails(Kind::Asn, number, "as 4134");
        }
        fails(Kind::Method, "post", "write POST");
        fails(Kind::Method, "GET /", "one word");
        fails(Kind::Method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "24 are compared");
        fails(Kind::Host, "", "host = none");
        fails(Kind::Host, "example.org:8080", "`example.org`");
        fails(Kind::Host, "[::1]:80", "`[::1]`");
        fails(Kind::Host, "https://example.org/a", "`example.org`");
        fails(Kind::Path, "announce", "begin with `/`");
        fails(Kind::Path, "/wiki?action=edit", "`/wiki`");
        fails(Kind::PathPrefix, "/wiki", "end with `/`");
        fails(Kind::PathTemplate, "/a8f3e2c1", "what it is a path of is `/{hex}`");
        fails(Kind::PathTemplate, "/{digits}/17", "what it is a path of is `/{digits}/{digits}`");
        fails(Kind::PathTemplate, "/wiki/", "ask `path`");
        fails(Kind::PathPrefix, "/a/b/c/d/", "three levels");
        fails(Kind::PathPrefix, "/", "three levels");
        fails(Kind::Extension, ".php", "`php`");
        fails(Kind::Extension, "tar.gz", "letters and digits");
        fails(Kind::Extension, "", "letters and digits");
        fails(Kind::QueryKeys, "a=1&b", "names of parameters");
        fails(Kind::UserAgentWord, "Mozilla/5.0", "user-agent contains");
        fails(Kind::UserAgentWord, "ab", "three");
        fails(Kind::RefererOrigin, "https://a.example/b", "`https://a.example`");
        fails(Kind::RefererOrigin, "a.example", "`https://a.example`");
        assert!(check(Kind::RefererOrigin, b"a.example", Extent::Whole, false).is_ok(), "in quotes as it stands");
        fails(Kind::Version, "1.1", "HTTP/1.1");
        fails(Kind::Text, &"x".repeat(257), "256 are compared");
    }

    #[test]
    fn parts_that_no_value_has_are_refused() {
        for kind in [Kind::Path, Kind::PathPrefix] {
            let reason = check(kind, b"/wiki?action", Extent::Part, false).expect_err("a query");
            assert!(reason.contains("query-keys"), "{reason}");
        }
        assert_eq!(check(Kind::Text, b"?", Extent::Part, false).as_deref(), Ok(&b"?"[..]));
    }

    #[test]
    fn networks_are_canonical() {
        for (text, expected) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("2001:db8::/32", "2001:db8::/32"),
        ] {
            assert_eq!(network(text.as_bytes()).map(|network| network.to_string()).as_deref(), Ok(expected));
        }
        for (text, expected) in [
            ("192.0.2.7/24", "`192.0.2.0/24`"),
            ("192.0.2", "neither"),
            ("localhost", "neither"),
            ("10.0.0.0/33", "neither"),
        ] {
            let reason = network(text.as_bytes()).expect_err(text);
            assert!(reason.contains(expected), "{reason}");
        }
    }
}
