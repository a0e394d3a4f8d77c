//! The store on S3, as moto keeps it.
#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use bytes::Bytes;
use platform::{
    Kind,
    aws::stand_in::{self, Moto},
    store::{self, ObjectHead, S3Objects, S3Store, S3Uri, Store as _},
};

async fn with_bucket(endpoint: &str, bucket: &str) -> (SdkConfig, aws_sdk_s3::Client) {
    let config = stand_in::config(endpoint);
    let client = aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build(),
    );
    client.create_bucket().bucket(bucket).send().await.unwrap();
    (config, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_store_keeps_the_contract() {
    let Some(moto) = Moto::start().await else { return };
    let (config, _) = with_bucket(&moto.endpoint(), "store").await;
    let whole = S3Store::open_with(&config, "s3://store").await.unwrap();
    let below = S3Store::open_with(&config, "s3://store/some/where").await.unwrap();
    store::contract::check(Arc::new(below)).await;
    let keys = whole.list("", "", 100).await.unwrap();
    assert!(keys.iter().all(|key| key.starts_with("some/where/")), "{keys:?}");
}

#[tokio::test]
async fn listing_goes_on_over_the_service_s_page() {
    let Some(moto) = Moto::start().await else { return };
    let (config, _) = with_bucket(&moto.endpoint(), "pages").await;
    let store = Arc::new(S3Store::open_with(&config, "s3://pages/p").await.unwrap());
    let puts = (0..1010).map(|i| {
        let store = Arc::clone(&store);
        async move { store.put(&format!("k/{i:05}"), Bytes::new()).await }
    });
    futures::future::try_join_all(puts).await.unwrap();
    let keys = store.list("k/", "", 1005).await.unwrap();
    assert_eq!((keys.len(), keys.last().unwrap().as_str()), (1005, "k/01004"));
}

#[tokio::test]
async fn start_is_refused_with_resource_action_and_fix() {
    let Some(moto) = Moto::start().await else { return };
    let config = stand_in::config(&moto.endpoint());
    let check = |error: platform::Error, parts: &[&str]| {
        assert_eq!(error.kind(), Kind::Config);
        for part in parts {
            assert!(error.message().contains(part), "{error}");
        }
    };
    let refused = async |config: &SdkConfig, url| S3Store::open_with(config, url).await.err().unwrap();
    check(refused(&config, "s3://missing").await, &["no bucket missing", "aws s3 mb s3://missing"]);
    check(refused(&config, "s3://UP").await, &["s3://UP", "lower-case"]);
    let with_client = aws_config::provider_config::ProviderConfig::without_region()
        .with_http_client(platform::aws::http_client());
    let profile = aws_config::profile::ProfileFileCredentialsProvider::builder()
        .configure(&with_client)
        .profile_name("dunlin-test-there-is-no-such-profile")
        .build();
    let profile = aws_sdk_s3::config::SharedCredentialsProvider::new(profile);
    let nobody = config.clone().into_builder().credentials_provider(profile).build();
    check(refused(&nobody, "s3://missing").await, &["no valid AWS credentials", "s3:ListBucket"]);
    let nowhere = config.clone().into_builder().region(None::<Region>).build();
    check(refused(&nowhere, "s3://missing").await, &["AWS_REGION"]);
    // Port 9 is "discard": nothing listens there.
    let away = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .http_client(platform::aws::http_client())
        .credentials_provider(config.credentials_provider().unwrap())
        .retry_config(aws_config::retry::RetryConfig::disabled())
        .endpoint_url("http://127.0.0.1:9")
        .build();
    check(refused(&away, "s3://missing").await, &["no answer", "arn:aws:s3:::missing", "AWS_ENDPOINT_URL"]);
}

#[tokio::test]
async fn callers_objects_are_measured_and_read_up_to_a_limit() {
    let Some(moto) = Moto::start().await else { return };
    let (config, client) = with_bucket(&moto.endpoint(), "callers").await;
    let put = async |content: &'static [u8]| {
        let put = client.put_object().bucket("callers").key("a/ü 1.png").body(Bytes::from(content).into());
        put.send().await.unwrap().version_id
    };
    let objects = S3Objects::new(&config);
    let uri = S3Uri::parse("s3://callers/a/ü 1.png").unwrap();
    put(b"0123456789").await;
    assert_eq!(objects.head(&uri).await.unwrap(), ObjectHead { size: 10, version_id: None });
    assert_eq!(objects.get(&uri, 10).await.unwrap(), "0123456789");
    assert_eq!(objects.get(&uri, 9).await.unwrap_err().kind(), Kind::ImageTooLarge);
    for missing in ["s3://callers/none", "s3://nowhere/none"] {
        let missing = S3Uri::parse(missing).unwrap();
        assert_eq!(objects.head(&missing).await.unwrap_err().kind(), Kind::ObjectNotFound);
        assert_eq!(objects.get(&missing, 9).await.unwrap_err().kind(), Kind::ObjectNotFound);
    }
    let versioning = aws_sdk_s3::types::VersioningConfiguration::builder()
        .status(aws_sdk_s3::types::BucketVersioningStatus::Enabled)
        .build();
    let enable = client.put_bucket_versioning().bucket("callers").versioning_configuration(versioning);
    enable.send().await.unwrap();
    let first = put(b"first").await.unwrap();
    put(b"second!").await.unwrap();
    let first = S3Uri { version: Some(first), ..uri.clone() };
    assert_eq!(objects.get(&first, 10).await.unwrap(), "first");
    assert_eq!(objects.get(&uri, 10).await.unwrap(), "second!");
    let head = objects.head(&first).await.unwrap();
    assert_eq!((head.size, head.version_id), (5, first.version.clone()));
    let none = S3Uri { version: Some("no-such-version".to_owned()), ..uri };
    assert_eq!(objects.head(&none).await.unwrap_err().kind(), Kind::ObjectNotFound);
}

#[tokio::test]
async fn denied_bucket_is_refused_with_the_action_that_is_missing() {
    let Some(moto) = Moto::start().await else { return };
    let (config, client) = with_bucket(&moto.endpoint(), "denied").await;
    client.put_object().bucket("denied").key("a").body(Bytes::from_static(b"a").into()).send().await.unwrap();
    enforce_permissions(&moto.endpoint()).await;
    let refused = S3Store::open_with(&config, "s3://denied").await.err().unwrap();
    assert_eq!(refused.kind(), Kind::Config);
    for part in ["permission denied", "s3:ListBucket", "arn:aws:s3:::denied", "policy"] {
        assert!(refused.message().contains(part), "{refused}");
    }
    let uri = S3Uri::parse("s3://denied/a").unwrap();
    assert_eq!(S3Objects::new(&config).head(&uri).await.unwrap_err().kind(), Kind::UriNotAllowed);
}

/// From the next call on moto asks its IAM, which knows nobody.
async fn enforce_permissions(endpoint: &str) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let host = endpoint.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let request = format!(
        "POST /moto-api/reset-auth HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\nConnection: close\r\n\r\n0"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
