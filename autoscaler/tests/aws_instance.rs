//! A worker on an EC2 instance, callers' own objects, and the course's profile.
#![allow(clippy::unwrap_used)]

mod aws_world;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_world::{Cloud, PATIENCE, classify, classify_many, jpeg};
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{get, put},
};
use platform::{
    Kind,
    aws::stand_in::{self, Fauxqs},
};
use proto::v1::{ClassifyRequest, Image, image::Source};

const INSTANCE: &str = "i-0123456789abcdef0";

/// The metadata service of one instance, version 2 only: without a token it says nothing.
struct Metadata {
    endpoint: String,
    notice: Arc<Mutex<Option<&'static str>>>,
}

impl Metadata {
    async fn start() -> Self {
        let notice = Arc::<Mutex<Option<&'static str>>>::default();
        let router = Router::new()
            .route(
                "/latest/api/token",
                put(async || ([("x-aws-ec2-metadata-token-ttl-seconds", "21600")], "token")),
            )
            .route("/latest/meta-data/instance-id", get(async |headers| with_token(&headers, Some(INSTANCE))))
            .route(
                "/latest/meta-data/spot/instance-action",
                get(async |State(notice): State<Arc<Mutex<Option<&'static str>>>>, headers: HeaderMap| {
                    let notice = *notice.lock().unwrap();
                    with_token(&headers, notice)
                }),
            )
            .with_state(Arc::clone(&notice));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        tokio::spawn(async move {
            let server = tonic::transport::Server::builder().accept_http1(true).add_routes(router.into());
            server.serve_with_incoming(incoming).await.unwrap();
        });
        Self { endpoint, notice }
    }
}

fn with_token(headers: &HeaderMap, answer: Option<&'static str>) -> Response {
    match (headers.contains_key("x-aws-ec2-metadata-token"), answer) {
        (false, _) => StatusCode::UNAUTHORIZED.into_response(),
        (true, None) => StatusCode::NOT_FOUND.into_response(),
        (true, Some(answer)) => answer.into_response(),
    }
}

/// Without an id of its own.
fn worker_on_instance(cloud: &mut Cloud, metadata: &Metadata, more: &[&str]) -> aws_world::Service {
    let role = [
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.endpoint),
    ];
    let role = role.map(|(name, value)| (name.to_owned(), value.to_owned()));
    cloud.roles.insert("classifier-worker".to_owned(), role.to_vec());
    let mut arguments = cloud.worker_arguments(&["--model=stub:0", "--on-instance"]);
    arguments.push(format!("--autoscaler=http://127.0.0.1:{}", cloud.autoscaler));
    arguments.extend(more.iter().map(|word| (*word).to_owned()));
    cloud.start("classifier-worker", &arguments)
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_knows_its_instance_and_drains_when_it_is_taken_away() {
    let Some(fauxqs) = Fauxqs::start().await else { return };
    let mut cloud = Cloud::make(&stand_in::config(&fauxqs.endpoint()), fauxqs.endpoint()).await;
    let metadata = Metadata::start().await;
    let _gateway = cloud.gateway(&[]);
    let worker = worker_on_instance(&mut cloud, &metadata, &[]);
    let mut client = cloud.client().await;
    let result = classify(&mut client, "a.jpg", jpeg(1000)).await.unwrap();
    assert_eq!(result.execution.unwrap().instance_id, INSTANCE);
    *metadata.notice.lock().unwrap() = Some(r#"{"action": "terminate", "time": "2099-01-01T00:00:00Z"}"#);
    let until = std::time::Instant::now() + PATIENCE;
    while !worker.said().contains("this instance is taken away, draining") {
        assert!(std::time::Instant::now() < until, "no drain: {}", worker.said());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Another worker does what comes after: this one takes nothing once its polls have ended.
    let _other = cloud.worker("other", &["--model=stub:0"]);
    classify_many(&cloud, 20, 4, 1000).await;
    assert_eq!(worker.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_worker_without_an_autoscaler_asks_for_its_machine_to_be_turned_off() {
    let Some(fauxqs) = Fauxqs::start().await else { return };
    let mut cloud = Cloud::make(&stand_in::config(&fauxqs.endpoint()), fauxqs.endpoint()).await;
    let metadata = Metadata::start().await;
    let mut worker = worker_on_instance(&mut cloud, &metadata, &["--orphan-after=1s"]);
    assert_eq!(worker.ended().await, Some(79), "{}", worker.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_own_objects_are_read_from_allowed_buckets_alone() {
    let Some(fauxqs) = Fauxqs::start().await else { return };
    let config = stand_in::config(&fauxqs.endpoint());
    let cloud = Cloud::make(&config, fauxqs.endpoint()).await;
    let s3 = aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build(),
    );
    for (key, bytes) in [("cats/one.jpg", 1000), ("large.jpg", 1_000_001)] {
        s3.put_object().bucket("images").key(key).body(jpeg(bytes).into()).send().await.unwrap();
    }
    let _gateway = cloud.gateway(&["--uri-bucket=images"]);
    let _worker = cloud.worker("w1", &["--model=stub:0"]);
    let mut client = cloud.client().await;
    let mut ask = async |uri: &str| {
        let image = Image { source: Some(Source::Uri(uri.to_owned())), custom_id: "mine.jpg".to_owned() };
        let asked =
            client.classify(ClassifyRequest { image: Some(image), ..ClassifyRequest::default() }).await;
        asked.map(|answer| answer.into_inner().result.unwrap().classifications[0].label.clone())
    };
    assert_eq!(ask("s3://images/cats/one.jpg").await.unwrap(), "mine");
    let mut check = async |uri: &str, want: Kind| {
        let error = platform::Error::from(ask(uri).await.unwrap_err());
        assert_eq!(error.kind(), want, "{uri}: {error}");
    };
    check("s3://images/none.jpg", Kind::ObjectNotFound).await;
    check("s3://images/large.jpg", Kind::ImageTooLarge).await;
    check("s3://results/one.jpg", Kind::UriNotAllowed).await;
    check("https://example.com/one.jpg", Kind::UriSchemeUnsupported).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn course_profile_keeps_images_and_results_under_the_files_name() {
    let Some(fauxqs) = Fauxqs::start().await else { return };
    let config = stand_in::config(&fauxqs.endpoint());
    let cloud = Cloud::make(&config, fauxqs.endpoint()).await;
    let _gateway = cloud.gateway(&["--profile=cse546", "--store=s3://images"]);
    let stores = ["--model=stub:0", "--profile=cse546", "--store=s3://images", "--results=s3://results"];
    let _worker = cloud.worker("w1", &stores);
    let mut client = cloud.client().await;
    let first = classify(&mut client, "test_00.jpg", jpeg(1000)).await.unwrap();
    assert!(!first.execution.unwrap().cached);
    let again = classify(&mut client, "test_00.jpg", jpeg(1000)).await.unwrap();
    assert!(again.execution.unwrap().cached, "an equal image is answered from memory");
    let s3 = aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build(),
    );
    let read = async |bucket: &str, key: &str| {
        let object = s3.get_object().bucket(bucket).key(key).send().await.unwrap();
        object.body.collect().await.unwrap().into_bytes()
    };
    assert_eq!(read("images", "test_00.jpg").await, jpeg(1000));
    let until = std::time::Instant::now() + PATIENCE;
    // It is stored after the caller has its answer.
    while s3.head_object().bucket("results").key("test_00").send().await.is_err() {
        assert!(std::time::Instant::now() < until, "no result in the bucket");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(read("results", "test_00").await, "(test_00,test_00)");
}
