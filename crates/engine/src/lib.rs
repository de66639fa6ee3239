//! A bounded cache inside one process, with eviction that adapts, expiry by entry, and exact weights.
//!
//! For services that read far more often than they write, and want to say how much memory their cache may take. An
//! entry is one block of memory, with key and value in it; a hit is a counted handle on that block, which takes no
//! lock, copies nothing, derefs to the value and stays valid after the entry is gone. The sum of the entries' weights
//! never exceeds the capacity, at any instant and over all shards; what does not fit is refused rather than allowed to
//! flush the rest. No async runtime, no network, and no thread but the clock's.
//!
//! - [`Typed<V>`](Typed) holds Rust values: for whoever comes from moka or quick_cache. The README has a table of their
//!   calls and these, and says what is not here.
//! - [`Cache<M>`](Cache) holds bytes, which are copied in, with a small `M` beside each.
//! - Both load what is missing, one load a key at a time ([`Typed::get_with`], [`Cache::get_with_async`]), weigh
//!   ([`Weight`], [`TypedBuilder::weigher`]), expire ([`Load::ttl`], [`Typed::insert_with_ttl`]), tell of what leaves
//!   ([`Builder::listener`]), share one capacity between caches ([`Budget`]), and count ([`Stats`]).
//!
//! # Rust values
//! ```
//! use carrot_engine::Typed;
//!
//! let users = Typed::builder().entries(10_000).build();
//! let user = users.get_with(42_u32.to_be_bytes(), || Ok::<_, std::io::Error>(String::from("Tom")))?;
//! assert_eq!(&*user, "Tom");
//! assert!(users.contains(42_u32.to_be_bytes()));
//! # Ok::<(), carrot_engine::LoadError<std::io::Error>>(())
//! ```
//!
//! # Bytes
//! ```
//! use std::time::Duration;
//! use carrot_engine::{Cache, Clock, Weight};
//!
//! let clock = Clock::manual(); // or Clock::system(), the default
//! let scores = Cache::builder().capacity(2048).clock(clock.clone()).build();
//!
//! // Beside the value: when it was loaded. Charged by what it really takes. Served for a minute.
//! let loaded = clock.now();
//! let expires = loaded + Duration::from_secs(60);
//! let stored = scores.insert_if(b"Tom", b"630", loaded, Weight::Real, Some(expires), || true)?;
//!
//! let hit = scores.get(b"Tom").expect("it was just stored");
//! assert_eq!(&*hit, b"630");
//! assert_eq!(hit.meta(), loaded);
//! assert_eq!(scores.weight(), hit.weight());
//!
//! clock.advance(Duration::from_secs(60));
//! assert!(scores.get(b"Tom").is_none());
//! assert_eq!(&*stored, b"630"); // a handle outlives its entry
//! # Ok::<(), carrot_engine::Refused>(())
//! ```
//!
//! # Floors
//! Imports run down only:
//!
//! ```text
//!  9  lib
//!  8  typed                            Rust values in the same blocks
//!  7  insert  loading  many  iter      storing · loading what is missing · many keys at once · walking
//!     scan  swap                       walking in steps that remember nothing · what depends on what is there
//!  6  room  compact                    room for an entry · blocks moved together
//!  5  cache                            the handle, its builder, a get and the other operations
//!  4  shard                            a table, queues, policy, wheel and counts; all but the table under one lock
//!  3  queues  s3fifo                   which entry stands where · who comes in and who leaves
//!  2  table  ring  ghosts  wheel  weight  purse     lines of addresses · a queue · what left lately
//!                                                   · what expires when · what an entry is charged · units on their way
//!  1  block  arena  spans  regions     an entry's memory and its handle · where it comes from
//!     budget  flight                   how much may be held · loads under way
//!  0  pages  classes  prefetch  clock  cycles  keys  counters  stats  sync
//! ```
//!
//! Invariants: only `clock` reads a clock or waits; a thread holds one shard's lock at a time, but for who weighs the
//! whole; the listener runs, and blocks are freed, outside the shards' locks.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "in a test a panic is the report"))]

mod arena;
mod block;
mod budget;
mod cache;
mod classes;
mod clock;
mod compact;
mod counters;
mod cycles;
mod flight;
mod ghosts;
mod insert;
mod iter;
mod keys;
mod loading;
mod many;
mod pages;
mod prefetch;
mod purse;
mod queues;
#[cfg(doctest)]
mod readme;
mod regions;
mod ring;
mod room;
#[cfg(all(test, not(shuttle)))]
mod rounds;
mod s3fifo;
mod scan;
mod shard;
mod spans;
mod stats;
mod swap;
mod sync;
mod table;
mod typed;
mod weight;
mod wheel;

pub use block::Hit;
pub use budget::{Budget, Full, Reserved};
pub use cache::{Builder, Cache, Listener, Policy};
pub use clock::{Clock, Time};
pub use iter::Iter;
pub use loading::{Load, LoadError};
pub use stats::{Cause, Stats};
pub use swap::Present;
pub use typed::{Held, Typed, TypedBuilder};
pub use weight::{Refused, Weight};

#[cfg(not(target_pointer_width = "64"))]
compile_error!("carrot-engine keeps 48-bit addresses in its tables: it needs a 64-bit machine");
