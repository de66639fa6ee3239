//! What `carrot init` prints: a configuration with every key in it, commented, that serves something as it stands.
//!
//! The text is the file beside this one. The tests here hold it to the parser and to the defaults, so that it cannot
//! come to say something that is no longer so.

/// The whole text.
pub const SAMPLE: &str = include_str!("sample.toml");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::env::VarError;

    use super::*;
    use crate::config::document::Document;
    use crate::origin::OriginSettings;
    use crate::settings::Settings;

    /// Keys that have no default: what the text shows is an example, and says what holds without it.
    const EXAMPLES: [&str; 12] = [
        "node.name",
        "node.url",
        "node.resp",
        "resp.default_group",
        "resp.password",
        "node.memory",
        "node.password",
        "node.hosts",
        "cluster.name",
        "cluster.peers",
        "group.name",
        "group.ttl",
    ];

    fn variables(name: &str) -> Result<String, VarError> {
        match name {
            "CARROT_PASSWORD" | "CARROT_RESP_PASSWORD" | "API_TOKEN" => Ok("sesame".to_owned()),
            _ => Err(VarError::NotPresent),
        }
    }

    fn settings(text: &str) -> Settings {
        let read = Document::read(text, &variables).map_err(|bad| format!("{bad}\n{text}"));
        let settings = read.ok().unwrap().parts.settings().unwrap();
        settings.validate().unwrap();
        settings
    }

    /// A setting, as it is in force.
    fn is_setting(line: &str) -> bool {
        line.strip_prefix('#')
            .unwrap_or(line)
            .starts_with(|first: char| first.is_alphabetic() || first == '[')
    }

    /// The text with every setting in force, in lines.
    fn uncommented() -> Vec<&'static str> {
        SAMPLE.lines().filter(|line| is_setting(line)).map(|line| line.trim_start_matches('#')).collect()
    }

    /// Each setting of the text: its section, its full key, its line.
    fn lines() -> Vec<(&'static str, String, &'static str)> {
        let mut section = "";
        let mut found = Vec::new();
        for line in uncommented() {
            if line.starts_with('[') {
                section = line;
            } else {
                let (key, _) = line.split_once(" = ").unwrap();
                found.push((section, format!("{}.{key}", section.trim_matches(['[', ']'])), line));
            }
        }
        found
    }

    #[test]
    fn as_it_stands_it_serves_a_table_and_all_else_is_the_default() {
        let sample = settings(SAMPLE);
        let [scores] = &sample.groups[..] else { panic!("{:?}", sample.groups) };
        let OriginSettings::Table(entries) = &scores.origin else { panic!("{:?}", scores.origin) };
        assert_eq!(entries.get(&carrotcache::Key::from("Tom")).map(|value| &value[..]), Some(&b"630"[..]));
        let mut bare = settings("[[group]]\nname = 'scores'");
        bare.groups[0].origin = scores.origin.clone();
        assert_eq!(format!("{sample:?}"), format!("{bare:?}"));
    }

    #[test]
    fn the_parser_knows_all_that_is_commented_out() {
        let settings = settings(&uncommented().join("\n"));
        let origins: Vec<_> = settings.groups.iter().map(|group| &group.origin).collect();
        let [
            OriginSettings::Table(_),
            OriginSettings::Sqlite { .. },
            OriginSettings::Http(http),
            OriginSettings::Directory { .. },
            OriginSettings::Nothing,
        ] = &origins[..]
        else {
            panic!("{origins:?}")
        };
        assert_eq!(http.headers[0].1.reveal(), "Bearer sesame");
        assert_eq!(settings.cluster.peers.len(), 3);
    }

    #[test]
    fn the_defaults_that_it_shows_are_the_real_ones() {
        let group = "[[group]]\nname = 'scores'\n";
        let default = format!("{:?}", settings(group));
        for (section, key, line) in lines() {
            if EXAMPLES.contains(&&*key) || key.starts_with("group.origin.") {
                continue;
            }
            let text = match section {
                "[[group]]" => format!("{group}{line}"),
                section => format!("{section}\n{line}\n{group}"),
            };
            // Where the dialect decides, the text shows what the native one does.
            let default = if key == "cluster.placement" {
                default.replace("placement: None", "placement: Some(Slots)")
            } else {
                default.clone()
            };
            assert_eq!(format!("{:?}", settings(&text)), default, "{key}");
        }
        let origin = "[[group]]\nname = 'a'\norigin = { kind = 'http', url = 'http://a/{key}'";
        let shown = lines().into_iter().find(|(_, key, _)| key == "group.origin.connect_timeout").unwrap().2;
        assert_eq!(
            format!("{:?}", settings(&format!("{origin} }}"))),
            format!("{:?}", settings(&format!("{origin}, {shown} }}")))
        );
    }

    #[test]
    fn it_shows_every_key_that_there_is() {
        let section = |section: &str| section.trim_matches(['[', ']']).to_owned();
        let shown: BTreeSet<String> =
            lines().into_iter().flat_map(|(table, key, _)| [section(table), key]).collect();
        for (prefix, text) in [
            ("node", "[node]\nnone = 1"),
            ("limits", "[limits]\nnone = 1"),
            ("cluster", "[cluster]\nnone = 1"),
            ("resp", "[resp]\nnone = 1"),
            ("group", "[[group]]\nnone = 1"),
            ("group.origin", "[[group]]\norigin = { none = 1 }"),
        ] {
            let refused = Document::read(text, &variables).err().unwrap().to_string();
            let (_, known) = refused.split_once("expected ").unwrap();
            let known = known.trim_start_matches("one of ").replace(" or ", ", ");
            for key in known.split(", ").map(|key| key.trim_matches('`')) {
                assert!(shown.contains(&format!("{prefix}.{key}")), "{prefix}.{key} is not shown");
            }
        }
    }

    #[test]
    fn it_fits_a_terminal() {
        for line in SAMPLE.lines() {
            assert!(line.len() <= 88, "{line}");
        }
    }
}
