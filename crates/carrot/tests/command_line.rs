//! The command line of the program as it is built: what is wrong is one line on standard error and exit code 2.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::path::Path;
use std::process::{Command, Output};

/// Runs the program with nothing in its environment but `variables`.
fn carrot(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_carrot"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

/// The one line on standard error of a run that has to fail with exit code 2 and without a word on standard output.
fn refusal(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = carrot(arguments, variables);
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {line}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{arguments:?}");
    assert!(line.starts_with("carrot: ") && line.ends_with('\n'), "{arguments:?}: {line:?}");
    assert_eq!(line.matches('\n').count(), 1, "{arguments:?}: {line}");
    line.trim_end().to_owned()
}

fn database(dir: &Path) -> String {
    let file = dir.join("app.db");
    let writer = rusqlite::Connection::open(&file).unwrap();
    writer.execute_batch("create table pages(id text primary key, body text)").unwrap();
    format!("sqlite:{}", file.display())
}

#[test]
fn a_value_that_cannot_be_read_is_named_with_its_flag() {
    let needed = ["serve", "--group", "pages", "--origin", "table:a=b"];
    let with = |flags: &[&str]| refusal(&[&needed[..], flags].concat(), &[]);
    assert_eq!(
        with(&["--ttl", "60"]),
        "carrot: invalid value '60' for '--ttl <TIME>': \"60\" is not a time with its unit: ms, s, m, h or d, as in 5m"
    );
    assert!(
        with(&["--group", "api"]).contains("the argument '--group <NAME>' cannot be used multiple times")
    );
    assert!(
        with(&["--tll", "60s"])
            .contains("unexpected argument '--tll' found; tip: a similar argument exists: '--ttl'")
    );
}

#[test]
fn a_group_name_outside_its_alphabet_is_refused() {
    for name in ["api", "a/b", "..", "", "a\nb"] {
        let line = refusal(&["serve", "--origin", "table:a=b", "--group", name], &[]);
        assert!(line.contains("is not a group name: 1 to 64 of A-Z a-z 0-9 _ . -"), "{line}");
    }
}

#[test]
fn an_origin_that_is_not_known_is_refused_with_those_that_are() {
    for (url, kind) in
        [("ftp://example.org/{key}", "ftp"), ("file:public", "file"), ("postgres:x", "postgres")]
    {
        let line = refusal(&["serve", "--group", "pages", "--origin", url], &[]);
        let known = "sqlite:FILE, http://…/{key}, https://…/{key}, dir:PATH, table:k=v,…";
        let said = format!("origin kind {kind} is not known; known: {known}");
        assert!(line.ends_with(&said), "{line}");
    }
}

#[test]
fn what_is_needed_and_missing_is_asked_for() {
    let line = refusal(&["serve"], &[]);
    let said = "carrot: --group is missing: name what is served, or a file that does with --config";
    assert_eq!(line, said);
    let line = refusal(&["serve", "--origin", "table:a=b"], &[]);
    assert_eq!(line, "carrot: --origin goes with one group; --group has to say which");

    let dir = tempfile::tempdir().unwrap();
    let line = refusal(&["serve", "--group", "pages", "--origin", &database(dir.path())], &[]);
    assert!(
        line.ends_with("app.db needs a query, as in --query 'select body from pages where id = ?1'"),
        "{line}"
    );
}

#[test]
fn a_database_that_can_never_serve_its_query_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let url = database(dir.path());
    let start = |url: &str, query: &str| {
        refusal(&["serve", "--group", "pages", "--origin", url, "--query", query], &[])
    };
    for (query, said) in [
        ("select body from pages", "it has 0 parameters and needs exactly one"),
        ("select body from pages where id = ?1 or id = ?2", "it has 2 parameters and needs exactly one"),
        ("update pages set body = ?1", "it writes, and an origin is only read"),
        ("select body\nfrom where id = ?1", "near \"where\": syntax error"),
        ("select ?1; select 2", "it holds more than one statement"),
    ] {
        let line = start(&url, query);
        assert!(line.contains(said), "{query}: {line}");
    }
}

#[test]
fn variables_stand_for_flags_and_flags_win() {
    let dir = tempfile::tempdir().unwrap();
    let url = database(dir.path());
    let group = [("CARROT_GROUP", "pages"), ("CARROT_ORIGIN", &url), ("CARROT_QUERY", "select 1")];
    let line = refusal(&["serve"], &group);
    assert!(line.contains("it has 0 parameters and needs exactly one"), "{line}");
    let line = refusal(&["serve", "--query", "select ?1, ?2"], &group);
    assert!(line.contains("it has 2 parameters and needs exactly one"), "{line}");
    let line = refusal(&["serve"], &[&group[..], &[("CARROT_TTL", "60")]].concat());
    assert!(line.contains("'CARROT_TTL': \"60\" is not a time with its unit"), "{line}");
    let line = refusal(&["serve"], &[&group[..], &[("CARROT_HTTP", "0.0.0.0:1")]].concat());
    assert!(line.starts_with("carrot: CARROT_HTTP 0.0.0.0:1 is open to other machines"), "{line}");
    let line = refusal(&["serve"], &[&group[..], &[("CARROT_LOG", "carrot=loud")]].concat());
    assert!(line.starts_with("carrot: CARROT_LOG is not a filter"), "{line}");
}

#[test]
fn a_demonstration_whose_ports_would_not_exist_is_refused() {
    let line = refusal(&["demo", "--offset", "60000"], &[]);
    assert!(line.contains("'--offset <N>'"), "{line}");
}

#[test]
fn help_and_version_are_printed_and_are_no_failure() {
    let version = carrot(&["--version"], &[]);
    assert!(version.status.success());
    assert_eq!(String::from_utf8_lossy(&version.stdout), format!("carrot {}\n", env!("CARGO_PKG_VERSION")));

    let help = carrot(&["serve", "--help"], &[("CARROT_QUERY", "a secret")]);
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(help.status.success());
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for said in [
        "[env: CARROT_TTL]",
        "[default: 64MiB]",
        "--query 'select body from pages where id = ?1' --ttl 60s",
        "live on for at most their ttl or 60 s",
        "carrot serve --config carrot.toml",
        "not needed where the file has one alone",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(!text.contains("a secret"));
}

#[test]
fn no_line_of_any_help_is_wider_than_a_terminal_of_100_columns() {
    for command in ["demo", "serve", "init", "check", "get", "set", "remove", "owner", "stat"] {
        let help = String::from_utf8(carrot(&[command, "--help"], &[]).stdout).unwrap();
        assert!(help.contains("Usage: carrot"), "{command}: {help}");
        for line in help.lines() {
            assert!(line.chars().count() <= 100, "{command}: {line}");
        }
    }
}
