//! The table of errors of the public API, row by row: over gRPC and over HTTP the same reason, the
//! same details, the same id of the request.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, time::Duration};

use platform::{Error, Kind, error::to_rpc_status};
use proto::{
    internal::v1::reply_service_server::ReplyServiceServer,
    v1::{
        BatchClassifyRequest, ClassifyOptions, ClassifyRequest, ClassifyStreamRequest, GetJobRequest, Image,
        ImageResult, ImageState, classify_stream_response::Event, image::Source,
        job_service_client::JobServiceClient,
    },
};
use support::{
    JPEG, System, image,
    said::{REQUEST_ID, check, of_status, over_grpc, over_http},
    start,
    wire::{self, exchange, grpc_web, post},
};
use tokio::task::JoinHandle;
use tonic::{Request, Status};

mod support;

fn classify(image: Image) -> ClassifyRequest {
    ClassifyRequest { image: Some(image), ..ClassifyRequest::default() }
}

fn with(options: ClassifyOptions) -> ClassifyRequest {
    ClassifyRequest { options: Some(options), ..classify(image("", JPEG)) }
}

fn uri(uri: &str) -> ClassifyRequest {
    classify(Image { source: Some(Source::Uri(uri.to_owned())), ..Image::default() })
}

/// One row: over gRPC, and where HTTP can say it, the same over HTTP.
struct Row<'a> {
    kind: Kind,
    fields: &'a [&'a str],
    request: ClassifyRequest,
    http: Option<(&'a str, &'a [u8])>,
}

#[tokio::test]
async fn wrong_requests_are_told_alike_over_grpc_and_http() {
    let system = start(&["--image-bytes-max", "1000", "--serve-model", "lite0@1"]).await;
    let big = [0xff; 1001];
    let row = |kind, fields, request, http| Row { kind, fields, request, http };
    let model = |name: &str| with(ClassifyOptions { model: name.to_owned(), ..Default::default() });
    let rows = [
        row(Kind::InvalidRequest, &["image"], ClassifyRequest::default(), None),
        row(
            Kind::InvalidRequest,
            &["options.top_k"],
            with(ClassifyOptions { top_k: 1001, ..Default::default() }),
            Some(("/v1/classify?top_k=1001", JPEG)),
        ),
        row(
            Kind::InvalidRequest,
            &["options.min_score"],
            with(ClassifyOptions { min_score: 2.0, ..Default::default() }),
            Some(("/v1/classify?min_score=2", JPEG)),
        ),
        row(
            Kind::InvalidRequest,
            &["options.priority"],
            with(ClassifyOptions { priority: 77, ..Default::default() }),
            None,
        ),
        row(Kind::ImageEmpty, &["image"], classify(Image::default()), None),
        row(
            Kind::ImageUnsupportedFormat,
            &["image.content"],
            classify(image("", b"a text")),
            Some(("/v1/classify", b"a text")),
        ),
        row(Kind::ImageTooLarge, &["image.content"], classify(image("", &big)), None),
        row(Kind::UriSchemeUnsupported, &["image.uri"], uri("ftp://host/cat.jpg"), None),
        row(Kind::ModelNotFound, &[], model("none"), Some(("/v1/classify?model=none", JPEG))),
        row(Kind::ModelNotFound, &[], model("lite0@2"), Some(("/upload?model=lite0@2", JPEG))),
    ];
    for Row { kind, fields, request, http } in rows {
        let said = over_grpc(&system, request).await;
        check(&said, kind, fields);
        assert_eq!(said.resource.is_some(), kind == Kind::ModelNotFound, "{said:?}");
        if let Some((path, body)) = http {
            assert_eq!(over_http(&system, path, body).await, said, "{path}");
        }
    }
    for path in ["/v1/classify", "/upload"] {
        let said = over_http(&system, path, &[0xff; 100_000]).await;
        assert_eq!((said.reason.as_str(), said.metadata["limit"].as_str()), ("IMAGE_TOO_LARGE", "1000"));
        assert_eq!(said.metadata["found"], "100000");
    }
    system.stop().await;
}

/// Answers each image with the error of its name.
async fn worker_that_fails(system: &System, errors: fn() -> Vec<(&'static str, Error)>) -> JoinHandle<()> {
    let mut worker = system.worker().await;
    tokio::spawn(async move {
        loop {
            for delivery in worker.receive(8).await {
                let mut errors = errors().into_iter();
                let (_, error) = errors.find(|(name, _)| *name == delivery.task.custom_id).unwrap();
                let result = ImageResult {
                    custom_id: delivery.task.custom_id.clone(),
                    state: ImageState::Failed.into(),
                    error: Some(to_rpc_status(&error)),
                    ..ImageResult::default()
                };
                worker.reply(&delivery, result).await;
            }
        }
    })
}

fn workers_errors() -> Vec<(&'static str, Error)> {
    let error = |kind: Kind| Error::new(kind, format!("a sentence about {}", kind.reason()));
    vec![
        ("broken", error(Kind::ImageUndecodable)),
        (
            "bomb",
            error(Kind::ImageTooManyPixels).with_metadata("limit", 100).with_metadata("found", 400_000_000),
        ),
        ("object", error(Kind::ObjectNotFound).with_resource("object", "s3://bucket/key")),
        ("bucket", error(Kind::UriNotAllowed)),
        ("model", error(Kind::InferenceFailed)),
    ]
}

#[tokio::test]
async fn what_a_worker_finds_out_is_told_alike_over_grpc_and_http() {
    let system = start(&[]).await;
    let worker = worker_that_fails(&system, workers_errors).await;
    for (name, error) in workers_errors() {
        let said = over_grpc(&system, classify(image(name, JPEG))).await;
        check(&said, error.kind(), &[]);
        assert_eq!(said.message, error.message());
        assert_eq!(said.metadata, *error.metadata());
        assert_eq!(said.resource.is_some(), error.resource().is_some());
        assert_eq!(over_http(&system, &format!("/v1/classify?custom_id={name}"), JPEG).await, said);
    }
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn every_error_inside_a_request_of_many_names_that_request() {
    let system = start(&[]).await;
    let worker = worker_that_fails(&system, workers_errors).await;
    let images = || vec![image("broken", JPEG), image("text", b"no image"), image("bomb", JPEG)];
    let said = |result: &ImageResult| {
        let error = result.error.clone().unwrap();
        let bytes = prost::Message::encode_to_vec(&error);
        let code = tonic::Code::from(error.code);
        let retry = platform::error::from_rpc_status(&error).retry_after();
        assert_eq!(retry, None);
        of_status(&Status::with_details(code, error.message, bytes.into()))
    };
    let mut client = system.client().await;
    let mut batch = Request::new(BatchClassifyRequest { images: images(), ..Default::default() });
    batch.metadata_mut().insert("x-request-id", REQUEST_ID.parse().unwrap());
    let batch = client.batch_classify(batch).await.unwrap();
    assert_eq!(batch.metadata().get("x-request-id").unwrap(), REQUEST_ID);
    let of_batch = batch.into_inner().results.iter().map(said).collect::<Vec<_>>();
    let mut stream = Request::new(ClassifyStreamRequest { images: images(), ..Default::default() });
    stream.metadata_mut().insert("x-request-id", REQUEST_ID.parse().unwrap());
    let mut events = client.classify_stream(stream).await.unwrap().into_inner();
    let mut of_stream = BTreeMap::new();
    while let Some(event) = events.message().await.unwrap() {
        if let Some(Event::Result(result)) = event.event {
            of_stream.insert(result.index, said(&result));
        }
    }
    assert_eq!(of_batch, of_stream.into_values().collect::<Vec<_>>());
    for (said, reason) in
        of_batch.iter().zip(["IMAGE_UNDECODABLE", "IMAGE_UNSUPPORTED_FORMAT", "IMAGE_TOO_MANY_PIXELS"])
    {
        assert_eq!((said.reason.as_str(), said.request_id.as_str()), (reason, REQUEST_ID));
    }
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn full_queue_says_when_to_come_back() {
    let system = start(&["--pending-max", "1"]).await;
    let images = vec![image("a", JPEG)];
    let mut client = system.client().await;
    let held = client.classify_stream(ClassifyStreamRequest { images, ..Default::default() }).await.unwrap();
    let said = over_grpc(&system, classify(image("b", b"\xff\xd8\xff another"))).await;
    check(&said, Kind::QueueFull, &[]);
    let mut over_http = over_http(&system, "/v1/classify", b"\xff\xd8\xff another").await;
    over_http.message.clone_from(&said.message);
    assert_eq!(over_http, said);
    drop(held);
    system.stop().await;
}

#[tokio::test]
async fn image_that_waited_too_long_says_how_long() {
    let system = start(&["--request-timeout", "200ms"]).await;
    let over_grpc = over_grpc(&system, classify(image("a", JPEG))).await;
    let over_http = over_http(&system, "/v1/classify", JPEG).await;
    for said in [over_grpc, over_http] {
        check(&said, Kind::ExpiredInQueue, &[]);
        assert!(said.metadata["queue_ms"].parse::<u64>().unwrap() >= 200, "{said:?}");
    }
    system.stop().await;
}

#[tokio::test]
async fn image_that_no_worker_finishes_is_a_fault_of_ours() {
    let system = start(&[]).await;
    let worker = system.worker().await;
    let releasing = tokio::spawn(async move {
        loop {
            for delivery in worker.receive(1).await {
                worker.queue.release(&[delivery.lease]).await.unwrap();
            }
        }
    });
    let said = over_grpc(&system, classify(image("poison", JPEG))).await;
    check(&said, Kind::MaxAttempts, &[]);
    assert_eq!(over_http(&system, "/v1/classify?custom_id=poison", JPEG).await, said);
    releasing.abort();
    system.stop().await;
}

#[tokio::test]
async fn job_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("file://{}", folder.path().display());
    let system = start(&["--store", &store]).await;
    let mut jobs = JobServiceClient::connect(format!("http://{}", system.public)).await.unwrap();
    let name = "jobs/01j00000000000000000000000".to_owned();
    let status = jobs.get_job(GetJobRequest { name: name.clone() }).await.unwrap_err();
    let said = of_status(&status);
    assert_eq!((said.reason.as_str(), said.resource.unwrap().1), ("JOB_NOT_FOUND", name));
    system.stop().await;
}

/// What tonic refuses by itself, before any code of ours sees it.
#[tokio::test]
async fn calls_that_are_no_calls_get_a_reason_too() {
    let system = start(&[]).await;
    let headers = format!("X-Request-Id: {REQUEST_ID}\r\n");
    let rows: [(&str, &[u8], Kind); 4] = [
        ("Classify", b"\xff\xff\xff\xff\xff", Kind::InvalidRequest),
        ("Classify", b"\x0a\x7f", Kind::InvalidRequest),
        ("ClassifyStream", b"\x0a\x05hello", Kind::InvalidRequest),
        ("Nothing", b"", Kind::Unimplemented),
    ];
    for (method, message, kind) in rows {
        let response = grpc_web(system.public, method, &headers, message).await;
        let said = of_status(&wire::status(&response));
        check(&said, kind, &[]);
        assert_eq!(response.header("x-request-id"), Some(REQUEST_ID));
    }
    let channel = tonic::transport::Channel::from_shared(format!("http://{}", system.public)).unwrap();
    let channel = channel.connect().await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
    let nobody = tonic_health::pb::HealthCheckRequest { service: "nobody".to_owned() };
    assert_eq!(health.check(nobody).await.unwrap_err().code(), tonic::Code::NotFound);
    // Workers' services are not on the public port.
    let name = <ReplyServiceServer<()> as tonic::server::NamedService>::NAME;
    let path = format!("/{name}/ReplySession");
    let response = exchange(system.public, &post(&path, "Content-Type: application/grpc-web\r\n", b"")).await;
    assert_eq!(wire::status(&response).code(), tonic::Code::Unimplemented);
    system.stop().await;
}

#[tokio::test]
async fn message_over_the_limit_is_too_large_with_the_limit_over_every_protocol() {
    let system = start(&[]).await;
    let limit = platform::serve::MESSAGE_BYTES_MAX.to_string();
    let huge = vec![0xff; 40_000_000];
    let native = over_grpc(&system, classify(image("huge", &huge))).await;
    let message = prost::Message::encode_to_vec(&classify(image("huge", &huge)));
    let headers = format!("X-Request-Id: {REQUEST_ID}\r\n");
    let response = grpc_web(system.public, "Classify", &headers, &message).await;
    let web = of_status(&wire::status(&response));
    for said in [&native, &web] {
        check(said, Kind::ImageTooLarge, &[]);
        assert_eq!(said.metadata["limit"], limit);
        assert_eq!(said.metadata["found"], message.len().to_string());
    }
    system.stop().await;
}

/// A message that declares four gigabytes and sends little is answered without waiting for the rest.
#[tokio::test]
async fn length_that_is_only_declared_is_answered_at_once() {
    let system = start(&["--body-idle-timeout", "400ms"]).await;
    let head = "POST /dunlin.v1.ClassifierService/Classify HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000000\r\n\
                Content-Type: application/grpc-web+proto\r\n\r\n";
    let request = [head.as_bytes(), b"\0\xff\xff\xff\xff", &[0; 5000]].concat();
    let answered = tokio::time::timeout(Duration::from_secs(5), exchange(system.public, &request)).await;
    let said = of_status(&wire::status(&answered.unwrap()));
    assert_eq!(said.reason, "IMAGE_TOO_LARGE");
    for path in ["/upload", "/v1/classify"] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000000\r\nContent-Type: image/jpeg\r\n\r\n"
        );
        let request = [head.as_bytes(), JPEG].concat();
        let answered = tokio::time::timeout(Duration::from_secs(5), exchange(system.public, &request)).await;
        assert_eq!(answered.unwrap().status, 413, "{path}");
    }
    system.stop().await;
}

/// curl asks before it sends a large body; it is told "no" without having sent it.
#[tokio::test]
async fn sender_that_asks_first_is_not_asked_to_send_what_is_too_large() {
    let system = start(&["--image-bytes-max", "1000"]).await;
    let request =
        "POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n";
    let response = exchange(system.public, request.as_bytes()).await;
    assert_eq!(response.status, 413, "{response:?}");
    system.stop().await;
}
