//! Jobs: many images submitted to be classified later. All there is of a job lies in the store, so any gateway can
//! answer for it, and another goes on with it when its gateway dies.
//!
//! | key | what |
//! |---|---|
//! | `jobs/records/TURNED` | the record: state, options, claim. A job is there when its record is |
//! | `jobs/open/ID` | a mark: something is still to be done, or a creation was broken off |
//! | `jobs/ID/pages/N`, `jobs/ID/bundles/N` | its images: index and bytes |
//! | `jobs/ID/log/FIRST` | what happened, in segments |
//! | `jobs/ID/results.jsonl` | all results, once it has ended |
//! | `jobs/requests/SUM` | what a request id was used for |

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use platform::{Result, store::Store};
use proto::v1::ResultCounts;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::core::Core;

mod bucket;
mod claim;
mod create;
mod files;
mod finish;
mod input;
mod keys;
mod line;
mod list;
mod log;
mod manifest;
mod options;
mod picture;
mod queue;
mod records;
mod request;
mod runner;
mod scan;
mod service;
mod sweep;
mod todo;
mod unqueued;
mod watch_job;
mod webhook;
mod window;

pub use options::JobOptions;
pub use service::Service;

use bucket::Buckets;
use files::Folders;
use keys::JobId;
use log::Log;
use records::Records;
use webhook::Webhooks;
use window::Window;

/// Times that depend on how far away the store is and whether others use it.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// How long a gateway may be silent before another takes its jobs.
    claim: Duration,
    /// How often a claim is extended, and with it the counts in the record.
    extend: Duration,
    /// How often marks are looked through for what nobody does.
    scan: Duration,
}

impl Pace {
    /// With its queue in memory, a gateway is alone: it waits for nobody but its own last life.
    const ALONE: Self =
        Self { claim: Duration::from_secs(3), extend: Duration::from_secs(1), scan: Duration::from_secs(1) };
    /// A write to S3 for each running job in five seconds, a listing in ten.
    const AMONG_OTHERS: Self = Self {
        claim: Duration::from_secs(15),
        extend: Duration::from_secs(5),
        scan: Duration::from_secs(10),
    };
}

pub struct Jobs {
    core: Arc<Core>,
    store: Arc<dyn Store>,
    records: Records,
    options: JobOptions,
    folders: Folders,
    buckets: Buckets,
    webhooks: Webhooks,
    gateway_id: String,
    pace: Pace,
    window: Window,
    /// Jobs that run here.
    live: Mutex<HashMap<JobId, Arc<Live>>>,
    news: Mutex<News>,
    /// There are news.
    wake: Notify,
    /// Requests to create a job that are in memory, in KiB.
    arriving: Arc<Semaphore>,
    /// Jobs that are being written: each holds a bundle beside its request.
    creating: Semaphore,
    requests: request::Turns,
    /// Results are put in order one job at a time: they are all in memory then.
    finishing: Semaphore,
    runners: TaskTracker,
    /// About how many jobs are kept.
    kept: std::sync::atomic::AtomicUsize,
}

/// What happened to jobs through this gateway, so that nobody has to look for it.
#[derive(Default)]
struct News {
    created: Vec<JobId>,
    /// Those that do not run here.
    cancelled: Vec<JobId>,
}

impl News {
    fn take(&mut self) -> (Vec<JobId>, Vec<JobId>) {
        (std::mem::take(&mut self.created), std::mem::take(&mut self.cancelled))
    }
}

/// A job that runs here, as others in this process see it.
struct Live {
    told: watch::Sender<Told>,
    cancel: CancellationToken,
}

/// What is in the log of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Told {
    last: u64,
    counts: ResultCounts,
}

impl Jobs {
    /// `None` without a store: where the queue is in memory too, nothing would survive.
    pub async fn open(core: &Arc<Core>) -> Result<Option<Arc<Self>>> {
        /// Eight of the largest messages.
        const ARRIVING_KIB_MAX: usize = 256 * 1024;
        /// As many as a disk syncs at once without one holding up the other.
        const CREATING_MAX: usize = 4;
        let Some(store) = core.places.store.clone() else { return Ok(None) };
        let options = core.options.jobs.clone();
        Ok(Some(Arc::new(Self {
            records: Records { store: Arc::clone(&store) },
            folders: Folders::open(&options.folders)?,
            buckets: Buckets::open(&options.output_buckets).await?,
            webhooks: Webhooks::open(&options)?,
            gateway_id: platform::id::new(),
            pace: if core.is_broker { Pace::ALONE } else { Pace::AMONG_OTHERS },
            window: Window::new(options.window),
            live: Mutex::default(),
            news: Mutex::default(),
            wake: Notify::new(),
            arriving: Arc::new(Semaphore::new(ARRIVING_KIB_MAX)),
            creating: Semaphore::new(CREATING_MAX),
            requests: request::Turns::default(),
            finishing: Semaphore::new(1),
            runners: TaskTracker::new(),
            kept: std::sync::atomic::AtomicUsize::new(0),
            core: Arc::clone(core),
            store,
            options,
        })))
    }

    /// After the word to stop: until what runs here is written down and given up.
    pub async fn stopped(&self) {
        /// A few writes.
        const LONGEST: Duration = Duration::from_secs(5);
        self.runners.close();
        let _ = tokio::time::timeout(LONGEST, self.runners.wait()).await;
    }

    fn tell(&self, tell: impl FnOnce(&mut News)) {
        tell(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_one();
    }

    fn log(&self, id: &JobId) -> Log {
        Log::new(Arc::clone(&self.store), id.clone())
    }

    fn live(&self, id: &JobId) -> Option<Arc<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}
