//! Which paths name static files, by their extensions.

use super::attribute::{EXTENSION_BYTES_MAX, extension};

/// The extensions of files that are fetched by themselves or as parts of pages, and lead to nothing more.
pub(crate) const EXTENSIONS: [&[u8]; 40] = [
    b"css",
    b"js",
    b"mjs",
    b"map",
    b"json",
    b"xml",
    b"rss",
    b"atom",
    b"txt",
    b"ico",
    b"svg",
    b"gif",
    b"png",
    b"jpg",
    b"jpeg",
    b"webp",
    b"avif",
    b"bmp",
    b"woff",
    b"woff2",
    b"ttf",
    b"otf",
    b"eot",
    b"mp3",
    b"mp4",
    b"webm",
    b"ogg",
    b"opus",
    b"m4a",
    b"wav",
    b"pdf",
    b"zip",
    b"gz",
    b"xz",
    b"bz2",
    b"pem",
    b"crt",
    b"iso",
    b"webmanifest",
    b"wasm",
];

/// Whether a path names a static file, by its extension: one that is fetched by itself or as a part of a page, and leads to nothing more.
pub fn is_static(path: &[u8]) -> bool {
    let mut buffer = [0; EXTENSION_BYTES_MAX];
    extension(path, &mut buffer).is_some_and(|extension| EXTENSIONS.contains(&extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_files_are_told_by_their_extensions() {
        for (path, expected) in
            [("/ca/cacert.pem", true), ("/a/STYLE.CSS", true), ("/index.php", false), ("/wiki/Front", false)]
        {
            assert_eq!(is_static(path.as_bytes()), expected, "{path}");
        }
    }
}
