//! The control loop: observe, decide, record, act, and see what became of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use platform::{Result, shutdown::Shutdown};
use proto::v1::{self, ActionOutcome};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::{
    breaker::Breaker,
    clock::timestamp,
    decide::{
        Action, ActionKind, BoundKind, Decision, InstanceState, Observation, Paused, Policy, State, Supply,
        decide,
    },
    fleet::Fleet,
    roster::{Change, Roster},
    shared::{Shared, View},
    wire,
};

/// Things that happen together are looked at together.
const GAP: Duration = Duration::from_millis(10);

/// A decision that changes nothing is recorded this often, so that the log shows we were there.
const QUIET_RECORD_PERIOD: Duration = Duration::from_secs(60);

/// Processes that were told to go have this long before they are killed. Their work is done by then.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

pub struct Controller {
    shared: Arc<Shared>,
    fleet: Arc<dyn Fleet>,
    policy: Policy,
    tick: Duration,
    state: State,
    roster: Roster,
    breaker: Breaker,
    /// Actions whose end has not been seen, and the decision each belongs to.
    pending: BTreeMap<(String, ActionKind), String>,
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
    /// Taken for the time of a boot until one was measured.
    pub boot_prior: Duration,
    /// How long a worker may be silent while its machine runs.
    pub worker_grace: Duration,
}

impl Controller {
    pub fn new(shared: Arc<Shared>, fleet: Arc<dyn Fleet>, options: ControllerOptions) -> Self {
        let controller = Self {
            shared,
            fleet,
            policy: options.policy,
            tick: options.tick,
            state: State::default(),
            roster: Roster::new(options.boot_prior, options.worker_grace),
            breaker: Breaker::default(),
            pending: BTreeMap::new(),
            recorded: None,
            fleet_problem: None,
            log_problem: None,
        };
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
        if !self.look().await {
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
        self.publish(Some(&decision));
    }

    /// Takes in how the fleet is. False when it does not say.
    async fn look(&mut self) -> bool {
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
        for change in changes {
            self.settle(at, change).await;
        }
        true
    }

    /// Notes how the actions on an instance went, now that it has changed.
    async fn settle(&mut self, at: Duration, change: Change) {
        use InstanceState::{Drained, Lost, Ready, Starting, Stopped};
        tracing::debug!(?change, "instance changed");
        let Change { instance_id, from, to, proved, exit } = change;
        match (from, to) {
            (Ready, Ready) => self.breaker.proved(),
            (_, Ready) => self.end(&instance_id, ActionKind::Start, Ok(())).await,
            (_, Drained) => {
                // It started, worked as long as it was wanted, and confirmed.
                self.breaker.proved();
                self.end(&instance_id, ActionKind::Start, Ok(())).await;
                self.end(&instance_id, ActionKind::Drain, Ok(())).await;
            }
            (_, Stopped) => {
                let ended = exit.unwrap_or_else(|| "stopped".to_owned());
                if from == Starting || (from == Ready && !proved) {
                    self.breaker.failed(at, &ended);
                }
                if matches!(from, Starting | Ready) {
                    tracing::warn!(instance_id, ended, "worker died");
                }
                self.end(&instance_id, ActionKind::Start, Err(ended)).await;
                self.end(&instance_id, ActionKind::Drain, Ok(())).await;
                self.end(&instance_id, ActionKind::Stop, Ok(())).await;
            }
            (_, Lost) => {
                tracing::warn!(instance_id, ?from, "worker lost");
                let error = "no word of its worker for too long".to_owned();
                if from == Starting {
                    self.breaker.failed(at, &error);
                }
                self.end(&instance_id, ActionKind::Start, Err(error)).await;
            }
            _ => {}
        }
    }

    fn observe(&self) -> Observation {
        let at = self.shared.clock.now();
        let (queue, arrivals, late_ratio) = {
            let mut load = self.shared.load();
            (load.observe(at), load.arrivals(at), load.late_ratio(at))
        };
        let (service, instances) = {
            let mut members = self.shared.members();
            (members.service(), self.roster.instances(&members))
        };
        let starting = instances.iter().filter(|instance| instance.state == InstanceState::Starting).count();
        let supply = Supply {
            launchable: self.fleet.launchable(),
            start_tokens: self.breaker.tokens(at, u32::try_from(starting).unwrap_or(u32::MAX)),
            start_tokens_per_second: self.breaker.tokens_per_second(),
        };
        let boot = self.roster.boot();
        let paused = Paused::default();
        Observation { at, queue, arrivals, service, late_ratio, boot, instances, supply, paused }
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
        let record = wire::decision(decision_id, decision, observation, &self.policy);
        let written = self.shared.log.append(record).await;
        self.note(written);
    }

    async fn act(&mut self, decision_id: &str, actions: &[Action]) {
        for action in actions {
            let instance_id = &action.instance_id;
            let at = self.shared.clock.now();
            self.pending.insert((instance_id.clone(), action.kind), decision_id.to_owned());
            match action.kind {
                ActionKind::Undrain => {
                    let stays = self.shared.members().undrain(instance_id, decision_id);
                    let told = format!("told to stay by {decision_id} before it had finished");
                    let outcome = if stays { Ok(()) } else { Err("it had finished already".to_owned()) };
                    if stays {
                        self.end(instance_id, ActionKind::Drain, Err(told)).await;
                    }
                    self.end(instance_id, ActionKind::Undrain, outcome).await;
                }
                ActionKind::Start => {
                    self.shared.members().begin(instance_id, at);
                    self.roster.started(instance_id, at, decision_id);
                    if let Err(error) = self.fleet.start(instance_id).await {
                        self.roster.not_started(instance_id, at);
                        self.breaker.failed(at, &error.to_string());
                        self.end(instance_id, ActionKind::Start, Err(error.to_string())).await;
                    }
                }
                ActionKind::Drain => self.shared.members().drain(instance_id, at, decision_id),
                ActionKind::Stop => {
                    if let Err(error) = self.fleet.stop(instance_id).await {
                        self.end(instance_id, ActionKind::Stop, Err(error.to_string())).await;
                    }
                }
                ActionKind::Launch => {
                    let none = "this fleet makes no new instances".to_owned();
                    self.end(instance_id, ActionKind::Launch, Err(none)).await;
                }
            }
        }
    }

    /// Writes the outcome of an action into its decision, if it was still open.
    async fn end(&mut self, instance_id: &str, kind: ActionKind, outcome: Result<(), String>) {
        let Some(decision_id) = self.pending.remove(&(instance_id.to_owned(), kind)) else { return };
        let kind = wire::action_kind(kind);
        let change = |decision: &mut v1::Decision| {
            let found = decision
                .actions
                .iter_mut()
                .find(|action| action.instance_id == instance_id && action.kind() == kind);
            let Some(action) = found else { return };
            action.attempts = 1;
            match outcome {
                Ok(()) => action.set_outcome(ActionOutcome::Done),
                Err(error) => {
                    action.set_outcome(ActionOutcome::Failed);
                    action.error = error;
                }
            }
        };
        let written = self.shared.log.update(&decision_id, change).await;
        self.note(written);
    }

    /// A log that cannot be written is no reason to let images wait.
    fn note(&mut self, written: Result<()>) {
        self.log_problem = written.err().map(|error| {
            tracing::warn!(%error, "write decision");
            format!("decisions are not being written: {error}")
        });
    }

    /// Shows how things are: to people, and to gateways.
    fn publish(&self, decision: Option<&Decision>) {
        let observation = self.observe();
        let next_ready_time = self.roster.next_ready(observation.at).map(timestamp);
        let shown = wire::observation(&observation);
        let fleet = shown.fleet.unwrap_or_default();
        let images_per_second = {
            let members = self.shared.members();
            let ready = observation.instances.iter().filter(|one| one.state == InstanceState::Ready);
            ready.filter_map(|one| members.get(&one.instance_id)?.rate()).sum()
        };
        let capacity = proto::internal::v1::GatewaySessionResponse {
            ready: fleet.ready,
            starting: fleet.starting,
            next_ready_time,
            images_per_second,
        };
        self.shared.capacity.send_if_modified(|last| {
            let changed = *last != capacity;
            *last = capacity;
            changed
        });
        let status = v1::GetStatusResponse {
            cloud_calls: Vec::new(),
            policy: Some(wire::policy(&self.policy)),
            want: decision.map_or(self.shared.view.borrow().status.want, |decision| decision.want),
            last_change: self.shared.log.last_change().map(|decision| (*decision).clone()),
            leader: true,
            paused: shown.paused,
            predicted_p95: None,
            next_ready_time,
            cost_per_hour_usd: 0.0,
            warnings: self.warnings(&observation),
            observation: Some(shown),
        };
        let view = View { status, instances: self.roster.shown() };
        self.shared.view.send_if_modified(|last| {
            let changed = !is_same(last, &view);
            *last = view;
            changed
        });
    }

    fn warnings(&self, observation: &Observation) -> Vec<String> {
        let mut warnings: Vec<_> =
            [&self.fleet_problem, &self.log_problem].into_iter().flatten().cloned().collect();
        warnings.extend(self.breaker.warning(observation.at));
        match observation.queue.as_of {
            None => warnings.push("no gateway is connected: the fleet is held as it is".to_owned()),
            Some(as_of) => {
                let age = observation.at.saturating_sub(as_of);
                if age > self.policy.stale_after {
                    let age = age.as_secs_f64();
                    warnings.push(format!(
                        "a gateway's counts are {age:.0} s old: nothing is stopped on their word"
                    ));
                }
            }
        }
        let lost = observation.instances.iter().filter(|one| one.state == InstanceState::Lost).count();
        if lost > 0 {
            warnings.push(format!("{lost} workers are lost and being stopped"));
        }
        warnings
    }

    async fn finish(&mut self, shutdown: &Shutdown, grace: Duration) {
        const LOOK_PERIOD: Duration = Duration::from_millis(500);
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

/// Whether two views say the same, whatever the time they were taken.
fn is_same(last: &View, now: &View) -> bool {
    let timeless = |view: &View| {
        let mut view = view.clone();
        if let Some(observation) = &mut view.status.observation {
            observation.time = None;
            if let Some(queue) = &mut observation.queue {
                queue.as_of = None;
            }
        }
        for instance in &mut view.instances {
            instance.heartbeat_time = None;
        }
        view
    };
    timeless(last) == timeless(now)
}
