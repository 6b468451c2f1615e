//! Cases: requests that a limit or a rule of the configuration is tried on, whenever that is read.

use std::net::IpAddr;
use std::ops::Range;

use seawall_engine::address::ClientAddress;
use seawall_engine::decision::expression::{Answer, Expression};
use seawall_engine::observation::Request;
use seawall_engine::observation::attribute::Attribute;
use seawall_engine::observation::log::{Encoding, Reader, restore};
use toml::Spanned;

use super::kind::{Count, Flag, Located, Text};
use super::section::Section;
use crate::networks::Networks;

/// What a case is for.
pub(super) const WHY: &str = "A request that the rule above is tried on whenever the configuration is read: one that is not met as it says refuses the \
     configuration.";

/// The longest name.
const NAME_CHARACTERS_MAX: usize = 64;

/// A request that a rule is tried on.
pub(super) struct Case {
    line: Option<Spanned<String>>,
    method: Option<String>,
    host: Option<String>,
    path: Option<String>,
    user_agent: Option<String>,
    referer: Option<String>,
    client: Option<IpAddr>,
    status: Option<u16>,
    matches: Spanned<bool>,
}

/// Reads one, whose example asks for this path, in quotes.
pub(super) fn read(table: &mut Section<'_, '_>, path: &'static str) -> Case {
    let matches = table
        .setting("matches", Located(Flag))
        .example_in_use("true")
        .why("Whether the rule meets the request.")
        .required(Spanned::new(0..0, true));
    let line = table
        .setting("line", Located(Words))
        .example("'192.0.2.7 - - [10/Oct/2026:13:55:36 +0000] \"POST /login HTTP/1.1\" 200 512 \"-\" \"curl/8.5.0\"'")
        .why("The request as a line of an access log, in any format that is read. What is said beside it goes before it.")
        .optional("a request that asks for `/` and says nothing else")
        .flatten();
    let mut text = |key: &'static str, example: &'static str, why: &'static str| {
        let setting = table.setting(key, Words).why(why);
        let in_use = key == "method" || key == "path";
        let setting = if in_use { setting.example_in_use(example) } else { setting.example(example) };
        setting.optional("as in `line`").flatten()
    };
    Case {
        method: text("method", "\"POST\"", "The method."),
        host: text("host", "\"example.org\"", "The host, without port."),
        path: text("path", path, "The path, with its query."),
        user_agent: text("user-agent", "\"curl/8.5.0\"", "The user agent."),
        referer: text("referer", "\"https://example.org/\"", "The referer."),
        client: table
            .setting("client", Address)
            .example("\"192.0.2.7\"")
            .why("The client's address. Its country and autonomous system are those of the built-in table.")
            .optional("as in `line`")
            .flatten(),
        status: table
            .setting("status", Count { of: "a status", range: 100..=599 })
            .example("401")
            .why("The status of the answer.")
            .optional("as in `line`")
            .flatten(),
        line,
        matches,
    }
}

impl Case {
    /// Tries on it the rule of what is of this kind, `limit` or `rule`, and has this name.
    pub(super) fn run(&self, kind: &str, name: &str, rule: &Expression) -> Result<(), (Range<usize>, String)> {
        let (mut reader, mut restored) = (Reader::default(), Vec::new());
        let mut request = Request { method: b"GET", path: b"/", ..Request::default() };
        let (mut client, mut status) = (None, None);
        if let Some(line) = &self.line {
            let entry = reader.read(line.get_ref().as_bytes()).map_err(|reason| {
                (
                    line.span(),
                    format!("`line` in [[{kind}.test]]: this is no line of an access log that can be read: {reason}"),
                )
            })?;
            request = match entry.encoding {
                Encoding::Plain => entry.observation.request,
                encoding => restore(&entry.observation.request, encoding, &mut restored),
            };
            client = entry.observation.client;
            status = Answer::new(entry.observation.outcome, 0).status;
        }
        let host = self.host.as_ref().map(|host| host.to_ascii_lowercase());
        if let Some(method) = &self.method {
            request.method = method.as_bytes();
        }
        if let Some(host) = &host {
            request.host = host.as_bytes();
        }
        if let Some(path) = &self.path {
            (request.path, request.query) = Request::split_target(path.as_bytes());
        }
        if let Some(user_agent) = &self.user_agent {
            request.user_agent = Some(user_agent.as_bytes());
        }
        if let Some(referer) = &self.referer {
            request.referer = Some(referer.as_bytes());
        }
        let client = self.client.map(ClientAddress::new).or(client);
        if is_about_networks(rule) {
            // What is in the operator's own tables changes without the configuration.
            Networks::Embedded.locate(client, &mut request);
        }
        let answer = Answer { status: self.status.or(status), ..Answer::default() };
        let is_met = rule.matches(&request, client, answer);
        // A case that does not say what it expects has its own problem.
        if is_met == *self.matches.get_ref() || self.matches.span().is_empty() {
            return Ok(());
        }
        let (found, wanted) = if is_met { ("meets", "false") } else { ("does not meet", "true") };
        let shown = format!("{} {}", request.method.escape_ascii(), request.path.escape_ascii());
        let status = answer.status.map_or_else(|| "no answer".to_owned(), |status| format!("the answer {status}"));
        Err((
            self.matches.span(),
            format!(
                "a case of the {kind} {name:?} fails: its rule {found} this request ({shown}, with {status}), and matches = {wanted} is \
                 said of it; the rule is {rule}"
            ),
        ))
    }
}

/// Whether it asks where a client's network is.
fn is_about_networks(rule: &Expression) -> bool {
    let mut asked = rule.conditions().into_iter().filter_map(|condition| condition.subject().attribute());
    asked.any(|attribute| matches!(attribute, Attribute::Country | Attribute::Asn))
}

/// What a limit or a rule is called.
pub(super) struct Name;

impl Text for Name {
    type Value = String;
    const NAME: &'static str = "name";
    const EXAMPLE: &'static str = "\"login\"";

    fn parse(&self, text: &str) -> Result<String, String> {
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
        if text.is_empty() || text.len() > NAME_CHARACTERS_MAX || !text.chars().all(is_letter) {
            return Err(format!(
                "which is no name; write 1 to {NAME_CHARACTERS_MAX} letters, digits, hyphens and underscores, such as {}",
                Self::EXAMPLE
            ));
        }
        Ok(text.to_owned())
    }

    fn show_text(&self, value: &String) -> String {
        value.clone()
    }
}

/// Any text.
pub(super) struct Words;

impl Text for Words {
    type Value = String;
    const NAME: &'static str = "text";
    const EXAMPLE: &'static str = "\"GET\"";

    fn parse(&self, text: &str) -> Result<String, String> {
        if text.is_empty() { Err("which says nothing; leave the key out".to_owned()) } else { Ok(text.to_owned()) }
    }

    fn show_text(&self, value: &String) -> String {
        value.clone()
    }
}

/// An address.
struct Address;

impl Text for Address {
    type Value = IpAddr;
    const NAME: &'static str = "address";
    const EXAMPLE: &'static str = "\"192.0.2.7\"";

    fn parse(&self, text: &str) -> Result<IpAddr, String> {
        text.parse().map_err(|_| format!("which is no IP address; write, for example, {}", Self::EXAMPLE))
    }

    fn show_text(&self, value: &IpAddr) -> String {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Environment, parse_in};

    #[test]
    fn a_case_is_located_by_the_built_in_table() {
        let read = |client: &str, matches: bool, is_rule: bool| {
            let section = if is_rule { "rule" } else { "limit" };
            let rate = if is_rule { "" } else { "rate = \"5 in 10m\"\n" };
            let text = format!(
                "[[site]]\nhosts = [\"*\"]\nupstream = \"http://127.0.0.1:3000\"\n\
                 [[{section}]]\nname = \"dns\"\nrule = 'asn = 15169 and country = US'\n{rate}\
                 [[{section}.test]]\nclient = \"{client}\"\nmatches = {matches}\n"
            );
            parse_in(&text, "test.toml", &Environment::default()).map(drop).map_err(|problems| problems.to_string())
        };
        for is_rule in [true, false] {
            assert_eq!(read("8.8.8.8", true, is_rule), Ok(()));
            assert_eq!(read("192.0.2.7", false, is_rule), Ok(()));
            assert!(read("8.8.8.8", false, is_rule).is_err_and(|problems| problems.contains("its rule meets")));
        }
    }
}
