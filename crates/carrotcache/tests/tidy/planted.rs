//! Planted violations, each beside a near miss. A line that ends in `//~ Rule` must be reported under that rule, and
//! no other line may be.
//!
//! `@work@`, `@todo@` and their like stand for words that no file here may hold, this one included.

use std::collections::BTreeSet;

use crate::rules::{RULES, Rule, check};

/// What is planted, as files of a small repository, each with its path and text.
type Plant = (&'static str, &'static [(&'static str, &'static str)]);

const PLANTS: &[Plant] = &[
    (
        "an arrow up, from each kind of import",
        &[
            ("crates/carrotcache/src/cluster.rs", "//! A higher floor.\npub struct Cluster;\n"),
            (
                "crates/carrotcache/src/group.rs",
                "//! A floor between.\nuse crate::view::View; //~ Circle\npub struct Group;\n",
            ),
            (
                "crates/carrotcache/src/view.rs",
                r##"//! A low floor. It explains [`crate::cluster::Cluster`] in a doc link.
use crate::group::Group; //~ Upward
pub use crate::cluster::Cluster; //~ Upward
pub(crate) use crate::group::Group as Other; //~ Upward
use crate::{
    units::{Key, Other as _},
    units::{self,
        Nested},
    group::*, //~ Upward
};
// use crate::cluster::Cluster;
/* use crate::cluster::Cluster; /* nested */ use crate::group::Group; */
/// See [`crate::cluster::Cluster`].
pub(in crate::cluster) fn place<'a>(c: &'a str) -> Vec<crate::units::Key> {
    let text = "use crate::cluster::Cluster;";
    let raw = r#"crate::cluster::Cluster "quoted" crate::cluster"#;
    let quote = ('"', crate::cluster::new(), '"'); //~ Upward
    let label: Vec<crate::cluster::Cluster> = Vec::<super::group::Group>::new(); //~ Upward
    cluster::Cluster::of_another_crate()
}
mod tests {
    use crate::units::Key;
    use super::*;
    use crate::cluster::Cluster; //~ Upward
}
"##,
            ),
            ("crates/carrotcache/src/units.rs", "//! The lowest floor.\npub struct Key;\n"),
        ],
    ),
    (
        "super, upward and twice",
        &[
            (
                "crates/carrotcache/src/net/mod.rs",
                "//! A module and its children.\npub mod client;\nmod server;\n",
            ),
            (
                "crates/carrotcache/src/net/client.rs",
                "//! One of the children.
use super::Port; //~ Upward
use super::server::Listen;
use super::super::units::Key; //~ SuperSuper
// use super::super::units::Key;
fn ask() { super::super::units::key(); } //~ SuperSuper
fn text() -> &'static str { \"super::super::units\" }
mod inner {
    use super::ask;
    mod tests {
        use super::*;
        use super::super::ask; //~ SuperSuper
    }
}
mod tests { use super::ask; }
",
            ),
            ("crates/carrotcache/src/net/server.rs", "//! The other child.\n#[cfg(test)]\nmod tests;\n"),
            (
                "crates/carrotcache/src/net/server/tests.rs",
                "//! Tests in a file of their own.
use super::*;
use crate::units::Key;
use super::super::client; //~ SuperSuper
use crate::cluster::Cluster; //~ Upward
fn wait() { std::thread::sleep(TICK); }
",
            ),
            ("crates/carrotcache/src/units.rs", "//! The lowest floor.\npub struct Key;\n"),
            ("crates/carrotcache/src/cluster.rs", "//! The highest floor but one.\npub struct Cluster;\n"),
        ],
    ),
    (
        "imports through the crate root",
        &[
            (
                "crates/carrot/src/main.rs",
                "//! A program's root.
#![forbid(unsafe_code)]
mod serve;
use crate::serve::Serve;
pub struct Flags;
use crate::Flags as Own;
fn main() { serve::run(self::Flags) }
",
            ),
            (
                "crates/carrot/src/serve.rs",
                "//! Imports from its root.
use crate::Flags; //~ Root
use crate::{stop::Stop, Flags as F}; //~ Root
use crate::*; //~ Root
use super::Flags; //~ Root
use super::stop::Stop;
use carrotcache::Cluster;
// use crate::Flags;
fn run() -> &'static str { crate::stop::now(); \"crate::Flags\" }
fn flags() -> crate::Flags {} //~ Root
macro_rules! flags { () => { $crate::Flags } } //~ Root
",
            ),
            ("crates/carrot/src/stop.rs", "//! What is imported.\npub struct Stop;\n"),
        ],
    ),
    (
        "circles, on one floor and without floors",
        &[
            (
                "crates/carrotcache/src/flight.rs",
                "//! One of three.\nuse crate::loader::Loader; //~ Circle\n",
            ),
            ("crates/carrotcache/src/loader.rs", "//! Two of three.\nuse crate::peers::Peers;\n"),
            (
                "crates/carrotcache/src/peers.rs",
                "//! Three of three.\nuse crate::flight::Flights;\nuse crate::store::Store;\n",
            ),
            (
                "crates/carrotcache/src/store.rs",
                "//! Beside the circle.\nuse crate::view::View;\n// use crate::peers::Peers;\n",
            ),
            (
                "crates/carrotcache/src/view.rs",
                "//! Below the circle.\nmod tests { use super::*; use crate::view::View; }\n",
            ),
            ("crates/bench/src/a.rs", "//! A module above its child.\nmod b;\npub use b::B; //~ Circle\n"),
            ("crates/bench/src/a/b.rs", "//! The child, which looks up.\nuse crate::a::A;\n"),
            ("crates/bench/src/c.rs", "//! A module above its child.\nmod d;\npub use self::d::D;\n"),
            ("crates/bench/src/c/d.rs", "//! A child that does not.\n/// For [`crate::c::C`].\nuse b::B;\n"),
        ],
    ),
    (
        "a file that the table has forgotten",
        &[
            (
                "crates/carrotcache/src/lib.rs",
                "//! The library's root.\n#![forbid(unsafe_code)]\nmod flight;\nmod attic;\n#[cfg(test)]\nmod fault;\n",
            ),
            ("crates/carrotcache/src/attic.rs", "//! In no table. //~ NoFloor\n"),
            ("crates/carrotcache/src/fault.rs", "//! Only there in tests, and in the table all the same.\n"),
            (
                "crates/carrotcache/src/flight.rs",
                "//! In the table.\n#[cfg(all(test, shuttle))]\nmod woven;\n#[cfg(any(test, shuttle))]\nmod always;\nuse crate::fault::on;\n",
            ),
            (
                "crates/carrotcache/src/flight/woven.rs",
                "//! Tests of a module in the table.\nuse super::*;\nfn f() { Instant::now(); }\n",
            ),
            (
                "crates/carrotcache/src/flight/always.rs",
                "//! Not only tests. //~ NoFloor\nfn f() { Instant::now(); } //~ Clock\n",
            ),
            ("crates/engine/src/cache.rs", "//! In the table.\nuse crate::shard::Shard; //~ Circle\n"),
            (
                "crates/engine/src/shard.rs",
                "//! In the table, below the cache.\nuse crate::cache::Cache; //~ Upward\n",
            ),
            ("crates/engine/src/group.rs", "//! In the library's table only. //~ NoFloor\n"),
            ("crates/carrot/src/attic.rs", "//! A crate without a table.\n"),
        ],
    ),
    (
        "clocks and waiting, outside clock.rs",
        &[
            (
                "crates/carrotcache/src/hot.rs",
                r#"//! Reads `Instant::now()`, says the comment.
use std::time::{Duration, Instant, SystemTime};
use std::time::Instant as Moment; //~ Clock
use std::thread as t; //~ Clock
use tokio::{sync::mpsc, time::sleep}; //~ Clock
use tokio::sync::oneshot;
use crate::clock::{self, interval};
// Instant::now()
fn now(clock: &Clock) -> Instant { clock.now() }
fn seen() { Instant::now(); } //~ Clock
fn seen_by_path() { std::time::SystemTime::now(); } //~ Clock
fn seen_later() { let read: fn() -> Instant = Instant //~ Clock
    ::now; }
fn since(then: Instant) { then.elapsed(); } //~ Clock
fn run(&self) { self.clock.elapsed(); self.seen_at.elapsed() } //~ Clock
fn ran(&self) { self.clock.elapsed(); }
fn span(then: Instant, now: Instant) { now.duration_since(then); let elapsed = span; }
fn text() -> &'static str { "Instant::now() tokio::time::sleep(d) UNIX_EPOCH" }
fn epoch() { SystemTime::UNIX_EPOCH; } //~ Clock
async fn wait() {
    tokio::time::timeout(d, f).await; //~ Clock
    std::thread::sleep(d); //~ Clock
    sleep(d).await; //~ Clock
    timeout(d, f).await; //~ Clock
    clock.sleep(d).await;
    clock::sleep(d).await;
    interval(d);
    sleeping(PeerError::Timeout(d), timeout);
    receiver.recv_timeout(d); //~ Clock
}
#[cfg(not(test))]
mod product { fn seen() { super::Instant::now(); } } //~ Clock
#[cfg(test)]
mod tests {
    use tokio::time::sleep;
    fn seen() { Instant::now().elapsed(); { sleep(d); } std::thread::sleep(d); }
}
#[cfg(test)]
mod checks { fn seen() { Instant::now(); } }
#[cfg(all(unix, test))]
mod unix_checks { fn seen() { Instant::now(); } }
#[cfg(all(unix, any(test, debug)))]
mod debug { fn seen() { Instant::now(); } } //~ Clock
fn after_the_tests() { SystemTime::now(); } //~ Clock
"#,
            ),
            (
                "crates/carrotcache/src/clock.rs",
                "//! The clock itself.\nuse tokio::time::sleep;\nfn now() -> Instant { Instant::now() }\n",
            ),
            (
                "crates/engine/src/clock.rs",
                "//! The engine's clock.\nfn now() -> Instant { Instant::now() }\n",
            ),
            (
                "crates/engine/src/ring.rs",
                "//! Not the engine's clock.\nfn now() -> Instant { Instant::now() } //~ Clock\nfn timeout() {}\nfn f() { timeout() }\n",
            ),
            ("crates/carrot/src/demo.rs", "//! The program may wait.\nfn wait() { std::thread::sleep(d) }\n"),
        ],
    ),
    (
        "sockets outside net/",
        &[
            (
                "crates/carrotcache/src/peers.rs",
                r##"//! Knows no TcpStream.
use std::net::{IpAddr, SocketAddr};
use std::net::{Ipv4Addr, TcpListener}; //~ Socket
use std::net; //~ Socket
use std::net::*; //~ Socket
use std::os::unix::net::SocketAddr as Path; //~ Socket
use tokio::net::ToSocketAddrs; //~ Socket
// TcpStream::connect(address)
fn ask(address: std::net::SocketAddr) -> &'static str { r#"tokio::net::TcpStream"# }
fn open(address: SocketAddr) { TcpStream::connect(address); } //~ Socket
async fn find() { tokio::net::lookup_host(name).await; } //~ Socket
mod tests { fn open() { std::net::TcpListener::bind(address); } }
"##,
            ),
            (
                "crates/carrotcache/src/net/listen.rs",
                "//! One of the files in net/.\nuse tokio::net::TcpListener;\n",
            ),
            (
                "crates/engine/src/net.rs",
                "//! Nor a room for it. //~ NoFloor\nuse std::net::UdpSocket; //~ Socket\n",
            ),
            (
                "crates/engine/src/stats.rs",
                "//! No net in the engine.\nuse std::net::UdpSocket; //~ Socket\n",
            ),
            ("crates/carrot/src/admin.rs", "//! The program has listeners.\nuse tokio::net::TcpListener;\n"),
        ],
    ),
    (
        "the engine, named above the store",
        &[
            (
                "crates/carrotcache/src/group.rs",
                "//! Over the carrot_engine, which only the store touches.
use carrot_engine::Cache; //~ Engine
// carrot_engine::Cache
fn text() -> &'static str { \"carrot_engine\" }
mod tests { fn cache() { carrot_engine::Cache::new(); } } //~ Engine
",
            ),
            ("crates/carrotcache/src/store.rs", "//! Touches the engine.\nuse carrot_engine::Cache;\n"),
            ("crates/carrotcache/src/value.rs", "//! Holds a handle.\nuse carrot_engine::Hit;\n"),
            ("crates/carrotcache/src/clock.rs", "//! Gives it the time.\nuse carrot_engine::Clock;\n"),
            (
                "crates/bench/src/main.rs",
                "//! Measures the engine.\n#![forbid(unsafe_code)]\nuse carrot_engine::Cache;\n",
            ),
        ],
    ),
    (
        "headers, names and lengths",
        &[
            ("crates/carrot/src/a.rs", "use std::fmt; //~ Header\n//! Too late to be a header.\n"),
            ("crates/carrot/src/b.rs", "/// Documents the next item. //~ Header\nuse std::fmt;\n"),
            (
                "crates/carrot/src/c.rs",
                "//! x\n// That was one word, and the rest of this plant is its own: //~ ^Header\n",
            ),
            ("crates/carrot/tests/d.rs", "// A test file without one. //~ Header\n"),
            ("crates/carrot/src/utils.rs", "//! Names no idea. //~ Name\n"),
            ("crates/carrot/src/common/e.rs", "//! Lives where no idea is named. //~ Name\n"),
            ("crates/carrot/src/typestate.rs", "//! Names one, which begins alike.\n"),
            ("crates/carrot/src/long.rs", "//! A line too long. //~ Length\n@600 lines@"),
            ("crates/carrot/src/longest.rs", "//! As long as can be.\n@599 lines@"),
            ("crates/carrot/src/long/tests.rs", "//! Tests may be longer.\n@600 lines@"),
        ],
    ),
    (
        "unsafe code, forbidden or unexplained",
        &[
            (
                "crates/carrot/src/main.rs",
                "//! Only says it: //~ Forbid\n// #![forbid(unsafe_code)]\nfn f() { \"#![forbid(unsafe_code)]\" }\n",
            ),
            ("crates/carrotcache/src/lib.rs", "//! Allows it again. //~ Forbid\n#![deny(unsafe_code)]\n"),
            ("crates/sim/src/main.rs", "//! Keeps to it.\n#![forbid(unsafe_code)]\n"),
            ("crates/bench/src/main.rs", "//! Denies it, for one file may.\n#![deny(unsafe_code)]\n"),
            (
                "crates/bench/src/alloc.rs",
                "//! The one file of the bench with unsafe code.
// SAFETY: all is passed on.
unsafe impl GlobalAlloc for Counting {}

fn f() {}
fn f() { unsafe { g() } } //~ Safety
",
            ),
            (
                "crates/bench/src/hits.rs",
                "//! Another file, which has unsafe code as well.
#![allow(unsafe_code)]
// SAFETY: explained, where there may be none.
fn f() { unsafe { g() } } //~ Unsafe
",
            ),
            (
                "crates/bench/src/engine/alloc.rs",
                "//! Named alike, which is not enough to have unsafe code.
// SAFETY: explained, where there may be none.
unsafe impl Send for F {} //~ Unsafe
",
            ),
            ("crates/engine/src/lib.rs", "//! Need not forbid it.\nmod block;\n"),
            (
                "crates/engine/src/block.rs",
                "//! Allocates by hand. Here stands the unsafe code.
fn f() {
    // SAFETY: said right above.
    unsafe { a() }
    // SAFETY: said three lines above, of which
    // some say more.
    #[inline]
    let b =
        unsafe { b() };
    // Not a word of safety.
    unsafe { c() } //~ Safety
}
// SAFETY: the bytes are plain.
unsafe impl Send for Block {}

// A type.
unsafe impl Sync for Block {} //~ Safety
unsafe fn free() {}
fn text() -> &'static str { \"unsafe { }\" }
",
            ),
            (
                "crates/engine/src/ring.rs",
                "//! A list that says nothing.
// unsafe { }
fn f() { r\"unsafe { }\" }
// SAFETY: explained, in the wrong file.
fn g() { unsafe { h() } } //~ Unsafe
",
            ),
        ],
    ),
    (
        "unsafe code, neither forbidden nor denied where one file may have it",
        &[
            ("crates/bench/src/main.rs", "//! Only warns of it. //~ Forbid\n#![warn(unsafe_code)]\n"),
            ("crates/bench/src/alloc.rs", "//! Here is no unsafe code at all.\nfn f() {}\n"),
        ],
    ),
    (
        "machines and what was left undone, in any text",
        &[
            (
                "docs/install.md",
                "See @work@shared for more. //~ MachinePath
Built in `@root@target`. //~ MachinePath
As in src@work@a, ..@work@b, {OUT}@root@ and https://example.org@home@page: relative, and a page.
A home/ without a root, the /rooted/ and the /workshop/.
",
            ),
            (
                "crates/carrot/src/undone.rs",
                "//! Says it in every way. @todo@: more //~ Unfinished
// @fixme@ later //~ Unfinished
fn f() { @undone@() } //~ Unfinished
fn g() { print(\"@home@me\") } //~ MachinePath
fn h() { mastodon(\"A @todo@S list, todos, to do, METHOD@todo@\") }
",
            ),
        ],
    ),
];

/// The text as it would stand in a repository.
fn planted(text: &str) -> String {
    let words = [
        ("@work@", concat!("/wo", "rk/")),
        ("@root@", concat!("/ro", "ot/")),
        ("@home@", concat!("/ho", "me/")),
        ("@todo@", concat!("TO", "DO")),
        ("@fixme@", concat!("FIX", "ME")),
        ("@undone@", concat!("to", "do!")),
        ("@600 lines@", &"// One line more.\n".repeat(600)),
        ("@599 lines@", &"// One line more.\n".repeat(599)),
    ];
    words.iter().fold(text.to_owned(), |text, (short, long)| text.replace(short, long))
}

/// What the marks of one file demand: `//~ Rule, Rule` for their own line, `//~ ^Rule` for the line above.
fn demanded(path: &str, text: &str) -> Vec<(String, usize, Rule)> {
    let mut all = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let Some((_, marks)) = line.split_once("//~ ") else { continue };
        for mark in marks.split(", ") {
            let rule = RULES.iter().find(|rule| format!("{rule:?}") == mark.trim_start_matches('^'));
            let rule = rule.unwrap_or_else(|| panic!("{path}:{}: no rule {mark}", at + 1));
            all.push((path.to_owned(), at + 1 - usize::from(mark.starts_with('^')), *rule));
        }
    }
    all
}

#[test]
fn each_planted_violation_is_reported_and_no_near_miss_is() {
    for (title, files) in PLANTS {
        let files: Vec<_> = files.iter().map(|(path, text)| ((*path).to_owned(), planted(text))).collect();
        let demanded: BTreeSet<_> = files.iter().flat_map(|(path, text)| demanded(path, text)).collect();
        let found = check(&files);
        let reported: BTreeSet<_> = found.iter().map(|v| (v.file.clone(), v.line, v.rule)).collect();
        let missed: Vec<_> = demanded.difference(&reported).collect();
        let wrong: Vec<_> = reported.difference(&demanded).collect();
        assert!(
            missed.is_empty() && wrong.is_empty(),
            "{title}: missed {missed:#?}, reported wrongly {wrong:#?}"
        );
        assert_eq!(found.len(), reported.len(), "{title}: a line is reported twice under one rule");
    }
}

#[test]
fn every_rule_has_its_plant() {
    let files = PLANTS.iter().flat_map(|(_, files)| *files);
    let planted: BTreeSet<_> =
        files.flat_map(|(path, text)| demanded(path, text)).map(|(.., rule)| rule).collect();
    assert_eq!(planted, BTreeSet::from(RULES));
}
