//! `WatchJob`: what is in the log, and then what comes into it. It is pulled: a slow reader holds up only itself.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::Stream;
use platform::{Error, Kind, Result};
use proto::v1::{
    Job, JobState, ResultCounts, StreamHeartbeat, WatchJobRequest, WatchJobResponse,
    watch_job_response::Event,
};
use tokio::time::Instant;
use tonic::Status;

use super::{
    Jobs,
    keys::JobId,
    log::{FIRST, Log},
    records,
};

/// Proxies and browsers close what is silent for about a minute (DESIGN section 7).
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How often the store is looked at for a job that runs elsewhere or not at all.
const LOOK: Duration = Duration::from_secs(1);

/// Of the creation, which the record tells and not the log.
const CREATED: u64 = 1;

struct Watch {
    jobs: Arc<Jobs>,
    id: JobId,
    log: Log,
    /// The next that the reader has not.
    next: u64,
    /// Whether `next` begins a segment, as far as it is there.
    is_aligned: bool,
    include_progress: bool,
    events: VecDeque<WatchJobResponse>,
    /// The last that was given, or that the reader said it had.
    last: u64,
    ended: bool,
    heartbeat_at: Instant,
}

/// Of a job that is there.
pub fn open(
    jobs: Arc<Jobs>,
    id: JobId,
    request: &WatchJobRequest,
) -> impl Stream<Item = Result<WatchJobResponse, Status>> + Send + use<> {
    let watch = Watch {
        log: jobs.log(&id),
        jobs,
        id,
        next: request.after_sequence.saturating_add(1),
        is_aligned: request.after_sequence < FIRST,
        include_progress: request.include_progress,
        events: VecDeque::new(),
        last: request.after_sequence,
        ended: false,
        heartbeat_at: Instant::now() + HEARTBEAT,
    };
    futures::stream::unfold(watch, |mut watch| async move {
        match watch.next().await {
            Ok(event) => event.map(|event| (Ok(event), watch)),
            Err(error) => {
                watch.ended = true;
                watch.events.clear();
                Some((Err(error.into()), watch))
            }
        }
    })
}

impl Watch {
    async fn next(&mut self) -> Result<Option<WatchJobResponse>> {
        loop {
            while let Some(event) = self.events.pop_front() {
                if self.include_progress || !matches!(event.event, Some(Event::Progress(_))) {
                    self.last = event.sequence;
                    self.heartbeat_at = Instant::now() + HEARTBEAT;
                    return Ok(Some(event));
                }
            }
            if self.ended {
                return Ok(None);
            }
            if self.fetch().await? {
                continue;
            }
            if Instant::now() >= self.heartbeat_at {
                self.heartbeat_at = Instant::now() + HEARTBEAT;
                let heartbeat = StreamHeartbeat { time: Some(platform::time::now()) };
                let event = Some(Event::Heartbeat(heartbeat));
                return Ok(Some(WatchJobResponse { sequence: self.last, event }));
            }
            self.wait().await?;
        }
    }

    /// Takes what comes next, if it is there. Whether anything changed.
    async fn fetch(&mut self) -> Result<bool> {
        if self.next == CREATED {
            let job = as_created(records::job(&self.jobs.records.get(&self.id).await?));
            self.events.push_back(WatchJobResponse { sequence: CREATED, event: Some(Event::Job(job)) });
            self.next = FIRST;
            return Ok(true);
        }
        if self.take_segment().await? {
            return Ok(true);
        }
        let record = self.jobs.records.get(&self.id).await?;
        if !records::has_ended(&record) {
            return Ok(false);
        }
        let end = record.last_sequence + 1;
        if self.next < end {
            // It ended between the two looks.
            return self.take_segment().await;
        }
        if self.next == end {
            let event = Some(Event::Job(records::job(&record)));
            self.events.push_back(WatchJobResponse { sequence: end, event });
        }
        self.ended = true;
        Ok(true)
    }

    async fn take_segment(&mut self) -> Result<bool> {
        let segment = if self.is_aligned {
            self.log.segment(self.next).await?
        } else {
            self.log.segment_with(self.next).await?
        };
        let Some(events) = segment else { return Ok(false) };
        let next = self.next;
        self.events.extend(events.into_iter().filter(|event| event.sequence >= next));
        self.next = self.events.back().map_or(next, |event| event.sequence + 1);
        self.is_aligned = true;
        Ok(true)
    }

    /// Until there may be more.
    async fn wait(&self) -> Result<()> {
        let seen = self.next - 1;
        let told = self.jobs.live(&self.id).map(|live| live.told.subscribe());
        let changed = async {
            match told {
                Some(mut told) => {
                    // When it ends here the channel closes, and the record says more.
                    let _ = told.wait_for(|told| told.last > seen).await;
                }
                None => tokio::time::sleep(LOOK).await,
            }
        };
        tokio::select! {
            () = changed => Ok(()),
            () = tokio::time::sleep_until(self.heartbeat_at) => Ok(()),
            () = self.jobs.core.stop.cancelled() => {
                Err(Error::new(Kind::Draining, "this gateway stops; watch on with the last sequence")
                    .with_retry_after(LOOK))
            }
        }
    }
}

fn as_created(job: Job) -> Job {
    let total = job.counts.unwrap_or_default().total;
    Job {
        state: JobState::Queued.into(),
        counts: Some(ResultCounts { total, ..ResultCounts::default() }),
        start_time: None,
        end_time: None,
        expire_time: None,
        error: None,
        output_uri: String::new(),
        ..job
    }
}
