//! Placement measured: how evenly keys are spread, how many move when a member comes or goes, and what it costs.
//!
//! The spread and the moves are exact for `Slots`, which has as many shares as are looked at, and good to a few
//! tenths of a percent for `Ring`, whose circle is looked at in even steps. The time of a lookup contains the hash
//! of the key and the copy of the ranks; the lookups do not wait for each other, as those of many callers do not.

use std::hint::black_box;
use std::time::Instant;

use carrotcache::placement::{GroupHash, Placement, PlacementKind, SLOTS};
use serde_json::{Value, json};

use crate::report::{self, Runs};

const SIZES: [usize; 4] = [3, 10, 100, 1000];
/// Lists of different addresses for which balance and moves are measured.
const LISTS: usize = 10;
const BUILDS: usize = 11;
const LOOKUP_ROUNDS: usize = 21;
/// Keys asked for in one round: more than there are slots, so that the table is not all in the nearest cache.
const KEYS: usize = 3 * SLOTS;
/// Even steps in which the circle is looked at: about 80 for each point of a thousand members.
const STEPS: u32 = 1 << 22;

/// Measures both placements at each size, prints a table and writes `results/placement.json`.
///
/// # Errors
/// When a list is refused, or the results cannot be written.
pub(crate) fn run() -> anyhow::Result<()> {
    let columns = ["placement", "members", "max/mean", "join", "leave", "build ms", "lookup ns"];
    println!("{}", line(&columns.map(String::from)));
    let mut rows = Vec::new();
    for kind in [PlacementKind::Slots, PlacementKind::Ring] {
        for size in SIZES {
            let row = Row::measure(kind, size)?;
            println!("{}", line(&row.cells()));
            rows.push(row.to_json());
        }
    }
    println!("Median (least–most). join, leave: mean (least–most), as multiples of what has to move.");
    println!("written to {}", report::write("placement", &rows)?.display());
    Ok(())
}

/// One line of the table.
struct Row {
    kind: PlacementKind,
    size: usize,
    /// The fullest member's share over the mean, for each list.
    balance: Runs,
    /// What a join moves over the newcomer's share, for each list.
    join: Runs,
    /// What a leave moves over the leaver's share, for each list.
    leave: Runs,
    build_ms: Runs,
    lookup_ns: Runs,
}

impl Row {
    fn measure(kind: PlacementKind, size: usize) -> anyhow::Result<Self> {
        let lists: Vec<[f64; 3]> =
            (0..LISTS).map(|list| spread(kind, &names(list, size + 1))).collect::<anyhow::Result<_>>()?;
        let [balance, join, leave] = [0, 1, 2].map(|figure| lists.iter().map(|list| list[figure]).collect());
        let names = names(0, size);
        let placement = Placement::new(kind, &names)?;
        let build_ms = Runs::of(BUILDS, || build_ms(kind, &names));
        let lookup_ns = lookups_ns(&placement);
        Ok(Self { kind, size, balance, join, leave, build_ms, lookup_ns })
    }

    fn cells(&self) -> [String; 7] {
        let mean = |runs: &Runs| format!("{:.2} ({:.2}–{:.2})", runs.mean(), runs.least(), runs.most());
        [
            self.kind.to_string(),
            self.size.to_string(),
            self.balance.to_string(),
            mean(&self.join),
            mean(&self.leave),
            self.build_ms.to_string(),
            self.lookup_ns.to_string(),
        ]
    }

    fn to_json(&self) -> Value {
        json!({
            "placement": self.kind.to_string(),
            "members": self.size,
            "max_over_mean": self.balance.to_json(),
            "join_moves_over_least": self.join.to_json(),
            "leave_moves_over_least": self.leave.to_json(),
            "build_ms": self.build_ms.to_json(),
            "lookup_ns_with_hash": self.lookup_ns.to_json(),
        })
    }
}

fn line(cells: &[String; 7]) -> String {
    let [kind, size, balance, join, leave, build, lookup] = cells;
    format!("{kind:9} {size:>7}  {balance:18} {join:18} {leave:18} {build:21} {lookup:21}")
}

/// Addresses that differ from list to list.
fn names(list: usize, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("http://10.{list}.{}.{}:8001", i / 250, i % 250)).collect()
}

/// The fullest member's share over the mean, and the moves of a join and of a leave over the least possible, for a
/// list whose last member is the newcomer and whose middle one leaves.
fn spread(kind: PlacementKind, names: &[String]) -> anyhow::Result<[f64; 3]> {
    let present = &names[..names.len() - 1];
    let leaver = present.len() / 2;
    let rest: Vec<&String> =
        present.iter().enumerate().filter(|&(i, _)| i != leaver).map(|(_, name)| name).collect();
    let before = owners(&Placement::new(kind, present)?);
    let joined = owners(&Placement::new(kind, names)?);
    let mut left = owners(&Placement::new(kind, &rest)?);
    for owner in &mut left {
        *owner += usize::from(*owner >= leaver);
    }
    let shares = shares(&before, present.len());
    let fullest = shares.iter().copied().fold(0.0, f64::max);
    Ok([
        fullest * present.len() as f64,
        moved(&before, &joined) * names.len() as f64,
        moved(&before, &left) / shares[leaver],
    ])
}

/// The owners of all keys, in equal shares.
fn owners(placement: &Placement) -> Vec<usize> {
    let owner = match placement {
        Placement::Slots(slots) => {
            (0..=u16::MAX).map(|slot| slots.ranks(slot).owner()).collect::<Option<Vec<usize>>>()
        }
        Placement::Ring(ring) => {
            (0..STEPS).map(|step| ring.ranks((step * (u32::MAX / STEPS + 1)).into()).owner()).collect()
        }
    };
    owner.expect("a list with members has an owner for each key")
}

/// Each member's part of all keys.
fn shares(owners: &[usize], members: usize) -> Vec<f64> {
    let mut owned = vec![0; members];
    for &owner in owners {
        owned[owner] += 1;
    }
    owned.into_iter().map(|owned| f64::from(owned) / owners.len() as f64).collect()
}

/// The part of all keys that has another owner after than before.
fn moved(before: &[usize], after: &[usize]) -> f64 {
    let moved = before.iter().zip(after).filter(|(before, after)| before != after).count();
    moved as f64 / before.len() as f64
}

fn build_ms(kind: PlacementKind, names: &[String]) -> f64 {
    let start = Instant::now();
    black_box(Placement::new(kind, black_box(names)).is_ok());
    start.elapsed().as_secs_f64() * 1e3
}

/// Nanoseconds for one lookup of a key of ten bytes, in each round.
fn lookups_ns(placement: &Placement) -> Runs {
    let keys: Vec<[u8; 10]> = (0..KEYS).map(key).collect();
    let group = GroupHash::of("scores");
    Runs::of(LOOKUP_ROUNDS, || {
        let start = Instant::now();
        for key in &keys {
            black_box(placement.place(group, black_box(key)));
        }
        start.elapsed().as_secs_f64() * 1e9 / KEYS as f64
    })
}

/// `user:00042`, and so on, in digits and what follows them in ASCII.
fn key(number: usize) -> [u8; 10] {
    let mut key = *b"user:00000";
    let mut rest = number;
    for digit in key[5..].iter_mut().rev() {
        *digit += (rest % 36) as u8;
        rest /= 36;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ() {
        let keys: std::collections::HashSet<[u8; 10]> = (0..KEYS).map(key).collect();
        assert_eq!(keys.len(), KEYS);
    }
}
