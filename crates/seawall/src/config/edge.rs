//! The CDN in front of the guard, as the operator writes it.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use toml::Spanned;

use super::checked::{Edge, EdgePlace, EdgeUse, Secret};
use super::kind::{Choice, Count, Flag, Located, OrWord, Text, Time};
use super::path::FilePath;
use super::section::Section;
use crate::host::client;

/// Where the token is unless a file is named.
const TOKEN_VARIABLE: &str = "SEAWALL_EDGE_TOKEN";

/// The APIs of the providers.
const CLOUDFLARE_API: &str = "https://api.cloudflare.com/client/v4";
const FASTLY_API: &str = "https://api.fastly.com";

/// What the smallest plan of each allows: a list of Cloudflare's free plan, an access list of Fastly.
const CLOUDFLARE_ENTRIES_MAX: usize = 10_000;
const FASTLY_ENTRIES_MAX: usize = 1_000;

/// Which CDN is in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Provider {
    Off,
    Cloudflare,
    Fastly,
}

/// Reads `[edge]`; none when it is off. Relative paths are taken from `folder`.
pub(super) fn read(table: &mut Section<'_, '_>, folder: &Path) -> Option<Edge> {
    let provider = table
        .setting(
            "provider",
            Choice {
                words: &[
                    ("off", Provider::Off, "nothing is done at a CDN"),
                    (
                        "cloudflare",
                        Provider::Cloudflare,
                        "a list of the account and custom rules of the zone, through the rulesets and lists API",
                    ),
                    ("fastly", Provider::Fastly, "two access lists and a dynamic VCL snippet of the service"),
                ],
            },
        )
        .why("The CDN in front of the guard, which `proxies` of `[trust]` has to name as well.")
        .default(Provider::Off);
    let usage = table
        .setting(
            "use",
            Choice {
                words: &[
                    ("propose", EdgeUse::Propose, "it is only shown what would be done, by `seawall edge plan`"),
                    ("on", EdgeUse::On, "it is done"),
                ],
            },
        )
        .why("Whether anything is changed at the CDN. Look first at what would be: others may have rules there.")
        .default(EdgeUse::Propose);
    let mut identifier = |key: &'static str, example: &'static str, why: &'static str| {
        table.setting(key, Located(Identifier)).example(example).why(why).optional("not set")
    };
    let account = identifier(
        "account",
        "\"023e105f4ecef8ad9ca31a8372d0c353\"",
        "Cloudflare's number of the account, to which lists belong.",
    );
    let zone = identifier(
        "zone",
        "\"9a7806061c88ada191ed06f989cc3dac\"",
        "Cloudflare's number of the zone, which has the rules.",
    );
    let service = identifier("service", "\"SU1Z0isxPaozGVKXdv0eY\"", "Fastly's number of the service.");
    let token_file = table
        .setting("token-file", Located(FilePath))
        .example("\"/etc/seawall/edge-token\"")
        .why(
            "Where the API token is, in a file that only the guard's user can read (mode 0600 or 0400). It is read anew for each \
             request. The token itself does not belong in the configuration.",
        )
        .optional("the environment variable `SEAWALL_EDGE_TOKEN`")
        .flatten();
    let name = table
        .setting("name", EdgeName)
        .why(
            "What the guard's own things are called there: the list, and the rules, whose descriptions begin with it. Nothing \
             else is touched. Guards of several zones in one account each need their own.",
        )
        .default("seawall".to_owned());
    let interval = table
        .setting("interval", Time { range: Duration::from_millis(100)..=Duration::from_secs(3_600) })
        .why(
            "How often the CDN is changed at most; changes that come meanwhile go together. Both providers limit how often they \
             are asked, and a change takes them seconds.",
        )
        .default(Duration::from_secs(10));
    let verify_interval = table
        .setting("verify-interval", Time { range: Duration::from_millis(100)..=Duration::from_secs(86_400) })
        .why(
            "How often what is there is read back, and repaired where somebody else has changed what is the guard's. A full list \
             takes Cloudflare twenty requests.",
        )
        .default(Duration::from_secs(300));
    let rules_max = table
        .setting("rules-max", Count { of: "rules", range: 1..=1_000 })
        .why(
            "The most custom rules that the zone may have, those of others among them; of Fastly, the most conditions in the \
             snippet. The free plan of Cloudflare has five. One is for all bans together.",
        )
        .default(5);
    let entries_max = table
        .setting("entries-max", OrWord { word: "auto", kind: Count { of: "entries", range: 1..=1_000_000 } })
        .why("The most addresses and networks in the list. `\"auto\"` is 10,000 with Cloudflare and 1,000 with Fastly.")
        .default(None);
    let api = table
        .setting("api", Located(ApiUrl))
        .example("\"https://api.cloudflare.com/client/v4\"")
        .why("Where the API is. Over https, since the token goes there; plain http is for trials on loopback.")
        .optional("the provider's")
        .flatten();
    let keep = table
        .setting("keep", Flag)
        .why(
            "Whether what was put there stays when the guard stops. Nothing ends there by itself: it stays until the next start \
             or `seawall edge clear`.",
        )
        .default(false);

    let token = match token_file {
        None => Secret::Environment(TOKEN_VARIABLE.to_owned()),
        Some(file) => {
            let path = folder.join(file.get_ref());
            if let Some(wrong) = client::lies_open(&path) {
                table.report.refuse(&file.span(), format!("`token-file` in [edge]: {wrong}"));
            }
            Secret::File(path)
        }
    };
    let mut needed = |found: Option<Option<Spanned<String>>>, key: &str, provider: &str| {
        if found.is_none() {
            table.lacks(format!("`{key}` is missing in [edge]; provider = \"{provider}\" needs it"));
        }
        // One without is never used: its problem refuses the whole file.
        found.flatten().map(Spanned::into_inner).unwrap_or_default()
    };
    let (place, default_api, entries_default) = match provider {
        Provider::Off => return None,
        Provider::Cloudflare => {
            let place = EdgePlace::Cloudflare {
                account: needed(account, "account", "cloudflare"),
                zone: needed(zone, "zone", "cloudflare"),
            };
            (place, CLOUDFLARE_API, CLOUDFLARE_ENTRIES_MAX)
        }
        Provider::Fastly => {
            (EdgePlace::Fastly { service: needed(service, "service", "fastly") }, FASTLY_API, FASTLY_ENTRIES_MAX)
        }
    };
    Some(Edge {
        place,
        usage,
        token,
        name,
        interval,
        verify_interval,
        rules_max,
        entries_max: entries_max.unwrap_or(entries_default),
        api: api.map_or_else(|| default_api.to_owned(), Spanned::into_inner),
        keep,
    })
}

/// What a provider calls an account, a zone or a service.
struct Identifier;

impl Text for Identifier {
    type Value = String;
    const NAME: &'static str = "number, as the provider shows it";
    const EXAMPLE: &'static str = "\"023e105f4ecef8ad9ca31a8372d0c353\"";

    fn parse(&self, text: &str) -> Result<String, String> {
        let is_plain = text.chars().all(|character| character.is_ascii_alphanumeric());
        if is_plain && (1..=64).contains(&text.len()) {
            return Ok(text.to_owned());
        }
        Err(format!("which is no such number; it is letters and digits, as in {}", Self::EXAMPLE))
    }

    fn show_text(&self, value: &String) -> String {
        value.clone()
    }
}

/// What the guard's own things are called at the CDN.
struct EdgeName;

impl EdgeName {
    /// Cloudflare allows 50 for a list; Fastly's second list has a few more.
    const CHARACTERS_MAX: usize = 40;
}

impl Text for EdgeName {
    type Value = String;
    const NAME: &'static str = "name";
    const EXAMPLE: &'static str = "\"seawall\"";

    fn parse(&self, text: &str) -> Result<String, String> {
        let begins = text.starts_with(|first: char| first.is_ascii_lowercase());
        let is_plain =
            |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_';
        if begins && text.chars().all(is_plain) && text.len() <= Self::CHARACTERS_MAX {
            return Ok(text.to_owned());
        }
        Err(format!(
            "which is no name that both providers take; write a lower-case letter and up to {} of a-z, 0-9 and _, such as {}",
            Self::CHARACTERS_MAX - 1,
            Self::EXAMPLE
        ))
    }

    fn show_text(&self, value: &String) -> String {
        value.clone()
    }
}

/// Where an API is, without a slash at its end.
struct ApiUrl;

impl Text for ApiUrl {
    type Value = String;
    const NAME: &'static str = "URL, https://";
    const EXAMPLE: &'static str = "\"https://api.cloudflare.com/client/v4\"";

    fn parse(&self, text: &str) -> Result<String, String> {
        super::notify::check_url(text)?;
        let uri: http::Uri = text.parse().map_err(|error| format!("which is no URL: {error}"))?;
        if uri.query().is_some() {
            return Err("but the URL of an API has no query".to_owned());
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if uri.scheme_str() == Some("http") && !is_loopback {
            return Err("but the token goes there, and http:// would show it to everybody on the way; write https://"
                .to_owned());
        }
        Ok(text.trim_end_matches('/').to_owned())
    }

    fn show_given(&self, text: &str) -> String {
        super::notify::show_url(text)
    }

    fn show_text(&self, value: &String) -> String {
        value.clone()
    }
}
