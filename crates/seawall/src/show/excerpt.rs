//! A line that somebody wrote, with a mark under the column that is meant.

use unicode_width::UnicodeWidthChar as _;

/// How many terminal columns of a line are shown before and after the one that is meant.
const COLUMNS_BEFORE: usize = 60;
const COLUMNS_AFTER: usize = 30;

/// The line and, under it, a caret at `column` (from 1, in characters), both indented. Of a long line, what is around the
/// column. Characters that would act on a terminal are replaced.
pub fn excerpt(line: &str, column: usize) -> String {
    let before: Vec<char> = line.chars().take(column.saturating_sub(1)).map(super::text::visible).collect();
    let columns =
        |characters: &[char]| characters.iter().map(|character| character.width().unwrap_or(0)).sum::<usize>();
    let mut start = 0;
    while before.get(start..).is_some_and(|shown| columns(shown) > COLUMNS_BEFORE) {
        start += 1;
    }
    let shown = before.get(start..).unwrap_or_default();
    let after: String = line.chars().skip(before.len()).map(super::text::visible).collect();
    let cut = if start > 0 { "…" } else { "" };
    let indent = " ".repeat(columns(shown) + cut.chars().count());
    let shown: String = shown.iter().collect();
    format!("    {cut}{shown}{}\n    {indent}^", super::text::cut(&after, COLUMNS_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_column() {
        for (line, column, expected) in [
            ("path /a", 6, "    path /a\n         ^"),
            ("path", 5, "    path\n        ^"),
            ("", 1, "    \n    ^"),
            ("漢\té\x1bx", 4, "    漢 é\u{FFFD}x\n        ^"),
        ] {
            assert_eq!(excerpt(line, column), expected);
        }
        let long = format!("{}!{}", "a".repeat(100), "b".repeat(100));
        let expected = format!("    …{}!{}…\n    {}^", "a".repeat(60), "b".repeat(28), " ".repeat(61));
        assert_eq!(excerpt(&long, 101), expected);
    }
}
