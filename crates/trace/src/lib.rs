//! Request traces: who asked for what, in order, as a file tells it.
//!
//! ```no_run
//! let trace = carrot_trace::Trace::read("access.csv".as_ref(), &mut |read, of| eprintln!("{read} of {of}"))?;
//! println!("{} requests for {} keys", trace.requests.len(), trace.unique);
//! # Ok::<(), carrot_trace::TraceError>(())
//! ```
//!
//! # Formats
//! The name says which; `.zst` behind any of them says that it is compressed by zstd, with a window of at most 128 MiB.
//!
//! | name | what is in it |
//! |---|---|
//! | `.trace` | records of 12 bytes: the key as u64 and the size as u32, both little-endian. Keys are dense ids, 0, 1, 2 … in order of first use; sizes are all 1 where none are known |
//! | `.keys` | one key a line, whatever is in the line |
//! | `.csv`, `.tsv` | columns between commas, or tabs; a field may stand in quotes, with `""` for one within |
//! | any other | as the first line looks: tabs, else commas, else spaces between the columns; without any, one key a line |
//!
//! A first line that has the word `key`, and no number, names the columns: `key`, `size` in bytes, `time`, in any
//! order; others are passed over. Without it they are the key, the size and the time, from the left, and only the first
//! has to be there. Requests are taken in the order of the file; the time is not looked at. Empty lines say nothing.
//!
//! # What is held to
//! A key has one size: the first that is seen with it, later ones are passed over. A size is at least 1 and below
//! 4 GiB − 1, which writers of records put for all that is larger. One that is 0 is an error, as is everything else
//! that is not as it should be: there is a whole trace, or an error that names the file and the place in it.
//!
//! # Memory
//! 8 bytes a request, and at most [`MAX_REQUESTS`] of them; 4 bytes a key, and for keys of a text their bytes with some
//! 50 more each while the file is read. A line is at most [`MAX_LINE_BYTES`] long, the different keys of a text
//! [`MAX_KEY_BYTES`] together: however much a small compressed file makes itself out to be, these hold.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "in a test a panic is the report"))]

mod error;
mod fields;
mod format;
mod input;
mod records;
mod requests;
mod text;
mod trace;

pub use error::{Fault, Place, TraceError};
pub use requests::{MAX_KEY_BYTES, MAX_REQUESTS, Request};
pub use text::MAX_LINE_BYTES;
pub use trace::Trace;
