//! What a call has answered so far, for all who wait for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use platform::{
    Error, Kind,
    error::{from_rpc_status, to_rpc_status},
};
use prost::Message as _;
use proto::v1::{ImageState, classify_stream_response::Event as Answer};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_types::pb::Status;

use super::call::Fingerprint;

/// Progress is told again and again while images wait; one who repeats the call is told this much of it.
const PROGRESS_MAX: usize = 5000;

pub(super) struct Log {
    pub(super) fingerprint: Fingerprint,
    /// Nobody waits any more.
    pub(super) abandoned: CancellationToken,
    inner: Mutex<Inner>,
    changes: watch::Sender<()>,
}

#[derive(Default)]
struct Inner {
    answers: Vec<Arc<Answer>>,
    progress: usize,
    end: Option<End>,
    followers: usize,
}

#[derive(Clone)]
enum End {
    Whole,
    /// Failed as a whole.
    Failed(Status),
}

/// What there is after so many answers.
pub(super) enum Next {
    Answer(Arc<Answer>),
    NothingYet,
    End,
    Failed(Error),
}

impl Log {
    pub(super) fn new(fingerprint: Fingerprint) -> Self {
        let (abandoned, inner) = (CancellationToken::new(), Mutex::default());
        Self { fingerprint, abandoned, inner, changes: watch::Sender::new(()) }
    }

    /// One that was written down before.
    pub(super) fn whole(fingerprint: Fingerprint, answers: Vec<Arc<Answer>>) -> Self {
        let log = Self::new(fingerprint);
        *log.lock() = Inner { answers, end: Some(End::Whole), ..Inner::default() };
        log
    }

    pub(super) fn push(&self, answer: Answer) {
        let mut inner = self.lock();
        if matches!(answer, Answer::Progress(_)) {
            if inner.progress >= PROGRESS_MAX {
                return;
            }
            inner.progress += 1;
        }
        inner.answers.push(Arc::new(answer));
        drop(inner);
        self.changes.send_replace(());
    }

    pub(super) fn end(&self) {
        self.lock().end = Some(End::Whole);
        self.changes.send_replace(());
    }

    pub(super) fn fail(&self, error: &Error) {
        self.lock().end = Some(End::Failed(to_rpc_status(error)));
        self.changes.send_replace(());
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    pub(super) fn next(&self, seen: usize) -> Next {
        let inner = self.lock();
        match (inner.answers.get(seen), &inner.end) {
            (Some(answer), _) => Next::Answer(Arc::clone(answer)),
            (None, None) => Next::NothingYet,
            (None, Some(End::Whole)) => Next::End,
            (None, Some(End::Failed(status))) => Next::Failed(from_rpc_status(status)),
        }
    }

    pub(super) fn enter(&self) {
        self.lock().followers += 1;
    }

    /// Gives whether nobody is left while it still runs.
    pub(super) fn leave(&self) -> bool {
        let mut inner = self.lock();
        inner.followers -= 1;
        inner.followers == 0 && inner.end.is_none()
    }

    /// What a repeat is given later: all but progress. `None` for a call that another try may help.
    pub(super) fn to_remember(&self) -> Option<Vec<Arc<Answer>>> {
        let inner = self.lock();
        let is_final =
            matches!(inner.end, Some(End::Whole)) && !inner.answers.iter().any(|one| can_pass(one));
        is_final.then(|| {
            inner.answers.iter().filter(|one| !matches!(***one, Answer::Progress(_))).cloned().collect()
        })
    }

    /// Whether it ended, and another try may help.
    pub(super) fn ended_for_now(&self) -> bool {
        let has_ended = self.lock().end.is_some();
        has_ended && self.to_remember().is_none()
    }

    /// Whether it ended, and an image ran out of its first caller's time.
    pub(super) fn ran_out_of_time(&self) -> bool {
        let expired = |answer: &Arc<Answer>| matches!(&**answer, Answer::Result(result) if result.state() == ImageState::Expired);
        let inner = self.lock();
        match &inner.end {
            Some(End::Whole) => inner.answers.iter().any(expired),
            Some(End::Failed(status)) => {
                let kind = from_rpc_status(status).kind();
                matches!(kind, Kind::ExpiredInQueue | Kind::DeadlineExceeded | Kind::WaitExceedsDeadline)
            }
            None => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code of a caller runs inside.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether another try may end otherwise.
fn can_pass(answer: &Answer) -> bool {
    let Answer::Result(result) = answer else { return false };
    let kind = || result.error.as_ref().map(|status| from_rpc_status(status).kind());
    match result.state() {
        ImageState::Succeeded => false,
        ImageState::Failed => kind().is_none_or(|kind| kind.is_retryable() || kind == Kind::Internal),
        _ => true,
    }
}

/// Of an answer as it is kept.
pub(super) fn bytes(answers: &[Arc<Answer>]) -> usize {
    let of_one = |answer: &Arc<Answer>| match &**answer {
        Answer::Result(result) => result.encoded_len(),
        Answer::Accepted(accepted) => accepted.encoded_len(),
        _ => 0,
    };
    answers.iter().map(|answer| of_one(answer) + size_of::<Answer>()).sum()
}
