//! Faults on purpose, for tests of what stands on a queue or a store.

use std::{
    fmt::Debug,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use crate::{Error, Kind, Result};

/// What the drivers for AWS say when they are away.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done.
    Before,
    /// It is done, and the answer is lost.
    After,
    /// There is no answer until all is healed; then it turns out that nothing was done.
    Hang,
}

/// When which calls fail. `C` names the calls.
pub(crate) struct Faults<C> {
    away: Kind,
    rules: Mutex<Vec<Rule<C>>>,
    injected: AtomicU64,
    /// Counts how often all was healed.
    healed: watch::Sender<u64>,
}

struct Rule<C> {
    call: C,
    every: u64,
    fault: Fault,
    seen: u64,
}

impl<C: Copy + PartialEq + Debug> Faults<C> {
    pub(crate) fn new(away: Kind) -> Self {
        Self { away, rules: Mutex::default(), injected: AtomicU64::new(0), healed: watch::Sender::new(0) }
    }

    pub(crate) fn fail(&self, call: C, every: u64, fault: Fault) {
        assert!(every > 0, "every 0th call never comes");
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.push(Rule { call, every, fault, seen: 0 });
    }

    pub(crate) fn heal(&self) {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.healed.send_modify(|times| *times += 1);
    }

    pub(crate) fn injected(&self) -> u64 {
        self.injected.load(Ordering::Relaxed)
    }

    /// Does the work, unless a fault is due.
    pub(crate) async fn around<T>(&self, call: C, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        // Looked at first, so that healing in between is not missed.
        let mut healed = self.healed.subscribe();
        let Some(fault) = self.due(call) else { return work.await };
        self.injected.fetch_add(1, Ordering::Relaxed);
        match fault {
            Fault::Before => {}
            // Its own error, if there is one, comes first.
            Fault::After => drop(work.await?),
            // The sender is ours, so it does not go away.
            Fault::Hang => drop(healed.changed().await),
        }
        let sentence = format!("{call:?} fails on purpose ({fault:?})");
        Err(Error::new(self.away, sentence).with_retry_after(RETRY_AFTER))
    }

    /// The first rule that applies; each counts all calls of its kind.
    fn due(&self, call: C) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = None;
        for rule in rules.iter_mut().filter(|rule| rule.call == call) {
            rule.seen += 1;
            if rule.seen.is_multiple_of(rule.every) {
                due.get_or_insert(rule.fault);
            }
        }
        due
    }
}
