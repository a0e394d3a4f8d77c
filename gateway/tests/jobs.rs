//! `JobService` through the real server and a real client: created, run, watched, cancelled, and gone on with after
//! the gateway was killed.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proto::v1::{
    ClassifyOptions, CreateJobRequest, GetJobRequest, JobState, ListJobsRequest, WatchJobRequest,
    create_job_request::Input, watch_job_response::Event,
};
use support::{
    JPEG, image,
    jobs::{
        cancel, create, field, get, numbered, of_count, of_images, reason, results, sorted, start_in, states,
        watch,
    },
    labelled,
};

mod support;

#[tokio::test]
async fn job_is_run_watched_and_its_results_are_a_file_of_lines() {
    let folder = tempfile::tempdir().unwrap();
    let (system, mut client) = start_in(folder.path(), &[]).await;
    let worker = system.working_worker().await;
    let mut images: Vec<_> = (0..60).map(numbered).collect();
    images[7] = image("seven", b"no image");
    let job = create(&mut client, of_images(images)).await;
    assert_eq!((job.state(), job.counts.unwrap().total), (JobState::Queued, 60));
    let events = watch(&mut client, &job.name, 0).await;
    assert_eq!(sorted(results(&events)), (0..60).collect::<Vec<_>>());
    assert_eq!(states(&events), [JobState::Queued, JobState::Running, JobState::PartiallyFailed]);
    let job = get(&mut client, &job.name).await;
    let counts = job.counts.unwrap();
    assert_eq!((job.state(), counts.succeeded, counts.failed), (JobState::PartiallyFailed, 59, 1));
    assert!(job.end_time.is_some() && job.expire_time.is_some() && job.start_time.is_some());
    let lines = std::fs::read_to_string(job.output_uri.strip_prefix("file://").unwrap()).unwrap();
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 60);
    assert_eq!(lines[7]["error"]["reason"], "IMAGE_UNSUPPORTED_FORMAT");
    assert_eq!(lines[8]["classifications"][0]["label"], "8");
    assert_eq!((&lines[8]["index"], &lines[8]["state"]), (&8.into(), &"SUCCEEDED".into()));
    // Again from the middle, and from the end.
    let middle = events[20].sequence;
    assert_eq!(watch(&mut client, &job.name, middle).await, events[21..]);
    assert!(watch(&mut client, &job.name, events.last().unwrap().sequence).await.is_empty());
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn killed_gateway_goes_on_where_it_was_and_no_image_has_two_results() {
    let folder = tempfile::tempdir().unwrap();
    let (system, mut client) = start_in(folder.path(), &[]).await;
    let job = create(&mut client, of_count(300)).await;
    let mut events = client
        .watch_job(WatchJobRequest { name: job.name.clone(), ..WatchJobRequest::default() })
        .await
        .unwrap()
        .into_inner();
    let mut worker = system.worker().await;
    for _ in 0..12 {
        for delivery in worker.receive(8).await {
            worker.answer(&delivery).await;
        }
    }
    let mut seen = Vec::new();
    while results(&seen).len() < 80 {
        seen.push(events.message().await.unwrap().unwrap());
    }
    // As a kill does: nothing is written down, nothing given up.
    system.running.abort();
    let _ = system.running.await;
    let (system, mut client) = start_in(folder.path(), &[]).await;
    let worker = system.working_worker().await;
    let rest = watch(&mut client, &job.name, seen.last().unwrap().sequence).await;
    seen.extend(rest);
    assert_eq!(sorted(results(&seen)), (0..300).collect::<Vec<_>>(), "each once");
    assert_eq!(get(&mut client, &job.name).await.state(), JobState::Succeeded);
    assert_eq!(watch(&mut client, &job.name, 0).await, seen);
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn cancelled_job_answers_for_every_image_and_what_runs_finishes() {
    let folder = tempfile::tempdir().unwrap();
    let (system, mut client) = start_in(folder.path(), &[]).await;
    let job = create(&mut client, of_count(700)).await;
    let mut worker = system.worker().await;
    let held = worker.receive(2).await;
    for delivery in &held {
        worker.start(delivery).await;
    }
    let request =
        WatchJobRequest { name: job.name.clone(), include_progress: true, ..WatchJobRequest::default() };
    let mut events = client.watch_job(request).await.unwrap().into_inner();
    let mut running = 0;
    while running < held.len() {
        let event = events.message().await.unwrap().unwrap().event;
        running += usize::from(matches!(event, Some(Event::Progress(_))));
    }
    assert_eq!(cancel(&mut client, &job.name).await.state(), JobState::Running);
    cancel(&mut client, &job.name).await;
    for delivery in &held {
        worker.reply(delivery, labelled(&delivery.task.custom_id, 1)).await;
    }
    let events = watch(&mut client, &job.name, 0).await;
    assert_eq!(sorted(results(&events)), (0..700).collect::<Vec<_>>());
    let ended = get(&mut client, &job.name).await;
    let counts = ended.counts.unwrap();
    assert_eq!((ended.state(), counts.succeeded, counts.cancelled), (JobState::Cancelled, 2, 698));
    assert_eq!(cancel(&mut client, &job.name).await, ended, "an ended job comes back as it is");
    system.stop().await;
}

#[tokio::test]
async fn job_whose_time_is_over_has_expired() {
    let folder = tempfile::tempdir().unwrap();
    let (system, mut client) = start_in(folder.path(), &[]).await;
    let options = ClassifyOptions {
        max_queue_duration: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..ClassifyOptions::default()
    };
    let job = create(&mut client, CreateJobRequest { options: Some(options), ..of_count(500) }).await;
    let events = watch(&mut client, &job.name, 0).await;
    assert_eq!(sorted(results(&events)), (0..500).collect::<Vec<_>>());
    let job = get(&mut client, &job.name).await;
    assert_eq!((job.state(), job.counts.unwrap().expired), (JobState::Expired, 500));
    system.stop().await;
}

#[tokio::test]
async fn request_id_gives_the_same_job_at_once_in_flight_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (system, client) = start_in(folder.path(), &[]).await;
    let request = CreateJobRequest { request_id: "one".to_owned(), ..of_count(20) };
    let calls = (0..8).map(|_| {
        let (mut client, request) = (client.clone(), request.clone());
        tokio::spawn(async move { create(&mut client, request).await.name })
    });
    let mut names = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        names.push(call.await.unwrap());
    }
    names.dedup();
    assert_eq!(names.len(), 1, "{names:?}");
    system.running.abort();
    let _ = system.running.await;
    let (system, mut client) = start_in(folder.path(), &[]).await;
    assert_eq!(create(&mut client, request.clone()).await.name, names[0]);
    let other = CreateJobRequest { request_id: "one".to_owned(), ..of_count(21) };
    assert_eq!(reason(&client.create_job(other).await.unwrap_err()), "REQUEST_ID_REUSED");
    let all = client.list_jobs(ListJobsRequest::default()).await.unwrap().into_inner().jobs;
    assert_eq!(all.len(), 1);
    system.stop().await;
}

#[tokio::test]
async fn request_id_of_a_refused_creation_may_be_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let (system, mut client) = start_in(folder.path(), &[]).await;
    let wrong = CreateJobRequest { request_id: "x".to_owned(), ..of_images(vec![]) };
    assert_eq!(reason(&client.create_job(wrong).await.unwrap_err()), "INVALID_REQUEST");
    let right = CreateJobRequest { request_id: "x".to_owned(), ..of_count(1) };
    create(&mut client, right).await;
    system.stop().await;
}

#[tokio::test]
async fn manifest_of_files_is_read_below_an_allowed_folder() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = tempfile::tempdir().unwrap();
    let path = |name: &str| pictures.path().join(name);
    std::fs::write(path("a.jpg"), JPEG).unwrap();
    std::fs::write(path("text.jpg"), "no image").unwrap();
    let line =
        |name: &str| format!("{{\"custom_id\":\"{name}\",\"uri\":\"file://{}\"}}\n", path(name).display());
    std::fs::write(path("list.jsonl"), ["a.jpg", "gone.jpg", "text.jpg"].map(line).concat()).unwrap();
    std::fs::write(path("bad.jsonl"), "{\"uri\":\"file:///etc/passwd\"}\n").unwrap();
    let flags = ["--job-folder", pictures.path().to_str().unwrap()];
    let (system, mut client) = start_in(folder.path(), &flags).await;
    let worker = system.working_worker().await;
    let of = |name: &str| CreateJobRequest {
        input: Some(Input::ManifestUri(format!("file://{}", path(name).display()))),
        ..CreateJobRequest::default()
    };
    let job = create(&mut client, of("list.jsonl")).await;
    let events = watch(&mut client, &job.name, 0).await;
    let mut outcomes: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.event {
            Some(Event::Result(result)) => {
                let error = result.error.as_ref().map(platform::error::from_rpc_status);
                Some((result.custom_id.clone(), error.map(|error| error.kind().reason())))
            }
            _ => None,
        })
        .collect();
    outcomes.sort();
    let want = [
        ("a.jpg", None),
        ("gone.jpg", Some("OBJECT_NOT_FOUND")),
        ("text.jpg", Some("IMAGE_UNSUPPORTED_FORMAT")),
    ];
    assert_eq!(outcomes, want.map(|(name, reason)| (name.to_owned(), reason)));
    let status = client.create_job(of("bad.jsonl")).await.unwrap_err();
    assert_eq!((reason(&status).as_str(), field(&status).as_str()), ("URI_NOT_ALLOWED", "manifest[0].uri"));
    let status = client.create_job(of("none.jsonl")).await.unwrap_err();
    assert_eq!(reason(&status), "OBJECT_NOT_FOUND");
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn expired_job_is_gone_with_all_it_left() {
    let folder = tempfile::tempdir().unwrap();
    let (system, mut client) = start_in(folder.path(), &["--job-retention", "1s", "--jobs-max", "1"]).await;
    let worker = system.working_worker().await;
    let job = create(&mut client, CreateJobRequest { request_id: "r".to_owned(), ..of_count(5) }).await;
    watch(&mut client, &job.name, 0).await;
    let status = client.create_job(of_count(1)).await.unwrap_err();
    assert_eq!(reason(&status), "QUOTA_EXCEEDED");
    let since = std::time::Instant::now();
    while client.get_job(GetJobRequest { name: job.name.clone() }).await.is_ok()
        || folder.path().join("jobs").exists()
    {
        assert!(since.elapsed() < Duration::from_secs(30), "it is still there");
        tokio::time::sleep(Duration::from_millis(50)).await; // its retention is real time
    }
    create(&mut client, CreateJobRequest { request_id: "r".to_owned(), ..of_count(6) }).await;
    worker.abort();
    system.stop().await;
}
