//! What it costs to have 10,000 callers wait, each with an image of 60 KB: memory of the gateway, and
//! how soon somebody who only asks how it is gets an answer. Run it with
//! `cargo run --release -p gateway --no-default-features --example waiting [CALLERS]`.
//!
//! The gateway is a process of its own (this program again), so that its memory is its own. No worker
//! is there: everybody waits.
#![allow(clippy::unwrap_used)]

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gateway::{Gateway, Options};
use platform::shutdown::Shutdown;
use proto::v1::{
    ClassifyOptions, ClassifyRequest, Image, classifier_service_client::ClassifierServiceClient,
    image::Source,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const IMAGE_BYTES: usize = 60_000;
/// Under what one connection may have open (serve/mod.rs).
const CALLERS_PER_CONNECTION: usize = 1000;
/// Senders at once: more would only measure the client.
const SENDERS: usize = 64;
const LOOKS: usize = 1000;

/// How callers come.
#[derive(Debug, Clone, Copy)]
enum Way {
    GrpcFewConnections,
    GrpcConnectionEach,
    UploadConnectionEach,
}

fn main() {
    platform::serve::allow_many_connections();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if env::args().nth(1).as_deref() == Some("serve") {
        return runtime.block_on(serve());
    }
    let callers = env::args().nth(1).map_or(10_000, |count| count.parse().expect("a number of callers"));
    println!("{callers} callers wait, {IMAGE_BYTES} bytes each\n");
    for way in [Way::GrpcFewConnections, Way::GrpcConnectionEach, Way::UploadConnectionEach] {
        runtime.block_on(measure(way, callers));
    }
}

/// Until standard input closes. For each line there it says how many wait.
async fn serve() {
    let flags = [
        "--listen",
        "127.0.0.1:0",
        "--internal-listen",
        "127.0.0.1:0",
        "--drain-delay",
        "0s",
        "--grace",
        "1s",
    ];
    let options = Options::from_arguments(flags).unwrap();
    let gateway = Gateway::bind(options).await.unwrap();
    println!("{}", gateway.public_address());
    std::io::stdout().flush().unwrap();
    let shutdown = Shutdown::new();
    let (stop, waiting) = (shutdown.stop.clone(), gateway.waiting());
    std::thread::spawn(move || {
        for _ in std::io::stdin().lines() {
            println!("{}", waiting());
        }
        stop.cancel();
    });
    shutdown.run(Duration::from_secs(1), gateway.run(&shutdown)).await.unwrap();
}

struct Server {
    process: Child,
    /// Closed, it ends.
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        let mut process = command.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut line, questions) = (String::new(), process.stdin.take().unwrap());
        let mut answers = BufReader::new(process.stdout.take().unwrap());
        answers.read_line(&mut line).unwrap();
        Self { process, questions, answers, address: line.trim().parse().unwrap() }
    }

    /// In MiB: resident now, and the most it ever was.
    fn resident(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
        };
        (of("VmRSS:"), of("VmHWM:"))
    }

    fn waiting(&mut self) -> usize {
        let mut line = String::new();
        self.questions.write_all(b"\n").unwrap();
        self.answers.read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }

    async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn measure(way: Way, callers: usize) {
    let mut server = Server::start();
    let (idle, _) = server.resident();
    let mut waiting = JoinSet::new();
    let since = Instant::now();
    let looking = looks(&server, LOOKS);
    let filling = fill(&server, way, callers, &mut waiting);
    let (while_filling, ()) = tokio::join!(looking, filling);
    until_all_wait(&mut server, callers).await;
    let took = since.elapsed();
    let (resident, peak) = server.resident();
    let while_waiting = looks(&server, LOOKS).await;
    let each = (resident - idle) * 1024 * 1024 / callers as u64;
    println!(
        "{way:?}: {idle} MiB idle, {resident} MiB with all waiting (peak {peak}), {each} bytes an image; all in after {took:.1?}"
    );
    println!("  health check while they come: {while_filling}");
    println!("  health check while they wait: {while_waiting}\n");
    waiting.abort_all();
}

/// Each is another: equal ones would share one place.
fn picture(number: usize) -> Bytes {
    let mut bytes = vec![7; IMAGE_BYTES];
    bytes[..4].copy_from_slice(b"\xff\xd8\xff\xe0");
    bytes[4..12].copy_from_slice(&number.to_le_bytes());
    bytes.into()
}

/// Sends the images, some at a time; each caller then waits in `waiting`.
async fn fill(server: &Server, way: Way, callers: usize, waiting: &mut JoinSet<()>) {
    let permits = Arc::new(Semaphore::new(SENDERS));
    let mut channel = server.channel().await;
    for i in 0..callers {
        let permit = Arc::clone(&permits).acquire_owned().await.unwrap();
        let address = server.address;
        let is_grpc = !matches!(way, Way::UploadConnectionEach);
        let per_connection = match way {
            Way::GrpcFewConnections => CALLERS_PER_CONNECTION,
            Way::GrpcConnectionEach | Way::UploadConnectionEach => 1,
        };
        if is_grpc && i % per_connection == 0 {
            channel = server.channel().await;
        }
        let channel = channel.clone();
        waiting.spawn(async move {
            if is_grpc {
                call(channel, picture(i), permit).await;
            } else {
                upload(address, picture(i), permit).await;
            }
        });
    }
    // All are sent when all permits are back.
    let _ = permits.acquire_many(u32::try_from(SENDERS).unwrap()).await.unwrap();
}

/// A call that waits. It is taken to be sent when it has not failed after a moment.
async fn call(channel: Channel, picture: Bytes, permit: OwnedSemaphorePermit) {
    const MOMENT: Duration = Duration::from_millis(20);
    let image = Image { source: Some(Source::Content(picture)), custom_id: String::new() };
    let options = ClassifyOptions { no_cache: true, ..ClassifyOptions::default() };
    let request =
        ClassifyRequest { image: Some(image), options: Some(options), ..ClassifyRequest::default() };
    let mut client = ClassifierServiceClient::new(channel);
    let answer = client.classify(request);
    tokio::pin!(answer);
    let early = tokio::time::timeout(MOMENT, &mut answer).await;
    assert!(early.is_err(), "{:?}", early.unwrap().unwrap_err());
    drop(permit);
    let _ = answer.await;
}

/// An old client: a connection of its own.
async fn upload(address: SocketAddr, picture: Bytes, permit: OwnedSemaphorePermit) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
        picture.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&picture).await.unwrap();
    drop((picture, permit));
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
}

/// Until the gateway itself says that all wait.
async fn until_all_wait(server: &mut Server, callers: usize) {
    while server.waiting() < callers {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How long a health check takes, one after the other.
async fn looks(server: &Server, count: usize) -> String {
    let mut health = HealthClient::new(server.channel().await);
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let request = HealthCheckRequest { service: "dunlin.v1.ClassifierService".to_owned() };
        let since = Instant::now();
        health.check(request).await.unwrap();
        times.push(since.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    times.sort_unstable();
    let at = |hundredths: usize| times[(times.len() - 1) * hundredths / 100];
    format!("p50 {:.1?}, p99 {:.1?}, longest {:.1?}", at(50), at(99), at(100))
}
