//! Numbers as Redis reads them: decimal, without blanks, signs that say nothing, or zeros in front.
//!
//! Pure. Redis's own `string2ll` refuses the same.

/// The number, if these bytes are one that fits.
pub fn integer(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    digits.iter().try_fold(0_i64, |number, digit| {
        let digit = i64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
        let number = number.checked_mul(10)?;
        // Towards the sign, so that the least number fits too.
        if negative { number.checked_sub(digit) } else { number.checked_add(digit) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_spelling() {
        for number in [0, 1, -1, 10, 630, i64::MAX, i64::MIN] {
            assert_eq!(integer(number.to_string().as_bytes()), Some(number));
        }
        for bytes in ["", "-", "+1", "-0", "00", "01", "-01", " 1", "1 ", "1.0", "0x1", "1\r"] {
            assert_eq!(integer(bytes.as_bytes()), None, "{bytes:?}");
        }
        for bytes in ["9223372036854775808", "-9223372036854775809", "99999999999999999999"] {
            assert_eq!(integer(bytes.as_bytes()), None, "{bytes}");
        }
    }
}
