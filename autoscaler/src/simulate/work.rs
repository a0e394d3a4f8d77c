//! The queue and the workers' hands: what happens once or twice for every image, and so without
//! allocation and with few branches.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque, binary_heap::PeekMut},
};

use super::clock::{Micros, NEVER, micros};

/// Bits of an event's key that say which slot; the others are its time. Two million slots, and 101 days.
const SLOT_BITS: u32 = 21;

/// An image that waits or is worked on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Image {
    pub(super) arrived: Micros,
    /// How long it takes when it is alone in its worker, in microseconds.
    pub(super) service: u32,
}

/// A place in a worker for one image.
#[derive(Debug, Clone, Copy)]
struct Slot {
    image: Image,
    started: Micros,
    /// When it is done; [`NEVER`]: nothing is in it.
    due: Micros,
    /// Whether it is in the list of idle ones, which it leaves only from the front.
    listed: bool,
}

/// What one machine's worker does.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Worker {
    /// Whether it takes images.
    pub(super) taking: bool,
    pub(super) busy: u32,
    pub(super) idle_since: Micros,
}

#[derive(Debug)]
pub(super) struct Work {
    slots_each: u32,
    slowdown: f64,
    queue: VecDeque<Image>,
    slots: Vec<Slot>,
    workers: Vec<Worker>,
    /// Slots that became idle, longest ago first. Those of a worker that takes nothing are passed over.
    idle: VecDeque<u32>,
    /// Time and slot in one number. What was taken out of a slot leaves its event behind.
    completions: BinaryHeap<Reverse<u64>>,
    pub(super) in_flight: u64,
}

/// An image that is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    pub(super) worker: usize,
    pub(super) image: Image,
    /// How long it was worked on.
    pub(super) took: Micros,
}

impl Work {
    pub(super) fn new(slots_each: u32, slowdown: f64) -> Self {
        Self {
            slots_each: slots_each.max(1),
            slowdown,
            queue: VecDeque::new(),
            slots: Vec::new(),
            workers: Vec::new(),
            idle: VecDeque::new(),
            completions: BinaryHeap::new(),
            in_flight: 0,
        }
    }

    pub(super) fn add_worker(&mut self) {
        self.workers.push(Worker::default());
        let slot = Slot { image: Image::default(), started: 0, due: NEVER, listed: false };
        self.slots.extend(std::iter::repeat_n(slot, self.slots_each as usize));
        assert!(self.slots.len() < 1 << SLOT_BITS, "more machines than a run can have");
    }

    pub(super) fn worker(&self, worker: usize) -> Worker {
        self.workers[worker]
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// When the image that waits longest arrived.
    pub(super) fn oldest_waiting(&self) -> Option<Micros> {
        self.queue.front().map(|image| image.arrived)
    }

    /// When the oldest image that is worked on arrived. Looks at every slot.
    pub(super) fn oldest_in_flight(&self) -> Option<Micros> {
        self.slots.iter().filter(|slot| slot.due != NEVER).map(|slot| slot.image.arrived).min()
    }

    /// Whether it has to wait.
    pub(super) fn arrive(&mut self, now: Micros, image: Image) -> bool {
        if self.queue.is_empty()
            && let Some(slot) = self.idle_slot()
        {
            self.give(now, slot, image);
            return false;
        }
        self.queue.push_back(image);
        true
    }

    /// Back to the front of the queue: it has waited longest.
    pub(super) fn give_back(&mut self, now: Micros, image: Image) {
        self.queue.push_front(image);
        self.hand_out(now);
    }

    pub(super) fn next_completion(&self) -> Micros {
        self.completions.peek().map_or(NEVER, |Reverse(key)| key >> SLOT_BITS)
    }

    /// Takes the next completion; `None` when the image was taken away before. A worker that takes
    /// images goes on with the next one.
    pub(super) fn complete(&mut self) -> Option<Done> {
        let mut top = self.completions.peek_mut()?;
        let (at, number) = (top.0 >> SLOT_BITS, slot_of(top.0));
        let slot = &mut self.slots[number];
        if slot.due != at {
            PeekMut::pop(top);
            return None;
        }
        let worker_number = number / self.slots_each as usize;
        let worker = &mut self.workers[worker_number];
        let done = Done { worker: worker_number, image: slot.image, took: at - slot.started };
        if worker.taking
            && let Some(image) = self.queue.pop_front()
        {
            // In place of the old event: one way through the heap and not two.
            (slot.image, slot.started, slot.due) = (image, at, at + took(image, worker.busy, self.slowdown));
            *top = Reverse(key(slot.due, number));
            return Some(done);
        }
        PeekMut::pop(top);
        slot.due = NEVER;
        worker.busy -= 1;
        worker.idle_since = at;
        self.in_flight -= 1;
        if worker.taking && !slot.listed {
            slot.listed = true;
            self.idle.push_back(small(number));
        }
        Some(done)
    }

    /// From now on it takes images.
    pub(super) fn open(&mut self, now: Micros, worker: usize) {
        self.workers[worker].taking = true;
        if self.workers[worker].busy == 0 {
            self.workers[worker].idle_since = now;
        }
        for number in self.slots_of(worker) {
            let slot = &mut self.slots[number];
            if slot.due == NEVER && !slot.listed {
                slot.listed = true;
                self.idle.push_back(small(number));
            }
        }
        self.hand_out(now);
    }

    /// It takes nothing more. Whether it holds nothing either.
    pub(super) fn close(&mut self, worker: usize) -> bool {
        self.workers[worker].taking = false;
        self.workers[worker].busy == 0
    }

    /// Takes what a worker holds out of its hands.
    pub(super) fn take_away(&mut self, worker: usize) -> Vec<Image> {
        let mut images = Vec::new();
        for number in self.slots_of(worker) {
            let slot = &mut self.slots[number];
            if slot.due != NEVER {
                slot.due = NEVER;
                images.push(slot.image);
            }
        }
        self.workers[worker].busy = 0;
        self.in_flight -= images.len() as u64;
        images
    }

    fn hand_out(&mut self, now: Micros) {
        while !self.queue.is_empty() {
            let Some(slot) = self.idle_slot() else { break };
            let Some(image) = self.queue.pop_front() else { break };
            self.give(now, slot, image);
        }
    }

    fn give(&mut self, now: Micros, number: usize, image: Image) {
        let worker = &mut self.workers[number / self.slots_each as usize];
        worker.busy += 1;
        self.in_flight += 1;
        let slot = &mut self.slots[number];
        (slot.image, slot.started, slot.due) = (image, now, now + took(image, worker.busy, self.slowdown));
        self.completions.push(Reverse(key(slot.due, number)));
    }

    fn idle_slot(&mut self) -> Option<usize> {
        while let Some(number) = self.idle.pop_front() {
            let number = number as usize;
            self.slots[number].listed = false;
            let worker = self.workers[number / self.slots_each as usize];
            if worker.taking && self.slots[number].due == NEVER {
                return Some(number);
            }
        }
        None
    }

    fn slots_of(&self, worker: usize) -> std::ops::Range<usize> {
        let each = self.slots_each as usize;
        worker * each..(worker + 1) * each
    }
}

/// A machine's or a slot's number as lists keep it.
pub(super) fn small(number: usize) -> u32 {
    u32::try_from(number).expect("`add_worker` lets no run have more than two million slots")
}

fn key(due: Micros, slot: usize) -> u64 {
    (due << SLOT_BITS) | slot as u64
}

fn slot_of(key: u64) -> usize {
    #[allow(clippy::cast_possible_truncation, reason = "only `SLOT_BITS` are left")]
    let slot = (key & ((1 << SLOT_BITS) - 1)) as usize;
    slot
}

/// How long an image takes in a worker with so many in its hands.
fn took(image: Image, busy: u32, slowdown: f64) -> Micros {
    if slowdown == 0.0 {
        return Micros::from(image.service);
    }
    let others = f64::from(busy.saturating_sub(1));
    micros(f64::from(image.service) / 1e6 * (1.0 + slowdown * others))
}
