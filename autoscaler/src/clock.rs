//! The one clock of the service: wall time that never jumps, and that tests can pause.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;
use tokio::time::Instant;

/// Read the wall once, then follow the monotonic clock: a hold must not end because somebody set
/// the time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    start_since_epoch: Duration,
}

impl Clock {
    pub fn start() -> Self {
        let start_since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), start_since_epoch }
    }

    /// Since the Unix epoch.
    pub fn now(&self) -> Duration {
        self.start_since_epoch + self.start.elapsed()
    }
}

/// A time since the Unix epoch as a message field.
pub fn timestamp(since_epoch: Duration) -> Timestamp {
    Timestamp {
        seconds: i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since_epoch.subsec_nanos()).unwrap_or(0),
    }
}

/// A message field as time since the Unix epoch; `None` when it is before that or out of range.
pub fn since_epoch(timestamp: &Timestamp) -> Option<Duration> {
    SystemTime::try_from(*timestamp).ok()?.duration_since(UNIX_EPOCH).ok()
}
