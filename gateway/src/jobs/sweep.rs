//! Removes what is no longer kept: jobs whose time is over, and what a broken-off creation left behind.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use platform::{Kind, Result, error::ResultExt as _};
use prost::Message as _;
use proto::internal::v1::{JobRecord, JobRequest};

use super::{
    Jobs,
    create::CREATION_MAX,
    keys::{JobId, RECORDS},
};

/// How often is looked, at most.
const PERIOD_MAX: Duration = Duration::from_secs(600);
const PERIOD_MIN: Duration = Duration::from_secs(1);

/// Whether no record can come any more: a creation ends long before.
pub fn is_partial_for_good(id: &JobId) -> bool {
    SystemTime::now().duration_since(id.created()).is_ok_and(|age| age > 2 * CREATION_MAX)
}

/// Runs until dropped.
pub async fn run(jobs: &Arc<Jobs>) -> Result<()> {
    let period = (jobs.options.retention / 10).clamp(PERIOD_MIN, PERIOD_MAX);
    loop {
        match sweep(jobs).await {
            Ok(kept) => jobs.kept.store(kept, Ordering::Relaxed),
            Err(error) => tracing::warn!(%error, "remove expired jobs"),
        }
        tokio::time::sleep(period).await;
    }
}

/// Gives how many jobs are kept.
async fn sweep(jobs: &Jobs) -> Result<usize> {
    const PAGE: usize = 1000;
    let (mut after, mut kept) = (String::new(), 0);
    loop {
        let keys = jobs.store.list(RECORDS, &after, PAGE).await.context("list jobs")?;
        for id in keys.iter().filter_map(|key| JobId::of_record(key)) {
            let age = SystemTime::now().duration_since(id.created()).unwrap_or_default();
            // A job is kept for that long after its end, so a younger one need not be read.
            if age < jobs.options.retention || !is_over(jobs, &id).await? {
                kept += 1;
            }
        }
        match keys.last() {
            Some(last) if keys.len() == PAGE => after.clone_from(last),
            _ => return Ok(kept),
        }
    }
}

/// Whether it was removed.
async fn is_over(jobs: &Jobs, id: &JobId) -> Result<bool> {
    let record = match jobs.records.get(id).await {
        Err(error) if error.kind() == Kind::JobNotFound => return Ok(true),
        record => record?,
    };
    let expires = record.job.as_ref().and_then(|job| job.expire_time.as_ref());
    if expires.is_none_or(|time| !platform::time::until(time).is_zero()) {
        return Ok(false);
    }
    jobs.forget(id, &record).await?;
    tracing::debug!(job.id = %id, "removed an expired job");
    Ok(true)
}

impl Jobs {
    /// Removes a job. If that is broken off, its mark says that the rest is to be removed.
    async fn forget(&self, id: &JobId, record: &JobRecord) -> Result<()> {
        self.store.put(&id.mark(), bytes::Bytes::new()).await?;
        self.store.delete(&id.record()).await?;
        if !record.request_key.is_empty()
            && let Ok(request) = self.store.get(&record.request_key).await
            && JobRequest::decode(request).is_ok_and(|request| request.job_id == id.as_str())
        {
            self.store.delete(&record.request_key).await?;
        }
        self.remove(id).await
    }

    /// Removes what lies in the store for a job that is not there, the mark last.
    pub(super) async fn remove(&self, id: &JobId) -> Result<()> {
        const PAGE: usize = 1000;
        loop {
            let keys = self.store.list(&id.folder(), "", PAGE).await.context("list what a job left")?;
            for key in &keys {
                self.store.delete(key).await?;
            }
            if keys.len() < PAGE {
                return self.store.delete(&id.mark()).await;
            }
        }
    }
}
