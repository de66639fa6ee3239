//! Numbers for eyes: three digits that count, and a unit.
//!
//! Pure. For what is read at a glance; whoever wants to reckon asks for `--json`.

/// A count: `9999`, then `12.3k`, `4.5M`.
pub fn count(n: u64) -> String {
    if n < 10_000 { n.to_string() } else { scaled(n as f64, 1000.0, &["", "k", "M", "G", "T", "P", "E"]) }
}

/// A count that may be below nothing.
pub fn signed(n: i64) -> String {
    let sign = if n < 0 { "-" } else { "" };
    format!("{sign}{}", count(n.unsigned_abs()))
}

/// So many in each second.
pub fn rate(n: u64, seconds: f64) -> String {
    let rate = if seconds > 0.0 { n as f64 / seconds } else { 0.0 };
    match rate {
        0.0 => "0".to_owned(),
        small if small < 0.1 => "<0.1".to_owned(),
        small if small < 9.95 => digits(small, 1),
        large => count(large.round() as u64),
    }
}

/// A part of a whole; `-` where there is no whole.
pub fn percent(part: u64, whole: u64) -> String {
    let percent = part as f64 / whole as f64 * 100.0;
    match (part, whole) {
        (_, 0) => "-".to_owned(),
        (0, _) => "0%".to_owned(),
        _ if percent < 0.1 => "<0.1%".to_owned(),
        _ if percent > 999.0 => ">999%".to_owned(),
        _ if part < whole && percent > 99.9 => ">99.9%".to_owned(),
        _ => format!("{}%", digits(percent, 1)),
    }
}

/// An amount of memory: `88 B`, `1.5 KiB`, `64 MiB`.
pub fn bytes(n: u64) -> String {
    scaled(n as f64, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"])
}

/// A short time: `23.4 µs`, `1.5 ms`, `2 s`.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 0.000_999_5 => format!("{} µs", three(s * 1e6)),
        s if s < 0.999_5 => format!("{} ms", three(s * 1e3)),
        s => format!("{} s", three(s)),
    }
}

/// A long time, in its two largest units: `850 ms`, `59 s`, `1 h 12 m`.
pub fn long_time(ms: u64) -> String {
    let seconds = ms / 1000;
    let two = |large: u64, small: u64, units: [&str; 2]| match small {
        0 => format!("{large} {}", units[0]),
        _ => format!("{large} {} {small} {}", units[0], units[1]),
    };
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, seconds % 60, ["m", "s"]),
        3600..86_400 => two(seconds / 3600, seconds / 60 % 60, ["h", "m"]),
        _ => two(seconds / 86_400, seconds / 3600 % 24, ["d", "h"]),
    }
}

/// The number in the first unit in which it has at most three digits before the point.
fn scaled(mut n: f64, step: f64, units: &[&str]) -> String {
    let mut at = 0;
    // A KiB has up to 1023 bytes below it, a k up to 999: the rounded number is what must fit.
    while n.round() >= step && at + 1 < units.len() {
        n /= step;
        at += 1;
    }
    format!("{}{}", three(n), units[at])
}

/// Three digits that count, or all of those before the point.
fn three(n: f64) -> String {
    match n {
        n if n < 9.995 => digits(n, 2),
        n if n < 99.95 => digits(n, 1),
        n => digits(n, 0),
    }
}

/// With so many digits behind the point, without the zeros at the end.
fn digits(n: f64, behind: usize) -> String {
    let text = format!("{n:.behind$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_bytes_take_a_unit_when_they_grow() {
        for (n, shown) in [
            (0, "0"),
            (9999, "9999"),
            (10_000, "10k"),
            (12_345, "12.3k"),
            (999_499, "999k"),
            (999_500, "1M"),
            (1_234_567, "1.23M"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(count(n), shown);
        }
        assert_eq!((signed(-3), signed(12_345)), ("-3".to_owned(), "12.3k".to_owned()));
        assert_eq!(signed(i64::MIN), "-9.22E");
        for (n, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (64 << 20, "64 MiB"),
            ((1 << 20) - 1, "1 MiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(bytes(n), shown);
        }
    }

    #[test]
    fn rates_and_parts_never_say_none_where_there_is_some() {
        assert_eq!((rate(0, 1.0), rate(5, 0.0)), ("0".to_owned(), "0".to_owned()));
        assert_eq!((rate(1, 20.0), rate(3, 2.0)), ("<0.1".to_owned(), "1.5".to_owned()));
        assert_eq!((rate(1999, 200.0), rate(30_000, 2.0)), ("10".to_owned(), "15k".to_owned()));
        for ((part, whole), shown) in [
            ((0, 0), "-"),
            ((0, 9), "0%"),
            ((1, 100_000), "<0.1%"),
            ((1, 3), "33.3%"),
            ((1, 2), "50%"),
            ((99_999, 100_000), ">99.9%"),
            ((9, 9), "100%"),
            ((18, 9), "200%"),
            ((u64::MAX, 1), ">999%"),
        ] {
            assert_eq!(percent(part, whole), shown, "{part} of {whole}");
        }
    }

    #[test]
    fn times_are_shown_in_the_unit_that_fits() {
        for (s, shown) in [
            (0.00001, "10 µs"),
            (0.000_234_5, "234 µs"),
            (0.000_999_7, "1 ms"),
            (0.0125, "12.5 ms"),
            (0.999_6, "1 s"),
            (2.5, "2.5 s"),
            (125.0, "125 s"),
        ] {
            assert_eq!(seconds(s), shown);
        }
        for (ms, shown) in [
            (0, "0 ms"),
            (850, "850 ms"),
            (1999, "1 s"),
            (60_000, "1 m"),
            (303_000, "5 m 3 s"),
            (4_320_000, "1 h 12 m"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(long_time(ms), shown);
        }
    }
}
