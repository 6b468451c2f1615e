//! `cargo xtask generate`: writes the files that are made from the program itself, or checks that they are current.

use std::fs;
use std::path::Path;

use crate::Failure;

/// Write the generated files: the references of settings and commands, and the commented example
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write nothing; fail and name the files that are not current
    #[arg(long)]
    check: bool,
}

/// Runs the task.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.check { check() } else { write() }
}

/// Fails if a generated file differs from what the program would make.
pub(crate) fn check() -> Result<(), Failure> {
    let paths: Vec<&str> = outdated().into_iter().map(|(path, _)| path).collect();
    if paths.is_empty() { Ok(()) } else { Err(Failure::NotCurrent { paths }) }
}

fn write() -> Result<(), Failure> {
    for (path, content) in outdated() {
        let path = crate::root().join(path);
        let folder = path.parent().unwrap_or(Path::new(""));
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&path, content))
            .map_err(|source| Failure::Write { path: path.clone(), source })?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// The generated files that are absent or not current.
fn outdated() -> Vec<(&'static str, String)> {
    let root = crate::root();
    let mut files = seawall::generated_files();
    files.retain(|(path, content)| fs::read(root.join(path)).ok().as_deref() != Some(content.as_bytes()));
    files
}
