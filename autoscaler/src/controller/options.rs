//! What the control loop is told at its start.

use std::{sync::Arc, time::Duration};

use platform::store::Store;
use tokio::sync::mpsc;

use crate::{
    Options, breaker::BreakerOptions, command::Order, decide::Policy, fleet::is_external, leader::Lease,
    roster::RosterOptions,
};

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

pub struct ControllerOptions {
    pub policy: Policy,
    pub tick: Duration,
    pub price_per_hour_usd: f64,
    pub roster: RosterOptions,
    pub breaker: BreakerOptions,
    pub keeping: Keeping,
}

/// What the control loop is given beside the options.
pub struct Keeping {
    /// `None`: nobody else could lead.
    pub lease: Option<Arc<Lease>>,
    /// Where what we know is written down; `None`: nowhere.
    pub store: Option<Arc<dyn Store>>,
    pub orders: mpsc::Receiver<Order>,
}

impl ControllerOptions {
    pub fn new(options: &Options, is_cloud: bool, keeping: Keeping) -> Self {
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
        Self {
            policy: options.policy(),
            tick: options.tick,
            price_per_hour_usd: options.price_per_hour,
            roster,
            breaker,
            keeping,
        }
    }
}
