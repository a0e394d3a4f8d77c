//! The whole system on moto, on what the CloudFormation template made there and under its own policies. What boots an
//! instance is a double here: it starts a worker's process for each instance that moto says is running, and ends it when moto
//! says that it is not.
#![allow(clippy::unwrap_used)]

mod aws_world;

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_ec2::{
    config::{Credentials, SharedCredentialsProvider},
    types::Filter,
};
use aws_world::{Cloud, Service, classify_many};
use platform::aws::stand_in::{self, Moto};
use tokio::task::JoinHandle;

/// How often the double looks at what moto says.
const LOOK: Duration = Duration::from_millis(300);

#[derive(serde::Deserialize)]
struct Stack {
    outputs: BTreeMap<String, String>,
    credentials: BTreeMap<String, BTreeMap<String, String>>,
}

impl Stack {
    /// Deploys the template; from then on moto asks for permissions. The script of deploy/test does it, with what
    /// `deploy/check install` has made.
    fn deploy(endpoint: &str) -> Self {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/test");
        let deployed = Command::new(tests.join(".venv/bin/python"))
            .arg(tests.join("stack.py"))
            .args(["--endpoint", endpoint, "--parameter", "RunServices=false", "--enforce"])
            .output()
            .unwrap();
        assert!(deployed.status.success(), "{}", String::from_utf8_lossy(&deployed.stderr));
        serde_json::from_slice(&deployed.stdout).unwrap()
    }

    fn role(&self, service: &str) -> Vec<(String, String)> {
        self.credentials[service].iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// What boots instances.
struct Double {
    workers: Arc<Mutex<BTreeMap<String, Service>>>,
    looking: JoinHandle<()>,
}

impl Double {
    fn start(cloud: &Arc<Cloud>, stack: &Stack) -> Self {
        let keys = &stack.credentials["autoscaler"];
        let credentials = Credentials::new(
            &keys["AWS_ACCESS_KEY_ID"],
            &keys["AWS_SECRET_ACCESS_KEY"],
            keys.get("AWS_SESSION_TOKEN").cloned(),
            None,
            "role",
        );
        let config = stand_in::config(&cloud.endpoint)
            .into_builder()
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        let ec2 = aws_sdk_ec2::Client::new(&config);
        let workers = Arc::<Mutex<BTreeMap<String, Service>>>::default();
        let (held, cloud, outputs) = (Arc::clone(&workers), Arc::clone(cloud), stack.outputs.clone());
        let looking = tokio::spawn(async move {
            loop {
                let running = Filter::builder().name("instance-state-name").values("running").build();
                let ours = Filter::builder().name("tag:dunlin:role").values("worker").build();
                let asked = ec2.describe_instances().filters(running).filters(ours).send().await.unwrap();
                let reservations = asked.reservations.unwrap_or_default();
                let instances = reservations.iter().flat_map(|one| one.instances());
                let running = instances.filter_map(|one| one.instance_id.clone()).collect::<Vec<_>>();
                let gone = {
                    let mut held = held.lock().unwrap();
                    for id in &running {
                        held.entry(id.clone()).or_insert_with(|| {
                            let store = format!("--store={}", outputs["StoreUrl"]);
                            cloud.worker(id, &["--model=stub:50ms", &store])
                        });
                    }
                    let gone = held.keys().filter(|id| !running.contains(id)).cloned().collect::<Vec<_>>();
                    gone.iter().map(|id| held.remove(id).unwrap()).collect::<Vec<_>>()
                };
                for worker in gone {
                    assert_eq!(worker.stop().await, Some(0), "a stopped instance ends its worker in order");
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        Self { workers, looking }
    }

    fn running(&self) -> usize {
        self.workers.lock().unwrap().len()
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn system_scales_from_none_and_back_on_what_the_template_made_under_its_own_policies() {
    let Some(moto) = Moto::start().await else { return };
    let stack = Stack::deploy(&moto.endpoint());
    let mut cloud = Cloud::with(moto.endpoint());
    for (program, service) in
        [("gateway", "gateway"), ("classifier-worker", "worker"), ("autoscaler", "autoscaler")]
    {
        cloud.roles.insert(program.to_owned(), stack.role(service));
    }
    let cloud = Arc::new(cloud);
    assert_eq!(stack.outputs["QueueUrl"], aws_world::QUEUE);
    let fleet = format!("--fleet={}", stack.outputs["FleetUrl"]);
    let state = format!("--store={}", stack.outputs["StateUrl"]);
    let flags = ["--policy=step", "--tick=500ms", "--max-instances=2", &fleet, &state];
    let autoscaler = cloud.cloud_autoscaler(&flags);
    let store = format!("--store={}", stack.outputs["StoreUrl"]);
    let gateway = cloud.gateway(&[&store, "--inline-bytes-max=2000"]);
    let double = Double::start(&cloud, &stack);
    // Some ride in their messages and some are in the bucket.
    tokio::join!(classify_many(&cloud, 40, 20, 1000), classify_many(&cloud, 10, 5, 50_000));
    cloud.until("all instances are stopped", |status| status.want == 0).await;
    let until = std::time::Instant::now() + aws_world::PATIENCE;
    while double.running() > 0 {
        assert!(std::time::Instant::now() < until, "{} instances still run", double.running());
        tokio::time::sleep(LOOK).await;
    }
    let status = cloud.status().await;
    assert!(status.leader);
    let launches = status.cloud_calls.iter().filter(|calls| calls.service == "EC2");
    assert!(launches.map(|calls| calls.count).sum::<u64>() > 0, "{status:?}");
    // A restarted autoscaler finds what it had: the stopped instances are started again, and none is launched.
    assert_eq!(autoscaler.stop().await, Some(0));
    let autoscaler = cloud.cloud_autoscaler(&flags);
    classify_many(&cloud, 20, 10, 1000).await;
    assert_eq!(gateway.stop().await, Some(0));
    assert_eq!(autoscaler.stop().await, Some(0));
}
