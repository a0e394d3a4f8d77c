//! Tasks with anything in every field: each is answered or given up, and the worker works on.

use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use prost::Message as _;
use prost_types::Timestamp;

use super::{gateway::Gateway, *};

fn any_time() -> impl Strategy<Value = Option<Timestamp>> {
    let now = platform::time::now().seconds;
    let seconds = prop_oneof![any::<i64>(), now - 100..now + 100];
    prop::option::of((seconds, any::<i32>()).prop_map(|(seconds, nanos)| Timestamp { seconds, nanos }))
}

fn any_input() -> impl Strategy<Value = Option<Input>> {
    prop_oneof![
        Just(None),
        prop::collection::vec(any::<u8>(), 0..100).prop_map(|content| Some(Input::Content(content.into()))),
        r"\PC{0,30}".prop_map(|key| Some(Input::StoreKey(key))),
        r"(s3://)?\PC{0,30}".prop_map(|uri| Some(Input::Uri(uri))),
    ]
}

/// Anything a message of this type can say.
fn any_task() -> impl Strategy<Value = Task> {
    let names =
        (r"\PC{0,40}", prop_oneof![Just(String::new()), r"\PC{0,20}@?\PC{0,5}".boxed()], r"\PC{0,20}");
    let numbers = (any::<i32>(), any::<u32>(), any::<f32>(), any::<u64>(), any::<u64>());
    (names, numbers, any_input(), any_time(), any_time()).prop_map(
        |(
            (custom_id, model, result_key),
            (priority, top_k, min_score, offset, length),
            input,
            enqueued,
            deadline,
        )| {
            Task {
                custom_id,
                model,
                result_key,
                priority,
                top_k,
                min_score,
                store_offset: offset,
                store_length: length,
                input,
                enqueue_time: enqueued,
                deadline,
                ..Task::default()
            }
        },
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_gets_through_tasks_with_anything_in_every_field() {
    const TASKS: usize = 300;
    let (queue, gateway) = (queue(), Gateway::start().await);
    let mut runner = TestRunner::deterministic();
    let tasks = (0..TASKS).map(|i| {
        let mut task = any_task().new_tree(&mut runner).unwrap().current();
        // Who waits, and which one it is: without them it could only be dropped.
        (task.task_id, task.reply_to) = (format!("task-{i}"), gateway.url());
        // As it comes over a queue.
        Task::decode(task.encode_to_vec().as_slice()).unwrap()
    });
    queue.send(tasks.collect()).await.unwrap();
    let worker = Running::start(options("stub:0"), queue.clone()).await;
    let dead = queue.dead_letters().unwrap();
    eventually("all are answered or dead letters", async || is_empty(&queue).await).await;
    let given_up = dead.counts().await.unwrap().visible;
    let mut answered = gateway.results().into_iter().map(|(task_id, _)| task_id).collect::<Vec<_>>();
    answered.sort_unstable();
    answered.dedup();
    assert_eq!(answered.len(), gateway.results().len(), "none twice");
    assert_eq!(answered.len() as u64 + given_up, TASKS as u64);
    queue.send(vec![task("last", &gateway.url())]).await.unwrap();
    eventually("the worker works on", async || {
        gateway.results().iter().any(|(task_id, _)| task_id == "last")
    })
    .await;
    worker.stop().await;
}

proptest! {
    #[test]
    fn any_bytes_are_a_task_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(task) = Task::decode(bytes.as_slice()) {
            // What was read is not larger than what it was read from, but for defaults.
            prop_assert!(task.encoded_len() <= bytes.len() + 16);
        }
    }
}
