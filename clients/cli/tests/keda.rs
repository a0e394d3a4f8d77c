//! Workers that somebody else starts and stops, as KEDA does: real worker processes follow what the external scaler says, whichever
//! of them is told to go goes, and no image is lost.
#![allow(clippy::unwrap_used)]

use std::{
    collections::VecDeque,
    net::SocketAddr,
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use autoscaler::Autoscaler;
use gateway::Gateway;
use platform::shutdown::Shutdown;
use proto::{
    externalscaler::{GetMetricsRequest, ScaledObjectRef, external_scaler_client::ExternalScalerClient},
    v1::{
        ClassifyStreamRequest, classifier_service_client::ClassifierServiceClient,
        classify_stream_response::Event,
    },
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::JoinHandle;
use tonic::transport::Channel;

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support;
mod world;

use support::dunlin;
use world::{images, until, until_async};

/// KEDA and the HPA look each few seconds; here everything is in a hurry.
const POLL: Duration = Duration::from_millis(100);

struct Services {
    gateway: SocketAddr,
    internal: SocketAddr,
    autoscaler: SocketAddr,
    shutdown: Shutdown,
    tasks: Vec<JoinHandle<()>>,
}

impl Services {
    async fn start(of_autoscaler: &[&str]) -> Self {
        let fixed = ["--listen=127.0.0.1:0", "--fleet=external:", "--tick=100ms"];
        let arguments = fixed.iter().chain(of_autoscaler).map(ToString::to_string);
        let autoscaler =
            Autoscaler::bind(autoscaler::Options::from_arguments(arguments).unwrap()).await.unwrap();
        let address = autoscaler.address();
        let report = format!("--autoscaler=http://{address}");
        let arguments = ["--listen=127.0.0.1:0", "--internal-listen=127.0.0.1:0", "--cache-bytes=0", &report];
        let gateway = Gateway::bind(gateway::Options::from_arguments(arguments).unwrap()).await.unwrap();
        let (public, internal) = (gateway.public_address(), gateway.internal_address());
        let shutdown = Shutdown::new();
        let (told, told_too) = (shutdown.clone(), shutdown.clone());
        let tasks = vec![
            tokio::spawn(async move { autoscaler.run(&told).await.unwrap() }),
            tokio::spawn(async move { gateway.run(&told_too).await.unwrap() }),
        ];
        Self { gateway: public, internal, autoscaler: address, shutdown, tasks }
    }

    async fn stop(self) {
        self.shutdown.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// A Deployment: worker processes, and those that were told to go and have not gone yet.
#[derive(Default)]
struct Pods {
    running: VecDeque<Child>,
    ending: Vec<Child>,
    named: usize,
    most: usize,
}

impl Pods {
    /// The oldest goes first: it is the least likely to be the one that the autoscaler would choose.
    fn scale(&mut self, services: (SocketAddr, SocketAddr), count: usize) {
        let (internal, autoscaler) = services;
        while self.running.len() > count {
            let child = self.running.pop_front().unwrap();
            kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
            self.ending.push(child);
        }
        while self.running.len() < count {
            self.named += 1;
            let (queue, control) = (format!("broker://{internal}"), format!("http://{autoscaler}"));
            let name = format!("pod-{}", self.named);
            let worker = ["worker", "--model", "stub:50ms", "--grace", "10s", "--queue", &queue];
            let child = dunlin(&worker)
                .args(["--autoscaler", &control, "--instance-id", &name])
                // Nothing outlives a test that is killed.
                .arg("--exit-on-stdin-close")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            self.running.push_back(child);
        }
        self.most = self.most.max(count);
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        for child in self.running.iter_mut().chain(&mut self.ending) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Makes of the pods what the external scaler says, for ever. Without an answer nothing is changed.
async fn follow(channel: Channel, services: (SocketAddr, SocketAddr), pods: Arc<Mutex<Pods>>) {
    let mut keda = ExternalScalerClient::new(channel);
    loop {
        tokio::time::sleep(POLL).await;
        let request = GetMetricsRequest { metric_name: "desired_workers".to_owned(), ..Default::default() };
        let Ok(metrics) = keda.get_metrics(request).await else { continue };
        let Ok(active) = keda.is_active(ScaledObjectRef::default()).await else { continue };
        let wanted = metrics.into_inner().metric_values[0].metric_value;
        let count = if active.into_inner().result { usize::try_from(wanted).unwrap().max(1) } else { 0 };
        pods.lock().unwrap().scale(services, count);
    }
}

/// How many answers each of `count` images got, all of them right.
async fn classify(channel: Channel, count: usize) -> Vec<u32> {
    let request = ClassifyStreamRequest { images: images(count), ..ClassifyStreamRequest::default() };
    let mut client = ClassifierServiceClient::new(channel);
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

fn connect(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_follow_the_decision_and_whichever_goes_no_image_is_lost() {
    let services = Services::start(&["--policy=step", "--max-instances=5", "--worker-grace=1s"]).await;
    let pods = Arc::new(Mutex::new(Pods::default()));
    let places = (services.internal, services.autoscaler);
    let following = tokio::spawn(follow(connect(services.autoscaler), places, Arc::clone(&pods)));
    for count in [300, 40] {
        // They go while there is work: the rule follows the images that wait.
        let answers = classify(connect(services.gateway), count).await;
        assert_eq!(answers, vec![1; count]);
        until_async("scale to zero", async || pods.lock().unwrap().running.is_empty().then_some(())).await;
    }
    following.abort();
    let mut pods = std::mem::take(&mut *pods.lock().unwrap());
    assert_eq!(pods.most, 5);
    assert!(pods.ending.len() >= 6, "each was told to go: {}", pods.ending.len());
    for mut child in pods.ending.drain(..) {
        let ended = until("a worker to end", || child.try_wait().unwrap());
        assert!(ended.success(), "it finished what it held: {ended}");
    }
    services.stop().await;
}
