//! How far it is: a bar on standard error, where that is a terminal, and nothing elsewhere.

use std::io::{IsTerminal, stderr};
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::line::in_one_line;

/// While a file is read.
const READING: &str = "reading {msg} [{bar:30}] {bytes} of {total_bytes}";
/// While requests are replayed.
const REPLAYING: &str = "replaying [{bar:40}] {percent}% of {human_len} requests, {eta} left";

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
        let name = file.file_name().unwrap_or(file.as_os_str());
        self.begin(READING, 1, in_one_line(&name.to_string_lossy()));
    }

    /// So far in the file.
    pub fn read(&self, read: u64, of: u64) {
        self.0.set_length(of.max(read));
        self.0.set_position(read);
    }

    /// Begins to replay so many requests, over all cells.
    pub fn replaying(&self, requests: u64) {
        self.begin(REPLAYING, requests, String::new());
    }

    /// So many more are done.
    pub fn add(&self, requests: u64) {
        self.0.inc(requests);
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }

    fn begin(&self, style: &str, length: u64, message: String) {
        // Each of these may draw, so what is drawn is set up before its numbers are.
        if let Ok(style) = ProgressStyle::with_template(style) {
            self.0.set_style(style.progress_chars("=> "));
        }
        self.0.set_message(message);
        self.0.set_length(length);
        self.0.reset();
    }
}
