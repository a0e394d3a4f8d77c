//! What one decision leaves for the next: the load of the last minutes, and what was needed and done.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    history::History,
    observation::{Census, Observation},
    policy::{Policy, Rule},
    reserve::{self, Reserve},
    surge::{Change, Surges, change},
    terms::{self, Term},
};

/// Starts empty. An empty state holds what is there for a while: a restart stops nothing by itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Needs within the hold.
    needs: Highest,
    /// The same of what keeps coming, over a longer time that ends when less comes.
    steady: Highest,
    /// When an image was last seen waiting or being worked on.
    last_work: Option<Duration>,
    /// How many were asked to go lately, and when.
    drains: VecDeque<(Duration, u32)>,
    /// What was there when nothing was remembered yet, and until when it is held.
    held: Option<(Duration, u32)>,
    started: bool,
    surges: Surges,
    history: History,
    reserve: Reserve,
}

/// The largest of the last values: they fall from front to back, so the front is it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Highest(VecDeque<(Duration, u32)>);

impl Highest {
    fn forget_before(&mut self, then: Duration) {
        while self.0.front().is_some_and(|(at, _)| *at < then) {
            self.0.pop_front();
        }
    }

    fn push(&mut self, at: Duration, value: u32) {
        while self.0.back().is_some_and(|(_, smaller)| *smaller <= value) {
            self.0.pop_back();
        }
        self.0.push_back((at, value));
    }

    fn get(&self) -> u32 {
        self.0.front().map_or(0, |(_, value)| *value)
    }
}

/// What an answer takes from the state: plain numbers, so that it can be given again from a record.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Recalled {
    /// The most that was needed within the hold.
    pub largest_need: u32,
    /// When an image was last seen waiting or being worked on.
    pub last_work: Option<Duration>,
    /// How much longer a surge of arrivals is expected to go on; `None` when there is none.
    pub surge_left: Option<Duration>,
    /// Arrivals a second over the longest time that is like the last minute; `None`: only the last minute is.
    pub level: Option<f64>,
    /// By how much the arrivals a second grow each second, where they have done so for minutes.
    pub slope: f64,
    /// Instances that the last minutes taught to keep.
    pub reserve: f64,
    /// The reserve is what this share of so long a time needed.
    pub reserve_window: Duration,
    pub reserve_quantile: f64,
    /// Asked to go within the last minute.
    pub drained: u32,
}

/// After a start without memory nothing goes for this long: the time it takes to know the load.
const HOLD_AT_START: Duration = Duration::from_secs(60);

/// The time in which only so many may be asked to go.
const DRAIN_WINDOW: Duration = Duration::from_secs(60);

/// Of a large fleet, such a share may go and come back in a short while; the cloud takes its time to start it again.
const CHURN: f64 = 0.004;

/// Longer than this nothing is held for fear of the cloud.
const REGAIN_MAX: Duration = Duration::from_secs(300);

/// How long the cloud takes to start again what a fleet of this size gives up by chance.
fn regain(observation: &Observation, census: &Census) -> Duration {
    let per_second = observation.supply.start_tokens_per_second;
    if per_second <= 0.0 {
        return Duration::ZERO;
    }
    let seconds = f64::from(census.current()) * CHURN / per_second;
    Duration::from_secs_f64(seconds.min(REGAIN_MAX.as_secs_f64()))
}

impl State {
    /// As it was written down by an earlier run: what was learned stays, and what is there is held once more.
    #[must_use]
    pub fn resumed(mut self) -> Self {
        self.started = false;
        self
    }

    /// The state with this observation in it, before anything is decided.
    pub(super) fn seen(&self, observation: &Observation, census: &Census, policy: &Policy) -> Self {
        let (mut state, at) = (self.clone(), observation.at);
        if !state.started {
            state.started = true;
            let current = census.current();
            let known = if policy.reads_load() { HOLD_AT_START } else { Duration::ZERO };
            let hold = policy.hold(&observation.boot).max(known);
            state.held = Some((at + hold, current));
            state.last_work = (current > 0).then_some(at);
        }
        if observation.queue.visible + observation.queue.in_flight > 0 {
            state.last_work = Some(at);
        }
        state.held = state.held.filter(|(until, _)| *until >= at);
        let (regain, boot) = (regain(observation, census), &observation.boot);
        state.needs.forget_before(at.saturating_sub(policy.hold(boot) + regain));
        state.steady.forget_before(at.saturating_sub(policy.steady_hold(boot) + regain));
        if change(&observation.arrivals) == Change::Down {
            state.steady = Highest::default();
        }
        while state.drains.front().is_some_and(|(then, _)| *then + DRAIN_WINDOW < at) {
            state.drains.pop_front();
        }
        state.surges.see(observation);
        for newer in state.history.see(at, observation.arrivals.total).rev() {
            if let Rule::Latency(rule) = &policy.rule {
                let demand = reserve::demand(&state.history, newer, observation, rule);
                state.reserve.learn(demand.min(f64::from(policy.max_instances)), observation.boot.warm);
            }
        }
        if let Rule::Latency(rule) = &policy.rule {
            state.reserve.price(observation, rule);
        }
        state
    }

    pub(super) fn recall(&self, observation: &Observation, policy: &Policy) -> Recalled {
        let reserve = match policy.rule {
            Rule::Latency(_) => self.reserve.advice(),
            _ => reserve::Advice::default(),
        };
        // Drains of this very moment are those of this decision, asked for again.
        let drained =
            self.drains.iter().filter(|(then, _)| *then < observation.at).map(|(_, count)| count).sum();
        Recalled {
            largest_need: self.largest_need(),
            last_work: self.last_work,
            surge_left: self.surges.left(observation.at),
            level: self.history.level(),
            slope: self.history.slope(),
            reserve: reserve.instances,
            reserve_window: reserve.window,
            reserve_quantile: reserve.quantile,
            drained,
        }
    }

    /// The most that was needed within the hold.
    pub(super) fn largest_need(&self) -> u32 {
        self.needs.get().max(self.steady.get()).max(self.held.map_or(0, |(_, instances)| instances))
    }

    /// Remembers what was needed and how many are asked to go. The same at the same moment changes nothing.
    pub(super) fn remember(&mut self, at: Duration, terms: &[Term], drained: u32) {
        self.needs.push(at, terms::work(terms));
        self.steady.push(at, terms::steady(terms));
        self.drains.retain(|(then, _)| *then < at);
        if drained > 0 {
            self.drains.push_back((at, drained));
        }
    }
}
