//! An origin as a file describes it: `{ kind = "sqlite", path = "scores.db", query = "…" }`.
//!
//! Which keys go with which kind is known here. One struct holds the keys of all kinds, rather than an enum one variant
//! for each: serde reads a tagged enum from a copy that has lost where its keys stood. Nothing is opened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use carrotcache::Key;
use http::{HeaderName, HeaderValue};
use serde::Deserialize;

use crate::config::tables::some_table;
use crate::config::words::{Ip, path, word};
use crate::origin::OriginSettings;
use crate::origin::error::OpenError;
use crate::origin::http::HttpSettings;
use crate::secret::Secret;
use crate::settings::name::Setting;
use crate::settings::validate::{BadSettings, Fault};
use crate::some::SomeTime;

/// The keys of every kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OriginTable {
    kind: Kind,
    values: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "path")]
    path: Option<PathBuf>,
    query: Option<String>,
    url: Option<String>,
    #[serde(default, deserialize_with = "some_table")]
    headers: Option<BTreeMap<String, Secret>>,
    #[serde(default, deserialize_with = "word")]
    connect_timeout: Option<SomeTime>,
    #[serde(default, deserialize_with = "word")]
    first_byte_timeout: Option<SomeTime>,
    allow: Option<Vec<Ip>>,
    #[serde(default, deserialize_with = "path")]
    ca: Option<PathBuf>,
}

/// What an origin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Table,
    Sqlite,
    Http,
    Directory,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Sqlite => "sqlite",
            Self::Http => "http",
            Self::Directory => "directory",
        }
    }
}

impl OriginTable {
    /// Makes the paths in it begin at `directory`, where they do not begin at the root.
    pub fn begin_at(&mut self, directory: &Path) {
        for path in [&mut self.path, &mut self.ca].into_iter().flatten() {
            *path = directory.join(&*path);
        }
    }

    /// What the database is asked, if it is one.
    pub fn into_query(self) -> Option<String> {
        if self.kind == Kind::Sqlite { self.query } else { None }
    }

    /// What it stands for, in the group at `at`; `query` is what the command line asks the database instead.
    ///
    /// # Errors
    /// A key that is missing, that belongs to another kind, or that cannot be.
    pub fn settings(mut self, query: Option<String>, at: usize) -> Result<OriginSettings, BadSettings> {
        self.has_no_other_s_keys(at)?;
        if query.is_some() && self.kind != Kind::Sqlite {
            return Err(useless_query(at));
        }
        self.query = query.or(self.query);
        let missing = |key: &str, example: &str| {
            let said = format!("of kind {} needs {key}, as in {key} = {example}", self.kind.name());
            Fault::Wrong(said).of(Setting::at("group.origin", at))
        };
        match self.kind {
            Kind::Table => {
                let values = self.values.ok_or_else(|| missing("values", "{ Tom = \"630\" }"))?;
                entries(values, at)
            }
            Kind::Sqlite => {
                let file = self.path.ok_or_else(|| missing("path", "\"scores.db\""))?;
                let example = "\"select score from scores where name = ?1\"";
                let query = self.query.ok_or_else(|| missing("query", example))?;
                Ok(OriginSettings::Sqlite { file, query })
            }
            Kind::Http if self.url.is_none() => Err(missing("url", "\"https://api.example/items/{key}\"")),
            Kind::Http => self.http(at),
            Kind::Directory => {
                let path = self.path.ok_or_else(|| missing("path", "\"public\""))?;
                Ok(OriginSettings::Directory { path })
            }
        }
    }

    fn has_no_other_s_keys(&self, at: usize) -> Result<(), BadSettings> {
        let keys = [
            ("values", self.values.is_some(), &[Kind::Table][..]),
            ("path", self.path.is_some(), &[Kind::Sqlite, Kind::Directory]),
            ("query", self.query.is_some(), &[Kind::Sqlite]),
            ("url", self.url.is_some(), &[Kind::Http]),
            ("headers", self.headers.is_some(), &[Kind::Http]),
            ("connect_timeout", self.connect_timeout.is_some(), &[Kind::Http]),
            ("first_byte_timeout", self.first_byte_timeout.is_some(), &[Kind::Http]),
            ("allow", self.allow.is_some(), &[Kind::Http]),
            ("ca", self.ca.is_some(), &[Kind::Http]),
        ];
        let foreign = keys.into_iter().find(|(_, is_there, kinds)| *is_there && !kinds.contains(&self.kind));
        let Some((key, _, kinds)) = foreign else { return Ok(()) };
        let kinds: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
        let said = format!("goes with kind {}, not {}", kinds.join(" or "), self.kind.name());
        Err(Fault::Wrong(said).of(Setting::at(format!("group.origin.{key}"), at)))
    }

    fn http(self, at: usize) -> Result<OriginSettings, BadSettings> {
        let url = self.url.unwrap_or_default();
        let bad_url = |bad| wrong(&bad, "url", at);
        let mut settings = HttpSettings::new(&url).map_err(bad_url)?;
        settings.headers = headers(self.headers.unwrap_or_default(), at)?;
        if let Some(SomeTime(timeout)) = self.connect_timeout {
            settings.connect_timeout = timeout;
        }
        settings.first_byte_timeout = self.first_byte_timeout.map(|timeout| timeout.0);
        settings.allow = self.allow.unwrap_or_default().into_iter().map(|Ip(address)| address).collect();
        settings.ca = self.ca;
        settings.check().map_err(|bad| wrong(&bad, http_key(&bad), at))?;
        Ok(OriginSettings::Http(settings))
    }
}

/// The key to change where an HTTP origin cannot be made of its settings.
fn http_key(bad: &OpenError) -> &'static str {
    match bad {
        OpenError::UselessCa => "ca",
        OpenError::HeaderName(_) | OpenError::HeaderValue(_) | OpenError::HeaderOfOurs(_) => "headers",
        _ => "url",
    }
}

/// A query where nothing can be queried.
pub fn useless_query(at: usize) -> BadSettings {
    Fault::Wrong("goes with an origin of kind sqlite alone".to_owned())
        .of(Setting::at("group.origin.query", at))
}

fn wrong(why: &(impl ToString + ?Sized), key: &str, at: usize) -> BadSettings {
    Fault::Wrong(why.to_string()).of(Setting::at(format!("group.origin.{key}"), at))
}

fn entries(values: BTreeMap<String, String>, at: usize) -> Result<OriginSettings, BadSettings> {
    if values.contains_key("") {
        return Err(wrong("has a key without a byte", "values", at));
    }
    let entry = |(key, value): (String, String)| (Key::from(&*key), Bytes::from(value));
    Ok(OriginSettings::Table(values.into_iter().map(entry).collect()))
}

fn headers(headers: BTreeMap<String, Secret>, at: usize) -> Result<Vec<(String, Secret)>, BadSettings> {
    let header = |(name, value): (String, Secret)| {
        let wrong = |why: &str| wrong(why, &format!("headers.{name}"), at);
        let known =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("is not the name of a header"))?;
        // The value may be a secret: it is not shown.
        HeaderValue::from_str(value.reveal())
            .map_err(|_| wrong("holds what no header may: a control character"))?;
        Ok((known.as_str().to_owned(), value))
    };
    headers.into_iter().map(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<OriginSettings, String> {
        let table: OriginTable = toml::from_str(text).map_err(|bad| bad.message().to_owned())?;
        table
            .settings(None, 0)
            .map_err(|bad| format!("{}: {}", bad.setting, bad.fault.said(crate::settings::name::Words::Keys)))
    }

    #[test]
    fn each_kind_is_read_with_its_keys() {
        let table = read("kind = 'table'\nvalues = { Tom = '630', 'a b' = '' }").unwrap();
        let entries = [(Key::from("Tom"), Bytes::from("630")), (Key::from("a b"), Bytes::new())];
        assert_eq!(table, OriginSettings::Table(entries.into_iter().collect()));
        assert_eq!(
            read("kind = 'sqlite'\npath = 'a.db'\nquery = 'select ?1'"),
            Ok(OriginSettings::Sqlite { file: "a.db".into(), query: "select ?1".to_owned() })
        );
        assert_eq!(
            read("kind = 'directory'\npath = 'public'"),
            Ok(OriginSettings::Directory { path: "public".into() })
        );
        let mut http = HttpSettings::new("https://a.example/{key}").unwrap();
        assert_eq!(
            read("kind = 'http'\nurl = 'https://a.example/{key}'"),
            Ok(OriginSettings::Http(http.clone())),
            "the defaults are those of the origin"
        );
        http.headers = vec![("x-token".to_owned(), Secret::new("t"))];
        http.connect_timeout = std::time::Duration::from_secs(1);
        http.first_byte_timeout = Some(std::time::Duration::from_millis(500));
        http.allow = vec!["169.254.169.254".parse().unwrap()];
        http.ca = Some("ca.pem".into());
        let text = "kind = 'http'\nurl = 'https://a.example/{key}'\nheaders = { X-Token = 't' }\n\
                    connect_timeout = '1s'\nfirst_byte_timeout = '500ms'\nallow = ['169.254.169.254']\nca = 'ca.pem'";
        assert_eq!(read(text), Ok(OriginSettings::Http(http)));
    }

    #[test]
    fn what_is_missing_foreign_or_impossible_is_named() {
        for (text, said) in [
            ("path = 'a'", "missing field `kind`"),
            (
                "kind = 'postgres'",
                "unknown variant `postgres`, expected one of `table`, `sqlite`, `http`, `directory`",
            ),
            ("kind = 'table'", "group.origin: of kind table needs values, as in values = { Tom = \"630\" }"),
            ("kind = 'directory'", "group.origin: of kind directory needs path, as in path = \"public\""),
            (
                "kind = 'sqlite'\npath = 'a.db'",
                "group.origin: of kind sqlite needs query, as in query = \"select score from scores where name = ?1\"",
            ),
            (
                "kind = 'http'",
                "group.origin: of kind http needs url, as in url = \"https://api.example/items/{key}\"",
            ),
            ("kind = 'directory'\npath = ''", "it names nothing"),
            (
                "kind = 'directory'\npath = 'a'\nquery = 'b'",
                "group.origin.query: goes with kind sqlite, not directory",
            ),
            (
                "kind = 'http'\nurl = 'http://a/{key}'\npath = 'b'",
                "group.origin.path: goes with kind sqlite or directory, not http",
            ),
            ("kind = 'table'\nvalues = { '' = 'b' }", "group.origin.values: has a key without a byte"),
            (
                "kind = 'http'\nurl = 'http://a/{key}'\nheaders = { 'a b' = 'c' }",
                "group.origin.headers.a b: is not the name of a header",
            ),
            (
                "kind = 'http'\nurl = 'http://a/{key}'\nheaders = { a = \"b\\nc\" }",
                "group.origin.headers.a: holds what no header may: a control character",
            ),
            // What the origin itself would refuse when a node starts.
            (
                "kind = 'http'\nurl = 'http://a/{key}'\nheaders = { Host = 'b' }",
                "group.origin.headers: header \"host\" of the origin is not for settings: the request itself makes it",
            ),
            (
                "kind = 'http'\nurl = 'http://a/{key}'\nca = 'ca.pem'",
                "group.origin.ca: a file of certificates is for https origins alone",
            ),
            (
                "kind = 'http'\nurl = 'https://a.-.b/{key}'",
                "group.origin.url: is no URL of an origin: no certificate can be for this host",
            ),
            (
                "kind = 'http'\nurl = 'http://a/{key}'\nallow = ['localhost']",
                "\"localhost\" is not an IP address, as in 169.254.169.254",
            ),
            (
                "kind = 'http'\nurl = 'http://a/{key}'\nconnect_timeout = '0s'",
                "it has to be longer than nothing",
            ),
        ] {
            assert_eq!(read(text), Err(said.to_owned()), "{text}");
        }
    }

    #[test]
    fn paths_begin_where_they_are_told_to() {
        let mut table: OriginTable =
            toml::from_str("kind = 'directory'\npath = 'public'\nca = '/etc/ca.pem'").unwrap();
        table.begin_at(Path::new("etc/carrot"));
        assert_eq!(table.path, Some("etc/carrot/public".into()));
        assert_eq!(table.ca, Some("/etc/ca.pem".into()));
    }
}
