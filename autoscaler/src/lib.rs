//! Starts and stops workers with the load, and can say why.

mod asked;
mod breaker;
mod calls;
mod clock;
mod command;
mod controller;
pub mod decide;
mod decision_log;
mod explain;
pub mod fleet;
mod history;
mod latencies;
mod leader;
mod load;
mod members;
mod options;
mod policy_request;
mod roster;
mod schedule;
mod service;
mod shared;
pub mod simulate;
mod snapshot;
mod sqs_counts;
mod trigger;
mod what_if;
mod wire;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use platform::{
    Error, Kind, Result,
    program::ServiceOptions,
    serve::{self, Grpc, Health, Port},
    shutdown::Shutdown,
};
use proto::{
    externalscaler::external_scaler_server::ExternalScalerServer,
    internal::v1::control_service_server::ControlServiceServer,
    v1::autoscaler_service_server::AutoscalerServiceServer,
};
use tokio::time::timeout;

use crate::{
    clock::Clock,
    command::Orders,
    controller::{Controller, ControllerOptions, Keeping},
    decision_log::DecisionLog,
    fleet::{
        FleetUrl,
        cloud::{Cloud, Offering},
        open_cloud, open_fleet,
        simcloud::SimCloud,
    },
    leader::Lease,
    service::{AutoscalerApi, ControlApi, Desk, KedaApi},
    shared::{Shared, SharedParts},
    sqs_counts::Counted,
};
pub use fleet::adopt;
pub use options::{Options, PolicyName};

/// A floor of a policy as `--schedule` takes it, for whoever sends one.
pub fn schedule_floor(text: &str) -> std::result::Result<proto::v1::ScheduleFloor, String> {
    schedule::parse(text).map(|floor| wire::floor(&floor))
}

/// After the control loop ended, how long open calls may take to end.
const CALLS_LIMIT: Duration = Duration::from_secs(2);

/// Beside what the workers may take: for their processes to end, and ours.
const AFTER_GRACE: Duration = Duration::from_secs(8);

/// The autoscaler as a program: until a signal, and then within the grace.
pub async fn run(options: ServiceOptions<Options>) -> Result<()> {
    let ServiceOptions { log, service } = options;
    log.start()?;
    let grace = service.grace + AFTER_GRACE;
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let autoscaler = Autoscaler::bind(service).await?;
    tracing::info!(address = %autoscaler.address(), "autoscaler listens");
    // Boxed: the control loop's future is large.
    shutdown.run(grace, Box::pin(autoscaler.run(&shutdown))).await
}

/// The whole service, bound and ready to run.
pub struct Autoscaler {
    address: SocketAddr,
    port: Port,
    router: Router,
    health: Health,
    /// Stops the server: after the control loop, whose workers report over it until they are gone.
    server: Shutdown,
    controller: Controller,
    lease: Option<Arc<Lease>>,
    /// Whose counts stand in for the gateways'.
    counted: Option<Counted>,
    shared: Arc<Shared>,
    grace: Duration,
}

impl Autoscaler {
    /// Opens the store, reads the decision log back and binds the port. Starts nothing.
    pub async fn bind(options: Options) -> Result<Self> {
        let clock = Clock::start();
        let url = FleetUrl::parse(&options.fleet)
            .map_err(|problem| Error::new(Kind::Config, format!("--fleet: {problem}")))?;
        let first = Offering {
            instance_type: options.instance_types.first().cloned(),
            subnet: options.subnets.first().cloned(),
        };
        let cloud = open_cloud(&url, &first).await?;
        Self::bind_to(options, cloud, clock).await
    }

    /// The same on a model of the cloud that goes on when this autoscaler ends: for tests and trials.
    pub async fn bind_on(options: Options, cloud: Arc<SimCloud>) -> Result<Self> {
        let clock = cloud.clock();
        let name = cloud.fleet().to_owned();
        Self::bind_to(options, Some((name, cloud)), clock).await
    }

    async fn bind_to(
        options: Options,
        cloud: Option<(String, Arc<dyn Cloud>)>,
        clock: Clock,
    ) -> Result<Self> {
        let store = match &options.store {
            Some(url) => Some(platform::store::open(url).await?),
            None => None,
        };
        if store.is_none() {
            tracing::info!("decisions are kept in memory only");
        }
        let counted = match options.counted_queue() {
            Some(url) => Some(Counted::open(url).await?),
            None => None,
        };
        let log = DecisionLog::open(store.clone()).await?;
        let listener = serve::bind("--listen", options.listen)?;
        let address = serve::address(&listener)?;
        let port = options.access.port(listener)?;
        let server = Shutdown::new();
        let (orders, ordered) = Orders::channel();
        let shared = Arc::new(Shared::new(SharedParts {
            clock,
            log,
            orders,
            policy_defaults: options.policy_defaults(),
            price_per_hour_usd: options.price_per_hour,
            stop: server.stop.clone(),
        }));
        let guard = options.access.guard().await?.with_secret(options.peers.secret()?.as_ref());
        let (router, health) = Grpc::new()
            .guarded(&guard)
            .with(AutoscalerServiceServer::new(AutoscalerApi(Arc::clone(&shared), Desk::default())))
            .with(ControlServiceServer::new(ControlApi(Arc::clone(&shared))))
            .with(ExternalScalerServer::new(KedaApi(Arc::clone(&shared))))
            .into_router(&server)
            .await?;
        let lease = store.clone().map(|store| Arc::new(Lease::new(store, clock)));
        if let Some(lease) = &lease
            && let Err(error) = lease.renew().await
        {
            tracing::warn!(%error, "take the leader's lease");
        }
        let keeping = Keeping { lease: lease.clone(), store, orders: ordered };
        let controller_options = ControllerOptions::new(&options, cloud.is_some(), keeping);
        let fleet = open_fleet(&options, cloud, address, clock);
        let controller = Controller::new(Arc::clone(&shared), fleet, controller_options);
        let router = router.fallback(serve::grpc_only);
        let grace = options.grace;
        Ok(Self { address, port, router, health, server, controller, lease, counted, shared, grace })
    }

    /// How this machine's other processes reach it.
    pub fn url(&self) -> String {
        format!("{}://{}", self.port.scheme(), serve::at_home(self.address))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs until `shutdown.stop`; then lets the workers finish, stops them, and ends. Whoever runs
    /// a gateway beside it stops the gateway first: it needs the workers for what is in flight.
    ///
    /// Dropped, it kills the worker processes.
    pub async fn run(self, shutdown: &Shutdown) -> Result<()> {
        let Self { port, router, health, server, controller, lease, counted, shared, grace, .. } = self;
        let serving = serve::serve(port, router, &server);
        tokio::pin!(serving);
        tokio::select! {
            ended = &mut serving => {
                return ended.and_then(|()| Err(Error::new(Kind::Internal, "the server ended by itself")));
            }
            () = keep(lease.as_deref(), &shared) => {}
            () = sqs_counts::watch(counted, &shared) => {}
            () = controller.run(shutdown, grace) => {}
        }
        if let Some(lease) = &lease {
            lease.give_back().await;
        }
        health.set_not_serving().await;
        server.stop.cancel();
        // A caller that does not let go is not waited for.
        timeout(CALLS_LIMIT, serving).await.unwrap_or(Ok(()))
    }
}

/// Keeps the lease, where there is one; never returns.
async fn keep(lease: Option<&Lease>, shared: &Shared) {
    match lease {
        Some(lease) => lease.keep(|| shared.wake.now("lease: won or lost")).await,
        None => std::future::pending().await,
    }
}
