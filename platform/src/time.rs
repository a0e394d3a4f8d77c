//! Between the standard library's times and the ones in messages.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;

pub fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// A duration as a message field. One too long for the field becomes the longest there is.
pub fn to_proto(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration)
        .unwrap_or(prost_types::Duration { seconds: 315_576_000_000, nanos: 0 })
}

/// A field's duration; `None` when it is absent, negative or out of range.
pub fn from_proto(duration: Option<&prost_types::Duration>) -> Option<Duration> {
    duration.and_then(|one| Duration::try_from(*one).ok())
}

/// How long until `time`; zero once it has passed.
pub fn until(time: &Timestamp) -> Duration {
    SystemTime::try_from(*time)
        .ok()
        .and_then(|time| time.duration_since(SystemTime::now()).ok())
        .unwrap_or(Duration::ZERO)
}

/// How long since `time`; zero while it is still to come.
pub fn since(time: &Timestamp) -> Duration {
    SystemTime::try_from(*time)
        .ok()
        .and_then(|time| SystemTime::now().duration_since(time).ok())
        .unwrap_or(Duration::ZERO)
}

/// The time `after` from now.
pub fn in_future(after: Duration) -> Timestamp {
    SystemTime::now()
        .checked_add(after)
        .map_or(Timestamp { seconds: 253_402_300_799, nanos: 0 }, Timestamp::from)
}
