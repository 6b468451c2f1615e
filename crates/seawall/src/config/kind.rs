//! Kinds of values: each reads a TOML value, or says what is wrong with it, and describes itself.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::quantity;
use super::section::Refusals;

/// The least Jaro similarity of a word that may have been meant; clap uses the same for the command line.
pub(super) const LIKENESS_MIN: f64 = 0.7;

/// A kind of value.
pub(super) trait Kind {
    /// What it is read into.
    type Value;

    /// The value, or `None` with at least one refusal.
    fn read(&self, found: &Spanned<DeValue<'_>>, refusals: &mut Refusals) -> Option<Self::Value>;

    /// The value as it would be written in TOML.
    fn show(&self, value: &Self::Value) -> String;

    /// What it is, with its unit, as a noun: `size`, `number of connections`.
    fn name(&self) -> String;

    /// The values that are allowed, when they are a range.
    fn range(&self) -> Option<String> {
        None
    }

    /// The words that are allowed, each with its meaning.
    fn choices(&self) -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }
}

/// A kind that is written as a string with a form of its own.
pub(super) trait Text {
    /// What it is read into.
    type Value;
    /// What it is, as a noun.
    const NAME: &'static str;
    /// One in TOML, for messages.
    const EXAMPLE: &'static str;

    /// The value, or what is wrong with `text` and what would be right; the text itself is shown before it.
    fn parse(&self, text: &str) -> Result<Self::Value, String>;

    /// What was found, for messages. A kind whose texts can hold a secret hides it here.
    fn show_given(&self, text: &str) -> String {
        shorten(text)
    }

    /// The text that would be read as `value`.
    fn show_text(&self, value: &Self::Value) -> String;
}

impl<T: Text> Kind for T {
    type Value = T::Value;

    fn read(&self, found: &Spanned<DeValue<'_>>, refusals: &mut Refusals) -> Option<T::Value> {
        let DeValue::String(text) = found.get_ref() else {
            refusals.add(&found.span(), wrong_type(found, T::NAME, T::EXAMPLE));
            return None;
        };
        match self.parse(text) {
            Ok(value) => Some(value),
            Err(message) => {
                refusals.add(&found.span(), format!("found {}, {message}", self.show_given(text)));
                None
            }
        }
    }

    fn show(&self, value: &T::Value) -> String {
        quoted(&self.show_text(value))
    }

    fn name(&self) -> String {
        T::NAME.to_owned()
    }
}

/// A number of something.
pub(super) struct Count<N> {
    /// Of what: `connections`.
    pub(super) of: &'static str,
    pub(super) range: RangeInclusive<N>,
}

impl<N: Copy + Display + PartialOrd + TryFrom<i128>> Kind for Count<N> {
    type Value = N;

    fn read(&self, found: &Spanned<DeValue<'_>>, refusals: &mut Refusals) -> Option<N> {
        let DeValue::Integer(number) = found.get_ref() else {
            refusals.add(&found.span(), wrong_type(found, &self.name(), &self.range.start().to_string()));
            return None;
        };
        let value =
            i128::from_str_radix(number.as_str(), number.radix()).ok().and_then(|value| N::try_from(value).ok());
        let value = value.filter(|value| self.range.contains(value));
        if value.is_none() {
            refusals.add(&found.span(), out_of_range(number, self));
        }
        value
    }

    fn show(&self, value: &N) -> String {
        value.to_string()
    }

    fn name(&self) -> String {
        format!("number of {}", self.of)
    }

    fn range(&self) -> Option<String> {
        Some(format!("{} to {}", self.range.start(), self.range.end()))
    }
}

/// A number of bytes, as `"64 KiB"` or plain.
pub(super) struct Size {
    pub(super) range: RangeInclusive<usize>,
}

impl Kind for Size {
    type Value = usize;

    fn read(&self, found: &Spanned<DeValue<'_>>, refusals: &mut Refusals) -> Option<usize> {
        let bytes = match found.get_ref() {
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix()).ok(),
            DeValue::String(text) => match quantity::parse_size(text) {
                Ok(bytes) => Some(i128::from(bytes)),
                Err(message) => {
                    refusals.add(&found.span(), format!("found {}, {message}", show_found(found.get_ref())));
                    return None;
                }
            },
            _ => {
                refusals.add(&found.span(), wrong_type(found, "size", "\"64 KiB\""));
                return None;
            }
        };
        let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok()).filter(|bytes| self.range.contains(bytes));
        if bytes.is_none() {
            refusals.add(&found.span(), out_of_range(show_found(found.get_ref()), self));
        }
        bytes
    }

    fn show(&self, value: &usize) -> String {
        quoted(&quantity::show_size(*value))
    }

    fn name(&self) -> String {
        "size, as \"64 KiB\" or in bytes".to_owned()
    }

    fn range(&self) -> Option<String> {
        let [low, high] = [self.range.start(), self.range.end()].map(|bound| quantity::show_size(*bound));
        Some(format!("{low} to {high}"))
    }
}

/// A length of time, as `"10s"`.
pub(super) struct Time {
    pub(super) range: RangeInclusive<Duration>,
}

impl Kind for Time {
    type Value = Duration;

    fn read(&self, found: &Spanned<DeValue<'_>>, refusals: &mut Refusals) -> Option<Duration> {
        let text = match found.get_ref() {
            DeValue::String(text) => text,
            DeValue::Integer(number) => {
                refusals.add(
                    &found.span(),
                    format!("found {number} without a unit; write \"{number}s\" for seconds, or ms, m, h"),
                );
                return None;
            }
            _ => {
                refusals.add(&found.span(), wrong_type(found, "duration", "\"10s\""));
                return None;
            }
        };
        let Some(duration) = quantity::parse_duration(text) else {
            let found_text = show_found(found.get_ref());
            let message =
                format!("found {found_text}, which is no duration; write a number and ms, s, m or h, such as \"10s\"");
            refusals.add(&found.span(), message);
            return None;
        };
        let duration = Duration::try_from(duration).ok().filter(|duration| self.range.contains(duration));
        if duration.is_none() {
            refusals.add(&found.span(), out_of_range(show_found(found.get_ref()), self));
        }
        duration
    }

    fn show(&self, value: &Duration) -> String {
        quoted(&quantity::show_duration(*value))
    }

    fn name(&self) -> String {
        "duration, as \"250ms\", \"10s\", \"5m\"".to_owned()
    }

    fn range(&self) -> Option<String> {
        let [low, high] = [self.range.start(), self.range.end()].map(|bound| quantity::show_duration(*bound));
        Some(format!("{low} to {high}"))
    }
}

/// Yes or no.
pub(super) struct Flag;

impl Kind for Flag {
    type Value = bool;

    fn read(&self, found: &Spanned<DeValue<'_>>, refusals: &mut Refusals) -> Option<bool> {
        if let DeValue::Boolean(value) = found.get_ref() {
            return Some(*value);
        }
        refusals.add(&found.span(), format!("found {}; write true or false", show_found(found.get_ref())));
        None
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }

    fn name(&self) -> String {
        "true or false".to_owned()
    }
}

/// One of some words.
pub(super) struct Choice<V: 'static> {
    /// Each word with its value and its meaning.
    pub(super) words: &'static [(&'static str, V, &'static str)],
}

impl<V: Clone + PartialEq> Kind for Choice<V> {
    type Value = V;

    fn read(&self, found: &Spanned<DeValue<'_>>, refusals: &mut Refusals) -> Option<V> {
        let text = found.get_ref().as_str();
        let chosen = self.words.iter().find(|(word, ..)| Some(*word) == text);
        if chosen.is_none() {
            let near = text.and_then(|text| nearest(text, self.words.iter().map(|(word, ..)| *word)));
            let advice = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
            refusals
                .add(&found.span(), format!("found {}, expected {}{advice}", show_found(found.get_ref()), self.name()));
        }
        chosen.map(|(_, value, _)| value.clone())
    }

    fn show(&self, value: &V) -> String {
        quoted(self.words.iter().find(|(_, candidate, _)| candidate == value).map_or("", |(word, ..)| word))
    }

    fn name(&self) -> String {
        match self.words {
            [(word, ..)] => quoted(word),
            words => {
                let words: Vec<String> = words.iter().map(|(word, ..)| quoted(word)).collect();
                format!("one of {}", words.join(", "))
            }
        }
    }

    fn choices(&self) -> Vec<(&'static str, &'static str)> {
        self.words.iter().map(|(word, _, meaning)| (*word, *meaning)).collect()
    }
}

/// A word that stands for `None`, or a value of another kind.
pub(super) struct OrWord<K> {
    pub(super) word: &'static str,
    pub(super) kind: K,
}

impl<K: Kind> Kind for OrWord<K> {
    type Value = Option<K::Value>;

    fn read(&self, found: &Spanned<DeValue<'_>>, refusals: &mut Refusals) -> Option<Self::Value> {
        if found.get_ref().as_str() == Some(self.word) {
            return Some(None);
        }
        let before = refusals.0.len();
        let value = self.kind.read(found, refusals);
        for (_, message) in refusals.0.iter_mut().skip(before) {
            message.push_str(&format!(" (or \"{}\")", self.word));
        }
        value.map(Some)
    }

    fn show(&self, value: &Self::Value) -> String {
        value.as_ref().map_or_else(|| quoted(self.word), |value| self.kind.show(value))
    }

    fn name(&self) -> String {
        format!("{}, or \"{}\"", self.kind.name(), self.word)
    }

    fn range(&self) -> Option<String> {
        self.kind.range()
    }
}

/// A value together with its place, for what is compared with others later.
pub(super) struct Located<K>(pub(super) K);

impl<K: Kind> Kind for Located<K> {
    type Value = Spanned<K::Value>;

    fn read(&self, found: &Spanned<DeValue<'_>>, refusals: &mut Refusals) -> Option<Self::Value> {
        self.0.read(found, refusals).map(|value| Spanned::new(found.span(), value))
    }

    fn show(&self, value: &Self::Value) -> String {
        self.0.show(value.get_ref())
    }

    fn name(&self) -> String {
        self.0.name()
    }

    fn range(&self) -> Option<String> {
        self.0.range()
    }

    fn choices(&self) -> Vec<(&'static str, &'static str)> {
        self.0.choices()
    }
}

/// A list, or a single value without brackets; each with its place.
pub(super) struct List<K> {
    pub(super) of: K,
    /// Whether there must be at least one.
    pub(super) filled: bool,
}

impl<K: Kind> Kind for List<K> {
    type Value = Vec<Spanned<K::Value>>;

    fn read(&self, found: &Spanned<DeValue<'_>>, refusals: &mut Refusals) -> Option<Self::Value> {
        let DeValue::Array(elements) = found.get_ref() else {
            return self.of.read(found, refusals).map(|value| vec![Spanned::new(found.span(), value)]);
        };
        if elements.is_empty() && self.filled {
            refusals.add(&found.span(), format!("the list is empty; name at least one {}", self.of.name()));
            return None;
        }
        let values = elements.iter().filter_map(|element| {
            let value = self.of.read(element, refusals)?;
            Some(Spanned::new(element.span(), value))
        });
        // What can be read of a list with problems is kept, so that it is compared with the rest of the file.
        Some(values.collect())
    }

    fn show(&self, value: &Self::Value) -> String {
        let elements: Vec<String> = value.iter().map(|element| self.of.show(element.get_ref())).collect();
        format!("[{}]", elements.join(", "))
    }

    fn name(&self) -> String {
        format!("{}, or a list of them", self.of.name())
    }

    fn choices(&self) -> Vec<(&'static str, &'static str)> {
        self.of.choices()
    }
}

/// What was found, shortened, and with nothing in it that could act on a terminal.
pub(super) fn show_found(found: &DeValue<'_>) -> String {
    match found {
        DeValue::String(text) => shorten(text),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(value) => format!("the date {value}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// `text` in quotes, its beginning if it is long, with nothing in it that could act on a terminal.
pub(super) fn shorten(text: &str) -> String {
    const SHOWN_CHARACTERS_MAX: usize = 60;
    let shown: String = text.chars().take(SHOWN_CHARACTERS_MAX).collect();
    if shown.len() < text.len() { format!("{shown:?}…") } else { format!("{shown:?}") }
}

/// The candidate that is spelled most like `text`, if any is near.
fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let spelled = text.to_lowercase().replace('_', "-");
    let likeness = candidates.map(|candidate| (strsim::jaro(&spelled, candidate), candidate));
    let best = likeness.max_by(|left, right| left.0.total_cmp(&right.0))?;
    (best.0 > LIKENESS_MIN).then_some(best.1)
}

fn wrong_type(found: &Spanned<DeValue<'_>>, name: &str, example: &str) -> String {
    format!("found {}, expected {name}; write, for example, {example}", show_found(found.get_ref()))
}

fn out_of_range(found: impl Display, kind: &impl Kind) -> String {
    format!("found {found}, expected {}", kind.range().unwrap_or_default())
}

/// `text` as a TOML string.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
