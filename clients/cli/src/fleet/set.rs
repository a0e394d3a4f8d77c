//! `dunlin fleet set`: another policy, or other limits for a while.

use platform::{
    Error,
    options::{Check, Problems, exit},
};
use proto::v1::{GetStatusRequest, SetOverrideRequest, SetPolicyRequest};

use super::{OrderOptions, change::Change, policy::PolicyRecord, when::When};
use crate::{
    failure::{Failure, Outcome},
    orders::{OverrideRecord, override_words},
    output::{Document, Output},
    record::policy_words,
};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten, next_help_heading = "Policy")]
    change: Change,
    /// Only if the policy in force has this version
    #[arg(long, value_name = "VERSION", help_heading = "Policy")]
    if_version: Option<u64>,
    /// Show the policy that it would be, and change nothing
    #[arg(long, help_heading = "Policy")]
    dry_run: bool,
    /// With --instances, --min or --max: limits that take the place of the policy's as long as this
    #[command(flatten, next_help_heading = "For a while")]
    when: When,
    /// End the limits that were set for a while
    #[arg(long, help_heading = "For a while", conflicts_with_all = ["lasts", "until", "dry_run", "if_version"])]
    end_override: bool,
    #[command(flatten, next_help_heading = "Order")]
    order: OrderOptions,
}

impl Check for Options {
    fn check(&self, problems: &mut Problems) {
        self.when.check(problems);
        let limits = (self.change.instances, self.change.min_instances, self.change.max_instances);
        if self.end_override {
            if self.change.is_given() {
                problems.add("--end-override", "stands alone");
            }
        } else if self.when.is_given() {
            if self.change.is_of_policy_alone() || self.dry_run || self.if_version.is_some() {
                let sentence =
                    "a policy holds until the next; only --instances, --min and --max can be for a while";
                problems.add("--for", sentence);
            } else if limits == (None, None, None) {
                problems.add("--for", "needs --instances, or --min or --max");
            } else if self.change.instances.is_some() && (limits.1.is_some() || limits.2.is_some()) {
                problems.add("--instances", "cannot be set beside --min or --max for a while");
            }
        } else if !self.change.is_given() {
            problems.add("fleet set", "needs something to set, such as --max 40 or --instances 5 --for 1h");
        } else {
            self.change.check(problems);
        }
    }
}

pub(super) async fn run(options: Options) -> Outcome {
    if options.end_override || options.when.is_given() { limit(options).await } else { change(options).await }
}

async fn limit(options: Options) -> Outcome {
    let Options { change, when, order, .. } = options;
    let message = SetOverrideRequest {
        min_instances: change.min_instances,
        max_instances: change.max_instances,
        instances: change.instances,
        until: when.end(),
        reason: order.reason.clone(),
        request_id: order.request_id.clone(),
    };
    let mut client = order.client().await?;
    let answer = client.set_override(order.request(message)).await.map_err(Error::from)?.into_inner();
    let in_force = answer.override_in_force.as_ref();
    let mut output = Output::new();
    match order.output {
        Document::Json => output.json(&in_force.map(OverrideRecord::from))?,
        Document::Text => output.line(&in_force.map_or_else(limits_of_policy, override_words))?,
    }
    Ok(0)
}

fn limits_of_policy() -> String {
    "the limits are the policy's".to_owned()
}

/// Reads the policy in force and sends it back changed, for as long as nobody else changes it in between.
async fn change(options: Options) -> Outcome {
    let Options { change, if_version, dry_run, order, .. } = options;
    let mut client = order.client().await?;
    let status = client.get_status(GetStatusRequest {}).await.map_err(Error::from)?.into_inner();
    let before = status.policy.unwrap_or_default();
    let version = before.version;
    let policy = change.apply(before.clone()).map_err(|sentence| Failure::new(exit::CONFIG, sentence))?;
    let message = SetPolicyRequest {
        policy: Some(policy),
        if_version: if_version.unwrap_or(version),
        dry_run,
        reason: order.reason.clone(),
        request_id: order.request_id.clone(),
    };
    let answer = client.set_policy(order.request(message)).await.map_err(Error::from)?.into_inner();
    let after = answer.policy.unwrap_or_default();
    let mut output = Output::new();
    match order.output {
        Document::Json => output.json(&PolicyRecord::from(&after))?,
        Document::Text if dry_run => {
            output.line(&format!("is        {}, version {version}", policy_words(&before)))?;
            output.line(&format!("would be  {}", policy_words(&after)))?;
        }
        Document::Text => output.line(&format!("{}, version {}", policy_words(&after), after.version))?,
    }
    Ok(0)
}
