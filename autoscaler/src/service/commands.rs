//! The calls that change something: read and checked here, done by the control loop.

use std::time::Duration;

use platform::{Error, Result, auth::Caller};
use proto::v1;
use tonic::Request;

use super::AutoscalerApi;
use crate::{
    clock::since_epoch,
    command::{Answer, Asker, Command},
    decide::{Override, Paused},
    policy_request,
};

/// What people write into a record. Longer ones would make the log unreadable.
const REASON_BYTES_MAX: usize = 1000;
const NAME_BYTES_MAX: usize = 256;

/// Who calls, in free text. Of somebody with a key the key's name is taken, which can be believed.
const ACTOR: &str = "x-actor";

impl AutoscalerApi {
    pub(super) async fn order_pause(&self, request: Request<v1::PauseRequest>) -> Result<v1::PauseResponse> {
        let (actor, request) = (actor(&request)?, request.into_inner());
        let v1::PauseRequest { scale_out, scale_in, until, reason, request_id } = request;
        if !scale_out && !scale_in {
            return Err(Error::invalid("scale_out", "nothing to pause: set scale_out, scale_in or both"));
        }
        let until = self.in_future(until.as_ref())?;
        let command = Command::Pause(Paused { scale_out, scale_in, until });
        match self.order(command, actor, reason, request_id).await? {
            Answer::Paused(pause) => Ok(v1::PauseResponse { pause_in_force: Some(pause) }),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn order_resume(
        &self,
        request: Request<v1::ResumeRequest>,
    ) -> Result<v1::ResumeResponse> {
        let (actor, request) = (actor(&request)?, request.into_inner());
        let v1::ResumeRequest { reason, request_id } = request;
        self.order(Command::Resume, actor, reason, request_id).await?;
        Ok(v1::ResumeResponse {})
    }

    pub(super) async fn order_policy(
        &self,
        request: Request<v1::SetPolicyRequest>,
    ) -> Result<v1::SetPolicyResponse> {
        let (actor, request) = (actor(&request)?, request.into_inner());
        let v1::SetPolicyRequest { policy, if_version, dry_run, reason, request_id } = request;
        let policy = policy.ok_or_else(|| Error::invalid("policy", "must be set"))?;
        let policy = Box::new(policy_request::read("policy", &policy, &self.0.policy_defaults)?);
        let if_version = (if_version > 0).then_some(if_version);
        let command = Command::SetPolicy { policy, if_version, dry_run };
        match self.order(command, actor, reason, request_id).await? {
            Answer::Policy(policy) => Ok(v1::SetPolicyResponse { policy: Some(*policy) }),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn order_override(
        &self,
        request: Request<v1::SetOverrideRequest>,
    ) -> Result<v1::SetOverrideResponse> {
        let (actor, request) = (actor(&request)?, request.into_inner());
        let asked = self.asked(&request)?;
        let v1::SetOverrideRequest { reason, request_id, .. } = request;
        match self.order(Command::SetOverride(asked), actor, reason, request_id).await? {
            Answer::Override(override_in_force) => Ok(v1::SetOverrideResponse { override_in_force }),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn order_drain(
        &self,
        request: Request<v1::DrainInstanceRequest>,
    ) -> Result<v1::DrainInstanceResponse> {
        let (actor, request) = (actor(&request)?, request.into_inner());
        let v1::DrainInstanceRequest { instance_id, reason, request_id } = request;
        if instance_id.is_empty() {
            return Err(Error::invalid("instance_id", "must be set; ListInstances has the ids"));
        }
        check_length("instance_id", &instance_id, NAME_BYTES_MAX)?;
        match self.order(Command::Drain { instance_id }, actor, reason, request_id).await? {
            Answer::Instance(instance) => Ok(v1::DrainInstanceResponse { instance: Some(*instance) }),
            other => Err(unexpected(&other)),
        }
    }

    /// The override asked for; `None` when it is to be taken back.
    fn asked(&self, request: &v1::SetOverrideRequest) -> Result<Option<Override>> {
        let v1::SetOverrideRequest { min_instances: min, max_instances: max, instances, until, .. } =
            *request;
        if (min, max, instances) == (None, None, None) {
            return Ok(None);
        }
        if instances.is_some() && (min.is_some() || max.is_some()) {
            return Err(Error::invalid("instances", "cannot be set beside min_instances or max_instances"));
        }
        if let (Some(min), Some(max)) = (min, max)
            && min > max
        {
            return Err(Error::invalid("min_instances", format!("{min} is over max_instances, {max}")));
        }
        for (field, value) in [("min_instances", min), ("max_instances", max), ("instances", instances)] {
            policy_request::check_count(field, value.unwrap_or(0))?;
        }
        let until = self.in_future(until.as_ref())?;
        let until = until.ok_or_else(|| Error::invalid("until", "must be set: an override has an end"))?;
        Ok(Some(Override { min, max, instances, until }))
    }

    fn in_future(&self, until: Option<&prost_types::Timestamp>) -> Result<Option<Duration>> {
        let Some(until) = until else { return Ok(None) };
        let until = since_epoch(until).ok_or_else(|| Error::invalid("until", "is not a time after 1970"))?;
        if until <= self.0.clock.now() {
            return Err(Error::invalid("until", "is in the past"));
        }
        Ok(Some(until))
    }

    async fn order(
        &self,
        command: Command,
        actor: String,
        reason: String,
        request_id: String,
    ) -> Result<Answer> {
        check_length("reason", &reason, REASON_BYTES_MAX)?;
        check_length("request_id", &request_id, NAME_BYTES_MAX)?;
        // A trigger is one line.
        let reason = reason.replace(|letter: char| letter.is_control(), " ");
        self.0.orders.give(command, Asker { actor, reason }, request_id).await
    }
}

fn actor<T>(request: &Request<T>) -> Result<String> {
    if let Some(name) = Caller::of(request.extensions()).name() {
        return Ok(name.to_owned());
    }
    let actor = match request.metadata().get(ACTOR).map(|actor| actor.to_str()) {
        None => String::new(),
        Some(Ok(actor)) => actor.to_owned(),
        Some(Err(_)) => return Err(Error::invalid(ACTOR, "must be printable ASCII")),
    };
    check_length(ACTOR, &actor, NAME_BYTES_MAX)?;
    Ok(actor)
}

fn check_length(field: &str, value: &str, bytes_max: usize) -> Result<()> {
    if value.len() > bytes_max {
        return Err(Error::invalid(field, format!("must have at most {bytes_max} bytes")));
    }
    Ok(())
}

fn unexpected(answer: &Answer) -> Error {
    Error::internal(format!("the control loop answered {answer:?}"))
}
