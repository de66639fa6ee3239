//! What each file must hold to by itself: clocks, sockets, the engine, headers, names, lengths, unsafe code, and what no
//! text of the repository says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::floors::{self, File};
use crate::imports::Path;
use crate::scan::{Token, is_name};

/// A rule of the house. Its name in the reports is its `Debug`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    Upward,
    SuperSuper,
    Root,
    Circle,
    NoFloor,
    Clock,
    Socket,
    Engine,
    Header,
    Name,
    Length,
    Forbid,
    Unsafe,
    Safety,
    MachinePath,
    Unfinished,
}

/// All of them, so that the planted violations can be held to have one of each.
pub(crate) const RULES: [Rule; 16] = [
    Rule::Upward,
    Rule::SuperSuper,
    Rule::Root,
    Rule::Circle,
    Rule::NoFloor,
    Rule::Clock,
    Rule::Socket,
    Rule::Engine,
    Rule::Header,
    Rule::Name,
    Rule::Length,
    Rule::Forbid,
    Rule::Unsafe,
    Rule::Safety,
    Rule::MachinePath,
    Rule::Unfinished,
];

/// Where a rule is broken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    pub(crate) file: String,
    /// From 1; 1 also for what concerns the file as a whole.
    pub(crate) line: usize,
    pub(crate) rule: Rule,
    pub(crate) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {:?}: {}", self.file, self.line, self.rule, self.what)
    }
}

/// The longest file, in lines. Past it there is a second idea in it.
const LINES: usize = 600;
/// File names that name no idea.
const NAMES: [&str; 7] = ["utils", "util", "helpers", "helper", "common", "types", "misc"];
/// What opens a socket, or asks the network for a name.
const SOCKETS: [&str; 9] = [
    "TcpStream",
    "TcpListener",
    "TcpSocket",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "UnixDatagram",
    "ToSocketAddrs",
    "lookup_host",
];
/// What `std::net` has besides sockets.
const ADDRESSES: [&str; 7] =
    ["SocketAddr", "SocketAddrV4", "SocketAddrV6", "IpAddr", "Ipv4Addr", "Ipv6Addr", "AddrParseError"];
/// Functions that wait for a clock, when they are called by their bare name.
const WAITS: [&str; 6] = ["sleep", "sleep_until", "interval", "interval_at", "timeout", "timeout_at"];
/// Methods that read a clock or wait for one.
const TIMED: [&str; 6] =
    ["elapsed", "wait_timeout", "wait_timeout_while", "wait_timeout_ms", "recv_timeout", "recv_deadline"];
/// Directories of the machines that the project was written on: the roots that paths copied from one begin with.
const MACHINES: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
/// Where unsafe code may stand: in any file of the engine that announces it, and in one file of the bench, since an
/// allocator that counts cannot be had without. The root of every other crate forbids it.
const UNSAFE: [(&str, Option<&str>); 2] = [("engine", None), ("bench", Some("alloc"))];
/// What is written where work was left undone.
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("to", "do!")];

/// Every violation in these files, given as path from the repository's root and text; in order, each line and rule once.
pub(crate) fn check(files: &[(String, String)]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut crates: BTreeMap<&str, Vec<File<'_>>> = BTreeMap::new();
    for (path, text) in files {
        violations.extend(words(path, text));
        if path.starts_with("crates/") && path.ends_with(".rs") {
            violations.extend(shape(path, text));
        }
        if let Some(file) = File::read(path, text) {
            crates.entry(file.krate).or_default().push(file);
        }
    }
    for files in crates.values() {
        let tests = floors::test_modules(files);
        for file in files {
            violations.extend(source(file, &tests));
        }
        violations.extend(floors::check(files, &tests));
    }
    violations.sort();
    violations.dedup_by(|a, b| (&a.file, a.line, a.rule) == (&b.file, b.line, b.rule));
    violations
}

/// What no text may say, source or not.
fn words(path: &str, text: &str) -> Vec<Violation> {
    let report =
        |line, rule, what: &str| Violation { file: path.to_owned(), line, rule, what: what.to_owned() };
    let mut violations = Vec::new();
    for (at, line) in text.lines().enumerate() {
        // `src` before it makes it a relative path.
        let in_path = |c: char| c.is_alphanumeric() || "_.-)}]*".contains(c);
        for word in MACHINES.into_iter().filter(|word| stands(line, word, in_path)) {
            violations.push(report(at + 1, Rule::MachinePath, word));
        }
        let in_word = |c: char| c.is_alphanumeric() || c == '_';
        for word in UNFINISHED.into_iter().filter(|word| stands(line, word, in_word)) {
            violations.push(report(at + 1, Rule::Unfinished, word));
        }
    }
    violations
}

/// Whether `word` is in the line by itself: not with a mark before it that makes it the rest of another.
fn stands(line: &str, word: &str, joins: impl Fn(char) -> bool) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let after = line[at + word.len()..].chars().next();
        let whole = word.ends_with(['/', '!']) || !after.is_some_and(&joins);
        whole && !line[..at].chars().next_back().is_some_and(&joins)
    })
}

/// What every Rust file must look like: its name and its first line.
fn shape(path: &str, text: &str) -> Vec<Violation> {
    let report = |rule, what: &str| Violation { file: path.to_owned(), line: 1, rule, what: what.to_owned() };
    let mut violations = Vec::new();
    let bare = path.trim_end_matches(".rs");
    if bare.split('/').any(|part| NAMES.contains(&part)) {
        violations.push(report(Rule::Name, "a name that names no idea"));
    }
    // Three words at least: a header is there to be read.
    let header = text.lines().next().and_then(|line| line.strip_prefix("//! "));
    if header.is_none_or(|header| header.split_whitespace().count() < 3) {
        violations.push(report(Rule::Header, "the file opens without a //! header"));
    }
    violations
}

/// What a source file of a crate must hold to by itself.
fn source(file: &File<'_>, tests: &BTreeSet<String>) -> Vec<Violation> {
    let mut violations = Vec::new();
    if file.text.lines().count() > LINES && file.name() != "tests" {
        violations.push(file.violation(1, Rule::Length, format!("more than {LINES} lines")));
    }
    let may = UNSAFE.iter().find(|(krate, _)| *krate == file.krate);
    if let Some((_, only)) = may {
        violations.extend(unsafe_code(file, *only));
    }
    // Where one file may have it, the others may not: there the root denies it, which that file can lift.
    let levels = match may {
        None => &["forbid"][..],
        Some((_, Some(_))) => &["forbid", "deny"],
        Some((_, None)) => &[],
    };
    if file.module.is_empty() && !levels.is_empty() && !levels.iter().any(|level| holds_back(file, level)) {
        violations.push(file.violation(
            1,
            Rule::Forbid,
            format!("no #![{}(unsafe_code)]", levels.join(" or ")),
        ));
    }
    let library = file.krate == "carrotcache";
    if library && !matches!(file.module[..], ["store" | "memory" | "value" | "clock"]) {
        violations.extend(engine(file));
    }
    if (library || file.krate == "engine") && !is_test_only(file, tests) {
        if file.module != ["clock"] {
            violations.extend(clock(file));
        }
        if !(library && file.module.first() == Some(&"net")) {
            violations.extend(sockets(file));
        }
    }
    violations
}

fn is_test_only(file: &File<'_>, tests: &BTreeSet<String>) -> bool {
    (1..=file.module.len()).any(|n| tests.contains(&file.module[..n].join("::")))
}

/// The words of the file that stand outside its test modules, each with the two before and the one after.
fn product<'a>(file: &'a File<'_>) -> impl Iterator<Item = (Token<'a>, [&'a str; 2], &'a str)> {
    let tokens = &file.named.tokens;
    let text = |at: Option<usize>| at.and_then(|at| tokens.get(at)).map_or("", |token| token.text);
    (0..tokens.len()).filter(|&at| !file.named.in_tests(at)).map(move |at| {
        let before = [text(at.checked_sub(2)), text(at.checked_sub(1))];
        (tokens[at], before, text(Some(at + 1)))
    })
}

/// The paths of the file that stand outside its test modules.
fn product_paths<'a>(file: &'a File<'_>) -> impl Iterator<Item = &'a Path<'a>> {
    file.named.paths.iter().filter(|path| !path.in_tests)
}

/// Only clock.rs reads a clock or waits for one.
fn clock(file: &File<'_>) -> Vec<Violation> {
    let report = |line, what: String| file.violation(line, Rule::Clock, what);
    let mut violations: Vec<_> = product_paths(file)
        .filter(|path| is_clock(path))
        .map(|path| report(path.line, path.segments.join("::")))
        .collect();
    for (token, before, after) in product(file) {
        let call = after == "(";
        let waits = call && WAITS.contains(&token.text) && !own_word(file, token.text);
        // `clock.elapsed()` asks clock.rs.
        let timed = call && TIMED.contains(&token.text) && before[1] == "." && before[0] != "clock";
        // As a method or an associated function it is somebody's own; `thread::sleep` is found as a path.
        if timed || (waits && !matches!(before[1], "." | "::" | "fn")) || token.text == "UNIX_EPOCH" {
            violations.push(report(token.line, token.text.to_owned()));
        }
    }
    violations
}

/// Whether the bare function is the file's own, whose body is looked at too, or comes from clock.rs.
fn own_word(file: &File<'_>, word: &str) -> bool {
    let defined = file.named.tokens.windows(2).any(|two| two[0].text == "fn" && two[1].text == word);
    let from_clock = |path: &Path<'_>| path.is_use && path.segments.starts_with(&["crate", "clock", word]);
    defined || file.named.paths.iter().any(from_clock)
}

fn is_clock(path: &Path<'_>) -> bool {
    let names = &path.segments[..];
    let has = |two: [&str; 2]| names.windows(2).any(|pair| pair == two);
    let clocks = matches!(names, [.., "Instant" | "SystemTime"]);
    // Under another name the word could not be found where it is used.
    let hidden =
        path.renamed.is_some() && (clocks || matches!(names, ["std", "thread" | "time"] | ["tokio"]));
    hidden
        || has(["tokio", "time"])
        || has(["Instant", "now"])
        || has(["SystemTime", "now"])
        || has(["thread", "sleep"])
        || has(["thread", "sleep_until"])
        || has(["thread", "park_timeout"])
        || has(["thread", "*"])
        || names == ["tokio", "*"]
}

/// Only the library's net/ opens sockets.
fn sockets(file: &File<'_>) -> Vec<Violation> {
    let report = |line, what: String| file.violation(line, Rule::Socket, what);
    let named = product(file)
        .filter(|(token, ..)| SOCKETS.contains(&token.text))
        .map(|(token, ..)| report(token.line, token.text.to_owned()));
    let paths = product_paths(file)
        .filter(|path| is_socket(&path.segments))
        .map(|path| report(path.line, path.segments.join("::")));
    named.chain(paths).collect()
}

fn is_socket(names: &[&str]) -> bool {
    match names {
        ["tokio", "net", ..] | ["std", "os", _, "net", ..] => true,
        // The module as a whole would hide what is taken from it.
        ["std", "net"] => true,
        ["std", "net", name, ..] => !ADDRESSES.contains(name),
        _ => false,
    }
}

/// Only store.rs, memory.rs, value.rs and clock.rs of the library name the engine, in tests as well.
fn engine(file: &File<'_>) -> Vec<Violation> {
    let tokens = file.named.tokens.iter().filter(|token| token.text == "carrot_engine");
    tokens.map(|token| file.violation(token.line, Rule::Engine, "names the engine".to_owned())).collect()
}

/// Whether the file's inner attributes hold back unsafe code, at this level.
fn holds_back(file: &File<'_>, level: &str) -> bool {
    let words: Vec<_> = file.named.tokens.iter().map(|token| token.text).collect();
    words.windows(6).any(|six| six == ["#", "!", "[", level, "(", "unsafe_code"])
}

/// Unsafe code stands in files whose header speaks of it, or in the `only` one that may have any, and each block says
/// why it is sound.
fn unsafe_code(file: &File<'_>, only: Option<&str>) -> Vec<Violation> {
    let lines: Vec<_> = file.text.lines().collect();
    let allowed = only.is_none_or(|only| file.module == [only]);
    let announced =
        lines.iter().take_while(|line| line.starts_with("//!")).any(|line| line.contains("unsafe"));
    let mut violations = Vec::new();
    for two in file.named.tokens.windows(2).filter(|two| two[0].text == "unsafe") {
        let line = two[0].line;
        if !allowed {
            let what = format!("unsafe code outside {}", only.unwrap_or_default());
            violations.push(file.violation(line, Rule::Unsafe, what));
        } else if !announced {
            violations.push(file.violation(line, Rule::Unsafe, "the header does not say unsafe".to_owned()));
        }
        if matches!(two[1].text, "{" | "impl") && !explained(&lines[..line - 1]) {
            violations.push(file.violation(line, Rule::Safety, "no // SAFETY: above".to_owned()));
        }
    }
    violations
}

/// Whether one of the last three lines belongs to a comment that begins with SAFETY, however long that is.
fn explained(above: &[&str]) -> bool {
    let is_comment = |line: &&&str| line.trim_start().starts_with("//");
    let Some(near) = above.iter().rev().take(3).position(|line| is_comment(&line)) else { return false };
    let comment = above.iter().rev().skip(near).take_while(is_comment);
    comment.into_iter().any(|line| line.trim_start().starts_with("// SAFETY:"))
}

#[test]
fn a_word_stands_only_by_itself() {
    let joins = |c: char| is_name(&c.to_string());
    assert!(stands("a b.", "b", joins) && stands("b", "b", joins));
    assert!(!stands("ab", "b", joins) && !stands("bc", "b", joins));
}
