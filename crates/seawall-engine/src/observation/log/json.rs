//! Lines that are JSON objects: nginx with `escape=json`, Caddy, Traefik, Envoy, and whoever names fields as these do.
//!
//! The line is walked once, without a tree and without a copy: texts are borrowed as they stand, their escapes undone only
//! when somebody needs the request ([`super::restore`]). Ready-made parsers either build values or demand valid UTF-8, which
//! nginx does not promise.

mod nested;

use std::time::Duration;

use super::fields::{self, Unit};
use super::{Encoding, Entry, Format, Parts, Reason, Unrecorded, request_line, time};
use crate::address::ClientAddress;
use crate::observation::{Outcome, Request, Version};
use crate::units::Timestamp;

/// The formats that [`read`] tells apart.
pub(super) const FORMATS: &[Format] = &[Format::Json, Format::Caddy, Format::Traefik, Format::Envoy];

/// How deep values may lie in one another.
const DEPTH_MAX: usize = 32;

/// A value as it stands in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// What is between the quotes, escapes and all.
    Text(&'a [u8]),
    /// A number, `true`, `false` or `null`.
    Bare(&'a [u8]),
    /// An object, from its brace on.
    Object(&'a [u8]),
    /// A list, from its bracket on.
    List(&'a [u8]),
}

impl<'a> Value<'a> {
    /// A text or a number; none for `null`.
    pub(super) fn scalar(self) -> Option<&'a [u8]> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bare(b"null") | Self::Object(_) | Self::List(_) => None,
            Self::Bare(text) => Some(text),
        }
    }
}

/// Goes through the members of an object. None when it is no clear JSON.
pub(super) fn members<'a>(object: &'a [u8], mut visit: impl FnMut(&'a [u8], Value<'a>)) -> Option<&'a [u8]> {
    let [b'{', rest @ ..] = object else { return None };
    let mut rest = rest.trim_ascii_start();
    if let [b'}', rest @ ..] = rest {
        return Some(rest);
    }
    loop {
        let (Value::Text(key), after) = value(rest)? else { return None };
        let [b':', after @ ..] = after.trim_ascii_start() else { return None };
        let (found, after) = value(after.trim_ascii_start())?;
        visit(key, found);
        rest = match after.trim_ascii_start() {
            [b',', rest @ ..] => rest.trim_ascii_start(),
            [b'}', rest @ ..] => return Some(rest),
            _ => return None,
        };
    }
}

/// Goes through the elements of a list. None when it is no clear JSON.
pub(super) fn elements<'a>(list: &'a [u8], mut visit: impl FnMut(Value<'a>)) -> Option<()> {
    let [b'[', rest @ ..] = list else { return None };
    let mut rest = rest.trim_ascii_start();
    if rest.first() == Some(&b']') {
        return Some(());
    }
    loop {
        let (found, after) = value(rest)?;
        visit(found);
        rest = match after.trim_ascii_start() {
            [b',', rest @ ..] => rest.trim_ascii_start(),
            [b']', ..] => return Some(()),
            _ => return None,
        };
    }
}

/// The value that `text` begins with, and what follows it.
pub(super) fn value(text: &[u8]) -> Option<(Value<'_>, &[u8])> {
    match text.first()? {
        b'"' => {
            let end = text_end(text)?;
            Some((Value::Text(&text[1..end]), &text[end + 1..]))
        }
        b'{' => nested_end(text).map(|end| (Value::Object(&text[..end]), &text[end..])),
        b'[' => nested_end(text).map(|end| (Value::List(&text[..end]), &text[end..])),
        _ => {
            let is_bare = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
            let end = text.iter().position(|byte| !is_bare(byte)).unwrap_or(text.len());
            (end > 0).then(|| (Value::Bare(&text[..end]), &text[end..]))
        }
    }
}

/// Where the quote is that ends the text which begins with one.
fn text_end(text: &[u8]) -> Option<usize> {
    let mut from = 1;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', text.get(from..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        from = at + 2;
    }
}

/// Where the object or list ends that `text` begins with.
fn nested_end(text: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (0, 0);
    loop {
        match text.get(at)? {
            b'"' => at += text_end(&text[at..])?,
            b'{' | b'[' if depth == DEPTH_MAX => return None,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// What the members of a line say.
#[derive(Default)]
struct Found<'a> {
    format: Option<Format>,
    parts: Parts<'a>,
    /// Whether there is a time, though it may name no moment.
    has_time: bool,
    status: Option<&'a [u8]>,
    /// The target as the client sent it.
    target: Option<&'a [u8]>,
    /// Whether there is a request line, though it may say nothing.
    has_request_line: bool,
    /// What is called a path or the like: the server may have put another in its place (nginx's `$uri`).
    location: Option<&'a [u8]>,
    query: Option<&'a [u8]>,
    duration: Option<&'a [u8]>,
    /// Whoever is connected, where that is said beside the client.
    peer: Option<Option<ClientAddress>>,
}

/// Reads a line of any of [`FORMATS`].
pub(super) fn read(line: &[u8]) -> Result<Entry<'_>, Reason> {
    let mut found = Found::default();
    found.parts.unrecorded = Unrecorded::UNLESS_LEFT_OUT;
    if let Some((at, object)) = console(line) {
        found.parts.at = Some(moment(at).ok_or(Reason::WrongTimestamp)?);
        let rest = members(object, |key, value| found.take(key, value)).ok_or(Reason::NoTimestamp)?;
        let is_of_caddy = found.format == Some(Format::Caddy) && rest.is_empty();
        return if is_of_caddy { found.finish() } else { Err(Reason::NoTimestamp) };
    }
    // What follows the object is another's: some add the name of a container.
    members(line.trim_ascii(), |key, value| found.take(key, value)).ok_or(Reason::NoTimestamp)?;
    found.finish()
}

impl<'a> Found<'a> {
    fn take(&mut self, key: &'a [u8], value: Value<'a>) {
        if key == b"request" && matches!(value, Value::Object(_)) {
            self.format = Some(Format::Caddy);
            if let Value::Object(object) = value {
                members(object, |key, value| self.take_of_caddy(key, value));
            }
            return;
        }
        if let Value::Object(object) = value {
            return self.take_object(key, object);
        }
        let Some(text) = value.scalar() else { return };
        let request = &mut self.parts.request;
        match key {
            b"ts" | b"time" | b"timestamp" | b"@timestamp" | b"time_iso8601" | b"time_local" | b"msec"
            | b"start_time" | b"StartLocal" | b"datetime" | b"date_time" | b"date" | b"requestTime" => {
                self.has_time = true;
                self.parts.at = self.parts.at.or_else(|| moment(text));
            }
            b"StartUTC" => {
                self.has_time = true;
                self.parts.at = moment(text).or(self.parts.at);
            }
            b"remote_addr"
            | b"client_ip"
            | b"clientip"
            | b"client"
            | b"remote_ip"
            | b"ip"
            | b"remote_address"
            | b"remoteAddress"
            | b"remoteAddr"
            | b"remoteIp"
            | b"remote-addr"
            | b"remote_host"
            | b"clientIp"
            | b"client-ip"
            | b"downstream_remote_address" => {
                self.parts.client = self.parts.client.or_else(|| fields::address_with_port(text));
            }
            b"realip_remote_addr" => self.peer = Some(fields::address_with_port(text)),
            b"ClientHost" => {
                // Of several, those before were named by the client itself.
                self.parts.client = fields::last_forwarded(text);
                self.parts.is_peer &= !text.contains(&b',');
            }
            b"http_x_forwarded_for" | b"x-forwarded-for" | b"x_forwarded_for" | b"xff" => {
                self.parts.forwarded_for = fields::present(text);
            }
            // Where the method stands by itself.
            b"request" if is_target(text) => self.target = self.target.or(Some(text)),
            b"request" | b"request_line" | b"requestLine" => {
                self.has_request_line = true;
                self.parts.unrecorded.version = false;
                let (host, user_agent, referer) = (request.host, request.user_agent, request.referer);
                let named = escaped_request_line(text).unwrap_or_else(|| request_line::read(text));
                let host = if named.host.is_empty() { host } else { named.host };
                *request = Request { host, user_agent, referer, ..named };
            }
            b"request_method"
            | b"method"
            | b"RequestMethod"
            | b"requestMethod"
            | b"verb"
            | b"httpMethod"
            | b"http.request.method" => request.method = text,
            b"request_uri"
            | b"RequestPath"
            | b"x-envoy-origin-path"
            | b"url.original"
            | b"originalUrl"
            | b"requested_uri" => self.take_target(text),
            b"uri" | b"url" | b"requestUri" | b"requestUrl" | b"url.path" => self.location = Some(text),
            b"path" => self.location = self.location.or(Some(text)),
            b"args" | b"query_string" | b"query" | b"queryString" | b"url.query" => self.query = fields::present(text),
            b"host" | b"http_host" | b"RequestHost" | b":authority" | b"authority" | b"vhost" | b"url.domain" => {
                request.host = request_line::without_port(text);
            }
            b"server_name" if request.host.is_empty() => request.host = text,
            b"server_protocol" | b"protocol" | b"proto" | b"RequestProtocol" | b"request_protocol" | b"httpversion"
            | b"http_version" | b"httpVersion" | b"http-version" | b"http.version" => self.take_version(text),
            b"status"
            | b"response_code"
            | b"DownstreamStatus"
            | b"status_code"
            | b"statusCode"
            | b"response"
            | b"response_status"
            | b"http_status"
            | b"http.response.status_code" => self.status = Some(text),
            b"body_bytes_sent"
            | b"bytes_sent"
            | b"size"
            | b"bytes"
            | b"DownstreamContentSize"
            | b"response_size"
            | b"bytesSent"
            | b"responseSize"
            | b"content_length"
            | b"contentLength"
            | b"content-length"
            | b"http.response.body.bytes" => self.take_bytes(text),
            b"http_user_agent"
            | b"user_agent"
            | b"user-agent"
            | b"agent"
            | b"userAgent"
            | b"useragent"
            | b"request_User-Agent"
            | b"user_agent.original" => {
                request.user_agent = fields::present(without_quotes(text));
            }
            b"http_referer"
            | b"http_referrer"
            | b"referer"
            | b"referrer"
            | b"request_Referer"
            | b"http.request.referrer" => {
                request.referer = fields::present(without_quotes(text));
            }
            b"request_time" => self.parts.take_request_time(text, Unit::Seconds),
            b"duration" => self.duration = Some(text),
            b"responseTime" | b"response-time" | b"elapsed_time" => {
                self.parts.take_request_time(text, Unit::Milliseconds);
            }
            b"event.duration" => self.parts.take_request_time(text, Unit::Nanoseconds),
            // Another machine's, or one that a header named.
            b"source.ip" | b"source.address" | b"client.ip" | b"client.address" => self.take_distant(text),
            b"Duration" => self.parts.take_request_time(text, Unit::Nanoseconds),
            b"upstream_response_time" => self.parts.take_upstream_time(text, Unit::Seconds),
            b"OriginDuration" => self.parts.take_upstream_time(text, Unit::Nanoseconds),
            b"x-envoy-upstream-service-time" | b"upstream_service_time" => {
                self.parts.take_upstream_time(text, Unit::Milliseconds);
            }
            _ => {}
        }
        match key {
            b"DownstreamStatus" => self.format = Some(Format::Traefik),
            b"response_code" => self.format = Some(Format::Envoy),
            _ => {}
        }
    }

    fn take_of_caddy(&mut self, key: &'a [u8], value: Value<'a>) {
        let request = &mut self.parts.request;
        match (key, value) {
            // The one that a trusted proxy of Caddy's names, and otherwise the peer.
            (b"client_ip", Value::Text(text)) => {
                let peer = self.parts.client;
                self.parts.client = fields::address(text);
                self.parts.is_peer = peer.is_none() || peer == self.parts.client;
            }
            (b"remote_ip", Value::Text(text)) => {
                let peer = fields::address(text);
                self.parts.is_peer = self.parts.client.is_none() || peer == self.parts.client;
                self.parts.client = self.parts.client.or(peer);
            }
            // Before version 2.5 address and port were one.
            (b"remote_addr", Value::Text(text)) => {
                self.parts.client = self.parts.client.or_else(|| fields::address_with_port(text));
            }
            (b"proto", Value::Text(text)) => self.take_version(text),
            (b"method", Value::Text(text)) => request.method = text,
            (b"host", Value::Text(text)) => request.host = request_line::without_port(text),
            (b"uri", Value::Text(text)) => self.target = Some(text),
            (b"headers", Value::Object(headers)) => {
                members(headers, |name, values| {
                    let Value::List([b'[', values @ ..]) = values else { return };
                    let Some((Value::Text(text), _)) = value_of_list(values) else { return };
                    match name {
                        _ if name.eq_ignore_ascii_case(b"user-agent") => self.parts.request.user_agent = Some(text),
                        _ if name.eq_ignore_ascii_case(b"referer") => self.parts.request.referer = Some(text),
                        _ if name.eq_ignore_ascii_case(b"x-forwarded-for") => self.parts.forwarded_for = Some(text),
                        _ => {}
                    }
                });
            }
            _ => {}
        }
    }

    fn finish(mut self) -> Result<Entry<'a>, Reason> {
        let format = self.format.unwrap_or(Format::Json);
        if self.parts.at.is_none() {
            return Err(if self.has_time { Reason::WrongTimestamp } else { Reason::NoTimestamp });
        }
        let request = &mut self.parts.request;
        let location = self.location.filter(|_| request.path.is_empty());
        if let Some(target) = self.target.or(location) {
            let (path, query) = Request::split_target(target);
            (request.path, request.query) = (path, query.or(self.query));
        }
        if request.path.is_empty() && request.method.is_empty() {
            return Err(Reason::NotARequest);
        }
        if self.target.is_none() && self.location.is_none() && !self.has_request_line {
            return Err(Reason::NoTarget);
        }
        self.parts.unrecorded.status = self.status.is_none();
        self.parts.outcome = self.status.map_or(Ok(Outcome::Arrived), fields::status)?;
        if let Some(duration) = self.duration {
            // Others mean seconds or milliseconds, and do not say which.
            match format {
                Format::Envoy => self.parts.take_request_time(duration, Unit::Milliseconds),
                Format::Caddy => match of_caddy(duration) {
                    Some(time) => self.parts.request_time = Some(time),
                    None => self.parts.take_request_time(duration, Unit::Seconds),
                },
                _ => {}
            }
        }
        if let Some(peer) = self.peer {
            let client = self.parts.client.or(peer);
            (self.parts.client, self.parts.is_peer) = (client, self.parts.is_peer && client == peer);
        }
        let encoding = if has_escapes(&self.parts.request) { Encoding::Json } else { Encoding::Plain };
        self.parts.into_entry(format, encoding)
    }
}

/// Whether a text is a target as clients send it, and no whole request line.
fn is_target(text: &[u8]) -> bool {
    text.first() == Some(&b'/') || text.starts_with(br"\/")
}

/// A text within the quotes that some parsers of logs leave around it.
fn without_quotes(text: &[u8]) -> &[u8] {
    text.strip_prefix(br#"\""#).and_then(|text| text.strip_suffix(br#"\""#)).unwrap_or(text)
}

/// Whether any text of a request, taken from JSON as it stands there, holds an escape.
pub(super) fn has_escapes(request: &Request<'_>) -> bool {
    let texts = [request.method, request.host, request.path];
    let optional = [request.query, request.user_agent, request.referer];
    texts.into_iter().chain(optional.into_iter().flatten()).any(|text| memchr::memchr(b'\\', text).is_some())
}

/// The time and the object of a line of Caddy's encoder for people: time, level, logger and message, and then what JSON would have, all
/// parted by tabs. Other logs hold tabs and objects that clients sent, so what stands between must be Caddy's own.
fn console(line: &[u8]) -> Option<(&[u8], &[u8])> {
    if !line.first()?.is_ascii_digit() {
        return None;
    }
    let mut fields = line.splitn(5, |byte| *byte == b'\t');
    let (at, level, logger, _message, object) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let is_of_access =
        logger == ACCESS_LOGGER || logger.strip_prefix(ACCESS_LOGGER).is_some_and(|name| name.starts_with(b"."));
    (is_level(level) && is_of_access).then(|| (at, object.trim_ascii_end()))
}

/// What Caddy calls the logger of requests; behind a dot may follow the name of a log.
const ACCESS_LOGGER: &[u8] = b"http.log.access";

/// Whether a word is a level of Caddy's, in small or capital letters, with a color or without: `info`, `\x1b[34mINFO\x1b[0m`.
fn is_level(word: &[u8]) -> bool {
    let colored = word.strip_prefix(b"\x1b[").and_then(|word| word.strip_suffix(b"\x1b[0m"));
    let name = match colored {
        Some(colored) => colored.splitn(2, |byte| *byte == b'm').nth(1).unwrap_or_default(),
        None => word,
    };
    [&b"debug"[..], b"info", b"warn", b"error"].into_iter().any(|level| name.eq_ignore_ascii_case(level))
}

/// What Caddy says of how long a request took, unless that is seconds: with its unit (`duration_format string`), or in nanoseconds
/// (`nano`). No request takes a whole number of seconds above a thousand, and none less than a thousand nanoseconds.
fn of_caddy(text: &[u8]) -> Option<Duration> {
    if text.last().is_some_and(u8::is_ascii_digit) {
        return fields::integer(text).filter(|nanoseconds| *nanoseconds >= 1_000).map(Duration::from_nanos);
    }
    if let Some((number, b"s")) = memchr::memmem::find(text, br"\u00b5").map(|at| (&text[..at], &text[at + 6..])) {
        return fields::duration(number, Unit::Microseconds);
    }
    fields::go_duration(text)
}

fn moment(text: &[u8]) -> Option<Timestamp> {
    let common = |text: &[u8]| text.try_into().ok().and_then(time::common);
    if memchr::memchr(b'\\', text).is_some() {
        // Some who write JSON put a backslash before each slash.
        let mut plain = [0; time::COMMON_BYTES];
        let mut length = 0;
        for byte in text.iter().filter(|byte| **byte != b'\\') {
            *plain.get_mut(length)? = *byte;
            length += 1;
        }
        return common(plain.get(..length)?);
    }
    time::iso(text).or_else(|| time::epoch(text)).or_else(|| common(text)).or_else(|| time::wall(text))
}

/// Also with a backslash before its slash.
pub(super) fn version(text: &[u8]) -> Option<Version> {
    Version::parse(text).or_else(|| {
        let number = text.strip_prefix(br"HTTP\/")?;
        let mut plain = *b"HTTP/0.0";
        plain.get_mut(5..5 + number.len())?.copy_from_slice(number);
        Version::parse(plain.get(..5 + number.len())?)
    })
}

/// A request line with a backslash before each slash; none if it is none.
fn escaped_request_line(line: &[u8]) -> Option<Request<'_>> {
    let (target, protocol) = line.split_at_checked(memchr::memrchr(b' ', line)?)?;
    let protocol = protocol.strip_prefix(b" ").filter(|protocol| protocol.starts_with(br"HTTP\/"))?;
    let version = version(protocol)?;
    let (method, target) = target.split_at_checked(memchr::memchr(b' ', target)?)?;
    let target = target.trim_ascii();
    let (host, target) = match memchr::memmem::find(target, br":\/\/") {
        Some(at) if !target.starts_with(br"\/") => {
            let rest = &target[at + 5..];
            rest.split_at(rest.iter().position(|byte| matches!(byte, b'\\' | b'?')).unwrap_or(rest.len()))
        }
        _ => (&target[..0], target),
    };
    let (path, query) = Request::split_target(target);
    let path = if path.is_empty() { b"/" } else { path };
    Some(Request { method, host: request_line::without_port(host), path, query, version, ..Request::default() })
}

/// The first value of a list, whose bracket is taken off.
fn value_of_list(values: &[u8]) -> Option<(Value<'_>, &[u8])> {
    value(values.trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(object: &str) -> Option<Vec<String>> {
        let mut keys = Vec::new();
        members(object.as_bytes(), |key, value| {
            keys.push(format!("{}={value:?}", String::from_utf8_lossy(key)));
        })?;
        Some(keys)
    }

    #[test]
    fn values_are_found_as_they_stand() {
        let found = keys(r#"{"a":1, "b" : "x\"}" ,"c":{"d":["]"]},"e":[{},"{"],"f":null}"#).expect("an object");
        assert_eq!(found.len(), 5);
        assert!(found[1].contains(&format!("{:?}", br#"x\"}"#)), "{}", found[1]);
        assert_eq!(keys("{}"), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_object_is_none() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100));
        for text in
            ["", "[]", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\" 1}", "{a:1}", "{\"a\":1,}", "{\"a\":\"", &deep]
        {
            assert_eq!(keys(text), None, "{text}");
        }
    }
}
