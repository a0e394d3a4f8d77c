//! The end of a job: its results in one object, its last state in its record.

use std::{sync::Arc, time::SystemTime};

use bytes::{Bytes, BytesMut};
use platform::{
    Error, Kind, Result,
    error::{ResultExt as _, to_rpc_status},
};
use prost_types::Timestamp;
use proto::v1::{JobState, ResultCounts, watch_job_response::Event};

use super::{
    Jobs,
    keys::JobId,
    line,
    log::FIRST,
    records,
    runner::{Ended, Run},
};

/// Ends a job whose images are all answered. `VersionMismatch` when another gateway has it.
pub async fn finish(jobs: &Arc<Jobs>, id: &JobId, run: &mut Run) -> Result<Ended> {
    let (last, counts) = (run.writer.last(), run.counts);
    let ending = async {
        let _one_at_a_time = jobs.finishing.acquire().await.map_err(Error::internal)?;
        let results = results(jobs, id, last).await?;
        jobs.store.put(&id.results(), results.clone()).await.context("write the job's results")?;
        jobs.end(id, End { last, counts, results }).await
    };
    tokio::pin!(ending);
    loop {
        // Not a moment without a claim, however long it takes.
        let extend = tokio::time::sleep(jobs.pace.extend);
        tokio::select! {
            ended = &mut ending => return ended.map(|()| Ended::Done),
            () = jobs.core.stop.cancelled() => return Ok(Ended::Stopped),
            () = extend => {
                run.extend().await?;
            }
        }
    }
}

struct End {
    last: u64,
    counts: ResultCounts,
    results: Bytes,
}

/// All lines, by index.
async fn results(jobs: &Jobs, id: &JobId, last: u64) -> Result<Bytes> {
    let (log, mut next) = (jobs.log(id), FIRST);
    let mut lines: Vec<(u32, Vec<u8>)> = Vec::new();
    while next <= last {
        let events = log.segment(next).await?;
        let events = events.ok_or_else(|| Error::internal("a part of the job's log is gone"))?;
        for event in events {
            next = event.sequence + 1;
            if let Some(Event::Result(result)) = event.event {
                lines.push((result.index, line::line(&result)));
            }
        }
    }
    lines.sort_unstable_by_key(|(index, _)| *index);
    let mut all = BytesMut::with_capacity(lines.iter().map(|(_, line)| line.len()).sum());
    lines.iter().for_each(|(_, line)| all.extend_from_slice(line));
    Ok(all.freeze())
}

impl Jobs {
    async fn end(&self, id: &JobId, end: End) -> Result<()> {
        let End { last, counts, results } = end;
        let prefix = self.records.get(id).await?.output_prefix;
        let (output_uri, error) = if prefix.is_empty() {
            (self.results_uri(id), None)
        } else {
            match self.buckets.write(&prefix, id, results).await {
                Ok(uri) => (uri, None),
                Err(error) if error.kind().is_retryable() => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, job.id = %id, "write results to the caller's bucket");
                    (self.results_uri(id), Some(to_rpc_status(&error)))
                }
            }
        };
        let (now, mut is_ours) = (SystemTime::now(), true);
        self.records
            .update(id, |record| {
                is_ours = self.is_ours(record);
                if !is_ours || records::has_ended(record) {
                    return false;
                }
                let job = record.job.get_or_insert_default();
                job.set_state(outcome(&counts));
                job.counts = Some(counts);
                job.end_time = Some(Timestamp::from(now));
                job.expire_time = Some(Timestamp::from(now + self.options.retention));
                job.output_uri.clone_from(&output_uri);
                job.error.clone_from(&error);
                record.last_sequence = last;
                record.claim = None;
                true
            })
            .await?;
        if is_ours { Ok(()) } else { Err(Error::new(Kind::VersionMismatch, "the job is no longer ours")) }
    }

    fn results_uri(&self, id: &JobId) -> String {
        let store = self.core.options.store.as_deref().unwrap_or_default();
        format!("{}/{}", store.trim_end_matches('/'), id.results())
    }
}

/// What the images come to.
fn outcome(counts: &ResultCounts) -> JobState {
    if counts.cancelled > 0 {
        JobState::Cancelled
    } else if counts.expired > 0 {
        JobState::Expired
    } else if counts.succeeded == counts.total {
        JobState::Succeeded
    } else if counts.succeeded > 0 {
        JobState::PartiallyFailed
    } else {
        JobState::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_tells_the_outcome() {
        let check = |[succeeded, failed, cancelled, expired]: [u32; 4], want: JobState| {
            let total = succeeded + failed + cancelled + expired;
            assert_eq!(outcome(&ResultCounts { total, succeeded, failed, cancelled, expired }), want);
        };
        check([5, 0, 0, 0], JobState::Succeeded);
        check([4, 1, 0, 0], JobState::PartiallyFailed);
        check([0, 5, 0, 0], JobState::Failed);
        check([4, 0, 1, 0], JobState::Cancelled);
        check([0, 1, 1, 1], JobState::Cancelled);
        check([4, 1, 0, 1], JobState::Expired);
    }
}
