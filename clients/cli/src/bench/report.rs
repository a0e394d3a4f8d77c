//! What a run came to, as a table for people and as JSON.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{cloud::Cloud, machine::Machine, measure::Measured};
use crate::{output::Style, times::short};

#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The load in words.
    pub(super) load: String,
    seconds: f64,
    requests: u64,
    images_sent: u64,
    images_ok: u64,
    images_failed: u64,
    failed_by_reason: BTreeMap<&'static str, u64>,
    /// Due, but over --in-flight-max.
    requests_not_sent: u64,
    images_per_second: f64,
    latency_ms: Option<Latency>,
    mean_ms: Option<Means>,
    batch_size_mean: f64,
    workers: usize,
    images_retried: u64,
    machine: Machine,
    server_cpu_seconds: Option<f64>,
    cloud: Option<Cloud>,
}

/// What the run took on the other side, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Servers {
    pub(super) cpu: Option<Duration>,
    pub(super) cloud: Option<Cloud>,
}

#[derive(Debug, Serialize)]
struct Latency {
    mean: f64,
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
}

/// Where the time of an answered image went, on average. `other` is what no part accounts for:
/// the way there and back, and what waited before it was sent.
#[derive(Debug, Serialize)]
struct Means {
    queue: f64,
    fetch: f64,
    decode: f64,
    inference: f64,
    other: f64,
}

impl Report {
    pub(super) fn new(load: String, measured: &Measured, took: Duration, servers: Servers) -> Self {
        let failed = measured.failed.values().sum();
        Self {
            load,
            seconds: round(took.as_secs_f64()),
            requests: measured.requests,
            images_sent: measured.images,
            images_ok: measured.ok(),
            images_failed: failed,
            failed_by_reason: measured.failed.clone(),
            requests_not_sent: measured.not_sent,
            images_per_second: per_second(measured.ok(), took),
            latency_ms: Latency::of(measured),
            mean_ms: Means::of(measured),
            batch_size_mean: round(measured.parts.batch_mean()),
            workers: measured.parts.workers(),
            images_retried: measured.parts.retried,
            machine: Machine::read(),
            server_cpu_seconds: servers.cpu.map(|cpu| round(cpu.as_secs_f64())),
            cloud: servers.cloud,
        }
    }

    pub(super) fn ok(&self) -> u64 {
        self.images_ok
    }

    /// The report in words, a line a subject.
    pub(super) fn words(&self, style: Style) -> String {
        let mut lines = vec![
            ("load", self.load.clone()),
            (
                "images",
                format!(
                    "{:.1} a second: {} answered and {} failed in {:.1} s",
                    self.images_per_second, self.images_ok, self.images_failed, self.seconds
                ),
            ),
        ];
        if let Some(latency) = &self.latency_ms {
            let of = |millis: f64| short(Duration::from_secs_f64(millis / 1e3));
            lines.push((
                "latency",
                format!(
                    "p50 {}   p95 {}   p99 {}   max {}",
                    of(latency.p50),
                    of(latency.p95),
                    of(latency.p99),
                    of(latency.max)
                ),
            ));
            if let Some(means) = &self.mean_ms {
                lines.push((
                    "of which",
                    format!(
                        "queue {}, decode {}, inference {}, the rest {} (means)",
                        of(means.queue),
                        of(means.decode + means.fetch),
                        of(means.inference),
                        of(means.other)
                    ),
                ));
            }
            lines.push(("workers", format!("{}, {:.1} images a pass", self.workers, self.batch_size_mean)));
        }
        for (reason, count) in &self.failed_by_reason {
            lines.push(("failed", format!("{count} {reason}")));
        }
        if self.requests_not_sent > 0 {
            lines.push(("not sent", format!("{} over --in-flight-max", self.requests_not_sent)));
        }
        if self.images_retried > 0 {
            lines.push(("retried", format!("{} needed a second attempt", self.images_retried)));
        }
        let machine = &self.machine;
        #[allow(clippy::cast_precision_loss, reason = "shown with one digit after the point")]
        let memory = machine.memory_bytes as f64 / f64::from(1 << 30);
        lines.push((
            "machine",
            format!("{} cores, {}, {memory:.1} GiB, {}", machine.cores, machine.cpu, machine.kernel),
        ));
        if let Some(seconds) = self.server_cpu_seconds {
            #[allow(clippy::cast_precision_loss, reason = "counts of images are far below 2^52")]
            let each = if self.images_ok == 0 { 0.0 } else { seconds * 1e3 / self.images_ok as f64 };
            lines.push(("server", format!("{seconds:.2} s of CPU, {each:.2} ms an image")));
        }
        if let Some(cloud) = &self.cloud {
            lines.push(("AWS", cloud.words()));
        }
        let line = |(title, words): (&str, String)| format!("{}{words}", style.bold(&format!("{title:<10}")));
        lines.into_iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

impl Latency {
    fn of(measured: &Measured) -> Option<Self> {
        let at = |share| measured.quantile(share).map(millis);
        Some(Self {
            mean: millis(measured.mean()?),
            p50: at(0.5)?,
            p95: at(0.95)?,
            p99: at(0.99)?,
            max: at(1.0)?,
        })
    }
}

impl Means {
    fn of(measured: &Measured) -> Option<Self> {
        let parts = &measured.parts;
        let [queue, fetch, decode, inference] =
            [parts.queue, parts.fetch, parts.decode, parts.inference].map(|sum| parts.mean(sum));
        let other = measured.mean()?.saturating_sub(queue + fetch + decode + inference);
        Some(Self {
            queue: millis(queue),
            fetch: millis(fetch),
            decode: millis(decode),
            inference: millis(inference),
            other: millis(other),
        })
    }
}

fn millis(duration: Duration) -> f64 {
    round(duration.as_secs_f64() * 1e3)
}

fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn per_second(images: u64, took: Duration) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "counts of images are far below 2^52")]
    let images = images as f64;
    if took.is_zero() { 0.0 } else { round(images / took.as_secs_f64()) }
}

#[cfg(test)]
mod tests {
    use proto::v1::{ImageResult, ImageState};

    use super::*;

    #[test]
    fn report_of_a_run_has_its_rate_and_its_machine() {
        let mut measured = Measured::new();
        let result = ImageResult { state: ImageState::Succeeded.into(), ..ImageResult::default() };
        for _ in 0..10 {
            measured.result(&result, Duration::from_millis(20));
        }
        let report = Report::new(
            "8 at once".to_owned(),
            &measured,
            Duration::from_secs(2),
            Servers { cpu: Some(Duration::from_millis(100)), cloud: None },
        );
        let words = report.words(Style::default());
        assert!(words.contains("5.0 a second: 10 answered and 0 failed in 2.0 s"), "{words}");
        assert!(words.contains("p50 20.0 ms"), "{words}");
        assert!(words.contains("0.10 s of CPU, 10.00 ms an image"), "{words}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["images_per_second"], 5.0);
        assert!(json["machine"]["cores"].as_u64().unwrap() > 0);
    }

    #[test]
    fn run_without_an_answer_has_no_latency() {
        let report = Report::new(String::new(), &Measured::new(), Duration::from_secs(1), Servers::default());
        let json = serde_json::to_value(&report).unwrap();
        assert!(json["latency_ms"].is_null() && json["server_cpu_seconds"].is_null());
        assert!(!report.words(Style::default()).contains("latency"));
    }
}
