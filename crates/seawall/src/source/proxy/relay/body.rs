//! The body of an answer on its way to the client: where it ends, and how it is framed anew.

use std::io::Write as _;

use super::chunks::Chunks;

/// How far the body of an answer has come.
#[derive(Clone, Debug)]
pub(super) struct Body {
    framing: Framing,
}

#[derive(Clone, Debug)]
enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    Chunked(Chunks),
    UntilClose,
}

/// What was taken of what was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Bytes of the body, which now stand at the beginning.
    pub(super) data: usize,
    /// Whether the body is complete.
    pub(super) is_ended: bool,
    /// Whether more came than belongs to the body.
    pub(super) has_surplus: bool,
}

impl Body {
    pub(super) const fn none() -> Self {
        Self::of_length(0)
    }

    pub(super) const fn of_length(length: u64) -> Self {
        Self { framing: Framing::Length(length) }
    }

    pub(super) const fn chunked() -> Self {
        Self { framing: Framing::Chunked(Chunks::new()) }
    }

    pub(super) const fn until_close() -> Self {
        Self { framing: Framing::UntilClose }
    }

    /// Whether its end is that of the connection.
    pub(super) const fn ends_with_connection(&self) -> bool {
        matches!(self.framing, Framing::UntilClose)
    }

    /// Whether the client gets it in chunks: its length is not known beforehand.
    pub(super) const fn needs_chunks(&self) -> bool {
        !matches!(self.framing, Framing::Length(_))
    }

    /// Takes what belongs to the body out of what was received. None when it is framed wrongly.
    pub(super) fn take(&mut self, received: &mut [u8]) -> Option<Taken> {
        Some(match &mut self.framing {
            Framing::Length(left) => {
                let data = usize::try_from(*left).unwrap_or(usize::MAX).min(received.len());
                *left -= data as u64;
                Taken { data, is_ended: *left == 0, has_surplus: data < received.len() }
            }
            Framing::Chunked(chunks) => {
                let decoded = chunks.decode(received)?;
                Taken { data: decoded.data, is_ended: chunks.is_ended(), has_surplus: decoded.used < received.len() }
            }
            Framing::UntilClose => Taken { data: received.len(), is_ended: false, has_surplus: false },
        })
    }

    /// What the end of the connection is to the body: its own end, if that is how it ends.
    pub(super) fn end(&self) -> Option<Taken> {
        self.ends_with_connection().then_some(Taken { data: 0, is_ended: true, has_surplus: false })
    }

    /// Writes a part of the body as the client gets it.
    pub(super) fn write(&self, data: &[u8], is_ended: bool, text: &mut Vec<u8>) {
        if !self.needs_chunks() {
            return text.extend_from_slice(data);
        }
        if !data.is_empty() {
            // Writing to memory does not fail.
            let _ = write!(text, "{:x}\r\n", data.len());
            text.extend_from_slice(data);
            text.extend_from_slice(b"\r\n");
        }
        if is_ended {
            text.extend_from_slice(b"0\r\n\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_known_length_ends_there() {
        let mut body = Body::of_length(5);
        let taken = |data, is_ended, has_surplus| Some(Taken { data, is_ended, has_surplus });
        assert_eq!(body.take(&mut b"abc".to_vec()), taken(3, false, false));
        assert_eq!(body.take(&mut b"defg".to_vec()), taken(2, true, true));
        assert_eq!(Body::none().take(&mut []), taken(0, true, false));
    }

    #[test]
    fn a_body_of_unknown_length_is_sent_in_chunks() {
        let mut text = Vec::new();
        let body = Body::until_close();
        body.write(b"", false, &mut text);
        body.write(b"0123456789abcdef", false, &mut text);
        body.write(b"", true, &mut text);
        assert_eq!(text, b"10\r\n0123456789abcdef\r\n0\r\n\r\n");
        let mut plain = Vec::new();
        Body::of_length(3).write(b"abc", true, &mut plain);
        assert_eq!(plain, b"abc");
    }

    #[test]
    fn chunks_are_taken_apart() {
        let mut body = Body::chunked();
        let mut received = b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n".to_vec();
        let taken = body.take(&mut received).expect("chunks");
        assert_eq!((&received[..taken.data], taken.is_ended, taken.has_surplus), (&b"abc"[..], true, false));
        assert_eq!(Body::chunked().take(&mut b"no chunk".to_vec()), None);
    }
}
