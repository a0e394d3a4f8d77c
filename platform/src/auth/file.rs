//! The file of keys: who has one and for what, and the hash of each. The keys themselves are nowhere.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::{
    Secret,
    bucket::Rate,
    key::{self, Hash},
    scope::Scope,
};
use crate::{Error, Kind, Result};

/// Names are shown in records and answers.
const NAME_BYTES_MAX: usize = 64;

/// A megabyte of keys. They are all in memory, and read whole whenever the file changes.
const KEYS_MAX: usize = 4000;

const HEAD: &str = "# Keys of Dunlin's callers, by their hashes: made by `dunlin key create`, ended by `dunlin key revoke`.\n\
                    # Services read it again within seconds when it changes.\n\n";

/// A file of keys, for those who change it.
#[derive(Debug, Clone)]
pub struct KeyFile(PathBuf);

/// One key, as it is in the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    pub id: String,
    pub name: String,
    sha256: String,
    pub scopes: Vec<Scope>,
    /// Images a second; none: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    #[serde(with = "time")]
    pub created: SystemTime,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_time")]
    pub expires: Option<SystemTime>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_time")]
    pub revoked: Option<SystemTime>,
}

/// What a new key is to be.
#[derive(Debug, Clone)]
pub struct NewKey {
    pub name: String,
    pub scopes: Vec<Scope>,
    pub rate: Option<f64>,
    pub expires_in: Option<Duration>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default, rename = "key")]
    keys: Vec<KeyRecord>,
}

impl KeyRecord {
    pub(super) fn hash(&self) -> Option<Hash> {
        Hash::from_hex(&self.sha256)
    }

    pub(super) fn rate(&self) -> Option<Rate> {
        self.rate.and_then(Rate::new)
    }

    pub fn has_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    fn check(&self) -> Result<(), String> {
        if self.id.is_empty()
            || self.id.len() > NAME_BYTES_MAX
            || !self.id.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(format!(
                "the id {:?} is not 1 to {NAME_BYTES_MAX} visible ASCII characters",
                self.id
            ));
        }
        check_name(&self.name)?;
        if self.hash().is_none() {
            return Err(format!("the sha256 of {} is not 64 hexadecimal digits", self.id));
        }
        if self.rate.is_some() && self.rate().is_none() {
            return Err(format!("the rate of {} is not over 0 and at most {}", self.id, Rate::MAX));
        }
        if self.scopes.is_empty() {
            return Err(format!("{} has no scope", self.id));
        }
        Ok(())
    }
}

impl NewKey {
    /// What is wrong with it, if anything.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        if let Err(problem) = check_name(&self.name) {
            return Some(("--name", problem));
        }
        if self.scopes.is_empty() {
            return Some(("--scope", "must be given".to_owned()));
        }
        if self.rate.is_some_and(|rate| Rate::new(rate).is_none()) {
            return Some(("--rate", format!("must be over 0 and at most {}", Rate::MAX)));
        }
        if self
            .expires_in
            .is_some_and(|after| after.is_zero() || SystemTime::now().checked_add(after).is_none())
        {
            return Some(("--expires", "must be longer than 0s".to_owned()));
        }
        None
    }
}

/// It becomes the actor in records and goes into logs.
fn check_name(name: &str) -> Result<(), String> {
    let fits = !name.is_empty() && name.len() <= NAME_BYTES_MAX;
    if fits && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte)) {
        return Ok(());
    }
    Err(format!("{name:?} is not 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 - _ . @"))
}

impl KeyFile {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// All keys, also those that ended. A file that is not there is an error; an empty one has no keys.
    pub fn read(&self) -> Result<Vec<KeyRecord>> {
        let path = self.0.display();
        let text = fs::read_to_string(&self.0)
            .map_err(|error| Error::new(Kind::Config, format!("can't read the keys in {path}: {error}")))?;
        let wrong = |problem: String| Error::new(Kind::Config, format!("the keys in {path}: {problem}"));
        let document: Document = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if document.keys.len() > KEYS_MAX {
            return Err(wrong(format!("{} keys, the limit is {KEYS_MAX}", document.keys.len())));
        }
        let mut ids = std::collections::HashSet::new();
        for record in &document.keys {
            record.check().map_err(wrong)?;
            if !ids.insert(&record.id) {
                return Err(wrong(format!("{} is there twice", record.id)));
            }
        }
        Ok(document.keys)
    }

    /// Makes a key and gives its text, which can't be had again. The file is made when it is not there.
    pub fn create(&self, new: NewKey) -> Result<(Secret, KeyRecord)> {
        if let Some((flag, problem)) = new.problem() {
            return Err(Error::new(Kind::Config, format!("{flag}: {problem}")));
        }
        let NewKey { name, mut scopes, rate, expires_in } = new;
        scopes.sort_by_key(|scope| scope.name());
        scopes.dedup();
        let text = key::new();
        // Whole seconds, as the file has them.
        let created = whole_seconds(SystemTime::now());
        let record = KeyRecord {
            id: crate::id::new().to_lowercase(),
            name,
            sha256: Hash::of(text.reveal().as_bytes()).to_hex(),
            scopes,
            rate,
            created,
            expires: expires_in.and_then(|after| created.checked_add(after)).map(whole_seconds),
            revoked: None,
        };
        self.change(|keys| {
            if keys.len() >= KEYS_MAX {
                let sentence = format!("{KEYS_MAX} keys are the limit; take out those that ended");
                return Err(Error::new(Kind::Config, sentence));
            }
            keys.push(record.clone());
            Ok(())
        })?;
        Ok((text, record))
    }

    /// Ends a key, and gives what it was. One that was revoked before stays as it is.
    pub fn revoke(&self, id: &str) -> Result<KeyRecord> {
        let mut revoked = None;
        self.change(|keys| {
            let found = keys.iter_mut().find(|key| key.id == id);
            let key = found.ok_or_else(|| {
                Error::new(Kind::ObjectNotFound, format!("no key {id:?} in {}", self.0.display()))
            })?;
            key.revoked.get_or_insert_with(|| whole_seconds(SystemTime::now()));
            revoked = Some(key.clone());
            Ok(())
        })?;
        revoked.ok_or_else(|| Error::internal("the key was not looked for"))
    }

    /// Reads, changes and replaces the file, alone.
    fn change(&self, change: impl FnOnce(&mut Vec<KeyRecord>) -> Result<()>) -> Result<()> {
        let failed = |error| {
            Error::new(Kind::Config, format!("can't write the keys to {}: {error}", self.0.display()))
        };
        if let Some(folder) = self.0.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        // The lock ends with the file, however we end.
        let lock = private().create(true).truncate(false).open(self.beside("lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut keys = if self.0.try_exists().map_err(failed)? { self.read()? } else { Vec::new() };
        change(&mut keys)?;
        let body = toml::to_string(&Document { keys }).map_err(Error::internal)?;
        self.replace(&format!("{HEAD}{body}")).map_err(failed)
    }

    /// Whoever reads meanwhile sees the old file or the new one.
    fn replace(&self, text: &str) -> std::io::Result<()> {
        let aside = self.beside("new");
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = private().create_new(true).open(&aside)?;
        if let Ok(before) = fs::metadata(&self.0) {
            // Root may change a file that a service reads as its own user. Others can't give files away, and need not.
            let _ = fchown(&file, Some(before.uid()), Some(before.gid()));
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, &self.0)?;
        let folder = self.0.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn beside(&self, what: &str) -> PathBuf {
        let mut name = self.0.clone().into_os_string();
        name.push(format!(".{what}"));
        name.into()
    }
}

/// For this user alone.
fn private() -> OpenOptions {
    const OWNER_ONLY: u32 = 0o600;
    let mut options = OpenOptions::new();
    options.write(true).mode(OWNER_ONLY);
    options
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// RFC 3339, for people.
mod time {
    use std::time::SystemTime;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_rfc3339_seconds(*time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_rfc3339(&text).map_err(|error| D::Error::custom(format!("{text:?}: {error}")))
    }
}

mod optional_time {
    use std::time::SystemTime;

    use serde::{Deserializer, Serializer};

    #[allow(clippy::ref_option, reason = "the form serde takes")]
    pub(super) fn serialize<S: Serializer>(time: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::time::serialize(time, to),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SystemTime>, D::Error> {
        super::time::deserialize(from).map(Some)
    }
}

#[cfg(test)]
mod tests;
