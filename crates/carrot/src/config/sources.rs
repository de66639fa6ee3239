//! Where each setting in force was said, so that an error names what its reader can change.
//!
//! Settings come from a flag, a variable, or a place in a file; those that were said nowhere are defaults. Asked only
//! when a line is written. Pure.

use std::path::PathBuf;

use crate::config::flags::Given;
use crate::config::places::{Places, Position};
use crate::settings::name::{Setting, Words};
use crate::settings::validate::BadSettings;

/// Where settings were said.
pub struct Sources {
    /// The file, and where things stand in it.
    pub file: Option<(PathBuf, Places)>,
    /// What the command line said.
    pub given: Given,
    /// Which group its flags are about.
    pub flagged_group: Option<usize>,
}

/// What a setting has before it in an error.
enum Front {
    /// A flag or a variable, by its name.
    Given(String),
    /// `carrot.toml:12:9: node.drain`
    Place(String),
}

impl Sources {
    /// The fault in one line: `--http 0.0.0.0:1 is open …`, or `carrot.toml:12:9: node.http: 0.0.0.0:1 is open …`.
    pub fn line(&self, bad: &BadSettings) -> String {
        let words = if self.file.is_some() { Words::Keys } else { Words::Flags };
        let said = bad.fault.said(words);
        match self.front(&bad.setting) {
            Front::Given(name) => format!("{name} {said}"),
            Front::Place(place) => format!("{place}: {said}"),
        }
    }

    /// Where in the file a setting in force stands, with its key; `None` where the command line has said it.
    pub fn place(&self, setting: &Setting) -> Option<String> {
        match self.front(setting) {
            Front::Given(_) => None,
            Front::Place(place) => Some(place),
        }
    }

    fn front(&self, setting: &Setting) -> Front {
        let is_flagged = !setting.key.starts_with("group") || setting.at == self.flagged_group;
        let given = if is_flagged { self.given.name(setting) } else { None };
        match (given, &self.file) {
            (Some(name), _) => Front::Given(name),
            (None, None) => Front::Given(setting.flag()),
            (None, Some((file, places))) => {
                // What the file should say and does not is missed from its beginning on.
                let Position { line, column } =
                    places.find(setting).unwrap_or(Position { line: 1, column: 1 });
                Front::Place(format!("{}:{line}:{column}: {setting}", file.display()))
            }
        }
    }
}
