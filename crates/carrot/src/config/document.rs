//! A configuration file's text, read: TOML, with its variables replaced, as parts and the places they stand at.
//!
//! The text is parsed first and variables are replaced in the parsed strings, so that what a variable holds can never
//! be taken for TOML; then it is read by serde, which keeps the places of what was parsed. Pure.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use toml::de::{DeTable, Deserializer};

use crate::config::keys::Parts;
use crate::config::places::{Places, Position};
use crate::config::variables::Variables;

/// What a file says.
pub struct Document {
    /// Its settings.
    pub parts: Parts,
    /// Where they stand.
    pub places: Places,
}

/// Why a text is no configuration: where, of which setting, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadDocument {
    at: Position,
    setting: Option<String>,
    said: String,
}

/// `12:9: node.drain: "10" is not a time with its unit: ms, s, m, h or d, as in 5m`
impl fmt::Display for BadDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at: Position { line, column }, setting, said } = self;
        match setting {
            Some(setting) => write!(f, "{line}:{column}: {setting}: {said}"),
            None => write!(f, "{line}:{column}: {said}"),
        }
    }
}

impl Document {
    /// Reads a text.
    ///
    /// # Errors
    /// The first thing in it that is wrong.
    pub fn read(text: &str, variables: Variables<'_>) -> Result<Self, BadDocument> {
        let mut root = DeTable::parse(text).map_err(|bad| BadDocument::parsing(text, &bad))?;
        let places = Places::walk(text, root.get_mut(), variables).map_err(|bad| BadDocument {
            at: Position::of(text, bad.offset),
            setting: Some(bad.setting.to_string()),
            said: bad.why.to_string(),
        })?;
        let parts = Parts::deserialize(Deserializer::from(root));
        let parts = parts.map_err(|bad| BadDocument::reading(text, &places, &bad))?;
        Ok(Self { parts, places })
    }
}

impl BadDocument {
    fn parsing(text: &str, bad: &toml::de::Error) -> Self {
        let at = Position::of(text, span(bad).start);
        Self { at, setting: None, said: bad.message().to_owned() }
    }

    fn reading(text: &str, places: &Places, bad: &toml::de::Error) -> Self {
        let span = span(bad);
        Self {
            at: Position::of(text, span.start),
            setting: places.around(&span).map(ToString::to_string),
            said: in_our_words(bad.message()),
        }
    }
}

fn span(bad: &toml::de::Error) -> Range<usize> {
    bad.span().unwrap_or_default()
}

/// serde speaks of the structs and enums that a file is read into; a reader of files knows keys and values.
fn in_our_words(message: &str) -> String {
    for (theirs, ours) in [
        ("unknown field ", "no such key: "),
        ("missing field ", "a key is missing: "),
        ("unknown variant ", "no such value: "),
    ] {
        if let Some(rest) = message.strip_prefix(theirs) {
            return format!("{ours}{rest}");
        }
    }
    match message.strip_suffix("expected a sequence") {
        Some(before) => format!("{before}expected a list of strings"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::env::VarError;

    use super::*;

    fn refused(text: &str) -> String {
        let variables = |name: &str| match name {
            "TEN" => Ok("10".to_owned()),
            "TOML" => Ok("a\"\n[cluster]\nx = 1 #".to_owned()),
            _ => Err(VarError::NotPresent),
        };
        Document::read(text, &variables).err().unwrap().to_string()
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_its_setting_and_what_was_expected() {
        for (text, said) in [
            (
                "[node]\ndrain = \"10\"",
                "2:9: node.drain: \"10\" is not a time with its unit: ms, s, m, h or d, as in 5m",
            ),
            (
                "[node]\ndrain = 10",
                "2:9: node.drain: \"10\" is not a time with its unit: ms, s, m, h or d, as in 5m",
            ),
            (
                "[node]\n  memory = 1.5",
                "2:12: node.memory: \"1.5\" is not a size with its unit: B, KiB, MiB or GiB, as in 64MiB",
            ),
            (
                "[node]\nmemory = '${TEN}'",
                "2:10: node.memory: \"10\" is not a size with its unit: B, KiB, MiB or GiB, as in 64MiB",
            ),
            (
                "[node]\nhttp = 9999",
                "2:8: node.http: \"9999\" is not an IP address and a port, as in 127.0.0.1:9999",
            ),
            ("[node]\nname = 5", "2:8: node.name: invalid type: integer `5`, expected a string"),
            (
                "[node]\ninsecure = 'yes'",
                "2:12: node.insecure: invalid type: string \"yes\", expected a boolean",
            ),
            ("[[group]]\nname = 5", "2:8: group.name: 5 has to stand in quotes"),
            (
                "[[group]]\nname = \"a\"\nttl = \"-5m\"",
                "3:7: group.ttl: \"-5m\" is not a time with its unit: ms, s, m, h or d, as in 5m",
            ),
            ("[[group]]\nttl = '0s'", "2:7: group.ttl: it has to be longer than nothing"),
            (
                "[[group]]\nmax_loads = 0",
                "2:13: group.max_loads: \"0\" is not a whole number from 1 to 4294967295",
            ),
            (
                "[[group]]\nhot = 'owner'",
                "2:7: group.hot: \"owner\" is not a rule for hot keys: a rate as in 100/min, or always, or off",
            ),
            ("[[group]]\npolicy = 'lfu'", "2:10: group.policy: \"lfu\" is not a policy: default or lru"),
            (
                "[[group]]\nname = 'a/b'",
                "2:8: group.name: \"a/b\" is not a group name: 1 to 64 of A-Z a-z 0-9 _ . - and not \".\", \"..\" or \"api\"",
            ),
            (
                "[[group]]\norigin = { kind = \"postgres\" }",
                "2:19: group.origin.kind: no such value: `postgres`, expected one of `table`, `sqlite`, `http`, `directory`",
            ),
            ("[[group]]\n[group.origin]\npath = 'a'", "2:1: group.origin: a key is missing: `kind`"),
            (
                "[cluster]\nplacement = 'maglev'",
                "2:13: cluster.placement: \"maglev\" is not a placement: \"slots\" or \"ring\"",
            ),
            (
                "[cluster]\npeers = [\n  'a:1',\n  5,\n]",
                "4:3: cluster.peers: invalid type: integer `5`, expected a string",
            ),
            (
                "[cluster]\npeers = 'a:1,b:1'",
                "2:9: cluster.peers: invalid type: string \"a:1,b:1\", expected a list of strings",
            ),
            (
                "[[group]]\nmax_loads = 256.0",
                "2:13: group.max_loads: \"256.0\" is not a whole number from 1 to 4294967295",
            ),
            ("[node]\nname = '${UNSET}'", "2:8: node.name: variable UNSET is not set"),
            (
                "[[group]]\norigin = { headers = { A = '${UNSET}' } }",
                "2:28: group.origin.headers.A: variable UNSET is not set",
            ),
            ("node = ['a']", "1:8: node: invalid type: sequence, expected a table of keys"),
            ("group = [['a']]", "1:10: group: invalid type: sequence, expected a table of keys"),
            (
                "[[group]]\n[[group.origin]]\nkind = 'table'",
                "2:1: group.origin: invalid type: sequence, expected a table of keys",
            ),
            (
                "[[group]]\norigin = 'table:a=b'",
                "2:10: group.origin: invalid type: string, expected a table of keys",
            ),
            ("node = 5", "1:8: node: invalid type: integer `5`, expected a table of keys"),
        ] {
            assert_eq!(refused(text), said, "{text}");
        }
    }

    #[test]
    fn a_secret_that_is_written_wrongly_is_not_repeated() {
        for (password, said) in [
            ("12345", "2:12: node.password: it has to be a string, in quotes"),
            ("123.45", "2:12: node.password: it has to be a string, in quotes"),
            ("18446744073709551615", "2:12: node.password: it has to be a string, in quotes"),
            ("['sesame']", "2:12: node.password: it has to be a string, in quotes"),
            ("sesame", "2:12: string values must be quoted, expected literal string"),
            (
                "'open${se same}'",
                "2:12: node.password: a \"${\" in it holds no name of a variable; for \"${\" itself write $${",
            ),
            (
                "'open${sesame}'",
                "2:12: node.password: a variable in it is not set, or not UTF-8; for \"${\" itself write $${",
            ),
            (
                "'${sesame'",
                "2:12: node.password: \"${\" is never closed; for the two characters themselves write $${",
            ),
        ] {
            assert_eq!(refused(&format!("[node]\npassword = {password}")), said);
        }
        for (headers, said) in [
            ("'Bearer sesame'", "2:37: group.origin.headers: invalid type: string, expected a table of keys"),
            ("{ X = 12345 }", "2:43: group.origin.headers.X: it has to be a string, in quotes"),
            (
                "{ X = 'Bearer ${sesame}' }",
                "2:43: group.origin.headers.X: a variable in it is not set, or not UTF-8; for \"${\" itself write $${",
            ),
        ] {
            assert_eq!(
                refused(&format!("[[group]]\norigin = {{ kind = 'http', headers = {headers} }}")),
                said
            );
        }
    }

    #[test]
    fn keys_that_are_not_known_are_refused_with_those_that_are() {
        for (text, said) in [
            (
                "\n[node]\nhtp = 'a'",
                "3:1: node.htp: no such key: `htp`, expected one of `name`, `url`, `peer`, ",
            ),
            ("[group]\n", "1:1: group: invalid type: map, expected tables under [[group]]"),
            (
                "[[groups]]\nname = 'a'",
                "1:3: groups: no such key: `groups`, expected one of `node`, `limits`, ",
            ),
            (
                "[[group]]\norigin = { kind = 'table', pth = 'a' }",
                "2:28: group.origin.pth: no such key: `pth`, expected one of ",
            ),
            // Those of parts to come.
            (
                "[resp]\ntls = true",
                "2:1: resp.tls: no such key: `tls`, expected `default_group` or `password`",
            ),
            (
                "[cluster]\nseeds = []",
                "2:1: cluster.seeds: no such key: `seeds`, expected one of `name`, `peers`, `dialect`, `placement`",
            ),
            ("[cluster]\nkey = 'a'", "2:1: cluster.key: no such key: `key`, "),
            ("[cluster]\ndns = 'a:1'", "2:1: cluster.dns: no such key: `dns`, "),
            ("[cluster]\njoin = []", "2:1: cluster.join: no such key: `join`, "),
            ("[[group]]\nttl_jitter = '10%'", "2:1: group.ttl_jitter: no such key: `ttl_jitter`, "),
            ("[[group]]\norigin_url = 'table:a=b'", "2:1: group.origin_url: no such key: `origin_url`, "),
            ("[[group]]\nquery = 'select 1'", "2:1: group.query: no such key: `query`, "),
        ] {
            let line = refused(text);
            assert!(line.starts_with(said), "{text}: {line}");
        }
    }

    #[test]
    fn what_is_no_toml_is_said_with_its_place() {
        for (text, at) in [
            ("[node\nname = 'a'", "1:6: "),
            ("[node]\nname = a", "2:8: "),
            ("[node]\nname = 'a'\nname = 'b'", "3:1: duplicate key"),
            ("[node]\n[node]\n", "2:2: duplicate key"),
            ("[node]\nname = 'a", "2:10: "),
            ("a = '\u{0}'", "1:6: "),
            ("[node]\nname = \"\\q\"", "2:10: "),
        ] {
            let line = refused(text);
            assert!(line.starts_with(at), "{text}: {line}");
        }
        let deep = format!("a = {}", "[".repeat(100_000));
        assert!(refused(&deep).starts_with("1:"), "a parser that is led into the depth comes back");
    }

    #[test]
    fn what_a_variable_holds_is_never_toml() {
        let variables = |_: &str| Ok("a\"\n[cluster]\nx = 1 #".to_owned());
        let read = Document::read("[node]\nname = \"${TOML}\"", &variables).ok().unwrap();
        assert_eq!(read.parts.node.name.as_deref(), Some("a\"\n[cluster]\nx = 1 #"));
    }

    #[test]
    fn counts_may_come_from_a_variable() {
        let variables = |_: &str| Ok("100".to_owned());
        let read = Document::read("[limits]\nconnections = '${N}'", &variables).ok().unwrap();
        assert_eq!(read.parts.limits.connections.unwrap().0.get(), 100);
    }
}
