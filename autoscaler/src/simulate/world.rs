//! The fleet as it really is: machines with their phases, what is paid for them, and what they do to
//! the work. Nothing here decides anything.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
};

use super::{
    clock::{Micros, NEVER, seconds},
    counters::{Counters, Totals},
    random::{Purpose, Stream},
    scenario::{Fault, Scenario},
    tally::Tally,
    work::{Image, Work, small},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Ready,
    /// Finishes what it holds; can be told to stay.
    Draining,
    /// The cloud wants it back: finishes what it can.
    Leaving,
    Drained,
    Stopping,
    Stopped,
    /// Its worker never came.
    Lost,
    /// Ended for good.
    Gone,
}

const PHASES: usize = Phase::Gone as usize + 1;

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) id: Arc<str>,
    pub(super) phase: Phase,
    pub(super) since: Micros,
    pub(super) cold: bool,
    pub(super) started: Micros,
    /// The end of the least that is paid for this start.
    pub(super) paid_until: Micros,
    pub(super) ready_at: Micros,
    pub(super) booted: bool,
    /// +1 with each start, so that what was to happen to an earlier one does not.
    pub(super) start: u32,
}

/// What happens at a set time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Booted {
        machine: u32,
        start: u32,
    },
    /// Its worker should have come long ago.
    Overdue {
        machine: u32,
        start: u32,
    },
    Stopped {
        machine: u32,
    },
    Redeliver,
    Notice {
        machine: u32,
        start: u32,
        notice: Micros,
    },
    TakenBack {
        machine: u32,
        start: u32,
    },
    Fault {
        number: u32,
    },
    Tick {
        decider: u32,
    },
    Wake {
        decider: u32,
    },
    Act {
        decider: u32,
    },
    Sample,
}

pub(super) struct World<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) now: Micros,
    pub(super) work: Work,
    pub(super) machines: Vec<Machine>,
    /// Numbers of those that are not gone, in order.
    pub(super) listed: Vec<u32>,
    /// +1 whenever `listed` changes.
    pub(super) listing: u64,
    pub(super) phases: [u32; PHASES],
    /// Machines that were stopped, the last to be started first. Some may have been started since.
    pub(super) pool: Vec<u32>,
    /// How often a worker confirmed that it holds nothing and may be stopped.
    pub(super) confirmations: u64,
    /// Images whose worker was killed: back in the queue after the visibility timeout.
    pub(super) hidden: VecDeque<Image>,
    timers: BinaryHeap<Reverse<(Micros, u64, Timer)>>,
    timer_number: u64,
    pub(super) counters: Counters,
    pub(super) tally: Tally,
    /// The last boots that were seen, warm and cold.
    pub(super) boots: [VecDeque<Micros>; 2],
    pub(super) tokens: f64,
    tokens_at: Micros,
    pub(super) boot_stream: Stream,
    pub(super) fault_stream: Stream,
    pub(super) boot_failures: f64,
    /// Whether what is drained stops by itself, and what is stopped beyond the pool ends by itself: for
    /// players that know no such thing.
    pub(super) tends_itself: bool,
    pub(super) arrived: u64,
}

impl<'a> World<'a> {
    pub(super) fn new(scenario: &'a Scenario, seed: u64) -> Self {
        let share = |fault: &Fault| match fault {
            Fault::BootFailure { share } => Some(*share),
            _ => None,
        };
        let mut world = Self {
            scenario,
            now: 0,
            work: Work::new(scenario.service.slots, scenario.service.slowdown),
            machines: Vec::new(),
            listed: Vec::new(),
            listing: 0,
            phases: [0; PHASES],
            pool: Vec::new(),
            confirmations: 0,
            hidden: VecDeque::new(),
            timers: BinaryHeap::new(),
            timer_number: 0,
            counters: Counters::default(),
            tally: Tally::new(scenario.target),
            boots: Default::default(),
            tokens: scenario.budget.map_or(0.0, |budget| budget.burst),
            tokens_at: 0,
            boot_stream: Stream::new(&scenario.name, seed, Purpose::Boot),
            fault_stream: Stream::new(&scenario.name, seed, Purpose::Faults),
            boot_failures: scenario.fault_share(share),
            tends_itself: false,
            arrived: 0,
        };
        for number in 0..scenario.stopped_pool.max(scenario.initially_ready) {
            let machine = world.add();
            world.set_phase(machine, Phase::Stopped);
            if number < scenario.initially_ready {
                world.machines[machine].booted = true;
                world.set_phase(machine, Phase::Ready);
                world.work.open(0, machine);
            } else {
                world.pool.push(small(machine));
            }
        }
        world
    }

    pub(super) fn count(&self, phase: Phase) -> u32 {
        self.phases[phase as usize]
    }

    /// Ready and starting.
    pub(super) fn current(&self) -> u32 {
        self.count(Phase::Ready) + self.count(Phase::Starting)
    }

    /// Whether anything is still being paid for.
    pub(super) fn is_running(&self) -> bool {
        small(self.listed.len()) > self.count(Phase::Stopped) + self.count(Phase::Stopping)
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            arrived: self.arrived,
            completed: self.tally.completed(),
            late: self.tally.late_for_policy,
            visible: self.work.waiting() as u64,
            in_flight: self.work.in_flight,
        }
    }

    pub(super) fn after(&mut self, delay: Micros, timer: Timer) {
        self.timer_number += 1;
        self.timers.push(Reverse((self.now.saturating_add(delay), self.timer_number, timer)));
    }

    pub(super) fn next_timer(&self) -> Micros {
        self.timers.peek().map_or(NEVER, |Reverse((at, ..))| *at)
    }

    pub(super) fn take_timer(&mut self) -> Option<Timer> {
        self.timers.pop().map(|Reverse((_, _, timer))| timer)
    }

    /// Start calls that would be taken now.
    pub(super) fn tokens(&mut self) -> Option<f64> {
        let budget = self.scenario.budget?;
        let passed = seconds(self.now - self.tokens_at);
        self.tokens = (self.tokens + passed * budget.per_second).min(budget.burst);
        self.tokens_at = self.now;
        Some(self.tokens)
    }
}
