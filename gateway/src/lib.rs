//! The gateway: takes images over gRPC, gRPC-web and HTTP, queues them, and answers their callers.

use std::{net::SocketAddr, sync::Arc};

use axum::middleware::from_fn_with_state;
use platform::{
    Error, Kind, Result,
    auth::{Guard, Links},
    error::ResultExt as _,
    options::Profile,
    program::ServiceOptions,
    queue::{self, MemoryLimits, MemoryQueue, Queue},
    serve::{self, Grpc, Health, MESSAGE_BYTES_MAX, Port},
    shutdown::Shutdown,
};
use proto::{
    internal::v1::{broker_service_server::BrokerServiceServer, reply_service_server::ReplyServiceServer},
    v1::{classifier_service_server::ClassifierServiceServer, job_service_server::JobServiceServer},
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::Endpoint;
use tonic_web::GrpcWebLayer;

use crate::{
    broker::Broker,
    cache::{Cache, Shared},
    core::Core,
    counters::{Counted, Counters},
    grpc::Classifier,
    jobs::Jobs,
    models::Models,
    objects::Objects,
    pending::Pending,
    place::{Naming, Places},
    readiness::Readiness,
    relay::Relay,
    repeat::Repeats,
    replies::Replies,
};

mod access;
mod admission;
mod backlog;
mod bidi;
mod broker;
mod cache;
mod core;
mod counters;
mod group;
mod grpc;
mod http;
mod intake;
mod jobs;
mod load;
mod models;
mod objects;
mod options;
mod pending;
mod place;
mod progress;
mod readiness;
mod relay;
mod repeat;
mod replies;
#[cfg(feature = "aws")]
mod reply_queue;
mod result_body;
mod stream;
mod supply;
#[cfg(not(feature = "aws"))]
mod without_aws;

#[cfg(feature = "aws")]
use reply_queue::ReplyQueue;
#[cfg(not(feature = "aws"))]
use without_aws::ReplyQueue;

pub use jobs::JobOptions;
pub use options::Options;
use options::ReplyBy;

/// The gateway as a program: until a signal, and then within the grace.
pub async fn run(options: ServiceOptions<Options>) -> Result<()> {
    let ServiceOptions { log, service } = options;
    log.start()?;
    tracing::info!(options = ?service, "starting");
    let grace = service.drain_delay + service.grace;
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let gateway = Gateway::bind(service).await?;
    tracing::info!(public = %gateway.public_address(), internal = %gateway.internal_address(), "listening");
    platform::program::ready();
    shutdown.run(grace, gateway.run(&shutdown)).await
}

/// A gateway with its ports bound.
pub struct Gateway {
    core: Arc<Core>,
    jobs: Option<Arc<Jobs>>,
    guard: Guard,
    internal_guard: Guard,
    answers: Option<ReplyQueue>,
    public: Port,
    internal: Port,
    /// To our other services.
    links: Links,
    autoscaler: Option<Endpoint>,
    public_address: SocketAddr,
    internal_address: SocketAddr,
}

impl Gateway {
    /// Binds both ports and checks what can be checked without serving.
    pub async fn bind(options: Options) -> Result<Self> {
        let public = serve::bind("--listen", options.listen)?;
        let internal = serve::bind("--internal-listen", options.internal_listen)?;
        let (public_address, internal_address) = (serve::address(&public)?, serve::address(&internal)?);
        let (public, internal) = (options.access.port(public)?, options.internal.port(internal)?);
        let links = options.internal.peers.links()?;
        let autoscaler = options.autoscaler.as_deref().map(|url| endpoint(&links, url)).transpose()?;
        let (guard, internal_guard) = (options.access.guard().await?, options.internal.guard()?);
        let scheme = options.internal.scheme();
        let answers = answers_by_queue(&options).await?;
        let reply_to = match (&answers, &options.advertise) {
            (Some(queue), _) => queue.url().to_owned(),
            (None, Some(address)) => format!("{scheme}://{address}"),
            (None, None) => format!("{scheme}://{}", serve::at_home(internal_address)),
        };
        let queue: Arc<dyn Queue> = if options.is_broker() {
            let limits = MemoryLimits { tasks_max: options.pending_max, bytes_max: options.queue_bytes_max };
            MemoryQueue::new(limits)
        } else {
            queue::open_for_sender(&options.queue).await.context("open queue")?
        };
        let places = places(&options, &*queue).await?;
        let core = Arc::new(Core {
            is_broker: options.is_broker(),
            cache: cache(&options, &places),
            repeats: Repeats::new(places.store.clone()),
            places,
            objects: Objects::open(&options.uri_buckets).await?,
            queue,
            pending: Pending::new(options.pending_max, options.latency_target),
            counters: Counters::default(),
            models: Models::new(&options.models),
            reply_to,
            stop: CancellationToken::new(),
            capacity: watch::Sender::new(None),
            options,
        });
        let jobs = Jobs::open(&core).await?;
        Ok(Self {
            core,
            guard,
            internal_guard,
            links,
            jobs,
            answers,
            public,
            internal,
            autoscaler,
            public_address,
            internal_address,
        })
    }

    pub fn public_address(&self) -> SocketAddr {
        self.public_address
    }

    pub fn internal_address(&self) -> SocketAddr {
        self.internal_address
    }

    /// Where to report load, when it was not known at `bind`: two services in one process learn
    /// each other's ports only after both are bound.
    pub fn report_to(&mut self, autoscaler: &str) -> Result<()> {
        self.autoscaler = Some(endpoint(&self.links, autoscaler)?);
        Ok(())
    }

    /// How many images wait for an answer, for whoever waits for a drain.
    pub fn waiting(&self) -> impl Fn() -> u64 + Send + Sync + use<> {
        let core = Arc::clone(&self.core);
        move || core.pending.totals().waiting
    }

    /// Images that were refused, withdrawn or too late, by reason.
    pub fn counted(&self) -> impl Fn() -> Vec<(&'static str, u64)> + Send + Sync + use<> {
        let core = Arc::clone(&self.core);
        move || Counted::ALL.map(|what| (what.label(), core.counters.get(what))).into()
    }

    /// Tasks that came into the queue and those that left it, since the start.
    pub fn totals(&self) -> impl Fn() -> (u64, u64) + Send + Sync + use<> {
        let core = Arc::clone(&self.core);
        move || {
            let totals = core.pending.totals();
            (totals.enqueued, totals.completed)
        }
    }

    /// Serves until `shutdown.stop` and for the drain delay, then finishes what is in flight: first
    /// the callers, and only then the workers who answer them. At `shutdown.abort` callers that are
    /// left hear that they should try again; what can't hear that is closed without an answer.
    pub async fn run(self, shutdown: &Shutdown) -> Result<()> {
        // Boxed: the servers' futures are large, and callers move this one about.
        Box::pin(self.serve(shutdown)).await
    }

    async fn public_router(
        &self,
        readiness: &Arc<Readiness>,
        closing: &Shutdown,
    ) -> Result<(axum::Router, Health)> {
        let Self { core, jobs, guard, .. } = self;
        let classifier = ClassifierServiceServer::new(Classifier::new(Arc::clone(core)))
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let jobs =
            JobServiceServer::new(jobs::Service(jobs.clone())).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let relay = Relay::new(self.autoscaler.as_ref(), closing.stop.clone());
        let services = Grpc::new().guarded(guard).with(classifier).with(jobs).with(relay);
        let (grpc, health) = services.into_router(closing).await?;
        // On the gRPC routes only: it refuses every other HTTP/1.1 request.
        let grpc = grpc.layer(GrpcWebLayer::new());
        let http = guard.http(http::router(Arc::clone(core), Arc::clone(readiness)), access::need);
        let all = http.merge(grpc);
        Ok((all.layer(from_fn_with_state(http::unread_bounds(core), http::unread::drain)), health))
    }

    async fn internal_router(&self, sessions: &TaskTracker, shutdown: &Shutdown) -> Result<axum::Router> {
        let core = &self.core;
        let replies = Replies::new(Arc::clone(core), sessions.clone(), shutdown.stop.clone());
        let mut services = Grpc::new().guarded(&self.internal_guard).with(ReplyServiceServer::new(replies));
        if core.is_broker {
            let broker = Broker::new(core.queue.clone(), sessions.clone(), shutdown.stop.clone());
            services =
                services.with(BrokerServiceServer::new(broker).max_decoding_message_size(MESSAGE_BYTES_MAX));
        }
        let (router, _) = services.into_router(shutdown).await?;
        Ok(router.fallback(serve::grpc_only))
    }

    async fn serve(self, shutdown: &Shutdown) -> Result<()> {
        let sessions = TaskTracker::new();
        let internal_shutdown = Shutdown::new();
        let readiness = Arc::new(Readiness::default());
        // Later than `shutdown` stops, by the drain delay.
        let closing = Shutdown { stop: self.core.stop.clone(), abort: shutdown.abort.clone() };
        let (public, health) = self.public_router(&readiness, &closing).await?;
        let internal = self.internal_router(&sessions, &internal_shutdown).await?;
        let drain_delay = self.core.options.drain_delay;
        let callers = async {
            let ended = tokio::select! {
                ended = serve::serve(self.public, public, &closing) => ended,
                () = readiness::last_words(&closing) => Ok(()),
            };
            if let Some(jobs) = &self.jobs {
                jobs.stopped().await;
            }
            self.core.repeats.settled().await;
            self.core.settled().await;
            internal_shutdown.stop.cancel();
            sessions.close();
            sessions.wait().await;
            ended
        };
        let workers = serve::serve(self.internal, internal, &internal_shutdown);
        let background = async {
            let answers = async {
                match &self.answers {
                    Some(queue) => queue.run(&self.core).await,
                    None => std::future::pending().await,
                }
            };
            let reports = async {
                match &self.autoscaler {
                    Some(endpoint) => {
                        load::report(Arc::clone(&self.core), self.links.connect(endpoint)).await;
                    }
                    None => std::future::pending().await,
                }
            };
            let jobs = async {
                match &self.jobs {
                    Some(jobs) => jobs.run().await,
                    None => std::future::pending().await,
                }
            };
            let cached = async {
                match &self.core.cache {
                    Some(cache) => cache.write_shared().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = reports => Ok(()),
                ended = jobs => ended,
                () = readiness.tell(&health) => Ok(()),
                () = readiness.follow(&self.core) => Ok(()),
                () = readiness.drain(shutdown, &closing, drain_delay) => Ok(()),
                () = cached => Ok(()),
                () = self.core.repeats.sweep() => Ok(()),
                () = answers => Ok(()),
                ended = self.core.answer_dead_letters() => ended,
            }
        };
        let ended = tokio::select! {
            served = async { tokio::try_join!(callers, workers) } => served.map(drop),
            ended = background => ended,
            // A worker that hangs does not hold up the end.
            () = readiness::after_last_words(shutdown) => Ok(()),
        };
        if let Some(queue) = &self.answers {
            queue.remove().await;
        }
        ended
    }
}

fn endpoint(links: &Links, autoscaler: &str) -> Result<Endpoint> {
    links.endpoint(autoscaler).ok_or_else(|| {
        Error::new(Kind::Config, format!("--autoscaler: {autoscaler:?} is not http:// or https://HOST:PORT"))
    })
}

/// The queue that answers come by, if they come by one.
async fn answers_by_queue(options: &Options) -> Result<Option<ReplyQueue>> {
    match options.reply_by {
        ReplyBy::Stream => Ok(None),
        ReplyBy::Queue => ReplyQueue::create(&options.queue).await.map(Some),
    }
}

/// Results of images seen before.
fn cache(options: &Options, places: &Places) -> Option<Cache> {
    let store = places.store.as_ref().filter(|_| options.cache_store);
    let shared = store.map(|store| Shared::new(Arc::clone(store)));
    (options.cache_bytes > 0).then(|| Cache::new(options.cache_bytes, shared))
}

/// Where images go, with the limits of this queue.
async fn places(options: &Options, queue: &dyn Queue) -> Result<Places> {
    let store = match &options.store {
        Some(url) => Some(platform::store::open(url).await.context("open store")?),
        None => None,
    };
    let naming = match options.profile {
        Profile::Default => Naming::Id,
        Profile::Cse546 => Naming::FileName,
    };
    let of_queue = queue.task_bytes_max().unwrap_or(usize::MAX);
    let inline_bytes_max = match options.profile {
        // The task is a pointer, always.
        Profile::Cse546 => 0,
        Profile::Default => options.inline_bytes_max.unwrap_or(usize::MAX).min(of_queue),
    };
    if store.is_none() && inline_bytes_max < options.image_bytes_max {
        return Err(Error::new(
            Kind::Config,
            format!(
                "--store: images may have {} bytes and a message {inline_bytes_max}: name a store for larger ones, or lower --image-bytes-max",
                options.image_bytes_max
            ),
        ));
    }
    Ok(Places::new(inline_bytes_max, store, options.keeps_results(), naming))
}
