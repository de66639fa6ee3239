//! What a command has to say, on standard output.

use std::io::Write;

use anyhow::Context;

/// Lines on standard output, whole and at once: whoever started the program may be waiting for them.
pub fn print_lines(lines: &[String]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}").context("standard output")?;
    }
    out.flush().context("standard output")
}
