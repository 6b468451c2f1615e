//! Conditions on the fields of a line: as a rule is written, and as the pattern of the lines that meet it.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use super::align::{Field, Fields};
use super::pieces::Piece;

/// The versions that a line can have, as they are written in rules and in logs.
const VERSIONS: [&str; 5] = ["HTTP/0.9", "HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "HTTP/3.0"];

/// What can stand within quotes, and what in a word: nginx writes everything else, and quotes, with a backslash.
const TEXT: &str = "[ !#-~]";
const WORD: &str = "[!#-~]";

/// Forms of a path that one rule asks for: it can have 64 conditions.
const FORMS_MAX: usize = 54;

/// Methods that are named where any of a kind may come: those that browsers and programs send.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];

/// What a text field must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Whole(String),
    Begins(String),
    Ends(String),
    Holds(String),
    /// It begins with the one and ends with the other.
    Between(String, String),
}

/// What is asked of the target: one of the forms, of its path.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    forms: BTreeSet<Form>,
    /// Bytes that must not be in the path.
    without: BTreeSet<char>,
    has_no_query: bool,
}

/// Conditions on a line, all of which must hold; nothing is asked of what is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Candidate {
    methods: Option<BTreeSet<String>>,
    target: Option<Target>,
    versions: Option<BTreeSet<&'static str>>,
    statuses: Option<BTreeSet<u16>>,
    user_agent: Option<BTreeSet<Form>>,
}

/// The conditions that the pieces of the fields come to, as far as there are any. They may ask for less than the pieces do.
///
/// # Errors
/// Why there are none for one of them.
pub(super) fn from_fields(fields: &Fields) -> Result<Candidate, String> {
    let of = |field: Field| fields[field as usize].as_slice();
    let method = form(of(Field::Method)).map_err(|why| format!("of the method {why}"))?;
    let methods = match method {
        None => None,
        // A longer word that begins so is no method.
        Some(Form::Whole(word) | Form::Begins(word)) if !word.is_empty() => Some(BTreeSet::from([word])),
        Some(_) => return Err("a part of the method can be asked for only with the whole".to_owned()),
    };
    let versions: BTreeSet<&str> =
        VERSIONS.into_iter().filter(|version| meets(of(Field::Version), version.as_bytes())).collect();
    let statuses: BTreeSet<u16> =
        (100..600).filter(|status| meets(of(Field::Status), status.to_string().as_bytes())).collect();
    if versions.is_empty() || statuses.is_empty() {
        return Err("no line has such a version or status".to_owned());
    }
    let asks_query = |piece: &Piece| matches!(piece, Piece::One(bytes) if bytes.only() == Some(b'?'));
    if of(Field::Target).iter().any(asks_query) {
        return Err("it asks for what is in the query, and a condition knows the names in it alone".to_owned());
    }
    let target = form(of(Field::Target)).map_err(|why| format!("of the target {why}"))?;
    let user_agent = form(of(Field::UserAgent)).map_err(|why| format!("of the user agent {why}"))?;
    if user_agent
        .as_ref()
        .is_some_and(|form| *form != Form::Whole("-".to_owned()) && form.texts().any(|text| text == "-"))
    {
        return Err("of the user agent it asks for `-`, which also stands for none".to_owned());
    }
    Ok(Candidate {
        methods,
        target: target.map(|form| Target { forms: BTreeSet::from([form]), ..Target::default() }),
        versions: (versions.len() < VERSIONS.len()).then_some(versions),
        statuses: (statuses.len() < 500).then_some(statuses),
        user_agent: user_agent.map(|form| BTreeSet::from([form])),
    })
}

/// The form of a text; none when nothing is asked of it.
fn form(pieces: &[Piece]) -> Result<Option<Form>, String> {
    let mut parts = vec![String::new()];
    for piece in pieces {
        let only = match piece {
            Piece::One(bytes) => bytes.only(),
            Piece::Many(_) | Piece::End => None,
        };
        match (only, parts.last_mut()) {
            // What stands in logs with a backslash is written otherwise in rules.
            (Some(byte), _) if !(b' '..=b'~').contains(&byte) || byte == b'\\' || byte == b'"' || byte == b'\'' => {
                return Err(format!("it asks for the byte {byte:#04x}, which logs write in another way"));
            }
            (Some(byte), Some(last)) => last.push(char::from(byte)),
            (None, _) => parts.push(String::new()),
            (Some(_), None) => {}
        }
    }
    let middle: Vec<&String> = parts.iter().skip(1).rev().skip(1).filter(|part| !part.is_empty()).collect();
    let (first, last) = (parts.first().cloned().unwrap_or_default(), parts.last().cloned().unwrap_or_default());
    if parts.len() == 1 {
        return Ok(Some(Form::Whole(first)));
    }
    match (first.as_str(), middle.as_slice(), last.as_str()) {
        ("", [], "") => Ok(None),
        ("", [], _) => Ok(Some(Form::Ends(last))),
        (_, [], "") => Ok(Some(Form::Begins(first))),
        (_, [], _) => Ok(Some(Form::Between(first, last))),
        ("", [part], "") => Ok(Some(Form::Holds((*part).clone()))),
        _ => Err("it asks for several parts in their order, which conditions cannot".to_owned()),
    }
}

/// Whether a text can be made of the pieces.
fn meets(pieces: &[Piece], text: &[u8]) -> bool {
    match pieces {
        [] => text.is_empty(),
        [Piece::One(bytes), rest @ ..] => {
            text.split_first().is_some_and(|(first, text)| bytes.has(*first) && meets(rest, text))
        }
        [Piece::Many(bytes), rest @ ..] => {
            let run = text.iter().take_while(|byte| bytes.has(**byte)).count();
            (0..=run).any(|length| meets(rest, text.get(length..).unwrap_or_default()))
        }
        [Piece::End, ..] => false,
    }
}

impl Form {
    fn texts(&self) -> impl Iterator<Item = &str> {
        let (first, second) = match self {
            Self::Whole(text) | Self::Begins(text) | Self::Ends(text) | Self::Holds(text) => (text, None),
            Self::Between(beginning, ending) => (beginning, Some(ending)),
        };
        std::iter::once(first.as_str()).chain(second.map(String::as_str))
    }

    /// The pattern of such texts, where each gap is filled with `gap`.
    fn pattern(&self, gap: &str) -> String {
        let escape = regex_syntax::escape;
        match self {
            Self::Whole(text) => escape(text),
            Self::Begins(text) => format!("{}{gap}*", escape(text)),
            Self::Ends(text) => format!("{gap}*{}", escape(text)),
            Self::Holds(text) => format!("{gap}*{}{gap}*", escape(text)),
            // As the two conditions say it: they may meet the same bytes.
            Self::Between(beginning, ending) => {
                let overlaps = (1..=beginning.len().min(ending.len()))
                    .filter(|length| beginning.get(beginning.len() - length..) == ending.get(..*length));
                let merged =
                    overlaps.map(|length| escape(&format!("{beginning}{}", ending.get(length..).unwrap_or_default())));
                let apart = format!("{}{gap}*{}", escape(beginning), escape(ending));
                std::iter::once(apart).chain(merged).collect::<Vec<_>>().join("|")
            }
        }
    }

    fn condition(&self, attribute: &str) -> String {
        match self {
            Self::Whole(text) if text == "-" && attribute == "user-agent" => format!("{attribute} = none"),
            Self::Whole(text) => format!("{attribute} = \"{text}\""),
            Self::Begins(text) => format!("{attribute} starts-with \"{text}\""),
            Self::Ends(text) => format!("{attribute} ends-with \"{text}\""),
            Self::Holds(text) => format!("{attribute} contains \"{text}\""),
            Self::Between(beginning, ending) => {
                format!("{attribute} starts-with \"{beginning}\" and {attribute} ends-with \"{ending}\"")
            }
        }
    }

    /// A text that has it.
    fn sample(&self) -> String {
        match self {
            Self::Whole(text) | Self::Begins(text) | Self::Ends(text) | Self::Holds(text) => text.clone(),
            Self::Between(beginning, ending) => format!("{beginning}{ending}"),
        }
    }

    fn is_met_by(&self, text: &str) -> bool {
        match self {
            Self::Whole(whole) => text == whole,
            Self::Begins(beginning) => text.starts_with(beginning),
            Self::Ends(ending) => text.ends_with(ending),
            Self::Holds(part) => text.contains(part),
            Self::Between(beginning, ending) => text.starts_with(beginning) && text.ends_with(ending),
        }
    }
}

/// One condition for the whole values and one for each other form, joined by `or`, in parentheses where there are several.
fn conditions(attribute: &str, forms: &BTreeSet<Form>) -> String {
    let whole: Vec<String> = forms
        .iter()
        .filter_map(|form| match form {
            Form::Whole(text) if text != "-" => Some(format!("\"{text}\"")),
            _ => None,
        })
        .collect();
    let mut all: Vec<String> = match whole.as_slice() {
        [] => Vec::new(),
        [one] => vec![format!("{attribute} = {one}")],
        several => vec![format!("{attribute} in ({})", several.join(", "))],
    };
    let others = forms.iter().filter(|form| !matches!(form, Form::Whole(text) if text != "-"));
    all.extend(others.map(|form| form.condition(attribute)));
    if all.len() > 1 { format!("({})", all.join(" or ")) } else { all.concat() }
}

impl Candidate {
    /// All requests, and nothing that is none.
    pub(super) fn requests() -> Self {
        Self { versions: Some(BTreeSet::from(VERSIONS)), ..Self::default() }
    }

    /// What anybody asks for.
    pub(super) fn ordinary() -> Self {
        let one = |text: &str| BTreeSet::from([text.to_owned()]);
        Self {
            methods: Some(one("GET")),
            target: Some(Target {
                forms: BTreeSet::from([Form::Whole("/index.html".to_owned())]),
                ..Target::default()
            }),
            versions: Some(BTreeSet::from(["HTTP/1.1"])),
            statuses: Some(BTreeSet::from([200])),
            user_agent: Some(BTreeSet::from([Form::Whole("Mozilla/5.0 (X11; Linux x86_64; rv:140.0)".to_owned())])),
        }
    }

    /// The pattern of the lines that meet it, as fail2ban sees them.
    ///
    /// Lines are what nginx writes with its format `combined`. A request is a method, a target and a version, or, where none of them is
    /// asked for, anything.
    pub(super) fn pattern(&self, cuts_brackets: bool) -> String {
        let request = if self.methods.is_none() && self.target.is_none() && self.versions.is_none() {
            format!("{TEXT}*")
        } else {
            self.request_pattern()
        };
        let statuses = match &self.statuses {
            None => "[1-5][0-9][0-9]".to_owned(),
            Some(statuses) => joined(statuses.iter().map(ToString::to_string)),
        };
        let user_agent = match &self.user_agent {
            None => format!("{TEXT}*"),
            Some(forms) => joined(forms.iter().map(|form| form.pattern(TEXT))),
        };
        let time = if cuts_brackets { "" } else { "\\[\\]" };
        format!("\\x01 - {WORD}+ {time} \"{request}\" (?:{statuses}) [0-9]+ \"{TEXT}*\" \"(?:{user_agent})\"")
    }

    fn request_pattern(&self) -> String {
        let methods = match &self.methods {
            None => "[0-9A-Za-z_-]+".to_owned(),
            Some(methods) => joined(methods.iter().map(|method| regex_syntax::escape(method))),
        };
        let target = match &self.target {
            None => format!("{WORD}+"),
            Some(target) => {
                let without: String =
                    target.without.iter().map(|character| regex_syntax::escape(&character.to_string())).collect();
                let forms = joined(target.forms.iter().map(|form| form.pattern(&format!("[{WORD}&&[^?{without}]]"))));
                let query = if target.has_no_query { String::new() } else { format!("(?:\\?{WORD}*)?") };
                format!("(?:{forms}){query}")
            }
        };
        let version = match &self.versions {
            // A request of HTTP/0.9 names none.
            None => " HTTP/(?:0\\.9|1\\.0|1\\.1|2\\.0|3\\.0)|".to_owned(),
            Some(versions) => joined(versions.iter().map(|version| format!(" {}", regex_syntax::escape(version)))),
        };
        format!("(?:{methods}) {target}(?:{version})")
    }

    /// The candidate and others that ask for less, the widest first.
    pub(super) fn narrower(&self) -> Vec<Self> {
        let named: BTreeSet<&'static str> = VERSIONS.into_iter().skip(1).collect();
        let versions = match &self.versions {
            // Lines that are no requests have a path too, so there it is said that they are.
            None if self.target.is_some() && self.methods.is_none() => vec![Some(named)],
            None => vec![None, Some(named)],
            Some(versions) => vec![Some(versions.clone())],
        };
        let methods = match &self.methods {
            None => vec![None, Some(METHODS.iter().map(|method| (*method).to_owned()).collect())],
            Some(methods) => vec![Some(methods.clone())],
        };
        let targets: Vec<Option<Target>> = match &self.target {
            None => vec![None],
            Some(target) => {
                let alone = Target { has_no_query: true, ..target.clone() };
                let plain = Target { without: BTreeSet::from([',']), ..alone.clone() };
                [target.clone(), alone, plain].into_iter().map(Some).collect()
            }
        };
        let mut all = Vec::new();
        for target in &targets {
            for methods in &methods {
                for versions in &versions {
                    let (target, methods, versions) = (target.clone(), methods.clone(), versions.clone());
                    all.push(Self { methods, target, versions, ..self.clone() });
                }
            }
        }
        all
    }

    /// The same in parts, each of which asks for one target and one user agent.
    pub(super) fn parts(&self) -> Vec<Self> {
        let targets: Vec<Option<Target>> = match &self.target {
            None => vec![None],
            Some(target) => {
                let of = |form: &Form| Some(Target { forms: BTreeSet::from([form.clone()]), ..target.clone() });
                target.forms.iter().map(of).collect()
            }
        };
        let agents: Vec<Option<BTreeSet<Form>>> = match &self.user_agent {
            None => vec![None],
            Some(forms) => forms.iter().map(|form| Some(BTreeSet::from([form.clone()]))).collect(),
        };
        let part = |target: &Option<Target>, user_agent: &Option<BTreeSet<Form>>| Self {
            target: target.clone(),
            user_agent: user_agent.clone(),
            ..self.clone()
        };
        targets.iter().flat_map(|target| agents.iter().map(move |agent| part(target, agent))).collect()
    }

    /// A line that meets it, with its time.
    pub(super) fn sample(&self) -> String {
        let first = |set: &Option<BTreeSet<String>>, other: &str| {
            set.iter().flatten().next().cloned().unwrap_or_else(|| other.to_owned())
        };
        let target = self.target.iter().flat_map(|target| &target.forms).next().map(Form::sample);
        let target =
            target.map_or_else(|| "/".to_owned(), |text| if text.starts_with('/') { text } else { format!("/{text}") });
        let statuses = self.statuses.iter().flatten();
        let status = statuses.copied().max_by_key(|status| *status == 200).unwrap_or(200);
        let version =
            self.versions.iter().flatten().copied().max_by_key(|version| *version == "HTTP/1.1").unwrap_or("HTTP/1.1");
        let user_agent = self.user_agent.iter().flatten().next().map_or_else(|| "Mozilla/5.0".to_owned(), Form::sample);
        format!(
            "192.0.2.7 - - [10/Oct/2026:13:55:36 +0000] \"{} {target} {version}\" {status} 153 \"-\" \"{user_agent}\"",
            first(&self.methods, "GET")
        )
    }

    /// Whether `other`, of which each field is one whole value, meets it.
    pub(super) fn is_met_by(&self, other: &Self) -> bool {
        let text =
            |forms: Option<&BTreeSet<Form>>| forms.into_iter().flatten().next().map(Form::sample).unwrap_or_default();
        let path = text(other.target.as_ref().map(|target| &target.forms));
        let agent = text(other.user_agent.as_ref());
        self.methods
            .as_ref()
            .is_none_or(|methods| other.methods.iter().flatten().any(|method| methods.contains(method)))
            && self.target.as_ref().is_none_or(|target| target.forms.iter().any(|form| form.is_met_by(&path)))
            && self
                .versions
                .as_ref()
                .is_none_or(|versions| other.versions.iter().flatten().any(|one| versions.contains(one)))
            && self
                .statuses
                .as_ref()
                .is_none_or(|statuses| other.statuses.iter().flatten().any(|one| statuses.contains(one)))
            && self.user_agent.as_ref().is_none_or(|forms| forms.iter().any(|form| form.is_met_by(&agent)))
    }
}

/// As a rule is written.
impl fmt::Display for Candidate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = Vec::new();
        let quoted = |texts: Vec<&str>| texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", ");
        let listed = |attribute: &str, texts: Vec<&str>| match texts.as_slice() {
            [one] => format!("{attribute} = \"{one}\""),
            _ => format!("{attribute} in ({})", quoted(texts)),
        };
        if let Some(methods) = &self.methods {
            all.push(listed("method", methods.iter().map(String::as_str).collect()));
        }
        if let Some(target) = &self.target {
            all.push(conditions("path", &target.forms));
            all.extend(target.without.iter().map(|character| format!("path not contains \"{character}\"")));
            all.extend(target.has_no_query.then(|| "query-keys = none".to_owned()));
        }
        if let Some(versions) = &self.versions {
            all.push(listed("version", versions.iter().copied().collect()));
        }
        if let Some(user_agent) = &self.user_agent {
            all.push(conditions("user-agent", user_agent));
        }
        if let Some(statuses) = &self.statuses {
            all.push(status_condition(statuses));
        }
        if all.is_empty() {
            // Every answer has a status.
            all.push("status != none".to_owned());
        }
        formatter.write_str(&all.join(" and "))
    }
}

fn status_condition(statuses: &BTreeSet<u16>) -> String {
    let (Some(first), Some(last)) = (statuses.first(), statuses.last()) else { return String::new() };
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = match statuses.len() {
        1 => write!(text, "status = {first}"),
        count if count == usize::from(last - first) + 1 => write!(text, "status >= {first} and status <= {last}"),
        _ => {
            let all: Vec<String> = statuses.iter().map(ToString::to_string).collect();
            write!(text, "status in ({})", all.join(", "))
        }
    };
    text
}

/// Leaves out ways in which words of a request stand where none are, as a method in a user agent, if there are others.
pub(super) fn leave_out_oddities(candidates: &mut Vec<Candidate>) {
    let is_method = |text: &str| METHODS.iter().any(|method| text.starts_with(method));
    let is_odd = |candidate: &Candidate| {
        let forms = |forms: Option<&BTreeSet<Form>>, is_odd: &dyn Fn(&str) -> bool| {
            forms.into_iter().flatten().flat_map(Form::texts).any(is_odd)
        };
        forms(candidate.user_agent.as_ref(), &is_method)
            || forms(candidate.target.as_ref().map(|target| &target.forms), &|text| text.contains("HTTP"))
    };
    if !candidates.iter().all(is_odd) {
        candidates.retain(|candidate| !is_odd(candidate));
    }
}

/// Leaves out paths where a rule would have more conditions than it may, the oddest first. Whether nothing was.
pub(super) fn cut(candidates: &mut [Candidate]) -> bool {
    let mut is_whole = true;
    for target in candidates.iter_mut().filter_map(|candidate| candidate.target.as_mut()) {
        let mut forms: Vec<Form> = target.forms.iter().cloned().collect();
        forms.sort_by_key(|form| (form.sample().starts_with("//"), form.sample().len()));
        if forms.len() > FORMS_MAX {
            is_whole = false;
            target.forms = forms.into_iter().take(FORMS_MAX).collect();
        }
    }
    is_whole
}

/// Candidates that differ in what they ask of one field alone become one that takes either. One field after the other, so that all
/// combinations of several values become one. One that asks nothing of a field is left alone: it may be too much to ask for.
pub(super) fn merge(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    for either in [either_user_agent, either_target, either_status, either_method] {
        let mut merged: Vec<Candidate> = Vec::new();
        for candidate in candidates {
            let place = merged.iter_mut().find_map(|other| either(other, &candidate).map(|both| *other = both));
            if place.is_none() {
                merged.push(candidate);
            }
        }
        candidates = merged;
    }
    candidates
}

fn either_user_agent(left: &Candidate, right: &Candidate) -> Option<Candidate> {
    let is_alike = Candidate { user_agent: right.user_agent.clone(), ..left.clone() } == *right;
    let user_agent = Some(union(&left.user_agent, &right.user_agent)?);
    is_alike.then(|| Candidate { user_agent, ..left.clone() })
}

fn either_status(left: &Candidate, right: &Candidate) -> Option<Candidate> {
    let is_alike = Candidate { statuses: right.statuses.clone(), ..left.clone() } == *right;
    let statuses = Some(union(&left.statuses, &right.statuses)?);
    is_alike.then(|| Candidate { statuses, ..left.clone() })
}

fn either_method(left: &Candidate, right: &Candidate) -> Option<Candidate> {
    let is_alike = Candidate { methods: right.methods.clone(), ..left.clone() } == *right;
    let methods = Some(union(&left.methods, &right.methods)?);
    is_alike.then(|| Candidate { methods, ..left.clone() })
}

fn either_target(left: &Candidate, right: &Candidate) -> Option<Candidate> {
    if (Candidate { target: right.target.clone(), ..left.clone() }) != *right {
        return None;
    }
    let target = match (&left.target, &right.target) {
        (Some(one), Some(other)) if (&one.without, one.has_no_query) == (&other.without, other.has_no_query) => {
            Some(Target { forms: one.forms.union(&other.forms).cloned().collect(), ..one.clone() })
        }
        _ => return None,
    };
    Some(Candidate { target, ..left.clone() })
}

fn union<T: Ord + Clone>(left: &Option<BTreeSet<T>>, right: &Option<BTreeSet<T>>) -> Option<BTreeSet<T>> {
    Some(left.as_ref()?.union(right.as_ref()?).cloned().collect())
}

/// Patterns of which one is met.
fn joined(patterns: impl Iterator<Item = String>) -> String {
    patterns.collect::<Vec<_>>().join("|")
}
