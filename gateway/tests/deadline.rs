//! Whose deadline goes with a task: the caller's, its limit for the queue, or the server's, whichever is the earliest,
//! through every front door.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proto::v1::{
    BatchClassifyRequest, BidiClassifyRequest, ClassifyOptions, ClassifyRequest, ClassifyStreamRequest,
    bidi_classify_request::Request as Asked, bidi_classify_response::Event,
};
use support::{JPEG, System, image, start};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;

mod support;

/// The server's own.
const SERVER: Duration = Duration::from_secs(100);

/// In seconds: what the caller says, in either way, and what has to come of it.
const ROWS: [(Option<u64>, Option<u64>, u64); 6] = [
    (None, None, 100),
    (Some(40), None, 40),
    (None, Some(30), 30),
    (Some(40), Some(30), 30),
    (Some(20), Some(30), 20),
    (Some(500), Some(600), 100),
];

async fn start_server() -> System {
    start(&["--request-timeout", &format!("{}s", SERVER.as_secs())]).await
}

/// Takes the next task, sees when it ends, and answers it.
async fn takes_one_that_ends_in(system: &System, seconds: u64, what: &str) {
    let mut worker = system.worker().await;
    let delivery = worker.receive(1).await.pop().unwrap();
    let left = platform::time::until(delivery.task.deadline.as_ref().unwrap()).as_secs_f64();
    // Others wait for a shared task a tenth longer; the cache is off here, so none is shared.
    let most = seconds as f64;
    assert!((most - 2.0..=most).contains(&left), "{what}: {left} s, and not {seconds}");
    worker.answer(&delivery).await;
}

fn options(max_queue: Option<u64>) -> Option<ClassifyOptions> {
    let max_queue_duration = Some(platform::time::to_proto(Duration::from_secs(max_queue?)));
    Some(ClassifyOptions { max_queue_duration, ..ClassifyOptions::default() })
}

fn within<T>(message: T, deadline: Option<u64>) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    if let Some(deadline) = deadline {
        request.set_timeout(Duration::from_secs(deadline));
    }
    request
}

#[tokio::test]
async fn earliest_deadline_goes_with_the_task_of_every_rpc() {
    let system = start_server().await;
    for (deadline, max_queue, seconds) in ROWS {
        let (one, options) = (|| image("a.jpg", JPEG), options(max_queue));
        let mut client = system.client().await;
        let unary = ClassifyRequest { image: Some(one()), options: options.clone(), ..Default::default() };
        let call = tokio::spawn(async move { client.classify(within(unary, deadline)).await });
        takes_one_that_ends_in(&system, seconds, "Classify").await;
        call.await.unwrap().unwrap();

        let mut client = system.client().await;
        let batch =
            BatchClassifyRequest { images: vec![one()], options: options.clone(), ..Default::default() };
        let call = tokio::spawn(async move { client.batch_classify(within(batch, deadline)).await });
        takes_one_that_ends_in(&system, seconds, "BatchClassify").await;
        call.await.unwrap().unwrap();

        let mut client = system.client().await;
        let stream =
            ClassifyStreamRequest { images: vec![one()], options: options.clone(), ..Default::default() };
        let events = client.classify_stream(within(stream, deadline)).await.unwrap();
        takes_one_that_ends_in(&system, seconds, "ClassifyStream").await;
        drop(events);

        let (asks, receiver) = mpsc::channel(4);
        let options = Asked::Options(options.unwrap_or_default());
        for request in [options, Asked::Image(one())] {
            asks.send(BidiClassifyRequest { request: Some(request) }).await.unwrap();
        }
        let events = client.bidi_classify(within(ReceiverStream::new(receiver), deadline)).await.unwrap();
        takes_one_that_ends_in(&system, seconds, "BidiClassify").await;
        drop(events);
    }
    system.stop().await;
}

async fn post(system: &System, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(system.public).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        JPEG.len()
    );
    stream.write_all(&[head.as_bytes(), JPEG].concat()).await.unwrap();
    stream
}

async fn answer(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn deadline_over_http_is_in_the_query() {
    let system = start_server().await;
    for door in ["/upload", "/v1/classify"] {
        for (query, seconds) in [("", 100), ("?timeout=40s", 40), ("?timeout=500s", 100)] {
            let path = format!("{door}{query}");
            let call = post(&system, &path).await;
            takes_one_that_ends_in(&system, seconds, &path).await;
            assert!(answer(call).await.starts_with("HTTP/1.1 200"), "{path}");
        }
        for wrong in ["soon", "0s", "-1s", "10", ""] {
            let said = answer(post(&system, &format!("{door}?timeout={wrong}")).await).await;
            assert!(said.starts_with("HTTP/1.1 400") && said.contains("timeout"), "{door} {wrong:?}: {said}");
        }
        let said = answer(post(&system, &format!("{door}?timeout=200ms")).await).await;
        assert!(said.starts_with("HTTP/1.1 504"), "{door}: {said}");
        assert_eq!(system.queue().counts().await.unwrap().visible, 0, "withdrawn");
    }
    system.stop().await;
}

#[tokio::test]
async fn image_of_a_bidirectional_stream_that_waits_is_told_how_it_stands() {
    let system = start(&[]).await;
    let (asks, receiver) = mpsc::channel(4);
    for name in ["a.jpg", "b.jpg"] {
        let request = Some(Asked::Image(image(name, JPEG)));
        asks.send(BidiClassifyRequest { request }).await.unwrap();
    }
    let mut events =
        system.client().await.bidi_classify(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let mut standing = Vec::new();
    while standing.len() < 2 {
        match events.message().await.unwrap().unwrap().event.unwrap() {
            Event::Progress(told) => standing.push((told.index, told.custom_id, told.queue_depth)),
            Event::Credit(_) => {}
            Event::Result(result) => panic!("{result:?}"),
        }
    }
    assert_eq!(standing, [(0, "a.jpg".to_owned(), 0), (1, "b.jpg".to_owned(), 1)]);
    drop((events, asks));
    system.stop().await;
}
