//! The real gateway program as a process of its own: its memory, its signals, its end.
#![allow(dead_code, clippy::unwrap_used)]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::System;

pub struct Process {
    child: Child,
    pub public: SocketAddr,
    pub internal: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// With these flags beside free ports.
    pub fn start(flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DUNLIN_"))
        {
            command.env_remove(name);
        }
        let ports = ["--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0", "--log-format", "json"];
        // As in `support::start`: tests send one image again and again.
        if !flags.contains(&"--cache-bytes") {
            command.args(["--cache-bytes", "0"]);
        }
        let mut child = command.args(ports).args(flags).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = loop {
            let line = lines.next().expect("it ended before it listened").unwrap();
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            if line["message"] == "listening" {
                break line;
            }
        };
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        // Ends with the process.
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| kept.lock().unwrap().push(line));
        });
        let address = |name: &str| listening[name].as_str().unwrap().parse().unwrap();
        Self { public: address("public"), internal: address("internal"), child, log }
    }

    /// The same for what works on a gateway in this process.
    pub fn system(&self) -> System {
        System::of_process(self.public, self.internal)
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// What it has logged so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub async fn wait(&mut self) -> ExitStatus {
        const LONGEST: Duration = Duration::from_secs(30);
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(since.elapsed() < LONGEST, "it does not end: {:?}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await; // another process has no clock to pause
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
