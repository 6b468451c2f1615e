//! Whether systemd knows the unit whose journal is to be read: one with a wrong name is as silent as one that has nothing to say.

use std::process::{Command, Stdio};

/// Warns of a unit that systemd does not know. It is asked in a thread of its own: a systemd that does not answer keeps nobody waiting, and
/// one that is not there knows nothing.
pub(super) fn warn_if_unknown(unit: &str) {
    let unit = unit.to_owned();
    let ask = move || {
        if load_state(&unit).is_some_and(|state| state == "not-found") {
            tracing::warn!(
                "systemd knows no unit {unit}: `systemctl list-units --type=service` shows those that there are; entries of it are read \
                 as soon as there are any"
            );
        }
    };
    // Without a thread nobody is warned, and the silence is an alarm later.
    let _ = std::thread::Builder::new().name("unit".to_owned()).spawn(ask);
}

/// What systemd says of it: `loaded`, `not-found` and others.
fn load_state(unit: &str) -> Option<String> {
    let mut command = Command::new("systemctl");
    command.args(["show", "--property=LoadState", "--value", "--", unit]).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
