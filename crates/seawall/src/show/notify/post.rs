//! A message to a server: one POST, over TLS where the URL says https.

use std::fs::File;
use std::io::Read as _;
use std::sync::{Arc, OnceLock};

use serde_json::json;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::message::{Message, Urgency};
use super::{SEND_TIME_MAX, Send};
use crate::config::notify::check_url;
use crate::config::{Secret, UrlForm};

/// The longest secret.
const SECRET_BYTES_MAX: u64 = 8_192;

/// A URL, and what goes along.
pub(super) struct Post {
    url: Secret,
    form: UrlForm,
    token: Option<Secret>,
    agent: OnceLock<Agent>,
}

impl Post {
    pub(super) fn new(url: Secret, form: UrlForm, token: Option<Secret>) -> Self {
        Self { url, form, token, agent: OnceLock::new() }
    }
}

impl Send for Post {
    fn send(&self, message: &Message) -> Result<(), String> {
        let url = reveal(&self.url, "the URL")?;
        // One that was configured in the clear has been checked, one out of a file has not.
        check_url(&url).map_err(|reason| format!("the URL is not usable: a text {reason}"))?;
        let mut request = self.agent.get_or_init(agent).post(&url).header("User-Agent", "Seawall");
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {}", reveal(token, "the token")?));
        }
        let sent = match self.form {
            UrlForm::Json => request.content_type("application/json").send(message.json()),
            UrlForm::Slack => {
                let text = json!({ "text": slack_text(&format!("*{}*\n{}", message.title, message.text)) });
                request.content_type("application/json").send(text.to_string())
            }
            UrlForm::Ntfy => {
                let (priority, tags) = match message.urgency {
                    Urgency::High => ("high", "rotating_light"),
                    Urgency::Usual => ("default", "ocean"),
                };
                let request = request.content_type("text/plain; charset=utf-8").header("Title", ascii(&message.title));
                request.header("Priority", priority).header("Tags", tags).send(&message.text)
            }
        };
        let answer = sent.map_err(|error| without_url(&error))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("the server answered {status}")),
        }
    }
}

/// An agent that gives up in time, follows no redirects and believes the authorities that this machine does.
fn agent() -> Agent {
    let certificates = rustls_native_certs::load_native_certs().certs;
    let certificates: Vec<_> =
        certificates.iter().map(|certificate| Certificate::from_der(certificate.as_ref()).to_owned()).collect();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(certificates)))
        .unversioned_rustls_crypto_provider(provider)
        .build();
    Agent::config_builder()
        .timeout_global(Some(SEND_TIME_MAX))
        .max_redirects(0)
        .http_status_as_error(false)
        .tls_config(tls)
        .build()
        .new_agent()
}

/// A failure in words; those of the library can hold the URL, which may be a secret.
fn without_url(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => format!("the server did not answer within {} s", SEND_TIME_MAX.as_secs()),
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
fn reveal(secret: &Secret, what: &str) -> Result<String, String> {
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

/// Text that Slack takes for text: what clients sent must mention nobody and link nowhere.
fn slack_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// What can stand in a header.
fn ascii(text: &str) -> String {
    text.chars().map(|character| if matches!(character, ' '..='~') { character } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_sent_is_no_markup() {
        assert_eq!(slack_text("<!channel> & <http://a|b>"), "&lt;!channel&gt; &amp; &lt;http://a|b&gt;");
        assert_eq!(ascii("a\r\nX: 1 – é"), "a??X: 1 ? ?");
    }

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
}
