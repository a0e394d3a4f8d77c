//! A rival in a simulated world: its formula at its own ticks, and its own way to choose victims.

use std::cmp::Reverse;

use super::{
    Manner, Rival, Seen, Victims,
    clock::{Micros, micros, seconds},
    counters::Totals,
    random::Stream,
    sight,
    world::{Phase, Timer, World},
};

pub(super) struct Theirs {
    rival: Box<dyn Rival>,
    manner: Manner,
    victims: Stream,
    noise: Stream,
    /// The counts it saw last.
    counts: Totals,
    down_until: Micros,
    pub(super) want: u32,
}

/// The random numbers of a rival.
pub(super) struct Chances {
    /// Of the first tick, from 0 to 1.
    pub(super) phase: f64,
    pub(super) victims: Stream,
    pub(super) noise: Stream,
}

impl Theirs {
    pub(super) fn new(world: &mut World<'_>, rival: Box<dyn Rival>, chances: Chances) -> Self {
        let Chances { phase, victims, noise } = chances;
        let manner = rival.manner();
        world.tends_itself = true;
        let first = if manner.random_phase { phase * manner.tick } else { 0.0 };
        world.after(micros(first), Timer::Tick { decider: 0 });
        let counts = Totals::default();
        Self { rival, manner, victims, noise, counts, down_until: 0, want: world.current() }
    }

    /// Decides nothing for a while. What it remembers it keeps.
    pub(super) fn restart(&mut self, until: Micros) {
        self.down_until = until;
    }

    /// An image has to wait.
    pub(super) fn waits(&mut self, world: &mut World<'_>) {
        if self.manner.push_on_empty && world.current() == 0 {
            self.ask(world);
        }
    }

    pub(super) fn tick(&mut self, world: &mut World<'_>) {
        world.after(micros(self.manner.tick), Timer::Tick { decider: 0 });
        if let Some(idle_stop) = self.manner.idle_stop {
            stop_idle(world, idle_stop);
        }
        self.ask(world);
    }

    fn ask(&mut self, world: &mut World<'_>) {
        if world.now < self.down_until {
            return;
        }
        let seen = self.see(world);
        let Some(want) = self.rival.want(&seen) else { return };
        let (min, max) = (world.scenario.min_instances, world.scenario.max_instances);
        self.want = want.min(max).max(min);
        let current = world.current();
        if self.want == current {
            return;
        }
        world.tally.actions += 1;
        if self.want > current {
            self.grow(world, self.want - current);
        } else {
            self.shrink(world, (current - self.want) as usize);
        }
    }

    fn see(&mut self, world: &World<'_>) -> Seen {
        let lag = micros(self.manner.counts_lag);
        if !sight::is_stale(world) {
            self.counts = match sight::guessed(world, &mut self.noise) {
                Some(guessed) => guessed,
                None if lag == 0 => world.totals(),
                None => world.counters.at(world.now.saturating_sub(lag)),
            };
        }
        Seen {
            at: seconds(world.now),
            visible: self.counts.visible,
            in_flight: self.counts.in_flight,
            ready: world.count(Phase::Ready),
            starting: world.count(Phase::Starting),
            draining: world.count(Phase::Draining),
            stopped: world.count(Phase::Stopped),
            max: world.scenario.max_instances,
            min: world.scenario.min_instances,
        }
    }

    fn grow(&self, world: &mut World<'_>, mut count: u32) {
        if self.manner.undrain {
            for machine in in_phase(world, Phase::Draining).into_iter().take(count as usize) {
                count -= u32::from(world.undrain(machine));
            }
        }
        for _ in 0..count {
            // Refused: counted, and asked for again at the next tick.
            let _ = world.start_any();
        }
    }

    fn shrink(&mut self, world: &mut World<'_>, mut count: usize) {
        let mut ready = in_phase(world, Phase::Ready);
        match self.manner.victims {
            Victims::IdleFirst => {
                ready.retain(|machine| world.machines[*machine].paid_until <= world.now);
                ready.sort_by_key(|machine| {
                    let worker = world.work.worker(*machine);
                    let idle_since = if worker.busy == 0 { worker.idle_since } else { 0 };
                    (worker.busy > 0, idle_since, world.machines[*machine].started)
                });
            }
            Victims::NotReadyFirst => {
                let mut starting = in_phase(world, Phase::Starting);
                starting.sort_by_key(|machine| Reverse(world.machines[*machine].started));
                for machine in starting.into_iter().take(count) {
                    world.stop(machine);
                    count -= 1;
                }
                self.shuffle(&mut ready);
            }
            Victims::Any | Victims::Kill => self.shuffle(&mut ready),
        }
        for machine in ready.into_iter().take(count) {
            if self.manner.victims == Victims::Kill {
                world.kill(machine);
            } else {
                world.drain(machine);
            }
        }
    }

    fn shuffle(&mut self, machines: &mut [usize]) {
        for last in (1..machines.len()).rev() {
            machines.swap(last, self.victims.below(last + 1));
        }
    }
}

/// Workers that stop themselves once they have been idle for so long.
fn stop_idle(world: &mut World<'_>, idle_stop: f64) {
    let idle_stop = micros(idle_stop);
    for machine in in_phase(world, Phase::Ready) {
        let worker = world.work.worker(machine);
        let is_over = worker.busy == 0 && world.now - worker.idle_since >= idle_stop;
        if is_over && world.current() > world.scenario.min_instances {
            world.drain(machine);
        }
    }
}

fn in_phase(world: &World<'_>, phase: Phase) -> Vec<usize> {
    let numbers = world.listed.iter().map(|number| *number as usize);
    numbers.filter(|number| world.machines[*number].phase == phase).collect()
}
