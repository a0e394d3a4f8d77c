//! Local programs that stand in for AWS in tests: moto (S3, SQS, EC2, IAM) and fauxqs (a fast SQS).

use std::{net::TcpListener, path::PathBuf, process::Stdio, time::Duration};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::{
    config::{Credentials, SharedCredentialsProvider},
    types::QueueAttributeName,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::{Child, Command},
    time::Instant,
};

/// Both start in half a second on a quiet machine; a busy one gets more.
const START_WAIT: Duration = Duration::from_secs(60);

/// Runs the program that follows until standard input closes. So it ends however the test ends, also when the
/// test is killed, which nothing inside the test could see to.
const WITH_US: &str = r#""$@" & server=$!; read -r _; kill "$server""#;

/// moto_server on a free port, stopped when this is dropped.
pub struct Moto(Running);

impl Moto {
    /// `None`, and a line that says so, when `DUNLIN_TEST_MOTO` does not name the program.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> Option<Self> {
        let program = program("DUNLIN_TEST_MOTO")?;
        let port = free_port();
        let mut command = with_us(&program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        Some(Self(Running::start(command, port, "/moto-api/").await))
    }

    pub fn endpoint(&self) -> String {
        self.0.endpoint()
    }
}

/// fauxqs on a free port, stopped when this is dropped.
pub struct Fauxqs(Running);

impl Fauxqs {
    /// `None`, and a line that says so, when `DUNLIN_TEST_FAUXQS` does not name the program.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> Option<Self> {
        let program = program("DUNLIN_TEST_FAUXQS")?;
        let port = free_port();
        let mut command = with_us(&program);
        command.env("FAUXQS_PORT", port.to_string()).env("FAUXQS_LOGGER", "false");
        Some(Self(Running::start(command, port, "/health").await))
    }

    pub fn endpoint(&self) -> String {
        self.0.endpoint()
    }
}

/// The configuration of a client for a stand-in: any key, one region. Its calls are counted.
pub fn config(endpoint: &str) -> SdkConfig {
    super::calls::count();
    let credentials = Credentials::new("test", "test", None, None, "stand-in");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(super::http_client())
        .retry_config(super::retries())
        .timeout_config(super::timeouts())
        .build()
}

/// The queues NAME, NAME-batch, and NAME-dead for the dead letters of both. Gives the URL of the first.
///
/// # Panics
/// When they are not made.
#[allow(clippy::unwrap_used)]
pub async fn make_queues(config: &SdkConfig, name: &str) -> String {
    let client = aws_sdk_sqs::Client::new(config);
    let create = |name: String| client.create_queue().queue_name(name);
    let dead = create(format!("{name}-dead")).send().await.unwrap().queue_url.unwrap();
    let arn = QueueAttributeName::QueueArn;
    let asked = client.get_queue_attributes().queue_url(dead).attribute_names(arn.clone());
    let attributes = asked.send().await.unwrap().attributes.unwrap();
    let dead = attributes.get(&arn).unwrap();
    let redrive = format!(r#"{{"deadLetterTargetArn":"{dead}","maxReceiveCount":"3"}}"#);
    for name in [name.to_owned(), format!("{name}-batch")] {
        let queue = create(name)
            .attributes(QueueAttributeName::RedrivePolicy, &redrive)
            .attributes(QueueAttributeName::MaximumMessageSize, "1048576");
        queue.send().await.unwrap();
    }
    format!("sqs://us-east-1/{name}")
}

struct Running {
    /// Its standard input is what keeps the server running.
    _shell: Child,
    port: u16,
}

impl Running {
    async fn start(mut command: Command, port: u16, health: &str) -> Self {
        let shell = command.spawn().expect("a shell");
        let until = Instant::now() + START_WAIT;
        while !answers(port, health).await {
            assert!(Instant::now() < until, "{command:?} does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Self { _shell: shell, port }
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn program(variable: &str) -> Option<PathBuf> {
    let program = std::env::var_os(variable).map(PathBuf::from);
    if program.is_none() {
        eprintln!("skipped: {variable} does not name the program; ./check sets it");
    }
    program
}

fn with_us(program: &std::path::Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", WITH_US, "stand-in"]).arg(program);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

async fn answers(port: u16, path: &str) -> bool {
    let answer = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut status = [0; 12];
        stream.read_exact(&mut status).await?;
        std::io::Result::Ok(status.ends_with(b" 200"))
    };
    answer.await.unwrap_or(false)
}
