//! How long the last boots took.

use std::{collections::VecDeque, time::Duration};

/// Boots that the measured time is the median of.
const BOOTS: usize = 21;

/// The last boots of one kind.
#[derive(Debug, Default)]
pub(super) struct Boots(VecDeque<Duration>);

impl Boots {
    pub(super) fn add(&mut self, boot: Duration) {
        if self.0.len() == BOOTS {
            self.0.pop_front();
        }
        self.0.push_back(boot);
    }

    pub(super) fn median(&self) -> Option<Duration> {
        let mut sorted: Vec<_> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }

    pub(super) fn longest(&self) -> Option<Duration> {
        self.0.iter().copied().max()
    }
}
