//! KEDA's operator, the HPA and a Deployment, as far as they matter to who says how many pods there should be.
#![allow(clippy::unwrap_used, dead_code)]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use proto::{
    externalscaler::{GetMetricsRequest, ScaledObjectRef, external_scaler_client::ExternalScalerClient},
    internal::v1::control_service_client::ControlServiceClient,
};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};
use tonic::transport::Channel;

use super::{FakeWorker, PATIENCE, World};

/// KEDA polls each 5 s or more; here everything is in a hurry.
pub const POLL: Duration = Duration::from_millis(50);

pub fn asks() -> ScaledObjectRef {
    ScaledObjectRef { name: "worker".to_owned(), namespace: "dunlin".to_owned(), ..Default::default() }
}

pub fn scaler(world: &World) -> ExternalScalerClient<Channel> {
    ExternalScalerClient::new(world.channel.clone())
}

pub async fn metric(client: &mut ExternalScalerClient<Channel>) -> Result<f64, tonic::Status> {
    let request =
        GetMetricsRequest { scaled_object_ref: Some(asks()), metric_name: "desired_workers".to_owned() };
    let values = client.get_metrics(request).await?.into_inner().metric_values;
    let [value] = &values[..] else { panic!("not one value: {values:?}") };
    assert_eq!(value.metric_name, "desired_workers");
    // As KEDA reads it.
    Ok(if value.metric_value_float > 0.0 { value.metric_value_float } else { value.metric_value as f64 })
}

/// A Deployment with KEDA's operator and the HPA in front of it. Its pods are worker sessions that work when they are there,
/// and end when they are taken away.
pub struct Kubernetes {
    replicas: watch::Receiver<usize>,
    /// Each number there was, from the first.
    pub history: Arc<Mutex<Vec<usize>>>,
    running: JoinHandle<()>,
}

impl Kubernetes {
    pub fn start(world: &World) -> Self {
        let (set, replicas) = watch::channel(0);
        let history = Arc::new(Mutex::new(vec![0]));
        let mut parts = JoinSet::new();
        parts.spawn(push(scaler(world), set.clone()));
        parts.spawn(poll(scaler(world), set, Arc::clone(&history)));
        parts.spawn(pods(world.control.clone(), replicas.clone()));
        let running = tokio::spawn(async move { while parts.join_next().await.is_some() {} });
        Self { replicas, history, running }
    }

    pub async fn until_replicas(&self, count: usize) {
        let mut replicas = self.replicas.clone();
        let reached = timeout(PATIENCE, replicas.wait_for(|now| *now == count)).await;
        assert!(reached.is_ok(), "never {count} replicas: {:?}", self.history.lock().unwrap());
    }
}

impl Drop for Kubernetes {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// `StreamIsActive`, opened again whenever it ends: from 0 to 1 the moment it says so.
async fn push(mut client: ExternalScalerClient<Channel>, replicas: watch::Sender<usize>) {
    loop {
        if let Ok(answers) = client.stream_is_active(asks()).await {
            let mut answers = answers.into_inner();
            while let Ok(Some(answer)) = answers.message().await {
                replicas.send_if_modified(|now| is_set(now, scale_by_activity(*now, answer.result)));
            }
        }
        sleep(POLL).await;
    }
}

/// The spec once; then the metric and whether it is active, in that order, at each poll.
async fn poll(
    mut client: ExternalScalerClient<Channel>,
    replicas: watch::Sender<usize>,
    history: Arc<Mutex<Vec<usize>>>,
) {
    let specs = client.get_metric_spec(asks()).await.unwrap().into_inner().metric_specs;
    let [spec] = &specs[..] else { panic!("not one spec: {specs:?}") };
    assert_eq!((spec.metric_name.as_str(), spec.target_size), ("desired_workers", 1));
    let target = spec.target_size_float;
    loop {
        sleep(POLL).await;
        // Without an answer nothing is changed.
        let Ok(metric) = metric(&mut client).await else { continue };
        let Ok(active) = client.is_active(asks()).await else { continue };
        let active = active.into_inner().result;
        replicas.send_if_modified(|now| {
            let mut next = scale_by_activity(*now, active);
            if next > 0 {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few")]
                let by_hpa = (metric / target).ceil() as usize;
                // The HPA itself never goes to 0, and does not work at 0.
                next = by_hpa.max(1);
            }
            is_set(now, next)
        });
        let now = *replicas.borrow();
        let mut history = history.lock().unwrap();
        if history.last() != Some(&now) {
            history.push(now);
        }
    }
}

fn scale_by_activity(now: usize, active: bool) -> usize {
    if active { now.max(1) } else { 0 }
}

fn is_set(now: &mut usize, next: usize) -> bool {
    std::mem::replace(now, next) != next
}

/// As many worker sessions as there are to be, each of a name of its own. The oldest goes first: Kubernetes asks nobody.
async fn pods(control: ControlServiceClient<Channel>, mut replicas: watch::Receiver<usize>) {
    let mut workers = VecDeque::new();
    let mut named = 0;
    loop {
        let count = *replicas.borrow_and_update();
        while workers.len() > count {
            workers.pop_front();
        }
        while workers.len() < count {
            named += 1;
            let control = control.clone();
            workers.push_back(AbortOnDrop(tokio::spawn(async move {
                // Boots.
                sleep(POLL * 2).await;
                let worker = FakeWorker::open(control, &format!("pod-{named:03}")).await;
                loop {
                    worker.heartbeat(0).await;
                    sleep(POLL).await;
                }
            })));
        }
        if replicas.changed().await.is_err() {
            return;
        }
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
