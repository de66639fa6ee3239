//! Where the programs of others are: on the path, among a machine's daemons, or unpacked from Debian's packages.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where daemons are, which are on root's path alone.
const DAEMONS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// A program that is not on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    program: &'static str,
    how: &'static str,
}

impl std::error::Error for Missing {}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no {} here: {}", self.program, self.how)
    }
}

impl Missing {
    pub(crate) fn new(program: &'static str, how: &'static str) -> Self {
        Self { program, how }
    }
}

/// The program of the nodes that are measured, and of those that ask them: this one with the allocator of `carrot`.
pub(crate) const NODES: &str = "carrot-bench-nodes";

/// What puts our own programs where they are looked for.
const BUILT: &str = "cargo build --release -p carrot -p carrot-bench puts it beside this program";

/// A program of ours, which is built beside this one.
///
/// # Errors
/// When it was not built.
pub(crate) fn ours(name: &'static str) -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name(name);
    if program.exists() { Ok(program) } else { Err(Missing::new(name, BUILT).into()) }
}

/// Has cargo build our own programs, where it is cargo that runs this one: it has built this one alone, and the others may
/// be of another day.
///
/// # Errors
/// When they cannot be built, or are not there.
pub(crate) fn build_ours() -> anyhow::Result<()> {
    if let Some(cargo) = std::env::var_os("CARGO") {
        // Each by itself: together they would share features, and this very program would be built anew and replaced.
        for (package, program) in [("carrot-bench", NODES), ("carrot", "carrot")] {
            let mut build = Command::new(&cargo);
            build.args(["build", "--package", package, "--bin", program]);
            build
                .args((!cfg!(debug_assertions)).then_some("--release"))
                .current_dir(env!("CARGO_MANIFEST_DIR"));
            anyhow::ensure!(build.status()?.success(), "{program} cannot be built");
        }
    }
    ours(NODES).map(drop)
}

/// Programs of this machine and of a directory into which packages were unpacked.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    unpacked: PathBuf,
    path: Option<OsString>,
}

impl Programs {
    pub(crate) fn new(unpacked: PathBuf) -> Self {
        Self { unpacked, path: std::env::var_os("PATH") }
    }

    /// A command that runs it, with nothing of the caller's terminal.
    ///
    /// # Errors
    /// [`Missing`], with `how` it is got.
    pub(crate) fn command(&self, program: &'static str, how: &'static str) -> Result<Command, Missing> {
        if let Some(file) = self.installed().map(|folder| folder.join(program)).find(|file| is_program(file))
        {
            return Ok(Command::new(file));
        }
        let unpacked = ["usr/bin", "usr/sbin"].map(|folder| self.unpacked.join(folder).join(program));
        let file = unpacked.into_iter().find(|file| is_program(file)).ok_or(Missing { program, how })?;
        let mut command = Command::new(file);
        // What its package needs is unpacked beside it.
        let libraries = self.unpacked.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
        let folders = [libraries.join("varnish"), libraries];
        command.env("LD_LIBRARY_PATH", std::env::join_paths(folders).unwrap_or_default());
        Ok(command)
    }

    fn installed(&self) -> impl Iterator<Item = PathBuf> {
        let path = self.path.iter().flat_map(std::env::split_paths);
        path.chain(DAEMONS.iter().map(PathBuf::from))
    }
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    file.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn programs(unpacked: &Path, path: &Path) -> Programs {
        Programs { unpacked: unpacked.to_owned(), path: Some(path.into()) }
    }

    /// A file at this place; may it be run?
    fn file(folder: &Path, name: &str, mode: u32) -> PathBuf {
        let file = folder.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn what_is_not_there_is_said_with_how_to_get_it() {
        let nowhere = Path::new("/nowhere");
        let how = "Debian's package p has it";
        let missing = programs(nowhere, nowhere).command("no-such-program", how).unwrap_err();
        assert_eq!(missing.to_string(), "no no-such-program here: Debian's package p has it");
    }

    #[test]
    fn an_unpacked_program_runs_with_the_libraries_beside_it_and_an_installed_one_without() {
        let (unpacked, installed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let programs = programs(unpacked.path(), installed.path());
        file(unpacked.path(), "usr/sbin/no-such-program", 0o644);
        assert!(programs.command("no-such-program", "").is_err(), "it is none");
        let there = file(unpacked.path(), "usr/sbin/no-such-program", 0o755);
        let found = programs.command("no-such-program", "").unwrap();
        assert_eq!(found.get_program(), there);
        assert!(found.get_envs().any(|(name, _)| name == "LD_LIBRARY_PATH"));
        let there = file(installed.path(), "no-such-program", 0o755);
        let found = programs.command("no-such-program", "").unwrap();
        assert_eq!((found.get_program(), found.get_envs().count()), (there.as_os_str(), 0));
    }
}
