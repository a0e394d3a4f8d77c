//! How fast this worker is, and how much it therefore takes at a time.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use proto::v1::SkippedImages;
use tokio::sync::Notify;

use super::held::Unwanted;

/// Figures are over this many images: seconds of work for a real model, and still one page of memory.
const RECENT: usize = 256;

/// A batch is at most this much work, so that its first image waits no longer for the others than
/// a person notices, and a slow worker does not sit on images that another could begin now.
const BATCH_WORK: Duration = Duration::from_millis(50);

/// How many images to take at a time when one takes `service`: what makes [`BATCH_WORK`], from 1
/// to `max`. Before anything is known it is 1.
pub(crate) fn batch_limit(service: Option<Duration>, max: usize) -> usize {
    let Some(service) = service else { return 1 };
    let fit = BATCH_WORK.as_nanos() / service.as_nanos().max(1);
    usize::try_from(fit).unwrap_or(usize::MAX).clamp(1, max.max(1))
}

/// What the threads have done, kept for the heartbeat and for the size of batches.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    recent: Mutex<VecDeque<Duration>>,
    completed: AtomicU64,
    busy_threads: AtomicUsize,
    cancelled: AtomicU64,
    expired: AtomicU64,
    changed: Notify,
}

/// One look at the figures.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Figures {
    pub(crate) busy_threads: usize,
    pub(crate) completed_total: u64,
    pub(crate) skipped: SkippedImages,
    pub(crate) service_mean: Option<Duration>,
    pub(crate) service_p95: Option<Duration>,
}

impl Pace {
    pub(crate) fn begin_batch(&self) {
        self.busy_threads.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// `images` were answered, which took this thread `took` altogether.
    pub(crate) fn end_batch(&self, images: usize, took: Duration) {
        if let Ok(count @ 1..) = u32::try_from(images) {
            let mut recent = self.lock();
            for _ in 0..count {
                if recent.len() == RECENT {
                    recent.pop_front();
                }
                recent.push_back(took / count);
            }
            self.completed.fetch_add(u64::from(count), Ordering::Relaxed);
        }
        self.busy_threads.fetch_sub(1, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// An image was not classified, since nobody waits for it. One whose lease was lost is counted by who has it now.
    pub(crate) fn skipped(&self, unwanted: Unwanted) {
        match unwanted {
            Unwanted::Cancelled => self.cancelled.fetch_add(1, Ordering::Relaxed),
            Unwanted::Expired => self.expired.fetch_add(1, Ordering::Relaxed),
            Unwanted::Lost => return,
        };
        self.changed.notify_one();
    }

    /// Waits for a batch that begins or ends. One waiter.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(crate) fn service_mean(&self) -> Option<Duration> {
        let recent = self.lock();
        let count = u32::try_from(recent.len()).ok().filter(|count| *count > 0)?;
        Some(recent.iter().sum::<Duration>() / count)
    }

    pub(crate) fn figures(&self) -> Figures {
        let mut sorted = self.lock().iter().copied().collect::<Vec<_>>();
        sorted.sort_unstable();
        Figures {
            busy_threads: self.busy_threads.load(Ordering::Relaxed),
            completed_total: self.completed.load(Ordering::Relaxed),
            skipped: SkippedImages {
                cancelled: self.cancelled.load(Ordering::Relaxed),
                expired: self.expired.load(Ordering::Relaxed),
            },
            service_mean: self.service_mean(),
            service_p95: sorted.get((sorted.len() * 95 / 100).min(sorted.len().saturating_sub(1))).copied(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Duration>> {
        // A panic inside could at worst leave one figure out.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_is_as_much_as_fits_into_its_time() {
        let check = |millis: Option<u64>, max: usize, want: usize| {
            assert_eq!(batch_limit(millis.map(Duration::from_millis), max), want, "{millis:?} of {max}");
        };
        check(None, 8, 1);
        check(Some(0), 8, 8);
        check(Some(1), 8, 8);
        check(Some(14), 8, 3);
        check(Some(50), 8, 1);
        check(Some(2000), 8, 1);
        check(Some(1), 1, 1);
    }

    #[test]
    fn figures_are_of_recent_images() {
        let pace = Pace::default();
        assert_eq!(pace.figures(), Figures::default());
        for _ in 0..2 * RECENT {
            pace.begin_batch();
            pace.end_batch(2, Duration::from_millis(20));
        }
        pace.begin_batch();
        let figures = pace.figures();
        assert_eq!(figures.busy_threads, 1);
        assert_eq!(figures.completed_total, 4 * 256);
        assert_eq!(figures.service_mean, Some(Duration::from_millis(10)));
        assert_eq!(figures.service_p95, Some(Duration::from_millis(10)));
    }

    #[test]
    fn batch_without_an_answer_counts_for_nothing() {
        let pace = Pace::default();
        pace.begin_batch();
        pace.end_batch(0, Duration::from_secs(1));
        assert_eq!(pace.figures(), Figures::default());
    }
}
