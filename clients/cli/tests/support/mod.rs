//! Runs the real program and serves it scripted answers, for what a healthy server never does:
//! refuse, break off, disappear.

use std::{
    io::Write as _,
    net::SocketAddr,
    pin::Pin,
    process::{Command, Output, Stdio},
};

use proto::v1::{
    BatchClassifyRequest, BatchClassifyResponse, BidiClassifyRequest, BidiClassifyResponse, ClassifyRequest,
    ClassifyResponse, ClassifyStreamRequest, ClassifyStreamResponse,
    classifier_service_server::{ClassifierService, ClassifierServiceServer},
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming, transport::server::TcpIncoming};

/// The program with a clean environment.
pub fn dunlin(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_string_lossy().starts_with("DUNLIN_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn run(arguments: &[&str]) -> Ended {
    Ended::from(dunlin(arguments).output().unwrap())
}

/// The same beside a server of this test.
pub async fn run_beside(arguments: Vec<String>, input: Option<Vec<u8>>) -> Ended {
    let running = move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = dunlin(&arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let Some(input) = input else { return command.output().unwrap() };
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&input).unwrap();
        child.wait_with_output().unwrap()
    };
    Ended::from(tokio::task::spawn_blocking(running).await.unwrap())
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ended {
    /// Each line of the output as JSON.
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// An address nobody listens on.
pub fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    format!("http://{address}")
}

/// What a scripted gateway does with one request: the events, then the end or an error.
pub type Script = fn(&ClassifyStreamRequest) -> Result<Vec<Result<ClassifyStreamResponse, Status>>, Status>;

/// A gateway that follows a script and tells what it was sent.
pub struct ScriptedGateway {
    pub address: SocketAddr,
    pub requests: mpsc::Receiver<ClassifyStreamRequest>,
    server: JoinHandle<()>,
}

impl ScriptedGateway {
    pub async fn start(script: Script) -> Self {
        const REQUESTS_MAX: usize = 1000;
        const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sent, requests) = mpsc::channel(REQUESTS_MAX);
        let service = ClassifierServiceServer::new(Scripted { script, sent })
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let serving = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpIncoming::from(listener));
        let server = tokio::spawn(async move { serving.await.unwrap() });
        Self { address, requests, server }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was sent, in the order of arrival.
    pub fn received(&mut self) -> Vec<ClassifyStreamRequest> {
        std::iter::from_fn(|| self.requests.try_recv().ok()).collect()
    }
}

impl Drop for ScriptedGateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Scripted {
    script: Script,
    sent: mpsc::Sender<ClassifyStreamRequest>,
}

type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ClassifierService for Scripted {
    type ClassifyStreamStream = Events<ClassifyStreamResponse>;
    type BidiClassifyStream = Events<BidiClassifyResponse>;

    async fn classify_stream(
        &self,
        request: Request<ClassifyStreamRequest>,
    ) -> Result<Response<Self::ClassifyStreamStream>, Status> {
        assert!(request.metadata().contains_key("grpc-timeout"), "the deadline goes along");
        let request = request.into_inner();
        let events = (self.script)(&request);
        self.sent.send(request).await.unwrap();
        let events = events?;
        let (sender, receiver) = mpsc::channel(events.len().max(1));
        for event in events {
            sender.send(event).await.unwrap();
        }
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn classify(&self, _: Request<ClassifyRequest>) -> Result<Response<ClassifyResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn batch_classify(
        &self,
        _: Request<BatchClassifyRequest>,
    ) -> Result<Response<BatchClassifyResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn bidi_classify(
        &self,
        _: Request<Streaming<BidiClassifyRequest>>,
    ) -> Result<Response<Self::BidiClassifyStream>, Status> {
        Err(Status::unimplemented("not in the script"))
    }
}
