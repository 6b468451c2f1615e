//! A folder of static files as an origin: GET and HEAD, nothing else.
//!
//! It answers from below its folder alone. The kernel sees to that (`openat2` with `RESOLVE_BENEATH`), so neither `..`, nor a
//! symbolic link, nor a rename at the wrong moment leads out of it. It never lists a folder, never serves a name that begins
//! with a dot (but `/.well-known/`, which is made to be served), and never keeps the worker waiting for a disk: what the
//! page cache does not hold is opened and read on the runtime's blocking threads.
//!
//! Ready-made servers of folders were considered. `http-serve` reads files with `block_in_place`, which panics on the
//! single-threaded runtimes used here; `ServeDir` of `tower-http` checks paths as text, so that links lead out of the
//! folder, and serves dotfiles. Headers and content types come from `headers` and `mime_guess`.

mod body;
mod path;

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use headers::{ETag, HeaderMapExt, IfMatch, IfModifiedSince, IfNoneMatch, IfRange, IfUnmodifiedSince, LastModified};
use http::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use thiserror::Error;

pub use body::Body;
use path::{Target, parse_target};

/// What a folder is asked for when the target names the folder itself.
const INDEX: &[u8] = b"index.html";

/// A folder that cannot be served.
#[derive(Debug, Error)]
pub enum FilesError {
    /// It is not there, is no folder, or may not be read.
    #[error("failed to open the folder {}: {source}; name a folder that this user may read", root.display())]
    Open {
        /// The folder.
        root: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel cannot bound a look-up to a folder.
    #[error(
        "failed to look into the folder {} without leaving it: {source}; static files need openat2, which Linux has \
         since 5.6 and which a container's system call filter must let through",
        root.display()
    )]
    Confine {
        /// The folder.
        root: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A folder of static files.
#[derive(Clone, Debug)]
pub struct Files {
    root: Arc<OwnedFd>,
}

impl Files {
    /// Opens the folder. What is moved to its path later is not noticed; what changes in it is.
    ///
    /// # Errors
    /// [`FilesError`], when it cannot be opened or the kernel is too old.
    pub fn open(root: &Path) -> Result<Self, FilesError> {
        let folder = rustix::fs::open(root, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| FilesError::Open { root: root.into(), source: errno.into() })?;
        open_beneath(&folder, b".", ResolveFlags::empty())
            .map_err(|errno| FilesError::Confine { root: root.into(), source: errno.into() })?;
        Ok(Self { root: Arc::new(folder) })
    }

    /// Answers one request. `target` is the path and query as they stand in the request line, in origin form.
    ///
    /// Must be called within a tokio runtime, as must the body's polling; of any kind.
    pub async fn respond(&self, method: &Method, target: &str, headers: &HeaderMap) -> Response<Body> {
        let mut response = match *method {
            Method::GET | Method::HEAD => match self.find(target).await {
                Ok(Found::File(file)) => file.respond(headers),
                Ok(Found::Folder { location }) => redirect(&location),
                Err(status) => notice(status),
            },
            _ => {
                let mut response = notice(StatusCode::METHOD_NOT_ALLOWED);
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                response
            }
        };
        if *method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        response
    }

    async fn find(&self, target: &str) -> Result<Found, StatusCode> {
        let target = parse_target(target)?;
        let found = self.look_up(target.path.clone()).await?;
        match (found, target) {
            (Entry::File(file), Target { names_folder: false, .. }) => Ok(Found::File(file)),
            (Entry::File(_), _) => Err(StatusCode::NOT_FOUND),
            (Entry::Folder, Target { names_folder: false, location, .. }) => Ok(Found::Folder { location }),
            (Entry::Folder, Target { mut path, .. }) => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(INDEX);
                match self.look_up(path).await? {
                    Entry::File(file) => Ok(Found::File(file)),
                    Entry::Folder => Err(StatusCode::NOT_FOUND),
                }
            }
        }
    }

    /// Opens what is at `path`, on a blocking thread unless the kernel has all of the way to it at hand.
    async fn look_up(&self, path: Vec<u8>) -> Result<Entry, StatusCode> {
        match Entry::open(&self.root, &path, ResolveFlags::CACHED) {
            // Not at hand, or a kernel older than 5.12, which cannot say.
            Err(Errno::AGAIN | Errno::INVAL) => {}
            Err(errno) => return Err(status_of(errno)),
            Ok(entry) => return Ok(entry),
        }
        let root = Arc::clone(&self.root);
        let opened = tokio::task::spawn_blocking(move || Entry::open(&root, &path, ResolveFlags::empty())).await;
        opened.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?.map_err(status_of)
    }
}

/// What a target leads to.
enum Found {
    File(OpenFile),
    /// A folder that was asked for as if it were a file, and where it should have been asked for.
    Folder {
        location: String,
    },
}

/// What is at a path.
enum Entry {
    File(OpenFile),
    Folder,
}

impl Entry {
    fn open(root: &OwnedFd, path: &[u8], extra: ResolveFlags) -> Result<Self, Errno> {
        let opened = open_beneath(root, if path.is_empty() { b"." } else { path }, extra)?;
        let status = rustix::fs::fstat(&opened)?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => Ok(Self::Folder),
            FileType::RegularFile => Ok(Self::File(OpenFile {
                file: File::from(opened),
                length: u64::try_from(status.st_size).unwrap_or(0),
                modified_seconds: u64::try_from(status.st_mtime).unwrap_or(0),
                modified_nanoseconds: u32::try_from(status.st_mtime_nsec).unwrap_or(0),
                content_type: content_type(path),
            })),
            // Pipes, sockets and devices are not served.
            _ => Err(Errno::NOENT),
        }
    }
}

/// A regular file, open for reading.
struct OpenFile {
    file: File,
    length: u64,
    modified_seconds: u64,
    modified_nanoseconds: u32,
    content_type: HeaderValue,
}

impl OpenFile {
    fn modified(&self) -> SystemTime {
        // To the second, as in the header that a client sends back.
        UNIX_EPOCH + Duration::from_secs(self.modified_seconds)
    }

    /// A strong validator: a file that is written anew has another time, to the clock tick of the kernel.
    fn entity_tag(&self) -> Option<ETag> {
        format!("\"{:x}.{:x}-{:x}\"", self.modified_seconds, self.modified_nanoseconds, self.length).parse().ok()
    }

    /// Answers a request for this file, in the order of preconditions that RFC 9110, section 13.2.2, gives.
    fn respond(self, headers: &HeaderMap) -> Response<Body> {
        let entity_tag = self.entity_tag();
        let modified = self.modified();
        let status = precondition(headers, entity_tag.as_ref(), modified);

        let mut response = match status {
            Some(StatusCode::NOT_MODIFIED) => empty(StatusCode::NOT_MODIFIED),
            Some(status) => notice(status),
            None => {
                let range = match headers.typed_get::<IfRange>() {
                    Some(condition)
                        if condition.is_modified(entity_tag.as_ref(), Some(&LastModified::from(modified))) =>
                    {
                        Range::Whole
                    }
                    _ => Range::parse(headers, self.length),
                };
                self.content(range)
            }
        };
        response.headers_mut().typed_insert(LastModified::from(modified));
        if let Some(entity_tag) = entity_tag {
            response.headers_mut().typed_insert(entity_tag);
        }
        response
    }

    fn content(self, range: Range) -> Response<Body> {
        let length = self.length;
        let (status, first, count) = match range {
            Range::Whole => (StatusCode::OK, 0, length),
            Range::Part { first, last } => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
            Range::Unsatisfiable => {
                let mut response = notice(StatusCode::RANGE_NOT_SATISFIABLE);
                insert_text(response.headers_mut(), CONTENT_RANGE, format_args!("bytes */{length}"));
                return response;
            }
        };
        let mut response = Response::new(Body::file(self.file, first, count));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, self.content_type);
        headers.insert(CONTENT_LENGTH, count.into());
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Range::Part { first, last } = range {
            insert_text(headers, CONTENT_RANGE, format_args!("bytes {first}-{last}/{length}"));
        }
        response
    }
}

/// The status that a precondition asks for in place of the content.
fn precondition(headers: &HeaderMap, entity_tag: Option<&ETag>, modified: SystemTime) -> Option<StatusCode> {
    if let Some(condition) = headers.typed_get::<IfMatch>() {
        if !entity_tag.is_some_and(|tag| condition.precondition_passes(tag)) {
            return Some(StatusCode::PRECONDITION_FAILED);
        }
    } else if headers.typed_get::<IfUnmodifiedSince>().is_some_and(|condition| !condition.precondition_passes(modified))
    {
        return Some(StatusCode::PRECONDITION_FAILED);
    }
    let unchanged = match headers.typed_get::<IfNoneMatch>() {
        Some(condition) => entity_tag.is_some_and(|tag| !condition.precondition_passes(tag)),
        None => headers.typed_get::<IfModifiedSince>().is_some_and(|condition| !condition.is_modified(modified)),
    };
    unchanged.then_some(StatusCode::NOT_MODIFIED)
}

/// What of a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Range {
    /// All of it: there is no range, or one that is not understood, or several, which a server need not grant.
    Whole,
    /// From one byte to another, both included.
    Part { first: u64, last: u64 },
    /// Nothing that it has.
    Unsatisfiable,
}

impl Range {
    fn parse(headers: &HeaderMap, length: u64) -> Self {
        let mut values = headers.get_all(RANGE).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return Self::Whole };
        value.to_str().ok().and_then(|text| Self::parse_text(text, length)).unwrap_or(Self::Whole)
    }

    fn parse_text(text: &str, length: u64) -> Option<Self> {
        let (first, last) = text.strip_prefix("bytes=")?.trim().split_once('-')?;
        // A sign would pass for a number too; only digits are one here.
        let number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?;
        let (first, last): (u64, u64) = match (first, last) {
            ("", count) => match number(count)? {
                0 => return Some(Self::Unsatisfiable),
                count => (length.saturating_sub(count), u64::MAX),
            },
            (first, "") => (number(first)?, u64::MAX),
            (first, last) => (number(first)?, number(last)?),
        };
        if last < first {
            return None;
        }
        Some(if first >= length { Self::Unsatisfiable } else { Self::Part { first, last: last.min(length - 1) } })
    }
}

fn open_beneath(root: &OwnedFd, path: &[u8], extra: ResolveFlags) -> Result<OwnedFd, Errno> {
    // Non-blocking, since opening a pipe would otherwise wait for somebody to write to it.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | extra;
    rustix::io::retry_on_intr(|| rustix::fs::openat2(root, path, flags, Mode::empty(), resolve))
}

/// What a failed look-up means for the client. A link that leads out of the folder is not told from a missing file.
fn status_of(errno: Errno) -> StatusCode {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NAMETOOLONG | Errno::NXIO => {
            StatusCode::NOT_FOUND
        }
        Errno::ACCESS | Errno::PERM => StatusCode::FORBIDDEN,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// By the extension; text is said to be UTF-8, as nearly all of it is.
fn content_type(path: &[u8]) -> HeaderValue {
    let name = String::from_utf8_lossy(path);
    let guess = mime_guess::from_path(&*name).first_or_octet_stream();
    let text = if guess.type_() == "text" { format!("{guess}; charset=utf-8") } else { guess.to_string() };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

fn redirect(location: &str) -> Response<Body> {
    let mut response = notice(StatusCode::MOVED_PERMANENTLY);
    match HeaderValue::try_from(location) {
        Ok(location) => response.headers_mut().insert(LOCATION, location),
        Err(_) => return notice(StatusCode::BAD_REQUEST),
    };
    response
}

/// An answer that says its own status in a line of text.
fn notice(status: StatusCode) -> Response<Body> {
    let text = Bytes::from(format!("{}\n", status.canonical_reason().unwrap_or("Error")));
    let mut response = empty(status);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CONTENT_LENGTH, text.len().into());
    *response.body_mut() = Body::ready(text);
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn insert_text(headers: &mut HeaderMap, name: http::HeaderName, text: std::fmt::Arguments<'_>) {
    let mut written = String::new();
    if written.write_fmt(text).is_ok()
        && let Ok(value) = HeaderValue::try_from(written)
    {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use http_body_util::BodyExt;

    use super::*;

    /// A folder `www` with files in it, beside a file that must never be served.
    struct Site {
        files: Files,
        folder: tempfile::TempDir,
    }

    impl Site {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let root = folder.path().join("www");
            for (path, content) in [
                ("../secret.txt", "secret"),
                ("index.html", "<h1>Home</h1>"),
                ("plain.txt", "0123456789"),
                ("with space+100%.txt", "spaced"),
                ("caf\u{e9}.css", "body{}"),
                ("empty.bin", ""),
                (".env", "PASSWORD=1"),
                (".git/config", "[core]"),
                (".well-known/security.txt", "Contact: me"),
                ("docs/index.html", "docs"),
                ("docs/.hidden/page.html", "hidden"),
                ("bare/page.html", "page"),
                ("odd/index.html/page.html", "page"),
            ] {
                let path = root.join(path);
                std::fs::create_dir_all(path.parent().expect("every file is in a folder")).expect("a folder");
                std::fs::create_dir_all(&root).expect("a folder");
                std::fs::write(path, content).expect("a file");
            }
            symlink("../secret.txt", root.join("way-out.txt")).expect("a link");
            symlink(folder.path().join("secret.txt"), root.join("absolute-way-out.txt")).expect("a link");
            symlink("..", root.join("up")).expect("a link");
            symlink("plain.txt", root.join("inside.txt")).expect("a link");
            symlink("loop", root.join("loop")).expect("a link");
            rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o644), 0)
                .expect("a pipe");
            Self { files: Files::open(&root).expect("the folder opens"), folder }
        }

        fn ask_with(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Vec<u8>) {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                let name: http::HeaderName = name.parse().expect("a header name");
                map.append(name, value.parse().expect("a header value"));
            }
            runtime().block_on(async {
                let response = self.files.respond(&method, target, &map).await;
                let (head, body) = response.into_parts();
                let body = body.collect().await.expect("the body is whole").to_bytes().to_vec();
                (head.status, head.headers, body)
            })
        }

        fn ask(&self, target: &str) -> (u16, String) {
            let (status, _, body) = self.ask_with("GET", target, &[]);
            (status.as_u16(), String::from_utf8(body).expect("text"))
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
    }

    fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
        headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    #[test]
    fn files_are_served_with_their_type() {
        let site = Site::new();
        for (target, content, content_type) in [
            ("/", "<h1>Home</h1>", "text/html; charset=utf-8"),
            ("/index.html", "<h1>Home</h1>", "text/html; charset=utf-8"),
            ("/?q=../..", "<h1>Home</h1>", "text/html; charset=utf-8"),
            ("/plain.txt", "0123456789", "text/plain; charset=utf-8"),
            ("/%70lain.txt?x", "0123456789", "text/plain; charset=utf-8"),
            ("/with%20space+100%25.txt", "spaced", "text/plain; charset=utf-8"),
            ("/caf%C3%A9.css", "body{}", "text/css; charset=utf-8"),
            ("/empty.bin", "", "application/octet-stream"),
            ("/docs/", "docs", "text/html; charset=utf-8"),
            ("/inside.txt", "0123456789", "text/plain; charset=utf-8"),
            ("/.well-known/security.txt", "Contact: me", "text/plain; charset=utf-8"),
        ] {
            let (status, headers, body) = site.ask_with("GET", target, &[]);
            assert_eq!((status, body.as_slice()), (StatusCode::OK, content.as_bytes()), "{target}");
            assert_eq!(header(&headers, "content-type"), content_type, "{target}");
            assert_eq!(header(&headers, "content-length"), content.len().to_string(), "{target}");
            assert!(headers.contains_key("last-modified") && headers.contains_key("etag"));
        }
    }

    #[test]
    fn nothing_outside_and_nothing_hidden_is_served() {
        let site = Site::new();
        let long = format!("/{}", "a".repeat(5_000));
        for target in [
            "/missing",
            "/../secret.txt",
            "/%2e%2e/secret.txt",
            "/..%2fsecret.txt",
            "/docs/../../secret.txt",
            "/docs%2findex.html",
            "/%252e%252e/secret.txt",
            "/way-out.txt",
            "/absolute-way-out.txt",
            "/up/secret.txt",
            "/up/",
            "/loop",
            "/pipe",
            "/.env",
            "/%2eenv",
            "/.git/config",
            "/docs/.hidden/page.html",
            "/docs/.well-known/x",
            "/.well-known/../.env",
            "//plain.txt",
            "//docs",
            "/docs//index.html",
            "/plain.txt/",
            "/plain.txt/more",
            "/bare/",
            "/odd/",
            &long,
        ] {
            let (status, body) = site.ask(target);
            assert_eq!((status, body.as_str()), (404, "Not Found\n"), "{target}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let site = Site::new();
        for target in [
            "",
            "plain.txt",
            "*",
            "http://example.org/",
            "/a%00b",
            "/plain.txt%00.html",
            "/a%zz",
            "/a%4",
            "/%",
            "/a\u{1}b",
        ] {
            assert_eq!(site.ask(target).0, 400, "{target}");
        }
    }

    #[test]
    fn a_folder_is_asked_for_with_a_slash() {
        let site = Site::new();
        for (target, location) in [("/docs", "/docs/"), ("/d%6fcs?a=b&c", "/d%6fcs/?a=b&c"), ("/bare", "/bare/")] {
            let (status, headers, _) = site.ask_with("GET", target, &[]);
            assert_eq!((status.as_u16(), header(&headers, "location")), (301, location), "{target}");
        }
    }

    #[test]
    fn other_methods_are_told_what_is_allowed() {
        let site = Site::new();
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
            let (status, headers, body) = site.ask_with(method, "/plain.txt", &[]);
            assert_eq!((status.as_u16(), header(&headers, "allow")), (405, "GET, HEAD"), "{method}");
            assert!(body.len() < 40);
        }
    }

    #[test]
    fn a_head_request_gets_the_same_head_and_no_body() {
        let site = Site::new();
        for target in ["/plain.txt", "/missing", "/docs", "/../x"] {
            let (status, headers, _) = site.ask_with("GET", target, &[]);
            assert_eq!(site.ask_with("HEAD", target, &[]), (status, headers, Vec::new()), "{target}");
        }
    }

    #[test]
    fn what_the_client_has_already_is_not_sent_again() {
        let site = Site::new();
        let (_, headers, _) = site.ask_with("GET", "/plain.txt", &[]);
        let (tag, date) = (header(&headers, "etag"), header(&headers, "last-modified"));
        let long_ago = "Thu, 01 Jan 1998 00:00:00 GMT";
        let weak = format!("W/{tag}");
        let several = format!("\"a\", {tag}");
        for (conditions, status) in [
            (&[("if-none-match", tag)][..], 304),
            (&[("if-none-match", &weak)], 304),
            (&[("if-none-match", &several)], 304),
            (&[("if-none-match", "*")], 304),
            (&[("if-none-match", "\"other\"")], 200),
            (&[("if-modified-since", date)], 304),
            (&[("if-modified-since", long_ago)], 200),
            (&[("if-modified-since", "yesterday")], 200),
            (&[("if-none-match", "\"other\""), ("if-modified-since", date)], 200),
            (&[("if-match", tag)], 200),
            (&[("if-match", "\"other\"")], 412),
            (&[("if-unmodified-since", date)], 200),
            (&[("if-unmodified-since", long_ago)], 412),
        ] {
            let (answered, headers, body) = site.ask_with("GET", "/plain.txt", conditions);
            assert_eq!(answered.as_u16(), status, "{conditions:?}");
            assert_eq!(header(&headers, "etag"), tag);
            if status == 304 {
                assert!(body.is_empty() && !headers.contains_key("content-length"));
            }
        }
        std::fs::write(site.folder.path().join("www/plain.txt"), "another length").expect("a file");
        assert_eq!(site.ask_with("GET", "/plain.txt", &[("if-none-match", tag)]).0, StatusCode::OK);
    }

    #[test]
    fn a_part_is_sent_where_one_part_is_asked_for() {
        let site = Site::new();
        for (range, status, content, content_range) in [
            ("bytes=0-3", 206, "0123", "bytes 0-3/10"),
            ("bytes=7-", 206, "789", "bytes 7-9/10"),
            ("bytes=-2", 206, "89", "bytes 8-9/10"),
            ("bytes=-200", 206, "0123456789", "bytes 0-9/10"),
            ("bytes=9-99999999999", 206, "9", "bytes 9-9/10"),
            ("bytes=10-", 416, "Range Not Satisfiable\n", "bytes */10"),
            ("bytes=-0", 416, "Range Not Satisfiable\n", "bytes */10"),
            ("bytes=0-1,3-4", 200, "0123456789", ""),
            ("bytes=5-2", 200, "0123456789", ""),
            ("bytes=+1-2", 200, "0123456789", ""),
            ("bytes=-", 200, "0123456789", ""),
            ("bytes=99999999999999999999-", 200, "0123456789", ""),
            ("lines=1-2", 200, "0123456789", ""),
        ] {
            let (answered, headers, body) = site.ask_with("GET", "/plain.txt", &[("range", range)]);
            assert_eq!((answered.as_u16(), body.as_slice()), (status, content.as_bytes()), "{range}");
            assert_eq!(header(&headers, "content-range"), content_range, "{range}");
            assert_eq!(header(&headers, "content-length"), content.len().to_string(), "{range}");
        }
        assert_eq!(site.ask_with("GET", "/empty.bin", &[("range", "bytes=0-")]).0, StatusCode::RANGE_NOT_SATISFIABLE);
    }

    #[test]
    fn a_part_of_another_version_is_sent_whole() {
        let site = Site::new();
        let (_, headers, _) = site.ask_with("GET", "/plain.txt", &[]);
        let tag = header(&headers, "etag");
        for (condition, status) in [(tag, 206), ("\"other\"", 200), ("Thu, 01 Jan 1998 00:00:00 GMT", 200)] {
            let asked = [("range", "bytes=0-3"), ("if-range", condition)];
            assert_eq!(site.ask_with("GET", "/plain.txt", &asked).0.as_u16(), status, "{condition}");
        }
    }

    #[test]
    fn a_large_file_comes_in_bounded_pieces_and_whole() {
        let site = Site::new();
        let content: Vec<u8> = (0..1_000_003_u32).map(|number| (number % 251) as u8).collect();
        std::fs::write(site.folder.path().join("www/large.bin"), &content).expect("a file");
        runtime().block_on(async {
            let mut body = site.files.respond(&Method::GET, "/large.bin", &HeaderMap::new()).await.into_body();
            let mut received = Vec::new();
            while let Some(piece) = body.frame().await {
                let piece = piece.expect("the file can be read").into_data().expect("data");
                assert!(!piece.is_empty() && piece.len() <= body::PIECE_BYTES_MAX);
                received.extend_from_slice(&piece);
            }
            assert!(received == content);
        });
        let (_, _, part) = site.ask_with("GET", "/large.bin", &[("range", "bytes=65000-200000")]);
        assert!(part == content[65_000..=200_000]);
    }

    #[test]
    fn a_file_that_shrinks_meanwhile_is_an_error_rather_than_a_short_answer() {
        let site = Site::new();
        let path = site.folder.path().join("www/shrinking.bin");
        std::fs::write(&path, vec![1; 300_000]).expect("a file");
        runtime().block_on(async {
            let response = site.files.respond(&Method::GET, "/shrinking.bin", &HeaderMap::new()).await;
            std::fs::write(&path, vec![1; 100_000]).expect("a file");
            let error = response.into_body().collect().await.expect_err("the announced length cannot be kept");
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        });
    }

    #[test]
    fn a_folder_that_is_none_is_named() {
        let error = Files::open(Path::new("/dev/null")).expect_err("that is no folder").to_string();
        assert!(error.contains("/dev/null") && error.contains("ot a directory"), "{error}");
    }
}
