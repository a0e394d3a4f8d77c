//! The record of a job in the store: read, created, and changed by one after the other.

use std::sync::Arc;

use platform::{Error, Kind, Result, error::ResultExt as _, store::Store};
use prost::Message as _;
use proto::{
    internal::v1::JobRecord,
    v1::{Job, JobState},
};

use super::keys::{JobId, not_found};

#[derive(Clone)]
pub struct Records {
    pub store: Arc<dyn Store>,
}

impl Records {
    /// `JobNotFound` without one.
    pub async fn get(&self, id: &JobId) -> Result<JobRecord> {
        let read = self.store.get(&id.record()).await;
        decode(&read.map_err(|error| missing(error, id))?)
    }

    /// Whether it is known that there is none.
    pub async fn is_missing(&self, id: &JobId) -> bool {
        matches!(self.get(id).await, Err(error) if error.kind() == Kind::JobNotFound)
    }

    /// From now on the job is there for everyone.
    pub async fn create(&self, id: &JobId, record: &JobRecord) -> Result<()> {
        let created = self.store.create(&id.record(), record.encode_to_vec().into()).await;
        match created {
            // Nobody else makes this id: an answer was lost, and it was written.
            Err(error) if error.kind() == Kind::AlreadyExists => Ok(()),
            created => created.context("write the job's record"),
        }
    }

    /// Changes the record, again from the start when another did in between, until `change` gives `false`: nothing to
    /// change. A change that was made although its answer was lost is tried once more, so it must bear that.
    pub async fn update(
        &self,
        id: &JobId,
        mut change: impl FnMut(&mut JobRecord) -> bool + Send,
    ) -> Result<JobRecord> {
        /// Two gateways and a few callers change a record at the same time, if ever.
        const ROUNDS_MAX: usize = 50;
        for _ in 0..ROUNDS_MAX {
            let read = self.store.get_versioned(&id.record()).await;
            let (bytes, version) = read.map_err(|error| missing(error, id))?;
            let mut record = decode(&bytes)?;
            if !change(&mut record) {
                return Ok(record);
            }
            match self.store.replace(&id.record(), record.encode_to_vec().into(), &version).await {
                Ok(_) => return Ok(record),
                Err(error) if error.kind() == Kind::VersionMismatch => {}
                Err(error) => return Err(error.context("write the job's record")),
            }
        }
        Err(Error::new(Kind::ServiceUnavailable, "the job's record is changed by too many at once"))
    }
}

fn decode(bytes: &[u8]) -> Result<JobRecord> {
    JobRecord::decode(bytes).map_err(|error| Error::internal(error).context("read the job's record"))
}

fn missing(error: Error, id: &JobId) -> Error {
    match error.kind() {
        Kind::ObjectNotFound => not_found(&id.name()),
        _ => error.context("read the job's record"),
    }
}

/// What callers see of it.
pub fn job(record: &JobRecord) -> Job {
    record.job.clone().unwrap_or_default()
}

/// Whether nothing about its images changes any more.
pub fn has_ended(record: &JobRecord) -> bool {
    let state = record.job.as_ref().map_or(JobState::Unspecified, Job::state);
    !matches!(state, JobState::Unspecified | JobState::Queued | JobState::Running)
}
