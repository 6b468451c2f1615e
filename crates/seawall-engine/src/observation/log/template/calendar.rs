//! Times whose parts a format string names one by one, as Apache's `%{%d/%b/%Y:%H:%M:%S}t.%{msec_frac}t` does.

use super::super::time;
use super::{Field, Piece};
use crate::units::Timestamp;

/// A part of a time, of as many bytes in every line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Year,
    /// Two digits, of this century unless it is 69 or more.
    ShortYear,
    Month,
    MonthName,
    Day,
    Hour,
    Minute,
    Second,
    Milliseconds,
    Microseconds,
    /// `+0200`
    Zone,
    Weekday,
}

impl Part {
    /// In bytes.
    pub(super) const fn length(self) -> usize {
        match self {
            Self::ShortYear | Self::Month | Self::Day | Self::Hour | Self::Minute | Self::Second => 2,
            Self::MonthName | Self::Milliseconds | Self::Weekday => 3,
            Self::Year => 4,
            Self::Zone => 5,
            Self::Microseconds => 6,
        }
    }

    /// Those without which no moment is known; of a month its number stands for its name as well.
    pub(super) const NEEDED: [Self; 5] = [Self::Month, Self::Day, Self::Hour, Self::Minute, Self::Year];
}

/// What the parts of a time say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Calendar {
    date: [i64; 3],
    clock: [i64; 3],
    micros: u64,
    zone_seconds: i64,
}

impl Calendar {
    /// Takes a part. None when it is none.
    pub(super) fn take(&mut self, part: Part, text: &[u8]) -> Option<()> {
        // Padded with a space (`%e`).
        let number = || time::digits(text.strip_prefix(b" ").unwrap_or(text));
        let small = || number().and_then(|number| u64::try_from(number).ok());
        match part {
            Part::Year => self.date[0] = number()?,
            Part::ShortYear => self.date[0] = number().map(|year| year + if year < 69 { 2000 } else { 1900 })?,
            Part::Month => self.date[1] = number()?,
            Part::MonthName => self.date[1] = time::month(text.try_into().ok()?)?,
            Part::Day => self.date[2] = number()?,
            Part::Hour => self.clock[0] = number()?,
            Part::Minute => self.clock[1] = number()?,
            Part::Second => self.clock[2] = number()?,
            Part::Milliseconds => self.micros = small()? * 1_000,
            Part::Microseconds => self.micros = small()?,
            Part::Zone => self.zone_seconds = time::zone(text)?,
            Part::Weekday => {}
        }
        Some(())
    }

    /// The moment that it is; none when it is none, or one before 1970.
    pub(super) fn moment(&self) -> Option<Timestamp> {
        time::of_calendar(self.date, self.clock, self.zone_seconds, self.micros)
    }
}

/// The pieces of a format of `strftime` as Apache has it between braces; none with what no line could be read by.
pub(super) fn pieces(format: &str) -> Option<Vec<Piece>> {
    let format = format.strip_prefix("begin:").or_else(|| format.strip_prefix("end:")).unwrap_or(format);
    let part = |part| vec![Piece::Field(Field::Calendar(part))];
    match format {
        // How large a number is tells its unit.
        "" | "sec" | "msec" | "usec" => return Some(vec![Piece::Field(Field::Moment)]),
        "msec_frac" => return Some(part(Part::Milliseconds)),
        "usec_frac" => return Some(part(Part::Microseconds)),
        _ => {}
    }
    let mut pieces = Vec::new();
    let mut rest = format.chars();
    while let Some(letter) = rest.next() {
        if letter != '%' {
            pieces.push(Piece::Text(letter.to_string().into_bytes()));
            continue;
        }
        pieces.extend(match rest.next()? {
            'Y' => part(Part::Year),
            'y' => part(Part::ShortYear),
            'm' => part(Part::Month),
            'b' | 'h' => part(Part::MonthName),
            'd' | 'e' => part(Part::Day),
            'H' => part(Part::Hour),
            'M' => part(Part::Minute),
            'S' => part(Part::Second),
            'z' => part(Part::Zone),
            'a' => part(Part::Weekday),
            's' => vec![Piece::Field(Field::Moment)],
            '%' => vec![Piece::Text(b"%".to_vec())],
            'T' => self::pieces("%H:%M:%S")?,
            'R' => self::pieces("%H:%M")?,
            'F' => self::pieces("%Y-%m-%d")?,
            'D' => self::pieces("%m/%d/%y")?,
            'c' => self::pieces("%a %b %e %T %Y")?,
            _ => return None,
        });
    }
    Some(pieces)
}
