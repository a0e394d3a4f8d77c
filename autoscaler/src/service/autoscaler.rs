//! `AutoscalerService`: what the fleet does and why.

use std::{sync::Arc, time::Duration};

use platform::{Error, Kind, Result};
use prost::Message as _;
use proto::v1::{self, Decision, autoscaler_service_server::AutoscalerService};
use tokio::{sync::Semaphore, task::spawn_blocking};
use tonic::{Request, Response, Status};

use super::{
    simulate::SIMULATIONS_MAX,
    stream::{Answers, answers},
    watch::{DecisionWatch, StatusWatch, is_asked_for},
};
use crate::{clock::since_epoch, explain::explain, shared::Shared};

/// An explanation asks the decision function some hundred times, which takes milliseconds; more of them at once wait.
const EXPLANATIONS_MAX: usize = 2;

const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 1000;

/// A page ends before this, so that clients with gRPC's usual limit of 4 MiB can read it. Decisions of a fleet of thousands are
/// a megabyte each.
const PAGE_BYTES_MAX: usize = 3 << 20;

pub struct AutoscalerApi(pub Arc<Shared>, pub Desk);

/// Work for callers that takes the processor, and how much of it may go on at once.
pub struct Desk {
    explanations: Semaphore,
    pub(super) simulations: Arc<Semaphore>,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            explanations: Semaphore::new(EXPLANATIONS_MAX),
            simulations: Arc::new(Semaphore::new(SIMULATIONS_MAX)),
        }
    }
}

#[tonic::async_trait]
impl AutoscalerService for AutoscalerApi {
    type WatchStatusStream = Answers<v1::WatchStatusResponse>;
    type WatchDecisionsStream = Answers<v1::WatchDecisionsResponse>;
    type SimulateStream = Answers<v1::SimulateResponse>;

    async fn get_status(
        &self,
        _: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        Ok(Response::new(self.0.view.borrow().status.clone()))
    }

    async fn watch_status(
        &self,
        _: Request<v1::WatchStatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        Ok(Response::new(answers(StatusWatch::new(&self.0))))
    }

    async fn list_decisions(
        &self,
        request: Request<v1::ListDecisionsRequest>,
    ) -> Result<Response<v1::ListDecisionsResponse>, Status> {
        Ok(Response::new(self.page(&request.into_inner())?))
    }

    async fn get_decision(
        &self,
        request: Request<v1::GetDecisionRequest>,
    ) -> Result<Response<v1::GetDecisionResponse>, Status> {
        let decision_id = request.into_inner().decision_id;
        if decision_id.is_empty() {
            return Err(Error::invalid("decision_id", "must be set; ListDecisions has the ids").into());
        }
        let decision = self.decision(&decision_id)?;
        Ok(Response::new(v1::GetDecisionResponse { decision: Some((*decision).clone()) }))
    }

    async fn watch_decisions(
        &self,
        request: Request<v1::WatchDecisionsRequest>,
    ) -> Result<Response<Self::WatchDecisionsStream>, Status> {
        let watch = DecisionWatch::new(&self.0, request.into_inner())?;
        Ok(Response::new(answers(watch)))
    }

    async fn list_instances(
        &self,
        _: Request<v1::ListInstancesRequest>,
    ) -> Result<Response<v1::ListInstancesResponse>, Status> {
        let instances = self.0.view.borrow().instances.clone();
        Ok(Response::new(v1::ListInstancesResponse { instances }))
    }

    async fn explain_decision(
        &self,
        request: Request<v1::ExplainDecisionRequest>,
    ) -> Result<Response<v1::ExplainDecisionResponse>, Status> {
        let decision = match request.into_inner().decision_id.as_str() {
            "" => self.0.log.last().ok_or_else(|| {
                Error::new(Kind::DecisionNotFound, "nothing was decided yet; ask again in a moment")
            })?,
            decision_id => self.decision(decision_id)?,
        };
        let _turn = self.1.explanations.acquire().await.map_err(Error::internal)?;
        let explained = spawn_blocking(move || explain(&decision)).await.map_err(Error::internal)?;
        Ok(Response::new(explained?))
    }

    async fn simulate(
        &self,
        request: Request<v1::SimulateRequest>,
    ) -> Result<Response<Self::SimulateStream>, Status> {
        Ok(Response::new(answers(self.simulation(request.get_ref())?)))
    }

    async fn pause(&self, request: Request<v1::PauseRequest>) -> Result<Response<v1::PauseResponse>, Status> {
        Ok(Response::new(self.order_pause(request).await?))
    }

    async fn resume(
        &self,
        request: Request<v1::ResumeRequest>,
    ) -> Result<Response<v1::ResumeResponse>, Status> {
        Ok(Response::new(self.order_resume(request).await?))
    }

    async fn set_policy(
        &self,
        request: Request<v1::SetPolicyRequest>,
    ) -> Result<Response<v1::SetPolicyResponse>, Status> {
        Ok(Response::new(self.order_policy(request).await?))
    }

    async fn set_override(
        &self,
        request: Request<v1::SetOverrideRequest>,
    ) -> Result<Response<v1::SetOverrideResponse>, Status> {
        Ok(Response::new(self.order_override(request).await?))
    }

    async fn drain_instance(
        &self,
        request: Request<v1::DrainInstanceRequest>,
    ) -> Result<Response<v1::DrainInstanceResponse>, Status> {
        Ok(Response::new(self.order_drain(request).await?))
    }
}

impl AutoscalerApi {
    fn decision(&self, decision_id: &str) -> Result<Arc<Decision>> {
        self.0.log.get(decision_id).ok_or_else(|| {
            Error::new(Kind::DecisionNotFound, format!("no decision {decision_id:?}, or no longer kept"))
                .with_resource("dunlin.v1.Decision", decision_id)
        })
    }

    fn page(&self, request: &v1::ListDecisionsRequest) -> Result<v1::ListDecisionsResponse> {
        let size = match usize::try_from(request.page_size) {
            Ok(0) => PAGE_DEFAULT,
            Ok(size) => size.min(PAGE_MAX),
            Err(_) => return Err(Error::invalid("page_size", format!("must be 0 to {PAGE_MAX}"))),
        };
        let before = match request.page_token.as_str() {
            "" => u64::MAX,
            token => token.parse().map_err(|_| {
                Error::invalid("page_token", "is not the next_page_token of an earlier answer")
            })?,
        };
        let since = time("since", request.since.as_ref())?.unwrap_or(Duration::ZERO);
        let until = time("until", request.until.as_ref())?.unwrap_or(Duration::MAX);
        if since > until {
            return Err(Error::invalid("until", "is before since"));
        }
        let keep = |decision: &Decision| {
            let at = decision.time.as_ref().and_then(since_epoch).unwrap_or_default();
            is_asked_for(decision, request.changed_only) && (since..until).contains(&at)
        };
        // One more than asked for tells whether there is another page.
        let mut found = self.0.log.before(before, size + 1, keep);
        let mut bytes = 0;
        let fits = |decision: &&Arc<Decision>| {
            bytes += decision.encoded_len();
            bytes <= PAGE_BYTES_MAX
        };
        let count = found.iter().take(size).take_while(fits).count().max(1);
        let more = found.len() > count;
        found.truncate(count);
        let next_page_token = match found.last() {
            Some(last) if more => last.sequence.to_string(),
            _ => String::new(),
        };
        let decisions = found.iter().map(|decision| (**decision).clone()).collect();
        Ok(v1::ListDecisionsResponse { decisions, next_page_token })
    }
}

fn time(field: &str, time: Option<&prost_types::Timestamp>) -> Result<Option<Duration>> {
    let read = |time| since_epoch(time).ok_or_else(|| Error::invalid(field, "is not a time after 1970"));
    time.map(read).transpose()
}
