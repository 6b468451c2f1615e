//! Files of rules, as `backtest` and `export` take them.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use seawall_engine::decision::expression::{Lists, NamedExpression, Use, read_file};

use super::Failure;
use super::explain::RULES_FILE;
use super::logs::message;
use crate::show::excerpt::excerpt;
use crate::show::explain::NOT_ADVISED;
use crate::show::text::escape;

/// The largest file of rules, in bytes: far more than the longest rules take.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The rules of a file, or every problem in it. One that `explain` wrote may hold none: where there was no surge, or no rule that is
/// advised.
pub(crate) fn read(path: &Path, lists: &Lists) -> Result<Vec<NamedExpression>, Failure> {
    let name = escape(path.to_string_lossy().as_bytes());
    let bytes = read_bounded(path).map_err(|error| Failure::machine(format!("cannot read {name}: {error}")))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Failure::invalid(format!("{name} is larger than 1 MiB, which no file of rules is")));
    }
    let rules = read_file(&bytes, Use::Rule, lists).map_err(|problems| {
        let shown = problems.iter().map(|problem| {
            let (line, column) = (problem.line, problem.error.column);
            let message = message(&problem.error, lists);
            format!("{name}:{line}:{column}: {message}\n{}", excerpt(&problem.text, column))
        });
        Failure::invalid(shown.collect::<Vec<_>>().join("\nseawall: "))
    })?;
    if rules.is_empty() {
        if !bytes.starts_with(RULES_FILE.beginning.as_bytes()) {
            let fault = format!("{name} holds no rule; write one on each line, as path = \"/announce\"");
            return Err(Failure::invalid(fault));
        }
        let is_not_advised = |line: &[u8]| line.starts_with(NOT_ADVISED.as_bytes());
        let why = if bytes.split(|byte| *byte == b'\n').any(is_not_advised) {
            "each of its rules is one that explain advises against; such a rule counts once the # before it is taken away"
        } else {
            "explain found no rule for what the log holds"
        };
        eprintln!("seawall: {name} holds no rule: {why}");
    }
    Ok(rules)
}

/// The content, or one byte more than may be.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
