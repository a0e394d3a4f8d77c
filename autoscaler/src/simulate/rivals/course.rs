//! The course report's `Manager.py` as written: every 30 s one instance for each five visible messages, and everything
//! stopped when none is visible. (Its line that starts instances has MAX where only `min` fits its own examples; this
//! has `min`.) What it gets wrong is part of it: messages in work do not count.

use super::{POLLED_COUNTS_LAG, current, in_system, visible, whole};
use crate::simulate::{Manner, Rival, Seen, Victims};

#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// "scaling parameter ... intervals of 5": 8 -> 2, 16 -> 4.
    pub messages_per_instance: f64,
    /// Seconds between looks at the queue: 30 in `Manager.py`.
    pub poll: f64,
    /// Not in the report, and the first thing to mend: without it a busy fleet with an empty queue is stopped.
    pub count_in_flight: bool,
}

impl Default for Course {
    fn default() -> Self {
        Self { messages_per_instance: 5.0, poll: 30.0, count_in_flight: false }
    }
}

pub(super) fn grid() -> impl Iterator<Item = Course> {
    let polls = [10.0, 30.0].into_iter();
    polls.flat_map(|poll| {
        [false, true].into_iter().flat_map(move |count_in_flight| {
            let per_instance = [1.0, 2.0, 3.0, 5.0, 10.0].into_iter();
            per_instance.map(move |messages_per_instance| Course {
                messages_per_instance,
                poll,
                count_in_flight,
            })
        })
    })
}

impl Course {
    pub(super) fn words(&self) -> String {
        let counted = if self.count_in_flight { "visible + in flight" } else { "visible" };
        format!("{} {counted} an instance, every {} s", self.messages_per_instance, self.poll)
    }
}

impl Rival for Course {
    fn name(&self) -> &str {
        "course"
    }

    fn manner(&self) -> Manner {
        Manner {
            tick: self.poll,
            random_phase: true,
            // Any instance is stopped, but its worker was written to finish what it holds.
            victims: Victims::Any,
            undrain: false,
            idle_stop: None,
            counts_lag: POLLED_COUNTS_LAG,
            push_on_empty: false,
        }
    }

    fn want(&mut self, seen: &Seen) -> Option<u32> {
        let messages = if self.count_in_flight { in_system(seen) } else { visible(seen) };
        let want = whole((messages / self.messages_per_instance).ceil()).clamp(seen.min, seen.max);
        (want != current(seen)).then_some(want)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reports_examples_come_out_as_printed() {
        let check = |visible: u64, want: u32| {
            // One more than wanted is there, so that every answer is a change.
            let seen = Seen { visible, in_flight: 3, ready: want + 1, max: 20, ..Seen::default() };
            assert_eq!(Course::default().want(&seen), Some(want), "{visible}");
        };
        for (visible, want) in [(0, 0), (1, 1), (5, 1), (6, 2), (8, 2), (16, 4), (100, 20), (101, 20)] {
            check(visible, want);
        }
    }

    #[test]
    fn busy_fleet_with_nothing_visible_is_stopped_unless_that_is_mended() {
        let busy = Seen { in_flight: 6, ready: 6, max: 20, ..Seen::default() };
        assert_eq!(Course::default().want(&busy), Some(0));
        let mut mended = Course { count_in_flight: true, messages_per_instance: 1.0, ..Course::default() };
        assert_eq!(mended.want(&busy), None);
    }
}
