//! A file that the operator names for a command to write. What is there already may be the log of a running server, named by a
//! slip or by a pattern of the shell, so it is replaced only if it is the command's to replace.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::Failure;
use crate::show::text::escape;

/// What a file that may be replaced is, if it has to be one of the command's own.
pub(crate) struct Kind {
    /// As in "is no report".
    pub(crate) name: &'static str,
    /// How each of them begins.
    pub(crate) beginning: &'static str,
}

/// A file that is being written.
pub(crate) enum OutputFile {
    /// One that takes its name when it is whole.
    Whole { unfinished: NamedTempFile, path: PathBuf },
    /// A device, a pipe, or an empty file, which somebody else may have open and write to later.
    InPlace { file: File, path: PathBuf },
}

impl OutputFile {
    /// The file at `path`, which was named with `option`. It must be none of the `inputs`, and, if it is there and a `kind` is given,
    /// be of that kind.
    pub(crate) fn open(option: &str, path: &Path, inputs: &[PathBuf], kind: Option<&Kind>) -> Result<Self, Failure> {
        let failed = |error: io::Error| failed(path, &error);
        let mut whole_path = path.to_owned();
        if let Ok(metadata) = fs::metadata(path) {
            let name = escape(path.to_string_lossy().as_bytes());
            if metadata.is_file() && inputs.iter().any(|input| is_same(input, &metadata)) {
                // What a server writes into it meanwhile would be lost.
                return Err(Failure::usage(format!("{option} {name} is one of the logs; name another file")));
            }
            let is_empty = metadata.is_file() && metadata.len() == 0;
            if !metadata.is_file() || (is_empty && kind.is_some()) {
                let file = File::options().write(true).open(path).map_err(failed)?;
                return Ok(Self::InPlace { file, path: whole_path });
            }
            if let Some(kind) = kind
                && !begins_with(path, kind.beginning).map_err(failed)?
            {
                return Err(Failure::usage(format!(
                    "{option} {name} is there already and is no {}, so it is not replaced; name another file, or remove it",
                    kind.name
                )));
            }
            // A link stays one.
            whole_path = fs::canonicalize(path).map_err(failed)?;
        }
        let folder = whole_path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let everybody = fs::Permissions::from_mode(0o666);
        let unfinished = tempfile::Builder::new().prefix(".seawall-").permissions(everybody).tempfile_in(folder);
        Ok(Self::Whole { unfinished: unfinished.map_err(failed)?, path: whole_path })
    }

    /// What it is called, for people.
    pub(crate) fn name(&self) -> String {
        escape(self.path().to_string_lossy().as_bytes())
    }

    /// Writes all that is to be in it.
    pub(crate) fn write(mut self, text: &str) -> Result<(), Failure> {
        let written = self.write_all(text.as_bytes());
        written.map_err(|error| failed(self.path(), &error))?;
        self.finish()
    }

    /// Whether everything was written.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        let flushed = self.flush();
        flushed.map_err(|error| failed(self.path(), &error))?;
        let Self::Whole { unfinished, path } = self else { return Ok(()) };
        unfinished.persist(&path).map(|_| ()).map_err(|error| failed(&path, &error.error))
    }

    fn path(&self) -> &Path {
        let (Self::Whole { path, .. } | Self::InPlace { path, .. }) = self;
        path
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Whole { unfinished, .. } => unfinished.write(bytes),
            Self::InPlace { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Whole { unfinished, .. } => unfinished.flush(),
            Self::InPlace { file, .. } => file.flush(),
        }
    }
}

/// Whether an input is the file of this metadata, by whatever name or link.
fn is_same(input: &Path, metadata: &Metadata) -> bool {
    let input = if input == Path::new("-") { Path::new("/dev/stdin") } else { input };
    fs::metadata(input).is_ok_and(|input| (input.dev(), input.ino()) == (metadata.dev(), metadata.ino()))
}

fn begins_with(path: &Path, beginning: &str) -> io::Result<bool> {
    let mut found = Vec::with_capacity(beginning.len());
    File::open(path)?.take(beginning.len() as u64).read_to_end(&mut found)?;
    Ok(found == beginning.as_bytes())
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::machine(format!("failed to write {}: {error}", escape(path.to_string_lossy().as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: Kind = Kind { name: "page", beginning: "<page>" };

    /// What comes of writing to `name` in a folder with a log, links to it, an own page and an empty file, and what they then hold.
    fn check(name: &str, kind: Option<&Kind>, expected: Result<&str, &str>) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for (name, content) in
            [("access.log", "a line\n"), ("other.log", "a line\n"), ("old", "<page>old"), ("new", "")]
        {
            fs::write(path(name), content).expect("room");
        }
        fs::hard_link(path("access.log"), path("hard")).expect("a link");
        std::os::unix::fs::symlink("access.log", path("soft")).expect("a link");
        std::os::unix::fs::symlink("old", path("linked")).expect("a link");
        let output = OutputFile::open("--html", &path(name), &[path("access.log")], kind);
        let written = output.and_then(|output| output.write("<page>new"));
        match (written, expected) {
            (Ok(()), Ok(target)) => {
                assert_eq!(fs::read_to_string(path(target)).expect("written"), "<page>new", "{name}");
            }
            (Err(error), Err(expected)) => {
                assert!(error.to_string().contains(expected), "{name}: {error}");
                assert!(error.to_string().contains("--html"), "{name}: {error}");
            }
            (written, _) => panic!("{name}: {written:?}"),
        }
        let logs = ["access.log", "other.log"].map(|log| fs::read_to_string(path(log)).expect("still there"));
        let expected = if name == "other.log" && kind.is_none() { "<page>new" } else { "a line\n" };
        assert_eq!(logs, ["a line\n", expected], "{name}");
        let left = fs::read_dir(folder.path()).expect("a folder").flatten();
        assert!(
            !left.into_iter().any(|entry| entry.file_name().as_encoded_bytes().starts_with(b".seawall-")),
            "{name}"
        );
    }

    #[test]
    fn only_what_is_the_commands_own_is_replaced() {
        for name in ["access.log", "hard", "soft"] {
            check(name, Some(&PAGE), Err("is one of the logs"));
            check(name, None, Err("is one of the logs"));
        }
        check("other.log", Some(&PAGE), Err("is no page, so it is not replaced"));
        check("other.log", None, Ok("other.log"));
        check("old", Some(&PAGE), Ok("old"));
        check("linked", Some(&PAGE), Ok("old"));
        check("new", Some(&PAGE), Ok("new"));
        check("absent", Some(&PAGE), Ok("absent"));
    }

    #[test]
    fn who_has_an_empty_file_open_goes_on_writing_to_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("access.log");
        let mut server = File::options().append(true).create(true).open(&path).expect("a log");
        let output = OutputFile::open("--html", &path, &[], Some(&PAGE)).expect("it may be written");
        output.write("<page>\n").expect("written");
        server.write_all(b"a line\n").expect("written");
        assert_eq!(fs::read_to_string(&path).expect("there"), "<page>\na line\n");
    }
}
