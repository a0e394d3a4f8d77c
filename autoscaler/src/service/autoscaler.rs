//! `AutoscalerService`: what the fleet does and why.

use std::{sync::Arc, time::Duration};

use platform::{Error, Kind, Result};
use proto::v1::{self, Decision, autoscaler_service_server::AutoscalerService};
use tokio::{sync::watch, time::timeout};
use tonic::{Request, Response, Status};

use super::stream::{Answers, Step, answers};
use crate::{
    clock::since_epoch,
    shared::{Shared, View},
};

/// A watcher of the status hears from us at least this often.
const STATUS_PERIOD: Duration = Duration::from_secs(5);

const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 1000;

pub struct AutoscalerApi(pub Arc<Shared>);

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
        let mut view = self.0.view.subscribe();
        // What is there now is the first answer.
        view.mark_changed();
        Ok(Response::new(answers(StatusWatch { shared: Arc::clone(&self.0), view })))
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
        let decision = self.0.log.get(&decision_id).ok_or_else(|| {
            Error::new(Kind::DecisionNotFound, format!("no decision {decision_id:?}, or no longer kept"))
                .with_resource("dunlin.v1.Decision", &decision_id)
        })?;
        Ok(Response::new(v1::GetDecisionResponse { decision: Some((*decision).clone()) }))
    }

    async fn watch_decisions(
        &self,
        request: Request<v1::WatchDecisionsRequest>,
    ) -> Result<Response<Self::WatchDecisionsStream>, Status> {
        let v1::WatchDecisionsRequest { after_sequence, changed_only } = request.into_inner();
        let latest = self.0.log.latest();
        let newest = *latest.borrow();
        if after_sequence > newest {
            let sentence = format!("{after_sequence} is after the latest decision, {newest}");
            return Err(Error::invalid("after_sequence", sentence).into());
        }
        let after = if after_sequence == 0 { newest } else { after_sequence };
        let watch = DecisionWatch { shared: Arc::clone(&self.0), latest, after, changed_only };
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
        _: Request<v1::ExplainDecisionRequest>,
    ) -> Result<Response<v1::ExplainDecisionResponse>, Status> {
        not_yet("ExplainDecision is not served; GetDecision has the terms, the bounds and the reason")
    }

    async fn simulate(
        &self,
        _: Request<v1::SimulateRequest>,
    ) -> Result<Response<Self::SimulateStream>, Status> {
        not_yet("Simulate is not served; ListDecisions shows what was decided and from what")
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

fn not_yet<T>(sentence: &str) -> Result<T, Status> {
    Err(Error::new(Kind::Unimplemented, sentence).into())
}

impl AutoscalerApi {
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
        let more = found.len() > size;
        found.truncate(size);
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

fn is_asked_for(decision: &Decision, changed_only: bool) -> bool {
    !changed_only || !decision.actions.is_empty()
}

struct StatusWatch {
    shared: Arc<Shared>,
    view: watch::Receiver<View>,
}

impl Step for StatusWatch {
    type Answer = v1::WatchStatusResponse;

    async fn step(&mut self) -> Result<Option<v1::WatchStatusResponse>> {
        tokio::select! {
            // Changed or not: after the period it is said again.
            _ = timeout(STATUS_PERIOD, self.view.changed()) => {}
            () = self.shared.stop.cancelled() => return Ok(None),
        }
        let status = self.view.borrow_and_update().status.clone();
        Ok(Some(v1::WatchStatusResponse { status: Some(status) }))
    }
}

struct DecisionWatch {
    shared: Arc<Shared>,
    latest: watch::Receiver<u64>,
    /// Sequence of the last one looked at.
    after: u64,
    changed_only: bool,
}

impl Step for DecisionWatch {
    type Answer = v1::WatchDecisionsResponse;

    async fn step(&mut self) -> Result<Option<v1::WatchDecisionsResponse>> {
        loop {
            self.latest.borrow_and_update();
            while let Some(decision) = self.shared.log.next_after(self.after) {
                self.after = decision.sequence;
                if is_asked_for(&decision, self.changed_only) {
                    return Ok(Some(v1::WatchDecisionsResponse { decision: Some((*decision).clone()) }));
                }
            }
            tokio::select! {
                changed = self.latest.changed() => if changed.is_err() {
                    return Ok(None);
                },
                () = self.shared.stop.cancelled() => return Ok(None),
            }
        }
    }
}
