//! The server's certificate, and whose certificates it asks for. The files are read again when they change, so that a
//! renewal needs no restart.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};

use crate::{Error, Kind, Result, changes::Changes};

/// Certificates are renewed days before they end.
const RELOAD_PERIOD: Duration = Duration::from_secs(5);

/// What a connection may speak, best first: gRPC, and everything else on the same port.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// TLS of the port where callers connect.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Access")]
pub struct TlsOptions {
    /// Speak TLS with this certificate and those that vouch for it, as PEM; read again when it changes
    #[arg(long, env = "DUNLIN_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, as PEM
    #[arg(long, env = "DUNLIN_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Let only those connect who show a certificate of this authority, as PEM
    #[arg(long, env = "DUNLIN_TLS_CLIENT_CA", value_name = "FILE", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,
}

impl TlsOptions {
    pub fn files(&self) -> Option<TlsFiles> {
        TlsFiles::new(&self.tls_cert, &self.tls_key, &self.tls_client_ca)
    }
}

/// What a server's TLS is made of.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

impl TlsFiles {
    /// `None` without a certificate.
    pub fn new(
        certificate: &Option<PathBuf>,
        key: &Option<PathBuf>,
        client_ca: &Option<PathBuf>,
    ) -> Option<Self> {
        let (certificate, key) = (certificate.clone()?, key.clone()?);
        Some(Self { certificate, key, client_ca: client_ca.clone() })
    }

    pub fn asks_for_certificates(&self) -> bool {
        self.client_ca.is_some()
    }

    /// Reads them, and again whenever they change for as long as what it gives lives.
    pub fn open(self) -> Result<Arc<Tls>> {
        let paths = [&self.certificate, &self.key].into_iter().chain(&self.client_ca);
        let mut changes = Changes::new(paths.map(PathBuf::as_path));
        let config = Arc::new(ArcSwap::new(self.config()?));
        let shared = Arc::clone(&config);
        let reload = tokio::spawn(async move {
            loop {
                changes.next(RELOAD_PERIOD).await;
                let again = self.clone();
                let read = tokio::task::spawn_blocking(move || again.config()).await.map_err(Error::internal);
                match read.flatten() {
                    Ok(read) => {
                        tracing::info!("the certificate changed");
                        shared.store(read);
                    }
                    Err(error) => tracing::error!(%error, "the certificate stays as it was"),
                }
            }
        });
        Ok(Arc::new(Tls { config, reload }))
    }

    fn config(&self) -> Result<Arc<ServerConfig>> {
        let wrong = |path: &Path, error: &dyn std::fmt::Display| {
            Error::new(Kind::Config, format!("TLS: {}: {error}", path.display()))
        };
        let chain = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| wrong(&self.key, &error))?;
        let provider: Arc<CryptoProvider> = ring::default_provider().into();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(Error::internal)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|error| wrong(path, &error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| wrong(path, &error))?)
            }
        };
        // Says so when the key is another certificate's.
        let mut config =
            builder.with_single_cert(chain, key).map_err(|error| wrong(&self.certificate, &error))?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(config.into())
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let wrong =
        |error: &dyn std::fmt::Display| Error::new(Kind::Config, format!("TLS: {}: {error}", path.display()));
    let read = CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))?;
    let read = read.collect::<Result<Vec<_>, _>>().map_err(|error| wrong(&error))?;
    if read.is_empty() {
        return Err(wrong(&"there is no certificate in it"));
    }
    Ok(read)
}

/// What a port's connections begin with.
pub struct Tls {
    config: Arc<ArcSwap<ServerConfig>>,
    reload: JoinHandle<()>,
}

impl Tls {
    /// For the next connection.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.reload.abort();
    }
}
