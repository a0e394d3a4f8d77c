//! Names of jobs, and where in the store what belongs to them lies.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use platform::{Error, Kind, Result};

/// Records of all jobs, the newest first.
pub const RECORDS: &str = "jobs/records/";

/// A mark for each job with which something is still to be done, the oldest first.
pub const OPEN: &str = "jobs/open/";

/// A ULID: ids sort by the time of their creation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(String);

impl JobId {
    pub fn new() -> Self {
        Self(platform::id::new())
    }

    /// Of the key of a mark.
    pub fn of_mark(key: &str) -> Option<Self> {
        Self::read(key.strip_prefix(OPEN)?)
    }

    /// Of the key of a record.
    pub fn of_record(key: &str) -> Option<Self> {
        Self::read(&turned(key.strip_prefix(RECORDS)?)?)
    }

    pub fn read(text: &str) -> Option<Self> {
        let id = ulid::Ulid::from_string(text).ok()?.to_string();
        // One way to write it, so that a job has one name and one key.
        (id == text).then_some(Self(id))
    }

    /// `jobs/ID`. `field` is where in the request it stands.
    pub fn parse(name: &str, field: &str) -> Result<Self> {
        match name.strip_prefix("jobs/") {
            Some(id) if !id.is_empty() => Self::read(id).ok_or_else(|| not_found(name)),
            _ => Err(Error::invalid(field, "has to be the name of a job, jobs/ID")),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn name(&self) -> String {
        format!("jobs/{}", self.0)
    }

    pub fn created(&self) -> SystemTime {
        let millis = ulid::Ulid::from_string(&self.0).map_or(0, |id| id.timestamp_ms());
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }

    pub fn record(&self) -> String {
        // Every character of an id has another in its place.
        format!("{RECORDS}{}", turned(&self.0).unwrap_or_default())
    }

    pub fn mark(&self) -> String {
        format!("{OPEN}{}", self.0)
    }

    /// Everything but the record and the mark.
    pub fn folder(&self) -> String {
        format!("jobs/{}/", self.0)
    }

    pub fn bundle(&self, number: u32) -> String {
        format!("jobs/{}/bundles/{number:06}", self.0)
    }

    pub fn page(&self, number: u32) -> String {
        format!("jobs/{}/pages/{number:06}", self.0)
    }

    pub fn log(&self) -> String {
        format!("jobs/{}/log/", self.0)
    }

    /// The segment whose first event has this number.
    pub fn segment(&self, first: u64) -> String {
        format!("jobs/{}/log/{first:012}", self.0)
    }

    pub fn results(&self) -> String {
        format!("jobs/{}/results.jsonl", self.0)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub fn not_found(name: &str) -> Error {
    Error::new(Kind::JobNotFound, format!("no job {name:?}; it may have expired"))
        .with_resource("dunlin.v1.Job", name)
}

/// The last character of the alphabet for the first and so on: what sorts last sorts first. Turned again it is as it was.
fn turned(id: &str) -> Option<String> {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let turn = |byte: u8| {
        let at = ALPHABET.iter().position(|one| *one == byte)?;
        ALPHABET.get(ALPHABET.len() - 1 - at).map(|byte| char::from(*byte))
    };
    id.bytes().map(turn).collect()
}

/// What a page token says, in a form that nobody is tempted to take apart.
pub fn token(place: &str) -> String {
    URL_SAFE_NO_PAD.encode(place)
}

/// What [`token`] was given; empty for no token.
pub fn place(token: &str) -> Result<String> {
    let place = URL_SAFE_NO_PAD.decode(token).ok().and_then(|place| String::from_utf8(place).ok());
    place.ok_or_else(|| Error::invalid("page_token", "was not given by this method"))
}

/// How many to give: what was asked, within bounds.
pub fn page_size(asked: i32, default: usize) -> Result<usize> {
    const MOST: usize = 1000;
    match usize::try_from(asked) {
        Ok(0) => Ok(default),
        Ok(asked) => Ok(asked.min(MOST)),
        Err(_) => Err(Error::invalid("page_size", "must not be negative")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_record_is_listed_first() {
        let (older, newer) =
            (JobId("01HZZZZZZZZZZZZZZZZZZZZZZZ".to_owned()), JobId("01J00000000000000000000000".to_owned()));
        assert!(newer.record() < older.record());
        assert!(older.mark() < newer.mark());
        assert_eq!(JobId::of_record(&older.record()), Some(older.clone()));
        assert_eq!(JobId::of_mark(&newer.mark()), Some(newer));
        platform::store::check_key(&older.segment(7)).unwrap();
    }

    #[test]
    fn names_are_of_one_form_and_never_a_path() {
        let kind = |name: &str| JobId::parse(name, "name").unwrap_err().kind();
        for name in ["", "jobs/", "jobs", "01J00000000000000000000000", "job/x"] {
            assert_eq!(kind(name), Kind::InvalidRequest, "{name:?}");
        }
        for name in ["jobs/../x", "jobs/records", "jobs/01j00000000000000000000000", "jobs/x", "jobs/ü"] {
            assert_eq!(kind(name), Kind::JobNotFound, "{name:?}");
        }
        let id = JobId::new();
        assert_eq!(JobId::parse(&id.name(), "name").unwrap(), id);
        assert!(id.created() <= SystemTime::now());
    }

    #[test]
    fn token_is_what_was_given_or_an_error() {
        assert_eq!(place(&token("a/b")).unwrap(), "a/b");
        assert_eq!(place("").unwrap(), "");
        assert!(place("ü").is_err());
        assert_eq!(page_size(0, 50).unwrap(), 50);
        assert_eq!(page_size(5000, 50).unwrap(), 1000);
        assert!(page_size(-1, 50).is_err());
    }
}
