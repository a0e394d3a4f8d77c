//! `JobService`: what is listed, and what wrong requests get.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proto::v1::{
    CancelJobRequest, ClassifyOptions, CreateJobRequest, GetJobRequest, Image, ListJobResultsRequest,
    ListJobsRequest, WatchJobRequest, create_job_request::Input, image::Source,
    job_service_client::JobServiceClient,
};
use support::{
    JPEG, image,
    jobs::{cancel, create, field, of_count, of_images, reason, sorted, start_in, watch},
    start,
};
use tonic_types::StatusExt as _;

mod support;

#[tokio::test]
async fn unknown_jobs_and_wrong_lists_get_their_typed_error() {
    let folder = tempfile::tempdir().unwrap();
    let (system, mut client) = start_in(folder.path(), &[]).await;
    let name = "jobs/01J00000000000000000000000".to_owned();
    let unknown = [
        client.get_job(GetJobRequest { name: name.clone() }).await.unwrap_err(),
        client.cancel_job(CancelJobRequest { name: name.clone() }).await.unwrap_err(),
        client.watch_job(WatchJobRequest { name: name.clone(), ..Default::default() }).await.unwrap_err(),
        client
            .list_job_results(ListJobResultsRequest { parent: name.clone(), ..Default::default() })
            .await
            .unwrap_err(),
    ];
    for status in unknown {
        assert_eq!(reason(&status), "JOB_NOT_FOUND");
        let resource = status.get_details_resource_info().unwrap();
        assert_eq!(
            (resource.resource_type.as_str(), resource.resource_name),
            ("dunlin.v1.Job", name.clone())
        );
    }
    let status = client.get_job(GetJobRequest { name: "nonsense".to_owned() }).await.unwrap_err();
    assert_eq!((reason(&status).as_str(), field(&status).as_str()), ("INVALID_REQUEST", "name"));
    for (request, at) in [
        (ListJobsRequest { filter: "size=3".to_owned(), ..Default::default() }, "filter"),
        (ListJobsRequest { page_token: "!".to_owned(), ..Default::default() }, "page_token"),
        (ListJobsRequest { page_size: -1, ..Default::default() }, "page_size"),
    ] {
        let status = client.list_jobs(request).await.unwrap_err();
        assert_eq!((reason(&status).as_str(), field(&status).as_str()), ("INVALID_REQUEST", at));
    }
    system.stop().await;
}

#[tokio::test]
async fn without_a_store_the_option_is_named() {
    let system = start(&[]).await;
    let mut client = JobServiceClient::connect(format!("http://{}", system.public)).await.unwrap();
    let status = client.create_job(of_count(1)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    assert!(status.message().contains("--store"), "{status:?}");
    system.stop().await;
}

#[tokio::test]
async fn jobs_are_listed_newest_first_in_pages_and_by_filter() {
    let folder = tempfile::tempdir().unwrap();
    let (system, mut client) = start_in(folder.path(), &[]).await;
    let mut names = Vec::new();
    for i in 0..7 {
        let labels = [("team".to_owned(), format!("t{}", i % 2))].into();
        names.push(create(&mut client, CreateJobRequest { labels, ..of_count(1) }).await.name);
        tokio::time::sleep(Duration::from_millis(3)).await; // ids of one millisecond have no order
    }
    names.reverse();
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListJobsRequest { page_size: 3, page_token, ..ListJobsRequest::default() };
        let page = client.list_jobs(request).await.unwrap().into_inner();
        assert!(page.jobs.len() <= 3);
        listed.extend(page.jobs.into_iter().map(|job| job.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, names);
    cancel(&mut client, &names[0]).await;
    watch(&mut client, &names[0], 0).await;
    let mut count = async |filter: &str| {
        let request = ListJobsRequest { filter: filter.to_owned(), ..ListJobsRequest::default() };
        client.list_jobs(request).await.unwrap().into_inner().jobs.len()
    };
    assert_eq!(count("labels.team=t0").await, 4);
    assert_eq!(count("state=CANCELLED AND labels.team=t0").await, 1);
    assert_eq!(count("state=CANCELLED AND labels.team=t1").await, 0);
    system.stop().await;
}

#[tokio::test]
async fn results_are_paged_while_the_job_runs_and_none_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let (system, mut client) = start_in(folder.path(), &[]).await;
    let job = create(&mut client, of_count(100)).await;
    let mut page_token = String::new();
    let mut indices = Vec::new();
    let worker = system.working_worker().await;
    loop {
        let request = ListJobResultsRequest { parent: job.name.clone(), page_size: 7, page_token };
        let page = client.list_job_results(request).await.unwrap().into_inner();
        assert!(page.results.len() <= 7);
        let is_empty = page.results.is_empty();
        indices.extend(page.results.into_iter().map(|result| result.index));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
        if is_empty {
            tokio::time::sleep(Duration::from_millis(20)).await; // as a caller that asks again
        }
    }
    assert_eq!(sorted(indices), (0..100).collect::<Vec<_>>());
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn wrong_creations_get_their_typed_error_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--job-images-max", "30", "--job-bytes-max", "300"];
    let (system, mut client) = start_in(folder.path(), &flags).await;
    let labels = |name: &str, value: &str| CreateJobRequest {
        labels: [(name.to_owned(), value.to_owned())].into(),
        ..of_count(1)
    };
    let with = |input: Input| CreateJobRequest { input: Some(input), ..CreateJobRequest::default() };
    let options = |options: ClassifyOptions| CreateJobRequest { options: Some(options), ..of_count(1) };
    let uri =
        |uri: &str| of_images(vec![Image { source: Some(Source::Uri(uri.to_owned())), ..Image::default() }]);
    let rows = [
        (CreateJobRequest::default(), "INVALID_REQUEST", "input"),
        (of_images(vec![]), "INVALID_REQUEST", "images.images"),
        (of_count(31), "INVALID_REQUEST", "images.images"),
        (of_images(vec![image("", &[JPEG, &[0; 300]].concat())]), "INVALID_REQUEST", "images.images"),
        (
            of_images(vec![image("x", JPEG), image("x", JPEG)]),
            "INVALID_REQUEST",
            "images.images[1].custom_id",
        ),
        (labels("Team", "x"), "INVALID_REQUEST", "labels"),
        (labels("team", &"x".repeat(257)), "INVALID_REQUEST", "labels.team"),
        (options(ClassifyOptions { top_k: 1001, ..Default::default() }), "INVALID_REQUEST", "options.top_k"),
        (CreateJobRequest { request_id: "x".repeat(129), ..of_count(1) }, "INVALID_REQUEST", "request_id"),
        (with(Input::InputPrefix("s3://box/a".to_owned())), "URI_SCHEME_UNSUPPORTED", "input_prefix"),
        (with(Input::ManifestUri("s3://box/a".to_owned())), "URI_SCHEME_UNSUPPORTED", "manifest_uri"),
        (with(Input::ManifestUri("ftp://box/a".to_owned())), "URI_SCHEME_UNSUPPORTED", "manifest_uri"),
        (with(Input::ManifestUri("file:///etc/passwd".to_owned())), "URI_NOT_ALLOWED", "manifest_uri"),
        (uri("file:///etc/passwd"), "URI_NOT_ALLOWED", "images.images[0].uri"),
        (
            CreateJobRequest { output_prefix: "s3://box/out/".to_owned(), ..of_count(1) },
            "URI_NOT_ALLOWED",
            "output_prefix",
        ),
    ];
    for (request, want, at) in rows {
        let status = client.create_job(request.clone()).await.unwrap_err();
        assert_eq!((reason(&status).as_str(), field(&status).as_str()), (want, at), "{status:?}");
    }
    let listed = client.list_jobs(ListJobsRequest::default()).await.unwrap().into_inner();
    assert!(listed.jobs.is_empty());
    assert!(!folder.path().join("jobs").exists(), "nothing is left in the store");
    system.stop().await;
}
