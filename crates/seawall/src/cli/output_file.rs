//! A file that the operator names for a command to write. What is there already may be the log of a running server, named by a
//! slip or by a pattern of the shell, so it is replaced only if it is the command's to replace.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid, accessat, fchown, linkat};
use tempfile::NamedTempFile;

use super::Failure;
use crate::show::text::escape;

/// The mode of a file that is new; the umask takes away of it.
const MODE: u32 = 0o666;

/// The most that a [private](OutputFile::private) one has: its owner may write it, and its group, in which a server may be, read it.
const PRIVATE_MODE: u32 = 0o640;

/// How the name of a file begins that is not whole.
pub(super) const UNFINISHED_PREFIX: &str = ".seawall-";

/// Where the kernel shows a process its open files, those without a name among them.
const OWN_FILES: &str = "/proc/self/fd";

/// What a file that may be replaced is, if it has to be one of the command's own.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    /// As in "is no report".
    pub(crate) name: &'static str,
    /// How each of them begins.
    pub(crate) beginning: &'static str,
}

/// A file that is to be written.
pub(crate) enum OutputFile {
    /// One that takes its name when it is whole. It is made with the first write, so that a command that is stopped while it
    /// reads leaves nothing.
    Whole { unfinished: Option<Unfinished>, path: PathBuf, kind: Option<Kind>, mode_max: u32 },
    /// A device or a pipe.
    Stream { file: File, path: PathBuf },
    /// An empty file, which somebody else may have open and write to later.
    Empty { file: File, path: PathBuf, is_begun: bool },
}

/// What is written until it is whole.
pub(crate) enum Unfinished {
    /// A file without a name on the disk of the one that it is to replace, whose mode and owner it takes if that is there. Of a command
    /// that is stopped, however hard, nothing is left.
    Nameless { file: File, replaced: Option<Access> },
    /// The same with a name of its own, where the system has none without.
    Beside { file: NamedTempFile, replaced: Option<Access> },
    /// The file itself, in a folder where none can be made.
    Itself(File),
}

/// Who may do what with a file.
#[derive(Clone, Copy)]
pub(crate) struct Access {
    owner: u32,
    group: u32,
    mode: u32,
}

impl OutputFile {
    /// The file at `path`, which was named with `option`. It must be none of the `inputs`, and, if it is there and a `kind` is given,
    /// be of that kind.
    pub(crate) fn open(option: &str, path: &Path, inputs: &[PathBuf], kind: Option<&Kind>) -> Result<Self, Failure> {
        let failed = |error: io::Error| failed(path, &error);
        let mut whole_path = path.to_owned();
        let mut is_writable = false;
        if let Ok(metadata) = fs::metadata(path) {
            let name = escape(path.to_string_lossy().as_bytes());
            if metadata.is_file() && inputs.iter().any(|input| is_same(input, &metadata)) {
                // What a server writes into it meanwhile would be lost.
                return Err(Failure::usage(format!("{option} {name} is one of the files that are read; name another")));
            }
            if !metadata.is_file() {
                let file = File::options().write(true).open(path).map_err(failed)?;
                return Ok(Self::Stream { file, path: whole_path });
            }
            if metadata.len() == 0 && kind.is_some() {
                let file = File::options().append(true).open(path).map_err(failed)?;
                return Ok(Self::Empty { file, path: whole_path, is_begun: false });
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
            is_writable = may_write(&whole_path).is_ok();
        }
        if !is_writable {
            // Said before the reading, which may take long.
            may_write(folder_of(&whole_path)).map_err(failed)?;
        }
        Ok(Self::Whole { unfinished: None, path: whole_path, kind: kind.copied(), mode_max: 0o7777 })
    }

    /// The same for what nobody but its owner and its group may read, whatever the mode of the file that it replaces.
    pub(crate) fn private(self) -> Self {
        match self {
            Self::Whole { unfinished, path, kind, .. } => {
                Self::Whole { unfinished, path, kind, mode_max: PRIVATE_MODE }
            }
            Self::Stream { .. } | Self::Empty { .. } => self,
        }
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
        let Self::Whole { unfinished: Some(unfinished), path, .. } = self else { return Ok(()) };
        unfinished.take_name(&path).map_err(|error| failed(&path, &error))
    }

    /// Where to write, once it is seen that what is there is still what it was before the reading.
    fn begun(&mut self) -> io::Result<&mut dyn Write> {
        match self {
            Self::Whole { unfinished: Some(Unfinished::Beside { file, .. }), .. } => Ok(file),
            Self::Whole { unfinished: Some(Unfinished::Itself(file) | Unfinished::Nameless { file, .. }), .. }
            | Self::Stream { file, .. } => Ok(file),
            Self::Whole { unfinished, path, kind, mode_max } => {
                match unfinished.insert(Unfinished::new(path, *kind, *mode_max)?) {
                    Unfinished::Beside { file, .. } => Ok(file),
                    Unfinished::Itself(file) | Unfinished::Nameless { file, .. } => Ok(file),
                }
            }
            Self::Empty { file, is_begun, .. } => {
                if !*is_begun && file.metadata()?.len() != 0 {
                    return Err(io::Error::other(
                        "it was empty before the reading, and something has written to it since; name another file",
                    ));
                }
                *is_begun = true;
                Ok(file)
            }
        }
    }

    fn path(&self) -> &Path {
        let (Self::Whole { path, .. } | Self::Stream { path, .. } | Self::Empty { path, .. }) = self;
        path
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begun()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.begun()?.flush()
    }
}

impl Unfinished {
    /// For the file at `path`, which is still of this `kind` if it is there, with `mode_max` at most.
    fn new(path: &Path, kind: Option<Kind>, mode_max: u32) -> io::Result<Self> {
        let replaced = fs::metadata(path).ok().map(|metadata| Access {
            owner: metadata.uid(),
            group: metadata.gid(),
            mode: metadata.mode() & mode_max,
        });
        if let Some(kind) = kind
            && replaced.is_some()
            && !begins_with(path, kind.beginning)?
        {
            return Err(io::Error::other(format!(
                "something has written to it since the reading began, and it is no {}; name another file",
                kind.name
            )));
        }
        if let Some(file) = nameless(folder_of(path), if replaced.is_none() { MODE & mode_max } else { 0o600 }) {
            return Ok(Self::Nameless { file, replaced });
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(UNFINISHED_PREFIX);
        if replaced.is_none() {
            builder.permissions(fs::Permissions::from_mode(MODE & mode_max));
        }
        match builder.tempfile_in(folder_of(path)) {
            Ok(file) => Ok(Self::Beside { file, replaced }),
            Err(error) => match replaced {
                Some(Access { mode, .. }) => {
                    if fs::metadata(path)?.mode() & 0o7777 != mode {
                        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
                    }
                    File::options().write(true).truncate(true).open(path).map(Self::Itself)
                }
                None => Err(error),
            },
        }
    }

    /// It is whole: it takes the place of what is at `path`.
    fn take_name(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Itself(_) => Ok(()),
            Self::Nameless { file, replaced } => {
                let itself = PathBuf::from(format!("{OWN_FILES}/{}", file.as_raw_fd()));
                // What has no name cannot take that of another file at once.
                let mut builder = tempfile::Builder::new();
                let named = builder
                    .prefix(UNFINISHED_PREFIX)
                    .make_in(folder_of(path), |name| Ok(linkat(CWD, &itself, CWD, name, AtFlags::SYMLINK_FOLLOW)?))?;
                // Only now: a file of somebody else could not be linked.
                replaced.map_or(Ok(()), |replaced| take_after(&file, replaced))?;
                named.persist(path).map_err(|error| error.error)
            }
            Self::Beside { file, replaced } => {
                replaced.map_or(Ok(()), |replaced| take_after(file.as_file(), replaced))?;
                file.persist(path).map(|_| ()).map_err(|error| error.error)
            }
        }
    }
}

/// A file in `folder` that has no name, where the system and the disk have such, and one can be given to it.
fn nameless(folder: &Path, mode: u32) -> Option<File> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(folder, flags, Mode::from_raw_mode(mode)).ok()?;
    Path::new(OWN_FILES).exists().then(|| file.into())
}

/// Gives a file the owner, where that is allowed, and the mode of the one that it replaces.
fn take_after(file: &File, replaced: Access) -> io::Result<()> {
    let (owner, group) = (Some(Uid::from_raw(replaced.owner)), Some(Gid::from_raw(replaced.group)));
    let mut mode = replaced.mode;
    if fchown(file, owner, group).is_err() && fchown(file, None, group).is_err() {
        // What its group may do, another group may not.
        mode &= !0o070 | ((mode & 0o007) << 3);
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
}

pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn may_write(path: &Path) -> io::Result<()> {
    Ok(accessat(CWD, path, rustix::fs::Access::WRITE_OK, AtFlags::EACCESS)?)
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

pub(super) fn failed(path: &Path, error: &io::Error) -> Failure {
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
            check(name, Some(&PAGE), Err("is one of the files that are read"));
            check(name, None, Err("is one of the files that are read"));
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

    #[test]
    fn what_is_written_meanwhile_is_not_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        for (before, since) in [("", "a line\n"), ("<page>old", "a line\n")] {
            let path = folder.path().join("access.log");
            fs::write(&path, before).expect("room");
            let output = OutputFile::open("--html", &path, &[], Some(&PAGE)).expect("it may be written");
            fs::write(&path, since).expect("room");
            let refused = output.write("<page>new").expect_err("it is no longer what it was");
            assert!(refused.to_string().contains("name another file"), "{refused}");
            assert_eq!(fs::read_to_string(&path).expect("there"), since);
        }
    }

    #[test]
    fn nothing_is_made_before_there_is_something_to_write() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("page");
        let output = OutputFile::open("--html", &path, &[], Some(&PAGE)).expect("it may be written");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
        output.finish().expect("written");
        assert_eq!(fs::read_to_string(&path).expect("there"), "");
        let absent = OutputFile::open("--html", &folder.path().join("absent/page"), &[], Some(&PAGE));
        assert!(absent.is_err_and(|error| error.to_string().contains("No such file")));
    }

    #[test]
    fn a_file_that_is_replaced_keeps_its_mode_and_its_owner() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("page");
        for mode in [0o600, 0o640, 0o664] {
            fs::write(&path, "<page>old").expect("room");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
            // Only root may give a file away.
            let _ = std::os::unix::fs::chown(&path, Some(1234), Some(1234));
            let before = fs::metadata(&path).expect("there");
            let output = OutputFile::open("--html", &path, &[], Some(&PAGE)).expect("it may be written");
            output.write("<page>new").expect("written");
            let after = fs::metadata(&path).expect("there");
            let told = |metadata: &Metadata| (metadata.mode(), metadata.uid(), metadata.gid());
            assert_eq!(told(&after), told(&before));
            assert_ne!(after.ino(), before.ino());
        }
    }

    #[test]
    fn others_may_not_read_what_is_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("banned.conf");
        for (before, after) in [(None, 0o640), (Some(0o644), 0o640), (Some(0o666), 0o640), (Some(0o600), 0o600)] {
            let _ = fs::remove_file(&path);
            if let Some(mode) = before {
                fs::write(&path, "old").expect("room");
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
            }
            let output = OutputFile::open("--output", &path, &[], None).expect("it may be written").private();
            output.write("new").expect("written");
            let mode = fs::metadata(&path).expect("there").mode() & 0o7777;
            // The umask may take more away of a new one.
            assert_eq!(mode & !after, 0, "{before:?}: {mode:04o}");
            assert!(before.is_none() || mode == after, "{before:?}: {mode:04o}");
            assert_eq!(fs::read_to_string(&path).expect("there"), "new");
        }
    }

    #[test]
    fn of_what_is_not_finished_nothing_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        if nameless(folder.path(), 0o600).is_none() {
            eprintln!("skipped: here every file has a name");
            return;
        }
        let path = folder.path().join("page");
        let mut output = OutputFile::open("--html", &path, &[], Some(&PAGE)).expect("it may be written");
        output.write_all(b"<page>").expect("room");
        output.flush().expect("room");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "as after a stop that nothing can catch");
        output.finish().expect("written");
        assert_eq!(fs::read_to_string(&path).expect("there"), "<page>");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn where_no_file_can_be_made_the_one_that_is_there_is_written() {
        // In this folder nobody can make one, whoever runs the test.
        let path = Path::new("/proc/self/comm");
        let output = OutputFile::open("--output", path, &[], None).expect("it may be written");
        output.write("written").expect("written");
        assert_eq!(fs::read_to_string(path).expect("there"), "written\n");
    }
}
