//! TLS on the public and the internal port, other origins' pages, and the secret between our services.
#![allow(clippy::unwrap_used)]

mod support;

use std::{path::PathBuf, process::Command, time::Duration};

use platform::{
    auth::{Links, PeerOptions, Secret},
    queue::{BrokerQueue, Queue as _},
};
use proto::v1::{ClassifyRequest, classifier_service_client::ClassifierServiceClient};
use support::{JPEG, System, image, start};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// A certificate for 127.0.0.1 and its key, and a client's from the same hand: both by openssl, as users make them.
struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    fn new() -> Self {
        let made = Self { folder: tempfile::tempdir().unwrap() };
        made.make("server", "subjectAltName=DNS:localhost,IP:127.0.0.1");
        made.make("client", "extendedKeyUsage=clientAuth");
        made
    }

    fn make(&self, name: &str, extension: &str) {
        let done = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ])
            .args([
                "-subj",
                "/CN=test",
                "-addext",
                extension,
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ])
            .args(["-keyout", &self.path(&format!("{name}.key")), "-out", &self.path(&format!("{name}.pem"))])
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn path(&self, file: &str) -> String {
        self.folder.path().join(file).display().to_string()
    }

    fn read(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.path(file)).unwrap()
    }

    fn client(&self) -> ClientTlsConfig {
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.read("server.pem")))
    }

    fn identity(&self) -> Identity {
        Identity::from_pem(self.read("client.pem"), self.read("client.key"))
    }
}

async fn connect(system: &System, tls: ClientTlsConfig) -> Result<Channel, tonic::transport::Error> {
    let url = format!("https://{}", system.public);
    Endpoint::from_shared(url).unwrap().tls_config(tls).unwrap().connect().await
}

async fn label(channel: Channel) -> String {
    let mut client = ClassifierServiceClient::new(channel);
    let asked = ClassifyRequest { image: Some(image("cat.jpg", JPEG)), ..ClassifyRequest::default() };
    let answer = client.classify(asked).await.unwrap().into_inner();
    answer.result.unwrap().classifications[0].label.clone()
}

#[tokio::test]
async fn grpc_and_plain_http_share_a_port_with_tls() {
    let made = Certificates::new();
    let system =
        start(&["--tls-cert", &made.path("server.pem"), "--tls-key", &made.path("server.key")]).await;
    let worker = system.working_worker().await;
    assert_eq!(label(connect(&system, made.client()).await.unwrap()).await, "cat");
    let picture = made.path("cat.jpg");
    std::fs::write(&picture, JPEG).unwrap();
    let (ca, url) = (made.path("server.pem"), format!("https://{}/upload", system.public));
    let field = format!("myfile=@{picture}");
    for version in ["--http1.1", "--http2"] {
        let field = field.clone();
        let (ca, url) = (ca.clone(), url.clone());
        let curl = tokio::process::Command::new("curl")
            .args(["--silent", "--show-error", "--cacert", &ca, version, "-F", &field, &url])
            .output()
            .await
            .unwrap();
        assert!(curl.status.success(), "{}", String::from_utf8_lossy(&curl.stderr));
        assert!(String::from_utf8_lossy(&curl.stdout).contains("cat"), "{curl:?}");
    }
    // Without TLS there is no answer, and with another authority no trust.
    if let Ok(mut client) = ClassifierServiceClient::connect(format!("http://{}", system.public)).await {
        client.classify(ClassifyRequest::default()).await.unwrap_err();
    }
    let other = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(made.read("client.pem")));
    assert!(connect(&system, other).await.is_err());
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn handshakes_that_never_end_hold_nobody_up() {
    let made = Certificates::new();
    let system =
        start(&["--tls-cert", &made.path("server.pem"), "--tls-key", &made.path("server.key")]).await;
    let worker = system.working_worker().await;
    let mut stalled = Vec::new();
    // More than may be under way at once.
    for i in 0..600 {
        let mut connection = tokio::net::TcpStream::connect(system.public).await.unwrap();
        if i % 2 == 0 {
            // The begin of a ClientHello.
            connection.write_all(&[0x16, 0x03, 0x01, 0x02]).await.unwrap();
        }
        stalled.push(connection);
    }
    let answered = async { label(connect(&system, made.client()).await.unwrap()).await };
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), answered).await.unwrap(), "cat");
    // The oldest was let go for the newest.
    let mut first = stalled.swap_remove(0);
    let read = tokio::time::timeout(Duration::from_secs(5), first.read(&mut [0; 16])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn client_without_a_certificate_is_refused_where_one_is_asked_for() {
    let made = Certificates::new();
    let (cert, key, ca) = (made.path("server.pem"), made.path("server.key"), made.path("client.pem"));
    let system = start(&["--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &ca]).await;
    let worker = system.working_worker().await;
    let with = made.client().identity(made.identity());
    assert_eq!(label(connect(&system, with).await.unwrap()).await, "cat");
    // TLS 1.3 tells the client only with the first answer.
    if let Ok(channel) = connect(&system, made.client()).await {
        let asked = ClassifyRequest { image: Some(image("cat.jpg", JPEG)), ..ClassifyRequest::default() };
        ClassifierServiceClient::new(channel).classify(asked).await.unwrap_err();
    }
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn certificate_that_was_renewed_is_shown_without_a_restart() {
    let made = Certificates::new();
    let system =
        start(&["--tls-cert", &made.path("server.pem"), "--tls-key", &made.path("server.key")]).await;
    let old = made.client();
    connect(&system, old.clone()).await.unwrap();
    made.make("server", "subjectAltName=DNS:localhost,IP:127.0.0.1");
    let renewed = made.client();
    // By the machine's clock, as the files are.
    let mut shown = false;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        if connect(&system, renewed.clone()).await.is_ok() {
            shown = true;
            break;
        }
    }
    assert!(shown);
    assert!(connect(&system, old).await.is_err());
    system.stop().await;
}

fn peers(secret: &str) -> Links {
    let options = PeerOptions { internal_secret: Secret::parse(secret).ok(), ..PeerOptions::default() };
    options.links().unwrap()
}

#[tokio::test]
async fn internal_port_takes_nobody_without_the_secret() {
    const SECRET: &str = "a-secret-of-24-characters";
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let system = start(&["--internal-secret-file", file.to_str().unwrap()]).await;
    let address = system.internal.to_string();
    let check = async |links: &Links| BrokerQueue::with_links(&address, links).unwrap().counts().await;
    assert!(check(&peers(SECRET)).await.is_ok());
    for links in [peers("another-secret-of-these"), Links::default()] {
        let error = check(&links).await.unwrap_err();
        assert!(error.to_string().contains("internal secret"), "{error}");
        assert!(!error.to_string().contains(SECRET));
    }
    system.stop().await;
}

#[tokio::test]
async fn internal_port_speaks_tls_and_asks_for_certificates_when_told_to() {
    let made = Certificates::new();
    let flags = ["--internal-tls-cert", "--internal-tls-key", "--internal-tls-client-ca"];
    let files = ["server.pem", "server.key", "client.pem"].map(|file| made.path(file));
    let arguments: Vec<&str> =
        flags.iter().zip(&files).flat_map(|(flag, file)| [*flag, file.as_str()]).collect();
    let system = start(&arguments).await;
    let address = system.internal.to_string();
    let with = PeerOptions {
        internal_ca: Some(made.path("server.pem").into()),
        internal_client_cert: Some(made.path("client.pem").into()),
        internal_client_key: Some(made.path("client.key").into()),
        ..PeerOptions::default()
    };
    let queue = BrokerQueue::with_links(&address, &with.links().unwrap()).unwrap();
    queue.counts().await.unwrap();
    let without = PeerOptions { internal_ca: with.internal_ca.clone(), ..PeerOptions::default() };
    let queue = BrokerQueue::with_links(&address, &without.links().unwrap()).unwrap();
    queue.counts().await.unwrap_err();
    system.stop().await;
}

async fn preflight(system: &System, origin: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(system.public).await.unwrap();
    let asked = format!(
        "OPTIONS /dunlin.v1.ClassifierService/Classify HTTP/1.1\r\nhost: x\r\norigin: {origin}\r\nconnection: close\r\n\
         access-control-request-method: POST\r\naccess-control-request-headers: authorization,x-grpc-web\r\n\r\n"
    );
    stream.write_all(asked.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.to_ascii_lowercase()
}

#[tokio::test]
async fn pages_of_named_origins_may_call_and_those_of_others_are_told_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.toml");
    std::fs::write(&keys, "").unwrap();
    let system = start(&["--cors-origin", "https://example.org", "--keys", keys.to_str().unwrap()]).await;
    // A preflight has no key.
    let answer = preflight(&system, "https://example.org").await;
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    assert!(answer.contains("access-control-allow-origin: https://example.org"), "{answer}");
    assert!(answer.contains("idempotency-key"), "{answer}");
    let other = preflight(&system, "https://example.com").await;
    assert!(!other.contains("access-control-"), "{other}");
    system.stop().await;
    let without = start(&[]).await;
    let answer = preflight(&without, "https://example.org").await;
    assert!(!answer.contains("access-control-"), "{answer}");
    without.stop().await;
}
