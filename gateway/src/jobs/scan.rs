//! Finds what is to be done: jobs that nobody runs, of this gateway's last life or of another that died.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, PoisonError},
    time::Duration,
};

use platform::{Error, Kind, Result, error::ResultExt as _};
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{
    Jobs, Live, claim,
    keys::{JobId, OPEN},
    records,
    runner::{self, Ended},
    sweep, webhook,
};

/// Jobs that run at once: small ones pass a large one, and each takes a write in a tenth of a second.
const RUNNING_MAX: usize = 16;

/// Webhooks that are called at once: a receiver that hangs holds one up for 15 s.
const CALLS_MAX: usize = 16;

/// A job that failed for a fault of ours or the store's is taken up again after this.
const AGAIN: Duration = Duration::from_secs(2);

type Done = (JobId, Result<Ended>);
type Work = JoinSet<Done>;

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
    /// It has ended, and somebody wants to hear of it.
    ToCall,
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
        let (mut running, mut calls) = (Work::new(), Work::new());
        let mut looks = tokio::time::interval(self.pace.scan);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.start(&mut known, &mut running);
            self.start_calls(&mut known, &mut calls);
            tokio::select! {
                () = self.core.stop.cancelled() => {
                    while running.join_next().await.is_some() {}
                    // A call that is broken off is made again.
                    calls.shutdown().await;
                    std::future::pending::<()>().await;
                }
                () = self.wake.notified() => {}
                _ = looks.tick() => {
                    if let Err(error) = self.look(&mut known).await {
                        tracing::warn!(%error, "look for jobs");
                    }
                }
                Some(ended) = running.join_next() => self.note(&mut known, ended).await?,
                Some(ended) = calls.join_next() => self.note(&mut known, ended).await?,
            }
        }
    }

    async fn note(&self, known: &mut BTreeMap<JobId, Known>, ended: Result<Done, JoinError>) -> Result<()> {
        let (id, ended) = ended.map_err(|error| Error::internal(error).context("run a job"))?;
        let wait = match ended {
            Ok(Ended::Done) => Duration::ZERO,
            Ok(Ended::Elsewhere | Ended::Stopped) => self.pace.claim,
            Err(error) if error.kind() == Kind::JobNotFound => Duration::ZERO,
            Err(error) => {
                tracing::error!(%error, job.id = %id, "run a job");
                AGAIN
            }
        };
        if wait.is_zero() {
            self.look_at(known, id).await;
        } else {
            known.insert(id, Known::Until(Instant::now() + wait));
        }
        Ok(())
    }

    async fn look_at(&self, known: &mut BTreeMap<JobId, Known>, id: JobId) {
        match self.classify(&id).await {
            Ok(Some(what)) => drop(known.insert(id, what)),
            Ok(None) => drop(known.remove(&id)),
            // The others have their turn all the same.
            Err(error) => {
                tracing::error!(%error, job.id = %id, "look at a job");
                known.insert(id, Known::Until(Instant::now() + AGAIN));
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
                Some(Known::Queued | Known::Here | Known::ToCall) => false,
            })
            .collect();
        unknown.sort_unstable();
        for id in unknown {
            self.look_at(known, id).await;
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
            let Some(due) = webhook::due(&record) else {
                self.store.delete(&id.mark()).await?;
                return Ok(None);
            };
            let due = if self.is_ours(&record) { due } else { due.max(claim::left(&record)) };
            return Ok(Some(if due.is_zero() { Known::ToCall } else { Known::Until(Instant::now() + due) }));
        }
        let left = if self.is_ours(&record) { Duration::ZERO } else { claim::left(&record) };
        Ok(Some(if left.is_zero() { Known::Queued } else { Known::Until(Instant::now() + left) }))
    }

    /// Starts what there is room for, oldest first. One that was cancelled needs none.
    fn start(self: &Arc<Self>, known: &mut BTreeMap<JobId, Known>, running: &mut Work) {
        if self.core.stop.is_cancelled() {
            return;
        }
        let (created, cancelled) = self.news.lock().unwrap_or_else(PoisonError::into_inner).take();
        for id in created.into_iter().chain(cancelled.iter().cloned()) {
            if known.get(&id) != Some(&Known::Here) {
                known.insert(id, Known::Queued);
            }
        }
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

    fn start_calls(self: &Arc<Self>, known: &mut BTreeMap<JobId, Known>, calls: &mut Work) {
        let free = CALLS_MAX.saturating_sub(calls.len());
        for (id, what) in known.iter_mut().filter(|(_, what)| **what == Known::ToCall).take(free) {
            *what = Known::Here;
            let (jobs, id) = (Arc::clone(self), id.clone());
            calls.spawn(async move {
                let ended = webhook::deliver(&jobs, &id).await;
                (id, ended)
            });
        }
    }
}
