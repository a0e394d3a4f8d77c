//! No error leaves without its reason: what the gRPC library refuses by itself gets the details that
//! ours have.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    middleware::Next,
    response::Response,
};
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tonic::{Code, Status};

use crate::{Error, Kind};

/// Completes the status of a call: in the headers if it has nothing but a status, else in the trailers.
pub(super) async fn complete(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    if response.headers().contains_key(Status::GRPC_STATUS) {
        complete_status(response.headers_mut(), &path);
        return response;
    }
    response.map(|body| Body::new(Completed { body, path }))
}

struct Completed {
    body: Body,
    path: String,
}

impl HttpBody for Completed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { body, path } = &mut *self;
        Pin::new(body).poll_frame(context).map_ok(|mut frame| {
            if let Some(trailers) = frame.trailers_mut() {
                complete_status(trailers, path);
            }
            frame
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn complete_status(headers: &mut HeaderMap, path: &str) {
    if headers.contains_key(Status::GRPC_STATUS_DETAILS) {
        return;
    }
    let Some(status) = Status::from_header_map(headers).filter(|status| status.code() != Code::Ok) else {
        return;
    };
    headers.remove(Status::GRPC_STATUS);
    headers.remove(Status::GRPC_MESSAGE);
    // Fails only for metadata that is not fit for a header, and the error has none of its own.
    let _ = Status::from(typed(status, path)).add_header(headers);
}

/// The error that a bare status of the library means.
fn typed(status: Status, path: &str) -> Error {
    let message = status.message();
    match status.code() {
        Code::OutOfRange => match too_long(message) {
            Some((found, limit)) => super::message_too_large(found, limit),
            None => Error::new(Kind::InvalidRequest, message),
        },
        Code::Unimplemented if message.is_empty() => super::unknown_method(path),
        // grpc.health.v1 asks for this code for a service it does not know.
        Code::NotFound => Error::new(Kind::ObjectNotFound, message).with_resource("service", path),
        Code::Internal if BAD_MESSAGES.iter().any(|start| message.starts_with(start)) => {
            Error::new(Kind::InvalidRequest, format!("the request can't be read: {message}"))
        }
        _ => Error::from(status),
    }
}

/// How tonic and prost begin what they say of a request that is not gRPC or not its message. They
/// call it INTERNAL, which is a fault of ours everywhere else.
const BAD_MESSAGES: [&str; 5] = [
    "failed to decode Protobuf message",
    "protocol error",
    "Missing request message",
    "Unexpected EOF decoding stream",
    "tonic-web:",
];

/// "Error, decoded message length too large: found {} bytes, the limit is: {} bytes".
fn too_long(message: &str) -> Option<(u64, u64)> {
    let mut numbers = message.split(' ').filter_map(|word| word.parse().ok());
    message.contains("length too large").then(|| Some((numbers.next()?, numbers.next()?)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_statuses_get_the_reason_they_mean() {
        let check = |status: Status, kind: Kind| assert_eq!(typed(status, "/a/B").kind(), kind);
        let long = "Error, decoded message length too large: found 70 bytes, the limit is: 60 bytes";
        check(Status::out_of_range(long), Kind::ImageTooLarge);
        check(Status::out_of_range("other"), Kind::InvalidRequest);
        check(Status::internal("failed to decode Protobuf message: invalid"), Kind::InvalidRequest);
        check(Status::internal("protocol error: received"), Kind::InvalidRequest);
        check(Status::internal("disk is full"), Kind::Internal);
        check(Status::unimplemented(""), Kind::Unimplemented);
        check(Status::not_found("service not registered"), Kind::ObjectNotFound);
        let error = typed(Status::out_of_range(long), "/a/B");
        assert_eq!((error.metadata()["found"].as_str(), error.metadata()["limit"].as_str()), ("70", "60"));
    }

    #[test]
    fn our_own_details_are_left_alone() {
        let mut headers = HeaderMap::new();
        Status::from(Error::new(Kind::QueueFull, "full")).add_header(&mut headers).unwrap();
        let before = headers.clone();
        complete_status(&mut headers, "/a/B");
        assert_eq!(headers, before);
    }
}
