//! `dunlin classify` against a gateway that does as it is told: what is sent, and what is made of
//! refusals and broken streams.
#![allow(clippy::unwrap_used)]

use std::{path::Path, time::Duration};

use platform::{Error, Kind};
use proto::v1::{
    Classification, ClassifyStreamRequest, ClassifyStreamResponse, Image, ImageResult, ImageState,
    StreamAccepted, StreamSummary, classify_stream_response::Event, image::Source,
};
use tonic::Status;

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support;

use support::{Ended, Script, ScriptedGateway, run_beside};

fn event(event: Event) -> Result<ClassifyStreamResponse, Status> {
    Ok(ClassifyStreamResponse { sequence: 0, event: Some(event) })
}

/// An image "classified" as its own size, so that a mix-up shows.
fn result(index: usize, image: &Image) -> ImageResult {
    let bytes = match &image.source {
        Some(Source::Content(content)) => content.len(),
        _ => 0,
    };
    ImageResult {
        index: u32::try_from(index).unwrap(),
        custom_id: image.custom_id.clone(),
        state: ImageState::Succeeded.into(),
        classifications: vec![Classification { class_id: 1, label: format!("{bytes} bytes"), score: 0.5 }],
        ..ImageResult::default()
    }
}

/// Every image answered, the last first.
fn healthy(request: &ClassifyStreamRequest) -> Result<Vec<Result<ClassifyStreamResponse, Status>>, Status> {
    let results =
        request.images.iter().enumerate().rev().map(|(i, image)| event(Event::Result(result(i, image))));
    let start = [event(Event::Accepted(StreamAccepted::default()))];
    Ok(start.into_iter().chain(results).chain([event(Event::Summary(StreamSummary::default()))]).collect())
}

fn write(folder: &Path, name: &str, bytes: usize) -> String {
    let path = folder.join(name);
    std::fs::write(&path, vec![7; bytes]).unwrap();
    path.to_str().unwrap().to_owned()
}

async fn classify(gateway: &ScriptedGateway, arguments: &[&str]) -> Ended {
    let url = gateway.url();
    let all = ["classify", "--server", &url].into_iter().chain(arguments.iter().copied());
    run_beside(all.map(str::to_owned).collect(), None).await
}

#[tokio::test]
async fn results_are_shown_in_the_order_of_the_files_whatever_order_they_come_in() {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<String> = (1..=70).map(|i| write(folder.path(), &format!("{i}.jpg"), i)).collect();
    let mut gateway = ScriptedGateway::start(healthy).await;
    let arguments: Vec<&str> = files.iter().map(String::as_str).chain(["-o", "json"]).collect();
    let ended = classify(&gateway, &arguments).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let rows: Vec<serde_json::Value> = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(rows.len(), 70);
    for ((row, file), bytes) in rows.iter().zip(&files).zip(1..) {
        assert_eq!(row["file"], file.as_str());
        assert_eq!(row["classifications"][0]["label"], format!("{bytes} bytes"));
    }
    let requests = gateway.received();
    assert!(requests.len() > 1, "seventy images are more than one request");
    let ids: std::collections::BTreeSet<&str> =
        requests.iter().flat_map(|request| &request.images).map(|image| image.custom_id.as_str()).collect();
    assert!(
        ids.iter().copied().eq(files.iter().map(String::as_str).collect::<std::collections::BTreeSet<_>>())
    );
}

#[tokio::test]
async fn requests_stay_under_the_size_of_a_message() {
    const MIB: usize = 1024 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<String> = (0..6).map(|i| write(folder.path(), &format!("{i}.jpg"), 9 * MIB)).collect();
    let mut gateway = ScriptedGateway::start(healthy).await;
    let ended = classify(&gateway, &files.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let sizes: Vec<usize> = gateway.received().iter().map(|request| request.images.len()).collect();
    assert_eq!(sizes, [2, 2, 2]);
}

#[tokio::test]
async fn options_and_standard_input_are_sent_along() {
    let mut gateway = ScriptedGateway::start(healthy).await;
    let arguments =
        ["classify", "--server", &gateway.url(), "-k", "3", "--min-score", "0.25", "--model", "m@2", "-"];
    let ended = run_beside(arguments.map(str::to_owned).to_vec(), Some(vec![1; 1234])).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("1234 bytes"), "{}", ended.out);
    let request = gateway.received().pop().unwrap();
    let options = request.options.unwrap();
    assert_eq!((options.top_k, options.min_score, options.model.as_str()), (3, 0.25, "m@2"));
    assert_eq!(request.images[0].custom_id, "-");
}

#[tokio::test]
async fn same_file_twice_has_two_rows() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "a.jpg", 5);
    let mut gateway = ScriptedGateway::start(healthy).await;
    let ended = classify(&gateway, &[&file, &file, "-o", "csv"]).await;
    assert_eq!((ended.code, ended.out.lines().count()), (0, 3), "{ended:?}");
    let request = gateway.received().pop().unwrap();
    assert_ne!(request.images[0].custom_id, request.images[1].custom_id);
}

#[tokio::test]
async fn failures_of_the_server_end_with_the_code_that_fits() {
    fn overloaded(_: &ClassifyStreamRequest) -> Result<Vec<Result<ClassifyStreamResponse, Status>>, Status> {
        let error = Error::new(Kind::QueueFull, "the queue holds 1000 images");
        Err(error.with_retry_after(Duration::from_millis(1500)).into())
    }
    fn first_only(
        request: &ClassifyStreamRequest,
    ) -> Result<Vec<Result<ClassifyStreamResponse, Status>>, Status> {
        Ok(vec![event(Event::Result(result(0, &request.images[0])))])
    }
    fn breaks_off(
        request: &ClassifyStreamRequest,
    ) -> Result<Vec<Result<ClassifyStreamResponse, Status>>, Status> {
        let error = Error::new(Kind::ServiceUnavailable, "it went away");
        Ok(vec![event(Event::Result(result(0, &request.images[0]))), Err(error.into())])
    }
    fn one_bad(
        request: &ClassifyStreamRequest,
    ) -> Result<Vec<Result<ClassifyStreamResponse, Status>>, Status> {
        let error = Error::new(Kind::ImageUndecodable, "the file ends too early");
        let failed = ImageResult {
            index: 1,
            state: ImageState::Failed.into(),
            error: Some(platform::error::to_rpc_status(&error)),
            ..ImageResult::default()
        };
        let first = event(Event::Result(result(0, &request.images[0])));
        Ok(vec![first, event(Event::Result(failed)), event(Event::Summary(StreamSummary::default()))])
    }
    fn answers_for_another(
        _: &ClassifyStreamRequest,
    ) -> Result<Vec<Result<ClassifyStreamResponse, Status>>, Status> {
        Ok(vec![event(Event::Result(result(7, &Image::default())))])
    }
    let folder = tempfile::tempdir().unwrap();
    let files = [write(folder.path(), "a.jpg", 5), write(folder.path(), "b.jpg", 6)];
    let rows: [(Script, i32, usize, &str); 5] = [
        (overloaded, 75, 0, "2 of 2 failed: QUEUE_FULL 2; try again in 1s 500ms"),
        (first_only, 1, 1, "1 of 2 failed: INTERNAL 1"),
        (breaks_off, 69, 1, "1 of 2 failed: SERVICE_UNAVAILABLE 1"),
        (one_bad, 1, 1, "1 of 2 failed: IMAGE_UNDECODABLE 1"),
        (answers_for_another, 1, 0, "2 of 2 failed: INTERNAL 2"),
    ];
    for (script, code, succeeded, sentence) in rows {
        let gateway = ScriptedGateway::start(script).await;
        let ended = classify(&gateway, &[&files[0], &files[1], "-o", "jsonl"]).await;
        assert_eq!((ended.code, ended.err.trim()), (code, sentence), "{ended:?}");
        let lines = ended.json_lines();
        assert_eq!(lines.len(), 2, "one row a file: {ended:?}");
        assert_eq!(lines.iter().filter(|row| row["state"] == "SUCCEEDED").count(), succeeded);
    }
}
