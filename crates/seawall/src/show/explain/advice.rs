//! What to do about a surge, in a sentence or two.

use seawall_engine::decision::{Shape, Verdict};
use seawall_engine::detection::explain::{Explained, Traced};

/// A rule that hits more of the traffic outside surges than this is no good, whatever was predicted.
const OUTSIDE_SHARE_MAX: f64 = 0.01;

/// What to do about it.
pub(super) fn advice(explained: &Explained, rules: &[Traced]) -> String {
    let mut advice = by_verdict(explained, rules);
    if explained.shapes.contains(&Shape::RetryStorm) {
        advice += " The site failed first: answer 503 at once, with a Retry-After that differs from one answer to the next, \
                   until it is back.";
    }
    advice
}

fn by_verdict(explained: &Explained, rules: &[Traced]) -> String {
    let harmful = rules.iter().filter(|traced| traced.outside_share > OUTSIDE_SHARE_MAX).count();
    match explained.verdict {
        _ if harmful > 0 => format!(
            "Refuse nothing yet: {} of the rules {} also hit more than 1% of what was asked outside surges.",
            harmful,
            if harmful == 1 { "would" } else { "would each" }
        ),
        Verdict::Explained if rules.is_empty() && explained.shapes.contains(&Shape::Misdirected) => {
            "Answer hosts that are not yours with 421, as cheaply as you can; no rule is needed.".to_owned()
        }
        Verdict::Explained => {
            "Refuse what the rules match. They explain nearly all of it and hurt next to nobody.".to_owned()
        }
        Verdict::Partial => {
            "Refuse what the rules match; the rest looks like ordinary traffic and can only be held cheaply: cached answers, \
             and a limit for each client."
                .to_owned()
        }
        Verdict::NotSeparable => {
            "Refuse nothing by rule: whatever would stop this stops visitors. Answer from a cache, limit each client, and \
             shed with Retry-After when the server is under stress, known visitors first."
                .to_owned()
        }
        Verdict::Crowd => {
            "Ban nobody: these are people. Answer the pages that they want from a cache of a few seconds.".to_owned()
        }
        Verdict::External => {
            "Look behind the server: the requests are as ever, and their cost has grown elsewhere, as in a slow database."
                .to_owned()
        }
        Verdict::Undecided => "Too little is known to say what to do; watch it.".to_owned(),
    }
}
