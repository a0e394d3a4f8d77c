//! Finds what is to be done: jobs that nobody runs, of this gateway's last life or of another that died.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, PoisonError},
    time::{Duration, SystemTime},
};

use platform::{Error, Kind, Result, error::ResultExt as _};
use prost_types::Timestamp;
use proto::{
    internal::v1::{JobClaim, JobRecord},
    v1::{JobState, ResultCounts},
};
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Jobs, Live,
    keys::{JobId, OPEN},
    records,
    runner::{self, Ended},
    sweep,
};

/// Jobs that run at once: small ones pass a large one, and each takes a write in a tenth of a second.
const RUNNING_MAX: usize = 16;

/// A job that failed for a fault of ours or the store's is taken up again after this.
const AGAIN: Duration = Duration::from_secs(2);

/// Present in `live` for as long as it lives.
pub struct Guard {
    jobs: Arc<Jobs>,
    id: JobId,
    pub live: Arc<Live>,
}

impl Guard {
    pub fn enter(jobs: &Arc<Jobs>, id: &JobId) -> Self {
        let live = Arc::new(Live { told: watch::Sender::default(), cancel: CancellationToken::new() });
        let mut all = jobs.live.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(id.clone(), Arc::clone(&live));
        drop(all);
        Self { jobs: Arc::clone(jobs), id: id.clone(), live }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.jobs.live.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// What is known of a job with a mark.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Known {
    /// Its turn has not come.
    Queued,
    Here,
    /// Nothing to do before.
    Until(Instant),
}

impl Jobs {
    /// Runs jobs until dropped or told to stop.
    pub async fn run(self: &Arc<Self>) -> Result<()> {
        tokio::select! {
            ended = self.scan() => ended,
            ended = sweep::run(self) => ended,
        }
    }

    async fn scan(self: &Arc<Self>) -> Result<()> {
        let mut known = BTreeMap::new();
        let mut running: JoinSet<(JobId, Result<Ended>)> = JoinSet::new();
        loop {
            if let Err(error) = self.look(&mut known).await {
                tracing::warn!(%error, "look for jobs");
            }
            self.start(&mut known, &mut running);
            tokio::select! {
                () = self.core.stop.cancelled() => {
                    while running.join_next().await.is_some() {}
                    std::future::pending::<()>().await;
                }
                () = self.wake.notified() => {}
                () = tokio::time::sleep(self.pace.scan) => {}
                Some(ended) = running.join_next() => {
                    let (id, ended) = ended.map_err(|error| Error::internal(error).context("run a job"))?;
                    known.insert(id.clone(), Known::Until(self.next_look(&id, ended)));
                }
            }
        }
    }

    /// When to look at it again.
    fn next_look(&self, id: &JobId, ended: Result<Ended>) -> Instant {
        let now = Instant::now();
        match ended {
            Ok(Ended::Done) => now,
            Ok(Ended::Elsewhere | Ended::Stopped) => now + self.pace.claim,
            Err(error) if error.kind() == Kind::JobNotFound => now,
            Err(error) => {
                tracing::error!(%error, job.id = %id, "run a job");
                now + AGAIN
            }
        }
    }

    /// Brings `known` up to date with the marks in the store.
    async fn look(&self, known: &mut BTreeMap<JobId, Known>) -> Result<()> {
        const PAGE: usize = 1000;
        let (mut after, mut seen) = (String::new(), HashSet::new());
        loop {
            let keys = self.store.list(OPEN, &after, PAGE).await.context("list the marks of jobs")?;
            let is_last = keys.len() < PAGE;
            after = keys.last().cloned().unwrap_or_default();
            seen.extend(keys.iter().filter_map(|key| JobId::of_mark(key)));
            if is_last {
                break;
            }
        }
        known.retain(|id, what| seen.contains(id) || *what == Known::Here);
        let now = Instant::now();
        let mut unknown: Vec<_> = seen
            .into_iter()
            .filter(|id| match known.get(id) {
                None => true,
                Some(Known::Until(until)) => *until <= now,
                Some(Known::Queued | Known::Here) => false,
            })
            .collect();
        unknown.sort_unstable();
        for id in unknown {
            if let Some(what) = self.classify(&id).await? {
                known.insert(id, what);
            }
        }
        Ok(())
    }

    /// `None` when its mark is gone.
    async fn classify(&self, id: &JobId) -> Result<Option<Known>> {
        let record = match self.records.get(id).await {
            Err(error) if error.kind() == Kind::JobNotFound => {
                if sweep::is_partial_for_good(id) {
                    self.remove(id).await?;
                    return Ok(None);
                }
                // It is being created, or its creation was broken off.
                return Ok(Some(Known::Until(Instant::now() + self.pace.scan)));
            }
            record => record?,
        };
        if records::has_ended(&record) {
            self.store.delete(&id.mark()).await?;
            return Ok(None);
        }
        let claimed = record.claim.as_ref().filter(|_| !self.is_ours(&record));
        let left =
            claimed.and_then(|claim| claim.until.as_ref()).map_or(Duration::ZERO, platform::time::until);
        Ok(Some(if left.is_zero() { Known::Queued } else { Known::Until(Instant::now() + left) }))
    }

    /// Starts what there is room for, oldest first. One that was cancelled needs none.
    fn start(
        self: &Arc<Self>,
        known: &mut BTreeMap<JobId, Known>,
        running: &mut JoinSet<(JobId, Result<Ended>)>,
    ) {
        if self.core.stop.is_cancelled() {
            return;
        }
        let cancelled = std::mem::take(&mut *self.cancelled.lock().unwrap_or_else(PoisonError::into_inner));
        let mut free = RUNNING_MAX.saturating_sub(running.len());
        for (id, what) in known.iter_mut().filter(|(_, what)| **what == Known::Queued) {
            if free == 0 && !cancelled.contains(id) {
                continue;
            }
            free = free.saturating_sub(1);
            *what = Known::Here;
            let (jobs, id) = (Arc::clone(self), id.clone());
            let work = self.runners.track_future(async move {
                let ended = runner::run(&jobs, &id).await;
                (id, ended)
            });
            running.spawn(work);
        }
    }

    pub(super) fn is_ours(&self, record: &JobRecord) -> bool {
        record.claim.as_ref().is_some_and(|claim| claim.gateway_id == self.gateway_id)
    }

    fn new_claim(&self) -> JobClaim {
        JobClaim {
            gateway_id: self.gateway_id.clone(),
            until: Some(platform::time::in_future(self.pace.claim)),
        }
    }

    /// Takes the job for this gateway. `None` when another has it or nothing is left to do.
    pub(super) async fn claim(&self, id: &JobId) -> Result<Option<JobRecord>> {
        let (now, mut taken) = (SystemTime::now(), false);
        let record = self.records.update(id, |record| {
            let until = record.claim.as_ref().and_then(|claim| claim.until.as_ref());
            let is_free =
                self.is_ours(record) || until.is_none_or(|until| platform::time::until(until).is_zero());
            taken = is_free && !records::has_ended(record);
            if taken {
                record.claim = Some(self.new_claim());
                let job = record.job.get_or_insert_default();
                job.set_state(JobState::Running);
                job.start_time.get_or_insert(Timestamp::from(now));
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
                record.claim = Some(self.new_claim());
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
