//! HTTP/1.1 read as strictly as can be: what is doubtful in any way is an error. Nothing of it is shared with the guard,
//! so that both cannot be wrong in the same way.

/// What can be said of bytes so far.
#[derive(Debug)]
pub(crate) enum Parsed<T> {
    /// A whole message, and how many bytes it took.
    Whole(T, usize),
    /// The beginning of one.
    Partial,
}

/// A request as the site got it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

/// An answer as the client got it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

/// Header lines in the order sent.
#[derive(Clone, Debug)]
pub(crate) struct Headers(Vec<(String, String)>);

impl Headers {
    /// The values of a name, whatever its case.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.0.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// Every line, in the order sent.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The one value of a name.
    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        match self.all(name).as_slice() {
            [] => None,
            [value] => Some(value),
            several => panic!("several {name}: {several:?}"),
        }
    }
}

impl Answer {
    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }
}

/// Reads a request as a site that trusts nothing would.
pub(crate) fn parse_request(bytes: &[u8]) -> Result<Parsed<Request>, String> {
    let Some((line, headers, head_length)) = parse_head(bytes)? else { return Ok(Parsed::Partial) };
    let [method, target, "HTTP/1.1"] = line.split(' ').collect::<Vec<_>>()[..] else {
        return Err(format!("a bad request line {line:?}"));
    };
    if !is_token(method)
        || method == "CONNECT"
        || target.is_empty()
        || !target.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err(format!("a bad request line {line:?}"));
    }
    let is_for_the_server = target == "*" && method == "OPTIONS";
    if !target.starts_with('/') && !is_for_the_server {
        return Err(format!("a bad target {target:?}"));
    }
    if headers.all("host").len() != 1 {
        return Err(format!("not one Host: {:?}", headers.all("host")));
    }
    if matches!(method, "POST" | "PUT" | "PATCH")
        && headers.all("content-length").len() + headers.all("transfer-encoding").len() != 1
    {
        return Err(format!("not one word about the length of the body: {headers:?}"));
    }
    let body = match framing(&headers)? {
        Framing::Length(length) => sized_body(bytes, head_length, length),
        Framing::Chunked => chunked_body(bytes, head_length)?,
        Framing::None => Some((Vec::new(), head_length)),
    };
    let Some((body, length)) = body else { return Ok(Parsed::Partial) };
    let request = Request { method: method.to_owned(), target: target.to_owned(), headers, body };
    Ok(Parsed::Whole(request, length))
}

/// Reads an answer as a strict browser would.
pub(crate) fn parse_answer(bytes: &[u8], to_head: bool, is_closed: bool) -> Result<Parsed<Answer>, String> {
    let Some((line, headers, head_length)) = parse_head(bytes)? else { return Ok(Parsed::Partial) };
    let status =
        line.strip_prefix("HTTP/1.1 ").or(line.strip_prefix("HTTP/1.0 ")).and_then(|rest| rest.get(..3)?.parse().ok());
    let Some(status) = status else { return Err(format!("a bad status line {line:?}")) };
    let framing = framing(&headers)?;
    let body = match framing {
        _ if to_head || matches!(status, 100..200 | 204 | 304) => Some((Vec::new(), head_length)),
        Framing::Length(length) => sized_body(bytes, head_length, length),
        Framing::Chunked => chunked_body(bytes, head_length)?,
        Framing::None => is_closed.then(|| (bytes[head_length..].to_vec(), bytes.len())),
    };
    let Some((body, length)) = body else { return Ok(Parsed::Partial) };
    Ok(Parsed::Whole(Answer { status, headers, body }, length))
}

enum Framing {
    None,
    Length(usize),
    Chunked,
}

fn framing(headers: &Headers) -> Result<Framing, String> {
    match (headers.all("content-length").as_slice(), headers.all("transfer-encoding").as_slice()) {
        ([], []) => Ok(Framing::None),
        ([length], []) if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
            length.parse().map(Framing::Length).map_err(|error| format!("Content-Length {length}: {error}"))
        }
        ([], ["chunked"]) => Ok(Framing::Chunked),
        both => Err(format!("ambiguous framing: {both:?}")),
    }
}

fn parse_head(bytes: &[u8]) -> Result<Option<(String, Headers, usize)>, String> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head =
        String::from_utf8(bytes[..end].to_vec()).map_err(|_| format!("a head that is no text: {:?}", &bytes[..end]))?;
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default().to_owned();
    if head.replace("\r\n", "").bytes().any(|byte| byte != b'\t' && byte.is_ascii_control()) {
        return Err(format!("a control character in {head:?}"));
    }
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("no header: {line:?}"))?;
        if !is_token(name) {
            return Err(format!("no header name: {line:?}"));
        }
        headers.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
    }
    Ok(Some((first, Headers(headers), end + 4)))
}

fn sized_body(bytes: &[u8], start: usize, length: usize) -> Option<(Vec<u8>, usize)> {
    let end = start.checked_add(length)?;
    bytes.get(start..end).map(|body| (body.to_vec(), end))
}

/// A chunked body without extensions and trailers.
fn chunked_body(bytes: &[u8], start: usize) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (mut body, mut at) = (Vec::new(), start);
    loop {
        let rest = &bytes[at..];
        let Some(line_end) = memchr::memmem::find(rest, b"\r\n") else { return Ok(None) };
        let line = std::str::from_utf8(&rest[..line_end]).map_err(|error| error.to_string())?;
        let is_size = (1..=8).contains(&line.len()) && line.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size =
            usize::from_str_radix(line, 16).ok().filter(|_| is_size).ok_or_else(|| format!("a chunk size {line:?}"))?;
        let Some(chunk) = rest.get(line_end + 2..line_end + 2 + size + 2) else { return Ok(None) };
        if !chunk.ends_with(b"\r\n") {
            return Err(format!("a chunk, or the end of the body, without its end of line: {chunk:?}"));
        }
        body.extend_from_slice(&chunk[..size]);
        at += line_end + 2 + size + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
