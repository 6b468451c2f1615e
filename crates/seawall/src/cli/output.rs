//! What a command prints on standard output, and how commands that read logs show them.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use super::Failure;
use crate::show::log::{Clients, Screen};

/// The width of a page that goes anywhere but to a terminal, unless COLUMNS says another.
const COLUMNS_DEFAULT: usize = 100;

/// Prints `text`. A reader that has gone, as `head` does, is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::machine(format!("failed to write to standard output: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints an answer as one JSON value.
pub(crate) fn print_json(answer: &impl serde::Serialize) -> Result<(), Failure> {
    print(&format!("{}\n", serde_json::to_string_pretty(answer).map_err(Failure::machine)?))
}

/// How clients are named: by pseudonyms, or by their addresses if the operator asked for them.
pub(crate) fn clients(show_addresses: bool) -> Result<Clients, Failure> {
    if show_addresses {
        return Ok(Clients::by_address());
    }
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|error| {
        Failure::machine(format_args!("cannot draw a random key for the pseudonyms of clients: {error}"))
    })?;
    Ok(Clients::by_pseudonym(&key))
}

/// The width and colours of a page that goes to `output`.
pub(crate) fn screen(output: &(impl IsTerminal + AsFd)) -> Screen {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_terminal = output.is_terminal();
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let terminal = is_terminal.then(|| terminal_size::terminal_size_of(output)).flatten();
    let terminal = terminal.map(|(width, _)| usize::from(width.0));
    let stated = || std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let columns = terminal.or_else(stated).unwrap_or(COLUMNS_DEFAULT);
    Screen { columns, colour: is_terminal && !set("NO_COLOR") && !dumb }
}
