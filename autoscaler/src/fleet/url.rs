//! `--fleet`: which fleet, and its few settings in the query.

use std::{collections::BTreeMap, time::Duration};

use platform::options::parse_duration;

use super::simcloud::SimOptions;

/// The fleet's name when the URL has none.
const NAME: &str = "dunlin";

#[derive(Debug, Clone, PartialEq)]
pub enum FleetUrl {
    Local,
    /// Workers that somebody else starts and stops.
    External,
    Ec2 {
        name: String,
        /// Name or id of the launch template.
        template: String,
        version: String,
    },
    Sim {
        name: String,
        options: SimOptions,
    },
}

impl FleetUrl {
    /// Reads it; the error is a sentence that goes on after `--fleet: `.
    pub fn parse(text: &str) -> Result<Self, String> {
        let unknown =
            || format!("{text:?} is unknown; known: local:, external:, ec2:TEMPLATE?fleet=NAME, simcloud:");
        let (kind, rest) = text.split_once(':').ok_or_else(unknown)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut query = query_of(query)?;
        let name = query.remove("fleet").unwrap_or_else(|| NAME.to_owned());
        check_name(&name)?;
        let url = match kind {
            "local" if rest.is_empty() && query.is_empty() => return Ok(Self::Local),
            "external" if rest.is_empty() && query.is_empty() => return Ok(Self::External),
            "ec2" if rest.is_empty() => {
                return Err(format!("{text:?} names no launch template; write ec2:TEMPLATE"));
            }
            "ec2" => Self::Ec2 {
                name,
                template: rest.to_owned(),
                version: query.remove("version").unwrap_or_else(|| "$Latest".to_owned()),
            },
            "simcloud" if rest.is_empty() => Self::Sim { name, options: sim_options(&mut query)? },
            _ => return Err(unknown()),
        };
        match query.keys().next() {
            Some(key) => Err(format!("{text:?} has an unknown setting {key:?}")),
            None => Ok(url),
        }
    }

    /// Whether its instances are machines that boot, and outlive this process.
    pub fn is_cloud(&self) -> bool {
        !matches!(self, Self::Local | Self::External)
    }
}

fn query_of(query: &str) -> Result<BTreeMap<String, String>, String> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (key, value) = part.split_once('=').ok_or_else(|| format!("{part:?} is not NAME=VALUE"))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    parts.map(pair).collect()
}

/// It becomes a tag's value, and is typed by people.
fn check_name(name: &str) -> Result<(), String> {
    /// What a tag's value may have.
    const NAME_BYTES_MAX: usize = 256;
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(fine) {
        return Ok(());
    }
    Err(format!("fleet={name:?} must be letters, digits, '-', '_' and '.'"))
}

fn sim_options(query: &mut BTreeMap<String, String>) -> Result<SimOptions, String> {
    let mut options = SimOptions::default();
    let mut duration = |key: &str, into: &mut Duration| -> Result<(), String> {
        if let Some(value) = query.remove(key) {
            *into = parse_duration(&value).map_err(|error| format!("{key}={value:?}: {error}"))?;
        }
        Ok(())
    };
    duration("boot", &mut options.boot)?;
    duration("stop", &mut options.stop)?;
    duration("lag", &mut options.lag)?;
    if let Some(value) = query.remove("capacity") {
        options.capacity = value.parse().map_err(|_| format!("capacity={value:?} is not a number"))?;
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_which_fleet() {
        let ec2 = |name: &str, template: &str, version: &str| FleetUrl::Ec2 {
            name: name.to_owned(),
            template: template.to_owned(),
            version: version.to_owned(),
        };
        for (text, url) in [
            ("local:", FleetUrl::Local),
            ("external:", FleetUrl::External),
            ("ec2:lt-worker", ec2("dunlin", "lt-worker", "$Latest")),
            ("ec2:worker?fleet=blue&version=3", ec2("blue", "worker", "3")),
        ] {
            assert_eq!(FleetUrl::parse(text), Ok(url), "{text}");
        }
        let sim = FleetUrl::parse("simcloud:?boot=40s&stop=15s&capacity=20&fleet=a").unwrap();
        let FleetUrl::Sim { name, options } = sim else { panic!("{sim:?}") };
        assert_eq!((name.as_str(), options.boot, options.capacity), ("a", Duration::from_secs(40), 20));
    }

    #[test]
    fn wrong_urls_are_told_in_a_sentence() {
        for (text, part) in [
            ("ec3:", "is unknown; known: local:, external:, ec2:"),
            ("local:x", "is unknown"),
            ("external:x", "is unknown"),
            ("ec2:", "names no launch template"),
            ("ec2:a?flet=b", "unknown setting \"flet\""),
            ("ec2:a?fleet=", "must be letters"),
            ("simcloud:?boot=x", "boot=\"x\""),
            ("simcloud:?capacity", "is not NAME=VALUE"),
        ] {
            let problem = FleetUrl::parse(text).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }
}
