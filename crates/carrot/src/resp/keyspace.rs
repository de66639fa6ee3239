//! Keys as the Redis protocol writes them: `group:key`, split at the first colon.
//!
//! What stands before it and is no group's name goes, whole, to the default group, if there is one.

use carrotcache::{Group, GroupName};

use crate::resp::refused;
use crate::resp::reply::Reply;

/// The groups of a node by the names in keys.
pub struct Keyspace {
    /// In the order of their names.
    groups: Vec<Group>,
    default: Option<usize>,
}

impl Keyspace {
    /// Of these groups. `default` is one of them.
    pub fn new(mut groups: Vec<Group>, default: Option<&GroupName>) -> Self {
        groups.sort_by(|a, b| a.name().cmp(b.name()));
        let default = default.and_then(|name| named(&groups, name.as_str().as_bytes()));
        Self { groups, default }
    }

    /// The group of a key, and the key in it.
    ///
    /// # Errors
    /// The reply where there is no such group.
    pub fn find<'k>(&self, key: &'k [u8]) -> Result<(&Group, &'k [u8]), Reply> {
        let colon = key.iter().position(|byte| *byte == b':');
        let name = &key[..colon.unwrap_or(key.len())];
        let named = colon.and_then(|colon| Some((named(&self.groups, name)?, &key[colon + 1..])));
        match named.or_else(|| self.default.map(|at| (at, key))) {
            Some((at, key)) => Ok((&self.groups[at], key)),
            None => Err(refused::no_group(name)),
        }
    }

    /// All groups, in the order of their names.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }
}

/// Where a group of that name is: there are few, and to hash a name takes longer than to look through them.
fn named(groups: &[Group], name: &[u8]) -> Option<usize> {
    groups.binary_search_by(|group| group.name().as_str().as_bytes().cmp(name)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use carrotcache::{BoxError, Cluster, Key};

    #[tokio::test]
    async fn a_key_is_split_at_its_first_colon_where_that_names_a_group() {
        let cluster = Cluster::local().start().await.unwrap();
        let open =
            |name| cluster.group(name).open(|_: Key| async { Ok::<_, BoxError>(None::<&str>) }).unwrap();
        let groups = vec![open("scores"), open("pages")];
        let default = GroupName::new("pages").unwrap();
        let found = |keyspace: &Keyspace, key: &str| {
            let found = keyspace.find(key.as_bytes());
            found.map(|(group, key)| (group.name().to_string(), String::from_utf8(key.to_vec()).unwrap()))
        };
        let own = |group: &str, key: &str| Ok((group.to_owned(), key.to_owned()));
        let no_group = |name| Err(Reply::error(format!("NOGROUP no such group: {name}")));
        let strict = Keyspace::new(groups.clone(), None);
        for (key, expected) in [
            ("scores:Tom", own("scores", "Tom")),
            ("scores:a:b", own("scores", "a:b")),
            ("scores:", own("scores", "")),
            ("scores", no_group("scores")),
            ("none:Tom", no_group("none")),
            (":Tom", no_group("")),
            ("", no_group("")),
        ] {
            assert_eq!(found(&strict, key), expected, "{key}");
        }
        let lenient = Keyspace::new(groups, Some(&default));
        for (key, expected) in [
            ("scores:Tom", own("scores", "Tom")),
            ("scores", own("pages", "scores")),
            ("none:Tom", own("pages", "none:Tom")),
            ("", own("pages", "")),
        ] {
            assert_eq!(found(&lenient, key), expected, "{key}");
        }
    }
}
