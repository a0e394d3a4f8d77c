//! Passes `AutoscalerService` on to the autoscaler, so that the page and every other caller need one address only.
//! It looks into nothing: the autoscaler checks what is asked, by whom and until when.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Bytes, HttpBody},
    http::{HeaderMap, HeaderValue, Request, Response, header},
};
use http_body::Frame;
use platform::{Error, Kind, auth::SentKey, serve::request_id};
use proto::v1::autoscaler_service_server::SERVICE_NAME;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{
    Status,
    body::Body,
    server::NamedService,
    transport::{Channel, Endpoint},
};
use tower::{Service, ServiceExt as _};

/// An autoscaler that is there answers within a millisecond; callers are told sooner than they give up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A watched stream is silent for 5 s at most (`WatchStatus`); a connection that is dead is found within twice this.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// The autoscaler's service, as the gateway serves it.
#[derive(Clone)]
pub struct Relay {
    autoscaler: Option<Channel>,
    stop: CancellationToken,
}

impl Relay {
    /// Connects when it is first called, and again whenever it has to. Streams end at `stop`: those who watch the fleet
    /// would hold up the gateway's own end for ever.
    pub fn new(autoscaler: Option<&Endpoint>, stop: CancellationToken) -> Self {
        let connect = |endpoint: &Endpoint| {
            let endpoint = endpoint.clone().connect_timeout(CONNECT_TIMEOUT);
            endpoint.http2_keep_alive_interval(KEEPALIVE).keep_alive_timeout(KEEPALIVE).connect_lazy()
        };
        Self { autoscaler: autoscaler.map(connect), stop }
    }
}

impl NamedService for Relay {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<Request<Body>> for Relay {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // A channel that is busy is waited for by the call.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { autoscaler, stop } = self.clone();
        Box::pin(async move {
            let answer = pass_on(autoscaler, request).await;
            let until_stop =
                |body| Body::new(UntilStop { body, stopped: Some(Box::pin(stop.cancelled_owned())) });
            Ok(answer.map_or_else(Status::into_http, |answer| answer.map(until_stop)))
        })
    }
}

async fn pass_on(channel: Option<Channel>, mut request: Request<Body>) -> Result<Response<Body>, Status> {
    let Some(channel) = channel else {
        return Err(away("this gateway has no autoscaler; it is named with --autoscaler").into());
    };
    // The autoscaler knows who asks, and checks it by its own keys.
    let sent_key = request.extensions_mut().remove::<SentKey>().unwrap_or_default();
    let headers = request.headers_mut();
    sent_key.put_back(headers);
    // The connection's own, not the call's.
    headers.remove(header::HOST);
    headers.remove(header::CONNECTION);
    if let Some(id) = request_id::current()
        && let Ok(id) = HeaderValue::from_str(&id)
    {
        headers.insert(request_id::HEADER, id);
    }
    channel
        .oneshot(request)
        .await
        .map_err(|error| away("the autoscaler cannot be reached").with_source(error).into())
}

/// A body that ends with the gateway, in words of the protocol.
struct UntilStop {
    body: Body,
    /// `None` once the end was said.
    stopped: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl HttpBody for UntilStop {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { body, stopped } = self.get_mut();
        let Some(stop) = stopped else { return Poll::Ready(None) };
        if stop.as_mut().poll(context).is_pending() {
            return Pin::new(body).poll_frame(context);
        }
        *stopped = None;
        *body = Body::empty();
        let mut trailers = HeaderMap::new();
        let draining = Error::new(Kind::Draining, "this gateway stops; its autoscaler may go on");
        Status::from(draining).add_header(&mut trailers)?;
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.stopped.is_none() || self.body.is_end_stream()
    }
}

fn away(sentence: &'static str) -> Error {
    Error::new(Kind::ServiceUnavailable, sentence)
}

#[cfg(test)]
mod tests {
    use proto::v1::{GetStatusRequest, autoscaler_service_client::AutoscalerServiceClient};

    use super::*;

    async fn refusal(autoscaler: Option<&Endpoint>) -> Status {
        let mut client = AutoscalerServiceClient::new(Relay::new(autoscaler, CancellationToken::new()));
        client.get_status(GetStatusRequest {}).await.unwrap_err()
    }

    #[tokio::test]
    async fn gateway_without_an_autoscaler_says_so() {
        let status = refusal(None).await;
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert!(status.message().contains("--autoscaler"), "{}", status.message());
    }

    #[tokio::test]
    async fn stream_ends_with_the_gateway_and_says_so() {
        let stop = CancellationToken::new();
        let stopped = Some(Box::pin(stop.clone().cancelled_owned()));
        let endless = futures::stream::pending::<Result<Bytes, Status>>();
        let mut body = UntilStop { body: Body::new(axum::body::Body::from_stream(endless)), stopped };
        let mut next = async || std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        assert!(tokio::time::timeout(Duration::from_millis(10), next()).await.is_err(), "nothing comes");
        stop.cancel();
        let trailers = next().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "14");
        assert!(next().await.is_none());
    }

    #[tokio::test]
    async fn autoscaler_that_is_away_is_unavailable_and_not_a_fault() {
        // Bound and not listening: nothing else takes the port meanwhile.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let status = refusal(Some(&endpoint)).await;
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert!(status.message().contains("cannot be reached"), "{}", status.message());
    }
}
