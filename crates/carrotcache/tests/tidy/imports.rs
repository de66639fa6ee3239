//! Every path that a source file names: in `use`, with its braces unfolded, and inline in the code. And the modules it
//! declares, and which of its words stand in test modules.
//!
//! Paths are taken as written; what they lead to is decided in floors.rs, which sees all files.

use std::ops::Range;

use crate::scan::{Token, is_name, tokens};

/// A path, as written.
#[derive(Debug)]
pub(crate) struct Path<'a> {
    /// `use crate::{a::B, c::*}` gives `crate a B` and `crate c *`.
    pub(crate) segments: Vec<&'a str>,
    pub(crate) line: usize,
    /// The inline modules around it, outermost first.
    pub(crate) modules: Vec<&'a str>,
    /// One of them, or the `use` itself, is only there in a test build.
    pub(crate) in_tests: bool,
    /// `use a as b`: `b`.
    pub(crate) renamed: Option<&'a str>,
    pub(crate) is_use: bool,
}

/// What one source file names.
#[derive(Debug, Default)]
pub(crate) struct Named<'a> {
    pub(crate) tokens: Vec<Token<'a>>,
    pub(crate) paths: Vec<Path<'a>>,
    /// `mod name;`, and whether it is only there in a test build.
    pub(crate) declared: Vec<(&'a str, bool)>,
    /// Which of `tokens` stand in inline test modules.
    pub(crate) tests: Vec<Range<usize>>,
}

impl Named<'_> {
    /// Whether the word at `index` stands in a test module.
    pub(crate) fn in_tests(&self, index: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&index))
    }
}

/// Reads what `source` names.
pub(crate) fn named(source: &str) -> Named<'_> {
    let tokens = tokens(source);
    let mut walk =
        Walk { tokens: &tokens, at: 0, scopes: Vec::new(), test_item: false, named: Named::default() };
    while walk.at < tokens.len() {
        walk.step();
    }
    let named = walk.named;
    Named { tokens, ..named }
}

/// What a `{` opened.
struct Scope<'a> {
    /// `None`: anything but a module.
    module: Option<&'a str>,
    /// Where the outermost test module around began.
    tests_from: Option<usize>,
}

struct Walk<'a, 't> {
    tokens: &'t [Token<'a>],
    at: usize,
    scopes: Vec<Scope<'a>>,
    /// The attributes just read keep the next item out of every build but a test's.
    test_item: bool,
    named: Named<'a>,
}

impl<'a> Walk<'a, '_> {
    fn text(&self, ahead: usize) -> &'a str {
        self.tokens.get(self.at + ahead).map_or("", |token| token.text)
    }

    /// Takes one piece: an attribute, an import, a path, or a single word.
    fn step(&mut self) {
        match (self.text(0), self.text(1)) {
            ("#", "[") => self.attribute(1),
            ("#", "!") => self.attribute(2),
            ("use", next) if next != "<" => self.import(),
            ("mod", name) if is_name(name) => self.module(name),
            // `pub(in crate::net)` says who sees it, and imports nothing.
            ("pub", "(") if self.text(2) == "in" => self.skip_past(")"),
            ("{", _) => self.open(None, false),
            ("}", _) => self.close(),
            (name, "::") if is_name(name) => self.inline(),
            (text, _) => {
                self.test_item &= text != ";";
                self.at += 1;
            }
        }
    }

    fn skip_past(&mut self, end: &str) {
        while self.at < self.tokens.len() && self.text(0) != end {
            self.at += 1;
        }
        self.at += 1;
    }

    /// Skips the attribute whose `[` is `open` words ahead.
    fn attribute(&mut self, open: usize) {
        let start = self.at + open;
        let mut depth = 0;
        self.at = start;
        while self.at < self.tokens.len() {
            depth += i32::from(self.text(0) == "[") - i32::from(self.text(0) == "]");
            self.at += 1;
            if depth == 0 {
                break;
            }
        }
        let words: Vec<_> = self.tokens[start..self.at].iter().map(|token| token.text).collect();
        self.test_item |= is_test_only(&words);
    }

    fn module(&mut self, name: &'a str) {
        let test = self.test_item || name == "tests";
        match self.text(2) {
            "{" => {
                self.at += 2;
                self.open(Some(name), test);
            }
            ";" => {
                self.named.declared.push((name, test));
                self.test_item = false;
                self.at += 3;
            }
            _ => self.at += 2,
        }
    }

    fn open(&mut self, module: Option<&'a str>, test: bool) {
        let around = self.scopes.last().and_then(|scope| scope.tests_from);
        self.scopes.push(Scope { module, tests_from: around.or(test.then_some(self.at)) });
        self.test_item = false;
        self.at += 1;
    }

    fn close(&mut self) {
        let closed = self.scopes.pop().and_then(|scope| scope.tests_from);
        let around = self.scopes.last().and_then(|scope| scope.tests_from);
        if let (Some(start), None) = (closed, around) {
            self.named.tests.push(start..self.at);
        }
        self.test_item = false;
        self.at += 1;
    }

    /// A path in the code. What follows a `<` is a path of its own, found in its turn.
    fn inline(&mut self) {
        let line = self.tokens[self.at].line;
        let mut segments = vec![self.text(0)];
        self.at += 1;
        while self.text(0) == "::" && is_name(self.text(1)) {
            segments.push(self.text(1));
            self.at += 2;
        }
        self.found(segments, line, None, false);
    }

    fn import(&mut self) {
        self.at += 1;
        self.tree(&[]);
        self.test_item = false;
        self.skip_past(";");
    }

    /// One branch of a `use`, below `prefix`.
    fn tree(&mut self, prefix: &[&'a str]) {
        let mut segments = prefix.to_vec();
        while self.at < self.tokens.len() {
            let line = self.tokens[self.at].line;
            match self.text(0) {
                "::" => self.at += 1,
                "{" => return self.branches(&segments),
                "," | "}" | ";" => return,
                name => {
                    // `a::{self}` is `a`.
                    if name != "self" || segments.is_empty() {
                        segments.push(name);
                    }
                    self.at += 1;
                    if self.text(0) != "::" {
                        return self.leaf(segments, line);
                    }
                }
            }
        }
    }

    fn branches(&mut self, prefix: &[&'a str]) {
        while matches!(self.text(0), "{" | ",") {
            self.at += 1;
            self.tree(prefix);
        }
        // The brace that closes them.
        self.at += 1;
    }

    fn leaf(&mut self, segments: Vec<&'a str>, line: usize) {
        let renamed = (self.text(0) == "as").then(|| self.text(1));
        if renamed.is_some() {
            self.at += 2;
        }
        self.found(segments, line, renamed, true);
    }

    fn found(&mut self, segments: Vec<&'a str>, line: usize, renamed: Option<&'a str>, is_use: bool) {
        let in_tests =
            (is_use && self.test_item) || self.scopes.last().is_some_and(|s| s.tests_from.is_some());
        let modules = self.scopes.iter().filter_map(|scope| scope.module).collect();
        self.named.paths.push(Path { segments, line, modules, in_tests, renamed, is_use });
    }
}

/// Whether an attribute is `cfg(test)`, or `cfg(all(…))` with `test` among what must hold. `any(test, …)` and
/// `not(test)` leave the item in other builds.
fn is_test_only(words: &[&str]) -> bool {
    match words {
        ["[", "cfg", "(", "test", ")", "]"] => true,
        ["[", "cfg", "(", "all", "(", rest @ ..] => {
            let mut depth = 0;
            rest.iter().any(|word| {
                depth += i32::from(*word == "(") - i32::from(*word == ")");
                depth == 0 && *word == "test"
            })
        }
        _ => false,
    }
}

#[test]
fn braces_are_unfolded_and_inline_paths_are_found() {
    let source = "
        pub(crate) use crate::{a::B, c::{self, D as E, f::*}};
        #[cfg(all(test, unix))] mod later;
        #[cfg(any(test, unix))] mod now;
        fn g() -> impl Sized + use<> { ::std::mem::drop::<crate::h::I>(self::j::K) }
        mod tests { use super::*; }";
    let named = named(source);
    let paths: Vec<_> = named.paths.iter().map(|path| path.segments.join(" ")).collect();
    let expected = [
        "crate a B",
        "crate c",
        "crate c D",
        "crate c f *",
        "std mem drop",
        "crate h I",
        "self j K",
        "super *",
    ];
    assert_eq!(paths, expected);
    assert_eq!(named.paths[2].renamed, Some("E"));
    assert_eq!(named.declared, [("later", true), ("now", false)]);
    let last = named.paths.last().map(|path| (path.in_tests, path.modules.clone()));
    assert_eq!(last, Some((true, vec!["tests"])));
}
