//! One input: a file or standard input, decompressed when its content says that it is compressed.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};
use std::path::Path;
use std::rc::Rc;

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::GzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::Stream;

/// How the first bytes of each kind of compressed data look: gzip's with the only method there is (RFC 1952, section 2.3.1),
/// bzip2's without its block size, those of xz (its format, section 2.1.1.1) and zstd (RFC 8878, section 3.1.1).
const MAGICS: [(Compression, &[u8]); 4] = [
    (Compression::Gzip, &[0x1F, 0x8B, 8]),
    (Compression::Bzip2, b"BZh"),
    (Compression::Xz, &[0xFD, b'7', b'z', b'X', b'Z', 0]),
    (Compression::Zstd, &[0x28, 0xB5, 0x2F, 0xFD]),
];

/// The longest of them.
pub const MAGIC_BYTES_MAX: usize = 6;

/// The memory that a decompressor may ask for, in bytes: what `xz -9` and `zstd --long` need, and no more, whatever a file says.
const DECOMPRESSION_MEMORY_MAX: u64 = 128 << 20;

/// What is read from the operating system at once.
const READ_BYTES: usize = 128 * 1024;

/// How an input was compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, of one member or several.
    Gzip,
    /// bzip2, of one stream or several.
    Bzip2,
    /// xz, of one stream or several.
    Xz,
    /// Zstandard, of one frame or several.
    Zstd,
}

impl Compression {
    /// How a file is compressed that begins like this.
    pub fn of(beginning: &[u8]) -> Self {
        let found = MAGICS.iter().find(|(_, magic)| beginning.starts_with(magic));
        found.map_or(Self::None, |(compression, _)| *compression)
    }

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        }
    }
}

/// Why an input could not be read, or not whole.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The file could not be opened.
    #[error("cannot open {path}: {source}")]
    Open {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file is a directory.
    #[error("cannot read {path}: it is a directory; name the log files in it, as {path}/access.log*")]
    Directory {
        /// The directory, without a slash at its end.
        path: String,
    },
    /// Reading stopped before the end.
    #[error("cannot read {path} any further than line {line}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The last line that was read, from 1; 0 for none.
        line: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The compressed data ends in the middle.
    #[error("{path} is {} file that was cut short: it ends in the middle of its data, after line {line}", article(*compression))]
    Cut {
        /// The file.
        path: String,
        /// How it is compressed.
        compression: Compression,
        /// The last line that was read, from 1; 0 for none.
        line: u64,
    },
    /// The compressed data is damaged, or something else follows it.
    #[error("{path} is a damaged {} file: after line {line} comes what is no {} data ({source})", compression.name(), compression.name())]
    Damaged {
        /// The file.
        path: String,
        /// How it is compressed.
        compression: Compression,
        /// The last line that was read, from 1; 0 for none.
        line: u64,
        /// What the decompressor said.
        source: io::Error,
    },
}

/// A kind of compression behind its article.
fn article(compression: Compression) -> String {
    let article = if compression == Compression::Xz { "an" } else { "a" };
    format!("{article} {}", compression.name())
}

/// An open input.
pub struct Input {
    name: String,
    size: Option<u64>,
    consumed: Rc<Cell<u64>>,
    compression: Compression,
    content: Content,
}

/// What was looked at to recognise the compression, then the rest.
type Raw = Chain<Cursor<Vec<u8>>, Counted<Box<dyn Read>>>;

enum Content {
    Plain(Raw),
    Compressed(Box<dyn Read>),
}

impl Input {
    /// Opens `path`, or standard input for `-`.
    ///
    /// # Errors
    /// When the file cannot be opened, is a directory, or its first bytes cannot be read.
    pub fn open(path: &Path) -> Result<Self, InputError> {
        if path == Path::new("-") {
            return Self::new("standard input".to_owned(), None, Box::new(io::stdin().lock()));
        }
        let name = path.to_string_lossy().into_owned();
        let open = |source| InputError::Open { path: name.clone(), source };
        let file = File::open(path).map_err(open)?;
        let metadata = file.metadata().map_err(open)?;
        if metadata.is_dir() {
            let path = name.strip_suffix('/').unwrap_or(&name).to_owned();
            return Err(InputError::Directory { path });
        }
        let size = metadata.is_file().then_some(metadata.len());
        Self::new(name, size, Box::new(file))
    }

    fn new(name: String, size: Option<u64>, source: Box<dyn Read>) -> Result<Self, InputError> {
        let consumed = Rc::new(Cell::new(0));
        let mut source = Counted { source, consumed: Rc::clone(&consumed) };
        let mut beginning = Vec::new();
        source
            .by_ref()
            .take(MAGIC_BYTES_MAX as u64)
            .read_to_end(&mut beginning)
            .map_err(|source| InputError::Read { path: name.clone(), line: 0, source })?;
        let compression = Compression::of(&beginning);
        let raw = Cursor::new(beginning).chain(source);
        let content = decompressed(compression, raw)
            .map_err(|source| InputError::while_reading(&name, compression, 0, source))?;
        Ok(Self { name, size, consumed, compression, content })
    }

    /// Its name, as given; whoever prints it must escape it, since a file's name may hold anything.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its size as stored, in bytes, where that is known.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// How many bytes, as stored, have been taken from it; can be asked while something else reads.
    pub fn consumed(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.consumed)
    }

    /// How it is compressed.
    pub fn compression(&self) -> Compression {
        self.compression
    }
}

impl InputError {
    /// The error for what went wrong while reading `name`, after `line` lines.
    pub fn while_reading(name: &str, compression: Compression, line: u64, source: io::Error) -> Self {
        let path = name.to_owned();
        match (compression, source.kind()) {
            (Compression::None, _) => Self::Read { path, line, source },
            (_, io::ErrorKind::UnexpectedEof) => Self::Cut { path, compression, line },
            // The decompressors have kinds of their own for what is no data of theirs; what the system says has a number.
            _ if source.raw_os_error().is_none() => Self::Damaged { path, compression, line, source },
            _ => Self::Read { path, line, source },
        }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.content {
            Content::Plain(source) => source.read(buffer),
            Content::Compressed(source) => source.read(buffer),
        }
    }
}

fn decompressed(compression: Compression, raw: Raw) -> io::Result<Content> {
    let buffered = |raw| BufReader::with_capacity(READ_BYTES, raw);
    Ok(match compression {
        Compression::None => Content::Plain(raw),
        Compression::Gzip => Content::Compressed(Box::new(Members::new(buffered(raw)))),
        Compression::Bzip2 => Content::Compressed(Box::new(MultiBzDecoder::new(buffered(raw)))),
        Compression::Xz => {
            let stream = Stream::new_stream_decoder(DECOMPRESSION_MEMORY_MAX, liblzma::stream::CONCATENATED)?;
            Content::Compressed(Box::new(XzDecoder::new_stream(buffered(raw), stream)))
        }
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(buffered(raw))?;
            decoder.window_log_max(DECOMPRESSION_MEMORY_MAX.ilog2())?;
            Content::Compressed(Box::new(decoder))
        }
    })
}

/// The members of a gzip file, one after the other. Zeros behind the last are padding, as tapes and some disks leave it.
struct Members<R> {
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Members<R> {
    fn new(input: R) -> Self {
        Self { member: Some(GzDecoder::new(input)) }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            self.member = self.member.take().map(GzDecoder::into_inner).map(next_member).transpose()?.flatten();
        }
        Ok(0)
    }
}

/// The member that comes next, behind any padding; none at the end.
fn next_member<R: BufRead>(mut input: R) -> io::Result<Option<GzDecoder<R>>> {
    loop {
        let filled = input.fill_buf()?;
        if filled.is_empty() {
            return Ok(None);
        }
        let zeros = filled.iter().take_while(|byte| **byte == 0).count();
        let is_padding = zeros == filled.len();
        input.consume(zeros);
        if !is_padding {
            return Ok(Some(GzDecoder::new(input)));
        }
    }
}

/// Counts what is read through it.
struct Counted<R> {
    source: R,
    consumed: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.consumed.set(self.consumed.get() + read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    }

    fn read(stored: &[u8]) -> (Compression, Vec<u8>, Option<String>) {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(stored).expect("room for it");
        let mut input = Input::open(file.path()).expect("a file that was just made");
        assert_eq!(input.size(), Some(stored.len() as u64));
        let mut content = Vec::new();
        let result = input.read_to_end(&mut content);
        if result.is_ok() {
            assert_eq!(input.consumed().get(), stored.len() as u64);
        }
        let compression = input.compression();
        let error = result.err().map(|error| InputError::while_reading("f", compression, 7, error).to_string());
        (compression, content, error)
    }

    #[test]
    fn compression_is_told_by_content() {
        assert_eq!(read(b""), (Compression::None, vec![], None));
        assert_eq!(read(b"\x1F\x8B"), (Compression::None, b"\x1F\x8B".to_vec(), None));
        assert_eq!(read(b"plain\n"), (Compression::None, b"plain\n".to_vec(), None));
        assert_eq!(read(&gzip(b"one\n")), (Compression::Gzip, b"one\n".to_vec(), None));
        let members = [gzip(b"one\n"), gzip(b""), gzip(b"two\n")].concat();
        assert_eq!(read(&members), (Compression::Gzip, b"one\ntwo\n".to_vec(), None));
        for zeros in [1, 511, 300_000] {
            let padded = [&members[..], &vec![0; zeros]].concat();
            assert_eq!(read(&padded), (Compression::Gzip, b"one\ntwo\n".to_vec(), None), "{zeros}");
        }
    }

    /// The same content compressed in every way.
    fn compressed(content: &[u8]) -> [(Compression, Vec<u8>); 4] {
        let bzip2 = {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(content).expect("memory takes it");
            encoder.finish().expect("memory takes it")
        };
        let xz = liblzma::encode_all(content, 1).expect("memory takes it");
        let zstd = zstd::encode_all(content, 1).expect("memory takes it");
        [
            (Compression::Gzip, gzip(content)),
            (Compression::Bzip2, bzip2),
            (Compression::Xz, xz),
            (Compression::Zstd, zstd),
        ]
    }

    #[test]
    fn every_kind_is_read_also_in_several_parts() {
        let (one, two) = (compressed(b"one\n"), compressed(b"two\n"));
        for ((kind, one), (_, two)) in one.into_iter().zip(two) {
            assert_eq!(read(&one), (kind, b"one\n".to_vec(), None));
            assert_eq!(read(&[one, two].concat()), (kind, b"one\ntwo\n".to_vec(), None));
        }
    }

    #[test]
    fn damage_is_told_apart_from_a_cut() {
        let content: Vec<u8> = (0..200_000_u32).flat_map(|number| number.to_string().into_bytes()).collect();
        for (kind, whole) in compressed(&content) {
            let (_, before, error) = read(&whole[..whole.len() / 2]);
            assert!(content.starts_with(&before), "{kind:?}");
            let cut = format!(
                "f is {} file that was cut short: it ends in the middle of its data, after line 7",
                article(kind)
            );
            assert_eq!(error, Some(cut));
            let (_, before, error) = read(&[&whole[..], b"rubbish longer than a header"].concat());
            assert!(content.starts_with(&before), "{kind:?}");
            let damaged = format!("f is a damaged {} file: after line 7 ", kind.name());
            assert!(error.as_ref().is_some_and(|error| error.starts_with(&damaged)), "{kind:?}: {error:?}");
        }
    }

    #[test]
    fn what_cannot_be_opened_is_named() {
        let error = |path: &str| Input::open(Path::new(path)).err().map(|error| error.to_string());
        let missing = error("/nonexistent/access.log").expect("no such file");
        assert!(missing.starts_with("cannot open /nonexistent/access.log: No such file"), "{missing}");
        let directory = error("/usr/").expect("a directory");
        assert!(directory.starts_with("cannot read /usr: it is a directory"), "{directory}");
    }
}
