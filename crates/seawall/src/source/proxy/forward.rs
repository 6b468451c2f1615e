//! Requests that go on to a site by hyper on both sides: those with a body, those that ask for another protocol, and
//! whatever else is unusual. Parsed by its server, framed anew by its client.

use std::cell::RefCell;
use std::error::Error as _;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, request};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use seawall_engine::observation::{self, HeaderOrder, Outcome, Version};
use tokio::io::AsyncWriteExt as _;

use super::account::Account;
use super::answers::Reply;
use super::body::{AnswerBody, AnswerSource, RequestBody};
use super::claims::{Belief, Claims};
use super::connection::{Connection, Phase, Refused, Sender};
use super::deadlines::Deadline;
use super::head::{HeadError, Host};
use super::headers::{self, Survey, Traits, upgrade_protocol};
use super::settings::{Destination, Settings};
use super::stream::ClientStream;
use super::streams::ClockRequest;
use super::upstream::UpstreamBody;
use crate::config::Upstream;

/// hyper's own lower bound for its buffer.
const BUFFER_BYTES_MIN: usize = 8 * 1024;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The connection is reset without an answer: a rule says so.
#[derive(Debug, thiserror::Error)]
#[error("dropped by a rule")]
struct Dropped;

/// What the requests of one connection share.
struct Exchange {
    connection: Rc<Connection>,
    /// For waiting on the upstream; the connection's own deadline is for waiting on the client.
    deadline: Rc<Deadline>,
    /// The upstream of a connection that changes to another protocol.
    tunnel: RefCell<Option<UpstreamBody>>,
}

/// Serves all requests of a connection until it ends. Returns it when it is still to be closed.
pub(super) async fn serve(connection: &Rc<Connection>, mut stream: ClientStream) -> Option<ClientStream> {
    let exchange = Rc::new(Exchange {
        connection: Rc::clone(connection),
        deadline: connection.upstream_deadline(),
        tunnel: RefCell::new(None),
    });
    let service = service_fn(|request| {
        let exchange = Rc::clone(&exchange);
        async move { exchange.answer(request).await }
    });
    let buffer_bytes_max = connection.worker.limits(|limits| limits.head_bytes_max).max(BUFFER_BYTES_MIN);
    let served = http1::Builder::new()
        .max_buf_size(buffer_bytes_max)
        .header_read_timeout(None)
        // Heads and small bodies go out in one plain write, which the kernel handles faster than a vector of them.
        .writev(false)
        .serve_connection(TokioIo::new(&mut stream), service)
        .without_shutdown()
        .await;
    match served {
        Ok(parts) => match exchange.tunnel.take() {
            Some(upstream) => {
                let received = parts.read_buf;
                tunnel(connection, stream, received, upstream).await;
                None
            }
            None => Some(stream),
        },
        Err(error) => {
            tracing::trace!(%error, "a connection ended early");
            if error.is_parse() {
                connection.worker.traffic.malformed.add(1);
                // It has been told so; closing at once could take the answer from it.
                return Some(stream);
            }
            if error.source().is_some_and(|cause| cause.is::<Dropped>()) {
                stream.into_socket().reset();
            }
            None
        }
    }
}

/// Carries bytes both ways until both sides have ended or nothing has come for too long.
async fn tunnel(connection: &Rc<Connection>, mut client: ClientStream, received: Bytes, upstream: UpstreamBody) {
    connection.enter(Phase::Tunnel);
    let Some((mut upstream, answered)) = upstream.into_tunnel().await else { return };
    let carried = async {
        upstream.write_all(&received).await?;
        client.write_all(&answered).await?;
        tokio::io::copy_bidirectional(&mut client, &mut upstream).await
    };
    if let Err(error) = carried.await {
        tracing::trace!(%error, "a tunnel ended early");
    }
}

impl Exchange {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<AnswerBody>, Dropped> {
        let connection = &self.connection;
        connection.enter(Phase::Exchange);
        let settings = connection.worker.settings();
        let arrived = connection.worker.shared.clock.now();
        let (parts, body) = request.into_parts();
        let survey = Survey::new(&parts.headers);
        let (true, Ok(host)) = (is_clear(&parts, survey.traits), host(&parts, &survey)) else {
            connection.worker.traffic.malformed.add(1);
            return Ok(self.reply(Reply::Malformed, &parts.method));
        };
        let header_order = headers::order(&parts.headers);
        let (view, traits) = (view(&parts, &host, &survey, &header_order), survey.traits);
        let (destination, sender) = match connection.judged.take() {
            // Judged before hyper came in; only the way remains to be found again.
            Some(sender) => match settings.destination(view.host) {
                Some(destination) => (destination.clone(), sender),
                None => return Ok(self.reply(Reply::Misdirected, &parts.method)),
            },
            None => {
                let client = connection.client(&settings, |name| headers::values(&parts.headers, name));
                connection.note_sender(&view, client, |name| headers::values(&parts.headers, name));
                match connection.admit(&settings, &view, client, arrived) {
                    Ok(admitted) => admitted,
                    Err(Refused::Silently) => return Err(Dropped),
                    // Closed after it: the next request on a new connection is refused at a tenth of the cost.
                    Err(Refused::With(reply)) => {
                        let mut response = self.reply(reply, &parts.method);
                        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                        return Ok(response);
                    }
                }
            }
        };
        let account = Account::open(connection, &view, sender, arrived);
        Ok(match destination {
            Destination::Upstream(upstream) => {
                self.forward(&settings, &upstream, (parts, traits), body, sender, account).await
            }
            Destination::Files(files) => {
                let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
                let response = files.respond(&parts.method, target, &parts.headers).await;
                finish(response.map(AnswerSource::Files), account)
            }
            Destination::Clock => {
                let reply = match ClockRequest::new(&view) {
                    ClockRequest::Reply(reply) => reply,
                    // A stream needs the socket, which hyper has: the same again on a connection of its own.
                    ClockRequest::Stream => Reply::OnceMore,
                };
                finish(self.full(reply, &parts.method), account)
            }
        })
    }

    async fn forward(
        &self,
        settings: &Settings,
        upstream: &Arc<Upstream>,
        (mut parts, traits): (request::Parts, Traits),
        body: Incoming,
        sender: Sender,
        mut account: Account,
    ) -> Response<AnswerBody> {
        let connection = &self.connection;
        let method = parts.method.clone();
        let protocol = upgrade_protocol(&parts.headers, traits);
        let claims = connection.claims(settings, sender.client);
        let prepared = prepare_request(&mut parts, traits, claims.belief, protocol.as_ref())
            .and_then(|()| self.add_claims(&mut parts.headers, &claims));
        if prepared.is_err() {
            account.outcome = Outcome::Served { status: 400 };
            return finish(self.full(Reply::Malformed, &method), account);
        }
        frame(&mut parts, &body, traits.has_length);
        let worker = &connection.worker;
        let connections_max = settings.limits.upstream_connections_max.div_ceil(worker.workers).max(1);
        let pool = worker.pools.get(upstream, connections_max);
        let request =
            Request::from_parts(parts, RequestBody::new(body, Rc::clone(connection), Rc::clone(&self.deadline)));
        let result = pool.send(worker, request, &self.deadline).await;
        account.answer();
        match result {
            Ok(mut response) => {
                pool.note_answer();
                let status = response.status();
                account.outcome = Outcome::Served { status: status.as_u16() };
                let traits = Survey::new(response.headers()).traits;
                headers::strip_answer(response.headers_mut(), traits);
                tell_length_once(&mut response);
                *response.version_mut() = http::Version::HTTP_11;
                if status == StatusCode::SWITCHING_PROTOCOLS {
                    return self.switch(response, protocol, account);
                }
                finish(response.map(AnswerSource::Upstream), account)
            }
            Err(error) => {
                let reply = error.reply();
                let status = worker.answer(reply, |answer| answer.status);
                if !error.is_the_clients() {
                    worker.note_failure(upstream, &error);
                }
                account.fail_with(&error, status);
                finish(self.full(reply, &method), account)
            }
        }
    }

    /// Tells the site who the client is.
    fn add_claims(&self, headers: &mut HeaderMap, claims: &Claims) -> Result<(), http::Error> {
        let mut forwarded_for = Vec::new();
        claims.write_forwarded_for(
            headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes),
            &mut forwarded_for,
        );
        headers.insert(X_FORWARDED_FOR, HeaderValue::try_from(forwarded_for)?);
        if claims.belief == Belief::Nothing || !headers.contains_key(X_FORWARDED_PROTO) {
            headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
        }
        Ok(())
    }

    /// Passes a change of protocol on, if it is the one that was asked for.
    fn switch(
        &self,
        response: Response<UpstreamBody>,
        protocol: Option<HeaderValue>,
        account: Account,
    ) -> Response<AnswerBody> {
        let (mut parts, upstream) = response.into_parts();
        let Some(protocol) = protocol else {
            // Nobody asked for another protocol, so what follows could not be told from an answer.
            return finish(self.full(Reply::BadGateway, &Method::GET), account);
        };
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, protocol);
        *self.tunnel.borrow_mut() = Some(upstream);
        finish(Response::from_parts(parts, AnswerSource::Full(Full::default())), account)
    }

    fn full(&self, reply: Reply, method: &Method) -> Response<AnswerSource> {
        let response = self.connection.worker.answer(reply, |answer| answer.to_response());
        let is_head_request = *method == Method::HEAD;
        response.map(|body| AnswerSource::Full(Full::new(if is_head_request { Bytes::new() } else { body })))
    }

    /// An answer to a request whose observation has been made already, or that is not worth one.
    fn reply(&self, reply: Reply, method: &Method) -> Response<AnswerBody> {
        let account = Account::without_record(&self.connection);
        finish(self.full(reply, method), account)
    }
}

fn finish(response: Response<AnswerSource>, account: Account) -> Response<AnswerBody> {
    response.map(|source| AnswerBody::new(source, account))
}

/// Says the length of an answer as one number, where the site said it several times. hyper has seen that all are the same.
fn tell_length_once(response: &mut Response<UpstreamBody>) {
    let length = response.body().size_hint().exact();
    let mut told = response.headers().get_all(header::CONTENT_LENGTH).iter();
    let first = told.next();
    let is_clear = first.is_none_or(|value| headers::decimal(value.as_bytes()).is_some()) && told.next().is_none();
    if !is_clear {
        response.headers_mut().remove(header::CONTENT_LENGTH);
        if let Some(length) = length {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
    }
}

/// Whether a request is as clear as [`super::head`] has it of a first one, in what can be told behind hyper: it goes to a
/// path, or to the server as a whole, and its body is not coded beyond being chunked.
fn is_clear(parts: &request::Parts, traits: Traits) -> bool {
    let uri = &parts.uri;
    let is_target = match (uri.scheme_str(), uri.authority()) {
        (None, None) => uri.path().starts_with('/') || (uri.path() == "*" && parts.method == Method::OPTIONS),
        (Some("http" | "https"), Some(_)) => true,
        _ => false,
    };
    is_target && parts.method != Method::CONNECT && !traits.is_ambiguous
}

/// The host that a request is for. A target in absolute form must say the same as the Host header.
fn host(parts: &request::Parts, survey: &Survey<'_>) -> Result<Host, HeadError> {
    if survey.host.is_none() && parts.version == http::Version::HTTP_11 {
        return Err(HeadError::Malformed);
    }
    let named = survey.host.map(Host::parse).transpose()?;
    let Some(authority) = parts.uri.authority() else { return Ok(named.unwrap_or_default()) };
    let target = Host::parse(authority.as_str().as_bytes())?;
    match named {
        Some(named) if named.as_bytes() != target.as_bytes() => Err(HeadError::Malformed),
        _ => Ok(target),
    }
}

fn view<'a>(
    parts: &'a request::Parts,
    host: &'a Host,
    survey: &Survey<'a>,
    header_order: &'a HeaderOrder,
) -> observation::Request<'a> {
    observation::Request {
        method: parts.method.as_str().as_bytes(),
        host: host.as_bytes(),
        path: parts.uri.path().as_bytes(),
        query: parts.uri.query().map(str::as_bytes),
        version: if parts.version == http::Version::HTTP_10 { Version::Http10 } else { Version::Http11 },
        user_agent: survey.user_agent,
        referer: survey.referer,
        header_order: Some(header_order.as_bytes()),
        ..observation::Request::default()
    }
}

/// Turns a request as it came into one to be sent on.
fn prepare_request(
    parts: &mut request::Parts,
    traits: Traits,
    belief: Belief,
    protocol: Option<&HeaderValue>,
) -> Result<(), http::Error> {
    headers::strip_request(&mut parts.headers, traits, belief);
    if let Some(authority) = parts.uri.authority() {
        parts.headers.insert(header::HOST, HeaderValue::from_str(authority.as_str())?);
        let target = parts.uri.path_and_query().cloned();
        parts.uri = target.map_or_else(|| Uri::from_static("/"), Uri::from);
    } else if !traits.has_host {
        // HTTP/1.0 may do without; the version that is spoken from here on may not.
        parts.headers.insert(header::HOST, HeaderValue::from_static(""));
    }
    if let Some(protocol) = protocol {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, protocol.clone());
    }
    parts.version = http::Version::HTTP_11;
    Ok(())
}

/// Says how long the body is, in the one way that fits. Left to itself hyper takes a chunked body away from GET, and says
/// nothing about an empty one, for which some servers refuse a POST.
fn frame(parts: &mut request::Parts, body: &Incoming, had_length: bool) {
    let expects_body = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH);
    match body.size_hint().exact() {
        Some(0) if !had_length && !expects_body => {}
        Some(length) => drop(parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length))),
        None => drop(parts.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))),
    }
}
