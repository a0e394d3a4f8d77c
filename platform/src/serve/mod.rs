//! Serving gRPC and HTTP on one port: bind first, limits and keepalive set, health, reflection and
//! deadlines included.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
};
use http::{HeaderValue, Request};
use tokio::net::TcpListener;
use tonic::{body::Body, server::NamedService, service::Routes, transport::server::TcpIncoming};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::Service;

use crate::{Error, Kind, Result, auth::Guard, shutdown::Shutdown};

mod cors;
mod deadline;
mod files;
mod handshakes;
mod port;
pub mod request_id;
mod stopping;
mod tls;
mod typed;

pub use cors::parse_origin;
pub use deadline::Deadline;
pub use files::allow_many_connections;
pub use stopping::draining;
pub use tls::{Tls, TlsFiles, TlsOptions};

/// The most one gRPC message may take. The decoder reserves the declared length before it has read
/// it, so this bounds what a caller can make us allocate.
pub const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The most that the images in one message may be set to take. The rest is for names and options, so
/// that an image just over a limit is refused by us with a reason and not by the decoder without one.
pub const IMAGE_BYTES_LIMIT: usize = MESSAGE_BYTES_MAX - 1024 * 1024;

/// Binds before anything else starts, so that a port in use is the first thing said. `flag` is the
/// option to change.
pub fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    });
    listener.map_err(|error| {
        let sentence = match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "port {} is in use{}; choose another with {flag} {}:0 (any free port)",
                address.port(),
                port::owner(address.port()).map_or_else(String::new, |owner| format!(" by {owner}")),
                address.ip(),
            ),
            io::ErrorKind::AddrNotAvailable => {
                format!("{} is not an address of this machine; change {flag}", address.ip())
            }
            io::ErrorKind::PermissionDenied => {
                format!(
                    "not allowed to listen on {address}; ports under 1024 need a privilege; change {flag}"
                )
            }
            _ => format!("can't listen on {address} ({flag}): {error}"),
        };
        Error::new(Kind::Config, sentence)
    })
}

/// The address a listener really has, for port 0.
pub fn address(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().map_err(|error| Error::internal(error).context("read the bound address"))
}

/// The same as this machine's other processes reach it: one that listens everywhere listens at home too.
pub fn at_home(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

/// gRPC services with health, reflection (v1 and v1alpha) and deadlines, as a router.
pub struct Grpc {
    routes: tonic::service::RoutesBuilder,
    names: Vec<&'static str>,
    guard: Guard,
}

impl Default for Grpc {
    fn default() -> Self {
        Self::new()
    }
}

impl Grpc {
    pub fn new() -> Self {
        Self { routes: Routes::builder(), names: Vec::new(), guard: Guard::open() }
    }

    #[must_use]
    pub fn with<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Response: axum::response::IntoResponse,
        S::Future: Send + 'static,
    {
        self.routes.add_service(service);
        self.names.push(S::NAME);
        self
    }

    /// Who may call what: by default anyone anything.
    #[must_use]
    pub fn guarded(self, guard: &Guard) -> Self {
        Self { guard: guard.clone(), ..self }
    }

    /// The router, without a fallback, and the health of its services: SERVING from the start. After
    /// `shutdown.stop` new calls are refused, at `shutdown.abort` those that are left end.
    pub async fn into_router(mut self, shutdown: &Shutdown) -> Result<(Router, Health)> {
        let (reporter, service) = tonic_health::server::health_reporter();
        let health = Health { reporter, names: self.names.clone() };
        health.set(ServingStatus::Serving).await;
        self.routes.add_service(service);
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
                // So that grpcurl decodes the details of an error.
                .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let names = self.names.iter().copied().chain(["grpc.health.v1.Health"]);
        let (mut v1, mut v1alpha) = (reflection(), reflection());
        for name in names {
            v1 = v1.with_service_name(name);
            v1alpha = v1alpha.with_service_name(name);
        }
        let built = |error| Error::internal(error).context("build server reflection");
        self.routes.add_service(v1.build_v1().map_err(built)?);
        self.routes.add_service(v1alpha.build_v1alpha().map_err(built)?);
        let router = self.guard.grpc(self.routes.routes().into_axum_router().reset_fallback());
        let router = router
            .layer(from_fn(deadline::enforce))
            .layer(from_fn(typed::complete))
            .layer(from_fn_with_state(shutdown.clone(), stopping::refuse_or_end));
        Ok((router, health))
    }
}

/// What `grpc.health.v1` says of every service of a server.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
    names: Vec<&'static str>,
}

impl Health {
    /// Not ready from now on: load balancers stop sending.
    pub async fn set_not_serving(&self) {
        self.set(ServingStatus::NotServing).await;
    }

    pub async fn set_serving(&self) {
        self.set(ServingStatus::Serving).await;
    }

    async fn set(&self, status: ServingStatus) {
        for name in self.names.iter().copied().chain([""]) {
            self.reporter.set_service_status(name, status).await;
        }
    }
}

/// Where to serve, and how its connections begin.
pub struct Port {
    pub listener: TcpListener,
    /// `None`: in the clear.
    pub tls: Option<Arc<Tls>>,
    /// Whose pages may call, beside our own.
    pub cors_origins: Vec<HeaderValue>,
}

impl Port {
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

impl From<TcpListener> for Port {
    fn from(listener: TcpListener) -> Self {
        Self { listener, tls: None, cors_origins: Vec::new() }
    }
}

/// Serves `router` (gRPC over HTTP/2 and HTTP/1.1 on the same port) until `shutdown.stop`, then
/// finishes what is in flight. A stream that never ends holds it up: handlers end theirs on
/// `shutdown.stop`, and `Shutdown::run` bounds the wait.
pub async fn serve(port: impl Into<Port>, router: Router, shutdown: &Shutdown) -> Result<()> {
    const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
    const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
    const STREAMS_PER_CONNECTION_MAX: u32 = 1024;
    const KEEPALIVE: Duration = Duration::from_secs(20);
    allow_many_connections();
    let Port { listener, tls, cors_origins } = port.into();
    // Outside of what asks for keys: a preflight has none.
    let router = match cors_origins {
        origins if origins.is_empty() => router,
        origins => router.layer(cors::layer(origins)).layer(from_fn(cors::only_to_those_named)),
    };
    let router = router.layer(from_fn(request_id::carry));
    let server = tonic::transport::Server::builder()
        .accept_http1(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .add_routes(Routes::from(router));
    let stop = shutdown.stop.clone().cancelled_owned();
    let served = match tls {
        None => {
            let incoming = TcpIncoming::from(listener)
                .with_nodelay(Some(true))
                .with_keepalive(Some(Duration::from_secs(60)));
            server.serve_with_incoming_shutdown(incoming, stop).await
        }
        Some(tls) => {
            // Boxed: the stream keeps the handshakes that are not done.
            let incoming = Box::pin(handshakes::connections(listener, tls));
            server.serve_with_incoming_shutdown(incoming, stop).await
        }
    };
    served.map_err(|error| Error::internal(error).context("serve"))
}

/// The fallback for a port that serves nothing but gRPC: a typed answer to an unknown service, and
/// a sentence to a browser that came by.
pub async fn grpc_only(request: axum::extract::Request) -> axum::response::Response {
    use axum::response::IntoResponse as _;
    if is_grpc(&request) {
        return unknown_service(request.uri().path());
    }
    (http::StatusCode::NOT_FOUND, "this port speaks gRPC only\n").into_response()
}

/// Whether a request is gRPC or gRPC-web by its content type.
pub fn is_grpc<B>(request: &Request<B>) -> bool {
    request
        .headers()
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// The gRPC answer to a path no service has.
pub fn unknown_service(path: &str) -> axum::response::Response {
    tonic::Status::from(unknown_method(path)).into_http()
}

fn unknown_method(path: &str) -> Error {
    Error::new(
        Kind::Unimplemented,
        format!("no method {path}; list the services with: grpcurl -plaintext HOST:PORT list"),
    )
}

/// One message, or the body of a whole request, over its limit.
pub fn message_too_large(found: u64, limit: u64) -> Error {
    Error::new(
        Kind::ImageTooLarge,
        format!("the request has {found} bytes, the limit is {limit}; send smaller or fewer images"),
    )
    .with_metadata("limit", limit)
    .with_metadata("found", found)
}
