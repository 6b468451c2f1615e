//! A web server with a file of `seawall export` in it.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::support::{PATIENCE, eventually, free_address};

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
pub(super) fn export(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command.arg("export").args(arguments).current_dir(folder).output().expect("seawall can be started")
}

/// The program of this name, where it is installed.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|program| program.is_file())
}

impl Program {
    /// Starts it with these files for `seawall export` and their options; says so and does nothing when it is not installed. Also
    /// returns what was not said.
    pub(super) fn start(&self, inputs: &[(&str, &str)], options: &[&str]) -> Option<(Running, Vec<String>)> {
        let Some(program) = find(self.program) else {
            eprintln!("skipped: {} is not installed (Debian's package {})", self.program, self.package);
            return None;
        };
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
