//! The whole system as a newcomer starts it: the real `dunlin up` on free ports, with real worker processes.
#![allow(dead_code, clippy::unwrap_used)]

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use proto::v1::{
    Decision, Image, ListDecisionsRequest, ListInstancesRequest,
    autoscaler_service_client::AutoscalerServiceClient, classifier_service_client::ClassifierServiceClient,
    image::Source,
};
use rustix::process::{Pid, Signal, kill_process};
use tonic::transport::Channel;

pub const DUNLIN: &str = env!("CARGO_BIN_EXE_dunlin");

/// Passes the checks that need no decoding; the stub model does not decode.
pub const JPEG: &[u8] = b"\xff\xd8\xff\xe0 not really";

#[derive(serde::Deserialize)]
pub struct Addresses {
    pub public: SocketAddr,
    pub internal: SocketAddr,
    pub autoscaler: SocketAddr,
}

pub struct Up {
    pub child: Child,
    pub addresses: Addresses,
    pub folder: tempfile::TempDir,
}

/// Model and engine are got once for all tests of a checkout.
pub fn shared_data() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("data")
}

/// A command that does not see the options of whoever runs the tests.
pub fn dunlin() -> Command {
    let mut command = Command::new(DUNLIN);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DUNLIN_")) {
        command.env_remove(name);
    }
    command
}

impl Up {
    /// With the stub model: no photographs, answers are the names.
    pub fn stub(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        Self::start(folder, &data, &[&["--no-samples"], flags].concat())
    }

    /// The same with data that outlives it.
    pub fn stub_in(data: &Path, flags: &[&str]) -> Self {
        Self::start(tempfile::tempdir().unwrap(), data, &[&["--no-samples"], flags].concat())
    }

    /// With the real model.
    pub fn real(flags: &[&str]) -> Self {
        Self::start(tempfile::tempdir().unwrap(), &shared_data(), flags)
    }

    fn start(folder: tempfile::TempDir, data: &Path, flags: &[&str]) -> Self {
        let file = folder.path().join("addresses.json");
        let stdout = fs::File::create(folder.path().join("stdout")).unwrap();
        let stderr = fs::File::create(folder.path().join("stderr")).unwrap();
        let mut child = dunlin()
            .args(["up", "--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"])
            .args(["--autoscaler-listen", "127.0.0.1:0", "--grace", "10s"])
            .arg("--data")
            .arg(data)
            .arg("--addresses-file")
            .arg(&file)
            // Tests send one image again and again, and mean it to be classified each time; a flag says otherwise.
            .env("DUNLIN_CACHE_BYTES", "0")
            .args(flags)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap();
        let text = until("the addresses", || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{}", fs::read_to_string(folder.path().join("stderr")).unwrap());
            fs::read_to_string(&file).ok()
        });
        Self { child, addresses: serde_json::from_str(&text).unwrap(), folder }
    }

    pub async fn client(&self) -> ClassifierServiceClient<Channel> {
        ClassifierServiceClient::connect(format!("http://{}", self.addresses.public)).await.unwrap()
    }

    pub async fn autoscaler(&self) -> AutoscalerServiceClient<Channel> {
        AutoscalerServiceClient::connect(format!("http://{}", self.addresses.autoscaler)).await.unwrap()
    }

    pub async fn decisions(&self) -> Vec<Decision> {
        let request = ListDecisionsRequest { page_size: 1000, ..ListDecisionsRequest::default() };
        let mut decisions =
            self.autoscaler().await.list_decisions(request).await.unwrap().into_inner().decisions;
        decisions.reverse();
        decisions
    }

    /// How many instances are in this state.
    pub async fn instances(&self, state: proto::v1::InstanceState) -> usize {
        let request = ListInstancesRequest {};
        let instances = self.autoscaler().await.list_instances(request).await.unwrap().into_inner().instances;
        instances.into_iter().filter(|instance| instance.state() == state).count()
    }

    /// The worker processes: the children of `up`.
    pub fn workers(&self) -> Vec<Pid> {
        children(self.child.id())
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        until("the end of dunlin up", || self.child.try_wait().unwrap())
    }

    pub fn stdout(&self) -> String {
        fs::read_to_string(self.folder.path().join("stdout")).unwrap()
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- dunlin up said:\n{}\n--- and logged:\n{}", self.stdout(), self.stderr());
        }
        // Only what we started: its workers end when their standard input closes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn children(parent: u32) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let children = processes.filter_map(|process| {
        let id: i32 = process.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(process.path().join("stat")).ok()?;
        // After the name in parentheses: state, parent.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let (state, its_parent) = (fields.next()?, fields.next()?);
        (state != "Z" && its_parent == parent.to_string()).then(|| Pid::from_raw(id))?
    });
    children.collect()
}

/// Polls for something another process does. A test that waits on processes has no clock to pause.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    const LONGEST: Duration = Duration::from_secs(60);
    let since = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(since.elapsed() < LONGEST, "waited {LONGEST:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The same for what is asked over gRPC.
pub async fn until_async<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    const LONGEST: Duration = Duration::from_secs(60);
    let since = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(since.elapsed() < LONGEST, "waited {LONGEST:?} for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn image(custom_id: &str, content: &[u8]) -> Image {
    Image { source: Some(Source::Content(content.to_vec().into())), custom_id: custom_id.to_owned() }
}

/// `count` images that the stub answers with `0`, `1`, ...
pub fn images(count: usize) -> Vec<Image> {
    (0..count).map(|i| image(&format!("{i}.jpg"), JPEG)).collect()
}
