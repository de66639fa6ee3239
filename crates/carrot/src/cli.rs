//! The command line: what can be asked of the program, and what is said when it cannot be.
//!
//! The flags of `serve` are settings, and stand in `config/keys.rs`. Nothing is opened and nothing is started here.

use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::ask::Ask;
use crate::bench::{self, BenchArgs};
use crate::config::flags::ServeArgs;
use crate::help::in_lines;
use crate::replay::{self, ReplayArgs};

const EXAMPLE: &str = "\
Example: a database and a cache in front of it
  sqlite3 app.db \"create table pages(id text primary key, body text);
                  insert into pages values ('home', 'Hello')\"
  carrot serve --group pages --origin sqlite:app.db \\
      --query 'select body from pages where id = ?1' --ttl 60s

Then, from another terminal
  curl -i http://127.0.0.1:9999/v1/pages/home

Or with a file, which says all that flags do, of as many groups as you like
  carrot init > carrot.toml
  carrot serve --config carrot.toml
  On SIGHUP the file is read again, and its cluster.peers takes effect.

Password
  CARROT_PASSWORD, or node.password in a file, is what callers of --http, --resp
  and --admin have to know; CARROT_RESP_PASSWORD, or resp.password, is what those
  of --resp have to know instead. There are no flags for them: others could see
  them.

Setting and removing
  PUT and DELETE reach the node that owns the key and the node that was asked.
  Two kinds of copies live on for at most their ttl or 60 s: those of hot keys,
  mirrored on other nodes, and what a stand-in loaded while the owner was down.

Dialects
  Peers of any dialect but native cannot say whether a value was loaded:
  X-Cache calls a load at such an owner a hit. Those of carrot and golang keep no
  ttl, and have no set and no remove; in mailgun and groupcache-go these reach all
  nodes.

Sizes are written as 512B, 4KiB, 64MiB, 1GiB; times as 250ms, 60s, 5m, 12h, 7d.
The log goes to standard error; CARROT_LOG=debug says more, CARROT_LOG=warn less.
Exit codes: 0 done, 2 wrong usage, wrong settings, or a node that could not start.";

const DEMO: &str = "\
Ports, each plus N: 8001-8003 for the nodes among themselves, 9999-10001 for HTTP,
6380-6382 for Redis clients, 9990-9992 for health and metrics. All on this machine alone.

Then, from another terminal
  curl -i http://127.0.0.1:9999/v1/scores/Tom";

const CHECK: &str = "\
What is wrong is said with its line and column. Nothing is opened and nobody is
asked, unless --origins says so: then a query is tried on its database too, which has
to take it, and an origin that does not answer is a warning, since a node would ask
it again.
Of the environment only CARROT_PASSWORD and CARROT_RESP_PASSWORD are heeded, and
what stands in the file as ${NAME}; flags of serve and other CARROT_* variables are
not.
Exit codes: 0 in order, 2 not.";

/// A distributed read-through cache: every key has one owner, and the owner asks the origin once.
#[derive(Debug, Parser)]
#[command(name = "carrot", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What the program is to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Three nodes in this process, over sample data: the quickest look
    #[command(after_help = DEMO)]
    Demo(DemoArgs),
    /// One node: a cache in front of an origin
    #[command(after_help = EXAMPLE)]
    Serve(Box<ServeArgs>),
    /// Print a configuration with every setting in it, commented
    Init,
    /// Look through a configuration and say what a node would make of it
    #[command(after_help = CHECK)]
    Check(CheckArgs),
    /// Say how much memory a log of requests needs: its miss ratio by capacity
    #[command(after_help = replay::EXAMPLE)]
    Replay(Box<ReplayArgs>),
    /// Ask a running node as much as it answers, or at a planned rate, and say how fast it is
    #[command(after_help = bench::EXAMPLE)]
    Bench(Box<BenchArgs>),
    #[command(flatten)]
    Ask(Ask),
}

/// Flags of `carrot demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    // 10001 plus the largest offset is the last port there is.
    /// Added to every port
    #[arg(long, env = "CARROT_OFFSET", value_name = "N", default_value_t = 0,
        value_parser = clap::value_parser!(u16).range(..=55534))]
    pub offset: u16,
}

/// Arguments of `carrot check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The file, as `carrot init` writes one
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Also open each origin and ask it once whether it answers
    #[arg(long)]
    pub origins: bool,
}

/// A command line that asks for nothing that can be done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadUsage(String);

/// Reads the command line and the environment. Prints and ends the process where help or the version is asked for.
///
/// # Errors
/// One line that says what is wrong, in place of the parser's paragraph.
pub fn read() -> Result<Command, BadUsage> {
    let matches = command().try_get_matches();
    matches.and_then(|matches: ArgMatches| Cli::from_arg_matches(&matches)).map(|cli| cli.command).map_err(
        |fault| match fault.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => fault.exit(),
            _ => {
                let is_typed = |flag: &str| std::env::args().any(|word| word.split('=').next() == Some(flag));
                let is_set = |variable: &str| std::env::var_os(variable).is_some();
                let fault = of_variable(without_password(fault), is_typed, is_set);
                BadUsage(without_usage(&fault.to_string()))
            }
        },
    )
}

/// The parser. Help names the variables and keeps their values to itself; its lines are broken here.
fn command() -> clap::Command {
    Cli::command().mut_subcommands(|command| command.mut_args(in_lines))
}

/// The parser repeats the value that it refuses: of a URL without what stands before the host.
fn without_password(mut fault: clap::Error) -> clap::Error {
    let shown = match fault.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(url)) => url
            .split_once("://")
            .and_then(|(scheme, rest)| rest.rsplit_once('@').map(|(_, host)| format!("{scheme}://…@{host}"))),
        _ => None,
    };
    if let Some(shown) = shown {
        fault.insert(ContextKind::InvalidValue, ContextValue::String(shown));
    }
    fault
}

/// The parser names the flag whose value it refuses, also where that was not typed and its variable has the value.
fn of_variable(
    mut fault: clap::Error,
    is_typed: impl Fn(&str) -> bool,
    is_set: impl Fn(&str) -> bool,
) -> clap::Error {
    let Some(ContextValue::String(named)) = fault.get(ContextKind::InvalidArg) else { return fault };
    let flag = named.split([' ', '=']).next().unwrap_or_default().to_owned();
    let Some(name) = flag.strip_prefix("--") else { return fault };
    // By the rule of `settings/name.rs`.
    let variable = format!("CARROT_{}", name.replace('-', "_").to_uppercase());
    if fault.kind() == ErrorKind::ValueValidation && !is_typed(&flag) && is_set(&variable) {
        fault.insert(ContextKind::InvalidArg, ContextValue::String(variable));
    }
    fault
}

/// The parser's paragraphs, what is wrong and its tips, without the usage that follows.
fn without_usage(paragraphs: &str) -> String {
    let telling = |text: &&str| !text.starts_with("Usage:") && !text.starts_with("For more information");
    let lines = paragraphs.split("\n\n").map(str::trim).filter(telling);
    let joined = lines.collect::<Vec<_>>().join("; ");
    let words = joined.split_whitespace().collect::<Vec<_>>().join(" ");
    words.strip_prefix("error: ").map(str::to_owned).unwrap_or(words)
}

#[cfg(test)]
mod tests {
    use std::env::VarError;

    use super::*;
    use crate::config;
    use crate::settings::Settings;

    const NEEDED: [&str; 4] = ["--group", "pages", "--origin", "table:a=b"];

    fn serve(flags: &[&str]) -> Result<Settings, String> {
        let line = ["carrot", "serve"].iter().chain(&NEEDED).chain(flags);
        let matches =
            command().try_get_matches_from(line).map_err(|fault| without_usage(&fault.to_string()))?;
        let Command::Serve(args) = Cli::from_arg_matches(&matches).unwrap().command else {
            unreachable!("serve was asked for")
        };
        let read = config::read(*args, &|_| Err(VarError::NotPresent));
        read.map(|configured| configured.settings).map_err(|fault| fault.to_string())
    }

    #[test]
    fn the_parser_is_in_order() {
        command().debug_assert();
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line_that_names_the_flag() {
        for (flag, said) in [
            ("--ttl=60", "'--ttl <TIME>': \"60\" is not a time with its unit: ms, s, m, h or d, as in 5m"),
            ("--ttl=0s", "'--ttl <TIME>': it has to be longer than nothing"),
            ("--capacity=64", "'--capacity <SIZE>': \"64\" is not a size with its unit: B, KiB, MiB or GiB"),
            ("--limit-key=0B", "'--limit-key <SIZE>': it has to be larger than nothing"),
            ("--limit-key=17KiB", "--limit-key 17KiB is over 16KiB, the longest key any node takes"),
            ("--max-loads=0", "'--max-loads <N>': \"0\" is not a whole number from 1 to 4294967295"),
            ("--hot=owner", "'--hot <RULE>': \"owner\" is not a rule for hot keys"),
            ("--policy=lfu", "'--policy <POLICY>': \"lfu\" is not a policy: default or lru"),
            ("--memory=63MiB", "--memory 63MiB is less than 64MiB, what the groups' capacities add up to"),
            (
                "--http=:9999",
                "'--http <ADDR>': \":9999\" is not an IP address and a port, as in 127.0.0.1:9999",
            ),
            (
                "--http=0.0.0.0:1",
                "--http 0.0.0.0:1 is open to other machines without a password: set CARROT_PASSWORD, or --insecure",
            ),
            ("--admin=[::]:1", "--admin [::]:1 is open to other machines"),
            (
                "--peer=0.0.0.0:1",
                "--peer 0.0.0.0:1 stands for every address of this machine: --url has to say",
            ),
            ("--name=", "--name has to be 1 to 255 bytes, without control characters"),
            ("--name=a\nb", "--name has to be 1 to 255 bytes, without control characters"),
            (
                "--dialect=thrift",
                "'--dialect <DIALECT>': \"thrift\" is no dialect: native, carrot, golang, mailgun or groupcache-go",
            ),
            ("--hosts=a,http://b", "--hosts \"http://b\" is not a host name, as in cache.example.org"),
            (
                "--peers=https://a",
                "--peers \"https://a\" is not the address of a peer: peers speak plain http",
            ),
            ("--query=select 1", "--query goes with an origin of kind sqlite alone"),
            ("--placement=maglev", "'--placement <PLACEMENT>': \"maglev\" is not a placement"),
            ("--insecure=perhaps", "invalid value 'perhaps' for '--insecure[=<BOOL>]'"),
            ("--password=sesame", "unexpected argument '--password' found"),
            ("--join=a:1", "unexpected argument '--join' found"),
        ] {
            let line = serve(&[flag]).unwrap_err();
            assert!(line.contains(said), "{flag}: {line}");
            assert!(!line.contains('\n') && !line.contains("Usage"), "{line}");
        }
        let line = serve(&["--dialect=golang", "--placement=slots"]).unwrap_err();
        assert!(line.contains("--placement slots goes with the native dialect alone"), "{line}");
    }

    #[test]
    fn a_password_in_the_url_of_a_node_is_refused_and_not_repeated() {
        for flags in [
            ["get", "--node=http://:sesame@a:1", "g", "k"],
            ["stat", "-1", "--json", "--admin=http://u:ses@me@a:1"],
        ] {
            let fault = command().try_get_matches_from([&["carrot"][..], &flags].concat()).unwrap_err();
            let line = without_usage(&without_password(fault).to_string());
            assert!(line.starts_with("invalid value 'http://…@a:1' for '--"), "{line}");
            assert!(line.contains(": a password goes into CARROT_PASSWORD, not into the URL"), "{line}");
        }
    }

    #[test]
    fn a_value_that_a_variable_has_is_refused_by_the_variable_s_name() {
        let line = |is_typed: bool, is_set: bool| {
            let words = ["carrot", "serve", "--group=a", "--limit-key=zz"];
            let fault = command().try_get_matches_from(words).unwrap_err();
            without_usage(
                &of_variable(fault, |_| is_typed, |name| is_set && name == "CARROT_LIMIT_KEY").to_string(),
            )
        };
        assert!(
            line(false, true).starts_with("invalid value 'zz' for 'CARROT_LIMIT_KEY': "),
            "{}",
            line(false, true)
        );
        for (is_typed, is_set) in [(true, true), (true, false), (false, false)] {
            let line = line(is_typed, is_set);
            assert!(line.starts_with("invalid value 'zz' for '--limit-key <SIZE>': "), "{line}");
        }
    }

    #[test]
    fn listeners_open_to_other_machines_have_to_be_allowed() {
        let settings = serve(&["--http=0.0.0.0:1", "--admin=10.0.0.1:2", "--insecure"]).unwrap();
        assert_eq!(settings.node.http.to_string(), "0.0.0.0:1");
        assert!(serve(&["--http=[::1]:1", "--admin=127.0.0.2:2"]).is_ok());
        assert!(serve(&["--http=0.0.0.0:1", "--insecure=false"]).is_err());
    }
}
