//! What was expected of a decision against what came.

use std::{collections::VecDeque, time::Duration};

use super::Controller;
use crate::decide::{Decision, Observation};

/// A decision shows what it was worth after a minute; or after a start, or by when it said that images would be answered.
const HORIZON_MIN: Duration = Duration::from_secs(60);

/// How long answers took is kept for a quarter of an hour.
const HORIZON_MAX: Duration = Duration::from_secs(600);

/// Grades at one time: each is written to the store, and none is urgent.
const GRADES_AT_ONCE: usize = 8;

/// As many as are decided at most, one for each wake, while the oldest waits.
const WAITING_MAX: usize = 4096;

/// Decisions whose time is not over yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Grades(VecDeque<Ungraded>);

#[derive(Debug)]
struct Ungraded {
    decision_id: String,
    decided: Duration,
    due: Duration,
}

impl Grades {
    pub fn expect(&mut self, decision_id: &str, decision: &Decision, observation: &Observation) {
        let expected = decision.prediction.p95.unwrap_or_default();
        let horizon = HORIZON_MIN.max(observation.boot.warm).max(expected).min(HORIZON_MAX);
        if self.0.len() == WAITING_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Ungraded {
            decision_id: decision_id.to_owned(),
            decided: observation.at,
            due: observation.at + horizon,
        });
    }

    fn due(&mut self, at: Duration) -> Vec<Ungraded> {
        let due = self.0.iter().take_while(|one| one.due <= at).count().min(GRADES_AT_ONCE);
        self.0.drain(..due).collect()
    }
}

impl Controller {
    /// Writes into the records whose time is over how long answers took since.
    pub(super) async fn grade(&mut self, at: Duration) {
        for Ungraded { decision_id, decided, due } in self.grades.due(at) {
            let came = self.shared.load().latency(decided, due);
            // Nothing was answered: there is nothing to compare.
            let Some(came) = came else { continue };
            let written = self
                .shared
                .log
                .update(&decision_id, |record| {
                    record.actual_p95 = Some(platform::time::to_proto(came.p95));
                    record.actual_late_ratio = came.late_ratio;
                })
                .await;
            self.note(written);
        }
    }
}
