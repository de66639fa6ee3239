//! The password of the data front, the Redis front and the admin front.
//!
//! One password for the node, and maybe another for the Redis front; offered by AUTH, or over HTTP as `Authorization: Bearer
//! PASSWORD`, or as Basic with any user name, which is what `curl -u :PASSWORD` and a browser send. It is asked for before anything else of a request is looked at, and
//! compared in the same time however nearly it fits. A connection is closed after some wrong tries, so that guessing
//! costs a connection for every few guesses, which are counted. Holds the password and nothing of its callers.

use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT;
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONNECTION, HeaderValue, WWW_AUTHENTICATE};

use crate::secret::Secret;

/// Wrong tries on one connection, the last of which closes it.
const TRIES: u32 = 8;

/// Lets in who knows the password, or everybody where there is none.
pub struct Gate {
    password: Option<Secret>,
}

/// The wrong tries on one connection.
#[derive(Debug, Default)]
pub struct Tries(AtomicU32);

/// A request without the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// It was one too many: the connection ends with the answer.
    pub is_last: bool,
}

impl Gate {
    /// A gate with that password.
    pub fn new(password: Option<Secret>) -> Self {
        Self { password }
    }

    /// Whether a request with these headers may be looked at. `tries` are those of its connection.
    ///
    /// # Errors
    /// If it may not: without the password, with another, or with two.
    pub fn admit(&self, headers: &HeaderMap, tries: &Tries) -> Result<(), Denied> {
        let offers = headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
        if self.knows(offers) { Ok(()) } else { Err(tries.wrong()) }
    }

    /// Whether a request with these `Authorization` headers would be admitted. That it would not is no try.
    pub fn knows<'h>(&self, offers: impl IntoIterator<Item = &'h [u8]>) -> bool {
        let Some(password) = &self.password else { return true };
        let mut offers = offers.into_iter();
        let offer = offers.next().and_then(offered);
        offers.next().is_none() && offer.is_some_and(|offer| password.is(&offer))
    }

    /// Whether nobody is asked for a password.
    pub fn is_open(&self) -> bool {
        self.password.is_none()
    }

    /// Whether who offers this password may ask, where it is not sent in a header. `tries` are those of the connection.
    ///
    /// # Errors
    /// If it is another.
    pub fn check(&self, offered: &[u8], tries: &Tries) -> Result<(), Denied> {
        match &self.password {
            Some(password) if !password.is(offered) => Err(tries.wrong()),
            _ => Ok(()),
        }
    }
}

impl Tries {
    fn wrong(&self) -> Denied {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        Denied { is_last: before.saturating_add(1) >= TRIES }
    }
}

impl Denied {
    /// The line that says what is wanted.
    pub const MESSAGE: &str =
        "this node asks for its password: Authorization: Bearer PASSWORD, or Basic with any user name";

    /// Adds to an answer what makes a client ask its user for the password, and closes the connection in time.
    pub fn mark(self, headers: &mut HeaderMap) {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"carrot\""));
        if self.is_last {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// The password in the value of an `Authorization` header, if there is one.
fn offered(header: &[u8]) -> Option<Vec<u8>> {
    let space = header.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = (&header[..space], header[space..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(rest.to_vec());
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let mut user_and_password = STANDARD_PAD_INDIFFERENT.decode(rest).ok()?;
    // A user's name has no colon; a password may.
    let colon = user_and_password.iter().position(|byte| *byte == b':')?;
    Some(user_and_password.split_off(colon + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(offers: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for offer in offers {
            headers.append(AUTHORIZATION, HeaderValue::from_str(offer).unwrap());
        }
        headers
    }

    fn basic(user_and_password: &str) -> String {
        format!("Basic {}", STANDARD_PAD_INDIFFERENT.encode(user_and_password))
    }

    fn gate() -> Gate {
        Gate::new(Some(Secret::new("open: sesame")))
    }

    #[test]
    fn the_password_is_taken_as_a_token_and_beside_any_user_name() {
        for offer in [
            "Bearer open: sesame".to_owned(),
            "bearer   open: sesame ".to_owned(),
            basic(":open: sesame"),
            basic("anybody:open: sesame"),
            basic(":open: sesame").replace("Basic", "BASIC"),
            basic(":open: sesame").trim_end_matches('=').to_owned(),
        ] {
            assert_eq!(gate().admit(&headers(&[&offer]), &Tries::default()), Ok(()), "{offer}");
        }
    }

    #[test]
    fn whatever_else_is_offered_is_refused() {
        let mut offers = vec![Vec::new(), vec!["Bearer open: sesame", "Bearer open: sesame"]];
        let (user_only, other) = (basic("open: sesame"), basic(":open: Sesame"));
        offers.extend(
            [
                "",
                "Bearer",
                "Bearer ",
                "open: sesame",
                "Bearer open: sesam",
                "Digest open: sesame",
                "Basic !",
                "Basic ",
            ]
            .map(|offer| vec![offer]),
        );
        offers.extend([vec![&*user_only], vec![&*other]]);
        for offer in offers {
            let denied = gate().admit(&headers(&offer), &Tries::default());
            assert_eq!(denied, Err(Denied { is_last: false }), "{offer:?}");
        }
    }

    #[test]
    fn without_a_password_everybody_is_let_in() {
        let open = Gate::new(None);
        assert_eq!(open.admit(&headers(&[]), &Tries::default()), Ok(()));
        assert_eq!(open.admit(&headers(&["Bearer whatever"]), &Tries::default()), Ok(()));
    }

    #[test]
    fn the_eighth_wrong_try_on_a_connection_is_its_last() {
        let (gate, tries) = (gate(), Tries::default());
        let wrong = headers(&["Bearer wrong"]);
        let last: Vec<bool> = (0..9)
            .map(|_| {
                gate.admit(&headers(&["Bearer open: sesame"]), &tries).unwrap();
                gate.admit(&wrong, &tries).unwrap_err().is_last
            })
            .collect();
        assert_eq!(last, [false, false, false, false, false, false, false, true, true]);
        assert!(!gate.admit(&wrong, &Tries::default()).unwrap_err().is_last, "another connection");
    }
}
