//! `ControlService`: workers say how they are and are told to drain or stay; gateways say what
//! waits and are told what capacity there is.

use std::{sync::Arc, time::Duration};

use platform::{Error, Kind, Result};
use proto::internal::v1::{
    Drain, GatewaySessionRequest, GatewaySessionResponse, Undrain, WorkerHello, WorkerSessionRequest,
    WorkerSessionResponse, control_service_server::ControlService, worker_session_request,
    worker_session_response,
};
use tokio::{sync::watch, time::interval};
use tonic::{Request, Response, Status, Streaming};

use super::stream::{Answers, Step, answers};
use crate::{members::Wish, shared::Shared};

/// Gateways hear from us at least this often.
const CAPACITY_PERIOD: Duration = Duration::from_secs(1);

/// Names that come from other processes become keys in maps; nobody needs longer ones.
const NAME_BYTES_MAX: usize = 256;

pub struct ControlApi(pub Arc<Shared>);

#[tonic::async_trait]
impl ControlService for ControlApi {
    type WorkerSessionStream = Answers<WorkerSessionResponse>;
    type GatewaySessionStream = Answers<GatewaySessionResponse>;

    async fn worker_session(
        &self,
        request: Request<Streaming<WorkerSessionRequest>>,
    ) -> Result<Response<Self::WorkerSessionStream>, Status> {
        let session =
            WorkerSession { shared: Arc::clone(&self.0), inbound: request.into_inner(), worker: None };
        Ok(Response::new(answers(session)))
    }

    async fn gateway_session(
        &self,
        request: Request<Streaming<GatewaySessionRequest>>,
    ) -> Result<Response<Self::GatewaySessionStream>, Status> {
        let session = GatewaySession {
            session: self.0.next_session(),
            inbound: request.into_inner(),
            capacity: self.0.capacity.subscribe(),
            ticks: interval(CAPACITY_PERIOD),
            shared: Arc::clone(&self.0),
        };
        Ok(Response::new(answers(session)))
    }
}

struct WorkerSession {
    shared: Arc<Shared>,
    inbound: Streaming<WorkerSessionRequest>,
    /// Once it has said hello.
    worker: Option<Registered>,
}

struct Registered {
    instance_id: String,
    session: u64,
    wish: watch::Receiver<Wish>,
    /// What the worker was last told.
    told: Wish,
}

impl Step for WorkerSession {
    type Answer = WorkerSessionResponse;

    async fn step(&mut self) -> Result<Option<WorkerSessionResponse>> {
        loop {
            if let Some(answer) = self.worker.as_mut().and_then(Registered::tell) {
                return Ok(Some(answer));
            }
            let (stop, mut leading) = (self.shared.stop.clone(), self.shared.leading.subscribe());
            if !*leading.borrow() {
                return Err(follower());
            }
            tokio::select! {
                event = self.inbound.message() => match event? {
                    Some(event) => self.take(event)?,
                    None => return Ok(None),
                },
                changed = wish_changed(self.worker.as_mut()) => if changed.is_err() {
                    return Err(Error::new(Kind::AlreadyExists, "a newer session of this instance took over"));
                },
                () = stop.cancelled() => return Ok(None),
                () = not_leading(&mut leading) => return Err(follower()),
            }
        }
    }
}

/// Never returns before hello.
async fn wish_changed(worker: Option<&mut Registered>) -> Result<(), watch::error::RecvError> {
    match worker {
        Some(worker) => worker.wish.changed().await,
        None => std::future::pending().await,
    }
}

impl WorkerSession {
    fn take(&mut self, event: WorkerSessionRequest) -> Result<()> {
        use worker_session_request::Event;
        let Some(event) = event.event else { return Ok(()) };
        let at = self.shared.clock.now();
        let Some(worker) = &self.worker else {
            let Event::Hello(hello) = event else {
                return Err(Error::invalid("hello", "must be the first message of the session"));
            };
            let worker = self.register(hello)?;
            self.shared.wake.now(format!("worker: {} registered", worker.instance_id));
            self.worker = Some(worker);
            return Ok(());
        };
        let (instance_id, session) = (worker.instance_id.as_str(), worker.session);
        let mut members = self.shared.members();
        match event {
            Event::Hello(_) => return Err(Error::invalid("hello", "was said already in this session")),
            Event::Heartbeat(mut heartbeat) => {
                let calls = std::mem::take(&mut heartbeat.cloud_calls);
                self.shared.calls().report(&format!("worker {instance_id}"), &calls);
                members.heartbeat(instance_id, session, at, heartbeat);
            }
            Event::Drained(drained) => {
                members.drained(instance_id, session, at, &drained.decision_id);
                self.shared.wake.now(format!("worker: {instance_id} drained"));
            }
            // An offer, not a decision: it is answered by one, which may let it go.
            Event::IdleOffer(offer) => {
                let idle = platform::time::from_proto(offer.idle.as_ref()).unwrap_or_default().as_secs();
                tracing::debug!(instance_id, idle, "worker offers to go");
                self.shared.wake.now(format!("worker: {instance_id} is idle for {idle} s and offers to go"));
            }
            Event::SpotNotice(_) => {
                tracing::warn!(instance_id, "machine will be taken away");
                members.leave(instance_id, session);
                self.shared.wake.now(format!("worker: the machine of {instance_id} will be taken away"));
            }
        }
        Ok(())
    }

    fn register(&self, hello: WorkerHello) -> Result<Registered> {
        check_name("hello.instance_id", &hello.instance_id)?;
        let at = self.shared.clock.now();
        let (session, wish) = self.shared.members().connect(&hello.instance_id, at)?;
        let WorkerHello { instance_id, worker_id, model, model_version } = hello;
        tracing::info!(instance_id, worker_id, model, model_version, "worker registered");
        Ok(Registered { instance_id, session, wish, told: Wish::Work { decision_id: String::new() } })
    }
}

impl Registered {
    /// What to tell it, if that is not what it was last told.
    fn tell(&mut self) -> Option<WorkerSessionResponse> {
        let wish = self.wish.borrow_and_update().clone();
        if wish == self.told {
            return None;
        }
        let works = matches!(self.told, Wish::Work { .. });
        self.told = wish.clone();
        let event = match wish {
            Wish::Drain { decision_id } => {
                worker_session_response::Event::Drain(Drain { decision_id, deadline: None })
            }
            // It never heard of the drain that was taken back.
            Wish::Work { .. } if works => return None,
            Wish::Work { decision_id } => worker_session_response::Event::Undrain(Undrain { decision_id }),
        };
        Some(WorkerSessionResponse { event: Some(event) })
    }
}

impl Drop for WorkerSession {
    fn drop(&mut self) {
        if let Some(worker) = &self.worker {
            self.shared.members().disconnect(&worker.instance_id, worker.session);
            self.shared.wake.now(format!("worker: {} disconnected", worker.instance_id));
        }
    }
}

struct GatewaySession {
    shared: Arc<Shared>,
    session: u64,
    inbound: Streaming<GatewaySessionRequest>,
    capacity: watch::Receiver<GatewaySessionResponse>,
    ticks: tokio::time::Interval,
}

impl Step for GatewaySession {
    type Answer = GatewaySessionResponse;

    async fn step(&mut self) -> Result<Option<GatewaySessionResponse>> {
        let mut leading = self.shared.leading.subscribe();
        loop {
            if !*leading.borrow() {
                return Err(follower());
            }
            tokio::select! {
                report = self.inbound.message() => match report? {
                    Some(report) => self.take(report)?,
                    None => return Ok(None),
                },
                // The sender lives as long as what this session holds.
                Ok(()) = self.capacity.changed() => break,
                _ = self.ticks.tick() => break,
                () = self.shared.stop.cancelled() => return Ok(None),
                () = not_leading(&mut leading) => return Err(follower()),
            }
        }
        let capacity = *self.capacity.borrow_and_update();
        let others_waiting = self.shared.load().waiting_elsewhere(self.session);
        Ok(Some(GatewaySessionResponse { others_waiting, ..capacity }))
    }
}

impl GatewaySession {
    fn take(&self, mut report: GatewaySessionRequest) -> Result<()> {
        check_name("gateway_id", &report.gateway_id)?;
        let calls = std::mem::take(&mut report.cloud_calls);
        self.shared.calls().report(&format!("gateway {}", report.gateway_id), &calls);
        let at = self.shared.clock.now();
        if self.shared.load().report(self.session, at, report) {
            self.shared.wake.now("load: more images wait");
        }
        Ok(())
    }
}

impl Drop for GatewaySession {
    fn drop(&mut self) {
        self.shared.load().disconnect(self.session);
    }
}

/// Returns once another autoscaler decides.
async fn not_leading(leading: &mut watch::Receiver<bool>) {
    if leading.wait_for(|leading| !leading).await.is_err() {
        // The sender is gone: we stop.
        std::future::pending::<()>().await;
    }
}

fn follower() -> Error {
    Error::new(Kind::ServiceUnavailable, "another autoscaler leads; connect there")
}

fn check_name(field: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(Error::invalid(field, format!("must have 1 to {NAME_BYTES_MAX} bytes")));
    }
    Ok(())
}
