//! How far it is: a bar on standard error, where that is a terminal, and nothing elsewhere.

use std::io::{IsTerminal, stderr};
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::line::in_one_line;

/// While a file is read.
const READING: &str = "reading {msg} [{bar:30}] {bytes} of {total_bytes}";
/// While requests are replayed.
const REPLAYING: &str = "replaying [{bar:40}] {percent}% of {human_len} requests, {per_sec}, {eta} left";

/// A bar, or none.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// One that is seen by a person and by nobody else.
    pub fn on_a_terminal() -> Self {
        let target =
            if stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self(ProgressBar::with_draw_target(None, target))
    }

    /// Begins to read a file.
    pub fn reading(&self, file: &Path) {
        self.begin(READING, 0);
        self.0.set_message(in_one_line(&file.display().to_string()));
    }

    /// So far in the file.
    pub fn read(&self, read: u64, of: u64) {
        self.0.set_length(of.max(read));
        self.0.set_position(read);
    }

    /// Begins to replay so many requests, over all cells.
    pub fn replaying(&self, requests: u64) {
        self.begin(REPLAYING, requests);
    }

    /// So many more are done.
    pub fn add(&self, requests: u64) {
        self.0.inc(requests);
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }

    fn begin(&self, style: &str, length: u64) {
        self.0.reset();
        self.0.set_length(length);
        // One that is not understood is shown plainly.
        if let Ok(style) = ProgressStyle::with_template(style) {
            self.0.set_style(style.progress_chars("=> "));
        }
    }
}
