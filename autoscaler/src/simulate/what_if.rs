//! Scenarios made from what somebody asks about: a shape of load, or what was recorded. Their boot, pool,
//! budget and limits are fields that the caller sets.

use std::f64::consts::TAU;

use super::{arrivals::Arrivals, scenario::Scenario};

/// A load that swings between two rates. Times are in seconds, rates in images a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    pub rate: f64,
    /// Half a period after the start; not over `rate`: it does not swing.
    pub peak: f64,
    /// 0: it does not swing.
    pub period: f64,
    pub duration: f64,
}

pub fn shape(shape: Shape) -> Scenario {
    let Shape { rate, peak, period, duration } = shape;
    let swing = if period > 0.0 { (peak - rate).max(0.0) } else { 0.0 };
    let at = move |at: f64| {
        if swing == 0.0 { rate } else { rate + swing * 0.5 * (1.0 - (TAU * at / period).cos()) }
    };
    let about = format!("{rate} to {} images a second for {duration:.0} s", rate + swing);
    let scenario = Scenario::new("shape", &about, Arrivals::rate(duration, at));
    Scenario { history: 0.0, ..scenario }
}

/// Images that arrived in each of a row of periods, `width` seconds long.
pub fn recorded(counts: Vec<u32>, width: f64) -> Scenario {
    let about = format!("what arrived in {} times {width} s", counts.len());
    Scenario::new("recorded", &about, Arrivals::Counts { counts: counts.into(), width })
}
