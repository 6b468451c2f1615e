//! Lays a way of pieces on a line of the combined format, as fail2ban sees it: without its time.

use super::pieces::{Bytes, HOST, Piece};

/// The fields of a line, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Host,
    User,
    Method,
    Target,
    Version,
    Status,
    Bytes,
    Referer,
    UserAgent,
}

/// How many fields there are.
pub(super) const FIELDS: usize = 9;

/// What one way asks of each field.
pub(super) type Fields = [Vec<Piece>; FIELDS];

/// A part of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Field(Field),
    Byte(u8),
}

/// Alignments of one way that are looked at, and the steps to find them.
const ALIGNMENTS_MAX: usize = 64;
const STEPS_MAX: usize = 20_000;

impl Field {
    /// What it can be made of.
    fn alphabet(self) -> Bytes {
        let is_plain = |byte: u8| byte > b' ' && byte != b'"';
        match self {
            Self::Host => Bytes::of(|byte| byte == HOST),
            Self::Method => Bytes::of(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
            Self::Status | Self::Bytes => Bytes::of(|byte| byte.is_ascii_digit()),
            Self::User | Self::Target | Self::Version => Bytes::of(is_plain),
            Self::Referer | Self::UserAgent => Bytes::of(|byte| byte == b' ' || is_plain(byte)),
        }
    }
}

/// A line. fail2ban takes its time away, and the brackets around it where its pattern holds them.
pub(super) fn line(cuts_brackets: bool) -> Vec<Item> {
    use Field::{Host, Method, Referer, Status, Target, User, UserAgent, Version};
    let time = if cuts_brackets { "  \"" } else { " [] \"" };
    let parts = [
        (Host, " - "),
        (User, time),
        (Method, " "),
        (Target, " "),
        (Version, "\" "),
        (Status, " "),
        (Field::Bytes, " \""),
        (Referer, "\" \""),
        (UserAgent, "\""),
    ];
    parts
        .iter()
        .flat_map(|(field, text)| std::iter::once(Item::Field(*field)).chain(text.bytes().map(Item::Byte)))
        .collect()
}

/// What a way asks of the fields, for each place that it can have on the line.
pub(super) fn align(way: &[Piece], line: &[Item]) -> Vec<Fields> {
    let mut aligning = Aligning { way, line, found: Vec::new(), steps: 0 };
    aligning.go(0, 0, &Fields::default());
    aligning.found
}

struct Aligning<'a> {
    way: &'a [Piece],
    line: &'a [Item],
    found: Vec<Fields>,
    steps: usize,
}

impl Aligning<'_> {
    fn go(&mut self, piece: usize, at: usize, fields: &Fields) {
        self.steps += 1;
        if self.steps > STEPS_MAX || self.found.len() >= ALIGNMENTS_MAX {
            return;
        }
        match self.way.get(piece) {
            // What follows is not asked for.
            None => {
                let mut fields = fields.clone();
                for item in self.line.get(at..).unwrap_or_default() {
                    if let Item::Field(field) = item {
                        fields[*field as usize].push(Piece::Many(field.alphabet()));
                    }
                }
                self.add(fields);
            }
            Some(Piece::End) if at == self.line.len() => self.add(fields.clone()),
            Some(Piece::End) => {}
            Some(Piece::One(bytes)) => self.one(*bytes, piece, at, fields),
            Some(Piece::Many(bytes)) => self.many(*bytes, piece, at, fields),
        }
    }

    fn add(&mut self, fields: Fields) {
        if !self.found.contains(&fields) {
            self.found.push(fields);
        }
    }

    fn one(&mut self, bytes: Bytes, piece: usize, at: usize, fields: &Fields) {
        match self.line.get(at) {
            Some(Item::Byte(byte)) if bytes.has(*byte) => self.go(piece + 1, at + 1, fields),
            Some(Item::Field(field)) => {
                let within = bytes.and(field.alphabet());
                if !within.is_empty() {
                    let mut fields = fields.clone();
                    fields[*field as usize].push(Piece::One(within));
                    self.go(piece + 1, at, &fields);
                }
                // Or the field is over, and this is what follows it.
                if let Some(Item::Byte(byte)) = self.line.get(at + 1)
                    && bytes.has(*byte)
                {
                    self.go(piece + 1, at + 2, fields);
                }
            }
            Some(Item::Byte(_)) | None => {}
        }
    }

    fn many(&mut self, bytes: Bytes, piece: usize, at: usize, fields: &Fields) {
        let mut fields = fields.clone();
        for end in at..=self.line.len() {
            let is_after_field = end > at && matches!(self.line.get(end - 1), Some(Item::Field(_)));
            match self.line.get(end) {
                Some(Item::Field(field)) => {
                    fields[*field as usize].push(Piece::Many(bytes.and(field.alphabet())));
                    self.go(piece + 1, end, &fields);
                }
                // The end of a field is the same place as what follows it.
                Some(Item::Byte(_)) | None if !is_after_field => self.go(piece + 1, end, &fields),
                Some(Item::Byte(_)) | None => {}
            }
            if matches!(self.line.get(end), Some(Item::Byte(byte)) if !bytes.has(*byte)) {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pieces::{translate, ways};
    use super::*;

    fn count(expression: &str) -> usize {
        let line = line(false);
        let translated = translate(expression).expect("an expression");
        ways(&translated).expect("few ways").iter().map(|way| align(way, &line).len()).sum()
    }

    #[test]
    fn a_way_is_laid_on_the_line_wherever_it_fits() {
        assert_eq!(count(r#"^<HOST> - \S+ \[\] "POST /login"#), 1);
        assert_eq!(count(r#"^<HOST> - \S+ \[\] "[^"]*" 401"#), 1);
        assert!(count(r#"^<HOST>.*"GET"#) > 1, "the request, the referer and the agent");
        assert_eq!(count(r"^\[error\] client <HOST>"), 0);
    }
}
