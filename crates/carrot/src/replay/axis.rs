//! The axes of a plot, with marks where a reader expects them: miss ratios, and capacities by their logarithm.
//!
//! Pure. Counts are marked at powers of ten, or 1, 2, 5 of them; bytes at powers of two. Places on the axis of capacities
//! are their decimal logarithms.

use std::ops::Range;

use crate::plot::Axis;
use crate::replay::weigh::Weigh;

/// The most marks that can be read beside each other.
const MARKS: usize = 5;

/// The place of a capacity; nothing has none.
pub fn place(capacity: u64) -> Option<f64> {
    (capacity > 0).then(|| (capacity as f64).log10())
}

/// The capacity at a place.
pub fn capacity_at(place: f64) -> u64 {
    // As far as it matters for a label: places of marks are logarithms of whole numbers.
    10_f64.powf(place).round() as u64
}

/// From all hit to all missed.
pub fn ratios() -> Axis {
    Axis { range: 0.0..1.0, marks: vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0] }
}

/// One that shows all of these.
pub fn capacities(capacities: impl Iterator<Item = u64>, weigh: Weigh) -> Axis {
    let places: Vec<f64> = capacities.filter_map(place).collect();
    let (first, last) = places.iter().fold((f64::MAX, f64::MIN), |(a, b), &x| (a.min(x), b.max(x)));
    // A curve of one point, or of none, has room on both sides.
    let range = match last - first {
        span if span > 0.0 => first - span / 40.0..last + span / 40.0,
        0.0 => first - 0.5..last + 0.5,
        _ => 0.0..1.0,
    };
    let marks = match weigh {
        Weigh::Entries => of_counts(&range),
        Weigh::Payload | Weigh::Real => of_bytes(&range),
    };
    Axis { range, marks }
}

fn of_counts(range: &Range<f64>) -> Vec<f64> {
    let tens = |digits: &'static [f64]| {
        (0..20).flat_map(move |power| digits.iter().map(move |digit| f64::from(power) + digit.log10()))
    };
    let inside = |digits| tens(digits).filter(|place| range.contains(place)).collect::<Vec<_>>();
    let fine = inside(&[1.0, 2.0, 5.0]);
    if fine.len() <= MARKS { fine } else { thinned(inside(&[1.0])) }
}

fn of_bytes(range: &Range<f64>) -> Vec<f64> {
    let of_step = |step: usize| {
        let places = (0..64).step_by(step).map(|power| f64::from(power) * 2_f64.log10());
        places.filter(|place| range.contains(place)).collect::<Vec<_>>()
    };
    // 10: the steps from B to KiB to MiB.
    let fitting = [1, 2, 3, 4, 5, 10].into_iter().map(of_step).find(|marks| marks.len() <= MARKS);
    fitting.unwrap_or_else(|| thinned(of_step(10)))
}

fn thinned(marks: Vec<f64>) -> Vec<f64> {
    let step = marks.len().div_ceil(MARKS).max(1);
    marks.into_iter().step_by(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(capacities: &[u64], weigh: Weigh) -> Vec<String> {
        let axis = super::capacities(capacities.iter().copied(), weigh);
        assert!(axis.marks.iter().all(|mark| axis.range.contains(mark)));
        axis.marks.iter().map(|&mark| weigh.amount(capacity_at(mark))).collect()
    }

    #[test]
    fn marks_are_round_and_few() {
        assert_eq!(marks(&[76, 76_349], Weigh::Entries), ["100", "1000", "10k"]);
        assert_eq!(marks(&[7, 120], Weigh::Entries), ["10", "20", "50", "100"]);
        assert_eq!(marks(&[300 << 10, 300 << 20], Weigh::Real), ["256 KiB", "2 MiB", "16 MiB", "128 MiB"]);
        assert_eq!(
            marks(&[1 << 20, 16 << 20], Weigh::Payload),
            ["1 MiB", "2 MiB", "4 MiB", "8 MiB", "16 MiB"]
        );
        assert!(marks(&[1, u64::MAX], Weigh::Payload).len() <= MARKS);
        assert!(marks(&[1, u64::MAX], Weigh::Entries).len() <= MARKS);
    }

    #[test]
    fn a_single_capacity_stands_in_the_middle_and_nothing_is_no_place() {
        let axis = super::capacities([100, 0].into_iter(), Weigh::Entries);
        assert_eq!(axis.range, 1.5..2.5);
        assert_eq!(super::capacities([0].into_iter(), Weigh::Entries).range, 0.0..1.0);
    }
}
