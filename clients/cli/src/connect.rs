//! The connection to a server of ours: one place for addresses, time limits and the sentence that
//! says how to start what is not there.

use std::{error::Error as StdError, fmt, io, net::SocketAddr, path::PathBuf, time::Duration};

use platform::{auth::Secret, options::exit};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri},
};

use crate::failure::{Failure, causes};

/// How long a server may take to accept the connection; it is near, or it is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The most one answer may take: 1,000 decisions with all they saw, or 1,000 classes an image.
pub(crate) const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// `http://host:port` of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address(Uri);

impl Address {
    /// Of a server in this process.
    pub(crate) fn of(scheme: &str, address: SocketAddr) -> Result<Self, Failure> {
        let url = format!("{scheme}://{}", platform::serve::at_home(address));
        parse_address(&url).map_err(|error| Failure::new(exit::FAILED, error))
    }

    fn is_tls(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_string().trim_end_matches('/'))
    }
}

/// For `value_parser`: `http://host:port` or `host:port`.
pub(crate) fn parse_address(text: &str) -> Result<Address, String> {
    const EXAMPLE: &str = "write it like http://127.0.0.1:8000";
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: Uri = with_scheme.parse().map_err(|error| format!("{error}; {EXAMPLE}"))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err(format!("unknown scheme; {EXAMPLE}")),
    }
    if uri.host().is_none_or(str::is_empty) || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(format!("not the address of a server; {EXAMPLE}"));
    }
    Ok(Address(uri))
}

/// Where images are sent.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct GatewayOptions {
    /// The gateway to send images to
    #[arg(
        long,
        env = "DUNLIN_SERVER",
        default_value = "http://127.0.0.1:8000",
        value_name = "URL",
        value_parser = parse_address,
        help_heading = "Server"
    )]
    pub(crate) server: Address,
    #[command(flatten)]
    pub(crate) access: AccessOptions,
}

/// How a server lets us in.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct AccessOptions {
    /// The key to bring, where one is asked for; better in the environment, which others on this machine can't read
    #[arg(long, env = "DUNLIN_KEY", hide_env_values = true, value_name = "KEY", value_parser = Secret::parse)]
    pub(crate) key: Option<Secret>,
    /// The authority whose certificate the server has, as PEM, for https:// [default: those of this machine]
    #[arg(long, env = "DUNLIN_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The certificate to show to a server that asks for one, as PEM
    #[arg(long, env = "DUNLIN_CLIENT_CERT", value_name = "FILE", requires = "client_key")]
    pub(crate) client_cert: Option<PathBuf>,
    /// Its private key, as PEM
    #[arg(long, env = "DUNLIN_CLIENT_KEY", value_name = "FILE", requires = "client_cert")]
    pub(crate) client_key: Option<PathBuf>,
}

/// Whom to ask about the fleet.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AutoscalerOptions {
    #[command(flatten)]
    pub(crate) at: AutoscalerAddress,
    #[command(flatten)]
    pub(crate) access: AccessOptions,
}

/// The autoscaler beside a gateway that has the key.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AutoscalerAddress {
    /// The autoscaler to ask
    #[arg(
        long,
        env = "DUNLIN_AUTOSCALER",
        default_value = "http://127.0.0.1:8002",
        value_name = "URL",
        value_parser = parse_address,
        help_heading = "Server"
    )]
    pub(crate) autoscaler: Address,
}

/// Who is being called, for the sentences about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Gateway,
    Autoscaler,
}

impl Service {
    fn flag(self) -> (&'static str, &'static str) {
        match self {
            Self::Gateway => ("--server", "DUNLIN_SERVER"),
            Self::Autoscaler => ("--autoscaler", "DUNLIN_AUTOSCALER"),
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gateway => "gateway",
            Self::Autoscaler => "autoscaler",
        })
    }
}

/// A connection that brings the key to each call.
pub(crate) type Connection = InterceptedService<Channel, Key>;

/// Goes along with each call, if there is one.
#[derive(Debug, Clone)]
pub(crate) struct Key(Option<MetadataValue<Ascii>>);

impl Interceptor for Key {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(key) = &self.0 {
            request.metadata_mut().insert("authorization", key.clone());
        }
        Ok(request)
    }
}

impl GatewayOptions {
    pub(crate) fn target(&self) -> Server<'_> {
        Server { service: Service::Gateway, address: &self.server, access: &self.access }
    }

    pub(crate) async fn connect(&self) -> Result<Connection, Failure> {
        self.target().connect().await
    }
}

impl AutoscalerOptions {
    pub(crate) fn target(&self) -> Server<'_> {
        Server { service: Service::Autoscaler, address: &self.at.autoscaler, access: &self.access }
    }

    pub(crate) async fn connect(&self) -> Result<Connection, Failure> {
        self.target().connect().await
    }
}

/// Whom to connect to, and with what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server<'a> {
    pub(crate) service: Service,
    address: &'a Address,
    access: &'a AccessOptions,
}

impl Server<'_> {
    /// Connects now, so that a server that is not there is said before anything is read or sent.
    pub(crate) async fn connect(self) -> Result<Connection, Failure> {
        let Self { service, address, access } = self;
        let mut endpoint = endpoint(address);
        if address.is_tls() {
            endpoint = endpoint
                .tls_config(access.tls()?)
                .map_err(|error| not_reachable(service, address, &error))?;
        }
        let connected = endpoint.connect().await;
        let channel = connected.map_err(|error| not_reachable(service, address, &error))?;
        Ok(InterceptedService::new(channel, access.key()))
    }
}

impl AccessOptions {
    fn tls(&self) -> Result<ClientTlsConfig, Failure> {
        let read = |flag: &str, path: &PathBuf| {
            std::fs::read(path).map_err(|error| {
                Failure::new(exit::CONFIG, format!("{flag}: can't read {}: {error}", path.display()))
            })
        };
        let tls = match &self.ca {
            Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read("--ca", path)?)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        match (&self.client_cert, &self.client_key) {
            (Some(certificate), Some(key)) => {
                let certificate = read("--client-cert", certificate)?;
                Ok(tls.identity(Identity::from_pem(certificate, read("--client-key", key)?)))
            }
            _ => Ok(tls),
        }
    }

    fn key(&self) -> Key {
        let key = self.key.as_ref().and_then(|key| format!("Bearer {}", key.reveal()).parse().ok());
        Key(key.map(|mut key: MetadataValue<Ascii>| {
            // Shown nowhere, and not kept in the table of headers that a connection compresses with.
            key.set_sensitive(true);
            key
        }))
    }
}

fn endpoint(address: &Address) -> Endpoint {
    const KEEPALIVE: Duration = Duration::from_secs(20);
    const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
    const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
    Endpoint::from(address.0.clone())
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}

/// The sentence for a server that does not answer, with exit code 69.
pub(crate) fn not_reachable(
    service: Service,
    address: &Address,
    error: &(dyn StdError + 'static),
) -> Failure {
    let (flag, variable) = service.flag();
    Failure::new(
        exit::UNAVAILABLE,
        format!(
            "can't reach the {service} at {address} ({}); start one with 'dunlin up', \
             or name another with {flag} URL or {variable}",
            short_cause(error)
        ),
    )
}

/// "connection refused" rather than the words of four layers.
fn short_cause(error: &(dyn StdError + 'static)) -> String {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            match io.kind() {
                io::ErrorKind::ConnectionRefused => return "connection refused".to_owned(),
                io::ErrorKind::TimedOut => return "timed out".to_owned(),
                _ => {}
            }
        }
        next = error.source();
    }
    causes(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_a_scheme() {
        let check = |text: &str, want: &str| {
            assert_eq!(parse_address(text).unwrap().to_string(), want, "{text}");
        };
        check("http://127.0.0.1:8000", "http://127.0.0.1:8000");
        check("http://127.0.0.1:8000/", "http://127.0.0.1:8000");
        check("localhost:8000", "http://localhost:8000");
        check("[::1]:8000", "http://[::1]:8000");
        check("https://localhost:8000", "https://localhost:8000");
        for bad in ["", "ftp://host:1", "http://host:1/path", "http://host:1/?q=1", "a b"] {
            assert!(parse_address(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn refused_connection_is_69_and_says_how_to_start_one() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let free = listener.local_addr().unwrap();
        drop(listener);
        let address = parse_address(&free.to_string()).unwrap();
        let options = GatewayOptions { server: address, access: AccessOptions::default() };
        let failure = options.connect().await.unwrap_err();
        assert_eq!(failure.exit_code, 69);
        assert!(failure.sentence.contains("connection refused"), "{}", failure.sentence);
        assert!(failure.sentence.contains("dunlin up"), "{}", failure.sentence);
    }
}
