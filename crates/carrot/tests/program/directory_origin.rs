//! A node in front of a directory: what a key cannot reach, over real HTTP, with a good file beside.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, Mode, mkfifoat};
use tempfile::TempDir;

use crate::client::Client;
use crate::process::Node;

const SERVE: [&str; 4] = ["--group", "files", "--origin", "dir:public"];

/// A directory that holds `public` with a good file, and beside it a secret.
fn files() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let public = directory.path().join("public");
    fs::create_dir_all(public.join("sub")).unwrap();
    fs::write(directory.path().join("secret"), "secret").unwrap();
    fs::write(public.join("good.txt"), "good").unwrap();
    fs::write(public.join("sub/good.txt"), "below").unwrap();
    directory
}

/// Everything in a directory that must not be served.
fn add_traps(public: &Path) {
    fs::create_dir(public.join(".git")).unwrap();
    for hidden in [".env", ".git/config", "sub/.env", "a\\b"] {
        fs::write(public.join(hidden), "hidden").unwrap();
    }
    for (target, link) in [
        ("../secret", "out"),
        ("/etc/passwd", "passwd"),
        ("..", "parent"),
        ("/", "slash"),
        ("good.txt", "in"),
        ("sub", "in-directory"),
        ("itself", "itself"),
        ("/dev/zero", "zero"),
    ] {
        symlink(target, public.join(link)).unwrap();
    }
    mkfifoat(CWD, public.join("pipe"), Mode::RWXU).unwrap();
}

#[test]
fn no_target_reaches_what_is_not_a_regular_file_in_sight_below_the_directory() {
    let directory = files();
    add_traps(&directory.path().join("public"));
    let node = Node::alone(directory.path(), &SERVE);
    let absolute = directory.path().join("secret");
    let absolute = absolute.to_str().unwrap();
    let mut client = Client::connect(node.http);
    for key in [
        "none",
        ".",
        "..",
        "../secret",
        "..%2fsecret",
        "%2e%2e/secret",
        "%2e%2e%2fsecret",
        "%252e%252e%252fsecret",
        "sub/../../secret",
        "sub/../good.txt",
        "./good.txt",
        "sub/./good.txt",
        "/good.txt",
        "%2fetc%2fpasswd",
        absolute,
        "sub//good.txt",
        "good.txt/",
        "good.txt/.",
        "sub",
        "sub/",
        "%00",
        "good.txt%00",
        "good%00.txt",
        "../secret%00.txt",
        "a%5cb",
        "..%5csecret",
        "%c0%ae%c0%ae/secret",
        "%ff",
        ".env",
        ".git/config",
        "sub/.env",
        "out",
        "passwd",
        "parent",
        "parent/secret",
        "parent/public/good.txt",
        "slash/etc/passwd",
        "in",
        "in-directory/good.txt",
        "itself",
        "zero",
        "pipe",
        &"../".repeat(1000),
        &"n".repeat(4000),
        &"d/".repeat(2000),
    ] {
        let reply = client.get(&format!("/v1/files/{key}"));
        assert_eq!(reply.status, 404, "{key}: {reply:?}");
        assert!(reply.text().starts_with(r#"{"error":"not_found""#), "{key}: {reply:?}");
        assert_eq!(client.get("/v1/files/sub/good.txt").text(), "below", "{key}");
    }
    let reply = node.get("/api?group=files&key=../secret");
    assert_eq!((reply.status, reply.text()), (404, "group files has no key ../secret\n"));
    assert_eq!(node.get("/v1/files/good.txt").text(), "good");
    assert_eq!(node.page().sum("carrot_loads_total", "failed"), 0.0);
}

#[test]
fn a_file_is_served_as_its_bytes_under_whatever_name_it_has() {
    let directory = files();
    let public = directory.path().join("public");
    let bytes: Vec<u8> = (0..=255).collect();
    for (name, target) in [
        (&b"a b+c%.bin"[..], "a%20b+c%25.bin"),
        (b"\xff\xfe", "%ff%fe"),
        ("grüß".as_bytes(), "gr%c3%bc%c3%9f"),
        (b"sub/a..b", "sub/a..b"),
    ] {
        fs::write(public.join(OsStr::from_bytes(name)), &bytes).unwrap();
        let node = Node::alone(directory.path(), &SERVE);
        let reply = node.get(&format!("/v1/files/{target}"));
        assert_eq!((reply.status, &reply.body, reply.cache().0), (200, &bytes, "miss"), "{target}");
        assert_eq!(node.get(&format!("/v1/files/{target}")).cache().0, "hit");
    }
}

#[test]
fn a_file_over_the_limit_is_refused_by_its_size_and_what_changed_is_read_after_a_delete() {
    let directory = files();
    let public = directory.path().join("public");
    let node = Node::alone(directory.path(), &[&SERVE[..], &["--limit-value", "1KiB"]].concat());
    fs::write(public.join("page"), [7; 1025]).unwrap();
    let reply = node.get("/v1/files/page");
    let cause = "the file of 1025 bytes is over the limit of 1024";
    let body =
        format!(r#"{{"error":"load_failed","message":"loading page for group files failed: {cause}"}}"#);
    assert_eq!((reply.status, reply.text()), (502, &*body));
    for length in [1024, 0] {
        fs::write(public.join("page"), vec![7; length]).unwrap();
        let mut client = Client::connect(node.http);
        assert_eq!(client.ask("DELETE", "/v1/files/page").status, 204);
        assert_eq!(client.get("/v1/files/page").body, vec![7; length]);
    }
}
