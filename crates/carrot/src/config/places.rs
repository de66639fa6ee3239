//! Where each setting stands in a file, by line and column.
//!
//! Noted while the parsed file is walked and its variables are replaced, before it is read into settings: a place is
//! that of what is written, whatever it was replaced by. Pure.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::variables::{BadVariable, Variables, replace};
use crate::settings::name::Setting;

/// A line and a column of a file, both from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
}

impl Position {
    /// Where the byte at `offset` of `text` stands.
    pub fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

/// The settings of one file. A table and a list stand before what is in them.
pub struct Places {
    text: String,
    places: Vec<Place>,
}

/// Where one setting stands.
struct Place {
    setting: Setting,
    /// In bytes of the text; of an entry of a list: the entry.
    key: Range<usize>,
    /// In bytes of the text. Of a table with a header of its own: the header.
    value: Range<usize>,
    /// A string that is wholly written here.
    literal: bool,
}

/// A string of the file whose variables cannot be replaced.
#[derive(Debug)]
pub struct Unreplaced {
    /// Of which setting.
    pub setting: Setting,
    /// Where the string begins, in bytes of the text.
    pub offset: usize,
    /// Why not.
    pub why: BadVariable,
}

impl Places {
    /// Walks the file: replaces the variables in its strings, and notes where everything stands.
    ///
    /// # Errors
    /// The first string whose variables cannot be replaced.
    pub fn walk(text: &str, root: &mut DeTable<'_>, variables: Variables<'_>) -> Result<Self, Unreplaced> {
        let mut walk = Walk { variables, places: Vec::new() };
        walk.table("", None, root)?;
        Ok(Self { text: text.to_owned(), places: walk.places })
    }

    /// Where a setting stands: its value, else what it is a part of.
    pub fn find(&self, setting: &Setting) -> Option<Position> {
        let exact = |part| self.places.iter().find(|place| place.setting == part);
        let place = setting.lineage().find_map(exact)?;
        Some(Position::of(&self.text, place.value.start))
    }

    /// What stands around these bytes, the innermost.
    pub fn around(&self, span: &Range<usize>) -> Option<&Setting> {
        let holds = |range: &Range<usize>| range.start <= span.start && span.end <= range.end;
        let around = self.places.iter().filter(|place| holds(&place.key) || holds(&place.value));
        around.min_by_key(|place| place.value.len()).map(|place| &place.setting)
    }

    /// Secrets whose text is wholly written in the file.
    pub fn written_secrets(&self) -> impl Iterator<Item = &Setting> {
        let written = self.places.iter().filter(|place| place.literal);
        written.map(|place| &place.setting).filter(|setting| setting.is_secret())
    }
}

/// The walk through one file. As deep as the parser lets tables be.
struct Walk<'a> {
    variables: Variables<'a>,
    places: Vec<Place>,
}

impl Walk<'_> {
    fn table(&mut self, path: &str, at: Option<usize>, table: &mut DeTable<'_>) -> Result<(), Unreplaced> {
        for (key, value) in table.iter_mut() {
            let name = key.get_ref();
            let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
            self.value(&path, at, key.span(), value)?;
        }
        Ok(())
    }

    fn value(
        &mut self,
        path: &str,
        at: Option<usize>,
        key: Range<usize>,
        value: &mut Spanned<DeValue<'_>>,
    ) -> Result<(), Unreplaced> {
        let span = value.span();
        let setting = Setting { key: path.to_owned().into(), at };
        let own = self.places.len();
        self.places.push(Place { setting: setting.clone(), key, value: span.clone(), literal: false });
        match value.get_mut() {
            DeValue::String(text) => {
                let replaced = replace(text, self.variables);
                let replaced = replaced.map_err(|why| {
                    let why = if setting.is_secret() { why.of_secret(text) } else { why };
                    Unreplaced { setting, offset: span.start, why }
                })?;
                self.places[own].literal = !replaced.from_outside;
                *text = replaced.text.into();
            }
            DeValue::Table(table) => self.table(path, at, table)?,
            DeValue::Array(entries) => {
                for (n, entry) in entries.iter_mut().enumerate() {
                    // The outermost list's: which group it is, however deep inside.
                    self.value(path, at.or(Some(n)), entry.span(), entry)?;
                }
            }
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
[node]
http = '127.0.0.1:1'
  'ä'.b =  \"${A} b\"

[cluster]
peers = [
  'a',
  'b',
]
[[group]]
name = 'one'
[[group]]
origin = { headers = { X = 'x', 'Y.Z' = '${A}' } }
";

    fn places() -> Places {
        let variables = |name: &str| Ok(name.to_lowercase());
        Places::walk(TEXT, DeTable::parse(TEXT).unwrap().get_mut(), &variables).unwrap()
    }

    fn at(line: usize, column: usize) -> Option<Position> {
        Some(Position { line, column })
    }

    #[test]
    fn every_setting_has_its_line_and_column() {
        let places = places();
        for (setting, expected) in [
            (Setting::of("node"), at(1, 1)),
            (Setting::of("node.http"), at(2, 8)),
            (Setting::of("node.ä.b"), at(3, 12)),
            (Setting::of("cluster.peers"), at(6, 9)),
            (Setting::at("cluster.peers", 1), at(8, 3)),
            (Setting::at("group.name", 0), at(11, 8)),
            (Setting::at("group", 1), at(12, 1)),
            (Setting::at("group.origin.headers.X", 1), at(13, 28)),
        ] {
            assert_eq!(places.find(&setting), expected, "{setting:?}");
        }
    }

    #[test]
    fn a_setting_that_is_not_there_stands_where_it_belongs() {
        let places = places();
        assert_eq!(places.find(&Setting::of("node.drain")), at(1, 1));
        assert_eq!(places.find(&Setting::at("group.name", 1)), at(12, 1));
        assert_eq!(places.find(&Setting::of("limits.key")), None);
    }

    #[test]
    fn bytes_belong_to_the_innermost_setting_around_them() {
        let places = places();
        let of = |text: &str| {
            let start = TEXT.find(text).unwrap();
            places.around(&(start..start + text.len())).map(|setting| setting.key.to_string())
        };
        assert_eq!(of("127.0").as_deref(), Some("node.http"));
        assert_eq!(of("http").as_deref(), Some("node.http"));
        assert_eq!(of("X").as_deref(), Some("group.origin.headers.X"));
        assert_eq!(of("{ X").as_deref(), Some("group.origin.headers"));
        assert_eq!(of("[node]").as_deref(), Some("node"));
        assert_eq!(of("\n\n"), None);
    }

    #[test]
    fn what_is_written_is_told_from_what_a_variable_holds() {
        let places = places();
        let literal: Vec<_> = places.written_secrets().collect();
        assert_eq!(literal, [&Setting::at("group.origin.headers.X", 1)]);
    }

    #[test]
    fn columns_count_characters_and_an_end_is_a_place_too() {
        assert_eq!(Position::of("", 0), Position { line: 1, column: 1 });
        assert_eq!(Position::of("äö\nü x", 7), Position { line: 2, column: 2 });
        assert_eq!(Position::of("a\n", 2), Position { line: 2, column: 1 });
        assert_eq!(Position::of("a\n", 99), Position { line: 2, column: 1 });
    }
}
