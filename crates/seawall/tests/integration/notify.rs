//! Who is told of what happens, and what becomes of those who cannot be told.

use std::fs;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use seawall::host::clock::Clock;
use serde_json::Value;

use crate::support::guard::{Guard, text};
use crate::support::{eventually, free_address};

/// A server that takes one request after the other, gives each the next of these answers (the last for all that follow), and keeps
/// what came. An answer that is empty is never given.
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        thread::spawn(move || {
            let mut held = Vec::new();
            for (number, stream) in listener.incoming().enumerate() {
                let Ok(mut stream) = stream else { return };
                let request = read_request(&mut stream);
                kept.lock().expect("no panic").push(request);
                match answers.get(number).or(answers.last()) {
                    Some(answer) if !answer.is_empty() => {
                        // The client may have gone.
                        let _ = stream.write_all(answer.as_bytes());
                    }
                    _ => held.push(stream),
                }
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic").clone()
    }
}

fn read_request(stream: &mut impl Read) -> String {
    let (mut request, mut buffer) = (Vec::new(), [0; 4_096]);
    loop {
        let shown = String::from_utf8_lossy(&request).into_owned();
        let length = shown.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if let (Some(end), Some(length)) = (shown.find("\r\n\r\n"), length)
            && request.len() >= end + 4 + usize::to_owned(&length)
        {
            return shown;
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return shown,
            Ok(length) => request.extend_from_slice(&buffer[..length]),
        }
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const FAILS: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const MOVED: &str =
    "HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

fn program(folder: &Path, name: &str, script: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    path.display().to_string()
}

/// Sends a trial message as this configuration says, without a guard.
fn trial(folder: &Path, config: &str, arguments: &[&str]) -> Output {
    fs::write(folder.join("notify.toml"), format!("admin = \"off\"\n{config}")).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command.args(["notify", "test", "--config", "notify.toml"]).args(arguments).current_dir(folder);
    command.env("SEAWALL_TEST_TOKEN", "sesame").stdin(Stdio::null()).output().expect("started")
}

#[test]
fn every_form_is_sent_as_its_receiver_takes_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&[OK]);
    let url = format!("http://{}/topic", server.address);
    fs::write(folder.path().join("url"), format!("{url}-from-file\n")).expect("written");
    let told =
        program(folder.path(), "tell", "cat > \"$(dirname \"$0\")/told\"; echo \"$1\" >> \"$(dirname \"$0\")/told\"");
    let config = format!(
        "[[notify]]\nname = \"json\"\nurl = \"{url}\"\n\
         [[notify]]\nname = \"ntfy\"\nurl = \"{url}\"\nform = \"ntfy\"\ntoken-from = \"env:SEAWALL_TEST_TOKEN\"\n\
         [[notify]]\nname = \"slack\"\nurl-from = \"file:url\"\nform = \"slack\"\n\
         [[notify]]\nname = \"program\"\ncommand = [\"{told}\", \"a; b $(c)\"]\n"
    );
    for name in ["json", "ntfy", "slack", "program"] {
        let output = trial(folder.path(), &config, &["--name", name]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("took the message"), "{}", text(&output.stdout));
    }
    let requests = server.requests();
    let [json, ntfy, slack] = requests.as_slice() else { panic!("{requests:#?}") };
    let body = |request: &str| request.split_once("\r\n\r\n").expect("a body").1.to_owned();
    let message: Value = serde_json::from_str(&body(json)).expect("JSON");
    assert_eq!(message["trial"], true);
    assert!(message["title"].as_str().is_some_and(|title| title.ends_with(": a trial message")), "{message}");
    let lower = ntfy.to_lowercase();
    for part in ["post /topic http/1.1", "title: seawall on ", "priority: default", "authorization: bearer sesame"] {
        assert!(lower.contains(part), "{part}: {ntfy}");
    }
    assert!(body(ntfy).contains("Type next:\n  seawall status"), "{ntfy}");
    assert!(slack.starts_with("POST /topic-from-file "), "{slack}");
    let message: Value = serde_json::from_str(&body(slack)).expect("JSON");
    assert!(message["text"].as_str().is_some_and(|text| text.contains("This is a trial")), "{message}");
    let told = fs::read_to_string(folder.path().join("told")).expect("told");
    let (message, argument) = told.split_once('}').expect("a message");
    assert!(message.contains("\"trial\":true"), "{told}");
    assert_eq!(argument.trim(), "a; b $(c)", "no shell has seen it");
}

/// A server that speaks TLS and takes one request.
fn start_tls() -> (SocketAddr, thread::JoinHandle<String>) {
    let certificate = CertificateDer::from_slice(include_bytes!("../data/notify/server.der"));
    let key = PrivatePkcs8KeyDer::from(&include_bytes!("../data/notify/server-key.der")[..]).clone_key();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    let config = config.with_single_cert(vec![certificate], key.into()).expect("a certificate");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let taken = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        let connection = rustls::ServerConnection::new(Arc::new(config)).expect("a connection");
        let mut stream = rustls::StreamOwned::new(connection, stream);
        let request = read_request(&mut stream);
        // The client may have gone.
        let _ = stream.write_all(OK.as_bytes());
        request
    });
    (address, taken)
}

#[test]
fn a_server_with_tls_is_told_when_its_certificate_is_believed() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/notify/authority.pem");
    let tell = |address: SocketAddr, authority: &str| {
        let config = format!("admin = \"off\"\n[[notify]]\nurl = \"https://{address}/\"\n");
        fs::write(folder.path().join("notify.toml"), config).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
        command.args(["notify", "test", "--config", "notify.toml"]).current_dir(folder.path());
        command.env("SSL_CERT_FILE", authority).env("SSL_CERT_DIR", folder.path()).output().expect("started")
    };
    let (address, taken) = start_tls();
    let output = tell(address, authority);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(taken.join().expect("no panic").contains("a trial message"));

    let (address, taken) = start_tls();
    let output = tell(address, "/dev/null");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("TLS failed: "), "{}", text(&output.stdout));
    assert_eq!(taken.join().expect("no panic"), "", "nothing was told to whom nobody believes");

    // Where something else than TLS is spoken it ends, too.
    let output = tell(Server::start(&[OK]).address, authority);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
}

#[test]
fn what_fails_is_told_without_secrets_and_ends_with_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, moved) = (Server::start(&[FAILS]), Server::start(&[MOVED]));
    let fails = program(folder.path(), "fails", "echo 'no such list' >&2; exit 7");
    fs::write(folder.path().join("bad"), "not a url\n").expect("written");
    for (section, expected) in [
        (format!("url = \"http://{}/hush\"", server.address), "the server answered 500"),
        (format!("url = \"http://{}/hush\"", moved.address), "the server answered 307"),
        (format!("url = \"http://{}/hush\"", free_address()), "the server cannot be reached: "),
        ("url-from = \"env:SEAWALL_TEST_NO_SUCH\"".to_owned(), "the URL is not there"),
        ("url-from = \"file:missing\"".to_owned(), "the URL cannot be read from"),
        ("url-from = \"file:bad\"".to_owned(), "the URL is not usable"),
        (format!("command = [\"{fails}\"]"), "ended with status 7: no such list"),
        ("command = [\"/nonexistent/program\"]".to_owned(), "failed to start /nonexistent/program"),
    ] {
        let output = trial(folder.path(), &format!("[[notify]]\n{section}\n"), &[]);
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(expected), "{expected}: {said}");
        assert!(!said.contains("hush"), "{said}");
    }
    let output = trial(folder.path(), "", &[]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
}

#[test]
fn whoever_hangs_is_given_up_and_holds_up_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&[""]);
    // What it starts would go on for long; it is ended too.
    let hangs = program(folder.path(), "hangs", "echo $$ > \"$(dirname \"$0\")/pid\"; sleep 600 & sleep 600");
    let config = format!(
        "[[notify]]\nname = \"server\"\nurl = \"http://{}/\"\n[[notify]]\nname = \"program\"\ncommand = [\"{hangs}\"]\n",
        server.address
    );
    let clock = Clock::start();
    let output = trial(folder.path(), &config, &["--json"]);
    assert!(clock.uptime().as_secs() < 20, "both at once, ten seconds each: {:?}", clock.uptime());
    assert_eq!(output.status.code(), Some(1));
    let trials: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(trials[0]["error"], "the server did not answer within 10 s");
    assert!(
        trials[1]["error"].as_str().is_some_and(|error| error.ends_with("had not ended after 10 s and was killed"))
    );
    let group = fs::read_to_string(folder.path().join("pid")).expect("a process").trim().to_owned();
    // What has ended and was not waited for by anybody does not count.
    let alive = Command::new("pgrep").args(["--runstates", "R,S,D", "-g", &group]).output().expect("pgrep is there");
    assert_eq!(text(&alive.stdout), "");
}

#[test]
fn a_guard_tells_of_a_silent_log_in_one_message_and_tries_again() {
    let server = Server::start(&[FAILS, OK]);
    let section = format!("[[notify]]\nname = \"phone\"\nurl = \"http://{}/hush\"\n", server.address);
    let guard = Guard::watch_with(&section, &["access.log"]);
    let log = guard.folder().join("access.log");
    fs::write(&log, "something else altogether\n".repeat(15)).expect("written");
    let notified = || guard.status()["notifications"][0].clone();
    eventually("a failure", || notified()["failed"] == 1);
    let shown = text(&guard.command(&["status"]).stdout);
    assert!(shown.contains("ALARM       phone is not told: the server answered 500"), "{shown}");
    eventually("the next attempt", || notified()["sent"] == 1);
    let status = notified();
    assert_eq!((&status["trouble"], &status["waiting"], &status["left_out"]), (&Value::Null, &0.into(), &0.into()));
    let shown = text(&guard.command(&["status"]).stdout);
    assert!(shown.contains("notified    phone: 1 sent, 1 failed attempts"), "{shown}");
    let requests = server.requests();
    assert_eq!(requests.len(), 2, "{requests:#?}");
    assert!(
        requests[1].contains("\"kind\":\"sensor-silent\"") && requests[1].contains("access.log"),
        "{}",
        requests[1]
    );
    assert!(guard.log().contains("failed to notify: the server answered 500") && !guard.log().contains("hush"));

    // The running guard sends a trial as it would send anything else.
    let output = guard.command(&["notify", "test", "--name", "phone"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(server.requests()[2].contains("a trial message"));
    let output = guard.command(&["notify", "test", "--name", "nobody"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));

    // Another recipient is there after a reload.
    let config = fs::read_to_string(guard.config_path()).expect("a configuration");
    fs::write(guard.config_path(), config.replace("phone", "pager")).expect("written");
    let output = guard.command(&["reload"]);
    assert_eq!(text(&output.stdout), "The configuration was read again.\n");
    eventually("the other", || notified()["name"] == "pager");
}
