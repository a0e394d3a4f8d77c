//! How long answers took in any window of the last minutes, from what gateways count by bucket.

use std::{collections::VecDeque, time::Duration};

use platform::latency;

/// Windows may begin this long ago: a decision is graded minutes after it was made.
const KEPT: Duration = Duration::from_secs(15 * 60);

/// What came new, second by second: gateways report once a second, so nothing is known more closely.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    seconds: VecDeque<Second>,
}

#[derive(Debug, Clone, Default)]
struct Second {
    /// Since the Unix epoch.
    second: u64,
    late: u64,
    /// In the order of the buckets, without the empty ones.
    counts: Vec<(usize, u64)>,
}

/// Of the images that were answered within a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latencies {
    pub p50: Duration,
    pub p95: Duration,
    /// Share that was later than its gateway's target; those that were given up by then are late, too.
    pub late_ratio: f64,
    pub answered: u64,
}

impl Answers {
    /// Takes in what a gateway has counted since its last report.
    pub fn add(&mut self, at: Duration, late: u64, counts: impl Iterator<Item = (usize, u64)>) {
        let mut counts = counts.filter(|(_, count)| *count > 0).peekable();
        if late == 0 && counts.peek().is_none() {
            return;
        }
        while self.seconds.front().is_some_and(|oldest| oldest.second + KEPT.as_secs() < at.as_secs()) {
            self.seconds.pop_front();
        }
        if self.seconds.back().is_none_or(|newest| newest.second < at.as_secs()) {
            self.seconds.push_back(Second { second: at.as_secs(), ..Second::default() });
        }
        if let Some(newest) = self.seconds.back_mut() {
            newest.late += late;
            counts.for_each(|(bucket, count)| newest.add(bucket, count));
        }
    }

    /// From `since` to `until`, in whole seconds. `None` when nothing was answered.
    pub fn within(&self, since: Duration, until: Duration) -> Option<Latencies> {
        let mut sum = Second::default();
        let seconds = since.as_secs()..until.as_secs() + u64::from(until.subsec_nanos() > 0);
        for second in self.seconds.iter().filter(|second| seconds.contains(&second.second)) {
            sum.late += second.late;
            second.counts.iter().for_each(|(bucket, count)| sum.add(*bucket, *count));
        }
        let quantile = |share| latency::quantile(sum.counts.iter().copied(), share);
        let answered: u64 = sum.counts.iter().map(|(_, count)| count).sum();
        Some(Latencies {
            p50: quantile(0.5)?,
            p95: quantile(0.95)?,
            late_ratio: sum.late as f64 / answered.max(sum.late) as f64,
            answered,
        })
    }
}

impl Second {
    fn add(&mut self, bucket: usize, count: u64) {
        match self.counts.binary_search_by_key(&bucket, |(known, _)| *known) {
            Ok(place) => {
                if let Some((_, known)) = self.counts.get_mut(place) {
                    *known += count;
                }
            }
            Err(place) => self.counts.insert(place, (bucket, count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(10_000 + seconds)
    }

    #[test]
    fn window_holds_what_was_answered_in_it_and_nothing_else() {
        let mut answers = Answers::default();
        assert_eq!(answers.within(at(0), at(60)), None);
        let fast = latency::bucket(Duration::from_millis(100));
        let slow = latency::bucket(Duration::from_secs(20));
        answers.add(at(1), 0, [(fast, 90)].into_iter());
        answers.add(at(1), 10, [(slow, 10)].into_iter());
        answers.add(at(30), 0, [(fast, 100)].into_iter());
        let all = answers.within(at(0), at(60)).unwrap();
        assert_eq!((all.answered, all.late_ratio), (200, 0.05));
        assert!(all.p50 < Duration::from_millis(112) && all.p95 < Duration::from_millis(112));
        let first = answers.within(at(1), at(2)).unwrap();
        assert_eq!((first.answered, first.late_ratio), (100, 0.1));
        assert!(first.p95 > Duration::from_secs(18) && first.p95 < Duration::from_secs(23), "{first:?}");
        assert_eq!(answers.within(at(2), at(30)), None);
        answers.add(at(40), 300, std::iter::empty());
        assert_eq!(answers.within(at(30), at(60)).unwrap().late_ratio, 1.0);
        assert_eq!(answers.within(at(30), at(30) + Duration::from_millis(1)).unwrap().answered, 100);
    }

    #[test]
    fn what_is_too_long_ago_is_dropped() {
        let mut answers = Answers::default();
        for second in 0..2000 {
            answers.add(at(second), 0, [(7, 1)].into_iter());
        }
        assert_eq!(answers.within(at(0), at(2000)).unwrap().answered, KEPT.as_secs() + 1);
    }
}
