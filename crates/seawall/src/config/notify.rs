//! Where people are told of what happens, as they write it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use seawall_engine::decision::EventKind;
use toml::Spanned;

use super::checked::{Notify, Secret, UrlForm, Way};
use super::kind::{Choice, List, Located, Text, Time};
use super::path::SiteName;
use super::section::Section;

/// The most that can be named: each has a thread of its own.
const NOTIFY_MAX: usize = 16;

/// What somebody has to know, or has to do something about.
const ON_DEFAULT: [EventKind; 10] = [
    EventKind::IncidentOpened,
    EventKind::IncidentClosed,
    EventKind::RuleEnforced,
    EventKind::RuleWithdrawn,
    EventKind::SensorSilent,
    EventKind::SensorHeard,
    EventKind::RuleSilent,
    EventKind::RuleHeard,
    EventKind::ClientsMerged,
    EventKind::ClientsApart,
];

/// Reads one `[[notify]]`. Relative paths are taken from `folder`.
pub(super) fn read(table: &mut Section<'_, '_>, folder: &Path) -> Spanned<Notify> {
    let name = table
        .setting("name", Located(SiteName))
        .example("\"phone\"")
        .why("What it is called in `seawall status` and in the log. No two have the same.")
        .optional("the program, or the host of the URL")
        .flatten();
    let command = table
        .setting("command", List { of: Argument, filled: true })
        .example_in_use("[\"/usr/bin/logger\", \"-t\", \"seawall\"]")
        .why(
            "A program and its arguments. It gets the message as one JSON object on standard input, and is killed after \
             ten seconds. No shell is involved.",
        )
        .optional("not set");
    let url = table
        .setting("url", Located(WebUrl))
        .example("\"https://ntfy.sh/a-topic-of-yours\"")
        .why("Where the message is posted to, over https or http. It is given ten seconds, and redirects are not followed.")
        .optional("not set");
    let url_from = table
        .setting("url-from", Located(SecretSource))
        .example("\"file:/etc/seawall/slack-url\"")
        .why(
            "The same, where the URL itself is a secret, as with Slack: `\"file:/PATH\"` or `\"env:NAME\"`. It is read \
             anew for each message.",
        )
        .optional("not set");
    let form = table
        .setting(
            "form",
            Choice {
                words: &[
                    ("json", UrlForm::Json, "one JSON object, as a command gets it"),
                    ("ntfy", UrlForm::Ntfy, "plain text with the headers `Title`, `Priority` and `Tags`"),
                    ("slack", UrlForm::Slack, "`{\"text\": …}`, which Slack, Mattermost and Rocket.Chat take"),
                ],
            },
        )
        .why("What is posted to the URL.")
        .default(UrlForm::Json);
    let token_from = table
        .setting("token-from", Located(SecretSource))
        .example("\"env:NTFY_TOKEN\"")
        .why("Where the token is that goes along as `Authorization: Bearer …`: `\"file:/PATH\"` or `\"env:NAME\"`.")
        .optional("none is sent");
    let on = table
        .setting("on", List { of: Choice { words: KINDS }, filled: true })
        .why("What is told, by the kinds that `events` of `seawall status --json` has.")
        .default(ON_DEFAULT.map(|kind| Spanned::new(0..0, kind)).to_vec());
    let interval_min = table
        .setting("interval-min", Time { range: Duration::from_secs(1)..=Duration::from_secs(86_400) })
        .why("The least time between two messages. What happens meanwhile is told together in the next.")
        .default(Duration::from_secs(60));

    let place = table.place();
    let token = token_from.flatten().map(|from| located(&from, folder));
    let url_secret = match (&url, &url_from) {
        (Some(Some(url)), _) => Some(Secret::Given(url.get_ref().clone())),
        (_, Some(Some(from))) => Some(located(from, folder)),
        _ => None,
    };
    let given = [(command.is_some(), "command"), (url.is_some(), "url"), (url_from.is_some(), "url-from")];
    let given: Vec<&str> = given.iter().filter(|(given, _)| *given).map(|(_, key)| *key).collect();
    match given.as_slice() {
        [] => table.lacks("nobody is told; add command = [\"/PATH\"] or url = \"https://HOST/PATH\""),
        [_] => {}
        given => table.report.refuse(&place, format!("[[notify]] has {}; keep one of them", given.join(" and "))),
    }
    let command: Option<Vec<String>> =
        command.flatten().map(|words| words.into_iter().map(Spanned::into_inner).collect());
    if command.is_some() && token.is_some() {
        table.report.refuse(&place, "`token-from` in [[notify]] is for a URL; a command finds its own secrets");
    }
    let way = match (command, url_secret) {
        (Some(command), _) => Way::Command(command),
        // One without a way is never used: its problem refuses the whole file.
        (None, url) => Way::Url { url: url.unwrap_or(Secret::Given(String::new())), form, token },
    };
    let (name_place, name) = match name {
        Some(name) => (name.span(), name.into_inner()),
        None => (place, way.to_string()),
    };
    let on = on.into_iter().map(Spanned::into_inner).collect();
    Spanned::new(name_place, Notify { name, way, on, interval_min })
}

/// Refuses too many, and names that are not told apart.
pub(super) fn check(top: &mut Section<'_, '_>, found: &[Spanned<Notify>]) {
    let mut seen = HashSet::new();
    for (index, notify) in found.iter().enumerate() {
        let name = &notify.get_ref().name;
        if index == NOTIFY_MAX {
            top.report.refuse(&notify.span(), format!("more than {NOTIFY_MAX} [[notify]]; one command can tell many"));
        }
        if !name.is_empty() && !seen.insert(name) {
            let message = format!("two [[notify]] have the name {name:?}; give each a `name` of its own");
            top.report.refuse(&notify.span(), message);
        }
    }
}

const KINDS: &[(&str, EventKind, &str)] = &[
    ("incident-opened", EventKind::IncidentOpened, "traffic is not what is normal"),
    ("verdict-changed", EventKind::VerdictChanged, "it is known, or known better, what it is"),
    ("incident-closed", EventKind::IncidentClosed, "it is over"),
    ("rule-proposed", EventKind::RuleProposed, "a rule was found, and is not put in force by itself"),
    ("rule-shadowed", EventKind::RuleShadowed, "a rule counts whom it would hit"),
    ("rule-enforced", EventKind::RuleEnforced, "a rule was put in force, or made harder"),
    ("rule-retired", EventKind::RuleRetired, "a rule was softened or let go, since it is no longer needed"),
    ("rule-withdrawn", EventKind::RuleWithdrawn, "a rule was taken back, since it hurt the wrong ones, or by you"),
    ("drift-alarmed", EventKind::DriftAlarmed, "the mix of normal traffic is no longer what it was"),
    ("drift-ended", EventKind::DriftEnded, "it is again"),
    ("sensor-silent", EventKind::SensorSilent, "a log no longer tells what it is there to tell"),
    ("sensor-heard", EventKind::SensorHeard, "it does again"),
    (
        "rule-silent",
        EventKind::RuleSilent,
        "a rule or limit of yours used to match, and no longer does while traffic goes on",
    ),
    ("rule-heard", EventKind::RuleHeard, "it does again, or is not missed any more"),
    (
        "clients-merged",
        EventKind::ClientsMerged,
        "nearly all clients are seen as one, as through a proxy that is not trusted",
    ),
    ("clients-apart", EventKind::ClientsApart, "they are told apart again"),
];

fn located(from: &Spanned<Secret>, folder: &Path) -> Secret {
    match from.get_ref() {
        Secret::File(path) => Secret::File(folder.join(path)),
        other => other.clone(),
    }
}

/// A word of a command.
struct Argument;

impl Text for Argument {
    type Value = String;
    const NAME: &'static str = "program or argument";
    const EXAMPLE: &'static str = "[\"/usr/bin/logger\", \"-t\", \"seawall\"]";

    fn parse(&self, text: &str) -> Result<String, String> {
        if text.contains('\0') {
            return Err("but an argument cannot hold a NUL".to_owned());
        }
        if text.starts_with('/') && text.contains(' ') && !Path::new(text).exists() {
            let words: Vec<String> = text.split_whitespace().map(|word| format!("{word:?}")).collect();
            return Err(format!("which is no program; no shell takes it apart, so write [{}]", words.join(", ")));
        }
        Ok(text.to_owned())
    }

    fn show_text(&self, value: &String) -> String {
        value.clone()
    }
}

/// `https://HOST/PATH`
struct WebUrl;

impl Text for WebUrl {
    type Value = String;
    const NAME: &'static str = "URL, https:// or http://";
    const EXAMPLE: &'static str = "\"https://ntfy.sh/a-topic-of-yours\"";

    fn parse(&self, text: &str) -> Result<String, String> {
        check_url(text).map(|()| text.to_owned())
    }

    /// The path of such a URL is often a secret.
    fn show_given(&self, text: &str) -> String {
        show_url(text)
    }

    fn show_text(&self, value: &String) -> String {
        value.clone()
    }
}

/// Of a URL the host alone, for messages: the rest may hold a secret.
pub(super) fn show_url(text: &str) -> String {
    match text.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)) {
        Some(host) if !text.contains('@') => format!("a URL of {host:?}"),
        _ => "a text".to_owned(),
    }
}

/// Why a message cannot be posted to this.
pub(crate) fn check_url(text: &str) -> Result<(), String> {
    let uri: http::Uri = text.parse().map_err(|error| format!("which is no URL: {error}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("which is no URL; write https://HOST/PATH or http://HOST/PATH".to_owned());
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("but credentials in a URL end up in logs; give a token with `token-from`".to_owned());
    }
    match uri.host() {
        Some(host) if !host.is_empty() => Ok(()),
        _ => Err("which names no host".to_owned()),
    }
}

/// `file:/PATH` or `env:NAME`
struct SecretSource;

impl Text for SecretSource {
    type Value = Secret;
    const NAME: &'static str = "place of a secret";
    const EXAMPLE: &'static str = "\"file:/etc/seawall/token\"";

    fn parse(&self, text: &str) -> Result<Secret, String> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() && !path.contains('\0') => Ok(Secret::File(PathBuf::from(path))),
            Some(("env", name)) if !name.is_empty() && !name.contains(['\0', '=']) => {
                Ok(Secret::Environment(name.to_owned()))
            }
            _ => Err("expected \"file:/PATH\" or \"env:NAME\", where the secret is, and not the secret".to_owned()),
        }
    }

    /// What was written in its stead may well be the secret.
    fn show_given(&self, _text: &str) -> String {
        "a text".to_owned()
    }

    fn show_text(&self, value: &Secret) -> String {
        match value {
            Secret::File(path) => format!("file:{}", path.display()),
            Secret::Environment(name) => format!("env:{name}"),
            Secret::Given(_) => String::new(),
        }
    }
}
