//! Waiting until there is something to read.
//!
//! What inotify tells is no more than a hint to look: what has become of a file is asked of the file system. So nothing is lost
//! where inotify does not work (network file systems, a full queue, too few watches): it then comes a quarter of a second later.

use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// How long to wait at most: as long as polling takes to see something.
const WAIT_MAX: Duration = Duration::from_millis(250);

/// How long to wait at least, so that a log that is written line by line is read in more than lines.
const PAUSE: Duration = Duration::from_millis(10);

/// Events that are taken in one wait. Another file of the folder may be written without a pause; what is left wakes it again at once.
const EVENTS_MAX: usize = 4_096;

/// Waits for files and descriptors.
pub(super) struct Wake {
    /// None when only polling is wanted, or possible.
    inotify: Option<OwnedFd>,
    watched: HashSet<PathBuf>,
}

impl Wake {
    /// `polls`: whether to do without inotify.
    pub(super) fn new(polls: bool) -> Self {
        let inotify = if polls { None } else { inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok() };
        if inotify.is_none() && !polls {
            tracing::warn!("the kernel gives no inotify instance; logs are looked at four times a second instead");
        }
        Self { inotify, watched: HashSet::new() }
    }

    /// Wakes up when something changes in this folder.
    pub(super) fn watch(&mut self, folder: &Path) {
        let Some(inotify) = self.inotify.as_ref().filter(|_| !self.watched.contains(folder)) else { return };
        let changes = WatchFlags::MODIFY
            | WatchFlags::CREATE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE
            | WatchFlags::ATTRIB;
        match inotify::add_watch(inotify, folder, changes | WatchFlags::ONLYDIR) {
            Ok(_) => drop(self.watched.insert(folder.to_owned())),
            // It may come to be; until then it is looked at all the same.
            Err(rustix::io::Errno::NOENT) => {}
            Err(error) => {
                self.watched.insert(folder.to_owned());
                tracing::warn!(folder = %folder.display(), %error, "inotify cannot be used here; it is looked at four times a second instead");
            }
        }
    }

    /// Waits until one of `descriptors` can be read or files may have changed.
    pub(super) fn wait(&self, descriptors: &[BorrowedFd<'_>]) {
        let mut polled: Vec<PollFd<'_>> =
            descriptors.iter().map(|descriptor| PollFd::from_borrowed_fd(*descriptor, PollFlags::IN)).collect();
        std::thread::sleep(PAUSE);
        if let Some(inotify) = &self.inotify {
            polled.push(PollFd::new(inotify, PollFlags::IN));
        }
        let timeout = Timespec { tv_sec: 0, tv_nsec: WAIT_MAX.subsec_nanos().into() };
        // An interrupted wait is one that was short.
        let _ = poll(&mut polled, Some(&timeout));
        if let Some(inotify) = &self.inotify {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut events = inotify::Reader::new(inotify.as_fd(), &mut buffer);
            for _ in 0..EVENTS_MAX {
                if events.next().is_err() {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_folder_in_which_much_is_written_keeps_nobody_waiting() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut files = ["a", "b"].map(|name| std::fs::File::create(folder.path().join(name)).expect("a file"));
        let mut wake = Wake::new(false);
        wake.watch(folder.path());
        // Of one file alone events that are alike are told once.
        for number in 0..EVENTS_MAX + 100 {
            files[number % 2].write_all(b"x").expect("written");
        }
        let is_left = |wake: &Wake| {
            let mut polled = [PollFd::new(wake.inotify.as_ref().expect("inotify"), PollFlags::IN)];
            poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("polled") > 0
        };
        wake.wait(&[]);
        assert!(is_left(&wake), "all was taken in one go");
        wake.wait(&[]);
        assert!(!is_left(&wake));
    }
}
