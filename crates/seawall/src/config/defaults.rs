//! What holds when nobody said anything: where the state lives, and the configuration without a file.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::checked::{Config, HostPattern, Origin, Site};
use super::section::{Report, Section};
use super::settings;

/// Where the state of a guard that root or systemd starts lives.
const SYSTEM_STATE_DIRECTORY: &str = "/var/lib/seawall";

/// What of the process's surroundings defaults depend on. An argument, so that tests can make their own.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `STATE_DIRECTORY`, which systemd sets for a service with `StateDirectory=`; several are separated by colons.
    pub state_directory: Option<OsString>,
    /// `XDG_STATE_HOME`
    pub xdg_state_home: Option<OsString>,
    /// `HOME`
    pub home: Option<OsString>,
    /// Whether the process runs as root.
    pub root: bool,
    /// Whether the guard is beside another server, so that no site need be named.
    pub beside: bool,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        Self {
            state_directory: env::var_os("STATE_DIRECTORY"),
            xdg_state_home: env::var_os("XDG_STATE_HOME"),
            home: env::var_os("HOME"),
            root: rustix::process::geteuid().is_root(),
            beside: false,
        }
    }

    /// Where the state lives unless the configuration says otherwise: systemd's choice, else the system's folder for
    /// root, else the user's own (XDG base directory specification, which has relative paths ignored).
    pub fn default_state_directory(&self) -> PathBuf {
        let absolute = |value: &Option<OsString>| value.as_ref().map(PathBuf::from).filter(|path| path.is_absolute());
        let from_systemd = self.state_directory.as_ref().and_then(|directories| env::split_paths(directories).next());
        if let Some(directory) = from_systemd.filter(|path| path.is_absolute()) {
            return directory;
        }
        if self.root {
            return PathBuf::from(SYSTEM_STATE_DIRECTORY);
        }
        let of_user =
            absolute(&self.xdg_state_home).or_else(|| absolute(&self.home).map(|home| home.join(".local/state")));
        of_user.map_or_else(|| PathBuf::from(SYSTEM_STATE_DIRECTORY), |state| state.join("seawall"))
    }
}

/// The configuration without a file: the built-in clock for any host, on loopback.
impl Default for Config {
    fn default() -> Self {
        Self::without_file(&Environment::of_process())
    }
}

impl Config {
    /// The configuration without a file, in these surroundings.
    pub fn without_file(environment: &Environment) -> Self {
        let mut report = Report::default();
        let top = Section::top(&mut report, settings::WHY, None);
        let mut config = top.read(|top| settings::read(top, environment, Path::new("")));
        config.sites = vec![Site { name: "clock".to_owned(), hosts: vec![HostPattern::Any], origin: Origin::Clock }];
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_lives_where_the_surroundings_say() {
        let some = |text: &str| Some(OsString::from(text));
        let user = Environment { home: some("/home/a"), ..Environment::default() };
        let xdg = Environment { xdg_state_home: some("/state"), ..user.clone() };
        let relative = Environment { xdg_state_home: some("state"), ..user.clone() };
        let root = Environment { root: true, ..xdg.clone() };
        let systemd = Environment { state_directory: some("/var/lib/guard:/var/lib/other"), ..root.clone() };
        let empty = Environment { state_directory: some(""), ..root.clone() };
        for (environment, expected) in [
            (user, "/home/a/.local/state/seawall"),
            (xdg, "/state/seawall"),
            (relative, "/home/a/.local/state/seawall"),
            (root, "/var/lib/seawall"),
            (systemd, "/var/lib/guard"),
            (empty, "/var/lib/seawall"),
            (Environment::default(), "/var/lib/seawall"),
        ] {
            assert_eq!(environment.default_state_directory(), Path::new(expected), "{environment:?}");
        }
    }

    #[test]
    fn without_a_file_the_clock_is_guarded_on_loopback() {
        let config = Config::without_file(&Environment::default());
        assert_eq!(config.listen, ["127.0.0.1:8080".parse().expect("a test address")]);
        assert_eq!(config.admin, "127.0.0.1:8081".parse().ok());
        assert_eq!(config.workers, None);
        assert_eq!(config.limits.connections_max, None);
        let [site] = config.sites.as_slice() else { panic!("one site") };
        assert_eq!(
            (site.name.as_str(), &site.origin, site.hosts.as_slice()),
            ("clock", &Origin::Clock, &[HostPattern::Any][..])
        );
    }
}
