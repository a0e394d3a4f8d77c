//! The rows of the table of errors that come from what else goes on: repeats, keys, quotas, the wait.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use platform::{
    Kind,
    auth::{KeyFile, NewKey, Scope},
};
use proto::{
    internal::v1::GatewaySessionResponse,
    v1::{ClassifyRequest, ClassifyStreamRequest},
};
use support::{
    JPEG, System,
    autoscaler::Autoscaler,
    image,
    said::{Said, check, over_grpc, over_http, over_http_with},
    start,
};
use tonic::Request;

mod support;

fn classify(name: &str, request_id: &str) -> ClassifyRequest {
    ClassifyRequest {
        image: Some(image(name, JPEG)),
        request_id: request_id.to_owned(),
        ..ClassifyRequest::default()
    }
}

async fn until_queued(system: &System, images: u64) {
    while system.queue().counts().await.unwrap().visible < images {
        tokio::time::sleep(Duration::from_millis(5)).await; // until they have come in
    }
}

#[tokio::test]
async fn id_of_another_request_is_refused() {
    let system = start(&[]).await;
    let worker = system.working_worker().await;
    system.client().await.classify(classify("cat", "r1")).await.unwrap();
    check(&over_grpc(&system, classify("dog", "r1")).await, Kind::RequestIdReused, &[]);
    let headers = "Idempotency-Key: h1\r\n";
    let request = support::wire::post("/v1/classify?custom_id=cat", headers, JPEG);
    assert_eq!(support::wire::exchange(system.public, &request).await.status, 200);
    let said = over_http_with(&system, "/v1/classify?custom_id=dog", headers, JPEG).await;
    check(&said, Kind::RequestIdReused, &[]);
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn caller_without_a_key_or_over_its_rate_is_told_alike_over_grpc_and_http() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.toml");
    std::fs::write(&path, "").unwrap();
    let new =
        NewKey { name: "slow".to_owned(), scopes: vec![Scope::Classify], rate: Some(0.01), expires_in: None };
    let (key, _) = KeyFile::new(path.clone()).create(new).unwrap();
    let system = start(&["--keys", path.to_str().unwrap()]).await;
    let worker = system.working_worker().await;
    let said = over_grpc(&system, classify("cat", "")).await;
    check(&said, Kind::ApiKeyInvalid, &[]);
    assert_eq!(over_http(&system, "/v1/classify", JPEG).await, said);
    let with_key = || {
        let mut request = Request::new(classify("cat", ""));
        request.metadata_mut().insert("authorization", format!("Bearer {}", key.reveal()).parse().unwrap());
        request
    };
    // What it may have at once is used up by and by.
    let mut client = system.client().await;
    while client.classify(with_key()).await.is_ok() {}
    let of_grpc = over_grpc(&system, with_key()).await;
    let headers = format!("Authorization: Bearer {}\r\n", key.reveal());
    let of_http = over_http_with(&system, "/v1/classify", &headers, JPEG).await;
    for said in [&of_grpc, &of_http] {
        check(said, Kind::QuotaExceeded, &[]);
        assert!(said.quota.as_ref().is_some_and(|subject| subject.starts_with("key:")), "{said:?}");
    }
    assert_eq!(Said { message: String::new(), ..of_grpc }, Said { message: String::new(), ..of_http });
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn wait_that_is_longer_than_the_deadline_is_refused_with_a_time() {
    let capacity = GatewaySessionResponse {
        ready: 1,
        images_per_second: 10.0,
        worker_images_per_second: 10.0,
        ..GatewaySessionResponse::default()
    };
    let autoscaler = Autoscaler::start(capacity).await;
    let system = start(&["--autoscaler", &autoscaler.url()]).await;
    let images = (0..100_u8).map(|i| image(&format!("{i}"), &[JPEG, &[i]].concat())).collect();
    let mut client = system.client().await;
    let held = client.classify_stream(ClassifyStreamRequest { images, ..Default::default() }).await.unwrap();
    until_queued(&system, 100).await;
    let said = loop {
        let mut request = Request::new(classify("cat", ""));
        request.set_timeout(Duration::from_secs(2));
        let said = over_grpc(&system, request).await;
        // Expired, as long as the autoscaler was not heard.
        if said.reason == Kind::WaitExceedsDeadline.reason() {
            break said;
        }
    };
    check(&said, Kind::WaitExceedsDeadline, &[]);
    drop(held);
    system.stop().await;
}
