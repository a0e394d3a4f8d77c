//! Results of images seen before, by their content: an old client that sends an image again gets the same answer at once
//! (specs/upload.md, "Options"). Only with the profile `cse546`; in memory, so a restart begins anew.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use proto::v1::{ImageResult, ImageState};
use sha2::{Digest as _, Sha256};

use crate::intake::Checked;

/// Results of a few hundred bytes each.
const RESULTS_MAX: usize = 10_000;

/// What was asked of which bytes under which name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// The name belongs to it: results are stored under it.
    pub fn of(content: &[u8], custom_id: &str, options: &Checked) -> Self {
        let mut sum = Sha256::new();
        for part in [custom_id.as_bytes(), options.model.as_bytes()] {
            sum.update((part.len() as u64).to_le_bytes());
            sum.update(part);
        }
        sum.update(options.top_k.to_le_bytes());
        sum.update(options.min_score.to_le_bytes());
        sum.update(content);
        Self(sum.finalize().into())
    }
}

#[derive(Default)]
pub struct Cache(Mutex<State>);

#[derive(Default)]
struct State {
    results: HashMap<Key, ImageResult>,
    /// The oldest goes first.
    order: VecDeque<Key>,
}

impl Cache {
    /// The answer as if it had just been given, and marked as not.
    pub fn get(&self, key: &Key) -> Option<ImageResult> {
        let mut result = self.lock().results.get(key)?.clone();
        if let Some(execution) = &mut result.execution {
            execution.cached = true;
        }
        Some(result)
    }

    /// Keeps what succeeded: another try may help what did not.
    pub fn put(&self, key: Key, result: &ImageResult) {
        if result.state() != ImageState::Succeeded {
            return;
        }
        let mut state = self.lock();
        if state.results.insert(key, result.clone()).is_none() {
            state.order.push_back(key);
        }
        if state.order.len() > RESULTS_MAX
            && let Some(oldest) = state.order.pop_front()
        {
            state.results.remove(&oldest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic inside could at worst leave one result out.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Models;

    fn key(content: &[u8], name: &str) -> Key {
        Key::of(content, name, &crate::intake::check_options(None, &Models::default()).unwrap())
    }

    fn result(state: ImageState) -> ImageResult {
        ImageResult { state: state.into(), execution: Some(Default::default()), ..ImageResult::default() }
    }

    #[test]
    fn same_image_under_the_same_name_is_answered_from_memory() {
        let cache = Cache::default();
        cache.put(key(b"a", "x"), &result(ImageState::Succeeded));
        assert!(cache.get(&key(b"a", "x")).unwrap().execution.unwrap().cached);
        assert!(cache.get(&key(b"a", "y")).is_none(), "its result is not stored under that name");
        assert!(cache.get(&key(b"b", "x")).is_none());
        assert_ne!(key(b"bc", "a"), key(b"c", "ab"), "what is name and what is content counts");
    }

    #[test]
    fn failures_are_tried_again() {
        let cache = Cache::default();
        cache.put(key(b"a", "x"), &result(ImageState::Failed));
        assert!(cache.get(&key(b"a", "x")).is_none());
    }

    #[test]
    fn oldest_result_makes_room() {
        let cache = Cache::default();
        for i in 0..=RESULTS_MAX {
            cache.put(key(&i.to_le_bytes(), "x"), &result(ImageState::Succeeded));
        }
        assert!(cache.get(&key(&0_usize.to_le_bytes(), "x")).is_none());
        assert!(cache.get(&key(&1_usize.to_le_bytes(), "x")).is_some());
        assert_eq!(cache.lock().results.len(), RESULTS_MAX);
    }
}
