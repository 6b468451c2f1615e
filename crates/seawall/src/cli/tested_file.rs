//! A file that stays in the place of another only if a command agrees, as a server's own test of its configuration; otherwise what was
//! there before comes back. A server that is started anew by then would not start.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempPath;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;
use super::output_file::{OutputFile, UNFINISHED_PREFIX, failed, folder_of};
use crate::show::text::escape;

/// Writes `text` to a file, named with `option`, and runs `command` in a shell. When that fails, what was there before is put back.
pub(super) fn write(option: &str, output: OutputFile, text: &str, command: &str) -> Result<(), Failure> {
    let name = output.name();
    let OutputFile::Whole { path, .. } = &output else {
        return Err(Failure::usage(format!(
            "{option} {name} is no file, so nothing can be put back; leave out --test"
        )));
    };
    let path = path.clone();
    let before = Before::keep(&path).map_err(|error| {
        Failure::machine(format!("failed to keep {name} beside itself until it is tested, so it is as it was: {error}"))
    })?;
    // Whoever is told to end now first ends what was begun. A Ctrl-C ends the command, which then has not agreed.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(Failure::machine)?;
    let held: io::Result<Vec<Signal>> = {
        let _entered = runtime.enter();
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].into_iter().map(signal).collect()
    };
    let _held = held.map_err(Failure::machine)?;
    output.write(text)?;
    let Err(why) = run(command) else { return Ok(()) };
    let outcome = before.put_back(&path).map_err(|error| failed(&path, &error))?;
    Err(Failure::negative(format!("`{}` {why}, so {name} {outcome}", escape(command.as_bytes()))))
}

/// What was there before.
enum Before {
    Nothing,
    /// The file, by another name beside it.
    File(TempPath),
}

impl Before {
    fn keep(path: &Path) -> io::Result<Self> {
        if !path.try_exists()? {
            return Ok(Self::Nothing);
        }
        let mut builder = tempfile::Builder::new();
        let linked = builder.prefix(UNFINISHED_PREFIX).make_in(folder_of(path), |name| fs::hard_link(path, name))?;
        Ok(Self::File(linked.into_temp_path()))
    }

    /// Says what has become of the file.
    fn put_back(self, path: &Path) -> io::Result<&'static str> {
        match self {
            Self::Nothing => fs::remove_file(path).map(|()| "was removed again"),
            Self::File(file) => file.persist(path).map(|()| "is what it was").map_err(|error| error.error),
        }
    }
}

/// Runs a command in a shell. What it prints is about the file, not the file, so it goes to standard error.
fn run(command: &str) -> Result<(), String> {
    let mut shell = Command::new("/bin/sh");
    let status = shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(io::stderr()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("failed ({status})")),
        Err(error) => Err(format!("could not be run: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    /// What is at a path after another text was written there and tested with this command.
    fn check(before: Option<&str>, command: &str, expected: Result<(), &str>) -> Option<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("seawall.conf");
        if let Some(before) = before {
            fs::write(&path, before).expect("room");
        }
        let inode = || fs::metadata(&path).map(|metadata| metadata.ino()).ok();
        let before = inode();
        let output = OutputFile::open("--output", &path, &[], None).expect("it may be written");
        let command = command.replace("FILE", path.to_str().expect("a path of text"));
        match (write("--output", output, "new", &command), expected) {
            (Ok(()), Ok(())) => assert_ne!(inode(), before),
            (Err(error), Err(expected)) => {
                assert!(error.to_string().contains(expected), "{error}");
                assert_eq!(inode(), before, "it is the same file");
            }
            (written, _) => panic!("{written:?}"),
        }
        let names: Vec<_> =
            fs::read_dir(folder.path()).expect("a folder").flatten().map(|one| one.file_name()).collect();
        assert!(names.iter().all(|name| name == "seawall.conf"), "{names:?}");
        fs::read_to_string(&path).ok()
    }

    #[test]
    fn a_file_stays_only_if_its_test_agrees() {
        let old = Some("old");
        assert_eq!(check(old, "grep -q new FILE", Ok(())).as_deref(), Some("new"));
        assert_eq!(check(old, "grep -q old FILE", Err("seawall.conf is what it was")).as_deref(), old);
        assert_eq!(check(old, "kill -9 $$", Err("failed (signal: 9")).as_deref(), old);
        assert_eq!(check(None, "true", Ok(())).as_deref(), Some("new"));
        assert_eq!(check(None, "exit 3", Err("`exit 3` failed (exit status: 3), so")), None);
        // Told to end, it ends what was begun.
        assert_eq!(check(old, "kill -TERM $PPID; kill -INT $PPID; false", Err("is what it was")).as_deref(), old);
    }

    #[test]
    fn what_is_no_file_cannot_be_put_back() {
        let output = OutputFile::open("--output", Path::new("/dev/null"), &[], None).expect("it may be written");
        let refused = write("--output", output, "new", "true").expect_err("a device");
        assert!(refused.to_string().contains("is no file"), "{refused}");
    }
}
