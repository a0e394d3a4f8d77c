//! What operators say with the real program to a real autoscaler: pause, limits, policies, drains, and why.
#![allow(clippy::unwrap_used)]

use autoscaler::{Autoscaler, Options};
use platform::shutdown::Shutdown;
use serde_json::Value;
use tokio::task::JoinHandle;

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support;

use support::{Ended, run_beside};

struct Running {
    url: String,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

impl Running {
    /// Its workers live until they are asked to go, and never say a word.
    async fn start(arguments: &[&str]) -> Self {
        let fixed = ["--listen=127.0.0.1:0", "--tick=50ms", "--grace=0s"];
        let worker = ["--worker-command=sh", "--worker-command=-c", "--worker-command=exec cat"];
        let options =
            Options::from_arguments(fixed.iter().chain(&worker).chain(arguments).map(ToString::to_string))
                .unwrap();
        let autoscaler = Autoscaler::bind(options).await.unwrap();
        let (url, shutdown) = (format!("http://{}", autoscaler.address()), Shutdown::new());
        let told = shutdown.clone();
        let task = tokio::spawn(async move { autoscaler.run(&told).await.unwrap() });
        Self { url, shutdown, task }
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        let mut all: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        all.extend(["--autoscaler".to_owned(), self.url.clone()]);
        run_beside(all, None).await
    }

    /// Runs it to a good end, and gives what it said.
    async fn say(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments).await;
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{arguments:?}");
        ended.out.trim_end().to_owned()
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.say(&[arguments, &["-o", "json"]].concat()).await).unwrap()
    }

    /// Runs it to a bad end that says all of `parts`.
    async fn refuses(&self, arguments: &[&str], code: i32, parts: &[&str]) {
        let ended = self.run(arguments).await;
        assert_eq!((ended.code, ended.out.as_str()), (code, ""), "{arguments:?}: {ended:?}");
        for part in parts {
            assert!(ended.err.contains(part), "{arguments:?}: no {part:?} in {}", ended.err);
        }
    }

    async fn stop(self) {
        self.shutdown.stop.cancel();
        self.task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pause_is_shown_with_who_and_why_until_it_is_ended() {
    let autoscaler = Running::start(&[]).await;
    let order = ["fleet", "pause", "--in", "--for", "30m", "--reason", "deploy", "--actor", "ann"];
    let said = autoscaler.say(&order).await;
    assert!(said.starts_with("paused: nothing is stopped until 20"), "{said}");
    assert!(said.ends_with(" UTC, by ann: deploy"), "{said}");
    let status = autoscaler.json(&["status"]).await;
    let pause = &status["pause_in_force"];
    assert_eq!((&pause["scale_in"], &pause["scale_out"]), (&true.into(), &false.into()));
    assert_eq!((&status["paused"], &pause["actor"]), (&true.into(), &"ann".into()));
    let words = autoscaler.say(&["status"]).await;
    assert!(words.contains("PAUSED    nothing is stopped until 20"), "{words}");
    let decisions = autoscaler.say(&["decisions"]).await;
    assert!(decisions.contains("deploy"), "the record says why: {decisions}");

    autoscaler.say(&["fleet", "resume", "--reason", "deployed"]).await;
    assert!(autoscaler.json(&["status"]).await["pause_in_force"].is_null());
    let both = autoscaler.json(&["fleet", "pause"]).await;
    assert_eq!(
        (&both["scale_in"], &both["scale_out"], &both["until"]),
        (&true.into(), &true.into(), &"".into())
    );
    autoscaler
        .refuses(&["fleet", "pause", "--until", "2020-01-01T00:00:00Z"], 1, &["until: is in the past"])
        .await;
    autoscaler.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_for_a_while_take_the_place_of_the_policys_until_they_are_ended() {
    let autoscaler = Running::start(&["--policy=fixed", "--max-instances=4"]).await;
    let said = autoscaler
        .say(&["fleet", "set", "--instances", "3", "--for", "1h", "--reason", "demo", "--actor", ""])
        .await;
    assert!(said.starts_with("exactly 3 instances until 20") && said.ends_with(" UTC: demo"), "{said}");
    let in_force = autoscaler.json(&["status"]).await["override_in_force"].clone();
    assert_eq!((&in_force["instances"], &in_force["min_instances"]), (&3.into(), &Value::Null));
    let words = autoscaler.say(&["status"]).await;
    assert!(words.contains("OVERRIDE  exactly 3 instances until"), "{words}");
    let limits = autoscaler
        .json(&["fleet", "set", "--min", "1", "--max", "2", "--until", "2100-01-01T00:00:00Z"])
        .await;
    assert_eq!((&limits["max_instances"], &limits["until"]), (&2.into(), &"2100-01-01T00:00:00.000Z".into()));
    assert_eq!(autoscaler.say(&["fleet", "set", "--end-override"]).await, "the limits are the policy's");
    assert!(autoscaler.json(&["status"]).await["override_in_force"].is_null());
    autoscaler.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_is_changed_in_parts_tried_first_and_refused_when_it_is_another() {
    let autoscaler = Running::start(&["--policy=step", "--max-instances=4"]).await;
    let version = autoscaler.json(&["status"]).await["policy_version"].as_u64().unwrap();
    let tried =
        autoscaler.say(&["fleet", "set", "--policy", "latency", "--target", "20s", "--dry-run"]).await;
    let lines: Vec<_> = tried.lines().collect();
    assert_eq!(
        lines[0],
        format!("is        step: 5 messages an instance; 0 to 4 instances, version {version}")
    );
    assert_eq!(lines[1], "would be  latency: 95 % answered within 20.0 s; 0 to 4 instances");
    assert_eq!(autoscaler.json(&["status"]).await["policy_version"], version);

    let set = ["fleet", "set", "--policy", "latency", "--target", "20s", "--min", "1", "--if-version"];
    let policy = autoscaler.json(&[&set[..], &[&version.to_string()]].concat()).await;
    assert_eq!((&policy["policy"], &policy["target_seconds"]), (&"latency".into(), &20.0.into()));
    assert_eq!((&policy["min_instances"], &policy["max_instances"]), (&1.into(), &4.into()));
    assert_eq!(policy["version"], version + 1);
    let floor = autoscaler.json(&["fleet", "set", "--schedule", "mon-fri 08:00-18:00=4", "--dry-run"]).await;
    assert_eq!(
        (&floor["floors"][0]["instances"], &floor["floors"][0]["days"][4]),
        (&4.into(), &"friday".into())
    );
    // Somebody else was faster.
    let old = version.to_string();
    autoscaler
        .refuses(&["fleet", "set", "--max", "5", "--if-version", &old], 1, &["if_version", "is in force"])
        .await;
    // Only what is named is changed.
    let policy = autoscaler.json(&["fleet", "set", "--max", "5"]).await;
    assert_eq!((&policy["target_seconds"], &policy["max_instances"]), (&20.0.into(), &5.into()));
    autoscaler
        .refuses(&["fleet", "set", "--min", "9"], 1, &["min_instances", "is over max_instances, 5"])
        .await;
    autoscaler.refuses(&["fleet", "set", "--instances", "2"], 78, &["--instances", "--policy fixed"]).await;
    autoscaler.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_cannot_be_meant_are_refused_before_anything_is_sent() {
    let autoscaler = Running::start(&[]).await;
    for (arguments, part) in [
        (&["fleet", "set"][..], "something to set"),
        (&["fleet", "set", "--for", "1h"], "--for: needs --instances"),
        (&["fleet", "set", "--for", "0s", "--max", "1"], "--for: must be longer"),
        (&["fleet", "set", "--for", "1h", "--max", "1", "--target", "2s"], "can be for a while"),
        (
            &["fleet", "set", "--for", "1h", "--max", "1", "--instances", "1"],
            "--instances: cannot be set beside",
        ),
        (&["fleet", "set", "--policy", "step", "--target", "2s"], "--target: is not for --policy step"),
        (&["fleet", "set", "--end-override", "--max", "1"], "--end-override: stands alone"),
    ] {
        autoscaler.refuses(arguments, 78, &[part]).await;
    }
    autoscaler.refuses(&["fleet", "pause", "--in", "--out"], 2, &["cannot be used with"]).await;
    autoscaler.refuses(&["fleet", "pause", "--actor", "Zoë"], 2, &["printable ASCII"]).await;
    assert!(autoscaler.json(&["status"]).await["pause_in_force"].is_null());
    autoscaler.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_are_listed_and_one_that_is_not_there_cannot_be_drained() {
    let autoscaler = Running::start(&["--policy=fixed", "--max-instances=2"]).await;
    let listed = autoscaler.json(&["fleet", "list"]).await;
    let ids: Vec<_> = listed.as_array().unwrap().iter().map(|one| one["instance_id"].clone()).collect();
    assert_eq!(ids, ["local-1", "local-2"]);
    let table = autoscaler.say(&["fleet", "list"]).await;
    assert!(table.starts_with("INSTANCE  STATE") && table.contains("local-2"), "{table}");
    let csv = autoscaler.say(&["fleet", "list", "-o", "csv"]).await;
    assert!(csv.starts_with("instance_id,state,") && csv.lines().count() == 3, "{csv}");
    autoscaler.refuses(&["fleet", "drain", "local-9", "--reason", "old"], 1, &["local-9"]).await;
    autoscaler.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_decision_is_explained_and_an_unknown_one_is_refused() {
    let autoscaler = Running::start(&["--policy=fixed", "--max-instances=2"]).await;
    // The first is made right after the start.
    let latest = loop {
        let decisions = autoscaler.json(&["decisions"]).await;
        if let Some(latest) = decisions.as_array().unwrap().first() {
            break latest["decision_id"].as_str().unwrap().to_owned();
        }
    };
    let told = autoscaler.json(&["explain", &latest]).await;
    assert_eq!(told["recomputed_want"], told["decision"]["want"]);
    assert_eq!(told["decision"]["decision_id"], latest);
    assert!(!told["text"].as_str().unwrap().is_empty());
    let said = autoscaler.say(&["explain"]).await;
    assert!(said.starts_with("decision ") && !said.contains("warning"), "{said}");
    autoscaler.refuses(&["explain", "01UNKNOWN"], 1, &["01UNKNOWN"]).await;
    autoscaler.stop().await;
}
