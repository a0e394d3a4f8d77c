//! The autoscaler as a gateway sees it: it says what capacity there is, and hears the reports.

use std::net::SocketAddr;

use proto::internal::v1::{
    GatewaySessionRequest, GatewaySessionResponse, WorkerSessionRequest, WorkerSessionResponse,
    control_service_server::{ControlService, ControlServiceServer},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_stream::wrappers::{ReceiverStream, WatchStream};
use tonic::{Request, Response, Status, Streaming, transport::server::TcpIncoming};

pub struct Autoscaler {
    address: SocketAddr,
    capacity: watch::Sender<GatewaySessionResponse>,
    pub reports: mpsc::Receiver<GatewaySessionRequest>,
    server: JoinHandle<()>,
}

impl Autoscaler {
    pub async fn start(capacity: GatewaySessionResponse) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (capacity, said) = watch::channel(capacity);
        let (heard, reports) = mpsc::channel(1024);
        let serving = tonic::transport::Server::builder()
            .add_service(ControlServiceServer::new(Control { said, heard }))
            .serve_with_incoming(TcpIncoming::from(listener));
        let server = tokio::spawn(async move { serving.await.unwrap() });
        Self { address, capacity, reports, server }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn says(&self, capacity: GatewaySessionResponse) {
        self.capacity.send_replace(capacity);
    }
}

impl Drop for Autoscaler {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Control {
    said: watch::Receiver<GatewaySessionResponse>,
    heard: mpsc::Sender<GatewaySessionRequest>,
}

type Answers<T> = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ControlService for Control {
    type WorkerSessionStream = ReceiverStream<Result<WorkerSessionResponse, Status>>;
    type GatewaySessionStream = Answers<GatewaySessionResponse>;

    async fn worker_session(
        &self,
        _: Request<Streaming<WorkerSessionRequest>>,
    ) -> Result<Response<Self::WorkerSessionStream>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn gateway_session(
        &self,
        request: Request<Streaming<GatewaySessionRequest>>,
    ) -> Result<Response<Self::GatewaySessionStream>, Status> {
        let (heard, mut reports) = (self.heard.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Ok(Some(report)) = reports.message().await {
                // A test that does not listen is not waited for.
                let _ = heard.try_send(report);
            }
        });
        let said = tokio_stream::StreamExt::map(WatchStream::new(self.said.clone()), Ok);
        Ok(Response::new(Box::pin(said)))
    }
}
