//! `get`, `set` and `remove` against a real node: what they write, byte for byte, and each exit code they can end with.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::ffi::OsStringExt;
use std::process::Stdio;

use crate::awaiting::{eventually, until};
use crate::client::get;
use crate::command::Shell;
use crate::database::{Pages, SERVE, body};
use crate::process::{Node, Process, free_ports};

/// A node in front of one page, and a command line that asks it.
fn with_node(flags: &[&str]) -> (Pages, Node, Shell) {
    let pages = Pages::new("delete", &[("home", "Hello")]);
    let node = Node::alone(pages.directory.path(), &[&SERVE[..], flags].concat());
    let shell = Shell::asking(node.http);
    (pages, node, shell)
}

/// Bytes that no text is made of.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(length)
    .collect()
}

#[test]
fn a_value_is_loaded_set_and_removed_as_the_help_says() {
    let (_pages, _node, shell) = with_node(&[]);
    assert_eq!(shell.run(&["get", "pages", "home"]).done(), b"Hello");
    assert_eq!(shell.run(&["set", "pages", "home", "Hi there"]).done(), b"");
    assert_eq!(shell.run(&["get", "pages", "home"]).done(), b"Hi there");
    assert_eq!(shell.run(&["remove", "pages", "home"]).done(), b"");
    assert_eq!(shell.run(&["get", "pages", "home"]).done(), b"Hello");
    // One that nobody holds is removed as well, and so are several.
    assert_eq!(shell.run(&["remove", "pages", "nobody's"]).done(), b"");
    shell.run(&["set", "pages", "a", "1"]).done();
    shell.run(&["set", "pages", "b", "2"]).done();
    assert_eq!(shell.run(&["remove", "pages", "a", "nobody's", "b"]).done(), b"");
    for key in ["a", "b"] {
        assert_eq!(shell.refusal(&["get", "pages", key], 1), format!("group pages has no key {key}"));
    }
}

#[test]
fn the_node_is_given_by_its_flag_or_its_variable_and_the_flag_wins() {
    let (_pages, node, shell) = with_node(&[]);
    let url = format!("http://{}/", node.http);
    assert_eq!(Shell::default().run(&["get", "--node", &url, "pages", "home"]).done(), b"Hello");
    let nowhere = Shell::asking(free_ports(1)[0]);
    assert_eq!(nowhere.run(&["get", "pages", "home", "--node", &url]).done(), b"Hello");
    assert_eq!(shell.run(&["get", "pages", "home"]).done(), b"Hello");
}

#[test]
fn values_are_any_bytes_from_standard_input_to_standard_output() {
    let (_pages, _node, shell) = with_node(&[]);
    for value in [&b""[..], b"\n", b"\r\n\0\xff", b"-", &noise(1 << 10), &noise(1 << 20), &noise(8 << 20)] {
        for arguments in [&["set", "pages", "k"][..], &["set", "pages", "k", "-"]] {
            shell.run_with(arguments, value).done();
            assert!(shell.run(&["get", "pages", "k"]).done() == value, "{} bytes", value.len());
            shell.run(&["remove", "pages", "k"]).done();
        }
    }
    let odd = OsString::from_vec(b"\xff \n-".to_vec());
    shell.run(&[OsStr::new("set"), OsStr::new("pages"), OsStr::new("k"), &odd]).done();
    assert_eq!(shell.run(&["get", "pages", "k"]).done(), b"\xff \n-");
    // An empty argument is a value, and not standard input.
    shell.run_with(&["set", "pages", "k", ""], b"input").done();
    assert_eq!(shell.run(&["get", "pages", "k"]).done(), b"");
}

#[test]
fn keys_are_any_bytes_and_arrive_as_they_are() {
    let (_pages, node, shell) = with_node(&[]);
    let longest = "k".repeat(4096);
    for (key, target) in [
        (&b"a b+c"[..], "a%20b+c"),
        (b".", "."),
        (b"..", ".."),
        (b"/", "/"),
        (b"/a//../b/", "/a//../b/"),
        (b"%2F%", "%252F%25"),
        (b"a?ttl=1s#b", "a%3Fttl=1s%23b"),
        (b"\xff\xfe", "%FF%FE"),
        (b"line\nend\r\t", "line%0Aend%0D%09"),
        ("ключ".as_bytes(), "%D0%BA%D0%BB%D1%8E%D1%87"),
        (b"--node", "--node"),
        (b"\"'\\", "%22'%5C"),
        (longest.as_bytes(), &longest),
    ] {
        let word = OsString::from_vec(key.to_vec());
        let with = |command: &str, rest: &[&str]| {
            let words = [command, "pages", "--"].into_iter().map(OsString::from);
            words.chain([word.clone()]).chain(rest.iter().map(OsString::from)).collect::<Vec<_>>()
        };
        shell.run(&with("set", &["odd"])).done();
        // As a client that escapes in its own way finds it.
        assert_eq!(get(node.http, &format!("/v1/pages/{target}")).text(), "odd", "{target}");
        assert_eq!(shell.run(&with("get", &[])).done(), b"odd", "{target}");
        shell.run(&with("remove", &[])).done();
        assert_eq!(shell.run(&with("get", &[])).code, Some(1), "{target}");
    }
}

#[test]
fn a_value_lives_for_the_ttl_that_it_is_given() {
    let (_pages, _node, shell) = with_node(&[]);
    shell.run(&["set", "pages", "home", "for long", "--ttl", "1h"]).done();
    assert_eq!(shell.run(&["get", "pages", "home"]).done(), b"for long");
    shell.run(&["set", "pages", "home", "not for long", "--ttl", "50ms"]).done();
    until("it is past its ttl", || shell.run(&["get", "pages", "home"]).done() == b"Hello");
}

#[test]
fn what_a_node_refuses_or_fails_at_is_told_in_its_own_words_with_exit_code_3() {
    let (pages, _node, shell) = with_node(&["--load-deadline", "300ms", "--max-waiters", "1"]);
    for command in ["get", "set", "remove"] {
        assert_eq!(shell.refusal(&[command, "none", "home"], 3), "no such group: none");
    }
    let key = "k".repeat(4097);
    for command in ["get", "set", "remove"] {
        let line = shell.refusal(&[command, "pages", &key], 3);
        assert_eq!(line, "key of 4097 bytes is over the limit of 4096");
    }
    let line = shell.refusal(&["get", "pages", &"k".repeat(100_000)], 3);
    assert!(line.ends_with("… (100000 bytes) is longer than any node takes"), "{line}");

    pages.lock();
    assert_eq!(shell.refusal(&["get", "pages", "home"], 3), "no value of home in group pages within 300ms");
    pages.unlock();
    let here = pages.directory.path().join("app.db");
    std::fs::rename(&here, pages.directory.path().join("away.db")).unwrap();
    let line = shell.refusal(&["get", "pages", "other"], 3);
    assert!(line.starts_with("loading other for group pages failed: "), "{line}");
}

#[test]
fn a_node_that_is_busy_says_so_and_the_command_ends_with_exit_code_3() {
    let (pages, node, shell) = with_node(&["--max-waiters", "1"]);
    pages.lock();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| node.get("/v1/pages/home"));
        until("it waits", || node.page().number(r#"carrot_waiters{group="pages"}"#) >= 1.0);
        assert_eq!(shell.refusal(&["get", "pages", "home"], 3), "busy: max_waiters of 1 is reached");
        pages.unlock();
        assert_eq!(waiting.join().unwrap().text(), "Hello");
    });
}

#[test]
fn a_value_over_the_limit_is_refused_by_the_node_whatever_its_size() {
    let (_pages, node, shell) = with_node(&["--limit-value", "1KiB"]);
    shell.run_with(&["set", "pages", "k"], &noise(1024)).done();
    for length in [1025, 100_000, 1 << 20, 64 << 20] {
        let said = shell.run_with(&["set", "pages", "k"], &noise(length));
        assert_eq!(said.code, Some(3), "{said:?}");
        assert_eq!(said.line(), format!("value of {length} bytes is over the limit of 1024"));
    }
    assert_eq!(shell.run(&["get", "pages", "k"]).done(), noise(1024), "the old value stands");
    assert_eq!(node.page().number(r#"carrot_refusals_total{cause="value"}"#), 4.0);
}

#[test]
fn a_write_that_its_owner_does_not_confirm_is_no_success() {
    let pages = Pages::numbered(40);
    // Nobody listens at the other owner's address.
    let other = free_ports(1);
    let nodes = Node::cluster(pages.directory.path(), &["a"], &other, &SERVE);
    let shell = Shell::asking(nodes[0].http);
    let owner = format!("http://{} did not confirm: ", other[0]);
    let unconfirmed = (0..40).map(|n| n.to_string()).find(|key| {
        let said = shell.run(&["set", "pages", key, "x"]);
        said.code != Some(0) && {
            assert!(said.code == Some(3) && said.line().starts_with(&owner), "{said:?}");
            true
        }
    });
    let key = unconfirmed.expect("the other owns some of forty keys");
    assert!(shell.refusal(&["remove", "pages", &key], 3).starts_with(&owner));
    // Reading goes on without it.
    let number: usize = key.parse().unwrap();
    assert_eq!(shell.run(&["get", "pages", &key]).text(), body(number));
}

#[test]
fn of_several_keys_each_is_tried_and_each_that_failed_is_a_line() {
    let (_pages, _node, shell) = with_node(&[]);
    shell.run(&["set", "pages", "home", "set"]).done();
    let long = "k".repeat(5000);
    let said = shell.run(&["remove", "pages", &long, "home", &long]);
    assert_eq!((said.code, said.out.len()), (Some(3), 0));
    let line =
        format!("carrot: {}… (5000 bytes): key of 5000 bytes is over the limit of 4096\n", &long[..80]);
    assert_eq!(said.errors, line.repeat(2));
    assert_eq!(shell.run(&["get", "pages", "home"]).done(), b"Hello", "the one in between was removed");

    let nowhere = free_ports(1)[0];
    let said = Shell::asking(nowhere).run(&["remove", "pages", "a", "b\nc"]);
    assert_eq!(said.code, Some(4));
    let lines: Vec<&str> = said.errors.lines().collect();
    let [first, second] = lines[..] else { panic!("{lines:?}") };
    assert!(first.starts_with(&format!("carrot: a: cannot connect to http://{nowhere}: ")), "{first}");
    assert!(second.starts_with(&format!("carrot: b\\nc: cannot connect to http://{nowhere}: ")), "{second}");
}

#[test]
fn a_node_that_is_down_or_silent_is_exit_code_4() {
    let nowhere = free_ports(1)[0];
    // It listens, and that is all: the system takes the connection.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap();
    let node = format!("http://{silent}");
    for arguments in
        [&["get", "g", "k"][..], &["set", "g", "k", "v"], &["remove", "g", "k"], &["owner", "g", "k"]]
    {
        let line = Shell::asking(nowhere).refusal(arguments, 4);
        assert!(line.starts_with(&format!("cannot connect to http://{nowhere}: ")), "{line}");
        let line =
            Shell::default().refusal(&[arguments, &["--node", &node, "--timeout", "50ms"]].concat(), 4);
        assert_eq!(line, format!("no answer of {node} within 50ms"));
    }
    for shot in [&["stat", "-1"][..], &["stat"]] {
        let line = Shell::watching(nowhere).refusal(shot, 4);
        assert!(line.starts_with(&format!("cannot connect to http://{nowhere}: ")), "{line}");
        let line = Shell::watching(silent).refusal(&[shot, &["--timeout", "50ms"]].concat(), 4);
        assert_eq!(line, format!("no answer of {node} within 50ms"));
    }
}

#[test]
fn a_node_with_a_password_answers_who_knows_it() {
    let directory = tempfile::tempdir().unwrap();
    let ports = ["--peer", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let arguments = [&["serve", "--group", "g", "--origin", "table:k=v"][..], &ports].concat();
    let password = "open: sesam\u{e9}";
    let process = Process::start_with(directory.path(), &arguments, &[("CARROT_PASSWORD", password)]);
    let [_, http, admin] = Node::listening(&process).unwrap();
    let admin = format!("http://{admin}");
    let (without, with) = (Shell::asking(http), Shell::asking(http).with("CARROT_PASSWORD", password));
    for (arguments, node) in [
        (&["get", "g", "k"][..], format!("http://{http}")),
        (&["set", "g", "k", "w"], format!("http://{http}")),
        (&["remove", "g", "k"], format!("http://{http}")),
        (&["owner", "g", "k"], format!("http://{http}")),
        (&["stat", "-1", "--admin", &admin], admin.clone()),
    ] {
        assert_eq!(without.refusal(arguments, 3), format!("{node} wants a password: set CARROT_PASSWORD"));
        let wrong = without.clone().with("CARROT_PASSWORD", "open sesame");
        let line = wrong.refusal(arguments, 3);
        assert_eq!(line, format!("{node} does not take the password in CARROT_PASSWORD"));
        assert!(!with.run(arguments).text().contains("sesam"));
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure_and_a_full_disk_is_one() {
    let (_pages, _node, shell) = with_node(&[]);
    shell.run_with(&["set", "pages", "k"], &noise(1 << 20)).done();
    let mut child = shell.command(&["get", "pages", "k"]).spawn().unwrap();
    drop(child.stdout.take());
    let status = eventually("it ends", || child.try_wait().unwrap());
    let errors = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert_eq!((status.code(), &*errors), (Some(0), ""));

    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = shell.command(&["get", "pages", "k"]).stdout(Stdio::from(full)).output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{line}");
    assert!(line.starts_with("carrot: standard output: ") && line.matches('\n').count() == 1, "{line}");
}

#[test]
fn input_that_cannot_be_read_is_told_and_nothing_is_set() {
    let (pages, _node, shell) = with_node(&[]);
    let directory = File::open(pages.directory.path()).unwrap();
    let output = shell.command(&["set", "pages", "home"]).stdin(Stdio::from(directory)).output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{line}");
    assert!(line.starts_with("carrot: standard input: "), "{line}");
    assert_eq!(shell.run(&["get", "pages", "home"]).done(), b"Hello");
}

#[test]
fn wrong_usage_is_one_line_and_exit_code_2() {
    let shell = Shell::default();
    for (arguments, said) in [
        (&["get", "pages"][..], "the following required arguments were not provided: <KEY>"),
        (&["remove", "pages"], "the following required arguments were not provided: <KEY>..."),
        (&["get", "pages", ""], "invalid value '' for '<KEY>': a key has at least one byte"),
        (&["remove", "pages", "a", ""], "a key has at least one byte"),
        (&["get", "a/b", "k"], "\"a/b\" is not a group name"),
        (&["get", "pages", "a", "b"], "unexpected argument 'b' found"),
        (
            &["get", "pages", "-k"],
            "unexpected argument '-k' found; tip: to pass '-k' as a value, use '-- -k'",
        ),
        (&["set", "g", "k", "v", "--ttl", "60"], "'--ttl <TIME>': \"60\" is not a time with its unit"),
        (&["set", "g", "k", "v", "--ttl", "0s"], "'--ttl <TIME>': it has to be longer than nothing"),
        (&["get", "g", "k", "--timeout", "0s"], "'--timeout <TIME>': it has to be longer than nothing"),
        (&["stat", "--interval", "0ms"], "'--interval <TIME>': it has to be longer than nothing"),
        (&["get", "g", "k", "--node", "https://a:1"], "a node is asked over plain http"),
        (&["get", "g", "k", "--node", "127.0.0.1:9999"], "the URL has to begin with http://"),
        (&["stat", "--admin", "127.0.0.1:9990"], "the URL has to begin with http://"),
        (&["stat", "--node", "http://a:1"], "unexpected argument '--node' found"),
    ] {
        let line = shell.refusal(arguments, 2);
        assert!(line.contains(said), "{arguments:?}: {line}");
    }
    let line = Shell::default().with("CARROT_PASSWORD", "a\nb").refusal(&["get", "g", "k"], 2);
    assert_eq!(line, "CARROT_PASSWORD has to be UTF-8 without control characters");
    let line = Shell::default().with("CARROT_NODE", "nowhere").refusal(&["get", "g", "k"], 2);
    assert!(line.contains("invalid value 'nowhere' for 'CARROT_NODE'"), "{line}");
}

#[test]
fn help_tells_of_each_command_what_to_type_and_how_it_ends() {
    let help =
        |arguments: &[&str]| Shell::default().with("CARROT_PASSWORD", "a secret").run(arguments).text();
    let all = help(&["--help"]);
    for command in ["get", "set", "remove", "owner", "stat"] {
        assert!(all.lines().any(|line| line.trim_start().starts_with(command)), "{command}: {all}");
        let of_one = help(&[command, "--help"]);
        let example = format!("carrot {command} ");
        for said in
            [&*example, "Exit codes: 0 done", "4 no answer of a", "CARROT_PASSWORD", "[default: http://127"]
        {
            assert!(
                of_one.split_whitespace().collect::<Vec<_>>().join(" ").contains(said.trim_end()),
                "{said}: {of_one}"
            );
        }
        assert!(!of_one.contains("a secret"), "{of_one}");
        assert!(of_one.lines().all(|line| line.chars().count() <= 120), "{of_one}");
    }
}
