//! One instance, and what happens to it.

use std::time::Duration;

use proto::v1;

use super::boots::Start;
use crate::{clock::timestamp, decide::InstanceState, fleet::Machine, members::Member, wire};

/// Once ready this long, a worker has proved that it can work.
const PROVED_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Row {
    pub state: InstanceState,
    pub since: Duration,
    pub owned: bool,
    pub proved: bool,
    /// Running when we first saw it: nobody knows for how long it has been without a worker.
    pub inherited: bool,
    /// We started it, and its worker never came.
    pub boot_failed: bool,
    /// It was to go when its worker fell silent: nobody waits for it.
    pub was_leaving: bool,
    /// Launched new, so that its boot takes as long as a new one's.
    pub cold: bool,
    /// How long it took from the start to its worker, once both were seen.
    pub boot: Option<Duration>,
    /// What it costs is counted from here; `None` when it costs nothing.
    pub billed_since: Option<Duration>,
    /// Decision that started it.
    pub decision_id: String,
    pub shown: v1::Instance,
}

/// What happened to an instance since the last look.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    pub instance_id: String,
    pub from: InstanceState,
    pub to: InstanceState,
    /// Whether it had proved that it works.
    pub proved: bool,
    /// How its process ended, if that was by itself.
    pub exit: Option<String>,
}

impl Row {
    pub fn start(&self) -> Start {
        if self.cold { Start::Cold } else { Start::Warm }
    }

    pub fn new(state: InstanceState, since: Duration, owned: bool) -> Self {
        Self {
            state,
            since,
            owned,
            proved: false,
            inherited: false,
            boot_failed: false,
            was_leaving: false,
            cold: false,
            boot: None,
            billed_since: None,
            decision_id: String::new(),
            shown: v1::Instance::default(),
        }
    }

    /// One that was there before we looked.
    pub fn inherited(state: InstanceState, since: Duration) -> Self {
        Self { inherited: true, ..Self::new(state, since, true) }
    }

    pub fn become_state(
        &mut self,
        instance_id: &str,
        state: InstanceState,
        at: Duration,
        exit: Option<&String>,
    ) -> Option<Change> {
        let proves = state == InstanceState::Ready
            && self.state == InstanceState::Ready
            && !self.proved
            && at.saturating_sub(self.since) >= PROVED_AFTER;
        if state == self.state && !proves {
            return None;
        }
        let change = Change {
            instance_id: instance_id.to_owned(),
            from: self.state,
            to: state,
            proved: self.proved || proves,
            exit: exit.cloned(),
        };
        self.proved |= proves;
        if (self.state, state) == (InstanceState::Starting, InstanceState::Ready) && !self.inherited {
            self.boot = Some(at.saturating_sub(self.since));
        }
        if state != self.state {
            self.was_leaving = state == InstanceState::Lost
                && matches!(self.state, InstanceState::Draining | InstanceState::Stopping);
            // It may have been asked to drain before it ever came.
            self.boot_failed = state == InstanceState::Lost && self.boot.is_none() && !self.inherited;
            (self.state, self.since) = (state, at);
        }
        Some(change)
    }
}

/// As people see it.
pub fn shown(machine: &Machine, member: Option<&Member>, row: &Row) -> v1::Instance {
    let heartbeat = member.map(|member| member.heartbeat.clone()).unwrap_or_default();
    let registered = member.filter(|member| member.registered.is_some());
    v1::Instance {
        instance_id: machine.instance_id.clone(),
        state: wire::instance_state(row.state).into(),
        instance_type: machine.instance_type.clone(),
        zone: machine.zone.clone(),
        spot: machine.spot,
        state_time: Some(timestamp(row.since)),
        billed_since: machine.billed_since.map(timestamp),
        slots: heartbeat.slots,
        busy_slots: heartbeat.busy_slots,
        heartbeat_time: registered.map(|member| timestamp(member.heard)),
        decision_id: row.decision_id.clone(),
    }
}
