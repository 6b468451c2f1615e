//! Sets of lines, as automata that can be compared.

use std::collections::HashSet;

use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_automata::{Anchored, MatchKind, nfa::thompson, util::syntax};

/// How large an automaton may become, in bytes.
const AUTOMATON_BYTES_MAX: usize = 64 * 1024 * 1024;

/// States of several automata together that are looked at when they are compared.
const STATES_MAX: usize = 400_000;

/// Two automata are too large to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is too large to be compared with what it would become")]
pub(super) struct TooLarge;

/// A set of lines.
pub(super) struct Language {
    automaton: dense::DFA<Vec<u32>>,
}

impl Language {
    /// The lines that a pattern describes from their beginning to their end.
    pub(super) fn whole(pattern: &str) -> Result<Self, String> {
        Self::build(&format!("\\A(?:{pattern})\\z"))
    }

    /// The lines that a pattern is found in.
    pub(super) fn found(pattern: &str) -> Result<Self, String> {
        Self::build(&format!("\\A(?s-u:.)*?(?:{pattern})(?s-u:.)*\\z"))
    }

    fn build(pattern: &str) -> Result<Self, String> {
        let config = dense::Config::new()
            .start_kind(StartKind::Anchored)
            // Every way to match counts, not only the one that is preferred.
            .match_kind(MatchKind::All)
            .dfa_size_limit(Some(AUTOMATON_BYTES_MAX))
            .determinize_size_limit(Some(AUTOMATON_BYTES_MAX));
        dense::Builder::new()
            .configure(config)
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .thompson(thompson::Config::new().utf8(false))
            .build(pattern)
            .map(|automaton| Self { automaton })
            .map_err(|error| format!("it cannot be made into an automaton: {error}"))
    }

    /// Whether a line is in it.
    #[cfg(test)]
    pub(super) fn contains(&self, line: &[u8]) -> bool {
        let mut state = self.start();
        for byte in line {
            state = self.automaton.next_state(state, *byte);
        }
        self.is_end(state)
    }

    /// Whether every line of it is in `other`.
    pub(super) fn is_within(&self, other: &Self) -> Result<bool, TooLarge> {
        exists(&[(self, true), (other, false)]).map(|found| !found)
    }

    /// Whether some line is in both.
    pub(super) fn meets(&self, other: &Self) -> Result<bool, TooLarge> {
        exists(&[(self, true), (other, true)])
    }

    /// Whether every line that is in this and in `other` is in `whole`.
    pub(super) fn is_within_of_both(&self, other: &Self, whole: &Self) -> Result<bool, TooLarge> {
        exists(&[(self, true), (other, true), (whole, false)]).map(|found| !found)
    }

    fn start(&self) -> StateID {
        let config = start::Config::new().anchored(Anchored::Yes);
        // An anchored start was asked for, and there is no look-around that could be unknown here.
        self.automaton.start_state(&config).unwrap_or_default()
    }

    fn is_end(&self, state: StateID) -> bool {
        self.automaton.is_match_state(self.automaton.next_eoi_state(state))
    }
}

/// Whether there is a line that is in each of these languages or not, as is said of it.
fn exists(wanted: &[(&Language, bool)]) -> Result<bool, TooLarge> {
    let first: Vec<StateID> = wanted.iter().map(|(language, _)| language.start()).collect();
    let (mut seen, mut open) = (HashSet::from([first.clone()]), vec![first]);
    while let Some(states) = open.pop() {
        let all = || wanted.iter().zip(&states);
        if all().all(|((language, is_in), state)| language.is_end(*state) == *is_in) {
            return Ok(true);
        }
        if all().any(|((language, is_in), state)| *is_in && language.automaton.is_dead_state(*state)) {
            continue;
        }
        for byte in 0..=u8::MAX {
            let next: Vec<StateID> =
                all().map(|((language, _), state)| language.automaton.next_state(*state, byte)).collect();
            let is_over = wanted
                .iter()
                .zip(&next)
                .any(|((language, is_in), state)| *is_in && language.automaton.is_dead_state(*state));
            if !is_over && seen.insert(next.clone()) {
                open.push(next);
            }
        }
        if seen.len() > STATES_MAX {
            return Err(TooLarge);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(pattern: &str) -> Language {
        Language::whole(pattern).expect(pattern)
    }

    #[test]
    fn languages_are_compared_as_sets_of_lines() {
        for (left, right, expected) in [
            ("ab", "a.*", true),
            ("a.*", "ab", false),
            ("a[0-9]+", "a\\d{1,}", true),
            ("a|ab", "ab?", true),
            ("[a-c]*", "(?:a|b|c)*", true),
            ("a*", "a+", false),
        ] {
            assert_eq!(whole(left).is_within(&whole(right)), Ok(expected), "{left} within {right}");
        }
        assert_eq!(whole("a.*").meets(&whole(".*b")), Ok(true));
        assert_eq!(whole("a+").meets(&whole("b+")), Ok(false));
    }

    #[test]
    fn what_is_found_somewhere_is_found_by_words_and_ends_too() {
        let found = |pattern: &str, line: &str| Language::found(pattern).expect(pattern).contains(line.as_bytes());
        assert!(found("bc", "abcd") && !found("^bc", "abcd") && !found("bc$", "abcd"));
        assert!(found("^ab", "abcd") && found("cd$", "abcd"));
        assert!(found("\\bfoo\\b", "a foo b") && !found("\\bfoo\\b", "afoo b"));
        assert!(found("401\\b", "401") && !found("401\\b", "4012"));
    }
}
