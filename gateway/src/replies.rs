//! `ReplyService`: workers bring answers straight to the gateway that waits.

use std::sync::Arc;

use platform::{Error, Result};
use proto::internal::v1::{
    ReplySessionRequest, ReplySessionResponse, TaskAccepted, TaskCancelled,
    reply_service_server::ReplyService, reply_session_request as request, reply_session_response as response,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming};

use crate::core::Core;

/// Confirmations on their way to one worker. They are small; a worker that does not read them
/// has its replies held up.
const OUT_MAX: usize = 256;

/// What one worker is told.
pub type Said = Result<ReplySessionResponse, Status>;

/// The worker that has started on an image, and the way to it.
#[derive(Debug, Clone)]
pub struct Holder(Arc<Session>);

#[derive(Debug)]
struct Session {
    worker_id: String,
    /// Weak, so that the session ends when its worker does, whatever waits still.
    out: mpsc::WeakSender<Said>,
}

impl Holder {
    pub fn new(worker_id: String, out: &mpsc::Sender<Said>) -> Self {
        Self(Arc::new(Session { worker_id, out: out.downgrade() }))
    }

    pub fn worker_id(&self) -> &str {
        &self.0.worker_id
    }

    /// Nobody waits for this image any more. A worker that is gone needs no word, and one that does not read what it
    /// is told does the work for nothing: its answer finds nobody.
    pub fn cancel(&self, task_id: &str) {
        let event = response::Event::Cancelled(TaskCancelled { task_id: task_id.to_owned() });
        if let Some(out) = self.0.out.upgrade() {
            let _ = out.try_send(Ok(ReplySessionResponse { event: Some(event) }));
        }
    }
}

pub struct Replies {
    core: Arc<Core>,
    sessions: TaskTracker,
    stop: CancellationToken,
}

impl Replies {
    /// Sessions run under `sessions` and end at `stop`.
    pub fn new(core: Arc<Core>, sessions: TaskTracker, stop: CancellationToken) -> Self {
        Self { core, sessions, stop }
    }
}

#[tonic::async_trait]
impl ReplyService for Replies {
    type ReplySessionStream = ReceiverStream<Said>;

    async fn reply_session(
        &self,
        request: Request<Streaming<ReplySessionRequest>>,
    ) -> Result<Response<Self::ReplySessionStream>, Status> {
        let (out, answers) = mpsc::channel(OUT_MAX);
        let (core, stop) = (Arc::clone(&self.core), self.stop.clone());
        self.sessions.spawn(async move {
            let ended = tokio::select! {
                ended = exchange(&core, request.into_inner(), &out) => ended,
                () = stop.cancelled() => Ok(()),
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "reply session");
                let _ = out.try_send(Err(error.into()));
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

async fn exchange(
    core: &Core,
    mut requests: Streaming<ReplySessionRequest>,
    out: &mpsc::Sender<Said>,
) -> Result<()> {
    let mut worker = Holder::new(String::new(), out);
    while let Some(message) = requests.message().await? {
        let answer = match message.event {
            Some(request::Event::Hello(hello)) => {
                core.models.add(&hello.model, &hello.model_version);
                tracing::debug!(
                    worker_id = hello.worker_id,
                    instance_id = hello.instance_id,
                    "worker connected"
                );
                worker = Holder::new(hello.worker_id, out);
                None
            }
            Some(request::Event::Started(started)) => {
                let waited_for = core.pending.started(&started.task_id, &worker);
                (!waited_for)
                    .then_some(response::Event::Cancelled(TaskCancelled { task_id: started.task_id }))
            }
            Some(request::Event::Result(reply)) => {
                let task_id = reply.task_id;
                let result = reply.result.ok_or_else(|| Error::invalid("result.result", "must be set"))?;
                if !core.pending.finish(&task_id, result) {
                    tracing::debug!(task.id = task_id, "an answer nobody waits for");
                }
                // Also when nobody waits: the worker is done with it.
                Some(response::Event::Accepted(TaskAccepted { task_id }))
            }
            None => return Err(Error::invalid("event", "must be set")),
        };
        if let Some(event) = answer {
            let sent = out.send(Ok(ReplySessionResponse { event: Some(event) })).await;
            sent.map_err(|_| Error::new(platform::Kind::ServiceUnavailable, "the worker is gone"))?;
        }
    }
    Ok(())
}
