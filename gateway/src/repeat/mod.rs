//! Calls that their callers may repeat (`request_id`, `Idempotency-Key`): a repeat of one that runs joins it, a repeat of one
//! that is answered gets that answer, for a day. With a store, also when the first was another gateway's.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, future::BoxFuture, stream::BoxStream};
use platform::{Error, Kind, Result, error::name_request, store::Store};
use proto::v1::{ImageResult, classify_stream_response::Event as Answer};
use tokio::{sync::watch, time::Instant};
use tokio_util::task::TaskTracker;

mod call;
mod claim;
mod front;
mod log;
mod memory;
mod sweep;

pub use call::{Call, CallId, Fingerprint, Given, owner};
use claim::{Acquired, Claim, Claims};
pub use front::{batch, classify, many};
use log::{Log, Next};
use memory::Memory;

/// How long an answer is kept for repeats.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// Answers kept in memory; those of an image have some 400 bytes, so 80,000 images.
const MEMORY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// After a caller's time its images still have to be told that it is over.
const LAST_WORD: Duration = Duration::from_secs(1);

/// What a call brings along that another gateway had begun.
#[derive(Debug, Clone, Default)]
pub struct Carried {
    /// Where workers leave results when this gateway is gone.
    pub keep_under: Option<String>,
    /// Results that they have left.
    pub known: HashMap<u32, ImageResult>,
}

/// What the first caller does: all that is answered, one after the other.
pub type Work =
    Box<dyn FnOnce(Carried) -> BoxFuture<'static, Result<BoxStream<'static, Answer>>> + Send + 'static>;

pub struct Repeats {
    state: Mutex<State>,
    claims: Option<Claims>,
    /// Calls that run. Each ends when its last caller is gone.
    running: TaskTracker,
}

struct State {
    running: HashMap<CallId, Arc<Log>>,
    answered: Memory,
}

impl Repeats {
    pub fn new(store: Option<Arc<dyn Store>>) -> Arc<Self> {
        let state = State { running: HashMap::new(), answered: Memory::new(MEMORY_BYTES_MAX, KEPT_FOR) };
        Arc::new(Self {
            state: Mutex::new(state),
            claims: store.map(Claims::new),
            running: TaskTracker::new(),
        })
    }

    /// Does the work, unless the same call runs or is answered; `until` is when this caller stops waiting.
    pub fn follow(self: &Arc<Self>, call: Call, until: Instant, work: Work) -> Result<Follower> {
        let mut state = self.lock();
        // One that just failed is no answer.
        let known = state.running.get(&call.id).filter(|log| !log.ended_for_now()).cloned();
        let answered = || {
            let (fingerprint, answers) = state.answered.get(&call.id)?;
            Some(Arc::new(Log::whole(fingerprint, answers)))
        };
        let (log, role) = match known.or_else(answered) {
            Some(log) if log.fingerprint == call.fingerprint => (log, Role::Joined),
            Some(_) => return Err(call::reused()),
            None => {
                let log = Arc::new(Log::new(call.fingerprint));
                state.running.insert(call.id, Arc::clone(&log));
                self.running.spawn(Arc::clone(self).run(call, Arc::clone(&log), work));
                (log, Role::First)
            }
        };
        log.enter();
        let changes = log.changes();
        Ok(Follower { repeats: Arc::clone(self), id: call.id, log, seen: 0, changes, until, role })
    }

    /// Until the last call's answer is written down.
    pub async fn settled(&self) {
        self.running.close();
        self.running.wait().await;
    }

    /// Removes from the store what is no longer kept. Runs until dropped.
    pub async fn sweep(&self) {
        match &self.claims {
            Some(claims) => sweep::run(claims).await,
            None => std::future::pending().await,
        }
    }

    /// Runs a call to its end, or until nobody waits.
    async fn run(self: Arc<Self>, call: Call, log: Arc<Log>, work: Work) {
        let acquiring = async {
            match &self.claims {
                Some(claims) => claims.acquire(&call).await,
                None => Acquired::Mine(Claim::default(), Carried::default()),
            }
        };
        let acquired = tokio::select! {
            acquired = acquiring => acquired,
            () = log.abandoned.cancelled() => return,
        };
        match acquired {
            Acquired::Mine(claim, carried) => self.work(call, &log, (claim, carried), work).await,
            Acquired::Done(answers) => {
                answers.into_iter().for_each(|answer| log.push(answer));
                log.end();
                self.remember(call, &log);
            }
            Acquired::Reused => {
                log.fail(&call::reused());
                self.remember(call, &log);
            }
        }
    }

    async fn work(&self, call: Call, log: &Log, (claim, carried): (Claim, Carried), work: Work) {
        let done = async {
            match work(carried).await {
                Ok(mut answers) => {
                    while let Some(answer) = answers.next().await {
                        log.push(answer);
                    }
                    log.end();
                }
                Err(error) => log.fail(&error),
            }
        };
        let renewing = async {
            match &self.claims {
                Some(claims) => claims.renew(&claim).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = done => {}
            () = log.abandoned.cancelled() => {}
            () = renewing => {}
        }
        let answers = self.remember(call, log);
        if let Some(claims) = &self.claims {
            match answers {
                Some(answers) => claims.finish(&claim, &answers).await,
                None => claims.release(&claim).await,
            }
        }
    }

    /// It runs no more. Gives what is kept of it for repeats.
    fn remember(&self, call: Call, log: &Log) -> Option<Vec<Arc<Answer>>> {
        let mut state = self.lock();
        if state.running.get(&call.id).is_some_and(|running| std::ptr::eq(&raw const **running, log)) {
            state.running.remove(&call.id);
        }
        let answers = log.to_remember()?;
        state.answered.put(call, answers.clone());
        Some(answers)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic inside could at worst forget an answer.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    First,
    Joined,
}

/// One who waits for a call. The call goes on as long as there is one.
pub struct Follower {
    repeats: Arc<Repeats>,
    id: CallId,
    log: Arc<Log>,
    seen: usize,
    changes: watch::Receiver<()>,
    until: Instant,
    role: Role,
}

impl Follower {
    /// What comes next; `None` after the last. An error is the whole call's.
    ///
    /// May be dropped and called again: nothing is lost.
    pub async fn next(&mut self) -> Result<Option<Answer>> {
        loop {
            self.changes.borrow_and_update();
            match self.log.next(self.seen) {
                Next::Answer(answer) => {
                    self.seen += 1;
                    return Ok(Some(as_own(&answer)));
                }
                Next::End => return Ok(None),
                Next::Failed(error) => return Err(error),
                Next::NothingYet => {}
            }
            let changed = self.changes.changed();
            if !matches!(tokio::time::timeout_at(self.until + LAST_WORD, changed).await, Ok(Ok(()))) {
                return Err(Error::new(
                    Kind::DeadlineExceeded,
                    "the deadline passed while the call was running",
                ));
            }
        }
    }

    /// Waits for the first answer without taking it; fails if the call did as a whole.
    pub async fn begun(&mut self) -> Result<()> {
        let first = self.next().await?;
        self.seen -= usize::from(first.is_some());
        Ok(())
    }

    /// Whether another caller's time was over, and this one's is not.
    pub fn has_time_left(&self) -> bool {
        self.role == Role::Joined && self.log.ran_out_of_time() && Instant::now() < self.until
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut state = self.repeats.lock();
        if self.log.leave() {
            if state.running.get(&self.id).is_some_and(|running| Arc::ptr_eq(running, &self.log)) {
                state.running.remove(&self.id);
            }
            self.log.abandoned.cancel();
        }
    }
}

/// The answer with this caller's request in its error.
fn as_own(answer: &Answer) -> Answer {
    let mut answer = answer.clone();
    if let Answer::Result(result) = &mut answer
        && let Some(error) = &mut result.error
    {
        name_request(error);
    }
    answer
}
