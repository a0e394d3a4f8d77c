//! The figures that our `latency` has to reach, and whether it does.

use super::{Comparison, Row};

/// Throttled calls over all calls to the cloud.
const THROTTLED_MAX: f64 = 0.01;

/// What `latency` must reach on a scenario with the target of that scenario.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    pub scenario: &'static str,
    /// Seconds.
    pub p95_max: f64,
    pub hours_max: Hours,
    /// Of the calls to the cloud.
    pub throttled_max: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Hours {
    /// Instance-hours.
    Of(f64),
    /// By the hours that the work alone takes.
    TimesWork(f64),
}

pub const FIGURES: [Figure; 5] = [
    Figure { scenario: "burst", p95_max: 57.0, hours_max: Hours::Of(0.40), throttled_max: None },
    Figure { scenario: "flash", p95_max: 60.0, hours_max: Hours::Of(21.6), throttled_max: None },
    Figure { scenario: "onoff", p95_max: 53.0, hours_max: Hours::Of(22.0), throttled_max: None },
    Figure { scenario: "diurnal", p95_max: 8.0, hours_max: Hours::TimesWork(1.12), throttled_max: None },
    Figure {
        scenario: "ten_million",
        p95_max: 25.0,
        hours_max: Hours::TimesWork(1.03),
        throttled_max: Some(THROTTLED_MAX),
    },
];

/// A figure beside what came out.
#[derive(Debug, Clone)]
pub struct Graded {
    pub scenario: String,
    pub target: f64,
    pub must: String,
    pub got: String,
    pub best_rival: String,
    /// What is not met, in words; empty when all is.
    pub misses: Vec<String>,
}

impl Graded {
    pub fn passes(&self) -> bool {
        self.misses.is_empty()
    }
}

/// The figure of this scenario, graded; `None` where none is set or `latency` did not take part.
pub fn grade(comparison: &Comparison) -> Option<Graded> {
    let figure = FIGURES.iter().find(|figure| figure.scenario == comparison.scenario.name)?;
    let row = comparison.ours("latency")?;
    let best = comparison.best_rival(figure.p95_max).map_or_else(
        || "none so fast".to_owned(),
        |rival| format!("{}: {}", rival.contender.name(), figure.words(rival)),
    );
    Some(Graded {
        scenario: comparison.scenario.name.clone(),
        target: comparison.scenario.target,
        must: figure.must(),
        got: figure.words(row),
        best_rival: best,
        misses: figure.misses(row),
    })
}

impl Figure {
    fn must(&self) -> String {
        let hours = match self.hours_max {
            Hours::Of(hours) => format!("{hours:.2} h"),
            Hours::TimesWork(times) => format!("{times:.2} × work"),
        };
        let throttled =
            self.throttled_max.map_or_else(String::new, |max| format!(", throttled < {:.0} %", max * 100.0));
        format!("p95 ≤ {:.0} s, ≤ {hours}{throttled}", self.p95_max)
    }

    fn words(&self, row: &Row) -> String {
        let summary = &row.summary;
        let hours = match self.hours_max {
            Hours::Of(_) => format!("{:.3} h", summary.instance_hours.mean),
            Hours::TimesWork(_) => format!("{:.3} × work", times_work(row)),
        };
        let throttled = self
            .throttled_max
            .map_or_else(String::new, |_| format!(", throttled {:.2} %", throttled_share(row) * 100.0));
        format!("p95 {:.1} ± {:.1} s, {hours}{throttled}", summary.p95.mean, summary.p95.half_width)
    }

    fn misses(&self, row: &Row) -> Vec<String> {
        let summary = &row.summary;
        let (got, max, unit) = match self.hours_max {
            Hours::Of(hours) => (summary.instance_hours.mean, hours, "h"),
            Hours::TimesWork(times) => (times_work(row), times, "× work"),
        };
        let mut misses = Vec::new();
        if summary.p95.mean > self.p95_max {
            misses.push(format!("p95 {:.1} s > {:.0} s", summary.p95.mean, self.p95_max));
        }
        if got > max {
            misses.push(format!("{got:.3} {unit} > {max} {unit}"));
        }
        if self.throttled_max.is_some_and(|max| throttled_share(row) >= max) {
            misses.push(format!("throttled {:.2} %", throttled_share(row) * 100.0));
        }
        if summary.interrupted.mean > 0.0 {
            misses.push(format!("interrupted {:.1} images", summary.interrupted.mean));
        }
        misses
    }
}

/// Instance-hours by the hours that the images alone need.
pub fn times_work(row: &Row) -> f64 {
    row.summary.instance_hours.mean / row.summary.work_hours.mean
}

fn throttled_share(row: &Row) -> f64 {
    let calls = row.summary.calls.mean;
    if calls > 0.0 { row.summary.throttled.mean / calls } else { 0.0 }
}
