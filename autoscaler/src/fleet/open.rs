//! From options to a fleet.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use platform::{Error, Kind, Result, serve::at_home};

use super::{
    CloudFleet, CloudFleetOptions, ExternalFleet, Fleet, FleetUrl, LocalFleet, LocalOptions,
    cloud::{Cloud, Offering},
    simcloud::SimCloud,
};
use crate::{Options, clock::Clock};

/// After SIGTERM, how long a worker process may take; it holds nothing by then.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The cloud that a fleet is in, and the fleet's name there; `None` when it is on this machine.
#[cfg_attr(not(feature = "ec2"), allow(unused_variables, reason = "only EC2 asks where instances come from"))]
pub(crate) async fn open_cloud(url: &FleetUrl, first: &Offering) -> Result<Option<(String, Arc<dyn Cloud>)>> {
    let (name, cloud): (_, Arc<dyn Cloud>) = match url {
        FleetUrl::Local | FleetUrl::External => return Ok(None),
        FleetUrl::Sim { name, options } => (name, Arc::new(SimCloud::new(name, options.clone()))),
        #[cfg(feature = "ec2")]
        FleetUrl::Ec2 { name, template, version } => {
            let template = super::cloud::ec2::Template::new(template, version);
            (name, Arc::new(super::cloud::ec2::Ec2::open(name, template, first).await?))
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
        Some((name, cloud)) => super::cloud_fleet::adopt(cloud.as_ref(), &name, instance_ids).await,
        None => Err(config("local: has no instances to adopt".to_owned())),
    }
}

pub(crate) fn open_fleet(
    options: &Options,
    cloud: Option<(String, Arc<dyn Cloud>)>,
    address: SocketAddr,
    clock: Clock,
) -> Arc<dyn Fleet> {
    let scheme = if options.access.tls.files().is_some() { "https" } else { "http" };
    match cloud {
        None if is_external(options) => Arc::new(ExternalFleet),
        None => Arc::new(LocalFleet::new(LocalOptions {
            command: options.worker_command.clone(),
            autoscaler: format!("{scheme}://{}", at_home(address)),
            secret: options.peers.secret().ok().flatten(),
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

pub(crate) fn is_external(options: &Options) -> bool {
    FleetUrl::parse(&options.fleet) == Ok(FleetUrl::External)
}
