//! An answer that is ready before its request has been read whole, over HTTP/1.1. A sender that is
//! still sending when the connection closes sees a reset and not the answer: a browser says "Failed to
//! fetch", old clients try again for ever. So what is left of the body is read and dropped first, up to
//! a bound in bytes and in time.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    http::{Version, header},
    middleware::Next,
    response::Response,
};
use http_body::{Frame, SizeHint};
use tokio::sync::oneshot;

/// How far a body is read that nobody wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Of the whole body: enough for a photograph that is a few times too large, not for a sender that never ends.
    pub(crate) bytes_max: usize,
    /// In all. A sender that needs longer does not hold a connection for it.
    pub(crate) longest: Duration,
}

/// Reads what the answer left unread, and then gives it. Outside of everything that may answer early.
pub(crate) async fn drain(State(bounds): State<Bounds>, request: Request, next: Next) -> Response {
    // HTTP/2 tells the sender to stop, and it still reads the answer. A sender that waits for
    // "100 Continue" has not begun: reading would ask it to.
    let waits = request.headers().contains_key(header::EXPECT);
    if request.version() > Version::HTTP_11 || request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (give, mut left) = oneshot::channel();
    let request = request.map(|body| Body::new(Lent { lent: Some((body, give)), read: 0 }));
    let response = next.run(request).await;
    // Nothing is there when it was read whole, or a handler that answers with a stream still reads.
    if let Ok(left) = left.try_recv()
        && !(waits && left.read == 0)
    {
        // Over the time: the answer is given all the same.
        let _ = tokio::time::timeout(bounds.longest, read_on(left, bounds.bytes_max)).await;
    }
    response
}

struct Left {
    body: Body,
    read: usize,
}

async fn read_on(left: Left, bytes_max: usize) {
    let Left { mut body, mut read } = left;
    while read <= bytes_max {
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let Some(Ok(frame)) = frame else { return };
        read = read.saturating_add(frame.data_ref().map_or(0, Bytes::len));
    }
}

/// A body that comes back when it is dropped before its end.
struct Lent {
    lent: Option<(Body, oneshot::Sender<Left>)>,
    read: usize,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some((body, _)) = &mut self.lent else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => self.read += frame.data_ref().map_or(0, Bytes::len),
            Poll::Ready(Some(Err(_)) | None) => self.lent = None,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.lent.as_ref().is_none_or(|(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.lent.as_ref().map_or_else(|| SizeHint::with_exact(0), |(body, _)| body.size_hint())
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some((body, give)) = self.lent.take().filter(|(body, _)| !body.is_end_stream()) {
            // Nobody is there for it when the caller is gone too.
            let _ = give.send(Left { body, read: self.read });
        }
    }
}
