//! `carrot serve`'s command line: a file perhaps, and the settings that stand over it.
//!
//! clap reads a flag or its variable and keeps which of the two it was; an error names that one. Nothing is opened.

use std::collections::BTreeMap;
use std::env::VarError;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, FromArgMatches};

use crate::config::keys::{ClusterPart, GroupPart, LimitPart, NodePart, RespPart};
use crate::config::variables::Variables;
use crate::secret::Secret;
use crate::settings::name::Setting;

/// What the command line says, each setting once.
#[derive(Clone, Debug, Default, Args)]
pub struct Flags {
    /// A file of settings, as `carrot init` writes one; flags and variables override it, key by key
    #[arg(long, env = "CARROT_CONFIG", value_name = "FILE", help_heading = "What is served")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub group: GroupPart,
    #[command(flatten)]
    pub node: NodePart,
    #[command(flatten)]
    pub cluster: ClusterPart,
    #[command(flatten)]
    pub resp: RespPart,
    #[command(flatten)]
    pub limits: LimitPart,
}

/// Flags of `carrot serve`, and who gave each.
#[derive(Clone, Debug, Default)]
pub struct ServeArgs {
    /// What was given.
    pub flags: Flags,
    /// Where it was given.
    pub given: Given,
}

/// Which settings were given by a flag, and which by a variable. Those that were not are not in it.
#[derive(Clone, Debug, Default)]
pub struct Given(BTreeMap<String, Source>);

/// Where the command line has a value from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Flag,
    Variable,
}

impl Given {
    /// What was typed or exported for this setting, or for what it is a part of: `--http`, `CARROT_HTTP`.
    pub fn name(&self, setting: &Setting) -> Option<String> {
        setting.lineage().filter(|part| part.key.contains('.')).find_map(|part| {
            match self.0.get(&part.id())? {
                Source::Flag => Some(part.flag()),
                Source::Variable => Some(part.variable()),
            }
        })
    }

    /// The first flag or variable among these settings.
    pub fn first_of(&self, settings: &[&'static str]) -> Option<Setting> {
        settings.iter().map(|key| Setting::of(key)).find(|setting| self.0.contains_key(&setting.id()))
    }

    fn of(matches: &ArgMatches) -> Self {
        let source = |id: &clap::Id| match matches.value_source(id.as_str())? {
            ValueSource::CommandLine => Some((id.to_string(), Source::Flag)),
            ValueSource::EnvVariable => Some((id.to_string(), Source::Variable)),
            _ => None,
        };
        Self(matches.ids().filter_map(source).collect())
    }
}

impl ServeArgs {
    /// Takes the passwords from their variables: they alone have no flag.
    ///
    /// # Errors
    /// When one holds bytes that are no text; with its variable.
    pub fn take_passwords(&mut self, variables: Variables<'_>) -> Result<(), (String, VarError)> {
        let Flags { node, resp, .. } = &mut self.flags;
        let passwords = [("node.password", &mut node.password), ("resp.password", &mut resp.password)];
        for (key, password) in passwords {
            let setting = Setting::of(key);
            match variables(&setting.variable()) {
                Ok(said) => {
                    *password = Some(Secret::new(said));
                    self.given.0.insert(setting.id(), Source::Variable);
                }
                Err(VarError::NotPresent) => {}
                Err(unreadable) => return Err((setting.variable(), unreadable)),
            }
        }
        Ok(())
    }
}

impl Args for ServeArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        Flags::augment_args(command)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Flags::augment_args_for_update(command)
    }
}

impl FromArgMatches for ServeArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self { flags: Flags::from_arg_matches(matches)?, given: Given::of(matches) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.flags.update_from_arg_matches(matches)?;
        self.given = Given::of(matches);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use carrotcache::net::dialect::Dialect;
    use carrotcache::{ByteSize, Hot, Policy};

    use super::*;
    use crate::config::keys::Parts;
    use crate::origin::OriginSettings;
    use crate::settings::Settings;

    /// Defaults that are said in words, or that another setting decides.
    const IN_WORDS: [&str; 14] = [
        "origin",
        "ttl",
        "name",
        "url",
        "resp",
        "default_group",
        "memory",
        "hosts",
        "cluster_name",
        "limit_in_flight_per_connection",
        "peers",
        "placement",
        "query",
        "config",
    ];

    fn command() -> clap::Command {
        ServeArgs::augment_args(clap::Command::new("serve"))
    }

    fn settings(flags: &[&str]) -> Settings {
        let line = ["serve", "--group", "pages"].iter().chain(flags);
        let matches = command().try_get_matches_from(line).unwrap_or_else(|bad| panic!("{bad}"));
        let Flags { group, node, cluster, resp, limits, .. } = Flags::from_arg_matches(&matches).unwrap();
        Parts { node, cluster, resp, limits, groups: vec![group] }.settings().unwrap()
    }

    #[test]
    fn a_flag_and_its_variable_are_called_as_its_setting_is() {
        for arg in command().get_arguments() {
            let id = arg.get_id().as_str();
            assert_eq!(arg.get_long(), Some(&*id.replace('_', "-")), "{id}");
            let variable = arg.get_env().and_then(|env| env.to_str());
            assert_eq!(variable, Some(&*format!("CARROT_{}", id.to_uppercase())), "{id}");
        }
    }

    #[test]
    fn the_defaults_that_the_help_shows_are_the_real_ones() {
        let default = format!("{:?}", settings(&[]));
        for arg in command().get_arguments() {
            let (id, help) = (arg.get_id().as_str(), arg.get_help().unwrap().to_string());
            let shown = help.split_once("[default: ").map(|(_, rest)| rest.trim_end_matches(']'));
            assert!(shown.is_some() || ["group", "query", "config"].contains(&id), "{id} shows no default");
            if let (Some(shown), false) = (shown, IN_WORDS.contains(&id)) {
                let flag = format!("--{}={shown}", arg.get_long().unwrap());
                assert_eq!(format!("{:?}", settings(&[&flag])), default, "{flag}");
            }
        }
    }

    #[test]
    fn every_setting_of_a_group_that_has_a_flag_is_listed_as_one() {
        let group = GroupPart::augment_args(clap::Command::new("group"));
        let mut flags: Vec<String> = group.get_arguments().map(|arg| arg.get_id().to_string()).collect();
        let mut listed: Vec<String> = GroupPart::FLAGS.iter().map(|key| Setting::of(key).id()).collect();
        listed.push("group".to_owned());
        flags.sort();
        listed.sort();
        assert_eq!(flags, listed);
    }

    #[test]
    fn flags_are_read_with_their_units() {
        let flags = [
            "--ttl=5m",
            "--capacity=1GiB",
            "--hot=off",
            "--policy=lru",
            "--memory=2GiB",
            "--hosts=a,b.example",
            "--peers=http://a:1,http://b:2",
            "--limit-value=64MiB",
            "--limit-in-flight=7",
            "--limit-waiting-per-peer=9",
            "--limit-bodies=1GiB",
            "--dialect=carrot",
            "--peer=0.0.0.0:0",
            "--url=http://a:1",
            "--drain=0s",
            "--insecure",
            "--resp=127.0.0.1:6380",
            "--default-group=pages",
            "--cluster-name=prod",
        ];
        let Settings { node, cluster, limits, resp, groups } = settings(&flags);
        assert_eq!(groups[0].ttl, Some(Duration::from_secs(300)));
        assert_eq!(groups[0].capacity, ByteSize::gib(1));
        assert_eq!((groups[0].hot, groups[0].policy), (Hot::Off, Policy::Lru));
        assert_eq!(groups[0].origin, OriginSettings::Nothing);
        assert_eq!((node.memory, node.drain), (Some(ByteSize::gib(2)), Duration::ZERO));
        assert_eq!((node.hosts.len(), node.insecure), (2, true));
        assert_eq!(node.resp, Some("127.0.0.1:6380".parse().unwrap()));
        assert_eq!(resp.default_group, Some(groups[0].name.clone()));
        assert_eq!(cluster.peers, ["http://a:1", "http://b:2"]);
        assert_eq!((node.name, cluster.name.as_deref()), (None, Some("prod")));
        assert_eq!((cluster.dialect, limits.value), (Dialect::Carrot, ByteSize::mib(64)));
        assert_eq!((limits.in_flight.get(), limits.in_flight_per_connection.get()), (7, 3));
        assert_eq!((limits.waiting_per_peer.get(), limits.bodies), (9, ByteSize::gib(1)));
    }

    #[test]
    fn without_flags_the_defaults_are_those_of_the_documentation() {
        let Settings { node, cluster, limits, resp, groups } = settings(&[]);
        let [group] = &groups[..] else { unreachable!("one group was asked for") };
        assert_eq!(node.peer.to_string(), "127.0.0.1:8001");
        assert_eq!(node.http.to_string(), "127.0.0.1:9999");
        assert_eq!(node.admin.to_string(), "127.0.0.1:9990");
        assert_eq!((node.name, node.url, node.drain), (None, None, Duration::from_secs(10)));
        assert_eq!((node.memory, node.hosts.len(), node.insecure), (None, 0, false));
        assert_eq!((node.resp, resp.default_group), (None, None));
        assert_eq!(cluster.name, None);
        assert_eq!((cluster.peers.len(), cluster.dialect, cluster.placement), (0, Dialect::Native, None));
        assert_eq!((limits.key, limits.value), (ByteSize::kib(4), ByteSize::mib(8)));
        assert_eq!((limits.connections.get(), limits.in_flight.get()), (10_000, 10_000));
        assert_eq!((limits.in_flight_per_connection.get(), limits.waiting_per_peer.get()), (5000, 10_000));
        assert_eq!(limits.bodies, ByteSize::mib(256));
        assert_eq!((group.name.as_str(), group.capacity, group.ttl), ("pages", ByteSize::mib(64), None));
        assert_eq!((group.max_loads.get(), group.max_waiters.get()), (256, 100_000));
        assert_eq!(group.load_deadline, Duration::from_secs(10));
        assert_eq!((group.hot, group.policy), ("100/min".parse().unwrap(), Policy::Default));
    }
}
