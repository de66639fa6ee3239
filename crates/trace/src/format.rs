//! What is in a file, as its name says.

use std::path::Path;

use crate::fields::Separator;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Records of 12 bytes.
    Records,
    /// Lines, separated so.
    Text(Separator),
    /// Lines; the first one shows how they are separated.
    SomeText,
}

/// How to read a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// Its name without what the format put behind it.
    pub(crate) name: String,
    pub(crate) packed: bool,
    pub(crate) contents: Contents,
}

const ENDINGS: [(&str, Contents); 6] = [
    (".trace", Contents::Records),
    (".keys", Contents::Text(Separator::None)),
    (".csv", Contents::Text(Separator::Comma)),
    (".tsv", Contents::Text(Separator::Tab)),
    (".txt", Contents::SomeText),
    (".log", Contents::SomeText),
];

impl Format {
    pub(crate) fn of(file: &Path) -> Self {
        let whole = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
        let (bare, packed) = match whole.strip_suffix(".zst") {
            Some(bare) => (bare, true),
            None => (whole.as_str(), false),
        };
        let known =
            ENDINGS.iter().find_map(|(ending, contents)| Some((bare.strip_suffix(ending)?, *contents)));
        let (name, contents) = known.unwrap_or((bare, Contents::SomeText));
        // `.csv` alone is a name as well.
        let name = if name.is_empty() { &whole } else { name };
        Self { name: name.to_owned(), packed, contents }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_what_is_in_a_file() {
        for (file, name, packed, contents) in [
            ("traces/orm-busy.trace.zst", "orm-busy", true, Contents::Records),
            ("a.b.trace", "a.b", false, Contents::Records),
            ("log.csv", "log", false, Contents::Text(Separator::Comma)),
            ("log.tsv.zst", "log", true, Contents::Text(Separator::Tab)),
            ("log.keys", "log", false, Contents::Text(Separator::None)),
            ("access.log", "access", false, Contents::SomeText),
            ("access.log.1", "access.log.1", false, Contents::SomeText),
            (".trace", ".trace", false, Contents::Records),
            ("", "", false, Contents::SomeText),
        ] {
            assert_eq!(
                Format::of(file.as_ref()),
                Format { name: name.to_owned(), packed, contents },
                "{file}"
            );
        }
    }
}
