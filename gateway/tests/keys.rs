//! Who may send images: keys, their scopes and rates, over every front door of a real gateway.
#![allow(clippy::unwrap_used)]

mod support;

use std::{path::PathBuf, time::Duration};

use platform::{
    Error, Kind,
    auth::{KeyFile, NewKey, Scope, Secret},
    serve::MESSAGE_BYTES_MAX,
};
use proto::v1::{
    BidiClassifyRequest, ClassifyRequest, ClassifyStreamRequest, bidi_classify_request,
    bidi_classify_response, classifier_service_client::ClassifierServiceClient, classify_stream_response,
};
use support::{JPEG, System, image, start};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::{Code, Request, metadata::MetadataValue};
use tonic_types::StatusExt as _;

struct Guarded {
    system: System,
    file: KeyFile,
    _folder: tempfile::TempDir,
}

async fn guarded() -> Guarded {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("keys.toml");
    std::fs::write(&path, "").unwrap();
    let system = start(&["--keys", path.to_str().unwrap()]).await;
    Guarded { system, file: KeyFile::new(path), _folder: folder }
}

impl Guarded {
    /// A key that the gateway knows already.
    async fn key(&self, scope: Scope, rate: Option<f64>) -> Secret {
        let new = NewKey { name: format!("{scope}"), scopes: vec![scope], rate, expires_in: None };
        let (key, _) = self.file.create(new).unwrap();
        self.until(&key, |answer| !matches!(answer, Err(error) if error.kind() == Kind::ApiKeyInvalid)).await;
        key
    }

    /// The file is looked at by the machine's clock, so we wait by it too.
    async fn until(&self, key: &Secret, holds: impl Fn(&Result<(), Error>) -> bool) {
        for _ in 0..100 {
            // No image: refused for that, once the key is let in.
            let asked = with_key(ClassifyRequest::default(), key);
            if holds(&self.system.client().await.classify(asked).await.map(drop).map_err(Error::from)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the gateway did not read its keys again");
    }
}

fn with_key<T>(message: T, key: &Secret) -> Request<T> {
    let mut request = Request::new(message);
    let value: MetadataValue<_> = format!("Bearer {}", key.reveal()).parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

fn one_image() -> ClassifyRequest {
    ClassifyRequest { image: Some(image("cat.jpg", JPEG)), ..ClassifyRequest::default() }
}

fn many(count: usize) -> ClassifyStreamRequest {
    let images = (0..count).map(|i| image(&format!("{i}.jpg"), JPEG)).collect();
    ClassifyStreamRequest { images, ..ClassifyStreamRequest::default() }
}

/// One request over HTTP/1.1, to the end of the connection.
async fn http(system: &System, request: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(system.public).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn key_lets_in_and_nothing_else_does() {
    let world = guarded().await;
    let worker = world.system.working_worker().await;
    let key = world.key(Scope::Classify, None).await;
    let mut client = world.system.client().await;
    let answer = client.classify(with_key(one_image(), &key)).await.unwrap().into_inner();
    assert_eq!(answer.result.unwrap().classifications[0].label, "cat");

    let wrong = Secret::parse(&format!("{}x", key.reveal())).unwrap();
    for request in [Request::new(one_image()), with_key(one_image(), &wrong)] {
        let status = client.classify(request).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(status.get_error_details().error_info().unwrap().reason, "API_KEY_INVALID");
        assert!(!format!("{status:?}").contains(wrong.reveal()), "{status:?}");
    }
    worker.abort();
    world.system.stop().await;
}

#[tokio::test]
async fn scope_that_is_missing_is_named_over_grpc_and_http() {
    let world = guarded().await;
    let key = world.key(Scope::Read, None).await;
    let status = world.system.client().await.classify(with_key(one_image(), &key)).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.metadata["scope"].as_str()), ("SCOPE_MISSING", "classify"));

    let key = key.reveal();
    let answer = http(
        &world.system,
        &format!("POST /v1/classify HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc"),
    )
    .await;
    assert!(
        answer.starts_with("HTTP/1.1 403") && answer.contains("\"reason\":\"SCOPE_MISSING\""),
        "{answer}"
    );
    world.system.stop().await;
}

#[tokio::test]
async fn http_without_a_key_is_401_with_the_same_reason_and_pages_stay_open() {
    let world = guarded().await;
    for path in ["/upload", "/v1/classify", "/", "/anything"] {
        let body = "x".repeat(300_000);
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let answer = http(&world.system, &format!("{head}{body}")).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{path}: {answer}");
        assert!(answer.contains("www-authenticate: Bearer"), "{answer}");
        assert!(answer.contains("\"reason\":\"API_KEY_INVALID\""), "{answer}");
        assert!(answer.contains("x-request-id: "), "{answer}");
    }
    for path in ["/", "/healthz", "/readyz"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        assert!(http(&world.system, &request).await.starts_with("HTTP/1.1 200"), "{path}");
    }
    let answer = http(&world.system, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    world.system.stop().await;
}

#[tokio::test]
async fn grpc_web_caller_gets_its_refusal_as_grpc_web() {
    let world = guarded().await;
    let head = "POST /dunlin.v1.ClassifierService/Classify HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                content-type: application/grpc-web+proto\r\nx-grpc-web: 1\r\ncontent-length: 5\r\n\r\n\0\0\0\0\0";
    let answer = http(&world.system, head).await.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    assert!(answer.contains("application/grpc-web"), "{answer}");
    assert!(answer.contains("grpc-status: 16") || answer.contains("grpc-status:16"), "{answer}");
    world.system.stop().await;
}

#[tokio::test]
async fn images_are_what_a_rate_counts_and_other_keys_do_not_feel_it() {
    let world = guarded().await;
    let worker = world.system.working_worker().await;
    let (slow, fast) = (world.key(Scope::Classify, Some(20.0)).await, world.key(Scope::Admin, None).await);
    let mut client = world.system.client().await;
    // More than a second's worth is let in once, and then paid for.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut events = client.classify_stream(with_key(many(100), &slow)).await.unwrap().into_inner();
    let status = client.classify(with_key(one_image(), &slow)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "QUOTA_EXCEEDED");
    let violation = &details.quota_failure().unwrap().violations[0];
    assert!(violation.subject.starts_with("key:"), "{violation:?}");
    let wait = details.retry_info().unwrap().retry_delay.unwrap();
    assert!(wait > Duration::from_secs(2) && wait < Duration::from_secs(6), "{wait:?}");
    let mut results = 0;
    while let Some(event) = events.message().await.unwrap() {
        results += usize::from(matches!(event.event, Some(classify_stream_response::Event::Result(_))));
    }
    assert_eq!(results, 100);
    client.classify(with_key(one_image(), &fast)).await.unwrap();
    let key = slow.reveal();
    let answer = http(
        &world.system,
        &format!("POST /v1/classify HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("retry-after: "), "{answer}");
    worker.abort();
    world.system.stop().await;
}

#[tokio::test]
async fn endless_stream_over_its_rate_goes_on_with_that_image_failed() {
    let world = guarded().await;
    let worker = world.system.working_worker().await;
    let key = world.key(Scope::Classify, Some(1.0)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = (0..3).map(|i| {
        let image = image(&format!("{i}.jpg"), JPEG);
        BidiClassifyRequest { request: Some(bidi_classify_request::Request::Image(image)) }
    });
    let requests = tokio_stream::iter(asked.collect::<Vec<_>>());
    let mut client = world.system.client().await;
    let mut events = client.bidi_classify(with_key(requests, &key)).await.unwrap().into_inner();
    let mut failed = Vec::new();
    let mut succeeded = 0;
    while let Some(event) = events.message().await.unwrap() {
        if let Some(bidi_classify_response::Event::Result(result)) = event.event {
            match &result.error {
                Some(error) => failed.push(platform::error::from_rpc_status(error).kind()),
                None => succeeded += 1,
            }
        }
    }
    assert_eq!((succeeded, failed), (1, vec![Kind::QuotaExceeded; 2]));
    worker.abort();
    world.system.stop().await;
}

#[tokio::test]
async fn revoked_key_is_refused_within_seconds_without_a_restart() {
    let world = guarded().await;
    let key = world.key(Scope::Classify, None).await;
    let id = world.file.read().unwrap()[0].id.clone();
    world.file.revoke(&id).unwrap();
    world.until(&key, |answer| matches!(answer, Err(error) if error.kind() == Kind::ApiKeyInvalid)).await;
    world.system.stop().await;
}

#[tokio::test]
async fn wrong_keys_by_the_hundred_change_nothing_for_the_right_one() {
    let world = guarded().await;
    let worker = world.system.working_worker().await;
    let key = world.key(Scope::Classify, None).await;
    let mut client = world.system.client().await;
    for i in 0..500 {
        let wrong = Secret::parse(&format!("dunlin_{i:043}")).unwrap();
        let status = client.classify(with_key(one_image(), &wrong)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
    }
    client.classify(with_key(one_image(), &key)).await.unwrap();
    worker.abort();
    world.system.stop().await;
}

#[tokio::test]
async fn image_of_a_caller_without_a_key_is_not_read() {
    let world = guarded().await;
    let channel = ClassifierServiceClient::connect(format!("http://{}", world.system.public)).await.unwrap();
    let mut client = channel.max_encoding_message_size(2 * MESSAGE_BYTES_MAX);
    let large = image("cat.jpg", &vec![0xff; MESSAGE_BYTES_MAX + 1]);
    let asked = ClassifyRequest { image: Some(large), ..ClassifyRequest::default() };
    // Not OUT_OF_RANGE, which whoever decodes it would say.
    assert_eq!(client.classify(asked).await.unwrap_err().code(), Code::Unauthenticated);
    world.system.stop().await;
}
