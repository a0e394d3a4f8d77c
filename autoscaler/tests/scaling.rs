//! The control loop with real processes: out, in, drained, killed, and failing to start.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proto::{
    internal::v1::{SpotNotice, WorkerHeartbeat, worker_session_request::Event},
    v1::{ActionKind, ActionOutcome, CloudCalls, InstanceState},
};
use tokio::time::{Instant, sleep};

mod world;
use world::{FakeGateway, FakeWorker, LIVES, World};

const STEP: [&str; 4] = ["--policy", "step", "--max-instances", "5"];

#[tokio::test]
async fn step_starts_two_for_eight_and_four_for_sixteen() {
    for (waiting, want) in [(8, 2), (16, 4)] {
        let world = World::start(LIVES, &STEP).await;
        let mut gateway = FakeGateway::connect(&world).await;
        gateway.waiting(waiting);
        world.until_count(InstanceState::Starting, want).await;
        let change = &world.changes().await[0];
        assert_eq!(change.actions.len(), want);
        assert!(change.actions.iter().all(|action| action.kind() == ActionKind::Start));
        assert_eq!(change.reason, format!("step: {waiting} waiting / 5 per worker = {want}; start {want}"));
        let seen = change.observation.as_ref().unwrap().queue.as_ref().unwrap();
        assert_eq!((seen.visible, change.want as usize, change.current), (waiting, want, 0));

        let mut workers = Vec::new();
        for number in 1..=want {
            let worker = FakeWorker::connect(&world, &format!("local-{number}")).await;
            worker.heartbeat(0).await;
            workers.push(worker);
        }
        world.until_count(InstanceState::Ready, want).await;
        let starts = world.until_actions(ActionKind::Start, want).await;
        assert!(starts.iter().all(|action| action.outcome() == ActionOutcome::Done), "{starts:?}");
        // Two slots at a tenth of a second each.
        let expected = 20.0 * want as f64;
        loop {
            let capacity = gateway.next().await;
            if capacity.ready as usize == want && (capacity.images_per_second - expected).abs() < 1e-6 {
                break;
            }
        }
        drop(workers);
        world.stop().await;
    }
}

#[tokio::test]
async fn worker_is_stopped_only_after_it_has_drained_and_stays_if_it_is_needed_again() {
    let world = World::start(LIVES, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    gateway.waiting(3);
    world.until_count(InstanceState::Starting, 1).await;
    let mut worker = FakeWorker::connect(&world, "local-1").await;
    worker.heartbeat(1).await;
    world.until_count(InstanceState::Ready, 1).await;

    gateway.waiting(0);
    let first = worker.until_drain().await;
    world.until_count(InstanceState::Draining, 1).await;
    // Busy: five decisions later it is still there.
    sleep(Duration::from_millis(500)).await;
    assert_eq!(world.count(InstanceState::Draining).await, 1);
    assert!(world.actions(ActionKind::Stop).await.is_empty());

    // Two are needed: the one that is there is told to stay, and only one more is started.
    gateway.waiting(8);
    let undrain = worker.until_undrain().await;
    world.until_count(InstanceState::Ready, 1).await;
    let changes = world.changes().await;
    let change = changes.iter().find(|decision| decision.decision_id == undrain).unwrap();
    let kinds: Vec<_> = change.actions.iter().map(|action| action.kind()).collect();
    assert_eq!(kinds, [ActionKind::Undrain, ActionKind::Start]);
    let drains = world.until_actions(ActionKind::Drain, 1).await;
    assert_eq!(drains[0].error, format!("told to stay by {undrain} before it had finished"));

    let mut other = FakeWorker::connect(&world, "local-2").await;
    world.until_count(InstanceState::Ready, 2).await;
    gateway.waiting(0);
    let (again, of_other) = (worker.until_drain().await, other.until_drain().await);
    assert_ne!(again, first);
    other.drained(&of_other).await;
    world.until_count(InstanceState::Stopped, 4).await;
    worker.drained(&again).await;
    world.until_count(InstanceState::Stopped, 5).await;
    let stops = world.until_actions(ActionKind::Stop, 2).await;
    assert!(stops.iter().all(|action| action.outcome() == ActionOutcome::Done), "{stops:?}");
    world.stop().await;
}

#[tokio::test]
async fn idle_worker_goes_before_a_busy_one() {
    let world = World::start(LIVES, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    gateway.waiting(8);
    world.until_count(InstanceState::Starting, 2).await;
    let mut idle = FakeWorker::connect(&world, "local-1").await;
    let busy = FakeWorker::connect(&world, "local-2").await;
    busy.heartbeat(2).await;
    idle.heartbeat(0).await;
    world.until_count(InstanceState::Ready, 2).await;
    sleep(Duration::from_millis(200)).await;
    gateway.waiting(5);
    idle.until_drain().await;
    assert_eq!(world.count(InstanceState::Ready).await, 1);
    world.stop().await;
}

#[tokio::test]
async fn latency_goes_to_zero_and_comes_back() {
    let arguments = ["--max-instances", "3", "--keep", "500ms", "--scale-in-hold", "200ms"];
    let world = World::start(LIVES, &arguments).await;
    let gateway = FakeGateway::connect(&world).await;
    for _ in 0..2 {
        gateway.waiting(3);
        world.until_count(InstanceState::Starting, 1).await;
        let mut worker = FakeWorker::connect(&world, "local-1").await;
        world.until_count(InstanceState::Ready, 1).await;
        gateway.waiting(0);
        let decision_id = worker.until_drain().await;
        worker.drained(&decision_id).await;
        world.until_count(InstanceState::Stopped, 3).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn killed_worker_is_replaced_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("echo $$ > {}/$3; exec cat", folder.path().display());
    let world = World::start(&script, &["--policy", "fixed", "--max-instances", "2"]).await;
    world.until_count(InstanceState::Starting, 1).await;
    let _worker = FakeWorker::connect(&world, "local-1").await;
    world.until_count(InstanceState::Ready, 1).await;
    let id = process_id(&folder.path().join("local-1")).await;
    let process = rustix::process::Pid::from_raw(id).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    world.until_count(InstanceState::Starting, 1).await;
    let started = world.actions(ActionKind::Start).await;
    assert_eq!(started.len(), 2);
    assert_eq!(world.status().await.warnings.iter().filter(|one| one.contains("signal: 9")).count(), 1);
    world.stop().await;
}

#[tokio::test]
async fn worker_that_dies_while_starting_is_not_started_in_a_storm() {
    let script = "echo cannot read the model >&2; exit 3";
    let world =
        World::start(script, &["--policy", "fixed", "--instances", "3", "--max-instances", "3"]).await;
    let begin = Instant::now();
    let starts = world.until_actions(ActionKind::Start, 3).await;
    for start in starts.iter().filter(|start| start.outcome() != ActionOutcome::Pending) {
        assert_eq!(start.outcome(), ActionOutcome::Failed);
        assert_eq!(start.error, "exit status: 3: cannot read the model");
    }
    let warnings = world.status().await.warnings;
    assert!(warnings.iter().any(|one| one.contains("cannot read the model")), "{warnings:?}");
    sleep(Duration::from_secs(3).saturating_sub(begin.elapsed())).await;
    // Three at first, then after 2 s one, after 4 s one ...: never one for each tick.
    let count = world.actions(ActionKind::Start).await.len();
    assert!((3..=5).contains(&count), "{count} starts");
    world.stop().await;
}

#[tokio::test]
async fn program_that_is_not_there_is_a_recorded_failure() {
    let mut options =
        autoscaler::Options::from_arguments(["--listen=127.0.0.1:0", "--policy=fixed"]).unwrap();
    options.worker_command = vec!["/no/such/program".into()];
    let world = World::start_with(options).await;
    let starts = world.until_actions(ActionKind::Start, 1).await;
    assert_eq!(starts[0].outcome(), ActionOutcome::Failed);
    assert!(starts[0].error.starts_with("can't start /no/such/program: "), "{}", starts[0].error);
    assert_eq!(world.count(InstanceState::Starting).await, 0);
    world.stop().await;
}

#[tokio::test]
async fn calls_to_the_cloud_are_added_up_over_gateways_and_workers() {
    let world = World::start(LIVES, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    let worker = FakeWorker::connect(&world, "elsewhere").await;
    let calls = |operation: &str, count: u64| CloudCalls {
        service: "SQS".to_owned(),
        operation: operation.to_owned(),
        count,
    };
    for count in [2, 3] {
        gateway.calls(vec![calls("SendMessageBatch", count)]);
        let cloud_calls = vec![calls("ReceiveMessage", 2 * count), calls("SendMessageBatch", 1)];
        worker.say(Event::Heartbeat(WorkerHeartbeat { cloud_calls, ..Default::default() })).await;
        let deadline = Instant::now() + world::PATIENCE;
        let expected = [calls("ReceiveMessage", 2 * count), calls("SendMessageBatch", count + 1)];
        loop {
            let shown = world.status().await.cloud_calls;
            if shown == expected {
                break;
            }
            assert!(Instant::now() < deadline, "{shown:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn boot_delay_is_waited_and_told_to_gateways() {
    let world = World::start(LIVES, &["--policy", "fixed", "--boot-delay", "60s"]).await;
    let mut gateway = FakeGateway::connect(&world).await;
    world.until_count(InstanceState::Starting, 1).await;
    let capacity = loop {
        let capacity = gateway.next().await;
        if capacity.starting == 1 {
            break capacity;
        }
    };
    let wait = platform::time::until(&capacity.next_ready_time.unwrap());
    assert!((Duration::from_secs(50)..Duration::from_secs(63)).contains(&wait), "{wait:?}");
    world.stop().await;
}

#[tokio::test]
async fn machine_that_will_be_taken_away_is_drained_and_replaced() {
    let world = World::start(LIVES, &["--policy", "fixed", "--max-instances", "2"]).await;
    world.until_count(InstanceState::Starting, 1).await;
    let mut worker = FakeWorker::connect(&world, "local-1").await;
    world.until_count(InstanceState::Ready, 1).await;
    worker.say(Event::SpotNotice(SpotNotice::default())).await;
    let decision_id = worker.until_drain().await;
    world.until_count(InstanceState::Starting, 1).await;
    assert_eq!(world.actions(ActionKind::Start).await[1].instance_id, "local-2");
    worker.drained(&decision_id).await;
    world.until_count(InstanceState::Stopped, 1).await;
    world.stop().await;
}

#[tokio::test]
async fn stopping_waits_for_the_workers_and_leaves_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("echo $$ > {}/$3; exec cat", folder.path().display());
    let world = World::start(&script, &["--policy", "fixed", "--max-instances", "1"]).await;
    world.until_count(InstanceState::Starting, 1).await;
    let mut worker = FakeWorker::connect(&world, "local-1").await;
    worker.heartbeat(1).await;
    world.until_count(InstanceState::Ready, 1).await;
    let id = process_id(&folder.path().join("local-1")).await;
    let process = std::path::PathBuf::from(format!("/proc/{id}"));

    world.shutdown.stop.cancel();
    let decision_id = worker.until_drain().await;
    sleep(Duration::from_millis(300)).await;
    assert!(process.exists() && !world.running.is_finished());
    worker.drained(&decision_id).await;
    world.stop().await;
    assert!(!process.exists());
}

#[tokio::test]
async fn nothing_is_stopped_while_no_gateway_says_what_waits() {
    let world = World::start(LIVES, &STEP).await;
    let gateway = FakeGateway::connect(&world).await;
    gateway.waiting(5);
    world.until_count(InstanceState::Starting, 1).await;
    let _worker = FakeWorker::connect(&world, "local-1").await;
    world.until_count(InstanceState::Ready, 1).await;
    drop(gateway);
    // Its counts are old after 3 s; by then, and after, the worker is still there.
    sleep(Duration::from_secs(4)).await;
    assert_eq!(world.count(InstanceState::Ready).await, 1);
    let warnings = world.status().await.warnings;
    assert!(warnings.iter().any(|one| one.contains("s old")), "{warnings:?}");
    world.stop().await;
}

/// What a worker process has written about itself, once it has.
async fn process_id(file: &std::path::Path) -> i32 {
    let deadline = Instant::now() + world::PATIENCE;
    while Instant::now() < deadline {
        if let Ok(id) = std::fs::read_to_string(file).unwrap_or_default().trim().parse() {
            return id;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("no process wrote {}", file.display());
}
