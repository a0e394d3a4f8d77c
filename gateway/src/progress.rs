//! What callers are told of images that wait: how many are before them and how long it should take, at the start and
//! again when that has changed.

use std::{collections::BTreeMap, time::Duration};

use proto::v1::{ImageProgress, ImageState};
use tokio::time::Instant;

use crate::{backlog::Place, core::Core};

/// One image is spoken of at most this often.
const PERIOD: Duration = Duration::from_secs(1);

/// Images of one stream that are spoken of at a time; the others have their turn a period later. A request of a thousand
/// is told of each in half a minute.
const TOLD_MAX: usize = 32;

/// A position has changed once it is a tenth off.
const POSITION_PART: u64 = 10;
/// A wait has, once it is a fifth off what is left of the one that was told, and a second at least.
const WAIT_PART: u32 = 5;
const WAIT_LEAST: Duration = Duration::from_secs(1);

/// Images of one caller that no worker has taken up.
#[derive(Debug, Default)]
pub struct Progress {
    waiting: BTreeMap<u32, Waiting>,
    last_look: Option<Instant>,
    /// The first whose turn it is.
    turn: u32,
}

#[derive(Debug)]
struct Waiting {
    place: Place,
    /// `None`: nothing yet.
    told: Option<Standing>,
    at: Instant,
}

/// How one image stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Images before it.
    pub ahead: u64,
    /// `None`: not known.
    pub wait: Option<Duration>,
}

impl Standing {
    /// As it is told; the caller's name is added by who knows it.
    pub fn progress(self, index: u32) -> ImageProgress {
        ImageProgress {
            index,
            state: ImageState::Queued.into(),
            queue_depth: self.ahead,
            estimated_wait: self.wait.map(platform::time::to_proto),
            ..ImageProgress::default()
        }
    }

    /// Whether a caller who was told `before` a while ago would be misled by now.
    fn has_changed(self, before: Self, since: Duration) -> bool {
        if self.ahead.abs_diff(before.ahead) >= (before.ahead / POSITION_PART).max(1) {
            return true;
        }
        match (self.wait, before.wait) {
            (Some(now), Some(told)) => {
                now.abs_diff(told.saturating_sub(since)) >= (told / WAIT_PART).max(WAIT_LEAST)
            }
            (now, told) => now.is_some() != told.is_some(),
        }
    }
}

impl Progress {
    /// An image waits from now on, and its caller is told how it stands: that is given.
    pub fn add(&mut self, core: &Core, index: u32, place: Place) -> Standing {
        let told = core.standing(place);
        self.insert(index, place, Some(told));
        told
    }

    /// The same, but nothing is told of an image that does not wait for longer than a period.
    pub fn watch(&mut self, index: u32, place: Place) {
        self.insert(index, place, None);
    }

    fn insert(&mut self, index: u32, place: Place, told: Option<Standing>) {
        let at = Instant::now();
        if self.waiting.is_empty() {
            self.last_look = Some(at);
        }
        self.waiting.insert(index, Waiting { place, told, at });
    }

    /// It waits no more.
    pub fn remove(&mut self, index: u32) {
        self.waiting.remove(&index);
    }

    /// When to look again; `None` while nothing waits.
    pub fn next_look(&self) -> Option<Instant> {
        let last = self.last_look.filter(|_| !self.waiting.is_empty())?;
        Some(last + PERIOD)
    }

    /// What has to be told again.
    pub fn look(&mut self, standing: impl Fn(Place) -> Standing) -> Vec<(u32, Standing)> {
        let now = Instant::now();
        self.last_look = Some(now);
        let mut changed = Vec::new();
        let turn = self.turn;
        self.turn = 0;
        // From whose turn it is to the end, then from the start.
        let (late, early): (Vec<_>, Vec<_>) = self.waiting.iter_mut().partition(|(index, _)| **index >= turn);
        for (index, waiting) in late.into_iter().chain(early) {
            let since = now - waiting.at;
            let stands = standing(waiting.place);
            let is_known = waiting.told.is_some_and(|told| !stands.has_changed(told, since));
            if since < PERIOD || is_known {
                continue;
            }
            if changed.len() == TOLD_MAX {
                self.turn = *index;
                break;
            }
            (waiting.told, waiting.at) = (Some(stands), now);
            changed.push((*index, stands));
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use proto::v1::Priority;

    use super::*;
    use crate::backlog::Backlog;

    fn stands(ahead: u64, wait: Option<u64>) -> Standing {
        Standing { ahead, wait: wait.map(Duration::from_secs) }
    }

    #[test]
    fn only_what_would_mislead_is_told_again() {
        let check = |before: Standing, now: Standing, seconds: u64, want: bool| {
            let since = Duration::from_secs(seconds);
            assert_eq!(now.has_changed(before, since), want, "{before:?} {now:?} {seconds}");
        };
        check(stands(0, None), stands(0, None), 60, false);
        check(stands(5, None), stands(4, None), 1, true);
        check(stands(100, None), stands(91, None), 1, false);
        check(stands(100, None), stands(90, None), 1, true);
        // The caller counts down by itself.
        check(stands(0, Some(40)), stands(0, Some(30)), 10, false);
        check(stands(0, Some(40)), stands(0, Some(40)), 10, true);
        check(stands(0, Some(40)), stands(0, Some(10)), 10, true);
        check(stands(0, Some(0)), stands(0, Some(0)), 99, false);
        check(stands(0, None), stands(0, Some(3)), 1, true);
    }

    #[tokio::test(start_paused = true)]
    async fn every_image_has_its_turn_and_none_is_told_twice_a_second() {
        const IMAGES: u32 = 100;
        let place = Backlog::default().next_place(Priority::Interactive);
        let mut progress = Progress::default();
        for index in 0..IMAGES {
            let at = Instant::now();
            progress.waiting.insert(index, Waiting { place, told: Some(stands(1000, None)), at });
        }
        progress.last_look = Some(Instant::now());
        let mut told = vec![0; IMAGES as usize];
        assert!(progress.look(|_| stands(0, None)).is_empty(), "not within a second");
        for round in 1..=4 {
            tokio::time::sleep_until(progress.next_look().unwrap()).await;
            let changed = progress.look(|_| stands(1000 - 200 * round, None));
            assert_eq!(changed.len(), TOLD_MAX);
            changed.iter().for_each(|(index, _)| told[*index as usize] += 1);
        }
        assert!(told.iter().all(|times| (1..=2).contains(times)), "{told:?}");
        (0..IMAGES).for_each(|index| progress.remove(index));
        assert_eq!(progress.next_look(), None);
    }
}
