//! What a person sees while a session runs: on stderr, one line an event, and on a terminal a
//! bar while the load runs. stdout carries the result and nothing else.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use domain::event::{Entry, Event};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use report::lines::Narrator;

/// Without a terminal a line of progress is printed this often: often enough to see life in a CI
/// log, rarely enough to leave it readable.
const PLAIN_PROGRESS_EVERY: Duration = Duration::from_secs(15);

/// The screen.
#[derive(Debug)]
pub struct Ui {
    narrator: Narrator,
    terminal: bool,
    bar: Option<ProgressBar>,
    last_plain: Instant,
}

/// How far the load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadProgress {
    /// Requests asked for.
    pub asked: u64,
    /// Requests sent.
    pub sent: u64,
    /// Requests completed.
    pub completed: u64,
    /// Requests failed.
    pub failed: u64,
}

impl Ui {
    /// The screen as the process finds it.
    pub fn new() -> Self {
        Self {
            narrator: Narrator::default(),
            terminal: std::io::stderr().is_terminal(),
            bar: None,
            last_plain: Instant::now(),
        }
    }

    /// Takes note of what an earlier process of the session has said already.
    pub fn recall(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.narrator.line(&entry.event);
        }
    }

    /// Says what happened.
    pub fn say(&mut self, event: &Event) {
        let line = self.narrator.line(event);
        self.line(&line);
    }

    /// Prints a line above whatever is drawn.
    pub fn line(&mut self, line: &str) {
        if line.is_empty() {
            return;
        }
        let print = || {
            // A closed stderr is no reason to stop a measurement.
            let _ = writeln!(std::io::stderr(), "{line}");
        };
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Shows how far the load is.
    pub fn progress(&mut self, load: LoadProgress) {
        if self.terminal {
            self.draw(load);
        } else if PLAIN_PROGRESS_EVERY <= self.last_plain.elapsed() {
            self.last_plain = Instant::now();
            let LoadProgress { asked, sent, completed, failed } = load;
            self.line(&format!("  {completed} of {asked} completed, {sent} sent, {failed} failed"));
        }
    }

    /// Takes the bar away.
    pub fn progress_done(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn draw(&mut self, load: LoadProgress) {
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(Some(load.asked), ProgressDrawTarget::stderr());
            let style = "  [{elapsed_precise}] {bar:30} {pos}/{len} completed{msg}";
            bar.with_style(
                ProgressStyle::with_template(style)
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            )
        });
        bar.set_position(load.completed);
        let in_flight = load.sent.saturating_sub(load.completed + load.failed);
        bar.set_message(format!(", {in_flight} in flight, {} failed", load.failed));
    }
}
