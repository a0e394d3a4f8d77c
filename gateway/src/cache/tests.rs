//! What is kept, what is found again, and what makes room.

use std::sync::Arc;

use bytes::Bytes;
use platform::store::{FileStore, Store};
use proto::v1::Classification;

use super::*;
use crate::{group::Picture, intake, models::Models};

fn key(content: &'static [u8]) -> Key {
    Sum::of(&Picture::Content(Bytes::from_static(content))).unwrap().with_model("lite0@1")
}

fn result(classes: u32) -> ImageResult {
    let classifications =
        (0..classes).map(|class_id| Classification { class_id, ..Classification::default() }).collect();
    let execution = ExecutionInfo { batch_size: 3, attempt: 1, ..ExecutionInfo::default() };
    ImageResult {
        index: 7,
        custom_id: "x".to_owned(),
        state: ImageState::Succeeded.into(),
        classifications,
        execution: Some(execution),
        ..ImageResult::default()
    }
}

#[tokio::test]
async fn equal_image_is_answered_from_memory_and_says_so() {
    let cache = Cache::new(10_000, None);
    cache.put(&key(b"a"), 10, &result(10));
    let found = cache.find(&key(b"a"), 5).await.unwrap();
    assert_eq!((found.index, found.custom_id.as_str(), found.classifications.len()), (0, "", 10));
    let execution = found.execution.unwrap();
    assert_eq!((execution.cached, execution.attempt, execution.batch_size), (true, 1, 0));
    assert!(cache.find(&key(b"b"), 5).await.is_none());
}

#[tokio::test]
async fn result_with_too_few_classes_is_not_an_answer() {
    let cache = Cache::new(10_000, None);
    cache.put(&key(b"a"), 10, &result(10));
    assert!(cache.find(&key(b"a"), 11).await.is_none());
    cache.put(&key(b"a"), 20, &result(20));
    assert_eq!(cache.find(&key(b"a"), 11).await.unwrap().classifications.len(), 20);
    cache.put(&key(b"b"), 10, &result(3));
    assert!(cache.find(&key(b"b"), 1000).await.is_some(), "the model has no more than three");
}

#[tokio::test]
async fn failures_are_tried_again() {
    let cache = Cache::new(10_000, None);
    cache.put(&key(b"a"), 10, &ImageResult { state: ImageState::Failed.into(), ..result(0) });
    assert!(cache.find(&key(b"a"), 1).await.is_none());
}

#[tokio::test]
async fn what_was_asked_for_least_lately_makes_room() {
    let one = result(1);
    let bytes = {
        let cache = Cache::new(10_000, None);
        cache.put(&key(b"a"), 10, &one);
        cache.lock().bytes
    };
    let cache = Cache::new(3 * bytes, None);
    for content in [b"a", b"b", b"c"] {
        cache.put(&key(content), 10, &one);
    }
    assert!(cache.find(&key(b"a"), 1).await.is_some());
    cache.put(&key(b"d"), 10, &one);
    assert!(cache.find(&key(b"b"), 1).await.is_none(), "the only one that nobody asked for since");
    for content in [b"a", b"c", b"d"] {
        assert!(cache.find(&key(content), 1).await.is_some());
    }
    assert_eq!(cache.lock().bytes, 3 * bytes);
    cache.put(&key(b"e"), 1000, &result(1000));
    assert!(cache.find(&key(b"e"), 1).await.is_none(), "larger than all there is");
    let state = cache.lock();
    assert_eq!((state.bytes, state.order.len(), state.results.len()), (3 * bytes, 3, 3));
}

#[tokio::test]
async fn second_gateway_with_the_store_finds_it_there_and_a_failing_store_is_a_miss() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(FileStore::open(folder.path()).unwrap());
    let first = Cache::new(10_000, Some(Shared::new(Arc::clone(&store))));
    first.put(&key(b"a"), 10, &result(10));
    tokio::select! {
        () = first.write_shared() => panic!("it runs until dropped"),
        () = async { while store.list("results/", "", 9).await.unwrap().is_empty() { tokio::task::yield_now().await } } => {}
    }
    let second = Cache::new(10_000, Some(Shared::new(Arc::clone(&store))));
    assert!(second.find(&key(b"a"), 5).await.unwrap().execution.unwrap().cached);
    store.put(&format!("results/{}", key(b"b").hex()), Bytes::from_static(b"\xff\xff")).await.unwrap();
    assert!(second.find(&key(b"b"), 5).await.is_none());
    drop(folder);
    assert!(second.find(&key(b"c"), 5).await.is_none());
    assert!(second.find(&key(b"a"), 5).await.is_some(), "in memory by now");
}

#[test]
fn keys_tell_apart_what_has_to_be_told_apart() {
    let options = intake::check_options(None, &Models::default()).unwrap();
    let other = intake::Checked { top_k: 6, ..options.clone() };
    let sum = |content: &'static [u8]| Sum::of(&Picture::Content(Bytes::from_static(content))).unwrap();
    assert_ne!(sum(b"a"), sum(b"b"));
    assert_ne!(sum(b"a").with_model("m@1"), sum(b"a").with_model("m@2"));
    assert_eq!(sum(b"a").under_name("x", &options), sum(b"a").under_name("x", &options));
    assert_ne!(sum(b"a").under_name("x", &options), sum(b"a").under_name("y", &options));
    assert_ne!(sum(b"a").under_name("x", &options), sum(b"a").under_name("x", &other));
    let object = |uri: &str| Sum::of(&Picture::Object(uri.to_owned()));
    assert!(object("s3://bucket/cat.jpg").is_none(), "what it names can change");
    let pinned = object("s3://bucket/cat.jpg?versionId=1");
    assert!(pinned.is_some());
    assert_ne!(pinned, object("s3://bucket/cat.jpg?versionId=2"));
}
