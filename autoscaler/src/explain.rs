//! One decision in plain words, from its record alone, with what would have changed it.

use std::time::Duration;

use platform::Result;
use proto::v1;

use crate::{
    clock::since_epoch,
    decide::{self, CounterFactual, Recalled},
    fleet::TOKENS_UNLIMITED,
    wire::{self, Record},
};

/// Explains a record. One of an older version, which does not hold enough, is an error that says so.
pub fn explain(decision: &v1::Decision) -> Result<v1::ExplainDecisionResponse> {
    let record = wire::read_back(decision)?;
    let Record { observation, census, recalled, policy } = &record;
    let recomputed_want = decide::answer(observation, census, recalled, policy).want;
    let found = decide::counterfactuals(observation, census, recalled, policy);
    Ok(v1::ExplainDecisionResponse {
        text: text(decision, &record, recomputed_want),
        counter_factuals: found.iter().map(counter_factual).collect(),
        recomputed_want,
    })
}

fn counter_factual(found: &CounterFactual) -> v1::CounterFactual {
    v1::CounterFactual { input: found.input.to_owned(), from: found.from, to: found.to, want: found.want }
}

/// A sentence, and then a paragraph for each part of the record.
fn text(decision: &v1::Decision, record: &Record, recomputed_want: u32) -> String {
    let mut text = Text::default();
    let verb = match decision.want.cmp(&decision.current) {
        std::cmp::Ordering::Less => "fewer than the",
        std::cmp::Ordering::Equal => "as many as the",
        std::cmp::Ordering::Greater => "more than the",
    };
    let wanted = if decision.want == 1 { "worker is" } else { "workers are" };
    let there = if decision.current == 1 { "is" } else { "are" };
    text.line(format!("{} {wanted} wanted, {verb} {} there {there}.", decision.want, decision.current));
    text.line(format!("In short: {}", decision.reason));
    if !decision.trigger.is_empty() {
        text.line(format!("Decided because of: {}", decision.trigger));
    }
    text.part("Seen", &seen(record));
    text.part("Asked for by each line of reasoning; the largest counts", &terms(decision));
    text.part("Bounds, in order", &bounds(decision));
    text.part("Remembered", &remembered(&record.recalled, record.observation.at));
    text.part("Done", &actions(decision));
    text.part("Expected, and what came", &graded(decision));
    text.line(if recomputed_want == decision.want {
        format!("Computed again from the record it is {recomputed_want}, too.")
    } else {
        format!(
            "Computed again from the record it is {recomputed_want}: this version decides otherwise than the one \
             that wrote it."
        )
    });
    text.0
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: impl AsRef<str>) {
        self.0.push_str(line.as_ref());
        self.0.push('\n');
    }

    fn part(&mut self, title: &str, lines: &[String]) {
        match lines {
            [] => self.line(format!("{title}: none")),
            lines => {
                self.line(format!("{title}:"));
                lines.iter().for_each(|line| self.line(format!("  {line}")));
            }
        }
    }
}

fn seen(record: &Record) -> Vec<String> {
    let Record { observation, census, .. } = record;
    let queue = &observation.queue;
    let counts = match queue.as_of {
        None => "no gateway has said what waits".to_owned(),
        Some(as_of) => {
            let age = seconds(observation.at.saturating_sub(as_of));
            let whose = if queue.approximate { "the queue's own counts" } else { "exact counts" };
            format!(
                "{} waiting, {} in work, the oldest for {}; {whose}, {age} old",
                queue.visible,
                queue.in_flight,
                seconds(queue.oldest_age)
            )
        }
    };
    let arrivals = &observation.arrivals;
    let starts = match observation.supply.start_tokens {
        unlimited if unlimited >= TOKENS_UNLIMITED => "starts are not limited".to_owned(),
        tokens => format!("{tokens:.0} starts are taken now"),
    };
    let mut lines = vec![
        counts,
        format!(
            "{:.2}/s arrive over 4 s, {:.2}/s over 10 s, {:.2}/s over 60 s; {:.1} % of the last minute's answers late",
            arrivals.latest,
            arrivals.fast,
            arrivals.slow,
            observation.late_ratio * 100.0
        ),
        format!(
            "an image takes {} (p95 {}), {:.1} at once on a worker; a start takes {}, of a new one {}",
            seconds(observation.service.mean),
            seconds(observation.service.p95),
            observation.service.slots,
            seconds(observation.boot.warm),
            seconds(observation.boot.cold)
        ),
        format!(
            "{} ready, {} starting, {} draining, {} stopped, {} can be launched; {starts}",
            census.ready, census.starting, census.draining, census.stopped, observation.supply.launchable,
        ),
    ];
    if let Some(asked) = observation.asked.filter(|asked| asked.until > observation.at) {
        let limit = |name: &str, value: Option<u32>| value.map(|value| format!("{name} {value}"));
        let limits =
            [limit("exactly", asked.instances), limit("at least", asked.min), limit("at most", asked.max)];
        let limits = limits.into_iter().flatten().collect::<Vec<_>>().join(", ");
        lines.push(format!("a person set {limits} for {} more", seconds(asked.until - observation.at)));
    }
    let paused = observation.paused.at(observation.at);
    if paused.scale_out || paused.scale_in {
        let what = match (paused.scale_out, paused.scale_in) {
            (true, true) => "starts and stops",
            (true, false) => "starts",
            _ => "stops",
        };
        lines.push(format!("{what} are paused"));
    }
    lines
}

fn terms(decision: &v1::Decision) -> Vec<String> {
    let width = decision.terms.iter().map(|term| term.name.len()).max().unwrap_or(0);
    let line =
        |term: &v1::DecisionTerm| format!("{:width$} {:4}  {}", term.name, term.instances, term.formula);
    decision.terms.iter().map(line).chain([format!("{:width$} {:4}", "need", decision.need)]).collect()
}

fn bounds(decision: &v1::Decision) -> Vec<String> {
    let line = |bound: &v1::Bound| format!("{} -> {}: {}", bound.from, bound.to, why(bound));
    decision.bounds.iter().map(line).collect()
}

fn why(bound: &v1::Bound) -> &'static str {
    use v1::BoundKind;
    let up = bound.to > bound.from;
    match bound.kind() {
        BoundKind::Unspecified => "a bound that this version does not know",
        BoundKind::Min => "the policy's minimum",
        BoundKind::Max => "the policy's maximum",
        BoundKind::Hold => "so many were needed a moment ago",
        BoundKind::PaidMinute => "so many are paid for anyway",
        BoundKind::ApiBudget if up => "no more than that may go in a minute",
        BoundKind::ApiBudget => "the cloud takes no more starts now",
        BoundKind::Capacity if up => "so many are not ours to stop",
        BoundKind::Capacity => "there are no more to be had",
        BoundKind::Paused => "paused",
        BoundKind::Stale => "the counts are old or estimates, and lower nothing",
        BoundKind::Override => "a person's limit",
        BoundKind::NotLeader => "another autoscaler leads",
    }
}

fn remembered(recalled: &Recalled, at: Duration) -> Vec<String> {
    let mut lines = vec![format!("the most that was needed within the hold: {}", recalled.largest_need)];
    if let Some(last_work) = recalled.last_work {
        lines.push(format!("the last image: {} ago", seconds(at.saturating_sub(last_work))));
    }
    if let Some(left) = recalled.surge_left {
        lines.push(format!("a surge, expected to go on for {}", seconds(left)));
    }
    if let Some(level) = recalled.level {
        lines.push(format!("arrivals as long as they were like the last minute: {level:.2}/s"));
    }
    if recalled.slope != 0.0 {
        lines.push(format!("arrivals change by {:+.4}/s each second", recalled.slope));
    }
    if recalled.reserve > 0.0 {
        lines.push(format!(
            "the last minutes taught to keep {:.1}: what {:.0} % of the last {} needed",
            recalled.reserve,
            recalled.reserve_quantile * 100.0,
            seconds(recalled.reserve_window)
        ));
    }
    if recalled.drained > 0 {
        lines.push(format!("asked to go within the last minute: {}", recalled.drained));
    }
    lines
}

fn actions(decision: &v1::Decision) -> Vec<String> {
    /// A fleet that grows by thousands is told as so many of each kind, and the first of each by name.
    const TOLD_MAX: usize = 20;
    let line = |action: &v1::Action| {
        let instance = if action.instance_id.is_empty() { "a new one" } else { &action.instance_id };
        let error = if action.error.is_empty() { String::new() } else { format!(": {}", action.error) };
        format!("{} {instance}: {}{error}", verb(action.kind()), outcome(action.outcome()))
    };
    let mut lines: Vec<_> = decision.actions.iter().take(TOLD_MAX).map(line).collect();
    if let Some(more) = decision.actions.len().checked_sub(TOLD_MAX + 1) {
        lines.push(format!("and {} more", more + 1));
    }
    lines
}

fn verb(kind: v1::ActionKind) -> &'static str {
    match kind {
        v1::ActionKind::Unspecified => "do something that this version does not know to",
        v1::ActionKind::Undrain => "un-drain",
        v1::ActionKind::Start => "start",
        v1::ActionKind::Launch => "launch",
        v1::ActionKind::Drain => "drain",
        v1::ActionKind::Stop => "stop",
        v1::ActionKind::Terminate => "terminate",
    }
}

fn outcome(outcome: v1::ActionOutcome) -> &'static str {
    match outcome {
        v1::ActionOutcome::Unspecified => "unknown",
        v1::ActionOutcome::Pending => "not over yet",
        v1::ActionOutcome::Done => "done",
        v1::ActionOutcome::Throttled => "held back",
        v1::ActionOutcome::NoCapacity => "none to be had",
        v1::ActionOutcome::Failed => "failed",
    }
}

fn graded(decision: &v1::Decision) -> Vec<String> {
    let read = |length: Option<&prost_types::Duration>| platform::time::from_proto(length);
    let mut lines = Vec::new();
    if let Some(predicted) = read(decision.predicted_p95.as_ref()) {
        lines.push(format!("95 % answered within {}", seconds(predicted)));
    }
    let times = (decision.time.as_ref(), decision.predicted_clear_time.as_ref());
    if let (Some(at), Some(clear)) = (times.0.and_then(since_epoch), times.1.and_then(since_epoch)) {
        lines.push(format!("what waits is answered in {}", seconds(clear.saturating_sub(at))));
    }
    if lines.is_empty() {
        lines.push("nothing to answer".to_owned());
    }
    lines.push(match read(decision.actual_p95.as_ref()) {
        Some(actual) => format!(
            "it came so: 95 % answered within {}, {:.1} % late",
            seconds(actual),
            decision.actual_late_ratio * 100.0
        ),
        None => "not graded (yet)".to_owned(),
    });
    lines
}

fn seconds(length: Duration) -> String {
    let seconds = length.as_secs_f64();
    match seconds {
        under if under < 0.9995 => format!("{:.0} ms", under * 1000.0),
        short if short < 99.95 => format!("{short:.1} s"),
        long => format!("{long:.0} s"),
    }
}

#[cfg(test)]
mod tests;
