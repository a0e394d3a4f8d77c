//! What every kind of store must do, as one test that each kind runs.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::Store;
use crate::Kind;

/// Runs the whole contract on a store that nobody else uses.
///
/// # Panics
/// Where the store breaks the contract.
pub async fn check(store: Arc<dyn Store>) {
    object_is_read_as_written(&store).await;
    one_creator_wins(&store).await;
    listing_is_in_order_and_pages(&store).await;
    strange_keys_are_refused(&store).await;
}

async fn object_is_read_as_written(store: &Arc<dyn Store>) {
    let missing = store.get("objects/none").await.expect_err("nothing there yet");
    assert_eq!(missing.kind(), Kind::ObjectNotFound);
    store.delete("objects/none").await.expect("deleting nothing is fine");
    for value in [Bytes::new(), Bytes::from_static(b"first"), Bytes::from(vec![7; 300_000])] {
        store.put("objects/one", value.clone()).await.expect("put");
        assert_eq!(store.get("objects/one").await.expect("get"), value);
    }
    store.delete("objects/one").await.expect("delete");
    assert_eq!(store.get("objects/one").await.expect_err("deleted").kind(), Kind::ObjectNotFound);
}

async fn one_creator_wins(store: &Arc<dyn Store>) {
    let creators = (0..16_u8).map(|i| {
        let store = Arc::clone(store);
        tokio::spawn(async move { (i, store.create("lease/leader", Bytes::from(vec![i])).await) })
    });
    let mut winners = Vec::new();
    for creator in creators.collect::<Vec<_>>() {
        match creator.await.expect("no panic") {
            (i, Ok(())) => winners.push(i),
            (_, Err(error)) => assert_eq!(error.kind(), Kind::AlreadyExists),
        }
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    assert_eq!(store.get("lease/leader").await.expect("get"), winners);
}

async fn listing_is_in_order_and_pages(store: &Arc<dyn Store>) {
    for key in ["list/b", "list/a/2", "list/a/1", "list/c", "listed"] {
        store.put(key, Bytes::from_static(b"x")).await.expect("put");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let list = |after: &'static str, max| store.list("list/", after, max);
    assert_eq!(list("", 10).await.expect("list"), ["list/a/1", "list/a/2", "list/b", "list/c"]);
    assert_eq!(list("", 2).await.expect("list"), ["list/a/1", "list/a/2"]);
    assert_eq!(list("list/a/2", 10).await.expect("list"), ["list/b", "list/c"]);
    assert_eq!(store.list("list/a", "", 10).await.expect("list"), ["list/a/1", "list/a/2"]);
    assert!(store.list("nothing/", "", 10).await.expect("list").is_empty());
}

async fn strange_keys_are_refused(store: &Arc<dyn Store>) {
    for key in
        ["", "/", "../up", "a/../b", "a//b", "a/", "/a", "nul\0", "a b", "ü", "~aside", &"x".repeat(2000)]
    {
        assert!(store.put(key, Bytes::new()).await.is_err(), "{key:?}");
        assert!(store.get(key).await.is_err(), "{key:?}");
    }
}
