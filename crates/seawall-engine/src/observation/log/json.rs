//! Lines that are JSON objects: nginx with `escape=json`, Caddy, Traefik, Envoy, and whoever names fields as these do.
//!
//! The line is walked once, without a tree and without a copy: texts are borrowed as they stand, their escapes undone only
//! when somebody needs the request ([`super::restore`]). Ready-made parsers either build values or demand valid UTF-8, which
//! nginx does not promise.

use super::fields::{self, Unit};
use super::{Encoding, Entry, Format, Parts, Reason, request_line, time};
use crate::observation::{Outcome, Request, Version};

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
    fn scalar(self) -> Option<&'a [u8]> {
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

/// The value that `text` begins with, and what follows it.
fn value(text: &[u8]) -> Option<(Value<'_>, &[u8])> {
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
    time: Option<&'a [u8]>,
    status: Option<&'a [u8]>,
    target: Option<&'a [u8]>,
    query: Option<&'a [u8]>,
    duration: Option<&'a [u8]>,
}

/// Reads a line of any of [`FORMATS`].
pub(super) fn read(line: &[u8]) -> Result<Entry<'_>, Reason> {
    let mut found = Found::default();
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
        let Some(text) = value.scalar() else { return };
        let request = &mut self.parts.request;
        match key {
            b"ts" | b"time" | b"timestamp" | b"@timestamp" | b"time_iso8601" | b"time_local" | b"msec"
            | b"start_time" | b"StartLocal" => {
                self.time = self.time.or(Some(text));
            }
            b"StartUTC" => self.time = Some(text),
            b"remote_addr"
            | b"client_ip"
            | b"clientip"
            | b"client"
            | b"remote_ip"
            | b"ip"
            | b"remote_address"
            | b"downstream_remote_address" => {
                self.parts.client = self.parts.client.or_else(|| fields::address_with_port(text));
            }
            b"ClientHost" => {
                // Of several, those before were named by the client itself.
                self.parts.client = fields::last_forwarded(text);
                self.parts.is_peer &= !text.contains(&b',');
            }
            b"http_x_forwarded_for" | b"x-forwarded-for" | b"x_forwarded_for" | b"xff" => {
                self.parts.forwarded_for = fields::present(text);
            }
            b"request" => {
                let (host, user_agent, referer) = (request.host, request.user_agent, request.referer);
                let named = request_line::read(text);
                let host = if named.host.is_empty() { host } else { named.host };
                *request = Request { host, user_agent, referer, ..named };
            }
            b"request_method" | b"method" | b"RequestMethod" | b"verb" => request.method = text,
            b"request_uri" | b"uri" | b"RequestPath" | b"x-envoy-origin-path" | b"url" => self.target = Some(text),
            b"path" => self.target = self.target.or(Some(text)),
            b"args" | b"query_string" | b"query" => self.query = fields::present(text),
            b"host" | b"http_host" | b"RequestHost" | b":authority" | b"vhost" => {
                request.host = request_line::without_port(text);
            }
            b"server_name" if request.host.is_empty() => request.host = text,
            b"server_protocol" | b"protocol" | b"proto" | b"RequestProtocol" | b"request_protocol" => {
                request.version = Version::parse(text).unwrap_or(request.version);
            }
            b"status" | b"response_code" | b"DownstreamStatus" | b"status_code" => self.status = Some(text),
            b"body_bytes_sent" | b"bytes_sent" | b"size" | b"bytes" | b"DownstreamContentSize" | b"response_size" => {
                self.parts.bytes = fields::integer(text).unwrap_or(self.parts.bytes);
            }
            b"http_user_agent" | b"user_agent" | b"user-agent" | b"agent" | b"userAgent" | b"request_User-Agent" => {
                request.user_agent = fields::present(text);
            }
            b"http_referer" | b"http_referrer" | b"referer" | b"referrer" | b"request_Referer" => {
                request.referer = fields::present(text);
            }
            b"request_time" => self.parts.request_time = fields::duration(text, Unit::Seconds),
            b"duration" => self.duration = Some(text),
            b"Duration" => self.parts.request_time = fields::duration(text, Unit::Nanoseconds),
            b"upstream_response_time" => self.parts.upstream_time = fields::duration(text, Unit::Seconds),
            b"OriginDuration" => self.parts.upstream_time = fields::duration(text, Unit::Nanoseconds),
            b"x-envoy-upstream-service-time" => {
                self.parts.upstream_time = fields::duration(text, Unit::Milliseconds);
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
            (b"proto", Value::Text(text)) => request.version = Version::parse(text).unwrap_or_default(),
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
        let time = self.time.ok_or(Reason::NoTimestamp)?;
        let common = || time.try_into().ok().and_then(time::common);
        let at = time::iso(time).or_else(|| time::epoch(time)).or_else(common);
        self.parts.at = Some(at.ok_or(Reason::WrongTimestamp)?);
        let request = &mut self.parts.request;
        if let Some(target) = self.target {
            let (path, query) = Request::split_target(target);
            (request.path, request.query) = (path, query.or(self.query));
        }
        if request.path.is_empty() && request.method.is_empty() {
            return Err(Reason::NotARequest);
        }
        self.parts.outcome = self.status.map_or(Ok(Outcome::Arrived), fields::status)?;
        if let Some(duration) = self.duration {
            let unit = if format == Format::Envoy { Unit::Milliseconds } else { Unit::Seconds };
            self.parts.request_time = fields::duration(duration, unit);
        }
        let is_escaped = |text: &[u8]| memchr::memchr(b'\\', text).is_some();
        let request = &self.parts.request;
        let texts = [request.method, request.host, request.path];
        let optional = [request.query, request.user_agent, request.referer];
        let has_escapes = texts.into_iter().chain(optional.into_iter().flatten()).any(is_escaped);
        self.parts.into_entry(format, if has_escapes { Encoding::Json } else { Encoding::Plain })
    }
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
