//! Results of images seen before, by their content: an equal image gets the same answer at once. Bounded in bytes; what was
//! asked for least lately makes room. A second level in the store, when there is one, is shared by gateways and outlives them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use prost::Message as _;
use proto::{
    internal::v1::CachedResult,
    v1::{ExecutionInfo, ImageResult, ImageState},
};

mod key;
mod shared;

pub use key::{Key, Sum};
pub use shared::Shared;

/// What a result takes beside its own bytes: its places in the two maps, measured with 20,000 of them.
const BYTES_BESIDE: usize = 200;

pub struct Cache {
    bytes_max: usize,
    results: Mutex<State>,
    shared: Option<Shared>,
}

#[derive(Default)]
struct State {
    results: HashMap<Key, Slot>,
    /// By when they were asked for last.
    order: BTreeMap<u64, Key>,
    clock: u64,
    bytes: usize,
}

struct Slot {
    result: Box<[u8]>,
    /// How many classes the worker was asked for.
    top_k: u32,
    used: u64,
}

impl Cache {
    /// `bytes_max` is all that is kept in memory.
    pub fn new(bytes_max: usize, shared: Option<Shared>) -> Self {
        Self { bytes_max, results: Mutex::default(), shared }
    }

    /// The result with at least `top_k` classes, or all there are, from memory or from the store.
    pub async fn find(&self, key: &Key, top_k: u32) -> Option<ImageResult> {
        if let Some(found) = self.get(key, top_k) {
            return Some(found);
        }
        let kept = self.shared.as_ref()?.get(key).await?;
        self.keep(key, kept);
        self.get(key, top_k)
    }

    /// Keeps what succeeded: another try may help what did not. `top_k` is how many classes the worker was asked for.
    pub fn put(&self, key: &Key, top_k: u32, result: &ImageResult) {
        if result.state() != ImageState::Succeeded || self.knows(key, top_k) {
            return;
        }
        let execution = result.execution.as_ref().map(provenance);
        let result = ImageResult { index: 0, custom_id: String::new(), execution, ..result.clone() };
        let kept = CachedResult { result: Some(result), top_k };
        if let Some(shared) = &self.shared {
            shared.put(key, &kept);
        }
        self.keep(key, kept);
    }

    /// Writes to the store what was put. Runs until dropped.
    pub async fn write_shared(&self) {
        match &self.shared {
            Some(shared) => shared.write().await,
            None => std::future::pending().await,
        }
    }

    fn get(&self, key: &Key, top_k: u32) -> Option<ImageResult> {
        let mut state = self.lock();
        state.clock += 1;
        let State { results, order, clock, .. } = &mut *state;
        let slot = results.get_mut(key).filter(|slot| slot.top_k >= top_k)?;
        order.remove(&slot.used);
        slot.used = *clock;
        order.insert(*clock, *key);
        ImageResult::decode(&*slot.result).ok()
    }

    fn knows(&self, key: &Key, top_k: u32) -> bool {
        self.lock().results.get(key).is_some_and(|slot| slot.top_k >= top_k)
    }

    fn keep(&self, key: &Key, CachedResult { result, top_k }: CachedResult) {
        let Some(result) = result else { return };
        // One that gave fewer classes than it was asked for has no more.
        let is_whole = u32::try_from(result.classifications.len()).is_ok_and(|classes| classes < top_k);
        let top_k = if is_whole { u32::MAX } else { top_k };
        let result = result.encode_to_vec().into_boxed_slice();
        let bytes = result.len() + BYTES_BESIDE;
        if bytes > self.bytes_max {
            return;
        }
        let mut state = self.lock();
        state.clock += 1;
        let used = state.clock;
        if let Some(older) = state.results.insert(*key, Slot { result, top_k, used }) {
            state.order.remove(&older.used);
            state.bytes -= older.result.len() + BYTES_BESIDE;
        }
        state.order.insert(used, *key);
        state.bytes += bytes;
        while state.bytes > self.bytes_max
            && let Some((_, oldest)) = state.order.pop_first()
            && let Some(slot) = state.results.remove(&oldest)
        {
            state.bytes -= slot.result.len() + BYTES_BESIDE;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic inside could at worst leave one result out.
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who did the work, of a result that is given again: no time went anywhere for the second answer.
fn provenance(first: &ExecutionInfo) -> ExecutionInfo {
    ExecutionInfo {
        model: first.model.clone(),
        model_version: first.model_version.clone(),
        worker_id: first.worker_id.clone(),
        instance_id: first.instance_id.clone(),
        attempt: first.attempt,
        cached: true,
        ..ExecutionInfo::default()
    }
}

#[cfg(test)]
mod tests;
