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
use crate::{
    Error, Result,
    queue::turns::{BATCH, INTERACTIVE, TURNS},
};

/// Batch is asked when interactive has had nothing for this long: interactive comes first. And when its turn has come.
const AFTER_THE_FIRST: Duration = Duration::from_millis(100);

/// How long batch is asked when its turn has come and interactive has something: the shortest wait at which SQS asks all
/// of its machines, and not some.
const TURN_WAIT: Duration = Duration::from_secs(1);

/// A look without a wait still takes a round trip; one that takes longer than this is not waited for.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Messages that nobody takes are given back after this part of their lease: with the rest of it a worker that
/// extends at half time still has a quarter to spare.
const KEPT_PART: u32 = 4;

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
    /// From then on it is not handed over any more.
    pub(super) stale: Instant,
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
    /// Interactive messages handed over since batch was last asked.
    since_batch: usize,
    /// Batch messages whose turn has come: they go first.
    batch_first: usize,
    /// Whether somebody gives back what nobody takes.
    is_kept: bool,
}

impl Inbox {
    pub(super) fn new(lines: Vec<Arc<Line>>) -> Self {
        let state = State {
            arrived: lines.iter().map(|_| VecDeque::new()).collect(),
            polled: vec![None; lines.len()],
            failed: None,
            since_batch: 0,
            batch_first: 0,
            is_kept: false,
        };
        let link = Arc::new(Link { state: Mutex::new(state), changed: Notify::new() });
        Self { lines, link, polls: Mutex::default() }
    }

    /// Waits for messages. Dropped, what a poll brings later is kept for the next call for a while, then given back.
    pub(super) async fn receive(&self, receive: Receive) -> Result<Vec<Arrival>> {
        let begun = Instant::now();
        let until = begun + receive.wait;
        let max = usize::try_from(receive.max.get()).unwrap_or(usize::MAX);
        let mut polled_once = false;
        loop {
            let changed = self.link.changed.notified();
            let next = {
                let mut state = self.link.lock();
                let arrivals = state.take(max);
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
                let is_looking = receive.wait.is_zero() && is_polled && begun.elapsed() < LOOK_MAX;
                if is_over && !is_looking {
                    return Ok(Vec::new());
                }
                state.next_poll()
            };
            let wake = match next {
                _ if receive.wait.is_zero() => begun + LOOK_MAX,
                Some(next) => next.min(until),
                None => until,
            };
            // Whichever comes first: the loop looks again.
            let _ = tokio::time::timeout_at(wake, changed).await;
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
            let is_turn = at == BATCH && state.is_batch_due(max);
            let wait = if is_turn && !is_due { wait.min(TURN_WAIT) } else { wait };
            let is_due = is_due || is_turn;
            let Some(polled) = state.polled.get_mut(at).filter(|polled| polled.is_none() && is_due) else {
                continue;
            };
            *polled = Some(Instant::now());
            if at == BATCH {
                state.batch_first = if is_turn { max } else { 0 };
                state.since_batch = 0;
            }
            let (line, lines, link) = (Arc::clone(line), self.lines.clone(), Arc::clone(&self.link));
            let mut polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
            while polls.try_join_next().is_some() {}
            polls.spawn(async move {
                let lease = whole_seconds(receive.lease);
                let received = line.receive(max, whole_seconds(wait), lease).await;
                if link.polled(at, received, lease) {
                    link.keep(&lines).await;
                }
            });
        }
    }
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of a caller runs inside, so a panic cannot leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the caller has to keep what is there, because nobody else does.
    fn polled(&self, line: usize, received: Result<Vec<Incoming>>, lease: Duration) -> bool {
        let mut state = self.lock();
        if let Some(polled) = state.polled.get_mut(line) {
            *polled = None;
        }
        match received {
            Ok(messages) => {
                let now = Instant::now();
                let (end, stale) = (now + lease, now + lease / KEPT_PART);
                if let Some(arrived) = state.arrived.get_mut(line) {
                    let arrivals = messages.into_iter().map(|message| Arrival { message, line, end, stale });
                    arrived.extend(arrivals);
                }
            }
            Err(error) => state.failed = Some(error),
        }
        let has_arrivals = state.arrived.iter().any(|arrived| !arrived.is_empty());
        let keeps = has_arrivals && !state.is_kept;
        state.is_kept |= has_arrivals;
        drop(state);
        self.changed.notify_waiters();
        keeps
    }

    /// Gives back what nobody takes in time, until nothing is there.
    async fn keep(&self, lines: &[Arc<Line>]) {
        loop {
            let (stale, next) = {
                let mut state = self.lock();
                let (stale, next) = state.stale();
                state.is_kept = next.is_some() || stale.iter().any(|handles| !handles.is_empty());
                (stale, next)
            };
            let is_over = next.is_none() && stale.iter().all(Vec::is_empty);
            for (line, handles) in lines.iter().zip(stale) {
                if let Err(error) = line.set_visibility(&handles, Duration::ZERO).await {
                    // They come back by themselves when their leases end.
                    tracing::warn!(%error, messages = handles.len(), "give back what nobody took");
                }
            }
            match next {
                Some(next) => tokio::time::sleep_until(next).await,
                None if is_over => return,
                None => {}
            }
        }
    }
}

impl State {
    /// What is there: batch whose turn has come, then interactive first. What is stale by now is left to be given back.
    ///
    /// Batch is not mixed in one by one, as other kinds do: what was received waits under its lease, so it is handed
    /// over before more is asked for.
    fn take(&mut self, max: usize) -> Vec<Arrival> {
        let mut taken = Vec::new();
        self.batch_first -= self.take_of(BATCH, max.min(self.batch_first), &mut taken);
        let interactive = self.take_of(INTERACTIVE, max.saturating_sub(taken.len()), &mut taken);
        self.since_batch = self.since_batch.saturating_add(interactive);
        self.take_of(BATCH, max.saturating_sub(taken.len()), &mut taken);
        taken
    }

    /// How many of one line were taken: `count` at most.
    fn take_of(&mut self, line: usize, count: usize, taken: &mut Vec<Arrival>) -> usize {
        let now = Instant::now();
        let before = taken.len();
        let Some(arrived) = self.arrived.get_mut(line) else { return 0 };
        let mut left = VecDeque::new();
        for arrival in arrived.drain(..) {
            if taken.len() - before < count && arrival.stale > now {
                taken.push(arrival);
            } else {
                left.push_back(arrival);
            }
        }
        *arrived = left;
        taken.len() - before
    }

    /// Whether so much interactive was handed over that batch has the next call, for `max` messages.
    fn is_batch_due(&self, max: usize) -> bool {
        let interactive_a_turn = usize::try_from(TURNS - 1).unwrap_or(usize::MAX);
        self.since_batch >= max.saturating_mul(interactive_a_turn)
    }

    /// Takes out what is stale, by line, and says when more will be.
    fn stale(&mut self) -> (Vec<Vec<String>>, Option<Instant>) {
        let now = Instant::now();
        let mut stale = Vec::new();
        for arrived in &mut self.arrived {
            let (gone, left): (VecDeque<_>, _) =
                std::mem::take(arrived).into_iter().partition(|arrival| arrival.stale <= now);
            *arrived = left;
            stale.push(gone.into_iter().map(|arrival| arrival.message.handle).collect());
        }
        let next = self.arrived.iter().flatten().map(|arrival| arrival.stale).min();
        (stale, next)
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
