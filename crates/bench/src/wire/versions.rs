//! Which versions of others' programs were measured, as they tell it themselves.

use std::collections::BTreeMap;
use std::process::Stdio;

use crate::wire::programs::{NODES, Programs};

/// Each program, and the word by which it tells its version.
const PROGRAMS: [(&str, &str); 6] = [
    ("redis-server", "--version"),
    ("memcached", "--version"),
    ("nginx", "-v"),
    ("varnishd", "-V"),
    ("wrk", "-v"),
    ("go", "version"),
];

/// Of those that are here. Where they tell it, on which output and with which exit code, differs. And what our own nodes
/// are, of which a reader would not guess it.
pub(crate) fn told(programs: &Programs) -> BTreeMap<String, String> {
    let ours = (
        NODES.to_owned(),
        "the bench's own program, with mimalloc for an allocator as carrot has".to_owned(),
    );
    PROGRAMS
        .iter()
        .filter_map(|(program, word)| Some(((*program).to_owned(), version(programs, program, word)?)))
        .chain([ours])
        .collect()
}

fn version(programs: &Programs, program: &'static str, word: &str) -> Option<String> {
    let mut command = programs.command(program, "").ok()?;
    let output = command.arg(word).stdin(Stdio::null()).output().ok()?;
    first_line(&[output.stdout, output.stderr].concat())
}

fn first_line(told: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(told);
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(|line| line.chars().take(100).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_first_line_that_says_something() {
        assert_eq!(first_line(b"\n memcached 1.6.18\nmore\n"), Some("memcached 1.6.18".to_owned()));
        assert_eq!(first_line(b"\n"), None);
    }

    #[test]
    fn who_is_not_here_tells_none() {
        let nobody = Programs::new("/nowhere".into());
        assert_eq!(version(&nobody, "no-such-program", "-v"), None);
    }
}
