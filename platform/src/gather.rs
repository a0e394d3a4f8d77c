//! Gathers what many callers do at the same time into calls that cost the same for one as for ten.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinHandle, JoinSet},
    time::Instant,
};

use crate::{Error, Result};

/// A call that takes many at once.
#[async_trait]
pub trait Batch: Send + Sync + 'static {
    type Item: Send + 'static;
    type Done: Send + 'static;

    fn bytes(item: &Self::Item) -> usize;

    /// Answers for each item, in their order.
    async fn call(&self, items: Vec<Self::Item>) -> Vec<Result<Self::Done>>;
}

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub items_max: usize,
    /// Of all items of one call; a larger one goes alone.
    pub bytes_max: usize,
    /// How long an item waits for others while calls are under way or the last one began less than this ago. Else it does
    /// not wait.
    pub linger: Duration,
    /// Calls under way at once. Few, so that items gather while they wait.
    pub calls_max: usize,
}

/// Ends its calls when dropped.
pub struct Gatherer<B: Batch> {
    items: mpsc::Sender<Handed<B>>,
    work: JoinHandle<()>,
}

struct Handed<B: Batch> {
    item: B::Item,
    done: oneshot::Sender<Result<B::Done>>,
}

impl<B: Batch> Drop for Gatherer<B> {
    fn drop(&mut self) {
        self.work.abort();
    }
}

impl<B: Batch> Gatherer<B> {
    pub fn start(batch: B, limits: Limits) -> Self {
        /// Items handed over and not yet taken into a call; past it callers wait.
        const HANDED_MAX: usize = 256;
        let (items, handed) = mpsc::channel(HANDED_MAX);
        Self { items, work: tokio::spawn(run(Arc::new(batch), limits, handed)) }
    }

    /// Done with the next call that has room. Dropped, it may or may not be done.
    pub async fn add(&self, item: B::Item) -> Result<B::Done> {
        let (done, answer) = oneshot::channel();
        let ended = || Error::internal("the task that gathers calls has ended");
        self.items.send(Handed { item, done }).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// All of them, in calls with whatever else is there. The first error, if any.
    pub async fn add_all(&self, items: Vec<B::Item>) -> Result<Vec<B::Done>> {
        futures::future::join_all(items.into_iter().map(|item| self.add(item))).await.into_iter().collect()
    }
}

async fn run<B: Batch>(batch: Arc<B>, limits: Limits, mut handed: mpsc::Receiver<Handed<B>>) {
    let mut calls = JoinSet::new();
    // The one that no longer fitted into the last call.
    let mut carried = None;
    let mut begun = None;
    loop {
        let first = match carried.take() {
            Some(first) => first,
            None => match handed.recv().await {
                Some(first) => first,
                None => break,
            },
        };
        while calls.try_join_next().is_some() {}
        let is_busy =
            !calls.is_empty() || begun.is_some_and(|begun: Instant| begun.elapsed() < limits.linger);
        let until = Instant::now() + if is_busy { limits.linger } else { Duration::ZERO };
        let mut bytes = B::bytes(&first.item);
        let mut together = vec![first];
        while together.len() < limits.items_max {
            tokio::select! {
                biased;
                next = handed.recv() => match next {
                    Some(next) if bytes + B::bytes(&next.item) <= limits.bytes_max => {
                        bytes += B::bytes(&next.item);
                        together.push(next);
                    }
                    next => {
                        carried = next;
                        break;
                    }
                },
                () = tokio::time::sleep_until(until), if calls.len() < limits.calls_max => break,
                Some(_) = calls.join_next() => {}
            }
        }
        while calls.len() >= limits.calls_max {
            calls.join_next().await;
        }
        begun = Some(Instant::now());
        calls.spawn(call(Arc::clone(&batch), together));
    }
    while calls.join_next().await.is_some() {}
}

async fn call<B: Batch>(batch: Arc<B>, together: Vec<Handed<B>>) {
    let (items, done): (Vec<_>, Vec<_>) = together.into_iter().map(|one| (one.item, one.done)).unzip();
    for (done, answer) in done.into_iter().zip(batch.call(items).await) {
        // Whoever asked may be gone.
        let _ = done.send(answer);
    }
}

/// The same error for each of many.
pub fn repeat(error: &Error) -> Error {
    let mut same = Error::new(error.kind(), error.message());
    if let Some(source) = std::error::Error::source(error) {
        same = same.with_source(source.to_string());
    }
    match error.retry_after() {
        Some(after) => same.with_retry_after(after),
        None => same,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::Kind;

    /// Calls that take a while; an odd item fails.
    #[derive(Clone, Default)]
    struct Slow(Arc<Mutex<Vec<Vec<u32>>>>);

    #[async_trait]
    impl Batch for Slow {
        type Item = u32;
        type Done = u32;

        fn bytes(_: &u32) -> usize {
            10
        }

        async fn call(&self, items: Vec<u32>) -> Vec<Result<u32>> {
            self.0.lock().unwrap().push(items.clone());
            tokio::time::sleep(Duration::from_millis(10)).await;
            let answer =
                |item| if item % 2 == 0 { Ok(item * 2) } else { Err(Error::new(Kind::Internal, "odd")) };
            items.into_iter().map(answer).collect()
        }
    }

    const LIMITS: Limits =
        Limits { items_max: 10, bytes_max: 1000, linger: Duration::from_millis(5), calls_max: 2 };

    #[tokio::test(start_paused = true)]
    async fn single_item_goes_at_once_and_each_gets_its_own_answer() {
        let slow = Slow::default();
        let gatherer = Gatherer::start(slow.clone(), LIMITS);
        let begun = Instant::now();
        assert_eq!(gatherer.add(4).await.unwrap(), 8);
        assert_eq!(begun.elapsed().as_millis(), 10, "no linger when idle");
        let answers = futures::future::join_all((0..6).map(|item| gatherer.add(item))).await;
        let answers = answers.into_iter().map(Result::ok).collect::<Vec<_>>();
        assert_eq!(answers, [Some(0), None, Some(4), None, Some(8), None]);
        assert_eq!(gatherer.add_all(vec![2, 3, 4]).await.unwrap_err().kind(), Kind::Internal);
    }

    #[tokio::test(start_paused = true)]
    async fn many_at_once_take_few_calls_within_the_limits() {
        let slow = Slow::default();
        let gatherer = Gatherer::start(slow.clone(), LIMITS);
        gatherer.add_all((0..100).map(|item| item * 2).collect()).await.unwrap();
        let calls = slow.0.lock().unwrap().clone();
        assert!(calls.len() <= 11, "{} calls", calls.len());
        assert!(calls.iter().all(|call| call.len() <= 10));
        assert_eq!(calls.concat(), (0..100).map(|item| item * 2).collect::<Vec<_>>(), "in order, none lost");
    }

    #[tokio::test(start_paused = true)]
    async fn call_is_never_larger_than_its_bytes_allow() {
        let slow = Slow::default();
        let gatherer = Gatherer::start(slow.clone(), Limits { bytes_max: 25, ..LIMITS });
        gatherer.add_all(vec![0; 9]).await.unwrap();
        assert!(slow.0.lock().unwrap().iter().all(|call| call.len() <= 2));
    }
}
