//! A web server with a file of `seawall export` in it.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::support::{PATIENCE, eventually, free_address, skip};

/// How a program is run with a file.
pub(super) struct Program {
    /// The system's name.
    pub(super) system: &'static str,
    /// The program's, and Debian's package of it.
    pub(super) program: &'static str,
    pub(super) package: &'static str,
    /// Where the file is put below the folder.
    pub(super) file: &'static str,
    /// The other files, by name and content, in which `FOLDER`, `HOST` and `PORT` stand for what they are.
    pub(super) files: &'static [(&'static str, &'static str)],
    /// The arguments, likewise.
    pub(super) arguments: &'static [&'static str],
}

/// A running program. It is killed when dropped.
pub(super) struct Running {
    process: Child,
    folder: TempDir,
    address: SocketAddr,
}

/// Runs `seawall export` in a folder with files.
pub(crate) fn export(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command.arg("export").args(arguments).current_dir(folder).output().expect("seawall can be started")
}

/// The program of this name, of this package of Debian. A test without it is [skipped](skip), which root has to allow: there
/// `cargo xtask test` installs it.
pub(super) fn find(program: &str, package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.map(|folder| folder.join(program)).find(|program| program.is_file());
    if found.is_none() {
        skip(&format!("{program} is not installed (apt-get install {package}, or cargo xtask test as root)"));
    }
    found
}

impl Program {
    /// Starts it with these files for `seawall export` and their options, if it is there. Also
    /// returns what was not said.
    pub(super) fn start(&self, inputs: &[(&str, &str)], options: &[&str]) -> Option<(Running, Vec<String>)> {
        let program = find(self.program, self.package)?;
        let (folder, address) = (tempfile::tempdir().expect("a folder"), free_address());
        // Servers give up their rights before they look for files.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a folder of ours");
        for (name, content) in inputs {
            fs::write(folder.path().join(name), content).expect("room for a file");
        }
        let output = export(folder.path(), &[&[self.system], options].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        fs::write(folder.path().join(self.file), &output.stdout).expect("room for a file");
        let fill = |text: &str| {
            let text = text.replace("FOLDER", folder.path().to_str().expect("a path of text"));
            text.replace("HOST", &address.ip().to_string()).replace("PORT", &address.port().to_string())
        };
        for (name, content) in self.files {
            fs::write(folder.path().join(name), fill(content)).expect("room for a file");
        }
        let log = |name| File::create(folder.path().join(name)).expect("room for a file");
        let mut command = Command::new(program);
        command.args(self.arguments.iter().map(|argument| fill(argument))).current_dir(folder.path());
        command.env("HOME", folder.path()).env("XDG_DATA_HOME", folder.path());
        let process = command.stdin(Stdio::null()).stdout(log("out")).stderr(log("err")).spawn();
        let mut running = Running { process: process.expect("it can be started"), folder, address };
        running.wait();
        let unsaid =
            said.rsplit_once("reasons: ").map(|(_, names)| names.trim().split(", ").map(str::to_owned).collect());
        Some((running, unsaid.unwrap_or_default()))
    }
}

impl Running {
    /// Waits until it listens.
    fn wait(&mut self) {
        let mut ended = None;
        eventually("the program listens", || {
            ended = self.process.try_wait().expect("a process of ours");
            ended.is_some() || TcpStream::connect(self.address).is_ok()
        });
        assert!(ended.is_none(), "it ended with {ended:?}");
    }

    /// The status with which it answers a request from this client.
    pub(super) fn status(&self, client: IpAddr, request: &[u8]) -> u16 {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::new(client, 0).into()).expect("an address of loopback");
        socket.connect(&self.address.into()).expect("it listens");
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.write_all(request).expect("it reads");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        let status =
            std::str::from_utf8(&answer).ok().and_then(|line| line.strip_prefix("HTTP/1.")?.get(2..)?.parse().ok());
        status.unwrap_or_else(|| panic!("no answer: {answer:?}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself. Asked to end, it ends its own processes, too.
        if let Ok(None) = self.process.try_wait() {
            let pid = rustix::process::Pid::from_child(&self.process);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.process.wait();
        if std::thread::panicking() {
            for name in ["out", "err"] {
                let said = fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
                eprintln!("{name}:\n{}", said.chars().take(4_000).collect::<String>());
            }
        }
    }
}

/// Nothing that was not tried looks as if it was.
#[test]
fn a_missing_program_fails_the_test_where_it_could_have_been_installed() {
    let may_skip = std::env::var("SEAWALL_MAY_SKIP").is_ok_and(|value| value == "1");
    let found = std::panic::catch_unwind(|| find("seawall-has-no-such-program", "no-such-package"));
    match found {
        Ok(found) => assert!(found.is_none() && (may_skip || !rustix::process::geteuid().is_root())),
        Err(panic) => {
            let said = panic.downcast::<String>().expect("words");
            assert!(said.contains("apt-get install no-such-package"), "{said}");
            assert!(!may_skip && rustix::process::geteuid().is_root(), "{said}");
        }
    }
}
