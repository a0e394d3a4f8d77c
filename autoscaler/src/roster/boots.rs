//! How long the last boots took: of stopped instances, and of new ones.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

/// Boots that the measured time is the median of.
const BOOTS: usize = 21;

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boots {
    warm: VecDeque<Duration>,
    cold: VecDeque<Duration>,
}

/// Of which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Of a stopped instance.
    Warm,
    /// Of a new one.
    Cold,
}

impl Boots {
    pub fn add(&mut self, start: Start, boot: Duration) {
        let boots = match start {
            Start::Warm => &mut self.warm,
            Start::Cold => &mut self.cold,
        };
        if boots.len() == BOOTS {
            boots.pop_front();
        }
        boots.push_back(boot);
    }

    pub fn is_empty(&self) -> bool {
        self.warm.is_empty() && self.cold.is_empty()
    }

    /// `None` until one was measured.
    pub fn median(&self, start: Start) -> Option<Duration> {
        let mut sorted: Vec<_> = self.of(start).iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }

    pub fn longest(&self, start: Start) -> Option<Duration> {
        self.of(start).iter().copied().max()
    }

    fn of(&self, start: Start) -> &VecDeque<Duration> {
        match start {
            Start::Warm => &self.warm,
            Start::Cold => &self.cold,
        }
    }
}
