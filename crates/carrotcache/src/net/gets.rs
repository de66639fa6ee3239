//! Gets on a connection of frames: what is asked most.
//!
//! Keys are read where they lie, and answered without more ado as far as memory can. As many are looked for as there is
//! room for in the outbox; the others of their frame wait, and nothing behind it is read meanwhile. So a peer that takes
//! nothing makes this node hold little, whatever it asks.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use prost::{DecodeError, Message};

use crate::clock;
use crate::message::{Reply, Request};
use crate::net::frame::{BODY_MAX, Kind};
use crate::net::outbox::KEYS;
use crate::net::service::Service;
use crate::net::wire::framed::GetKeys;
use crate::net::wire::in_place::KeysAsked;
use crate::net::wire::many::{self, PER_OWN};
use crate::stats::Cut;
use crate::units::{GroupName, Key};

/// So many keys are looked for before there has to be room again: with values that just fit a frame, 1 MiB.
const TOGETHER: usize = 16;

/// Keys of a `GET` that wait for room.
pub(super) struct Rest {
    id: u64,
    body: Vec<u8>,
    /// The first of them in the body.
    next: usize,
    since: Instant,
}

impl Rest {
    /// Goes on where there was no room; gives what there is none for now.
    pub(super) fn go_on(self, service: &mut Service<'_>) -> Option<Self> {
        let mut by_prost = GetKeys::default();
        // It was read before.
        let asked = read(&self.body, &mut by_prost).ok()?;
        let waited = clock::now().saturating_duration_since(self.since);
        let next = service.each_of(self.id, &asked, self.next, waited)?;
        Some(Self { next, ..self })
    }
}

impl Service<'_> {
    /// Answers the keys of a `GET` or a `GET_MANY`; gives those for which there is no room now.
    ///
    /// # Errors
    /// When an id is taken by another request: one that is unanswered, or one that is `coming`.
    pub(super) fn gets<P>(
        &mut self,
        id: u64,
        kind: Kind,
        body: &[u8],
        coming: &HashMap<u64, P>,
    ) -> Result<Option<Rest>, Cut> {
        let mut by_prost = GetKeys::default();
        let asked = match read(body, &mut by_prost) {
            Ok(asked) => asked,
            Err(error) => {
                self.no_message(id, kind, &error);
                return Ok(None);
            }
        };
        if kind == Kind::GET_MANY {
            self.all_of(id, &asked);
            return Ok(None);
        }
        let count = asked.keys.len() as u64;
        let comes = |id: u64| coming.contains_key(&id);
        let is_any_coming = || !coming.is_empty() && (0..count).any(|nth| comes(id.wrapping_add(nth)));
        if self.is_any_unanswered(id, count) || is_any_coming() {
            return Err(Cut::Unasked);
        }
        if count == 0 {
            let refused = self.desk.malformed("a GET without a key");
            self.reply(id, refused);
            return Ok(None);
        }
        if count > KEYS {
            // What one frame has to wait for it could not be told of otherwise.
            let refused = self.desk.too_many_keys(&format!("more than {KEYS} keys in one GET"));
            self.reply(id, refused);
            return Ok(None);
        }
        let next = self.each_of(id, &asked, 0, Duration::ZERO);
        Ok(next.map(|next| Rest { id, body: body.to_vec(), next, since: clock::now() }))
    }

    /// The keys of a `GET` from the one at `next` on, each under its own id; that at which there is no more room.
    fn each_of(&mut self, id: u64, asked: &KeysAsked<'_>, next: usize, waited: Duration) -> Option<usize> {
        let within = asked.within().map(|within| within.saturating_sub(waited));
        for from in (next..asked.keys.len()).step_by(TOGETHER) {
            if from > next && !self.outbox.has_room() {
                return Some(from);
            }
            self.some_of(id, asked, from, within);
        }
        None
    }

    /// As many of them as are looked for together.
    fn some_of(&mut self, id: u64, asked: &KeysAsked<'_>, from: usize, within: Option<Duration>) {
        let KeysAsked { group, stand_in, cached_only, ref keys, .. } = *asked;
        let keys = &keys[from..keys.len().min(from + TOGETHER)];
        let id_of = |at: usize| id.wrapping_add((from + at) as u64);
        let desk = self.desk;
        let (mut missing, mut next) = (Vec::new(), 0);
        desk.answer.look(group, keys, &mut |at, found| {
            missing.extend(next..at);
            next = at + 1;
            self.reply(id_of(at), Reply::Found(found));
        });
        missing.extend(next..keys.len());
        if missing.is_empty() {
            return;
        }
        let group = GroupName::new(group).ok();
        for at in missing {
            match &group {
                Some(group) => {
                    let (group, key) = (group.clone(), Key::new(keys[at]));
                    self.ask(id_of(at), Request::Get { group, key, stand_in, cached_only }, within);
                }
                None => self.no_group(id_of(at)),
            }
        }
    }

    /// The keys of a `GET_MANY`, in one answer.
    fn all_of(&mut self, id: u64, asked: &KeysAsked<'_>) {
        let KeysAsked { group, stand_in, cached_only, ref keys, .. } = *asked;
        // As many as go in one frame are written where they are found.
        let desk = self.desk;
        let room = keys.len().checked_mul(PER_OWN).and_then(|beside| BODY_MAX.checked_sub(beside));
        if let Some(room) = room.filter(|_| self.outbox.has_room()) {
            let written = self.outbox.written(id, Kind::MANY, |out| {
                let mut values = 0;
                let is_all = desk.answer.look_for_all(group, keys, room, &mut |found| {
                    values += found.value.len();
                    many::put_answer(&found, &desk.hello.node, out);
                });
                is_all.then_some(values)
            });
            match written {
                Ok(true) => return,
                Ok(false) => {}
                Err(full) => return self.reply(id, desk.busy_with(full)),
            }
        }
        let Ok(group) = GroupName::new(group) else { return self.no_group(id) };
        let keys = keys.iter().map(|key| Key::new(key)).collect();
        self.ask(id, Request::GetMany { group, keys, stand_in, cached_only }, asked.within());
    }
}

/// What the body asks, read in place if it can be.
fn read<'a>(body: &'a [u8], by_prost: &'a mut GetKeys) -> Result<KeysAsked<'a>, DecodeError> {
    if let Some(asked) = KeysAsked::read(body) {
        return Ok(asked);
    }
    *by_prost = GetKeys::decode(body)?;
    Ok(KeysAsked::from(&*by_prost))
}
