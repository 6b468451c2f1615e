//! What to say when a log may not be read.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Why `path`, a file or a folder, may not be read, and what would let it be.
pub(super) fn denied(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let own = own_name();
    // The first folder that cannot be entered hides all below.
    let folders: Vec<PathBuf> = absolute.ancestors().skip(1).map(Path::to_owned).collect();
    let hidden = folders.iter().rev().find(|folder| fs::metadata(folder.join(".")).is_err());
    let barred = hidden.unwrap_or(&absolute);
    let Ok(metadata) = fs::metadata(barred) else {
        return format!("permission denied for {own} on {}", barred.display());
    };
    let group = group_name(metadata.gid());
    // To come to what is in a folder it has to be entered; to find what is in it, listed as well.
    let (needed, right) = match (metadata.is_dir(), hidden.is_none()) {
        (true, false) => (0o010, "g+x"),
        (true, true) => (0o050, "g+rx"),
        (false, _) => (0o040, "g+r"),
    };
    let what = format!(
        "permission denied: {} belongs to group {group} and has mode {:04o}, and this runs as {own}",
        barred.display(),
        metadata.mode() & 0o7777
    );
    let remedy = if metadata.gid() == 0 {
        // Whoever is in that group may read far more than logs.
        format!(
            "give it to a group that reads logs, as with `chgrp adm {0} && chmod {right} {0}`, and add {own} to that group",
            barred.display()
        )
    } else if metadata.mode() & needed == needed {
        format!(
            "add {own} to the group with `usermod -aG {group} {own}`, or for a service with `SupplementaryGroups={group}`"
        )
    } else {
        let rotation = if metadata.is_dir() { "" } else { " and `create 0640` in logrotate" };
        format!(
            "let its group in with `chmod {right} {}`{rotation}, then add {own} to the group {group}",
            barred.display()
        )
    };
    format!("{what}; {remedy}")
}

fn own_name() -> String {
    let uid = rustix::process::geteuid().as_raw();
    name_of(&fs::read_to_string("/etc/passwd").unwrap_or_default(), uid)
}

fn group_name(gid: u32) -> String {
    name_of(&fs::read_to_string("/etc/group").unwrap_or_default(), gid)
}

/// The name that goes with a number in `/etc/passwd` or `/etc/group`; the number where there is none.
fn name_of(table: &str, id: u32) -> String {
    let entry = table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse::<u32>().ok()? == id).then_some(name)
    });
    entry.map_or_else(|| id.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_number() {
        let table = "root:x:0:\nadm:x:4:syslog\nbroken\n";
        assert_eq!((name_of(table, 4), name_of(table, 77)), ("adm".to_owned(), "77".to_owned()));
    }

    #[test]
    fn the_group_that_would_help_is_named() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("access.log");
        fs::write(&path, "").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("ours");
        if rustix::process::geteuid().is_root() {
            let text = denied(&path);
            assert!(text.contains("chgrp adm") && !text.contains("usermod"), "nobody is put into root's group: {text}");
            for path in [path.as_path(), directory.path()] {
                std::os::unix::fs::chown(path, None, Some(4)).expect("root may");
            }
        }
        let text = denied(&path);
        assert!(
            text.contains(&path.display().to_string()) && text.contains("0640") && text.contains("usermod -aG"),
            "{text}"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
        assert!(denied(&path).contains("chmod g+r"), "{}", denied(&path));
        // What is in a folder is not found by who may only enter it.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o710)).expect("ours");
        assert!(denied(directory.path()).contains("chmod g+rx"), "{}", denied(directory.path()));
    }
}
