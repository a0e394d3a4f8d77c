//! The instances as the decision sees them: what the fleet lists, joined with what the workers say.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proto::v1;

use self::{
    boots::{Boots, Start},
    row::{Row, shown},
};
use crate::{
    decide::{Boot, Instance, InstanceState},
    fleet::{Machine, MachineState, StopWhy},
    members::{Member, Members},
};

pub mod boots;
mod row;
#[cfg(test)]
mod tests;

pub use row::Change;

/// A worker that has not registered by then is not coming; or by twice the slowest boot, where that is longer.
const BOOT_LIMIT_MIN: Duration = Duration::from_secs(60);

/// A worker that was to go, and has not been heard of for more than three of its heartbeats, is not waited for. What it may
/// hold comes back to the queue. So long after that the fleet has been listed again, and still has its machine.
const LEAVING_LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Roster {
    rows: BTreeMap<String, Row>,
    boots: Boots,
    options: RosterOptions,
    /// When it was last updated.
    updated: Duration,
}

#[derive(Debug, Clone, Copy)]
pub struct RosterOptions {
    /// Taken for the time of a boot until one was measured: of a stopped instance, and of a new one.
    pub warm_boot_prior: Duration,
    pub cold_boot_prior: Duration,
    /// Taken for the time of a slow boot until one was measured.
    pub slow_boot_prior: Duration,
    /// What a start costs at least; zero where nothing is paid ahead.
    pub paid_min: Duration,
    /// How long a worker may be silent while its machine runs.
    pub grace: Duration,
    /// How long a lost worker is waited for before its machine is stopped.
    pub orphan_after: Duration,
}

impl Roster {
    pub fn new(options: RosterOptions) -> Self {
        Self { rows: BTreeMap::new(), boots: Boots::default(), options, updated: Duration::ZERO }
    }

    /// Takes in how things are at `at`, and says what changed. A worker that has just proved itself
    /// is a change from ready to ready.
    pub fn update(&mut self, at: Duration, machines: &[Machine], members: &mut Members) -> Vec<Change> {
        self.updated = at;
        let mut changes = Vec::new();
        for machine in machines {
            let member = members.get(&machine.instance_id);
            let known = self.rows.get(&machine.instance_id);
            let state = self.state(at, machine, member, known);
            let row =
                self.rows.entry(machine.instance_id.clone()).or_insert_with(|| Row::inherited(state, at));
            changes.extend(row.become_state(&machine.instance_id, state, at, machine.exit.as_ref()));
            // The cloud may still list when it was started the last time.
            let up = matches!(machine.state, MachineState::Pending | MachineState::Running);
            row.billed_since = machine.billed_since.max(row.billed_since.filter(|_| up));
            row.shown = shown(machine, member, row);
            if state == InstanceState::Stopped {
                members.forget(&machine.instance_id);
            }
        }
        for change in &changes {
            if (change.from, change.to) == (InstanceState::Starting, InstanceState::Ready) {
                self.measure_boot(&change.instance_id);
            }
        }
        changes.extend(self.gone(machines, members));
        self.others(at, machines, members);
        changes
    }

    /// Their workers reported to somebody else so far, and have to find us first.
    pub fn inherit(&mut self, at: Duration) {
        for row in self.rows.values_mut().filter(|row| row.state == InstanceState::Starting) {
            (row.inherited, row.since) = (true, at);
        }
    }

    /// Why an instance would be stopped now.
    pub fn stop_why(&self, instance_id: &str) -> StopWhy {
        match self.rows.get(instance_id) {
            Some(row) if row.boot_failed => StopWhy::BootFailed,
            Some(row) if row.state == InstanceState::Lost => StopWhy::Lost,
            _ => StopWhy::Drained,
        }
    }

    /// A stopped instance was started: a boot begins.
    pub fn started(&mut self, instance_id: &str, at: Duration, decision_id: &str) {
        let mut row = Row::new(InstanceState::Starting, at, true);
        row.billed_since = Some(at);
        decision_id.clone_into(&mut row.decision_id);
        self.rows.insert(instance_id.to_owned(), row);
    }

    /// A new instance was made: a boot begins that takes longer.
    pub fn launched(&mut self, instance_id: &str, at: Duration, decision_id: &str) {
        self.started(instance_id, at, decision_id);
        if let Some(row) = self.rows.get_mut(instance_id) {
            row.cold = true;
        }
    }

    /// It was not started after all.
    pub fn not_started(&mut self, instance_id: &str, at: Duration) {
        self.rows.insert(instance_id.to_owned(), Row::new(InstanceState::Stopped, at, true));
    }

    pub fn instances(&self, members: &Members) -> Vec<Instance> {
        let instance = |(instance_id, row): (&String, &Row)| Instance {
            instance_id: instance_id.as_str().into(),
            state: row.state,
            since: row.since,
            busy_slots: members.get(instance_id).map_or(0, |member| member.heartbeat.busy_slots),
            owned: row.owned,
            cold: row.cold,
            paid_until: self.paid_until(row),
            given_up: row.state == InstanceState::Lost && (row.boot_failed || self.is_over(row)),
        };
        self.rows.iter().map(instance).collect()
    }

    /// Whether a lost worker has been waited for long enough.
    fn is_over(&self, row: &Row) -> bool {
        let limit = self.options.orphan_after;
        let limit = if row.was_leaving { limit.min(LEAVING_LIMIT) } else { limit };
        self.updated.saturating_sub(row.since) >= limit
    }

    pub fn state_of(&self, instance_id: &str) -> Option<InstanceState> {
        self.rows.get(instance_id).map(|row| row.state)
    }

    pub fn shown(&self) -> Vec<v1::Instance> {
        self.rows.values().map(|row| row.shown.clone()).collect()
    }

    /// Measured where it can be: the median of the last boots of each kind.
    pub fn boot(&self) -> Boot {
        Boot {
            warm: self.boots.median(Start::Warm).unwrap_or(self.options.warm_boot_prior),
            cold: self.boots.median(Start::Cold).unwrap_or(self.options.cold_boot_prior),
        }
    }

    /// What was measured, for the process after this one.
    pub fn boots(&self) -> &Boots {
        &self.boots
    }

    /// Takes in what the process before this one has measured; its own is newer.
    pub fn remember(&mut self, boots: Boots) {
        if self.boots.is_empty() {
            self.boots = boots;
        }
    }

    /// What a start costs at least.
    pub fn paid_min(&self) -> Duration {
        self.options.paid_min
    }

    /// How long a start has taken, of the kind that the next one is likely to be; `None` until one was measured.
    pub fn measured_boot(&self) -> Option<Duration> {
        let has_stopped = self.rows.values().any(|row| row.state == InstanceState::Stopped);
        let next = if has_stopped { Start::Warm } else { Start::Cold };
        let other = if has_stopped { Start::Cold } else { Start::Warm };
        self.boots.median(next).or_else(|| self.boots.median(other))
    }

    /// When the next one that is starting should be ready, and when all of them.
    pub fn ready_times(&self, at: Duration) -> Option<(Duration, Duration)> {
        let boot = self.boot();
        let starting = self.rows.values().filter(|row| row.state == InstanceState::Starting);
        let ready = |row: &Row| {
            row.since
                + match row.start() {
                    Start::Warm => boot.warm,
                    Start::Cold => boot.cold,
                }
        };
        let span = |(next, all): (Duration, Duration), one: Duration| (next.min(one), all.max(one));
        starting
            .map(|row| ready(row).max(at))
            .map(|one| (one, one))
            .reduce(|so_far, (one, _)| span(so_far, one))
    }

    fn state(
        &self,
        at: Duration,
        machine: &Machine,
        member: Option<&Member>,
        known: Option<&Row>,
    ) -> InstanceState {
        match machine.state {
            MachineState::Stopped => return InstanceState::Stopped,
            MachineState::Stopping => return InstanceState::Stopping,
            MachineState::Pending | MachineState::Running => {}
        }
        // A new one takes longer than any stopped one did.
        let start = known.map_or(Start::Warm, Row::start);
        let slowest = self.boots.longest(start).unwrap_or(self.options.slow_boot_prior);
        let boot_limit = BOOT_LIMIT_MIN.max(slowest * 2);
        let registered = member.filter(|member| member.registered.is_some());
        let lost = match registered {
            Some(member) => is_silent(member, at, self.options.grace),
            None => known.is_some_and(|row| at.saturating_sub(row.since) > boot_limit),
        };
        match member {
            Some(member) if member.drained => InstanceState::Drained,
            _ if lost => InstanceState::Lost,
            Some(member) if member.leaving => InstanceState::Stopping,
            Some(member) if member.is_draining() => InstanceState::Draining,
            _ if registered.is_some() => InstanceState::Ready,
            _ => InstanceState::Starting,
        }
    }

    /// Instances that the fleet does not have any more: ended, by us or not.
    fn gone(&mut self, machines: &[Machine], members: &mut Members) -> Vec<Change> {
        let listed: BTreeSet<_> = machines.iter().map(|machine| &machine.instance_id).collect();
        let is_gone = |instance_id: &String, row: &Row| row.owned && !listed.contains(instance_id);
        let mut changes = Vec::new();
        self.rows.retain(|instance_id, row| {
            if !is_gone(instance_id, row) {
                return true;
            }
            members.forget(instance_id);
            changes.push(Change {
                instance_id: instance_id.clone(),
                from: row.state,
                to: InstanceState::Stopped,
                proved: row.proved,
                exit: Some("the fleet does not have it any more".to_owned()),
            });
            false
        });
        changes
    }

    /// Workers that somebody else started: capacity, as long as they are heard.
    fn others(&mut self, at: Duration, machines: &[Machine], members: &mut Members) {
        let listed: BTreeSet<_> = machines.iter().map(|machine| &machine.instance_id).collect();
        let mut gone = Vec::new();
        self.rows.retain(|instance_id, row| row.owned || members.get(instance_id).is_some());
        for (instance_id, member) in members.iter().filter(|(instance_id, _)| !listed.contains(instance_id)) {
            if is_silent(member, at, self.options.grace) {
                gone.push(instance_id.clone());
                continue;
            }
            let state = match member {
                member if member.leaving || member.drained => InstanceState::Stopping,
                member if member.is_draining() => InstanceState::Draining,
                _ => InstanceState::Ready,
            };
            let row = self.rows.entry(instance_id.clone()).or_insert_with(|| Row::new(state, at, false));
            // Nobody waits for how a worker of somebody else goes on.
            let _ = row.become_state(instance_id, state, at, None);
            let machine = Machine {
                instance_id: instance_id.clone(),
                state: MachineState::Running,
                instance_type: String::new(),
                zone: String::new(),
                spot: false,
                billed_since: None,
                exit: None,
                draining: None,
            };
            row.shown = shown(&machine, Some(member), row);
        }
        for instance_id in gone {
            members.forget(&instance_id);
            self.rows.remove(&instance_id);
        }
    }

    fn measure_boot(&mut self, instance_id: &str) {
        let Some(row) = self.rows.get(instance_id) else { return };
        if let Some(boot) = row.boot {
            self.boots.add(row.start(), boot);
        }
    }

    fn paid_until(&self, row: &Row) -> Duration {
        let runs = !matches!(row.state, InstanceState::Stopped | InstanceState::Stopping);
        match row.billed_since.filter(|_| runs && !self.options.paid_min.is_zero()) {
            Some(since) => since + self.options.paid_min,
            None => Duration::ZERO,
        }
    }
}

/// Without a session a worker may be back within the grace. With one it may be busy beyond measure.
fn is_silent(member: &Member, at: Duration, grace: Duration) -> bool {
    let limit = if member.is_connected() { grace * 3 } else { grace };
    at.saturating_sub(member.heard) > limit
}
