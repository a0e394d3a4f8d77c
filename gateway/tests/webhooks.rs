//! The call at the end of a job: signed, tried again, and never to where a caller has no business.
#![allow(clippy::unwrap_used)]

use std::{collections::HashMap, path::PathBuf, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use proto::v1::{CreateJobRequest, Webhook};
use support::jobs::{create, field, of_count, reason, start_in, watch};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

mod support;

const SECRET: &str = "a secret of enough bytes for it";

struct Call {
    head: String,
    headers: HashMap<String, String>,
    body: String,
}

impl Call {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap()
    }

    fn check_signature(&self) {
        let signed =
            format!("{}.{}.{}", self.header("webhook-id"), self.header("webhook-timestamp"), self.body);
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(signed.as_bytes());
        let want = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        assert_eq!(self.header("webhook-signature"), want);
    }
}

/// Takes one call and answers it with this.
async fn receive(listener: &TcpListener, answer: &str) -> Call {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut text = String::new();
    let (head, body) = loop {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).await.unwrap();
        text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap() {
            break (head.to_owned(), body.to_owned());
        }
    };
    stream.write_all(format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await.unwrap();
    let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    Call { head, headers, body }
}

fn flags(folder: &tempfile::TempDir, place: &str) -> [String; 4] {
    let file: PathBuf = folder.path().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    [
        "--webhook-secret".to_owned(),
        format!("ours={}", file.display()),
        "--webhook-plain".to_owned(),
        place.to_owned(),
    ]
}

fn with_webhook(url: &str, secret_name: &str) -> CreateJobRequest {
    let webhook = Webhook { url: url.to_owned(), secret_name: secret_name.to_owned() };
    CreateJobRequest { webhook: Some(webhook), ..of_count(3) }
}

#[tokio::test]
async fn receiver_is_called_until_it_takes_it_with_one_id_and_never_sent_elsewhere() {
    let (folder, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let flags = flags(&beside, &place);
    let (system, mut client) = start_in(folder.path(), &flags.each_ref().map(String::as_str)).await;
    let worker = system.working_worker().await;
    let job = create(&mut client, with_webhook(&format!("http://{place}/hook?x=1"), "ours")).await;
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = format!("302 Found\r\nlocation: http://{}/", other.local_addr().unwrap());
    let mut ids = Vec::new();
    for answer in ["500 Oh", &elsewhere, "204 No Content"] {
        let call = receive(&listener, answer).await;
        call.check_signature();
        assert!(call.head.starts_with("POST /hook?x=1 HTTP/1.1"), "{}", call.head);
        assert_eq!(call.header("host"), place);
        let body: serde_json::Value = serde_json::from_str(&call.body).unwrap();
        assert_eq!((&body["type"], &body["data"]["state"]), (&"job.ended".into(), &"SUCCEEDED".into()));
        assert_eq!(body["data"]["name"], job.name);
        ids.push(call.header("webhook-id").to_owned());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let more = tokio::time::timeout(Duration::from_secs(1), listener.accept());
    assert!(more.await.is_err(), "it was taken");
    let followed = tokio::time::timeout(Duration::from_millis(10), other.accept());
    assert!(followed.await.is_err(), "no redirect is followed");
    assert!(!folder.path().join("jobs/open").exists(), "nothing is left to do");
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn call_that_was_not_made_is_made_after_a_kill() {
    let (folder, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap().to_string();
    // It is away at first: what comes is refused.
    drop(listener);
    let flags = flags(&beside, &place);
    let flags = flags.each_ref().map(String::as_str);
    let (system, mut client) = start_in(folder.path(), &flags).await;
    let worker = system.working_worker().await;
    let job = create(&mut client, with_webhook(&format!("http://{place}/"), "ours")).await;
    watch(&mut client, &job.name, 0).await;
    worker.abort();
    system.running.abort();
    let _ = system.running.await;
    let listener = TcpListener::bind(&place).await.unwrap();
    let (system, _client) = start_in(folder.path(), &flags).await;
    let call = tokio::time::timeout(Duration::from_secs(40), receive(&listener, "200 OK")).await.unwrap();
    call.check_signature();
    assert!(call.body.contains(&job.name));
    system.stop().await;
}

#[tokio::test]
async fn wrong_webhooks_are_refused_when_the_job_is_created() {
    let (folder, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let flags = flags(&beside, "127.0.0.1:9");
    let (system, mut client) = start_in(folder.path(), &flags.each_ref().map(String::as_str)).await;
    for (url, secret, at) in [
        ("http://example.com/", "ours", "webhook.url"),
        ("https://10.0.0.1/", "ours", "webhook.url"),
        ("https://[::1]/", "ours", "webhook.url"),
        ("https://169.254.169.254/latest/", "ours", "webhook.url"),
        ("https://localhost/", "ours", "webhook.url"),
        ("http://127.0.0.1:10/", "ours", "webhook.url"),
        ("nonsense", "ours", "webhook.url"),
        ("http://127.0.0.1:9/", "theirs", "webhook.secret_name"),
    ] {
        let status = client.create_job(with_webhook(url, secret)).await.unwrap_err();
        assert_eq!((reason(&status).as_str(), field(&status).as_str()), ("INVALID_REQUEST", at), "{url}");
        assert!(!status.message().contains(SECRET));
    }
    system.stop().await;
}
