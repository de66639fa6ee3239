//! Configuration: what a file says, what the command line and the variables say over it, and the defaults under both.
//!
//! Read when a node starts, by `carrot check`, and again on SIGHUP. Whatever is wrong ends as one line that names the
//! flag, the variable, or the file with line and column. The only file here that opens one.

pub mod changes;
mod document;
mod exposed;
pub mod flags;
pub mod keys;
mod merge;
mod origin;
mod places;
pub mod sample;
pub mod sources;
mod tables;
pub mod variables;
mod words;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::document::Document;
use crate::config::flags::ServeArgs;
use crate::config::keys::{GroupPart, Parts};
use crate::config::merge::Meant;
use crate::config::places::Position;
use crate::config::sources::Sources;
use crate::config::variables::Variables;
use crate::settings::Settings;
use crate::settings::name::Setting;
use crate::settings::validate::{BadSettings, Fault};

/// The longest file that is read, in bytes: a table of some ten thousand values, and no device without end.
const FILE_MAX: u64 = 4 << 20;

/// Settings as they are in force, and where they were said.
pub struct Configured {
    /// Whole and checked.
    pub settings: Settings,
    /// Where each was said.
    pub sources: Sources,
    /// A secret in the file that others may read, as a line to warn with.
    pub exposed: Option<String>,
}

/// Why there are no settings, in one line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadConfig(String);

/// Reads everything: the file, if one was named, the flags and the variables.
///
/// # Errors
/// The first thing that is wrong. Nothing is left open.
pub fn read(mut args: ServeArgs, variables: Variables<'_>) -> Result<Configured, BadConfig> {
    let passwords = args.take_passwords(variables);
    passwords.map_err(|(variable, unreadable)| BadConfig(format!("{variable}: {unreadable}")))?;
    match args.flags.config.clone() {
        Some(path) => {
            let (document, mode) = read_file(&path, variables)?;
            let exposed = exposed::warning(&path, mode, &document.places);
            let sources = Sources {
                file: Some((path, document.places)),
                given: args.given.clone(),
                flagged_group: None,
            };
            put_together(document.parts, args, sources, exposed)
        }
        None => {
            let sources = Sources { file: None, given: args.given.clone(), flagged_group: None };
            put_together(Parts::default(), args, sources, None)
        }
    }
}

/// The flags over a file's parts, as settings that go together.
fn put_together(
    mut parts: Parts,
    args: ServeArgs,
    mut sources: Sources,
    exposed: Option<String>,
) -> Result<Configured, BadConfig> {
    let flags = args.flags;
    match parts.meant(&flags.group) {
        Meant::None => {}
        Meant::Unclear => {
            let of_group = sources.given.first_of(&GroupPart::FLAGS).unwrap_or(Setting::of("group.name"));
            let bad = Fault::WhichGroup.of(of_group);
            return Err(BadConfig(sources.line(&bad)));
        }
        Meant::Group(at) => {
            parts.put_group(at, flags.group);
            sources.flagged_group = Some(at);
        }
    }
    parts.node = flags.node.over(parts.node);
    parts.cluster = flags.cluster.over(parts.cluster);
    parts.limits = flags.limits.over(parts.limits);
    parts.resp = flags.resp.over(parts.resp);
    match checked(parts) {
        Ok(settings) => Ok(Configured { settings, sources, exposed }),
        Err(bad) => Err(BadConfig(sources.line(&bad))),
    }
}

fn checked(parts: Parts) -> Result<Settings, BadSettings> {
    let settings = parts.settings()?;
    settings.validate()?;
    Ok(settings)
}

/// The file at `path`, and its mode. Relative paths in it begin at its directory.
fn read_file(path: &Path, variables: Variables<'_>) -> Result<(Document, u32), BadConfig> {
    let shown = path.display();
    let unreadable = |fault: io::Error| BadConfig(format!("cannot read {shown}: {}", in_words(&fault)));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(BadConfig(format!("cannot read {shown}: it is longer than {FILE_MAX} bytes")));
    }
    let text = std::str::from_utf8(&bytes).map_err(|bad| {
        let valid = String::from_utf8_lossy(&bytes[..bad.valid_up_to()]);
        let Position { line, column } = Position::of(&valid, valid.len());
        BadConfig(format!("{shown}:{line}:{column}: not UTF-8"))
    })?;
    let mut document = Document::read(text, variables).map_err(|bad| BadConfig(format!("{shown}:{bad}")))?;
    document.parts.begin_at(path.parent().unwrap_or(Path::new("")));
    Ok((document, mode))
}

fn in_words(fault: &io::Error) -> String {
    match fault.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        io::ErrorKind::PermissionDenied => "not allowed".to_owned(),
        _ => fault.to_string(),
    }
}

/// The settings of one file alone, as `serve --config` would read it.
///
/// # Errors
/// As [`read`].
pub fn read_alone(path: PathBuf, variables: Variables<'_>) -> Result<Configured, BadConfig> {
    let mut args = ServeArgs::default();
    args.flags.config = Some(path);
    read(args, variables)
}

#[cfg(test)]
mod tests;
