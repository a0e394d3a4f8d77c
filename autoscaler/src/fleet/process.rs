//! One worker process: started, watched, asked to go, and in the end killed.

use std::{collections::VecDeque, ffi::OsString, io::Write as _, process::Stdio, time::Duration};

use platform::{
    Error, Kind, Result,
    auth::{INTERNAL_SECRET_VARIABLE, Secret},
};
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, ChildStderr, Command},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// How much of what a process said last is kept, for the error when it dies.
const TAIL_BYTES: usize = 2048;

/// After a process is gone, how long what it said may still take to arrive. Its own children may
/// hold the pipe open for ever.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// In a process group of its own, so that Ctrl-C in a terminal reaches us alone and we decide the
/// order in which things stop. Standard input stays open until it is to go.
pub(super) fn spawn(command: &[OsString], secret: Option<&Secret>) -> Result<Child> {
    let [program, arguments @ ..] = command else {
        return Err(Error::new(Kind::Config, "no worker program is set"));
    };
    let mut process = Command::new(program);
    if let Some(secret) = secret {
        process.env(INTERNAL_SECRET_VARIABLE, secret.reveal()).env_remove("DUNLIN_INTERNAL_SECRET_FILE");
    }
    process
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            Error::new(Kind::Config, format!("can't start {}: {error}", program.to_string_lossy()))
        })
}

/// Runs it to its end. Once `stop` is set it is asked to go and after `limit` killed. Says how it
/// ended if it ended without being asked to.
///
/// Dropped, the process is killed.
pub(super) async fn run(mut child: Child, stop: &CancellationToken, limit: Duration) -> Option<String> {
    let (mut stdin, mut stderr) = (child.stdin.take(), child.stderr.take());
    let mut tail = Tail::default();
    let mut kill_at = None;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            () = tail.read(&mut stderr) => {}
            () = stop.cancelled(), if kill_at.is_none() => {
                stdin.take();
                terminate(&child);
                kill_at = Some(Instant::now() + limit);
            }
            () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                tracing::warn!(pid = child.id(), ?limit, "kill a worker that did not go");
                if let Err(error) = child.start_kill() {
                    tracing::warn!(%error, "kill worker");
                }
                kill_at = Some(Instant::now() + limit);
            }
        }
    };
    let rest = async {
        while stderr.is_some() {
            tail.read(&mut stderr).await;
        }
    };
    // Over when the pipe is closed; if it is not, what is there is enough.
    let _ = timeout(LAST_WORDS, rest).await;
    if stop.is_cancelled() {
        return None;
    }
    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    Some(match tail.text() {
        text if text.is_empty() => status,
        text => format!("{status}: {text}"),
    })
}

fn terminate(child: &Child) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(id) = id
        && let Err(error) = rustix::process::kill_process(id, rustix::process::Signal::TERM)
    {
        tracing::debug!(%error, "ask worker to go");
    }
}

/// The last of what a process said on standard error, which is passed on to ours.
#[derive(Default)]
struct Tail(VecDeque<u8>);

impl Tail {
    /// Takes in one piece. Sets `from` to `None` at its end, and then never returns again.
    ///
    /// Dropped, nothing is lost: a piece is taken in at once or not at all.
    async fn read(&mut self, from: &mut Option<ChildStderr>) {
        let Some(pipe) = from else { return std::future::pending().await };
        let mut piece = [0; 1024];
        match pipe.read(&mut piece).await {
            Ok(0) | Err(_) => *from = None,
            Ok(length) => {
                let piece = piece.get(..length).unwrap_or_default();
                self.0.extend(piece);
                self.0.drain(..self.0.len().saturating_sub(TAIL_BYTES));
                // Ours may be closed; a worker goes on without it.
                let _ = std::io::stderr().write_all(piece);
            }
        }
    }

    /// The last lines on one line.
    fn text(&mut self) -> String {
        const LINES: usize = 5;
        let text = String::from_utf8_lossy(self.0.make_contiguous());
        let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join(" | ")
    }
}
