//! A bar on standard error while a report takes long.

use std::cell::Cell;
use std::io::{IsTerminal as _, stderr};
use std::rc::Rc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::host::clock::Clock;
use crate::show::text;

/// What takes less than this shows no progress.
const QUIET_TIME: Duration = Duration::from_secs(2);

/// The longest file name beside the bar, in terminal columns.
const NAME_COLUMNS_MAX: usize = 30;

/// Shows how far the reading has come, on a terminal and after two seconds.
pub struct Progress {
    /// `None` where nobody watches.
    clock: Option<Clock>,
    bar: Option<ProgressBar>,
    name: String,
    size: Option<u64>,
    consumed: Rc<Cell<u64>>,
}

impl Progress {
    /// Progress that is shown if standard error is a terminal.
    pub fn on_terminal() -> Self {
        Self { clock: stderr().is_terminal().then(Clock::start), ..Self::hidden() }
    }

    /// Progress that is not shown.
    pub fn hidden() -> Self {
        Self { clock: None, bar: None, name: String::new(), size: None, consumed: Rc::default() }
    }

    /// Begins an input of this name and stored size, of which `consumed` bytes have been taken.
    pub(super) fn begin(&mut self, name: &str, size: Option<u64>, consumed: Rc<Cell<u64>>) {
        self.clear();
        self.name = text::cut_middle(&text::escape(name.as_bytes()), NAME_COLUMNS_MAX);
        self.size = size;
        self.consumed = consumed;
    }

    /// Shows the present state.
    pub(super) fn update(&mut self) {
        if !self.clock.is_some_and(|clock| clock.uptime() >= QUIET_TIME) {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| bar(self.size, &self.name));
        bar.set_position(self.consumed.get());
    }

    /// Takes the bar away while something else is printed.
    pub(super) fn suspend(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&mut self) {
        self.clear();
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn bar(size: Option<u64>, name: &str) -> ProgressBar {
    let (bar, template) = match size {
        Some(size) => {
            (ProgressBar::new(size), "{msg}  {bar:30.cyan/dim}  {percent:>3}%  {binary_bytes_per_sec}  {eta} left")
        }
        None => (ProgressBar::new_spinner(), "{msg}  {spinner}  {binary_bytes}  {binary_bytes_per_sec}"),
    };
    // The templates are fixed; were one wrong, indicatif's own would do.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style.progress_chars("━╸ ")).with_message(name.to_owned())
}
