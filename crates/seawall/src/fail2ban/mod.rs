//! What operators have written for fail2ban, said in our words: a filter that is made for an access log becomes a limit.
//!
//! No regular expression meets traffic here, so each one of a filter is taken apart (the modules in the order in which it meets them):
//! [`filter`] and [`jail`] read the files; [`pieces`] says in which ways an expression can be met; [`align`] lays each of these on a
//! line of the combined format; [`candidate`] says what that asks of the fields, as conditions; [`language`] proves, by automata, that
//! whatever meets the conditions meets the expression. What cannot be proven is not written: a limit never counts a request that
//! the filter would have passed over.
//!
//! Nothing here is used while traffic is seen.

mod align;
mod candidate;
mod filter;
mod jail;
mod language;
mod pieces;

use std::fmt::Write as _;

use candidate::Candidate;
use language::{Language, TooLarge};

pub use filter::{Expression, Filter, FilterError};
pub use jail::Jail;

/// The most ways that are written as one rule: a limit can have no more.
const WAYS_MAX: usize = 16;

/// An expression that cannot be said in our words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsayable {
    /// The line of the file that it begins on, from 1.
    pub line: usize,
    /// The expression, with everything put in that it names.
    pub text: String,
    /// The column of that text, from 1, where it is one that is to blame.
    pub column: Option<usize>,
    /// Why.
    pub reason: String,
}

/// A filter in our words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// A file of limits; none when nothing could be said.
    pub text: Option<String>,
    /// How many of its expressions could be said.
    pub said: usize,
    /// Whether all of them say exactly what they said before.
    pub is_exact: bool,
    /// Those that could not.
    pub unsayable: Vec<Unsayable>,
}

/// What one expression became.
struct Said {
    candidates: Vec<Candidate>,
    is_exact: bool,
}

/// Says a filter in our words, with the numbers of a jail.
pub fn convert(filter: &Filter, jail: &Jail) -> Converted {
    let ignored: Result<Vec<Language>, Unsayable> = filter.ignored.iter().map(language_of).collect();
    let (mut said, mut unsayable) = (Vec::new(), Vec::new());
    match ignored {
        Err(why) => unsayable.push(why),
        Ok(ignored) => {
            for expression in &filter.expressions {
                match say(expression, &ignored, filter.cuts_brackets) {
                    Ok(one) => said.push(one),
                    Err(why) => unsayable.push(why),
                }
            }
        }
    }
    let is_exact = said.iter().all(|said| said.is_exact);
    let count = said.len();
    let mut ways = candidate::merge(said.into_iter().flat_map(|said| said.candidates).collect());
    let is_whole = candidate::cut(&mut ways);
    let text = (!ways.is_empty()).then(|| limit(filter, jail, &ways, is_exact && is_whole && unsayable.is_empty()));
    Converted { text, said: count, is_exact: is_exact && is_whole, unsayable }
}

fn unsayable(expression: &Expression, column: Option<usize>, reason: impl Into<String>) -> Unsayable {
    Unsayable { line: expression.line, text: expression.text.clone(), column, reason: reason.into() }
}

fn language_of(expression: &Expression) -> Result<Language, Unsayable> {
    let translated = pieces::translate(&expression.text).map_err(|(column, why)| unsayable(expression, column, why))?;
    Language::found(&translated).map_err(|why| unsayable(expression, None, why))
}

/// Says one expression in our words.
fn say(expression: &Expression, ignored: &[Language], cuts_brackets: bool) -> Result<Said, Unsayable> {
    let fail = |column: Option<usize>, why: String| unsayable(expression, column, why);
    let translated = pieces::translate(&expression.text).map_err(|(column, why)| fail(column, why))?;
    let whole = Language::found(&translated).map_err(|why| fail(None, why))?;
    let ways = pieces::ways(&translated).map_err(|why| fail(None, why))?;
    let line = align::line(cuts_brackets);
    let mut found: Vec<Candidate> = Vec::new();
    let mut reason = None;
    let mut has_place = false;
    for way in ways {
        for fields in align::align(&way, &line) {
            has_place = true;
            match candidate::from_fields(&fields) {
                Err(why) => drop(reason.get_or_insert(why)),
                Ok(one) if found.contains(&one) => {}
                Ok(one) => found.push(one),
            }
        }
    }
    // Together they are few, and mostly proven together; where they are not, some of them may be by themselves.
    let mut proven: Vec<Candidate> = Vec::new();
    for group in candidate::merge(found) {
        let parts = || group.parts().into_iter().map(|part| (part.clone(), prove(&part, &whole, cuts_brackets)));
        let results = match prove(&group, &whole, cuts_brackets) {
            Ok(Some(narrower)) => vec![(group.clone(), Ok(Some(narrower)))],
            _ => parts().collect(),
        };
        for (asked, result) in results {
            match result {
                Ok(Some(narrower)) => proven.push(narrower),
                Ok(None) => {
                    reason.get_or_insert_with(|| {
                        format!(
                            "no conditions could be found that ask for no more than it does; the nearest is {asked}"
                        )
                    });
                }
                Err(TooLarge) => drop(reason.get_or_insert_with(|| TooLarge.to_string())),
            }
        }
    }
    candidate::leave_out_oddities(&mut proven);
    if proven.is_empty() {
        let none = "it fits no line of an access log in the combined format, HOST - USER [TIME] \"METHOD TARGET VERSION\" STATUS BYTES \
                    \"REFERER\" \"USER AGENT\"";
        return Err(fail(None, if has_place { reason.unwrap_or_default() } else { none.to_owned() }));
    }
    let candidates =
        without_parts_of_others(candidate::merge(proven), cuts_brackets).map_err(|why| fail(None, why.to_string()))?;
    if candidates.len() > WAYS_MAX {
        return Err(fail(
            None,
            format!("it can be met in {} ways, where a limit has at most {WAYS_MAX}", candidates.len()),
        ));
    }
    let all: Vec<String> = candidates.iter().map(|one| one.pattern(cuts_brackets)).collect();
    let all = Language::whole(&all.join("|")).map_err(|why| fail(None, why))?;
    for ignored in ignored {
        if all.meets(ignored).map_err(|why| fail(None, why.to_string()))? {
            return Err(fail(
                None,
                "`ignoreregex` takes a part of it away, and that cannot be said beside it".to_owned(),
            ));
        }
    }
    let combined = Language::whole(&Candidate::requests().pattern(cuts_brackets)).map_err(|why| fail(None, why))?;
    // Too large to be known is as good as not exact.
    let is_exact = combined.is_within_of_both(&whole, &all).unwrap_or(false);
    Ok(Said { candidates, is_exact })
}

/// The widest of a candidate and its narrower kin that asks for no more than the expression does.
fn prove(found: &Candidate, whole: &Language, cuts_brackets: bool) -> Result<Option<Candidate>, TooLarge> {
    for candidate in found.narrower() {
        let Ok(language) = Language::whole(&candidate.pattern(cuts_brackets)) else { return Err(TooLarge) };
        if language.is_within(whole)? {
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}

/// Leaves out what another asks for anyway.
fn without_parts_of_others(candidates: Vec<Candidate>, cuts_brackets: bool) -> Result<Vec<Candidate>, TooLarge> {
    let languages: Vec<Language> = candidates
        .iter()
        .map(|one| Language::whole(&one.pattern(cuts_brackets)).map_err(|_| TooLarge))
        .collect::<Result<_, _>>()?;
    let mut kept: Vec<usize> = (0..candidates.len()).collect();
    for index in 0..candidates.len() {
        for other in kept.clone() {
            if other != index && languages[index].is_within(&languages[other])? {
                kept.retain(|one| *one != index);
                break;
            }
        }
    }
    Ok(candidates.into_iter().enumerate().filter(|(index, _)| kept.contains(index)).map(|(_, one)| one).collect())
}

/// The limit, with a case that it is met by and, where there is one, a case that it is not.
fn limit(filter: &Filter, jail: &Jail, ways: &[Candidate], is_exact: bool) -> String {
    let rule: Vec<String> = ways.iter().map(ToString::to_string).collect();
    let rule = rule.join("\nor ");
    let exact = if is_exact {
        "says exactly what it said"
    } else {
        "is met by nothing that it was not met by, and may be met by less"
    };
    let mut text = format!("# Made by `seawall import fail2ban` of {}; {exact}.\n\n[[limit]]\n", filter.file);
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "name = \"{}\"\nrule = '''\n{rule}\n'''\nrate = \"{}\"\naction = \"ban\"\n",
        filter.name,
        jail.rate()
    );
    if let Some(time) = jail.time() {
        let _ = writeln!(text, "for = \"{time}\"");
    }
    for way in ways {
        let _ = write!(text, "\n[[limit.test]]\nline = '{}'\nmatches = true\n", way.sample());
    }
    let ordinary = Candidate::ordinary();
    if !ways.iter().any(|way| way.is_met_by(&ordinary)) {
        let _ = write!(text, "\n[[limit.test]]\nline = '{}'\nmatches = false\n", ordinary.sample());
    }
    text
}

#[cfg(test)]
mod tests;
