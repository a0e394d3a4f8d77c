//! The autoscaler's side of the control session: a real server that says what the test says.

use std::sync::{Arc, Mutex};

use proto::internal::v1::{
    GatewaySessionRequest, GatewaySessionResponse, WorkerSessionRequest, WorkerSessionResponse,
    control_service_server::{ControlService, ControlServiceServer},
    worker_session_request, worker_session_response,
};
use tokio::{net::TcpListener, runtime::Runtime, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::server::TcpIncoming};

type Say = mpsc::Sender<Result<WorkerSessionResponse, Status>>;

pub(super) struct Autoscaler {
    pub(super) url: String,
    pub(super) heard: mpsc::Receiver<worker_session_request::Event>,
    session: Arc<Mutex<Option<Say>>>,
    /// Of its own, so that its connections end with it.
    server: Option<Runtime>,
}

impl Autoscaler {
    pub(super) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (events, heard) = mpsc::channel(1024);
        let session = Arc::default();
        let service = ControlServiceServer::new(Control { events, session: Arc::clone(&session) });
        let server = super::runtime();
        server.spawn(async move {
            let incoming = TcpIncoming::from(TcpListener::from_std(listener).unwrap());
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        Self { url, heard, session, server: Some(server) }
    }

    pub(super) async fn say(&self, event: worker_session_response::Event) {
        let session = self.session.lock().unwrap().clone().expect("a worker is connected");
        session.send(Ok(WorkerSessionResponse { event: Some(event) })).await.unwrap();
    }

    /// The next event for which `pick` has something.
    pub(super) async fn hear<T>(&mut self, pick: impl Fn(worker_session_request::Event) -> Option<T>) -> T {
        let hearing = async {
            loop {
                let event = self.heard.recv().await.expect("the server runs");
                if let Some(picked) = pick(event) {
                    return picked;
                }
            }
        };
        tokio::time::timeout(super::PATIENCE, hearing).await.expect("heard in time")
    }

    /// Ends without a word.
    pub(super) fn crash(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown_background();
        }
    }
}

impl Drop for Autoscaler {
    fn drop(&mut self) {
        self.crash();
    }
}

struct Control {
    events: mpsc::Sender<worker_session_request::Event>,
    session: Arc<Mutex<Option<Say>>>,
}

#[tonic::async_trait]
impl ControlService for Control {
    type WorkerSessionStream = ReceiverStream<Result<WorkerSessionResponse, Status>>;
    type GatewaySessionStream = ReceiverStream<Result<GatewaySessionResponse, Status>>;

    async fn worker_session(
        &self,
        request: Request<Streaming<WorkerSessionRequest>>,
    ) -> Result<Response<Self::WorkerSessionStream>, Status> {
        let (say, answers) = mpsc::channel(16);
        *self.session.lock().unwrap() = Some(say);
        let events = self.events.clone();
        let mut requests = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(message)) = requests.message().await {
                if events.send(message.event.unwrap()).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn gateway_session(
        &self,
        _request: Request<Streaming<GatewaySessionRequest>>,
    ) -> Result<Response<Self::GatewaySessionStream>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }
}
