//! Text of others, made fit to be shown in one line.
//!
//! Pure. What files, peers, nodes and the command line say may hold line ends, terminal codes and marks that turn the
//! direction of writing: they are shown, not obeyed.

/// The text with its control characters escaped, those of Unicode's lines and directions among them.
pub fn in_one_line(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut line, c| {
        if c.is_control() || turns_the_line(c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
        line
    })
}

/// Line and paragraph separators, and the characters of UAX #9 by which a name reads as another one.
fn turns_the_line(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_whatever_it_quotes() {
        assert_eq!(in_one_line("no such file: a\nb\x1b[31m – ü"), "no such file: a\\nb\\u{1b}[31m – ü");
        assert_eq!(
            in_one_line("a\u{202e}b\u{2028}c\u{2069} א\u{200d}"),
            "a\\u{202e}b\\u{2028}c\\u{2069} א\u{200d}"
        );
    }
}
