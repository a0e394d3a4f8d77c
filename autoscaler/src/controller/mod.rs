//! The control loop: observe, decide, record, act, and see what became of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use platform::shutdown::Shutdown;
use proto::v1;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};

use crate::{
    asked::Asked,
    breaker::Breaker,
    command::Order,
    decide::{ActionKind, BoundKind, Decision, InstanceState, Observation, State, decide},
    fleet::Fleet,
    leader::Lease,
    roster::Roster,
    shared::Shared,
    wire,
};

mod act;
mod grade;
mod lead;
mod observe;
mod options;
mod orders;
mod remember;
mod settle;
mod show;
mod warnings;
mod words;

use grade::Grades;
pub use options::{ControllerOptions, Keeping};
use orders::Obeyed;
use remember::Memory;
pub use words::Words;

/// Things that happen together are looked at together.
const GAP: Duration = Duration::from_millis(10);

/// Looking at a large fleet and deciding takes its time. Ten times as long passes before the next time, so that it never
/// takes more than a tenth of a core; but a command or a full queue does not wait longer than this.
const GAP_SHARE: u32 = 9;
const GAP_MAX: Duration = Duration::from_secs(1);

/// A decision that changes nothing is recorded this often, so that the log shows we were there.
const QUIET_RECORD_PERIOD: Duration = Duration::from_secs(60);

/// Processes that were told to go have this long before they are killed. Their work is done by then.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

pub struct Controller {
    shared: Arc<Shared>,
    fleet: Arc<dyn Fleet>,
    /// `None`: nobody else could lead.
    lease: Option<Arc<Lease>>,
    /// The epoch we lead in; `None` while we do not.
    leading: Option<u64>,
    /// When we last read what the leader decided.
    followed: Option<Duration>,
    words: Words,
    orders: mpsc::Receiver<Order>,
    obeyed: Obeyed,
    /// An instance that the next decision is to drain for good.
    retire_next: Option<String>,
    tick: Duration,
    price_per_hour_usd: f64,
    state: State,
    memory: Memory,
    grades: Grades,
    /// What the next decision is made for, beside what woke us. It is recorded whatever comes of it.
    causes: Vec<String>,
    /// How long the last look and decision took, without the calls.
    thought: Duration,
    roster: Roster,
    breaker: Breaker,
    /// Actions whose end has not been seen, and the decision each belongs to.
    pending: BTreeMap<(String, ActionKind), String>,
    /// Where somebody else scales: what we asked for.
    asked: Option<Asked>,
    recorded: Option<Recorded>,
    fleet_problem: Option<String>,
    log_problem: Option<String>,
}

/// What the last record said, to know whether the next one says something else.
struct Recorded {
    at: Duration,
    want: u32,
    bounds: Vec<BoundKind>,
}

impl Controller {
    pub fn new(shared: Arc<Shared>, fleet: Arc<dyn Fleet>, options: ControllerOptions) -> Self {
        let Keeping { lease, store, orders } = options.keeping;
        let controller = Self {
            shared,
            asked: fleet.is_external().then(Asked::default),
            fleet,
            lease,
            leading: None,
            followed: None,
            words: Words::new(options.policy),
            orders,
            obeyed: Obeyed::default(),
            retire_next: None,
            tick: options.tick,
            price_per_hour_usd: options.price_per_hour_usd,
            memory: Memory::new(store),
            grades: Grades::default(),
            causes: Vec::new(),
            thought: Duration::ZERO,
            state: State::default(),
            roster: Roster::new(options.roster),
            breaker: Breaker::new(options.breaker),
            pending: BTreeMap::new(),
            recorded: None,
            fleet_problem: None,
            log_problem: None,
        };
        controller.shared.leading.send_replace(controller.epoch().is_some());
        // So that the first who ask see the policy, and not nothing.
        controller.publish(None);
        controller
    }

    /// Runs until `shutdown.stop`; then asks the workers to finish, waits up to `grace` for it, and
    /// lets the fleet go.
    pub async fn run(mut self, shutdown: &Shutdown, grace: Duration) {
        let mut ticks = interval(self.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let order = tokio::select! {
                biased;
                () = shutdown.stop.cancelled() => break,
                Some(order) = self.orders.recv() => Some(order),
                _ = ticks.tick() => None,
                () = self.shared.wake.woken() => None,
                () = self.fleet.changed() => {
                    self.shared.wake.note("fleet: an instance changed by itself");
                    None
                }
            };
            match order {
                Some(order) => self.obey(order).await,
                None => self.step().await,
            }
            sleep(gap(self.thought)).await;
        }
        self.orders.close();
        self.save().await;
        self.finish(shutdown, grace).await;
    }

    async fn step(&mut self) {
        self.note_leadership().await;
        if !self.look().await || !self.leads() {
            self.publish(None);
            return;
        }
        let decision_id = platform::id::new();
        self.end_words();
        let retired = self.retire(&decision_id).await;
        let begun = Instant::now();
        let observation = self.observe();
        let (mut decision, state) = decide(&observation, &self.state, self.words.policy());
        self.thought = begun.elapsed();
        self.state = state;
        if let Some(retired) = retired {
            retired.add_to(&mut decision);
        }
        let asked_for = !self.causes.is_empty();
        let trigger = self.trigger();
        if asked_for || self.is_news(&decision, observation.at) {
            self.record(&decision_id, &decision, &observation, trigger).await;
        }
        if !decision.actions.is_empty() {
            self.act(&decision_id, &decision.actions).await;
            self.look().await;
        }
        self.fleet.tend().await;
        self.grade(observation.at).await;
        self.remember(observation.at).await;
        let begun = Instant::now();
        self.publish(Some(&decision));
        self.thought += begun.elapsed();
    }

    fn is_news(&self, decision: &Decision, at: Duration) -> bool {
        let Some(recorded) = &self.recorded else { return true };
        !decision.actions.is_empty()
            || decision.want != recorded.want
            || bound_kinds(decision) != recorded.bounds
            || at.saturating_sub(recorded.at) >= QUIET_RECORD_PERIOD
    }

    /// Before anything is done: what was decided is known even if we die doing it.
    async fn record(
        &mut self,
        decision_id: &str,
        decision: &Decision,
        observation: &Observation,
        trigger: String,
    ) {
        self.recorded =
            Some(Recorded { at: observation.at, want: decision.want, bounds: bound_kinds(decision) });
        if !decision.actions.is_empty() {
            tracing::info!(want = decision.want, current = decision.current, "{}", decision.reason);
        }
        self.grades.expect(decision_id, decision, observation);
        let mut record = v1::Decision {
            trigger,
            cost_per_hour_usd: f64::from(decision.want) * self.price_per_hour_usd,
            ..wire::decision(decision_id, decision, observation, self.by())
        };
        if let Some(seen) = &mut record.observation {
            // With who said it and why.
            seen.pause_in_force = self.words.shown_pause();
            seen.override_in_force = self.words.shown_override();
        }
        let written = self.shared.log.append(record).await;
        self.note(written);
    }

    /// What the next decision is made for.
    pub(super) fn cause(&mut self, cause: String) {
        self.causes.push(cause);
    }

    fn trigger(&mut self) -> String {
        let mut causes = std::mem::take(&mut self.causes);
        causes.extend(self.shared.wake.take());
        if causes.is_empty() { "tick".to_owned() } else { causes.join("; ") }
    }

    fn by(&self) -> wire::By<'_> {
        wire::By { policy: self.words.policy(), leader_epoch: self.leading.unwrap_or(0) }
    }

    async fn finish(&mut self, shutdown: &Shutdown, grace: Duration) {
        const LOOK_PERIOD: Duration = Duration::from_millis(500);
        // Machines go on, with what their workers hold.
        if self.fleet.outlives_us() {
            self.fleet.close(CLOSE_LIMIT).await;
            return;
        }
        let deadline = Instant::now() + grace;
        self.shared.members().drain_all();
        while self.look().await && self.is_work_held() {
            tokio::select! {
                () = self.shared.wake.woken() => {}
                () = self.fleet.changed() => {}
                () = sleep(LOOK_PERIOD) => {}
                () = sleep_until(deadline) => {
                    tracing::warn!(?grace, "workers did not finish in time");
                    break;
                }
                () = shutdown.abort.cancelled() => break,
            }
        }
        let limit = if shutdown.abort.is_cancelled() { Duration::ZERO } else { CLOSE_LIMIT };
        self.fleet.close(limit).await;
        self.look().await;
        self.publish(None);
    }

    /// Whether a worker of ours has registered and not confirmed that it holds nothing. One that
    /// never registered is asked to go like the others, only not waited for beforehand.
    fn is_work_held(&self) -> bool {
        let members = self.shared.members();
        self.roster.instances(&members).iter().any(|instance| {
            instance.owned
                && instance.state == InstanceState::Stopping
                && members.get(&instance.instance_id).is_some_and(|member| {
                    member.registered.is_some() && member.is_connected() && !member.drained
                })
        })
    }
}

fn bound_kinds(decision: &Decision) -> Vec<BoundKind> {
    decision.bounds.iter().map(|bound| bound.kind).collect()
}

/// How long to wait after deciding took so long.
fn gap(thought: Duration) -> Duration {
    (thought * GAP_SHARE).clamp(GAP, GAP_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deciding_takes_a_tenth_of_the_time_at_most_and_nothing_waits_long() {
        let millis = Duration::from_millis;
        for (thought, waited) in [(0, 10), (1, 10), (2, 18), (20, 180), (500, 1000)] {
            assert_eq!(gap(millis(thought)), millis(waited), "{thought}");
        }
    }
}
