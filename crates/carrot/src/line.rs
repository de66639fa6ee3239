//! Text of others, made fit to be shown in one line.
//!
//! Pure. What files, peers, nodes and the command line say may hold line ends and terminal codes: they are shown, not
//! obeyed.

/// The text with its control characters escaped.
pub fn in_one_line(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut line, c| {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
        line
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_whatever_it_quotes() {
        assert_eq!(in_one_line("no such file: a\nb\x1b[31m – ü"), "no such file: a\\nb\\u{1b}[31m – ü");
    }
}
