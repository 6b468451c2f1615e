//! The headers of a message on its way through: what they say, and which of them may not go on.
//!
//! One pass tells all that has to be known. Looking up each name in turn, nearly always in vain, would cost more than all
//! else that is done here for a request.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use seawall_engine::observation::HeaderOrder;

use super::claims::Belief;

/// What only a trusted proxy may say about the client and its request; from anybody else it is a lie that the site might
/// believe.
const CLAIMS: [&str; 13] = [
    "forwarded",
    "x-forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-protocol",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-original-forwarded-for",
    "x-real-ip",
];

/// The same, of proxies that most are not: believed only where the configuration says that the client is named in it. A proxy of
/// another kind passes a client's own on.
const CLAIMS_OF_SOME: [&str; 5] =
    ["x-client-ip", "x-cluster-client-ip", "true-client-ip", "cf-connecting-ip", "fastly-client-ip"];

/// What makes some frameworks serve another path than the one that was judged, or take another method. Nobody may say that.
const OVERRIDES: [&str; 6] = [
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];

/// The longest name that is of a kind of its own.
const KNOWN_BYTES_MAX: usize = "x-original-forwarded-for".len();

/// What a header is to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Host,
    UserAgent,
    Referer,
    Connection,
    TransferEncoding,
    Upgrade,
    /// Written anew by hyper's client, or dealt with by its server.
    ContentLength,
    Expect,
    /// Of one connection alone (RFC 9110, section 7.6.1), beside those above.
    HopByHop,
    /// One of [`CLAIMS`].
    Claim,
    /// One of [`CLAIMS_OF_SOME`].
    ClaimOfSome,
    /// One of [`OVERRIDES`].
    Override,
    /// One of these written with other marks than `-`: CGI, WSGI and their like cannot tell it from the real one.
    Disguised,
    Other,
}

impl Kind {
    /// Of a name in any case.
    pub(super) fn of_any_case(name: &str) -> Self {
        let mut lower = [0; KNOWN_BYTES_MAX];
        let Some(lower) = lower.get_mut(..name.len()) else { return Self::Other };
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        std::str::from_utf8(lower).map_or(Self::Other, Self::of)
    }

    /// Of a name in lower case.
    fn of(name: &str) -> Self {
        match name {
            "host" => Self::Host,
            "user-agent" => Self::UserAgent,
            "referer" => Self::Referer,
            "connection" => Self::Connection,
            "transfer-encoding" => Self::TransferEncoding,
            "upgrade" => Self::Upgrade,
            "content-length" => Self::ContentLength,
            "expect" => Self::Expect,
            // The first is of no standard, but sent by old clients to proxies.
            "proxy-connection" | "te" | "trailer" | "proxy-authenticate" | "proxy-authorization" | "keep-alive" => {
                Self::HopByHop
            }
            name if CLAIMS.contains(&name) => Self::Claim,
            name if CLAIMS_OF_SOME.contains(&name) => Self::ClaimOfSome,
            name if OVERRIDES.contains(&name) => Self::Override,
            name if is_disguised(name) => Self::Disguised,
            _ => Self::Other,
        }
    }

    pub(super) const fn is_of_one_connection(self) -> bool {
        matches!(self, Self::Connection | Self::TransferEncoding | Self::Upgrade | Self::HopByHop)
    }

    /// Whether a request goes on without a header of this name, which is of this kind.
    pub(super) fn ends_here(self, name: &str, belief: Belief) -> bool {
        match self {
            Self::ContentLength | Self::Expect | Self::Override | Self::Disguised => true,
            Self::Claim => belief == Belief::Nothing,
            Self::ClaimOfSome => !matches!(belief, Belief::ForwardedAnd(known) if name.eq_ignore_ascii_case(known)),
            _ => self.is_of_one_connection(),
        }
    }
}

fn is_disguised(name: &str) -> bool {
    let is_mark = |byte: u8| !byte.is_ascii_alphanumeric();
    let is_same = |(found, expected): (u8, u8)| found == expected || (is_mark(found) && expected == b'-');
    let known = || CLAIMS.iter().chain(&CLAIMS_OF_SOME).chain(&OVERRIDES);
    name.bytes().any(|byte| is_mark(byte) && byte != b'-')
        && known().any(|claim| claim.len() == name.len() && name.bytes().zip(claim.bytes()).all(is_same))
}

/// What the headers of one message say.
#[derive(Debug, Default)]
pub(super) struct Survey<'a> {
    /// Of several the first counts, as where a connection's first request is read.
    pub(super) user_agent: Option<&'a [u8]>,
    pub(super) referer: Option<&'a [u8]>,
    pub(super) host: Option<&'a [u8]>,
    pub(super) traits: Traits,
}

/// What holds no part of the message, so that it can be kept while headers are changed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traits {
    /// There are several Host headers, or the body is coded other than by being chunked once.
    pub(super) is_ambiguous: bool,
    pub(super) has_host: bool,
    pub(super) has_length: bool,
    has_coding: bool,
    has_upgrade: bool,
    /// The Connection header has options other than `close` and `keep-alive`, which name nothing that would be there.
    names_options: bool,
    has_claims: bool,
    /// There is something that no request takes along, whoever sent it.
    has_what_ends_here: bool,
    is_of_one_connection: bool,
}

impl<'a> Survey<'a> {
    /// Looks at each header once.
    pub(super) fn new(headers: &'a HeaderMap) -> Self {
        let mut survey = Self::default();
        let traits = &mut survey.traits;
        for (name, value) in headers {
            let kind = Kind::of(name.as_str());
            match kind {
                Kind::Other => continue,
                Kind::Host => {
                    traits.is_ambiguous |= survey.host.is_some();
                    traits.has_host = true;
                    survey.host = Some(value.as_bytes());
                }
                Kind::UserAgent => survey.user_agent = survey.user_agent.or(Some(value.as_bytes())),
                Kind::Referer => survey.referer = survey.referer.or(Some(value.as_bytes())),
                Kind::Connection => traits.names_options |= options(value.as_bytes()).any(is_option),
                Kind::TransferEncoding => {
                    let is_chunked = value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
                    traits.is_ambiguous |= traits.has_coding || !is_chunked;
                    traits.has_coding = true;
                }
                Kind::Upgrade => traits.has_upgrade = true,
                Kind::ContentLength => traits.has_length = true,
                Kind::Claim | Kind::ClaimOfSome => traits.has_claims = true,
                Kind::Expect | Kind::HopByHop | Kind::Override | Kind::Disguised => {}
            }
            traits.is_of_one_connection |= kind.is_of_one_connection();
            // Of claims some may end here, whoever is believed.
            traits.has_what_ends_here |= kind != Kind::Claim && kind.ends_here(name.as_str(), Belief::Forwarded);
        }
        survey
    }
}

/// The order of the headers, as [`Head`](super::head::Head) tells it of a connection's first request; only a name that comes
/// twice stands where it came first.
pub(super) fn order(headers: &HeaderMap) -> HeaderOrder {
    let mut order = HeaderOrder::default();
    headers.iter().for_each(|(name, _)| order.push(name.as_str().as_bytes()));
    order
}

/// The values of the headers of this name, in the order sent.
pub(super) fn values<'a>(headers: &'a HeaderMap, name: &'static str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes)
}

/// The other protocol that a request asks for, if it may be passed on. WebSocket alone: within `h2c` a client would send
/// the site requests that nobody judges.
pub(super) fn upgrade_protocol(headers: &HeaderMap, traits: Traits) -> Option<HeaderValue> {
    if !traits.has_upgrade {
        return None;
    }
    let asks = |value: &HeaderValue| options(value.as_bytes()).any(|option| option.eq_ignore_ascii_case(b"upgrade"));
    let is_upgrade = headers.get_all(header::CONNECTION).iter().any(asks);
    let mut protocols = headers.get_all(header::UPGRADE).iter();
    let protocol = protocols.next().filter(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
    protocol.filter(|_| is_upgrade && protocols.next().is_none()).cloned()
}

/// Takes out of a request what does not go on: what concerns one connection, what is written anew for the next, and
/// claims about the client, unless they are believed.
pub(super) fn strip_request(headers: &mut HeaderMap, traits: Traits, belief: Belief) {
    remove_named_by_connection(headers, traits);
    if traits.has_what_ends_here || (traits.has_claims && belief == Belief::Nothing) {
        remove(headers, |kind, name| kind.ends_here(name, belief));
    }
}

/// Takes out of an answer what concerns one connection, and a length that a coding overrides (RFC 9112, section 6.3): it
/// would cut the answer off at another place.
pub(super) fn strip_answer(headers: &mut HeaderMap, traits: Traits) {
    remove_named_by_connection(headers, traits);
    if traits.is_of_one_connection {
        remove(headers, |kind, _| kind.is_of_one_connection() || (traits.has_coding && kind == Kind::ContentLength));
    }
}

fn remove_named_by_connection(headers: &mut HeaderMap, traits: Traits) {
    if !traits.names_options {
        return;
    }
    let named = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| options(value.as_bytes()))
        .filter(|option| is_option(option));
    // Naming the host would take the request's destination away.
    let named = named.filter_map(|option| HeaderName::from_bytes(option).ok()).filter(|name| *name != header::HOST);
    let named: Vec<HeaderName> = named.collect();
    named.iter().for_each(|name| drop(headers.remove(name)));
}

fn remove(headers: &mut HeaderMap, is_removed: impl Fn(Kind, &str) -> bool) {
    let is_removed = |name: &&HeaderName| is_removed(Kind::of(name.as_str()), name.as_str());
    while let Some(found) = headers.keys().find(is_removed).cloned() {
        headers.remove(found);
    }
}

/// The options of a Connection header.
pub(super) fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// The number that a Content-Length is: digits and nothing else.
pub(super) fn decimal(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    let is_number = !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| is_number);
    text.and_then(|text| text.parse().ok())
}

fn is_option(option: &[u8]) -> bool {
    !option.eq_ignore_ascii_case(b"close") && !option.eq_ignore_ascii_case(b"keep-alive")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        lines.iter().map(line).collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        headers.keys().map(HeaderName::as_str).collect()
    }

    fn stripped(lines: &[(&'static str, &'static str)], belief: Belief) -> Vec<String> {
        let mut headers = headers(lines);
        let traits = Survey::new(&headers).traits;
        strip_request(&mut headers, traits, belief);
        let mut left: Vec<String> = names(&headers).into_iter().map(str::to_owned).collect();
        left.sort();
        left
    }

    #[test]
    fn a_request_goes_on_without_what_ends_here() {
        let lines = [
            ("host", "a"),
            ("connection", "close, x-named, host"),
            ("x-named", "1"),
            ("te", "trailers"),
            ("expect", "100-continue"),
            ("content-length", "1"),
            ("transfer-encoding", "chunked"),
            ("accept", "*/*"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x_forwarded_for", "192.0.2.1"),
        ];
        assert_eq!(stripped(&lines, Belief::Nothing), ["accept", "host"]);
        assert_eq!(stripped(&lines, Belief::Forwarded), ["accept", "host", "x-forwarded-for"]);
        assert_eq!(stripped(&[("x-own_header", "1")], Belief::Nothing), ["x-own_header"]);
    }

    #[test]
    fn only_the_word_of_its_own_kind_of_proxy_is_believed() {
        let lines = [("cf-connecting-ip", "192.0.2.1"), ("true-client-ip", "192.0.2.1"), ("x-real-ip", "192.0.2.1")];
        assert_eq!(stripped(&lines, Belief::Nothing), [""; 0]);
        assert_eq!(stripped(&lines, Belief::Forwarded), ["x-real-ip"]);
        let cloudflare = Belief::ForwardedAnd("cf-connecting-ip");
        assert_eq!(stripped(&lines, cloudflare), ["cf-connecting-ip", "x-real-ip"]);
    }

    #[test]
    fn nobody_says_what_would_be_served_in_place_of_what_was_judged() {
        let lines = [
            ("x-original-url", "/a"),
            ("x-http-method-override", "DELETE"),
            ("x.forwarded.for", "192.0.2.1"),
            ("x!real!ip", "192.0.2.1"),
            ("x-original_url", "/a"),
            ("x.own", "1"),
        ];
        for belief in [Belief::Nothing, Belief::Forwarded, Belief::ForwardedAnd("cf-connecting-ip")] {
            assert_eq!(stripped(&lines, belief), ["x.own"]);
        }
    }

    #[test]
    fn names_are_told_apart_in_any_case() {
        let known = CLAIMS.iter().chain(&CLAIMS_OF_SOME).chain(&OVERRIDES);
        for name in known.copied().chain(["proxy-authorization", "transfer-encoding", "host"]) {
            assert_ne!(Kind::of(name), Kind::Other, "{name}");
            assert_eq!(Kind::of_any_case(&name.to_ascii_uppercase()), Kind::of(name), "{name}");
        }
        assert_eq!(Kind::of_any_case(&"a".repeat(300)), Kind::Other);
    }

    #[test]
    fn a_coding_overrides_a_length_in_an_answer() {
        let mut coded = headers(&[("content-length", "5"), ("transfer-encoding", "chunked"), ("server", "a")]);
        let traits = Survey::new(&coded).traits;
        strip_answer(&mut coded, traits);
        assert_eq!(names(&coded), ["server"]);
        let mut plain = headers(&[("content-length", "5"), ("connection", "keep-alive")]);
        let traits = Survey::new(&plain).traits;
        strip_answer(&mut plain, traits);
        assert_eq!(names(&plain), ["content-length"]);
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_ambiguous() {
        for (lines, expected) in [
            (vec![("host", "a")], false),
            (vec![("host", "a"), ("host", "b")], true),
            (vec![("transfer-encoding", "Chunked ")], false),
            (vec![("transfer-encoding", "gzip, chunked")], true),
            (vec![("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], true),
        ] {
            assert_eq!(Survey::new(&headers(&lines)).traits.is_ambiguous, expected, "{lines:?}");
        }
    }

    #[test]
    fn only_websocket_may_take_over() {
        for (lines, expected) in [
            (vec![("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")], true),
            (vec![("upgrade", "websocket")], false),
            (vec![("connection", "upgrade"), ("upgrade", "h2c")], false),
            (vec![("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")], false),
        ] {
            let headers = headers(&lines);
            let traits = Survey::new(&headers).traits;
            assert_eq!(upgrade_protocol(&headers, traits).is_some(), expected, "{lines:?}");
        }
    }
}
