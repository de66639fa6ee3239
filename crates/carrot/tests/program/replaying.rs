//! `replay`: what it prints of a small trace, that its counts are those of a naive cache, and what it makes of files that
//! are no traces.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::command::Shell;

/// A place for traces.
struct Traces(TempDir);

impl Traces {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn replay(arguments: &[&str]) -> String {
    Shell::default().run(&[&["replay"], arguments].concat()).text()
}

fn refusal(arguments: &[&str]) -> String {
    Shell::default().refusal(&[&["replay"], arguments].concat(), 2)
}

/// Keys, the small ones more often, and a size for each.
fn requests(count: usize, keys: u64) -> Vec<(u64, u32)> {
    let mut state = 1_u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % keys
    };
    let sizes = |key: u64| (key * 7 % 90 + 10) as u32;
    (0..count).map(|_| draw().min(draw()).min(draw())).map(|key| (key, sizes(key))).collect()
}

/// With ids in the order of first use, as the format has them.
fn records(requests: &[(u64, u32)]) -> Vec<u8> {
    let mut ids = Vec::new();
    let id = |key: &u64| {
        ids.iter().position(|known| known == key).unwrap_or_else(|| {
            ids.push(*key);
            ids.len() - 1
        }) as u64
    };
    let ids: Vec<u64> = requests.iter().map(|(key, _)| key).map(id).collect();
    let sizes = requests.iter().map(|(_, size)| size.to_le_bytes());
    ids.iter().zip(sizes).flat_map(|(id, size)| [&id.to_le_bytes()[..], &size].concat()).collect()
}

fn columns(requests: &[(u64, u32)]) -> String {
    requests.iter().map(|(key, size)| format!("\"/items/{key}\",{size}\n")).collect()
}

/// Hits and their bytes of a cache that forgets the entry used longest ago. `weigh`: what an entry takes.
fn naive(requests: &[(u64, u32)], capacity: u64, weigh: fn(u32) -> u64) -> (u64, u64) {
    // From the one used longest ago.
    let mut held: Vec<(u64, u32)> = Vec::new();
    let (mut hits, mut hit_bytes) = (0, 0);
    for &(key, size) in requests {
        if let Some(at) = held.iter().position(|(known, _)| *known == key) {
            held.remove(at);
            hits += 1;
            hit_bytes += u64::from(size);
        } else if weigh(size) > capacity {
            continue;
        }
        held.push((key, size));
        while held.iter().map(|(_, size)| weigh(*size)).sum::<u64>() > capacity {
            held.remove(0);
        }
    }
    (hits, hit_bytes)
}

#[test]
fn the_table_says_what_is_missed_and_hit_by_capacity_and_policy() {
    let traces = Traces::new();
    let trace = traces.write("items.csv", "key,size\na,10\nb,20\na,10\nc,30\nb,20\na,10\n");
    let said = replay(&[&trace, "--capacity", "1,2,100%", "--policy", "lru"]);
    assert_eq!(
        said,
        "items: 6 requests, 3 keys; capacity in entries\n\
         capacity  of all  lru miss     hit  byte miss\n\
         \x20      1   33.3%   100.00%   0.00%    100.00%\n\
         \x20      2   66.7%    83.33%  16.67%     90.00%\n\
         \x20      3  100.0%    50.00%  50.00%     60.00%\n"
    );
    let plain = traces.write("plain.log", "a\nb\na\nc\nb\na\n");
    let said = replay(&[&plain, &trace, "--capacity", "100%"]);
    assert_eq!(
        said,
        "plain: 6 requests, 3 keys; capacity in entries\n\
         capacity  of all  default miss     hit  lru miss     hit\n\
         \x20      3  100.0%        50.00%  50.00%    50.00%  50.00%\n\
         \n\
         items: 6 requests, 3 keys; capacity in entries\n\
         capacity  of all  default miss     hit  byte miss  lru miss     hit  byte miss\n\
         \x20      3  100.0%        50.00%  50.00%     60.00%    50.00%  50.00%     60.00%\n"
    );
    // Without a capacity it is a whole curve, each point once.
    let lines = replay(&[&trace]).lines().count();
    assert_eq!(lines, 2 + 2);
    assert_eq!(replay(&[&trace, "--json"]).lines().count(), 2 + 2 * 2);
    assert_eq!(replay(&[&trace, "--json", "--capacity", "0.1%,1%"]).lines().count(), 2 + 2 * 2);
    let said = replay(&[&trace, "--weigh", "real", "--capacity", "64MiB"]);
    assert!(
        said.starts_with("items: 6 requests, 3 keys that take ") && said.contains("\n  64 MiB  "),
        "{said}"
    );
}

#[test]
fn the_rows_have_the_counts_of_a_naive_cache_and_the_same_seed_gives_them_again() {
    let traces = Traces::new();
    let requests = requests(4000, 500);
    let files = [traces.write("a.trace", records(&requests)), traces.write("a.csv", columns(&requests))];
    let bytes: u64 = requests.iter().map(|(_, size)| u64::from(*size)).sum();
    for file in &files {
        for (weigh, unit, capacities) in [
            ("entries", (|_| 1) as fn(u32) -> u64, [1, 10, 100, 400]),
            ("payload", u64::from, [800, 3000, 10_000, 40_000]),
        ] {
            let suffix = if weigh == "payload" { "B" } else { "" };
            let asked = capacities.map(|capacity| format!("{capacity}{suffix}")).join(",");
            let arguments = [file, "--json", "--policy", "lru", "--weigh", weigh, "--capacity", &asked];
            let said = replay(&arguments);
            let rows = capacities.map(|capacity| {
                let (hits, hit_bytes) = naive(&requests, capacity, unit);
                format!(
                    "{{\"trace\":\"a\",\"policy\":\"lru\",\"capacity\":{capacity},\"requests\":4000,\"hits\":{hits},\
                     \"hit_bytes\":{hit_bytes},\"bytes\":{bytes}}}"
                )
            });
            assert_eq!(said, format!("[\n{}\n]\n", rows.join(",\n")), "{weigh}");
        }
        let arguments = [file, "--json", "--weigh", "real", "--seed", "7"];
        let said = replay(&arguments);
        assert_eq!(said.lines().count(), 2 + 10 * 2);
        assert_eq!(replay(&arguments), said);
        let whole: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(whole[19]["hits"], whole[18]["hits"], "{said}");
    }
    // The same requests are the same, however they are written.
    let of = |file| replay(&[file, "--json"]);
    assert_eq!(of(&files[0]), of(&files[1]));
}

#[test]
fn curves_are_drawn_where_they_are_asked_for() {
    let traces = Traces::new();
    let trace = traces.write("<items>.csv", columns(&requests(2000, 300)));
    let (svg, png) = (traces.path("curves.svg"), traces.path("curves.png"));
    let [svg_file, png_file] = [&svg, &png].map(|path| path.to_str().unwrap());
    replay(&[&trace, &trace, "--plot", svg_file, "--plot", png_file]);
    let text = fs::read_to_string(&svg).unwrap();
    for said in
        ["&lt;items&gt;: 2000 requests", "miss ratio", "capacity (entries)", "100 %", "default", "lru"]
    {
        assert!(text.contains(said), "{said}: {text}");
    }
    let bytes = fs::read(&png).unwrap();
    assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.ends_with(b"IEND\xaeB`\x82"));
    assert!(bytes.len() < 300_000, "{}", bytes.len());
    // Also of a cache that holds nothing, which has no place on a logarithmic axis, and of one point.
    for capacity in ["0", "7"] {
        replay(&[&trace, "--capacity", capacity, "--plot", png_file]);
    }
    assert_eq!(
        refusal(&[&trace, "--plot", "curves.gif"]),
        "invalid value 'curves.gif' for '--plot <FILE>': a plot is a file NAME.svg or NAME.png"
    );
    let nowhere = traces.path("none").join("curves.svg");
    let line = refusal(&[&trace, "--plot", nowhere.to_str().unwrap()]);
    assert!(line.starts_with(&format!("plot {}: ", nowhere.display())), "{line}");
}

/// What is said of such a file, behind its name; beside a good one, so that nothing is said of that either.
fn fault(name: &str, bytes: impl AsRef<[u8]>) -> String {
    let traces = Traces::new();
    let good = traces.write("good.keys", "a\nb\n");
    let bad = traces.write(name, bytes);
    let plot = traces.path("curves.svg");
    let line = refusal(&[&good, &bad, "--json", "--plot", plot.to_str().unwrap()]);
    assert!(!Path::new(&plot).exists(), "a plot of half of what was asked for");
    line.strip_prefix(&bad).unwrap_or_else(|| panic!("{line}")).to_owned()
}

#[test]
fn a_file_that_is_no_whole_trace_is_named_with_the_place_and_nothing_is_reported() {
    let whole = records(&requests(1000, 200));
    let said = fault("a.trace", &whole[..whole.len() - 1]);
    assert_eq!(said, ": byte 11988: the last record is cut off: 11 of its 12 bytes are there");
    let wide: Vec<u8> =
        (0..300_u64).flat_map(|key| [key.to_le_bytes(), 1_u64.to_le_bytes()].concat()).collect();
    let said = fault("a.trace", wide);
    assert!(said.starts_with(": byte 12: key 4294967296 is not the next new one, 1: "), "{said}");
    let narrow: Vec<u8> = (0..300_u64).flat_map(u64::to_le_bytes).collect();
    assert!(fault("a.trace", narrow).starts_with(": byte 12: key "));
    let mut empty = whole.clone();
    empty[12 * 500 + 8..12 * 501].fill(0);
    assert_eq!(fault("a.trace", &empty), ": byte 6000: a size of 0");
    let mut huge = whole.clone();
    huge[12 * 500 + 8..12 * 501].fill(0xff);
    assert_eq!(fault("a.trace", &huge), ": byte 6000: a size of 4294967295: sizes are below 4 GiB");
    let said = fault("a.csv", "key,size\n/a,1\n/b,4294967296\n");
    assert_eq!(said, ":3:4: a size of 4294967296: sizes are below 4 GiB");
    assert_eq!(fault("a.csv", "/a,1\n/b,0\n"), ":2:4: a size of 0");
    assert_eq!(fault("a.csv", "/a,1\n/b\n"), ":2:1: the first line has 2 columns, this one 1");
    assert_eq!(fault("a.trace", b""), ": holds no request");
    assert_eq!(fault("a.trace.zst", b"\x28\xb5\x2f\xfd"), ": byte 4: the zstd stream is cut off here");
    let said = fault("a.trace.zst", [b'?'; 100]);
    assert!(said.contains(": is not a zstd stream, or a damaged one: "), "{said}");
    let line = refusal(&["no such file"]);
    assert!(line.starts_with("no such file: cannot be read: "), "{line}");
}

#[test]
fn what_cannot_be_meant_is_refused_with_the_flag() {
    let traces = Traces::new();
    let trace = traces.write("a.keys", "a\n");
    for (flags, said) in [
        (&["--capacity", "1%,64"][..], None),
        (
            &["--capacity", "64", "--weigh", "real"],
            Some("--capacity 64 is a number of entries: a size demands a unit"),
        ),
        (&["--capacity", "64MiB,64"], Some("--capacity 64 is a number of entries: a size demands a unit")),
        (
            &["--capacity", "64MiB", "--weigh", "entries"],
            Some("--capacity 64MiB is a size, which goes with --weigh"),
        ),
        (&["--capacity", "64MB"], Some("\"64MB\" is not a size with its unit: B, KiB, MiB or GiB")),
        (
            &["--capacity", "%"],
            Some("\"%\" is no capacity: entries as in 1000, a size as in 64MiB, or a part"),
        ),
        (&["--policy", "lfu"], Some("'--policy <LIST>': \"lfu\" is not a policy: default or lru")),
        (
            &["--weigh", "bytes"],
            Some("'--weigh <WAY>': \"bytes\" is no way to weigh: entries, payload or real"),
        ),
        (&["--seed", "x"], Some("invalid value 'x' for '--seed <N>'")),
    ] {
        let arguments = [&[&*trace][..], flags].concat();
        match said {
            Some(said) => assert!(refusal(&arguments).contains(said), "{}", refusal(&arguments)),
            None => drop(replay(&arguments)),
        }
    }
    assert!(refusal(&[]).contains("required arguments were not provided"), "{}", refusal(&[]));
}
