//! A real gateway on free ports, and a worker that does what a test tells it to.
#![allow(dead_code, clippy::unwrap_used)]

pub mod jobs;

use std::{net::SocketAddr, num::NonZeroU32, sync::Arc, time::Duration};

use gateway::{Gateway, Options};
use platform::{
    Result,
    queue::{BrokerQueue, Delivery, Queue, Receive},
    shutdown::Shutdown,
};
use proto::{
    internal::v1::{
        ReplySessionRequest, ReplySessionResponse, TaskResult, TaskStarted, WorkerHello,
        reply_service_client::ReplyServiceClient, reply_session_request as request,
    },
    v1::{
        Classification, ExecutionInfo, Image, ImageResult, ImageState,
        classifier_service_client::ClassifierServiceClient, image::Source,
    },
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

pub mod autoscaler;
pub mod said;
pub mod wire;

pub struct System {
    pub public: SocketAddr,
    pub internal: SocketAddr,
    pub shutdown: Shutdown,
    pub running: JoinHandle<Result<()>>,
    counted: Box<dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync>,
    totals: Box<dyn Fn() -> (u64, u64) + Send + Sync>,
}

/// A gateway with these flags beside free ports. Without a cache, unless the flags say how large: tests send one image
/// again and again, and mean it to be classified each time.
pub async fn start(flags: &[&str]) -> System {
    let mut arguments = vec!["--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"];
    // Nor does a load balancer have to notice a stop, unless the test is about that.
    for default in [["--cache-bytes", "0"], ["--drain-delay", "0s"]] {
        if !flags.contains(&default[0]) {
            arguments.extend(default);
        }
    }
    arguments.extend(flags);
    let options = Options::from_arguments(arguments).unwrap();
    let grace = options.drain_delay + options.grace;
    let gateway = Gateway::bind(options).await.unwrap();
    let (public, internal) = (gateway.public_address(), gateway.internal_address());
    let (counted, totals) = (Box::new(gateway.counted()), Box::new(gateway.totals()));
    let shutdown = Shutdown::new();
    let told = shutdown.clone();
    let running = tokio::spawn(async move { told.run(grace, gateway.run(&told)).await });
    System { public, internal, shutdown, running, counted, totals }
}

impl System {
    /// One that runs as a process of its own; it can't be looked into.
    pub fn of_process(public: SocketAddr, internal: SocketAddr) -> Self {
        let (counted, totals) = (Box::new(Vec::new), Box::new(|| (0, 0)));
        let running = tokio::spawn(async { Ok(()) });
        Self { public, internal, shutdown: Shutdown::new(), running, counted, totals }
    }

    pub async fn client(&self) -> ClassifierServiceClient<Channel> {
        let client = ClassifierServiceClient::connect(format!("http://{}", self.public)).await.unwrap();
        client.max_encoding_message_size(64 << 20)
    }

    pub fn queue(&self) -> Arc<dyn Queue> {
        Arc::new(BrokerQueue::new(&self.internal.to_string()).unwrap())
    }

    /// How often that happened to an image.
    pub fn counted(&self, what: &str) -> u64 {
        (self.counted)().into_iter().find(|(label, _)| *label == what).expect("it is counted").1
    }

    /// Tasks that came into the queue, and those that left it.
    pub fn gateway_totals(&self) -> (u64, u64) {
        (self.totals)()
    }

    pub async fn worker(&self) -> Worker {
        self.worker_of("test", "1").await
    }

    pub async fn worker_of(&self, model: &str, model_version: &str) -> Worker {
        let (out, receiver) = mpsc::channel(64);
        let mut client = ReplyServiceClient::connect(format!("http://{}", self.internal)).await.unwrap();
        let hello = WorkerHello {
            worker_id: "w1".to_owned(),
            instance_id: "local-1".to_owned(),
            model: model.to_owned(),
            model_version: model_version.to_owned(),
        };
        out.send(ReplySessionRequest { event: Some(request::Event::Hello(hello)) }).await.unwrap();
        let answers = client.reply_session(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        Worker { queue: self.queue(), out, answers }
    }

    /// Answers every image with its name's stem, for as long as the test runs.
    pub async fn working_worker(&self) -> JoinHandle<()> {
        let mut worker = self.worker().await;
        tokio::spawn(async move {
            loop {
                for delivery in worker.receive(8).await {
                    worker.answer(&delivery).await;
                }
            }
        })
    }

    pub async fn stop(self) {
        self.shutdown.stop.cancel();
        self.running.await.unwrap().unwrap();
    }
}

pub struct Worker {
    pub queue: Arc<dyn Queue>,
    pub out: mpsc::Sender<ReplySessionRequest>,
    pub answers: Streaming<ReplySessionResponse>,
}

impl Worker {
    pub async fn receive(&self, max: u32) -> Vec<Delivery> {
        let receive = Receive {
            max: NonZeroU32::new(max).unwrap(),
            wait: Duration::from_secs(5),
            lease: Duration::from_secs(30),
        };
        self.queue.receive(receive).await.unwrap()
    }

    pub async fn say(&self, event: request::Event) {
        self.out.send(ReplySessionRequest { event: Some(event) }).await.unwrap();
    }

    pub async fn start(&self, delivery: &Delivery) {
        let task_id = delivery.task.task_id.clone();
        self.say(request::Event::Started(TaskStarted { task_id, start_time: None })).await;
    }

    /// Replies, waits for the confirmation, acks.
    pub async fn reply(&mut self, delivery: &Delivery, result: ImageResult) {
        let task_id = delivery.task.task_id.clone();
        self.say(request::Event::Result(TaskResult { task_id, result: Some(result) })).await;
        self.answers.message().await.unwrap().unwrap();
        self.queue.ack(std::slice::from_ref(&delivery.lease)).await.unwrap();
    }

    pub async fn answer(&mut self, delivery: &Delivery) {
        self.start(delivery).await;
        self.reply(delivery, labelled(&delivery.task.custom_id, delivery.attempt)).await;
    }
}

pub fn labelled(custom_id: &str, attempt: u32) -> ImageResult {
    let label = custom_id.split('.').next().unwrap_or_default().to_owned();
    ImageResult {
        custom_id: custom_id.to_owned(),
        state: ImageState::Succeeded.into(),
        classifications: vec![Classification { class_id: 1, label, score: 0.75 }],
        execution: Some(ExecutionInfo {
            model: "test".to_owned(),
            model_version: "1".to_owned(),
            worker_id: "w1".to_owned(),
            attempt,
            queue_duration: Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }),
            ..ExecutionInfo::default()
        }),
        ..ImageResult::default()
    }
}

/// Passes the checks that need no decoding.
pub const JPEG: &[u8] = b"\xff\xd8\xff\xe0 not really";

pub fn image(custom_id: &str, content: &[u8]) -> Image {
    Image { source: Some(Source::Content(content.to_vec().into())), custom_id: custom_id.to_owned() }
}
