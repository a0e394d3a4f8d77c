//! The service on a model of the cloud, with a worker that comes up on each instance that runs: all in simulated time.
#![allow(clippy::unwrap_used, dead_code)]

use std::{
    collections::BTreeSet,
    ffi::OsString,
    sync::{Arc, Mutex},
    time::Duration,
};

use autoscaler::{
    Autoscaler, Options,
    fleet::{
        cloud::CloudState,
        simcloud::{SimCloud, SimOptions},
    },
};
use proto::{
    internal::v1::{
        Drained, SpotNotice, WorkerHeartbeat, WorkerHello, WorkerSessionRequest,
        control_service_client::ControlServiceClient, worker_session_request::Event, worker_session_response,
    },
    v1,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::World;

/// Simulated time, and far over what anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(3600);

pub fn cloud() -> Arc<SimCloud> {
    cloud_with(SimOptions::default())
}

pub fn cloud_with(options: SimOptions) -> Arc<SimCloud> {
    Arc::new(SimCloud::new("dunlin", options))
}

pub const STEP: [&str; 5] = ["--policy", "step", "--max-instances", "10", "--fleet=simcloud:"];

impl World {
    pub async fn start_on(cloud: &Arc<SimCloud>, arguments: &[&str]) -> Self {
        let mut all: Vec<OsString> = ["--listen", "127.0.0.1:0", "--grace", "1s"].map(OsString::from).into();
        all.extend(arguments.iter().map(OsString::from));
        let options = Options::from_arguments(all).unwrap();
        Self::run(Autoscaler::bind_on(options, Arc::clone(cloud)).await.unwrap())
    }

    /// Ends it as a kill does: nothing is finished, nothing given back.
    pub async fn kill(self) {
        self.running.abort();
        let _ = self.running.await;
    }

    /// Waits until `fits`.
    pub async fn until(&self, what: &str, mut fits: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !fits().await {
            let status = self.status().await;
            assert!(
                Instant::now() < deadline,
                "never {what}: {:?}; {:?}",
                self.instances().await,
                status.warnings
            );
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// Waits until `count` instances are ready.
    pub async fn until_ready(&self, count: usize) {
        let what = format!("{count} ready");
        self.until(&what, async || self.count(v1::InstanceState::Ready).await == count).await;
    }
}

/// Waits until the cloud has `count` instances in `state`.
pub async fn until_cloud(cloud: &SimCloud, state: CloudState, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    while cloud.count(state) != count {
        assert!(Instant::now() < deadline, "never {count} {state:?}: {:?}", cloud.instances());
        sleep(Duration::from_millis(500)).await;
    }
}

/// Brings a worker up on every instance that runs, which registers, drains when it is told to, and dies with its instance.
pub struct Workers {
    channel: watch::Sender<Channel>,
    notices: watch::Sender<BTreeSet<String>>,
    broken: Arc<Mutex<BTreeSet<String>>>,
    hung: watch::Sender<BTreeSet<String>>,
    running: JoinSet<()>,
}

impl Workers {
    pub fn on(cloud: &Arc<SimCloud>, world: &World) -> Self {
        let (channel, current) = watch::channel(world.channel.clone());
        let (notices, noticed) = watch::channel(BTreeSet::new());
        let broken = Arc::new(Mutex::new(BTreeSet::new()));
        let (hung, hangs) = watch::channel(BTreeSet::new());
        let mut running = JoinSet::new();
        let seen = Seen { noticed, hung: hangs };
        running.spawn(bring_up(Arc::clone(cloud), current, seen, Arc::clone(&broken)));
        Self { channel, notices, broken, hung, running }
    }

    /// Their sessions end, and the next ones find this autoscaler.
    pub fn go_to(&self, world: &World) {
        self.channel.send_replace(world.channel.clone());
    }

    /// Its machine will be taken away.
    pub fn spot_notice(&self, instance_id: &str) {
        self.notices.send_modify(|noticed| {
            noticed.insert(instance_id.to_owned());
        });
    }

    /// Its worker keeps its session, and says and does nothing any more.
    pub fn hang(&self, instance_id: &str) {
        self.hung.send_modify(|hung| {
            hung.insert(instance_id.to_owned());
        });
    }

    /// Its worker is as it was.
    pub fn wake(&self, instance_id: &str) {
        self.hung.send_modify(|hung| {
            hung.remove(instance_id);
        });
    }

    /// Its worker does not come up.
    pub fn break_worker_of(&self, instance_id: &str) {
        self.broken.lock().unwrap().insert(instance_id.to_owned());
    }
}

/// What happens to workers.
#[derive(Clone)]
struct Seen {
    noticed: watch::Receiver<BTreeSet<String>>,
    hung: watch::Receiver<BTreeSet<String>>,
}

async fn bring_up(
    cloud: Arc<SimCloud>,
    channel: watch::Receiver<Channel>,
    seen: Seen,
    broken: Arc<Mutex<BTreeSet<String>>>,
) {
    let mut sessions = JoinSet::new();
    let mut up = BTreeSet::new();
    loop {
        let listed = cloud.instances();
        let running = listed.iter().filter(|one| one.state == CloudState::Running);
        let running: BTreeSet<_> = running.map(|one| one.instance_id.clone()).collect();
        up.retain(|instance_id| running.contains(instance_id));
        for instance_id in running {
            let is_broken = broken.lock().unwrap().contains(&instance_id);
            if !is_broken && up.insert(instance_id.clone()) {
                sessions.spawn(worker(Arc::clone(&cloud), channel.clone(), seen.clone(), instance_id));
            }
        }
        while sessions.try_join_next().is_some() {}
        sleep(Duration::from_secs(1)).await;
    }
}

/// Until its instance does not run any more.
async fn worker(
    cloud: Arc<SimCloud>,
    mut channel: watch::Receiver<Channel>,
    seen: Seen,
    instance_id: String,
) {
    let runs = || cloud.state_of(&instance_id) == Some(CloudState::Running);
    while runs() {
        let control = ControlServiceClient::new(channel.borrow_and_update().clone());
        tokio::select! {
            _ = session(control, &instance_id, seen.clone()) => {}
            Ok(()) = channel.changed() => {}
            () = async { while runs() { sleep(Duration::from_secs(1)).await; } } => return,
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn session(mut control: ControlServiceClient<Channel>, instance_id: &str, seen: Seen) -> Option<()> {
    let Seen { mut noticed, hung } = seen;
    let hangs = || hung.borrow().contains(instance_id);
    let (events, receiver) = mpsc::channel(8);
    let say = async |event| events.send(WorkerSessionRequest { event: Some(event) }).await.ok();
    say(Event::Hello(WorkerHello { instance_id: instance_id.to_owned(), ..Default::default() })).await?;
    let mut answers = control.worker_session(ReceiverStream::new(receiver)).await.ok()?.into_inner();
    let mut told = false;
    loop {
        let is_noticed = noticed.borrow_and_update().contains(instance_id);
        if is_noticed && !told {
            told = true;
            say(Event::SpotNotice(SpotNotice::default())).await?;
        }
        tokio::select! {
            answer = answers.message() => match answer.ok()??.event? {
                worker_session_response::Event::Drain(_) if hangs() => {}
                worker_session_response::Event::Drain(drain) => {
                    say(Event::Drained(Drained { decision_id: drain.decision_id })).await?;
                }
                worker_session_response::Event::Undrain(_) => {}
            },
            () = sleep(Duration::from_secs(2)), if !hangs() => {
                say(Event::Heartbeat(WorkerHeartbeat { slots: 1, ..Default::default() })).await?;
            }
            changed = noticed.changed() => changed.ok()?,
        }
    }
}
