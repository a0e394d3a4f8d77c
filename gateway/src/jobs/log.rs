//! What happened to a job, in order and numbered: segments of events in the store, each written once and never changed.
//!
//! A segment holds the messages that watchers get, each with its length before it, so that what is replayed is what was
//! told. Its key is the number of its first event: of two gateways that take themselves for the job's, one writes it.

use std::{sync::Arc, time::Duration};

use bytes::{Buf as _, Bytes};
use platform::{Error, Kind, Result, error::ResultExt as _, retry::Backoff, store::Store};
use prost::Message as _;
use proto::v1::{WatchJobResponse, watch_job_response::Event};
use tokio::time::Instant;

use super::keys::JobId;

/// The first event is the creation, which the record tells.
pub const FIRST: u64 = 2;

/// Events in one segment. [`Log::segment_with`] relies on it.
pub const EVENTS_MAX: usize = 500;

/// When a segment is written at once. What comes together, a batch that failed, still has room.
const EVENTS_ENOUGH: usize = EVENTS_MAX - 100;

/// Bytes after which a segment is written at once; results with a thousand classes have 50 KB each.
const BYTES_MAX: usize = 1024 * 1024;

/// How long a result waits for others to be written with it. A write takes some milliseconds on a disk and 30 in S3.
const RESULT_LINGER: Duration = Duration::from_millis(100);

/// The same for what only watchers of progress see.
const PROGRESS_LINGER: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Log {
    store: Arc<dyn Store>,
    id: JobId,
}

impl Log {
    pub fn new(store: Arc<dyn Store>, id: JobId) -> Self {
        Self { store, id }
    }

    /// The events of the segment that begins with this number; `None` as long as there is none.
    pub async fn segment(&self, first: u64) -> Result<Option<Vec<WatchJobResponse>>> {
        match self.store.get(&self.id.segment(first)).await {
            Ok(bytes) => decode(bytes).map(Some),
            Err(error) if error.kind() == Kind::ObjectNotFound => Ok(None),
            Err(error) => Err(error.context("read the job's log")),
        }
    }

    /// The same for the segment that has this number somewhere.
    pub async fn segment_with(&self, sequence: u64) -> Result<Option<Vec<WatchJobResponse>>> {
        // It begins fewer than a segment's events before.
        let after = self.id.segment(sequence.saturating_sub(EVENTS_MAX as u64));
        let keys = self.store.list(&self.id.log(), &after, EVENTS_MAX).await.context("list the job's log")?;
        let wanted = self.id.segment(sequence);
        let Some(key) = keys.into_iter().rev().find(|key| *key <= wanted) else { return Ok(None) };
        let events = decode(self.store.get(&key).await.context("read the job's log")?)?;
        let has_it = events.last().is_some_and(|event| event.sequence >= sequence);
        Ok(has_it.then_some(events))
    }
}

fn decode(mut bytes: Bytes) -> Result<Vec<WatchJobResponse>> {
    let mut events = Vec::new();
    while bytes.has_remaining() {
        let event = WatchJobResponse::decode_length_delimited(&mut bytes);
        events.push(event.map_err(|error| Error::internal(error).context("read the job's log"))?);
    }
    Ok(events)
}

/// Gathers events and writes them together.
pub struct Writer {
    log: Log,
    events: Vec<WatchJobResponse>,
    next: u64,
    bytes: usize,
    due: Option<Instant>,
}

impl Writer {
    /// Goes on with this number.
    pub fn new(log: Log, next: u64) -> Self {
        Self { log, events: Vec::new(), next, bytes: 0, due: None }
    }

    pub fn push(&mut self, event: Event) {
        let linger = match event {
            Event::Progress(_) => PROGRESS_LINGER,
            _ => RESULT_LINGER,
        };
        let due = Instant::now() + linger;
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
        let event = WatchJobResponse { sequence: self.next, event: Some(event) };
        self.next += 1;
        self.bytes += event.encoded_len();
        self.events.push(event);
    }

    /// When what is here has to be written.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    pub fn is_full(&self) -> bool {
        self.events.len() >= EVENTS_ENOUGH || self.bytes >= BYTES_MAX
    }

    /// The number of the last event that was pushed.
    pub fn last(&self) -> u64 {
        self.next - 1
    }

    /// Writes what is here, trying until the store takes it. `VersionMismatch` when another gateway has gone on with the
    /// job: what is here did not happen. Dropped, it may or may not have been written.
    pub async fn commit(&mut self) -> Result<()> {
        let Some(first) = self.events.first().map(|event| event.sequence) else { return Ok(()) };
        debug_assert!(self.events.len() <= EVENTS_MAX, "{} events", self.events.len());
        let mut bytes = Vec::with_capacity(self.bytes + 4 * self.events.len());
        for event in &self.events {
            event
                .encode_length_delimited(&mut bytes)
                .map_err(|error| Error::internal(error).context("write the job's log"))?;
        }
        let (key, bytes) = (self.log.id.segment(first), Bytes::from(bytes));
        let mut backoff = Backoff::for_connections();
        loop {
            match self.log.store.create(&key, bytes.clone()).await {
                Ok(()) => break,
                Err(error) if error.kind() == Kind::AlreadyExists => {
                    // It may be ours: an answer was lost.
                    if self.log.store.get(&key).await.context("read the job's log")? == bytes {
                        break;
                    }
                    return Err(Error::new(
                        Kind::VersionMismatch,
                        "another gateway has gone on with the job",
                    ));
                }
                Err(error) => tracing::warn!(%error, job.id = %self.log.id, "write the job's log"),
            }
            tokio::time::sleep(backoff.pause()).await;
        }
        self.events.clear();
        (self.bytes, self.due) = (0, None);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use platform::store::FileStore;
    use proto::v1::ImageResult;

    use super::*;

    fn result(index: u32) -> Event {
        Event::Result(ImageResult { index, ..ImageResult::default() })
    }

    fn sequences(events: Option<Vec<WatchJobResponse>>) -> Option<(u64, u64)> {
        let events = events?;
        Some((events.first()?.sequence, events.last()?.sequence))
    }

    #[tokio::test]
    async fn segment_is_found_by_any_of_its_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::new(Arc::new(FileStore::open(folder.path()).unwrap()), JobId::new());
        let mut writer = Writer::new(log.clone(), FIRST);
        for size in [1, 3, 500, 2] {
            (0..size).for_each(|index| writer.push(result(index)));
            writer.commit().await.unwrap();
        }
        let want = [(2, (2, 2)), (3, (3, 5)), (5, (3, 5)), (6, (6, 505)), (505, (6, 505)), (507, (506, 507))];
        for (sequence, segment) in want {
            let found = log.segment_with(sequence).await.unwrap();
            assert_eq!(sequences(found), Some(segment), "{sequence}");
        }
        assert_eq!(sequences(log.segment_with(508).await.unwrap()), None);
        assert_eq!(sequences(log.segment(506).await.unwrap()), Some((506, 507)));
        assert_eq!(sequences(log.segment(507).await.unwrap()), None);
    }

    #[tokio::test]
    async fn of_two_writers_one_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::new(Arc::new(FileStore::open(folder.path()).unwrap()), JobId::new());
        let (mut one, mut other) = (Writer::new(log.clone(), FIRST), Writer::new(log, FIRST));
        one.push(result(1));
        other.push(result(2));
        one.commit().await.unwrap();
        assert_eq!(other.commit().await.unwrap_err().kind(), Kind::VersionMismatch);
    }
}
