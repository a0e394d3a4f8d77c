//! Stands between the services and AWS, and is out of order when a test says so.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everything passes.
    Open,
    /// Every request is answered 503.
    Failing,
    /// Connections are cut.
    Cut,
    /// Nothing is answered.
    Silent,
}

pub struct Proxy {
    pub endpoint: String,
    mode: watch::Sender<Mode>,
    serving: JoinHandle<()>,
}

impl Proxy {
    /// To the server at this endpoint.
    pub async fn start(endpoint: &str) -> Self {
        let server = endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (mode, seen) = watch::channel(Mode::Open);
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                connections.spawn(pass(client, server.clone(), seen.clone()));
            }
        });
        Self { endpoint, mode, serving }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    pub async fn for_a_while(&self, mode: Mode, time: Duration) {
        self.set(mode);
        tokio::time::sleep(time).await;
        self.set(Mode::Open);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass(mut client: TcpStream, server: String, mut mode: watch::Receiver<Mode>) {
    let now = *mode.borrow_and_update();
    match now {
        Mode::Open => {
            let Ok(mut server) = TcpStream::connect(server).await else { return };
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => {}
                // An outage cuts what is under way.
                _ = mode.changed() => {}
            }
        }
        Mode::Failing => {
            let mut request = vec![0; 65536];
            let _ = client.read(&mut request).await;
            let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = client.write_all(answer.as_bytes()).await;
            // What is still on its way is read, or the answer would be lost with it.
            let _ = tokio::time::timeout(Duration::from_millis(200), async {
                while client.read(&mut request).await.is_ok_and(|read| read > 0) {}
            })
            .await;
        }
        Mode::Cut => {}
        Mode::Silent => {
            let _ = mode.changed().await;
        }
    }
}
