//! The second level: results in the store, as `results/KEY`. Read before a worker is asked, written behind the answer, and
//! never a reason for a request to fail.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt as _;
use platform::{Kind, store::Store};
use prost::Message as _;
use proto::internal::v1::CachedResult;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Key;

/// Results that wait to be written, a few hundred bytes each. What comes when it is full is not written.
const WAITING_MAX: usize = 4096;
/// Writes at once.
const WRITES_MAX: usize = 16;
/// A read that takes longer than classifying would is of no use.
const READ_MAX: Duration = Duration::from_millis(500);

pub struct Shared {
    store: Arc<dyn Store>,
    out: mpsc::Sender<(String, Bytes)>,
    waiting: Mutex<Option<mpsc::Receiver<(String, Bytes)>>>,
}

impl Shared {
    pub fn new(store: Arc<dyn Store>) -> Self {
        let (out, waiting) = mpsc::channel(WAITING_MAX);
        Self { store, out, waiting: Mutex::new(Some(waiting)) }
    }

    pub(super) async fn get(&self, key: &Key) -> Option<CachedResult> {
        let read = match tokio::time::timeout(READ_MAX, self.store.get(&name(key))).await {
            Ok(read) => read,
            Err(_) => {
                tracing::debug!("read a cached result: took too long");
                return None;
            }
        };
        match read {
            Ok(kept) => CachedResult::decode(kept).ok(),
            Err(error) => {
                if error.kind() != Kind::ObjectNotFound {
                    tracing::warn!(%error, "read a cached result");
                }
                None
            }
        }
    }

    pub(super) fn put(&self, key: &Key, kept: &CachedResult) {
        // Full: it is classified once more, some day.
        let _ = self.out.try_send((name(key), kept.encode_to_vec().into()));
    }

    /// Runs until dropped.
    pub(super) async fn write(&self) {
        let Some(waiting) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return std::future::pending().await;
        };
        let write = async |(name, kept): (String, Bytes)| {
            if let Err(error) = self.store.put(&name, kept).await {
                tracing::warn!(%error, "write a cached result");
            }
        };
        ReceiverStream::new(waiting).for_each_concurrent(WRITES_MAX, write).await;
    }
}

fn name(key: &Key) -> String {
    format!("results/{}", key.hex())
}
