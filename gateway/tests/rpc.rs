//! Every RPC and every error of the public API, through the real server and a real client.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use platform::Kind;
use proto::{
    internal::v1::reply_session_response as response,
    v1::{
        BatchClassifyRequest, BidiClassifyRequest, ClassifyOptions, ClassifyRequest, ClassifyStreamRequest,
        Image, ImageResult, ImageState, bidi_classify_request::Request as Asked,
        bidi_classify_response::Event as BidiEvent, classify_stream_response::Event, image::Source,
    },
};
use support::{JPEG, image, start};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic_types::StatusExt as _;

mod support;

fn classify(image: Image) -> ClassifyRequest {
    ClassifyRequest { image: Some(image), ..ClassifyRequest::default() }
}

fn reason(status: &tonic::Status) -> String {
    status.get_details_error_info().expect("every error has an ErrorInfo").reason
}

fn kind(result: &ImageResult) -> Kind {
    platform::error::from_rpc_status(result.error.as_ref().unwrap()).kind()
}

#[tokio::test]
async fn one_image_gets_its_answer() {
    let system = start(&[]).await;
    let worker = system.working_worker().await;
    let answer = system.client().await.classify(classify(image("cat.jpg", JPEG))).await.unwrap();
    let result = answer.into_inner().result.unwrap();
    assert_eq!(result.state(), ImageState::Succeeded);
    assert_eq!((result.custom_id.as_str(), result.index), ("cat.jpg", 0));
    assert_eq!(result.classifications[0].label, "cat");
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn wrong_requests_get_their_typed_error() {
    let system = start(&["--image-bytes-max", "1000", "--serve-model", "lite0@1"]).await;
    let mut client = system.client().await;
    let with =
        |options: ClassifyOptions| ClassifyRequest { options: Some(options), ..classify(image("", JPEG)) };
    let uri = |uri: &str| classify(Image { source: Some(Source::Uri(uri.to_owned())), ..Image::default() });
    let rows = [
        (ClassifyRequest::default(), "INVALID_REQUEST"),
        (classify(Image::default()), "IMAGE_EMPTY"),
        (classify(image("", b"")), "IMAGE_EMPTY"),
        (classify(image("", b"hello, I am a text")), "IMAGE_UNSUPPORTED_FORMAT"),
        (classify(image("", &[0xff; 1001])), "IMAGE_TOO_LARGE"),
        (classify(image(&"x".repeat(2000), JPEG)), "INVALID_REQUEST"),
        (uri("ftp://host/cat.jpg"), "URI_SCHEME_UNSUPPORTED"),
        (uri("s3://bucket/key"), "URI_SCHEME_UNSUPPORTED"),
        (uri("nonsense"), "URI_SCHEME_UNSUPPORTED"),
        (with(ClassifyOptions { top_k: 1001, ..Default::default() }), "INVALID_REQUEST"),
        (with(ClassifyOptions { priority: 77, ..Default::default() }), "INVALID_REQUEST"),
        (with(ClassifyOptions { min_score: f32::NAN, ..Default::default() }), "INVALID_REQUEST"),
        (with(ClassifyOptions { model: "none".to_owned(), ..Default::default() }), "MODEL_NOT_FOUND"),
        (with(ClassifyOptions { model: "lite0@2".to_owned(), ..Default::default() }), "MODEL_NOT_FOUND"),
    ];
    for (request, want) in rows {
        let status = client.classify(request.clone()).await.unwrap_err();
        assert_eq!(reason(&status), want, "{request:?}: {status:?}");
        assert_eq!(status.code(), Kind::from_reason(want).unwrap().code());
    }
    let status =
        client.classify(with(ClassifyOptions { top_k: 9999, ..Default::default() })).await.unwrap_err();
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, "options.top_k");
    let model =
        client.classify(with(ClassifyOptions { model: "none".to_owned(), ..Default::default() })).await;
    let resource = model.unwrap_err().get_details_resource_info().unwrap();
    assert_eq!(resource.resource_name, "none");
    system.stop().await;
}

#[tokio::test]
async fn image_that_waited_its_longest_expires_and_is_withdrawn() {
    let system = start(&[]).await;
    let mut client = system.client().await;
    let waiting = ClassifyOptions {
        max_queue_duration: Some(prost_types::Duration { seconds: 0, nanos: 200_000_000 }),
        ..ClassifyOptions::default()
    };
    let request = ClassifyRequest { options: Some(waiting), ..classify(image("slow.jpg", JPEG)) };
    let status = client.classify(request).await.unwrap_err();
    assert_eq!(reason(&status), "EXPIRED_IN_QUEUE");
    assert!(status.get_details_error_info().unwrap().metadata["queue_ms"].parse::<u64>().unwrap() >= 200);
    assert_eq!(system.queue().counts().await.unwrap().visible, 0, "nobody works for nobody");
    system.stop().await;
}

#[tokio::test]
async fn caller_that_goes_away_withdraws_its_images() {
    let system = start(&[]).await;
    let mut client = system.client().await;
    let images = (0..50).map(|i| image(&format!("{i}.jpg"), JPEG)).collect();
    let request = ClassifyStreamRequest { images, ..ClassifyStreamRequest::default() };
    let mut events = client.classify_stream(request).await.unwrap().into_inner();
    assert!(events.message().await.unwrap().is_some());
    let mut worker = system.worker().await;
    let held = worker.receive(1).await;
    drop(events);
    let queue = system.queue();
    let mut visible = u64::MAX;
    for _ in 0..100 {
        visible = queue.counts().await.unwrap().visible;
        if visible == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await; // until the server has seen the reset
    }
    assert_eq!(visible, 0);
    worker.start(&held[0]).await;
    let told = worker.answers.message().await.unwrap().unwrap().event.unwrap();
    assert!(
        matches!(told, response::Event::Cancelled(cancelled) if cancelled.task_id == held[0].task.task_id)
    );
    system.stop().await;
}

#[tokio::test]
async fn batch_answers_in_request_order_with_failures_inside() {
    let system = start(&[]).await;
    let worker = system.working_worker().await;
    let images = vec![image("a.jpg", JPEG), image("bad", b"text"), image("", JPEG), image("empty", b"")];
    let request = BatchClassifyRequest { images, ..BatchClassifyRequest::default() };
    let answer = system.client().await.batch_classify(request).await.unwrap().into_inner();
    let states =
        answer.results.iter().map(|result| (result.index, result.custom_id.as_str(), result.state()));
    let want = [
        (0, "a.jpg", ImageState::Succeeded),
        (1, "bad", ImageState::Failed),
        (2, "2", ImageState::Succeeded),
        (3, "empty", ImageState::Failed),
    ];
    assert_eq!(states.collect::<Vec<_>>(), want);
    assert_eq!(kind(&answer.results[1]), Kind::ImageUnsupportedFormat);
    assert_eq!(kind(&answer.results[3]), Kind::ImageEmpty);
    let counts = answer.counts.unwrap();
    assert_eq!((counts.total, counts.succeeded, counts.failed), (4, 2, 2));
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn request_of_many_is_refused_as_a_whole_only_when_it_is_wrong_itself() {
    let system = start(&["--images-per-request-max", "3"]).await;
    let mut client = system.client().await;
    let four = (0..4).map(|_| image("", JPEG)).collect::<Vec<_>>();
    let rows = [
        (vec![], "images"),
        (four, "images"),
        (vec![image("x", JPEG), image("x", JPEG)], "images[1].custom_id"),
    ];
    for (images, field) in rows {
        let request = BatchClassifyRequest { images, ..BatchClassifyRequest::default() };
        let status = client.batch_classify(request).await.unwrap_err();
        assert_eq!(reason(&status), "INVALID_REQUEST");
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
    }
    system.stop().await;
}

#[tokio::test]
async fn stream_keeps_its_invariants() {
    let system = start(&[]).await;
    let worker = system.working_worker().await;
    let mut images = (0..40).map(|i| image(&format!("{i}.jpg"), JPEG)).collect::<Vec<_>>();
    images[7] = image("seven", b"no image");
    let request =
        ClassifyStreamRequest { images, include_progress: true, ..ClassifyStreamRequest::default() };
    let stream = system.client().await.classify_stream(request).await.unwrap().into_inner();
    let events = stream.map(|event| event.unwrap()).collect::<Vec<_>>().await;
    let sequences = events.iter().map(|event| event.sequence).collect::<Vec<_>>();
    assert_eq!(sequences, (1..=events.len() as u64).collect::<Vec<_>>());
    let events = events.into_iter().map(|event| event.event.unwrap()).collect::<Vec<_>>();
    assert!(matches!(&events[0], Event::Accepted(accepted) if accepted.image_count == 40));
    let Some(Event::Summary(summary)) = events.last() else { panic!("the summary is last") };
    let counts = summary.counts.unwrap();
    assert_eq!((counts.total, counts.succeeded, counts.failed), (40, 39, 1));
    let mut results = events
        .iter()
        .filter_map(|event| match event {
            Event::Result(result) => Some(result.index),
            _ => None,
        })
        .collect::<Vec<_>>();
    results.sort_unstable();
    assert_eq!(results, (0..40).collect::<Vec<_>>(), "exactly one result for each image");
    let progress = |state: ImageState| {
        events.iter().filter(|event| matches!(event, Event::Progress(one) if one.state() == state)).count()
    };
    assert_eq!(progress(ImageState::Queued), 39);
    assert_eq!(progress(ImageState::Running), 39);
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn second_answer_to_an_image_goes_nowhere() {
    let system = start(&[]).await;
    let mut client = system.client().await;
    let images = vec![image("a.jpg", JPEG), image("b.jpg", JPEG)];
    let mut events = client
        .classify_stream(ClassifyStreamRequest { images, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    let mut worker = system.worker().await;
    let mut held = worker.receive(2).await;
    while held.len() < 2 {
        held.extend(worker.receive(1).await);
    }
    worker.answer(&held[0]).await;
    worker.answer(&held[0]).await;
    worker.answer(&held[1]).await;
    let mut results = 0;
    while let Some(event) = events.message().await.unwrap() {
        results += usize::from(matches!(event.event, Some(Event::Result(_))));
    }
    assert_eq!(results, 2);
    system.stop().await;
}

#[tokio::test]
async fn image_that_no_attempt_finishes_gets_max_attempts() {
    let system = start(&[]).await;
    let mut client = system.client().await;
    let caller = tokio::spawn(async move { client.classify(classify(image("poison.jpg", JPEG))).await });
    let worker = system.worker().await;
    for attempt in 1..=3 {
        let held = worker.receive(1).await;
        assert_eq!(held[0].attempt, attempt);
        worker.queue.release(&[held[0].lease.clone()]).await.unwrap();
    }
    let status = caller.await.unwrap().unwrap_err();
    assert_eq!(reason(&status), "MAX_ATTEMPTS");
    assert_eq!(status.code(), tonic::Code::Internal);
    system.stop().await;
}

#[tokio::test]
async fn full_gateway_refuses_with_a_time_to_come_back() {
    let system = start(&["--pending-max", "2"]).await;
    let mut client = system.client().await;
    let two = vec![image("a", JPEG), image("b", JPEG)];
    let held =
        client.classify_stream(ClassifyStreamRequest { images: two, ..Default::default() }).await.unwrap();
    let status = client.classify(classify(image("c", JPEG))).await.unwrap_err();
    assert_eq!(reason(&status), "QUEUE_FULL");
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    drop(held);
    system.stop().await;
}

#[tokio::test]
async fn bidi_stream_answers_within_its_credit() {
    let system = start(&[]).await;
    let worker = system.working_worker().await;
    let (send, receiver) = mpsc::channel(4);
    let mut client = system.client().await;
    let mut events = client.bidi_classify(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    const IMAGES: usize = 300;
    let mut send = Some(send);
    let mut left = 0..IMAGES;
    let (mut sequence, mut seen, mut credits) = (0, vec![0; IMAGES], 0);
    while let Some(event) = events.message().await.unwrap() {
        sequence += 1;
        assert_eq!(event.sequence, sequence);
        match event.event.unwrap() {
            BidiEvent::Result(result) => {
                seen[result.index as usize] += 1;
                assert_eq!(result.state() == ImageState::Failed, result.index == 5);
            }
            BidiEvent::Credit(credit) => {
                credits += 1;
                assert!(credit <= 64);
                for i in left.by_ref().take(credit as usize) {
                    let content = if i == 5 { b"text".as_slice() } else { JPEG };
                    let request = Some(Asked::Image(image(&format!("{i}.jpg"), content)));
                    send.as_ref().unwrap().send(BidiClassifyRequest { request }).await.unwrap();
                }
                if left.is_empty() {
                    send = None;
                }
            }
            BidiEvent::Progress(_) => {}
        }
    }
    assert!(seen.iter().all(|count| *count == 1), "{seen:?}");
    assert!(credits > 2);
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn bidi_image_is_withdrawn_by_name() {
    let system = start(&[]).await;
    let (send, receiver) = mpsc::channel(4);
    let mut client = system.client().await;
    let mut events = client.bidi_classify(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let say = async |request| send.send(BidiClassifyRequest { request: Some(request) }).await.unwrap();
    say(Asked::Image(image("x.jpg", JPEG))).await;
    say(Asked::CancelCustomId("x.jpg".to_owned())).await;
    let result = loop {
        if let BidiEvent::Result(result) = events.message().await.unwrap().unwrap().event.unwrap() {
            break result;
        }
    };
    assert_eq!(result.state(), ImageState::Cancelled);
    assert_eq!(system.queue().counts().await.unwrap().visible, 0);
    system.stop().await;
}

#[tokio::test]
async fn stop_finishes_what_is_in_flight() {
    let system = start(&[]).await;
    let mut client = system.client().await;
    let caller = tokio::spawn(async move { client.classify(classify(image("cat.jpg", JPEG))).await });
    let mut worker = system.worker().await;
    let held = worker.receive(1).await;
    system.shutdown.stop.cancel();
    tokio::time::sleep(Duration::from_millis(200)).await; // the stop is under way
    worker.answer(&held[0]).await;
    assert_eq!(caller.await.unwrap().unwrap().into_inner().result.unwrap().classifications[0].label, "cat");
    system.stop().await;
}
