//! What a run measured: latencies in a histogram, failures by reason, where the time went.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use platform::{Error, error::from_rpc_status, time::from_proto};
use proto::v1::{ExecutionInfo, ImageResult, ImageState};
use tokio::time::Instant;

/// Latencies from a microsecond to an hour with three digits.
const LOWEST_MICROS: u64 = 1;
const HIGHEST_MICROS: u64 = 3_600_000_000;
const DIGITS: u8 = 3;

/// More workers than this are not counted apart.
const WORKERS_MAX: usize = 10_000;

/// The outcomes of one run.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    latency: Histogram<u64>,
    pub(super) requests: u64,
    pub(super) images: u64,
    pub(super) failed: BTreeMap<&'static str, u64>,
    /// Arrivals that found the client at its own limit of open requests.
    pub(super) not_sent: u64,
    pub(super) parts: Parts,
    pub(super) last_answer: Option<Instant>,
}

/// Sums over the answers that say where their time went.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts {
    answers: u64,
    pub(super) queue: Duration,
    pub(super) fetch: Duration,
    pub(super) decode: Duration,
    pub(super) inference: Duration,
    batch_sizes: u64,
    pub(super) retried: u64,
    workers: std::collections::BTreeSet<String>,
}

impl Measured {
    pub(super) fn new() -> Self {
        let latency = Histogram::new_with_bounds(LOWEST_MICROS, HIGHEST_MICROS, DIGITS);
        Self {
            latency: latency.expect("the bounds are constants that the histogram takes"),
            requests: 0,
            images: 0,
            failed: BTreeMap::new(),
            not_sent: 0,
            parts: Parts::default(),
            last_answer: None,
        }
    }

    /// One image's result, `latency` after it was due.
    pub(super) fn result(&mut self, result: &ImageResult, latency: Duration) {
        if result.state() == ImageState::Succeeded {
            self.answered(latency);
            if let Some(execution) = &result.execution {
                self.parts.add(execution);
            }
            return;
        }
        let reason = match &result.error {
            Some(status) => from_rpc_status(status).kind().reason(),
            None => "NO_REASON",
        };
        self.fail(reason, 1);
    }

    /// `images` without a result because the call failed.
    pub(super) fn call_failed(&mut self, error: &Error, images: u64) {
        self.fail(error.kind().reason(), images);
    }

    fn answered(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency.saturating_record(micros.clamp(LOWEST_MICROS, HIGHEST_MICROS));
        self.last_answer = Some(Instant::now());
    }

    fn fail(&mut self, reason: &'static str, images: u64) {
        if images > 0 {
            *self.failed.entry(reason).or_default() += images;
            self.last_answer = Some(Instant::now());
        }
    }

    pub(super) fn ok(&self) -> u64 {
        self.latency.len()
    }

    /// The latency that `share` (0 to 1) of the answers did not exceed; none without answers.
    pub(super) fn quantile(&self, share: f64) -> Option<Duration> {
        let micros = self.latency.value_at_quantile(share);
        (self.ok() > 0).then(|| Duration::from_micros(micros.min(self.latency.max())))
    }

    pub(super) fn mean(&self) -> Option<Duration> {
        (self.ok() > 0).then(|| Duration::from_secs_f64(self.latency.mean() / 1e6))
    }
}

impl Parts {
    fn add(&mut self, execution: &ExecutionInfo) {
        let part = |field: Option<&prost_types::Duration>| from_proto(field).unwrap_or_default();
        self.answers += 1;
        self.queue += part(execution.queue_duration.as_ref());
        self.fetch += part(execution.fetch_duration.as_ref());
        self.decode += part(execution.decode_duration.as_ref());
        self.inference += part(execution.inference_duration.as_ref());
        self.batch_sizes += u64::from(execution.batch_size);
        self.retried += u64::from(execution.attempt > 1);
        if self.workers.len() < WORKERS_MAX && !self.workers.contains(&execution.worker_id) {
            self.workers.insert(execution.worker_id.clone());
        }
    }

    pub(super) fn workers(&self) -> usize {
        self.workers.len()
    }

    /// A sum's mean over the answers.
    pub(super) fn mean(&self, sum: Duration) -> Duration {
        let answers = u32::try_from(self.answers).unwrap_or(u32::MAX);
        sum.checked_div(answers).unwrap_or_default()
    }

    #[allow(clippy::cast_precision_loss, reason = "counts of images are far below 2^52")]
    pub(super) fn batch_mean(&self) -> f64 {
        if self.answers == 0 { 0.0 } else { self.batch_sizes as f64 / self.answers as f64 }
    }
}

#[cfg(test)]
mod tests {
    use platform::Kind;

    use super::*;

    fn success(queue: Duration) -> ImageResult {
        let execution = ExecutionInfo {
            queue_duration: Some(platform::time::to_proto(queue)),
            batch_size: 2,
            attempt: 1,
            worker_id: "w1".to_owned(),
            ..ExecutionInfo::default()
        };
        ImageResult {
            state: ImageState::Succeeded.into(),
            execution: Some(execution),
            ..ImageResult::default()
        }
    }

    #[test]
    fn percentiles_are_those_of_the_answers() {
        let mut measured = Measured::new();
        for millis in 1..=1000 {
            measured.result(&success(Duration::ZERO), Duration::from_millis(millis));
        }
        let check = |share: f64, want_millis: u64| {
            let got = measured.quantile(share).unwrap().as_secs_f64() * 1e3;
            let want = Duration::from_millis(want_millis).as_secs_f64() * 1e3;
            assert!((got - want).abs() <= want * 0.001, "{share}: {got} is not {want}");
        };
        check(0.50, 500);
        check(0.95, 950);
        check(0.99, 990);
        check(1.0, 1000);
        assert_eq!(measured.ok(), 1000);
    }

    #[test]
    fn failures_are_counted_by_reason_and_have_no_latency() {
        let mut measured = Measured::new();
        let error = Error::new(Kind::QueueFull, "full");
        measured.call_failed(&error, 3);
        measured.call_failed(&error, 0);
        let failed = ImageResult {
            state: ImageState::Failed.into(),
            error: Some(platform::error::to_rpc_status(&Error::new(Kind::ImageEmpty, "empty"))),
            ..ImageResult::default()
        };
        measured.result(&failed, Duration::from_millis(1));
        assert_eq!(measured.failed, BTreeMap::from([("IMAGE_EMPTY", 1), ("QUEUE_FULL", 3)]));
        assert_eq!((measured.ok(), measured.quantile(0.5), measured.mean()), (0, None, None));
    }

    #[test]
    fn parts_are_means_over_the_answers() {
        let mut measured = Measured::new();
        for millis in [10, 30] {
            measured.result(&success(Duration::from_millis(millis)), Duration::from_millis(50));
        }
        let parts = &measured.parts;
        assert_eq!(parts.mean(parts.queue), Duration::from_millis(20));
        assert_eq!((parts.workers(), parts.retried), (1, 0));
        assert!((parts.batch_mean() - 2.0).abs() < 1e-9);
    }
}
