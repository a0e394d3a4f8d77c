//! The worker as a program: what it says when it cannot start.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_classifier-worker"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DUNLIN_")) {
        command.env_remove(name);
    }
    // Whoever runs the tests may be on an instance, or not: nobody is asked.
    command.env("AWS_REGION", "eu-west-1").env("AWS_EC2_METADATA_DISABLED", "true");
    command.args(arguments).output().unwrap()
}

#[test]
fn wrong_start_is_one_sentence_and_its_own_exit_code() {
    let check = |arguments: &[&str], code: i32, sentence: &str| {
        let output = run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(sentence), "{said}");
    };
    check(&[], 2, "--queue");
    check(&["--queue", "kafka://x", "--model", "stub:0"], 78, "unknown kind; known: broker://HOST:PORT");
    check(&["--queue", "sqs://nowhere", "--model", "stub:0"], 78, "is not sqs://REGION/NAME");
    check(
        &["--queue", "broker://127.0.0.1:1", "--model", "stub:0", "--store", "gs://x"],
        78,
        "unknown kind; known: file:///",
    );
    check(
        &["--queue", "broker://127.0.0.1:1", "--orphan-after", "0s"],
        78,
        "--orphan-after: must be longer than 0s",
    );
}
