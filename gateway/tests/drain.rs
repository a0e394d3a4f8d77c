//! A stop as callers and load balancers see it: not ready first, still served, then refused in a way
//! that makes them try again, finished within the grace, and closed.
#![allow(clippy::unwrap_used)]

use std::{
    process::Command,
    time::{Duration, Instant},
};

use process::Process;
use proto::v1::{ClassifyRequest, ClassifyStreamRequest, classifier_service_client::ClassifierServiceClient};
use rustix::process::Signal;
use support::{
    JPEG, System, image, start,
    wire::{exchange, python_requests},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt as _;

mod process;
mod support;

const SERVICES: [&str; 2] = ["", "dunlin.v1.ClassifierService"];

fn classify() -> ClassifyRequest {
    ClassifyRequest { image: Some(image("cat.jpg", JPEG)), ..ClassifyRequest::default() }
}

async fn health(system: &System) -> HealthClient<Channel> {
    let endpoint = Channel::from_shared(format!("http://{}", system.public)).unwrap();
    HealthClient::new(endpoint.connect().await.unwrap())
}

async fn get(system: &System, path: &str) -> u16 {
    exchange(system.public, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.status
}

/// Until so many images wait in the queue.
async fn until_queued(system: &System, images: u64) {
    while system.queue().counts().await.unwrap().visible < images {
        tokio::time::sleep(Duration::from_millis(5)).await; // until they have come in
    }
}

#[tokio::test]
async fn stop_is_announced_before_anything_is_refused() {
    let system = start(&["--drain-delay", "700ms"]).await;
    let worker = system.working_worker().await;
    let mut client = system.client().await;
    let mut watches = Vec::new();
    for service in SERVICES {
        let request = HealthCheckRequest { service: service.to_owned() };
        let mut watch = health(&system).await.watch(request).await.unwrap().into_inner();
        assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
        watches.push(watch);
    }
    assert_eq!((get(&system, "/healthz").await, get(&system, "/readyz").await), (200, 200));
    let since = Instant::now();
    system.shutdown.stop.cancel();
    for watch in &mut watches {
        assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    }
    assert!(since.elapsed() < Duration::from_millis(600), "told at once");
    assert_eq!((get(&system, "/healthz").await, get(&system, "/readyz").await), (200, 503));
    client.classify(classify()).await.unwrap();
    system.client().await.classify(classify()).await.unwrap();
    worker.abort();
    system.stop().await;
    assert!(since.elapsed() >= Duration::from_millis(700), "served for the whole delay");
    assert!(since.elapsed() < Duration::from_secs(5), "open watches do not hold it up");
    for watch in &mut watches {
        let ended = watch.message().await;
        assert!(ended.is_err() || ended.is_ok_and(|message| message.is_none()));
    }
}

#[tokio::test]
async fn what_is_left_after_the_grace_is_told_to_come_again_and_old_clients_get_no_answer() {
    let system = start(&["--grace", "400ms"]).await;
    let mut client = system.client().await;
    let images = vec![image("a.jpg", JPEG), image("b.jpg", JPEG)];
    let request = ClassifyStreamRequest { images, ..ClassifyStreamRequest::default() };
    let mut events = client.classify_stream(request).await.unwrap().into_inner();
    assert!(events.message().await.unwrap().is_some());
    let unary = tokio::spawn(async move { client.classify(classify()).await });
    let mut old = TcpStream::connect(system.public).await.unwrap();
    old.write_all(&python_requests("/upload", "myfile", "x.jpg", JPEG)).await.unwrap();
    until_queued(&system, 3).await;
    system.stop().await;
    let of_stream = events.message().await.unwrap_err();
    for status in [of_stream, unary.await.unwrap().unwrap_err()] {
        assert_eq!(status.get_details_error_info().unwrap().reason, "DRAINING", "{status:?}");
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    }
}

/// The program, because what closes the sockets is its end.
#[tokio::test]
async fn program_ends_well_and_old_clients_connection_ends_without_an_answer() {
    let mut process = Process::start(&["--drain-delay", "0s", "--grace", "300ms"]);
    let system = process.system();
    let mut old = TcpStream::connect(process.public).await.unwrap();
    old.write_all(&python_requests("/upload", "myfile", "x.jpg", JPEG)).await.unwrap();
    until_queued(&system, 1).await;
    process.signal(Signal::TERM);
    let mut answer = Vec::new();
    let _ = old.read_to_end(&mut answer).await;
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    assert!(process.wait().await.success(), "{:?}", process.log());
}

#[tokio::test]
async fn program_finishes_what_is_in_flight_and_takes_nothing_new() {
    let mut process = Process::start(&["--drain-delay", "300ms", "--grace", "20s"]);
    let system = process.system();
    let mut client = ClassifierServiceClient::connect(format!("http://{}", process.public)).await.unwrap();
    let call = tokio::spawn(async move { client.classify(classify()).await });
    let mut worker = system.worker().await;
    let held = worker.receive(1).await;
    process.signal(Signal::TERM);
    while TcpStream::connect(process.public).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await; // until the port is closed
    }
    worker.answer(&held[0]).await;
    assert_eq!(call.await.unwrap().unwrap().into_inner().result.unwrap().classifications[0].label, "cat");
    assert!(process.wait().await.success(), "{:?}", process.log());
}

/// As an operator sees it: grpcurl watches while the program is stopped.
#[tokio::test]
async fn grpcurl_that_watches_is_told_of_the_stop() {
    let Some(grpcurl) = std::env::var_os("DUNLIN_TEST_GRPCURL") else {
        eprintln!("skipped: DUNLIN_TEST_GRPCURL is not set; ./check sets it");
        return;
    };
    let mut process = Process::start(&["--drain-delay", "500ms"]);
    let child = Command::new(grpcurl)
        .args(["-plaintext", "-d", r#"{"service": "dunlin.v1.ClassifierService"}"#])
        .args([&process.public.to_string(), "grpc.health.v1.Health/Watch"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await; // grpcurl asks for reflection, then watches
    process.signal(Signal::TERM);
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let states = said.lines().filter(|line| line.contains("\"status\"")).collect::<Vec<_>>();
    assert!(states.len() == 2 && states[1].contains("NOT_SERVING"), "{said}");
    let ended = String::from_utf8_lossy(&output.stderr);
    assert!(ended.contains("Unavailable") && ended.contains("stopping"), "{ended}");
    assert!(process.wait().await.success(), "{:?}", process.log());
}
