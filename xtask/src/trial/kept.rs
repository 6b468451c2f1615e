//! The runs that have ended: in memory, and in a file if one is named, so that a trial of hours can be broken off.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use seawall_trial::trial::Outcome;
use serde::{Deserialize, Serialize};

use crate::Failure;

/// What decides how a run ends: folders of the repository.
const DECIDING: [&str; 2] = ["crates/seawall-engine", "crates/seawall-trial"];

/// Which run: background, family or control, seed, and whether nothing ran beside it.
type Which = (String, String, u64, bool);

/// One run, as a line of the file.
#[derive(Serialize, Deserialize)]
pub(super) struct Run {
    background: String,
    subject: String,
    seed: u64,
    alone: bool,
    outcome: Outcome,
}

impl Run {
    pub(super) fn new(background: &str, subject: &str, seed: u64, alone: bool, outcome: Outcome) -> Self {
        Self { background: background.to_owned(), subject: subject.to_owned(), seed, alone, outcome }
    }
}

/// The first line of the file.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    /// What git calls the contents of each of the folders that decide.
    engine: Vec<String>,
}

/// The runs that have ended.
#[derive(Default)]
pub(super) struct Kept {
    runs: HashMap<Which, Outcome>,
    file: Option<(File, PathBuf)>,
}

impl Kept {
    /// Those of a file, and from then on all that end. A last line that was broken off is passed over and its run done again.
    pub(super) fn in_file(path: &Path) -> Result<Self, Failure> {
        Self::of_engine(&Head { engine: engine()? }, path)
    }

    /// The same, as runs of this engine.
    fn of_engine(head: &Head, path: &Path) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| failed(path, error);
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).open(path).map_err(|error| failed(&error))?;
        let mut kept = Self::default();
        let lines =
            BufReader::new(&file).lines().collect::<Result<Vec<String>, _>>().map_err(|error| failed(&error))?;
        match lines.first().map(|line| serde_json::from_str::<Head>(line)) {
            None => {
                let line = serde_json::to_string(head).map_err(|error| failed(&error))?;
                writeln!(file, "{line}").map_err(|error| failed(&error))?;
            }
            Some(Ok(found)) if found == *head => {}
            Some(_) => return Err(failed(&"its runs are not of the engine as it is now; name another file")),
        }
        for (number, line) in lines.iter().enumerate().skip(1) {
            match serde_json::from_str::<Run>(line) {
                Ok(run) => kept.take(run),
                Err(_) if number + 1 == lines.len() => writeln!(file).map_err(|error| failed(&error))?,
                Err(_) if line.is_empty() => {}
                // Broken off once before.
                Err(error) if error.is_eof() => {}
                Err(error) => return Err(failed(&format!("line {}: {error}", number + 1))),
            }
        }
        kept.file = Some((file, path.to_owned()));
        Ok(kept)
    }

    fn take(&mut self, run: Run) {
        self.runs.insert((run.background, run.subject, run.seed, run.alone), run.outcome);
    }

    pub(super) fn keep(&mut self, run: Run) -> Result<(), Failure> {
        if let Some((file, path)) = &mut self.file {
            let line = serde_json::to_string(&run).map_err(|error| failed(path, &error))?;
            writeln!(file, "{line}").map_err(|error| failed(path, &error))?;
        }
        self.take(run);
        Ok(())
    }

    /// What a run came to, if it has ended.
    pub(super) fn outcome(&self, background: &str, subject: &str, seed: u64) -> Option<&Outcome> {
        self.runs.get(&(background.to_owned(), subject.to_owned(), seed, false))
    }

    /// The same of one beside which nothing ran.
    pub(super) fn alone(&self, background: &str, subject: &str, seed: u64) -> Option<Outcome> {
        self.runs.get(&(background.to_owned(), subject.to_owned(), seed, true)).cloned()
    }

    /// What the runs with these seeds came to.
    pub(super) fn of_row(&self, background: &str, subject: &str, seeds: &[u64]) -> Vec<(u64, Outcome)> {
        let ended = |seed: &u64| Some((*seed, self.outcome(background, subject, *seed)?.clone()));
        seeds.iter().filter_map(ended).collect()
    }
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::Bench(format!("keep the runs in {}: {error}", path.display()))
}

/// What git calls the contents of the folders that decide.
fn engine() -> Result<Vec<String>, Failure> {
    let changed = git(&[&["status", "--porcelain", "--"], &DECIDING[..]].concat())?;
    if !changed.is_empty() {
        return Err(Failure::Bench(format!(
            "--results: commit what is changed in {} first, so that the file says of which engine its runs are",
            DECIDING.join(" and ")
        )));
    }
    DECIDING.iter().map(|folder| git(&["rev-parse", &format!("HEAD:{folder}")])).collect()
}

fn git(arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new("git").args(arguments).current_dir(crate::root()).output();
    let output = output.map_err(|error| Failure::Bench(format!("git {}: {error}", arguments.join(" "))))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::Bench(format!("git {}: {}", arguments.join(" "), said.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seed: u64) -> Run {
        Run::new("synthetic", "single address", seed, false, Outcome { recall: 0.5, ..Outcome::default() })
    }

    fn head(engine: &str) -> Head {
        Head { engine: vec![engine.to_owned()] }
    }

    fn seeds(kept: &Kept) -> Vec<u64> {
        kept.of_row("synthetic", "single address", &[1, 2, 3]).into_iter().map(|(seed, _)| seed).collect()
    }

    #[test]
    fn a_trial_that_is_broken_off_in_a_line_goes_on_with_that_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("runs");
        let open = || Kept::of_engine(&head("a"), &path).expect("it opens");
        let mut kept = open();
        for seed in [1, 2] {
            kept.keep(run(seed)).expect("it is written");
        }
        let written = std::fs::read(&path).expect("it is there");
        std::fs::write(&path, &written[..written.len() - 20]).expect("it is written");
        let mut kept = open();
        assert_eq!(seeds(&kept), [1]);
        for seed in [2, 3] {
            kept.keep(run(seed)).expect("it is written");
        }
        assert_eq!(seeds(&open()), [1, 2, 3]);
        assert_eq!(seeds(&open()), [1, 2, 3], "opening it changes nothing");
    }

    #[test]
    fn runs_of_another_engine_and_lines_that_are_no_runs_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("runs");
        Kept::of_engine(&head("a"), &path).expect("it opens").keep(run(1)).expect("it is written");
        let refused = |engine: &str| Kept::of_engine(&head(engine), &path).err().map(|failure| failure.to_string());
        assert!(refused("b").is_some_and(|text| text.contains("not of the engine as it is now")));
        assert_eq!(refused("a"), None);
        let mut text = std::fs::read_to_string(&path).expect("it is there");
        text.push_str("{\"seed\": \"x\"}\n\n");
        std::fs::write(&path, text).expect("it is written");
        assert!(refused("a").is_some_and(|text| text.contains("line 3")), "{:?}", refused("a"));
    }
}
