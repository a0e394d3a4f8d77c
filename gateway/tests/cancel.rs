//! A caller that goes away takes its images along: out of the queue, and off the workers that have begun.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, time::Duration};

use proto::{
    internal::v1::reply_session_response::Event as Told,
    v1::{
        BidiClassifyRequest, ClassifyRequest, ClassifyStreamRequest, bidi_classify_request::Request as Asked,
    },
};
use support::{JPEG, System, Worker, image, start};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;

mod support;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// The images a worker is told about next, which all have to be cancelled.
async fn cancelled(worker: &mut Worker, images: usize) -> BTreeSet<String> {
    let mut task_ids = BTreeSet::new();
    while task_ids.len() < images {
        let told = tokio::time::timeout(PATIENCE, worker.answers.message()).await.expect("told in time");
        match told.unwrap().unwrap().event {
            Some(Told::Cancelled(cancelled)) => task_ids.insert(cancelled.task_id),
            other => panic!("{other:?}"),
        };
    }
    task_ids
}

/// Has a worker begin all images of a caller, then lets the caller go and sees the worker be told.
async fn begun_then_gone<Caller>(system: &System, images: usize, caller: Caller) {
    let mut worker = system.worker().await;
    let (mut begun, mut leases) = (BTreeSet::new(), Vec::new());
    while begun.len() < images {
        for delivery in worker.receive(8).await {
            worker.start(&delivery).await;
            begun.insert(delivery.task.task_id);
            leases.push(delivery.lease);
        }
    }
    // A start that was heard is answered if nobody waits, so this one says that those before it were heard.
    let unknown = proto::internal::v1::TaskStarted { task_id: "unknown".to_owned(), start_time: None };
    worker.say(proto::internal::v1::reply_session_request::Event::Started(unknown)).await;
    assert_eq!(cancelled(&mut worker, 1).await, ["unknown".to_owned()].into());
    drop(caller);
    assert_eq!(cancelled(&mut worker, images).await, begun);
    worker.queue.ack(&leases).await.unwrap();
}

async fn eventually_empty(system: &System) {
    for _ in 0..1000 {
        if system.queue().counts().await.unwrap().visible == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await; // until the server has seen the close
    }
    panic!("a caller that hung up still has its images in the queue");
}

fn stream_of(images: usize) -> ClassifyStreamRequest {
    let images = (0..images).map(|i| image(&format!("{i}.jpg"), JPEG)).collect();
    ClassifyStreamRequest { images, ..ClassifyStreamRequest::default() }
}

#[tokio::test]
async fn dropped_stream_stops_the_workers_that_have_begun_its_images() {
    let system = start(&[]).await;
    let mut client = system.client().await;
    let events = client.classify_stream(stream_of(3)).await.unwrap().into_inner();
    begun_then_gone(&system, 3, events).await;
    system.stop().await;
}

#[tokio::test]
async fn cancelled_unary_call_stops_the_worker_that_has_begun_its_image() {
    let system = start(&[]).await;
    let mut client = system.client().await;
    let request = ClassifyRequest { image: Some(image("a.jpg", JPEG)), ..ClassifyRequest::default() };
    let call = tokio::spawn(async move { client.classify(request).await });
    begun_then_gone(&system, 1, AbortOnDrop(call)).await;
    system.stop().await;
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test]
async fn dropped_bidirectional_stream_and_a_withdrawn_image_stop_their_workers() {
    let system = start(&[]).await;
    let mut client = system.client().await;
    let (asks, receiver) = mpsc::channel(8);
    let events = client.bidi_classify(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    for name in ["a", "b"] {
        let asked = Some(Asked::Image(image(name, JPEG)));
        asks.send(BidiClassifyRequest { request: asked }).await.unwrap();
    }
    begun_then_gone(&system, 2, (events, asks)).await;
    system.stop().await;
}

/// A form, a raw body and a gRPC-web call over HTTP/1.1, as a browser's tab has it open.
fn open_requests() -> [Vec<u8>; 3] {
    let post = |path: &str, content_type: &str, body: &[u8]| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    let request = prost::Message::encode_to_vec(&stream_of(1));
    let length = u32::try_from(request.len()).unwrap().to_be_bytes();
    let framed = [&[0][..], &length, &request].concat();
    [
        post("/upload", "image/jpeg", JPEG),
        post("/v1/classify", "image/jpeg", JPEG),
        post("/dunlin.v1.ClassifierService/ClassifyStream", "application/grpc-web+proto", &framed),
    ]
}

#[tokio::test]
async fn closed_http_1_connection_stops_the_worker_that_has_begun_its_image() {
    let system = start(&[]).await;
    for request in open_requests() {
        let mut caller = TcpStream::connect(system.public).await.unwrap();
        caller.write_all(&request).await.unwrap();
        begun_then_gone(&system, 1, caller).await;
    }
    system.stop().await;
}

#[tokio::test]
async fn connection_that_is_reset_takes_its_image_out_of_the_queue() {
    let system = start(&[]).await;
    for request in open_requests() {
        let mut caller = TcpStream::connect(system.public).await.unwrap();
        caller.write_all(&request).await.unwrap();
        while system.queue().counts().await.unwrap().visible == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await; // until it is queued
        }
        // Nothing is sent any more and nothing is waited for: the close is a reset.
        caller.set_zero_linger().unwrap();
        drop(caller);
        eventually_empty(&system).await;
    }
    system.stop().await;
}

/// A client that says it has no more to send still waits for its answer (RFC 9112, 9.6). We cannot tell it from one
/// that is gone until we write, so it counts as gone: no client we know of half-closes, and every killed one does.
#[tokio::test]
async fn half_closed_connection_counts_as_gone() {
    let system = start(&[]).await;
    let [upload, ..] = open_requests();
    let mut caller = TcpStream::connect(system.public).await.unwrap();
    caller.write_all(&upload).await.unwrap();
    while system.queue().counts().await.unwrap().visible == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await; // until it is queued
    }
    caller.shutdown().await.unwrap();
    eventually_empty(&system).await;
    system.stop().await;
}

/// What a gateway holds for a stream of a thousand images leaves the queue with its caller.
#[tokio::test]
async fn cancelled_stream_of_a_thousand_leaves_only_what_was_begun() {
    const IMAGES: usize = 1000;
    const BEGUN: usize = 3;
    let system = start(&[]).await;
    let events = system.client().await.classify_stream(stream_of(IMAGES)).await.unwrap().into_inner();
    let mut worker = system.worker().await;
    let begun = worker.receive(u32::try_from(BEGUN).unwrap()).await;
    assert_eq!(begun.len(), BEGUN);
    for delivery in &begun {
        worker.start(delivery).await;
    }
    let unknown = proto::internal::v1::TaskStarted { task_id: "unknown".to_owned(), start_time: None };
    worker.say(proto::internal::v1::reply_session_request::Event::Started(unknown)).await;
    cancelled(&mut worker, 1).await;
    drop(events);
    let told = cancelled(&mut worker, BEGUN).await;
    assert_eq!(told, begun.iter().map(|one| one.task.task_id.clone()).collect());
    let leases = begun.into_iter().map(|one| one.lease).collect::<Vec<_>>();
    worker.queue.ack(&leases).await.unwrap();
    let counts = worker.queue.counts().await.unwrap();
    assert_eq!((counts.visible, counts.leased), (0, 0));
    assert_eq!(system.counted("withdrawn"), IMAGES as u64);
    system.stop().await;
}
