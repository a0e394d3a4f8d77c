//! Which gateway runs a job: a claim in its record, with an end, so that another takes over from one that died. The log
//! decides in the end; a claim keeps two from doing the same for nothing.

use std::time::{Duration, SystemTime};

use platform::{Error, Kind, Result};
use prost_types::Timestamp;
use proto::{
    internal::v1::{JobClaim, JobRecord},
    v1::{JobState, ResultCounts},
};

use super::{Jobs, keys::JobId, records, webhook};

/// How long somebody else may be taken to be at work on it.
pub fn left(record: &JobRecord) -> Duration {
    let until = record.claim.as_ref().and_then(|claim| claim.until.as_ref());
    until.map_or(Duration::ZERO, platform::time::until)
}

impl Jobs {
    pub(super) fn is_ours(&self, record: &JobRecord) -> bool {
        record.claim.as_ref().is_some_and(|claim| claim.gateway_id == self.gateway_id)
    }

    fn new_claim(&self, lasting: Duration) -> JobClaim {
        JobClaim { gateway_id: self.gateway_id.clone(), until: Some(platform::time::in_future(lasting)) }
    }

    /// Takes the job for this gateway. `None` when another has it or nothing is left to do.
    pub(super) async fn claim(&self, id: &JobId) -> Result<Option<JobRecord>> {
        let (now, mut taken) = (SystemTime::now(), false);
        let record = self.records.update(id, |record| {
            let is_free = self.is_ours(record) || left(record).is_zero();
            taken = is_free && !records::has_ended(record);
            if taken {
                record.claim = Some(self.new_claim(self.pace.claim));
                let job = record.job.get_or_insert_default();
                job.set_state(JobState::Running);
                job.start_time.get_or_insert(Timestamp::from(now));
            }
            taken
        });
        let record = record.await?;
        Ok(taken.then_some(record))
    }

    /// Takes the call of a job that has ended. `None` when another has it or none is due.
    pub(super) async fn claim_call(&self, id: &JobId, lasting: Duration) -> Result<Option<JobRecord>> {
        let mut taken = false;
        let record = self.records.update(id, |record| {
            let is_free = self.is_ours(record) || left(record).is_zero();
            let is_due = webhook::due(record).is_some_and(|due| due.is_zero());
            taken = is_free && is_due && records::has_ended(record);
            if taken {
                record.claim = Some(self.new_claim(lasting));
            }
            taken
        });
        let record = record.await?;
        Ok(taken.then_some(record))
    }

    /// `VersionMismatch` when another gateway has it.
    pub(super) async fn extend(&self, id: &JobId, counts: ResultCounts) -> Result<JobRecord> {
        let mut is_ours = true;
        let record = self.records.update(id, |record| {
            is_ours = self.is_ours(record);
            if is_ours {
                record.claim = Some(self.new_claim(self.pace.claim));
                record.job.get_or_insert_default().counts = Some(counts);
            }
            is_ours
        });
        let record = record.await?;
        if is_ours { Ok(record) } else { Err(Error::new(Kind::VersionMismatch, "the job is no longer ours")) }
    }

    /// Lets another gateway go on at once.
    pub(super) async fn give_up(&self, id: &JobId, counts: ResultCounts) -> Result<()> {
        let released = self.records.update(id, |record| {
            let is_ours = self.is_ours(record);
            if is_ours {
                record.claim = None;
                record.job.get_or_insert_default().counts = Some(counts);
            }
            is_ours
        });
        released.await.map(drop)
    }
}
