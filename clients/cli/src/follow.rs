//! Following a stream for as long as the user looks: a lost connection is said once and opened again.

use std::io::{self, Write as _};

use platform::{Error, Kind, retry::Backoff};
use tonic::{Status, Streaming};

use crate::{
    connect::{Connection, Server},
    failure::{Failure, INTERRUPTED, Outcome},
};

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    More,
    /// That was the last message.
    Enough,
}

/// Opens the stream and hands over its messages until it was enough, or Ctrl-C. The first connection must work, so
/// that a wrong address is said at once; a later one is tried again without end.
pub(crate) async fn follow<T>(
    server: Server<'_>,
    mut open: impl AsyncFnMut(Connection) -> Result<Streaming<T>, Status>,
    mut take: impl FnMut(T) -> Result<Next, Failure>,
) -> Outcome {
    let service = server.service;
    let following = async {
        let mut backoff = Backoff::for_connections();
        let mut connected_before = false;
        let mut said = false;
        loop {
            let channel = match server.connect().await {
                Ok(channel) => channel,
                Err(failure) if !connected_before => return Err(failure),
                Err(_) => {
                    tokio::time::sleep(backoff.pause()).await;
                    continue;
                }
            };
            connected_before = true;
            let lost = match open(channel).await {
                Err(status) => status,
                Ok(mut messages) => loop {
                    match messages.message().await {
                        Ok(Some(message)) => {
                            backoff.reset();
                            said = false;
                            if take(message)? == Next::Enough {
                                return Ok(0);
                            }
                        }
                        Ok(None) => break Status::unavailable("it ended the stream"),
                        Err(status) => break status,
                    }
                },
            };
            let error = Error::from(lost);
            if !is_passing(error.kind()) {
                return Err(error.into());
            }
            if !std::mem::replace(&mut said, true) {
                writeln!(io::stderr(), "lost the {service} ({}); trying again", error.message())?;
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    };
    tokio::select! {
        ended = following => ended,
        _ = tokio::signal::ctrl_c() => Ok(INTERRUPTED),
    }
}

/// Whether the same call may work once the server is there again. A connection that breaks in
/// the middle of a message is an internal or cancelled one to tonic.
fn is_passing(kind: Kind) -> bool {
    kind.is_retryable() || matches!(kind, Kind::Internal | Kind::Cancelled | Kind::DeadlineExceeded)
}
