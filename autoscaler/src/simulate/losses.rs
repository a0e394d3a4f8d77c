//! Machines that go with work in their hands: killed by a rival, or taken back by the cloud.

use super::{
    clock::{Micros, micros},
    work::small,
    world::{Phase, Timer, World},
};

/// SQS's default of 30 s: when an image comes back whose worker was killed.
const VISIBILITY: f64 = 30.0;

impl World<'_> {
    /// What it holds is lost, and comes back after the visibility timeout.
    pub(super) fn kill(&mut self, machine: usize) {
        for image in self.work.take_away(machine) {
            self.tally.interrupted += 1;
            self.hidden.push_back(image);
            self.after(micros(VISIBILITY), Timer::Redeliver);
        }
        self.stop(machine);
    }

    /// The cloud wants it back: its worker finishes what it can, and is told so by nobody else.
    pub(super) fn notice(&mut self, machine: usize, notice: Micros) {
        let (number, start) = (small(machine), self.machines[machine].start);
        self.after(notice, Timer::TakenBack { machine: number, start });
        self.finish(machine, Phase::Leaving);
    }

    /// A killed worker's image is seen again.
    pub(super) fn redeliver(&mut self) {
        if let Some(image) = self.hidden.pop_front() {
            self.work.give_back(self.now, image);
        }
    }

    /// The cloud wants a share of the machines back, and says so to each within some time.
    pub(super) fn storm(&mut self, share: f64, within: f64, notice: f64) {
        for number in self.listed.clone() {
            let machine = &self.machines[number as usize];
            let (runs, start) = (matches!(machine.phase, Phase::Starting | Phase::Ready), machine.start);
            if self.fault_stream.chance(share) && runs {
                let delay = micros(self.fault_stream.uniform() * within);
                self.after(delay, Timer::Notice { machine: number, start, notice: micros(notice) });
            }
        }
    }

    /// The notice is over. What the worker could not finish it gave back just before.
    pub(super) fn taken_back(&mut self, machine: usize) {
        let images = self.work.take_away(machine);
        self.tally.requeued += images.len() as u64;
        self.work.close(machine);
        self.end(machine);
        for image in images {
            self.work.give_back(self.now, image);
        }
    }
}
