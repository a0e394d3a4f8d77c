//! The control loop: observe, decide, record, act, and see what became of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use platform::shutdown::Shutdown;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::{
    asked::Asked,
    breaker::{Breaker, BreakerOptions},
    decide::{
        ActionKind, Boot, BoundKind, Decision, InstanceState, Observation, Paused, Policy, State, Supply,
        decide,
    },
    fleet::Fleet,
    leader::Lease,
    roster::{Roster, RosterOptions},
    shared::Shared,
    wire,
};

mod act;
mod lead;
mod settle;
mod show;

/// Things that happen together are looked at together.
const GAP: Duration = Duration::from_millis(10);

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
    policy: Policy,
    tick: Duration,
    state: State,
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

pub struct ControllerOptions {
    pub policy: Policy,
    pub tick: Duration,
    pub roster: RosterOptions,
    pub breaker: BreakerOptions,
    pub lease: Option<Arc<Lease>>,
}

impl Controller {
    pub fn new(shared: Arc<Shared>, fleet: Arc<dyn Fleet>, options: ControllerOptions) -> Self {
        let controller = Self {
            shared,
            asked: fleet.is_external().then(Asked::default),
            fleet,
            lease: options.lease,
            leading: None,
            followed: None,
            policy: options.policy,
            tick: options.tick,
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
            tokio::select! {
                biased;
                () = shutdown.stop.cancelled() => break,
                _ = ticks.tick() => {}
                () = self.shared.wake.notified() => {}
                () = self.fleet.changed() => {}
            }
            self.step().await;
            sleep(GAP).await;
        }
        self.finish(shutdown, grace).await;
    }

    async fn step(&mut self) {
        self.note_leadership().await;
        if !self.look().await || !self.leads() {
            self.publish(None);
            return;
        }
        let observation = self.observe();
        let (decision, state) = decide(&observation, &self.state, &self.policy);
        self.state = state;
        let decision_id = platform::id::new();
        if self.is_news(&decision, observation.at) {
            self.record(&decision_id, &decision, &observation).await;
        }
        if !decision.actions.is_empty() {
            self.act(&decision_id, &decision.actions).await;
            self.look().await;
        }
        self.fleet.tend().await;
        self.publish(Some(&decision));
    }

    /// Takes in how the fleet is. False when it does not say.
    pub(super) async fn look(&mut self) -> bool {
        let machines = match self.fleet.list().await {
            Ok(machines) => machines,
            Err(error) => {
                tracing::warn!(%error, "list instances");
                self.fleet_problem = Some(format!("the fleet cannot be listed: {error}"));
                return false;
            }
        };
        self.fleet_problem = None;
        let at = self.shared.clock.now();
        let changes = self.roster.update(at, &machines, &mut self.shared.members());
        if let Some(asked) = &mut self.asked {
            asked.look(at, &self.roster.instances(&self.shared.members()));
        }
        if self.leading.is_some() {
            for change in changes {
                self.settle(at, change).await;
            }
        }
        true
    }

    fn observe(&self) -> Observation {
        let at = self.shared.clock.now();
        let (queue, arrivals, late_ratio) = {
            let mut load = self.shared.load();
            (load.observe(at), load.arrivals(at), load.late_ratio(at))
        };
        let (service, mut instances) = {
            let mut members = self.shared.members();
            (members.service(), self.roster.instances(&members))
        };
        if let Some(asked) = &self.asked {
            asked.show(&mut instances);
        }
        let starting = instances.iter().filter(|instance| instance.state == InstanceState::Starting).count();
        let starting = u32::try_from(starting).unwrap_or(u32::MAX);
        let fleet = self.fleet.supply();
        let supply = Supply {
            launchable: fleet.launchable,
            start_tokens: fleet.start_tokens.min(self.breaker.tokens(at, starting)),
            start_tokens_per_second: fleet.start_tokens_per_second.min(self.breaker.tokens_per_second()),
            stopped_max: fleet.stopped_max,
            paid_min: Duration::ZERO,
        };
        let asked_boot =
            self.asked.as_ref().and_then(Asked::boot).map(|boot| Boot { warm: boot, cold: boot });
        let boot = asked_boot.unwrap_or_else(|| self.roster.boot());
        let paused = Paused::default();
        let asked = None;
        Observation { at, queue, arrivals, service, late_ratio, boot, instances, supply, paused, asked }
    }

    fn is_news(&self, decision: &Decision, at: Duration) -> bool {
        let Some(recorded) = &self.recorded else { return true };
        !decision.actions.is_empty()
            || decision.want != recorded.want
            || bound_kinds(decision) != recorded.bounds
            || at.saturating_sub(recorded.at) >= QUIET_RECORD_PERIOD
    }

    /// Before anything is done: what was decided is known even if we die doing it.
    async fn record(&mut self, decision_id: &str, decision: &Decision, observation: &Observation) {
        self.recorded =
            Some(Recorded { at: observation.at, want: decision.want, bounds: bound_kinds(decision) });
        if !decision.actions.is_empty() {
            tracing::info!(want = decision.want, current = decision.current, "{}", decision.reason);
        }
        let record = wire::decision(decision_id, decision, observation, self.by());
        let written = self.shared.log.append(record).await;
        self.note(written);
    }

    fn by(&self) -> wire::By<'_> {
        wire::By { policy: &self.policy, leader_epoch: self.leading.unwrap_or(0) }
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
                () = self.shared.wake.notified() => {}
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
