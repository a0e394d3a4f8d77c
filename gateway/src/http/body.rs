//! Reads a body whole, within a limit and while it keeps coming. What is over the limit is left to
//! `unread.rs`.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use platform::{Error, Kind, Result};

use crate::intake::too_large;

/// What a body may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) bytes_max: usize,
    pub(super) idle: Duration,
}

/// The whole body as one piece.
pub(super) async fn read(headers: &HeaderMap, body: Body, limits: Limits) -> Result<Bytes> {
    let declared =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if let Some(declared) = declared.filter(|declared| *declared > limits.bytes_max) {
        return Err(too_large(limits.bytes_max, declared));
    }
    let mut chunks = body.into_data_stream();
    // All that is declared is within the limit; without a word of it the buffer grows as it comes.
    let mut whole = BytesMut::with_capacity(declared.unwrap_or_default());
    while let Some(chunk) = next(&mut chunks, limits.idle).await? {
        let found = whole.len() + chunk.len();
        if found > limits.bytes_max {
            return Err(too_large(limits.bytes_max, found));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

async fn next(chunks: &mut axum::body::BodyDataStream, idle: Duration) -> Result<Option<Bytes>> {
    match tokio::time::timeout(idle, chunks.next()).await {
        Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
        Ok(Some(Err(error))) => {
            Err(Error::new(Kind::InvalidRequest, "the body broke off").with_source(error))
        }
        Ok(None) => Ok(None),
        Err(_) => Err(Error::new(
            Kind::DeadlineExceeded,
            format!("the body stopped arriving for {}", platform::options::show_duration(idle)),
        )),
    }
}
