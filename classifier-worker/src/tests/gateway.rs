//! The gateway's side of the replies: a real server that can be told to cancel, and restarted.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use proto::{
    internal::v1::{
        ReplySessionRequest, ReplySessionResponse, TaskAccepted, TaskCancelled,
        reply_service_server::{ReplyService, ReplyServiceServer},
        reply_session_request as request, reply_session_response as response,
    },
    v1::ImageResult,
};
use tokio::{net::TcpListener, runtime::Runtime, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::server::TcpIncoming};

pub(super) struct Gateway {
    address: SocketAddr,
    heard: Arc<Heard>,
    /// Of its own, so that its connections end with it.
    server: Option<Runtime>,
}

#[derive(Default)]
struct Heard {
    started: Mutex<Vec<String>>,
    results: Mutex<Vec<(String, ImageResult)>>,
    /// Answered with `TaskCancelled` when they are begun.
    withdrawn: Mutex<HashSet<String>>,
}

impl Gateway {
    pub(super) async fn start() -> Self {
        let mut gateway =
            Self { address: SocketAddr::from(([127, 0, 0, 1], 0)), heard: Arc::default(), server: None };
        gateway.restart().await;
        gateway
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn withdraw(&self, task_id: &str) {
        self.heard.withdrawn.lock().unwrap().insert(task_id.to_owned());
    }

    pub(super) fn started(&self) -> Vec<String> {
        self.heard.started.lock().unwrap().clone()
    }

    pub(super) fn results(&self) -> Vec<(String, ImageResult)> {
        self.heard.results.lock().unwrap().clone()
    }

    pub(super) fn result(&self, task_id: &str) -> Option<ImageResult> {
        self.results().into_iter().find(|(id, _)| id == task_id).map(|(_, result)| result)
    }

    /// Ends without a word, connections and all.
    pub(super) fn crash(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown_background();
        }
    }

    /// On the same port again.
    pub(super) async fn restart(&mut self) {
        self.crash();
        // The listener closes a moment after its runtime was told to end.
        let listener = loop {
            match std::net::TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        self.address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let service = ReplyServiceServer::new(Replies(Arc::clone(&self.heard)));
        let server = super::runtime();
        server.spawn(async move {
            let incoming = TcpIncoming::from(TcpListener::from_std(listener).unwrap());
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        self.server = Some(server);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.crash();
    }
}

struct Replies(Arc<Heard>);

#[tonic::async_trait]
impl ReplyService for Replies {
    type ReplySessionStream = ReceiverStream<Result<ReplySessionResponse, Status>>;

    async fn reply_session(
        &self,
        request: Request<Streaming<ReplySessionRequest>>,
    ) -> Result<Response<Self::ReplySessionStream>, Status> {
        let heard = Arc::clone(&self.0);
        let (out, answers) = mpsc::channel(16);
        let mut requests = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(message)) = requests.message().await {
                let answer = match message.event.unwrap() {
                    request::Event::Hello(hello) => {
                        assert_eq!(hello.worker_id, "worker-1");
                        None
                    }
                    request::Event::Started(started) => {
                        heard.started.lock().unwrap().push(started.task_id.clone());
                        let is_withdrawn = heard.withdrawn.lock().unwrap().contains(&started.task_id);
                        is_withdrawn
                            .then_some(response::Event::Cancelled(TaskCancelled { task_id: started.task_id }))
                    }
                    request::Event::Result(reply) => {
                        let task_id = reply.task_id;
                        heard.results.lock().unwrap().push((task_id.clone(), reply.result.unwrap()));
                        Some(response::Event::Accepted(TaskAccepted { task_id }))
                    }
                };
                if let Some(event) = answer
                    && out.send(Ok(ReplySessionResponse { event: Some(event) })).await.is_err()
                {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}
