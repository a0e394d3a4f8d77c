//! What goes over the wire to EC2, on moto. What moto does otherwise than EC2 (time, client tokens, partial launches,
//! states that refuse a call) is tested on `simcloud`.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use autoscaler::fleet::cloud::{
    Cloud, CloudErrorKind, CloudInstance, CloudState, FLEET_TAG, LaunchOrder, Market, Offering, Tags,
    ec2::{Ec2, Template},
};
use aws_sdk_ec2::{
    Client,
    types::{InstanceType, RequestLaunchTemplateData},
};
use platform::aws::stand_in::{self, Moto};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

/// Far over what anything here takes, for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

const TEMPLATE: &str = "worker";

struct Region {
    moto: Moto,
    client: Client,
}

impl Region {
    /// One with a launch template; `None` without moto.
    async fn start() -> Option<Self> {
        let moto = Moto::start().await?;
        let client = Client::new(&stand_in::config(&moto.endpoint()));
        let image = client.register_image().name("image").send().await.unwrap();
        let data = RequestLaunchTemplateData::builder()
            .image_id(image.image_id().unwrap())
            .instance_type(InstanceType::T3Micro)
            .build();
        let template =
            client.create_launch_template().launch_template_name(TEMPLATE).launch_template_data(data);
        template.send().await.unwrap();
        Some(Self { moto, client })
    }

    fn fleet(&self, name: &str) -> Ec2 {
        let template = Template::new(TEMPLATE, "$Latest");
        Ec2::new(&stand_in::config(&self.moto.endpoint()), name, template)
    }

    /// The program, as somebody would run it against this region.
    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_autoscaler"));
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        command.env("AWS_ENDPOINT_URL", self.moto.endpoint()).env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }
}

fn order(fleet: &str, count: u32) -> LaunchOrder {
    LaunchOrder {
        count,
        client_token: platform::id::new(),
        market: Market::OnDemand,
        offerings: Vec::new(),
        tags: Tags::from([
            (FLEET_TAG.to_owned(), fleet.to_owned()),
            ("dunlin:role".to_owned(), "worker".to_owned()),
        ]),
    }
}

fn ids(instances: &[CloudInstance]) -> Vec<String> {
    instances.iter().map(|one| one.instance_id.clone()).collect()
}

async fn states(fleet: &Ec2) -> Vec<CloudState> {
    fleet.describe().await.unwrap().iter().map(|one| one.state).collect()
}

#[tokio::test]
async fn instances_are_launched_listed_stopped_started_and_terminated() {
    let Some(region) = Region::start().await else { return };
    let fleet = region.fleet("blue");
    let launched = fleet.launch(&order("blue", 3)).await.unwrap();
    assert_eq!((launched.instance_ids.len(), launched.exhausted.len()), (3, 0));
    region.fleet("green").launch(&order("green", 1)).await.unwrap();

    let listed = fleet.describe().await.unwrap();
    let mut expected = launched.instance_ids.clone();
    let mut found = ids(&listed);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    for instance in &listed {
        assert_eq!(instance.instance_type, "t3.micro");
        assert_eq!(instance.tags.get("dunlin:role").map(String::as_str), Some("worker"));
        assert!(instance.zone.starts_with("us-east-1") && !instance.spot, "{instance:?}");
        assert!(instance.launch_time > Duration::from_secs(1_600_000_000), "{instance:?}");
    }
    assert_eq!(states(&fleet).await, [CloudState::Running; 3]);

    fleet.stop(&expected[..2]).await.unwrap();
    assert_eq!(states(&fleet).await.iter().filter(|state| **state == CloudState::Stopped).count(), 2);
    fleet.start(&expected[..1]).await.unwrap();
    assert_eq!(states(&fleet).await.iter().filter(|state| **state == CloudState::Stopped).count(), 1);
    let name = Tags::from([("Name".to_owned(), "app-tier-instance-1".to_owned())]);
    fleet.tag(&expected[..1], &name).await.unwrap();
    let first = fleet.find(&expected[..1]).await.unwrap().remove(0);
    assert_eq!(first.tags.get("Name").map(String::as_str), Some("app-tier-instance-1"));
    // Whatever it says, it can be read.
    fleet.console_output(&expected[0]).await.unwrap();
    fleet.terminate(&expected).await.unwrap();
    assert_eq!(states(&fleet).await, [CloudState::Terminated; 3]);
}

#[tokio::test]
async fn types_and_spot_are_asked_for() {
    let Some(region) = Region::start().await else { return };
    let fleet = region.fleet("blue");
    let subnets = region.client.describe_subnets().send().await.unwrap();
    let subnet = subnets.subnets()[0].subnet_id().map(ToOwned::to_owned);
    let offering = Offering { instance_type: Some("m5.large".to_owned()), subnet };
    let launch = LaunchOrder { market: Market::Spot, offerings: vec![offering], ..order("blue", 2) };
    assert_eq!(fleet.launch(&launch).await.unwrap().instance_ids.len(), 2);
    for instance in fleet.describe().await.unwrap() {
        assert_eq!((instance.instance_type.as_str(), instance.spot), ("m5.large", true));
    }
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let Some(region) = Region::start().await else { return };
    let unknown = ["i-0123456789abcdef0".to_owned()];
    let fleet = region.fleet("blue");
    for refused in [fleet.start(&unknown).await, fleet.stop(&unknown).await, fleet.terminate(&unknown).await]
    {
        let error = refused.unwrap_err();
        assert_eq!(error.kind, CloudErrorKind::NotFound, "{error}");
        assert!(error.message.contains(&unknown[0]), "{error}");
    }
    let config = stand_in::config("http://127.0.0.1:9");
    let nowhere = Ec2::new(&config, "blue", Template::new(TEMPLATE, "$Latest"));
    assert_eq!(nowhere.launch(&order("blue", 1)).await.unwrap_err().kind, CloudErrorKind::Unclear);
}

#[tokio::test]
async fn start_is_refused_without_the_template_in_one_sentence() {
    let Some(region) = Region::start().await else { return };
    let output = region.program(&["--listen=127.0.0.1:0", "--fleet=ec2:wroker"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    for part in ["launch template \"wroker\"", "ec2:DescribeLaunchTemplates", "--fleet ec2:TEMPLATE"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let mut nowhere = region.program(&["--listen=127.0.0.1:0", "--fleet=ec2:worker"]);
    nowhere.env_remove("AWS_REGION").env("AWS_CONFIG_FILE", "/dev/null");
    let output = nowhere.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("no AWS region"), "{said}");
}

#[tokio::test]
async fn adopted_instance_is_started_and_others_are_left_alone() {
    let Some(region) = Region::start().await else { return };
    let made = region.client.run_instances().min_count(2).max_count(2);
    let template =
        aws_sdk_ec2::types::LaunchTemplateSpecification::builder().launch_template_name(TEMPLATE).build();
    let made = made.launch_template(template).send().await.unwrap();
    let made: Vec<_> =
        made.instances().iter().filter_map(|one| one.instance_id()).map(ToOwned::to_owned).collect();
    let stop = region.client.stop_instances().set_instance_ids(Some(made.clone()));
    stop.send().await.unwrap();

    let fleet_url = "--fleet=ec2:worker?fleet=blue";
    let unknown =
        region.program(&["adopt", fleet_url, &made[0], "i-0123456789abcdef0"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(unknown.status.code() == Some(78) && said.contains("can't adopt"), "{said}");
    let fleet = region.fleet("blue");
    assert_eq!(fleet.describe().await.unwrap(), []);

    let adopted = region.program(&["adopt", fleet_url, &made[0]]).output().await.unwrap();
    assert!(adopted.status.success(), "{}", String::from_utf8_lossy(&adopted.stderr));
    let listed = fleet.describe().await.unwrap();
    assert_eq!(ids(&listed), [made[0].clone()]);

    // Two are wanted: the adopted one is started, and one is launched beside it.
    let mut arguments = vec!["--listen=127.0.0.1:0", fleet_url, "--policy=fixed", "--instances=2"];
    arguments.extend(["--profile=cse546", "--tick=200ms"]);
    let mut running = region.program(&arguments).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let named = |instances: &[CloudInstance]| {
        let names: Vec<_> = instances.iter().filter_map(|one| one.tags.get("Name")).cloned().collect();
        names == ["app-tier-instance-1"]
    };
    let instances = loop {
        let instances = fleet.describe().await.unwrap();
        let up = instances.iter().filter(|one| one.state == CloudState::Running).count();
        if up == 2 && named(&instances) {
            break instances;
        }
        assert!(Instant::now() < deadline, "{instances:?}");
        sleep(Duration::from_millis(100)).await;
    };
    let by_id: BTreeMap<_, _> = instances.iter().map(|one| (one.instance_id.as_str(), one)).collect();
    assert!(by_id[made[0].as_str()].tags.contains_key("dunlin:role"));
    assert!(!by_id.contains_key(made[1].as_str()));
    let other = &fleet.find(&made[1..]).await.unwrap()[0];
    assert_eq!((other.state, other.tags.contains_key(FLEET_TAG)), (CloudState::Stopped, false));

    // It goes, and the machines stay.
    let id = rustix::process::Pid::from_raw(running.id().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert!(running.wait().await.unwrap().success());
    assert_eq!(states(&fleet).await, [CloudState::Running; 2]);
}
