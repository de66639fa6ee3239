//! Request targets: where one leads, and how one is written.
//!
//! The seed and groupcache escape keys with Go's `QueryEscape`, where a space becomes `+` and a plus `%2B`, and read
//! them back with rules under which `+` stays a plus: there `a b` and `a+b` are one key. Here a raw `+` is what the
//! row's clients mean by it; the newer systems escape with `PathEscape`, and mean a plus. Targets are read by bytes, each
//! half decoded once, with no notion of dot segments, double slashes or case, so that every key a client can name is the
//! key it gets.
//! Pure; the client writes targets, the server reads them.

use std::borrow::Cow;

use crate::net::dialect::{Dialect, ROWS, Row};

/// Where the native row is asked what is held of a key: `~` is outside the alphabet of groups, so none is hidden.
const HELD: &str = "/_carrot/~held/";

/// Where the native row is told to change what it holds of a key.
const CHANGE: &str = "/_carrot/~change/";

/// What is wrong with a path that names no entry.
pub(super) const NO_ENTRY: &str = "bad request: the path is no group/key";

/// Where a request's target leads.
#[derive(Debug)]
pub(super) enum Route<'a> {
    /// A key of a group, by the row whose base path it stands under. Both halves are whatever was sent.
    Entry { row: &'static Row, group: Cow<'a, [u8]>, key: Cow<'a, [u8]> },
    /// `/_carrot/{group}`, of which many keys may be asked by POST, and all be cleared by DELETE. The group is whatever was sent.
    Group { row: &'static Row, group: Cow<'a, [u8]> },
    /// `/_carrot/~held/{group}/{key}`. Both halves are whatever was sent.
    Held { group: Cow<'a, [u8]>, key: Cow<'a, [u8]> },
    /// `/_carrot/~change/{group}/{key}`. Both halves are whatever was sent.
    Change { group: Cow<'a, [u8]>, key: Cow<'a, [u8]> },
    /// `/_carrot/id`.
    Id,
    /// `/_carrot/members`.
    Members,
    /// `/_carrot/frames`.
    Frames,
    /// A base path and nothing behind it, where a peer of the family is asked whether it lives.
    Base { row: &'static Row },
    /// Under a base path, but not to be read.
    Malformed { row: &'static Row, why: &'static str },
    /// No path of ours.
    Nowhere,
}

/// Reads a raw request target, as a node that speaks `own` does.
pub(super) fn route<'a>(target: &'a [u8], own: Dialect) -> Route<'a> {
    let path = target.split(|&b| b == b'?').next().unwrap_or_default();
    match path {
        b"/_carrot/id" => return Route::Id,
        b"/_carrot/members" => return Route::Members,
        b"/_carrot/frames" => return Route::Frames,
        _ => {}
    }
    let about = |base: &str, of: fn(Cow<'a, [u8]>, Cow<'a, [u8]>) -> Route<'a>| {
        Some(match entry(Dialect::Native.row(), path.strip_prefix(base.as_bytes())?) {
            Route::Entry { group, key, .. } => of(group, key),
            Route::Group { row, .. } => Route::Malformed { row, why: NO_ENTRY },
            malformed => malformed,
        })
    };
    let held = about(HELD, |group, key| Route::Held { group, key });
    if let Some(route) = held.or_else(|| about(CHANGE, |group, key| Route::Change { group, key })) {
        return route;
    }
    let under = |row: &'static Row| Some((row, path.strip_prefix(row.base.as_bytes())?));
    // The node's own row before those that it shares its base path with.
    match std::iter::once(own.row()).chain(&ROWS).find_map(under) {
        Some((row, b"")) => Route::Base { row },
        Some((row, rest)) => entry(row, rest),
        None => Route::Nowhere,
    }
}

/// Reads what is behind a base path.
fn entry<'a>(row: &'static Row, rest: &'a [u8]) -> Route<'a> {
    let Some(slash) = rest.iter().position(|&b| b == b'/') else {
        return match unescape(rest, row.plus) {
            Some(group) if row.gets_many() => Route::Group { row, group },
            _ => Route::Malformed { row, why: NO_ENTRY },
        };
    };
    match (unescape(&rest[..slash], row.plus), unescape(&rest[slash + 1..], row.plus)) {
        (Some(group), Some(key)) => Route::Entry { row, group, key },
        _ => Route::Malformed { row, why: "bad request: bad percent escape" },
    }
}

/// Appends the target under which a peer of this row knows the key. Never longer than the base path and three bytes for
/// each of the group's and the key's.
pub(super) fn target(row: &Row, group: &[u8], key: &[u8], into: &mut Vec<u8>) {
    under(row.base, group, key, into);
}

/// Appends the target under which a native peer says what it holds of the key.
pub(super) fn held_target(group: &[u8], key: &[u8], into: &mut Vec<u8>) {
    under(HELD, group, key, into);
}

/// Appends the target under which a native peer is told to change what it holds of the key.
pub(super) fn change_target(group: &[u8], key: &[u8], into: &mut Vec<u8>) {
    under(CHANGE, group, key, into);
}

/// Appends the target under which a peer of this row is asked for many keys of the group.
pub(super) fn group_target(row: &Row, group: &[u8], into: &mut Vec<u8>) {
    into.extend_from_slice(row.base.as_bytes());
    escape(group, into);
}

fn under(base: &str, group: &[u8], key: &[u8], into: &mut Vec<u8>) {
    into.reserve(base.len() + group.len() + key.len() + 1);
    into.extend_from_slice(base.as_bytes());
    escape(group, into);
    into.push(b'/');
    escape(key, into);
}

/// Escapes all but what every reader in the family, and every proxy between, leaves alone.
///
/// A half that is nothing but `.` or `..` has its dots escaped too, lest someone on the way read it as a step.
fn escape(half: &[u8], into: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let is_step = matches!(half, b"." | b"..");
    let is_plain = |byte: &u8| PLAIN[usize::from(*byte)] && !(is_step && *byte == b'.');
    let mut rest = half;
    while let Some((&byte, behind)) = rest.split_first() {
        let plain = rest.iter().position(|byte| !is_plain(byte)).unwrap_or(rest.len());
        if plain > 0 {
            into.extend_from_slice(&rest[..plain]);
            rest = &rest[plain..];
        } else {
            into.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            rest = behind;
        }
    }
}

/// The bytes that are written as they are.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < plain.len() {
        plain[byte] =
            matches!(byte as u8, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' | b'.');
        byte += 1;
    }
    plain
};

/// Decodes percent escapes, once. `None`: a `%` without two hex digits.
fn unescape(half: &[u8], plus: u8) -> Option<Cow<'_, [u8]>> {
    if !half.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(half.into());
    }
    let mut bytes = Vec::with_capacity(half.len());
    let mut rest = half.iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(*rest.next()?)? << 4 | hex(*rest.next()?)?,
            b'+' => plus,
            other => other,
        });
    }
    Some(bytes.into())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok())
}

#[cfg(test)]
mod tests;
