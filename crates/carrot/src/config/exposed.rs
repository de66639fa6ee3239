//! Secrets that are written in a file which others than its owner may read.
//!
//! A warning and no error: who may read a file is often settled by the directory it is in. Pure.

use std::path::Path;

use crate::config::places::{Places, Position};

/// Reading, by the group and by others.
const OTHERS_READ: u32 = 0o044;

/// What to say of a file with this mode, if it holds a secret as it is and not by a variable.
pub fn warning(file: &Path, mode: u32, places: &Places) -> Option<String> {
    if mode & OTHERS_READ == 0 {
        return None;
    }
    let secret = places.written_secrets().next()?;
    let Position { line, column } = places.find(secret)?;
    let file = file.display();
    Some(format!(
        "{file}:{line}:{column}: {secret}: a secret in a file that others may read (mode {:03o}): \
         chmod 600 {file}, or have it in a variable, as in \"${{SECRET}}\"",
        mode & 0o777,
    ))
}

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::*;

    fn told(mode: u32, text: &str) -> Option<String> {
        let variables = |_: &str| Ok("sesame".to_owned());
        let places = Places::walk(text, DeTable::parse(text).unwrap().get_mut(), &variables).unwrap();
        warning(Path::new("carrot.toml"), mode, &places)
    }

    #[test]
    fn a_secret_that_others_may_read_is_told_of_with_its_place() {
        let said = |place: &str, mode: &str| {
            format!(
                "carrot.toml:{place}: a secret in a file that others may read (mode {mode}): \
                 chmod 600 carrot.toml, or have it in a variable, as in \"${{SECRET}}\""
            )
        };
        let password = "[node]\npassword = 'sesame'";
        assert_eq!(told(0o100_644, password), Some(said("2:12: node.password", "644")));
        assert_eq!(told(0o100_640, password), Some(said("2:12: node.password", "640")));
        assert_eq!(told(0o604, "[resp]\npassword = 'a'"), Some(said("2:12: resp.password", "604")));
        let header = "[[group]]\norigin = { headers = { Authorization = 'Bearer sesame' } }";
        assert_eq!(told(0o604, header), Some(said("2:40: group.origin.headers.Authorization", "604")));
    }

    #[test]
    fn what_only_its_owner_reads_or_a_variable_holds_is_not() {
        for mode in [0o600, 0o400, 0o622] {
            assert_eq!(told(mode, "[node]\npassword = 'sesame'"), None, "{mode:o}");
        }
        assert_eq!(told(0o644, "[node]\npassword = '${PASSWORD}'\nname = 'a'"), None);
    }
}
