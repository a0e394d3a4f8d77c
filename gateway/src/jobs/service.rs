//! `dunlin.v1.JobService`.

use std::{
    pin::Pin,
    sync::{Arc, PoisonError},
};

use futures::Stream;
use platform::{Error, Kind, Result};
use proto::v1::{
    CancelJobRequest, CancelJobResponse, CreateJobRequest, CreateJobResponse, GetJobRequest, GetJobResponse,
    ListJobResultsRequest, ListJobResultsResponse, ListJobsRequest, ListJobsResponse, WatchJobRequest,
    WatchJobResponse, job_service_server::JobService,
};
use tonic::{Request, Response, Status};

use super::{Jobs, keys::JobId, records, watch_job};

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
        let job = jobs.create(request.into_inner(), String::new()).await?;
        Ok(Response::new(CreateJobResponse { job: Some(job) }))
    }

    async fn get_job(&self, request: Request<GetJobRequest>) -> Result<Response<GetJobResponse>, Status> {
        let jobs = self.jobs()?;
        let id = JobId::parse(&request.into_inner().name, "name")?;
        let job = jobs.fresh(&id, &jobs.records.get(&id).await?);
        Ok(Response::new(GetJobResponse { job: Some(job) }))
    }

    async fn list_jobs(
        &self,
        request: Request<ListJobsRequest>,
    ) -> Result<Response<ListJobsResponse>, Status> {
        Ok(Response::new(self.jobs()?.list(request.into_inner()).await?))
    }

    async fn cancel_job(
        &self,
        request: Request<CancelJobRequest>,
    ) -> Result<Response<CancelJobResponse>, Status> {
        let jobs = self.jobs()?;
        let id = JobId::parse(&request.into_inner().name, "name")?;
        let record = jobs.records.update(&id, |record| {
            let is_new = !records::has_ended(record) && !record.cancel_requested;
            record.cancel_requested |= is_new;
            is_new
        });
        let record = record.await?;
        match jobs.live(&id) {
            Some(live) => live.cancel.cancel(),
            None if !records::has_ended(&record) => {
                jobs.cancelled.lock().unwrap_or_else(PoisonError::into_inner).push(id.clone());
                jobs.wake.notify_one();
            }
            None => {}
        }
        Ok(Response::new(CancelJobResponse { job: Some(jobs.fresh(&id, &record)) }))
    }

    async fn list_job_results(
        &self,
        request: Request<ListJobResultsRequest>,
    ) -> Result<Response<ListJobResultsResponse>, Status> {
        Ok(Response::new(self.jobs()?.results(request.into_inner()).await?))
    }

    type WatchJobStream = Pin<Box<dyn Stream<Item = Result<WatchJobResponse, Status>> + Send>>;

    async fn watch_job(
        &self,
        request: Request<WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        let events = watch_job::open(Arc::clone(self.jobs()?), request.into_inner()).await?;
        Ok(Response::new(Box::pin(events)))
    }
}
