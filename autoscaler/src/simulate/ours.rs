//! Our own autoscaler in a simulated world: what the controller does around `decide`, without its I/O.

use std::time::Duration;

use super::{
    clock::{Micros, micros, seconds, since_epoch},
    counters::Listener,
    random::Stream,
    sight,
    tally::quantile,
    world::{Phase, Timer, World},
};
use crate::decide::{Action, ActionKind, Decision, Observation, Policy, Prediction, State, decide};

/// Between two looks without an event.
const TICK: Micros = 2_000_000;

/// Events within this are looked at together.
const GAP: Micros = 250_000;

/// The state is stored this often.
const SNAPSHOT_PERIOD: Micros = 60_000_000;

/// A second decider's word takes this long to get to the machines.
const ACT_DELAY: Micros = 1_000_000;

/// A prediction is compared with the answers of so long a time.
const GRADED_AFTER: Micros = 60_000_000;

pub(super) struct Ours {
    number: u32,
    policy: Policy,
    state: State,
    seen: Observation,
    /// The world's listing that `seen` has the instances of.
    listing: u64,
    listener: Listener,
    noise: Stream,
    last: Option<Micros>,
    is_woken: bool,
    /// More waiting than this is worth a look before the next tick.
    wake_above: usize,
    down_until: Micros,
    active_until: Option<Micros>,
    stored: (Micros, State),
    delayed: Vec<Action>,
    pub(super) want: u32,
    /// Whether the last decision is kept for somebody who looks on.
    pub(super) shows: bool,
    shown: Option<Decision>,
    grades: Grades,
}

#[derive(Default)]
struct Grades {
    /// When it was predicted, how many answers there were by then, and what was predicted.
    open: Option<(Micros, usize, f64)>,
    errors: f64,
    count: u32,
}

impl Ours {
    pub(super) fn new(world: &mut World<'_>, policy: Policy, phase: f64, noise: Stream) -> Self {
        world.after(micros(phase * seconds(TICK)), Timer::Tick { decider: 0 });
        Self {
            number: 0,
            policy,
            state: State::default(),
            seen: sight::nothing(world.scenario),
            listing: 0,
            listener: Listener::from_the_start(world.scenario.history),
            noise,
            last: None,
            is_woken: false,
            wake_above: 0,
            down_until: 0,
            active_until: None,
            stored: (0, State::default()),
            delayed: Vec::new(),
            want: 0,
            shows: false,
            shown: None,
            grades: Grades::default(),
        }
    }

    /// Decider `number`, which believes that it leads until it sees that its lease is lost. Remembers nothing.
    pub(super) fn another(&self, world: &mut World<'_>, number: u32, until: Micros) -> Self {
        let (policy, noise) = (self.policy.clone(), self.noise.clone());
        world.after(TICK / 2, Timer::Tick { decider: number });
        Self {
            number,
            policy,
            state: State::default(),
            seen: self.seen.clone(),
            listener: Listener::new(world.now, world.totals()),
            noise,
            active_until: Some(until),
            down_until: 0,
            stored: (0, State::default()),
            delayed: Vec::new(),
            shown: None,
            grades: Grades::default(),
            last: None,
            is_woken: false,
            wake_above: 0,
            shows: false,
            ..*self
        }
    }

    /// Gone for a while, and back with its last snapshot or with nothing.
    pub(super) fn restart(&mut self, until: Micros, snapshot: bool) {
        self.down_until = until;
        self.state = if snapshot { self.stored.1.clone() } else { State::default() };
        self.wake_above = usize::MAX;
    }

    /// An image has to wait. Called for each one, so it does nothing most times.
    pub(super) fn waits(&mut self, world: &mut World<'_>) {
        if world.work.waiting() > self.wake_above {
            self.wake(world);
        }
    }

    /// A worker came, or confirmed that it holds nothing.
    pub(super) fn heard(&mut self, world: &mut World<'_>) {
        self.wake(world);
    }

    fn wake(&mut self, world: &mut World<'_>) {
        if self.is_woken || world.now < self.down_until {
            return;
        }
        self.is_woken = true;
        self.wake_above = usize::MAX;
        let earliest = self.last.map_or(world.now, |last| last + GAP);
        world.after(earliest.saturating_sub(world.now), Timer::Wake { decider: self.number });
    }

    pub(super) fn decide(&mut self, world: &mut World<'_>, is_tick: bool) {
        if self.active_until.is_some_and(|until| world.now >= until) {
            return;
        }
        if is_tick {
            world.after(TICK, Timer::Tick { decider: self.number });
        } else {
            self.is_woken = false;
        }
        if world.now < self.down_until {
            return;
        }
        if self.down_until > 0 && self.last.is_none_or(|last| last < self.down_until) {
            // What arrived before it came back is not known to it.
            self.listener = Listener::new(world.now, world.totals());
        }
        self.last = Some(world.now);
        self.look(world);
        let (decision, state) = decide(&self.seen, &self.state, &self.policy);
        self.state = state;
        self.want = decision.want;
        self.wake_above = usize::try_from(self.seen.queue.visible.saturating_mul(2)).unwrap_or(usize::MAX);
        if world.now >= self.stored.0 + SNAPSHOT_PERIOD {
            self.stored = (world.now, self.state.clone());
        }
        self.grades.see(world, decision.prediction);
        self.shown = self.shows.then(|| decision.clone());
        world.tally.actions += u64::from(decision.actions.iter().any(|action| action.kind.capacity() != 0));
        if self.active_until.is_some() {
            self.delayed.extend(decision.actions);
            world.after(ACT_DELAY, Timer::Act { decider: self.number });
        } else {
            self.act(world, &decision.actions);
        }
    }

    /// What was decided since it was last taken, and what it was decided from.
    pub(super) fn take_shown(&mut self) -> Option<(Decision, &Observation)> {
        Some((self.shown.take()?, &self.seen))
    }

    pub(super) fn act_delayed(&mut self, world: &mut World<'_>) {
        let actions = std::mem::take(&mut self.delayed);
        self.act(world, &actions);
    }

    fn look(&mut self, world: &mut World<'_>) {
        let now = world.now;
        if self.listing != world.listing {
            self.listing = world.listing;
            self.seen.instances = sight::instances(world);
        } else {
            sight::refresh(&mut self.seen.instances, world);
        }
        self.seen.at = since_epoch(now);
        self.seen.supply = sight::supply(world);
        self.seen.boot = sight::boot(world);
        if let Some((mean, p95)) = world.tally.service() {
            self.seen.service.mean = Duration::from_secs_f64(mean);
            self.seen.service.p95 = Duration::from_secs_f64(p95);
        }
        if sight::is_stale(world) {
            return;
        }
        let totals = world.totals();
        let rates = self.listener.rates(now, totals, &world.counters);
        self.seen.late_ratio = rates.late_ratio;
        let arrivals = &mut self.seen.arrivals;
        (arrivals.latest, arrivals.fast, arrivals.slow) = (rates.latest, rates.fast, rates.slow);
        arrivals.total = self.listener.arrived(totals);
        arrivals.completed = self.listener.completed(totals);
        arrivals.late = self.listener.late(totals);
        self.seen.queue = sight::queue(world, &mut self.noise);
    }

    fn act(&mut self, world: &mut World<'_>, actions: &[Action]) {
        let confirmations = world.confirmations;
        for action in actions {
            if action.kind == ActionKind::Launch {
                // Refused: counted, and asked for again if it is still needed.
                let _ = world.launch();
                continue;
            }
            let Some(machine) = sight::number_of(&action.instance_id) else { continue };
            match action.kind {
                ActionKind::Start => {
                    let _ = world.start(machine);
                }
                ActionKind::Undrain => {
                    world.undrain(machine);
                }
                ActionKind::Drain => world.drain(machine),
                // What would hurt is not prevented here: it is counted.
                ActionKind::Stop => match world.machines[machine].phase {
                    Phase::Stopping | Phase::Stopped | Phase::Gone => {}
                    _ => world.kill(machine),
                },
                ActionKind::Terminate => world.terminate(machine),
                ActionKind::Launch => {}
            }
        }
        if world.confirmations > confirmations {
            self.heard(world);
        }
    }

    /// In seconds.
    pub(super) fn prediction_error(&self) -> f64 {
        if self.grades.count == 0 { 0.0 } else { self.grades.errors / f64::from(self.grades.count) }
    }
}

impl Grades {
    fn see(&mut self, world: &World<'_>, prediction: Prediction) {
        let answers = &world.tally.latencies;
        if let Some((at, then, predicted)) = self.open {
            if world.now < at + GRADED_AFTER {
                return;
            }
            self.open = None;
            let mut since = answers[then..].to_vec();
            if !since.is_empty() {
                self.errors += (quantile(&mut since, 0.95) - predicted).abs();
                self.count += 1;
            }
        }
        self.open = prediction.p95.map(|p95| (world.now, answers.len(), p95.as_secs_f64()));
    }
}
