//! The decisions, newest last: kept in memory for reading and in the store for the next start.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use platform::{Kind, Result, error::ResultExt as _, store::Store};
use prost::Message as _;
use proto::v1::{Action, ActionOutcome, Decision};
use tokio::sync::watch;

/// How many are kept: days of a quiet fleet, hours of a busy one, and a few megabytes.
const DECISIONS_MAX: usize = 4096;

const PREFIX: &str = "decisions/";

pub struct DecisionLog {
    /// `None`: they are not to survive this process.
    store: Option<Arc<dyn Store>>,
    decisions: Mutex<VecDeque<Arc<Decision>>>,
    /// Sequence of the latest.
    latest: watch::Sender<u64>,
}

impl DecisionLog {
    /// Reads back what the store has. A record that cannot be read is left out and said.
    pub async fn open(store: Option<Arc<dyn Store>>) -> Result<Self> {
        let mut decisions = match &store {
            Some(store) => read_all(store.as_ref()).await.context("read decision log")?,
            None => Vec::new(),
        };
        decisions.sort_by_key(|decision| decision.sequence);
        let latest = decisions.last().map_or(0, |decision| decision.sequence);
        let decisions = decisions.into_iter().map(Arc::new).collect();
        Ok(Self { store, decisions: Mutex::new(decisions), latest: watch::Sender::new(latest) })
    }

    /// Reads what somebody else has written: new ones, how the actions of known ones went, and the last `again` once more.
    pub async fn refresh(&self, again: usize) -> Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let after = {
            let decisions = self.lock();
            let open = decisions.iter().position(|decision| decision.actions.iter().any(is_pending));
            let oldest = decisions.len().saturating_sub(again.max(1));
            let first = open.map_or(oldest, |open| open.min(oldest));
            decisions.get(first).map(|decision| decision.decision_id.clone())
        };
        // That one too: it may have changed.
        let mut keys: VecDeque<_> = after.iter().map(|id| key(id)).collect();
        let after = after.map_or_else(String::new, |id| key(&id));
        keys.extend(list(store.as_ref(), &after).await?);
        let mut read = Vec::with_capacity(keys.len());
        for key in keys {
            match store.get(&key).await {
                Ok(value) => read.extend(decode(&key, value)),
                // It was the oldest, and has just been dropped.
                Err(error) if error.kind() == Kind::ObjectNotFound => {}
                Err(error) => return Err(error),
            }
        }
        let latest = {
            let mut decisions = self.lock();
            for decision in read {
                let place = decisions.binary_search_by_key(&decision.sequence, |known| known.sequence);
                match place {
                    Ok(place) => decisions[place] = Arc::new(decision),
                    Err(place) => decisions.insert(place, Arc::new(decision)),
                }
            }
            let surplus = decisions.len().saturating_sub(DECISIONS_MAX);
            decisions.drain(..surplus);
            decisions.back().map_or(0, |decision| decision.sequence)
        };
        self.latest.send_if_modified(|last| {
            let changed = *last != latest;
            *last = latest;
            changed
        });
        Ok(())
    }

    /// Decisions with actions whose end nobody has seen, oldest first.
    pub fn unfinished(&self) -> Vec<Arc<Decision>> {
        let is_open = |decision: &&Arc<Decision>| decision.actions.iter().any(is_pending);
        self.lock().iter().filter(is_open).cloned().collect()
    }

    /// Adds one, and gives it the next sequence. It can be read even when it could not be written.
    pub async fn append(&self, mut decision: Decision) -> Result<()> {
        decision.sequence = *self.latest.borrow() + 1;
        let written = self.write(&decision).await;
        let sequence = decision.sequence;
        let dropped = {
            let mut decisions = self.lock();
            decisions.push_back(Arc::new(decision));
            if decisions.len() > DECISIONS_MAX { decisions.pop_front() } else { None }
        };
        self.latest.send_replace(sequence);
        written?;
        if let (Some(store), Some(dropped)) = (&self.store, dropped) {
            store.delete(&key(&dropped.decision_id)).await?;
        }
        Ok(())
    }

    /// Changes the record of one: how its actions went. One that is no longer kept is left alone.
    pub async fn update(&self, decision_id: &str, change: impl FnOnce(&mut Decision)) -> Result<()> {
        let changed = {
            let mut decisions = self.lock();
            let found = decisions.iter_mut().rev().find(|decision| decision.decision_id == decision_id);
            let Some(decision) = found else { return Ok(()) };
            change(Arc::make_mut(decision));
            Arc::clone(decision)
        };
        self.write(&changed).await
    }

    pub fn get(&self, decision_id: &str) -> Option<Arc<Decision>> {
        self.lock().iter().rev().find(|decision| decision.decision_id == decision_id).cloned()
    }

    /// The newest.
    pub fn last(&self) -> Option<Arc<Decision>> {
        self.lock().back().cloned()
    }

    /// The newest that acted.
    pub fn last_change(&self) -> Option<Arc<Decision>> {
        self.lock().iter().rev().find(|decision| !decision.actions.is_empty()).cloned()
    }

    /// Newest first, those before the sequence `before`, at most `max`, as far as `keep` says so.
    pub fn before(&self, before: u64, max: usize, keep: impl Fn(&Decision) -> bool) -> Vec<Arc<Decision>> {
        let decisions = self.lock();
        let older = decisions.iter().rev().filter(|decision| decision.sequence < before);
        older.filter(|decision| keep(decision)).take(max).cloned().collect()
    }

    /// The oldest one after the sequence `after`.
    pub fn next_after(&self, after: u64) -> Option<Arc<Decision>> {
        let decisions = self.lock();
        let at = decisions.partition_point(|decision| decision.sequence <= after);
        decisions.get(at).cloned()
    }

    /// Tells the sequence of the latest, and each new one.
    pub fn latest(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    async fn write(&self, decision: &Decision) -> Result<()> {
        match &self.store {
            Some(store) => store.put(&key(&decision.decision_id), decision.encode_to_vec().into()).await,
            None => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Decision>>> {
        // Nothing in a locked section leaves the list half changed.
        self.decisions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(decision_id: &str) -> String {
    format!("{PREFIX}{decision_id}")
}

async fn read_all(store: &dyn Store) -> Result<Vec<Decision>> {
    let keys = list(store, "").await?;
    let mut decisions = Vec::with_capacity(keys.len());
    for key in keys {
        match store.get(&key).await {
            Ok(value) => decisions.extend(decode(&key, value)),
            // It was the oldest, and another autoscaler has just dropped it.
            Err(error) if error.kind() == Kind::ObjectNotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(decisions)
}

/// The keys of the newest decisions that are after the key `after`.
async fn list(store: &dyn Store, after: &str) -> Result<VecDeque<String>> {
    const PAGE: usize = 1000;
    let mut keys: VecDeque<String> = VecDeque::new();
    loop {
        let page = store.list(PREFIX, keys.back().map_or(after, String::as_str), PAGE).await?;
        let last = page.len() < PAGE;
        keys.extend(page);
        // Ids are ordered by time: the newest are at the end.
        let surplus = keys.len().saturating_sub(DECISIONS_MAX);
        for old in keys.drain(..surplus) {
            store.delete(&old).await?;
        }
        if last {
            return Ok(keys);
        }
    }
}

fn decode(key: &str, value: Bytes) -> Option<Decision> {
    Decision::decode(value)
        .inspect_err(|error| tracing::warn!(%error, key, "leave out a decision that cannot be read"))
        .ok()
}

pub fn is_pending(action: &Action) -> bool {
    action.outcome() == ActionOutcome::Pending
}

#[cfg(test)]
mod tests {
    use platform::store::FileStore;

    use super::*;

    fn decision(id: usize) -> Decision {
        let action = Action { outcome: ActionOutcome::Pending.into(), ..Action::default() };
        Decision { decision_id: format!("{id:06}"), actions: vec![action], ..Decision::default() }
    }

    async fn open(folder: &tempfile::TempDir) -> DecisionLog {
        let store = FileStore::open(folder.path()).unwrap();
        DecisionLog::open(Some(Arc::new(store))).await.unwrap()
    }

    #[tokio::test]
    async fn log_is_there_again_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let log = open(&folder).await;
        for id in 1..=3 {
            log.append(decision(id)).await.unwrap();
        }
        log.update("000002", |decision| decision.actions[0].set_outcome(ActionOutcome::Done)).await.unwrap();
        drop(log);
        let log = open(&folder).await;
        assert_eq!(*log.latest().borrow(), 3);
        assert_eq!(log.get("000002").unwrap().actions[0].outcome(), ActionOutcome::Done);
        let unfinished: Vec<_> = log.unfinished().iter().map(|one| one.sequence).collect();
        assert_eq!(unfinished, [1, 3]);
        log.append(decision(4)).await.unwrap();
        let all: Vec<_> = log.before(u64::MAX, 10, |_| true).iter().map(|one| one.sequence).collect();
        assert_eq!(all, [4, 3, 2, 1]);
    }

    #[tokio::test]
    async fn follower_reads_what_the_leader_writes() {
        let folder = tempfile::tempdir().unwrap();
        let leader = open(&folder).await;
        let follower = open(&folder).await;
        for id in 1..=3 {
            leader.append(decision(id)).await.unwrap();
        }
        follower.refresh(0).await.unwrap();
        assert_eq!((*follower.latest().borrow(), follower.unfinished().len()), (3, 3));
        leader
            .update("000001", |decision| decision.actions[0].set_outcome(ActionOutcome::Done))
            .await
            .unwrap();
        leader.append(decision(4)).await.unwrap();
        follower.refresh(0).await.unwrap();
        assert_eq!(follower.get("000001").unwrap().actions[0].outcome(), ActionOutcome::Done);
        assert_eq!(*follower.latest().borrow(), 4);
        // One that is done may still be graded.
        leader.update("000001", |decision| decision.actual_late_ratio = 0.5).await.unwrap();
        follower.refresh(4).await.unwrap();
        assert_eq!(follower.get("000001").unwrap().actual_late_ratio, 0.5);
    }

    #[tokio::test]
    async fn oldest_are_dropped_at_the_limit() {
        let log = DecisionLog::open(None).await.unwrap();
        for id in 0..DECISIONS_MAX + 2 {
            log.append(decision(id)).await.unwrap();
        }
        assert_eq!(log.before(u64::MAX, usize::MAX, |_| true).len(), DECISIONS_MAX);
        assert!(log.get("000001").is_none());
        assert_eq!(log.next_after(0).unwrap().sequence, 3);
        assert!(log.next_after(DECISIONS_MAX as u64 + 2).is_none());
    }

    #[tokio::test]
    async fn damaged_record_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        open(&folder).await.append(decision(1)).await.unwrap();
        std::fs::write(folder.path().join("decisions/000002"), b"\xff\xff").unwrap();
        assert_eq!(open(&folder).await.before(u64::MAX, 10, |_| true).len(), 1);
    }
}
