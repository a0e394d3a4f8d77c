//! Starts and stops workers with the load, and can say why.

mod asked;
mod breaker;
mod calls;
mod clock;
mod command;
mod controller;
pub mod decide;
mod decision_log;
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
mod wire;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use platform::{
    Error, Kind, Result,
    program::ServiceOptions,
    queue::Queue,
    serve::{self, Grpc, Health},
    shutdown::Shutdown,
    store::Store,
};
use proto::{
    externalscaler::external_scaler_server::ExternalScalerServer,
    internal::v1::control_service_server::ControlServiceServer,
    v1::autoscaler_service_server::AutoscalerServiceServer,
};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};

use crate::{
    breaker::BreakerOptions,
    clock::Clock,
    command::{Order, Orders},
    controller::{Controller, ControllerOptions},
    decision_log::DecisionLog,
    fleet::{
        CloudFleet, CloudFleetOptions, ExternalFleet, Fleet, FleetUrl, LocalFleet, LocalOptions,
        cloud::{Cloud, Offering},
        simcloud::SimCloud,
    },
    leader::Lease,
    roster::RosterOptions,
    service::{AutoscalerApi, ControlApi, KedaApi},
    shared::{Shared, SharedParts},
};
pub use options::{Options, PolicyName};

/// Taken for the time a worker process needs until it registers, until one was measured.
const PROCESS_START_PRIOR: Duration = Duration::from_secs(2);

/// The same for a machine, which has to boot first; for a new one, which reads its disk for the first time; and for one that is
/// slow. From published boots, a stopped one 10 to 40 s, a new one 26 to 120 s.
const MACHINE_START_PRIOR: Duration = Duration::from_secs(40);
const NEW_MACHINE_START_PRIOR: Duration = Duration::from_secs(90);
const SLOW_MACHINE_START_PRIOR: Duration = Duration::from_secs(120);

/// The same for a pod: KEDA's poll or the HPA's, 15 s each, and a few seconds to start.
const POD_START_PRIOR: Duration = Duration::from_secs(20);

/// A machine that runs without a word of its worker for so long is stopped. Its worker may only have lost its way to us.
const ORPHAN_AFTER: Duration = Duration::from_secs(600);

/// EC2 bills at least a minute from each start, and by the second after it.
const PAID_MIN: Duration = Duration::from_secs(60);

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
    lease: Option<Arc<Lease>>,
    /// Whose counts stand in for the gateways'.
    queue: Option<Arc<dyn Queue>>,
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
        let queue = match options.counted_queue() {
            Some(url) => Some(platform::queue::open_for_counts(url).await?),
            None => None,
        };
        let log = DecisionLog::open(store.clone()).await?;
        let listener = serve::bind("--listen", options.listen)?;
        let address = serve::address(&listener)?;
        let server = Shutdown::new();
        let (orders, ordered) = Orders::channel();
        let shared = Arc::new(Shared::new(SharedParts {
            clock,
            log,
            orders,
            policy_defaults: options.policy_defaults(),
            stop: server.stop.clone(),
        }));
        let (router, health) = Grpc::new()
            .with(AutoscalerServiceServer::new(AutoscalerApi(Arc::clone(&shared))))
            .with(ControlServiceServer::new(ControlApi(Arc::clone(&shared))))
            .with(ExternalScalerServer::new(KedaApi(Arc::clone(&shared))))
            .into_router()
            .await?;
        let lease = store.clone().map(|store| Arc::new(Lease::new(store, clock)));
        if let Some(lease) = &lease
            && let Err(error) = lease.renew().await
        {
            tracing::warn!(%error, "take the leader's lease");
        }
        let keeping = Keeping { lease: lease.clone(), store, orders: ordered };
        let controller_options = controller_options(&options, cloud.is_some(), keeping);
        let fleet = open_fleet(&options, cloud, address, clock);
        let controller = Controller::new(Arc::clone(&shared), fleet, controller_options);
        let router = router.fallback(serve::grpc_only);
        let grace = options.grace;
        Ok(Self { address, listener, router, health, server, controller, lease, queue, shared, grace })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs until `shutdown.stop`; then lets the workers finish, stops them, and ends. Whoever runs
    /// a gateway beside it stops the gateway first: it needs the workers for what is in flight.
    ///
    /// Dropped, it kills the worker processes.
    pub async fn run(self, shutdown: &Shutdown) -> Result<()> {
        let Self { listener, router, health, server, controller, lease, queue, shared, grace, .. } = self;
        let serving = serve::serve(listener, router, &server);
        tokio::pin!(serving);
        tokio::select! {
            ended = &mut serving => {
                return ended.and_then(|()| Err(Error::new(Kind::Internal, "the server ended by itself")));
            }
            () = keep(lease.as_deref(), &shared) => {}
            () = sqs_counts::watch(queue, &shared) => {}
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

/// What the control loop is given beside the options.
struct Keeping {
    lease: Option<Arc<Lease>>,
    store: Option<Arc<dyn Store>>,
    orders: mpsc::Receiver<Order>,
}

fn controller_options(options: &Options, is_cloud: bool, keeping: Keeping) -> ControllerOptions {
    let process_start = options.boot_delay + PROCESS_START_PRIOR;
    let processes = RosterOptions {
        warm_boot_prior: process_start,
        cold_boot_prior: process_start,
        slow_boot_prior: process_start * 2,
        paid_min: Duration::ZERO,
        grace: options.worker_grace,
        orphan_after: Duration::ZERO,
    };
    let (roster, breaker) = if is_external(options) {
        let pods = RosterOptions {
            warm_boot_prior: POD_START_PRIOR,
            cold_boot_prior: POD_START_PRIOR,
            slow_boot_prior: POD_START_PRIOR * 2,
            orphan_after: ORPHAN_AFTER,
            ..processes
        };
        (pods, BreakerOptions::MACHINES)
    } else if is_cloud {
        let machines = RosterOptions {
            warm_boot_prior: MACHINE_START_PRIOR,
            cold_boot_prior: NEW_MACHINE_START_PRIOR,
            slow_boot_prior: SLOW_MACHINE_START_PRIOR,
            paid_min: PAID_MIN,
            orphan_after: ORPHAN_AFTER,
            ..processes
        };
        (machines, BreakerOptions::MACHINES)
    } else {
        (processes, BreakerOptions::PROCESSES)
    };
    let Keeping { lease, store, orders } = keeping;
    ControllerOptions {
        policy: options.policy(),
        tick: options.tick,
        paid_min: roster.paid_min,
        price_per_hour_usd: options.price_per_hour,
        roster,
        breaker,
        lease,
        store,
        orders,
    }
}

fn is_external(options: &Options) -> bool {
    FleetUrl::parse(&options.fleet) == Ok(FleetUrl::External)
}

/// The cloud that a fleet is in, and the fleet's name there; `None` when it is on this machine.
#[cfg_attr(not(feature = "ec2"), allow(unused_variables, reason = "only EC2 asks where instances come from"))]
async fn open_cloud(url: &FleetUrl, first: &Offering) -> Result<Option<(String, Arc<dyn Cloud>)>> {
    let (name, cloud): (_, Arc<dyn Cloud>) = match url {
        FleetUrl::Local | FleetUrl::External => return Ok(None),
        FleetUrl::Sim { name, options } => (name, Arc::new(SimCloud::new(name, options.clone()))),
        #[cfg(feature = "ec2")]
        FleetUrl::Ec2 { name, template, version } => {
            let template = fleet::cloud::ec2::Template::new(template, version);
            (name, Arc::new(fleet::cloud::ec2::Ec2::open(name, template, first).await?))
        }
        #[cfg(not(feature = "ec2"))]
        FleetUrl::Ec2 { .. } => {
            let sentence =
                "--fleet: this build has no EC2 driver; build autoscaler with its default features";
            return Err(Error::new(Kind::Config, sentence));
        }
    };
    Ok(Some((name.clone(), cloud)))
}

/// Tags existing instances, so that the fleet starts and stops them from now on.
pub async fn adopt(fleet_url: &str, instance_ids: &[String]) -> Result<()> {
    let config = |problem: String| Error::new(Kind::Config, format!("--fleet: {problem}"));
    let url = FleetUrl::parse(fleet_url).map_err(config)?;
    match open_cloud(&url, &Offering::default()).await? {
        Some((name, cloud)) => fleet::adopt(cloud.as_ref(), &name, instance_ids).await,
        None => Err(config("local: has no instances to adopt".to_owned())),
    }
}

fn open_fleet(
    options: &Options,
    cloud: Option<(String, Arc<dyn Cloud>)>,
    address: SocketAddr,
    clock: Clock,
) -> Arc<dyn Fleet> {
    match cloud {
        None if is_external(options) => Arc::new(ExternalFleet),
        None => Arc::new(LocalFleet::new(LocalOptions {
            command: options.worker_command.clone(),
            autoscaler: format!("http://{address}"),
            slots: options.max_instances(),
            boot_delay: options.boot_delay,
            stop_limit: STOP_LIMIT,
            clock,
        })),
        Some((fleet, cloud)) => {
            let options = CloudFleetOptions {
                fleet,
                name_prefix: options.name_prefix().to_owned(),
                instance_types: options.instance_types.clone(),
                subnets: options.subnets.clone(),
                spot_percent: options.spot_share,
                stopped_max: options.stopped_pool_max(),
                starts_per_hour_max: options.starts_per_hour_max(),
                clock,
            };
            Arc::new(CloudFleet::new(cloud, options))
        }
    }
}
