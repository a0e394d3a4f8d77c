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
    repeat::{self, Call, CallId, Carried, Fingerprint, Given},
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

/// What a caller may repeat.
fn call_id<T>(request: &Request<T>, method: &'static str, request_id: &str) -> Result<Option<CallId>, Error> {
    let owner = repeat::owner(request.extensions());
    CallId::of(Given { owner: owner.as_deref(), method, request_id, field: "request_id" })
}

#[tonic::async_trait]
impl ClassifierService for Classifier {
    async fn classify(
        &self,
        request: Request<ClassifyRequest>,
    ) -> Result<Response<ClassifyResponse>, Status> {
        let deadline = deadline(&request);
        charge(&request, 1)?;
        let id = call_id(&request, "Classify", &request.get_ref().request_id)?;
        let ClassifyRequest { image, options, request_id: _ } = request.into_inner();
        let image = image.ok_or_else(|| missing_image("image"))?;
        let fingerprint = || Fingerprint::of(std::slice::from_ref(&image), options.as_ref(), false);
        let call = id.map(|id| Call { id, fingerprint: fingerprint() });
        let one = core::One { image, options, deadline, patience: Patience::Caller };
        let result = repeat::classify(&self.core, call, one).await?;
        Ok(Response::new(ClassifyResponse { result: Some(result) }))
    }

    async fn batch_classify(
        &self,
        request: Request<BatchClassifyRequest>,
    ) -> Result<Response<BatchClassifyResponse>, Status> {
        let deadline = deadline(&request);
        charge(&request, request.get_ref().images.len())?;
        let id = call_id(&request, "BatchClassify", &request.get_ref().request_id)?;
        let BatchClassifyRequest { images, options, request_id: _ } = request.into_inner();
        let call = id.map(|id| Call { id, fingerprint: Fingerprint::of(&images, options.as_ref(), false) });
        let many =
            core::Request { images, options, tell_start: false, deadline, carried: Carried::default() };
        let results = repeat::batch(&self.core, call, many).await?;
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
        let id = call_id(&request, "ClassifyStream", &request.get_ref().request_id)?;
        let ClassifyStreamRequest { images, options, request_id, include_progress } = request.into_inner();
        let fingerprint = || Fingerprint::of(&images, options.as_ref(), include_progress);
        let call = id.map(|id| Call { id, fingerprint: fingerprint() });
        let many = core::Request {
            images,
            options,
            tell_start: include_progress,
            deadline,
            carried: Carried::default(),
        };
        let events = repeat::many(&self.core, call, request_id, many).await?;
        Ok(Response::new(Box::pin(events.respond())))
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
