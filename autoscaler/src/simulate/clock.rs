//! Simulated time: whole microseconds since the start, so that events have one order on every machine.

use std::time::Duration;

pub(super) type Micros = u64;

/// Later than everything.
pub(super) const NEVER: Micros = Micros::MAX;

/// Monday the 1st of January 2024, 00:00 UTC: schedules have weekdays.
pub const EPOCH: Duration = Duration::from_secs(1_704_067_200);

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates; times are not negative"
)]
pub(super) fn micros(seconds: f64) -> Micros {
    (seconds * 1e6).round() as Micros
}

pub(super) fn seconds(micros: Micros) -> f64 {
    micros as f64 / 1e6
}

/// As an observation has it: since the Unix epoch.
pub(super) fn since_epoch(at: Micros) -> Duration {
    EPOCH + Duration::from_micros(at)
}
