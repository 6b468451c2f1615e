//! A message to a program: JSON on its standard input, no shell, and an end after ten seconds.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStderr, ChildStdin, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::message::Message;
use super::{SEND_TIME_MAX, Send};
use crate::host::clock::Clock;
use crate::show::text::escape;

/// How often it is looked whether the program has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What is kept of its complaints.
const COMPLAINT_BYTES_MAX: usize = 200;

/// A program with its arguments.
pub(super) struct Command {
    words: Vec<String>,
    clock: Clock,
}

impl Command {
    pub(super) fn new(words: Vec<String>, clock: Clock) -> Self {
        Self { words, clock }
    }
}

impl Send for Command {
    fn send(&self, message: &Message) -> Result<(), String> {
        let Some((program, arguments)) = self.words.split_first() else {
            return Err("no program is named".to_owned());
        };
        let mut command = std::process::Command::new(program);
        // In a group of its own: what it starts ends with it, and a Ctrl-C at the guard's terminal is none of its business.
        command.args(arguments).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("failed to start {program}: {error}"))?;
        let ended = self.attend(&mut child, message.json().as_bytes());
        if !matches!(ended, Ok(Some(_))) {
            stop(&mut child);
        }
        match ended {
            Ok(Some((status, _))) if status.success() => Ok(()),
            Ok(Some((status, complaint))) => {
                let complaint = escape(complaint.trim_ascii());
                let separator = if complaint.is_empty() { "" } else { ": " };
                Err(format!("{program} {}{separator}{complaint}", how(status)))
            }
            Ok(None) => Err(format!("{program} had not ended after {} s and was killed", SEND_TIME_MAX.as_secs())),
            Err(error) => Err(format!("failed to hand the message to {program}: {error}")),
        }
    }
}

impl Command {
    /// Feeds the program and waits for its end; what it complained of.
    fn attend(&self, child: &mut Child, mut input: &[u8]) -> io::Result<Option<(ExitStatus, Vec<u8>)>> {
        let (mut stdin, mut stderr) = (child.stdin.take(), child.stderr.take());
        if let Some(stdin) = &stdin {
            rustix::io::ioctl_fionbio(stdin, true)?;
        }
        if let Some(stderr) = &stderr {
            rustix::io::ioctl_fionbio(stderr, true)?;
        }
        let (start, mut complaint) = (self.clock.now(), Vec::new());
        loop {
            feed(&mut stdin, &mut input)?;
            drain(&mut stderr, &mut complaint);
            if let Some(status) = child.try_wait()? {
                drain(&mut stderr, &mut complaint);
                return Ok(Some((status, complaint)));
            }
            if self.clock.now().since(start) >= SEND_TIME_MAX {
                return Ok(None);
            }
            thread::sleep(LOOK_INTERVAL);
        }
    }
}

/// Writes what the program takes now, and closes the pipe after the last byte.
fn feed(stdin: &mut Option<ChildStdin>, input: &mut &[u8]) -> io::Result<()> {
    while let Some(pipe) = stdin {
        if input.is_empty() {
            *stdin = None;
            return Ok(());
        }
        match pipe.write(input) {
            Ok(taken) => *input = input.get(taken..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // One that does not read it is free to; how it ends tells whether it did its work.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => *stdin = None,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads all that the program complains of, so that it never waits, and keeps the beginning.
fn drain(stderr: &mut Option<ChildStderr>, complaint: &mut Vec<u8>) {
    let mut buffer = [0; 4_096];
    // Bounded: whoever complains without end is killed in time.
    for _ in 0..16 {
        let Some(pipe) = stderr else { return };
        match pipe.read(&mut buffer) {
            Ok(0) => *stderr = None,
            Ok(length) => {
                let room = COMPLAINT_BYTES_MAX.saturating_sub(complaint.len());
                complaint.extend(buffer.iter().take(length.min(room)));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Ends the program and whatever it has started.
fn stop(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended by itself meanwhile.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
