//! How our own services show each other that they are: a shared secret with each call, or certificates.

use std::{fs, path::PathBuf, sync::Arc};

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::{INTERNAL_SECRET, Listen, Secret};
use crate::{Error, Kind, Result, options::Problems};

/// Where the secret is handed to child processes.
pub const INTERNAL_SECRET_VARIABLE: &str = "DUNLIN_INTERNAL_SECRET";

/// Shorter ones are guessed.
const SECRET_BYTES_MIN: usize = 16;

#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Between Dunlin's services")]
pub struct PeerOptions {
    /// The secret that gateways, workers and autoscalers share, in a file; or itself in DUNLIN_INTERNAL_SECRET
    #[arg(long, env = "DUNLIN_INTERNAL_SECRET_FILE", value_name = "FILE")]
    pub internal_secret_file: Option<PathBuf>,
    /// For the environment: the arguments of a process are there for everyone to read.
    #[arg(long, env = INTERNAL_SECRET_VARIABLE, hide = true, value_parser = Secret::parse)]
    pub internal_secret: Option<Secret>,
    /// The authority whose certificates our services have, as PEM; with it a worker speaks TLS to a `broker://` queue
    #[arg(long, env = "DUNLIN_INTERNAL_CA", value_name = "FILE")]
    pub internal_ca: Option<PathBuf>,
    /// The certificate to show to our services that ask for one, as PEM
    #[arg(long, env = "DUNLIN_INTERNAL_CLIENT_CERT", value_name = "FILE", requires = "internal_client_key")]
    pub internal_client_cert: Option<PathBuf>,
    /// Its private key, as PEM
    #[arg(long, env = "DUNLIN_INTERNAL_CLIENT_KEY", value_name = "FILE", requires = "internal_client_cert")]
    pub internal_client_key: Option<PathBuf>,
}

impl PeerOptions {
    pub fn has_secret(&self) -> bool {
        self.internal_secret.is_some() || self.internal_secret_file.is_some()
    }

    /// The file wins over the environment: it was named on purpose.
    pub fn secret(&self) -> Result<Option<Secret>> {
        let Some(path) = &self.internal_secret_file else { return Ok(self.internal_secret.clone()) };
        let text = read(path, "--internal-secret-file")?;
        let wrong = |problem| Error::new(Kind::Config, format!("--internal-secret-file: {problem}"));
        Secret::parse(&String::from_utf8_lossy(&text)).map(Some).map_err(wrong)
    }

    pub fn check(&self, problems: &mut Problems) {
        match self.secret() {
            Ok(Some(secret)) if secret.reveal().len() < SECRET_BYTES_MIN => problems.add(
                "--internal-secret-file",
                format_args!(
                    "the secret must have at least {SECRET_BYTES_MIN} characters: openssl rand -hex 32"
                ),
            ),
            Ok(_) => {}
            Err(error) => problems.add("internal secret", error),
        }
    }

    /// What is wrong with these options and an address that other machines may reach.
    pub fn check_listen(&self, listen: Listen<'_>, problems: &mut Problems) {
        self.check(problems);
        let Listen { flag, address, allow_anonymous } = listen;
        if address.ip().is_loopback() || self.has_secret() || allow_anonymous {
            return;
        }
        problems.add(
            flag,
            format_args!(
                "{address} can be reached from other machines, which could pass for Dunlin's own services: ask for a secret with \
                 --internal-secret-file FILE or for certificates with a client CA, listen on 127.0.0.1, or trust the \
                 network with --allow-anonymous"
            ),
        );
    }

    /// Connections to our own services.
    pub fn links(&self) -> Result<Links> {
        let mut tls = ClientTlsConfig::new();
        tls = match &self.internal_ca {
            Some(path) => tls.ca_certificate(Certificate::from_pem(read(path, "--internal-ca")?)),
            None => tls.with_native_roots(),
        };
        if let (Some(certificate), Some(key)) = (&self.internal_client_cert, &self.internal_client_key) {
            let certificate = read(certificate, "--internal-client-cert")?;
            tls = tls.identity(Identity::from_pem(certificate, read(key, "--internal-client-key")?));
        }
        let secret = self.secret()?.and_then(|secret| secret.reveal().parse().ok());
        let secret = secret.map(|mut secret: MetadataValue<Ascii>| {
            secret.set_sensitive(true);
            secret
        });
        Ok(Links { secret, tls: Some(Arc::new(tls)), broker_tls: self.internal_ca.is_some() })
    }
}

fn read(path: &PathBuf, flag: &str) -> Result<Vec<u8>> {
    fs::read(path)
        .map_err(|error| Error::new(Kind::Config, format!("{flag}: can't read {}: {error}", path.display())))
}

/// Makes connections to our own services.
#[derive(Debug, Clone, Default)]
pub struct Links {
    secret: Option<MetadataValue<Ascii>>,
    tls: Option<Arc<ClientTlsConfig>>,
    broker_tls: bool,
}

/// A connection to one of our own services.
pub type Link = InterceptedService<Channel, Introduction>;

impl Links {
    /// The URL of a `broker://host:port`.
    pub fn broker_url(&self, address: &str) -> String {
        format!("{}://{address}", if self.broker_tls { "https" } else { "http" })
    }

    /// `http://host:port` or `https://host:port`. `None` when it is neither.
    pub fn endpoint(&self, url: &str) -> Option<Endpoint> {
        let endpoint = Endpoint::from_shared(url.to_owned()).ok()?;
        match (endpoint.uri().scheme_str()?, &self.tls) {
            ("http", _) => Some(endpoint),
            ("https", Some(tls)) => endpoint.tls_config((**tls).clone()).ok(),
            _ => None,
        }
    }

    /// Connects when it is first used.
    pub fn connect(&self, endpoint: &Endpoint) -> Link {
        InterceptedService::new(endpoint.connect_lazy(), Introduction(self.secret.clone()))
    }
}

/// The secret, with each call.
#[derive(Debug, Clone)]
pub struct Introduction(Option<MetadataValue<Ascii>>);

impl Interceptor for Introduction {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(secret) = &self.0 {
            request.metadata_mut().insert(INTERNAL_SECRET, secret.clone());
        }
        Ok(request)
    }
}
