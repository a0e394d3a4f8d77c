//! Instances as a table, as lines of CSV and as JSON.

use comfy_table::{Cell, Table};
use proto::v1::Instance;
use serde::Serialize;

use crate::{
    output::{Style, new_table, number},
    record::name,
    times::{clock, rfc3339},
};

pub(crate) const CSV_HEADER: [&str; 9] = [
    "instance_id",
    "state",
    "state_time",
    "busy_slots",
    "slots",
    "instance_type",
    "zone",
    "spot",
    "decision_id",
];

#[derive(Debug, Serialize)]
pub(crate) struct InstanceRecord {
    instance_id: String,
    state: String,
    state_time: String,
    slots: u32,
    busy_slots: u32,
    heartbeat_time: String,
    instance_type: String,
    zone: String,
    spot: bool,
    billed_since: String,
    decision_id: String,
}

impl From<&Instance> for InstanceRecord {
    fn from(instance: &Instance) -> Self {
        Self {
            instance_id: instance.instance_id.clone(),
            state: state(instance),
            state_time: rfc3339(instance.state_time.as_ref()),
            slots: instance.slots,
            busy_slots: instance.busy_slots,
            heartbeat_time: rfc3339(instance.heartbeat_time.as_ref()),
            instance_type: instance.instance_type.clone(),
            zone: instance.zone.clone(),
            spot: instance.spot,
            billed_since: rfc3339(instance.billed_since.as_ref()),
            decision_id: instance.decision_id.clone(),
        }
    }
}

pub(crate) fn table(instances: &[Instance], style: Style) -> Table {
    let mut table = new_table(style, &["INSTANCE", "STATE", "SINCE (UTC)", "BUSY", "SLOTS", "TYPE", "ZONE"]);
    for instance in instances {
        let spot = if instance.spot { " spot" } else { "" };
        table.add_row([
            Cell::new(&instance.instance_id),
            Cell::new(state(instance)),
            Cell::new(clock(instance.state_time.as_ref())),
            number(instance.busy_slots),
            number(instance.slots),
            Cell::new(format!("{}{spot}", instance.instance_type)),
            Cell::new(&instance.zone),
        ]);
    }
    table
}

pub(crate) fn csv_fields(instance: &Instance) -> [String; 9] {
    [
        instance.instance_id.clone(),
        state(instance),
        rfc3339(instance.state_time.as_ref()),
        instance.busy_slots.to_string(),
        instance.slots.to_string(),
        instance.instance_type.clone(),
        instance.zone.clone(),
        instance.spot.to_string(),
        instance.decision_id.clone(),
    ]
}

fn state(instance: &Instance) -> String {
    name(instance.state().as_str_name(), "INSTANCE_STATE_")
}
