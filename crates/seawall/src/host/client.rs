//! Requests that the guard itself sends to other servers: what is the same for all of them.
//!
//! Owns how a connection is made and believed, how a failure is told without what may be secret, and how a secret is read. It
//! decides nothing about what is sent or when.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::config::Secret;

/// The longest secret.
const SECRET_BYTES_MAX: u64 = 8_192;

/// The bits of a mode that let anybody but the owner at a file.
const OTHERS: u32 = 0o077;

/// An agent that gives up after `time_max`, follows no redirects and believes the authorities that this machine does.
pub(crate) fn agent(time_max: Duration) -> Agent {
    let certificates = rustls_native_certs::load_native_certs().certs;
    let certificates: Vec<_> =
        certificates.iter().map(|certificate| Certificate::from_der(certificate.as_ref()).to_owned()).collect();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(certificates)))
        .unversioned_rustls_crypto_provider(provider)
        .build();
    Agent::config_builder()
        .timeout_global(Some(time_max))
        .max_redirects(0)
        .http_status_as_error(false)
        .tls_config(tls)
        .build()
        .new_agent()
}

/// A failure in words; those of the library can hold the URL, which may be a secret.
pub(crate) fn without_url(error: &ureq::Error, time_max: Duration) -> String {
    match error {
        ureq::Error::Timeout(_) => format!("the server did not answer within {} s", time_max.as_secs()),
        ureq::Error::HostNotFound => "the server's name is not known".to_owned(),
        ureq::Error::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
            format!("TLS failed: {error}; are ca-certificates installed?")
        }
        ureq::Error::Io(error) => format!("the server cannot be reached: {error}"),
        ureq::Error::Rustls(error) => format!("TLS failed: {error}; are ca-certificates installed?"),
        ureq::Error::Protocol(error) => format!("the server's answer is no HTTP: {error}"),
        _ => "the server cannot be reached".to_owned(),
    }
}

/// The secret itself, read anew: it may have been changed since.
///
/// # Errors
/// Why it cannot be had, in words that do not show it.
pub(crate) fn reveal(secret: &Secret, what: &str) -> Result<String, String> {
    let found = match secret {
        Secret::Given(text) => text.clone(),
        Secret::Environment(name) => std::env::var(name)
            .map_err(|_| format!("{what} is not there: the guard's environment has no ${name}, or it is no UTF-8"))?,
        Secret::File(path) => {
            let mut text = String::new();
            let read = File::open(path).and_then(|file| file.take(SECRET_BYTES_MAX).read_to_string(&mut text));
            read.map_err(|error| format!("{what} cannot be read from {}: {error}", path.display()))?;
            text
        }
    };
    match found.trim() {
        "" => Err(format!("{what} is empty")),
        text if text.chars().any(|character| character.is_ascii_control()) => {
            Err(format!("{what} holds control characters; it must be one line"))
        }
        text => Ok(text.to_owned()),
    }
}

/// What is wrong with a file of a secret that others can read, if they can. One that is not there has its own error when it is
/// read.
pub(crate) fn lies_open(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.mode() & 0o7777;
    (mode & OTHERS != 0).then(|| {
        let right = mode & !OTHERS;
        format!(
            "{0} has the mode {mode:04o}, so others can read the secret in it; make it {right:04o} with \
             `chmod {right:04o} {0}`, and make a new secret if anybody may have read this one",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn secrets_are_one_line_and_never_repeated() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        std::fs::write(&path, "  abc \n").expect("written");
        assert_eq!(reveal(&Secret::File(path.clone()), "the token").as_deref(), Ok("abc"));
        for text in ["", "\n", "one\ntwo"] {
            std::fs::write(&path, text).expect("written");
            let error = reveal(&Secret::File(path.clone()), "the token").expect_err(text);
            assert!(error.starts_with("the token ") && !error.contains("two"), "{error}");
        }
        assert!(reveal(&Secret::File(directory.path().join("none")), "the token").is_err());
        assert!(reveal(&Secret::Environment("SEAWALL_TEST_NO_SUCH".to_owned()), "it").is_err());
    }

    #[test]
    fn a_file_that_others_can_read_is_named_with_the_mode_that_is_right() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        std::fs::write(&path, "abc").expect("written");
        for (mode, expected) in [(0o644, Some("0600")), (0o640, Some("0600")), (0o404, Some("0400")), (0o600, None)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("ours");
            let said = lies_open(&path);
            assert_eq!(said.is_some(), expected.is_some(), "{mode:o}: {said:?}");
            let right = expected.unwrap_or_default();
            assert!(said.is_none_or(|said| said.contains(&format!("chmod {right} "))));
        }
        assert_eq!(lies_open(&directory.path().join("none")), None);
    }
}
