//! `dunlin.v1.JobService`.

use std::{pin::Pin, sync::Arc};

use futures::Stream;
use platform::{
    Error, Kind, Result,
    auth::{Caller, Scope},
};
use proto::{
    internal::v1::JobRecord,
    v1::{
        CancelJobRequest, CancelJobResponse, CreateJobRequest, CreateJobResponse, GetJobRequest,
        GetJobResponse, ListJobResultsRequest, ListJobResultsResponse, ListJobsRequest, ListJobsResponse,
        WatchJobRequest, WatchJobResponse, job_service_server::JobService,
    },
};
use tonic::{Request, Response, Status};

use super::{
    Jobs,
    keys::{self, JobId},
    records, watch_job,
};

/// Answers `Config` to everything without a store.
pub struct Service(pub Option<Arc<Jobs>>);

impl Service {
    fn jobs(&self) -> Result<&Arc<Jobs>> {
        self.0.as_ref().ok_or_else(|| {
            let sentence =
                "jobs need a store: start the gateway with --store file:///FOLDER or s3://BUCKET/PREFIX";
            Error::new(Kind::Config, sentence).with_metadata("option", "--store")
        })
    }
}

impl Jobs {
    /// The record of a job that the caller may see; another's is as if it were not there.
    pub(super) async fn of(&self, caller: &Caller, id: &JobId) -> Result<JobRecord> {
        let record = self.records.get(id).await?;
        if may_see(caller, &record) { Ok(record) } else { Err(keys::not_found(&id.name())) }
    }
}

/// Jobs are those of the key they were created with, and of whoever administrates.
pub fn may_see(caller: &Caller, record: &JobRecord) -> bool {
    let Some(key_id) = &caller.key_id else { return true };
    record.owner.is_empty() || **key_id == *record.owner || caller.scopes.allow(Scope::Admin)
}

#[tonic::async_trait]
impl JobService for Service {
    async fn create_job(
        &self,
        request: Request<CreateJobRequest>,
    ) -> Result<Response<CreateJobResponse>, Status> {
        let jobs = self.jobs()?;
        if jobs.core.stop.is_cancelled() {
            return Err(Error::new(Kind::Draining, "this gateway stops; ask another").into());
        }
        let caller = Caller::of(request.extensions());
        let job = jobs.create(request.into_inner(), caller).await?;
        Ok(Response::new(CreateJobResponse { job: Some(job) }))
    }

    async fn get_job(&self, request: Request<GetJobRequest>) -> Result<Response<GetJobResponse>, Status> {
        let jobs = self.jobs()?;
        let caller = Caller::of(request.extensions());
        let id = JobId::parse(&request.into_inner().name, "name")?;
        let job = jobs.fresh(&id, &jobs.of(&caller, &id).await?);
        Ok(Response::new(GetJobResponse { job: Some(job) }))
    }

    async fn list_jobs(
        &self,
        request: Request<ListJobsRequest>,
    ) -> Result<Response<ListJobsResponse>, Status> {
        let caller = Caller::of(request.extensions());
        Ok(Response::new(self.jobs()?.list(request.into_inner(), &caller).await?))
    }

    async fn cancel_job(
        &self,
        request: Request<CancelJobRequest>,
    ) -> Result<Response<CancelJobResponse>, Status> {
        let jobs = self.jobs()?;
        let caller = Caller::of(request.extensions());
        let id = JobId::parse(&request.into_inner().name, "name")?;
        jobs.of(&caller, &id).await?;
        let record = jobs.records.update(&id, |record| {
            let is_new = !records::has_ended(record) && !record.cancel_requested;
            record.cancel_requested |= is_new;
            is_new
        });
        let record = record.await?;
        match jobs.live(&id) {
            Some(live) => live.cancel.cancel(),
            None if !records::has_ended(&record) => jobs.tell(|news| news.cancelled.push(id.clone())),
            None => {}
        }
        Ok(Response::new(CancelJobResponse { job: Some(jobs.fresh(&id, &record)) }))
    }

    async fn list_job_results(
        &self,
        request: Request<ListJobResultsRequest>,
    ) -> Result<Response<ListJobResultsResponse>, Status> {
        let caller = Caller::of(request.extensions());
        Ok(Response::new(self.jobs()?.results(request.into_inner(), &caller).await?))
    }

    type WatchJobStream = Pin<Box<dyn Stream<Item = Result<WatchJobResponse, Status>> + Send>>;

    async fn watch_job(
        &self,
        request: Request<WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        let jobs = self.jobs()?;
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        let id = JobId::parse(&request.name, "name")?;
        jobs.of(&caller, &id).await?;
        let events = watch_job::open(Arc::clone(jobs), id, &request);
        Ok(Response::new(Box::pin(events)))
    }
}
