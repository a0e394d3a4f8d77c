//! What a stop means for calls: new ones are refused with a word that makes callers try again
//! elsewhere, what only watches us ends at once, and what is left after the grace ends with that word.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;

use crate::{Error, Kind, shutdown::Shutdown};

/// Another instance can be asked at once; one that comes back on this address takes about as long.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The refusal of new work while stopping: the call has had no effect.
pub fn draining() -> Error {
    Error::new(Kind::Draining, "stopping: nothing new is taken; try again, another instance answers")
        .with_retry_after(RETRY_AFTER)
}

pub(super) async fn refuse_or_end(
    State(shutdown): State<Shutdown>,
    request: Request,
    next: Next,
) -> Response {
    // Health and reflection: they answer as long as somebody can ask, and hold nothing up.
    let is_about_us = request.uri().path().starts_with("/grpc.");
    if shutdown.stop.is_cancelled() && !is_about_us {
        return Status::from(draining()).into_http();
    }
    let end = if is_about_us { shutdown.stop } else { shutdown.abort };
    tokio::select! {
        biased;
        response = next.run(request) => response.map(|body| Body::new(Ending::new(body, end))),
        () = end.cancelled() => Status::from(draining()).into_http(),
    }
}

/// A body that ends when its time is over, unless it has more to say at that moment.
struct Ending {
    body: Body,
    end: CancellationToken,
    /// Made when the body has to wait: most never do.
    waiting: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    has_ended: bool,
}

impl Ending {
    fn new(body: Body, end: CancellationToken) -> Self {
        Self { body, end, waiting: None, has_ended: false }
    }
}

impl HttpBody for Ending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { body, end, waiting, has_ended } = &mut *self;
        if *has_ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        let waiting = waiting.get_or_insert_with(|| Box::pin(end.clone().cancelled_owned()));
        if waiting.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        *has_ended = true;
        let mut trailers = HeaderMap::new();
        // Fails only for metadata that is not fit for a header, and this has a number.
        let _ = Status::from(draining()).add_header(&mut trailers);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::post};
    use tonic_types::StatusExt as _;
    use tower::ServiceExt as _;

    use super::*;

    fn router(shutdown: &Shutdown) -> Router {
        let endless =
            || async { Body::from_stream(futures::stream::pending::<Result<Bytes, axum::Error>>()) };
        Router::new()
            .route("/a.B/Answer", post(|| async { "answer" }))
            .route("/a.B/Hang", post(std::future::pending::<()>))
            .route("/a.B/Stream", post(endless))
            .route("/grpc.health.v1.Health/Watch", post(endless))
            .layer(axum::middleware::from_fn_with_state(shutdown.clone(), refuse_or_end))
    }

    async fn call(router: &Router, path: &str) -> Response {
        let request = Request::post(path).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap()
    }

    fn check(headers: &HeaderMap) {
        let status = Status::from_header_map(headers).unwrap();
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert_eq!(status.get_details_error_info().unwrap().reason, "DRAINING");
        assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(RETRY_AFTER));
        assert!(headers.contains_key("grpc-retry-pushback-ms"));
    }

    /// The trailers of a body that ends.
    async fn trailers(mut body: Body) -> HeaderMap {
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        assert!(body.is_end_stream());
        frame.unwrap().unwrap().into_trailers().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn new_call_on_an_open_connection_is_refused_and_may_be_tried_again() {
        let shutdown = Shutdown::new();
        let router = router(&shutdown);
        assert!(call(&router, "/a.B/Answer").await.headers().get("grpc-status").is_none());
        shutdown.stop.cancel();
        check(call(&router, "/a.B/Answer").await.headers());
    }

    #[tokio::test(start_paused = true)]
    async fn calls_in_flight_go_on_after_the_stop_and_end_with_the_grace() {
        let shutdown = Shutdown::new();
        let router = router(&shutdown);
        let stream = call(&router, "/a.B/Stream").await.into_body();
        let streaming = tokio::spawn(trailers(stream));
        let hanging = tokio::spawn(async move { call(&router, "/a.B/Hang").await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        shutdown.stop.cancel();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!streaming.is_finished() && !hanging.is_finished(), "ended at the stop");
        shutdown.abort.cancel();
        check(&streaming.await.unwrap());
        check(hanging.await.unwrap().headers());
    }

    #[tokio::test(start_paused = true)]
    async fn watch_of_health_ends_at_the_stop() {
        let shutdown = Shutdown::new();
        let watch = call(&router(&shutdown), "/grpc.health.v1.Health/Watch").await.into_body();
        shutdown.stop.cancel();
        check(&trailers(watch).await);
    }
}
