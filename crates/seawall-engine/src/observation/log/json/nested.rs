//! Members that lie in objects: Elastic's Common Schema (`http`, `url`, `source`, `user_agent`), what Node's loggers put a request and
//! its answer into (pino, bunyan: `req`, `res`), and Google's `httpRequest`.

use super::super::fields::{self, Unit};
use super::super::request_line;
use super::{Found, Value, members, version, without_quotes};
use crate::observation::Version;

/// What an object tells of, by the names that lead to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Http,
    HttpRequest,
    HttpResponse,
    HttpBody,
    Url,
    /// Who asked.
    Source,
    UserAgent,
    Event,
    Req,
    ReqHeaders,
    Res,
    ResHeaders,
    Google,
}

impl Within {
    /// An object of the line itself.
    fn outermost(key: &[u8]) -> Option<Self> {
        match key {
            b"http" => Some(Self::Http),
            b"url" => Some(Self::Url),
            b"source" | b"client" => Some(Self::Source),
            b"user_agent" => Some(Self::UserAgent),
            b"event" => Some(Self::Event),
            b"req" => Some(Self::Req),
            b"res" | b"response" => Some(Self::Res),
            b"httpRequest" => Some(Self::Google),
            _ => None,
        }
    }

    /// One in this.
    fn inner(self, key: &[u8]) -> Option<Self> {
        match (self, key) {
            (Self::Http, b"request") => Some(Self::HttpRequest),
            (Self::Http, b"response") => Some(Self::HttpResponse),
            (Self::HttpResponse, b"body") => Some(Self::HttpBody),
            (Self::Req, b"headers") => Some(Self::ReqHeaders),
            (Self::Res, b"headers") => Some(Self::ResHeaders),
            _ => None,
        }
    }
}

impl<'a> Found<'a> {
    /// Takes an object of the line, if it is one of those that are known.
    pub(super) fn take_object(&mut self, key: &[u8], object: &'a [u8]) {
        if let Some(within) = Within::outermost(key) {
            members(object, |key, value| self.take_within(within, key, value));
        }
    }

    fn take_within(&mut self, within: Within, key: &'a [u8], value: Value<'a>) {
        if let Value::Object(object) = value {
            if let Some(inner) = within.inner(key) {
                members(object, |key, value| self.take_within(inner, key, value));
            }
            return;
        }
        let Some(text) = value.scalar() else { return };
        let request = &mut self.parts.request;
        match (within, key) {
            (Within::Http, b"version") | (Within::Req, b"httpVersion") | (Within::Google, b"protocol") => {
                self.take_version(text);
            }
            (Within::HttpRequest | Within::Req, b"method") | (Within::Google, b"requestMethod") => {
                request.method = text;
            }
            (Within::HttpRequest, b"referrer")
            | (Within::ReqHeaders, b"referer" | b"referrer")
            | (Within::Google, b"referer") => request.referer = fields::present(without_quotes(text)),
            (Within::UserAgent, b"original") | (Within::ReqHeaders, b"user-agent") | (Within::Google, b"userAgent") => {
                request.user_agent = fields::present(without_quotes(text));
            }
            (Within::ReqHeaders, b"host") | (Within::Url, b"domain") => request.host = request_line::without_port(text),
            (Within::ReqHeaders, b"x-forwarded-for") => self.parts.forwarded_for = fields::present(text),
            (Within::Url, b"original") | (Within::Req, b"url" | b"originalUrl") | (Within::Google, b"requestUrl") => {
                self.take_target(text);
            }
            (Within::Url, b"path") => self.location = Some(text),
            (Within::Url, b"query") => self.query = fields::present(text),
            (Within::HttpResponse, b"status_code")
            | (Within::Res, b"statusCode" | b"status")
            | (Within::Google, b"status") => self.status = Some(text),
            (Within::HttpBody, b"bytes")
            | (Within::ResHeaders, b"content-length")
            | (Within::Res, b"contentLength")
            | (Within::Google, b"responseSize") => self.take_bytes(text),
            (Within::Source, b"ip" | b"address") | (Within::Google, b"remoteIp") => self.take_distant(text),
            (Within::Req, b"remoteAddress" | b"remote_address") => {
                self.parts.client = self.parts.client.or_else(|| fields::address_with_port(text));
            }
            (Within::Event, b"duration") => self.parts.take_request_time(text, Unit::Nanoseconds),
            (Within::Google, b"latency") => {
                self.parts.request_time = fields::go_duration(text);
                self.parts.is_duration_unreadable |= self.parts.request_time.is_none();
            }
            _ => {}
        }
    }

    /// A target as the client sent it, with its host or without.
    pub(super) fn take_target(&mut self, text: &'a [u8]) {
        let (host, target) = request_line::split_authority(self.parts.request.method, text);
        if !host.is_empty() && text.first() != Some(&b'/') && self.parts.request.method != b"CONNECT" {
            self.parts.request.host = host;
            self.target = Some(if target.is_empty() { b"/" } else { target });
        } else {
            self.target = Some(text);
        }
    }

    /// A client of whom it is not known whether he was connected to this machine: his address went through other hands.
    pub(super) fn take_distant(&mut self, text: &'a [u8]) {
        if self.parts.client.is_none() {
            self.parts.client = fields::address_with_port(text);
            self.parts.is_peer = false;
        }
    }

    pub(super) fn take_version(&mut self, text: &'a [u8]) {
        let short = match text {
            b"1.0" => Some(Version::Http10),
            b"1.1" => Some(Version::Http11),
            b"2" | b"2.0" => Some(Version::Http2),
            b"3" | b"3.0" => Some(Version::Http3),
            _ => None,
        };
        if let Some(version) = short.or_else(|| version(text)) {
            self.parts.request.version = version;
            self.parts.unrecorded.version = false;
        }
    }

    pub(super) fn take_bytes(&mut self, text: &'a [u8]) {
        if let Ok(bytes) = fields::size(text) {
            self.parts.bytes = bytes;
            self.parts.unrecorded.bytes = false;
        }
    }
}
