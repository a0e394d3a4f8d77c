//! Connections with TLS: each handshake on its own, so that a client that never finishes one holds nobody up.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use futures::Stream;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::tls::Tls;

/// Handshakes at once. Beyond it the oldest is dropped for the newest: an honest one takes a round trip or two, so the oldest
/// are those that do not mean to finish.
const HANDSHAKES_MAX: usize = 512;

/// Ten round trips on a bad line.
const LONGEST: Duration = Duration::from_secs(10);

/// After an error such as too many open files, which goes on until some are closed.
const PAUSE: Duration = Duration::from_millis(50);

/// The connections whose handshake is done.
pub(super) fn connections(
    listener: TcpListener,
    tls: Arc<Tls>,
) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> {
    let handshakes = Handshakes { listener, tls, running: JoinSet::new(), oldest: VecDeque::new() };
    futures::stream::unfold(handshakes, |mut handshakes| async move {
        let connection = handshakes.next().await;
        Some((Ok(connection), handshakes))
    })
}

struct Handshakes {
    listener: TcpListener,
    tls: Arc<Tls>,
    running: JoinSet<Option<TlsStream<TcpStream>>>,
    oldest: VecDeque<AbortHandle>,
}

impl Handshakes {
    async fn next(&mut self) -> TlsStream<TcpStream> {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((connection, _)) => self.begin(connection),
                    Err(error) => {
                        tracing::warn!(%error, "accept a connection");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
                Some(done) = self.running.join_next() => if let Ok(Some(connection)) = done {
                    return connection;
                },
            }
        }
    }

    fn begin(&mut self, connection: TcpStream) {
        if self.oldest.len() >= HANDSHAKES_MAX {
            self.oldest.retain(|handshake| !handshake.is_finished());
        }
        if self.oldest.len() >= HANDSHAKES_MAX
            && let Some(handshake) = self.oldest.pop_front()
        {
            handshake.abort();
        }
        let acceptor = TlsAcceptor::from(self.tls.config());
        self.oldest.push_back(self.running.spawn(async move {
            if let Err(error) = connection.set_nodelay(true) {
                tracing::debug!(%error, "set nodelay");
            }
            match timeout(LONGEST, acceptor.accept(connection)).await {
                Ok(Ok(connection)) => Some(connection),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "TLS handshake");
                    None
                }
                Err(_) => None,
            }
        }));
    }
}
