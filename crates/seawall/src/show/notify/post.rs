//! A message to a server: one POST, over TLS where the URL says https.

use std::sync::OnceLock;

use serde_json::json;
use ureq::Agent;

use super::message::{Message, Urgency};
use super::{SEND_TIME_MAX, Send};
use crate::config::notify::check_url;
use crate::config::{Secret, UrlForm};
use crate::host::client::{self, reveal};

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
        let mut request =
            self.agent.get_or_init(|| client::agent(SEND_TIME_MAX)).post(&url).header("User-Agent", "Seawall");
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
        let answer = sent.map_err(|error| client::without_url(&error, SEND_TIME_MAX))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("the server answered {status}")),
        }
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
}
