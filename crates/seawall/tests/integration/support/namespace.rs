//! A network namespace of a test's own: its firewall and its addresses are nobody else's.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rustix::thread::UnshareFlags;
use socket2::{Domain, Socket, Type};

use super::skip;

/// Runs `test` in a network namespace of its own, with loopback up; what it starts is in there, too. It is [skipped](skip) where
/// that is not allowed, or where the kernel or `nft` is missing.
pub(crate) fn within(test: impl FnOnce() + Send + 'static) {
    // Only a thread is moved; the other tests stay where they are.
    let moved = std::thread::spawn(|| {
        #[expect(
            deprecated,
            reason = "the replacement is unsafe for flags that this is not; the network is not memory"
        )]
        let unshared = rustix::thread::unshare(UnshareFlags::NEWNET);
        if let Err(error) = unshared {
            return skip(&format!("a network namespace of its own needs CAP_SYS_ADMIN ({error})"));
        }
        assert!(run("ip", &["link", "set", "lo", "up"]).0, "iproute2 is needed");
        let (has_nft, said) = run("nft", &["list", "ruleset"]);
        if !has_nft {
            return skip(&format!("nft cannot be used here: {said}"));
        }
        test();
    });
    if let Err(panic) = moved.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Another machine, in a namespace beside the one that this thread is in: its network ends at ours.
pub(crate) struct Neighbour {
    ask: Sender<SocketAddr>,
    answers: Receiver<std::io::Result<TcpStream>>,
}

impl Neighbour {
    /// The address of this machine towards it, and its own.
    pub(crate) const OURS: &str = "10.77.0.1";
    pub(crate) const ITS: &str = "10.77.0.2";

    /// Joins it to the namespace of this thread.
    pub(crate) fn join() -> Self {
        let (ask, asked) = channel::<SocketAddr>();
        let (answer, answers) = channel();
        let (ready, is_ready) = channel();
        let (joined, is_joined) = channel();
        std::thread::spawn(move || {
            #[expect(deprecated, reason = "as above")]
            rustix::thread::unshare(UnshareFlags::NEWNET).expect("what this thread's namespace was made with");
            ready.send(rustix::thread::gettid()).expect("who waits for it");
            is_joined.recv().expect("who has joined it");
            let address = format!("{}/24", Self::ITS);
            for arguments in [&["addr", "add", &address, "dev", "theirs"][..], &["link", "set", "theirs", "up"]] {
                let (succeeded, said) = run("ip", arguments);
                assert!(succeeded, "ip {arguments:?}: {said}");
            }
            for to in asked {
                let _ = answer.send(connect(Self::ITS, to));
            }
        });
        let thread = is_ready.recv().expect("its thread").as_raw_nonzero().to_string();
        let address = format!("{}/24", Self::OURS);
        for arguments in [
            &["link", "add", "ours", "type", "veth", "peer", "name", "theirs", "netns", &thread][..],
            &["addr", "add", &address, "dev", "ours"],
            &["link", "set", "ours", "up"],
        ] {
            let (succeeded, said) = run("ip", arguments);
            assert!(succeeded, "ip {arguments:?}: {said}");
        }
        joined.send(()).expect("its thread");
        Self { ask, answers }
    }

    /// Has it connect to an address here.
    pub(crate) fn connect(&self, to: SocketAddr) -> std::io::Result<TcpStream> {
        self.ask.send(to).expect("its thread");
        self.answers.recv().expect("its thread")
    }
}

/// Runs a program, and says whether it succeeded and what it printed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    match Command::new(program).args(arguments).env("PATH", path).output() {
        Ok(output) => {
            let said = if output.status.success() { output.stdout } else { output.stderr };
            (output.status.success(), String::from_utf8_lossy(&said).into_owned())
        }
        Err(error) => (false, error.to_string()),
    }
}

/// Runs `nft`, which must succeed, and returns what it printed.
pub(crate) fn nft(arguments: &[&str]) -> String {
    let (succeeded, said) = run("nft", arguments);
    assert!(succeeded, "nft {arguments:?}: {said}");
    said
}

/// Connects from an address within a short time.
pub(crate) fn connect(from: &str, to: SocketAddr) -> std::io::Result<TcpStream> {
    let from: IpAddr = from.parse().expect("an address");
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect_timeout(&to.into(), Duration::from_millis(400))?;
    Ok(socket.into())
}

/// Whether packets from there are dropped: nobody answers at all.
pub(crate) fn is_dropped(from: &str, to: SocketAddr) -> bool {
    connect(from, to).is_err_and(|error| matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock))
}
