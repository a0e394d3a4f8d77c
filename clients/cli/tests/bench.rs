//! `dunlin bench` against a gateway that follows a script: everything sent is accounted for.
#![allow(clippy::unwrap_used)]

use platform::{Error, Kind};
use proto::v1::{
    ClassifyStreamRequest, ClassifyStreamResponse, ImageResult, ImageState, StreamSummary,
    classify_stream_response::Event, image::Source,
};
use tonic::Status;

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support;

use support::{Script, ScriptedGateway, run_beside};

type Answer = Result<Vec<Result<ClassifyStreamResponse, Status>>, Status>;

/// Answers all but the last image of a request, which it refuses.
fn all_but_the_last(request: &ClassifyStreamRequest) -> Answer {
    let last = request.images.len() - 1;
    let result = |index: usize| {
        let error = Error::new(Kind::ImageUndecodable, "broken");
        let mut result = ImageResult { index: u32::try_from(index).unwrap(), ..ImageResult::default() };
        if index == last {
            result.state = ImageState::Failed.into();
            result.error = Some(platform::error::to_rpc_status(&error));
        } else {
            result.state = ImageState::Succeeded.into();
        }
        Ok(ClassifyStreamResponse { sequence: 0, event: Some(Event::Result(result)) })
    };
    let summary =
        ClassifyStreamResponse { sequence: 0, event: Some(Event::Summary(StreamSummary::default())) };
    Ok((0..=last).map(result).chain([Ok(summary)]).collect())
}

fn refuse(_: &ClassifyStreamRequest) -> Answer {
    Err(Error::new(Kind::QueueFull, "full").into())
}

async fn bench(script: Script, flags: &str) -> (support::Ended, Vec<ClassifyStreamRequest>) {
    let mut gateway = ScriptedGateway::start(script).await;
    let line = format!("bench --server {} --rpc stream --warm-up 0s -o json {flags}", gateway.url());
    let ended = run_beside(line.split_whitespace().map(str::to_owned).collect(), None).await;
    (ended, gateway.received())
}

#[tokio::test]
async fn every_image_is_answered_failed_or_not_sent() {
    for load in ["--concurrency 3", "--rate 200"] {
        let flags = format!("{load} --requests 20 --images 4 --image-bytes 5000");
        let (ended, requests) = bench(all_but_the_last, &flags).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        let report: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
        let of = |name: &str| report[name].as_u64().unwrap();
        assert_eq!(
            (of("requests"), of("images_sent"), of("images_ok"), of("images_failed")),
            (20, 80, 60, 20)
        );
        assert_eq!(report["failed_by_reason"]["IMAGE_UNDECODABLE"], 20);
        assert!(report["latency_ms"]["p99"].as_f64() >= report["latency_ms"]["p50"].as_f64());
        assert_eq!(requests.len(), 20);
        for image in requests.iter().flat_map(|request| &request.images) {
            assert!(matches!(&image.source, Some(Source::Content(content)) if content.len() == 5000));
        }
    }
}

#[tokio::test]
async fn rate_is_kept_and_the_run_takes_its_time() {
    let (ended, requests) = bench(all_but_the_last, "--rate 40 --duration 1s --images 2").await;
    let report: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((ended.code, requests.len()), (0, 40), "{ended:?}");
    let seconds = report["seconds"].as_f64().unwrap();
    // The last is due at 0.975 s; a busy machine may answer late, never early.
    assert!(seconds >= 0.97, "{seconds}");
}

#[tokio::test]
async fn run_without_an_answer_fails_and_tells_the_reasons() {
    let (ended, _) = bench(refuse, "--requests 5 --images 2").await;
    assert_eq!(ended.code, 1, "{ended:?}");
    let report: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(report["failed_by_reason"]["QUEUE_FULL"], 10);
    assert!(report["latency_ms"].is_null());
}
