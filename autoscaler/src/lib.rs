//! Starts and stops workers with the load, and can say why.

mod breaker;
mod clock;
mod controller;
pub mod decide;
mod decision_log;
mod fleet;
mod load;
mod members;
mod options;
mod roster;
mod service;
mod shared;
mod wire;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use platform::{
    Error, Kind, Result,
    program::ServiceOptions,
    serve::{self, Grpc, Health},
    shutdown::Shutdown,
};
use proto::{
    internal::v1::control_service_server::ControlServiceServer,
    v1::autoscaler_service_server::AutoscalerServiceServer,
};
use tokio::{net::TcpListener, time::timeout};

use crate::{
    clock::Clock,
    controller::{Controller, ControllerOptions},
    decision_log::DecisionLog,
    fleet::{Fleet, LocalFleet, LocalOptions},
    service::{AutoscalerApi, ControlApi},
    shared::Shared,
};
pub use options::{Options, PolicyName};

/// Taken for the time a worker process needs until it registers, until one was measured.
const PROCESS_START_PRIOR: Duration = Duration::from_secs(2);

/// After SIGTERM, how long a worker process may take; it holds nothing by then.
const STOP_LIMIT: Duration = Duration::from_secs(10);

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
    listener: TcpListener,
    router: Router,
    health: Health,
    /// Stops the server: after the control loop, whose workers report over it until they are gone.
    server: Shutdown,
    controller: Controller,
    grace: Duration,
}

impl Autoscaler {
    /// Opens the store, reads the decision log back and binds the port. Starts nothing.
    pub async fn bind(options: Options) -> Result<Self> {
        let clock = Clock::start();
        let store = match &options.store {
            Some(url) => Some(platform::store::open(url).await?),
            None => None,
        };
        if store.is_none() {
            tracing::info!("decisions are kept in memory only");
        }
        let log = DecisionLog::open(store).await?;
        let listener = serve::bind("--listen", options.listen)?;
        let address = serve::address(&listener)?;
        let server = Shutdown::new();
        let shared = Arc::new(Shared::new(clock, log, server.stop.clone()));
        let (router, health) = Grpc::new()
            .with(AutoscalerServiceServer::new(AutoscalerApi(Arc::clone(&shared))))
            .with(ControlServiceServer::new(ControlApi(Arc::clone(&shared))))
            .into_router()
            .await?;
        let controller_options = ControllerOptions {
            policy: options.policy(),
            tick: options.tick,
            boot_prior: options.boot_delay + PROCESS_START_PRIOR,
            worker_grace: options.worker_grace,
        };
        let controller = Controller::new(shared, open_fleet(&options, address, clock)?, controller_options);
        let router = router.fallback(serve::grpc_only);
        Ok(Self { address, listener, router, health, server, controller, grace: options.grace })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs until `shutdown.stop`; then lets the workers finish, stops them, and ends. Whoever runs
    /// a gateway beside it stops the gateway first: it needs the workers for what is in flight.
    ///
    /// Dropped, it kills the worker processes.
    pub async fn run(self, shutdown: &Shutdown) -> Result<()> {
        let Self { listener, router, health, server, controller, grace, .. } = self;
        let serving = serve::serve(listener, router, &server);
        tokio::pin!(serving);
        tokio::select! {
            ended = &mut serving => {
                return ended.and_then(|()| Err(Error::new(Kind::Internal, "the server ended by itself")));
            }
            () = controller.run(shutdown, grace) => {}
        }
        health.set_not_serving().await;
        server.stop.cancel();
        // A caller that does not let go is not waited for.
        timeout(CALLS_LIMIT, serving).await.unwrap_or(Ok(()))
    }
}

fn open_fleet(options: &Options, address: SocketAddr, clock: Clock) -> Result<Arc<dyn Fleet>> {
    match options.fleet.as_str() {
        "local:" => Ok(Arc::new(LocalFleet::new(LocalOptions {
            command: options.worker_command.clone(),
            autoscaler: format!("http://{address}"),
            slots: options.max_instances(),
            boot_delay: options.boot_delay,
            stop_limit: STOP_LIMIT,
            clock,
        }))),
        other => Err(Error::new(Kind::Config, format!("--fleet {other:?} is unknown; known: local:"))),
    }
}
