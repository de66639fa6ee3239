//! Whole readings: a file, flags and variables over it, and the line that says what is wrong.

use std::env::VarError;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use clap::{Args, FromArgMatches};
use tempfile::TempDir;

use super::*;
use crate::origin::OriginSettings;

/// A file in a directory of its own, and what is typed beside it.
struct Case {
    directory: TempDir,
}

impl Case {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("carrot.toml"), text).unwrap();
        Self { directory }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("carrot.toml")
    }

    /// What is read with these flags, or the line that says why nothing is; the directory is left out of it.
    fn read(&self, flags: &[&str]) -> Result<Configured, String> {
        self.read_with(flags, &|_| Err(VarError::NotPresent))
    }

    fn read_with(&self, flags: &[&str], variables: Variables<'_>) -> Result<Configured, String> {
        let file = self.file();
        let line = ["serve", "--config", file.to_str().unwrap()];
        read(parse(&[&line[..], flags].concat()), variables)
            .map_err(|bad| bad.to_string().replace(&format!("{}/", self.directory.path().display()), ""))
    }

    fn refused(&self, flags: &[&str]) -> String {
        self.read(flags).err().unwrap()
    }
}

fn parse(line: &[&str]) -> ServeArgs {
    let command = ServeArgs::augment_args(clap::Command::new("serve"));
    ServeArgs::from_arg_matches(&command.try_get_matches_from(line).unwrap()).unwrap()
}

fn group(configured: &Configured, name: &str) -> crate::settings::GroupSettings {
    configured.settings.groups.iter().find(|group| group.name.as_str() == name).unwrap().clone()
}

const TWO_GROUPS: &str = "\
[node]
http = '127.0.0.1:1'
drain = '3s'
[[group]]
name = 'pages'
ttl = '5m'
capacity = '1MiB'
origin = { kind = 'sqlite', path = 'app.db', query = 'select ?1' }
[[group]]
name = 'scores'
origin = { kind = 'http', url = 'http://a.example/{key}', headers = { a = 'b' } }
";

#[test]
fn a_file_says_what_it_says_and_the_rest_is_the_default() {
    let case = Case::new(TWO_GROUPS);
    let read = case.read(&[]).unwrap();
    assert_eq!(read.settings.node.http.to_string(), "127.0.0.1:1");
    assert_eq!(read.settings.node.admin.to_string(), "127.0.0.1:9990");
    let pages = group(&read, "pages");
    assert_eq!((pages.capacity.to_string().as_str(), pages.max_loads.get()), ("1MiB", 256));
    let file = case.directory.path().join("app.db");
    assert_eq!(pages.origin, OriginSettings::Sqlite { file, query: "select ?1".to_owned() });
}

#[test]
fn flags_override_the_file_key_by_key() {
    let case = Case::new(TWO_GROUPS);
    let read = case.read(&["--http", "127.0.0.1:2", "--group", "pages", "--ttl", "1s"]).unwrap();
    assert_eq!(read.settings.node.http.to_string(), "127.0.0.1:2");
    assert_eq!(read.settings.node.drain.as_secs(), 3);
    let pages = group(&read, "pages");
    assert_eq!(
        (pages.ttl.map(|ttl| ttl.as_secs()), pages.capacity.to_string()),
        (Some(1), "1MiB".to_owned())
    );
    assert_eq!(group(&read, "scores").ttl, None);
}

#[test]
fn a_group_that_the_file_has_not_is_added() {
    let read = Case::new(TWO_GROUPS).read(&["--group", "new", "--origin", "table:a=b"]).unwrap();
    assert_eq!(read.settings.groups.len(), 3);
    assert!(matches!(group(&read, "new").origin, OriginSettings::Table(_)));
    let read = Case::new("").read(&["--group", "new"]).unwrap();
    assert_eq!(group(&read, "new").origin, OriginSettings::Nothing);
}

#[test]
fn flags_of_a_group_go_to_the_only_one_and_among_several_ask_which() {
    let read = Case::new("[[group]]\nname = 'a'").read(&["--ttl", "1s"]).unwrap();
    assert_eq!(group(&read, "a").ttl.map(|ttl| ttl.as_secs()), Some(1));
    let case = Case::new(TWO_GROUPS);
    assert_eq!(case.refused(&["--ttl", "1s"]), "--ttl goes with one group; group.name has to say which");
    assert_eq!(
        case.refused(&["--query", "select 1"]),
        "--query goes with one group; group.name has to say which"
    );
}

#[test]
fn an_origin_on_the_command_line_replaces_the_file_s_but_a_database_keeps_its_query() {
    let case = Case::new(TWO_GROUPS);
    let origin = |flags: &[&str]| {
        let read = case.read(&[&["--group", "pages"], flags].concat()).unwrap();
        group(&read, "pages").origin
    };
    let sqlite =
        |file: &str, query: &str| OriginSettings::Sqlite { file: file.into(), query: query.to_owned() };
    let in_file = case.directory.path().join("app.db");
    // What is typed begins where it is typed.
    assert_eq!(origin(&["--origin", "sqlite:b.db"]), sqlite("b.db", "select ?1"));
    assert_eq!(origin(&["--query", "select 2"]), sqlite(in_file.to_str().unwrap(), "select 2"));
    assert_eq!(origin(&["--origin", "sqlite:b.db", "--query", "select 2"]), sqlite("b.db", "select 2"));
    assert!(matches!(origin(&["--origin", "table:a=b"]), OriginSettings::Table(_)));
    let read = case.read(&["--group", "scores", "--origin", "http://b.example/{key}"]).unwrap();
    let OriginSettings::Http(http) = group(&read, "scores").origin else { panic!("an origin of kind http") };
    assert_eq!(http.headers, [], "one API's headers are not the other's");
}

#[test]
fn what_only_shows_together_has_the_place_of_the_setting_to_change() {
    let group = "[[group]]\nname = 'a'\n";
    for (text, said) in [
        (
            "[[group]]\nname = 'a'\n[[group]]\nname = 'b'\n[[group]]\nname = 'a'\n".to_owned(),
            "carrot.toml:6:8: group.name: a is the name of a group before this one",
        ),
        (
            "[node]\nmemory = '100MiB'\n[[group]]\nname = 'a'\n[[group]]\nname = 'b'\n".to_owned(),
            "carrot.toml:2:10: node.memory: 100MiB is less than 128MiB, what the groups' capacities add up to",
        ),
        (
            format!("[node]\nhttp = '0.0.0.0:9999'\n{group}"),
            "carrot.toml:2:8: node.http: 0.0.0.0:9999 is open to other machines without a password: \
             set node.password, or node.insecure to allow that",
        ),
        (
            format!("[node]\npeer = '[::]:8001'\n{group}"),
            "carrot.toml:2:8: node.peer: [::]:8001 stands for every address of this machine: \
             node.url has to say how other nodes reach it",
        ),
        (
            format!("[node]\nurl = 'https://a'\n{group}"),
            "carrot.toml:2:7: node.url: \"https://a\" is not the address of a peer: peers speak plain http only",
        ),
        (
            format!("[cluster]\ndialect = 'golang'\nplacement = 'slots'\n{group}"),
            "carrot.toml:3:13: cluster.placement: slots goes with the native dialect alone; \
             golang places keys on its ring",
        ),
        (
            format!("[limits]\nin_flight = 9\nin_flight_per_connection = 10\n{group}"),
            "carrot.toml:3:28: limits.in_flight_per_connection: 10 is over 9, which limits.in_flight allows all \
             together",
        ),
        (
            format!("[cluster]\nname = 'a b'\n{group}"),
            "carrot.toml:2:8: cluster.name: has to be 1 to 64 visible ASCII characters",
        ),
        (
            format!("[limits]\nkey = '17KiB'\n{group}"),
            "carrot.toml:2:7: limits.key: 17KiB is over 16KiB, the longest key any node takes",
        ),
        (
            format!("[cluster]\npeers = [\n  'http://a:1',\n  'http://b:x',\n]\n{group}"),
            "carrot.toml:4:3: cluster.peers: \"http://b:x\" is not the address of a peer: \
             expected a port from 1 to 65535",
        ),
        (
            format!("[node]\nhosts = ['a b']\n{group}"),
            "carrot.toml:2:9: node.hosts: \"a b\" is not a host name, as in cache.example.org",
        ),
        (
            format!("[node]\npassword = ''\n{group}"),
            "carrot.toml:2:12: node.password: has to be 1 byte or more, without control characters or spaces around it",
        ),
        (
            format!("{group}origin = {{ kind = 'sqlite', path = 'a.db' }}"),
            "carrot.toml:3:10: group.origin: of kind sqlite needs query, as in \
             query = \"select score from scores where name = ?1\"",
        ),
        (
            format!("{group}origin = {{ kind = 'table', values = {{}}, query = 'a' }}"),
            "carrot.toml:3:49: group.origin.query: goes with kind sqlite, not table",
        ),
        (
            format!(
                "{group}[group.origin]\nkind = 'http'\nurl = 'http://a/{{key}}'\nheaders = {{ 'X Y' = 'z' }}\n"
            ),
            "carrot.toml:6:21: group.origin.headers.X Y: is not the name of a header",
        ),
        (
            "[[group]]\nttl = '5m'\n".to_owned(),
            "carrot.toml:1:1: group: has no name, as in name = \"scores\"",
        ),
        ("[node]\n".to_owned(), "carrot.toml:1:1: group: is missing: there is nothing to serve"),
        // Read, not validated: the file's own line all the same.
        (
            "[[group]]\nname = 'a'\nttl = '-5m'\n".to_owned(),
            "carrot.toml:3:7: group.ttl: \"-5m\" is not a time with its unit: ms, s, m, h or d, as in 5m",
        ),
    ] {
        assert_eq!(Case::new(&text).refused(&[]), said, "{text}");
    }
}

#[test]
fn what_was_typed_over_the_file_is_named_as_it_was_typed() {
    let case = Case::new(TWO_GROUPS);
    let line = case.refused(&["--http", "0.0.0.0:1"]);
    assert!(line.starts_with("--http 0.0.0.0:1 is open to other machines"), "{line}");
    let line = case.refused(&["--memory", "1MiB"]);
    assert!(line.starts_with("--memory 1MiB is less than 65MiB"), "{line}");
    let line = case.refused(&["--group", "scores", "--query", "select 1"]);
    assert_eq!(line, "--query goes with an origin of kind sqlite alone");
    let variables = |name: &str| match name {
        "CARROT_PASSWORD" => Ok("a\nb".to_owned()),
        _ => Err(VarError::NotPresent),
    };
    let line = case.read_with(&[], &variables).err().unwrap();
    assert_eq!(
        line,
        "CARROT_PASSWORD has to be 1 byte or more, without control characters or spaces around it"
    );
}

#[test]
fn the_password_s_variable_wins_over_the_file() {
    let case = Case::new("[node]\npassword = 'file'\nadmin = '0.0.0.0:1'\n[[group]]\nname = 'a'\n");
    let password = |read: &Configured| read.settings.node.password.clone().unwrap();
    assert_eq!(password(&case.read(&[]).unwrap()).reveal(), "file");
    let variables = |name: &str| match name {
        "CARROT_PASSWORD" => Ok("variable".to_owned()),
        _ => Err(VarError::NotPresent),
    };
    assert_eq!(password(&case.read_with(&[], &variables).unwrap()).reveal(), "variable");
}

#[test]
fn redis_clients_have_the_node_s_password_unless_they_have_their_own() {
    let group = "[[group]]\nname = 'a'\n";
    let password = |text: &str, variables: &[(&str, &str)]| {
        let case = Case::new(&format!("{text}{group}"));
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned()).ok_or(VarError::NotPresent)
        };
        let settings = case.read_with(&[], &variable)?.settings;
        Ok(settings.resp_password().map(|password| password.reveal().to_owned()))
    };
    let said = |password: &str| Ok::<_, String>(Some(password.to_owned()));
    let own = "[resp]\npassword = '${OWN}'\n";
    assert_eq!(password("", &[]), Ok(None));
    assert_eq!(password("[node]\npassword = 'all'\n", &[]), said("all"));
    assert_eq!(password(&format!("[node]\npassword = 'all'\n{own}"), &[("OWN", "own")]), said("own"));
    assert_eq!(password("", &[("CARROT_PASSWORD", "all"), ("CARROT_RESP_PASSWORD", "own")]), said("own"));
    assert_eq!(password(own, &[("OWN", "own"), ("CARROT_RESP_PASSWORD", "variable")]), said("variable"));
    assert_eq!(
        password("[resp]\npassword = ''\n", &[]).unwrap_err(),
        "carrot.toml:2:12: resp.password: has to be 1 byte or more, without control characters or spaces around it"
    );
    // It closes its own front, and no other.
    let open = "[node]\nresp = '0.0.0.0:1'\n[resp]\npassword = 'own'\n";
    assert_eq!(password(open, &[]), said("own"));
    let line = password(&open.replace("resp = ", "http = "), &[]).unwrap_err();
    assert!(line.starts_with("carrot.toml:2:8: node.http: 0.0.0.0:1 is open to other machines"), "{line}");
}

#[test]
fn a_secret_that_others_may_read_is_warned_of() {
    let case = Case::new("[node]\npassword = 'sesame'\n[[group]]\nname = 'a'\n");
    for (mode, warned) in [(0o644, true), (0o600, false)] {
        fs::set_permissions(case.file(), fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(case.read(&[]).unwrap().exposed.is_some(), warned, "{mode:o}");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let case = Case::new("");
    let directory = case.directory.path();
    let none = |_: &str| Err(VarError::NotPresent);
    let line = |path: &Path| read_alone(path.to_owned(), &none).err().unwrap().to_string();
    let missing = directory.join("none.toml");
    assert_eq!(line(&missing), format!("cannot read {}: no such file", missing.display()));
    assert_eq!(line(directory), format!("cannot read {}: it is a directory", directory.display()));
    assert_eq!(line(Path::new("/dev/zero")), "cannot read /dev/zero: it is longer than 4194304 bytes");
    fs::write(case.file(), b"[node]\nname = '\xff'").unwrap();
    assert_eq!(case.refused(&[]), "carrot.toml:2:9: not UTF-8");
    fs::write(case.file(), "[node]\nname = ").unwrap();
    let line = case.refused(&[]);
    assert!(line.starts_with("carrot.toml:2:"), "{line}");
}

#[test]
fn an_http_origin_that_cannot_be_made_is_refused_where_it_stands() {
    let refused = |more: &str| {
        Case::new(&format!(
            "[[group]]\nname = 'a'\n[group.origin]\nkind = 'http'\nurl = 'http://a/{{key}}'\n{more}\n"
        ))
        .refused(&[])
    };
    let said = "carrot.toml:6:6: group.origin.ca: a file of certificates is for https origins alone";
    assert_eq!(refused("ca = 'ca.pem'"), said);
    let said = "carrot.toml:6:11: group.origin.headers: header \"host\" of the origin is not for settings: \
                the request itself makes it";
    assert_eq!(refused("headers = { Host = 'b' }"), said);
}
