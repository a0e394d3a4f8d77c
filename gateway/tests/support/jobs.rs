//! A client of `JobService`, for tests.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::Path;

use proto::v1::{
    CancelJobRequest, CreateJobRequest, GetJobRequest, Image, ImageList, Job, JobState, WatchJobRequest,
    WatchJobResponse, create_job_request::Input, job_service_client::JobServiceClient,
    watch_job_response::Event,
};
use tokio_stream::StreamExt as _;
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt as _;

use super::{JPEG, System, image, start};

pub type Client = JobServiceClient<Channel>;

pub async fn start_in(folder: &Path, flags: &[&str]) -> (System, Client) {
    let store = format!("file://{}", folder.display());
    let system = start(&[&["--store", &store], flags].concat()).await;
    let client = JobServiceClient::connect(format!("http://{}", system.public)).await.unwrap();
    (system, client.max_encoding_message_size(64 << 20))
}

pub fn of_images(images: Vec<Image>) -> CreateJobRequest {
    CreateJobRequest { input: Some(Input::Images(ImageList { images })), ..CreateJobRequest::default() }
}

/// No two images are equal, so each is classified.
pub fn of_count(count: usize) -> CreateJobRequest {
    of_images((0..count).map(numbered).collect())
}

pub fn numbered(i: usize) -> Image {
    image(&format!("{i}.jpg"), &[JPEG, i.to_string().as_bytes()].concat())
}

pub async fn create(client: &mut Client, request: CreateJobRequest) -> Job {
    client.create_job(request).await.unwrap().into_inner().job.unwrap()
}

pub async fn get(client: &mut Client, name: &str) -> Job {
    client.get_job(GetJobRequest { name: name.to_owned() }).await.unwrap().into_inner().job.unwrap()
}

pub async fn cancel(client: &mut Client, name: &str) -> Job {
    client.cancel_job(CancelJobRequest { name: name.to_owned() }).await.unwrap().into_inner().job.unwrap()
}

/// All its events until its end.
pub async fn watch(client: &mut Client, name: &str, after_sequence: u64) -> Vec<WatchJobResponse> {
    let request = WatchJobRequest { name: name.to_owned(), after_sequence, include_progress: false };
    let stream = client.watch_job(request).await.unwrap().into_inner();
    let events = stream.map(|event| event.unwrap());
    events.filter(|event| !matches!(event.event, Some(Event::Heartbeat(_)))).collect().await
}

pub fn reason(status: &Status) -> String {
    status.get_details_error_info().expect("every error has an ErrorInfo").reason
}

pub fn field(status: &Status) -> String {
    status.get_details_bad_request().unwrap().field_violations[0].field.clone()
}

/// Index of each result, in the order they came; and that numbers only grow.
pub fn results(events: &[WatchJobResponse]) -> Vec<u32> {
    assert!(events.windows(2).all(|pair| pair[0].sequence < pair[1].sequence), "{events:?}");
    let index = |event: &WatchJobResponse| match &event.event {
        Some(Event::Result(result)) => Some(result.index),
        _ => None,
    };
    events.iter().filter_map(index).collect()
}

pub fn sorted(mut indices: Vec<u32>) -> Vec<u32> {
    indices.sort_unstable();
    indices
}

pub fn states(events: &[WatchJobResponse]) -> Vec<JobState> {
    let state = |event: &WatchJobResponse| match &event.event {
        Some(Event::Job(job)) => Some(job.state()),
        _ => None,
    };
    events.iter().filter_map(state).collect()
}
