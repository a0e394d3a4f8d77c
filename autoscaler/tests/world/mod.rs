//! The real service on a port of its own, a gateway and workers that speak its protocol, and
//! processes that do nothing but live until their standard input closes.
#![allow(clippy::unwrap_used, dead_code)]

use std::{
    ffi::OsString,
    sync::{Arc, Mutex},
    time::Duration,
};

use autoscaler::{Autoscaler, Options};
use platform::shutdown::Shutdown;
use proto::{
    internal::v1::{
        Drained, GatewaySessionRequest, GatewaySessionResponse, LatencyCount, WorkerHeartbeat, WorkerHello,
        WorkerSessionRequest, WorkerSessionResponse, control_service_client::ControlServiceClient,
        worker_session_request, worker_session_response,
    },
    v1::{self, autoscaler_service_client::AutoscalerServiceClient},
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

pub mod cloud;
pub mod kubernetes;

/// Far over what anything here takes, for a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct World {
    pub api: AutoscalerServiceClient<Channel>,
    pub control: ControlServiceClient<Channel>,
    pub channel: Channel,
    pub shutdown: Shutdown,
    pub running: JoinHandle<platform::Result<()>>,
}

/// A worker process that lives until it is asked to go.
pub const LIVES: &str = "exec cat";

impl World {
    /// `script` is what the worker processes run; its `$3` is the instance's id.
    pub async fn start(script: &str, arguments: &[&str]) -> Self {
        let mut all: Vec<OsString> = Vec::new();
        for word in ["sh", "-c", script] {
            all.extend(["--worker-command".into(), word.into()]);
        }
        all.extend(["--listen", "127.0.0.1:0", "--tick", "100ms", "--grace", "1s"].map(OsString::from));
        all.extend(arguments.iter().map(OsString::from));
        Self::start_with(Options::from_arguments(all).unwrap()).await
    }

    pub async fn start_with(options: Options) -> Self {
        Self::run(Autoscaler::bind(options).await.unwrap())
    }

    pub fn run(autoscaler: Autoscaler) -> Self {
        let url = format!("http://{}", autoscaler.address());
        let channel = Channel::from_shared(url).unwrap().connect_lazy();
        let shutdown = Shutdown::new();
        let stop = shutdown.clone();
        let running = tokio::spawn(async move { autoscaler.run(&stop).await });
        Self {
            api: AutoscalerServiceClient::new(channel.clone()),
            control: ControlServiceClient::new(channel.clone()),
            channel,
            shutdown,
            running,
        }
    }

    pub async fn stop(self) {
        self.shutdown.stop.cancel();
        timeout(PATIENCE, self.running).await.unwrap().unwrap().unwrap();
    }

    /// Decisions that acted, oldest first.
    pub async fn changes(&self) -> Vec<v1::Decision> {
        let request = v1::ListDecisionsRequest { changed_only: true, ..Default::default() };
        let mut decisions = self.api.clone().list_decisions(request).await.unwrap().into_inner().decisions;
        decisions.reverse();
        decisions
    }

    /// Decisions that were made because of a command, oldest first.
    pub async fn audit(&self) -> Vec<v1::Decision> {
        let request = v1::ListDecisionsRequest::default();
        let mut decisions = self.api.clone().list_decisions(request).await.unwrap().into_inner().decisions;
        decisions.retain(|decision| decision.trigger.contains("command: "));
        decisions.reverse();
        decisions
    }

    /// Actions of one kind so far, with their instances.
    pub async fn actions(&self, kind: v1::ActionKind) -> Vec<v1::Action> {
        let changes = self.changes().await;
        let actions = changes.into_iter().flat_map(|decision| decision.actions);
        actions.filter(|action| action.kind() == kind).collect()
    }

    pub async fn status(&self) -> v1::GetStatusResponse {
        self.api.clone().get_status(v1::GetStatusRequest {}).await.unwrap().into_inner()
    }

    pub async fn instances(&self) -> Vec<v1::Instance> {
        let request = v1::ListInstancesRequest {};
        self.api.clone().list_instances(request).await.unwrap().into_inner().instances
    }

    /// How many instances are in `state`.
    pub async fn count(&self, state: v1::InstanceState) -> usize {
        self.instances().await.iter().filter(|instance| instance.state() == state).count()
    }

    /// Waits until `count` instances are in `state`.
    pub async fn until_count(&self, state: v1::InstanceState, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.count(state).await != count {
            assert!(Instant::now() < deadline, "never {count} {state:?}: {:?}", self.instances().await);
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for `count` actions of a kind that have ended, and gives them.
    pub async fn until_actions(&self, kind: v1::ActionKind, count: usize) -> Vec<v1::Action> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let actions = self.actions(kind).await;
            let ended = actions.iter().filter(|one| one.outcome() != v1::ActionOutcome::Pending).count();
            if ended >= count {
                return actions;
            }
            assert!(Instant::now() < deadline, "never {count} {kind:?}: {actions:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Reports what it is told to, over and over, as a gateway does.
pub struct FakeGateway {
    report: Arc<Mutex<GatewaySessionRequest>>,
    reporting: JoinHandle<()>,
    pub answers: Streaming<GatewaySessionResponse>,
}

impl FakeGateway {
    pub async fn connect(world: &World) -> Self {
        let report = GatewaySessionRequest { gateway_id: "gateway".to_owned(), ..Default::default() };
        let report = Arc::new(Mutex::new(report));
        let (sender, receiver) = mpsc::channel(1);
        let said = Arc::clone(&report);
        let reporting = tokio::spawn(async move {
            loop {
                let now = said.lock().unwrap().clone();
                if sender.send(now).await.is_err() {
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
        });
        let mut control = world.control.clone();
        let answers = control.gateway_session(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        Self { report, reporting, answers }
    }

    /// Whether an autoscaler takes reports.
    pub async fn is_welcome(world: &World) -> bool {
        let report = GatewaySessionRequest { gateway_id: "gateway".to_owned(), ..Default::default() };
        let mut control = world.control.clone();
        match control.gateway_session(tokio_stream::iter([report])).await {
            Ok(answers) => answers.into_inner().message().await.is_ok(),
            Err(_) => false,
        }
    }

    pub fn waiting(&self, waiting: u64) {
        self.report.lock().unwrap().waiting = waiting;
    }

    /// Images so far, all of them answered.
    pub fn arrived(&self, total: u64) {
        let mut report = self.report.lock().unwrap();
        (report.enqueued_total, report.completed_total) = (total, total);
    }

    /// Answers so far, by how long they took.
    pub fn answered(&self, latencies: Vec<LatencyCount>) {
        self.report.lock().unwrap().latencies = latencies;
    }

    /// So many images were answered so far, and so many of them late.
    pub fn answered_late(&self, completed: u64, late: u64, latencies: Vec<LatencyCount>) {
        let mut report = self.report.lock().unwrap();
        (report.completed_total, report.late_total, report.latencies) = (completed, late, latencies);
    }

    pub fn calls(&self, calls: Vec<v1::CloudCalls>) {
        self.report.lock().unwrap().cloud_calls = calls;
    }

    pub async fn next(&mut self) -> GatewaySessionResponse {
        timeout(PATIENCE, self.answers.message()).await.unwrap().unwrap().unwrap()
    }
}

impl Drop for FakeGateway {
    fn drop(&mut self) {
        self.reporting.abort();
    }
}

/// The session of a worker, without the worker.
pub struct FakeWorker {
    events: mpsc::Sender<WorkerSessionRequest>,
    answers: Streaming<WorkerSessionResponse>,
}

impl FakeWorker {
    pub async fn connect(world: &World, instance_id: &str) -> Self {
        Self::open(world.control.clone(), instance_id).await
    }

    pub async fn open(mut control: ControlServiceClient<Channel>, instance_id: &str) -> Self {
        let (events, receiver) = mpsc::channel(8);
        let answers = control.worker_session(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        let worker = Self { events, answers };
        let hello = WorkerHello { instance_id: instance_id.to_owned(), ..Default::default() };
        worker.say(worker_session_request::Event::Hello(hello)).await;
        worker
    }

    pub async fn say(&self, event: worker_session_request::Event) {
        self.events.send(WorkerSessionRequest { event: Some(event) }).await.unwrap();
    }

    pub async fn heartbeat(&self, busy_slots: u32) {
        let heartbeat = WorkerHeartbeat {
            slots: 2,
            busy_slots,
            service_mean: Some(platform::time::to_proto(Duration::from_millis(100))),
            ..Default::default()
        };
        self.say(worker_session_request::Event::Heartbeat(heartbeat)).await;
    }

    pub async fn drained(&self, decision_id: &str) {
        let drained = Drained { decision_id: decision_id.to_owned() };
        self.say(worker_session_request::Event::Drained(drained)).await;
    }

    pub async fn next(&mut self) -> worker_session_response::Event {
        timeout(PATIENCE, self.answers.message()).await.unwrap().unwrap().unwrap().event.unwrap()
    }

    /// Waits for a drain, and gives its decision.
    pub async fn until_drain(&mut self) -> String {
        let event = self.next().await;
        let worker_session_response::Event::Drain(drain) = event else { panic!("not a drain: {event:?}") };
        drain.decision_id
    }

    pub async fn until_undrain(&mut self) -> String {
        let event = self.next().await;
        let worker_session_response::Event::Undrain(undrain) = event else {
            panic!("not an un-drain: {event:?}")
        };
        undrain.decision_id
    }

    /// How the session ends.
    pub async fn end(&mut self) -> Option<tonic::Status> {
        timeout(PATIENCE, self.answers.message()).await.unwrap().err()
    }
}
