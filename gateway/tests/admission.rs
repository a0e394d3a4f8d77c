//! Who is taken in, who is refused and what they are told, through the real server with an autoscaler that says what
//! capacity there is.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proto::{
    internal::v1::GatewaySessionResponse,
    v1::{
        BatchClassifyRequest, ClassifyOptions, ClassifyRequest, ClassifyStreamRequest, ImageProgress,
        ImageState, Priority, classify_stream_response::Event,
    },
};
use support::{JPEG, System, autoscaler::Autoscaler, image, start};
use tokio::time::Instant;
use tonic_types::StatusExt as _;

mod support;

/// One worker that does an image in a tenth of a second.
const STEADY: GatewaySessionResponse = GatewaySessionResponse {
    ready: 1,
    starting: 0,
    next_ready_time: None,
    images_per_second: 10.0,
    latency_target: None,
    boot: None,
    worker_images_per_second: 10.0,
    all_ready_time: None,
    others_waiting: 0,
};

const NOBODY: GatewaySessionResponse =
    GatewaySessionResponse { ready: 0, images_per_second: 0.0, worker_images_per_second: 0.0, ..STEADY };

/// A gateway that has heard what the autoscaler says.
async fn start_with(capacity: GatewaySessionResponse, flags: &[&str]) -> (System, Autoscaler) {
    let autoscaler = Autoscaler::start(capacity).await;
    let url = autoscaler.url();
    let system = start(&[&["--autoscaler", &url], flags].concat()).await;
    hears(&system, capacity).await;
    (system, autoscaler)
}

/// Waits until a stream is told of so many workers: then the capacity is what admission goes by.
async fn hears(system: &System, capacity: GatewaySessionResponse) {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let mut events =
            system.client().await.classify_stream(stream_of(1, false)).await.unwrap().into_inner();
        let Some(Event::Accepted(accepted)) = events.message().await.unwrap().unwrap().event else {
            panic!()
        };
        let wants_wait = capacity.images_per_second > 0.0;
        let workers = (accepted.ready_workers, accepted.starting_workers);
        if workers == (capacity.ready, capacity.starting)
            && (!wants_wait || accepted.estimated_wait.is_some())
        {
            break;
        }
        assert!(Instant::now() < until, "never heard {capacity:?}");
        tokio::time::sleep(Duration::from_millis(10)).await; // until the autoscaler was heard
    }
    loop {
        let (came, left) = system.gateway_totals();
        if came == left {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await; // until the probe is gone
    }
}

fn stream_of(images: usize, include_progress: bool) -> ClassifyStreamRequest {
    let images =
        (0..images).map(|i| image(&format!("{i}.jpg"), &[JPEG, i.to_string().as_bytes()].concat())).collect();
    ClassifyStreamRequest { images, include_progress, ..ClassifyStreamRequest::default() }
}

fn one() -> ClassifyRequest {
    ClassifyRequest { image: Some(image("one.jpg", JPEG)), ..ClassifyRequest::default() }
}

fn within<T>(message: T, limit: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(limit);
    request
}

/// Holds so many images in the queue for as long as it lives. It has to end before the gateway can.
async fn fill(system: &System, images: usize) -> tonic::Streaming<proto::v1::ClassifyStreamResponse> {
    system.client().await.classify_stream(stream_of(images, false)).await.unwrap().into_inner()
}

fn assert_refused(status: &tonic::Status, reason: &str, retry: std::ops::RangeInclusive<f64>) {
    assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status:?}");
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.reason, reason, "{status:?}");
    let after = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(retry.contains(&after.as_secs_f64()), "{after:?}");
    let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap();
    assert_eq!(pushback.parse::<u128>().unwrap(), after.as_millis(), "gRPC A6");
}

#[tokio::test]
async fn caller_that_would_wait_too_long_is_refused_at_once_and_told_when_to_come_back() {
    let (system, mut autoscaler) = start_with(STEADY, &[]).await;
    let filled = fill(&system, 100).await;
    let mut client = system.client().await;
    // Ten seconds of work are ahead.
    let begun = Instant::now();
    let status = client.classify(within(one(), Duration::from_secs(4))).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(2), "at once");
    assert_refused(&status, "WAIT_EXCEEDS_DEADLINE", 5.9..=7.6);
    let metadata = status.get_details_error_info().unwrap().metadata;
    let millis = |name: &str| metadata[name].parse::<u64>().unwrap();
    assert!((9_500..=10_500).contains(&millis("predicted_ms")), "{metadata:?}");
    assert!((3_800..=4_000).contains(&millis("limit_ms")), "{metadata:?}");
    // The same in a batch, for its own limit, and counted.
    let options = ClassifyOptions {
        max_queue_duration: Some(platform::time::to_proto(Duration::from_secs(1))),
        ..ClassifyOptions::default()
    };
    let images = stream_of(3, false).images;
    let many = BatchClassifyRequest { images, options: Some(options), ..BatchClassifyRequest::default() };
    let status = client.batch_classify(many).await.unwrap_err();
    assert_refused(&status, "WAIT_EXCEEDS_DEADLINE", 8.9..=12.0);
    assert_eq!(system.counted("refused_wait"), 4);
    // The autoscaler hears of what it was refused for.
    let hear = async { while autoscaler.reports.recv().await.unwrap().refused_total != 4 {} };
    tokio::time::timeout(Duration::from_secs(10), hear).await.expect("reported");
    drop(filled);
    system.stop().await;
}

#[tokio::test]
async fn caller_with_time_enough_is_taken_in() {
    let (system, _autoscaler) = start_with(STEADY, &[]).await;
    let filled = fill(&system, 100).await;
    let worker = system.working_worker().await;
    let answered = system.client().await.classify(within(one(), Duration::from_secs(30))).await.unwrap();
    assert_eq!(answered.into_inner().result.unwrap().state(), ImageState::Succeeded);
    drop(filled);
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn configured_limit_holds_for_callers_with_time_but_not_for_old_ones() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (system, _autoscaler) = start_with(STEADY, &["--max-wait", "2s"]).await;
    let filled = fill(&system, 20).await;
    let more = fill(&system, 1).await;
    let status = system.client().await.classify(one()).await.unwrap_err();
    assert_refused(&status, "WAIT_EXCEEDS_DEADLINE", 0.05..=0.2);
    // HTTP says it in its own words; an old client is held.
    let ask = async |path: &str| {
        let mut stream = tokio::net::TcpStream::connect(system.public).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            JPEG.len()
        );
        stream.write_all(&[head.as_bytes(), JPEG].concat()).await.unwrap();
        stream
    };
    let mut refused = String::new();
    ask("/v1/classify").await.read_to_string(&mut refused).await.unwrap();
    assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
    assert!(
        refused.contains("\r\nretry-after: 1\r\n") && refused.contains("WAIT_EXCEEDS_DEADLINE"),
        "{refused}"
    );
    let held = ask("/upload").await;
    for _ in 0..1000 {
        if system.queue().counts().await.unwrap().visible == 22 {
            drop((held, filled, more));
            return system.stop().await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await; // until it is queued
    }
    panic!("not held");
}

#[tokio::test]
async fn full_queue_says_when_there_will_be_room_from_the_rate() {
    let (system, _autoscaler) =
        start_with(GatewaySessionResponse { images_per_second: 0.5, ..STEADY }, &["--pending-max", "20"])
            .await;
    let filled = fill(&system, 20).await;
    let status = system.client().await.classify(one()).await.unwrap_err();
    assert_refused(&status, "QUEUE_FULL", 2.0..=2.5);
    assert_eq!(system.counted("refused_queue_full"), 1);
    drop(filled);
    system.stop().await;
}

#[tokio::test]
async fn full_queue_in_bytes_says_when_there_will_be_room_from_the_rate() {
    let (system, _autoscaler) = start_with(
        GatewaySessionResponse { images_per_second: 0.5, ..STEADY },
        &["--queue-bytes-max", "3000", "--image-bytes-max", "2900"],
    )
    .await;
    let filled = fill(&system, 10).await;
    let mut big = one();
    big.image = Some(image("big.jpg", &[JPEG, &[0; 2500]].concat()));
    let status = system.client().await.classify(big).await.unwrap_err();
    assert_refused(&status, "QUEUE_FULL", 2.0..=2.5);
    drop(filled);
    system.stop().await;
}

#[tokio::test]
async fn nobody_there_is_a_longer_wait_and_not_an_error() {
    let boot = |seconds| Some(platform::time::to_proto(Duration::from_secs(seconds)));
    let soon = Some(platform::time::in_future(Duration::from_secs(8)));
    let starting =
        GatewaySessionResponse { starting: 1, next_ready_time: soon, all_ready_time: soon, ..NOBODY };
    let rows = [
        // Nothing is known of a boot: it is taken in.
        (NOBODY, 2, None),
        (GatewaySessionResponse { boot: boot(1), ..NOBODY }, 2, None),
        // What was said proves that it cannot be in time.
        (GatewaySessionResponse { boot: boot(40), ..NOBODY }, 2, Some(37.0..=48.0)),
        (starting, 2, Some(4.0..=8.0)),
        (starting, 20, None),
    ];
    for (capacity, seconds, refused) in rows {
        let (system, _autoscaler) = start_with(capacity, &[]).await;
        let call = within(one(), Duration::from_secs(seconds));
        let mut client = system.client().await;
        match refused {
            Some(retry) => {
                let status = client.classify(call).await.unwrap_err();
                assert_refused(&status, "WAIT_EXCEEDS_DEADLINE", retry);
            }
            None => {
                let worker = system.working_worker().await;
                client.classify(call).await.unwrap();
                worker.abort();
            }
        }
        system.stop().await;
    }
}

#[tokio::test]
async fn without_an_autoscaler_counts_alone_decide() {
    let system = start(&["--pending-max", "1000"]).await;
    let filled = fill(&system, 999).await;
    let worker = system.working_worker().await;
    system.client().await.classify(within(one(), Duration::from_secs(10))).await.unwrap();
    worker.abort();
    drop(filled);
    system.stop().await;
}

#[tokio::test]
async fn stream_is_told_how_its_images_stand_and_again_when_that_changes() {
    let (system, _autoscaler) = start_with(STEADY, &[]).await;
    let filled = fill(&system, 20).await;
    let mut events = system.client().await.classify_stream(stream_of(2, true)).await.unwrap().into_inner();
    let mut next = async || events.message().await.unwrap().unwrap().event.unwrap();
    let seconds = |wait: Option<&prost_types::Duration>| {
        platform::time::from_proto(wait).map(|wait| (wait.as_secs_f64() * 100.0).round() / 100.0)
    };
    let Event::Accepted(accepted) = next().await else { panic!("accepted comes first") };
    assert_eq!(seconds(accepted.estimated_wait.as_ref()), Some(2.1));
    let queued = |event: Event| match event {
        Event::Progress(ImageProgress { index, state, queue_depth, estimated_wait, custom_id, .. }) => {
            assert_eq!((state, custom_id), (ImageState::Queued.into(), format!("{index}.jpg")));
            (index, queue_depth, seconds(estimated_wait.as_ref()))
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(queued(next().await), (0, 20, Some(2.0)));
    assert_eq!(queued(next().await), (1, 21, Some(2.1)));
    // Ten of those before it are taken up.
    let worker = system.worker().await;
    let taken = worker.receive(10).await;
    for delivery in &taken {
        worker.start(delivery).await;
    }
    assert_eq!(taken.len(), 10);
    let begun = Instant::now();
    let (index, ahead, wait) = queued(next().await);
    assert!(begun.elapsed() > Duration::from_millis(500), "at most once a second");
    assert_eq!((index, ahead, wait), (0, 10, Some(1.5)), "half of what is begun is left");
    assert_eq!(queued(next().await), (1, 11, Some(1.6)));
    drop((filled, events));
    system.stop().await;
}

#[tokio::test]
async fn stream_is_told_nothing_while_nothing_changes() {
    let system = start(&[]).await;
    let filled = fill(&system, 5).await;
    let mut events = system.client().await.classify_stream(stream_of(1, true)).await.unwrap().into_inner();
    let mut next = async || events.message().await.unwrap().unwrap().event.unwrap();
    assert!(matches!(next().await, Event::Accepted(accepted) if accepted.estimated_wait.is_none()));
    let Event::Progress(progress) = next().await else { panic!("then how it stands") };
    assert_eq!((progress.queue_depth, progress.estimated_wait), (5, None), "no autoscaler, no estimate");
    // On the real clock: there is no answer to wait for.
    assert!(tokio::time::timeout(Duration::from_millis(2500), next()).await.is_err());
    drop((filled, events));
    system.stop().await;
}

#[tokio::test]
async fn batch_waits_behind_interactive_images() {
    let (system, _autoscaler) = start_with(STEADY, &[]).await;
    let filled = fill(&system, 70).await;
    let depth = async |priority: Priority| {
        let options = Some(ClassifyOptions { priority: priority.into(), ..ClassifyOptions::default() });
        let request = ClassifyStreamRequest { options, ..stream_of(1, true) };
        let mut events = system.client().await.classify_stream(request).await.unwrap().into_inner();
        events.message().await.unwrap();
        match events.message().await.unwrap().unwrap().event {
            Some(Event::Progress(progress)) => progress.queue_depth,
            other => panic!("{other:?}"),
        }
    };
    // One in eight is batch, so seven go before it, and no more.
    assert_eq!(depth(Priority::Batch).await, 7);
    assert_eq!(depth(Priority::Unspecified).await, 70);
    drop(filled);
    system.stop().await;
}
