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
    part_is_read(&store).await;
    one_replacer_wins(&store).await;
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

async fn part_is_read(store: &Arc<dyn Store>) {
    store.put("parts/one", Bytes::from_static(b"0123456789")).await.expect("put");
    let part = |range| store.get_range("parts/one", range);
    assert_eq!(part(0..10).await.expect("all of it"), "0123456789");
    assert_eq!(part(3..5).await.expect("a part"), "34");
    assert!(part(8..12).await.is_err(), "it ends earlier");
    assert!(part(20..22).await.is_err(), "it ends before that");
    let missing = store.get_range("parts/none", 0..1).await.expect_err("nothing there");
    assert_eq!(missing.kind(), Kind::ObjectNotFound);
}

async fn one_replacer_wins(store: &Arc<dyn Store>) {
    assert_eq!(store.get_versioned("lease/none").await.expect_err("nothing").kind(), Kind::ObjectNotFound);
    store.put("lease/held", Bytes::from_static(b"first")).await.expect("put");
    let (value, first) = store.get_versioned("lease/held").await.expect("get");
    assert_eq!(value, "first");
    let replacers = (0..8_u8).map(|i| {
        let (store, first) = (Arc::clone(store), first.clone());
        tokio::spawn(async move { (i, store.replace("lease/held", Bytes::from(vec![i]), &first).await) })
    });
    let mut winners = Vec::new();
    for replacer in replacers.collect::<Vec<_>>() {
        match replacer.await.expect("no panic") {
            (i, Ok(version)) => winners.push((i, version)),
            (_, Err(error)) => assert_eq!(error.kind(), Kind::VersionMismatch),
        }
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    let (winner, second) = winners.remove(0);
    let (value, now) = store.get_versioned("lease/held").await.expect("get");
    assert_eq!((value.as_ref(), &now), ([winner].as_ref(), &second));
    store.delete("lease/held").await.expect("delete");
    let gone = store.replace("lease/held", Bytes::new(), &second).await.expect_err("it is gone");
    assert_eq!(gone.kind(), Kind::VersionMismatch);
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
