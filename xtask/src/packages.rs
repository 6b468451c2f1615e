//! The Debian packages that tests and benchmarks need beside Rust and a C compiler: installed when missing, where that is
//! allowed.

use std::env;
use std::process::Command;

use crate::Failure;
use crate::test::run_command;

/// A program that a task starts.
pub(crate) struct Needed {
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
    pub(crate) why: &'static str,
}

/// What the tests start.
const FOR_TESTS: &[Needed] = &[
    Needed { program: "apache2", package: "apache2", why: "a web server that exported rules are loaded into" },
    Needed { program: "caddy", package: "caddy", why: "another one" },
    Needed { program: "curl", package: "curl", why: "the client that the guard is tried with" },
    Needed { program: "haproxy", package: "haproxy", why: "another one" },
    Needed { program: "ip", package: "iproute2", why: "the network namespaces that the kernel layer is tried in" },
    Needed { program: "ipset", package: "ipset", why: "a packet filter that exported bans are loaded into" },
    Needed { program: "logrotate", package: "logrotate", why: "what rotates the logs that the guard follows" },
    Needed { program: "nft", package: "nftables", why: "the kernel layer" },
    Needed { program: "nginx", package: "nginx-light", why: "the web server that the guard is tried in front of" },
    Needed { program: "varnishd", package: "varnish", why: "another web server that exported rules are loaded into" },
    Needed { program: "wrk", package: "wrk", why: "the load that the guard is tried under" },
];

/// Installs what the tests need, or says what to install.
pub(crate) fn install_for_tests() -> Result<(), Failure> {
    install_missing(FOR_TESTS)
}

/// Installs what is missing, or says what to install.
pub(crate) fn install_missing(needed: &[Needed]) -> Result<(), Failure> {
    let missing: Vec<&Needed> = needed.iter().filter(|needed| !is_installed(needed.program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for needed in &missing {
        println!("{} is missing: {}", needed.program, needed.why);
    }
    let packages: Vec<&str> = missing.iter().map(|needed| needed.package).collect();
    if !rustix::process::geteuid().is_root() || !is_installed("apt-get") {
        let missing: Vec<&str> = missing.iter().map(|needed| needed.program).collect();
        return Err(Failure::Packages { missing: missing.join(", "), packages: packages.join(" ") });
    }
    run_command(apt_get(&["update", "--quiet"]))?;
    let install = ["install", "--yes", "--quiet", "--no-install-recommends"];
    run_command(apt_get(&[&install[..], &packages].concat()))
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Whether `program` is in the search path, or where Debian keeps those of the administrator.
pub(crate) fn is_installed(program: &str) -> bool {
    let search_path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&search_path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.into_iter().any(|folder| folder.join(program).is_file())
}
