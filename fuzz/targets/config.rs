//! A configuration file of any bytes: settings, or one line that says where in it something is wrong.
#![no_main]
#![allow(dead_code, unreachable_pub, reason = "the program uses more of its files")]

use std::env::VarError;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

/// The program's own files.
#[path = "../../crates/carrot/src/config/mod.rs"]
mod config;
#[path = "../../crates/carrot/src/escape.rs"]
mod escape;
#[path = "../../crates/carrot/src/origin/mod.rs"]
mod origin;
#[path = "../../crates/carrot/src/secret.rs"]
mod secret;
#[path = "../../crates/carrot/src/settings/mod.rs"]
mod settings;
#[path = "../../crates/carrot/src/some.rs"]
mod some;

static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("carrot-fuzz-{}.toml", std::process::id())));

fn variables(name: &str) -> Result<String, VarError> {
    match name {
        "A" => Ok("sesame".to_owned()),
        _ => Err(VarError::NotPresent),
    }
}

fuzz_target!(|bytes: &[u8]| {
    std::fs::write(&*FILE, bytes).expect("a temporary file is written");
    let Err(bad) = config::read_alone(FILE.clone(), &variables) else { return };
    let said = bad.to_string();
    assert!(!said.is_empty());
    // A place in the file, where one is named.
    let place = said.strip_prefix(&format!("{}:", FILE.display()));
    if let Some([line, column, _]) = place.map(|rest| rest.splitn(3, ':').collect::<Vec<_>>()).as_deref() {
        let (line, column): (usize, usize) = (line.parse().expect(&said), column.parse().expect(&said));
        let text = String::from_utf8_lossy(bytes);
        let longest = text.split('\n').nth(line - 1).map_or(0, |line| line.chars().count());
        assert!(line >= 1 && (1..=longest + 1).contains(&column), "{said}");
    }
});
