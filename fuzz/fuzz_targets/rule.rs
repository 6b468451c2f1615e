//! Any text as a rule, a filter, and a file of rules.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_engine::decision::expression::{Answer, Expression, List, Lists, TEXT_BYTES_MAX, Use, read_file};
use seawall_engine::observation::Request;

fuzz_target!(|text: &str| {
    let mut sites = List::default();
    sites.insert(*b"example.org");
    let mut lists = Lists::default();
    lists.insert("sites", sites);
    let _ = read_file(text.as_bytes(), Use::Rule, &lists);
    let rule = Expression::parse(text, Use::Rule, &lists);
    match Expression::parse(text, Use::Filter, &lists) {
        Ok(expression) => {
            let canonical = expression.to_string();
            assert!(canonical.len() <= TEXT_BYTES_MAX && canonical.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            assert_eq!(Expression::parse(&canonical, Use::Filter, &lists).as_ref(), Ok(&expression));
            let request = Request { method: b"GET", path: b"/", ..Request::default() };
            let _ = expression.matches(&request, None, Answer::default());
        }
        Err(error) => {
            assert!(rule.is_err());
            let line = text.split('\n').nth(error.line - 1).expect("a line of the text");
            assert!(error.column >= 1 && error.column <= line.chars().count() + 1);
            assert!(!error.to_string().chars().any(char::is_control));
        }
    }
});
