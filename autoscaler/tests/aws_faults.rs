//! What callers notice of faults of AWS and of killed processes: a wait or a typed error, and no image lost or answered twice.
#![allow(clippy::unwrap_used)]

mod aws_world;

use std::time::{Duration, Instant};

use aws_world::{
    Cloud, PATIENCE, QUEUE, classify, classify_many, jpeg,
    proxy::{Mode, Proxy},
};
use platform::{
    Kind,
    aws::stand_in::{self, Fauxqs},
    queue::{Queue as _, SqsQueue},
};
use proto::v1::ImageState;

/// The model that runs a program gets only what is an image.
const PHOTOGRAPH: &[u8] = include_bytes!("../../clients/cli/samples/flower.jpg");

/// The error a status carries, with its details.
fn error(status: &tonic::Status) -> platform::Error {
    platform::Error::from(status.clone())
}

/// Classifies one image, again for as long as the answer says that this can help. Gives the number of tries.
async fn insist(cloud: &Cloud, name: &str) -> usize {
    let until = Instant::now() + PATIENCE;
    let mut tries = 0;
    loop {
        tries += 1;
        let mut client = cloud.client().await;
        match classify(&mut client, &format!("{name}.jpg"), jpeg(1000)).await {
            Ok(result) => {
                assert_eq!(result.state(), ImageState::Succeeded);
                assert_eq!(result.classifications[0].label, name);
                return tries;
            }
            Err(status) => {
                // A gateway that was killed says nothing; the client words that itself.
                let is_broken_off = status.message() == "transport error";
                assert!(is_broken_off || status.code() == tonic::Code::Unavailable, "{status:?}");
                assert!(Instant::now() < until, "never answered: {status:?}");
                tokio::time::sleep(error(&status).retry_after().unwrap_or(Duration::from_millis(200))).await;
            }
        }
    }
}

async fn insist_on_many(cloud: &Cloud, images: usize) {
    let insisting = (0..images).map(|i| async move { insist(cloud, &format!("image-{i}")).await });
    futures::future::join_all(insisting).await;
}

/// Nothing waits, nothing is leased, nothing was dead-lettered.
async fn assert_all_settled(endpoint: &str) {
    let queue = SqsQueue::open_for_sender(&stand_in::config(endpoint), QUEUE).await.unwrap();
    let until = Instant::now() + PATIENCE;
    loop {
        let counts = queue.counts().await.unwrap();
        if (counts.visible, counts.leased) == (0, 0) {
            break;
        }
        assert!(Instant::now() < until, "{counts:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let dead = queue.dead_letters().unwrap().counts().await.unwrap();
    assert_eq!((dead.visible, dead.leased), (0, 0), "dead letters");
}

#[tokio::test(flavor = "multi_thread")]
async fn outages_of_sqs_lose_nothing_and_answer_nothing_twice() {
    let Some(fauxqs) = Fauxqs::start().await else { return };
    let proxy = Proxy::start(&fauxqs.endpoint()).await;
    let mut cloud = Cloud::make(&stand_in::config(&fauxqs.endpoint()), proxy.endpoint.clone()).await;
    cloud.endpoint.clone_from(&proxy.endpoint);
    let gateway = cloud.gateway(&[]);
    let workers = [cloud.worker("w1", &["--model=stub:20ms"]), cloud.worker("w2", &["--model=stub:20ms"])];
    classify_many(&cloud, 10, 2, 1000).await;
    let outages = async {
        for mode in [Mode::Failing, Mode::Cut, Mode::Silent] {
            tokio::time::sleep(Duration::from_millis(300)).await;
            proxy.for_a_while(mode, Duration::from_secs(2)).await;
        }
    };
    tokio::join!(insist_on_many(&cloud, 300), outages);
    assert_all_settled(&fauxqs.endpoint()).await;
    for worker in workers {
        assert_eq!(worker.stop().await, Some(0));
    }
    assert_eq!(gateway.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_worker_delays_its_images_by_a_lease_and_loses_none() {
    let Some(fauxqs) = Fauxqs::start().await else { return };
    let cloud = Cloud::make(&stand_in::config(&fauxqs.endpoint()), fauxqs.endpoint()).await;
    let _gateway = cloud.gateway(&[]);
    let flags = ["--model=stub:200ms", "--lease=3s"];
    let (victim, _other) = (cloud.worker("w1", &flags), cloud.worker("w2", &flags));
    let kill = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        victim.kill();
    };
    tokio::join!(classify_many(&cloud, 30, 30, 1000), kill);
    assert_all_settled(&fauxqs.endpoint()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_gateway_is_asked_again_and_its_old_tasks_are_cleared_away() {
    let Some(fauxqs) = Fauxqs::start().await else { return };
    let cloud = Cloud::make(&stand_in::config(&fauxqs.endpoint()), fauxqs.endpoint()).await;
    let gateway = cloud.gateway(&[]);
    let _worker = cloud.worker("w1", &["--model=stub:50ms", "--lease=3s"]);
    let restart = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        gateway.kill();
        tokio::time::sleep(Duration::from_millis(500)).await;
        cloud.gateway(&[])
    };
    let (_, gateway) = tokio::join!(insist_on_many(&cloud, 60), restart);
    assert_all_settled(&fauxqs.endpoint()).await;
    assert_eq!(gateway.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn image_that_kills_every_worker_is_a_typed_error_to_its_caller() {
    let Some(fauxqs) = Fauxqs::start().await else { return };
    let cloud = Cloud::make(&stand_in::config(&fauxqs.endpoint()), fauxqs.endpoint()).await;
    let _gateway = cloud.gateway(&[]);
    let killer = cloud.folder.path().join("killer");
    std::fs::write(&killer, "kill -9 $PPID\n").unwrap();
    let model = format!("--model=command:sh {}", killer.display());
    let mut client = cloud.client().await;
    let mut caller =
        tokio::spawn(async move { classify(&mut client, "poison.jpg", PHOTOGRAPH.to_vec()).await });
    // Whoever comes after three finds that they were enough, and SQS moves the message away. A poll that a killed worker
    // leaves behind may be one of the three.
    let mut killed = 0;
    let status = loop {
        let mut worker = cloud.worker(&format!("w{killed}"), &[&model, "--lease=1s"]);
        tokio::select! {
            answer = &mut caller => break answer.unwrap().unwrap_err(),
            code = worker.ended() => assert_eq!(code, None, "killed by the image"),
        }
        killed += 1;
        assert!(killed <= 3, "there is no attempt after the last");
    };
    assert!(killed >= 1);
    assert_eq!(error(&status).kind(), Kind::MaxAttempts, "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_can_come_by_a_queue_that_goes_with_its_gateway() {
    let Some(fauxqs) = Fauxqs::start().await else { return };
    let config = stand_in::config(&fauxqs.endpoint());
    let cloud = Cloud::make(&config, fauxqs.endpoint()).await;
    let sqs = aws_sdk_sqs::Client::new(&config);
    sqs.create_queue().queue_name("results").send().await.unwrap();
    let reply_queues = async || {
        let queues = sqs.list_queues().queue_name_prefix("dunlin-reply-").send().await.unwrap();
        queues.queue_urls.unwrap_or_default().len()
    };
    let gateway = cloud.gateway(&["--reply-by=queue"]);
    let _worker = cloud.worker("w1", &["--model=stub:0", "--results-queue=sqs://us-east-1/results"]);
    classify_many(&cloud, 50, 10, 1000).await;
    assert_eq!(reply_queues().await, 1);
    let url = sqs.get_queue_url().queue_name("results").send().await.unwrap().queue_url.unwrap();
    let published = sqs.receive_message().queue_url(url).max_number_of_messages(10).send().await.unwrap();
    let body = published.messages.unwrap()[0].body.clone().unwrap();
    assert!(
        body.contains(r#""state":"IMAGE_STATE_SUCCEEDED""#) && body.contains(r#""label":"image-"#),
        "{body}"
    );
    assert_eq!(gateway.stop().await, Some(0));
    assert_eq!(reply_queues().await, 0);
    assert_all_settled(&fauxqs.endpoint()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_one_sentence_and_the_code_of_a_wrong_configuration() {
    let Some(fauxqs) = Fauxqs::start().await else { return };
    let cloud = Cloud::with(fauxqs.endpoint());
    let mut gateway = cloud.gateway(&[]);
    assert_eq!(gateway.ended().await, Some(78));
    assert!(gateway.said().contains("queue sqs://us-east-1/dunlin does not exist"), "{}", gateway.said());
    let mut worker = cloud.worker("w1", &["--model=stub:0"]);
    assert_eq!(worker.ended().await, Some(78));
    assert!(worker.said().contains("does not exist"), "{}", worker.said());
}
