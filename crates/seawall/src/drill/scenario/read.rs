//! Reads a document into its types and goes on after what cannot be read, so that every problem is found at once.
//!
//! An entry that is refused is taken out and the rest is read again. What is then missing from the same table is no problem
//! of its own: it was taken out, or was misspelt.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

/// After so many problems no more are looked for.
const PROBLEMS_MAX: usize = 50;

/// A place in the text, in bytes.
type Span = Range<usize>;

/// A document, as far as it can be read.
pub(super) struct Document<'t> {
    table: Spanned<DeTable<'t>>,
    /// What was refused: where it stands, and why.
    pub(super) refused: Vec<(Span, String)>,
    /// For each entry that was taken out the tables and arrays that it stood in, the innermost first.
    taken_out: Vec<Vec<Span>>,
}

impl<'t> Document<'t> {
    /// Parses `text`. What is no TOML is refused; then nothing can be read.
    pub(super) fn parse(text: &'t str) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        let refused = errors.iter().map(|error| (error.span().unwrap_or(0..0), error.message().to_owned())).collect();
        Self { table, refused, taken_out: Vec::new() }
    }

    /// Reads it, without what is refused; `None` when too much is.
    pub(super) fn read<T: for<'de> Deserialize<'de>>(&mut self) -> Option<T> {
        if self.taken_out.is_empty() && !self.refused.is_empty() {
            return None;
        }
        while self.refused.len() < PROBLEMS_MAX {
            let error = match T::deserialize(Deserializer::from(self.table.clone())) {
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            let span = error.span().unwrap_or_else(|| self.table.span());
            let follows = error.message().starts_with("missing field")
                && self.taken_out.iter().any(|inside| inside.first() == Some(&span));
            if !follows {
                self.refused.push((span.clone(), error.message().to_owned()));
            }
            let mut inside = take_out_of_table(self.table.get_mut(), &span)?;
            inside.push(self.table.span());
            self.taken_out.push(inside);
        }
        None
    }

    /// Whether something was taken out of the table or array at this place.
    pub(super) fn is_incomplete(&self, place: &Span) -> bool {
        self.taken_out.iter().any(|inside| inside.contains(place))
    }
}

/// Takes the innermost entry at `span` out of a table, and says in which tables and arrays of it the entry stood.
fn take_out_of_table(table: &mut DeTable<'_>, span: &Span) -> Option<Vec<Span>> {
    if let Some(inside) = table.iter_mut().find_map(|(_, value)| take_out_of_value(value, span)) {
        return Some(inside);
    }
    let is_it = |(key, value): &(&Spanned<_>, &Spanned<DeValue<'_>>)| key.span() == *span || holds(value, span);
    let key = table.iter().find(is_it).map(|(key, _)| key.clone())?;
    table.remove(&key);
    Some(Vec::new())
}

/// The same for what a value holds; the value itself is left to the table or array that it stands in.
fn take_out_of_value(value: &mut Spanned<DeValue<'_>>, span: &Span) -> Option<Vec<Span>> {
    let place = value.span();
    let mut inside = match value.get_mut() {
        DeValue::Table(table) => take_out_of_table(table, span)?,
        DeValue::Array(array) => {
            let deeper = array.iter_mut().find_map(|element| take_out_of_value(element, span));
            deeper.or_else(|| {
                // An array of the parser can only be built anew.
                let index = array.iter().position(|element| holds(element, span))?;
                let kept = array.iter().enumerate().filter(|(place, _)| *place != index);
                *array = kept.map(|(_, element)| element.clone()).collect();
                Some(Vec::new())
            })?
        }
        _ => return None,
    };
    inside.push(place);
    Some(inside)
}

/// Whether a problem at `span` is about this value. The place of a table with a header is the header alone.
fn holds(value: &Spanned<DeValue<'_>>, span: &Span) -> bool {
    let place = value.span();
    place.start <= span.start && span.end <= place.end
}
