//! How many crates the library brings into its user's build.

use std::collections::BTreeSet;
use std::process::Command;

/// The crates that `cargo tree` finds under the library and itself, to build and to run, each version once.
fn crates(features: &[&str]) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "-p", "carrotcache", "-e", "normal,build", "--prefix", "none", "--format", "{p}"])
        .args(["--locked", "--offline"])
        .args(features)
        .current_dir(crate::root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    // `hyper v1.12.0`; a path or a `(*)` may follow.
    let name = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    String::from_utf8(tree.stdout).unwrap().lines().map(name).filter(|name| !name.is_empty()).collect()
}

#[test]
fn the_library_is_under_fifty_crates_and_under_thirty_without_features() {
    for (features, limit, known) in [(&[][..], 50, "hyper "), (&["--no-default-features"][..], 30, "tokio ")]
    {
        let crates = crates(features);
        assert!(crates.iter().any(|name| name.starts_with(known)), "{known}is not among {crates:?}");
        assert!(crates.len() < limit, "{} crates, {features:?}: {crates:?}", crates.len());
    }
}
