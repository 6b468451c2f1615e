//! A guard in a process of its own.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};

use tempfile::TempDir;

use super::client::Client;
use super::eventually;

/// What a guard is started with. The site is `example.org` and every name below it.
pub(crate) struct Setup {
    listen: Vec<String>,
    admin: String,
    workers: usize,
    hosts: Vec<String>,
    upstream: String,
    limits: String,
    kernel: String,
    rest: String,
    program: &'static [&'static str],
    /// A folder where programs are looked for first.
    programs: Option<PathBuf>,
}

impl Setup {
    /// In front of `upstream`, a URL.
    pub(crate) fn to(upstream: &str) -> Self {
        Self {
            listen: vec!["127.0.0.1:0".to_owned()],
            admin: "off".to_owned(),
            workers: 1,
            hosts: vec!["example.org".to_owned(), "*.example.org".to_owned()],
            upstream: upstream.to_owned(),
            limits: String::new(),
            // Tests leave the firewall of this machine alone; those about it have a network namespace of their own.
            kernel: "use = \"never\"".to_owned(),
            rest: String::new(),
            program: PLAIN,
            programs: None,
        }
    }

    /// For this host instead.
    pub(crate) fn hosts(mut self, host: &str) -> Self {
        self.hosts = vec![host.to_owned()];
        self
    }

    /// With these lines in `[limits]`.
    pub(crate) fn limits(mut self, lines: &str) -> Self {
        self.limits = lines.to_owned();
        self
    }

    /// With these lines in `[kernel]`.
    pub(crate) fn kernel(mut self, lines: &str) -> Self {
        self.kernel = lines.to_owned();
        self
    }

    /// With so many workers.
    pub(crate) fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Without any capability.
    pub(crate) fn without_right(mut self) -> Self {
        self.program = WITHOUT_RIGHT;
        self
    }

    /// As a user who has no right but to change the packet filter.
    pub(crate) fn unprivileged(mut self) -> Self {
        self.program = UNPRIVILEGED;
        self
    }

    /// With the programs of this folder in place of the system's.
    pub(crate) fn programs(mut self, folder: &Path) -> Self {
        self.programs = Some(folder.to_owned());
        self
    }

    /// With these further sections.
    pub(crate) fn sections(mut self, text: &str) -> Self {
        self.rest = text.to_owned();
        self
    }

    /// Listening there.
    pub(crate) fn listen(mut self, addresses: &[SocketAddr]) -> Self {
        self.listen = addresses.iter().map(ToString::to_string).collect();
        self
    }

    /// With a status page.
    pub(crate) fn status_page(mut self) -> Self {
        self.admin = "127.0.0.1:0".to_owned();
        self
    }

    /// The configuration file.
    pub(crate) fn text(&self) -> String {
        format!(
            "listen = {:?}\nadmin = {:?}\nworkers = {}\nstate-directory = \"state\"\n\n[[site]]\n\
             hosts = {:?}\nupstream = {:?}\n\n[limits]\n{}\n\n[kernel]\n{}\n\n{}\n",
            self.listen, self.admin, self.workers, self.hosts, self.upstream, self.limits, self.kernel, self.rest
        )
    }

    /// Starts it after `other`, with the state that it left.
    pub(crate) fn start_after(&self, other: &Guard) -> Guard {
        let state = other.state_path();
        let copy = |folder: &Path| {
            let copied = Command::new("cp").arg("-a").args([&state, folder]).status().expect("cp can be started");
            assert!(copied.success());
        };
        Guard::launch(self.program, &self.text(), copy, "state", &["serve", "--config", "seawall.toml"])
    }

    /// Starts it and waits until visitors can come.
    pub(crate) fn start(&self) -> Guard {
        let Some(folder) = &self.programs else {
            return Guard::launch(self.program, &self.text(), |_| {}, "state", &["serve", "--config", "seawall.toml"]);
        };
        let path = format!("PATH={}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
        let program = [&["env", path.as_str()], self.program].concat();
        Guard::launch(&program, &self.text(), |_| {}, "state", &["serve", "--config", "seawall.toml"])
    }
}

/// How the program is started: as it is, or with no capability left to it.
const PLAIN: &[&str] = &[env!("CARGO_BIN_EXE_seawall")];
const WITHOUT_RIGHT: &[&str] =
    &["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", env!("CARGO_BIN_EXE_seawall")];
/// As systemd does with `User=` and `AmbientCapabilities=CAP_NET_ADMIN`.
const UNPRIVILEGED: &[&str] = &[
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--bounding-set=-all,+net_admin",
    "--inh-caps=-all,+net_admin",
    "--ambient-caps=-all,+net_admin",
    env!("CARGO_BIN_EXE_seawall"),
];

/// The configuration of a guard on logs.
const BESIDE: &str = "admin = \"off\"\n[policy]\nenforce = \"on-excess\"\n[kernel]\nuse = \"never\"\n";

/// A running guard. It is killed when dropped.
pub(crate) struct Guard {
    process: Child,
    directory: TempDir,
    /// The name of its state directory.
    state: &'static str,
    addresses: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    /// What it watches, as it says.
    watching: Vec<String>,
    /// Held, so that the guard has somewhere to print to.
    _printed: BufReader<ChildStdout>,
}

impl Guard {
    /// Starts a guard with a configuration, in a folder that `prepare` can put things into before.
    pub(crate) fn start(config: &str, prepare: impl FnOnce(&Path)) -> Self {
        Self::launch(PLAIN, config, prepare, "state", &["serve", "--config", "seawall.toml"])
    }

    /// Starts a guard with a configuration and its state elsewhere than that says.
    pub(crate) fn start_elsewhere(config: &str) -> Self {
        Self::launch(PLAIN, config, |_| {}, "elsewhere", &["serve", "--config", "seawall.toml", "--state", "elsewhere"])
    }

    /// Starts a guard without a configuration.
    pub(crate) fn start_without_file(upstream: &str) -> Self {
        let here = "127.0.0.1:0";
        let arguments =
            ["serve", "--to", upstream, "--host", "example.org", "--listen", here, "--admin", here, "--state", "state"];
        Self::launch(PLAIN, "", |_| {}, "state", &arguments)
    }

    /// Starts a guard on logs, with these arguments after `watch`, in a folder that `prepare` can put things into before.
    pub(crate) fn watch(arguments: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        Self::watch_as(BESIDE, arguments, prepare)
    }

    /// The same with this configuration.
    pub(crate) fn watch_as(config: &str, arguments: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let arguments = [&["watch", "--state", "state", "--config", "seawall.toml"], arguments].concat();
        Self::launch(PLAIN, config, prepare, "state", &arguments)
    }

    /// As [`Self::watch`], with further sections.
    pub(crate) fn watch_with(sections: &str, arguments: &[&str]) -> Self {
        Self::watch_as(&format!("{BESIDE}{sections}"), arguments, |_| {})
    }

    /// As [`Self::watch`], as a user for whom the rights of files count; to be started by root.
    pub(crate) fn watch_unprivileged(arguments: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let arguments = [&["watch", "--state", "state", "--config", "seawall.toml"], arguments].concat();
        Self::launch(UNPRIVILEGED, BESIDE, prepare, "state", &arguments)
    }

    /// Starts another one in the same folder, after the end of this.
    pub(crate) fn again(&mut self, arguments: &[&str]) {
        self.wait();
        let arguments = [&["watch", "--state", "state", "--config", "seawall.toml"], arguments].concat();
        let mut process = spawn(PLAIN, self.directory.path(), &arguments);
        self._printed = read_greeting(&mut process, self.directory.path()).0;
        self.process = process;
    }

    fn launch(
        program: &[&str],
        config: &str,
        prepare: impl FnOnce(&Path),
        state: &'static str,
        arguments: &[&str],
    ) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("seawall.toml"), config).expect("a configuration");
        prepare(directory.path());
        if program == UNPRIVILEGED {
            std::os::unix::fs::chown(directory.path(), Some(65_534), Some(65_534)).expect("root makes the namespace");
        }
        let mut process = spawn(program, directory.path(), arguments);
        let (printed, greeting) = read_greeting(&mut process, directory.path());
        let lines = |prefix: &'static str| greeting.iter().filter_map(move |line| line.strip_prefix(prefix));
        let address = |url: &str| url.strip_suffix('/').and_then(|address| address.parse().ok());
        let addresses = lines("Guarding on http://").filter_map(address).collect();
        let admin = lines("Status page http://").find_map(address);
        let watching = lines("Watching ").map(str::to_owned).collect();
        Self { process, directory, state, addresses, admin, watching, _printed: printed }
    }

    /// The folder that it runs in.
    pub(crate) fn folder(&self) -> &Path {
        self.directory.path()
    }

    /// What it watches, as it says.
    pub(crate) fn watching(&self) -> &[String] {
        &self.watching
    }

    /// Its standard input, which ends with what is returned.
    pub(crate) fn input(&mut self) -> ChildStdin {
        self.process.stdin.take().expect("its input")
    }

    /// What its only log tells.
    pub(crate) fn sensor(&self) -> serde_json::Value {
        self.status()["sensors"][0]["log"].clone()
    }

    /// Where visitors are served.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Where the status page is served.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin.expect("a status page")
    }

    /// A visitor.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its configuration file.
    pub(crate) fn config_path(&self) -> PathBuf {
        self.directory.path().join("seawall.toml")
    }

    /// Its state directory.
    pub(crate) fn state_path(&self) -> PathBuf {
        self.directory.path().join(self.state)
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Runs `seawall` with these arguments against this guard.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
        command.args(arguments).arg("--state").arg(self.state_path()).output().expect("seawall can be started")
    }

    /// Starts a command and does not wait for it.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
        command.args(arguments).arg("--state").arg(self.state_path()).stdout(Stdio::null());
        command.spawn().expect("seawall can be started")
    }

    /// The present state.
    pub(crate) fn status(&self) -> serde_json::Value {
        let output = self.command(&["status", "--json"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// One of the counts since the start.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.status()["traffic"][name].as_u64().unwrap_or_else(|| panic!("a count named {name}"))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, signal).expect("the guard runs");
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().expect("a process of ours")
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the end of the guard", || {
            status = self.ended();
            status.is_some()
        });
        status.expect("an exit status")
    }

    /// A line of `/proc/PID/status` in KiB.
    pub(crate) fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the guard runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).expect("a line in kB")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("the log of the guard:\n{}", self.log());
        }
    }
}

fn spawn(program: &[&str], folder: &Path, arguments: &[&str]) -> Child {
    let log = File::options().append(true).create(true).open(folder.join("log")).expect("a log");
    Command::new(program[0])
        .args(&program[1..])
        .args(arguments)
        .current_dir(folder)
        .env_remove("SEAWALL_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("seawall can be started")
}

/// What it prints before it is ready.
fn read_greeting(process: &mut Child, folder: &Path) -> (BufReader<ChildStdout>, Vec<String>) {
    let mut printed = BufReader::new(process.stdout.take().expect("its output"));
    let mut greeting: Vec<String> = Vec::new();
    while !greeting.last().is_some_and(|line| line.starts_with("State in ")) {
        let mut line = String::new();
        if printed.read_line(&mut line).expect("its output") == 0 {
            let read = |name| fs::read_to_string(folder.join(name)).unwrap_or_default();
            panic!("the guard did not start:\n{}\nwith\n{}", read("log"), read("seawall.toml"));
        }
        greeting.push(line.trim_end().to_owned());
    }
    (printed, greeting)
}

/// What a command printed.
pub(crate) fn text(output: &[u8]) -> String {
    String::from_utf8(output.to_vec()).expect("output in UTF-8")
}
