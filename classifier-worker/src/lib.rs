//! The classifier worker: pulls images from the queue, classifies them on CPU threads, and replies
//! straight to the gateway that waits.

use std::sync::Arc;

use platform::{
    Error, Result,
    auth::Links,
    error::ResultExt as _,
    program::ServiceOptions,
    queue,
    queue::Queue,
    shutdown::Shutdown,
    store::{self, Store},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub mod bundled;
mod control;
pub mod decode;
pub mod engine;
mod idle;
#[cfg(feature = "aws")]
mod imds;
mod instance;
pub mod model;
mod objects;
mod options;
mod orphan;
mod parent;
mod pipeline;

pub use options::Options;

use instance::Instance;
use pipeline::{Parts, Pipeline, answer::Identity};

/// Why a worker ended in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Told,
    /// Idle, and the autoscaler has been away for too long: whoever runs the machine should turn it off.
    Orphaned,
}

impl Ended {
    /// The exit code that says so; what starts the worker on an instance turns it off at 79, which no other end has.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Told => 0,
            Self::Orphaned => 79,
        }
    }
}

/// The worker as a program: until a signal, its parent's end or the autoscaler's word, and then within
/// the grace.
pub async fn run(options: ServiceOptions<Options>) -> Result<Ended> {
    let ServiceOptions { log, service } = options;
    log.start()?;
    let grace = service.grace;
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let worker = tokio::select! {
        worker = Worker::new(service) => worker?,
        () = shutdown.stop.cancelled() => return Ok(Ended::Told),
    };
    platform::program::ready();
    shutdown.run(grace, worker.run(&shutdown)).await
}

async fn open_store(url: Option<&str>) -> Result<Option<Arc<dyn Store>>> {
    match url {
        Some(url) => store::open(url).await.map(Some),
        None => Ok(None),
    }
}

/// One worker: a queue to take from, and a loaded model for each thread.
pub struct Worker {
    options: Options,
    pipeline: Pipeline,
    instance: Option<Instance>,
    /// To our other services.
    links: Links,
}

impl Worker {
    /// Loads the model, warms it up and starts to take tasks: at its end the worker is ready. Gets
    /// ONNX Runtime first if the options say so.
    pub async fn new(options: Options) -> Result<Self> {
        let queue = queue::open_with(&options.queue, &options.peers.links()?).await.context("open queue")?;
        Self::with_queue(options, queue).await
    }

    /// The same with a queue that is open already.
    pub async fn with_queue(options: Options, queue: Arc<dyn Queue>) -> Result<Self> {
        let store = open_store(options.store.as_deref()).await.context("open store")?;
        Self::with(options, queue, store).await
    }

    /// The same with a store that is open already, too.
    pub async fn with(
        options: Options,
        queue: Arc<dyn Queue>,
        store: Option<Arc<dyn Store>>,
    ) -> Result<Self> {
        let instance = if options.on_instance { Some(Instance::find().await?) } else { None };
        let results = match &options.results {
            Some(_) => open_store(options.results.as_deref()).await.context("open results")?,
            None => store.clone(),
        };
        let results_queue = match &options.results_queue {
            Some(url) => Some(pipeline::reply::mail::open_for_text(url).await.context("open results queue")?),
            None => None,
        };
        if options.install_onnxruntime && options.onnxruntime.is_none() && options.model.needs_engine() {
            engine::install(&engine::data_folder(options.data.as_deref())?, |_| {}).await?;
        }
        let for_loading = options.clone();
        let models = tokio::task::spawn_blocking(move || model::open(&for_loading))
            .await
            .map_err(|error| Error::internal(error).context("load model"))?
            .context("load model")?;
        let (model, model_version) = models
            .first()
            .map(|model| (model.name().to_owned(), model.version().to_owned()))
            .unwrap_or_default();
        let identity = Arc::new(Identity {
            worker_id: match &options.worker_id {
                Some(id) => id.clone(),
                None => platform::id::new(),
            },
            instance_id: match (&options.instance_id, &instance) {
                (Some(id), _) => id.clone(),
                (None, Some(instance)) => instance.id.clone(),
                (None, None) => std::process::id().to_string(),
            },
            model,
            model_version,
        });
        tracing::info!(
            worker_id = identity.worker_id,
            instance_id = identity.instance_id,
            model = identity.model,
            version = identity.model_version,
            threads = models.len(),
            "ready"
        );
        let links = options.peers.links()?;
        let pipeline = Pipeline::start(Parts {
            queue,
            links: links.clone(),
            store,
            results,
            profile: options.profile,
            results_queue,
            identity,
            models,
            lease: options.lease,
            batch_max: options.max_batch_size.get(),
            batch_delay: options.max_queue_delay,
        })?;
        Ok(Self { options, pipeline, instance, links })
    }

    /// Works until `shutdown.stop`, then finishes, answers and acks what it holds. What it can't finish
    /// by `shutdown.abort` comes back to the queue when its lease ends.
    pub async fn run(self, shutdown: &Shutdown) -> Result<Ended> {
        let orphaned = CancellationToken::new();
        if self.options.exit_on_stdin_close {
            parent::watch(shutdown.stop.clone(), orphaned.clone())?;
        }
        let status = self.pipeline.status();
        let (taken, notice) = watch::channel(None);
        let connected = watch::Sender::new(false);
        let nobody = orphan::wait(connected.subscribe(), Arc::clone(&status), self.options.orphan_after);
        let control = async {
            match self.options.autoscaler {
                Some(url) => {
                    let ours = control::Links {
                        links: self.links.clone(),
                        status: Arc::clone(&status),
                        notice,
                        connected,
                        offer_after: self.options.offer_after,
                    };
                    control::run(url, ours).await
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = self.pipeline.run(shutdown, &orphaned) => ended.map(|()| Ended::Told),
            ended = control => ended.map(|()| Ended::Told),
            () = instance::watch(self.instance.as_ref(), &status, &taken) => Ok(Ended::Told),
            () = nobody, if self.options.on_instance => {
                tracing::warn!(after = ?self.options.orphan_after, "idle and without an autoscaler, ending");
                Ok(Ended::Orphaned)
            }
        }
    }
}

#[cfg(test)]
mod tests;
