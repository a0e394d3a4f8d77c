//! What makes a decision now, and not at the next tick.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Causes that are told of one decision; of more only the number.
const CAUSES_MAX: usize = 4;

/// Wakes the control loop and tells it why.
#[derive(Debug, Default)]
pub struct Wake {
    notify: Notify,
    causes: Mutex<Causes>,
}

#[derive(Debug, Default)]
struct Causes {
    told: Vec<String>,
    untold: usize,
}

impl Wake {
    /// Something happened that should not wait. `cause` reads like `worker: local-1 registered`.
    pub fn now(&self, cause: impl Into<String>) {
        self.note(cause);
        self.notify.notify_one();
    }

    /// Why the loop, which is awake, will decide.
    pub fn note(&self, cause: impl Into<String>) {
        let cause = cause.into();
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        if causes.told.contains(&cause) {
            return;
        }
        if causes.told.len() < CAUSES_MAX {
            causes.told.push(cause);
        } else {
            causes.untold += 1;
        }
    }

    /// Returns once something happened since the last call.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }

    /// What happened since it was last taken; `None` for nothing.
    pub fn take(&self) -> Option<String> {
        let Causes { mut told, untold } = std::mem::take(&mut *self.causes());
        if untold > 0 {
            told.push(format!("and {untold} more"));
        }
        (!told.is_empty()).then(|| told.join("; "))
    }

    fn causes(&self) -> MutexGuard<'_, Causes> {
        // Each change is one push.
        self.causes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once_and_counted_beyond_a_few() {
        let wake = Wake::default();
        assert_eq!(wake.take(), None);
        wake.now("load: images wait");
        wake.now("load: images wait");
        assert_eq!(wake.take().unwrap(), "load: images wait");
        for number in 0..10 {
            wake.now(format!("worker: local-{number} registered"));
        }
        assert!(wake.take().unwrap().ends_with("worker: local-3 registered; and 6 more"));
        assert_eq!(wake.take(), None);
    }
}
