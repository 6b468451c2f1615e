//! A bar on standard error while a report takes long.

use std::cell::Cell;
use std::io::{IsTerminal as _, stderr};
use std::rc::Rc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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
    /// Of the present input. It is drawn nowhere at first, but told everything, so that it knows the speed.
    bar: Option<ProgressBar>,
    consumed: Rc<Cell<u64>>,
}

impl Progress {
    /// Progress that is shown if standard error is a terminal.
    pub fn on_terminal() -> Self {
        Self { clock: stderr().is_terminal().then(Clock::start), ..Self::hidden() }
    }

    /// Progress that is not shown.
    pub fn hidden() -> Self {
        Self { clock: None, bar: None, consumed: Rc::default() }
    }

    /// Begins an input of this name and stored size, of which `consumed` bytes have been taken.
    pub(crate) fn begin(&mut self, name: &str, size: Option<u64>, consumed: Rc<Cell<u64>>) {
        self.finish();
        self.consumed = consumed;
        let name = text::cut_middle(&text::escape(name.as_bytes()), NAME_COLUMNS_MAX);
        self.bar = self.clock.is_some().then(|| bar(size, name));
    }

    /// Shows the present state.
    pub(crate) fn update(&self) {
        let (Some(clock), Some(bar)) = (&self.clock, &self.bar) else { return };
        bar.set_position(self.consumed.get());
        if bar.is_hidden() && clock.uptime() >= QUIET_TIME {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// Takes the bar away while something else is printed.
    pub(crate) fn suspend(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn bar(size: Option<u64>, name: String) -> ProgressBar {
    let (bar, template) = match size {
        Some(size) => (
            ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::hidden()),
            "{msg}  {bar:30.cyan/dim}  {percent:>3}%  {binary_bytes_per_sec}  {eta} left",
        ),
        None => (
            ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()),
            "{msg}  {spinner}  {binary_bytes}  {binary_bytes_per_sec}",
        ),
    };
    // The templates are fixed; were one wrong, indicatif's own would do.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style.progress_chars("━╸ ")).with_message(name)
}
