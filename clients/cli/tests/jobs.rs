//! Jobs on the whole running system: nothing is lost and nothing comes twice when it is killed.
#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use proto::v1::{
    CreateJobRequest, ImageList, ListJobsRequest, WatchJobRequest, WatchJobResponse,
    create_job_request::Input, job_service_client::JobServiceClient, watch_job_response::Event,
};
use rustix::process::Signal;
use tokio::sync::watch;
use tonic::transport::Channel;
use world::{JPEG, Up, dunlin, image, until};

mod world;

const JOBS: usize = 200;
const IMAGES: usize = 50;
const PATIENCE: Duration = Duration::from_secs(100);

/// Where the gateway is now; it comes back at another port.
type Place = watch::Receiver<String>;

async fn connect(place: &Place) -> Option<JobServiceClient<Channel>> {
    let address = place.borrow().clone();
    JobServiceClient::connect(address).await.ok()
}

/// As a caller does whose server may go away: again under the same id until it has the job.
async fn submit(place: Place, number: usize, submitted: Arc<AtomicUsize>) -> String {
    // No two are equal, so each is classified.
    let named = (0..IMAGES).map(|i| format!("{number}-{i}.jpg"));
    let images = named.map(|name| image(&name, &[JPEG, name.as_bytes()].concat())).collect();
    let request = CreateJobRequest {
        input: Some(Input::Images(ImageList { images })),
        request_id: format!("job {number}"),
        ..CreateJobRequest::default()
    };
    loop {
        if let Some(mut client) = connect(&place).await
            && let Ok(answer) = client.create_job(request.clone()).await
        {
            submitted.fetch_add(1, Ordering::Relaxed);
            return answer.into_inner().job.unwrap().name;
        }
        tokio::time::sleep(Duration::from_millis(50)).await; // the server is a process that comes back
    }
}

/// Every event once, over whatever happens to the server, until the job ends.
async fn watch_on(place: Place, name: String, events_seen: Arc<AtomicUsize>) -> Vec<WatchJobResponse> {
    let mut seen: Vec<WatchJobResponse> = Vec::new();
    loop {
        let after_sequence = seen.last().map_or(0, |event| event.sequence);
        let request = WatchJobRequest { name: name.clone(), after_sequence, include_progress: true };
        if let Some(mut client) = connect(&place).await
            && let Ok(answer) = client.watch_job(request).await
        {
            let mut events = answer.into_inner();
            while let Ok(Some(event)) = events.message().await {
                if matches!(event.event, Some(Event::Heartbeat(_))) {
                    continue;
                }
                events_seen.fetch_add(1, Ordering::Relaxed);
                let is_end = matches!(&event.event, Some(Event::Job(job)) if job.end_time.is_some());
                seen.push(event);
                if is_end {
                    return seen;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await; // the server is a process that comes back
    }
}

fn start(data: &Path) -> Up {
    Up::stub_in(
        data,
        &["--policy", "fixed", "--instances", "2", "--max-instances", "2", "--model", "stub:1ms"],
    )
}

fn address(up: &Up) -> String {
    format!("http://{}", up.addresses.public)
}

async fn reached(count: &AtomicUsize, want: usize) {
    while count.load(Ordering::Relaxed) < want {
        tokio::time::sleep(Duration::from_millis(5)).await; // other tasks count
    }
}

/// Exactly one result of each image, the right one; and numbers without a gap.
fn check(number: usize, events: &[WatchJobResponse]) {
    let sequences = events.iter().map(|event| event.sequence);
    assert!(sequences.eq(1..=events.len() as u64), "job {number}: no gap and no repeat");
    let mut labels = HashMap::new();
    for event in events {
        if let Some(Event::Result(result)) = &event.event {
            let label = result.classifications.first().map(|class| class.label.clone());
            let label = label.unwrap_or_else(|| panic!("{result:?}"));
            assert_eq!(labels.insert(result.index as usize, label), None, "job {number}: {result:?} again");
        }
    }
    let want = (0..IMAGES).map(|i| (i, format!("{number}-{i}"))).collect::<HashMap<_, _>>();
    assert_eq!(labels, want, "job {number}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_restarted_gateway_answers_every_image_of_every_job_exactly_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut up = start(folder.path());
    let (moved, place) = watch::channel(address(&up));
    let (submitted, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let jobs = (0..JOBS).map(|number| {
        let (place, submitted, seen) = (place.clone(), Arc::clone(&submitted), Arc::clone(&seen));
        tokio::spawn(async move {
            // A few at a time, so that the kill comes between them.
            tokio::time::sleep(Duration::from_millis(10) * u32::try_from(number).unwrap()).await;
            let name = submit(place.clone(), number, submitted).await;
            watch_on(place, name, seen).await
        })
    });
    let jobs = jobs.collect::<Vec<_>>();
    let all_events = JOBS * IMAGES;
    for kill_at in [JOBS / 2, 0] {
        if kill_at > 0 {
            reached(&submitted, kill_at).await;
        } else {
            reached(&seen, all_events / 2).await;
        }
        up.signal(Signal::KILL);
        up.wait();
        up = start(folder.path());
        moved.send(address(&up)).unwrap();
    }
    for (number, events) in jobs.into_iter().enumerate() {
        let events = tokio::time::timeout(PATIENCE, events).await.expect("in time").unwrap();
        check(number, &events);
    }
    let mut client = connect(&place).await.unwrap();
    let listed = client.list_jobs(ListJobsRequest { page_size: 1000, ..ListJobsRequest::default() });
    let listed = listed.await.unwrap().into_inner().jobs;
    assert_eq!(listed.len(), JOBS, "a creation that was tried again made no second job");
    let names: Vec<_> = listed.iter().map(|job| job.name.trim_start_matches("jobs/").to_owned()).collect();
    for job in listed {
        let lines = std::fs::read_to_string(job.output_uri.strip_prefix("file://").unwrap()).unwrap();
        assert_eq!(lines.lines().count(), IMAGES);
    }
    // What a kill in the middle of a creation left keeps its mark until it is swept.
    let open = folder.path().join("store/jobs/open");
    until("the marks to go", || names.iter().all(|name| !open.join(name).exists()).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn command_submits_waits_lists_and_prints_results() {
    let up = Up::stub(&["--policy", "fixed", "--instances", "1", "--model", "stub:0"]);
    let pictures = tempfile::tempdir().unwrap();
    for name in ["cat.jpg", "dog.jpg"] {
        std::fs::write(pictures.path().join(name), [JPEG, name.as_bytes()].concat()).unwrap();
    }
    std::fs::write(pictures.path().join("text.jpg"), "no image").unwrap();
    let run = |arguments: &[&str]| {
        let output = dunlin()
            .args(["job"])
            .args(arguments)
            .args(["--server", &address(&up)])
            .current_dir(pictures.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, error) =
        run(&["submit", "--wait", "-o", "json", "--label", "team=birds", "cat.jpg", "dog.jpg"]);
    assert_eq!(code, 0, "{error}");
    let job: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&job["state"], &job["counts"]["succeeded"]), (&"SUCCEEDED".into(), &2.into()));
    let name = job["name"].as_str().unwrap();
    let (code, out, _) = run(&["results", name]);
    let labels = out.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["classifications"][0]["label"].as_str().unwrap().to_owned()
    });
    let mut labels = labels.collect::<Vec<_>>();
    labels.sort();
    assert_eq!((code, labels.join(" ").as_str()), (0, "cat dog"));
    let (code, out, _) = run(&["submit", "cat.jpg", "text.jpg"]);
    assert!(code == 0 && out.starts_with("jobs/"), "{out}");
    let second = out.trim();
    let (code, out, error) = run(&["watch", second]);
    assert_eq!(code, 1, "one image failed: {out}{error}");
    assert!(out.lines().last().unwrap().starts_with("PARTIALLY_FAILED"), "{out}");
    let (_, out, _) = run(&["list", "-o", "csv", "--filter", "labels.team=birds"]);
    assert_eq!(out.lines().count(), 2, "{out}");
    let (code, out, _) = run(&["cancel", "-o", "json", second]);
    assert!(code == 0 && out.contains("PARTIALLY_FAILED"), "an ended job comes back as it is: {out}");
    let (code, out, _) = run(&["results", "-o", "csv", second]);
    assert!(code == 1 && out.contains("IMAGE_UNSUPPORTED_FORMAT"), "{out}");
    let (code, _, error) = run(&["get", "jobs/01J00000000000000000000000"]);
    assert!(code == 1 && error.contains("no job"), "{error}");
    let (code, _, error) = run(&["submit", "none.jpg"]);
    assert!(code == 1 && error.contains("nothing was submitted"), "{error}");
}

/// A process of ours, killed with the test.
struct Process(Child);

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let mut command = dunlin();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn watching_command_goes_on_by_itself_when_the_gateway_is_killed_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (public, internal) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let store = format!("file://{}", folder.path().join("store").display());
    let gateway = || {
        let running = Process::start(&[
            "gateway",
            "--listen",
            &public,
            "--internal-listen",
            &internal,
            "--store",
            &store,
        ]);
        until("the gateway", || std::net::TcpStream::connect(&public).ok());
        running
    };
    let first = gateway();
    let picture = folder.path().join("cat.jpg");
    std::fs::write(&picture, JPEG).unwrap();
    let submitted = dunlin().args(["job", "submit", "--server", &public]).arg(&picture).output().unwrap();
    let name = String::from_utf8(submitted.stdout).unwrap();
    let mut watching = Process::start(&["job", "watch", "-o", "jsonl", "--server", &public, name.trim()]);
    let mut lines = BufReader::new(watching.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let before = lines.by_ref().take(2).collect::<Vec<_>>();
    drop(first);
    let _second = gateway();
    let _worker = Process::start(&[
        "worker",
        "--queue",
        &format!("broker://{internal}"),
        "--model",
        "stub:0",
        "--exit-on-stdin-close",
    ]);
    let all = before.into_iter().chain(lines).collect::<Vec<_>>();
    let sequences = all
        .iter()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["sequence"].as_u64().unwrap());
    let sequences = sequences.collect::<Vec<_>>();
    assert!(sequences.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");
    assert!(all.last().unwrap().contains("SUCCEEDED"), "{all:?}");
    assert_eq!(all.iter().filter(|line| line.contains("\"result\"")).count(), 1);
    assert_eq!(watching.0.wait().unwrap().code(), Some(0));
}
