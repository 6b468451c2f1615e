//! What to do about a surge, in a sentence or two.

use seawall_engine::decision::{Condition, CostKind, Rule, Shape, Verdict, Wanted};
use seawall_engine::detection::explain::{Counted, Heaviest, Program, RETURNING, Traced, TracedSurge};
use seawall_engine::observation::attribute::Attribute;

use crate::show::text::grouped;

/// A rule that hits more of the traffic outside surges than this is no good, whatever was predicted.
const OUTSIDE_SHARE_MAX: f64 = 0.01;

/// Senders of whom this share was there before are known by their history.
const KNOWN_SHARE: f64 = 0.8;

/// Senders of whom this share was there before are visitors in part, unless it was in this flood or in one before that they were: who is counted
/// in [`Traced::within_returning`] was there [`RETURNING`] before.
const VISITORS_SHARE: f64 = 0.25;

/// A visitor asks for no more than this in a surge.
const REQUESTS_PER_VISITOR: u64 = 20;

/// A program is ordinary when other versions of it have this share of what was asked outside surges, some of it of returning clients.
const PROGRAM_SHARE_MIN: f64 = 0.01;

/// What links carry in their queries, so that the site sees where they stood.
const LINK_TAGS: [&str; 14] = [
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_content",
    "utm_term",
    "utm_id",
    "fbclid",
    "gclid",
    "msclkid",
    "igshid",
    "mc_cid",
    "mc_eid",
    "ref",
    "source",
];

/// Words of every browser's user agent, which are no sender's mark.
const BROWSER_WORDS: [&str; 15] = [
    "Mozilla",
    "AppleWebKit",
    "KHTML",
    "Gecko",
    "like",
    "Chrome",
    "Safari",
    "Firefox",
    "Mobile",
    "Windows",
    "Win64",
    "x64",
    "Macintosh",
    "Linux",
    "Android",
];

/// Senders that are this much of a surge at other times too go on, and have not only tried it out.
const TRICKLE_SHARE: f64 = 0.01;

/// What to do about it.
pub(super) fn advice(surge: &TracedSurge) -> String {
    let mut advice = by_verdict(surge);
    if matches!(surge.explained.verdict, Verdict::Explained | Verdict::Partial) {
        let said = surge.rules.iter().filter_map(|traced| caution(traced, surge));
        advice += &said.map(|caution| format!(" {caution}")).collect::<String>();
    }
    if surge.explained.has_shape(Shape::RetryStorm) {
        advice += " The site failed first: answer 503 at once, with a Retry-After that differs from one answer to the next, \
                   until it is back.";
    }
    advice
}

/// Why a rule is not advised, when it is not.
pub(super) fn objection(surge: &TracedSurge, traced: &Traced) -> Option<String> {
    match surge.explained.verdict {
        Verdict::Explained | Verdict::Partial if traced.outside_share > OUTSIDE_SHARE_MAX => {
            Some(format!("it also hits {:.1}% of what was asked outside surges", traced.outside_share * 100.0))
        }
        Verdict::Explained | Verdict::Partial => caution(traced, surge),
        Verdict::Undecided => {
            Some("there is too little ordinary traffic to say whom it would hurt; add earlier logs".to_owned())
        }
        Verdict::Crowd => Some("the surge is a crowd".to_owned()),
        Verdict::NotSeparable => Some(format!(
            "it would also have hit {} outside surges, {} of returning clients",
            requests(traced.outside),
            grouped(traced.outside_returning)
        )),
        Verdict::External => None,
    }
}

/// Whether many may be behind the address with most of the surge.
fn is_gateway(surge: &TracedSurge) -> bool {
    surge.explained.heaviest.as_ref().is_some_and(Heaviest::is_gateway)
}

fn by_verdict(surge: &TracedSurge) -> String {
    let (explained, rules) = (&surge.explained, &surge.rules);
    let harmful = rules.iter().filter(|traced| traced.outside_share > OUTSIDE_SHARE_MAX).count();
    let returning: u64 = rules.iter().map(|traced| traced.outside_returning).sum();
    let outside: u64 = rules.iter().map(|traced| traced.outside).sum();
    match explained.verdict {
        Verdict::Undecided => {
            "Refuse nothing yet: there is too little ordinary traffic to say whom a rule would hurt. Add earlier logs, with what \
             is usual before."
                .to_owned()
        }
        Verdict::NotSeparable if !rules.is_empty() => {
            "Refuse nothing by rule: what most of it has, visitors have too. Answer from a cache, limit each client, and shed with \
             Retry-After when the server is under stress, known visitors first."
                .to_owned()
        }
        _ if harmful > 0 => format!(
            "Refuse nothing yet: {} also hit more than 1% of what was asked outside surges, {} of it by returning clients.",
            match (harmful, rules.len()) {
                (1, 1) => "the rule would".to_owned(),
                (1, _) => "one of the rules would".to_owned(),
                (count, _) => format!("{count} of the rules would each"),
            },
            requests(returning),
        ),
        Verdict::Explained if rules.is_empty() && explained.has_shape(Shape::Misdirected) => {
            "Answer hosts that are not yours with 421, as cheaply as you can; no rule is needed.".to_owned()
        }
        Verdict::Explained if rules.iter().all(|traced| traced.says_whence) => {
            "Slow down what the rules match rather than refuse it. They explain nearly all of it.".to_owned()
        }
        Verdict::Explained | Verdict::Partial
            if !rules.is_empty() && rules.iter().all(|traced| caution(traced, surge).is_some()) =>
        {
            let part = if explained.verdict == Verdict::Explained { "nearly all" } else { "a part" };
            let hit = match (outside, returning) {
                (0, _) => "nothing outside surges".to_owned(),
                (count, 0) => format!("{} outside surges, none of returning clients", requests(count)),
                (count, returning) => {
                    format!("{} outside surges, {} of returning clients", requests(count), grouped(returning))
                }
            };
            format!(
                "Look at what the rules match before you refuse it. They explain {part} of it and hit {hit}; each calls for care."
            )
        }
        Verdict::Explained if returning > 0 => format!(
            "The rules explain nearly all of it, but would also have hit {} of returning clients outside surges, who are most \
             likely visitors. Refuse what they match only while the flood lasts.",
            requests(returning)
        ),
        Verdict::Explained if outside > 0 => format!(
            "Refuse what the rules match. They explain nearly all of it, and hit {} outside surges, none of returning clients.",
            requests(outside)
        ),
        Verdict::Explained => {
            "Refuse what the rules match. They explain nearly all of it and hit nothing outside surges.".to_owned()
        }
        Verdict::Partial => {
            let whom = match returning {
                0 => "which hits no returning clients".to_owned(),
                count => format!("which would also have hit {} of returning clients outside surges", requests(count)),
            };
            format!(
                "Refuse what the rules match, {whom}; the rest looks like ordinary traffic and can only be held cheaply: cached \
                 answers, and a limit for each client."
            )
        }
        Verdict::NotSeparable => {
            "Refuse nothing by rule: whatever would stop this stops visitors. Answer from a cache, limit each client, and \
             shed with Retry-After when the server is under stress, known visitors first."
                .to_owned()
        }
        Verdict::Crowd if is_gateway(surge) => {
            "Ban nobody: one address with many user agents is a gateway with many people behind it, or one program that changes \
             its name. Limit that address at what so many people need, and look at what it asks for."
                .to_owned()
        }
        Verdict::Crowd => {
            "Ban nobody: these are people. Answer the pages that they want from a cache of a few seconds.".to_owned()
        }
        Verdict::External if explained.surge.strongest() == CostKind::Bytes => {
            "Look at what the site sends: the requests are as ever, and their answers have grown.".to_owned()
        }
        Verdict::External => {
            "Look behind the server: the requests are as ever, and their cost has grown elsewhere, as in a slow database."
                .to_owned()
        }
    }
}

/// What to be careful about with a rule.
fn caution(traced: &Traced, surge: &TracedSurge) -> Option<String> {
    let number = traced.rule.id.0;
    let names_clients = traced.turnover.is_some();
    if names_clients && is_gateway(surge) {
        return Some(format!(
            "Rule {number} names one address with many user agents: it may be a gateway with many people behind it."
        ));
    }
    if names_clients && surge.explained.heaviest.as_ref().is_some_and(|heaviest| heaviest.browses) {
        return Some(format!(
            "Rule {number} names who loads pages with all their parts, as the people of one office do: rather limit it than refuse it."
        ));
    }
    if traced.says_whence {
        return Some(format!(
            "What rule {number} matches says in its user agent where it comes from, as search engines and monitors do: check who \
             it is first, since you may want it."
        ));
    }
    if traced.within_returning as f64 >= KNOWN_SHARE * traced.within.requests as f64 {
        return Some(format!(
            "Nearly all that rule {number} matches comes from clients that were there before, as a search engine or a monitor \
             would: rather slow it down than refuse it."
        ));
    }
    let lasted = surge.explained.surge.until.since(surge.explained.surge.from);
    if traced.within_returning as f64 >= VISITORS_SHARE * traced.within.requests as f64
        && traced.within.requests <= REQUESTS_PER_VISITOR * traced.within.clients
        && lasted <= RETURNING
        && traced.recurs.is_none()
    {
        return Some(format!(
            "Of what rule {number} matches, {} came from clients that were there before, most likely visitors: rather slow it down than \
             refuse it.",
            requests(traced.within_returning),
        ));
    }
    if let Some(program) = traced.program.as_ref().filter(|program| is_ordinary(program, &traced.within)) {
        return Some(format!(
            "Rule {number} names one version of a program of which others are ordinary here: {} outside surges with {}, {} of returning \
             clients. When a new version comes out, everybody who uses it looks like that: see who they are before you refuse it.",
            requests(program.others),
            program.word,
            grouped(program.others_returning)
        ));
    }
    if is_of_link(&traced.rule) {
        return Some(format!(
            "What rule {number} names is what a link brings to everybody who follows it. Where the log has no parts of pages, or the site \
             does not answer, people look like that: see where it stands before you refuse it."
        ));
    }
    if is_anyones(&traced.rule) && traced.within_failed * 2 >= traced.within.requests {
        return Some(format!(
            "The site answered most of what rule {number} matches with errors of its own: people whom it cannot bear look the same."
        ));
    }
    if traced.own as f64 >= TRICKLE_SHARE * traced.within.requests as f64 && traced.own > 0 {
        return Some(format!(
            "What rule {number} matches also comes outside surges, {} from clients that do not come back: see that it is \
             nothing that you want.",
            requests(traced.own)
        ));
    }
    let is_served = (traced.within_served + traced.outside_served) * 2 >= traced.within.requests;
    if !is_served || !is_anyones(&traced.rule) {
        return None;
    }
    if traced.rule.conditions.iter().all(is_about_target) {
        return Some(format!(
            "Rule {number} names only what is asked for, which the site answers: while it stands it refuses that to everybody."
        ));
    }
    Some(format!(
        "Rule {number} names nobody: what any browser may send, and at most what is asked for, which the site answers. People who come \
         without a link look the same."
    ))
}

/// Whether other versions of the program are ordinary, and those of this one ask for no more than people do.
fn is_ordinary(program: &Program, within: &Counted) -> bool {
    program.others_returning > 0
        && program.others_share >= PROGRAM_SHARE_MIN
        && within.requests <= REQUESTS_PER_VISITOR * within.clients
}

fn is_about_target(condition: &Condition) -> bool {
    matches!(
        condition.attribute,
        Attribute::Method
            | Attribute::Host
            | Attribute::Path
            | Attribute::PathTemplate
            | Attribute::PathPrefix
            | Attribute::Extension
            | Attribute::QueryKeys
    )
}

/// Whether a rule says nothing about who asks but what every browser might say.
fn is_anyones(rule: &Rule) -> bool {
    let is_browsers = |condition: &Condition| match condition.attribute {
        Attribute::RefererOrigin => true,
        Attribute::UserAgentWord => {
            matches!(&condition.wanted, Wanted::Value(word) if BROWSER_WORDS.iter().any(|known| known.as_bytes() == &**word))
        }
        _ => is_about_target(condition),
    };
    rule.conditions.iter().all(is_browsers)
}

/// Whether a rule names what a link brings, where it stands or what it carries, and nobody who sends it.
fn is_of_link(rule: &Rule) -> bool {
    let brings = |condition: &Condition| match (condition.attribute, &condition.wanted) {
        (Attribute::RefererOrigin, Wanted::Value(_)) => true,
        (Attribute::QueryKeys, Wanted::Value(keys)) => {
            keys.split(|byte| *byte == b'&').all(|key| LINK_TAGS.iter().any(|tag| tag.as_bytes() == key))
        }
        _ => false,
    };
    let is_posted = |condition: &Condition| {
        condition.attribute == Attribute::Method && condition.wanted == Wanted::Value(b"POST".as_slice().into())
    };
    is_anyones(rule) && rule.conditions.iter().any(brings) && !rule.conditions.iter().any(is_posted)
}

fn requests(count: u64) -> String {
    if count == 1 { "1 request".to_owned() } else { format!("{} requests", grouped(count)) }
}
