//! One call: to the address that was checked, without following anybody elsewhere, and over soon.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use platform::{Error, Kind, Result};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

use super::guard::Target;

/// All of it, to the status of the answer. Receivers do their work after they have answered.
const CALL_MAX: Duration = Duration::from_secs(15);

/// Of the answer's head. Its body is not read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Trusts who this machine trusts.
pub fn tls() -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    // One that can't be read is one that is not trusted.
    let (_, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal(error).context("set up TLS"))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// Sends the request to this address, and gives the status it was answered with.
pub async fn call(
    target: &Target,
    address: SocketAddr,
    tls: &Arc<ClientConfig>,
    request: Request<Full<Bytes>>,
) -> Result<http::StatusCode> {
    let call = async {
        let tcp = TcpStream::connect(address).await.map_err(|error| failed("connect", error))?;
        let stream: Box<dyn Stream> = if target.is_tls {
            let name =
                ServerName::try_from(target.host.clone()).map_err(|error| failed("name the host", error))?;
            let tls = TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await;
            Box::new(tls.map_err(|error| failed("TLS", error))?)
        } else {
            Box::new(tcp)
        };
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(ANSWER_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed("speak HTTP", error))?;
        let answer = sender.send_request(request);
        tokio::pin!(connection, answer);
        tokio::select! {
            answer = &mut answer => answer.map(|answer| answer.status()).map_err(|error| failed("call", error)),
            ended = &mut connection => {
                ended.map_err(|error| failed("call", error))?;
                answer.await.map(|answer| answer.status()).map_err(|error| failed("call", error))
            }
        }
    };
    tokio::time::timeout(CALL_MAX, call)
        .await
        .unwrap_or_else(|_| Err(Error::new(Kind::ServiceUnavailable, "no answer within 15 s")))
}

fn failed(doing: &'static str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Kind::ServiceUnavailable, "the webhook's receiver does not answer")
        .with_source(error)
        .context(doing)
}
