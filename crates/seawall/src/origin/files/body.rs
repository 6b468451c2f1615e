//! The body of an answer: a few bytes that are there already, or a part of a file, read in pieces as the client takes them.
//!
//! It holds one piece at most, and never makes the worker wait for a disk: a piece is read at once if the page cache has it,
//! and otherwise on one of the runtime's blocking threads.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use rustix::io::ReadWriteFlags;
use tokio::task::JoinHandle;

/// The most that is read at once, and so held for one answer: 64 KiB.
pub(super) const PIECE_BYTES_MAX: usize = 65_536;

/// The body of an answer. Must be polled within a tokio runtime.
#[derive(Debug)]
pub struct Body {
    content: Content,
}

#[derive(Debug)]
enum Content {
    Ready(Bytes),
    File(FilePart),
}

#[derive(Debug)]
struct FilePart {
    file: Arc<File>,
    position: u64,
    remaining: u64,
    /// A piece that is being read elsewhere.
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Self::ready(Bytes::new())
    }

    /// These bytes.
    pub fn ready(bytes: Bytes) -> Self {
        Self { content: Content::Ready(bytes) }
    }

    /// `count` bytes of `file` from `position` on.
    pub(super) fn file(file: File, position: u64, count: u64) -> Self {
        Self { content: Content::File(FilePart { file: Arc::new(file), position, remaining: count, reading: None }) }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.content {
            Content::Ready(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Ready(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::File(part) => part.poll_piece(context).map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.content {
            Content::Ready(bytes) => bytes.len() as u64,
            Content::File(part) => part.remaining,
        })
    }
}

impl FilePart {
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        let piece = match &mut self.reading {
            Some(reading) => {
                let read = ready!(Pin::new(reading).poll(context));
                self.reading = None;
                read.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
            }
            None => {
                let length = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(PIECE_BYTES_MAX);
                match read_from_cache(&self.file, self.position, length) {
                    Some(piece) => Ok(piece),
                    None => {
                        let (file, position) = (Arc::clone(&self.file), self.position);
                        self.reading = Some(tokio::task::spawn_blocking(move || read(&file, position, length)));
                        return self.poll_piece(context);
                    }
                }
            }
        };
        match piece {
            // A length was announced, and the file has become shorter since.
            Ok(piece) if piece.is_empty() => {
                self.remaining = 0;
                Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())))
            }
            Ok(piece) => {
                self.position += piece.len() as u64;
                self.remaining = self.remaining.saturating_sub(piece.len() as u64);
                Poll::Ready(Some(Ok(piece)))
            }
            Err(error) => {
                self.remaining = 0;
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

/// What can be read without waiting for a disk; `None` where that is nothing, or where the file system cannot tell.
fn read_from_cache(file: &File, position: u64, length: usize) -> Option<Bytes> {
    let mut piece = BytesMut::zeroed(length);
    let count = rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut piece)], position, ReadWriteFlags::NOWAIT).ok()?;
    piece.truncate(count);
    Some(piece.freeze())
}

fn read(file: &File, position: u64, length: usize) -> io::Result<Bytes> {
    let mut piece = BytesMut::zeroed(length);
    let count = loop {
        match file.read_at(&mut piece, position) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => break outcome?,
        }
    };
    piece.truncate(count);
    Ok(piece.freeze())
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn a_piece_that_is_not_cached_is_read_elsewhere() {
        let path = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(path.path(), [7; 100]).expect("a file");
        let file = Arc::new(File::open(path.path()).expect("the file opens"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let content = runtime.block_on(async {
            // As it is left when the cache has nothing.
            let reading = Some(tokio::task::spawn_blocking({
                let file = Arc::clone(&file);
                move || read(&file, 10, 40)
            }));
            let body = Body { content: Content::File(FilePart { file, position: 10, remaining: 80, reading }) };
            body.collect().await.expect("the file can be read").to_bytes()
        });
        assert_eq!(content, vec![7; 80]);
    }

    #[test]
    fn what_is_ready_is_sent_at_once_and_its_length_known() {
        let body = Body::ready(Bytes::from_static(b"text"));
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(4));
        assert!(http_body::Body::is_end_stream(&Body::empty()));
    }
}
