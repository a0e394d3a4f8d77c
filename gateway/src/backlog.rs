//! How much work waits here, kept as it comes and goes, so that a look at it takes no walk over what waits.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use proto::v1::Priority;
use tokio::time::Instant;

/// Counts by priority: interactive and batch.
#[derive(Debug, Default)]
pub struct Backlog {
    lines: [Line; 2],
    /// When what waits came, and how many did then.
    came: Mutex<BTreeMap<Instant, u64>>,
}

#[derive(Debug, Default)]
struct Line {
    /// Since the start.
    entered: AtomicU64,
    /// Since the start: those that a worker took up, and those that went before one did.
    passed: AtomicU64,
    started: AtomicU64,
}

/// What waits of one priority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// No worker has taken it up.
    pub unstarted: u64,
    pub started: u64,
}

/// An image's place in the order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    priority: Priority,
    /// How many of its priority had come before.
    before: u64,
}

impl Place {
    /// The place of the image that came `later` images after this one.
    pub fn after(self, later: u64) -> Self {
        Self { before: self.before.saturating_add(later), ..self }
    }

    pub fn priority(self) -> Priority {
        self.priority
    }
}

fn index(priority: Priority) -> usize {
    usize::from(priority == Priority::Batch)
}

impl Backlog {
    fn line(&self, priority: Priority) -> &Line {
        let [interactive, batch] = &self.lines;
        if index(priority) == 0 { interactive } else { batch }
    }

    /// Where the next image of this priority will be.
    pub fn next_place(&self, priority: Priority) -> Place {
        Place { priority, before: self.line(priority).entered.load(Ordering::Relaxed) }
    }

    pub fn entered(&self, priority: Priority, images: u64, at: Instant) {
        self.line(priority).entered.fetch_add(images, Ordering::Relaxed);
        let mut came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        *came.entry(at).or_default() += images;
    }

    /// A worker took one up for the first time.
    pub fn started(&self, priority: Priority) {
        let line = self.line(priority);
        line.started.fetch_add(1, Ordering::Relaxed);
        line.passed.fetch_add(1, Ordering::Relaxed);
    }

    /// One that came at `since` waits no more.
    pub fn left(&self, priority: Priority, was_started: Started, since: Instant) {
        let line = self.line(priority);
        match was_started {
            Started::Yes => line.started.fetch_sub(1, Ordering::Relaxed),
            Started::No => line.passed.fetch_add(1, Ordering::Relaxed),
        };
        let mut came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut of_then) = came.entry(since) {
            *of_then.get_mut() -= 1;
            if *of_then.get() == 0 {
                of_then.remove();
            }
        }
    }

    pub fn waiting(&self, priority: Priority) -> Waiting {
        let line = self.line(priority);
        let passed = line.passed.load(Ordering::Relaxed);
        Waiting {
            unstarted: line.entered.load(Ordering::Relaxed).saturating_sub(passed),
            started: line.started.load(Ordering::Relaxed),
        }
    }

    /// About how many of its own priority are before it still: what left is taken to have been before it.
    pub fn ahead(&self, place: Place) -> u64 {
        place.before.saturating_sub(self.line(place.priority).passed.load(Ordering::Relaxed))
    }

    /// All that waits.
    pub fn total(&self) -> u64 {
        let lines = [Priority::Interactive, Priority::Batch].map(|priority| self.waiting(priority));
        lines.iter().map(|line| line.unstarted + line.started).sum()
    }

    /// When the oldest of what waits came.
    pub fn oldest(&self) -> Option<Instant> {
        let came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        came.first_key_value().map(|(at, _)| *at)
    }
}

/// Whether a worker had taken it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    Yes,
    No,
}

impl From<bool> for Started {
    fn from(was_started: bool) -> Self {
        if was_started { Self::Yes } else { Self::No }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn counts_follow_images_from_coming_to_going() {
        let backlog = Backlog::default();
        let first = Instant::now();
        let place = backlog.next_place(Priority::Interactive);
        backlog.entered(Priority::Interactive, 3, first);
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = Instant::now();
        backlog.entered(Priority::Batch, 2, second);
        backlog.started(Priority::Interactive);
        assert_eq!(backlog.waiting(Priority::Unspecified), Waiting { unstarted: 2, started: 1 });
        assert_eq!(backlog.waiting(Priority::Batch), Waiting { unstarted: 2, started: 0 });
        assert_eq!([0, 1, 2].map(|later| backlog.ahead(place.after(later))), [0, 0, 1]);
        backlog.left(Priority::Interactive, Started::Yes, first);
        backlog.left(Priority::Interactive, Started::No, first);
        assert_eq!(backlog.oldest(), Some(first));
        backlog.left(Priority::Interactive, Started::No, first);
        assert_eq!(backlog.waiting(Priority::Interactive), Waiting::default());
        assert_eq!(backlog.oldest(), Some(second));
        backlog.left(Priority::Batch, Started::No, second);
        backlog.left(Priority::Batch, Started::No, second);
        assert_eq!(backlog.oldest(), None);
    }
}
