//! What is asked of a node: the requests of the commands, as its fronts want them written.
//!
//! Pure.

use bytes::Bytes;
use carrotcache::{ByteSize, GroupName, Key, Span};
use http::{Method, StatusCode, Uri};

use crate::ask::error::AskError;
use crate::ask::front::Front;
use crate::escape::escaped;

/// The largest value that is sent or taken in: both are held whole, and no node is sensibly told to take more.
pub const VALUE_MAX: ByteSize = ByteSize::gib(1);

/// The longest JSON that is taken in: some thousand groups and peers.
const JSON_MAX: ByteSize = ByteSize::mib(16);

/// A request, and what a node that is one answers to it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whom it is for.
    pub front: Front,
    /// What is done.
    pub method: Method,
    /// To what.
    pub target: Uri,
    /// What is sent along.
    pub value: Option<Bytes>,
    /// The status of the answer, where all is well.
    pub expects: StatusCode,
    /// The longest body of such an answer.
    pub answer_max: ByteSize,
}

impl Call {
    /// Asks for a key's value.
    pub fn get(group: &GroupName, key: &Key) -> Result<Self, AskError> {
        Self::of_key(Method::GET, "/v1", group, key, "")
    }

    /// Gives a key a value, for that long.
    pub fn set(group: &GroupName, key: &Key, value: Bytes, ttl: Option<Span>) -> Result<Self, AskError> {
        let ttl = ttl.map(|ttl| format!("?ttl={ttl}")).unwrap_or_default();
        let call = Self::of_key(Method::PUT, "/v1", group, key, &ttl)?;
        Ok(Self { value: Some(value), expects: StatusCode::NO_CONTENT, ..call })
    }

    /// Has a key forgotten.
    pub fn remove(group: &GroupName, key: &Key) -> Result<Self, AskError> {
        let call = Self::of_key(Method::DELETE, "/v1", group, key, "")?;
        Ok(Self { expects: StatusCode::NO_CONTENT, ..call })
    }

    /// Asks who owns a key, and who holds it.
    pub fn owner(group: &GroupName, key: &Key) -> Result<Self, AskError> {
        let call = Self::of_key(Method::GET, "/owner", group, key, "")?;
        Ok(Self { answer_max: JSON_MAX, ..call })
    }

    /// Asks what the node has counted.
    pub fn stats() -> Self {
        Self {
            front: Front::Admin,
            method: Method::GET,
            target: Uri::from_static("/admin/stats"),
            value: None,
            expects: StatusCode::OK,
            answer_max: JSON_MAX,
        }
    }

    fn of_key(
        method: Method,
        path: &str,
        group: &GroupName,
        key: &Key,
        query: &str,
    ) -> Result<Self, AskError> {
        let key_in_path = escaped(key);
        // The only thing that a target can be is too long.
        let target = Uri::try_from(format!("{path}/{group}/{key_in_path}{query}"))
            .map_err(|_| AskError::LongKey(key.clone()))?;
        Ok(Self {
            front: Front::Data,
            method,
            target,
            value: None,
            expects: StatusCode::OK,
            answer_max: VALUE_MAX,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn group() -> GroupName {
        GroupName::new("g").unwrap()
    }

    #[test]
    fn a_key_is_escaped_so_that_it_arrives_as_it_is() {
        for (key, target) in [
            (&b"Tom"[..], "/v1/g/Tom"),
            (b"a b+c", "/v1/g/a%20b%2Bc"),
            (b"/a//b/", "/v1/g/%2Fa%2F%2Fb%2F"),
            (b".", "/v1/g/."),
            (b"..", "/v1/g/.."),
            (b"a/../b", "/v1/g/a%2F..%2Fb"),
            (b"%2F?#", "/v1/g/%252F%3F%23"),
            (b"\xff\0\n", "/v1/g/%FF%00%0A"),
            ("ü".as_bytes(), "/v1/g/%C3%BC"),
        ] {
            assert_eq!(Call::get(&group(), &Key::new(key)).unwrap().target, target);
        }
    }

    #[test]
    fn each_command_asks_in_the_words_of_the_fronts() {
        let key = Key::from("Tom");
        let said = |call: &Call| format!("{} {} {}", call.method, call.target, call.expects.as_u16());
        let ttl = Some(Span(Duration::from_millis(1500)));
        assert_eq!(said(&Call::get(&group(), &key).unwrap()), "GET /v1/g/Tom 200");
        assert_eq!(said(&Call::remove(&group(), &key).unwrap()), "DELETE /v1/g/Tom 204");
        assert_eq!(said(&Call::owner(&group(), &key).unwrap()), "GET /owner/g/Tom 200");
        assert_eq!(said(&Call::stats()), "GET /admin/stats 200");
        let set = |ttl| Call::set(&group(), &key, Bytes::from_static(b"630"), ttl).unwrap();
        assert_eq!(said(&set(None)), "PUT /v1/g/Tom 204");
        assert_eq!(said(&set(ttl)), "PUT /v1/g/Tom?ttl=1500ms 204");
    }

    #[test]
    fn a_key_that_no_target_can_hold_is_refused_before_it_is_asked_for() {
        let longest = Call::get(&group(), &Key::new(&[b'/'; 16 << 10]));
        assert_eq!(longest.unwrap().target.path().len(), "/v1/g/".len() + 3 * (16 << 10));
        let refused = Call::get(&group(), &Key::new(&[b'k'; 100_000])).unwrap_err();
        assert!(matches!(refused, AskError::LongKey(_)));
        assert!(refused.to_string().len() < 200, "{refused}");
    }
}
