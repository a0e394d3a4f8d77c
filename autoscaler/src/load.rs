//! What the gateways say about the queue, added up: counts, and rates from their totals.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use proto::internal::v1::GatewaySessionRequest;

use crate::decide::{Arrivals, FAST_WINDOW, LATEST_WINDOW, Queue, SLOW_WINDOW};

/// A gateway that went away is counted this long: it may be back, and its images may be in a
/// queue that outlives it.
const FORGET_AFTER: Duration = Duration::from_secs(30);

/// Samples are at least this far apart, so that a minute of them is a few hundred.
const SAMPLE_PERIOD: Duration = Duration::from_millis(250);

/// More gateways than anybody runs; a client that makes up a new name each time stops here.
const GATEWAYS_MAX: usize = 1000;

#[derive(Debug, Default)]
pub struct Load {
    gateways: BTreeMap<String, Gateway>,
    /// Of all gateways together, since this process started.
    totals: Totals,
    samples: VecDeque<(Duration, Totals)>,
    /// Waiting for a worker when a decision was last made from it.
    decided_visible: u64,
}

#[derive(Debug)]
struct Gateway {
    report: GatewaySessionRequest,
    at: Duration,
    /// The session it reports over; `None` once that ended.
    session: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    arrived: u64,
    completed: u64,
    late: u64,
}

impl Load {
    /// Takes a report in. Whether it is worth a decision before the next tick: images wait where
    /// none did, or twice as many.
    pub fn report(&mut self, session: u64, at: Duration, report: GatewaySessionRequest) -> bool {
        if let Some(known) = self.gateways.get(&report.gateway_id) {
            // A total that went back is a gateway that started again.
            let grown = |now: u64, then: u64| now.checked_sub(then).unwrap_or(now);
            self.totals.arrived += grown(report.enqueued_total, known.report.enqueued_total);
            self.totals.completed += grown(report.completed_total, known.report.completed_total);
            self.totals.late += grown(report.late_total, known.report.late_total);
        } else if self.gateways.len() >= GATEWAYS_MAX {
            return false;
        }
        match self.samples.back_mut() {
            Some((last, totals)) if *last + SAMPLE_PERIOD > at => *totals = self.totals,
            _ => self.samples.push_back((at, self.totals)),
        }
        while self.samples.get(1).is_some_and(|(second, _)| *second + SLOW_WINDOW <= at) {
            self.samples.pop_front();
        }
        let gateway = Gateway { at, session: Some(session), report };
        self.gateways.insert(gateway.report.gateway_id.clone(), gateway);
        self.visible() > self.decided_visible.saturating_mul(2)
    }

    pub fn disconnect(&mut self, session: u64) {
        for gateway in self.gateways.values_mut().filter(|gateway| gateway.session == Some(session)) {
            gateway.session = None;
        }
    }

    /// The counts for a decision.
    pub fn observe(&mut self, at: Duration) -> Queue {
        self.gateways.retain(|_, gateway| gateway.session.is_some() || gateway.at + FORGET_AFTER > at);
        self.decided_visible = self.visible();
        let age = |gateway: &Gateway| {
            let reported = platform::time::from_proto(gateway.report.oldest_age.as_ref()).unwrap_or_default();
            // It went on waiting since.
            if gateway.report.waiting > 0 { reported + at.saturating_sub(gateway.at) } else { Duration::ZERO }
        };
        Queue {
            visible: self.decided_visible,
            in_flight: self.gateways.values().map(in_flight).sum(),
            delayed: 0,
            oldest_age: self.gateways.values().map(age).max().unwrap_or_default(),
            as_of: self.gateways.values().map(|gateway| gateway.at).min(),
            approximate: false,
        }
    }

    pub fn arrivals(&self, at: Duration) -> Arrivals {
        let rate = |window: Duration| {
            let arrived = self.totals.arrived - self.before(at.saturating_sub(window)).arrived;
            arrived as f64 / window.as_secs_f64()
        };
        let Totals { arrived, completed, late } = self.totals;
        Arrivals {
            latest: rate(LATEST_WINDOW),
            fast: rate(FAST_WINDOW),
            slow: rate(SLOW_WINDOW),
            total: arrived,
            completed,
            late,
        }
    }

    /// Share of the last minute's answers that were late.
    pub fn late_ratio(&self, at: Duration) -> f64 {
        let then = self.before(at.saturating_sub(SLOW_WINDOW));
        let (late, completed) = (self.totals.late - then.late, self.totals.completed - then.completed);
        if completed == 0 { 0.0 } else { late as f64 / completed as f64 }
    }

    fn visible(&self) -> u64 {
        self.gateways.values().map(|gateway| gateway.report.waiting - in_flight(gateway)).sum()
    }

    fn before(&self, at: Duration) -> Totals {
        let older = self.samples.iter().rev().find(|(then, _)| *then <= at);
        older.map(|(_, totals)| *totals).unwrap_or_default()
    }
}

/// Never more than wait for an answer at all.
fn in_flight(gateway: &Gateway) -> u64 {
    gateway.report.in_flight.min(gateway.report.waiting)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(1000 + seconds)
    }

    fn report(gateway: &str, enqueued: u64, waiting: u64, in_flight: u64) -> GatewaySessionRequest {
        GatewaySessionRequest {
            gateway_id: gateway.to_owned(),
            enqueued_total: enqueued,
            completed_total: enqueued - waiting,
            waiting,
            in_flight,
            ..GatewaySessionRequest::default()
        }
    }

    #[test]
    fn gateways_add_up_and_the_oldest_report_counts() {
        let mut load = Load::default();
        assert_eq!(load.observe(at(0)).as_of, None);
        assert!(load.report(1, at(0), report("a", 8, 8, 3)));
        load.report(2, at(1), report("b", 4, 4, 0));
        let queue = load.observe(at(2));
        assert_eq!((queue.visible, queue.in_flight, queue.as_of), (9, 3, Some(at(0))));
    }

    #[test]
    fn only_growth_is_worth_a_decision_at_once() {
        let mut load = Load::default();
        assert!(!load.report(1, at(0), report("a", 0, 0, 0)));
        assert!(load.report(1, at(1), report("a", 1, 1, 0)));
        load.observe(at(1));
        assert!(!load.report(1, at(2), report("a", 2, 2, 0)));
        assert!(load.report(1, at(3), report("a", 3, 3, 0)));
    }

    #[test]
    fn rates_come_from_totals_and_survive_a_gateway_that_starts_again() {
        let mut load = Load::default();
        // What it had before we knew it is not an arrival now.
        load.report(1, at(0), report("a", 1000, 0, 0));
        for second in 1..=60 {
            load.report(1, at(second), report("a", 1000 + second * 2, 0, 0));
        }
        let Arrivals { fast, slow, total, .. } = load.arrivals(at(60));
        assert_eq!((fast, slow, total), (2.0, 2.0, 120));
        load.report(1, at(61), report("a", 5, 0, 0));
        assert_eq!(load.arrivals(at(61)).fast, 2.3);
        assert_eq!(load.arrivals(at(200)).slow, 0.0);
    }

    #[test]
    fn gateway_that_went_away_is_counted_for_a_while() {
        let mut load = Load::default();
        load.report(1, at(0), report("a", 8, 8, 0));
        load.disconnect(1);
        assert_eq!(load.observe(at(29)).visible, 8);
        let queue = load.observe(at(30));
        assert_eq!((queue.visible, queue.as_of), (0, None));
    }

    #[test]
    fn late_share_is_of_the_last_minute() {
        let mut load = Load::default();
        load.report(1, at(0), report("a", 0, 0, 0));
        load.report(1, at(1), GatewaySessionRequest { late_total: 1, ..report("a", 4, 0, 0) });
        assert_eq!(load.late_ratio(at(2)), 0.25);
        assert_eq!(load.late_ratio(at(90)), 0.0);
    }
}
