//! Patterns as `SCAN … MATCH` has them: `*`, `?`, `[a-z]`, `[^a]`, and `\` before what stands for itself.
//!
//! Pure, and without recursion: a star that fails is tried one byte further on, and only the last star is. So the time is
//! bounded by the pattern's length times the text's, where Redis's own once took for ever (CVE-2022-36021).

/// Whether the whole text is of the pattern.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut rest, mut at) = (pattern, 0);
    // What stands behind the last star, and where it was last tried.
    let mut star: Option<(&[u8], usize)> = None;
    loop {
        if let Some(behind) = rest.strip_prefix(b"*") {
            rest = behind;
            star = Some((behind, at));
            continue;
        }
        let step = match text.get(at) {
            None if rest.is_empty() => return true,
            None => return false,
            Some(byte) => one(rest, *byte),
        };
        match (step, star) {
            (Some(behind), _) => {
                rest = behind;
                at += 1;
            }
            (None, Some((behind, tried))) => {
                rest = behind;
                at = tried + 1;
                star = Some((behind, at));
            }
            (None, None) => return false,
        }
    }
}

/// What of the pattern stands behind the part that takes this byte; `None`: it does not.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [] => None,
        [b'?', behind @ ..] => Some(behind),
        [b'[', set @ ..] => one_of(set, byte),
        [b'\\', literal, behind @ ..] => (*literal == byte).then_some(behind),
        [literal, behind @ ..] => (*literal == byte).then_some(behind),
    }
}

/// The same for a set, which ends at `]` or with the pattern.
fn one_of(set: &[u8], byte: u8) -> Option<&[u8]> {
    let (is_inverted, mut rest) = match set {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut found = false;
    loop {
        rest = match rest {
            [] => break,
            [b']', behind @ ..] => {
                rest = behind;
                break;
            }
            [b'\\', literal, behind @ ..] => {
                found |= *literal == byte;
                behind
            }
            [low, b'-', high, behind @ ..] => {
                let (low, high) = (low.min(high), low.max(high));
                found |= (low..=high).contains(&&byte);
                behind
            }
            [literal, behind @ ..] => {
                found |= *literal == byte;
                behind
            }
        };
    }
    (found != is_inverted).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, yes, no) in [
            ("", vec![""], vec!["a"]),
            ("*", vec!["", "a", "scores:Tom"], vec![]),
            ("h?llo", vec!["hello", "hallo"], vec!["hllo", "heello"]),
            ("h*llo", vec!["hllo", "heeeello"], vec!["hell"]),
            ("h[ae]llo", vec!["hello", "hallo"], vec!["hillo"]),
            ("h[^e]llo", vec!["hallo"], vec!["hello"]),
            ("h[a-b]llo", vec!["hallo", "hbllo"], vec!["hcllo"]),
            ("h[b-a]llo", vec!["hallo"], vec!["hcllo"]),
            (r"h\*llo", vec!["h*llo"], vec!["hello"]),
            (r"[\]]", vec!["]"], vec!["a"]),
            ("[a", vec!["a"], vec!["b"]),
            ("*a*b", vec!["ab", "aab", "xaxbxb"], vec!["ba", "aba"]),
            ("scores:*", vec!["scores:", "scores:Tom"], vec!["pages:Tom"]),
        ] {
            for text in yes {
                assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
            }
            for text in no {
                assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
            }
        }
    }

    #[test]
    fn many_stars_cost_no_more_than_one() {
        // Tried in all combinations, these would not be done before the sun is.
        let pattern = "*a".repeat(5_000) + "*b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(64 << 10).as_bytes()));
        assert!(matches(pattern.as_bytes(), ("a".repeat(6_000) + "b").as_bytes()));
    }
}
