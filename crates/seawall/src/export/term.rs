//! What a rule asks, in the terms of web servers: tests on parts of the request, joined by and, or, not.
//!
//! Owns what is the same for all of them: which part an attribute is read off, and where a system sees less than Seawall. A rule
//! that cannot be said exactly is not said at all, and the error is why, to complete "not said, since …".

use ipnet::IpNet;
use seawall_engine::decision::expression::{Asked, Expression, Subject, View};
use seawall_engine::observation::attribute::{Attribute, METHOD_BYTES_MAX, VALUE_BYTES_MAX};

use super::Why;
use super::pattern::{PATH_END, Patterns, Reads, Simple};

/// Tests joined. None of its parts is [`Term::ALWAYS`] or [`Term::NEVER`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Term {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Is(Leaf),
}

/// One test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    /// The request has no such part; of a header: no line of this name.
    Missing(Field),
    /// It has no such part, or an empty one.
    Blank(Field),
    /// It has the part, and one of these holds of it, cut to [`Field::bytes_max`].
    Text(Field, Vec<Test>),
    /// The client is in one of these networks.
    Client(Vec<IpNet>),
}

/// A part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Field {
    Method,
    /// As sent, without the query: nothing in it is decoded.
    Path,
    /// As sent, with the `?`.
    Query,
    /// The Host header; its tests are of the host alone.
    Host,
    UserAgent,
    Referer,
    Version,
}

/// What is asked of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Equal(Box<[u8]>),
    Contains(Box<[u8]>),
    StartsWith(Box<[u8]>),
    EndsWith(Box<[u8]>),
    /// That this is found in it.
    Pattern(String),
}

/// What a system can see and say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect {
    /// How its patterns work; none when it has none.
    pub(super) patterns: Option<Patterns>,
    /// Whether it tells a header that is not there from one that is empty.
    pub(super) tells_missing: bool,
    /// Why it does not see a part as it was sent.
    pub(super) unseen: fn(Field) -> Option<&'static str>,
}

impl Field {
    /// How much of it is compared. Of the query the `?` comes before.
    pub(super) const fn bytes_max(self) -> usize {
        match self {
            Self::Method => METHOD_BYTES_MAX,
            _ => VALUE_BYTES_MAX,
        }
    }

    /// The header that it is, if it is one.
    pub(super) const fn header(self) -> Option<&'static str> {
        match self {
            Self::Host => Some("Host"),
            Self::UserAgent => Some("User-Agent"),
            Self::Referer => Some("Referer"),
            Self::Method | Self::Path | Self::Query | Self::Version => None,
        }
    }
}

impl Term {
    /// Holds of every request.
    pub(super) const ALWAYS: Self = Self::All(Vec::new());
    /// Holds of none.
    pub(super) const NEVER: Self = Self::Any(Vec::new());

    fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let parts: Vec<Self> = parts.into_iter().filter(|part| *part != Self::ALWAYS).collect();
        if parts.contains(&Self::NEVER) { Self::NEVER } else { Self::All(parts).alone() }
    }

    fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let parts: Vec<Self> = parts.into_iter().filter(|part| *part != Self::NEVER).collect();
        if parts.contains(&Self::ALWAYS) { Self::ALWAYS } else { Self::Any(parts).alone() }
    }

    fn not(part: Self) -> Self {
        match part {
            Self::All(parts) if parts.is_empty() => Self::NEVER,
            Self::Any(parts) if parts.is_empty() => Self::ALWAYS,
            Self::Not(part) => *part,
            part => Self::Not(Box::new(part)),
        }
    }

    /// The only part, if there is but one.
    fn alone(self) -> Self {
        match self {
            Self::All(mut parts) | Self::Any(mut parts) if parts.len() == 1 => parts.remove(0),
            term => term,
        }
    }

    fn pattern(field: Field, pattern: String) -> Self {
        Self::Is(Leaf::Text(field, vec![Test::Pattern(pattern)]))
    }
}

impl Test {
    /// The same as a pattern on the part; `None` when no value meets it.
    pub(super) fn pattern(&self, field: Field, patterns: Patterns) -> Result<Option<String>, Why> {
        let asked = match self {
            Self::Pattern(pattern) => return Ok(Some(pattern.clone())),
            Self::Equal(value) => Simple::Equal(value),
            Self::Contains(value) => Simple::Contains(value),
            Self::StartsWith(value) => Simple::StartsWith(value),
            Self::EndsWith(value) => Simple::EndsWith(value),
        };
        match field {
            Field::Host => return patterns.host(asked),
            Field::Version => return patterns.version(asked),
            _ => {}
        }
        let end = if field == Field::Path { PATH_END } else { r"\z" };
        let text = |value: &[u8]| patterns.literal(value);
        Ok(Some(match asked {
            // What is as long as is compared stands for all that goes on after it, where nothing was cut before.
            Simple::Equal(value) if patterns.reads == Reads::Characters && value.len() >= field.bytes_max() => {
                format!("^{}", text(value)?)
            }
            Simple::Equal(value) => format!("^{}{end}", text(value)?),
            Simple::StartsWith(value) => format!("^{}", text(value)?),
            Simple::Contains(value) if field == Field::Path => format!("^[^?]*{}", text(value)?),
            Simple::Contains(value) => text(value)?,
            Simple::EndsWith(value) if field == Field::Path => format!("^[^?]*{}{end}", text(value)?),
            Simple::EndsWith(value) => format!("{}{end}", text(value)?),
        }))
    }
}

/// The rule in terms of a dialect.
///
/// # Errors
/// Why it cannot be said exactly.
pub(super) fn lower(expression: &Expression, dialect: &Dialect) -> Result<Term, Why> {
    let term = node(&expression.view(), dialect, true)?;
    let term = if dialect.tells_missing { term } else { without_missing(term)? };
    if term == Term::NEVER {
        return Err("no request meets it".to_owned());
    }
    if term == Term::ALWAYS {
        return Err("every request meets it, so the whole site would be down".to_owned());
    }
    Ok(term)
}

/// `is_positive` says whether more requests are refused when the part holds of more: where characters stand for bytes, that decides
/// on which side to err, so that nothing is refused which Seawall would not.
fn node(view: &View<'_>, dialect: &Dialect, is_positive: bool) -> Result<Term, Why> {
    let each =
        |parts: &[View<'_>]| parts.iter().map(|part| node(part, dialect, is_positive)).collect::<Result<Vec<_>, _>>();
    match view {
        View::All(parts) => Ok(Term::all(each(parts)?)),
        View::Any(parts) => Ok(Term::any(each(parts)?)),
        View::Not(part) => Ok(Term::not(node(part, dialect, !is_positive)?)),
        View::Asks(Subject::Evidence(evidence), _) => {
            Err(format!("`{}` is known only once it is answered", evidence.name()))
        }
        View::Asks(Subject::Attribute(attribute), asked) => {
            Asking { attribute: *attribute, dialect, is_positive }.term(asked)
        }
    }
}

struct Asking<'a> {
    attribute: Attribute,
    dialect: &'a Dialect,
    is_positive: bool,
}

impl Asking<'_> {
    fn term(&self, asked: &Asked<'_>) -> Result<Term, Why> {
        let name = self.attribute.name();
        let field = match self.attribute {
            Attribute::Method => Field::Method,
            Attribute::Path | Attribute::PathPrefix | Attribute::Extension => Field::Path,
            Attribute::QueryKeys => Field::Query,
            Attribute::Host => Field::Host,
            Attribute::UserAgent | Attribute::UserAgentWord => Field::UserAgent,
            Attribute::RefererOrigin => Field::Referer,
            Attribute::Version => Field::Version,
            Attribute::ClientPrefix => {
                return match asked {
                    Asked::Networks(networks) => Ok(Term::Is(Leaf::Client(networks.clone()))),
                    Asked::Absent => Ok(Term::NEVER),
                    _ => Err(format!("`{name}` asks for more than networks")),
                };
            }
            Attribute::Country | Attribute::Asn => {
                return Err(format!("`{name}` comes from a table of networks that only Seawall has"));
            }
            Attribute::PathTemplate => return Err(format!("`{name}` is what Seawall makes of a path")),
            Attribute::HeaderOrder | Attribute::Ja4 => return Err(format!("`{name}` is not seen there")),
        };
        if let Some(why) = (self.dialect.unseen)(field) {
            return Err(format!("`{name}` is not seen there as it was sent: {why}"));
        }
        let simple = match asked {
            Asked::Anything => return Ok(Term::ALWAYS),
            Asked::Absent => return self.absent(field),
            Asked::Networks(_) | Asked::Number => return Err(format!("`{name}` is asked for what it is not")),
            Asked::Equal(value) => vec![Simple::Equal(value)],
            Asked::Contains(value) => vec![Simple::Contains(value)],
            Asked::StartsWith(value) => vec![Simple::StartsWith(value)],
            Asked::EndsWith(value) => vec![Simple::EndsWith(value)],
            Asked::OneOf { values, endings } => {
                let values = values.iter().map(|value| Simple::Equal(value));
                values.chain(endings.iter().map(|ending| Simple::EndsWith(ending))).collect()
            }
        };
        self.tests(field, &simple)
    }

    fn absent(&self, field: Field) -> Result<Term, Why> {
        let turned = Self { is_positive: !self.is_positive, ..*self };
        let there = |pattern| Ok(Term::not(turned.guarded(field, Term::pattern(field, pattern))?));
        match self.attribute {
            Attribute::PathPrefix => self.patterns().and_then(|_| there(Patterns::any_path_prefix())),
            Attribute::Extension => there(self.patterns()?.any_extension()?),
            Attribute::UserAgentWord => there(self.patterns()?.any_user_agent_word()?),
            Attribute::QueryKeys | Attribute::Host | Attribute::UserAgent | Attribute::RefererOrigin => {
                Ok(Term::Is(Leaf::Missing(field)))
            }
            _ => Ok(Term::NEVER),
        }
    }

    fn patterns(&self) -> Result<Patterns, Why> {
        let name = self.attribute.name();
        self.dialect.patterns.ok_or_else(|| format!("`{name}` takes regular expressions, which not every plan has"))
    }

    fn tests(&self, field: Field, asked: &[Simple<'_>]) -> Result<Term, Why> {
        let (mut tests, mut guarded) = (Vec::new(), Vec::new());
        for simple in asked {
            let pattern = match (self.attribute, *simple) {
                // What a server without patterns can say as well.
                (Attribute::PathPrefix, Simple::Equal(value)) => {
                    if self.any_patterns().path_prefix(*simple)?.is_some() {
                        tests.push(Test::StartsWith(value.into()));
                    }
                    continue;
                }
                (Attribute::RefererOrigin, Simple::Equal(value)) => {
                    let slashes = value.iter().filter(|byte| **byte == b'/').count();
                    if slashes <= 2 {
                        tests.push(Test::Equal(value.into()));
                    }
                    if slashes == 2 {
                        tests.push(Test::StartsWith([value, b"/"].concat().into()));
                    }
                    continue;
                }
                (Attribute::RefererOrigin, Simple::StartsWith(value)) => {
                    if value.iter().filter(|byte| **byte == b'/').count() <= 2 {
                        tests.push(Test::StartsWith(value.into()));
                    }
                    continue;
                }
                (Attribute::PathPrefix, simple) => self.patterns()?.path_prefix(simple)?,
                (Attribute::RefererOrigin, simple) => self.patterns()?.referer_origin(simple)?,
                (Attribute::Extension, simple) => self.patterns()?.extension(simple)?,
                (Attribute::QueryKeys, simple) => self.patterns()?.query_keys(simple)?,
                (Attribute::UserAgentWord, simple) => self.patterns()?.user_agent_word(simple, self.is_positive)?,
                (_, simple) => {
                    self.plain(field, simple, &mut tests, &mut guarded)?;
                    continue;
                }
            };
            guarded.extend(pattern.map(Test::Pattern));
        }
        let text = |tests: Vec<Test>| if tests.is_empty() { Term::NEVER } else { Term::Is(Leaf::Text(field, tests)) };
        if !self.reads_characters() {
            tests.extend(guarded);
            return Ok(text(tests));
        }
        let guarded = if guarded.is_empty() { Term::NEVER } else { self.guarded(field, text(guarded))? };
        Ok(Term::any([text(tests), guarded]))
    }

    /// A test of the part itself.
    fn plain(
        &self,
        field: Field,
        simple: Simple<'_>,
        tests: &mut Vec<Test>,
        guarded: &mut Vec<Test>,
    ) -> Result<(), Why> {
        let (Simple::Equal(value) | Simple::Contains(value) | Simple::StartsWith(value) | Simple::EndsWith(value)) =
            simple;
        if field == Field::Path && value.contains(&b'?') {
            return Ok(());
        }
        match simple {
            Simple::Equal(value) => tests.push(Test::Equal(value.into())),
            Simple::StartsWith(value) => tests.push(Test::StartsWith(value.into())),
            Simple::Contains(value) if self.reads_characters() && self.is_positive && field != Field::Host => {
                let Some(before) = field.bytes_max().checked_sub(value.len()) else { return Ok(()) };
                let patterns = self.patterns()?;
                let (ascii, any) = match field {
                    Field::Path => (ASCII_OF_PATH, "[^?]"),
                    _ => (ASCII, patterns.any()),
                };
                // A character has at most four bytes.
                let (quarter, text) = (before / 4, patterns.literal(value)?);
                tests.push(Test::Pattern(format!("^(?:{ascii}{{0,{before}}}|{any}{{0,{quarter}}}){text}")));
            }
            Simple::Contains(value) => tests.push(Test::Contains(value.into())),
            Simple::EndsWith(value) if field == Field::Host => tests.push(Test::EndsWith(value.into())),
            Simple::EndsWith(value) => guarded.push(Test::EndsWith(value.into())),
        }
        Ok(())
    }

    fn reads_characters(&self) -> bool {
        self.dialect.patterns.is_some_and(|patterns| patterns.reads == Reads::Characters)
    }

    /// Patterns to ask whether anything can meet a condition at all.
    fn any_patterns(&self) -> Patterns {
        self.dialect.patterns.unwrap_or(Patterns { reads: Reads::Bytes })
    }

    /// The test, where what follows the bytes that Seawall compares could change it: then only of parts that are certainly not longer,
    /// or also of all that may be, whichever refuses less.
    fn guarded(&self, field: Field, test: Term) -> Result<Term, Why> {
        if !self.reads_characters() {
            return Ok(test);
        }
        let patterns = self.patterns()?;
        let (start, ascii, any, end) = match field {
            Field::Path => ("^", ASCII_OF_PATH, "[^?]", PATH_END),
            Field::Query => (r"^[^?]*\?", ASCII, patterns.any(), r"\z"),
            _ => ("^", ASCII, patterns.any(), r"\z"),
        };
        let (most, quarter) = (field.bytes_max(), field.bytes_max() / 4);
        let short = Term::pattern(field, format!("{start}(?:{ascii}{{0,{most}}}|{any}{{0,{quarter}}}){end}"));
        if self.is_positive {
            return Ok(Term::all([short, test]));
        }
        let there = Term::pattern(field, if field == Field::Query { Patterns::any_query() } else { "^".to_owned() });
        Ok(Term::any([test, Term::all([there, Term::not(short)])]))
    }
}

/// Characters of one byte.
const ASCII: &str = r"[\x00-\x7f]";
/// The same without `?`.
const ASCII_OF_PATH: &str = r"[\x00-\x3e\x40-\x7f]";

/// The term for a system in which a header that is not there is an empty one: it can ask for both together, and for neither alone.
fn without_missing(term: Term) -> Result<Term, Why> {
    let each = |parts: Vec<Term>| parts.into_iter().map(without_missing).collect::<Result<Vec<_>, _>>();
    match term {
        Term::All(parts) => Ok(Term::All(each(parts)?)),
        Term::Not(part) => Ok(Term::not(without_missing(*part)?)),
        Term::Any(mut parts) => {
            for field in [Field::UserAgent, Field::Referer] {
                let missing = parts.iter().position(|part| *part == Term::Is(Leaf::Missing(field)));
                let empty = parts.iter_mut().find_map(|part| match part {
                    Term::Is(Leaf::Text(of, tests)) if *of == field => Some(tests),
                    _ => None,
                });
                if let (Some(missing), Some(tests)) = (missing, empty)
                    && tests.contains(&Test::Equal(Box::default()))
                {
                    tests.retain(|test| *test != Test::Equal(Box::default()));
                    parts[missing] = Term::Is(Leaf::Blank(field));
                    parts.retain(|part| !matches!(part, Term::Is(Leaf::Text(_, tests)) if tests.is_empty()));
                }
            }
            Ok(Term::any(each(parts)?))
        }
        Term::Is(Leaf::Missing(field @ (Field::UserAgent | Field::Referer))) => Err(no_missing(field)),
        Term::Is(Leaf::Text(field, tests))
            if field.header().is_some() && tests.contains(&Test::Equal(Box::default())) =>
        {
            Err(no_missing(field))
        }
        term => Ok(term),
    }
}

fn no_missing(field: Field) -> Why {
    let (name, header) = match field {
        Field::Referer => ("referer-origin", "Referer"),
        _ => ("user-agent", "User-Agent"),
    };
    format!(
        "a request without {header} looks there like one with an empty one; `{name} = none or {name} = \"\"` asks for both"
    )
}

/// How languages with parentheses write a term.
pub(super) trait Language {
    const AND: &'static str;
    const OR: &'static str;
    const NOT: &'static str;

    /// Writes one test, in parentheses where it needs them.
    fn leaf(&self, leaf: &Leaf) -> Result<String, Why>;

    /// Writes a whole term.
    fn write(&self, term: &Term) -> Result<String, Why> {
        let join = |parts: &[Term], word: &str| {
            let parts = parts.iter().map(|part| self.write(part)).collect::<Result<Vec<_>, _>>()?;
            Ok(format!("({})", parts.join(word)))
        };
        match term {
            Term::All(parts) => join(parts, Self::AND),
            Term::Any(parts) => join(parts, Self::OR),
            Term::Not(part) => Ok(format!("{}({})", Self::NOT, self.write(part)?)),
            Term::Is(leaf) => self.leaf(leaf),
        }
    }
}

/// The patterns of tests on a part, those left out that no value meets.
pub(super) fn patterns_of(field: Field, tests: &[Test], patterns: Patterns) -> Result<Vec<String>, Why> {
    let made = tests.iter().map(|test| test.pattern(field, patterns)).collect::<Result<Vec<_>, _>>()?;
    let found: Vec<String> = made.into_iter().flatten().collect();
    // Host and version alone can leave one out, and no rule asks for such values.
    if found.is_empty() { Err("no request meets it".to_owned()) } else { Ok(found) }
}

/// The same as one pattern.
pub(super) fn pattern_of(field: Field, tests: &[Test], patterns: Patterns) -> Result<String, Why> {
    let mut found = patterns_of(field, tests, patterns)?;
    Ok(if found.len() == 1 { found.remove(0) } else { format!("(?:{})", found.join("|")) })
}
