//! Reads that came one after the other: looked up together, so that their ways into memory overlap.
//!
//! A key that the processor does not have at hand costs more than all else that is done for a read. Nothing stands between
//! these but reads, so it is all one which of them looks first. Only what is here is told; the others wait as any read
//! does. Lives in the connection's task.

use std::ops::Range;
use std::ptr;

use carrotcache::Group;
use carrotcache::net::intake::Share;

use crate::resp::command::Told;
use crate::resp::front::Front;
use crate::resp::kept::LONG;
use crate::resp::keyspace::Keyspace;
use crate::resp::reads::here;
use crate::resp::reply::Reply;
use crate::resp::request::{Request, Words};

/// As many as the engine has under way at once.
const TOGETHER: usize = 16;

/// Reads that are not looked up yet, in their order.
#[derive(Default)]
pub struct Ahead<'c>(Vec<Read<'c>>);

struct Read<'c> {
    group: &'c Group,
    /// Where the key is in the input, without the group's name.
    key: Range<usize>,
    /// Where the request begins in the input, and where its two words are in that.
    start: usize,
    words: [Range<usize>; 2],
    told: Told,
}

/// What the looks gave.
pub struct Looked {
    /// What is told of each, or where it is not known here, its request.
    pub told: Vec<Result<Reply, (Request, Told)>>,
    /// The room that they take together, if they are long.
    pub held: Option<Share>,
}

impl<'c> Ahead<'c> {
    /// Puts the read that begins there in the input behind the others; whether it could be.
    pub fn put(&mut self, keyspace: &'c Keyspace, start: usize, words: Words<'_>, told: Told) -> bool {
        let (Ok((group, key)), [name, whole]) = (keyspace.find(words.get(1)), words.ranges()) else {
            return false;
        };
        let end = start + whole.end;
        let words = [name.clone(), whole.clone()];
        self.0.push(Read { group, key: end - key.len()..end, start, words, told });
        true
    }

    /// Whether they are to be looked up before another is put behind them.
    pub fn is_full(&self) -> bool {
        self.0.len() == TOGETHER
    }

    /// Looks all of them up. Values that there is no room for are let go again: all of them wait for a slow client to take
    /// the first.
    pub fn look(&mut self, input: &[u8], front: &Front) -> Looked {
        let mut told = Vec::with_capacity(self.0.len());
        for reads in self.0.chunk_by(|one, next| ptr::eq(one.group, next.group)) {
            let keys: Vec<&[u8]> = reads.iter().map(|read| &input[read.key.clone()]).collect();
            let group = reads[0].group;
            let found = if let [key] = keys[..] { vec![group.hit(key)] } else { group.hits(&keys) };
            let look =
                |(read, found): (&Read<'_>, _)| here(found, read.told).ok_or_else(|| read.later(input));
            told.extend(reads.iter().zip(found).map(look));
        }
        let length: usize = told.iter().flatten().map(Reply::values_len).sum();
        let mut held = None;
        if length >= LONG && told.len() > 1 {
            let mut share = front.standing.share();
            if share.grow(length as u64).is_err() {
                told = self.0.iter().map(|read| Err(read.later(input))).collect();
            }
            held = Some(share);
        }
        self.0.clear();
        Looked { told, held }
    }
}

impl Read<'_> {
    /// For who waits for it.
    fn later(&self, input: &[u8]) -> (Request, Told) {
        (Words::of(&input[self.start..], &self.words).to_request(), self.told)
    }
}
