//! The classifier worker: pulls images from the queue, classifies them on CPU threads, and replies
//! straight to the gateway that waits.

use std::sync::Arc;

use platform::{
    Error, Result, error::ResultExt as _, program::ServiceOptions, queue, queue::Queue, shutdown::Shutdown,
    store,
};
use tokio_util::sync::CancellationToken;

pub mod bundled;
mod control;
pub mod decode;
pub mod engine;
pub mod model;
mod options;
mod parent;
mod pipeline;

pub use options::Options;

use pipeline::{Parts, Pipeline, answer::Identity};

/// The worker as a program: until a signal, its parent's end or the autoscaler's word, and then within
/// the grace.
pub async fn run(options: ServiceOptions<Options>) -> Result<()> {
    let ServiceOptions { log, service } = options;
    log.start()?;
    let grace = service.grace;
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let worker = tokio::select! {
        worker = Worker::new(service) => worker?,
        () = shutdown.stop.cancelled() => return Ok(()),
    };
    shutdown.run(grace, worker.run(&shutdown)).await
}

/// One worker: a queue to take from, and a loaded model for each thread.
pub struct Worker {
    options: Options,
    pipeline: Pipeline,
}

impl Worker {
    /// Loads the model, warms it up and starts to take tasks: at its end the worker is ready. Gets
    /// ONNX Runtime first if the options say so.
    pub async fn new(options: Options) -> Result<Self> {
        let queue = queue::open(&options.queue).await.context("open queue")?;
        Self::with_queue(options, queue).await
    }

    /// The same with a queue that is open already.
    pub async fn with_queue(options: Options, queue: Arc<dyn Queue>) -> Result<Self> {
        let store = match &options.store {
            Some(url) => Some(store::open(url).await.context("open store")?),
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
            instance_id: options.instance_id.clone().unwrap_or_else(|| std::process::id().to_string()),
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
        let pipeline = Pipeline::start(Parts {
            queue,
            store,
            identity,
            models,
            lease: options.lease,
            batch_max: options.max_batch_size.get(),
            batch_delay: options.max_queue_delay,
        })?;
        Ok(Self { options, pipeline })
    }

    /// Works until `shutdown.stop`, then finishes, answers and acks what it holds. What it can't finish
    /// by `shutdown.abort` comes back to the queue when its lease ends.
    pub async fn run(self, shutdown: &Shutdown) -> Result<()> {
        let orphaned = CancellationToken::new();
        if self.options.exit_on_stdin_close {
            parent::watch(shutdown.stop.clone(), orphaned.clone())?;
        }
        let status = self.pipeline.status();
        let control = async {
            match self.options.autoscaler {
                Some(url) => control::run(url, status).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = self.pipeline.run(shutdown, &orphaned) => ended,
            ended = control => ended,
        }
    }
}

#[cfg(test)]
mod tests;
