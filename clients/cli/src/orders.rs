//! What an operator said and is in force, as JSON and in words: a pause, other limits.

use proto::v1::{OverrideInForce, PauseInForce};
use serde::Serialize;

use crate::times::{clock, rfc3339};

#[derive(Debug, Serialize)]
pub(crate) struct PauseRecord {
    scale_out: bool,
    scale_in: bool,
    /// Empty: until it is ended.
    until: String,
    reason: String,
    actor: String,
}

impl From<&PauseInForce> for PauseRecord {
    fn from(pause: &PauseInForce) -> Self {
        Self {
            scale_out: pause.scale_out,
            scale_in: pause.scale_in,
            until: rfc3339(pause.until.as_ref()),
            reason: pause.reason.clone(),
            actor: pause.actor.clone(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct OverrideRecord {
    min_instances: Option<u32>,
    max_instances: Option<u32>,
    instances: Option<u32>,
    until: String,
    reason: String,
    actor: String,
}

impl From<&OverrideInForce> for OverrideRecord {
    fn from(asked: &OverrideInForce) -> Self {
        Self {
            min_instances: asked.min_instances,
            max_instances: asked.max_instances,
            instances: asked.instances,
            until: rfc3339(asked.until.as_ref()),
            reason: asked.reason.clone(),
            actor: asked.actor.clone(),
        }
    }
}

/// "nothing is started or stopped until 2026-11-24 06:30:00 UTC, by ann: deploy".
pub(crate) fn pause_words(pause: &PauseInForce) -> String {
    let what = match (pause.scale_out, pause.scale_in) {
        (true, true) => "nothing is started or stopped",
        (true, false) => "nothing is started",
        (false, true) => "nothing is stopped",
        (false, false) => "nothing is held back",
    };
    let until = match &pause.until {
        Some(until) => format!("until {} UTC", clock(Some(until))),
        None => "until 'dunlin fleet resume'".to_owned(),
    };
    format!("{what} {until}{}", said(&pause.actor, &pause.reason))
}

/// "exactly 5 instances until 2026-11-24 06:30:00 UTC, by ann: demo".
pub(crate) fn override_words(asked: &OverrideInForce) -> String {
    let what = match (asked.instances, asked.min_instances, asked.max_instances) {
        (Some(1), _, _) => "exactly 1 instance".to_owned(),
        (Some(exactly), _, _) => format!("exactly {exactly} instances"),
        (None, Some(min), Some(max)) => format!("{min} to {max} instances"),
        (None, Some(min), None) => format!("at least {min} instances"),
        (None, None, Some(max)) => format!("at most {max} instances"),
        (None, None, None) => "the policy's limits".to_owned(),
    };
    format!("{what} until {} UTC{}", clock(asked.until.as_ref()), said(&asked.actor, &asked.reason))
}

/// ", by ann: deploy", as far as there is something to say.
fn said(actor: &str, reason: &str) -> String {
    match (actor, reason) {
        ("", "") => String::new(),
        ("", reason) => format!(": {reason}"),
        (actor, "") => format!(", by {actor}"),
        (actor, reason) => format!(", by {actor}: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTIL: Option<prost_types::Timestamp> =
        Some(prost_types::Timestamp { seconds: 1_795_501_800, nanos: 0 });

    #[test]
    fn pause_says_what_is_held_back_until_when_by_whom_and_why() {
        let check = |scale_out, scale_in, until, reason: &str, want: &str| {
            let (reason, actor) = (reason.to_owned(), "ann".to_owned());
            assert_eq!(pause_words(&PauseInForce { scale_out, scale_in, until, reason, actor }), want);
        };
        check(
            true,
            true,
            UNTIL,
            "deploy",
            "nothing is started or stopped until 2026-11-24 06:30:00 UTC, by ann: deploy",
        );
        check(false, true, None, "", "nothing is stopped until 'dunlin fleet resume', by ann");
    }

    #[test]
    fn override_says_its_limits_and_its_end() {
        let check = |min_instances, max_instances, instances, want: &str| {
            let asked = OverrideInForce {
                min_instances,
                max_instances,
                instances,
                until: UNTIL,
                ..Default::default()
            };
            assert_eq!(override_words(&asked), format!("{want} until 2026-11-24 06:30:00 UTC"));
        };
        check(None, None, Some(5), "exactly 5 instances");
        check(Some(2), Some(8), None, "2 to 8 instances");
        check(Some(2), None, None, "at least 2 instances");
        check(None, Some(0), None, "at most 0 instances");
    }
}
