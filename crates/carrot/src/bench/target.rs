//! What is asked: a node's data front, over HTTP, or its Redis front.

use std::fmt;
use std::str::FromStr;

use anyhow::ensure;
use carrot_load::protocol::{Http, Protocol, Resp};
use carrotcache::GroupName;

use crate::ask::{BadUrl, NodeUrl};
use crate::secret::Secret;

/// A front of a node. Its host and port are written as in any URL of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `http://HOST:PORT`.
    Http(NodeUrl),
    /// `redis://HOST:PORT`.
    Redis(NodeUrl),
}

impl FromStr for Target {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("redis") => {
                format!("http://{rest}").parse().map(Self::Redis)
            }
            _ => text.parse().map(Self::Http),
        }
    }
}

impl Target {
    fn url(&self) -> &NodeUrl {
        match self {
            Self::Http(url) | Self::Redis(url) => url,
        }
    }

    /// What is connected to.
    pub fn host_and_port(&self) -> (&str, u16) {
        self.url().target()
    }

    /// What is spoken there about keys of this group.
    ///
    /// # Errors
    /// A password that cannot be sent.
    pub fn protocol(&self, group: &GroupName, password: Option<&Secret>) -> anyhow::Result<Protocol> {
        let password = password.map(Secret::reveal);
        if let Some(password) = password {
            ensure!(!password.contains(char::is_control), "it has control characters");
        }
        Ok(match self {
            Self::Http(url) => Protocol::Http(Http {
                path: format!("/v1/{group}/"),
                host: url.authority().to_owned(),
                authorization: password.map(|password| format!("Bearer {password}")),
            }),
            Self::Redis(_) => {
                Protocol::Resp(Resp { prefix: format!("{group}:"), password: password.map(str::to_owned) })
            }
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => url.fmt(f),
            Self::Redis(url) => write!(f, "redis://{}", url.authority()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_says_what_is_spoken() {
        let group: GroupName = "scores".parse().unwrap();
        let http: Target = "http://[::1]:9999/".parse().unwrap();
        assert_eq!((http.host_and_port(), http.to_string()), (("::1", 9999), "http://[::1]:9999".to_owned()));
        let spoken = http.protocol(&group, Some(&Secret::new("sesame".to_owned()))).unwrap();
        let expected = Http {
            path: "/v1/scores/".to_owned(),
            host: "[::1]:9999".to_owned(),
            authorization: Some("Bearer sesame".to_owned()),
        };
        assert_eq!(spoken, Protocol::Http(expected));
        let redis: Target = "redis://localhost:6380".parse().unwrap();
        assert_eq!(redis.to_string(), "redis://localhost:6380");
        let expected = Resp { prefix: "scores:".to_owned(), password: None };
        assert_eq!(redis.protocol(&group, None).unwrap(), Protocol::Resp(expected));
        assert!(redis.protocol(&group, Some(&Secret::new("a\nb".to_owned()))).is_err());
    }

    #[test]
    fn what_is_no_front_of_a_node_is_refused() {
        for text in ["memcached://a:1", "redis://a:1/0", "redis://:pw@a:1", "a:1"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
