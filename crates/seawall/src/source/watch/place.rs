//! What can be watched, as it is named on the command line.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where lines come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file, or a named pipe.
    File(PathBuf),
    /// Every file whose path matches, also those that come to be.
    Pattern(String),
    /// Standard input.
    Input,
    /// The systemd journal: of a unit, or all of it.
    Journal(Option<String>),
    /// Syslog messages in datagrams.
    Udp(SocketAddr),
    /// Syslog messages over connections.
    Tcp(SocketAddr),
    /// Syslog messages in datagrams to a socket in the file system.
    Unix(PathBuf),
    /// The same over connections.
    UnixStream(PathBuf),
}

/// What a place can be, for whoever named something else.
const ALLOWED: &str = "expected the path of a file, a pattern of paths, `-` for standard input, journal:UNIT, udp://ADDR:PORT, \
                       tcp://ADDR:PORT, unix:/PATH or unix-stream:/PATH";

impl Place {
    /// The same, with a relative path taken from `folder`.
    pub fn within(self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(folder.join(path)),
            Self::Pattern(pattern) if Path::new(&pattern).is_relative() && !folder.as_os_str().is_empty() => {
                // The folder's own name is no pattern.
                Self::Pattern(format!("{}/{pattern}", glob::Pattern::escape(&folder.to_string_lossy())))
            }
            other => other,
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = |rest: &str| {
            let what = "expected an IP address and a port, as 127.0.0.1:5514";
            rest.parse::<SocketAddr>().map_err(|_| format!("\"{rest}\" is no address to receive at: {what}"))
        };
        if text == "-" {
            return Ok(Self::Input);
        }
        if let Some(rest) = text.strip_prefix("udp://") {
            return address(rest).map(Self::Udp);
        }
        if let Some(rest) = text.strip_prefix("tcp://") {
            return address(rest).map(Self::Tcp);
        }
        let socket = |prefix: &str, rest: &str| {
            let path = Path::new(rest);
            let what = || format!("expected the whole path of a socket, as {prefix}/run/seawall/log.sock");
            path.is_absolute().then(|| path.to_owned()).ok_or_else(what)
        };
        if let Some(path) = text.strip_prefix("unix:") {
            return socket("unix:", path).map(Self::Unix);
        }
        if let Some(path) = text.strip_prefix("unix-stream:") {
            return socket("unix-stream:", path).map(Self::UnixStream);
        }
        if let Some(unit) = text.strip_prefix("journal:") {
            // It becomes an argument of journalctl.
            let is_name = unit.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@:\\*".contains(&byte));
            return match unit {
                "" => Ok(Self::Journal(None)),
                unit if is_name => Ok(Self::Journal(Some(unit.to_owned()))),
                unit => Err(format!("\"{unit}\" is no unit of systemd: expected one as nginx.service")),
            };
        }
        if text.is_empty() {
            return Err(format!("nothing is named: {ALLOWED}"));
        }
        // What is there goes before what it could mean.
        let is_url = text.split_once("://").is_some_and(|(scheme, _)| !scheme.contains('/'));
        if is_url && !Path::new(text).exists() {
            return Err(format!("\"{text}\" is a URL from which no lines can be had: {ALLOWED}"));
        }
        if text.contains(['*', '?', '[']) && !Path::new(text).exists() {
            glob::Pattern::new(text).map_err(|error| format!("\"{text}\" is no pattern of files: {}", error.msg))?;
            return Ok(Self::Pattern(text.to_owned()));
        }
        Ok(Self::File(text.into()))
    }
}

/// As it is named.
impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::Pattern(pattern) => formatter.write_str(pattern),
            Self::Input => formatter.write_str("standard input"),
            Self::Journal(unit) => write!(formatter, "journal:{}", unit.as_deref().unwrap_or_default()),
            Self::Udp(address) => write!(formatter, "udp://{address}"),
            Self::Tcp(address) => write!(formatter, "tcp://{address}"),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Self::UnixStream(path) => write!(formatter, "unix-stream:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart_and_wrong_ones_explained() {
        for (text, place) in [
            ("-", Place::Input),
            ("/var/log/nginx/access.log", Place::File("/var/log/nginx/access.log".into())),
            ("logs/a://b.log", Place::File("logs/a://b.log".into())),
            ("/var/log/nginx/*.log", Place::Pattern("/var/log/nginx/*.log".to_owned())),
            ("journal:", Place::Journal(None)),
            ("journal:caddy.service", Place::Journal(Some("caddy.service".to_owned()))),
            ("udp://127.0.0.1:5514", Place::Udp(([127, 0, 0, 1], 5514).into())),
            ("tcp://[::1]:5514", Place::Tcp("[::1]:5514".parse().expect("an address"))),
            ("unix:/run/log.sock", Place::Unix("/run/log.sock".into())),
            ("unix-stream:/run/log.sock", Place::UnixStream("/run/log.sock".into())),
        ] {
            assert_eq!(text.parse().as_ref(), Ok(&place), "{text}");
        }
        for (text, expected) in [
            ("udp://localhost", "127.0.0.1:5514"),
            ("unix:log.sock", "whole path"),
            ("unix-stream:log.sock", "as unix-stream:/run"),
            ("journal:a b; rm", "nginx.service"),
            ("/var/log/[a", "no pattern"),
            ("", "nothing is named: expected the path of a file"),
            ("http://example.org/access.log", "a URL from which no lines can be had: expected the path of a file"),
            ("file:///var/log/access.log", "is a URL"),
        ] {
            assert!(text.parse::<Place>().expect_err(text).contains(expected), "{text}");
        }
    }
}
