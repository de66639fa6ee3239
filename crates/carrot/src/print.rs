//! What a command has to say, on standard output.

use std::io::{self, Write};

use anyhow::Context;

/// Lines on standard output, whole and at once: whoever started the program may be waiting for them.
pub fn print_lines(lines: &[String]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}").context("standard output")?;
    }
    out.flush().context("standard output")
}

/// A text on standard output. A reader that has seen enough is no fault.
pub fn print_whole(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("standard output"),
        _ => Ok(()),
    }
}
