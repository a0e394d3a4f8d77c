//! The whole worker against a real queue in memory and a real gateway's side of the replies. The
//! clock is real here: the worker's CPU threads and the sockets do not know of a paused one.

use std::{sync::Arc, time::Duration};

use platform::{
    options::Profile,
    queue::{Counts, MemoryLimits, MemoryQueue, Queue, Task},
    shutdown::Shutdown,
};
use proto::internal::v1::task::Input;
use tokio::{task::JoinHandle, time::Instant};

use crate::{Ended, Options, Worker, model::ModelUrl, pipeline::Status};

mod arbitrary;
mod autoscaler;
mod delivery;
mod drain;
mod faults;
mod gateway;
mod photographs;
mod skips;

/// Far longer than anything here takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

fn options(model: &str) -> Options {
    Options {
        queue: "broker://not-used".to_owned(),
        model: model.parse::<ModelUrl>().unwrap(),
        autoscaler: None,
        store: None,
        results: None,
        results_queue: None,
        profile: Profile::Default,
        on_instance: false,
        orphan_after: Duration::from_secs(900),
        offer_after: Duration::from_secs(60),
        instance_id: Some("slot-1".to_owned()),
        worker_id: Some("worker-1".to_owned()),
        threads: 1.try_into().unwrap(),
        lease: Duration::from_secs(30),
        max_batch_size: 8.try_into().unwrap(),
        max_queue_delay: Duration::ZERO,
        data: None,
        onnxruntime: None,
        install_onnxruntime: false,
        command_timeout: Duration::from_secs(10),
        grace: Duration::from_secs(10),
        exit_on_stdin_close: false,
        peers: platform::auth::PeerOptions::default(),
    }
}

fn queue() -> Arc<MemoryQueue> {
    MemoryQueue::new(MemoryLimits::default())
}

fn task(id: &str, reply_to: &str) -> Task {
    Task {
        task_id: id.to_owned(),
        custom_id: format!("{id}.jpg"),
        input: Some(Input::Content(id.to_owned().into())),
        reply_to: reply_to.to_owned(),
        enqueue_time: Some(platform::time::now()),
        top_k: 1,
        ..Task::default()
    }
}

/// For a server that has to end all at once.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

struct Running {
    shutdown: Shutdown,
    worker: JoinHandle<platform::Result<Ended>>,
}

impl Running {
    async fn start(options: Options, queue: Arc<dyn Queue>) -> Self {
        Self::of(Worker::with_queue(options, queue).await.unwrap())
    }

    fn of(worker: Worker) -> Self {
        let shutdown = Shutdown::new();
        let for_run = shutdown.clone();
        let worker = tokio::spawn(async move { worker.run(&for_run).await });
        Self { shutdown, worker }
    }

    /// As at SIGTERM.
    async fn stop(self) {
        self.shutdown.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.worker).await.expect("worker stops").unwrap();
        assert_eq!(ended.unwrap(), Ended::Told);
    }

    /// As at SIGKILL: nothing is finished, nothing is said.
    async fn kill(self) {
        self.worker.abort();
        assert!(self.worker.await.unwrap_err().is_cancelled());
    }
}

/// Waits until it holds.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < until, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn is_empty(queue: &MemoryQueue) -> bool {
    let Counts { visible, leased, .. } = queue.counts().await.unwrap();
    (visible, leased) == (0, 0)
}
