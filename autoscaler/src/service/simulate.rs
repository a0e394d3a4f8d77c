//! `Simulate`: a question is checked, run on a thread of its own, and answered as it goes.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use platform::{Error, Kind, Result};
use proto::v1::{self, SimulateResponse, simulate_response::Event};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{AutoscalerApi, stream::Step};
use crate::{
    decide::{Decision, Observation, Policy},
    simulate::{self, Outcome},
    what_if::{self, Live, Question, Run},
};

/// So much of the processor is for what is not happening: the fleet has to be looked after beside it.
pub(super) const SIMULATIONS_MAX: usize = 1;

/// All runs of a question together. Twenty million requests take some ten seconds; a fleet of thousands that decides all week
/// takes longer.
const LONGEST: Duration = Duration::from_secs(300);

/// Whoever waits for a long run hears at least this often that it goes on.
const HEARTBEAT_PERIOD: Duration = Duration::from_secs(5);

/// Decisions of one run that are sent: those that change something, and of those no more than a person would look at.
const DECISIONS_MAX: u32 = 500;

/// Answers that wait for a slow reader. The run waits with them.
const AHEAD: usize = 16;

/// When a run that is full comes back.
const RETRY_AFTER: Duration = Duration::from_secs(5);

pub(super) struct Simulation {
    answers: mpsc::Receiver<SimulateResponse>,
    /// Ends by itself, at its next decision, once `answers` is dropped.
    running: JoinHandle<Result<()>>,
    stop: CancellationToken,
}

impl AutoscalerApi {
    pub(super) fn simulation(&self, request: &v1::SimulateRequest) -> Result<Simulation> {
        let shared = &self.0;
        let live = {
            let view = shared.view.borrow();
            Live {
                observation: view.status.observation.clone().unwrap_or_default(),
                policy: view.status.policy.clone().unwrap_or_default(),
                policy_defaults: shared.policy_defaults,
                price_per_hour_usd: shared.price_per_hour_usd,
            }
        };
        let at = shared.clock.now();
        let question = what_if::read(request, &live, |length| shared.load().history().last(at, length))?;
        let turn = Arc::clone(&self.1.simulations).try_acquire_owned().map_err(|_| {
            let sentence = "another simulation is running, and one is as many as there may be";
            Error::new(Kind::QuotaExceeded, sentence).with_retry_after(RETRY_AFTER)
        })?;
        let (sender, answers) = mpsc::channel(AHEAD);
        let running = spawn_blocking(move || answer(&question, &sender, turn));
        Ok(Simulation { answers, running, stop: shared.stop.clone() })
    }
}

impl Step for Simulation {
    type Answer = SimulateResponse;

    async fn step(&mut self) -> Result<Option<SimulateResponse>> {
        let next = tokio::select! {
            next = timeout(HEARTBEAT_PERIOD, self.answers.recv()) => next,
            () = self.stop.cancelled() => return Ok(None),
        };
        match next {
            Ok(Some(answer)) => Ok(Some(answer)),
            Err(_) => Ok(Some(SimulateResponse { event: None })),
            // The last answer was given; how it ended is still to be said.
            Ok(None) => (&mut self.running).await.map_err(Error::internal)?.map(|()| None),
        }
    }
}

/// Holds the turn until it has really ended.
fn answer(
    question: &Question,
    answers: &mpsc::Sender<SimulateResponse>,
    _turn: OwnedSemaphorePermit,
) -> Result<()> {
    // The real clock: this thread works, and does not wait for one that a test has paused.
    let begun = Instant::now();
    match question {
        Question::Observation(seen, policies) => {
            for policy in policies {
                let decision = what_if::decide_once(seen, policy);
                if send(answers, Event::Decision(what_if::shown(&decision, seen, policy, 1))).is_break() {
                    break;
                }
            }
        }
        Question::Runs(runs) => {
            let mut reports = Vec::with_capacity(runs.len());
            for run in runs {
                match play(run, answers, begun)? {
                    Some(outcome) => reports.push(report(&run.policy, &outcome)),
                    None => return Ok(()),
                }
            }
            for report in reports {
                if send(answers, Event::Report(report)).is_break() {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// One run; `None` when nobody waits for it any more.
fn play(run: &Run, answers: &mpsc::Sender<SimulateResponse>, begun: Instant) -> Result<Option<Outcome>> {
    let mut sequence = 0;
    let mut sent: Option<(Duration, u32)> = None;
    let mut took_too_long = false;
    let gap = run.length() / DECISIONS_MAX;
    let mut look = |decision: &Decision, seen: &Observation| {
        took_too_long = begun.elapsed() > LONGEST;
        if took_too_long || answers.is_closed() {
            return ControlFlow::Break(());
        }
        sequence += 1;
        let (at, want) = (seen.at, decision.want);
        if sent.is_some_and(|(last, was)| was == want || at < last + gap) {
            return ControlFlow::Continue(());
        }
        sent = Some((at, want));
        send(answers, Event::Decision(run.shown(decision, seen, sequence)))
    };
    let outcome = simulate::run_shown(&run.scenario, run.played.clone(), run.seed, &mut look);
    if took_too_long {
        let sentence = format!(
            "the simulation took longer than {} s: ask for fewer policies, fewer instances or a shorter time",
            LONGEST.as_secs()
        );
        return Err(Error::new(Kind::QuotaExceeded, sentence));
    }
    Ok(outcome)
}

/// Waits until there is room; a break when nobody is there.
fn send(answers: &mpsc::Sender<SimulateResponse>, event: Event) -> ControlFlow<()> {
    match answers.blocking_send(SimulateResponse { event: Some(event) }) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    }
}

fn report(policy: &Policy, outcome: &Outcome) -> v1::SimulationReport {
    let length = |seconds: f64| {
        Some(platform::time::to_proto(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)))
    };
    let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    v1::SimulationReport {
        policy: Some(crate::wire::policy(policy)),
        requests: outcome.requests,
        p50: length(outcome.p50),
        p95: length(outcome.p95),
        p99: length(outcome.p99),
        late_ratio: outcome.late_ratio,
        instance_hours: outcome.instance_hours,
        cost_usd: outcome.cost_usd,
        starts: count(outcome.starts),
        interrupted: count(outcome.interrupted),
    }
}
