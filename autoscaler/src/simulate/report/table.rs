//! The table of a scenario, as text: one row a contender.

use super::super::{
    Comparison, Row,
    contender::Kind,
    figures::{Graded, times_work},
};

/// Numbers stand right in all columns but the first two.
pub const HEADER: [&str; 12] = [
    "POLICY",
    "SETTINGS",
    "P50 s",
    "P95 s",
    "P99 s",
    "LATE %",
    "HOURS",
    "× WORK",
    "USD",
    "STARTS",
    "THROTTLED",
    "SEEDS",
];

pub const FIGURE_HEADER: [&str; 5] = ["SCENARIO", "RESULT", "MUST", "GOT", "CHEAPEST RIVAL WITHIN THIS P95"];

/// The rows that a person wants to see: those asked for, and the best of the tuned rivals within the limits.
pub fn printed(comparison: &Comparison) -> Vec<&Row> {
    let mut rows: Vec<&Row> = comparison.rows.iter().take(comparison.asked).collect();
    for best in comparison.best_rivals() {
        if rows.iter().all(|row| row.contender != best.contender) {
            rows.push(best);
        }
    }
    rows
}

pub fn cells(row: &Row) -> [String; HEADER.len()] {
    let summary = &row.summary;
    let tuned = if row.contender.kind == Kind::Tuned { "tuned: " } else { "" };
    [
        row.contender.title.clone(),
        format!("{tuned}{}", row.contender.settings),
        seconds(summary.p50.mean),
        format!("{} ± {}", seconds(summary.p95.mean), seconds(summary.p95.half_width)),
        seconds(summary.p99.mean),
        format!("{:.1}", summary.late_ratio.mean * 100.0),
        format!("{} ± {}", hours(summary.instance_hours.mean), hours(summary.instance_hours.half_width)),
        format!("{:.2}", times_work(row)),
        format!("{:.2}", summary.cost_usd.mean),
        format!("{:.0}", summary.starts.mean),
        format!("{:.0}", summary.throttled.mean),
        row.seeds.to_string(),
    ]
}

pub fn figure_cells(figure: &Graded) -> [String; FIGURE_HEADER.len()] {
    let verdict =
        if figure.passes() { "met".to_owned() } else { format!("missed: {}", figure.misses.join(", ")) };
    [
        format!("{}, T = {} s", figure.scenario, figure.target),
        verdict,
        figure.must.clone(),
        figure.got.clone(),
        figure.best_rival.clone(),
    ]
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.1}")
}

/// Three decimals where the whole is less than an hour or so.
fn hours(hours: f64) -> String {
    if hours < 10.0 { format!("{hours:.3}") } else { format!("{hours:.1}") }
}
