//! Jobs on AWS: images named in S3, images pointed to in the store, results in the caller's bucket, and a gateway that
//! dies. The gateways are programs of their own, on stand-ins.
#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use platform::{
    aws::stand_in::{self, Moto},
    queue::{Queue, SqsQueue},
    store::{S3Objects, S3Store, S3Uri, Store},
};
use proto::{
    internal::v1::{
        ReplySessionRequest, Task, WorkerHello, reply_service_client::ReplyServiceClient,
        reply_session_request as request, task::Input as Where,
    },
    v1::{CreateJobRequest, JobState, create_job_request::Input, job_service_client::JobServiceClient},
};
use support::{
    JPEG, Worker,
    jobs::{Client, create, field, get, of_count, reason, results, sorted, states, watch},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;

mod support;

struct Cloud {
    moto: Moto,
    queue: String,
    objects: S3Objects,
    store: Arc<dyn Store>,
}

impl Cloud {
    async fn start() -> Option<Self> {
        let moto = Moto::start().await?;
        let config = stand_in::config(&moto.endpoint());
        for bucket in ["box", "out", "store"] {
            make_bucket(&moto.endpoint(), bucket).await;
        }
        let queue = stand_in::make_queues(&config, "jobs").await;
        let objects = S3Objects::new(&config);
        let store = Arc::new(S3Store::open_with(&config, "s3://store/p").await.unwrap());
        Some(Self { moto, queue, objects, store })
    }

    async fn put(&self, uri: &str, content: &[u8]) {
        self.objects.put(&S3Uri::parse(uri).unwrap(), content.to_vec().into()).await.unwrap();
    }

    fn gateway(&self) -> Gateway {
        let ports = [free_port(), free_port()];
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DUNLIN_"))
        {
            command.env_remove(name);
        }
        let child = command
            .args(["--queue", &self.queue, "--store", "s3://store/p", "--uri-bucket", "box"])
            .args(["--job-output-bucket", "out", "--grace", "5s"])
            .args(["--listen", &format!("127.0.0.1:{}", ports[0])])
            .args(["--internal-listen", &format!("127.0.0.1:{}", ports[1])])
            .env("AWS_ENDPOINT_URL", self.moto.endpoint())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Gateway { child, ports }
    }

    /// Answers with the names, and notes where each image was.
    async fn worker(
        &self,
        gateway: &Gateway,
    ) -> (tokio::task::JoinHandle<()>, Arc<Mutex<HashMap<String, Task>>>) {
        let config = stand_in::config(&self.moto.endpoint());
        let queue: Arc<dyn Queue> =
            Arc::new(SqsQueue::open_for_receiver(&config, &self.queue).await.unwrap());
        let (out, receiver) = mpsc::channel(64);
        let internal = format!("http://127.0.0.1:{}", gateway.ports[1]);
        let mut client =
            until("the internal port", async || ReplyServiceClient::connect(internal.clone()).await.ok())
                .await;
        let hello =
            WorkerHello { worker_id: "w1".to_owned(), model: "test".to_owned(), ..WorkerHello::default() };
        out.send(ReplySessionRequest { event: Some(request::Event::Hello(hello)) }).await.unwrap();
        let answers = client.reply_session(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        let mut worker = Worker { queue, out, answers };
        let tasks = Arc::new(Mutex::new(HashMap::new()));
        let (seen, mine) = (Arc::clone(&tasks), internal);
        let working = tokio::spawn(async move {
            loop {
                for delivery in worker.receive(8).await {
                    // What a dead gateway waited for nobody does.
                    if delivery.task.reply_to == mine {
                        seen.lock().unwrap().insert(delivery.task.custom_id.clone(), delivery.task.clone());
                        worker.answer(&delivery).await;
                    } else {
                        worker.queue.ack(std::slice::from_ref(&delivery.lease)).await.unwrap();
                    }
                }
            }
        });
        (working, tasks)
    }
}

struct Gateway {
    child: Child,
    ports: [u16; 2],
}

impl Gateway {
    async fn client(&self) -> Client {
        let address = format!("http://127.0.0.1:{}", self.ports[0]);
        until("the gateway", async || JobServiceClient::connect(address.clone()).await.ok()).await
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..1200 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await; // a process starts
    }
    panic!("waited a minute for {what}");
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn make_bucket(endpoint: &str, bucket: &str) {
    let address = endpoint.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "PUT /{bucket} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains(" 200 "), "{answer}");
}

fn of(input: Input) -> CreateJobRequest {
    CreateJobRequest { input: Some(input), ..CreateJobRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_come_from_a_prefix_or_a_list_and_results_go_to_the_callers_bucket() {
    let Some(cloud) = Cloud::start().await else { return };
    for name in ["birds/a.jpg", "birds/b.jpg", "birds/deep/c.jpg", "cats/d.jpg"] {
        cloud.put(&format!("s3://box/{name}"), JPEG).await;
    }
    let list = [("one", "s3://box/cats/d.jpg"), ("two", "s3://box/cats/none.jpg")];
    let line = |(name, uri)| format!("{{\"custom_id\":\"{name}\",\"uri\":\"{uri}\"}}\n");
    cloud.put("s3://box/list.jsonl", list.map(line).concat().as_bytes()).await;
    cloud.put("s3://box/bad.jsonl", br#"{"uri":"s3://secret/x.jpg"}"#).await;
    let gateway = cloud.gateway();
    let mut client = gateway.client().await;
    let (working, tasks) = cloud.worker(&gateway).await;
    let request = CreateJobRequest {
        output_prefix: "s3://out/for/me/".to_owned(),
        ..of(Input::InputPrefix("s3://box/birds/".to_owned()))
    };
    let job = create(&mut client, request).await;
    assert_eq!(job.counts.unwrap().total, 3);
    let events = watch(&mut client, &job.name, 0).await;
    assert_eq!(states(&events).last(), Some(&JobState::Succeeded), "{events:?}");
    let job = get(&mut client, &job.name).await;
    assert!(job.output_uri.starts_with("s3://out/for/me/"), "{}", job.output_uri);
    let lines = cloud.objects.get(&S3Uri::parse(&job.output_uri).unwrap(), 1 << 20).await.unwrap();
    let lines = String::from_utf8(lines.to_vec()).unwrap();
    assert_eq!(lines.lines().count(), 3);
    assert!(lines.contains("\"deep/c.jpg\""), "{lines}");
    let uri = tasks.lock().unwrap().get("a.jpg").and_then(|task| task.input.clone());
    assert_eq!(uri, Some(Where::Uri("s3://box/birds/a.jpg".to_owned())), "the worker reads it");
    let job = create(&mut client, of(Input::ManifestUri("s3://box/list.jsonl".to_owned()))).await;
    let events = watch(&mut client, &job.name, 0).await;
    assert_eq!(states(&events).last(), Some(&JobState::PartiallyFailed), "{events:?}");
    assert!(get(&mut client, &job.name).await.output_uri.starts_with("s3://store/p/jobs/"));
    for (input, want, at) in [
        (Input::ManifestUri("s3://box/bad.jsonl".to_owned()), "URI_NOT_ALLOWED", "manifest[0].uri"),
        (Input::ManifestUri("s3://box/none".to_owned()), "OBJECT_NOT_FOUND", "manifest_uri"),
        (Input::ManifestUri("s3://other/list".to_owned()), "URI_NOT_ALLOWED", "manifest_uri"),
        (Input::InputPrefix("s3://other/".to_owned()), "URI_NOT_ALLOWED", "input_prefix"),
        (Input::InputPrefix("s3://box/nothing/".to_owned()), "INVALID_REQUEST", "input_prefix"),
    ] {
        let status = client.create_job(of(input)).await.unwrap_err();
        assert_eq!((reason(&status).as_str(), field(&status).as_str()), (want, at), "{status:?}");
    }
    working.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn images_wait_in_the_store_and_another_gateway_goes_on_with_the_job_of_a_killed_one() {
    let Some(cloud) = Cloud::start().await else { return };
    let first = cloud.gateway();
    let mut client = first.client().await;
    let job = create(&mut client, of_count(120)).await;
    until("the job to run", async || {
        (get(&mut client, &job.name).await.state() == JobState::Running).then_some(())
    })
    .await;
    drop(first);
    let second = cloud.gateway();
    let mut client = second.client().await;
    let (working, tasks) = cloud.worker(&second).await;
    let events = watch(&mut client, &job.name, 0).await;
    assert_eq!(sorted(results(&events)), (0..120).collect::<Vec<_>>());
    assert_eq!(states(&events).last(), Some(&JobState::Succeeded));
    let task = tasks.lock().unwrap().get("7.jpg").cloned().unwrap();
    let Some(Where::StoreKey(key)) = task.input else { panic!("{:?}", task.input) };
    let part = task.store_offset..task.store_offset + task.store_length;
    assert_eq!(cloud.store.get_range(&key, part).await.unwrap(), [JPEG, b"7"].concat());
    assert!(key.contains("/bundles/"), "{key}");
    working.abort();
}
