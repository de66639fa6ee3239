//! `${NAME}` in a text, replaced by what a variable holds.
//!
//! `$${` stands for `${` itself; any other `$` is a dollar. The variables are a function given by the caller, so that
//! this is pure; what they hold is put in as it is and not looked through again.

use std::env::VarError;

/// Gives what the variable of that name holds, as `std::env::var` does.
pub type Variables<'a> = &'a dyn Fn(&str) -> Result<String, VarError>;

/// A text with its variables replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// The text that it became.
    pub text: String,
    /// It holds something that is not written here.
    pub from_outside: bool,
}

/// Why a text cannot be replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadVariable {
    /// No `}` follows.
    #[error("\"${{\" is never closed; for the two characters themselves write $${{")]
    Open,
    /// What stands between the braces is no name.
    #[error(
        "{0:?} is not the name of a variable: A-Z a-z 0-9 _, no digit first; for \"${{\" itself write $${{"
    )]
    Name(String),
    /// There is no such variable.
    #[error("variable {0} is not set")]
    Unset(String),
    /// The variable holds bytes that are no text.
    #[error("variable {0} is not UTF-8")]
    NotText(String),
    /// What stands between the braces of a secret is no name. Not repeated.
    #[error("a \"${{\" in it holds no name of a variable; for \"${{\" itself write $${{")]
    SecretName,
    /// A variable in a secret cannot be read. Its name is not repeated, which may be a piece of the secret.
    #[error("a variable in it is not set, or not UTF-8; for \"${{\" itself write $${{")]
    SecretPart,
}

impl BadVariable {
    /// What to say where the text is a secret. A name that is all of it is one, and may be said.
    pub fn of_secret(self, text: &str) -> Self {
        match self {
            Self::Name(_) => Self::SecretName,
            Self::Unset(name) | Self::NotText(name) if text != format!("${{{name}}}") => Self::SecretPart,
            other => other,
        }
    }
}

/// Replaces every `${NAME}`.
///
/// # Errors
/// The first that cannot be.
pub fn replace(text: &str, variables: Variables<'_>) -> Result<Replaced, BadVariable> {
    let mut replaced = Replaced { text: String::with_capacity(text.len()), from_outside: false };
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            replaced.text.extend([before, "${"]);
            rest = after;
            continue;
        }
        let (name, after) = after.split_once('}').ok_or(BadVariable::Open)?;
        replaced.text.extend([before, &value(name, variables)?]);
        replaced.from_outside = true;
        rest = after;
    }
    replaced.text.push_str(rest);
    Ok(replaced)
}

fn value(name: &str, variables: Variables<'_>) -> Result<String, BadVariable> {
    let fits = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !fits || name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(BadVariable::Name(name.chars().take(40).collect()));
    }
    variables(name).map_err(|fault| match fault {
        VarError::NotPresent => BadVariable::Unset(name.to_owned()),
        VarError::NotUnicode(_) => BadVariable::NotText(name.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(name: &str) -> Result<String, VarError> {
        match name {
            "A" => Ok("a".to_owned()),
            "_B2" => Ok("${A}\"\n".to_owned()),
            "EMPTY" => Ok(String::new()),
            "BYTES" => Err(VarError::NotUnicode(std::ffi::OsString::new())),
            _ => Err(VarError::NotPresent),
        }
    }

    #[test]
    fn names_in_braces_are_replaced_once_and_every_other_dollar_stays() {
        for (text, expected, from_outside) in [
            ("", "", false),
            ("plain", "plain", false),
            ("${A}", "a", true),
            ("x${A}y${A}${EMPTY}z", "xayaz", true),
            ("${_B2}", "${A}\"\n", true),
            ("$${A}", "${A}", false),
            ("$$${A}", "$${A}", false),
            ("$${A}${A}", "${A}a", true),
            ("$A $ $$ {A} $", "$A $ $$ {A} $", false),
            ("ä${A}ö", "äaö", true),
        ] {
            let expected = Replaced { text: expected.to_owned(), from_outside };
            assert_eq!(replace(text, &variables), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_is_named() {
        let said = |text: &str| replace(text, &variables).unwrap_err().to_string();
        assert_eq!(said("a${NONE}"), "variable NONE is not set");
        assert_eq!(said("${BYTES}"), "variable BYTES is not UTF-8");
        assert_eq!(said("${A"), "\"${\" is never closed; for the two characters themselves write $${");
        for name in ["", "1A", "A-B", "${A", "ä"] {
            let line = said(&format!("${{{name}}}"));
            assert!(line.starts_with(&format!("{name:?} is not the name of a variable")), "{line}");
        }
    }
}
