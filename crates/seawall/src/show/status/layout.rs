//! How things are put: widths, sections, numbers, times.

/// Where a line goes on that is too long.
const INDENT: usize = 14;

pub(super) fn section<T>(
    lines: &mut Vec<String>,
    title: &str,
    items: &[T],
    max: usize,
    render: impl Fn(&T) -> Vec<String>,
) {
    if items.is_empty() {
        lines.push(format!("{title:<11} none"));
        return;
    }
    let more = items.len().saturating_sub(max);
    lines.push(if more > 0 { format!("{title} ({more} more)") } else { title.to_owned() });
    lines.extend(items.iter().take(max).flat_map(render).map(|line| format!("  {line}")));
}

/// The name that a value has in JSON.
pub(super) fn name(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A number of bytes in decimal units.
pub(super) fn bytes(number: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let (mut number, mut unit) = (number, 0);
    while number >= 1_000.0 && unit + 1 < units.len() {
        number /= 1_000.0;
        unit += 1;
    }
    format!("{number:.1} {}", units[unit])
}

/// A length of time in its largest sensible unit.
pub(in crate::show) fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `line` in pieces of at most `width`, cut at spaces where there are some.
pub(super) fn wrap(line: &str, width: usize) -> Vec<String> {
    let width = width.max(2 * INDENT);
    let mut pieces = Vec::new();
    let mut rest: Vec<char> = line.chars().collect();
    while rest.len() > width {
        let from = if pieces.is_empty() { 1 } else { INDENT + 1 };
        let at = (from..=width).rev().find(|at| rest[*at] == ' ').unwrap_or(width);
        let tail: String = rest.split_off(at).into_iter().collect();
        pieces.push(rest.into_iter().collect::<String>().trim_end().to_owned());
        rest = format!("{:INDENT$}{}", "", tail.trim_start()).chars().collect();
    }
    pieces.push(rest.into_iter().collect());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_go_on_below_and_lose_nothing() {
        let line = format!("incident    {}", "alpha beta gamma delta ".repeat(9));
        for width in [10, 28, 40, 80, 500] {
            let pieces = wrap(&line, width);
            assert!(pieces.iter().all(|piece| piece.len() <= width.max(2 * INDENT)), "{pieces:?}");
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(words(&pieces.join(" ")), words(&line));
        }
        assert!(wrap(&"x".repeat(200), 80).iter().all(|piece| piece.len() <= 80));
    }
}
