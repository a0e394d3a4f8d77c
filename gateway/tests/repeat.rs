//! Calls that are repeated with the same `request_id` or `Idempotency-Key`: one answer, whoever asks how often.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, time::Duration};

use proto::{
    internal::v1::{TaskResult, reply_session_request as request},
    v1::{
        BatchClassifyRequest, ClassifyOptions, ClassifyRequest, ClassifyResponse, ClassifyStreamRequest,
        ImageState, classify_stream_response::Event,
    },
};
use support::{JPEG, System, Worker, image, labelled, start};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};
use tonic::{Code, Response, Status, Streaming};
use tonic_types::StatusExt as _;

mod support;

fn one(request_id: &str, name: &str) -> ClassifyRequest {
    ClassifyRequest {
        image: Some(image(name, JPEG)),
        request_id: request_id.to_owned(),
        ..ClassifyRequest::default()
    }
}

fn many(request_id: &str, images: usize) -> ClassifyStreamRequest {
    let images = (0..images).map(|i| image(&format!("{i}.jpg"), JPEG)).collect();
    ClassifyStreamRequest { images, request_id: request_id.to_owned(), ..ClassifyStreamRequest::default() }
}

type Call = JoinHandle<Result<Response<ClassifyResponse>, Status>>;

async fn calls(system: &System, request: ClassifyRequest) -> Call {
    let mut client = system.client().await;
    tokio::spawn(async move { client.classify(request).await })
}

async fn label(call: Call) -> String {
    let result = call.await.unwrap().unwrap().into_inner().result.unwrap();
    result.classifications[0].label.clone()
}

async fn waiting(system: &System, images: u64) {
    for _ in 0..500 {
        if system.queue().counts().await.unwrap().visible == images {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await; // until the server has taken it in
    }
    panic!("{:?} and not {images}", system.queue().counts().await);
}

async fn answer_as(worker: &mut Worker, name: &str) {
    let held = worker.receive(1).await;
    worker.start(&held[0]).await;
    worker.reply(&held[0], labelled(name, 1)).await;
}

/// Names and indexes of the results of a stream, and that it keeps its rules.
async fn read(mut events: Streaming<proto::v1::ClassifyStreamResponse>) -> Vec<(u32, String)> {
    let (mut sequence, mut results, mut ended) = (0, Vec::new(), false);
    while let Some(event) = events.message().await.unwrap() {
        sequence += 1;
        assert_eq!(event.sequence, sequence);
        match event.event.unwrap() {
            Event::Accepted(accepted) => assert_eq!((sequence, accepted.request_id.as_str()), (1, "s1")),
            Event::Result(result) => results.push((result.index, result.classifications[0].label.clone())),
            Event::Summary(summary) => {
                assert_eq!(summary.counts.unwrap().total as usize, results.len());
                ended = true;
            }
            _ => {}
        }
    }
    assert!(ended);
    let indexes = results.iter().map(|(index, _)| *index).collect::<BTreeSet<_>>();
    assert_eq!(indexes.len(), results.len(), "each once");
    results
}

#[tokio::test]
async fn repeat_of_an_answered_call_gets_the_first_answer() {
    let system = start(&[]).await;
    let mut worker = system.worker().await;
    let first = calls(&system, one("r1", "x")).await;
    answer_as(&mut worker, "first").await;
    assert_eq!(label(first).await, "first");
    assert_eq!(label(calls(&system, one("r1", "x")).await).await, "first");
    // Another id, no id, another method: calls of their own.
    for request in [one("r2", "x"), one("", "x")] {
        let call = calls(&system, request).await;
        answer_as(&mut worker, "another").await;
        assert_eq!(label(call).await, "another");
    }
    let batch = BatchClassifyRequest {
        images: vec![image("x", JPEG)],
        request_id: "r1".to_owned(),
        ..BatchClassifyRequest::default()
    };
    for _ in 0..2 {
        let mut client = system.client().await;
        let batch = batch.clone();
        let call = tokio::spawn(async move { client.batch_classify(batch).await.unwrap().into_inner() });
        if system.gateway_totals().0 == 3 {
            answer_as(&mut worker, "batch").await;
        }
        assert_eq!(call.await.unwrap().results[0].classifications[0].label, "batch");
    }
    assert_eq!(system.gateway_totals(), (4, 4));
    system.stop().await;
}

#[tokio::test]
async fn same_id_for_another_request_is_refused() {
    let system = start(&[]).await;
    let mut worker = system.worker().await;
    let running = calls(&system, one("r1", "x")).await;
    waiting(&system, 1).await;
    let refused = async |request: ClassifyRequest| {
        let status = system.client().await.classify(request).await.unwrap_err();
        assert_eq!(status.code(), Code::AlreadyExists);
        assert_eq!(status.get_details_error_info().unwrap().reason, "REQUEST_ID_REUSED");
    };
    let top = |top_k| Some(ClassifyOptions { top_k, ..ClassifyOptions::default() });
    refused(one("r1", "another name")).await;
    refused(ClassifyRequest { options: top(3), ..one("r1", "x") }).await;
    answer_as(&mut worker, "first").await;
    label(running).await;
    refused(ClassifyRequest { image: Some(image("x", b"\xff\xd8\xff\xe0 another")), ..one("r1", "x") }).await;
    for wrong in ["two words", &"x".repeat(129)] {
        let status = system.client().await.classify(one(wrong, "x")).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "request_id");
    }
    system.stop().await;
}

#[tokio::test]
async fn repeat_joins_the_call_that_runs_which_goes_on_while_one_waits() {
    let system = start(&[]).await;
    let first = calls(&system, one("r1", "x")).await;
    waiting(&system, 1).await;
    let second = calls(&system, one("r1", "x")).await;
    tokio::time::sleep(Duration::from_millis(100)).await; // it has joined
    first.abort();
    tokio::time::sleep(Duration::from_millis(100)).await; // the server has seen it go
    waiting(&system, 1).await;
    let third = calls(&system, one("r1", "x")).await;
    let mut worker = system.worker().await;
    answer_as(&mut worker, "once").await;
    assert_eq!((label(second).await, label(third).await), ("once".to_owned(), "once".to_owned()));
    assert_eq!(system.gateway_totals(), (1, 1));
    // With the last caller the work goes.
    let gone = calls(&system, one("r2", "x")).await;
    waiting(&system, 1).await;
    gone.abort();
    waiting(&system, 0).await;
    system.stop().await;
}

#[tokio::test]
async fn repeated_stream_gets_what_was_answered_and_the_rest() {
    let system = start(&[]).await;
    let mut worker = system.worker().await;
    let first = system.client().await.classify_stream(many("s1", 5)).await.unwrap().into_inner();
    let mut held = worker.receive(5).await;
    while held.len() < 5 {
        held.extend(worker.receive(5).await);
    }
    for delivery in &held[..2] {
        worker.answer(delivery).await;
    }
    let second = system.client().await.classify_stream(many("s1", 5)).await.unwrap().into_inner();
    drop(first);
    tokio::time::sleep(Duration::from_millis(100)).await; // the server has seen it go
    for delivery in &held[2..] {
        worker.answer(delivery).await;
    }
    let mut results = read(second).await;
    let third = system.client().await.classify_stream(many("s1", 5)).await.unwrap().into_inner();
    assert_eq!(read(third).await, results, "in the order of the first time");
    results.sort_unstable();
    assert_eq!(results, (0..5).map(|i| (i, i.to_string())).collect::<Vec<_>>());
    assert_eq!(system.gateway_totals(), (5, 5));
    system.stop().await;
}

#[tokio::test]
async fn what_can_pass_is_tried_again() {
    let system = start(&["--pending-max", "1"]).await;
    let mut worker = system.worker().await;
    let other = calls(&system, one("", "other")).await;
    waiting(&system, 1).await;
    let status = system.client().await.classify(one("r1", "x")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    answer_as(&mut worker, "other").await;
    label(other).await;
    let longest = Some(prost_types::Duration { seconds: 0, nanos: 50_000_000 });
    let hasty = ClassifyOptions { max_queue_duration: longest, ..ClassifyOptions::default() };
    let hasty = ClassifyRequest { options: Some(hasty), ..one("r2", "x") };
    let status = system.client().await.classify(hasty.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    for request in [one("r1", "x"), hasty] {
        let call = calls(&system, request).await;
        answer_as(&mut worker, "again").await;
        assert_eq!(label(call).await, "again");
    }
    // A bad image stays bad.
    let bad = ClassifyRequest { image: Some(image("x", JPEG)), ..one("r3", "x") };
    let call = calls(&system, bad.clone()).await;
    let held = worker.receive(1).await;
    let error = platform::Error::new(platform::Kind::ImageUndecodable, "broken");
    let failed = proto::v1::ImageResult {
        state: ImageState::Failed.into(),
        error: Some(platform::error::to_rpc_status(&error)),
        ..proto::v1::ImageResult::default()
    };
    worker.start(&held[0]).await;
    worker.reply(&held[0], failed).await;
    for status in [call.await.unwrap().unwrap_err(), system.client().await.classify(bad).await.unwrap_err()] {
        assert_eq!(status.get_details_error_info().unwrap().reason, "IMAGE_UNDECODABLE");
    }
    system.stop().await;
}

#[tokio::test]
async fn one_who_joined_and_has_time_left_is_not_cut_off_with_the_first() {
    let system = start(&[]).await;
    let mut client = system.client().await;
    let mut hasty = tonic::Request::new(one("r1", "x"));
    hasty.set_timeout(Duration::from_millis(400));
    let first = tokio::spawn(async move { client.classify(hasty).await });
    waiting(&system, 1).await;
    let patient = calls(&system, one("r1", "x")).await;
    assert!(first.await.unwrap().is_err());
    let worker = system.working_worker().await;
    assert_eq!(label(patient).await, "x");
    worker.abort();
    system.stop().await;
}

/// Two gateways with one store.
async fn two(folder: &tempfile::TempDir) -> (System, System) {
    let store = format!("file://{}", folder.path().display());
    (start(&["--store", &store]).await, start(&["--store", &store]).await)
}

#[tokio::test]
async fn any_gateway_with_the_store_answers_a_repeat() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = two(&folder).await;
    let mut worker = here.worker().await;
    let first = calls(&here, one("r1", "x")).await;
    waiting(&here, 1).await;
    // While it runs elsewhere it is waited for.
    let repeat = calls(&there, one("r1", "x")).await;
    tokio::time::sleep(Duration::from_millis(300)).await; // it has found the claim
    answer_as(&mut worker, "first").await;
    assert_eq!((label(first).await, label(repeat).await), ("first".to_owned(), "first".to_owned()));
    let other = ClassifyRequest { image: Some(image("y", JPEG)), ..one("r1", "x") };
    let status = there.client().await.classify(other).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    let stream = here.client().await.classify_stream(many("s1", 3)).await.unwrap().into_inner();
    let working = here.working_worker().await;
    let results = read(stream).await;
    working.abort();
    here.stop().await;
    let stream = there.client().await.classify_stream(many("s1", 3)).await.unwrap().into_inner();
    assert_eq!(read(stream).await, results);
    assert_eq!(there.gateway_totals(), (0, 0), "nothing was classified there");
    there.stop().await;
}

#[tokio::test]
async fn call_of_a_gateway_that_died_is_taken_over_with_what_workers_left() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = two(&folder).await;
    let worker = here.worker().await;
    let running = here.client().await.classify_stream(many("s1", 3)).await.unwrap().into_inner();
    let mut held = worker.receive(3).await;
    while held.len() < 3 {
        held.extend(worker.receive(3).await);
    }
    let first = held.iter().find(|delivery| delivery.task.custom_id == "0.jpg").unwrap();
    let left = prost::Message::encode_to_vec(&labelled("left.jpg", 1));
    let key = &first.task.fallback_key;
    assert!(key.starts_with("requests/"));
    std::fs::write(folder.path().join(key), left).unwrap();
    // As if it was killed: its claim is not renewed.
    here.running.abort();
    let call = folder.path().join(key).with_file_name("call");
    assert!(call.exists());
    drop(running);
    let working = there.working_worker().await;
    let stream = there.client().await.classify_stream(many("s1", 3)).await.unwrap().into_inner();
    let mut results = read(stream).await;
    results.sort_unstable();
    let names = results.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>();
    assert_eq!(names, ["left", "1", "2"]);
    working.abort();
    there.stop().await;
}

#[tokio::test]
async fn reply_to_a_gateway_that_does_not_know_the_task_is_accepted_and_gives_nobody_an_answer() {
    let system = start(&[]).await;
    let mut worker = system.worker().await;
    let waits = calls(&system, one("", "x")).await;
    waiting(&system, 1).await;
    let unknown = TaskResult { task_id: "of-the-one-before".to_owned(), result: Some(labelled("y", 1)) };
    worker.say(request::Event::Result(unknown)).await;
    let told = worker.answers.message().await.unwrap().unwrap().event.unwrap();
    assert!(
        matches!(told, proto::internal::v1::reply_session_response::Event::Accepted(one) if one.task_id == "of-the-one-before")
    );
    answer_as(&mut worker, "x").await;
    assert_eq!(label(waits).await, "x");
    system.stop().await;
}

/// Status and body of a POST.
async fn post(system: &System, path: &str, key: &str, content: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(system.public).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nidempotency-key: {key}\r\ncontent-length: {}\r\n\r\n",
        content.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(content).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[tokio::test]
async fn idempotency_key_is_over_http_what_request_id_is_over_grpc() {
    let system = start(&[]).await;
    let worker = system.working_worker().await;
    let path = "/v1/classify?custom_id=cat.jpg";
    let (status, first) = post(&system, path, "k1", JPEG).await;
    assert_eq!(status, 200, "{first}");
    let (status, again) = post(&system, path, "k1", JPEG).await;
    assert_eq!((status, &again), (200, &first));
    assert_eq!(system.gateway_totals(), (1, 1));
    let (status, body) = post(&system, path, "k1", b"\xff\xd8\xff\xe0 another").await;
    assert_eq!(status, 409);
    assert!(body.contains("REQUEST_ID_REUSED"), "{body}");
    let (status, body) = post(&system, path, "two words", JPEG).await;
    assert_eq!(status, 400);
    assert!(body.contains("Idempotency-Key"), "{body}");
    worker.abort();
    system.stop().await;
}
