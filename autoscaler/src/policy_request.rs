//! Policies as callers send them: what is missing gets its default, and what cannot be is refused by its field.

use std::time::Duration;

use platform::{Error, Result};
use proto::v1;

use crate::decide::{Backlog, Days, Fixed, Floor, Latency, Policy, Rule, Step};

/// No fleet is larger; a typing error should not become one.
const INSTANCES_MAX: u32 = 20_000;

/// The longest a rule's own hold may become, however long a boot takes.
pub const HOLD_MAX: Duration = Duration::from_secs(300);

/// What stands in for a part of a policy that was not given.
#[derive(Debug, Clone, Copy)]
pub struct PolicyDefaults {
    pub keep: Duration,
    pub tick: Duration,
}

impl PolicyDefaults {
    /// Two ticks, or a quarter of the target where that is longer; and never less than what a busy
    /// gateway may take to get its report, due each second, to us.
    pub fn stale_after(&self, rule: &Rule) -> Duration {
        const REPORTS: Duration = Duration::from_secs(3);
        let target = match rule {
            Rule::Latency(latency) => latency.target,
            Rule::Step(_) | Rule::Backlog(_) | Rule::Fixed(_) => Duration::ZERO,
        };
        (self.tick * 2).max(target / 4).max(REPORTS)
    }
}

/// Reads the policy in the field `field` of a request. Its version is not read: whoever sets it gives it one.
pub fn read(field: &str, policy: &v1::Policy, defaults: &PolicyDefaults) -> Result<Policy> {
    let name = |part: &str| format!("{field}.{part}");
    let read = Policy { version: 0, ..parse(field, policy, defaults)? };
    check_count(&name("max_instances"), read.max_instances)?;
    if read.max_instances == 0 {
        return Err(Error::invalid(name("max_instances"), "must be at least 1"));
    }
    match read.problems().into_iter().next() {
        Some((part, sentence)) => Err(Error::invalid(name(part), sentence)),
        None => Ok(read),
    }
}

/// The same without asking whether it makes sense: for one that was in force.
pub fn parse(field: &str, policy: &v1::Policy, defaults: &PolicyDefaults) -> Result<Policy> {
    let name = |part: &str| format!("{field}.{part}");
    let duration = |part: &str, value: Option<&prost_types::Duration>| match value {
        None => Ok(None),
        Some(value) => platform::time::from_proto(Some(value))
            .map(Some)
            .ok_or_else(|| Error::invalid(name(part), "must not be negative")),
    };
    let rule = rule(policy, name, duration)?;
    Ok(Policy {
        stale_after: duration("stale_after", policy.stale_after.as_ref())?
            .unwrap_or_else(|| defaults.stale_after(&rule)),
        rule,
        min_instances: policy.min_instances,
        max_instances: policy.max_instances,
        hold: duration("scale_in_hold", policy.scale_in_hold.as_ref())?,
        keep: duration("keep", policy.keep.as_ref())?.unwrap_or(defaults.keep),
        floors: policy.floors.iter().map(|one| floor(one, name)).collect::<Result<_>>()?,
        version: policy.version,
    })
}

pub fn check_count(field: &str, instances: u32) -> Result<()> {
    if instances > INSTANCES_MAX {
        return Err(Error::invalid(
            field,
            format!("{instances} is over {INSTANCES_MAX}, the most there can be"),
        ));
    }
    Ok(())
}

fn floor(floor: &v1::ScheduleFloor, name: impl Fn(&str) -> String) -> Result<Floor> {
    let mut days = Days(0);
    for day in floor.days() {
        match day {
            v1::DayOfWeek::Unspecified => {
                return Err(Error::invalid(name("floors.days"), "must be days of the week"));
            }
            day => days.0 |= 1 << (day as u8 - v1::DayOfWeek::Monday as u8),
        }
    }
    let duration = |part: &str, value: Option<&prost_types::Duration>| {
        platform::time::from_proto(value)
            .ok_or_else(|| Error::invalid(name(part), "must be set and not negative"))
    };
    Ok(Floor {
        days: if floor.days.is_empty() { Days::ALL } else { days },
        // Midnight is nothing at all on the wire for some clients.
        from: floor.from.as_ref().map_or(Ok(Duration::ZERO), |from| duration("floors.from", Some(from)))?,
        length: duration("floors.length", floor.length.as_ref())?,
        instances: floor.instances,
    })
}

fn rule(
    policy: &v1::Policy,
    name: impl Fn(&str) -> String,
    duration: impl Fn(&str, Option<&prost_types::Duration>) -> Result<Option<Duration>>,
) -> Result<Rule> {
    use v1::policy::Kind;
    Ok(match &policy.kind {
        None => {
            let sentence = "must be one of step, backlog, latency and fixed";
            return Err(Error::invalid(name("kind"), sentence));
        }
        Some(Kind::Step(step)) => Rule::Step(Step {
            messages_per_instance: step.messages_per_instance,
            count_in_flight: step.count_in_flight,
        }),
        Some(Kind::Backlog(backlog)) => {
            Rule::Backlog(Backlog { target_per_instance: backlog.target_per_instance })
        }
        Some(Kind::Latency(latency)) => Rule::Latency(Latency {
            // One that is missing is refused as any other that is not over 0.
            target: duration("latency.target", latency.target.as_ref())?.unwrap_or_default(),
            quantile: latency.quantile,
            hold_max: duration("latency.max_hold", latency.max_hold.as_ref())?.unwrap_or(HOLD_MAX),
        }),
        Some(Kind::Fixed(fixed)) => Rule::Fixed(Fixed { instances: fixed.instances }),
    })
}
