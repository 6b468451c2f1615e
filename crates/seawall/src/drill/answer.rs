//! Reads HTTP/1.1 answers as a client does: the head with httparse, the body only to know where it ends.

/// The longest head that is accepted, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How much of a refusal's body is kept, to find the rule that it names.
const BODY_KEPT_MAX: usize = 512;

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Whether the drill's own origin answered, rather than the guard in its place.
    pub(crate) from_origin: bool,
    /// Seconds of `Retry-After`.
    pub(crate) retry_after: Option<u32>,
    /// Whether the connection can carry another request.
    pub(crate) keep_alive: bool,
    framing: Framing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// The `Server` header of the drill's origin.
pub(crate) const ORIGIN_SERVER: &str = "seawall-drill-origin";

/// Reads a head off the front of `bytes`: `None` when it is not all there yet. The number is its length.
pub(crate) fn parse_head(bytes: &[u8], method: &str) -> Result<Option<(Head, usize)>, BadAnswer> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() <= HEAD_BYTES_MAX => return Ok(None),
        _ => return Err(BadAnswer),
    };
    let status = response.code.ok_or(BadAnswer)?;
    let mut head = Head {
        status,
        from_origin: false,
        retry_after: None,
        keep_alive: response.version == Some(1),
        framing: Framing::UntilClose,
    };
    for header in response.headers.iter() {
        let value = header.value.trim_ascii();
        let number = || std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
        match header.name.to_ascii_lowercase().as_str() {
            "content-length" if head.framing == Framing::UntilClose => {
                head.framing = Framing::Length(number().ok_or(BadAnswer)?);
            }
            "transfer-encoding" if value.eq_ignore_ascii_case(b"chunked") => head.framing = Framing::Chunked,
            "connection" if value.eq_ignore_ascii_case(b"close") => head.keep_alive = false,
            "connection" if value.eq_ignore_ascii_case(b"keep-alive") => head.keep_alive = true,
            "retry-after" => head.retry_after = number().and_then(|seconds| u32::try_from(seconds).ok()),
            "server" => head.from_origin = value == ORIGIN_SERVER.as_bytes(),
            _ => {}
        }
    }
    if method == "HEAD" || status == 204 || status == 304 || (100..200).contains(&status) {
        head.framing = Framing::Length(0);
    }
    head.keep_alive &= head.framing != Framing::UntilClose;
    Ok(Some((head, length)))
}

/// What came is not HTTP, or not in the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadAnswer;

/// Follows a body to its end.
#[derive(Debug)]
pub(crate) struct Body {
    framing: Framing,
    chunk: Chunk,
    /// Bytes of content that have come.
    pub(crate) bytes: u64,
    /// The beginning of the content.
    pub(crate) kept: Vec<u8>,
}

/// Where in a chunked body we are.
#[derive(Clone, Copy, Debug)]
enum Chunk {
    Size { size: u64, extension: bool },
    Data { left: u64 },
    AfterData { left: u8 },
    Trailer { line_bytes: u32 },
    End,
}

impl Body {
    pub(crate) const fn new(head: &Head) -> Self {
        Self { framing: head.framing, chunk: Chunk::Size { size: 0, extension: false }, bytes: 0, kept: Vec::new() }
    }

    /// Whether the body has ended, as far as its framing can say.
    pub(crate) const fn is_complete(&self) -> bool {
        match self.framing {
            Framing::Length(length) => self.bytes >= length,
            Framing::Chunked => matches!(self.chunk, Chunk::End),
            Framing::UntilClose => false,
        }
    }

    /// Whether the close of the connection is a proper end.
    pub(crate) const fn may_end_by_close(&self) -> bool {
        matches!(self.framing, Framing::UntilClose) || self.is_complete()
    }

    /// Takes what has come, handing on the content.
    pub(crate) fn feed(&mut self, mut input: &[u8], mut content: impl FnMut(&[u8])) -> Result<(), BadAnswer> {
        match self.framing {
            Framing::Length(length) => {
                let left = usize::try_from(length.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
                let taken = &input[..input.len().min(left)];
                self.take(taken);
                content(taken);
            }
            Framing::UntilClose => {
                self.take(input);
                content(input);
            }
            Framing::Chunked => {
                while let Some((&byte, rest)) = input.split_first() {
                    if let Chunk::Data { left } = self.chunk {
                        let length = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                        let (taken, after) = input.split_at(length);
                        self.take(taken);
                        content(taken);
                        input = after;
                        let left = left - length as u64;
                        self.chunk = if left == 0 { Chunk::AfterData { left: 2 } } else { Chunk::Data { left } };
                    } else {
                        input = rest;
                        self.chunk = self.chunk.step(byte)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, content: &[u8]) {
        self.bytes += content.len() as u64;
        let room = BODY_KEPT_MAX.saturating_sub(self.kept.len()).min(content.len());
        self.kept.extend_from_slice(&content[..room]);
    }
}

impl Chunk {
    /// One byte outside the data of a chunk.
    fn step(self, byte: u8) -> Result<Self, BadAnswer> {
        Ok(match (self, byte) {
            (Self::Size { size: 0, .. }, b'\n') => Self::Trailer { line_bytes: 0 },
            (Self::Size { size, .. }, b'\n') => Self::Data { left: size },
            (Self::Size { size, .. }, b'\r' | b';' | b' ') => Self::Size { size, extension: true },
            (Self::Size { extension: true, .. }, _) => self,
            (Self::Size { size, extension: false }, _) => {
                let digit = char::from(byte).to_digit(16).ok_or(BadAnswer)?;
                let size = size.checked_mul(16).ok_or(BadAnswer)? + u64::from(digit);
                Self::Size { size, extension: false }
            }
            (Self::AfterData { left: 1 }, b'\n') => Self::Size { size: 0, extension: false },
            (Self::AfterData { left: 2 }, b'\r') => Self::AfterData { left: 1 },
            (Self::AfterData { .. }, _) => return Err(BadAnswer),
            (Self::Trailer { line_bytes: 0 }, b'\n') => Self::End,
            (Self::Trailer { .. }, b'\n') => Self::Trailer { line_bytes: 0 },
            (Self::Trailer { .. }, b'\r') => self,
            (Self::Trailer { line_bytes }, _) => Self::Trailer { line_bytes: line_bytes.saturating_add(1) },
            (Self::Data { .. } | Self::End, _) => self,
        })
    }
}

/// The rule that a refusal names: `rule R12`.
pub(crate) fn rule_named(body: &[u8]) -> Option<u32> {
    let at = memchr::memmem::find(body, b"rule R")?;
    let digits: Vec<u8> = body.get(at + 6..)?.iter().copied().take_while(u8::is_ascii_digit).collect();
    String::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: &[u8], method: &str, piece: usize) -> Result<(u16, Vec<u8>, bool), BadAnswer> {
        let (head, length) = parse_head(answer, method)?.ok_or(BadAnswer)?;
        let mut body = Body::new(&head);
        let mut content = Vec::new();
        for part in answer[length..].chunks(piece) {
            body.feed(part, |bytes| content.extend_from_slice(bytes))?;
        }
        Ok((head.status, content, body.is_complete()))
    }

    #[test]
    fn bodies_end_where_their_framing_says() {
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nA: b\r\n\r\n";
        let length = b"HTTP/1.1 403 No\r\nContent-Length: 6\r\n\r\nhello!rest";
        let close = b"HTTP/1.1 200 OK\r\n\r\nhello!";
        for piece in [1, 3, 100] {
            assert_eq!(read(chunked, "GET", piece), Ok((200, b"hello!".to_vec(), true)));
            assert_eq!(read(length, "GET", piece), Ok((403, b"hello!".to_vec(), true)));
            assert_eq!(read(close, "GET", piece), Ok((200, b"hello!".to_vec(), false)));
        }
        assert_eq!(read(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", "HEAD", 1), Ok((200, vec![], true)));
        assert_eq!(read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz", "GET", 1), Err(BadAnswer));
        assert_eq!(parse_head(b"220 smtp ready\r\n", "GET"), Err(BadAnswer));
        assert_eq!(parse_head(b"HTTP/1.1 200 OK\r\nServ", "GET"), Ok(None));
    }

    #[test]
    fn the_rule_that_refused_is_read_from_the_body() {
        assert_eq!(rule_named(b"refused by rule R12.\n"), Some(12));
        assert_eq!(rule_named(b"rule R\n"), None);
        assert_eq!(rule_named(b"forbidden"), None);
    }
}
