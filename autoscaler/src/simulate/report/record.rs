//! The same for programs: numbers with names, and how the page gets its plots' data.

use serde::Serialize;

use super::{
    super::{
        Comparison, Contender, Row, Sample,
        contender::Kind,
        figures::{Graded, times_work},
    },
    Report,
};

#[derive(Debug, Serialize)]
pub struct Record {
    pub seeds: u64,
    pub figures: Vec<FigureRecord>,
    pub scenarios: Vec<ScenarioRecord>,
}

#[derive(Debug, Serialize)]
pub struct FigureRecord {
    pub scenario: String,
    pub target_seconds: f64,
    pub must: String,
    pub got: String,
    pub best_rival: String,
    pub met: bool,
    pub misses: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct ScenarioRecord {
    pub name: String,
    pub about: String,
    pub target: f64,
    pub rows: Vec<RowRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub timelines: Vec<TimelineRecord>,
}

/// Seconds and hours; `_half` is half the width of the 95 % confidence interval.
#[derive(Debug, Serialize)]
pub struct RowRecord {
    pub family: &'static str,
    pub title: String,
    pub settings: String,
    pub kind: &'static str,
    pub seeds: u64,
    pub frontier: bool,
    pub images: f64,
    pub p50: f64,
    pub p95: f64,
    pub p95_half: f64,
    pub p99: f64,
    pub late_ratio: f64,
    pub hours: f64,
    pub hours_half: f64,
    pub times_work: f64,
    pub cost_usd: f64,
    pub starts: f64,
    pub cold_starts: f64,
    pub calls: f64,
    pub throttled: f64,
    pub interrupted: f64,
    pub peak: f64,
}

/// Columns of the same length.
#[derive(Debug, Serialize)]
pub struct TimelineRecord {
    family: &'static str,
    title: String,
    settings: String,
    /// Whether the plot shows it until told otherwise.
    shown: bool,
    /// Another of its family, and so of its colour, comes before it.
    dashed: bool,
    at: Vec<f64>,
    queue: Vec<u64>,
    want: Vec<u32>,
    ready: Vec<u32>,
    p95: Vec<Option<f64>>,
}

/// More points than a wide screen shows apart.
const POINTS_MAX: usize = 480;

impl Record {
    /// All numbers, without what is only for plots.
    pub fn of(report: &Report) -> Self {
        let figures = report.figures.iter().map(FigureRecord::of).collect();
        let scenarios = report.comparisons.iter().map(ScenarioRecord::of).collect();
        Self { seeds: report.seeds, figures, scenarios }
    }

    /// With the course of the first seed.
    pub(super) fn with_timelines(report: &Report) -> Self {
        let mut record = Self::of(report);
        for (scenario, comparison) in record.scenarios.iter_mut().zip(&report.comparisons) {
            scenario.timelines = timelines(comparison);
        }
        record
    }
}

impl FigureRecord {
    fn of(graded: &Graded) -> Self {
        Self {
            scenario: graded.scenario.clone(),
            target_seconds: graded.target,
            must: graded.must.clone(),
            got: graded.got.clone(),
            best_rival: graded.best_rival.clone(),
            met: graded.passes(),
            misses: graded.misses.clone(),
        }
    }
}

impl ScenarioRecord {
    fn of(comparison: &Comparison) -> Self {
        let on_frontier = comparison.frontier();
        let rows = comparison.rows.iter().zip(on_frontier).map(|(row, on)| RowRecord::of(row, on)).collect();
        let scenario = &comparison.scenario;
        Self {
            name: scenario.name.clone(),
            about: scenario.about.clone(),
            target: scenario.target,
            rows,
            timelines: Vec::new(),
        }
    }
}

impl RowRecord {
    fn of(row: &Row, frontier: bool) -> Self {
        let summary = &row.summary;
        let kind = match row.contender.kind {
            Kind::Ours => "ours",
            Kind::Default => "default",
            Kind::Tuned => "tuned",
        };
        Self {
            family: row.contender.family,
            title: row.contender.title.clone(),
            settings: row.contender.settings.clone(),
            kind,
            seeds: row.seeds,
            frontier,
            images: summary.requests.mean,
            p50: round(summary.p50.mean),
            p95: round(summary.p95.mean),
            p95_half: round(summary.p95.half_width),
            p99: round(summary.p99.mean),
            late_ratio: summary.late_ratio.mean,
            hours: round(summary.instance_hours.mean),
            hours_half: round(summary.instance_hours.half_width),
            times_work: round(times_work(row)),
            cost_usd: round(summary.cost_usd.mean),
            starts: round(summary.starts.mean),
            cold_starts: round(summary.cold_starts.mean),
            calls: round(summary.calls.mean),
            throttled: round(summary.throttled.mean),
            interrupted: round(summary.interrupted.mean),
            peak: round(summary.peak.mean),
        }
    }
}

/// Of ours, the course's and the best rival at first; the others on a click.
fn timelines(comparison: &Comparison) -> Vec<TimelineRecord> {
    let best: Vec<&Contender> = comparison.best_rivals().into_iter().map(|row| &row.contender).collect();
    let with = |(i, row): &(usize, &Row)| {
        !row.timeline.is_empty() && (*i < comparison.asked || best.contains(&&row.contender))
    };
    let with: Vec<&Row> = comparison.rows.iter().enumerate().filter(with).map(|(_, row)| row).collect();
    let first_of_ours = with.iter().position(|row| row.contender.is_ours());
    let timeline = |(i, row): (usize, &&Row)| {
        let contender = &row.contender;
        let shown =
            Some(i) == first_of_ours || contender.family == "course" || best.last() == Some(&contender);
        TimelineRecord::of(row, shown)
    };
    let mut timelines: Vec<TimelineRecord> = with.iter().enumerate().map(timeline).collect();
    for i in 1..timelines.len() {
        let (before, from) = timelines.split_at_mut(i);
        from[0].dashed = before.iter().any(|one| one.family == from[0].family);
    }
    timelines
}

impl TimelineRecord {
    fn of(row: &Row, shown: bool) -> Self {
        let contender = &row.contender;
        let tuned = if contender.kind == Kind::Tuned { ", tuned" } else { "" };
        let mut record = Self {
            family: contender.family,
            title: format!("{}{tuned}", contender.title),
            settings: contender.settings.clone(),
            shown,
            dashed: false,
            at: Vec::new(),
            queue: Vec::new(),
            want: Vec::new(),
            ready: Vec::new(),
            p95: Vec::new(),
        };
        let together = row.timeline.len().div_ceil(POINTS_MAX).max(1);
        for samples in row.timeline.chunks(together) {
            record.push(samples);
        }
        record
    }

    /// One point for several samples: the largest of each, so that no peak is lost.
    fn push(&mut self, samples: &[Sample]) {
        let Some(first) = samples.first() else { return };
        self.at.push(round(first.at));
        self.queue.push(samples.iter().map(|one| one.queue).max().unwrap_or(0));
        self.want.push(samples.iter().map(|one| one.want).max().unwrap_or(0));
        self.ready.push(samples.iter().map(|one| one.ready).max().unwrap_or(0));
        let largest = samples.iter().map(|one| one.p95).filter(|one| *one > 0.0).reduce(f64::max);
        self.p95.push(largest.map(round));
    }
}

/// A thousandth is more than anyone reads.
fn round(value: f64) -> f64 {
    const STEPS: f64 = 1000.0;
    (value * STEPS).round() / STEPS
}
