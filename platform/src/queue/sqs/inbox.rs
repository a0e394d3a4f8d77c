//! Long polls that go on when the `receive` that began them is dropped, so that no message is leased to nobody.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, task::JoinSet, time::Instant};

use super::{
    Receive,
    line::{BATCH_MAX, Incoming, Line, POLL_MAX, whole_seconds},
};
use crate::{Error, Result};

/// A queue is asked only when the one before it has had nothing for this long: interactive comes first.
const AFTER_THE_FIRST: Duration = Duration::from_millis(100);

pub(super) struct Inbox {
    lines: Vec<Arc<Line>>,
    link: Arc<Link>,
    /// Polls under way; they end with the inbox.
    polls: Mutex<JoinSet<()>>,
}

/// A message and the lease it came with.
pub(super) struct Arrival {
    pub(super) message: Incoming,
    pub(super) line: usize,
    pub(super) end: Instant,
}

struct Link {
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    /// Received and not yet asked for, by line.
    arrived: Vec<VecDeque<Arrival>>,
    /// Since when each line is polled.
    polled: Vec<Option<Instant>>,
    failed: Option<Error>,
}

impl Inbox {
    pub(super) fn new(lines: Vec<Arc<Line>>) -> Self {
        let state = State {
            arrived: lines.iter().map(|_| VecDeque::new()).collect(),
            polled: vec![None; lines.len()],
            failed: None,
        };
        let link = Arc::new(Link { state: Mutex::new(state), changed: Notify::new() });
        Self { lines, link, polls: Mutex::default() }
    }

    /// Waits for messages. Dropped, what a poll brings later is kept for the next call, or comes back when its lease ends.
    pub(super) async fn receive(&self, receive: Receive) -> Result<Vec<Arrival>> {
        let begun = Instant::now();
        let until = begun + receive.wait;
        let max = usize::try_from(receive.max.get()).unwrap_or(usize::MAX);
        let mut polled_once = false;
        loop {
            let changed = self.link.changed.notified();
            let (is_polled, next) = {
                let mut state = self.link.lock();
                let arrivals = state.take(max, receive.lease / 2);
                if !arrivals.is_empty() {
                    return Ok(arrivals);
                }
                if let Some(error) = state.failed.take() {
                    return Err(error);
                }
                let is_over = Instant::now() >= until;
                if !is_over || !polled_once {
                    self.poll(&mut state, receive, until);
                }
                polled_once = true;
                let is_polled = state.polled.iter().any(Option::is_some);
                if is_over && !(receive.wait.is_zero() && is_polled) {
                    return Ok(Vec::new());
                }
                (is_polled, state.next_poll())
            };
            let wake = match next {
                Some(next) => next.min(until),
                None => until,
            };
            if is_polled && receive.wait.is_zero() {
                changed.await;
            } else {
                // Whichever comes first: the loop looks again.
                let _ = tokio::time::timeout_at(wake, changed).await;
            }
        }
    }

    /// Waits for polls to end, at most as long as one takes, and gives what they brought to be given back.
    pub(super) async fn stop(&self) -> Vec<(Arc<Line>, Vec<String>)> {
        loop {
            let changed = self.link.changed.notified();
            if self.link.lock().polled.iter().all(Option::is_none) {
                break;
            }
            changed.await;
        }
        let mut state = self.link.lock();
        state.failed = None;
        let lines = self.lines.iter().zip(&mut state.arrived);
        lines
            .map(|(line, arrived)| {
                let handles = arrived.drain(..).map(|arrival| arrival.message.handle).collect();
                (Arc::clone(line), handles)
            })
            .collect()
    }

    /// Begins what polls are due.
    fn poll(&self, state: &mut State, receive: Receive, until: Instant) {
        let wait = until.saturating_duration_since(Instant::now()).min(POLL_MAX);
        let max = usize::try_from(receive.max.get()).unwrap_or(usize::MAX).min(BATCH_MAX);
        for (at, line) in self.lines.iter().enumerate() {
            let is_due = match at.checked_sub(1).and_then(|before| state.polled.get(before)) {
                None => true,
                Some(before) => before.is_some_and(|since| since.elapsed() >= AFTER_THE_FIRST),
            };
            // Without time to wait there is but one look, at all of them.
            let is_due = is_due || receive.wait.is_zero();
            let Some(polled) = state.polled.get_mut(at).filter(|polled| polled.is_none() && is_due) else {
                continue;
            };
            *polled = Some(Instant::now());
            let (line, link) = (Arc::clone(line), Arc::clone(&self.link));
            let mut polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
            while polls.try_join_next().is_some() {}
            polls.spawn(async move {
                let lease = whole_seconds(receive.lease);
                let received = line.receive(max, whole_seconds(wait), lease).await;
                link.polled(at, received, lease);
            });
        }
    }
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of a caller runs inside, so a panic cannot leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn polled(&self, line: usize, received: Result<Vec<Incoming>>, lease: Duration) {
        let mut state = self.lock();
        if let Some(polled) = state.polled.get_mut(line) {
            *polled = None;
        }
        match received {
            Ok(messages) => {
                let end = Instant::now() + lease;
                if let Some(arrived) = state.arrived.get_mut(line) {
                    arrived.extend(messages.into_iter().map(|message| Arrival { message, line, end }));
                }
            }
            Err(error) => state.failed = Some(error),
        }
        drop(state);
        self.changed.notify_waiters();
    }
}

impl State {
    /// What is there, interactive first, with at least `left` of its lease; the rest comes back by itself.
    fn take(&mut self, max: usize, left: Duration) -> Vec<Arrival> {
        let enough = Instant::now() + left;
        let mut taken = Vec::new();
        for arrived in &mut self.arrived {
            arrived.retain(|arrival| arrival.end > enough);
            let count = arrived.len().min(max - taken.len());
            taken.extend(arrived.drain(..count));
        }
        taken
    }

    /// When a line that is not polled yet has to be.
    fn next_poll(&self) -> Option<Instant> {
        let pairs = self.polled.iter().zip(self.polled.iter().skip(1));
        pairs
            .filter(|(_, after)| after.is_none())
            .filter_map(|(before, _)| *before)
            .map(|since| since + AFTER_THE_FIRST)
            .min()
    }
}
