//! The log: what the program and the library report, as lines on standard error.
//!
//! `CARROT_LOG` chooses what is reported, in the notation of `tracing-subscriber`'s filters; without it, `info`.
//! Set up once, by the program: the library only reports. Keys come escaped, as their `Display` writes them.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The variable that chooses what is logged.
const VARIABLE: &str = "CARROT_LOG";

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The variable is no filter.
    #[error("CARROT_LOG is not a filter, as in debug or carrot=debug,warn")]
    Filter(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A log was begun before, in this process.
    #[error("the log cannot be begun")]
    Begun(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Begins the log.
///
/// # Errors
/// When `CARROT_LOG` cannot be read as a filter.
pub fn begin() -> Result<(), LogError> {
    let filter = match std::env::var_os(VARIABLE) {
        None => filter("")?,
        Some(text) => filter(&text.to_string_lossy())?,
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(wants_colour())
        .try_init()
        .map_err(LogError::Begun)
}

fn filter(text: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(text)
        .map_err(|fault| LogError::Filter(fault.into()))
}

/// Colour is for eyes: on a terminal, unless `NO_COLOR` says otherwise (no-color.org).
fn wants_colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stderr().is_terminal() && !refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_filter_the_log_begins_at_info() {
        assert_eq!(filter("").unwrap().max_level_hint(), Some(LevelFilter::INFO));
        assert_eq!(filter("debug").unwrap().max_level_hint(), Some(LevelFilter::DEBUG));
        assert_eq!(filter("carrot=trace,warn").unwrap().max_level_hint(), Some(LevelFilter::TRACE));
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_refused() {
        assert!(matches!(filter("carrot=loud"), Err(LogError::Filter(_))));
    }
}
