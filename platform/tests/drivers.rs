//! The driver contracts, on the kinds that live in this crate.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use platform::{
    Kind,
    queue::{self, MemoryLimits, MemoryQueue},
    store::{self, FileStore},
};

#[tokio::test(start_paused = true)]
async fn memory_queue_keeps_the_contract() {
    queue::contract::check(MemoryQueue::new(MemoryLimits::default())).await;
}

#[tokio::test]
async fn file_store_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    store::contract::check(Arc::new(FileStore::open(folder.path()).unwrap())).await;
}

#[tokio::test]
async fn unknown_kinds_are_refused_with_the_known_ones_named() {
    let check = |error: platform::Error, known: &str| {
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.message().contains(known), "{error}");
    };
    for url in ["kafka://x", "memory", "", "broker"] {
        check(queue::open(url).await.err().unwrap(), "broker://");
    }
    for url in ["gs://bucket", "", "folder"] {
        check(store::open(url).await.err().unwrap(), "file:///");
    }
}
