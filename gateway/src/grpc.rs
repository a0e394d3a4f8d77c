//! `dunlin.v1.ClassifierService`.

use std::{pin::Pin, sync::Arc};

use futures::Stream;
use platform::{Error, Kind, auth::Caller, serve::Deadline};
use proto::v1::{
    BatchClassifyRequest, BatchClassifyResponse, BidiClassifyRequest, BidiClassifyResponse, ClassifyRequest,
    ClassifyResponse, ClassifyStreamRequest, ClassifyStreamResponse, ImageResult, ImageState, ResultCounts,
    classifier_service_server::ClassifierService,
};
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    admission::Patience,
    bidi,
    core::{self, Core},
    pending::Event,
    stream,
};

pub struct Classifier {
    core: Arc<Core>,
}

impl Classifier {
    pub fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn deadline<T>(request: &Request<T>) -> Option<Instant> {
    request.extensions().get::<Deadline>().map(|deadline| deadline.0)
}

/// Takes the images from the rate of the caller's key.
fn charge<T>(request: &Request<T>, images: usize) -> Result<(), Error> {
    Caller::of(request.extensions()).charge(u64::try_from(images).unwrap_or(u64::MAX))
}

#[tonic::async_trait]
impl ClassifierService for Classifier {
    async fn classify(
        &self,
        request: Request<ClassifyRequest>,
    ) -> Result<Response<ClassifyResponse>, Status> {
        let deadline = deadline(&request);
        charge(&request, 1)?;
        let ClassifyRequest { image, options, request_id: _ } = request.into_inner();
        let image = image.ok_or_else(|| missing_image("image"))?;
        let result = self.core.classify_one(image, options, deadline, Patience::Caller).await?;
        Ok(Response::new(ClassifyResponse { result: Some(result) }))
    }

    async fn batch_classify(
        &self,
        request: Request<BatchClassifyRequest>,
    ) -> Result<Response<BatchClassifyResponse>, Status> {
        let deadline = deadline(&request);
        charge(&request, request.get_ref().images.len())?;
        let BatchClassifyRequest { images, options, request_id: _ } = request.into_inner();
        let many = core::Request { images, options, tell_start: false, deadline };
        let (mut group, names) = self.core.submit_many(many).await?;
        let mut results = Vec::with_capacity(names.len());
        while let Some(event) = group.next().await {
            if let Event::Finished(result) = event {
                results.push(*result);
            }
        }
        results.sort_by_key(|result| result.index);
        let counts = count(&results);
        Ok(Response::new(BatchClassifyResponse { results, counts: Some(counts) }))
    }

    type ClassifyStreamStream = Events<ClassifyStreamResponse>;

    async fn classify_stream(
        &self,
        request: Request<ClassifyStreamRequest>,
    ) -> Result<Response<Self::ClassifyStreamStream>, Status> {
        let deadline = deadline(&request);
        charge(&request, request.get_ref().images.len())?;
        let events = stream::open(Arc::clone(&self.core), request.into_inner(), deadline).await?;
        Ok(Response::new(Box::pin(events)))
    }

    type BidiClassifyStream = Events<BidiClassifyResponse>;

    async fn bidi_classify(
        &self,
        request: Request<Streaming<BidiClassifyRequest>>,
    ) -> Result<Response<Self::BidiClassifyStream>, Status> {
        let (deadline, caller) = (deadline(&request), Caller::of(request.extensions()));
        let opened = bidi::Opened { requests: request.into_inner(), deadline, caller };
        let events = bidi::open(Arc::clone(&self.core), opened);
        Ok(Response::new(Box::pin(events)))
    }
}

fn missing_image(field: &str) -> Error {
    Error::new(Kind::InvalidRequest, format!("{field} is missing")).with_violation(field, "must be set")
}

pub fn count(results: &[ImageResult]) -> ResultCounts {
    let mut counts = ResultCounts::default();
    for result in results {
        add(&mut counts, result.state());
    }
    counts
}

/// Counts one more result.
pub fn add(counts: &mut ResultCounts, state: ImageState) {
    counts.total += 1;
    match state {
        ImageState::Succeeded => counts.succeeded += 1,
        ImageState::Cancelled => counts.cancelled += 1,
        ImageState::Expired => counts.expired += 1,
        ImageState::Failed | ImageState::Unspecified | ImageState::Queued | ImageState::Running => {
            counts.failed += 1;
        }
    }
}
