//! Descriptions of flags, in lines that a terminal can show.
//!
//! The parser breaks lines only by a feature that asks the terminal for its width, which costs a dependency; without
//! it a description is one line of any length. So they are broken here, at words. Pure; owned by the command line.

use clap::Arg;

/// Columns of a description: a line of help has 100, and the longest flag with its value takes some thirty of them.
const WIDTH: usize = 66;

/// The description of a flag with its variable and its default behind it, in lines of at most [`WIDTH`].
pub fn in_lines(arg: Arg) -> Arg {
    let Some(help) = arg.get_help() else { return arg };
    let variable = arg.get_env().map(|name| format!("[env: {}]", name.display()));
    let defaults = arg.get_default_values().iter().map(|value| format!("[default: {}]", value.display()));
    let words = help.to_string().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines = broken(words.into_iter().chain(variable).chain(defaults));
    // The parser lets a switch, which has no value, hide none.
    let has_default = !arg.get_default_values().is_empty();
    arg.help(lines).hide_env(true).hide_default_value(has_default)
}

/// Words in lines; one that is longer than a line has a line to itself.
fn broken(words: impl Iterator<Item = String>) -> String {
    let mut lines = vec![String::new()];
    for word in words {
        let line = lines.last_mut().expect("there is a line from the start");
        if line.is_empty() {
            *line = word;
        } else if line.chars().count() + 1 + word.chars().count() <= WIDTH {
            line.push(' ');
            line.push_str(&word);
        } else {
            lines.push(word);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_broken_at_words_and_none_is_lost() {
        let words = || "where data is served over HTTP, ".repeat(9);
        let arg = in_lines(Arg::new("http").env("CARROT_HTTP").default_value("a").help(words()));
        let help = arg.get_help().unwrap().to_string();
        assert!(help.lines().count() > 1 && help.lines().all(|line| line.chars().count() <= WIDTH), "{help}");
        let told: Vec<_> = help.split_whitespace().collect();
        let expected = words() + "[env: CARROT_HTTP] [default: a]";
        assert_eq!(told, expected.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn a_word_longer_than_a_line_has_its_own() {
        let long = "x".repeat(WIDTH + 1);
        assert_eq!(broken(["a", &long, "b"].map(str::to_owned).into_iter()), format!("a\n{long}\nb"));
        assert_eq!(broken(std::iter::empty()), "");
    }
}
