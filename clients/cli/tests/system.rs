//! The promises, on the whole running system: scaling, killed processes, stopping.
#![allow(clippy::unwrap_used)]

use std::{collections::HashMap, time::Duration};

use proto::v1::{ClassifyRequest, ClassifyStreamRequest, InstanceState, classify_stream_response::Event};
use rustix::process::{Signal, kill_process};
use tonic::transport::Channel;
use world::{JPEG, Up, image, images, until, until_async};

mod world;

type Client = proto::v1::classifier_service_client::ClassifierServiceClient<Channel>;

/// Sends `count` images at once and gives how many answers each got, all of them right.
async fn classify_many(mut client: Client, count: usize) -> Vec<u32> {
    let request = ClassifyStreamRequest { images: images(count), ..ClassifyStreamRequest::default() };
    let mut events = client.classify_stream(request).await.unwrap().into_inner();
    let mut answers = vec![0; count];
    while let Some(event) = events.message().await.unwrap() {
        if let Some(Event::Result(result)) = event.event {
            let label = result.classifications.first().map(|class| class.label.as_str());
            assert_eq!(label, Some(result.index.to_string().as_str()), "{result:?}");
            answers[result.index as usize] += 1;
        }
    }
    answers
}

async fn step_wants(messages: usize, workers: u32) {
    let up = Up::stub(&["--policy", "step", "--max-instances", "20", "--model", "stub:1s"]);
    let answers = tokio::spawn(classify_many(up.client().await, messages));
    let decision = until_async("a decision to start", async || {
        up.decisions().await.into_iter().find(|decision| decision.want > 0)
    })
    .await;
    assert_eq!(decision.want, workers, "{decision:?}");
    assert!(decision.reason.contains(&messages.to_string()), "{}", decision.reason);
    until("the worker processes", || (up.workers().len() == workers as usize).then_some(()));
    assert_eq!(answers.await.unwrap(), vec![1; messages]);
    until("scale to zero", || up.workers().is_empty().then_some(()));
}

#[tokio::test]
async fn eight_waiting_images_make_two_workers_and_then_none() {
    step_wants(8, 2).await;
}

#[tokio::test]
async fn sixteen_waiting_images_make_four_workers() {
    step_wants(16, 4).await;
}

#[tokio::test]
async fn latency_policy_goes_from_zero_up_and_back() {
    let up = Up::stub(&[
        "--max-instances",
        "4",
        "--model",
        "stub:200ms",
        "--keep",
        "1s",
        "--latency-target",
        "3s",
    ]);
    assert_eq!(up.workers().len(), 0);
    let answers = classify_many(up.client().await, 60).await;
    assert_eq!(answers, vec![1; 60]);
    let most = up.decisions().await.iter().map(|decision| decision.want).max();
    assert!(most > Some(1), "60 images of 200 ms are not done in 3 s by one worker: {most:?}");
    until("scale to zero", || up.workers().is_empty().then_some(()));
    assert_eq!(classify_many(up.client().await, 3).await, vec![1; 3], "and up again");
}

/// A program as the model, that writes down each image it is run for.
#[tokio::test]
async fn cancelled_stream_of_a_thousand_images_is_classified_no_further() {
    const GIF: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";
    let folder = tempfile::tempdir().unwrap();
    let (script, written) = (folder.path().join("model.sh"), folder.path().join("written"));
    std::fs::write(&script, "echo \"$2\" >> \"$1\"\nsleep 0.05\necho seen\n").unwrap();
    let model = format!("command:sh {} {}", script.display(), written.display());
    let up = Up::stub(&["--policy", "fixed", "--instances", "1", "--model", &model]);
    let classified = || std::fs::read_to_string(&written).map_or(0, |lines| lines.lines().count());
    until_async("a worker", async || (up.instances(InstanceState::Ready).await == 1).then_some(())).await;
    let images = (0..1000).map(|i| image(&format!("{i}.gif"), GIF)).collect();
    let request = ClassifyStreamRequest { images, ..ClassifyStreamRequest::default() };
    let mut events = up.client().await.classify_stream(request).await.unwrap().into_inner();
    let mut answered = 0;
    while answered < 5 {
        if let Some(Event::Result(result)) = events.message().await.unwrap().unwrap().event {
            assert_eq!(result.classifications[0].label, "seen", "{result:?}");
            answered += 1;
        }
    }
    let (before, begun) = (classified(), std::time::Instant::now());
    drop(events);
    let request = ClassifyRequest { image: Some(image("next.gif", GIF)), ..ClassifyRequest::default() };
    up.client().await.classify(request).await.unwrap();
    // What was in front of it would have taken most of a minute.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // Each thread had one in work, may have begun another before the word came, and one is the next caller's.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let more = classified() - before;
    assert!(more <= 2 * threads + 1, "{more} more on {threads} threads");
    let skipped = until_async("the skips to be reported", async || {
        let status =
            up.autoscaler().await.get_status(proto::v1::GetStatusRequest {}).await.unwrap().into_inner();
        status.skipped.map(|skipped| skipped.cancelled).filter(|cancelled| *cancelled > 0)
    })
    .await;
    assert!(skipped <= 64, "only what the worker had looked ahead to: {skipped}");
    assert_eq!(up.instances(InstanceState::Ready).await, 1);
}

#[tokio::test]
async fn scale_in_under_load_loses_no_answer() {
    let up = Up::stub(&["--policy", "step", "--max-instances", "8", "--model", "stub:50ms"]);
    let burst = tokio::spawn(classify_many(up.client().await, 200));
    // While the burst drains and workers go, a trickle goes on.
    let mut client = up.client().await;
    for i in 0..100 {
        let request =
            ClassifyRequest { image: Some(image(&format!("t{i}.jpg"), JPEG)), ..ClassifyRequest::default() };
        let result = client.classify(request).await.unwrap().into_inner().result.unwrap();
        assert_eq!(result.classifications[0].label, format!("t{i}"));
        tokio::time::sleep(Duration::from_millis(10)).await; // a trickle, on real processes
    }
    assert_eq!(burst.await.unwrap(), vec![1; 200]);
    let decisions = up.decisions().await;
    let most = decisions.iter().map(|decision| decision.want).max();
    assert_eq!(most, Some(8));
    let drained = decisions.iter().any(|decision| decision.want < decision.current);
    assert!(drained, "the fleet shrank while there was load");
}

#[tokio::test]
async fn killed_worker_delays_its_images_and_loses_none() {
    let up =
        Up::stub(&["--policy", "fixed", "--instances", "2", "--max-instances", "2", "--model", "stub:20ms"]);
    until_async("both workers", async || (up.instances(InstanceState::Ready).await == 2).then_some(())).await;
    let answers = tokio::spawn(classify_many(up.client().await, 300));
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(400)).await; // under load, on real processes
        let victim =
            *until("a worker", || up.workers().first().copied().map(|worker| vec![worker])).first().unwrap();
        kill_process(victim, Signal::KILL).unwrap();
    }
    let answers = tokio::time::timeout(Duration::from_secs(60), answers).await.unwrap().unwrap();
    assert_eq!(answers, vec![1; 300]);
    until("the killed ones to be replaced", || (up.workers().len() == 2).then_some(()));
}

#[tokio::test]
async fn terminated_system_finishes_what_is_in_flight() {
    let mut up = Up::stub(&["--policy", "fixed", "--instances", "1", "--model", "stub:100ms"]);
    until_async("a worker", async || (up.instances(InstanceState::Ready).await == 1).then_some(())).await;
    let answers = tokio::spawn(classify_many(up.client().await, 20));
    tokio::time::sleep(Duration::from_millis(300)).await; // some are answered, some run, some wait
    up.signal(Signal::TERM);
    assert_eq!(answers.await.unwrap(), vec![1; 20]);
    assert!(up.wait().success(), "{}", up.stderr());
    assert!(up.stdout().contains("in flight …\ndone\n"), "{}", up.stdout());
}

#[tokio::test]
async fn workers_do_not_outlive_a_killed_parent() {
    let mut up =
        Up::stub(&["--policy", "fixed", "--instances", "2", "--max-instances", "2", "--model", "stub:0"]);
    let workers = until("the workers", || Some(up.workers()).filter(|workers| workers.len() == 2));
    up.signal(Signal::KILL);
    up.wait();
    for worker in workers {
        until("the worker's end", || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", worker.as_raw_nonzero())).ok();
            stat.is_none_or(|stat| stat.contains(") Z ")).then_some(())
        });
    }
}

#[tokio::test]
async fn second_signal_stops_at_once() {
    let mut up = Up::stub(&["--policy", "fixed", "--instances", "1", "--model", "stub:30s"]);
    until_async("a worker", async || (up.instances(InstanceState::Ready).await == 1).then_some(())).await;
    let _answers = tokio::spawn(classify_many(up.client().await, 1));
    until_async("the image to be taken up", async || {
        let status =
            up.autoscaler().await.get_status(proto::v1::GetStatusRequest {}).await.unwrap().into_inner();
        status.observation?.queue.filter(|queue| queue.in_flight > 0)
    })
    .await;
    up.signal(Signal::INT);
    until("the first signal to be seen", || up.stdout().contains("stopping").then_some(()));
    up.signal(Signal::INT);
    assert_eq!(up.wait().code(), Some(130));
}

#[tokio::test]
async fn decisions_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--policy", "step", "--model", "stub:0"];
    let mut first = Up::stub_in(folder.path(), &flags);
    assert_eq!(classify_many(first.client().await, 5).await, vec![1; 5]);
    let before = first.decisions().await.into_iter().find(|decision| decision.want > 0).unwrap();
    first.signal(Signal::TERM);
    assert!(first.wait().success());
    let second = Up::stub_in(folder.path(), &flags);
    let after = second.decisions().await;
    let ids = after.iter().map(|decision| (decision.decision_id.clone(), decision.reason.clone()));
    assert_eq!(ids.collect::<HashMap<_, _>>().get(&before.decision_id), Some(&before.reason));
}
