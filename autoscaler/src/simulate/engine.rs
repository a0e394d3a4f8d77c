//! The event loop: arrivals, completions and timers in the order of their times.

use crate::decide::Rule;

use super::{
    Look, Player, RunOptions,
    arrivals::Generator,
    clock::{Micros, NEVER, micros},
    ours::Ours,
    outcome::Outcome,
    random::{LogNormal, Purpose, Stream},
    scenario::{Fault, Scenario},
    theirs::{Chances, Theirs},
    timeline::Timeline,
    work::{Image, small},
    world::{Phase, Timer, World},
};

/// However badly it is scaled, a run ends so long after its last arrival; what is left is lost.
const GIVE_UP_AFTER: f64 = 86_400.0;

pub(super) struct Engine<'a> {
    world: World<'a>,
    generator: Generator,
    service: LogNormal,
    service_stream: Stream,
    next_arrival: Micros,
    last_arrival: Micros,
    /// When it is over, once that is known.
    ends_at: Micros,
    deciders: Deciders,
    timeline: Option<Timeline>,
}

/// The first leads; others of ours believe that they do.
enum Deciders {
    Ours(Vec<Ours>),
    Theirs(Theirs),
}

impl<'a> Engine<'a> {
    pub(super) fn new(scenario: &'a Scenario, player: Player, seed: u64, options: RunOptions) -> Self {
        let mut world = World::new(scenario, seed);
        let mut phase = Stream::new(&scenario.name, seed, Purpose::Phase);
        let deciders = match player {
            Player::Ours(policy) => {
                if let Rule::Latency(rule) = &policy.rule {
                    world.tally.policy_target = micros(rule.target.as_secs_f64());
                }
                let counts = Stream::new(&scenario.name, seed, Purpose::Counts);
                Deciders::Ours(vec![Ours::new(&mut world, policy, phase.uniform(), counts)])
            }
            Player::Rival(rival) => {
                let chances = Chances {
                    phase: phase.uniform(),
                    victims: Stream::new(&scenario.name, seed, Purpose::Victims),
                    noise: Stream::new(&scenario.name, seed, Purpose::Counts),
                };
                Deciders::Theirs(Theirs::new(&mut world, rival, chances))
            }
        };
        for (number, fault) in scenario.faults.iter().enumerate() {
            let number = small(number);
            if let Some(at) = first_moment(fault) {
                world.after(micros(at), Timer::Fault { number });
            }
        }
        let timeline = options.timeline.then(|| Timeline::new(&mut world));
        let mut generator = scenario.arrivals.generate(&scenario.name, seed);
        Self {
            next_arrival: generator.next(),
            generator,
            service: LogNormal::new(scenario.service.mean, scenario.service.variation),
            service_stream: Stream::new(&scenario.name, seed, Purpose::Service),
            last_arrival: 0,
            ends_at: NEVER,
            world,
            deciders,
            timeline,
        }
    }

    pub(super) fn run(mut self) -> Outcome {
        while self.step() {}
        self.end_run()
    }

    /// Shows each decision of ours, and stops when whoever looks on has seen enough.
    pub(super) fn run_shown(mut self, look: &mut Look<'_>) -> Option<Outcome> {
        if let Deciders::Ours(deciders) = &mut self.deciders {
            deciders[0].shows = true;
        }
        while self.step() {
            if let Deciders::Ours(deciders) = &mut self.deciders
                && let Some((decision, seen)) = deciders[0].take_shown()
                && look(&decision, seen).is_break()
            {
                return None;
            }
        }
        Some(self.end_run())
    }

    /// Does what comes next; false when there is nothing.
    fn step(&mut self) -> bool {
        let (completion, timer) = (self.world.work.next_completion(), self.world.next_timer());
        let now = self.next_arrival.min(completion).min(timer);
        if self.next_arrival == NEVER {
            if self.ends_at == NEVER {
                self.ends_at = self.end(now);
            }
            if self.ends_at != NEVER && (!self.world.is_running() || now > self.ends_at) {
                return false;
            }
        }
        if self.world.counters.is_due(now) {
            let totals = self.world.totals();
            self.world.counters.sample(now, totals);
        }
        self.world.now = now;
        if now == self.next_arrival {
            self.arrive();
        } else if now == completion {
            self.complete();
        } else if let Some(timer) = self.world.take_timer() {
            self.on_timer(timer);
        }
        true
    }

    fn end_run(mut self) -> Outcome {
        self.world.pay_the_rest();
        self.outcome()
    }

    /// When a run ends in which nothing arrives any more; not yet known while images are there.
    fn end(&self, now: Micros) -> Micros {
        let given_up = self.last_arrival + micros(GIVE_UP_AFTER);
        if self.world.tally.completed() == self.world.arrived {
            self.world.now + micros(self.world.scenario.tail)
        } else if now > given_up {
            given_up
        } else {
            NEVER
        }
    }

    fn arrive(&mut self) {
        let now = self.world.now;
        let service = micros(self.service.draw(&mut self.service_stream));
        let image = Image { arrived: now, service: u32::try_from(service).unwrap_or(u32::MAX) };
        self.world.arrived += 1;
        self.last_arrival = now;
        self.next_arrival = self.generator.next();
        if !self.world.work.arrive(now, image) {
            return;
        }
        match &mut self.deciders {
            Deciders::Ours(deciders) => {
                for decider in deciders {
                    decider.waits(&mut self.world);
                }
            }
            Deciders::Theirs(rival) => rival.waits(&mut self.world),
        }
    }

    fn complete(&mut self) {
        let Some(done) = self.world.work.complete() else { return };
        let latency = self.world.now - done.image.arrived;
        self.world.tally.answer(latency, Micros::from(done.image.service), done.took);
        let worker = self.world.work.worker(done.worker);
        if !worker.taking && worker.busy == 0 {
            self.world.confirm(done.worker);
            self.heard();
        }
    }

    /// Whoever waits for a worker's confirmation looks at once.
    fn heard(&mut self) {
        if let Deciders::Ours(deciders) = &mut self.deciders {
            for decider in deciders {
                decider.heard(&mut self.world);
            }
        }
    }

    fn on_timer(&mut self, timer: Timer) {
        let same = |world: &World<'_>, machine: u32, start: u32| {
            let of = &world.machines[machine as usize];
            of.start == start && !matches!(of.phase, Phase::Stopping | Phase::Stopped | Phase::Gone)
        };
        let world = &mut self.world;
        match timer {
            Timer::Booted { machine, start } => {
                if same(world, machine, start) {
                    world.booted(machine as usize);
                    self.heard();
                }
            }
            Timer::Overdue { machine, start } => {
                if same(world, machine, start) {
                    world.lose(machine as usize);
                    self.heard();
                }
            }
            Timer::Stopped { machine } => world.stopped(machine as usize),
            Timer::Redeliver => world.redeliver(),
            Timer::Notice { machine, start, notice } => {
                if same(world, machine, start) {
                    world.notice(machine as usize, notice);
                    self.heard();
                }
            }
            Timer::TakenBack { machine, start } => {
                if same(world, machine, start) {
                    world.taken_back(machine as usize);
                }
            }
            Timer::Fault { number } => self.on_fault(number as usize),
            Timer::Tick { decider } => self.decide(decider as usize, true),
            Timer::Wake { decider } => self.decide(decider as usize, false),
            Timer::Act { decider } => {
                if let Deciders::Ours(deciders) = &mut self.deciders
                    && let Some(decider) = deciders.get_mut(decider as usize)
                {
                    decider.act_delayed(&mut self.world);
                }
            }
            Timer::Sample => self.sample(),
        }
    }

    fn decide(&mut self, number: usize, is_tick: bool) {
        match &mut self.deciders {
            Deciders::Ours(deciders) => {
                if let Some(decider) = deciders.get_mut(number) {
                    decider.decide(&mut self.world, is_tick);
                }
            }
            Deciders::Theirs(rival) => rival.tick(&mut self.world),
        }
    }

    fn on_fault(&mut self, number: usize) {
        match self.world.scenario.faults[number] {
            Fault::SpotNotice { within, share, notice, .. } => self.world.storm(share, within, notice),
            Fault::Restart { down_for, snapshot, .. } => {
                let until = self.world.now + micros(down_for);
                match &mut self.deciders {
                    Deciders::Ours(deciders) => deciders[0].restart(until, snapshot),
                    Deciders::Theirs(rival) => rival.restart(until),
                }
            }
            Fault::SplitBrain { from, until } => {
                if let Deciders::Ours(deciders) = &mut self.deciders {
                    let until = self.world.now + micros(until - from);
                    let number = small(deciders.len());
                    let another = deciders[0].another(&mut self.world, number, until);
                    deciders.push(another);
                }
            }
            Fault::CapacityMissing { .. }
            | Fault::StaleCounts { .. }
            | Fault::ApproximateCounts { .. }
            | Fault::BootFailure { .. } => {}
        }
    }

    fn want(&self) -> u32 {
        match &self.deciders {
            Deciders::Ours(deciders) => deciders[0].want,
            Deciders::Theirs(rival) => rival.want,
        }
    }

    fn sample(&mut self) {
        let want = self.want();
        if let Some(timeline) = &mut self.timeline {
            timeline.sample(&mut self.world, want);
        }
    }

    fn outcome(mut self) -> Outcome {
        let prediction_error = match &self.deciders {
            Deciders::Ours(deciders) => deciders[0].prediction_error(),
            Deciders::Theirs(_) => 0.0,
        };
        let timeline = self.timeline.take().map(Timeline::into_samples);
        Outcome { prediction_error, timeline, ..Outcome::of(&mut self.world) }
    }
}

/// When a fault has to be seen to; `None`: it is looked up where it matters.
fn first_moment(fault: &Fault) -> Option<f64> {
    match fault {
        Fault::SpotNotice { at, .. } | Fault::Restart { at, .. } => Some(*at),
        Fault::SplitBrain { from, .. } => Some(*from),
        Fault::CapacityMissing { .. }
        | Fault::StaleCounts { .. }
        | Fault::ApproximateCounts { .. }
        | Fault::BootFailure { .. } => None,
    }
}
