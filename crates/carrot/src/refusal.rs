//! Errors as a client of the data front sees them: one status, one word, one line.
//!
//! The only place where errors of the library meet HTTP's numbers.

use std::sync::Arc;

use carrotcache::net::intake::NoRoom;
use carrotcache::{GetError, KeyError, Refusal as Cause, WriteError, with_causes};
use http::StatusCode;
use serde_json::json;

use crate::auth::Denied;

/// Why a request has no value for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the response.
    pub status: StatusCode,
    /// The word that programs tell errors apart by.
    pub error: &'static str,
    /// One line for a person, causes included.
    pub message: String,
    /// Members that did not confirm a write.
    pub members: Vec<String>,
    /// The methods that would be answered.
    pub allow: Option<&'static str>,
    /// What the front counts it as; `None` where it is no refusal, or the group has counted it.
    pub counted: Option<Cause>,
}

impl Refusal {
    fn new(status: StatusCode, error: &'static str, message: impl Into<String>) -> Self {
        Self { status, error, message: message.into(), members: Vec::new(), allow: None, counted: None }
    }

    /// Nothing is answered at that path.
    pub fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "no such path: see /v1/{group}/{key}")
    }

    /// No group of that name is open.
    pub fn no_such_group(name: &str) -> Self {
        let shown: String = name.chars().take(80).collect();
        let message = format!("no such group: {}", shown.escape_debug());
        Self { counted: Some(Cause::NoGroup), ..Self::new(StatusCode::NOT_FOUND, "no_such_group", message) }
    }

    /// The request comes without the password.
    pub fn unauthorized() -> Self {
        let refusal = Self::new(StatusCode::UNAUTHORIZED, "unauthorized", Denied::MESSAGE);
        Self { counted: Some(Cause::Unauthorized), ..refusal }
    }

    /// The request makes no sense.
    pub fn bad_request(why: impl Into<String>) -> Self {
        Self { counted: Some(Cause::Malformed), ..Self::new(StatusCode::BAD_REQUEST, "bad_request", why) }
    }

    /// The value is over the limit, and no group has seen it.
    pub fn large_value(why: impl Into<String>) -> Self {
        Self { counted: Some(Cause::Value), ..Self::too_large(why) }
    }

    /// Too many values are on their way in; no group has seen this one.
    pub fn full(full: NoRoom) -> Self {
        let message = format!("busy: {full}");
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message);
        Self { counted: Some(full.cause()), ..refusal }
    }

    fn too_large(why: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", why)
    }

    /// The path is answered, but not by that method.
    pub fn method(allow: &'static str) -> Self {
        let message = format!("allowed here: {allow}");
        Self {
            allow: Some(allow),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        }
    }

    /// The key is one that no group takes; its group has counted it.
    pub fn key(error: KeyError) -> Self {
        match error {
            KeyError::Empty => Self::new(StatusCode::BAD_REQUEST, "bad_request", error.to_string()),
            // A key that is too long, and whatever limit on keys comes next.
            _ => Self::too_large(error.to_string()),
        }
    }

    /// There are more keys than one request may name; no group has seen them.
    pub fn keys(error: KeyError) -> Self {
        Self { counted: Some(Cause::Key), ..Self::key(error) }
    }

    /// A get that gave no value.
    pub fn of_get(error: &GetError) -> Self {
        let (status, word) = match error {
            GetError::Key(error) => return Self::key(*error),
            GetError::NotFound { .. } | GetError::NotCached { .. } => (StatusCode::NOT_FOUND, "not_found"),
            GetError::Busy { .. } | GetError::LeftOut { .. } | GetError::Leaving => {
                (StatusCode::SERVICE_UNAVAILABLE, "busy")
            }
            GetError::Deadline { .. } => (StatusCode::GATEWAY_TIMEOUT, "deadline"),
            // The origin's fault or the owner's, the value's size included: a bad gateway behind us.
            _ => (StatusCode::BAD_GATEWAY, "load_failed"),
        };
        Self::new(status, word, with_causes(error))
    }

    /// A set or remove that was not done, or not confirmed.
    pub fn of_write(error: &WriteError) -> Self {
        let message = with_causes(error);
        match error {
            WriteError::Key(error) => Self::key(*error),
            WriteError::TooLarge { .. } => Self::too_large(message),
            WriteError::Unconfirmed { members, .. } => Self::unconfirmed(members, message),
            WriteError::Refused { owner, .. } => Self::unconfirmed(std::slice::from_ref(owner), message),
            WriteError::Busy { .. } => Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message),
            WriteError::Unsupported { .. } => Self::new(StatusCode::NOT_IMPLEMENTED, "unsupported", message),
            _ => Self::new(StatusCode::BAD_GATEWAY, "load_failed", message),
        }
    }

    fn unconfirmed(members: &[Arc<str>], message: String) -> Self {
        let members = members.iter().map(ToString::to_string).collect();
        Self { members, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unconfirmed", message) }
    }

    /// The body of the response.
    pub fn json(&self) -> String {
        let mut body = json!({ "error": self.error, "message": self.message });
        if !self.members.is_empty() {
            body["members"] = json!(self.members);
        }
        body.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carrotcache::{GroupName, Key};
    use std::time::Duration;

    fn group() -> GroupName {
        GroupName::new("scores").unwrap()
    }

    #[test]
    fn every_failure_of_a_get_has_its_status_and_word() {
        let key = Key::from("Tim");
        let load = GetError::Load {
            group: group(),
            key: key.clone(),
            source: std::sync::Arc::from(carrotcache::BoxError::from("no such table")),
        };
        let large =
            GetError::TooLarge { group: group(), key: key.clone(), length: 9_000_001, limit: 8 << 20 };
        let late = GetError::Deadline {
            group: group(),
            key: key.clone(),
            owner: None,
            waited: Duration::from_secs(10),
        };
        for (error, status, word) in [
            (GetError::NotFound { group: group(), key }, 404, "not_found"),
            (GetError::Key(KeyError::Empty), 400, "bad_request"),
            (GetError::Key(KeyError::TooLong { length: 5000, limit: 4096 }), 413, "too_large"),
            (load, 502, "load_failed"),
            (large, 502, "load_failed"),
            (GetError::Busy { limit: "max_loads".into() }, 503, "busy"),
            (GetError::Leaving, 503, "busy"),
            (late, 504, "deadline"),
        ] {
            let refusal = Refusal::of_get(&error);
            assert_eq!((refusal.status.as_u16(), refusal.error), (status, word), "{error}");
        }
    }

    #[test]
    fn a_message_names_the_cause_and_a_size_that_was_too_large() {
        let source = Arc::from(carrotcache::BoxError::from("no such table"));
        let load = GetError::Load { group: group(), key: Key::from("a"), source };
        assert_eq!(Refusal::of_get(&load).message, "loading a for group scores failed: no such table");
        let large =
            GetError::TooLarge { group: group(), key: Key::from("a"), length: 9_000_001, limit: 8 << 20 };
        assert!(Refusal::of_get(&large).message.contains("9000001 bytes"));
    }

    #[test]
    fn a_write_that_is_not_confirmed_names_the_member() {
        let source = Arc::new(carrotcache::PeerError::Connect("refused".into()));
        let members = vec!["http://b:1".into(), "http://c:1".into()];
        let refusal = Refusal::of_write(&WriteError::Unconfirmed { members, source });
        assert_eq!(
            refusal.json(),
            r#"{"error":"unconfirmed","members":["http://b:1","http://c:1"],"message":"http://b:1, http://c:1 did not confirm: cannot connect: refused"}"#
        );
    }

    #[test]
    fn a_write_that_there_is_no_room_for_is_busy() {
        let refusal = Refusal::of_write(&WriteError::Busy { limit: "memory of 1MiB is reached".into() });
        let told = r#"{"error":"busy","message":"busy: memory of 1MiB is reached"}"#;
        assert_eq!((refusal.status.as_u16(), refusal.json().as_str(), refusal.counted), (503, told, None));
    }

    #[test]
    fn what_a_stranger_sent_is_escaped_and_cut() {
        let refusal = Refusal::no_such_group(&format!("a\u{1b}\"{}", "x".repeat(5000)));
        assert!(refusal.message.starts_with("no such group: a\\u{1b}\\\""), "{}", refusal.message);
        assert!(refusal.json().len() < 250);
    }
}
