//! How a setting is called: by its key in a file, as a flag, as a variable.
//!
//! One name makes the other two, by rule: `limits.key` is `--limit-key` and `CARROT_LIMIT_KEY`. A test of the command
//! line holds every flag to it. Pure.

use std::borrow::Cow;
use std::fmt;

/// One setting, by its place in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The tables it is in and its own key: `node.http`, `group.origin.path`.
    pub key: Cow<'static, str>,
    /// In which of the groups, or which of the peers; from 0.
    pub at: Option<usize>,
}

impl Setting {
    /// A setting that there is once.
    pub const fn of(key: &'static str) -> Self {
        Self { key: Cow::Borrowed(key), at: None }
    }

    /// A setting of one group, or one entry of a list.
    pub fn at(key: impl Into<Cow<'static, str>>, at: usize) -> Self {
        Self { key: key.into(), at: Some(at) }
    }

    /// It, and what it is a part of: `group.origin.path`, `group.origin`, `group`.
    pub fn lineage(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self.key.clone().into_owned()), |key| {
            key.rsplit_once('.').map(|(parent, _)| parent.to_owned())
        })
        .map(|key| Self { key: key.into(), at: self.at })
    }

    /// Whether its value is never shown.
    pub fn is_secret(&self) -> bool {
        matches!(&*self.key, "node.password" | "resp.password")
            || self.key.starts_with("group.origin.headers.")
    }

    /// What the command line knows it by, if it does: `limit_key`, `group`, `load_deadline`.
    pub fn id(&self) -> String {
        match self.key.split_once('.') {
            Some(("limits", limit)) => format!("limit_{limit}"),
            // A node has a name too, and a password.
            Some(("cluster", "name")) => "cluster_name".to_owned(),
            Some(("resp", "password")) => "resp_password".to_owned(),
            None | Some(("group", "name")) => "group".to_owned(),
            Some(("group", "origin.query")) => "query".to_owned(),
            // What is deeper in an origin has a dot in it, and so is nothing that the command line knows.
            Some((_, key)) => key.to_owned(),
        }
    }

    /// Its flag, as it is typed.
    pub fn flag(&self) -> String {
        format!("--{}", self.id().replace('_', "-"))
    }

    /// Its variable.
    pub fn variable(&self) -> String {
        format!("CARROT_{}", self.id().to_uppercase())
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)
    }
}

/// In whose words an error speaks of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// Of somebody who types flags.
    Flags,
    /// Of somebody who edits a file.
    Keys,
}

impl Words {
    /// The setting that there is once, in these words. A secret has no flag: it would show in a list of processes.
    pub fn name(self, key: &'static str) -> String {
        let setting = Setting::of(key);
        match self {
            Self::Keys => key.to_owned(),
            Self::Flags if setting.is_secret() => setting.variable(),
            Self::Flags => setting.flag(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_makes_its_flag_and_its_variable() {
        for (key, flag, variable) in [
            ("node.http", "--http", "CARROT_HTTP"),
            ("limits.key", "--limit-key", "CARROT_LIMIT_KEY"),
            ("cluster.peers", "--peers", "CARROT_PEERS"),
            ("cluster.name", "--cluster-name", "CARROT_CLUSTER_NAME"),
            ("node.name", "--name", "CARROT_NAME"),
            ("group.name", "--group", "CARROT_GROUP"),
            ("group.load_deadline", "--load-deadline", "CARROT_LOAD_DEADLINE"),
            ("group.origin.query", "--query", "CARROT_QUERY"),
        ] {
            let setting = Setting::of(key);
            assert_eq!((setting.flag().as_str(), setting.variable().as_str()), (flag, variable));
        }
        assert_eq!(Words::Flags.name("node.password"), "CARROT_PASSWORD");
        assert_eq!(Words::Flags.name("resp.password"), "CARROT_RESP_PASSWORD");
        assert_eq!(Words::Keys.name("node.password"), "node.password");
    }

    #[test]
    fn a_setting_is_part_of_its_tables() {
        let lineage: Vec<_> = Setting::at("group.origin.path", 2).lineage().collect();
        let expected = ["group.origin.path", "group.origin", "group"].map(|key| Setting::at(key, 2));
        assert_eq!(lineage, expected);
    }
}
