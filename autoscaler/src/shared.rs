//! What the control loop and the two gRPC services have in common.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use proto::{internal::v1::GatewaySessionResponse, v1};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    calls::Calls, clock::Clock, command::Orders, decision_log::DecisionLog, load::Load, members::Members,
    policy_request::PolicyDefaults, trigger::Wake,
};

pub struct Shared {
    pub clock: Clock,
    pub log: DecisionLog,
    load: Mutex<Load>,
    members: Mutex<Members>,
    calls: Mutex<Calls>,
    sessions: AtomicU64,
    /// Something happened that should not wait for the next tick.
    pub wake: Wake,
    /// What operators ask for goes here.
    pub orders: Orders,
    /// What stands in for what they leave out of a policy.
    pub policy_defaults: PolicyDefaults,
    /// Of one instance; 0: not known.
    pub price_per_hour_usd: f64,
    /// What is shown to people, as of the last look.
    pub view: watch::Sender<View>,
    /// What gateways are told.
    pub capacity: watch::Sender<GatewaySessionResponse>,
    /// Whether workers and gateways belong here, or with another autoscaler.
    pub leading: watch::Sender<bool>,
    /// Ends all streams.
    pub stop: CancellationToken,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    pub status: v1::GetStatusResponse,
    pub instances: Vec<v1::Instance>,
}

/// What is there before the loop and the services are.
pub struct SharedParts {
    pub clock: Clock,
    pub log: DecisionLog,
    pub orders: Orders,
    pub policy_defaults: PolicyDefaults,
    /// Of one instance; 0: not known.
    pub price_per_hour_usd: f64,
    /// Ends all streams.
    pub stop: CancellationToken,
}

impl Shared {
    pub fn new(parts: SharedParts) -> Self {
        let SharedParts { clock, log, orders, policy_defaults, price_per_hour_usd, stop } = parts;
        Self {
            clock,
            log,
            load: Mutex::default(),
            members: Mutex::default(),
            calls: Mutex::default(),
            sessions: AtomicU64::new(0),
            wake: Wake::default(),
            orders,
            policy_defaults,
            price_per_hour_usd,
            view: watch::Sender::default(),
            capacity: watch::Sender::default(),
            leading: watch::Sender::new(false),
            stop,
        }
    }

    pub fn load(&self) -> MutexGuard<'_, Load> {
        // Counts are replaced whole; a panic in between leaves at worst one report out.
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }
}
