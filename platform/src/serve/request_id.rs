//! The id of a request: its caller's or a new one. It is answered as a header, stands in every error
//! and in every log line of the request, also of what is streamed after the handler has returned.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};
use tracing::{Instrument as _, Span};

/// Carries the id, from the caller and back.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longer ones are not taken over: the id stands in every log line. A ULID has 26, a UUID 36, and
/// what proxies put together of several stays under this.
const BYTES_MAX: usize = 128;

tokio::task_local! {
    static CURRENT: Arc<str>;
}

/// The id of the request that is being worked on here; `None` outside of one.
pub fn current() -> Option<Arc<str>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// Runs `work` under the same id and span, for what is spawned on behalf of the current request.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let id = current();
    let span = Span::current();
    async move {
        match id {
            Some(id) => CURRENT.scope(id, work).instrument(span).await,
            None => work.await,
        }
    }
}

/// Gives the request its id: round everything else a server does.
pub(super) async fn carry(request: Request, next: Next) -> Response {
    let id = of_caller(request.headers()).unwrap_or_else(|| crate::id::new().into());
    // Of the highest level: it is there whatever the filter for log lines is.
    let span = tracing::error_span!("request", request.id = %id);
    let answering = CURRENT.scope(Arc::clone(&id), next.run(request)).instrument(span.clone());
    let mut response = answering.await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    response.map(|body| Body::new(Carried { body, id, span }))
}

/// The caller's id if it is 1 to 128 visible ASCII characters: it goes into logs and headers as it is.
fn of_caller(headers: &HeaderMap) -> Option<Arc<str>> {
    let id = headers.get(HEADER)?.as_bytes();
    let is_fit = (1..=BYTES_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic);
    is_fit.then(|| std::str::from_utf8(id).ok().map(Arc::from))?
}

/// A body that is made under its request's id.
struct Carried {
    body: Body,
    id: Arc<str>,
    span: Span,
}

impl HttpBody for Carried {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { body, id, span } = self.get_mut();
        let _entered = span.enter();
        CURRENT.sync_scope(Arc::clone(id), || Pin::new(body).poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Carried {
    /// What a stream does when its caller goes away is part of its request too.
    fn drop(&mut self) {
        let _entered = self.span.enter();
        self.body = Body::empty();
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::get};
    use proptest::prelude::*;
    use tower::ServiceExt as _;

    use super::*;

    async fn answered(given: Option<&[u8]>) -> (String, String) {
        let here = || async {
            let now = current().unwrap().to_string();
            let later = futures::stream::once(async { Ok::<_, axum::Error>(current().unwrap().to_string()) });
            let spawned = tokio::spawn(carried(async { current().unwrap().to_string() })).await.unwrap();
            assert_eq!(now, spawned);
            Body::from_stream(later)
        };
        let router = Router::new().route("/", get(here)).layer(axum::middleware::from_fn(carry));
        let mut request = Request::new(Body::empty());
        if let Some(given) = given {
            request.headers_mut().insert(HEADER, HeaderValue::from_bytes(given).unwrap());
        }
        let response = router.oneshot(request).await.unwrap();
        let header = response.headers()[HEADER].to_str().unwrap().to_owned();
        let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
        (header, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn callers_id_is_kept_and_known_while_the_body_is_streamed() {
        let (header, body) = answered(Some(b"abc-123/~")).await;
        assert_eq!((header.as_str(), body.as_str()), ("abc-123/~", "abc-123/~"));
        assert!(current().is_none());
    }

    #[tokio::test]
    async fn id_that_does_not_fit_into_a_log_line_is_replaced() {
        let long = [b'x'; BYTES_MAX + 1];
        for given in [None, Some(&b""[..]), Some(b"a b"), Some(b"\xff"), Some(&long)] {
            let (header, body) = answered(given).await;
            assert_eq!(header.len(), 26, "a ULID: {header}");
            assert_eq!(header, body);
        }
        assert_eq!(answered(Some(&long[1..])).await.0.len(), BYTES_MAX);
    }

    proptest! {
        #[test]
        fn any_header_is_an_id_for_logs_or_none(given in prop::collection::vec(any::<u8>(), 0..200)) {
            let Ok(value) = HeaderValue::from_bytes(&given) else { return Ok(()) };
            let headers = HeaderMap::from_iter([(HEADER, value)]);
            if let Some(id) = of_caller(&headers) {
                prop_assert_eq!(id.as_bytes(), given.as_slice());
                prop_assert!((1..=BYTES_MAX).contains(&id.len()));
                prop_assert!(id.chars().all(|character| character.is_ascii_graphic()));
                prop_assert!(HeaderValue::from_str(&id).is_ok());
            }
        }
    }
}
