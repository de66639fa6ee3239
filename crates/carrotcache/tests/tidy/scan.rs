//! Rust source as words: identifiers, `::` and single marks, each with its line. Comments vanish, and a literal is one
//! word without its text, so that no rule is fooled by what only looks like code.
//!
//! Not a full lexer: it tells apart what the rules must tell apart (nested comments, raw strings, a lifetime from a
//! character) and takes source that compiles for granted. A procedural-macro parser would bring twenty crates to a
//! test that has to stay quick.

/// What stands for any string, byte string or character.
pub(crate) const LITERAL: &str = "\"";
/// What stands for any lifetime or label.
pub(crate) const LIFETIME: &str = "'";

/// One word of the source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    /// From 1.
    pub(crate) line: usize,
}

/// All words of `source`, in order.
pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (source, 1);
    while let Some(first) = rest.chars().next() {
        let (length, text) = next(rest, first);
        if let Some(text) = text {
            tokens.push(Token { text, line });
        }
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

/// Whether the word can be part of a path: an identifier or a keyword.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// How far the next piece of source reaches, in bytes, and the word it is, if it is one.
fn next(rest: &str, first: char) -> (usize, Option<&str>) {
    if first.is_whitespace() {
        return (first.len_utf8(), None);
    }
    if let Some(length) = comment(rest) {
        return (length, None);
    }
    if let Some(length) = string(rest).or_else(|| character(rest)) {
        return (length, Some(LITERAL));
    }
    if first == '\'' {
        return (1 + word(&rest[1..]), Some(LIFETIME));
    }
    let length = match word(rest) {
        0 if rest.starts_with("::") => 2,
        0 => first.len_utf8(),
        // A raw identifier is one word, so that `r#use` is no `use`.
        1 if rest.starts_with("r#") => 2 + word(&rest[2..]),
        length => length,
    };
    (length, Some(&rest[..length]))
}

/// The length of the identifier or number at the start.
fn word(rest: &str) -> usize {
    rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
}

/// The length of the comment at the start; a block comment may hold others.
fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest.as_bytes().get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
    Some(rest.len())
}

/// The length of the string at the start, of any kind: plain, byte, C, raw.
fn string(rest: &str) -> Option<usize> {
    let start = rest.find('"')?;
    match &rest[..start] {
        "" | "b" | "c" => Some(start + closed(&rest[start..], '"')),
        prefix => {
            let hashes = prefix.trim_start_matches(['b', 'c']).strip_prefix('r')?;
            if prefix.len() > hashes.len() + 2 || hashes.contains(|c| c != '#') {
                return None;
            }
            let end = format!("\"{hashes}");
            let body = start + 1;
            Some(rest[body..].find(&end).map_or(rest.len(), |at| body + at + end.len()))
        }
    }
}

/// The length of the character at the start. `'a` alone is a lifetime: a character is closed after one.
fn character(rest: &str) -> Option<usize> {
    let prefix = usize::from(rest.starts_with("b'"));
    let body = rest[prefix..].strip_prefix('\'')?;
    let mut chars = body.chars();
    match chars.next()? {
        '\\' => Some(prefix + closed(&rest[prefix..], '\'')),
        c => (chars.next() == Some('\'')).then_some(prefix + c.len_utf8() + 2),
    }
}

/// The length of what is opened and closed by `quote`, in which a backslash hides the mark after it.
fn closed(rest: &str, quote: char) -> usize {
    let mut hidden = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if hidden => hidden = false,
            '\\' => hidden = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[test]
fn comments_strings_and_lifetimes_are_told_from_code() {
    let source = r##"a /* b /* c */ d */ 'e: f // g
        "h\" i" r#"j " k"# 'l' '\'' b'm' b"n" '"' br"o" &'p str r#use::q 1.5 'r'"##;
    let words: Vec<_> = tokens(source).iter().map(|token| (token.line, token.text)).collect();
    let second = [
        LITERAL, LITERAL, LITERAL, LITERAL, LITERAL, LITERAL, LITERAL, LITERAL, "&", LIFETIME, "str",
        "r#use", "::", "q", "1", ".", "5", LITERAL,
    ];
    let mut expected = vec![(1, "a"), (1, LIFETIME), (1, ":"), (1, "f")];
    expected.extend(second.map(|text| (2, text)));
    assert_eq!(words, expected);
}
