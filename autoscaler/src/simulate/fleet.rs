//! What can be done to a machine, and what it leads to.

use super::{
    clock::{micros, seconds},
    scenario::Fault,
    work::small,
    world::{Machine, Phase, Timer, World},
};

/// Boots that the measured time is the median of, as in `roster.rs`.
const BOOTS: usize = 21;

/// As in `roster.rs`: a worker that has not come by then is not coming; or by twice the slowest boot,
/// where that is longer.
const BOOT_LIMIT_MIN: f64 = 60.0;

/// Why a start did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Throttled,
    NoCapacity,
    /// There is nothing to start.
    Nothing,
}

impl World<'_> {
    /// A machine that nobody has heard of yet.
    pub(super) fn add(&mut self) -> usize {
        let number = self.machines.len();
        self.machines.push(Machine {
            // In the order of their ids, too.
            id: format!("sim-{number:07}").into(),
            phase: Phase::Gone,
            since: self.now,
            cold: false,
            started: 0,
            paid_until: 0,
            ready_at: 0,
            booted: false,
            start: 0,
        });
        self.phases[Phase::Gone as usize] += 1;
        self.listed.push(small(number));
        self.listing += 1;
        self.work.add_worker();
        number
    }

    pub(super) fn set_phase(&mut self, machine: usize, phase: Phase) {
        let of = &mut self.machines[machine];
        self.phases[of.phase as usize] -= 1;
        self.phases[phase as usize] += 1;
        (of.phase, of.since) = (phase, self.now);
        let running = self.count(Phase::Starting) + self.count(Phase::Ready) + self.count(Phase::Draining);
        self.tally.peak = self.tally.peak.max(running);
    }

    /// One call, unless the account's budget or the cloud's capacity refuses it.
    fn call_start(&mut self) -> Result<(), Refused> {
        self.tally.calls += 1;
        if let Some(tokens) = self.tokens() {
            if tokens < 1.0 {
                self.tally.throttled += 1;
                return Err(Refused::Throttled);
            }
            self.tokens -= 1.0;
        }
        let now = seconds(self.now);
        let missing = |fault: &Fault| match fault {
            Fault::CapacityMissing { from, until, share } if (*from..*until).contains(&now) => Some(*share),
            _ => None,
        };
        let share = self.scenario.fault_share(missing);
        if self.fault_stream.chance(share) {
            self.tally.refused += 1;
            return Err(Refused::NoCapacity);
        }
        Ok(())
    }

    /// Starts one of the pool, or a new one where that is empty.
    pub(super) fn start_any(&mut self) -> Result<(), Refused> {
        while let Some(&machine) = self.pool.last() {
            if self.machines[machine as usize].phase == Phase::Stopped {
                return self.start(machine as usize);
            }
            self.pool.pop();
        }
        self.launch()
    }

    pub(super) fn start(&mut self, machine: usize) -> Result<(), Refused> {
        if self.machines[machine].phase != Phase::Stopped {
            return Err(Refused::Nothing);
        }
        self.call_start()?;
        self.machines[machine].cold = false;
        self.begin(machine);
        Ok(())
    }

    pub(super) fn launch(&mut self) -> Result<(), Refused> {
        self.call_start()?;
        let machine = self.add();
        self.machines[machine].cold = true;
        self.tally.cold_starts += 1;
        self.begin(machine);
        Ok(())
    }

    fn begin(&mut self, machine: usize) {
        let (boot, now) = (self.scenario.boot, self.now);
        let usual = if self.machines[machine].cold { boot.cold } else { boot.warm };
        let varied = micros(usual * (boot.jitter * self.boot_stream.normal()).exp().max(0.5));
        let of = &mut self.machines[machine];
        of.started = now;
        of.paid_until = now + micros(self.scenario.billed_min);
        of.ready_at = now + varied;
        of.booted = false;
        of.start += 1;
        let start = of.start;
        self.tally.starts += 1;
        self.set_phase(machine, Phase::Starting);
        let number = small(machine);
        if self.fault_stream.chance(self.boot_failures) {
            let slowest = self.boots.iter().flatten().copied().max().unwrap_or(micros(boot.cold));
            let limit = (slowest * 2).max(micros(BOOT_LIMIT_MIN));
            self.after(limit, Timer::Overdue { machine: number, start });
        } else {
            self.after(varied, Timer::Booted { machine: number, start });
        }
    }

    /// Its worker has come. What was told to drain before that is drained now.
    pub(super) fn booted(&mut self, machine: usize) {
        let of = &mut self.machines[machine];
        of.booted = true;
        let boots = &mut self.boots[usize::from(of.cold)];
        if boots.len() == BOOTS {
            boots.pop_front();
        }
        boots.push_back(self.now - of.started);
        match of.phase {
            Phase::Starting => {
                self.set_phase(machine, Phase::Ready);
                self.work.open(self.now, machine);
            }
            Phase::Draining | Phase::Leaving => self.confirm(machine),
            _ => {}
        }
    }

    /// Its worker never came.
    pub(super) fn lose(&mut self, machine: usize) {
        self.set_phase(machine, Phase::Lost);
        if self.tends_itself {
            self.stop(machine);
        }
    }

    pub(super) fn undrain(&mut self, machine: usize) -> bool {
        if self.machines[machine].phase != Phase::Draining {
            return false;
        }
        if self.machines[machine].booted {
            self.set_phase(machine, Phase::Ready);
            self.work.open(self.now, machine);
        } else {
            self.set_phase(machine, Phase::Starting);
        }
        true
    }

    pub(super) fn drain(&mut self, machine: usize) {
        self.finish(machine, Phase::Draining);
    }

    /// Takes nothing more, and confirms once it holds nothing.
    pub(super) fn finish(&mut self, machine: usize, phase: Phase) {
        if !matches!(self.machines[machine].phase, Phase::Starting | Phase::Ready | Phase::Draining) {
            return;
        }
        let empty = self.work.close(machine);
        self.set_phase(machine, phase);
        if empty && self.machines[machine].booted {
            self.confirm(machine);
        }
    }

    /// It holds nothing and takes nothing. One that the cloud takes back ends by itself.
    pub(super) fn confirm(&mut self, machine: usize) {
        if self.machines[machine].phase == Phase::Leaving {
            self.end(machine);
        } else if self.tends_itself {
            self.stop(machine);
        } else {
            self.set_phase(machine, Phase::Drained);
            self.confirmations += 1;
        }
    }

    /// Stops one whose worker holds nothing, or never came.
    pub(super) fn stop(&mut self, machine: usize) {
        let empty = self.work.close(machine);
        assert!(empty, "a machine is stopped only when its worker holds nothing");
        self.pay(machine);
        self.tally.stops += 1;
        self.set_phase(machine, Phase::Stopping);
        self.after(micros(self.scenario.stop), Timer::Stopped { machine: small(machine) });
    }

    pub(super) fn stopped(&mut self, machine: usize) {
        if self.tends_itself && self.count(Phase::Stopped) >= self.scenario.stopped_pool {
            self.forget(machine);
        } else {
            self.set_phase(machine, Phase::Stopped);
            self.pool.push(small(machine));
        }
    }

    pub(super) fn terminate(&mut self, machine: usize) {
        if self.machines[machine].phase == Phase::Stopped {
            self.forget(machine);
        }
    }

    pub(super) fn end(&mut self, machine: usize) {
        self.pay(machine);
        self.forget(machine);
    }

    fn forget(&mut self, machine: usize) {
        self.set_phase(machine, Phase::Gone);
        self.listed.retain(|listed| *listed as usize != machine);
        self.listing += 1;
    }

    fn pay(&mut self, machine: usize) {
        let of = &self.machines[machine];
        self.tally.billed += self.now.max(of.paid_until) - of.started;
    }

    /// At the end of the run, what still runs is paid for up to now.
    pub(super) fn pay_the_rest(&mut self) {
        for number in std::mem::take(&mut self.listed) {
            let machine = number as usize;
            if !matches!(self.machines[machine].phase, Phase::Stopped | Phase::Stopping) {
                self.pay(machine);
            }
        }
    }
}
