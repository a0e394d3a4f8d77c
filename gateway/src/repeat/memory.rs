//! Answers that may be asked for again, in this process's memory: the oldest leave when it is full, and after a day.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use proto::v1::classify_stream_response::Event as Answer;
use tokio::time::Instant;

use super::{
    call::{Call, CallId, Fingerprint},
    log,
};

/// What a call takes beside its answers.
const BYTES_BESIDE: usize = 200;

pub(super) struct Memory {
    bytes_max: usize,
    kept_for: Duration,
    calls: HashMap<CallId, Kept>,
    order: VecDeque<(Instant, CallId)>,
    bytes: usize,
}

struct Kept {
    fingerprint: Fingerprint,
    answers: Vec<Arc<Answer>>,
    bytes: usize,
    since: Instant,
}

impl Memory {
    pub(super) fn new(bytes_max: usize, kept_for: Duration) -> Self {
        Self { bytes_max, kept_for, calls: HashMap::new(), order: VecDeque::new(), bytes: 0 }
    }

    pub(super) fn get(&mut self, id: &CallId) -> Option<(Fingerprint, Vec<Arc<Answer>>)> {
        self.make_room();
        self.calls.get(id).map(|kept| (kept.fingerprint, kept.answers.clone()))
    }

    pub(super) fn put(&mut self, call: Call, answers: Vec<Arc<Answer>>) {
        let bytes = log::bytes(&answers) + BYTES_BESIDE;
        if bytes > self.bytes_max {
            return;
        }
        let since = Instant::now();
        let kept = Kept { fingerprint: call.fingerprint, answers, bytes, since };
        if let Some(older) = self.calls.insert(call.id, kept) {
            self.bytes -= older.bytes;
        }
        self.bytes += bytes;
        self.order.push_back((since, call.id));
        self.make_room();
    }

    fn make_room(&mut self) {
        while let Some((since, id)) = self.order.front().copied()
            && (self.bytes > self.bytes_max || since.elapsed() >= self.kept_for)
        {
            self.order.pop_front();
            // One that came again has a later place, too.
            if self.calls.get(&id).is_some_and(|kept| kept.since == since)
                && let Some(kept) = self.calls.remove(&id)
            {
                self.bytes -= kept.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::v1::ImageResult;

    use super::*;
    use crate::repeat::call::Given;

    fn call(request_id: &str) -> Call {
        let given = Given { owner: None, method: "Classify", request_id, field: "request_id" };
        Call { id: CallId::of(given).unwrap().unwrap(), fingerprint: Fingerprint::of(&[], None, false) }
    }

    fn answers() -> Vec<Arc<Answer>> {
        vec![Arc::new(Answer::Result(ImageResult { custom_id: "x".repeat(100), ..ImageResult::default() }))]
    }

    #[tokio::test(start_paused = true)]
    async fn oldest_leave_when_it_is_full_and_all_after_a_day() {
        let bytes = log::bytes(&answers()) + BYTES_BESIDE;
        let day = Duration::from_secs(24 * 3600);
        let mut memory = Memory::new(3 * bytes, day);
        for id in ["a", "b", "a", "c"] {
            memory.put(call(id), answers());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(memory.bytes, 3 * bytes);
        memory.put(call("d"), answers());
        assert!(memory.get(&call("b").id).is_none());
        for id in ["a", "c", "d"] {
            assert!(memory.get(&call(id).id).is_some(), "{id}");
        }
        tokio::time::advance(day - Duration::from_secs(1)).await;
        assert!(memory.get(&call("a").id).is_none());
        assert!(memory.get(&call("d").id).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(memory.get(&call("d").id).is_none());
        assert_eq!((memory.bytes, memory.calls.len(), memory.order.len()), (0, 0, 0));
    }
}
