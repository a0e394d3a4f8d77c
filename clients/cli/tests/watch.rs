//! Watching a real autoscaler that is stopped and started again: said once, and the watch goes on.
#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    process::{Child, ChildStdout, Stdio},
};

use autoscaler::{Autoscaler, Options};
use platform::shutdown::Shutdown;
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::JoinHandle;

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support;

use support::dunlin;

struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(listen: &str) -> Self {
        let options = Options::from_arguments(["--listen", listen, "--worker-command", "true"]).unwrap();
        let autoscaler = Autoscaler::bind(options).await.unwrap();
        let (address, shutdown) = (autoscaler.address(), Shutdown::new());
        let told = shutdown.clone();
        let task = tokio::spawn(async move { autoscaler.run(&told).await.unwrap() });
        Self { address, shutdown, task }
    }

    async fn stop(self) {
        self.shutdown.stop.cancel();
        self.task.await.unwrap();
    }
}

fn watch(address: SocketAddr) -> (Child, BufReader<ChildStdout>) {
    let url = format!("http://{address}");
    let mut child = dunlin(&["status", "--watch", "-o", "jsonl", "--autoscaler", &url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    (child, lines)
}

async fn next_line(mut lines: BufReader<ChildStdout>) -> (String, BufReader<ChildStdout>) {
    tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        (line, lines)
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_goes_on_after_the_autoscaler_was_away_and_ends_with_130() {
    let first = Running::start("127.0.0.1:0").await;
    let address = first.address;
    let (mut child, lines) = watch(address);
    let (line, mut lines) = next_line(lines).await;
    assert!(serde_json::from_str::<serde_json::Value>(&line).unwrap()["policy"].is_string(), "{line}");
    first.stop().await;
    let second = Running::start(&address.to_string()).await;
    // Whatever the first still sent was read before its end; the second's first word comes at once.
    let mut errors = child.stderr.take().unwrap();
    let mut said = [0; 20];
    let said = tokio::task::spawn_blocking(move || {
        errors.read_exact(&mut said).unwrap();
        (String::from_utf8_lossy(&said).into_owned(), errors)
    });
    let (said, mut errors) = said.await.unwrap();
    assert_eq!(said, "lost the autoscaler ");
    let mut line = String::new();
    while !line.starts_with('{') {
        (line, lines) = next_line(lines).await;
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let rest = tokio::task::spawn_blocking(move || {
        let code = child.wait().unwrap().code();
        let mut rest = String::new();
        errors.read_to_string(&mut rest).unwrap();
        (code, rest)
    });
    let (code, rest) = rest.await.unwrap();
    assert_eq!(code, Some(130), "{rest}");
    assert!(!rest.contains("lost"), "said once: {rest}");
    second.stop().await;
}
