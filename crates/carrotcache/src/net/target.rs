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

/// The target under which a peer of this row knows the key. Never longer than the base path and three bytes for each
/// of the group's and the key's.
pub(super) fn target(row: &Row, group: &[u8], key: &[u8]) -> String {
    under(row.base, group, key)
}

/// The target under which a native peer says what it holds of the key.
pub(super) fn held_target(group: &[u8], key: &[u8]) -> String {
    under(HELD, group, key)
}

/// The target under which a native peer is told to change what it holds of the key.
pub(super) fn change_target(group: &[u8], key: &[u8]) -> String {
    under(CHANGE, group, key)
}

/// The target under which a peer of this row is asked for many keys of the group.
pub(super) fn group_target(row: &Row, group: &[u8]) -> String {
    let mut target = row.base.to_owned();
    escape(group, &mut target);
    target
}

fn under(base: &str, group: &[u8], key: &[u8]) -> String {
    let mut target = String::with_capacity(base.len() + group.len() + key.len() + 1);
    target.push_str(base);
    escape(group, &mut target);
    target.push('/');
    escape(key, &mut target);
    target
}

/// Escapes all but what every reader in the family, and every proxy between, leaves alone.
///
/// A half that is nothing but `.` or `..` has its dots escaped too, lest someone on the way read it as a step.
fn escape(half: &[u8], target: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let is_step = matches!(half, b"." | b"..");
    for &byte in half {
        let is_plain =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') || (byte == b'.' && !is_step);
        if is_plain {
            target.push(char::from(byte));
        } else {
            target.push('%');
            target.push(char::from(HEX[usize::from(byte >> 4)]));
            target.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

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
