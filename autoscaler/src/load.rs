//! What the gateways say about the queue, added up: counts, rates from their totals, and how long answers took.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use platform::{latency, queue::Counts};
use proto::internal::v1::GatewaySessionRequest;

use crate::{
    decide::{Arrivals, FAST_WINDOW, LATEST_WINDOW, Queue, SLOW_WINDOW},
    history::History,
    latencies::{Answers, Latencies},
    sqs_counts::Estimates,
};

#[cfg(test)]
mod tests;

/// A gateway that went away is counted this long: it may be back, and its images may be in a
/// queue that outlives it.
const FORGET_AFTER: Duration = Duration::from_secs(30);

/// After the first gateway came, others that were there before us may still be on their way: they try to connect at least every
/// three seconds.
const OTHERS_WITHIN: Duration = Duration::from_secs(10);

/// Whoever was refused for the wait is taken to want a worker still for this long.
const REFUSED_WANT_FOR: Duration = Duration::from_secs(10);

/// Samples are at least this far apart, so that a minute of them is a few hundred.
const SAMPLE_PERIOD: Duration = Duration::from_millis(250);

/// More gateways than anybody runs; a client that makes up a new name each time stops here.
const GATEWAYS_MAX: usize = 1000;

#[derive(Debug, Default)]
pub struct Load {
    gateways: BTreeMap<String, Gateway>,
    /// When the first gateway came after a time without any.
    first_came: Option<Duration>,
    /// Of all gateways together, since this process started.
    totals: Totals,
    samples: VecDeque<(Duration, Totals)>,
    answers: Answers,
    history: History,
    estimates: Estimates,
    /// Waiting for a worker when a decision was last made from it.
    decided_visible: u64,
    /// When an image was last refused because it would have waited too long.
    refused: Option<Duration>,
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
            let grown = Growth::between(&known.report, &report);
            // What was refused would have been work: without it nobody would start the workers it was refused for.
            let arrived = grown.totals.arrived + grown.refused;
            if grown.refused > 0 {
                self.refused = Some(at);
            }
            self.totals.arrived += arrived;
            self.totals.completed += grown.totals.completed;
            self.totals.late += grown.totals.late;
            self.history.add(at, arrived);
            self.answers.add(at, grown.totals.late, grown.latencies.into_iter());
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
        self.first_came.get_or_insert(at);
        self.visible(at) > self.decided_visible.saturating_mul(2)
    }

    /// Images that wait at gateways that are there, all but the one of this session.
    pub fn waiting_elsewhere(&self, session: u64) -> u64 {
        let others =
            self.gateways.values().filter(|other| other.session.is_some_and(|other| other != session));
        others.map(|other| other.report.waiting).sum()
    }

    pub fn disconnect(&mut self, session: u64) {
        for gateway in self.gateways.values_mut().filter(|gateway| gateway.session == Some(session)) {
            gateway.session = None;
        }
    }

    /// Takes in what the queue says of its own length.
    pub fn estimated(&mut self, at: Duration, counts: Result<Counts, String>) {
        let waiting = self.gateways.values().map(|gateway| gateway.report.waiting).sum();
        let gateways = self.knows_all(at).then_some(waiting);
        self.estimates.take(at, counts, gateways);
    }

    /// The counts for a decision.
    pub fn observe(&mut self, at: Duration) -> Queue {
        self.gateways.retain(|_, gateway| gateway.session.is_some() || gateway.at + FORGET_AFTER > at);
        if self.gateways.is_empty() {
            self.first_came = None;
        }
        self.decided_visible = self.visible(at);
        let age = |gateway: &Gateway| {
            let reported = platform::time::from_proto(gateway.report.oldest_age.as_ref()).unwrap_or_default();
            // It went on waiting since.
            if gateway.report.waiting > 0 { reported + at.saturating_sub(gateway.at) } else { Duration::ZERO }
        };
        let exact = Queue {
            visible: self.decided_visible,
            in_flight: self.gateways.values().map(in_flight).sum(),
            delayed: 0,
            oldest_age: self.gateways.values().map(age).max().unwrap_or_default(),
            as_of: self.gateways.values().map(|gateway| gateway.at).min(),
            approximate: false,
        };
        if self.knows_all(at) { exact } else { self.estimates.raise(at, exact) }
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

    /// How long the answers between two times took, to the second; of the last quarter of an hour. `None` when there were none.
    pub fn latency(&self, since: Duration, until: Duration) -> Option<Latencies> {
        self.answers.within(since, until)
    }

    /// The arrivals of the last day.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Takes in what the process before this one had recorded.
    pub fn remember(&mut self, older: History) {
        self.history.put_before(older);
    }

    /// What a person should know.
    pub fn warnings(&self) -> Vec<String> {
        self.estimates.warnings().collect()
    }

    /// Whether every gateway that there may be has had time to report.
    fn knows_all(&self, at: Duration) -> bool {
        self.first_came.is_some_and(|first| at.saturating_sub(first) >= OTHERS_WITHIN)
    }

    /// At least one, for a while after one was refused: then somebody waits, though not here.
    fn visible(&self, at: Duration) -> u64 {
        let waiting = self.gateways.values().map(|gateway| gateway.report.waiting - in_flight(gateway)).sum();
        let is_wanted = self.refused.is_some_and(|refused| refused + REFUSED_WANT_FOR > at);
        u64::max(waiting, u64::from(is_wanted))
    }

    fn before(&self, at: Duration) -> Totals {
        let older = self.samples.iter().rev().find(|(then, _)| *then <= at);
        older.map(|(_, totals)| *totals).unwrap_or_default()
    }
}

/// What a gateway has counted since its last report.
struct Growth {
    totals: Totals,
    refused: u64,
    latencies: Vec<(usize, u64)>,
}

impl Growth {
    fn between(then: &GatewaySessionRequest, now: &GatewaySessionRequest) -> Self {
        // A total that went back is a gateway that started again, and counts from zero in all of them.
        let nothing = GatewaySessionRequest::default();
        let went_back =
            now.enqueued_total < then.enqueued_total || now.completed_total < then.completed_total;
        let then = if went_back { &nothing } else { then };
        let mut known = [0; latency::BUCKETS];
        for (bucket, count) in counts(then) {
            if let Some(place) = known.get_mut(bucket) {
                *place = count;
            }
        }
        let grown = |(bucket, count): (usize, u64)| {
            (bucket, count.saturating_sub(known.get(bucket).copied().unwrap_or(count)))
        };
        Self {
            totals: Totals {
                arrived: now.enqueued_total - then.enqueued_total,
                completed: now.completed_total - then.completed_total,
                late: now.late_total.saturating_sub(then.late_total),
            },
            refused: now.refused_total.saturating_sub(then.refused_total),
            latencies: counts(now).map(grown).filter(|(_, count)| *count > 0).collect(),
        }
    }
}

/// By bucket; a list longer than there are buckets is cut.
fn counts(report: &GatewaySessionRequest) -> impl Iterator<Item = (usize, u64)> {
    let read = |one: &proto::internal::v1::LatencyCount| (usize::try_from(one.bucket).ok(), one.count);
    let counts = report.latencies.iter().take(latency::BUCKETS).map(read);
    counts.filter_map(|(bucket, count)| Some((bucket?, count)))
}

/// Never more than wait for an answer at all.
fn in_flight(gateway: &Gateway) -> u64 {
    gateway.report.in_flight.min(gateway.report.waiting)
}
