//! How many images arrived, in steps of ten seconds, over the last day: to try a policy on what really came.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

/// Short against a boot, and a day of it is a few tens of kilobytes.
pub const STEP: Duration = Duration::from_secs(10);

/// A day.
const STEPS_MAX: usize = 8640;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Number of the first step since the Unix epoch.
    first: u64,
    counts: VecDeque<u32>,
}

/// A stretch of the past.
#[allow(dead_code, reason = "for Simulate")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// When it begins, since the Unix epoch.
    pub from: Duration,
    /// Arrivals in each [`STEP`] from there on.
    pub counts: Vec<u32>,
}

impl History {
    pub fn add(&mut self, at: Duration, arrived: u64) {
        if let Some(count) = self.at(number(at)) {
            *count = count.saturating_add(u32::try_from(arrived).unwrap_or(u32::MAX));
        }
    }

    /// The count of a step, and room for it; `None` when it is too long ago.
    fn at(&mut self, step: u64) -> Option<&mut u32> {
        if self.counts.is_empty() || step >= self.end() + STEPS_MAX as u64 {
            self.counts.clear();
            self.first = step;
        }
        let place = usize::try_from(step.checked_sub(self.first)?).ok()?;
        if self.counts.len() <= place {
            self.counts.resize(place + 1, 0);
        }
        let surplus = self.counts.len().saturating_sub(STEPS_MAX);
        self.counts.drain(..surplus);
        self.first += surplus as u64;
        self.counts.get_mut(place.checked_sub(surplus)?)
    }

    #[allow(dead_code, reason = "for Simulate")]
    /// The last `span` up to the whole step before `at`, as far as it is known; `None` when nothing of it is.
    pub fn last(&self, at: Duration, span: Duration) -> Option<Stretch> {
        let until = number(at);
        let from = number(at.saturating_sub(span)).max(self.first);
        if self.counts.is_empty() || from >= until {
            return None;
        }
        // Nothing was added since the end: nothing arrived.
        let count = |step: u64| {
            let place = usize::try_from(step - self.first).ok();
            place.and_then(|place| self.counts.get(place)).copied().unwrap_or(0)
        };
        Some(Stretch { from: STEP * u32::try_from(from).ok()?, counts: (from..until).map(count).collect() })
    }

    /// What was recorded by the process before this one is put before what has been recorded since. Of a step that is in both
    /// the larger count is taken: it may be this process's own, written down by itself.
    pub fn put_before(&mut self, older: Self) {
        let mut whole = older;
        let newer = std::mem::take(self);
        for (step, newer) in (newer.first..).zip(newer.counts) {
            if let Some(count) = whole.at(step) {
                *count = newer.max(*count);
            }
        }
        *self = whole;
    }

    /// Number of the step after the last one.
    fn end(&self) -> u64 {
        self.first + self.counts.len() as u64
    }
}

fn number(at: Duration) -> u64 {
    at.as_secs() / STEP.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(1_000_000 + seconds)
    }

    fn last(history: &History, until: u64, span: u64) -> Option<Vec<u32>> {
        history.last(at(until), Duration::from_secs(span)).map(|stretch| stretch.counts)
    }

    #[test]
    fn arrivals_are_counted_by_ten_seconds_and_gaps_are_empty() {
        let mut history = History::default();
        assert_eq!(last(&history, 100, 60), None);
        history.add(at(1), 2);
        history.add(at(9), 3);
        history.add(at(31), 4);
        assert_eq!(last(&history, 40, 1000), Some(vec![5, 0, 0, 4]));
        assert_eq!(last(&history, 65, 40), Some(vec![0, 4, 0, 0]));
        let stretch = history.last(at(40), Duration::from_secs(10)).unwrap();
        assert_eq!(stretch, Stretch { from: at(30), counts: vec![4] });
        assert_eq!(last(&history, 5, 60), None);
    }

    #[test]
    fn a_day_is_kept() {
        let mut history = History::default();
        for step in 0..10_000 {
            history.add(at(step * 10), step);
        }
        let day = last(&history, 100_000, 1_000_000).unwrap();
        assert_eq!((day.len(), day[0]), (STEPS_MAX, 1360));
        history.add(at(100_000_000), 7);
        assert_eq!(last(&history, 100_000_010, 1_000_000), Some(vec![7]));
    }

    #[test]
    fn restart_goes_on_where_the_one_before_it_stopped() {
        let (mut older, mut newer) = (History::default(), History::default());
        older.add(at(0), 1);
        older.add(at(10), 2);
        newer.add(at(10), 3);
        newer.add(at(30), 4);
        let text = serde_json::to_string(&older).unwrap();
        newer.put_before(serde_json::from_str(&text).unwrap());
        assert_eq!(last(&newer, 40, 100), Some(vec![1, 3, 0, 4]));
        newer.put_before(newer.clone());
        assert_eq!(last(&newer, 40, 100), Some(vec![1, 3, 0, 4]));
    }
}
