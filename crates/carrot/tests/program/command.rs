//! The program run as a command: what it is given on standard input, what it writes, and what it ends with.
//!
//! It runs with nothing in its environment but where the nodes are that it asks, and what the test adds.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::awaiting::eventually;

/// A command line's surroundings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shell {
    variables: Vec<(&'static str, String)>,
}

/// What a command wrote and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) errors: String,
}

impl Shell {
    /// Where data is asked of that address.
    pub(crate) fn asking(node: SocketAddr) -> Self {
        Self::default().with("CARROT_NODE", &format!("http://{node}"))
    }

    /// Where numbers are asked of that address.
    pub(crate) fn watching(admin: SocketAddr) -> Self {
        Self::default().with("CARROT_ADMIN_URL", &format!("http://{admin}"))
    }

    pub(crate) fn with(mut self, variable: &'static str, value: &str) -> Self {
        self.variables.push((variable, value.to_owned()));
        self
    }

    /// The command, not started.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_carrot"));
        command.args(arguments).env_clear().envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end, with nothing on its standard input.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Said {
        self.run_with(arguments, b"")
    }

    /// Runs a command to its end, with these bytes on its standard input.
    pub(crate) fn run_with<A: AsRef<OsStr>>(&self, arguments: &[A], input: &[u8]) -> Said {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (mut out, mut errors) = (Vec::new(), String::new());
        std::thread::scope(|scope| {
            // A command that has read enough, or wants none of it, may be gone.
            scope.spawn(move || drop(stdin.write_all(input)));
            scope.spawn(|| stdout.read_to_end(&mut out).unwrap());
            stderr.read_to_string(&mut errors).unwrap();
        });
        let status = eventually("the command ends", || child.try_wait().unwrap());
        assert!(!errors.contains("panicked"), "{errors}");
        Said { code: status.code(), out, errors }
    }

    /// The line of a command that has to end with `code`, without a word on standard output.
    pub(crate) fn refusal<A: AsRef<OsStr>>(&self, arguments: &[A], code: i32) -> String {
        let said = self.run(arguments);
        assert_eq!((said.code, said.out.len()), (Some(code), 0), "{said:?}");
        said.line()
    }
}

impl Said {
    /// The one line on standard error, without the program's name.
    pub(crate) fn line(&self) -> String {
        let line = self.errors.strip_prefix("carrot: ").and_then(|rest| rest.strip_suffix('\n'));
        let line = line.unwrap_or_else(|| panic!("{self:?}"));
        assert!(!line.contains('\n'), "{line}");
        line.to_owned()
    }

    /// What it wrote, where all went well.
    pub(crate) fn done(self) -> Vec<u8> {
        assert_eq!((self.code, &*self.errors), (Some(0), ""), "{:?}", String::from_utf8_lossy(&self.out));
        self.out
    }

    /// The same, as text.
    pub(crate) fn text(self) -> String {
        String::from_utf8(self.done()).unwrap()
    }
}
