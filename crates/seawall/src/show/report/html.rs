//! A report as a web page, complete in itself: no network, no other file. Every text in it is data that the page's script writes as
//! text; nothing of a log is ever markup, and the page's policy lets no other script or style than its own run.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

const PAGE: &str = include_str!("html/page.html");
const STYLE: &str = include_str!("html/report.css");
const SCRIPT: &str = include_str!("html/report.js");

/// How every page begins, so that it can be told from what else a file holds.
pub const BEGINNING: &str =
    "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"generator\" content=\"Seawall\">\n";

/// The page of a [`Summary`](super::Summary), or of a view's [`ViewPage`](super::views::ViewPage).
///
/// # Errors
/// When the summary cannot be serialised.
pub fn render(summary: &impl Serialize) -> Result<String, serde_json::Error> {
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; base-uri 'none'; form-action 'none'",
        source(SCRIPT),
        source(STYLE)
    );
    let data = inert(&serde_json::to_string(summary)?);
    let mut page = String::with_capacity(PAGE.len() + STYLE.len() + SCRIPT.len() + data.len());
    // Piece by piece: what is put in may hold what looks like a place for something else.
    let mut rest = PAGE;
    for (place, content) in
        [("{policy}", policy.as_str()), ("{style}", STYLE), ("{data}", data.as_str()), ("{script}", SCRIPT)]
    {
        if let Some((before, after)) = rest.split_once(place) {
            page.push_str(before);
            page.push_str(content);
            rest = after;
        }
    }
    page.push_str(rest);
    Ok(page)
}

/// What a policy calls an element with this content.
fn source(content: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(content)))
}

/// JSON in which nothing can end the element that it is in, or begin another: `<`, `>` and `&` stand only in strings there, where
/// they can be escaped.
fn inert(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_data_is_markup() {
        let text = "</script><!--<script>&amp;{script}";
        let json = inert(&serde_json::to_string(text).expect("a text"));
        assert!(!json.contains(['<', '>', '&']), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).expect("JSON"), text);
    }

    #[test]
    fn the_page_has_room_for_everything_once() {
        for place in ["{policy}", "{style}", "{data}", "{script}"] {
            assert_eq!(PAGE.matches(place).count(), 1, "{place}");
        }
        assert!(PAGE.starts_with(BEGINNING));
        // An element ends at its end tag, wherever that stands.
        assert!(!SCRIPT.contains("</script") && !STYLE.contains("</style"));
        // The test vector of the policy's specification is of another text; this one is from `openssl dgst -sha256`.
        assert_eq!(source("doSomething();"), "sha256-RFWPLDbv2BY+rCkDzsE+0fr8ylGr2R2faWMhq4lfEQc=");
    }
}
