//! Text for people: made safe for a terminal, cut to a width, numbers grouped. What comes from outside reaches an output
//! only through [`escape`].

use std::fmt::Write as _;

use seawall_engine::units::Timestamp;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Bytes from outside as text that cannot act on a terminal or hide what it says: control characters, what is not UTF-8
/// and invisible or direction-changing characters are written as `\xNN` or `\u{N}`, a backslash as `\\`.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str(r"\\"),
                _ if character.is_ascii_control() => push(&mut text, format_args!("\\x{:02x}", u32::from(character))),
                _ if acts_on_text(character) => push(&mut text, format_args!("\\u{{{:x}}}", u32::from(character))),
                _ => text.push(character),
            }
        }
        for byte in chunk.invalid() {
            push(&mut text, format_args!("\\x{byte:02x}"));
        }
    }
    text
}

/// The character where a line is shown as it was written, character by character: one that would act on the terminal is
/// replaced, since an escape would take more columns.
pub fn visible(character: char) -> char {
    match character {
        '\t' => ' ',
        _ if acts_on_text(character) => char::REPLACEMENT_CHARACTER,
        _ => character,
    }
}

/// Control characters, and those that format the text around them: they are invisible, or turn its direction.
fn acts_on_text(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(arguments);
}

/// The beginning of a text that is too wide for a number of terminal columns, with `…` at its end.
pub fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    let mut cut: String = that_fit(text.chars(), room).collect();
    cut.push('…');
    cut
}

/// Both ends of a text that is too wide for a number of terminal columns, with `…` between them: the ends of paths and user
/// agents tell more than their middles.
pub fn cut_middle(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    let mut cut: String = that_fit(text.chars(), room.div_ceil(2)).collect();
    let end: Vec<char> = that_fit(text.chars().rev(), room / 2).collect();
    cut.push('…');
    cut.extend(end.into_iter().rev());
    cut
}

/// The first characters that fit into a number of columns.
fn that_fit(characters: impl Iterator<Item = char>, columns: usize) -> impl Iterator<Item = char> {
    let mut used = 0;
    characters.take_while(move |character| {
        used += character.width().unwrap_or(0);
        used <= columns
    })
}

/// A moment in UTC, for a text that is kept and read where the clocks may be others: `2026-05-01 12:30:00 UTC`.
pub fn moment(at: Timestamp) -> String {
    let moment = jiff::Timestamp::from_second(i64::try_from(at.as_seconds()).unwrap_or_default()).unwrap_or_default();
    moment.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// The upper bound of a share in per cent, of which two digits behind the point are shown: rounded up, so that it remains one.
pub fn percent_at_most(share: impl Into<f64>) -> f64 {
    // A thousandth of the last digit is what numbers of single precision have too much.
    (share.into() * 10_000.0 - 0.001).max(0.0).ceil() / 100.0
}

/// A number with its thousands apart: `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes in the unit that leaves at most four digits before the point: `117.4 KiB`.
pub fn byte_count(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be shown as 1024.0.
    while amount >= 1023.95 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS.get(unit).copied().unwrap_or_default())
}

/// A share of a whole in percent: `8.1%`. What is there at all is never shown as nothing, and what is not the whole never
/// as the whole.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 || part == 0 {
        return "0%".to_owned();
    }
    let share = part as f64 * 100.0 / whole as f64;
    if part >= whole {
        "100%".to_owned()
    } else if share < 0.05 {
        "<0.1%".to_owned()
    } else if share >= 99.95 {
        ">99.9%".to_owned()
    } else {
        format!("{share:.1}%")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_bounds_are_never_shown_too_low() {
        for (share, shown) in
            [(0.0, "0.00"), (0.000_004_9, "0.01"), (0.000_1, "0.01"), (0.000_11, "0.02"), (1.0, "100.00")]
        {
            assert_eq!(format!("{:.2}", percent_at_most(share)), shown, "{share}");
            assert_eq!(format!("{:.2}", percent_at_most(share as f32)), shown, "{share}");
        }
    }

    #[test]
    fn nothing_from_outside_acts_on_a_terminal() {
        for (bytes, expected) in [
            (b"/plain%20path".as_slice(), "/plain%20path"),
            (b"\x1b[31mred\x07\x00\x7f", r"\x1b[31mred\x07\x00\x7f"),
            ("\u{9b}31m".as_bytes(), r"\u{9b}31m"),
            ("gif\u{202e}exe.\u{200b}\u{feff}".as_bytes(), r"gif\u{202e}exe.\u{200b}\u{feff}"),
            (b"\xff\xc3(", r"\xff\xc3("),
            ("п\u{00e9}漢".as_bytes(), "п\u{00e9}漢"),
            (br"C:\x1b", r"C:\\x1b"),
        ] {
            assert_eq!(escape(bytes), expected);
        }
    }

    #[test]
    fn cuts_count_columns_not_characters() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 5), "abcd…");
        assert_eq!(cut("漢字漢字", 8), "漢字漢字");
        assert_eq!(cut("漢字漢字", 7), "漢字漢…");
        assert_eq!(cut("漢字漢字", 6), "漢字…");
        assert_eq!(cut_middle("abcdef", 6), "abcdef");
        assert_eq!(cut_middle("abcdef", 5), "ab…ef");
        assert_eq!(cut_middle("abcdef", 4), "ab…f");
        assert_eq!(cut("abc", 1), "…");
        assert_eq!(cut("abc", 0), "");
        for columns in 0..10 {
            assert!(cut("a漢e\u{301}字bc漢", columns).width() <= columns);
            assert!(cut_middle("a漢e\u{301}字bc漢", columns).width() <= columns);
        }
    }

    #[test]
    fn numbers_are_grouped_and_rounded_honestly() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1023, 1024, 120_218].map(byte_count), ["0 B", "1023 B", "1.0 KiB", "117.4 KiB"]);
        assert_eq!([1_048_575, u64::MAX].map(byte_count), ["1.0 MiB", "16.0 EiB"]);
        assert_eq!(percent(0, 10), "0%");
        assert_eq!(percent(10, 10), "100%");
        assert_eq!(percent(1, 1_000_000), "<0.1%");
        assert_eq!(percent(999_999, 1_000_000), ">99.9%");
        assert_eq!(percent(807, 9999), "8.1%");
        assert_eq!(percent(0, 0), "0%");
    }
}
