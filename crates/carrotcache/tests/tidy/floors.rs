//! The floors of the house: who may import whom.
//!
//! A file imports from lower floors, or from its own floor without a circle, and never through the crate root. Crates
//! without a table have one floor. A test file belongs to the module it tests, and holds to that module's floor.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::imports::{Named, Path, named};
use crate::rules::{Rule, Violation};

/// The floors of the crates that have several, bottom up. Every module of such a crate stands here.
const FLOORS: &[(&str, &[&[&str]])] = &[
    (
        "engine",
        &[
            &[
                "classes", "clock", "counters", "cycles", "keys", "pages", "prefetch", "rounds", "stats",
                "sync",
            ],
            &["arena", "block", "budget", "flight", "regions", "spans"],
            &["ghosts", "purse", "ring", "table", "weight", "wheel"],
            &["queues", "s3fifo"],
            &["shard"],
            &["cache"],
            &["compact", "room"],
            &["insert", "iter", "loading", "many", "scan", "swap"],
            &["readme", "typed"],
            // lib.rs.
            &[""],
        ],
    ),
    (
        "carrotcache",
        &[
            &[
                "answer",
                "breaker",
                "by_authority",
                "clock",
                "dropped_ttl",
                "error",
                "fault",
                "hot",
                "limits",
                "listed",
                "memory",
                "message",
                "panics",
                "placement",
                "placement::md5",
                "placement::ranks",
                "placement::ring",
                "placement::slots",
                "policy",
                "readme",
                "room",
                "runtimes",
                "stats",
                "sync",
                "units",
                "units::key",
                "value",
                "view",
            ],
            &["flight", "landings", "load", "loader", "peers", "store", "views"],
            &["fetch", "fetch_many", "group", "inventory", "lanes", "many", "serve", "whereabouts"],
            &["change", "clear", "write"],
            &["node", "typed"],
            &[
                "net",
                "net::calls",
                "net::client",
                "net::client::call",
                "net::client::exchange",
                "net::client::lane",
                "net::client::pool",
                "net::client::response",
                "net::cluster_name",
                "net::desk",
                "net::dialect",
                "net::driver",
                "net::frame",
                "net::fuzzing",
                "net::gets",
                "net::http1",
                "net::inbox",
                "net::intake",
                "net::read_ahead",
                "net::link",
                "net::listen",
                "net::native",
                "net::outbox",
                "net::pacing",
                "net::plain",
                "net::quick",
                "net::reached",
                "net::reply",
                "net::seldom",
                "net::server",
                "net::service",
                "net::session",
                "net::target",
                "net::turn",
                "net::unsent",
                "net::upgrade",
                "net::wire",
                "net::wire::bounds",
                "net::wire::change",
                "net::wire::family",
                "net::wire::many",
                "net::wire::members",
                "net::wire::framed",
                "net::wire::in_place",
                "net::words",
                "open",
            ],
            &["cluster"],
            // lib.rs.
            &[""],
        ],
    ),
];

/// A source file of a crate: `crates/KRATE/src/…`.
pub(crate) struct File<'a> {
    pub(crate) path: &'a str,
    pub(crate) text: &'a str,
    pub(crate) krate: &'a str,
    /// `placement slots`; none for lib.rs and main.rs.
    pub(crate) module: Vec<&'a str>,
    pub(crate) named: Named<'a>,
}

impl<'a> File<'a> {
    /// The file, if it is a source of a crate.
    pub(crate) fn read(path: &'a str, text: &'a str) -> Option<Self> {
        let (krate, inside) = path.strip_prefix("crates/")?.split_once("/src/")?;
        let mut module: Vec<_> = inside.strip_suffix(".rs")?.split('/').collect();
        if matches!(module[..], ["lib" | "main"]) || (module.len() > 1 && module.ends_with(&["mod"])) {
            module.pop();
        }
        Some(Self { path, text, krate, module, named: named(text) })
    }

    /// The last part of the module's name; empty for the root.
    pub(crate) fn name(&self) -> &'a str {
        self.module.last().copied().unwrap_or_default()
    }

    /// A violation in this file.
    pub(crate) fn violation(&self, line: usize, rule: Rule, what: String) -> Violation {
        Violation { file: self.path.to_owned(), line, rule, what }
    }
}

/// Where a path leads.
enum Target<'h> {
    /// To another crate, or nowhere in particular.
    Outside,
    /// To this module, by name.
    Module(&'h str),
    /// To an item of the crate root.
    Root,
}

/// One crate: which module each file belongs to.
struct House<'a> {
    files: &'a [File<'a>],
    /// By full module name, `net::server::tests`, the module that answers for it: `net::server`.
    owners: BTreeMap<String, String>,
}

/// Reports every import of one crate that the house forbids.
pub(crate) fn check(files: &[File<'_>], tests: &BTreeSet<String>) -> Vec<Violation> {
    let owners = files.iter().map(|file| (file.module.join("::"), owner(file, tests))).collect();
    let house = House { files, owners };
    let mut violations = house.unplaced();
    let mut arrows = Vec::new();
    for file in files {
        for path in &file.named.paths {
            match house.target(file, path) {
                _ if path.segments.windows(2).any(|two| two == ["super", "super"]) => {
                    let what = "leads two modules up".to_owned();
                    violations.push(file.violation(path.line, Rule::SuperSuper, what));
                }
                Target::Outside => {}
                Target::Root => {
                    let what = format!("{} is an import through the crate root", path.segments.join("::"));
                    violations.push(file.violation(path.line, Rule::Root, what));
                }
                Target::Module(to) => {
                    violations.extend(house.upward(file, path, to));
                    arrows.push(Arrow { from: house.owner(file), to, file, line: path.line });
                }
            }
        }
    }
    violations.extend(circles(&arrows));
    violations
}

/// The modules of one crate that are only there in a test build, by full name: those declared so, and all `tests`.
pub(crate) fn test_modules(files: &[File<'_>]) -> BTreeSet<String> {
    let declared = files.iter().flat_map(|file| {
        let tests = file.named.declared.iter().filter(|(_, test)| *test);
        tests.map(|(name, _)| [&file.module[..], &[*name]].concat().join("::"))
    });
    let named = files.iter().filter(|file| file.name() == "tests").map(|file| file.module.join("::"));
    declared.chain(named).collect()
}

/// Which module answers for the file: itself, or for a file of tests the module they test. Test files of the root
/// answer for themselves, since what they hold is shared by the tests of many.
fn owner(file: &File<'_>, tests: &BTreeSet<String>) -> String {
    let module = &file.module;
    let tested = (2..=module.len()).find(|&n| tests.contains(&module[..n].join("::")));
    module[..tested.map_or(module.len(), |n| n - 1)].join("::")
}

impl<'a> House<'a> {
    fn owner(&self, file: &File<'_>) -> &str {
        &self.owners[&file.module.join("::")]
    }

    /// The floor of a module, from 0; `None`: not in its crate's table.
    fn floor(&self, module: &str) -> Option<usize> {
        self.table()?.iter().position(|floor| floor.contains(&module))
    }

    fn table(&self) -> Option<&'static [&'static [&'static str]]> {
        let krate = self.files.first()?.krate;
        FLOORS.iter().find(|(name, _)| *name == krate).map(|(_, floors)| *floors)
    }

    /// The files that the table has forgotten. A test file needs no place beside its module's.
    fn unplaced(&self) -> Vec<Violation> {
        let missing = |file: &&File<'_>| {
            let module = self.owner(file);
            self.table().is_some() && self.floor(module).is_none() && module == file.module.join("::")
        };
        let report =
            |file: &File<'_>| file.violation(1, Rule::NoFloor, format!("no floor for {}", self.owner(file)));
        self.files.iter().filter(missing).map(report).collect()
    }

    fn target(&self, file: &File<'_>, path: &Path<'_>) -> Target<'_> {
        // `self::super::x` is `super::x`.
        let skipped = usize::from(path.segments.starts_with(&["self", "super"]));
        let mut full: Vec<&str> = file.module.iter().chain(&path.modules).copied().collect();
        match path.segments[skipped..] {
            ["crate", ref rest @ ..] => full = rest.to_vec(),
            ["self", ref rest @ ..] => full.extend(rest),
            ["super", ref rest @ ..] => {
                full.pop();
                full.extend(rest);
            }
            // A module names its children without more; any other name is a crate's or was imported.
            ref rest if self.owners.contains_key(&[&full, &rest[..1]].concat().join("::")) => {
                full.extend(rest);
            }
            _ => return Target::Outside,
        }
        let known = (1..=full.len()).rev().find_map(|n| self.owners.get(&full[..n].join("::")));
        match known {
            Some(module) if module == self.owner(file) => Target::Outside,
            Some(module) => Target::Module(module),
            // The root may name what it holds itself.
            None if file.module.is_empty() => Target::Outside,
            None => Target::Root,
        }
    }

    /// An import from a higher floor, or by `super` from a parent that is not on a lower one.
    fn upward(&self, file: &File<'_>, path: &Path<'_>, to: &str) -> Option<Violation> {
        let (own, other) = (self.floor(self.owner(file))?, self.floor(to)?);
        let parent = file.module.split_last().map(|(_, parent)| parent.join("::"));
        let climbs = path.segments.contains(&"super") && parent.as_deref() == Some(to);
        let what = || format!("floor {own} imports {to} from floor {other}");
        (other > own || (climbs && other == own)).then(|| file.violation(path.line, Rule::Upward, what()))
    }
}

/// One import between two modules of a crate.
struct Arrow<'a> {
    from: &'a str,
    to: &'a str,
    file: &'a File<'a>,
    line: usize,
}

/// Each circle once, at its first import in the order of the files.
fn circles(arrows: &[Arrow<'_>]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut told: Vec<&str> = Vec::new();
    for arrow in arrows {
        let Some(way) = way(arrows, arrow.to, arrow.from) else { continue };
        // Two modules that reach each other are in one circle, however many imports close it.
        let known =
            |module: &&str| way_exists(arrows, module, arrow.from) && way_exists(arrows, arrow.from, module);
        if told.iter().any(known) {
            continue;
        }
        told.push(arrow.from);
        let what = format!("{} imports {}, a circle", arrow.from, way.join(", which imports "));
        violations.push(arrow.file.violation(arrow.line, Rule::Circle, what));
    }
    violations
}

fn way_exists(arrows: &[Arrow<'_>], from: &str, to: &str) -> bool {
    way(arrows, from, to).is_some()
}

/// The shortest way along the arrows, with both its ends.
fn way<'a>(arrows: &[Arrow<'a>], from: &'a str, to: &str) -> Option<Vec<&'a str>> {
    let mut ways = VecDeque::from([vec![from]]);
    let mut seen = BTreeSet::from([from]);
    while let Some(way) = ways.pop_front() {
        let end = way[way.len() - 1];
        if end == to {
            return Some(way);
        }
        for arrow in arrows.iter().filter(|arrow| arrow.from == end) {
            if seen.insert(arrow.to) {
                ways.push_back([&way[..], &[arrow.to]].concat());
            }
        }
    }
    None
}
