//! `local:` - worker processes on this machine, one in each of a fixed number of slots.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use platform::{Error, Kind, Result, auth::Secret};
use tokio::{sync::Notify, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Failure, Fleet, FleetSupply, Launch, Launched, Machine, MachineState, Outcome, Stop, TOKENS_UNLIMITED,
    process,
};
use crate::clock::Clock;

#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// Program and arguments; `--autoscaler URL --instance-id local-N` is put after them.
    pub command: Vec<OsString>,
    /// Where the workers find the autoscaler.
    pub autoscaler: String,
    /// What the workers have to bring, handed to them by their environment: arguments can be read by everyone.
    pub secret: Option<Secret>,
    pub slots: u32,
    /// Waited before each process is started, as if a machine had to boot.
    pub boot_delay: Duration,
    /// After SIGTERM, how long a process may take before it is killed.
    pub stop_limit: Duration,
    pub clock: Clock,
}

/// Dropped, it kills what runs. Killed itself, its children see their standard input close.
#[derive(Debug)]
pub struct LocalFleet {
    options: LocalOptions,
    shared: Arc<Shared>,
    runs: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct Shared {
    slots: Mutex<BTreeMap<String, Slot>>,
    changed: Notify,
}

#[derive(Debug)]
struct Slot {
    state: MachineState,
    started: Option<Duration>,
    exit: Option<String>,
    stop: CancellationToken,
}

impl LocalFleet {
    pub fn new(options: LocalOptions) -> Self {
        let width = options.slots.to_string().len();
        let slot = || Slot {
            state: MachineState::Stopped,
            started: None,
            exit: None,
            stop: CancellationToken::new(),
        };
        // Padded, so that the order of the ids is the order of the numbers.
        let slots = (1..=options.slots).map(|number| (format!("local-{number:0width$}"), slot())).collect();
        let shared = Arc::new(Shared { slots: Mutex::new(slots), changed: Notify::new() });
        Self { options, shared, runs: Mutex::new(JoinSet::new()) }
    }

    fn command(&self, instance_id: &str) -> Vec<OsString> {
        let mut command = self.options.command.clone();
        command.extend(["--autoscaler".into(), self.options.autoscaler.clone().into()]);
        command.extend(["--instance-id".into(), instance_id.into()]);
        command
    }
}

#[async_trait]
impl Fleet for LocalFleet {
    async fn list(&self) -> Result<Vec<Machine>> {
        let machine = |(instance_id, slot): (&String, &Slot)| Machine {
            instance_id: instance_id.clone(),
            state: slot.state,
            instance_type: "process".to_owned(),
            zone: "local".to_owned(),
            spot: false,
            billed_since: slot.started,
            exit: slot.exit.clone(),
            draining: None,
        };
        Ok(self.shared.slots().iter().map(machine).collect())
    }

    fn supply(&self) -> FleetSupply {
        FleetSupply {
            launchable: 0,
            start_tokens: TOKENS_UNLIMITED,
            start_tokens_per_second: TOKENS_UNLIMITED,
            stopped_max: u32::MAX,
        }
    }

    async fn start(&self, instance_ids: &[String]) -> Vec<Outcome> {
        let start = |instance_id: &String| {
            self.start_one(instance_id).map_err(|error| Failure::failed(error.to_string()))
        };
        instance_ids.iter().map(start).collect()
    }

    async fn launch(&self, _: &Launch) -> Launched {
        let none = Failure::failed("this fleet makes no new instances");
        Launched { instance_ids: Vec::new(), failure: Some(none) }
    }

    async fn stop(&self, stops: &[Stop]) -> Vec<Outcome> {
        let stop = |stop: &Stop| {
            self.stop_one(&stop.instance_id).map_err(|error| Failure::failed(error.to_string()))
        };
        stops.iter().map(stop).collect()
    }

    async fn terminate(&self, instance_ids: &[String]) -> Vec<Outcome> {
        instance_ids.iter().map(|_| Err(Failure::failed("its slots stay"))).collect()
    }

    fn outlives_us(&self) -> bool {
        false
    }

    async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    async fn close(&self, limit: Duration) {
        let mut runs = std::mem::take(&mut *self.runs.lock().unwrap_or_else(PoisonError::into_inner));
        for slot in self.shared.slots().values() {
            slot.stop.cancel();
        }
        let all = async { while runs.join_next().await.is_some() {} };
        if timeout(limit, all).await.is_err() {
            tracing::warn!(left = runs.len(), "killing workers that did not go");
            runs.shutdown().await;
        }
    }
}

impl LocalFleet {
    fn start_one(&self, instance_id: &str) -> Result<()> {
        let stop = CancellationToken::new();
        {
            let mut slots = self.shared.slots();
            let slot = slots.get_mut(instance_id).ok_or_else(|| unknown(instance_id))?;
            if slot.state != MachineState::Stopped {
                return Ok(());
            }
            *slot = Slot {
                state: MachineState::Pending,
                started: Some(self.options.clock.now()),
                exit: None,
                stop: stop.clone(),
            };
        }
        let (delay, limit) = (self.options.boot_delay, self.options.stop_limit);
        let (shared, id, command) =
            (Arc::clone(&self.shared), instance_id.to_owned(), self.command(instance_id));
        let secret = self.options.secret.clone();
        // Without a delay a program that cannot be started is told to the caller; with one it is
        // found out later, as with a machine.
        let process = match delay.is_zero().then(|| process::spawn(&command, secret.as_ref())) {
            None => None,
            Some(Ok(process)) => {
                shared.set_running(&id);
                Some(process)
            }
            Some(Err(error)) => {
                shared.ended(&id, Some(error.to_string()));
                return Err(error);
            }
        };
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        while runs.try_join_next().is_some() {}
        runs.spawn(async move {
            let process = match process {
                Some(process) => Ok(Some(process)),
                None => tokio::select! {
                    () = tokio::time::sleep(delay) => process::spawn(&command, secret.as_ref()).map(Some),
                    () = stop.cancelled() => Ok(None),
                },
            };
            let exit = match process {
                Ok(Some(process)) => {
                    shared.set_running(&id);
                    process::run(process, &stop, limit).await
                }
                Ok(None) => None,
                Err(error) => Some(error.to_string()),
            };
            shared.ended(&id, exit);
        });
        Ok(())
    }

    fn stop_one(&self, instance_id: &str) -> Result<()> {
        let mut slots = self.shared.slots();
        let slot = slots.get_mut(instance_id).ok_or_else(|| unknown(instance_id))?;
        if matches!(slot.state, MachineState::Pending | MachineState::Running) {
            slot.state = MachineState::Stopping;
            slot.stop.cancel();
        }
        Ok(())
    }
}

impl Shared {
    fn slots(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        // Every change of a slot is whole before anything in it can panic.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_running(&self, instance_id: &str) {
        if let Some(slot) = self.slots().get_mut(instance_id)
            && slot.state == MachineState::Pending
        {
            slot.state = MachineState::Running;
        }
    }

    fn ended(&self, instance_id: &str, exit: Option<String>) {
        if let Some(slot) = self.slots().get_mut(instance_id) {
            slot.state = MachineState::Stopped;
            slot.started = None;
            slot.exit = exit;
        }
        self.changed.notify_one();
    }
}

fn unknown(instance_id: &str) -> Error {
    Error::new(Kind::InstanceNotFound, format!("no instance {instance_id:?}"))
        .with_resource("dunlin.v1.Instance", instance_id)
}
