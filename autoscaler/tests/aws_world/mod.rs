//! The three services as programs of their own, on a stand-in for AWS.
#![allow(dead_code, clippy::unwrap_used)]

pub mod proxy;

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use aws_config::SdkConfig;
use platform::aws::stand_in;
use proto::v1::{
    ClassifyRequest, GetStatusRequest, GetStatusResponse, Image, ImageResult, ImageState,
    autoscaler_service_client::AutoscalerServiceClient, classifier_service_client::ClassifierServiceClient,
    image::Source,
};
use rustix::process::{Pid, Signal, kill_process};
use tonic::transport::Channel;

/// Long against everything here; only a failing test waits for it.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const QUEUE: &str = "sqs://us-east-1/dunlin";

/// The programs lie side by side: `cargo build --workspace` has made them.
fn program(name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_autoscaler")).with_file_name(name);
    assert!(program.exists(), "{} is missing: run cargo build --workspace --bins first", program.display());
    program
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A service as a process; killed with the test.
pub struct Service {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Service {
    pub fn start(folder: &Path, environment: &[(String, String)], name: &str, arguments: &[String]) -> Self {
        let log = folder.join(format!("{name}-{}.log", free_port()));
        let mut command = Command::new(program(name));
        for (variable, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DUNLIN_"))
        {
            command.env_remove(variable);
        }
        let child = command
            .args(arguments)
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, name: name.to_owned(), log }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and the code it ends with.
    pub async fn stop(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "{} does not stop: {}", self.name, self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "{} does not end: {}", self.name, self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}", self.name, self.said());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where everything is.
pub struct Cloud {
    pub folder: tempfile::TempDir,
    pub endpoint: String,
    /// The environment of each program with a role of its own.
    pub roles: BTreeMap<String, Vec<(String, String)>>,
    pub public: u16,
    pub internal: u16,
    pub autoscaler: u16,
}

impl Cloud {
    /// Queues with their dead letters, and the buckets `images` and `results`.
    pub async fn make(config: &SdkConfig, endpoint: String) -> Self {
        stand_in::make_queues(config, "dunlin").await;
        let s3 = aws_sdk_s3::config::Builder::from(config).force_path_style(true).build();
        let s3 = aws_sdk_s3::Client::from_conf(s3);
        for bucket in ["images", "results"] {
            s3.create_bucket().bucket(bucket).send().await.unwrap();
        }
        Self::with(endpoint)
    }

    pub fn with(endpoint: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let roles = BTreeMap::new();
        Self { folder, endpoint, roles, public: free_port(), internal: free_port(), autoscaler: free_port() }
    }

    pub fn start(&self, program: &str, arguments: &[String]) -> Service {
        let mut environment = vec![
            ("AWS_ENDPOINT_URL".to_owned(), self.endpoint.clone()),
            ("AWS_REGION".to_owned(), "us-east-1".to_owned()),
        ];
        match self.roles.get(program) {
            Some(role) => environment.extend(role.iter().cloned()),
            None => environment.extend(
                [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")]
                    .map(|(name, value)| (name.to_owned(), value.to_owned())),
            ),
        }
        Service::start(self.folder.path(), &environment, program, arguments)
    }

    pub fn gateway(&self, more: &[&str]) -> Service {
        let mut arguments = words(&["--queue", QUEUE]);
        arguments.extend([
            format!("--listen=127.0.0.1:{}", self.public),
            format!("--internal-listen=127.0.0.1:{}", self.internal),
            format!("--autoscaler=http://127.0.0.1:{}", self.autoscaler),
            "--grace=10s".to_owned(),
            // All of them fit into a message, so a test that is not about it needs no store.
            "--image-bytes-max=1000000".to_owned(),
        ]);
        if !more.contains(&"--profile=cse546") {
            // One image is sent again and again, and meant to be classified each time.
            arguments.push("--cache-bytes=0".to_owned());
        }
        arguments.extend(words(more));
        self.start("gateway", &arguments)
    }

    /// What a worker is started with, without its own id.
    pub fn worker_arguments(&self, more: &[&str]) -> Vec<String> {
        let mut arguments = words(&["--queue", QUEUE, "--grace=10s"]);
        arguments.extend(words(more));
        arguments
    }

    pub fn worker(&self, id: &str, more: &[&str]) -> Service {
        let mut arguments = self.worker_arguments(more);
        arguments.extend([
            format!("--instance-id={id}"),
            format!("--autoscaler=http://127.0.0.1:{}", self.autoscaler),
        ]);
        self.start("classifier-worker", &arguments)
    }

    /// With processes of this machine as its fleet.
    pub fn local_autoscaler(&self, worker: &[&str], more: &[&str]) -> Service {
        let mut command = vec![program("classifier-worker").display().to_string()];
        command.extend(self.worker_arguments(worker));
        let mut arguments = vec![format!("--listen=127.0.0.1:{}", self.autoscaler)];
        arguments.extend(command.into_iter().map(|word| format!("--worker-command={word}")));
        arguments.extend(words(more));
        self.start("autoscaler", &arguments)
    }

    pub fn cloud_autoscaler(&self, more: &[&str]) -> Service {
        let mut arguments = vec![format!("--listen=127.0.0.1:{}", self.autoscaler)];
        arguments.extend(words(more));
        self.start("autoscaler", &arguments)
    }

    pub async fn client(&self) -> ClassifierServiceClient<Channel> {
        let url = format!("http://127.0.0.1:{}", self.public);
        let until = Instant::now() + PATIENCE;
        loop {
            match ClassifierServiceClient::connect(url.clone()).await {
                Ok(client) => return client.max_encoding_message_size(64 << 20),
                Err(error) => assert!(Instant::now() < until, "no gateway: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn status(&self) -> GetStatusResponse {
        let url = format!("http://127.0.0.1:{}", self.autoscaler);
        let until = Instant::now() + PATIENCE;
        loop {
            if let Ok(mut client) = AutoscalerServiceClient::connect(url.clone()).await
                && let Ok(status) = client.get_status(GetStatusRequest {}).await
            {
                return status.into_inner();
            }
            assert!(Instant::now() < until, "no autoscaler");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until it holds of the autoscaler's status.
    pub async fn until(&self, what: &str, holds: impl Fn(&GetStatusResponse) -> bool) {
        let until = Instant::now() + PATIENCE;
        loop {
            let status = self.status().await;
            if holds(&status) {
                return;
            }
            assert!(Instant::now() < until, "waited in vain: {what}: {status:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// All calls to the cloud so far.
    pub async fn calls(&self) -> u64 {
        self.status().await.cloud_calls.iter().map(|calls| calls.count).sum()
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Passes the checks that need no decoding; the stub model does not decode.
pub fn jpeg(bytes: usize) -> Vec<u8> {
    let mut image = vec![7; bytes];
    image[..4].copy_from_slice(b"\xff\xd8\xff\xe0");
    image
}

pub async fn classify(
    client: &mut ClassifierServiceClient<Channel>,
    name: &str,
    content: Vec<u8>,
) -> Result<ImageResult, tonic::Status> {
    let image = Image { source: Some(Source::Content(content.into())), custom_id: name.to_owned() };
    let request = ClassifyRequest { image: Some(image), ..ClassifyRequest::default() };
    client.classify(request).await.map(|response| response.into_inner().result.unwrap_or_default())
}

/// Classifies so many images, so many at a time; each has to be answered with its own name.
pub async fn classify_many(cloud: &Cloud, images: usize, at_once: usize, bytes: usize) {
    let client = cloud.client().await;
    let content = Arc::new(jpeg(bytes));
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let callers = (0..at_once).map(|_| {
        let (mut client, content, next) = (client.clone(), Arc::clone(&content), Arc::clone(&next));
        tokio::spawn(async move {
            loop {
                let i = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if i >= images {
                    return;
                }
                let name = format!("image-{i}");
                let result = classify(&mut client, &format!("{name}.jpg"), content.to_vec()).await.unwrap();
                assert_eq!(result.state(), ImageState::Succeeded);
                assert_eq!(result.classifications[0].label, name);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}
