//! The line between the async side and the CPU threads: bounded, and what has not been begun can
//! be taken back out of it.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::held::Ticket;

/// One image to classify.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) ticket: Arc<Ticket>,
    pub(crate) content: Bytes,
    /// How long it took to get the image, when it did not ride in the task.
    pub(crate) fetch: Option<Duration>,
}

pub(crate) struct Line {
    state: Mutex<State>,
    changed: Condvar,
    room: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Work>,
    closed: bool,
}

impl Line {
    /// Never holds more than `room`: intake asks for no more than that.
    pub(crate) fn new(room: usize) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), room }
    }

    /// Gives the work back when the line is closed or full. Never waits.
    pub(crate) fn push(&self, work: Work) -> Result<(), Work> {
        let mut state = self.lock();
        if state.closed || state.waiting.len() >= self.room {
            return Err(work);
        }
        state.waiting.push_back(work);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for work, then for `delay` at most to have `max` of it, and takes what is there.
    /// `None` once the line is closed and empty. Blocks: for CPU threads.
    pub(crate) fn take(&self, max: usize, delay: Duration) -> Option<Vec<Work>> {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let until = Instant::now() + delay;
        while state.waiting.len() < max && !state.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let count = state.waiting.len().min(max);
        Some(state.waiting.drain(..count).collect())
    }

    /// Takes back what no thread has begun and `which` picks.
    pub(crate) fn take_back(&self, which: impl Fn(&Work) -> bool) -> Vec<Work> {
        let mut state = self.lock();
        let (back, stay) = std::mem::take(&mut state.waiting).into_iter().partition(which);
        state.waiting = stay;
        back.into()
    }

    /// The threads finish what is in the line and end.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of a caller but the pure `which` runs inside.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use platform::queue::{Delivery, Lease, Task};

    use super::*;

    fn work(task_id: &str) -> Work {
        let task = Task { task_id: task_id.to_owned(), ..Task::default() };
        let lease = Lease::from(task_id.to_owned());
        let ticket = Arc::new(Ticket::new(Delivery { task, lease, attempt: 1 }));
        Work { ticket, content: Bytes::new(), fetch: None }
    }

    fn ids(works: &[Work]) -> Vec<&str> {
        works.iter().map(|work| work.ticket.task.task_id.as_str()).collect()
    }

    #[test]
    fn batch_is_what_is_there_up_to_the_limit() {
        let line = Line::new(8);
        for id in ["a", "b", "c"] {
            line.push(work(id)).unwrap();
        }
        assert_eq!(ids(&line.take(2, Duration::ZERO).unwrap()), ["a", "b"]);
        assert_eq!(ids(&line.take(2, Duration::ZERO).unwrap()), ["c"]);
    }

    #[test]
    fn full_line_gives_the_work_back() {
        let line = Line::new(1);
        line.push(work("a")).unwrap();
        assert_eq!(line.push(work("b")).unwrap_err().ticket.task.task_id, "b");
    }

    #[test]
    fn closed_line_is_worked_off_and_then_ends() {
        let line = Line::new(8);
        line.push(work("a")).unwrap();
        line.close();
        assert!(line.push(work("b")).is_err());
        assert_eq!(line.take(8, Duration::from_secs(1)).unwrap().len(), 1);
        assert!(line.take(8, Duration::ZERO).is_none());
    }

    #[test]
    fn what_was_not_begun_can_be_taken_back() {
        let line = Line::new(8);
        for id in ["a", "b", "c"] {
            line.push(work(id)).unwrap();
        }
        assert_eq!(ids(&line.take_back(|work| work.ticket.task.task_id != "b")), ["a", "c"]);
        assert_eq!(ids(&line.take(8, Duration::ZERO).unwrap()), ["b"]);
    }

    #[test]
    fn thread_is_woken_by_work_and_by_the_end() {
        let line = Arc::new(Line::new(8));
        let thread = {
            let line = Arc::clone(&line);
            std::thread::spawn(move || {
                let mut seen = 0;
                while let Some(batch) = line.take(8, Duration::ZERO) {
                    seen += batch.len();
                }
                seen
            })
        };
        for id in ["a", "b", "c"] {
            line.push(work(id)).unwrap();
        }
        line.close();
        assert_eq!(thread.join().unwrap(), 3);
    }
}
