//! What stands at the head of every file: what it is, when it ends, how it is used, and what it does not say.

use seawall_engine::units::Timestamp;

use super::{Content, Material, System, Unsaid};

/// The longest text of a rule that is repeated in a comment. `ipset restore` cuts lines at 1,024 bytes, and takes what comes
/// after for a command.
const COMMENT_BYTES_MAX: usize = 400;

/// A text for one line of a comment, in whatever language: printable ASCII, without what some replace even there (Caddy, `{$HOME}`),
/// and with no backslash at its end, which would make the next line part of the comment.
pub(super) fn comment(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        if safe.len() >= COMMENT_BYTES_MAX {
            safe.push_str(" [...]");
            break;
        }
        match byte {
            b'{' => safe.push_str(r"\x7b"),
            b' '..=b'~' => safe.push(byte as char),
            _ => safe.extend(byte.escape_ascii().map(char::from)),
        }
    }
    if safe.ends_with('\\') {
        safe.push(' ');
        safe.push('.');
    }
    safe
}

/// The lines of the head.
pub(super) fn lines(
    system: &System,
    content: &Content,
    unsaid: &[Unsaid],
    (spared, too_many): (usize, usize),
    material: &Material,
) -> Vec<String> {
    let title = system.title;
    let file = material.file.as_deref().unwrap_or(system.file);
    // What is said of the file where it is by default holds of it where it is.
    let placed = |text: &str| text.replace(system.file, file);
    let (rules, bans) = (content.rules.len(), content.bans.len());
    let mut lines = vec![format!(
        "Made by Seawall {} for {title} at {}: {rules} {}, {bans} {}.",
        env!("CARGO_PKG_VERSION"),
        moment(content.made),
        plural(rules, "rule"),
        plural(bans, "ban"),
    )];
    if bans > 0 {
        lines.push("It holds addresses of clients in the clear: nobody else is to read it.".to_owned());
    }
    if spared > 0 {
        let bans = plural(spared, "ban");
        lines.push(format!("Left out, since nobody in their networks is ever banned: {spared} {bans}."));
    }
    if too_many > 0 {
        let bans = plural(too_many, "ban");
        lines.push(format!("Left out, the first to end, since {title} takes minutes to load more: {too_many} {bans}. A packet filter takes all."));
    }
    if !material.waiting.is_empty() {
        lines.push("Left out, since it waits to be confirmed (seawall confirm):".to_owned());
        lines.extend(material.waiting.iter().map(|waiting| format!("  {}", comment(waiting))));
    }
    lines.push(String::new());
    let ends = content.rules.iter().map(|rule| rule.expires).chain(content.bans.iter().map(|ban| ban.expires));
    match ends.flatten().min() {
        None => lines.push("What it says has no end of its own.".to_owned()),
        Some(first) if system.expires() => {
            lines.push(format!("Bans end in {title} by themselves, the first at {}.", moment(first)));
        }
        Some(first) => {
            lines.push(format!("The first of them ends at {}, which {title} does not know.", moment(first)));
        }
    }
    lines.push("To make it anew every five minutes, a line of /etc/crontab:".to_owned());
    let command = system.renewal_by(&material.command, file, material.test.as_deref());
    lines.push(format!("  */5 * * * * root {command}"));
    lines.push(String::new());
    lines.push("To use it:".to_owned());
    let ports = content.port_list(",");
    lines.extend(system.usage.iter().map(|line| format!("  {}", placed(line).replace("PORTS", &ports))));
    lines.push(String::new());
    if unsaid.is_empty() {
        lines.push("Everything is said.".to_owned());
    } else {
        let count = unsaid.len();
        lines.push(format!("Not said, so not refused by {title}: {count} {}.", plural(count, "rule")));
        for Unsaid { name, text, why } in unsaid {
            lines.push(format!("  {name}: {text}"));
            lines.push(format!("    not said, since {why}"));
        }
    }
    lines
}

/// A moment in UTC, as ISO 8601 writes it.
pub(super) fn moment(at: Timestamp) -> String {
    let moment = jiff::Timestamp::from_second(i64::try_from(at.as_seconds()).unwrap_or_default());
    moment.unwrap_or_default().to_string()
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}
