//! Streams that answer step by step, without a task of their own: they stop with their caller.

use std::pin::Pin;

use futures::{Stream, stream};
use platform::Result;
use tonic::Status;

pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// One answer after the other.
pub(super) trait Step: Send + 'static {
    type Answer: Send + 'static;

    /// The next answer; `None` at the end. An error is the last thing said.
    fn step(&mut self) -> impl Future<Output = Result<Option<Self::Answer>>> + Send;
}

pub(super) fn answers<S: Step>(steps: S) -> Answers<S::Answer> {
    Box::pin(stream::unfold(Some(steps), |steps| async move {
        let mut steps = steps?;
        match steps.step().await {
            Ok(Some(answer)) => Some((Ok(answer), Some(steps))),
            Ok(None) => None,
            Err(error) => Some((Err(error.into()), None)),
        }
    }))
}
